"""Optuna studies in `mlruns/optuna.db`, under the hash of what they depend on: a killed search resumes, a changed input
starts anew."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import optuna
from tqdm import tqdm

from pipeline.adapters import files, tracking
from pipeline.params import Tune
from pipeline.paths import Workspace


class Trial(Protocol):
    """What is told of a trial; see `pipeline.scoring.search.Trial`."""

    @property
    def family(self) -> str: ...
    @property
    def values(self) -> dict[str, Any]: ...
    @property
    def loss(self) -> float: ...
    @property
    def pruned(self) -> bool: ...


#: Code that a trial's result depends on, beside the libraries.
CODE = (
    "scorer/features.py",
    "scorer/margin.py",
    "scorer/calibration.py",
    "scoring/blend.py",
    "scoring/fit.py",
    "scoring/folds.py",
    "scoring/search.py",
)


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


def trial_log(workspace: Workspace, contract: str, study: str, params: Tune) -> Callable[[int, Trial], None]:
    """A function (number, trial) that logs each ended trial as a run under the study's own run."""
    log = tracking.TrialLog(tracking.open_store(workspace), contract)
    log.start(study, params.model_dump(mode="json"))

    def report(number: int, trial: Trial) -> None:
        state = "PRUNED" if trial.pruned else "COMPLETE"
        log.trial(number, {"family": trial.family} | trial.values, trial.loss, state)

    return report


class Progress:
    """A bar that says what is best so far; a line per trial where there is no terminal to draw on."""

    def __init__(self, log: logging.Logger, total: int, then: Callable[[int, Trial], None] | None = None) -> None:
        self._log, self._then, self._done = log, then, 0
        self._best, self._family = math.inf, ""
        self._bar = tqdm(total=total, desc="tune", unit="trial", disable=None)

    def __call__(self, trial: Trial) -> None:
        if not trial.pruned and trial.loss < self._best:
            self._best, self._family = trial.loss, trial.family
        if self._then is not None:
            self._then(self._done, trial)
        self._done += 1
        said = f"best log-loss {self._best:.5f} ({self._family})"
        self._bar.set_postfix_str(said)
        self._bar.update()
        if self._bar.disable:
            ended = " (ended early)" if trial.pruned else ""
            self._log.info(f"trial {self._done} of {self._bar.total}: {trial.family} {trial.loss:.5f}{ended}, {said}")
        if self._done == self._bar.total:
            self.close()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
