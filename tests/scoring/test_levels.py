"""The level: a shift of later outcomes is recovered with its error, and said only where it is due."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.params import load
from pipeline.scorer.calibration import sigmoid
from pipeline.scoring import levels

EVALUATE = load(Path(__file__).parents[2] / "params.yaml").evaluate
NO_LEVEL = {
    "log_odds": 0.0,
    "standard_error": 0.0,
    "rows": 0,
    "measured_from": None,
    "measured_until": None,
    "moved": False,
}
#: Figures that nobody needs to be told of.
QUIET = {"signal": True, "repeatable": True, "conversions_needed": 0, "level_moved": False, "level_shifted": False}


def figures(label: np.ndarray, probability: np.ndarray, lead: pd.Series | None = None, **level: object) -> dict:
    n = len(label)
    as_of = pd.Series(pd.Timestamp("2024-05-01") + pd.to_timedelta(np.arange(n), unit="D"))
    lead = pd.Series(np.arange(n)) if lead is None else lead
    return levels.figures(NO_LEVEL | level, as_of, lead, label, probability, EVALUATE)


def blocks(rate: float, probability: float, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """`n` rows of one score, of which exactly `rate` convert."""
    return (np.arange(n) < rate * n).astype("float64"), np.full(n, probability)


def test_a_shift_of_the_level_is_recovered_exactly():
    found = figures(*blocks(rate=0.5, probability=0.2))
    # Log-odds 0 instead of log(1 / 4).
    assert found["level_shift"] == pytest.approx(np.log(4))
    # The error of a rate in log-odds is 1 / sqrt(n p (1 - p)); 90 % of a normal lie within 1.645 of it.
    half = 1.6448536 / np.sqrt(1000 * 0.25)
    assert found["level_shift_high"] - found["level_shift"] == pytest.approx(half, rel=1e-6)
    assert found["level_shift"] - found["level_shift_low"] == pytest.approx(half, rel=1e-6)
    assert found["level_shifted"] is True


def test_a_shift_over_different_scores_is_the_one_they_were_drawn_with():
    rng = np.random.default_rng(np.random.SeedSequence([1]))
    odds = rng.normal(-1.5, 1.0, 40_000)
    label = (rng.random(40_000) < sigmoid(odds + 0.6)).astype("float64")
    found = figures(label, sigmoid(odds))
    assert found["level_shift_low"] < 0.6 < found["level_shift_high"]
    assert found["level_shift"] == pytest.approx(0.6, abs=0.04)  # three standard errors


@pytest.mark.parametrize(
    ("rate", "n", "shifted"),
    [
        (0.2, 1000, False),
        # 0.34 in log-odds above the 0.2 promised, with an error of 0.12 and then 0.06.
        (0.26, 1000, False),
        (0.26, 4000, True),
        (0.35, 10, False),
        (0.35, 1000, True),
        (0.1, 1000, True),
    ],
)
def test_only_a_shift_surely_beyond_the_limit_is_called_one(rate, n, shifted):
    assert EVALUATE.max_shift == 0.25
    assert figures(*blocks(rate, 0.2, n))["level_shifted"] is shifted


def test_looks_at_one_lead_are_one_piece_of_evidence():
    label, probability = blocks(0.3, 0.2, n=200)
    once = figures(label, probability)
    lead = pd.Series(np.repeat(np.arange(200), 4))
    four = figures(np.repeat(label, 4), np.repeat(probability, 4), lead)
    for name in ("level_shift", "level_shift_low", "level_shift_high"):
        assert four[name] == pytest.approx(once[name])


def test_the_age_of_the_level_runs_to_the_middle_of_the_test_window():
    label, probability = blocks(0.2, 0.2, n=100)
    assert "level_age_days" not in figures(label, probability)
    level = {"log_odds": 0.3, "rows": 500, "measured_until": "2024-04-21T00:00:00", "moved": True}
    found = figures(label, probability, **level)
    # Ten days to the first of May, fifty more to the middle of a hundred days.
    assert found["level_age_days"] == 60.0
    assert (found["level"], found["level_rows"], found["level_moved"]) == (0.3, 500, True)


# Coverage


def scored(n: int, shift: float, half: float, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    odds = rng.normal(-1.5, 1.0, n)
    return pd.DataFrame(
        {
            "lead_id": np.arange(n),
            "label": (rng.random(n) < sigmoid(odds + shift)).astype("int8"),
            "probability": sigmoid(odds),
            "interval_low": sigmoid(odds - half),
            "interval_high": sigmoid(odds + half),
        }
    )


def test_honest_intervals_cover_at_their_own_level():
    """Without any error of the scores, chance alone moves the bins: 90 % of 20 x 20 hold, with an error of 1.5 %."""
    found = np.mean([levels.coverage(scored(2000, 0.0, 0.0, seed), 10, 0.9) for seed in range(20)])
    assert found == pytest.approx(0.9, abs=0.05)


def test_intervals_that_are_too_narrow_do_not_cover():
    assert levels.coverage(scored(20_000, 0.5, 0.02), 10, 0.9) < 0.2
    assert levels.coverage(scored(20_000, 0.5, 0.6), 10, 0.9) > 0.9


def test_coverage_of_few_rows():
    assert levels.coverage(scored(3, 0.0, 0.1), 10, 0.9) in (0, 1 / 3, 2 / 3, 1)


# Sentences


def test_nothing_is_said_where_nothing_is_due():
    assert levels.sentences(QUIET, 0.25) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"signal": False, "signal_standard_errors": 1.26},
            "NO SIGNAL: out of sample the ranking was only 1.3 standard errors above chance",
        ),
        (
            {"repeatable": False},
            "NOT REPEATABLE: the search ended by the clock, was shared by processes, or ran on a GPU.",
        ),
        (
            {"conversions_needed": 1040},
            "FEW CONVERSIONS: only the shrunken scorecard and logistic regression were used",
        ),
        ({"conversions_needed": 1040}, "about 1,040 more conversions"),
        (
            {"level_moved": True, "level": -0.31, "level_rows": 1200},
            "scores carry a current level of -0.31 in log-odds, measured on 1,200 snapshots.",
        ),
        (
            {"level_shifted": True, "level_shift": 0.5, "level_shift_low": 0.3, "level_shift_high": 0.7},
            "conversions lie above what the scores promise, by 0.50 in log-odds (+0.30 to +0.70; limit 0.25)",
        ),
        (
            {"level_shifted": True, "level_shift": -0.5, "level_shift_low": -0.7, "level_shift_high": -0.3},
            "conversions lie below what the scores promise, by 0.50 in log-odds (-0.70 to -0.30; limit 0.25)",
        ),
    ],
)
def test_each_sentence_is_said_alone(found, said):
    (sentence,) = levels.sentences(QUIET | found, 0.25)
    assert said in sentence and sentence.endswith(".")
