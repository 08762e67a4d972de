"""The stage: what it writes, what it logs, and what it does when too much is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from pipeline import params as params_module
from pipeline.adapters import expectations, files
from pipeline.adapters.stage import Stage
from pipeline.errors import ArtefactError, ValidationFailed
from pipeline.leads import demo
from pipeline.leads.contract import describe
from pipeline.params import Params
from pipeline.paths import Workspace, catalogue
from pipeline.stages import validate
from tests.small_history import NEWEST, replaced, resolved, tables, with_cell
from tests.workspaces import run_stages, small_workspace

NO_REFUSALS = pd.DataFrame({"table": [], "row": [], "reason": [], "raw": []}).astype(
    {"table": "str", "row": "int64", "reason": "str", "raw": "str"}
)

NO_MOMENTS = pd.DataFrame({"lead_id": [], "column": [], "recorded_at": []}).astype(
    {"lead_id": "str", "column": "str", "recorded_at": "datetime64[us]"}
)


@pytest.fixture
def params(project_root: Path) -> Params:
    """The project's own, with room for dirt: these tables are tiny."""
    return with_limit(params_module.load(project_root / "params.yaml"), 0.4)


def with_limit(params: Params, share: float) -> Params:
    return params.model_copy(update={"validate_": params.validate_.model_copy(update={"max_refused_share": share})})


def ingest(
    root: Path, params: Params, history: dict[str, pd.DataFrame], refused: pd.DataFrame = NO_REFUSALS, missing: int = 0
) -> Workspace:
    """A workspace as `ingest` leaves it; `missing` rows of leads are counted but nowhere to be found."""
    workspace = Workspace(root)
    root.mkdir(exist_ok=True)

    def write(stage: Stage) -> None:
        source: dict[str, Any] = {}
        for name, table in history.items():
            stage.save_table(f"ingest/{name}.parquet", table)
            unread = int((refused["table"] == name).sum())
            source[name] = {"rows": len(table) + unread, "refused": unread, "set_aside": 0, "sha256": None}
        source["leads"]["rows"] += missing
        stage.save_table("ingest/moments.parquet", NO_MOMENTS)
        stage.save_table("ingest/refused.parquet", refused)
        stage.save_json("ingest/contract.json", describe(resolved()))
        stage.save_json("ingest/card.json", None)
        stage.save_json("ingest/playbook.json", None)
        stage.save_json(
            "ingest/provenance.json",
            {"contract": "small", "source": source, "newest_recorded_at": NEWEST.isoformat()},
        )

    Stage("ingest", workspace, params).execute(write)
    return workspace


def run(workspace: Workspace, params: Params) -> None:
    Stage("validate", workspace, params).execute(validate.run)


def test_everything_the_catalogue_promises_is_written(tmp_path: Path, params: Params) -> None:
    workspace = ingest(tmp_path, params, tables())
    run(workspace, params)
    promised = [artefact for artefact in catalogue.values() if artefact.stage == "validate"]
    assert promised and all(workspace.path(artefact.name).exists() for artefact in promised)
    assert (workspace.path("validate/docs") / "index.html").is_file()
    for artefact in promised:
        if artefact.file.endswith(".csv"):
            frame = pd.read_csv(workspace.path(artefact.name))
            assert not frame.duplicated(subset=list(artefact.key)).any()


