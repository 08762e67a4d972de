"""One candidate through the stage `register`, in a copy of its world."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.gate.kinds import Bad, Changed
from benchmarks.gate.worlds import World, run_gate
from pipeline.adapters import approvals, champions, files, model_folder, tracking
from pipeline.errors import RegistryError
from pipeline.paths import Workspace
from pipeline.scorer import Scorer
from pipeline.scoring import metrics
from tests.fake_results import sign

#: What champions said when they were asked, by the folder of their world.
_MET: dict[Path, champions.Met] = {}


@dataclass(frozen=True)
class Judged:
    """What became of a candidate. `approved`: whether `leads approve` would make it champion without a word."""

    decision: dict[str, Any]
    registration: dict[str, Any]
    approved: bool
    why_not: str

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(check["name"] for check in self.decision["checks"] if not check["passed"])

    def faults(self, bad: Bad) -> list[str]:
        """What is wrong with the judgement of a bad candidate, one sentence each."""
        if bad.then == "same":
            as_it_was = (self.registration["version"], self.registration["new_version"]) == (1, False)
            return [] if as_it_was else ["it was registered anew"]
        if bad.then == "incomparable":
            said = any(sentence.startswith("NOT COMPARABLE") for sentence in self.decision["warnings"])
            told = "could not be compared" in self.why_not
            return [] if said and told and not self.approved else ["it would be approved without a word"]
        found = [f"{name} did not refuse it" for name in bad.checks if name not in self.failed]
        found += [f"{name} refused it" for name in self.failed if name not in {*bad.checks, *bad.also}]
        if self.decision["passed"] or self.registration["version"] is not None:
            found.append("it was registered")
        letter = self.decision["letter"]
        sentences = {check["name"]: check["sentence"] for check in self.decision["checks"]}
        return found + [f"the letter does not name {name}" for name in bad.checks if sentences[name] not in letter]


def judge(world: World, changed: Changed, number: int) -> Judged:
    """Have the stage judge a candidate beside the champion of its world.

    Args:
        number: makes its scorer another than every other candidate's.
    """
    with tempfile.TemporaryDirectory(dir=world.workspace.root.parent) as folder, met_once(world, changed):
        workspace = Workspace(Path(folder) / "world")
        # Files are only ever replaced, so that links to them are copies; databases are written in place.
        shutil.copytree(world.workspace.root / "data", workspace.root / "data", copy_function=os.link)
        shutil.copytree(world.workspace.root / "mlruns", workspace.root / "mlruns")
        shutil.copyfile(world.workspace.params, workspace.params)
        write(world, changed, workspace, number)
        decision, registration = run_gate(workspace)
        approved, why_not = approve(workspace, world.params.run.contract, registration["version"])
    return Judged(decision, registration, approved, why_not)


@contextmanager
def met_once(world: World, changed: Changed) -> Iterator[None]:
    """Let the champion score the test rows of a world once, for all candidates that are judged on all of them."""

    def meet(*given: Any) -> champions.Met:
        if world.workspace.root not in _MET:
            _MET[world.workspace.root] = real(*given)
        return _MET[world.workspace.root]

    real = champions.meet
    if changed.keep is None:
        champions.meet = meet
    try:
        yield
    finally:
        champions.meet = real


def approve(workspace: Workspace, contract: str, version: int | None) -> tuple[bool, str]:
    """Whether a person's approval would make the version champion, or why not."""
    if version is None:
        return False, "it is not registered"
    try:
        found = approvals.approve(tracking.open_store(workspace), contract, version, "Benchmark", "tried", asked=1)
    except RegistryError as refused:
        return False, str(refused)
    return found.moved, ""


def write(world: World, changed: Changed, workspace: Workspace, number: int) -> None:
    """The results of a candidate, as its stages would have left them."""
    results = files.Results(world.workspace)
    scores = results.table("evaluate/scores.parquet").assign(probability=changed.probability)
    content: dict[str, Any] = dict(changed.files)
    rivals, label = world.rivals, world.test["label"]
    if changed.keep is not None:
        snapshots = results.table("featurize/snapshots.parquet")
        test = np.flatnonzero(snapshots["split"] == "test")
        content["featurize/snapshots.parquet"] = snapshots.drop(index=snapshots.index[test[~changed.keep]])
        scores, rivals, label = scores[changed.keep], rivals[changed.keep], label[changed.keep]
        content["evaluate/rival_scores.parquet"] = rivals
    content["evaluate/scores.parquet"] = scores
    scored = scores["probability"].notna().to_numpy()
    told = dict.fromkeys(metrics.METRICS)
    if scored.any():
        probability = scores["probability"].to_numpy()[scored]
        told = metrics.summary(label.to_numpy()[scored], probability, bins=world.params.evaluate.bins)
    own = results.json("evaluate/metrics.json")
    content["evaluate/metrics.json"] = own | {name: value for name, value in told.items() if name in own}
    for name, made in content.items():
        path = workspace.path(name)
        if isinstance(made, pd.DataFrame):
            files.write_table(path, made)
        else:
            files.write_json(path, made)
    if changed.scorer:
        another(world.workspace.path("calibrate/scorer"), workspace.path("calibrate/scorer"), 1e-9 * number)
    for stage in {name.partition("/")[0] for name in content} | {"calibrate"}:
        sign(workspace, stage)


def another(source: Path, target: Path, by: float) -> None:
    """A scorer whose current level lies higher by so little that no score differs, but whose bytes do."""
    scorer = Scorer.load(source)
    shutil.rmtree(target)
    target.mkdir()
    model_folder.write(
        target,
        spec=scorer.spec,
        margin=scorer.margin,
        level=scorer.level + by,
        calibration=scorer.calibration,
        interval=scorer.interval,
        tiers=scorer.tiers,
        grades=scorer.grades,
        deal_values=scorer.deal_values,
    )
