"""A workspace with small, valid results of every stage before `register`, for tests that need no real model.

The scorer folder is a real `pyfunc` model of a few lines, so that MLflow can load it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from pipeline import params as params_module
from pipeline.adapters import files, model_check, registry, tracking
from pipeline.leads import contract, drift, specification
from pipeline.paths import STAGES, Workspace, catalogue
from pipeline.scorer.model import FORMAT, content, version_of

CONTRACT: dict[str, Any] = {
    "contract_version": 1,
    "name": "demo",
    "description": "Made up for tests.",
    "source": {"kind": "demo"},
    "key": "lead_id",
    "time": {"kind": "column", "column": "created_at"},
    "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "converted_at"},
    "columns": {
        "lead_id": {"role": "identifier", "known_at": "creation"},
        "created_at": {"role": "identifier", "type": "timestamp", "known_at": "creation"},
        "converted_at": {"role": "outcome", "type": "timestamp", "known_at": "outcome"},
        "employees": {"role": "feature", "type": "number", "known_at": "creation"},
        "deal_value": {"role": "feature", "type": "number", "known_at": "outcome"},
    },
}


def resolved_with(**columns: dict[str, Any]) -> contract.Resolved:
    """The contract with other columns beside its key and its two moments."""
    kept = {name: CONTRACT["columns"][name] for name in ("lead_id", "created_at", "converted_at")}
    return contract.resolve(contract.parse(CONTRACT | {"columns": kept | columns}, file="demo.yaml"))


def reliability_table() -> pd.DataFrame:
    """Two bins, of which the second does not hold."""
    return pd.DataFrame(
        {
            "bin": [1, 2],
            "rows": [50, 50],
            "predicted": [0.1, 0.4],
            "observed": [0.12, 0.6],
            "low": [0.05, 0.5],
            "high": [0.2, 0.7],
            "holds": [True, False],
        }
    )


MODEL_CODE = """
import json, pathlib

class Scorer:
    def __init__(self, weight):
        self.weight = weight

    def predict(self, frame, params=None):
        return frame[["lead_id"]].assign(score=frame["employees"] * self.weight)

def _load_pyfunc(folder):
    return Scorer(json.loads((pathlib.Path(folder) / "margin.json").read_text())["weight"])
"""

SIGNATURE: dict[str, Any] = {
    "inputs": '[{"type": "any", "name": "lead_id"}, {"type": "any", "name": "employees", "required": false}]',
    "outputs": '[{"type": "string", "name": "lead_id"}, {"type": "double", "name": "score", "required": false}]',
    "params": None,
}


def scores(*, skill: float = 1.0, leads: int = 400, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test scores and rivals' scores: two snapshots per lead; `skill` 1 is the law itself, 0 a shuffled guess."""
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    n = 2 * leads
    truth = 1 / (1 + np.exp(-rng.normal(-1.5, 1.5, n)))
    keys = pd.DataFrame(
        {
            "lead_id": pd.Series([f"L{k // 2:05d}" for k in range(n)], dtype="str"),
            "as_of": pd.to_datetime(["2024-05-01", "2024-06-01"] * leads).astype("datetime64[us]"),
            "label": (rng.random(n) < truth).astype("int8"),
        }
    )
    weak = np.clip(truth.mean() + 0.1 * (truth - truth.mean()) + rng.normal(0, 0.05, n), 0.01, 0.99)
    own = np.where(rng.random(n) < skill, truth, rng.permutation(truth))
    rivals = keys.assign(base_rate=float(keys["label"].mean()), one_feature=weak, logistic=weak, xgboost_default=weak)
    return keys.assign(probability=own, score=(100 * own).round(1)), rivals


def leads(*, employees: float) -> dict[str, pd.DataFrame]:
    """A history of six hundred clean leads, whose companies have about so many employees."""
    rng = np.random.default_rng(np.random.SeedSequence([2]))
    created = pd.Series(pd.date_range("2024-01-01", "2024-06-30", 600)).astype("datetime64[us]")
    table = pd.DataFrame({"lead_id": [f"L{k:05d}" for k in range(600)], "created_at": created})
    table["converted_at"] = (created + pd.Timedelta(days=5)).where(rng.random(600) < 0.2)
    return {"leads": table.assign(employees=employees * rng.lognormal(0, 1, 600))}


