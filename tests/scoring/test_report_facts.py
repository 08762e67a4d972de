"""What the report says: every sentence follows from its tables, with the words of each case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.params import Evaluate, load
from pipeline.scoring import examples, metrics, report_facts
from tests.fake_results import resolved_with


@pytest.fixture(scope="module")
def params(project_root: Path) -> Evaluate:
    return load(project_root / "params.yaml").evaluate


def scores(score: list[float], label: list[int], tier: list[str] | None = None) -> pd.DataFrame:
    reasons = [json.dumps([{"criterion": "Visits", "group": "fit", "points": -2.0, "text": "never came"}])] * len(score)
    return pd.DataFrame(
        {
            "lead_id": pd.Series([f"L{k}" for k in range(len(score))], dtype="str"),
            "as_of": pd.Timestamp("2024-03-01"),
            "score": score,
            "probability": np.array(score) / 100,
            "interval_low": 0.1,
            "interval_high": 0.2,
            "base": [one + 2.0 for one in score],
            "tier": tier or "A",
            "grade": "A1",
            "reasons": reasons,
            "label": label,
        }
    )


# Tiers


def test_tiers_share_conversion_lift_and_capture() -> None:
    rows = scores([50.0] * 4 + [10.0] * 6, [1, 1, 1, 0, 1, 0, 0, 0, 0, 0], ["A"] * 4 + ["C"] * 6)
    bands = [{"name": "A", "from": 305}, {"name": "B", "from": 200}, {"name": "C", "from": 0}]
    found = report_facts.tiers(rows, bands, 0.9)
    assert found["tier"].tolist() == ["A", "B", "C"]
    assert found["from_score"].tolist() == [30.5, 20.0, 0.0]
    assert found["rows"].tolist() == [4, 0, 6]
    assert found["share"].tolist() == [0.4, 0.0, 0.6]
    np.testing.assert_allclose(found["conversion"], [0.75, np.nan, 1 / 6])
    # Four of ten convert: 0.75 is 1.875 times that. Three of the four conversions stand in A.
    np.testing.assert_allclose(found["lift"], [1.875, np.nan, 1 / 2.4])
    assert found["capture"].tolist() == [0.75, 0.0, 0.25]
    low, high = metrics.wilson(np.array([3.0, 1.0]), np.array([4.0, 6.0]), 0.9)
    np.testing.assert_allclose(found.loc[[0, 2], "low"], low)
    np.testing.assert_allclose(found.loc[[0, 2], "high"], high)


def test_without_conversions_no_tier_has_a_lift() -> None:
    found = report_facts.tiers(scores([50.0, 10.0], [0, 0]), [{"name": "A", "from": 0}], 0.9)
    assert found["conversion"].tolist() == [0.0]
    assert found[["lift", "capture"]].isna().all(axis=None)


# What a score means


@pytest.mark.parametrize(
    ("score", "ends"),
    [
        ([25.0, 30.0, 35.0, 80.0], (25.0, 35.0)),  # both ends count
        ([24.9, 35.1, 20.0, 22.0, 25.0], (15.0, 25.0)),  # too few near 30: near 20
        ([4.0, 5.0, 6.0], (2.5, 7.5)),  # below 10 the window is narrower
        ([97.0, 98.0, 99.0], (97.0, 99.0)),  # near no mark: all of them
    ],
)
def test_what_a_score_means_is_told_where_there_are_enough(score: list[float], ends: tuple[float, float]) -> None:
    found = report_facts.near_mark(scores(score, [1, *[0] * (len(score) - 1)]), 0.95, 3)
    assert (found["from"], found["to"]) == ends
    assert found["rows"] == sum(ends[0] <= one <= ends[1] for one in score)


def test_of_a_hundred_leads_so_many_convert() -> None:
    found = report_facts.near_mark(scores([28.0] * 50 + [32.0] * 50, [1, 0, 0, 0] * 25), 0.95, 100)
    low, high = metrics.wilson(25.0, 100.0, 0.95)
    assert (found["score"], found["of_100"]) == pytest.approx((30.0, 25.0))
    assert (found["low"], found["high"]) == pytest.approx((100 * float(low), 100 * float(high)))


# Sentences

FIGURES: dict[str, Any] = {
    "rows": 1000,
    "leads": 400,
    "conversions": 100,
    "base_rate": 0.1,
    "unscored": 0,
    "warning": "",
    "split": "time",
    "signal": True,
    "repeatable": True,
    "conversions_needed": 0,
    "level": 0.0,
    "level_rows": 0,
    "level_moved": False,
    "level_shift": -0.1,
    "level_shift_low": -0.2,
    "level_shift_high": 0.1,
    "level_shifted": False,
    "interval_coverage": 0.95,
    "capture_10": 0.33,
    "lift_10": 3.3,
    "auc": 0.78,
    "calibration_error": 0.008,
    "optimism_gap": 0.02,
    "optimism_gap_low": -0.01,
    "optimism_gap_high": 0.05,
    "random_split_auc": 0.8,
}
RELIABILITY = pd.DataFrame({"bin": [1, 2], "holds": [True, True]})
LEAKS = pd.DataFrame(
    {
        "column": ["source", "owner", "email"],
        "verdict": ["clear", "leak", np.nan],
        "in_model": [True, False, False],
        "reason": ["criterion Source", "assigned at the end", "role is personal"],
    }
)
RESOLVED = resolved_with(source={"role": "feature", "type": "category", "known_at": "creation"})


def rivals(own: float) -> pd.DataFrame:
    rows = [("candidate", own), ("base_rate", 0.36), ("logistic", 0.31)]
    return pd.DataFrame(
        [
            {"system": name, "metric": metric, "value": loss if metric == "log_loss" else 1.0}
            for name, loss in rows
            for metric in ("log_loss", "brier", "auc", "lift_10", "calibration_error")
        ]
    ).assign(low=lambda table: table["value"] - 0.01, high=lambda table: table["value"] + 0.01)


def headlines(own: float = 0.30, **changes: Any) -> list[str]:
    around = {"from": 25.0, "to": 35.0, "rows": 500, "score": 30.2, "of_100": 31.4, "low": 27.6, "high": 35.3}
    tables = {
        "rivals": rivals(own),
        "intervals": pd.DataFrame({"metric": ["capture_10"], "value": [0.33], "low": [0.30], "high": [0.36]}),
    }
    return report_facts.headlines(FIGURES | changes, tables, around, "within 30 days after it is scored")


def test_the_first_screen_says_what_the_score_is_and_how_good() -> None:
    said = headlines()
    assert said[0] == (
        "The score is the chance, in per cent, that a lead converts within 30 days after it is scored. Of 100 leads "
        "with a score around 30, about 31 convert (28 to 35; 500 snapshots with scores from 25 to 35)."
    )
    assert "finds 33% of all conversions (30% to 36%): 3.3 times as many" in said[1]
    assert "first 78% of the time" in said[2]
    assert "0.8 points apart" in said[3]
    assert "than those of all 2 simpler systems" in said[4]


def test_a_rival_that_does_better_is_not_kept_quiet() -> None:
    assert "1 of 2 simpler systems beside it forecast closer" in headlines(0.32)[4]


def test_without_a_signal_nothing_else_is_claimed() -> None:
    said = headlines(signal=False)
    assert len(said) == 2
    assert "tells no lead from another" in said[1]


def warnings(params: Evaluate, reliability: pd.DataFrame = RELIABILITY, **changes: Any) -> list[str]:
    return report_facts.warnings(FIGURES | changes, {"reliability": reliability, "leaks": LEAKS}, RESOLVED, params)


def test_a_good_run_is_warned_of_nothing(params: Evaluate) -> None:
    assert warnings(params) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"warning": metrics.RANDOM_SPLIT}, "parted at RANDOM"),
        ({"signal": False, "signal_standard_errors": -0.8}, "NO SIGNAL: out of sample the ranking was only −0.8"),
        ({"conversions_needed": 1200}, "FEW CONVERSIONS"),
        ({"repeatable": False}, "NOT REPEATABLE"),
        ({"level_moved": True, "level": -0.4, "level_rows": 900}, "current level of −0.40"),
        ({"level_shifted": True}, "THE LEVEL HAS MOVED SINCE"),
        ({"unscored": 1234}, "1,234 further snapshots"),
    ],
)
def test_a_reader_is_warned(params: Evaluate, changes: dict[str, Any], words: str) -> None:
    (said,) = warnings(params, **changes)
    assert words in said


def test_bins_that_miss_are_warned_of(params: Evaluate) -> None:
    (said,) = warnings(params, RELIABILITY.assign(holds=[True, False]))
    assert said.startswith("1 of 2 groups of equal size convert more or less often than their score says")


def test_honesty_gives_the_shift_in_points_at_the_average(params: Evaluate) -> None:
    said = report_facts.honesty(FIGURES, RELIABILITY, 0.9, params)
    assert "cut into 2 groups of equal size. In 2 of them" in said[0]
    assert "in 90% of cases. In groups of the test window it did so in 95%" in said[1]
    # 0.1 in log-odds at a rate of 0.1 is 0.1 x 0.1 x 0.9: 0.9 points.
    assert said[2] == (
        "Overall, conversions came as often as promised: the difference lies within what chance explains (about 0.9 "
        "points at the average lead; −0.10 in log-odds, −0.20 to +0.10)."
    )
    surely = report_facts.honesty(FIGURES | {"level_shift_high": -0.05}, RELIABILITY, 0.9, params)
    assert surely[2].startswith("Overall, conversions lay below what was promised")


@pytest.mark.parametrize(
    ("log", "page"),
    [
        ("With `owner` the AUC is -0.16 off", "With “owner” the AUC is −0.16 off"),
        ("from (-0.005 to +0.029)", "from (−0.005 to +0.029)"),
        ("on 2024-06-22, e-mail-1", "on 2024-06-22, e-mail-1"),
    ],
)
def test_sentences_of_a_log_are_set_for_a_page(log: str, page: str) -> None:
    assert report_facts.typeset(log) == page


# Tables


def test_rivals_come_after_the_candidate_by_log_loss_and_the_best_is_marked() -> None:
    found = report_facts.rivals(rivals(0.32))
    assert [row["system"] for row in found] == ["candidate", "logistic", "base_rate"]
    assert [row["log_loss"]["best"] for row in found] == [False, True, False]
    assert found[1]["log_loss"]["low"] == pytest.approx(0.30)


@pytest.mark.parametrize(
    ("slope", "low", "high", "changed", "kind"),
    [
        (1.1, 0.4, 1.8, False, "steady"),
        (0.5, 0.1, 0.9, False, "weaker"),
        (1.9, 1.1, 2.7, False, "stronger"),
        (-0.9, -1.5, -0.2, True, "turned"),
        (0.3, -0.2, 0.9, False, "weaker"),
        (5.0, -40.0, 50.0, False, "unclear"),  # holds 1, and 0 as well
        (1.0, 0.0, 2.0, False, "unclear"),
        (np.nan, np.nan, np.nan, False, "unclear"),
    ],
)
def test_a_quarter_says_of_a_criterion_what_it_can(
    slope: float, low: float, high: float, changed: bool, kind: str
) -> None:
    table = pd.DataFrame(
        {
            "quarter": ["2024Q3"],
            "criterion": ["Visits"],
            "slope": [slope],
            "slope_low": [low],
            "slope_high": [high],
            "changed_sign": [changed],
        }
    )
    found = report_facts.steadiness(table, ["Current level", "Visits"])
    assert found["quarters"] == ["2024Q3"]
    (row,) = found["rows"]
    assert (row["criterion"], row["cells"][0]["kind"]) == ("Visits", kind)


def test_drivers_are_told_in_words_and_thousandths() -> None:
    table = pd.DataFrame(
        {
            "criterion": ["Visits", "Current level"],
            "group": ["engagement", np.nan],
            "mean_absolute_points": [3.9, 0.5],
            "share": [0.9, 0.1],
            "direction": ["rising", np.nan],
            "adds": [0.016, np.nan],
            "adds_low": [0.013, np.nan],
            "adds_high": [0.019, np.nan],
            "verdict": ["adds", np.nan],
            "turned": [1.0, np.nan],
            "agrees": ["in part", np.nan],
        }
    )
    visits, level = report_facts.drivers(table)
    assert (visits["direction"], visits["verdict"], visits["turned"]) == ("the more, the better", "helps", 1)
    assert visits["adds"] == pytest.approx(16.0)
    assert (visits["agrees"], level["agrees"]) == ("in part", "")
    assert (level["group"], level["direction"], level["adds"], level["turned"]) == ("", "", None, 0)


def test_columns_left_out_are_named_with_their_reason() -> None:
    periods = pd.DataFrame({"column": ["source", "week"], "verdict": ["kept", "left out"]})
    assert report_facts.left_out({"leaks": LEAKS, "periods": periods}) == [
        {"column": "owner", "why": "assigned at the end", "verdict": "leak"},
        {"column": "email", "why": "role is personal", "verdict": ""},
        {"column": "week", "why": "tells when rather than who a lead is", "verdict": ""},
    ]


def test_groups_are_counted_in_words(params: Evaluate) -> None:
    table = pd.DataFrame(
        {
            "feature": ["region", "region", "size"],
            "gap_low": [0.01, -0.1, -0.1],
            "gap_high": [0.2, 0.1, 0.1],
            "below_four_fifths": [False, True, False],
        }
    )
    said = report_facts.fairness(table, params)
    assert said[0].startswith("3 groups of at least 100 snapshots, by 2 columns of the contract. In 1 of them")
    assert said[1].startswith("In 1 of 2 columns some group reaches the top tier less than four fifths")
    assert "nothing to compare" in report_facts.fairness(table.head(0), params)[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "0.800 instead of 0.780: a difference of +0.020 (−0.010 to +0.050), no more than chance explains."),
        ({"optimism_gap_low": 0.01}, "(+0.010 to +0.050)."),
    ],
)
def test_the_split_says_what_a_random_one_would_have_claimed(changes: dict[str, float], words: str) -> None:
    assert report_facts.splits(FIGURES | changes)[1].endswith(words)


def test_a_random_split_knows_nothing_of_later_leads() -> None:
    figures = {name: value for name, value in FIGURES.items() if name != "optimism_gap"}
    assert "parted at random" in report_facts.splits(figures | {"split": "random"})[0]
    assert "was not measured" in report_facts.splits(figures)[0]


def test_what_it_is_made_of() -> None:
    members = [{"family": "logistic", "weight": 0.25}, {"family": "xgboost", "weight": 0.4}]
    members += [{"family": "logistic", "weight": 0.35}]
    criteria = pd.DataFrame({"criterion": ["Source"]})
    assert report_facts.made_of(members, RESOLVED, criteria) == (
        "A weighted sum of logistic regressions (60%) and sets of boosted trees (XGBoost) (40%), then calibrated. It "
        "reads 1 fact about a lead, told as 1 criterion."
    )
    assert report_facts.made_of([], RESOLVED, criteria).startswith("The base rate. ")


# The whole


def test_examples_and_quiz_add_up(params: Evaluate) -> None:
    tables = {
        "rivals": rivals(0.3),
        "intervals": pd.DataFrame({"metric": ["capture_10"], "value": [0.33], "low": [0.30], "high": [0.36]}),
        "reliability": RELIABILITY,
        "fairness": pd.DataFrame(columns=["feature", "gap_low", "gap_high", "below_four_fifths"]),
        "leaks": LEAKS,
        "periods": pd.DataFrame({"column": [], "verdict": []}),
        "leak_price": pd.DataFrame({"sentence": ["Not priced.", "Not priced."]}),
        "criteria": pd.DataFrame(
            columns=[
                "criterion",
                "group",
                "mean_absolute_points",
                "share",
                "direction",
                "adds",
                "adds_low",
                "adds_high",
            ]
            + ["verdict", "turned"]
        ),
        "criteria_over_time": pd.DataFrame(columns=["quarter", "criterion", "slope"]),
    }
    rows = scores([40.0, 30.0, 20.0, 10.0], [1, 0, 0, 0])
    taught = examples.telling(rows)
    found = report_facts.gather(FIGURES | {"model_version": "demo-1"}, rows, taught, tables, RESOLVED, [], params, 0.9)
    assert found["leaks"] == ["Not priced."]
    assert found["dated"] is True
    assert [row["lead"] for row in found["top"]] == ["L0", "L1", "L2", "L3"]
    for one in found["examples"]:
        assert round(10 * one["base"]) + sum(round(10 * reason["points"]) for reason in one["all_reasons"]) == round(
            10 * one["score"]
        )
        assert f"{one['base']:.1f} + {one['up']:.1f} − {abs(one['down']):.1f} = {one['score']:.1f}" in one["reading"]
    answers = [one["answer"] for one in found["quiz"]]
    assert answers[1].startswith("Good: it is 3.0 times the average.")
    assert answers[2] == "42.0 + 0.0 − 2.0 = 40.0. Nothing is left over."


@pytest.mark.parametrize(
    ("average", "words"),
    [
        (0.0, "Nothing can be said"),
        (10.0, "Good: it is 3.0"),
        (30.0, "About average"),
        (60.0, "Rather low: the average lead is 2.0"),
    ],
)
def test_a_score_is_compared_with_the_average(average: float, words: str) -> None:
    assert report_facts._against_average(30, average).startswith(words)
