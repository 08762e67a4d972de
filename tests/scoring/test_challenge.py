"""A candidate beside the champion: better ones pass, worse ones and copies do not; what cannot be compared is said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pipeline import params
from pipeline.leads import lineage
from pipeline.scoring import challenge

LEADS, LOOKS = 3000, 2


def drawn(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Test snapshots of leads whose true log-odds are known, two looks each."""
    rng = np.random.default_rng([seed, 11])
    truth = np.repeat(rng.normal(-1.8, 1.2, LEADS), LOOKS) + rng.normal(0, 0.3, LEADS * LOOKS)
    frame = pd.DataFrame(
        {
            "lead_id": np.repeat([f"L{k:05d}" for k in range(LEADS)], LOOKS),
            "label": (rng.random(LEADS * LOOKS) < expit(truth)).astype("int8"),
            "position": np.repeat(np.arange(LEADS), LOOKS),
            "source": np.repeat(rng.choice(["event", "list", "search"], LEADS), LOOKS),
        }
    )
    return frame, truth


def expit(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))


def noisy(truth: np.ndarray, spread: float, seed: int) -> np.ndarray:
    """Chances that miss the law by so much in log-odds, calibrated: shrunken as far as the noise asks."""
    seen = truth + np.random.default_rng([seed, 12]).normal(0, spread, len(truth))
    kept = truth.var() / (truth.var() + spread**2)
    return expit(truth.mean() + kept * (seen - truth.mean()))


def taught(newest: str = "2024-07-01", **outcome: object) -> lineage.Known:
    meaning = {"kind": "flag", "horizon_days": 0} | outcome
    splits = pd.DataFrame({"split": ["calibrate"], "end": [0]})
    provenance = {"newest_recorded_at": newest, "source": {}}
    return lineage.known({"contract": {"outcome": meaning, "time": {"kind": "row_order"}}}, splits, provenance, 1)


@pytest.fixture(scope="module")
def settings(project_root):
    found = params.load(project_root / "params.yaml")
    limits = found.register_.model_copy(update={"bootstrap_samples": 100})
    return limits, found.evaluate


def judge(settings, frame, candidate, champion, *, mine=None, theirs=None, why_not=""):
    created = pd.Series(pd.NaT, index=frame.index)
    return challenge.judge(
        *(frame, created, candidate, champion, mine or taught(), theirs or taught(), why_not),
        ["source"],
        *settings,
        seed=1,
    )


