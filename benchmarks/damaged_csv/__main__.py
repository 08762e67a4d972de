"""What does damage do to a file? Ten thousand damaged files, each through reading, typing and the contract's checks.

    python -m benchmarks.damaged_csv --files 10000           all of them, with a summary by kind of damage
    python -m benchmarks.damaged_csv --first 4711 --files 1  one of them again

It must hold: no file ends in a traceback; no row that nobody touched comes out changed, or goes without a reason; every
refused row names its line and reason; a file with under 1 % of its rows damaged and a sound header is accepted, with at
least 99 % of the untouched rows. The exit code is 1 where it does not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import typer
from tqdm import tqdm

from benchmarks.damaged_csv.judging import ACCEPTED, CRASHED, REFUSED, Judge, Verdict, shown
from pipeline import params as params_module
from pipeline import process
from pipeline.paths import find_root


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.damaged_csv", description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--csv", type=Path, help="write one line per file here")
    given = parser.parse_args()
    process.configure_environment()
    params = params_module.load(find_root(Path(__file__)) / "params.yaml")
    started, verdicts = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(given.seed, params, Path(folder))
        for number in tqdm(range(given.first, given.first + given.files), unit="file", disable=None):
            verdicts.append(judge.judge(number))
            if verdicts[-1].faults:
                tqdm.write(f"seed {given.seed}, {shown(verdicts[-1])}")
    if given.csv is not None:
        pd.DataFrame([vars(verdict) for verdict in verdicts]).to_csv(given.csv, index=False)
    typer.echo(summary(verdicts).to_string(index=False))
    typer.echo(claims(verdicts, time.perf_counter() - started))
    return int(any(verdict.faults for verdict in verdicts))


def summary(verdicts: list[Verdict]) -> pd.DataFrame:
    """By kind of damage: files in which it occurs, what became of them, and of their untouched rows the share kept."""
    rows = []
    for kind in sorted({kind for verdict in verdicts for kind in verdict.kinds}):
        mine = [verdict for verdict in verdicts if kind in verdict.kinds]
        accepted = [verdict for verdict in mine if verdict.outcome == ACCEPTED]
        untouched = sum(verdict.untouched for verdict in accepted)
        kept = sum(verdict.kept for verdict in accepted) / untouched if untouched else float("nan")
        rows.append(
            {
                "damage": kind,
                "files": len(mine),
                "accepted": len(accepted),
                "exit 4": sum(verdict.exit_code == 4 for verdict in mine),
                "exit 5": sum(verdict.exit_code == 5 for verdict in mine),
                "untouched kept": f"{kept:.2%}",
                "changed": sum(verdict.changed for verdict in mine),
                "lost": sum(verdict.lost for verdict in mine),
                "faults": sum(bool(verdict.faults) for verdict in mine),
            }
        )
    return pd.DataFrame(rows)


def claims(verdicts: list[Verdict], seconds: float) -> str:
    """The result in one paragraph."""
    outcomes = {name: sum(verdict.outcome == name for verdict in verdicts) for name in (ACCEPTED, REFUSED, CRASHED)}
    mild = [verdict for verdict in verdicts if verdict.mild]
    kept, untouched = (sum(getattr(verdict, name) for verdict in mild) for name in ("kept", "untouched"))
    worst = min((verdict.kept / verdict.untouched for verdict in mild if verdict.untouched), default=1.0)
    return (
        f"{len(verdicts):,} files in {seconds:,.0f} s: {outcomes[ACCEPTED]:,} accepted, {outcomes[REFUSED]:,} refused, "
        f"{outcomes[CRASHED]:,} tracebacks. Untouched rows changed: {sum(verdict.changed for verdict in verdicts):,}, "
        f"gone without a reason: {sum(verdict.lost for verdict in verdicts):,}. Of {len(mild):,} files with a sound "
        f"header and under 1 % of rows damaged {sum(verdict.outcome == ACCEPTED for verdict in mild):,} accepted, "
        f"{kept / max(untouched, 1):.2%} of their untouched rows kept, {worst:.2%} in the worst. "
        f"{sum(bool(verdict.faults) for verdict in verdicts):,} files break a claim."
    )


if __name__ == "__main__":
    sys.exit(main())
