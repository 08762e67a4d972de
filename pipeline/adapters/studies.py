"""Optuna studies in `mlruns/optuna.db`, under the hash of what they depend on: a killed search resumes, a changed input
starts anew."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import optuna
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

from pipeline.adapters import files, tracking
from pipeline.errors import ParamsError
from pipeline.params import Family, Tune
from pipeline.paths import Workspace


class Trial(Protocol):
    """What is told of a trial; see `pipeline.scoring.search.Trial`."""

    @property
    def family(self) -> Family: ...
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
        "libraries": {name: metadata.version(name) for name in ("numpy", "optuna", "scikit-learn", "scipy", "xgboost")},
        "code": {name: files.sha256(Path(__file__).parent.parent / name) for name in CODE},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


#: Seconds after which a process that shares a study counts as ended where it gave no sign of life, and between looks.
SILENT, LOOK = 120, 2


def open_study(workspace: Workspace, name: str, url: str | None = None) -> optuna.Study:
    """The study of that name, with the trials an earlier process finished; in a shared database where `url` names one.

    Raises:
        ParamsError: the database cannot be reached.
    """
    logging.getLogger("optuna").setLevel(logging.WARNING)
    if url is not None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                shared = optuna.storages.RDBStorage(url, heartbeat_interval=SILENT // 4, grace_period=SILENT)
            study = optuna.create_study(study_name=name, storage=shared, load_if_exists=True, direction="minimize")
        except ImportError as fault:
            missing = fault.__cause__ or fault.__context__ or fault
            raise ParamsError(
                f"tune.storage {files.shown(url)} needs a driver: {missing}. PostgreSQL: pip install 'psycopg[binary]'."
            ) from None
        except SQLAlchemyError as fault:
            said = str(fault).partition("\n")[0]
            raise ParamsError(f"tune.storage {files.shown(url)} cannot be used: {files.shown(said)}.") from None
        return study
    workspace.mlruns.mkdir(exist_ok=True)
    database = workspace.mlruns / "optuna.db"
    files.make_once(database, lambda new: optuna.storages.RDBStorage(f"sqlite:///{new}").engine.dispose())
    storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
    return optuna.create_study(study_name=name, storage=storage, load_if_exists=True, direction="minimize")


def trial_log(workspace: Workspace, contract: str, study: str, params: Tune) -> Callable[[int, Trial], None]:
    """A function (number, trial) that logs each ended trial as a run under the study's own run."""
    log = tracking.TrialLog(tracking.open_store(workspace), contract)
    log.start(study, params.model_dump(mode="json"))

    def report(number: int, trial: Trial) -> None:
        state = "PRUNED" if trial.pruned else "COMPLETE"
        log.trial(number, {"family": trial.family} | trial.values, trial.loss, state)

    return report


def look_again() -> None:
    """Wait a little for the trials of other processes."""
    time.sleep(LOOK)


@dataclass
class Clock:
    """Whether one more trial of a family fits into the time left, judged by the longest one so far."""

    until: float
    longest: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.monotonic)

    @classmethod
    def after(cls, seconds: float | None) -> Clock:
        """The clock of a search that may take so long from now; as long as it takes where None."""
        return cls(math.inf if seconds is None else time.monotonic() + seconds)

    def go_on(self, family: Family) -> bool:
        return time.monotonic() + self.longest.get(family, 0.0) < self.until

    def saw(self, trial: Trial) -> None:
        now = time.monotonic()
        self.longest[trial.family] = max(self.longest.get(trial.family, 0.0), now - self.last)
        self.last = now


class Progress:
    """A bar that says what is best so far; a line per trial where there is no terminal to draw on."""

    def __init__(
        self, log: logging.Logger, total: int, clock: Clock, then: Callable[[int, Trial], None] | None = None
    ) -> None:
        self._log, self._then, self._clock, self._done = log, then, clock, 0
        self._best, self._family = math.inf, ""
        self._bar = tqdm(total=total, desc="tune", unit="trial", disable=None)

    def __call__(self, trial: Trial) -> None:
        self._clock.saw(trial)
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