def test_bad_rows_go_with_their_reasons_and_the_rest_is_sorted(tmp_path: Path, params: Params) -> None:
    history = with_cell("leads", 1, "employees", 0.0)
    refused = pd.concat(
        [NO_REFUSALS, pd.DataFrame([{"table": "leads", "row": 9, "reason": "line 10: torn", "raw": ";"}])]
    )
    workspace = ingest(tmp_path, with_limit(params, 0.5), history, refused.astype(NO_REFUSALS.dtypes))
    run(workspace, with_limit(params, 0.5))
    assert files.read_table(workspace.path("validate/leads.parquet"))["lead_id"].tolist() == ["L2", "L3"]
    assert files.read_table(workspace.path("validate/activities.parquet"))["activity_id"].tolist() == ["A1"]
    assert files.read_table(workspace.path("validate/changes.parquet"))["row"].tolist() == [1]
    quarantine = files.read_table(workspace.path("validate/quarantine.parquet"))
    assert quarantine[["table", "row", "reasons"]].values.tolist() == [
        ["leads", 1, "employees is below 1"],
        ["activities", 2, "its lead is quarantined"],
        ["activities", 3, "its lead is quarantined"],
        ["changes", 2, "its lead is quarantined"],
    ]
    summary = files.read_json(workspace.path("validate/summary.json"))
    assert summary["leads"] == {
        "rows": 4,
        "refused": 1,
        "set_aside": 0,
        "kept": 2,
        "quarantined": 1,
        "with_their_lead": 0,
        "reasons": {"employees is below 1": 1, "torn": 1},
    }


def test_the_profile_is_that_of_the_rows_kept(tmp_path: Path, params: Params) -> None:
    workspace = ingest(tmp_path, params, with_cell("leads", 1, "employees", 0.0))
    run(workspace, params)
    profile = files.read_json(workspace.path("validate/profile.json"))
    assert (profile["contract"], profile["newest"]) == ("small", NEWEST.isoformat())
    assert profile["rows"] == {"leads": 2, "activities": 1, "changes": 1}


def test_types_survive(tmp_path: Path, params: Params) -> None:
    workspace = ingest(tmp_path, params, tables())
    run(workspace, params)
    for name, table in tables().items():
        kept = files.read_table(workspace.path(f"validate/{name}.parquet"))
        assert kept.dtypes.to_dict() == table.dtypes.to_dict()


def test_too_many_bad_rows_end_the_run_and_leave_the_last_good_output(tmp_path: Path, params: Params) -> None:
    run(ingest(tmp_path, params, tables()), params)
    before = {path: path.read_bytes() for path in (tmp_path / "data" / "validate").rglob("*") if path.is_file()}
    history = tables()
    history["leads"]["employees"] = [0.0, -1.0, 7.0]
    workspace = ingest(tmp_path, params, history)
    with pytest.raises(
        ValidationFailed, match=r"leads: 2 of 3 rows \(66.7%\).*Most frequent: 2 × employees is below 1"
    ):
        run(workspace, params)
    after = {path: path.read_bytes() for path in (tmp_path / "data" / "validate").rglob("*") if path.is_file()}
    assert after == before


def test_a_row_lost_on_the_way_is_noticed(tmp_path: Path, params: Params) -> None:
    with pytest.raises(ArtefactError, match="ingest counted 4 rows of leads"):
        run(ingest(tmp_path, params, tables(), missing=1), params)


def test_equal_inputs_give_equal_bytes_anywhere(tmp_path: Path, params: Params) -> None:
    history = with_cell("leads", 1, "employees", 0.0)
    made = []
    for place in ("here", "there"):
        workspace = ingest(tmp_path / place, params, history)
        run(workspace, params)
        made.append(files.read_json(workspace.path("validate/manifest.json")))
    assert made[0] == made[1]