def failed(verdict: challenge.Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_truly_better_candidates_pass_and_worse_ones_do_not(settings):
    """Beside a champion that misses the law by 0.6: the law itself, and one that misses it by 1.2."""
    better, worse = [], []
    for seed in range(8):
        frame, truth = drawn(seed)
        champion = noisy(truth, 0.6, seed)
        better.append(failed(judge(settings, frame, expit(truth), champion)))
        worse.append(failed(judge(settings, frame, noisy(truth, 1.2, seed + 100), champion)))
    assert better == [[]] * 8
    assert all("champion_log_loss" in found for found in worse)


def test_a_copy_and_one_that_is_a_little_worse_gain_nothing(settings):
    frame, truth = drawn(1)
    champion = noisy(truth, 0.6, 1)
    copy = judge(settings, frame, champion.copy(), champion)
    assert failed(copy) == ["champion_log_loss"]
    assert (
        "as good, not surely better, from data that are newer by 0 days; as good is enough from 28 days"
        in copy.checks[0].sentence
    )
    shaken = expit(np.log(champion / (1 - champion)) + np.random.default_rng(3).normal(0, 0.1, len(frame)))
    assert "champion_log_loss" in failed(judge(settings, frame, shaken, champion))


@pytest.mark.parametrize(("newest", "passes"), [("2024-07-28", False), ("2024-07-29", True), ("2024-06-01", False)])
def test_one_that_is_as_good_passes_where_its_data_are_newer(settings, newest, passes):
    frame, truth = drawn(2)
    champion = noisy(truth, 0.6, 2)
    verdict = judge(settings, frame, champion.copy(), champion, mine=taught(newest))
    assert ("champion_log_loss" not in failed(verdict)) is passes
    assert ("champion_data" in failed(verdict)) is (newest < "2024-07-01")


def test_better_ranking_does_not_buy_worse_calibration(settings):
    frame, truth = drawn(3)
    sharper = judge(settings, frame, expit(truth - 0.25), noisy(truth, 0.8, 3))
    assert "champion_calibration_error" in failed(sharper)


def test_calibration_worse_than_the_slack_is_found_whatever_chance_adds_to_it(settings):
    """Beside the law itself: scores 2.5 points too high on average, and the law once more."""
    off, same = [], []
    for seed in range(8):
        frame, truth = drawn(seed)
        law = expit(truth)
        for found, candidate in ((off, np.clip(law + 0.025, 0.001, 0.999)), (same, law)):
            verdict = judge(settings, frame, candidate, law, mine=taught("2024-09-01"))
            found.append("champion_calibration_error" in failed(verdict))
    assert off == [True] * 8
    assert same == [False] * 8


def test_a_group_that_is_met_worse_is_named(settings):
    frame, truth = drawn(4)
    champion = noisy(truth, 0.6, 4)
    off = expit(np.where(frame["source"] == "event", truth - 0.8, truth))
    verdict = judge(settings, frame, off, champion)
    [check] = [check for check in verdict.checks if check.name == "champion_slices"]
    assert not check.passed and "1 of 3 groups of leads: source event (" in check.sentence
    # Recomputed for that group: how much further off its mean is than with the champion.
    mine = (frame["source"] == "event").to_numpy()
    gaps = [abs(frame["label"][mine].mean() - chance[mine].mean()) for chance in (off, champion)]
    assert check.figure == pytest.approx(gaps[0] - gaps[1])


def test_of_many_groups_the_worst_are_named_and_the_others_counted(settings):
    frame, truth = drawn(4)
    groups = frame.assign(source=[f"s{lead % 10}" for lead in frame["position"]])
    verdict = judge(settings, groups, expit(truth - 1.0), noisy(truth, 0.6, 4))
    [check] = [check for check in verdict.checks if check.name == "champion_slices"]
    assert check.sentence.count("points off") == 3 and "7 more." in check.sentence


def test_rows_that_the_champion_was_taught_on_or_refused_are_left_out_and_counted(settings):
    frame, truth = drawn(5)
    champion = noisy(truth, 0.6, 5)
    # It knows the outcomes of the first thousand leads, and cannot score ten rows after them.
    champion[frame["position"] < 1000] = np.where(frame["label"][frame["position"] < 1000] == 1, 0.999, 0.001)
    champion[2000:2010] = np.nan
    theirs = dataclasses.replace(taught(), splits=pd.DataFrame({"split": ["calibrate"], "end": [1000]}))
    verdict = judge(settings, frame, expit(truth), champion, theirs=theirs)
    assert (verdict.rows, verdict.taught, verdict.unscored) == (len(frame) - 2010, 2000, 10)
    assert failed(verdict) == []


def test_what_cannot_be_compared_is_said_and_no_check(settings):
    frame, truth = drawn(6)
    chance = expit(truth)
    other = judge(settings, frame, chance, chance, theirs=taught(horizon_days=30))
    assert other.checks == () and "its `horizon_days` is 30" in other.why_not
    gone = judge(settings, frame, chance, None, why_not="it lacks a column")
    assert gone.why_not == "it lacks a column"
    late = dataclasses.replace(taught(), splits=pd.DataFrame({"split": ["calibrate"], "end": [2990]}))
    few = judge(settings, frame, chance, chance, theirs=late)
    assert "hold" in few.why_not and "5,980 rows are left out" in few.why_not and few.taught == 5980
    assert few.warnings(7)[0].startswith("NOT COMPARABLE with the champion, version 7: the 20 test rows")
    assert few.described(identical=False)["comparable"] is False
    assert challenge.Verdict().described(identical=True) == {
        "comparable": False,
        "why_not": "",
        "rows": 0,
        "taught": 0,
        "unscored": 0,
    }
