"""The demo's law is known: what the pipeline finds must agree with it, and nothing may beat it."""

import numpy as np
import pandas as pd
import pytest

from pipeline.leads.demo_law import law
from pipeline.leads.demo_world import FIT
from pipeline.leads.snapshots import rows_at
from pipeline.scoring import metrics

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def truth(demo_run):
    """The test snapshots with the label, every system's probability, and the law's."""
    folder = demo_run / "data"
    scores = pd.read_parquet(folder / "evaluate/scores.parquet")
    rivals = pd.read_parquet(folder / "evaluate/rival_scores.parquet")
    leads, activities, changes = (
        pd.read_parquet(folder / f"validate/{name}.parquet") for name in ("leads", "activities", "changes")
    )
    rows = rows_at(leads, scores[["lead_id", "as_of"]])
    found = law(rows.drop(columns="as_of"), activities, changes, rows["as_of"], horizon_days=30, paths=64, seed=1)
    return rivals.assign(candidate=scores["probability"], law=found["probability"].to_numpy())


def test_the_law_is_as_hard_as_promised(truth):
    label = truth["label"].to_numpy()
    assert 0.75 <= metrics.auc(label, truth["law"].to_numpy()) <= 0.88
    own = metrics.log_loss(label, truth["law"].to_numpy())
    assert metrics.log_loss(label, truth["xgboost_default"].to_numpy()) >= 1.02 * own
    assert all(own < metrics.log_loss(label, truth[name].to_numpy()) for name in ("candidate", "logistic", "base_rate"))


def test_the_candidate_comes_nearer_to_the_law_than_the_simple_rivals(truth):
    """Measured against the law's probabilities, which have no luck of the draw in them."""

    def distance(name: str) -> float:
        probability = truth[name].to_numpy()
        return float(np.mean(-truth["law"] * np.log(probability) - (1 - truth["law"]) * np.log(1 - probability)))

    for rival in ("base_rate", "one_feature", "xgboost_default"):
        assert distance("candidate") < distance(rival)


def test_the_candidate_ranks_leads_as_the_law_does(truth):
    assert truth["candidate"].corr(truth["law"], method="spearman") > 0.7


@pytest.mark.parametrize("column", ["seniority", "source", "industry"])
def test_the_shape_of_a_strong_criterion_is_that_of_the_law(demo_run, column):
    """Mean contribution by value beside the effect that the demo's world gives the value; rare values tell little."""
    table = pd.read_csv(demo_run / "data/explain/dependence.csv", keep_default_na=False)
    rows = table[(table["feature"] == column) & (table["value"] != "others") & (table["rows"] >= 30)]
    effect = rows["value"].map(lambda value: FIT[column].get(value, 0.0))
    assert len(rows) >= 5
    assert rows["log_odds"].corr(effect, method="spearman") > 0.75


def test_labels_convert_as_often_as_the_law_says(demo_run):
    """Within two standard errors; the looks at one lead go together, so errors are those of leads."""
    folder = demo_run / "data"
    snapshots = pd.read_parquet(folder / "featurize/snapshots.parquet")[["lead_id", "as_of", "label"]]
    leads, activities, changes = (
        pd.read_parquet(folder / f"validate/{name}.parquet") for name in ("leads", "activities", "changes")
    )
    rows = rows_at(leads, snapshots)
    found = law(rows.drop(columns="as_of"), activities, changes, rows["as_of"], horizon_days=30, paths=8, seed=2)
    apart = (snapshots["label"] - found["probability"]).groupby(snapshots["lead_id"]).sum()
    error = np.sqrt((apart**2).sum() + (found["standard_error"] ** 2).sum())
    assert abs(apart.sum()) < 2 * error
    assert error / found["probability"].sum() < 0.04  # so that the check above can fail