def test_nothing_that_dvc_caches_holds_personal_data(project_root: Path, tmp_path: Path) -> None:
    """Canaries: every name, address and number of the demo's own text, looked for in all that the stages leave."""
    workspace = small_workspace(
        project_root,
        tmp_path / "work",
        ("leads: 4000", "leads: 600"),
        ("dirty_share: 0.015", "dirty_share: 0.06"),
        ("max_refused_share: 0.05", "max_refused_share: 0.5"),
    )
    run_stages(workspace, ("ingest", "validate"))
    params = params_module.load(workspace.params)
    canaries: set[str] = set()
    for block in demo.generate(params.ingest.demo, params.run.seed):
        leads, changes = block.leads, block.changes
        canaries |= {value for name in ("full_name", "email", "phone") for value in leads[name]}
        canaries |= set(leads.loc[leads["industry"].str.contains("@"), "industry"])
        canaries |= set(leads.loc[leads["region"].str.startswith("+"), "region"])
        canaries |= set(changes.loc[changes["column"] == "mobile_phone", "new_value"])
    canaries -= {""}
    assert len(canaries) > 1000

    declared = yaml.safe_load(workspace.root.joinpath("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outs: dict[str, dict[str, Any]] = {}
    for stage in ("ingest", "validate"):
        outs |= {name: says for out in declared[stage]["outs"] for name, says in out.items()}
    uncached = {name for name, says in outs.items() if says.get("cache") is False}
    assert uncached == {"data/ingest/refused.parquet", "data/validate/quarantine.parquet"}
    found = {name: sum(canary in text for canary in canaries) for name, text in shown(workspace, outs).items()}
    assert found.pop("data/ingest/refused.parquet") > 0, "canaries are planted"
    found.pop("data/validate/quarantine.parquet")
    assert len(found) > 10 and not any(found.values()), found


def shown(workspace: Workspace, outs: Iterable[str]) -> dict[str, str]:
    """All that can be read in a stage's outputs: tables as CSV, everything else byte by byte; folders file by file."""
    texts = {}
    for name in outs:
        path = workspace.root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            raw = file.read_bytes().decode("utf-8", "replace")
            table = files.read_table(file).to_csv() if file.suffix == ".parquet" else ""
            texts[file.relative_to(workspace.root).as_posix()] = raw + table
    return texts


def test_parts_change_no_byte(demo_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """validate and featurize, in many small parts, write what they wrote in one."""
    workspace = Workspace(tmp_path / "work")
    shutil.copytree(demo_run, workspace.root, ignore=shutil.ignore_patterns("mlruns", "tune", "train", "calibrate"))
    before = {name: files.read_json(workspace.path(f"{name}/manifest.json")) for name in ("validate", "featurize")}
    monkeypatch.setattr(files, "PART_ROWS", 9_000)
    monkeypatch.setattr(expectations, "CHUNK", 4_000)
    run_stages(workspace, ("validate", "featurize"))
    for name, manifest in before.items():
        assert files.read_json(workspace.path(f"{name}/manifest.json")) == manifest


def test_no_value_is_logged(tmp_path: Path, params: Params, caplog: pytest.LogCaptureFixture) -> None:
    secret = "zoe@secret.example"
    history = with_cell("leads", 1, "industry", secret)
    history["activities"]["kind"] = replaced(history["activities"]["kind"], 0, secret)
    run(ingest(tmp_path, params, history), params)
    assert caplog.messages
    assert secret not in caplog.text
    open_to_all = [
        path for path in (tmp_path / "data" / "validate").rglob("*") if path.suffix in (".html", ".csv", ".json")
    ]
    assert open_to_all and not any(secret in path.read_text(encoding="utf-8") for path in open_to_all)


def test_a_leak_that_the_contract_calls_known_at_creation_stays_out_and_is_named(
    tmp_path: Path, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    """Ninety leads; revenue is filled in when one converts."""
    history = tables()
    leads = pd.concat([history["leads"]] * 30, ignore_index=True)
    leads["row"] = range(1, len(leads) + 1)
    leads["lead_id"] = [f"L{row}" for row in leads["row"]]
    leads["tax_id"] = leads["lead_id"]
    leads["revenue"] = leads["revenue"].where(leads["converted_at"].notna())
    workspace = ingest(tmp_path, params, history | {"leads": leads})
    with caplog.at_level("INFO"):
        run(workspace, params)
    leaks = pd.read_csv(workspace.path("validate/leaks.csv")).set_index("column")
    assert (leaks.loc["revenue", "verdict"], leaks.loc["revenue", "in_model"]) == ("leak", False)
    evidence = pd.read_csv(workspace.path("validate/leak_evidence.csv"))
    assert "filled for 100.0% of leads that converted and for 0.0%" in " ".join(
        evidence.loc[evidence["column"] == "revenue", "sentence"]
    )
    assert "leak; not in the model: " in caplog.text and "revenue" in caplog.text
    page = (workspace.path("validate/docs") / "leaks.html").read_text(encoding="utf-8")
    assert "revenue: leak, not in the model" in page
