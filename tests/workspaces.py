"""Project folders for tests, and the stages run in them."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

from pipeline import params as params_module
from pipeline.adapters.stage import Stage
from pipeline.paths import STAGES, Workspace

#: The small run that many tests look at: everything real, only less of it.
SMALL = {
    "leads: 20000": "leads: 4000",
    "trials: {logistic: 4, xgboost: 8}": "trials: {logistic: 1, xgboost: 2}",
    "bootstrap_samples: 500": "bootstrap_samples: 100",
    "sample_rows: 2000": "sample_rows: 300",
    "min_conversions: 30": "min_conversions: 5",
}


def small_workspace(project_root: Path, root: Path, *changes: tuple[str, str]) -> Workspace:
    """A project folder at `root` with the shipped contracts and a params.yaml for a small run."""
    root.mkdir(parents=True)
    text = (project_root / "params.yaml").read_text()
    for old, new in [*SMALL.items(), *changes]:
        assert old in text, f"params.yaml no longer says {old!r}"
        text = text.replace(old, new)
    (root / "params.yaml").write_text(text)
    shutil.copyfile(project_root / "dvc.yaml", root / "dvc.yaml")
    shutil.copytree(project_root / "data" / "contracts", root / "data" / "contracts")
    (root / "mlruns").mkdir()
    return Workspace(root)


def run_stages(workspace: Workspace, stages: tuple[str, ...] = STAGES) -> None:
    """Run stages in this process, as `dvc repro` would one by one."""
    params = params_module.load(workspace.params)
    for name in stages:
        Stage(name, workspace, params).execute(importlib.import_module(f"pipeline.stages.{name}").run)
