"""featurize on a small demo run: windows, labels and the time proof, recomputed by plain routes."""

import json
import logging
import shutil
from dataclasses import replace

import pandas as pd
import pytest

from pipeline.adapters import files
from pipeline.errors import ProofFailed
from pipeline.leads import cohort, contract, demo, maturity, snapshots, truncation
from pipeline.params import load
from pipeline.paths import Workspace
from pipeline.scorer.features import build, feature_list
from tests.workspaces import run_stages


@pytest.fixture(scope="module")
def run(demo_run):
    folder = demo_run / "data"
    return {
        "snapshots": pd.read_parquet(folder / "featurize/snapshots.parquet"),
        "windows": pd.read_csv(folder / "featurize/splits.csv", parse_dates=["start", "end", "last_as_of"]),
        "cohorts": pd.read_csv(folder / "featurize/cohorts.csv"),
        "delay": pd.read_csv(folder / "featurize/delay.csv"),
        "periods": pd.read_csv(folder / "featurize/periods.csv", keep_default_na=False),
        "contract": contract.restore(json.loads((folder / "ingest/contract.json").read_text())).contract,
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
    newest = demo.extracted_at(params.ingest.demo)
    faults = cohort.check_windows(run["snapshots"], run["windows"], leads, run["contract"], newest)
    assert faults == dict.fromkeys(run["proof"]["split_faults"], 0)
    looks = len(cohort.pairs(leads, params.featurize.ages_days, newest))
    counted = ["snapshots", "closed", "not_matured", "embargoed", "unrecorded"]
    assert run["windows"][counted].to_numpy().sum() == looks


def test_windows_say_when_the_last_look_was(run):
    last = run["snapshots"].groupby("split")["as_of"].max()
    assert run["windows"].set_index("split")["last_as_of"].to_dict() == last.to_dict()
    gap = run["windows"]["end"] - run["windows"]["last_as_of"]
    assert gap.between(pd.Timedelta(days=30), pd.Timedelta(days=33)).all()


def test_no_cohort_of_the_demo_is_left_out(run):
    assert run["cohorts"]["leads"].sum() == len(run["leads"])
    assert run["cohorts"]["conversions"].sum() == run["leads"]["converted_at"].notna().sum()
    assert (run["cohorts"]["excluded"] == 0).all() and run["cohorts"]["reason"].isna().all()
    assert run["cohorts"]["expected"].sum() == pytest.approx(run["cohorts"]["conversions"].sum(), rel=0.05)


def test_every_column_is_judged_by_its_place_in_time_and_those_of_the_demo_are_kept(run, demo_run):
    resolved = contract.restore(json.loads((demo_run / "data/ingest/contract.json").read_text()))
    periods, params = run["periods"], load(demo_run / "params.yaml").featurize.periods
    assert set(periods["column"]) == set(resolved.features) - set(resolved.excluded)
    assert not periods["column"].duplicated().any()
    assert periods["share"].is_monotonic_decreasing and periods["share"].between(0, params.max_share).all()
    assert (periods["limit"] == params.max_share).all()
    assert (periods["verdict"] == "kept").all() and (periods["reason"] == "").all()


def test_the_delay_curve_counts_the_history(run):
    assert list(run["delay"].columns) == list(maturity.DELAY)
    first = run["leads"]["converted_at"] - run["leads"]["created_at"] <= pd.Timedelta(days=30)
    by_day_30 = run["delay"].set_index("day").loc[30]
    # The plain share of converted leads counts young ones as if they had been watched for 30 days.
    assert first.mean() <= by_day_30["converted"] <= 1.1 * first.mean()
    assert 0.2 < by_day_30["share_after_look"] < 0.6


def test_the_time_proof_passed_on_as_many_pairs_as_asked(run, demo_run):
    assert run["proof"]["passed"] is True
    assert run["proof"]["pairs"] == load(demo_run / "params.yaml").featurize.time_proof_samples


def test_no_excluded_or_personal_column_is_a_feature(run, demo_run):
    resolved = json.loads((demo_run / "data/ingest/contract.json").read_text())
    assert not set(run["snapshots"].columns) & (set(resolved["excluded"]) - {"lead_id"})
    assert set(demo.LEAKS) <= set(resolved["excluded"])


@pytest.fixture
def validated(demo_run, tmp_path):
    """A workspace in which the stages before featurize have run."""
    for folder in ("ingest", "validate"):
        shutil.copytree(demo_run / "data" / folder, tmp_path / "data" / folder)
    shutil.copyfile(demo_run / "params.yaml", tmp_path / "params.yaml")
    return Workspace(tmp_path)


def test_a_feature_that_looks_ahead_stops_the_run_and_leaves_the_old_results(validated, demo_run, monkeypatch):
    shutil.copytree(demo_run / "data/featurize", validated.root / "data/featurize")
    before = validated.path("featurize/manifest.json").read_bytes()

    def hasty(rows, history, spec):
        known = history.activities.assign(recorded_at=history.activities["happened_at"])
        return build(rows, replace(history, activities=known), spec)

    monkeypatch.setattr(snapshots, "build", hasty)
    # Sampled snapshots must meet a late record: look at more of them.
    text = validated.params.read_text()
    validated.params.write_text(text.replace("time_proof_samples: 50", "time_proof_samples: 150"))
    with pytest.raises(ProofFailed, match=r"look into the future: .*n_call"):
        run_stages(validated, ("featurize",))
    assert validated.path("featurize/manifest.json").read_bytes() == before


def test_a_faulty_split_stops_the_run(validated, monkeypatch):
    honest = cohort.draw

    def careless(*args, **kwargs):
        drawn = honest(*args, **kwargs)
        return replace(drawn, snapshots=drawn.snapshots.assign(label=1 - drawn.snapshots["label"]))

    monkeypatch.setattr(cohort, "draw", careless)
    with pytest.raises(ProofFailed, match="wrong labels"):
        run_stages(validated, ("featurize",))
    assert not validated.path("featurize/manifest.json").exists()


def test_leads_from_before_outcomes_were_recorded_are_left_out_with_a_reason(validated, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("leads.featurize"), "handlers", [caplog.handler])
    start = pd.Timestamp("2023-06-15")
    leads = files.read_table(validated.path("validate/leads.parquet"))
    unknown = leads["converted_at"] < start
    files.write_table(
        validated.path("validate/leads.parquet"), leads.assign(converted_at=leads["converted_at"].mask(unknown))
    )
    manifest = validated.path("validate/manifest.json")
    hashes = files.read_json(manifest) | {"leads.parquet": files.sha256(validated.path("validate/leads.parquet"))}
    files.write_json(manifest, hashes)

    run_stages(validated, ("featurize",))
    windows = pd.read_csv(validated.path("featurize/splits.csv"), parse_dates=["start"])
    cohorts = pd.read_csv(validated.path("featurize/cohorts.csv"))
    assert abs(windows["start"].iloc[0] - start) <= pd.Timedelta(days=31)
    left_out = cohorts["excluded"].sum()
    assert left_out == (leads["created_at"] < windows["start"].iloc[0]).sum() > 0
    assert windows["unrecorded"].iloc[0] > left_out and windows["unrecorded"].iloc[1:].eq(0).all()
    assert cohorts.loc[cohorts["excluded"] > 0, "reason"].str.contains("conversions are recorded from 2023-0").all()
    seen = files.read_table(validated.path("featurize/snapshots.parquet"))
    assert not seen["lead_id"].isin(leads.loc[leads["created_at"] < windows["start"].iloc[0], "lead_id"]).any()
    assert "are left out, since those of them that converted" in caplog.text


def test_the_proof_goes_by_the_contract_and_covers_every_feature(run, demo_run):
    resolved = contract.restore(json.loads((demo_run / "data/ingest/contract.json").read_text()))
    known = truncation.Known.of(resolved)
    profile = {column["name"] for column in run["spec"]["profile"]}
    assert profile <= known.creation | set(known.tracked.values())
    assert not (known.creation | set(known.tracked.values())) & set(demo.LEAKS)
