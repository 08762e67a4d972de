"""tune on a small demo run: every trial is recorded, the kept ones weigh one together, and a second run repeats it."""

import json
import shutil

import numpy as np
import pandas as pd

from pipeline.adapters.stage import Stage
from pipeline.params import load
from pipeline.paths import Workspace
from pipeline.stages import tune


def test_every_trial_is_in_the_table_without_times(demo_run):
    params = load(demo_run / "params.yaml").tune
    trials = pd.read_csv(demo_run / "data/tune/trials.csv")
    assert trials["family"].value_counts().to_dict() == params.trials
    assert trials["weight"].sum() == 1
    folds = [f"log_loss_fold_{k}" for k in range(params.folds)]
    assert np.allclose(trials[folds].mean(axis=1), trials["log_loss"])
    assert not [name for name in trials if "time" in name or "duration" in name]
    first = trials.groupby("family").first()
    assert first.loc["xgboost", "max_depth"] == params.xgboost.first.max_depth
    assert first.loc["logistic", "bins"] == params.logistic.first.bins


def test_the_history_falls_and_ends_at_the_best(demo_run):
    history = pd.read_csv(demo_run / "data/tune/history.csv")
    assert history["best_log_loss"].is_monotonic_decreasing
    assert history["best_log_loss"].iloc[-1] == history["log_loss"].min()


def test_folds_look_forward(demo_run):
    folds = pd.read_csv(demo_run / "data/tune/folds.csv")
    assert folds["learned"].is_monotonic_increasing
    assert (folds["start_position"].to_numpy()[1:] == folds["end_position"].to_numpy()[:-1]).all()


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
