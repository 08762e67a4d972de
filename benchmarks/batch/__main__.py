"""What do a million raw leads cost `leads score`, beside XGBoost's bare predictions and contributions?

    python -m benchmarks.batch --leads 100000 1000000

Needs a finished run of the project. Leads of the demo with their activities and changes are written as Parquet, each
with an as-of date of its own while it was open, and scored by the command in a process of its own, from a project
beside this one: reasons, ledger and file included. Beside it stand `predict` and `pred_contribs` of the scorer's
boosters on ready-made features, for some of the leads and as a multiple for all. What counts are the ratio, in
processor time, and whether the peak of memory grows with the leads.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline import process

process.configure_environment()

import numpy as np  # noqa: E402  (after the environment: thread pools read it when loaded)
import pandas as pd  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from benchmarks.scale.__main__ import Cost, measure  # noqa: E402
from pipeline import params as params_module  # noqa: E402
from pipeline.adapters import model_folder, registry, sources, tracking  # noqa: E402
from pipeline.adapters.sources import Given  # noqa: E402
from pipeline.leads import demo  # noqa: E402
from pipeline.leads.tables import TABLES  # noqa: E402
from pipeline.params import Params  # noqa: E402
from pipeline.paths import Workspace, find_root  # noqa: E402

#: Columns of the raw tables that a warehouse holds as numbers.
NUMBERS = ("employees", "annual_revenue_eur", "deal_value_eur", "closing_discount_pct", "days_to_close")


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__.partition("\n")[0])
    arguments.add_argument("--leads", type=int, nargs="+", default=[100_000, 1_000_000])
    arguments.add_argument("--model", default="champion", help="alias or number of a registered version")
    arguments.add_argument("--beside", type=int, default=20_000, help="leads that XGBoost is timed on")
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--folder", type=Path, help="where files are made; a temporary folder by default")
    arguments.add_argument("--made", type=Path, help="a folder with tables that an earlier run made, to score again")
    arguments.add_argument("options", nargs="*", help="after --: further options of leads score, such as --no-ledger")
    asked = arguments.parse_args()
    root = find_root(Path(__file__))
    params = params_module.load(root / "params.yaml")
    print("| leads | activities | seconds | processor | peak MiB | XGBoost's processor | ratio |")
    print("|---|---|---|---|---|---|---|")
    for leads in sorted(asked.leads):
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            place = asked.made or Path(folder) / "raw"
            if asked.made is None:
                make(params, leads, asked.seed, place)
            rows = {name: pq.read_metadata(place / f"{name}.parquet").num_rows for name in TABLES}
            cost = score(root, Path(folder), place, asked.model, asked.options)
            theirs = xgboost(root, params, place, asked.model, asked.beside) * rows["leads"]
            print(
                f"| {rows['leads']:,} | {rows['activities']:,} | {cost.wall_s:.0f} | {cost.cpu_s:.0f} | "
                f"{cost.peak_mib:.0f} | {theirs:.0f} | {cost.cpu_s / theirs:.1f} |",
                flush=True,
            )


def make(params: Params, leads: int, seed: int, folder: Path) -> None:
    """Write the demo's tables without dirty rows, typed as a warehouse exports them."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = params.ingest.demo.model_copy(update={"leads": leads, "dirty_share": 0.0})
    end, random = demo.extracted_at(asked), np.random.default_rng(seed)
    writers: dict[str, pq.ParquetWriter] = {}
    for block in demo.generate(asked, seed):
        for name in TABLES:
            table = typed(getattr(block, name))
            if name == "leads":
                closed = table["converted_at"].fillna(table["lost_at"]).fillna(end)
                open_for = (closed - table["created_at"]) * random.random(len(table))
                table["as_of"] = (table["created_at"] + open_for).dt.floor("s").astype("datetime64[us]")
            rows = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
            if name not in writers:
                writers[name] = pq.ParquetWriter(folder / f"{name}.parquet", rows.schema)
            writers[name].write_table(rows.cast(writers[name].schema))
    for writer in writers.values():
        writer.close()


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Text as an export holds it, with moments and numbers as such."""
    table = table.replace("", None)
    for name in table:
        if str(name).endswith("_at"):
            table[name] = pd.to_datetime(table[name], format="ISO8601").astype("datetime64[us]")
        elif name in NUMBERS:
            table[name] = pd.to_numeric(table[name])
    return table


def score(root: Path, folder: Path, place: Path, model: str, options: list[str]) -> Cost:
    """`leads score` on the tables of a folder, to Parquet, from a project with the settings and the registry of this
    one."""
    project = folder / "project"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(root / "data" / "contracts", project / "data" / "contracts")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(root / name, project / name)
    (project / "mlruns").symlink_to(root / "mlruns")
    command = [sys.executable, "-m", "pipeline.cli", "score", str(place / "leads.parquet"), "--model", model, *options]
    command += ["--out", str(folder / "scores.parquet")]
    for name in ("activities", "changes"):
        command += [f"--{name}", str(place / f"{name}.parquet")]
    return measure(command, project)


def xgboost(root: Path, params: Params, place: Path, model: str, leads: int) -> float:
    """Processor seconds per lead of the boosters' `predict` and `pred_contribs`, on features that are there already."""
    workspace = Workspace(root)
    _, folder = registry.resolve(tracking.open_store(workspace), params.run.contract, model)
    scorer = model_folder.load(folder)
    matrix = features(scorer, workspace, params, place, leads)
    begin = time.process_time()
    for member in scorer.members:
        if member.kind == "xgboost":
            rows = member.dmatrix(matrix)
            member.booster.predict(rows)
            member.booster.predict(rows, pred_contribs=True)
    return (time.process_time() - begin) / len(matrix)


def features(scorer: Any, workspace: Workspace, params: Params, place: Path, leads: int) -> np.ndarray:
    """The encoded features of the first leads."""
    given = {}
    with tempfile.TemporaryDirectory() as folder:
        keys: pa.Array | None = None
        for name in TABLES:
            given[name] = Given.of(Path(folder) / f"{name}.parquet")
            if keys is None:
                some = next(pq.ParquetFile(place / f"{name}.parquet").iter_batches(batch_size=leads))
                table = pa.Table.from_batches([some])
                keys = table.column("lead_id")
            else:
                table = pq.read_table(place / f"{name}.parquet", filters=[("lead_id", "in", keys.to_pylist())])
            pq.write_table(table, given[name].path)
        resolved = sources.read_contract(workspace, params.run.contract)
        pieces = list(sources.pieces_for_scoring(resolved, given, max_bytes=2**40))
    tables = (pd.concat([piece.typed.table for piece in pieces if piece.table == name]) for name in TABLES)
    built: np.ndarray = scorer.margin.encoder.matrix(scorer.features(*tables))
    return built


if __name__ == "__main__":
    main()
