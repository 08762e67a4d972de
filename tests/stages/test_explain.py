"""explain on a small demo run: sums are exact, weights follow from the parts, and the figures' tables tell the same."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.leads.snapshots import rows_at
from pipeline.params import load
from pipeline.scorer import Scorer
from pipeline.scorer.features import feature_list

KEY = ["lead_id", "as_of"]


@pytest.fixture(scope="module")
def run(demo_run):
    folder = demo_run / "data" / "explain"
    return {
        "criteria": pd.read_csv(folder / "criteria.csv", keep_default_na=False),
        "features": pd.read_csv(folder / "features.csv"),
        "over_time": pd.read_csv(folder / "criteria_over_time.csv"),
        "by_fold": pd.read_csv(folder / "criteria_by_fold.csv"),
        "folds": pd.read_csv(demo_run / "data" / "tune" / "folds.csv"),
        "dependence": pd.read_csv(folder / "dependence.csv", keep_default_na=False),
        "waterfalls": pd.read_csv(folder / "waterfalls.csv", keep_default_na=False, parse_dates=["as_of"]),
        "contributions": pd.read_parquet(folder / "contributions.parquet"),
        "summary": json.loads((folder / "summary.json").read_text()),
        "scores": pd.read_parquet(demo_run / "data" / "evaluate" / "scores.parquet"),
        "specified": feature_list(json.loads((demo_run / "data" / "featurize" / "features.json").read_text())),
        "params": load(demo_run / "params.yaml").explain,
    }


def test_scores_are_what_the_scorer_makes_of_the_raw_rows_of_the_test_window(run, demo_run):
    data = demo_run / "data"
    saved = pd.read_parquet(data / "explain" / "scores.parquet")
    pd.testing.assert_frame_equal(saved, run["scores"].drop(columns="label"))
    leads, activities, changes = (
        pd.read_parquet(data / "validate" / f"{name}.parquet") for name in ("leads", "activities", "changes")
    )
    some = saved.iloc[::29].reset_index(drop=True)
    again = Scorer.load(data / "calibrate" / "scorer").score(rows_at(leads, some[KEY]), activities, changes)
    pd.testing.assert_frame_equal(some, again, check_exact=True)


def test_every_test_row_adds_up_and_contributions_are_shaps(run):
    summary = run["summary"]
    assert summary["rows_checked"] == summary["rows_adding_up"] == len(run["scores"])
    assert summary["sampled_rows"] == len(run["contributions"]) == min(run["params"].sample_rows, len(run["scores"]))
    assert summary["largest_relative_difference"] < 1e-4
    # XGBoost keeps margins in single precision.
    assert summary["largest_margin_difference"] < 1e-4
    assert summary["largest_probability_difference"] < 1e-9


def test_contributions_belong_to_test_rows_and_to_every_feature(run):
    contributions = run["contributions"]
    assert list(contributions.columns) == [*KEY, *(feature["name"] for feature in run["specified"])]
    assert len(contributions.merge(run["scores"][KEY], on=KEY)) == len(contributions)
    assert contributions[KEY].equals(contributions[KEY].sort_values(KEY))
    assert np.isfinite(contributions.drop(columns=KEY)).all(axis=None)


def test_feature_weights_are_means_of_the_contributions(run):
    weights = run["features"].set_index("feature")["mean_absolute_log_odds"]
    assert set(weights.index) == {feature["name"] for feature in run["specified"]}
    assert weights.is_monotonic_decreasing
    first = weights.index[0]
    assert weights[first] == pytest.approx(run["contributions"][first].abs().mean())


def test_criteria_weights_are_means_of_the_reasons(run):
    criteria = run["criteria"].set_index("criterion")
    assert criteria["mean_absolute_points"].is_monotonic_decreasing
    assert criteria["share"].sum() == pytest.approx(1.0)
    listed = [{one["criterion"]: one["points"] for one in json.loads(text)} for text in run["scores"]["reasons"]]
    first = criteria.index[0]
    points = np.array([reasons.get(first, 0.0) for reasons in listed])
    assert criteria.loc[first, "mean_absolute_points"] == pytest.approx(np.abs(points).mean())
    assert criteria.loc[first, "mean_points"] == pytest.approx(points.mean())


def test_waterfalls_show_the_highest_and_the_lowest_score(run):
    waterfalls, scores = run["waterfalls"], run["scores"]
    ends = waterfalls[waterfalls["kind"] == "score"]
    assert len(ends) == run["params"].waterfalls
    assert ends["points"].iloc[0] == scores["score"].max()
    assert ends["points"].iloc[-1] == scores["score"].min()
    for _, steps in waterfalls.groupby(KEY):
        inner = steps[steps["kind"] != "score"]
        assert inner["points"].sum() == pytest.approx(steps["points"].iloc[-1], abs=1e-9)
        assert (inner["start"].to_numpy()[1:] == inner["end"].to_numpy()[:-1]).all()


def test_what_was_learned_is_judged_for_every_criterion_on_every_test_row(run):
    judged = run["criteria"][run["criteria"]["criterion"] != "Current level"]
    assert set(judged["verdict"]) <= {"adds", "adds nothing", "misleads"}
    assert set(judged["direction"]) <= {"rising", "falling", "mixed", "by value"}
    numbers = judged[["adds", "adds_low", "adds_high", "least", "most"]].astype("float64")
    assert (numbers["adds_low"] <= numbers["adds"]).all() and (numbers["adds"] <= numbers["adds_high"]).all()
    assert (numbers["least"] <= numbers["most"]).all()
    over_time = run["over_time"]
    assert over_time.groupby("criterion")["rows"].sum().eq(len(run["scores"])).all()
    assert set(over_time["criterion"]) == set(judged["criterion"])
    turned = over_time.groupby("criterion")["changed_sign"].sum()
    assert judged.set_index("criterion")["turned"].astype("float64").eq(turned).all()


def test_every_criterion_is_judged_in_every_fold_of_the_search(run):
    by_fold, folds = run["by_fold"], run["folds"]
    judged = run["criteria"][run["criteria"]["criterion"] != "Current level"].set_index("criterion")
    assert (by_fold.groupby("fold")["criterion"].nunique() == len(judged)).all()
    assert by_fold.groupby("fold")["rows"].first().tolist() == folds["judged"].tolist()
    assert by_fold.groupby("fold")["conversions"].first().tolist() == folds["judged_conversions"].tolist()
    means = by_fold.groupby("criterion")["adds"].mean()
    assert judged["folds_adds"].astype("float64").sort_index().tolist() == pytest.approx(means.sort_index().tolist())
    assert judged["folds"].astype("float64").eq(len(folds)).all()
    assert set(judged["agrees"]) <= {"yes", "in part", "no"}
    strongest = judged.index[0]
    assert judged.loc[strongest, ["verdict", "folds_verdict", "agrees"]].tolist() == ["adds", "adds", "yes"]


def test_dependence_holds_every_test_row_once_per_feature(run):
    rows = run["dependence"].groupby("feature")["rows"].sum()
    assert set(rows.index) == {feature["name"] for feature in run["specified"]}
    assert rows.eq(len(run["scores"])).all()


def test_waterfalls_tell_what_stands_behind_each_reason(run):
    reasons = run["waterfalls"][run["waterfalls"]["kind"] == "reason"]
    assert (reasons["text"] != "").all()
    assert run["waterfalls"].loc[run["waterfalls"]["kind"] != "reason", "text"].eq("").all()
