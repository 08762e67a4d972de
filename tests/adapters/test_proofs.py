"""`leads check-time`: passes on what a run stored, fails on a planted late feature, in bounded memory or not."""

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline import cli
from pipeline.adapters import files, proofs
from pipeline.errors import ArtefactError, ProofFailed
from pipeline.leads.truncation import refuse_differences
from pipeline.paths import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copy(demo_run, tmp_path_factory):
    """What the proof needs of the demo run, in a folder that may be written into."""
    root = tmp_path_factory.mktemp("proof")
    for folder in ("ingest", "validate", "featurize"):
        shutil.copytree(demo_run / "data" / folder, root / "data" / folder)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(demo_run / name, root / name)
    return Workspace(root)


def planted(workspace: Workspace, **columns: object) -> None:
    """Replace stored features and sign them, as a builder with a fault would have."""
    path, manifest = (workspace.path(f"featurize/{name}") for name in ("snapshots.parquet", "manifest.json"))
    files.write_table(path, files.read_table(path).assign(**columns))
    files.write_json(manifest, files.read_json(manifest) | {"snapshots.parquet": files.sha256(path)})


def test_what_a_run_stored_passes_on_pairs_it_did_not_look_at(copy):
    seen: list[int] = []
    proof = proofs.check_time(copy, samples=120, seed=5, progress=lambda places: seen.extend(places) or places)
    assert proof == {"pairs": 120, "differences": 0, "columns": [], "passed": True}
    assert seen == list(range(120))


def test_parts_of_any_size_give_the_same_answer(copy, monkeypatch):
    whole = proofs.check_time(copy, samples=30, seed=1)
    monkeypatch.setattr(files.Parts, "__init__", lambda self, path: self.__dict__.update(path=path, rows=997))
    assert proofs.check_time(copy, samples=30, seed=1) == whole


def test_a_planted_late_feature_fails_and_is_named(copy, monkeypatch):
    stored = files.read_table(copy.path("featurize/snapshots.parquet"))
    kept = copy.path("featurize/snapshots.parquet").read_bytes(), copy.path("featurize/manifest.json").read_bytes()
    leads = files.read_table(copy.path("validate/leads.parquet")).set_index("lead_id")
    acts = files.read_table(copy.path("validate/activities.parquet")).merge(stored[["lead_id", "as_of"]], on="lead_id")
    happened = acts[(acts["happened_at"] <= acts["as_of"]) & (acts["kind"] == "call")]
    calls = happened.groupby(["lead_id", "as_of"]).size().rename("calls")
    late = stored[["lead_id", "as_of"]].join(calls, on=["lead_id", "as_of"])["calls"].fillna(0.0)
    planted(copy, status=stored["lead_id"].map(leads["status"]).to_numpy(), n_call=late.to_numpy("float64"))
    try:
        proof = proofs.check_time(copy, samples=150, seed=1)
        assert proof["columns"] == ["n_call", "status"] and not proof["passed"]
        with pytest.raises(ProofFailed, match="n_call, status"):
            refuse_differences(proof)

        monkeypatch.chdir(copy.root)
        failed = CliRunner().invoke(cli.app, ["check-time", "--samples", "25", "--seed", "1"])
        assert isinstance(failed.exception, ProofFailed) and failed.exception.exit_code == 10
    finally:
        for name, content in zip(("snapshots.parquet", "manifest.json"), kept, strict=True):
            copy.path(f"featurize/{name}").write_bytes(content)


def test_the_command_says_what_was_proved(copy, monkeypatch):
    monkeypatch.chdir(copy.root)
    done = CliRunner().invoke(cli.app, ["check-time", "--samples", "25"])
    assert done.exit_code == 0
    assert "25 snapshots rebuilt without anything recorded later: every feature came out the same" in done.output


def test_an_altered_table_is_refused_before_anything_is_proved(copy):
    path = copy.path("featurize/snapshots.parquet")
    kept = path.read_bytes()
    files.write_table(path, files.read_table(path).assign(n_call=np.float64(0)))
    try:
        with pytest.raises(ArtefactError, match=r"snapshots\.parquet is missing or is not what stage featurize wrote"):
            proofs.check_time(copy, samples=5, seed=1)
    finally:
        path.write_bytes(kept)
