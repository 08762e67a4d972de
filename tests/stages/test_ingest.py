"""Ingest as a stage: what it makes of files and of the demo, that rows add up, that a failure leaves the old."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from pipeline import params as params_module
from pipeline.adapters import files, sources
from pipeline.adapters.stage import Stage
from pipeline.errors import ContractError, SourceError
from pipeline.leads import demo
from pipeline.leads.contract import restore
from pipeline.paths import Workspace, catalogue
from pipeline.stages import ingest

CONTRACT: dict[str, Any] = {
    "contract_version": 1,
    "name": "mine",
    "description": "for tests",
    "source": {"kind": "files", "leads": {"path": "leads.csv"}},
    "key": "id",
    "time": {"kind": "column", "column": "created"},
    "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won"},
    "columns": {
        "id": {"role": "identifier"},
        "created": {"role": "ignored", "type": "timestamp"},
        "won": {"role": "outcome", "type": "timestamp"},
        "size": {"role": "feature", "type": "integer", "known_at": "creation"},
        "email": {"role": "personal", "facts": ["work_email"]},
    },
}
LEADS = """id,created,won,size,email
L1,2024-01-01,,5,ada@acme.example
L2,2024-01-02,2024-02-01,x,bob@acme.example
L3,2024-01-03
L4,2024-01-04,2024-03-05T10:00Z,7,
L5,2024-01-05,,8,
"""


def workspace_at(root: Path, project_root: Path, contract: str, **demo_size: object) -> Workspace:
    """A project folder with the shipped contracts and this one chosen; a smaller demo."""
    shutil.copytree(project_root / "data" / "contracts", root / "data" / "contracts")
    content = yaml.safe_load((project_root / "params.yaml").read_text(encoding="utf-8"))
    content["run"]["contract"] = contract
    content["ingest"]["demo"] |= {"leads": 400, "months": 8} | demo_size
    (root / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (root / "data" / "raw").mkdir()
    return Workspace(root)


def execute(workspace: Workspace) -> None:
    Stage("ingest", workspace, params_module.load(workspace.params)).execute(ingest.run)


def table(workspace: Workspace, name: str) -> pd.DataFrame:
    return files.read_table(workspace.path(f"ingest/{name}.parquet"))


def provenance(workspace: Workspace) -> dict[str, Any]:
    content: dict[str, Any] = files.read_json(workspace.path("ingest/provenance.json"))
    return content


@pytest.fixture
def mine(tmp_path: Path, project_root: Path) -> Workspace:
    workspace = workspace_at(tmp_path, project_root, "mine")
    workspace.contract("mine").write_text(yaml.safe_dump(CONTRACT), encoding="utf-8")
    (workspace.raw / "leads.csv").write_text(LEADS, encoding="utf-8")
    return workspace


def test_files_become_tables_and_a_record_of_where_they_came_from(mine: Workspace) -> None:
    execute(mine)
    leads = table(mine, "leads")
    assert leads["lead_id"].tolist() == ["L1", "L4", "L5"]
    assert leads["has_work_email"].fillna(-1).tolist() == [1, -1, -1]
    assert list(table(mine, "activities").columns) == [
        "row", "activity_id", "lead_id", "kind", "happened_at", "recorded_at",
    ]  # fmt: skip
    assert list(table(mine, "changes").columns) == ["row", "lead_id", "column", "recorded_at", "old_value", "new_value"]
    refused = table(mine, "refused")
    assert refused[["table", "row", "reason"]].to_numpy().tolist() == [
        ["leads", 2, "line 3: column `size` is not a whole number"],
        ["leads", 3, "line 4: 2 fields where the header has 5"],
    ]
    assert json.loads(refused["raw"][0])["size"] == "x" and refused["raw"][1] == "L3,2024-01-03"
    none = {"sha256": None, "rows": 0, "refused": 0, "set_aside": 0, "unread_columns": []}
    digest = files.sha256(mine.raw / "leads.csv")
    assert provenance(mine) == {
        "contract": "mine",
        "source": {
            "leads": {"sha256": digest, "rows": 5, "refused": 2, "set_aside": 0, "unread_columns": []},
            "activities": none,
            "changes": none,
        },
        "newest_recorded_at": "2024-03-05T10:00:00",
        "implausible_moments": 0,
    }
    assert restore(files.read_json(mine.path("ingest/contract.json"))) == sources.read_contract(mine, "mine")


def test_everything_promised_is_made_and_nothing_else_is_left(mine: Workspace) -> None:
    execute(mine)
    promised = {artefact.file for artefact in catalogue.values() if artefact.stage == "ingest"}
    assert {path.name for path in mine.stage("ingest").iterdir()} == promised | {".lock"}


@pytest.mark.parametrize(
    ("path", "content", "error", "message"),
    [
        ("data/raw/leads.csv", None, SourceError, "no such file"),
        ("data/raw/leads.csv", LEADS.replace("size", "weight"), SourceError, "it lacks the column `size`"),
        ("data/raw/leads.csv", "id,created,won,size,email\n" + "1,2,3,4,5,6\n" * 3, SourceError, "line 2: 6 fields"),
        (
            "data/contracts/mine.yaml",
            yaml.safe_dump(CONTRACT | {"colour": "red"}),
            ContractError,
            "colour: unknown key",
        ),
    ],
)
def test_a_failure_is_one_clear_message_and_leaves_earlier_outputs(
    mine: Workspace, path: str, content: str | None, error: type[Exception], message: str
) -> None:
    execute(mine)
    before = {file.name: files.sha256(file) for file in mine.stage("ingest").iterdir() if file.name != ".lock"}
    target = mine.root / path
    if content is None:
        target.unlink()
    else:
        target.write_text(content, encoding="utf-8")
    with pytest.raises(error, match=message):
        execute(mine)
    after = {file.name: files.sha256(file) for file in mine.stage("ingest").iterdir() if file.name != ".lock"}
    assert after == before


def test_no_value_of_a_lead_is_logged(mine: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    execute(mine)
    said = capsys.readouterr()
    for value in ("L1", "L3", "ada", "acme", "2024"):
        assert value not in said.out + said.err


def test_many_parts_make_the_same_tables(mine: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(mine)
    whole = {name: table(mine, name) for name in ("leads", "refused")}
    monkeypatch.setattr(sources, "PART_ROWS", 2)
    execute(mine)
    for name, frame in whole.items():
        pd.testing.assert_frame_equal(table(mine, name), frame)


@pytest.fixture(scope="module")
def demo_log(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Workspace:
    workspace = workspace_at(tmp_path_factory.mktemp("demo"), project_root, "demo", dirty_share=0.1)
    execute(workspace)
    return workspace


def test_every_demo_row_is_kept_refused_or_set_aside(demo_log: Workspace) -> None:
    params = params_module.load(demo_log.params)
    blocks = list(demo.generate(params.ingest.demo, params.run.seed))
    refused = table(demo_log, "refused")
    for name, counted in provenance(demo_log)["source"].items():
        kept, bad = table(demo_log, name), refused[refused["table"] == name]
        made = sum(len(getattr(block, name)) for block in blocks)
        assert counted["rows"] == made == len(kept) + len(bad) + counted["set_aside"]
        assert counted["refused"] == len(bad)
        assert kept["row"].is_unique and not set(kept["row"]) & set(bad["row"])
        dirty = {row for block in blocks for row in block.dirty.loc[block.dirty["table"] == name, "row"]}
        assert set(bad["row"]) <= dirty, "a good row was refused"
    assert len(refused) > 0


def test_the_demo_states_its_newest_moment(demo_log: Workspace) -> None:
    params = params_module.load(demo_log.params)
    assert provenance(demo_log)["newest_recorded_at"] == demo.extracted_at(params.ingest.demo).isoformat()


def test_no_personal_column_outlives_ingest(demo_log: Workspace) -> None:
    resolved = sources.read_contract(demo_log, "demo")
    personal = {name for name, column in resolved.contract.columns.items() if column.role == "personal"}
    assert personal and not personal & set(table(demo_log, "leads").columns)
    assert not personal & set(table(demo_log, "changes")["column"].dropna())


def test_two_runs_write_the_same_bytes(demo_log: Workspace, tmp_path: Path, project_root: Path) -> None:
    again = workspace_at(tmp_path, project_root, "demo", dirty_share=0.1)
    execute(again)
    assert files.read_json(again.path("ingest/manifest.json")) == files.read_json(demo_log.path("ingest/manifest.json"))


def test_a_column_that_changes_though_said_to_be_fixed_stays_out_of_the_model(
    mine: Workspace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("leads.ingest"), "handlers", [caplog.handler])
    content = json.loads(json.dumps(CONTRACT))
    content["source"]["changes"] = {"path": "changes.csv"}
    content["changes"] = {"lead": "id", "column": "field", "recorded_at": "at", "old_value": "old", "new_value": "new"}
    mine.contract("mine").write_text(yaml.safe_dump(content), encoding="utf-8")
    lines = ["id,field,at,old,new", "L1,size,2024-01-05,,5", "L1,size,2024-01-06,5,6", "L5,size,2024-01-07,8,9"]
    (mine.raw / "changes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    execute(mine)
    resolved = restore(files.read_json(mine.path("ingest/contract.json")))
    assert "size" not in resolved.features and "has_work_email" not in resolved.excluded
    assert "the changes table holds 2 changes of it" in resolved.excluded["size"]
    assert provenance(mine)["source"]["changes"]["set_aside"] == 3
    assert "column `size` is left out: declared known at creation" in caplog.text
