"""Runs the systems, each in a process of its own on the same files, and keeps what the rivals answered.

A rival's answer is kept in `.cache/`, under a hash of all that decides it: the rows, what it is told, its script, its
requirements, its seed, and the seconds where it searches. Ours is run every time. No system sees an outcome of the test
rows: the file it is given does not hold them.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.environments import EnvironmentFailed
from benchmarks.quality import environments
from benchmarks.quality.environments import CACHE, HERE, OWN
from benchmarks.quality.sets import Pair

THREADS = 2
OURS = "ours"


@dataclass(frozen=True)
class Rival:
    """`script` under `rivals/`, run by the Python of `environment`; `searches`: it uses the seconds it is given."""

    script: str
    environment: str
    searches: bool = False


RIVALS = {
    "autogluon": Rival("autogluon_best.py", "autogluon", searches=True),
    "flaml": Rival("flaml_automl.py", "flaml", searches=True),
    "mljar": Rival("mljar_compete.py", "mljar", searches=True),
    "scorecard": Rival("optbinning_scorecard.py", "optbinning"),
    "catboost": Rival("catboost_default.py", "boosters"),
    "lightgbm": Rival("lightgbm_default.py", "boosters"),
    "xgboost": Rival("xgboost_default.py", OWN),
    "logistic": Rival("logistic.py", OWN),
    "naive_bayes": Rival("naive_bayes.py", OWN),
    "base_rate": Rival("base_rate.py", OWN),
}


@dataclass(frozen=True)
class Files:
    """A pair on disk. `test` lacks the outcome. `told`: the options that every system gets."""

    train: Path
    test: Path
    rows: int
    told: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Answer:
    """What became of a system: its chances of the test rows, (rows,), or None and the reason.

    `seconds`: by the clock, start-up, fitting and prediction together; `processor_seconds`: of all its threads. A
    system that searches and got much less processor time than its threads could use met a busy machine.
    """

    chance: np.ndarray | None
    seconds: float = 0.0
    processor_seconds: float = 0.0
    reason: str = ""


def lay_out(pair: Pair, folder: Path) -> Files:
    """Write a pair as the systems get it."""
    folder.mkdir(parents=True, exist_ok=True)
    train, test = folder / "train.csv", folder / "test.csv"
    pair.train.to_csv(train, index=False, lineterminator="\n")
    pair.test.drop(columns=pair.target).to_csv(test, index=False, lineterminator="\n")
    told = ["--target", pair.target]
    told += ["--time-ordered"] if pair.time_ordered else []
    for column in pair.drop:
        told += ["--drop", column]
    return Files(train, test, len(pair.test), tuple(told), _digest(train.read_bytes(), test.read_bytes()))


def rival(
    name: str, files: Files, set_name: str, seconds: float, seed: int, *, retry: bool = False, run: bool = True
) -> Answer:
    """A rival's answer, from the cache where it is there.

    `retry`: run it again where it failed before. `run`: False takes only what the cache has.
    """
    one = RIVALS[name]
    script = HERE / "rivals" / one.script
    parts = [files.digest, *files.told, environments.requirements_hash(one.environment), str(seed), str(THREADS)]
    parts += [f"{seconds:g}"] if one.searches else []
    key = _digest(*(part.encode() for part in parts), script.read_bytes(), (script.parent / "exchange.py").read_bytes())
    kept = CACHE / "answers" / set_name / f"{name}-{key[:16]}.json"
    if kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
        if not found["reason"]:
            return Answer(_chances(kept.with_suffix(".csv"), files.rows), **found)
        if not retry:
            return Answer(None, **found)
    if not run:
        return Answer(None, reason="not in the cache")
    try:
        python = environments.interpreter(one.environment)
    except EnvironmentFailed as failure:
        return Answer(None, reason=f"not installed: {failure}")

    def commands(folder: Path, out: Path) -> list[list[str]]:
        asked = ["--seconds", f"{seconds:g}", "--seed", str(seed), "--threads", str(THREADS), *files.told]
        return [[str(python), str(script), str(files.train), str(files.test), str(out), *asked]]

    answer = _run(commands, files.rows, seconds)
    kept.parent.mkdir(parents=True, exist_ok=True)
    if answer.chance is not None:
        pd.DataFrame({"probability": answer.chance}).to_csv(kept.with_suffix(".csv"), index=False)
    said = {"seconds": answer.seconds, "processor_seconds": answer.processor_seconds, "reason": answer.reason}
    kept.write_text(json.dumps(said), encoding="utf-8")
    return answer


def ours(files: Files, set_name: str, seconds: float) -> Answer:
    """Our answer, by the command line that a user has; left in `.cache/ours/` for a look."""
    leads = str(Path(sys.executable).parent / "leads")

    def commands(folder: Path, out: Path) -> list[list[str]]:
        model = str(folder / "model")
        fit = [leads, "fit", str(files.train), *files.told, "--seconds", f"{seconds:g}", "--out", model]
        return [fit, [leads, "predict", model, str(files.test), "--out", str(out)]]

    answer = _run(commands, files.rows, seconds)
    if answer.chance is not None:
        (CACHE / OURS).mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"probability": answer.chance}).to_csv(CACHE / OURS / f"{set_name}.csv", index=False)
    return answer


def _run(commands: Callable[[Path, Path], list[list[str]]], rows: int, seconds: float) -> Answer:
    """Run commands one after the other in a folder of their own; what they wrote, or why there is nothing."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.csv"
        clock, processor = time.perf_counter(), _processor_seconds()
        chance, reason = None, ""
        try:
            for command in commands(Path(folder), out):
                subprocess.run(
                    command, cwd=folder, env=environments.quiet(THREADS), capture_output=True, text=True, check=True,
                    timeout=4 * seconds + 600,
                )  # fmt: skip
            chance = _chances(out, rows)
        except subprocess.TimeoutExpired:
            reason = "gave no answer in time"
        except subprocess.CalledProcessError as failure:
            said = [f"exit code {failure.returncode}", *(failure.stderr.strip() or failure.stdout.strip()).splitlines()]
            reason = said[-1][:300]
        except (OSError, ValueError, KeyError) as failure:
            reason = f"no usable answer: {failure}"[:300]
        return Answer(chance, time.perf_counter() - clock, _processor_seconds() - processor, reason)


def _processor_seconds() -> float:
    """Processor time of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _chances(file: Path, rows: int) -> np.ndarray:
    """The column `probability` of a file, (rows,).

    Raises:
        ValueError: other than `rows` rows, or a value that is no chance.
    """
    chance = pd.read_csv(file, float_precision="round_trip")["probability"].to_numpy(dtype=float)
    if len(chance) != rows or not ((chance >= 0) & (chance <= 1)).all():
        raise ValueError(f"{len(chance)} values for {rows} rows, or values outside of 0 to 1")
    return chance


def _digest(*parts: bytes) -> str:
    """sha256 over parts, each with its length."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()