def write(
    root: Path, project_root: Path, *, skill: float = 1.0, weight: float = 1.0, employees: float = 50.0
) -> Workspace:
    """Fill `root` with results; `weight` makes another scorer, `employees` another history, `skill` decides whether
    the gate lets it pass."""
    workspace = Workspace(root)
    root.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(project_root / "params.yaml", workspace.params)
    files.write_text(root / "dvc.lock", "schema: '2.0'\nstages:\n  ingest: {cmd: a}\n  register: {cmd: b}\n")
    params = params_module.load(workspace.params)
    resolved = contract.resolve(contract.parse(CONTRACT, file="demo.yaml"))
    own, rivals = scores(skill=skill)
    figures: dict[str, object] = {"log_loss": 0.4, "lift_10": 3.0, "calibration_error": 0.02, "rows": len(own)}
    figures |= {"split": "time", "model_version": f"demo-{weight}"}
    figures |= {"signal": True, "signal_standard_errors": 9.0, "conversions_needed": 0, "repeatable": True}
    figures |= {"level": 0.0, "level_rows": 0, "level_moved": False}
    figures |= {"level_shift": 0.1, "level_shift_low": 0.0, "level_shift_high": 0.2, "level_shifted": False}
    content = {
        "ingest/contract.json": contract.describe(resolved),
        "ingest/provenance.json": {"newest_recorded_at": "2024-07-01T00:00:00", "source": {"leads": {"rows": 400}}},
        "validate/leads.parquet": pd.DataFrame({"lead_id": own["lead_id"].unique()}).assign(
            created_at=pd.Timestamp("2024-04-20"), employees=50.0
        ),
        "validate/activities.parquet": pd.DataFrame({"lead_id": pd.Series([], dtype="str")}),
        "validate/changes.parquet": pd.DataFrame({"lead_id": pd.Series([], dtype="str")}),
        "featurize/snapshots.parquet": own[["lead_id", "as_of", "label"]].assign(split="test", position=0),
        "featurize/splits.csv": pd.DataFrame(
            {
                "split": ["train", "calibrate", "test"],
                "axis": "created_at",
                "start": ["2024-01-01", "2024-03-01", "2024-04-01"],
                "end": ["2024-03-01", "2024-04-01", "2024-07-01"],
            }
        ),
        "featurize/features.json": specification.specify(resolved, params.featurize),
        "featurize/time_proof.json": {
            "pairs": 50,
            "differences": 0,
            "columns": [],
            "passed": True,
            "split_faults": {"leads_in_two_splits": 0, "horizon_past_end": 0, "out_of_window": 0},
        },
        "tune/best.json": {
            "study": "0123456789abcdef",
            "members": [],
            "conversions_needed": 0,
            "repeatable": True,
            "trials": {"scorecard": 1, "xgboost": 2},
        },
        "evaluate/metrics.json": figures,
        "validate/leaks.csv": pd.DataFrame(
            {
                "column": list(resolved.contract.columns),
                "verdict": "clear",
                "in_model": [name in resolved.features for name in resolved.contract.columns],
                "reason": "",
            }
        ),
        "validate/profile.json": drift.profile(
            leads(employees=employees), resolved, pd.Timestamp("2024-07-01"), params.validate_.profile
        ),
        "evaluate/leak_price.csv": pd.DataFrame({"column": [], "verdict": [], "auc_gain": [], "sentence": []}),
        "tune/trials.csv": pd.DataFrame(
            {
                "trial": [0, 1, 2],
                "family": ["scorecard", "xgboost", "xgboost"],
                "state": ["complete", "complete", "pruned"],
                "log_loss": [0.5, 0.45, 0.44],
                "weight": [0.0, 1.0, 0.0],
                "log_loss_fold_0": [0.5, 0.43, 0.44],
                "log_loss_fold_1": [0.5, 0.47, np.nan],
                "rounds": [0, 12, 0],
                "c": [0.01, np.nan, np.nan],
                "folds": [5, np.nan, np.nan],
                "max_depth": [np.nan, 3, 4],
            }
        ),
        "evaluate/intervals.csv": pd.DataFrame({"metric": ["log_loss"], "value": [0.4], "low": [0.38], "high": [0.42]}),
        "evaluate/rivals.csv": pd.DataFrame({"system": ["logistic"], "metric": ["log_loss"], "value": [0.45]}),
        "evaluate/reliability.csv": reliability_table().assign(holds=True),
        "evaluate/by_month.csv": pd.DataFrame({"month": ["2024-05"], "holds": [True]}),
        "evaluate/slices.csv": pd.DataFrame(columns=["feature", "value", "rows", "gap", "holds"]),
        "evaluate/fairness.csv": pd.DataFrame(columns=["feature", "value", "below_four_fifths"]),
        "explain/criteria.csv": pd.DataFrame({"criterion": ["Size"], "share": [1.0], "verdict": ["adds"]}),
        "validate/summary.json": {"leads": {"rows": 600, "kept": 600}},
        "evaluate/scores.parquet": own,
        "evaluate/rival_scores.parquet": rivals,
    }
    for artefact in catalogue.values():
        if artefact.stage == "register" or artefact.file == "manifest.json":
            continue
        path, made = workspace.path(artefact.name), content.get(artefact.name, f"{artefact.name} of weight {weight}\n")
        if artefact.name == "calibrate/scorer":
            write_model(path, weight)
        elif "." not in artefact.file:
            files.write_text(path / "index.html", str(made))
        elif isinstance(made, pd.DataFrame):
            (files.write_table if artefact.file.endswith(".parquet") else files.write_csv)(path, made)
        elif isinstance(made, str):
            files.write_text(path, made)
        else:
            files.write_json(path, made)
    for stage in STAGES[:-1]:
        sign(workspace, stage)
    return workspace


