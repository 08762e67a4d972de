"""train on a small demo run: the members are those that tune chose, and the base is the mean training margin."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.scorer.features import feature_list
from pipeline.scorer.margin import Margin


def test_members_are_the_chosen_ones_centred_on_the_train_window(demo_run):
    folder = demo_run / "data/train/members"
    margin = Margin.restore(json.loads((folder / "margin.json").read_text()), folder)
    best = json.loads((demo_run / "data/tune/best.json").read_text())["members"]
    assert [member.kind for member in margin.members] == [entry["family"] for entry in best]
    assert margin.weights == [entry["weight"] for entry in best]
    snapshots = pd.read_parquet(demo_run / "data/featurize/snapshots.parquet")
    train = snapshots[snapshots["split"] == "train"]
    names = [
        feature["name"] for feature in feature_list(json.loads((demo_run / "data/featurize/features.json").read_text()))
    ]
    contributions = margin.contributions(train[names])
    assert np.abs(contributions.mean(axis=0)).max() == pytest.approx(0, abs=1e-9)
    # A fitted margin's mean chance is the conversion rate it was fitted to, up to the shrinkage of its penalties.
    chance = 1 / (1 + np.exp(-(margin.base + contributions.sum(axis=1))))
    assert chance.mean() == pytest.approx(train["label"].mean(), rel=0.05)


def test_the_summary_says_what_was_learned_from(demo_run):
    summary = json.loads((demo_run / "data/train/summary.json").read_text())
    windows = pd.read_csv(demo_run / "data/featurize/splits.csv").set_index("split")
    assert summary["rows"] == windows.loc["train", "snapshots"]
    assert summary["conversions"] == windows.loc["train", "conversions"]


def test_nothing_is_pickled(demo_run):
    assert {file.suffix for file in (demo_run / "data/train/members").iterdir()} <= {".json", ".ubj"}
