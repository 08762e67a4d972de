"""The MLflow store, `mlruns/` or the server that MLFLOW_TRACKING_URI names, and trials as live runs.

MLflow keeps the folders of a SQLite store as absolute paths. Whoever opens a store that was moved or copied first
writes the present place over the recorded one, in one transaction, so that its models load from any working directory.

Runs of a killed process would stay RUNNING for ever. Every process that logs holds a lock under `live/`, named in a tag
of its runs; whoever opens the store next ends the runs whose lock nobody holds.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import platform
import re
import sqlite3
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters import files
from pipeline.errors import RegistryError
from pipeline.paths import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Columns of a SQLite store that hold folders, as absolute paths.
_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
_SQLITE = "sqlite:///"
#: MLflow's limits for one call.
_BATCH = 100


@dataclass(frozen=True)
class Store:
    """An open store.

    `uri` names it for MLflow; `home` is the folder for locks, approvals and exported models: that of the database for a
    SQLite store, else `mlruns/`. `database` is the SQLite file, None for a server.
    """

    workspace: Workspace
    uri: str
    home: Path
    database: Path | None
    client: MlflowClient

    def experiment(self, contract: str) -> str:
        """Id of the contract's experiment, made at the first call, restored where somebody deleted it."""
        name = name_of(contract)
        known = self.client.get_experiment_by_name(name)
        if known is None:
            # A server chooses the place itself.
            place = None if _is_server(self.uri) else str(self.home / "artifacts" / name)
            return str(self.client.create_experiment(name, artifact_location=place, tags=_about_experiment(contract)))
        if known.lifecycle_stage == "deleted":
            self.client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held while runs, versions or aliases are read and changed; other processes of this machine wait."""
        with open(self.home / ".lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
    ) -> None:
        """Log parameters and finite metrics in as few calls as MLflow allows."""
        from mlflow.entities import Metric, Param

        now = _milliseconds()
        flat = [Param(key, _text(value)) for key, value in (params or {}).items()]
        figures = [
            Metric(key, float(value), now, step) for key, value in (metrics or {}).items() if math.isfinite(value)
        ]
        for start in range(0, max(len(flat), len(figures)), _BATCH):
            self.client.log_batch(
                run_id, params=flat[start : start + _BATCH], metrics=figures[start : start + _BATCH], synchronous=True
            )


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn what MLflow raises into one sentence.

    Raises:
        RegistryError: the store could not be reached, or refused.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, sqlite3.Error) as fault:
        text = " ".join(str(fault).split())[:300]
        raise RegistryError(f"the MLflow store {files.shown(uri)} answered: {text}") from fault


def _about_experiment(contract: str) -> dict[str, str]:
    """Tags that tell the UI what is in it: a description, and that models are trained here, not agents watched."""
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": (
            f"Lead scores for the contract `{contract}`. A run `candidate ...` holds everything about one scorer: "
            "figures with intervals, rivals, reasons, the gate's decision. A run `search ...` holds its trials, nested "
            "below it. Candidate and search share the tag `study`. Only candidates: `tags.kind = 'candidate'`."
        ),
        "contract": contract,
    }


def name_of(contract: str) -> str:
    """Name of a contract's experiment and of its registered model."""
    return f"lead-scoring-{contract}"