def sign(workspace: Workspace, stage: str) -> None:
    """Write a stage's manifest anew."""
    made = [
        artefact.file for artefact in catalogue.values() if artefact.stage == stage and artefact.file != "manifest.json"
    ]
    hashes = {file: files.sha256(workspace.stage(stage) / file) for file in sorted(made)}
    files.write_json(workspace.path(f"{stage}/manifest.json"), hashes)


def write_model(folder: Path, weight: float) -> None:
    """A pyfunc model folder as MLflow loads it, of a few lines: score = weight x employees."""
    shutil.rmtree(folder, ignore_errors=True)
    files.write_json(folder / "data" / "margin.json", {"weight": weight})
    files.write_text(folder / "code" / "scorer" / "__init__.py", MODEL_CODE)
    version = version_of("demo", content(folder))
    module = f"scorer_{version.rsplit('-', 1)[1]}"
    (folder / "code" / "scorer").rename(folder / "code" / module)
    manifest = {"format": FORMAT, "version": version, "files": content(folder)}
    files.write_json(folder / "data" / "manifest.json", manifest)
    pins = [f"{name}=={metadata.version(name)}" for name in model_check.REQUIREMENTS]
    described = model_check.described(module, pins, "3.11.0")
    model = {"flavors": described["MLmodel"], "mlflow_version": metadata.version("mlflow"), "signature": SIGNATURE}
    for name, part in (described | {"MLmodel": model}).items():
        files.write_text(folder / name, yaml.safe_dump(part))
    files.write_text(folder / "requirements.txt", "".join(f"{pin}\n" for pin in pins))


def decision(*, passed: bool, champion: dict[str, object] | None = None) -> dict[str, object]:
    """A decision as the gate gives it, as plain data."""
    check = {"name": "calibration_error", "figure": 0.02, "limit": 0.03, "passed": passed, "sentence": "Measured."}
    drifted = {"since_version": None, "comparisons": 0, "warnings": 0}
    return {
        "passed": passed,
        "letter": "Well measured.",
        "checks": [check],
        "instead": None,
        "freshness": {"judged_until": None, "newest_recorded": None},
        "warnings": [],
        "look_twice": [],
        "drift": drifted,
        "champion": champion,
    }


#: What `drift.compare` says where no history was accepted yet.
NO_DRIFT = pd.DataFrame(columns=drift.COLUMNS)


@cache
def _empty_database() -> bytes:
    """A store's database without runs: making its tables takes seconds, copying it does not."""
    with tempfile.TemporaryDirectory() as root:
        database = tracking.open_store(Workspace(Path(root))).database
        assert database is not None
        return database.read_bytes()


def new_store(workspace: Workspace) -> None:
    """Give a workspace an empty store under `mlruns/`, unless it has one."""
    database = workspace.mlruns / "mlflow.db"
    if not database.exists():
        files.write_bytes(database, _empty_database())


def stock(workspace: Workspace, weights: Sequence[float]) -> tracking.Store:
    """A store with one registered version per weight, judged when there was no champion. Their runs hold the scorer and
    nothing else: much cheaper than whole candidates."""
    new_store(workspace)
    store = tracking.open_store(workspace)
    for weight in weights:
        folder = workspace.root / "scorer" / f"{weight}"
        write_model(folder, weight)
        run = store.client.create_run(store.experiment("demo"), run_name=f"candidate {weight}")
        store.client.log_artifacts(run.info.run_id, str(folder), registry.SCORER)
        store.client.set_terminated(run.info.run_id, "FINISHED")
        tags = {"scorer": files.sha256(folder), "gate": "passed", registry.AGAINST: registry.NOBODY}
        number, _ = registry.register(store, "demo", run.info.run_id, tags)
        registry.resolve(store, "demo", number)
    return store
