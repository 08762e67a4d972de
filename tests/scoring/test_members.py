"""Members: each chosen setting is fitted as tune judged it, under a seed of its own, and the blend is centred."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.params import load
from pipeline.scorer.calibration import sigmoid
from pipeline.scorer.margin import XGBoostMember
from pipeline.scoring import fit, members, search

PARAMS = load(Path(__file__).parents[2] / "params.yaml")
TUNE, TRAIN, RUN = PARAMS.tune, PARAMS.train, PARAMS.run


def history(n: int = 800) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(np.random.SeedSequence([1]))
    frame = pd.DataFrame({"a": rng.normal(size=n), "word": pd.Series(rng.choice(["x", "y", "z"], n), dtype="str")})
    label = rng.random(n) < sigmoid(-1 + frame["a"] + (frame["word"] == "y"))
    return frame, label.astype("float64"), np.arange(n)


def chosen() -> list[dict]:
    """As tune writes it: a logistic regression, and trees on rates that correct a scorecard."""
    trees = TUNE.xgboost.first[0].model_copy(update={"start": "scorecard", "categories": "target"})
    trials = [
        search.Trial("logistic", 0, TUNE.logistic.first[0], [0.5], 0),
        search.Trial("xgboost", 0, trees, [0.5], 6),
        search.Trial("scorecard", 0, TUNE.scorecard.first[0], [0.6], 0),
    ]
    return search.members(trials, np.array([0.25, 0.75, 0.0]), TUNE)


def test_trials_without_weight_are_no_members_and_trees_carry_their_start():
    entries = chosen()
    assert [(entry["family"], entry["weight"], entry["rounds"]) for entry in entries] == [
        ("logistic", 0.25, 0),
        ("xgboost", 0.75, 6),
    ]
    assert entries[0]["start"] is None
    assert entries[1]["start"] == TUNE.scorecard.first[-1].model_dump()


def test_a_member_is_what_its_settings_fit():
    frame, label, place = history()
    margin = members.fit(frame, label, place, chosen(), TRAIN, RUN)
    rows = fit.Rows.encode(frame, label, place)
    start = fit.Start(TUNE.scorecard.first[-1], TUNE.logistic.clip)
    seed = int(np.random.SeedSequence([RUN.seed, 1]).generate_state(1)[0])
    settings = fit.settings_of("xgboost", chosen()[1]["settings"])
    again = fit.fit_xgboost(rows, settings, rounds=6, seed=seed, threads=1, start=start)
    found = margin.members[1]
    assert isinstance(found, XGBoostMember)
    np.testing.assert_array_equal(found.margin(rows.matrix), again.margin(rows.matrix))
    assert found.start == fit.fit_scorecard(rows, TUNE.scorecard.first[-1])
    assert found.values == again.values != {}


def test_the_base_is_the_mean_over_evenly_spread_rows():
    frame, label, place = history()
    every, some = (
        members.fit(frame, label, place, chosen(), TRAIN.model_copy(update={"base_rows": rows}), RUN)
        for rows in (800, 100)
    )
    assert every.contributions(frame).mean(axis=0) == pytest.approx(np.zeros(2), abs=1e-9)
    assert some.contributions(frame.iloc[::8]).mean(axis=0) == pytest.approx(np.zeros(2), abs=1e-9)
    np.testing.assert_allclose(some.values(frame), every.values(frame), atol=1e-9)


def test_directions_reach_every_member():
    frame, label, place = history()
    turned = members.fit(frame, label, place, chosen(), TRAIN, RUN, directions=np.array([-1, 0]))
    grid = pd.DataFrame({"a": np.linspace(-3, 3, 50), "word": pd.Series(["x"] * 50, dtype="str")})
    assert (np.diff(turned.values(grid)) <= 1e-6).all()
    assert (np.diff(members.fit(frame, label, place, chosen(), TRAIN, RUN).values(grid)) > 0).any()


def snapshots(n: int = 1500) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A lead a day, the newest third the calibrate window."""
    frame, label, place = history(n)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(place, unit="D")
    split = np.where(place < 1000, "train", "calibrate")
    keys = pd.DataFrame({"lead_id": [f"L{k:05d}" for k in place], "as_of": days, "label": label.astype("int8")})
    return keys.assign(split=split, position=place), frame


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """As the search gives it, with margins that no member would give."""
    return rows[["lead_id", "as_of"]].assign(fold=np.arange(len(rows)) % 3, margin=100.0 + np.arange(len(rows)))


def test_where_the_search_looked_at_all_its_margins_are_taken():
    rows, frame = snapshots()
    seen = judged(rows[rows["position"] >= 750])
    found = members.out_of_sample(seen, rows, frame, chosen(), TRAIN, RUN, horizon_days=30)
    assert list(found) == ["lead_id", "as_of", "group", "margin", "label", "split", "position"]
    pd.testing.assert_frame_equal(
        found[["lead_id", "as_of", "group", "margin"]], seen.rename(columns={"fold": "group"}).reset_index(drop=True)
    )
    assert found["label"].tolist() == rows.loc[rows["position"] >= 750, "label"].tolist()


def test_where_the_search_looked_at_some_the_calibrate_window_is_scored_whole_by_members_that_had_not_seen_it():
    rows, frame = snapshots()
    seen = judged(rows[(rows["position"] >= 750) & (rows["position"] % 3 == 0)])
    found = members.out_of_sample(seen, rows, frame, chosen(), TRAIN, RUN, horizon_days=30)
    assert list(found) == ["lead_id", "as_of", "group", "margin", "label", "split", "position"]
    assert found["lead_id"].tolist() == rows.loc[1000:, "lead_id"].tolist()
    assert set(found["split"]) == {"calibrate"} and set(found["group"]) == {-1}
    # By hand: fitted on leads whose outcome was known by day 1,000, and moved to the level of all rows.
    label = rows["label"].to_numpy(dtype="float64")
    margin = members.fit(frame[:971], label[:971], rows["position"].to_numpy()[:971], chosen(), TRAIN, RUN)
    moved = fit.log_odds(label) - fit.log_odds(label[:971])
    np.testing.assert_allclose(found["margin"], margin.values(frame[1000:]) + moved, atol=1e-12)


def test_the_base_rate_is_one_chance_for_every_lead():
    frame, label, _ = history()
    margin = members.base_rate(frame, label)
    assert margin.members == []
    np.testing.assert_allclose(sigmoid(margin.values(frame)), label.mean(), rtol=1e-12)
    unseen = frame.assign(word=pd.Series(["?"] * len(frame), dtype="str"))
    np.testing.assert_array_equal(margin.values(unseen), margin.values(frame))
    assert np.isfinite(members.base_rate(frame, np.zeros(len(frame))).base)
