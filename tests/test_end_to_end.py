"""The whole pipeline through DVC in a fresh checkout: the same bytes as elsewhere, nothing lost, nothing done twice."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from pipeline.paths import catalogue
from tests import fake_results
from tests.workspaces import run_stages, small_workspace

pytestmark = pytest.mark.slow

#: Left out of byte-equality: a page for reading, and what names a registry.
FREE = ("validate/docs", "register/")


def checkout(project_root: Path, root: Path, *changes: tuple[str, str]) -> Path:
    """What a clone holds, with parameters for a small run, under git."""
    small_workspace(project_root, root, *changes)
    shutil.copytree(project_root / "pipeline", root / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "data/raw/.gitkeep"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project_root / name, root / name)
    for arguments in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    return root


def repro(root: Path, *arguments: str) -> str:
    """`dvc repro ARGUMENTS` as a person types it inside the environment; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere(project_root, tmp_path_factory):
    """A second run of the same parameters: other path, other time, one thread, one process per stage."""
    root = checkout(project_root, tmp_path_factory.mktemp("other") / "a longer path", ("threads: 2", "threads: 1"))
    repro(root)
    return root


def hashes(root: Path) -> dict[str, str]:
    """sha256 of every artefact that must not depend on path, time or threads."""
    found = {}
    for manifest in sorted((root / "data").glob("*/manifest.json")):
        for file, digest in json.loads(manifest.read_text()).items():
            name = f"{manifest.parent.name}/{file}"
            if not name.startswith(FREE):
                found[name] = digest
    return found


def test_two_runs_write_the_same_bytes(demo_run, elsewhere):
    here, there = hashes(demo_run), hashes(elsewhere)
    assert set(here) == {name for name in catalogue if not name.startswith(FREE) and not name.endswith("manifest.json")}
    assert [name for name in here if here[name] != there[name]] == []


def held(root: Path) -> dict[str, int]:
    """How much the MLflow store holds, read past MLflow itself."""
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as store:
        return {
            name: store.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("runs", "model_versions")
        }


def test_a_second_repro_runs_nothing_and_makes_no_second_mlflow_run(elsewhere):
    before = {file: file.stat().st_mtime_ns for file in (elsewhere / "data").rglob("*") if file.is_file()}
    logged = held(elsewhere)
    # One candidate, one search, its six trials.
    assert logged == {"runs": 8, "model_versions": 1}
    assert "Running stage" not in repro(elsewhere)
    assert {file: file.stat().st_mtime_ns for file in (elsewhere / "data").rglob("*") if file.is_file()} == before
    assert held(elsewhere) == logged
    # Not even where the last stage runs again: the candidate is the same.
    assert "Running stage 'register'" in repro(elsewhere, "--force", "--single-item", "register")
    assert held(elsewhere) == logged


def test_every_row_of_the_demo_is_accounted_for(demo_run):
    data = demo_run / "data"
    provenance = json.loads((data / "ingest/provenance.json").read_text())["source"]
    refused = pd.read_parquet(data / "ingest/refused.parquet")["table"].value_counts()
    quarantined = pd.read_parquet(data / "validate/quarantine.parquet")["table"].value_counts()
    for table, counts in provenance.items():
        kept = len(pd.read_parquet(data / f"validate/{table}.parquet"))
        gone = refused.get(table, 0) + quarantined.get(table, 0) + counts["set_aside"]
        assert kept + gone == counts["rows"]


def test_what_is_registered_is_byte_for_byte_what_was_evaluated(demo_run):
    scored = pd.read_parquet(demo_run / "data/evaluate/scores.parquet")["model_version"].unique().tolist()
    summary = json.loads((demo_run / "data/calibrate/summary.json").read_text())
    assert scored == [summary["version"]]
    [stored] = (demo_run / "mlruns" / "artifacts").rglob("scorer/data/manifest.json")
    ours = demo_run / "data/calibrate/scorer"
    theirs = stored.parent.parent
    names = {file.relative_to(ours) for file in ours.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    assert names == {file.relative_to(theirs) for file in theirs.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    assert all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in names)


def test_base_and_points_are_the_score_for_every_test_row(demo_run):
    scores = pd.read_parquet(demo_run / "data/evaluate/scores.parquet")
    for row in scores.itertuples():
        points = sum(round(10 * one["points"]) for one in json.loads(row.reasons))
        assert round(10 * row.base) + points == round(10 * row.score)


@pytest.mark.parametrize("contract", ["bank_marketing", "bank_marketing_full", "online_shoppers"])
def test_the_published_histories_run_to_a_decision(project_root, lead_data_dir, tmp_path, contract):
    workspace = small_workspace(project_root, tmp_path / "work", ("contract: demo", f"contract: {contract}"))
    fake_results.new_store(workspace)
    run_stages(workspace)
    metrics = json.loads(workspace.path("evaluate/metrics.json").read_text())
    assert metrics["split"] == ("random" if contract == "online_shoppers" else "time")
    assert metrics["unscored"] == 0
    features = set(pd.read_parquet(workspace.path("featurize/snapshots.parquet")).columns)
    assert not features & {"duration", "PageValues", "ProductRelated", "BounceRates", "ExitRates"}
    decision = json.loads(workspace.path("register/decision.json").read_text())
    registration = json.loads(workspace.path("register/registration.json").read_text())
    assert (registration["version"] == 1) is decision["passed"]
