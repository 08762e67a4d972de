"""Does the detector find what leaks, with a contract that nobody has touched?

    python -m benchmarks.leaks                     all twelve generated files
    python -m benchmarks.leaks academy             one of them
    python -m benchmarks.leaks FILE.csv            any file; add what leaks: --leaks duration

Each file goes the way of a new user: `leads init`, `ingest`, `validate`. A leak counts as found where the verdict is
leak or suspect. The exit code is 1 where a leak is missed or more than two other columns are called leak.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.leaks import sets
from pipeline import params as params_module
from pipeline import process
from pipeline.adapters import files, proposals
from pipeline.adapters.stage import Stage
from pipeline.leads.leakage import CLEAR, LEAK
from pipeline.leads.proposal_draft import Wishes
from pipeline.paths import Workspace, find_root

#: Other columns of a file that may be called leak.
TOLERATED = 2


@dataclass(frozen=True)
class Result:
    """What became of one file. `verdicts`: column -> leak, suspect, clear, or how the contract keeps it out."""

    name: str
    rows: int
    columns: int
    leaks: tuple[str, ...]
    verdicts: dict[str, str]
    seconds: float

    @property
    def missed(self) -> list[str]:
        return [name for name in self.leaks if self.verdicts.get(name, CLEAR) in (CLEAR, "")]

    @property
    def wrongly(self) -> list[str]:
        return [name for name, verdict in self.verdicts.items() if verdict == LEAK and name not in self.leaks]

    @property
    def passed(self) -> bool:
        return not self.missed and len(self.wrongly) <= TOLERATED


def judge(file: Path, name: str, leaks: tuple[str, ...]) -> Result:
    """Run one file through `leads init`, `ingest` and `validate` in a folder of its own."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        workspace = project(Path(folder) / "project")
        params = params_module.load(workspace.params)
        given = {"leads": [str(file)], "activities": [], "changes": []}
        written = proposals.init(
            workspace, params, given, name=None, wishes=Wishes(), force=False, log=lambda line: None
        )
        proposals.use(workspace, written.name)
        params = params_module.load(workspace.params)
        for stage in ("ingest", "validate"):
            Stage(stage, workspace, params).execute(importlib.import_module(f"pipeline.stages.{stage}").run)
        found = pd.read_csv(workspace.path("validate/leaks.csv"), keep_default_na=False)
        rows = files.read_json(workspace.path("ingest/provenance.json"))["source"]["leads"]["rows"]
        described = yaml.safe_load(written.path.read_text(encoding="utf-8"))
    verdicts = dict(zip(found["column"], found["verdict"], strict=True))
    # A column that the proposal keeps out as no feature at all, such as a date that is plainly filled in later, is
    # found too where it says so.
    for name_, column in described["columns"].items():
        if verdicts[name_] in (CLEAR, "") and column.get("known_at") == "outcome" and column["role"] != "outcome":
            verdicts[name_] = "known with the outcome"
    return Result(name, rows, len(found), leaks, verdicts, time.perf_counter() - started)


def project(root: Path) -> Workspace:
    """An empty project: the shipped settings, nothing in it."""
    shipped = find_root(Path(__file__).parent)
    (root / "data" / "contracts").mkdir(parents=True)
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(shipped / file, root / file)
    return Workspace(root)


def generated(name: str, seed: int, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Write one of the generated files; where it is, and what leaks in it."""
    made = sets.make(name, seed)
    file = folder / f"{name}.csv"
    file.write_text(made.text, encoding="utf-8")
    return file, made.leaks


def table(results: list[Result]) -> pd.DataFrame:
    """One row per file."""
    return pd.DataFrame(
        [
            {
                "file": one.name,
                "rows": one.rows,
                "columns": one.columns,
                "leaks": ", ".join(one.leaks) or "none",
                "missed": ", ".join(one.missed),
                "others called leak": ", ".join(one.wrongly),
                "suspects": ", ".join(name for name, verdict in one.verdicts.items() if verdict == "suspect"),
                "seconds": round(one.seconds, 1),
            }
            for one in results
        ]
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leaks", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="names of generated files, or paths; all generated ones by default")
    parser.add_argument("--leaks", nargs="*", default=[], help="columns of a file of yours that leak")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated files")
    options = parser.parse_args(arguments)
    process.configure_environment()
    logging.disable(logging.INFO)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for one in options.files or list(sets.SETS):
            known = one in sets.SETS
            file, leaks = generated(one, options.seed, Path(folder)) if known else (Path(one), tuple(options.leaks))
            results.append(judge(file, Path(one).stem, leaks))
            print(table(results[-1:]).to_string(index=False, header=len(results) == 1), flush=True)
    good = sum(one.passed for one in results)
    print(f"{good} of {len(results)} files: every leak found, at most {TOLERATED} other columns called leak")
    return 0 if good == len(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
