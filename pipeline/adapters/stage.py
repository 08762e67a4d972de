"""A stage's view of the world: verified inputs, outputs that replace the old ones only after success, one lock."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd

from pipeline import params as params_module
from pipeline import process
from pipeline.adapters import files
from pipeline.errors import ArtefactError, NotEnoughData, meanwhile
from pipeline.params import Params
from pipeline.paths import Workspace, catalogue, find_root

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Stage:
    """Handed to a stage's `run`. Names are those of the catalogue: `<stage>/<file>`.

    Inputs are checked against the manifest that their stage wrote. Outputs go to a folder beside the stage's own and
    move into place, manifest last, when `run` has returned; after an error they are removed and the old ones stand.
    """

    def __init__(self, name: str, workspace: Workspace, params: Params) -> None:
        self.name = name
        self.workspace = workspace
        self.params = params
        self.log: logging.Logger = process.configure_logging(name)
        self.folder_path = workspace.stage(name)
        self._staging = self.folder_path / ".new"
        self._written: list[str] = []
        self._inputs = files.Results(workspace)

    # Inputs

    def table(self, name: str) -> pd.DataFrame:
        return self._inputs.table(name)

    def parts(self, name: str) -> files.Parts:
        """The table as it lies on disk, for work whose memory must not grow with it."""
        return self._inputs.parts(name)

    def csv(self, name: str) -> pd.DataFrame:
        return self._inputs.csv(name)

    def json(self, name: str) -> Any:
        return self._inputs.json(name)

    def path(self, name: str) -> Path:
        """Path of an input file or folder, verified.

        Raises:
            ArtefactError: it is missing, or differs from what its stage wrote.
        """
        return self._inputs.path(name)

    # Outputs

    def save_table(self, name: str, frame: pd.DataFrame | Iterable[pd.DataFrame]) -> None:
        files.write_table(self._new(name), frame)

    def save_csv(self, name: str, frame: pd.DataFrame) -> None:
        files.write_csv(self._new(name), frame)

    def save_json(self, name: str, content: Any) -> None:
        files.write_json(self._new(name), content)

    def save_text(self, name: str, text: str) -> None:
        files.write_text(self._new(name), text)

    def save_figure(self, name: str, figure: Figure) -> None:
        files.write_figure(self._new(name), figure)

    def made(self, name: str) -> files.Parts:
        """A table that this run has saved, part by part."""
        return files.Parts(self._staging / catalogue[name].file)

    def new_folder(self, name: str) -> Path:
        """An empty folder that becomes the artefact `name` when the stage succeeds."""
        path = self._new(name)
        path.mkdir(parents=True)
        return path

    def _new(self, name: str) -> Path:
        artefact = catalogue[name]
        if artefact.stage != self.name:
            raise KeyError(f"stage {self.name} does not make {name}")
        if artefact.file in self._written:
            raise ValueError(f"stage {self.name} writes {name} twice")
        self._written.append(artefact.file)
        return self._staging / artefact.file

    # The act

    def execute(self, run: Callable[[Stage], None]) -> None:
        """Run a stage under its lock and replace its outputs after success.

        Raises:
            ArtefactError: another process writes this stage's folder, or the stage left out an artefact it owns.
            NotEnoughData: as the stage raised it, with a note on how many conversions a model takes, and what ranks the
                leads until then.
        """
        self.folder_path.mkdir(parents=True, exist_ok=True)
        process.settle(self.params.run.seed)
        with open(self.folder_path / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArtefactError(
                    f"{self.folder_path} is being written by another process; wait for it or end it, then try again."
                ) from None
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging.mkdir()
            try:
                run(self)
                self._replace()
            except NotEnoughData as thin:
                thin.add_note(self._outlook(thin.conversions))
                raise
            finally:
                shutil.rmtree(self._staging, ignore_errors=True)

    def _outlook(self, conversions: int | None) -> str:
        """How many conversions the gate will ask for, and what ranks the leads before they are there."""
        cut, wanted = self.params.featurize, self.params.register_.min_test_conversions
        share = 1 - cut.train_share - cut.calibrate_share
        in_all = math.ceil(wanted / share)
        more = "" if conversions is None else f", {max(0, in_all - conversions):,} more than the {conversions:,} of now"
        return (
            f"The gate asks for {wanted:,} conversions in the test window, the newest {share:.0%} of the leads: that "
            f"takes a history with about {in_all:,} conversions{more}. {self.meanwhile()}"
        )

    def meanwhile(self) -> str:
        """What ranks the leads without a model, as a sentence. It looks for the contract's card, and does not read it:
        no result may depend on this."""
        return meanwhile((self.workspace.root / "data" / "cards" / f"{self.params.run.contract}.yaml").is_file())

    def _replace(self) -> None:
        owned = {artefact.file for artefact in catalogue.values() if artefact.stage == self.name} - {"manifest.json"}
        if missing := sorted(owned - set(self._written)):
            raise ArtefactError(f"stage {self.name} did not make {', '.join(missing)}, which the catalogue promises.")
        manifest = {file: files.sha256(self._staging / file) for file in sorted(owned)}
        (self.folder_path / "manifest.json").unlink(missing_ok=True)
        for file in sorted(owned):
            target = self.folder_path / file
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(self._staging / file, target)
        files.write_json(self.folder_path / "manifest.json", manifest)


def main(name: str, run: Callable[[Stage], None]) -> NoReturn:
    """Entry point of a stage process: `python -m pipeline.stages.<name>`, from anywhere inside the project."""

    def act() -> None:
        workspace = Workspace(find_root(Path.cwd()))
        Stage(name, workspace, params_module.load(workspace.params)).execute(run)

    sys.exit(process.exit_code(act))
