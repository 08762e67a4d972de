"""train on a small demo run: members are those that tune chose, fitted on all that lies before the test window."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.params import load
from pipeline.scorer.features import feature_list
from pipeline.scorer.margin import Margin
from pipeline.scoring import metrics


@pytest.fixture(scope="module")
def run(demo_run):
    folder = demo_run / "data"
    snapshots = pd.read_parquet(folder / "featurize/snapshots.parquet")
    members = folder / "train/members"
    return {
        "margin": Margin.restore(json.loads((members / "margin.json").read_text()), members),
        "chosen": json.loads((folder / "tune/best.json").read_text())["members"],
        "before": snapshots[snapshots["split"] != "test"].reset_index(drop=True),
        "names": [
            feature["name"] for feature in feature_list(json.loads((folder / "featurize/features.json").read_text()))
        ],
        "summary": json.loads((folder / "train/summary.json").read_text()),
        "unseen": pd.read_parquet(folder / "train/out_of_sample.parquet"),
        "judged": pd.read_parquet(folder / "tune/judged.parquet"),
        "params": load(demo_run / "params.yaml").train,
    }


def test_members_are_the_chosen_ones(run):
    # A scorecard is handed over as the lookup that a logistic regression is.
    kinds = ["xgboost" if entry["family"] == "xgboost" else "logistic" for entry in run["chosen"]]
    weights = [entry["weight"] for entry in run["chosen"]]
    assert [member.kind for member in run["margin"].members] == kinds
    assert run["margin"].weights == weights and sum(weights) == pytest.approx(1)


def test_the_margin_is_centred_on_all_snapshots_before_the_test_window(run):
    margin, before = run["margin"], run["before"]
    assert len(before) <= run["params"].base_rows
    contributions = margin.contributions(before[run["names"]])
    assert np.abs(contributions.mean(axis=0)).max() == pytest.approx(0, abs=1e-9)
    # A fitted margin's mean chance is the conversion rate it was fitted to, up to the shrinkage of its penalties.
    chance = 1 / (1 + np.exp(-(margin.base + contributions.sum(axis=1))))
    assert chance.mean() == pytest.approx(before["label"].mean(), rel=0.05)


def test_the_summary_says_what_was_learned_from(run, demo_run):
    summary = run["summary"]
    windows = pd.read_csv(demo_run / "data/featurize/splits.csv").set_index("split").loc[["train", "calibrate"]]
    assert summary["rows"] == windows["snapshots"].sum() == len(run["before"])
    assert summary["conversions"] == windows["conversions"].sum()
    assert summary["features"] == len(run["names"])
    assert summary["base_margin"] == run["margin"].base
    assert [entry["weight"] for entry in summary["members"]] == run["margin"].weights


def test_rows_out_of_sample_are_those_that_the_search_judged(run):
    unseen = run["unseen"]
    assert list(unseen) == ["lead_id", "as_of", "group", "margin", "label", "split", "position"]
    assert not unseen.duplicated(["lead_id", "as_of"]).any()
    pd.testing.assert_frame_equal(
        unseen[["lead_id", "as_of", "group", "margin"]], run["judged"].rename(columns={"fold": "group"})
    )
    # The whole calibrate window, and the part of the train window that lies behind the first origin.
    assert (unseen["split"] == "calibrate").sum() == (run["before"]["split"] == "calibrate").sum()
    same = unseen.merge(run["before"], on=["lead_id", "as_of"], suffixes=("", "_there"))
    assert len(same) == len(unseen) and (same["label"] == same["label_there"]).all()


def test_there_is_a_signal_and_it_is_out_of_sample(run):
    """The members that saw these rows rank them better than those that did not."""
    signal, unseen = run["summary"]["signal"], run["unseen"]
    assert signal["found"] and signal["z"] > run["params"].min_signal
    groups = [
        (metrics.auc(part["label"], part["margin"]), part["label"].sum() * (1 - part["label"]).sum() / len(part))
        for _, part in unseen.groupby("group")
    ]
    auc, share = np.array(groups).T
    assert signal["auc"] == pytest.approx(np.average(auc, weights=share))
    seen = run["margin"].values(unseen[["lead_id", "as_of"]].merge(run["before"])[run["names"]])
    assert metrics.auc(unseen["label"], seen) > signal["auc"] + 0.01


def test_nothing_is_pickled(demo_run):
    assert {file.suffix for file in (demo_run / "data/train/members").iterdir()} <= {".json", ".ubj"}
