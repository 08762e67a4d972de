"""A demo history whose law is known, run through every stage, with its scorer approved: the champion of the candidates.

The search is the small one of the tests; all else is as `params.yaml` says.
"""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import params as params_module
from pipeline.adapters import approvals, files, registry, tracking
from pipeline.adapters.stage import Stage
from pipeline.leads.demo_law import law
from pipeline.leads.snapshots import rows_at
from pipeline.params import Params
from pipeline.paths import STAGES, Workspace, find_root
from tests.workspaces import small_workspace

#: Stages before the gate.
BEFORE = STAGES[: STAGES.index("register")]

#: The law is asked twice, by simulations of its own each: once to make candidates, once to say how good they are.
LAW_SEEDS = (1, 2)


@dataclass(frozen=True)
class World:
    """A workspace whose champion is version 1, made from the results that lie in it.

    `test`: the test snapshots with their features. `champion`: its chance of each. `truth`, `judge`: the law's chance
    of each, by two simulations apart. `rivals`: as `evaluate` wrote them.
    """

    workspace: Workspace
    params: Params
    test: pd.DataFrame
    champion: np.ndarray
    truth: np.ndarray
    judge: np.ndarray
    rivals: pd.DataFrame


def make(folder: Path, seed: int, *, leads: int, paths: int) -> World:
    """The world of a seed under `folder`; results that lie there from an earlier call are used again."""
    project = find_root(Path(__file__))
    root = folder / f"{leads}-{seed}"
    fresh, old = folder / f".{leads}-{seed}", root / "params.yaml"
    shutil.rmtree(fresh, ignore_errors=True)
    # As many leads and resamples as in params.yaml, not the tests' few.
    workspace = small_workspace(
        project,
        fresh,
        ("leads: 4000", f"leads: {leads}"),
        ("bootstrap_samples: 100", "bootstrap_samples: 500"),
        ("seed: 20260101", f"seed: {seed}"),
    )
    if old.exists():
        shutil.copyfile(workspace.params, old)
        shutil.rmtree(fresh)
        shutil.rmtree(root / "mlruns")
        (root / "mlruns").mkdir()
    else:
        params = params_module.load(workspace.params)
        for name in BEFORE:
            Stage(name, workspace, params).execute(importlib.import_module(f"pipeline.stages.{name}").run)
        fresh.rename(root)
    workspace = Workspace(root)
    return crowned(workspace, truths(workspace, paths))


def truths(workspace: Workspace, paths: int) -> pd.DataFrame:
    """The law's chance of every test snapshot, in their order: one column per simulation, kept beside the results."""
    kept = workspace.root / "law.parquet"
    if kept.exists():
        return pd.read_parquet(kept)
    results = files.Results(workspace)
    leads, activities, changes = (
        results.table(f"validate/{name}.parquet") for name in ("leads", "activities", "changes")
    )
    snapshots = results.table("featurize/snapshots.parquet")
    rows = rows_at(leads, snapshots[snapshots["split"] == "test"][["lead_id", "as_of"]])
    as_of, horizon = rows.pop("as_of"), results.json("featurize/features.json")["horizon_days"]
    told = {
        f"seed_{seed}": law(rows, activities, changes, as_of, horizon_days=horizon, paths=paths, seed=seed)[
            "probability"
        ]
        for seed in LAW_SEEDS
    }
    table = pd.DataFrame(told)
    table.to_parquet(kept)
    return table


def crowned(workspace: Workspace, told: pd.DataFrame) -> World:
    """Register the scorer that lies in a workspace, and approve it."""
    params = params_module.load(workspace.params)
    run_gate(workspace)
    store = tracking.open_store(workspace)
    number = registry.find(store, params.run.contract, registry.CHALLENGER).number
    approvals.approve(store, params.run.contract, number, "Benchmark", "the champion to beat", asked=1)
    results = files.Results(workspace)
    snapshots = results.table("featurize/snapshots.parquet")
    test = snapshots[snapshots["split"] == "test"].reset_index(drop=True)
    scores = results.table("evaluate/scores.parquet")
    chances = (told[f"seed_{seed}"].to_numpy() for seed in LAW_SEEDS)
    champion = scores["probability"].to_numpy(dtype="float64")
    return World(workspace, params, test, champion, *chances, results.table("evaluate/rival_scores.parquet"))


def run_gate(workspace: Workspace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the stage `register` on what lies in the workspace; returns decision and registration."""
    stage = importlib.import_module("pipeline.stages.register")
    Stage("register", workspace, params_module.load(workspace.params)).execute(stage.run)
    decision, registration = (
        files.read_json(workspace.path(f"register/{name}.json")) for name in ("decision", "registration")
    )
    return decision, registration
