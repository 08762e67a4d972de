"""One promoter: judges its version against the champion, approves it where it is better, and begins again where another
promoter was faster. Runs in a process of its own, which may be killed at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import process

process.configure_environment()

# Loaded once by the process that the promoters are forked from, so that a round costs no start-up.
import mlflow.artifacts  # noqa: E402
import mlflow.store.model_registry.sqlalchemy_store  # noqa: E402
import mlflow.store.tracking.sqlalchemy_store  # noqa: E402, F401

from pipeline.adapters import approvals, files, model_folder, registry, tracking  # noqa: E402
from pipeline.adapters.registry import AGAINST, CHAMPION, NOBODY  # noqa: E402
from pipeline.errors import RegistryError  # noqa: E402
from pipeline.paths import Workspace  # noqa: E402

CONTRACT = "race"

#: What a promoter hears that was overtaken between judging and approving.
OVERTAKEN = "since then it has become"


SPEC: dict[str, Any] = {"contract": CONTRACT, "profile": [], "names": {}, "facts": []}


class _Numbered:
    """In the place of a scorer's parts."""

    def __init__(self, number: int) -> None:
        self.number = number

    def files(self) -> tuple[dict[str, int], dict[str, bytes]]:
        return {"number": self.number}, {}


def stock(workspace: Workspace, versions: int) -> None:
    """Register versions 1, 2, ...: folders as every scorer has them, which hold nothing but a number. Nobody scores."""
    store = tracking.open_store(workspace)
    experiment = store.experiment(CONTRACT)
    for number in range(1, versions + 1):
        folder = workspace.root / "scorers" / str(number)
        part = _Numbered(number)
        model_folder.write(
            folder, spec=SPEC, margin=part, level=0.0, calibration=part, interval=part, tiers=[], grades={}
        )
        run = store.client.create_run(experiment, run_name=f"candidate {number}")
        store.client.log_artifacts(run.info.run_id, str(folder), registry.SCORER)
        store.client.set_terminated(run.info.run_id, "FINISHED")
        tags = {"scorer": files.sha256(folder), "gate": "passed", AGAINST: NOBODY}
        with store.lock():
            registry.register(store, CONTRACT, run.info.run_id, tags)
        registry.resolve(store, CONTRACT, number)


def promote(root: str, version: int, quality: Mapping[int, float], by: str, said: str) -> None:
    """Judge and approve until the version is champion or the champion is better; then say which, in a file `said`."""
    store = tracking.open_store(Workspace(Path(root)))
    while True:
        known = registry.versions(store, CONTRACT)
        own = registry.pick(known, CONTRACT, version)
        champion = next((one for one in known if CHAMPION in one.aliases), None)
        if champion is not None and quality[champion.number] >= quality[version]:
            with store.lock():
                registry.refuse(store, CONTRACT, own.scorer)
            outcome = f"refused beside {champion.number}"
            break
        tags = {"scorer": own.scorer, "gate": "passed", AGAINST: champion.scorer if champion else NOBODY}
        with store.lock():
            registry.register(store, CONTRACT, own.run_id, tags)
        try:
            approvals.approve(store, CONTRACT, version, by, "better", asked=1)
        except RegistryError as error:
            if OVERTAKEN not in str(error):
                raise
            continue
        outcome = "approved"
        break
    Path(said).write_text(outcome, encoding="utf-8")
