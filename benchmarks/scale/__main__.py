"""How time and memory grow with the history: the demo at several sizes through ingest, validate and featurize.

    python -m benchmarks.scale --leads 100000 1000000 --duckdb /path/to/environment/bin/python

Every stage runs as DVC runs it, in a process of its own, in a project of its own. Beside it stands a bare DuckDB
aggregation of the same events as of the same dates, if an interpreter that has DuckDB is named (see README.md); its
counts must be those of the features. The table is printed, and written to results.csv beside this file.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from pipeline import params as params_module
from pipeline.adapters import files
from pipeline.params import Params
from pipeline.paths import Workspace, find_root

HERE = Path(__file__).parent
STAGES = ("ingest", "validate", "featurize")
YARDSTICK = "DuckDB"
ALL = "all three"


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds by the clock and of processor time, and its largest resident memory in MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def measure(command: list[str], folder: Path) -> Cost:
    """Run a command in `folder` and measure that process.

    Raises:
        SystemExit: it failed; its last lines say why.
    """
    root = find_root(HERE)
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=folder, stdout=said, stderr=said, env=os.environ | {"PYTHONPATH": str(root)}
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        # The process has been waited for; Popen must not wait again.
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{said.read().decode('utf-8', 'replace')[-2000:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def project(root: Path, leads: int) -> Workspace:
    """A project with the shipped settings and a demo of `leads` leads."""
    shipped = find_root(HERE)
    shutil.copytree(shipped / "data" / "contracts", root / "data" / "contracts")
    shutil.copyfile(shipped / "dvc.yaml", root / "dvc.yaml")
    settings = (shipped / "params.yaml").read_text(encoding="utf-8")
    settings, changed = re.subn(r"(?m)^(    leads:) \d+$", rf"\1 {leads}", settings)
    if changed != 1:
        sys.exit("params.yaml names the size of the demo in another way than this benchmark expects.")
    (root / "params.yaml").write_text(settings, encoding="utf-8")
    return Workspace(root)


def run(leads: int, duckdb: str | None, folder: Path) -> list[dict[str, object]]:
    """One size: a row per stage, one for all three, and one for the yardstick."""
    workspace = project(folder, leads)
    costs = {name: measure([sys.executable, "-m", f"pipeline.stages.{name}"], folder) for name in STAGES}
    parts = list(costs.values())
    costs[ALL] = Cost(
        sum(one.wall_s for one in parts), sum(one.cpu_s for one in parts), max(one.peak_mib for one in parts)
    )
    params = params_module.load(workspace.params)
    if duckdb is not None:
        counts = folder / "counts.parquet"
        inputs = [workspace.path(name) for name in ("validate/activities.parquet", "featurize/snapshots.parquet")]
        days = [str(one) for one in params.featurize.windows_days]
        script = [duckdb, str(HERE / "yardstick.py"), *map(str, inputs), str(counts), str(params.run.threads), *days]
        costs[YARDSTICK] = measure(script, folder)
        compare(workspace, counts, params)
    rows = files.read_json(workspace.path("ingest/provenance.json"))["source"]["activities"]["rows"]
    found: list[dict[str, object]] = [
        {
            "leads": leads,
            "activities": rows,
            "snapshots": pq.read_metadata(workspace.path("featurize/snapshots.parquet")).num_rows,
            "step": name,
            "wall_s": round(cost.wall_s, 1),
            "cpu_s": round(cost.cpu_s, 1),
            "peak_mib": round(cost.peak_mib),
            "times_duckdb": round(cost.wall_s / costs[YARDSTICK].wall_s, 1) if YARDSTICK in costs else None,
        }
        for name, cost in costs.items()
    ]
    return found


def compare(workspace: Workspace, counts: Path, params: Params) -> None:
    """The yardstick counted the same: its sums per kind and window are those of the features.

    Raises:
        SystemExit: they are not.
    """
    columns = {"n": "", **{f"n_{days}d": f"_{days}d" for days in params.featurize.windows_days}}
    theirs = pd.read_parquet(counts).groupby("kind")[list(columns)].sum()
    names = {f"n_{kind}{end}": (kind, column) for kind in theirs.index for column, end in columns.items()}
    ours = pd.read_parquet(workspace.path("featurize/snapshots.parquet"), columns=list(names)).sum()
    wrong = [name for name, (kind, column) in names.items() if ours[name] != theirs.loc[kind, column]]
    if wrong:
        sys.exit(f"the yardstick counts differently: {', '.join(wrong)}")


def grown(table: pd.DataFrame) -> pd.DataFrame:
    """With each row's time and memory as multiples of those of the smallest size, and the activities likewise."""
    first = table[table["leads"] == table["leads"].min()].set_index("step")
    of = table["step"]
    return table.assign(
        times_activities=(table["activities"] / of.map(first["activities"])).round(1),
        times_wall=(table["wall_s"] / of.map(first["wall_s"])).round(1),
        times_peak=(table["peak_mib"] / of.map(first["peak_mib"])).round(1),
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--leads", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes of the demo")
    parser.add_argument("--duckdb", help="a Python interpreter that has DuckDB")
    parser.add_argument("--folder", type=Path, help="where the projects are made; a temporary folder by default")
    options = parser.parse_args(arguments)
    rows: list[dict[str, object]] = []
    for leads in sorted(options.leads):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            rows += run(leads, options.duckdb, Path(folder))
        sys.stdout.write(f"{grown(pd.DataFrame(rows[-len(STAGES) - 2 :])).to_string(index=False)}\n\n")
    table = grown(pd.DataFrame(rows))
    files.write_csv(HERE / "results.csv", table)
    sys.stdout.write(table.to_string(index=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
