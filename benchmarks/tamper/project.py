"""A project in a folder of its own with two registered versions, and its commands, run in this process and watched."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import xgboost as xgb

from pipeline import cli, process
from pipeline import params as params_module
from pipeline.adapters import files, model_check, model_folder, registry, sources, tracking
from pipeline.leads import specification
from pipeline.paths import Workspace
from pipeline.scorer import features, model
from pipeline.scorer.calibration import Calibration, Interval
from pipeline.scorer.margin import Encoder, Margin, XGBoostMember

CONTRACT = "demo"


@dataclass(frozen=True)
class Answer:
    """What a command did: its exit code (None where it ended in a traceback), its words, and what it parsed of the
    model or ran of its code."""

    code: int | None
    text: str
    touched: list[str]


@dataclass(frozen=True)
class Project:
    """Two versions of one model, as made (`made`) and where the store keeps them (`stored`), and their hashes."""

    workspace: Workspace
    store: tracking.Store
    made: list[Path]
    stored: list[Path]
    hashes: list[str]

    def put(self, folder: Path) -> None:
        """Move `folder` to where version 1 is stored, and forget every private copy."""
        shutil.rmtree(self.stored[0])
        shutil.rmtree(self.workspace.mlruns / "models", ignore_errors=True)
        os.rename(folder, self.stored[0])


def project(root: Path, source: Path) -> Project:
    """Make the project in `root`; settings and contract are those of the checkout `source`."""
    workspace = Workspace(root)
    (root / "data" / "contracts").mkdir(parents=True)
    shutil.copyfile(source / "params.yaml", workspace.params)
    for name in ("dvc.yaml", f"data/contracts/{CONTRACT}.yaml"):
        shutil.copyfile(source / name, root / name)
    (root / "leads.csv").write_text("lead_id\nL1\n")
    store = tracking.open_store(workspace)
    made, stored, hashes = [], [], []
    for seed in (1, 2):
        folder = root / f"made_{seed}"
        write_scorer(folder, workspace, seed)
        run = store.client.create_run(store.experiment(CONTRACT)).info
        store.client.log_artifacts(run.run_id, str(folder), registry.SCORER)
        tags = {"scorer": files.sha256(folder), "gate": "passed"}
        registry.register(store, CONTRACT, run.run_id, tags)
        made.append(folder)
        stored.append(Path(run.artifact_uri) / registry.SCORER)
        hashes.append(tags["scorer"])
    return Project(workspace, store, made, stored, hashes)


def write_scorer(folder: Path, workspace: Workspace, seed: int) -> None:
    """A scorer of the demo's contract, its trees fitted to noise: what it says is of no interest here."""
    params = params_module.load(workspace.params)
    spec = specification.specify(sources.read_contract(workspace, CONTRACT), params.featurize)
    names = [feature["name"] for feature in features.feature_list(spec)]
    generator = np.random.default_rng(np.random.SeedSequence([seed, *b"tamper"]))
    rows = xgb.DMatrix(generator.normal(size=(400, len(names))), generator.integers(0, 2, 400), nthread=1)
    booster = xgb.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, rows, 20)
    encoder = Encoder(names=names, levels={}, complete=[])
    folder.mkdir()
    model_folder.write(
        folder,
        spec=spec,
        margin=Margin(encoder, [XGBoostMember(encoder, booster)], [1.0], -1.0 - seed, np.zeros(len(names))),
        level=0.0,
        calibration=Calibration("none", 0.0, 1.0, 1.0),
        interval=Interval(0.9, [0.0], [-0.1], [0.1]),
        tiers=[{"name": "A", "from": 0}],
        grades={},
    )


def run(*arguments: str | Path) -> Answer:
    """A command of `leads`, as a person types it, in this process."""
    out, code = io.StringIO(), None
    with watched() as touched, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = process.exit_code(lambda: cli.app([str(one) for one in arguments], standalone_mode=False))
        except Exception as fault:
            out.write(f"TRACEBACK {type(fault).__name__}: {fault}")
    return Answer(code, out.getvalue(), touched)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Names what is parsed of a model beside its manifest, and every import of its code."""
    touched: list[str] = []

    def noting(owner: object, name: str) -> mock._patch[object]:
        original = getattr(owner, name)

        def noted(*arguments: object, **named: object) -> object:
            touched.append(name)
            return original(*arguments, **named)

        return mock.patch.object(owner, name, noted)

    carried = [module for name, module in sys.modules.items() if name.startswith("scorer_") and name.endswith(".model")]
    watching = [(model_check, "_yaml"), (model_folder, "_module"), (xgb.Booster, "load_model")]
    with contextlib.ExitStack() as stack:
        for owner, name in [*watching, *((module, "_read") for module in (model, *carried))]:
            stack.enter_context(noting(owner, name))
        yield touched
