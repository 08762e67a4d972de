"""Optuna studies in `mlruns/optuna.db`, under the hash of what they depend on: a killed search resumes, a changed input
starts anew."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import optuna

from pipeline.adapters import files, tracking
from pipeline.params import Tune
from pipeline.paths import Workspace

#: Code that a trial's result depends on, beside the libraries.
CODE = ("scorer/features.py", "scorer/margin.py", "scorer/calibration.py", "scoring/fit.py", "scoring/search.py")


def inputs_hash(inputs: list[Path], params: Tune, seed: int) -> str:
    """Hash of the input files, the settings, the seed, the libraries, and the code that fits and judges."""
    parts = {
        "inputs": [files.sha256(path) for path in inputs],
        "params": params.model_dump(mode="json"),
        "seed": seed,
        "libraries": {name: metadata.version(name) for name in ("numpy", "optuna", "scikit-learn", "xgboost")},
        "code": {name: files.sha256(Path(__file__).parent.parent / name) for name in CODE},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def open_study(workspace: Workspace, name: str) -> optuna.Study:
    """The study of that name, with the trials an earlier process finished."""
    logging.getLogger("optuna").setLevel(logging.WARNING)
    workspace.mlruns.mkdir(exist_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{workspace.mlruns / 'optuna.db'}")
    return optuna.create_study(study_name=name, storage=storage, load_if_exists=True, direction="minimize")


def trial_log(
    workspace: Workspace, contract: str, study: str, params: Tune
) -> Callable[[int, str, dict[str, Any], float], None]:
    """A function (number, family, settings, loss) that logs each finished trial as a run under the study's own run."""
    log = tracking.TrialLog(tracking.open_store(workspace), contract)
    log.start(study, params.model_dump(mode="json"))

    def report(number: int, family: str, settings: dict[str, Any], loss: float) -> None:
        log.trial(number, {"family": family} | settings, loss, "COMPLETE")

    return report
