"""The champion scores a candidate's raw rows with its own code, from what the registry holds."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from pipeline.adapters import approvals, champions, files, model_folder, registry, tracking
from pipeline.leads.snapshots import rows_at
from pipeline.paths import Workspace
from pipeline.scorer import Scorer
from pipeline.scorer.calibration import Calibration


@pytest.fixture(scope="module")
def approved(demo_run, tmp_path_factory):
    """A copy of the small run whose scorer is registered, whatever its gate said, and champion."""
    root = tmp_path_factory.mktemp("champions") / "work"
    shutil.copytree(demo_run, root)
    store = tracking.open_store(Workspace(root))
    run_id = files.read_json(root / "data/register/registration.json")["run_id"]
    tags = {"scorer": files.sha256(root / "data/calibrate/scorer"), "gate": "passed"}
    with store.lock():
        registry.register(store, "demo", run_id, tags)
    approvals.approve(store, "demo", "challenger", "A reviewer", "why", asked=1)
    return root, store, registry.champion(store, "demo")


def raw_rows(root) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    tables = [pd.read_parquet(root / f"data/validate/{name}.parquet") for name in ("leads", "activities", "changes")]
    scores = pd.read_parquet(root / "data/evaluate/scores.parquet")
    return rows_at(tables[0], scores[["lead_id", "as_of"]]), tables[1], tables[2], scores


def test_its_own_scores_come_out_again_with_how_it_was_taught(approved):
    root, store, champion = approved
    *rows, scores = raw_rows(root)
    met = champions.meet(store, "demo", champion, *rows)
    assert met.why_not == "" and met.known is not None and met.probability is not None
    np.testing.assert_allclose(met.probability, scores["probability"], atol=1e-9, rtol=0)
    splits = pd.read_csv(root / "data/featurize/splits.csv")
    assert met.known.splits["end"].tolist() == splits["end"].tolist()
    assert met.known.contract["contract"]["name"] == "demo"
    newest = files.read_json(root / "data/ingest/provenance.json")["newest_recorded_at"]
    assert met.known.newest == pd.Timestamp(newest)


def test_a_champion_that_lacks_a_column_cannot_be_asked(approved):
    root, store, champion = approved
    rows, activities, changes, _ = raw_rows(root)
    met = champions.meet(store, "demo", champion, rows.drop(columns="industry"), activities, changes)
    assert met.probability is None
    assert met.why_not.startswith("it cannot score today's rows: ") and "industry" in met.why_not


def test_a_champion_whose_run_is_gone_cannot_be_asked(approved, monkeypatch):
    root, store, champion = approved
    monkeypatch.setattr(registry, "logged", lambda *_: None)
    met = champions.meet(store, "demo", champion, *raw_rows(root)[:3])
    assert "no longer holds ingest/contract.json, featurize/splits.csv, ingest/provenance.json" in met.why_not


def test_another_version_scores_by_its_own_code_and_data(approved, tmp_path):
    """A second version whose calibration is another, registered and asked beside the first."""
    root, store, champion = approved
    scorer = Scorer.load(root / "data/calibrate/scorer")
    other = tmp_path / "scorer"
    other.mkdir()
    version = model_folder.write(
        other,
        spec=scorer.spec,
        margin=scorer.margin,
        level=scorer.level,
        calibration=Calibration("sigmoid", -1.0, 1.0, 1.0),
        interval=scorer.interval,
        tiers=scorer.tiers,
        grades=scorer.grades,
        deal_values=scorer.deal_values,
    )
    assert version != scorer.version
    *rows, _ = raw_rows(root)
    mine = model_folder.load(other).score(*rows)["probability"].to_numpy()
    theirs = champions.meet(store, "demo", champion, *rows).probability
    assert theirs is not None and (mine < theirs).all()
