"""Curves, the shuffle check, tiers and segments on a small demo run."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ArtefactError, ProofFailed
from pipeline.ondemand import curves, segments, shuffle, tiers
from pipeline.params import load
from pipeline.paths import Workspace
from pipeline.scoring import metrics

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(demo_run):
    workspace = Workspace(demo_run)
    return workspace, load(workspace.params)


def test_curves_grow_with_history_and_age_with_time(run):
    table = curves.curves(*run)
    assert list(table.columns) == curves.COLUMNS
    learning, staleness = (table[table["curve"] == name] for name in ("learning", "staleness"))
    assert learning["share"].tolist() == list(curves.SHARES)
    assert learning["leads"].is_monotonic_increasing
    assert staleness["age_days"].is_monotonic_decreasing
    assert (staleness["age_days"] > 0).all()
    windows = pd.read_csv(run[0].path("featurize/splits.csv")).set_index("split")["snapshots"]
    assert learning["snapshots"].iloc[-1] == windows["train"] + windows["calibrate"]
    # The best intercept can only help, and ten times the leads rank better.
    assert (table["ranking_loss"] <= table["log_loss"] + 1e-9).all()
    assert learning["auc"].iloc[-1] > learning["auc"].iloc[0]
    assert table["auc"].between(0.5, 1).all()


def test_nothing_is_found_in_labels_dealt_at_random(run):
    planned, seen = [], []

    def progress(trials):
        planned.append(trials)
        return seen.append

    found = shuffle.check(*run, 5, progress)
    label = pd.read_parquet(run[0].path("featurize/snapshots.parquet")).query("split == 'test'")["label"].to_numpy()
    assert abs(found - 0.5) <= shuffle.tolerance(label)
    assert planned == [len(seen)] and seen


def test_an_answer_among_the_features_fails_the_check(run, monkeypatch):
    """The dealt labels themselves, as a slip in the code might let them in."""
    features = shuffle.feature_list
    monkeypatch.setattr(shuffle, "feature_list", lambda spec: [*features(spec), {"name": "label"}])
    monkeypatch.setattr(shuffle, "directions", lambda spec: None)
    with pytest.raises(ProofFailed, match="An answer slips into the features or the folds"):
        shuffle.check(*run, 5, lambda _: lambda _: None)


@pytest.mark.parametrize(("hits", "limit"), [(20, 0.20), (50, 0.13), (1000, 0.06)])
def test_few_conversions_allow_more(hits, limit):
    label = np.repeat([1.0, 0.0], [hits, 9 * hits])
    assert shuffle.tolerance(label) == pytest.approx(limit, abs=0.006)
    # Chance alone goes beyond it about three times in a thousand.
    rng = np.random.default_rng(1)
    far = [abs(metrics.auc(label, rng.random(len(label))) - 0.5) > shuffle.tolerance(label) for _ in range(400)]
    assert sum(far) <= 5


def test_both_say_what_to_run_first_where_nothing_has_run(run, tmp_path):
    _, params = run
    for act in (
        lambda: curves.curves(Workspace(tmp_path), params),
        lambda: shuffle.check(Workspace(tmp_path), params, 1, lambda _: lambda _: None),
    ):
        with pytest.raises(ArtefactError, match="dvc repro"):
            act()
    assert not np.any(list(tmp_path.iterdir()))


def test_tiers_and_segments_read_what_the_stages_write(run):
    found = tiers.find(*run, tiers.Asked(12, 900, 20.0), period="month").payoff
    assert found.table["tier"].tolist() == ["A", "B", "C"]
    assert found.table["leads"].iloc[0] <= 20
    # Scores rank: the better tier converts more often.
    rates = found.table["conversions"] / found.table["leads"]
    assert rates.iloc[0] > 2 * rates.iloc[1]
    own = tiers.find(*run, tiers.Asked(12, 900), period="month").payoff
    assert own.table["tier"].tolist() == list(run[1].calibrate.tiers.shares)
    profile = segments.find(*run)
    assert "Lead source: referral" in set(profile.table["segment"])
    # The demo draws the value of a deal from the size of the company.
    assert [column["criterion"] for column in profile.values["columns"]] == ["Company size"]
