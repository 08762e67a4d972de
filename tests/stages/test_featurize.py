"""featurize on a small demo run: windows, labels and the time proof, recomputed by plain routes."""

import json

import pandas as pd
import pytest

from pipeline.leads import cohort, demo
from pipeline.params import load
from pipeline.scorer.features import feature_list


@pytest.fixture(scope="module")
def run(demo_run):
    folder = demo_run / "data"
    return {
        "snapshots": pd.read_parquet(folder / "featurize/snapshots.parquet"),
        "windows": pd.read_csv(folder / "featurize/splits.csv", parse_dates=["start", "end"]),
        "leads": pd.read_parquet(folder / "validate/leads.parquet").set_index("lead_id"),
        "activities": pd.read_parquet(folder / "validate/activities.parquet"),
        "spec": json.loads((folder / "featurize/features.json").read_text()),
        "proof": json.loads((folder / "featurize/time_proof.json").read_text()),
    }


def test_snapshots_are_sorted_unique_and_complete(run):
    snapshots = run["snapshots"]
    key = snapshots[["lead_id", "as_of"]]
    assert not key.duplicated().any()
    assert key.equals(key.sort_values(["lead_id", "as_of"]))
    names = [feature["name"] for feature in feature_list(run["spec"])]
    assert list(snapshots.columns) == ["lead_id", "as_of", "label", "split", "position", *names]


def test_labels_are_the_conversions_within_the_horizon(run):
    snapshots, leads = run["snapshots"], run["leads"]
    converted = leads["converted_at"].reindex(snapshots["lead_id"]).reset_index(drop=True)
    days = (converted - snapshots["as_of"]) / pd.Timedelta(days=1)
    assert (days.isna() | (days > 0)).all()
    assert ((days <= run["spec"]["horizon_days"]) == (snapshots["label"] == 1)).all()


def test_a_count_equals_a_plain_filter_of_the_activities(run):
    sample = run["snapshots"].sample(60, random_state=1)
    for row in sample.itertuples():
        mine = run["activities"][run["activities"]["lead_id"] == row.lead_id]
        known = mine[(mine["recorded_at"] <= row.as_of) & (mine["kind"] == "visit_pricing")]
        week = known[known["happened_at"] > row.as_of - pd.Timedelta(days=7)]
        assert (row.n_visit_pricing, row.n_visit_pricing_7d) == (len(known), len(week))


def test_the_splits_have_no_fault_and_count_every_look(run, demo_run):
    params = load(demo_run / "params.yaml")
    leads = run["leads"].reset_index()
    assert cohort.check_windows(run["snapshots"], run["windows"], leads, 30) == dict.fromkeys(
        run["proof"]["split_faults"], 0
    )
    newest = demo.extracted_at(params.ingest.demo)
    looks = len(cohort.pairs(leads, params.featurize.ages_days, newest))
    assert run["windows"][["snapshots", "closed", "not_matured", "embargoed"]].to_numpy().sum() == looks


def test_the_time_proof_passed_on_as_many_pairs_as_asked(run, demo_run):
    assert run["proof"]["passed"] is True
    assert run["proof"]["pairs"] == load(demo_run / "params.yaml").featurize.time_proof_samples


def test_no_excluded_or_personal_column_is_a_feature(run, demo_run):
    resolved = json.loads((demo_run / "data/ingest/contract.json").read_text())
    assert not set(run["snapshots"].columns) & (set(resolved["excluded"]) - {"lead_id"})
    assert set(demo.LEAKS) <= set(resolved["excluded"])