def open_store(workspace: Workspace) -> Store:
    """Open the store that MLFLOW_TRACKING_URI names, else `mlruns/mlflow.db`, made at the first call.

    A SQLite store that has moved is told its new place, and runs of killed processes are ended.

    Raises:
        RegistryError: no server answers, or the folder's name is one that MLflow cannot store.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    database = None
    if not uri or uri.startswith(_SQLITE):
        given = uri.removeprefix(_SQLITE) or "mlruns/mlflow.db"
        database = (workspace.root.resolve() / given).resolve()
        if re.search(r"\?|%[0-9A-Fa-f]{2}", str(database)):
            raise RegistryError(
                f"{database.parent}: MLflow cannot keep a store below a folder whose name holds `?`, or `%` before two "
                "hex digits. Rename the folder, or name a server in MLFLOW_TRACKING_URI."
            )
        uri = f"{_SQLITE}{database}"
    elif _is_server(uri):
        _reach(uri)
    elif "://" not in uri:
        raise RegistryError(
            f"MLFLOW_TRACKING_URI is {uri!r}; name a server (http://...) or a sqlite:/// file, or unset it."
        )
    home = database.parent if database else workspace.mlruns.resolve()
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / ".lock").touch()
    except OSError as fault:
        raise RegistryError(
            f"{home}: no MLflow store can be kept there ({fault.strerror}); see MLFLOW_TRACKING_URI."
        ) from None
    with answering(uri):
        if database and database.is_file():
            _rehome(database, home)
        store = Store(workspace=workspace, uri=uri, home=home, database=database, client=_client(uri, home))
        _end_dead_runs(store)
    return store


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def _reach(uri: str) -> None:
    """Fail in seconds where nothing listens; MLflow itself would try again for minutes."""
    try:
        urllib.request.urlopen(f"{files.shown(uri).rstrip('/')}/health", timeout=10).close()
    except urllib.error.HTTPError:
        return
    except (urllib.error.URLError, TimeoutError, OSError) as fault:
        reason = getattr(fault, "reason", fault)
        if isinstance(reason, ssl.SSLError):
            return
        raise RegistryError(
            f"MLFLOW_TRACKING_URI names {files.shown(uri)}, and no MLflow server answers there ({reason}). Start it, "
            "correct the address, or unset the variable to use mlruns/."
        ) from None


def _client(uri: str, home: Path) -> MlflowClient:
    """A client bound to `uri`, quiet about migrations and downloads."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    for name in ("alembic", "mlflow.store.db.utils", "mlflow.store.model_registry.abstract_store"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if uri.startswith(_SQLITE):
        with open(home / ".lock", "w") as file:
            # Two processes that create the tables at once fail.
            fcntl.flock(file, fcntl.LOCK_EX)
            _make_tables(Path(uri.removeprefix(_SQLITE)))
            return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _make_tables(database: Path) -> None:
    """Make a missing database under another name first: half a set of tables, which a kill leaves behind, MLflow can
    neither read nor finish."""
    from mlflow.store.db import utils

    def make(new: Path) -> None:
        engine = utils.create_sqlalchemy_engine_with_retry(f"{_SQLITE}{new}")
        utils._initialize_tables(engine)
        engine.dispose()

    files.make_once(database, make)


