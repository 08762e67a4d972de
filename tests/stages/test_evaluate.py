"""evaluate on a small demo run: figures follow from its rows by plain routes, and a scorer that strays is caught."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as library

from pipeline.params import load
from pipeline.paths import catalogue
from pipeline.scorer.features import feature_list
from pipeline.scoring import fields_outside
from pipeline.scoring.metrics import METRICS
from pipeline.scoring.rivals import RIVALS

KEY = ["lead_id", "as_of"]
#: The demo's strategist has a points card.
SYSTEMS = (*RIVALS, "card")


@pytest.fixture(scope="module")
def run(demo_run):
    folder = demo_run / "data" / "evaluate"
    tables = {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}
    tables |= {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}
    return tables | {"metrics": json.loads((folder / "metrics.json").read_text())}


@pytest.fixture(scope="module")
def snapshots(demo_run):
    return pd.read_parquet(demo_run / "data" / "featurize" / "snapshots.parquet")


def test_every_test_snapshot_has_a_score_and_every_rivals_probability(run, snapshots):
    test = snapshots.loc[snapshots["split"] == "test", [*KEY, "label"]].reset_index(drop=True)
    for name in ("scores", "rival_scores"):
        pd.testing.assert_frame_equal(run[name][[*KEY, "label"]], test)
    assert (run["scores"]["refused"] == "").all()
    assert list(run["rival_scores"].columns) == [*KEY, "label", *SYSTEMS]
    assert run["rival_scores"][list(SYSTEMS)].gt(0).all(axis=None)
    assert run["rival_scores"][list(SYSTEMS)].lt(1).all(axis=None)


def test_metrics_follow_from_the_scores_by_another_route(run):
    label, probability, metrics = run["scores"]["label"], run["scores"]["probability"], run["metrics"]
    assert metrics["log_loss"] == pytest.approx(library.log_loss(label, probability), abs=1e-12)
    assert metrics["brier"] == pytest.approx(library.brier_score_loss(label, probability), abs=1e-12)
    assert metrics["auc"] == pytest.approx(library.roc_auc_score(label, probability), abs=1e-12)
    assert metrics["average_precision"] == pytest.approx(library.average_precision_score(label, probability), abs=1e-12)
    assert metrics["base_rate"] == label.mean()
    assert (metrics["rows"], metrics["conversions"]) == (len(label), label.sum())
    assert metrics["leads"] == run["scores"]["lead_id"].nunique()
    assert (metrics["split"], metrics["unscored"]) == ("time", 0)
    assert metrics["model_version"] == run["scores"]["model_version"].iloc[0]


def test_the_base_rate_rival_is_the_rate_before_the_test_window(run, snapshots):
    before = snapshots.loc[snapshots["split"] != "test", "label"].mean()
    assert run["rival_scores"]["base_rate"].unique().tolist() == [before]
    assert run["rivals"].query("system == 'base_rate' and metric == 'lift_10'")["value"].item() == 1.0


def test_intervals_hold_their_figures_for_every_system(run):
    rivals = run["rivals"]
    assert rivals[["system", "metric"]].values.tolist() == [
        [system, metric] for system in ("candidate", *SYSTEMS) for metric in METRICS
    ]
    assert (rivals["low"] <= rivals["value"]).all()
    assert (rivals["value"] <= rivals["high"]).all()
    own = rivals[rivals["system"] == "candidate"].drop(columns="system").reset_index(drop=True)
    pd.testing.assert_frame_equal(run["intervals"], own)
    assert own.set_index("metric")["value"].to_dict() == pytest.approx({name: run["metrics"][name] for name in METRICS})


def test_the_candidate_beats_the_base_rate_and_the_best_single_feature(run):
    loss = run["rivals"].query("metric == 'log_loss'").set_index("system")["value"]
    assert loss["candidate"] < loss["one_feature"] < loss["base_rate"]


def test_reliability_and_lift_cover_every_row(run):
    assert run["reliability"]["rows"].sum() == run["metrics"]["rows"]
    assert run["metrics"]["bins_hold_share"] == pytest.approx(run["reliability"]["holds"].mean())
    gap = (run["reliability"]["observed"] - run["reliability"]["predicted"]).abs()
    assert np.average(gap, weights=run["reliability"]["rows"]) == pytest.approx(run["metrics"]["calibration_error"])
    lift = run["lift"].set_index("share")
    assert lift.index.tolist() == [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert lift.loc[1.0, ["lift", "capture"]].tolist() == [1.0, 1.0]
    assert lift.loc[0.2, "lift"] == pytest.approx(run["metrics"]["lift_20"])


def test_every_leak_has_its_price_and_the_model_none_of_them(run):
    price = run["leak_price"].set_index("column")
    leaks = {"deal_value_eur", "closing_discount_pct", "contract_owner", "loss_reason", "days_to_close"}
    assert set(price.index[price["verdict"] == "leak"]) == leaks
    assert price.index[-1] == "(all leaks)"
    assert not price["in_model"].any()
    assert (price["auc_gain"] > 0.05).all()
    assert price.loc["(all leaks)", "auc_with"] > 0.99
    assert price["auc_without"].nunique() == 1
    assert abs(price["auc_without"].iloc[0] - run["metrics"]["auc"]) < 0.03
    assert (run["metrics"]["leaks_overruled"], run["metrics"]["warning"]) == (0, "")


def test_the_demo_has_no_field_outside_the_model_to_suggest(run):
    """Every column that is no leak is in it; the table keeps its columns."""
    assert list(run["fields_outside"]) == fields_outside.COLUMNS and run["fields_outside"].empty


def test_slices_are_values_of_categorical_features_with_enough_rows(run, demo_run):
    spec = json.loads((demo_run / "data" / "featurize" / "features.json").read_text())
    categories = {feature["name"] for feature in feature_list(spec) if feature["type"] == "category"}
    assert set(run["slices"]["feature"]) == categories
    assert run["slices"]["rows"].min() >= load(demo_run / "params.yaml").evaluate.slice_min_rows
    np.testing.assert_allclose(run["slices"]["gap"], run["slices"]["observed"] - run["slices"]["predicted"])


def test_keys_name_their_rows(run):
    for name in ("intervals", "rivals", "reliability", "lift", "leak_price"):
        assert not run[name].duplicated(list(catalogue[f"evaluate/{name}.csv"].key)).any()
    assert not run["slices"].duplicated(["feature", "value"]).any()
    assert not run["fairness"].duplicated(["feature", "value"]).any()
    assert not run["examples"].duplicated([*KEY, "step"]).any()


def test_what_was_found_before_the_test_window_is_among_the_figures(run, demo_run):
    folder, figures = demo_run / "data", run["metrics"]
    best, train, calibrate = (
        json.loads((folder / name).read_text())
        for name in ("tune/best.json", "train/summary.json", "calibrate/summary.json")
    )
    assert (figures["signal"], figures["signal_standard_errors"]) == (True, train["signal"]["z"])
    assert (figures["conversions_needed"], figures["repeatable"]) == (best["conversions_needed"], True)
    assert (figures["level"], figures["level_rows"]) == (calibrate["level"]["log_odds"], calibrate["level"]["rows"])
    assert figures["level_moved"] == calibrate["level"]["moved"]


def test_the_shift_of_the_level_makes_predicted_and_observed_agree(run):
    figures, probability = run["metrics"], run["scores"]["probability"]
    odds = np.log(probability / (1 - probability)) + figures["level_shift"]
    assert (1 / (1 + np.exp(-odds))).sum() == pytest.approx(figures["conversions"])
    assert figures["level_shift_low"] < figures["level_shift"] < figures["level_shift_high"]
    assert not figures["level_shifted"], "the demo's law stands still"


def test_intervals_of_scores_cover_what_happened(run):
    """Twenty bins that should hold with 90 %: fewer than 14 of them has a chance of 0.2 %."""
    assert 0.7 <= run["metrics"]["interval_coverage"] <= 1
    scores = run["scores"]
    assert (scores["interval_low"] <= scores["probability"]).all()
    assert (scores["probability"] <= scores["interval_high"]).all()


def test_the_optimism_gap_is_a_figure_of_the_run(run):
    figures = run["metrics"]
    assert figures["optimism_gap"] == pytest.approx(figures["random_split_auc"] - figures["auc"])
    assert figures["optimism_gap_low"] < figures["optimism_gap"] < figures["optimism_gap_high"]
    assert figures["optimism_gap_log_loss"] == pytest.approx(figures["random_split_skill"] - figures["skill"])
    base = figures["base_rate"]
    nothing = -(base * np.log(base) + (1 - base) * np.log(1 - base))
    assert figures["skill"] == pytest.approx(1 - figures["log_loss"] / nothing)
    assert abs(figures["optimism_gap"]) < 0.15


def test_the_pages_hold_this_runs_figures(run, demo_run):
    folder, figures = demo_run / "data" / "evaluate", run["metrics"]
    report, training = ((folder / name).read_text() for name in ("report.html", "training.html"))
    assert f"Measured on {figures['rows']:,} snapshots of {figures['leads']:,} leads" in report
    assert f"finds {figures['capture_10']:.0%} of all conversions" in report
    assert all(figures["model_version"] in page for page in (report, training))
    assert len(report.encode()) < 5_000_000
    examples = run["examples"]
    last = examples[examples["kind"] == "score"]
    assert 3 <= len(last) <= 5 and last["lead_id"].is_unique
    scores = run["scores"].assign(as_of=lambda table: table["as_of"].astype("str")).set_index(KEY)["score"]
    for row in last.to_dict("records"):
        assert row["points"] == scores[(row["lead_id"], row["as_of"])]
        assert f"lead {row['lead_id']}" in training


def test_tiers_and_groups_hold_every_row_they_should(run):
    scores, tiers, groups = run["scores"], run["tiers"].set_index("tier"), run["fairness"]
    assert tiers["rows"].to_dict() == scores["tier"].value_counts().reindex(tiers.index, fill_value=0).to_dict()
    hits = scores.groupby("tier")["label"].sum()
    assert (tiers["capture"] * len(scores) * scores["label"].mean()).round(6).to_dict() == pytest.approx(
        hits.reindex(tiers.index, fill_value=0).to_dict()
    )
    # The slices are the same groups, reached by another route.
    merged = groups.merge(run["slices"], on=["feature", "value"], suffixes=("", "_slice"))
    assert len(merged) == len(groups) == len(run["slices"])
    np.testing.assert_allclose(merged["conversion"], merged["observed"])
    np.testing.assert_allclose(merged["gap"], merged["gap_slice"])
