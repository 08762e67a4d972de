"""tune on a small demo run: every trial is recorded, the kept ones weigh one together, and a second run repeats it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from pipeline.adapters.stage import Stage
from pipeline.params import load
from pipeline.paths import Workspace
from pipeline.scorer.features import feature_list
from pipeline.scoring import metrics
from pipeline.stages import tune


def test_every_trial_is_in_the_table_without_times(demo_run):
    params = load(demo_run / "params.yaml").tune
    trials = pd.read_csv(demo_run / "data/tune/trials.csv")
    assert trials["family"].value_counts().to_dict() == params.trials
    assert trials["weight"].sum() == pytest.approx(1)
    folds = [f"log_loss_fold_{k}" for k in range(params.folds)]
    # The mean over the folds that a trial was judged on: all of them, unless it ended early.
    assert np.allclose(trials[folds].mean(axis=1), trials["log_loss"])
    whole = trials["state"] == "complete"
    assert trials.loc[whole, folds].notna().all(axis=None)
    assert trials.loc[~whole, folds].isna().any(axis=1).all()
    assert (trials.loc[~whole, "weight"] == 0).all()
    assert not [name for name in trials if "time" in name or "duration" in name]
    for family in params.trials:
        mine = trials[trials["family"] == family]
        for (_, row), first in zip(mine.iterrows(), getattr(params, family).first, strict=False):
            assert row[list(first.model_dump())].to_dict() == first.model_dump()


def test_members_are_the_trials_with_weight(demo_run):
    best = json.loads((demo_run / "data/tune/best.json").read_text())
    trials = pd.read_csv(demo_run / "data/tune/trials.csv")
    used = trials[trials["weight"] > 0]
    assert [entry["family"] for entry in best["members"]] == used["family"].tolist()
    assert [entry["weight"] for entry in best["members"]] == pytest.approx(used["weight"].tolist())
    assert [entry["rounds"] for entry in best["members"]] == used["rounds"].tolist()
    assert all((entry["rounds"] > 0) is (entry["family"] == "xgboost") for entry in best["members"])
    assert best["trials"] == trials["family"].value_counts().to_dict()
    assert (best["repeatable"], best["conversions_needed"]) == (True, 0)
    # More than one kind of learner has a say on the demo.
    assert used["family"].nunique() > 1


def test_judged_margins_are_those_of_every_fold_and_rank_it(demo_run):
    judged = pd.read_parquet(demo_run / "data/tune/judged.parquet")
    folds = pd.read_csv(demo_run / "data/tune/folds.csv")
    assert judged.groupby("fold").size().tolist() == folds["judged"].tolist()
    snapshots = pd.read_parquet(demo_run / "data/featurize/snapshots.parquet")[
        ["lead_id", "as_of", "label", "split", "position"]
    ]
    rows = judged.merge(snapshots, on=["lead_id", "as_of"], validate="one_to_one")
    assert len(rows) == len(judged) and set(rows["split"]) == {"train", "calibrate"}
    for fold, part in rows.groupby("fold"):
        place = folds.set_index("fold").loc[fold]
        assert part["position"].between(place["start_position"], place["end_position"] - 1).all()
        assert part["label"].sum() == place["judged_conversions"]
        assert metrics.auc(part["label"], part["margin"]) > 0.65


def test_contributions_are_those_of_the_judged_rows(demo_run):
    judged = pd.read_parquet(demo_run / "data/tune/judged.parquet")
    contributions = pd.read_parquet(demo_run / "data/tune/contributions.parquet")
    assert contributions[["lead_id", "as_of"]].equals(judged[["lead_id", "as_of"]])
    specified = feature_list(json.loads((demo_run / "data/featurize/features.json").read_text()))
    names = [feature["name"] for feature in specified]
    assert list(contributions.columns[2:]) == names
    # What is left of the margin is the level of the fold, but for the few rows with a value new to its members.
    rest = judged["margin"] - contributions[names].sum(axis=1)
    apart = (rest - rest.groupby(judged["fold"]).transform("median")).abs()
    assert (apart < 1e-4).mean() > 0.98


def test_the_history_falls_and_ends_at_the_best(demo_run):
    history = pd.read_csv(demo_run / "data/tune/history.csv")
    assert history["best_log_loss"].is_monotonic_decreasing
    assert history["best_log_loss"].iloc[-1] == history["log_loss"].min()
    trials = pd.read_csv(demo_run / "data/tune/trials.csv")
    assert history["trial"].tolist() == trials.loc[trials["state"] == "complete", "trial"].tolist()


def test_folds_look_forward(demo_run):
    folds = pd.read_csv(demo_run / "data/tune/folds.csv")
    assert folds["learned"].is_monotonic_increasing
    assert (folds["start_position"].to_numpy()[1:] == folds["end_position"].to_numpy()[:-1]).all()
    snapshots = pd.read_parquet(demo_run / "data/featurize/snapshots.parquet")
    before = snapshots.loc[snapshots["split"] != "test", "position"]
    assert folds["end_position"].iloc[-1] == before.max() + 1


def test_a_second_run_elsewhere_with_other_threads_writes_the_same_bytes(demo_run, tmp_path):
    root = tmp_path / "moved"
    shutil.copytree(
        demo_run,
        root,
        ignore=shutil.ignore_patterns("mlruns", "tune", "train", "calibrate", "explain", "evaluate", "register"),
    )
    (root / "mlruns").mkdir()
    text = (root / "params.yaml").read_text()
    assert "threads: 2" in text
    (root / "params.yaml").write_text(text.replace("threads: 2", "threads: 1"))
    workspace = Workspace(root)
    Stage("tune", workspace, load(workspace.params)).execute(tune.run)
    again = json.loads((root / "data/tune/manifest.json").read_text())
    assert again == json.loads((demo_run / "data/tune/manifest.json").read_text())