def _rehome(database: Path, home: Path) -> None:
    """Where the experiments' recorded folder is not `home`, write `home` over the recorded one, in every table."""
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        if not _recorded_homes(connection, home):
            return
        connection.execute("BEGIN IMMEDIATE")
        tables = _tables(connection)
        for old in sorted(_recorded_homes(connection, home)):
            for table, columns in _PLACES.items():
                for column in columns if table in tables else ():
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (str(home), len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
        # MLflow places its own default experiment below the working directory of the first process.
        place = (f"{home}/artifacts/0",)
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'Default'", place)
        connection.execute("COMMIT")


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _recorded_homes(connection: sqlite3.Connection, home: Path) -> set[str]:
    """Folders other than `home` that the contracts' experiments say they lie in."""
    if "experiments" not in _tables(connection):
        return set()
    rows = connection.execute("SELECT name, artifact_location FROM experiments WHERE name LIKE 'lead-scoring-%'")
    ends = {place.removesuffix(f"/artifacts/{name}") for name, place in rows if place.endswith(f"/artifacts/{name}")}
    return {place for place in ends if Path(place).is_absolute()} - {str(home)}


# Runs and the processes behind them


def _machine(workspace: Workspace) -> str:
    """Names this folder on this machine without telling either: on a shared server, only its own runs are ended."""
    return hashlib.sha256(f"{platform.node()}\0{workspace.root.resolve()}".encode()).hexdigest()[:16]


class Live:
    """A sign of life: tags for the runs of this process, and a lock that its end, however it comes, releases."""

    def __init__(self, store: Store) -> None:
        self._path = store.home / "live" / uuid.uuid4().hex
        self._path.parent.mkdir(exist_ok=True)
        self._descriptor = _hold(self._path)
        self.tags = {"live": self._path.name, "workspace": _machine(store.workspace)}

    def end(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _hold(path: Path) -> int:
    """Make and lock a file; again where another process took it for a dead one's before it was locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
        os.close(descriptor)


def _end_dead_runs(store: Store) -> None:
    """Mark as KILLED every RUNNING run of ours whose process is gone; remove the locks that nobody holds."""
    folder = store.home / "live"
    alive = {path.name for path in folder.glob("*") if _is_held(path)}
    ours = [
        experiment.experiment_id
        for experiment in store.client.search_experiments(filter_string="name LIKE 'lead-scoring-%'")
    ]
    if not ours:
        return
    for run in store.client.search_runs(ours, "attributes.status = 'RUNNING'"):
        tags = run.data.tags
        mine = store.database is not None or tags.get("workspace") == _machine(store.workspace)
        if mine and "live" in tags and tags["live"] not in alive:
            store.client.set_terminated(run.info.run_id, "KILLED")


def _is_held(path: Path) -> bool:
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


class TrialLog:
    """Trials as runs below their study's run, each logged as it ends; nothing is logged twice when a search resumes."""

    def __init__(self, store: Store, contract: str) -> None:
        self._store, self._contract = store, contract
        self._live: Live | None = None
        self._study = self._experiment = self._parent = ""
        self._best = math.inf
        self._known: set[int] = set()

    @property
    def known(self) -> frozenset[int]:
        """Numbers of the trials that the store holds."""
        return frozenset(self._known)

    def start(self, study: str, params: Mapping[str, Any]) -> None:
        """Find or make the run of the study with this hash; `params` are the settings of the search.

        Raises:
            RegistryError: the store refused.
        """
        client = self._store.client
        with answering(self._store.uri):
            self._live = Live(self._store)
            self._study = study
            self._experiment = self._store.experiment(self._contract)
            found = client.search_runs([self._experiment], f"tags.kind = 'study' and tags.study = '{study}'")
            if found:
                self._parent = found[-1].info.run_id
            else:
                about = (
                    "The search for settings: its trials are nested below. Each is judged forward in time before the "
                    "test window by log-loss; lower is better. `best_log_loss` is the best so far, by trial. The "
                    f"candidate made with it: `tags.kind = 'candidate' and tags.study = '{study}'`."
                )
                tags = {
                    "kind": "study",
                    "contract": self._contract,
                    "study": study,
                    "mlflow.note.content": about,
                    **self._live.tags,
                }
                run = client.create_run(self._experiment, run_name=f"search {study[:8]}", tags=tags)
                self._parent = run.info.run_id
                self._store.log(self._parent, params=flatten(params))
            self._read_trials()
            # Each trial ends by itself; the study has no end of its own that a kill could leave open.
            client.set_terminated(self._parent, "FINISHED")

    def _read_trials(self) -> None:
        client, token = self._store.client, None
        trials = f"tags.kind = 'trial' and tags.study = '{self._study}'"
        while True:
            page = client.search_runs([self._experiment], trials, max_results=1000, page_token=token)
            for run in page:
                if run.info.status in ("FINISHED", "FAILED"):
                    self._known.add(int(run.data.tags["trial"]))
                    if run.data.tags.get("state") == "COMPLETE":
                        self._best = min(self._best, run.data.metrics.get("log_loss", math.inf))
                else:
                    client.delete_run(run.info.run_id)
            if not (token := page.token):
                return

    def trial(self, number: int, params: Mapping[str, Any], value: float, state: str) -> None:
        """Log one ended trial: settings, forward-in-time log-loss, and how it ended (COMPLETE, PRUNED, FAIL)."""
        if self._live is None:
            raise ValueError("TrialLog.start comes before TrialLog.trial")
        if number in self._known:
            return
        client, store = self._store.client, self._store
        with answering(store.uri):
            tags = {
                "kind": "trial",
                "contract": self._contract,
                "study": self._study,
                "trial": str(number),
                "state": state,
                "mlflow.parentRunId": self._parent,
                **self._live.tags,
            }
            family = params.get("family", "")
            run = client.create_run(self._experiment, run_name=f"trial {number:03d} {family}".strip(), tags=tags)
            store.log(run.info.run_id, params=flatten(params), metrics={"log_loss": value})
            client.set_terminated(run.info.run_id, "FAILED" if state == "FAIL" else "FINISHED")
            self._known.add(number)
            if state == "COMPLETE" and value < self._best:  # others were not judged on all folds
                self._best = value
            store.log(self._parent, metrics={"log_loss": value, "best_log_loss": self._best}, step=number)

    def end(self) -> None:
        """Give the sign of life back. A process that ends does so by itself."""
        if self._live is not None:
            self._live.end()
            self._live = None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `section.key -> value`; lists stay whole."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
