"""Project folders for tests, and the stages run in them."""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path

from pipeline import params as params_module
from pipeline.adapters.stage import Stage
from pipeline.paths import STAGES, Workspace

#: Of the trees tried first a small run tries two: from nothing, and from a logistic regression on rates of categories.
FIRST_TREES = re.compile(r"(?<=  xgboost:\n    first:\n)(      .*\n)+?(?=    max_depth)")
FIRST_TREES_SMALL = "".join(
    f"      - {{max_depth: {depth}, learning_rate: 0.15, min_child_weight: 2.0, subsample: 0.8, "
    "colsample_bytree: 1.0,\n         colsample_bynode: 0.5, reg_lambda: 3.0, "
    f"start: {start}, categories: {categories},\n         target_prior: 20.0, half_life: 0.0}}\n"
    for depth, start, categories in [(3, "nothing", "native"), (2, "logistic", "target")]
)

#: The small run that many tests look at: everything real, only less of it.
SMALL = {
    "leads: 20000": "leads: 4000",
    "trials: {scorecard: 2, logistic: 3, xgboost: 7}": "trials: {scorecard: 1, logistic: 2, xgboost: 3}",
    "  folds: 4\n  first_fold_share": "  folds: 3\n  first_fold_share",
    "max_rounds: 500": "max_rounds: 60",
    "early_stopping_rounds: 25": "early_stopping_rounds: 10",
    "bootstrap_samples: 500": "bootstrap_samples: 100",
    "    rounds: 100": "    rounds: 50",
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
    text, found = FIRST_TREES.subn(FIRST_TREES_SMALL, text)
    assert found == 1, "params.yaml lists the first trees elsewhere"
    (root / "params.yaml").write_text(text)
    shutil.copyfile(project_root / "dvc.yaml", root / "dvc.yaml")
    for name in ("contracts", "cards", "playbooks"):
        shutil.copytree(project_root / "data" / name, root / "data" / name)
    (root / "mlruns").mkdir()
    return Workspace(root)


def run_stages(workspace: Workspace, stages: tuple[str, ...] = STAGES) -> None:
    """Run stages in this process, as `dvc repro` would one by one."""
    params = params_module.load(workspace.params)
    for name in stages:
        Stage(name, workspace, params).execute(importlib.import_module(f"pipeline.stages.{name}").run)
