"""`leads score`: files of raw leads, or the history's own open leads, to files of scores."""

from __future__ import annotations

import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from pipeline.errors import ParamsError
from pipeline.ondemand import commands, model_options


def score(
    file: Annotated[
        Path | None,
        typer.Argument(help="CSV or Parquet of raw leads, as the contract describes them; - reads standard input."),
    ] = None,
    activities: Annotated[Path | None, typer.Option(help="Their activities.")] = None,
    changes: Annotated[Path | None, typer.Option(help="Their changes over time.")] = None,
    open_leads: Annotated[
        bool, typer.Option("--open", help="Score the history's own open leads instead of a file.")
    ] = False,
    model: model_options.ModelOption = "champion",
    sha256: model_options.Sha256Option = None,
    signature: model_options.SignatureOption = None,
    public_key: model_options.KeyOption = None,
    as_of: Annotated[
        str | None, typer.Option(help="Moment to score at, as 2026-01-31 or 2026-01-31T12:00; UTC.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the exact scores go: .csv or .parquet.")] = Path("scores.csv"),
    spreadsheet: Annotated[
        Path | None,
        typer.Option(help="Also write a .csv to be opened in a spreadsheet: rounded, in words, no cell a formula."),
    ] = None,
    moves: Annotated[
        bool,
        typer.Option(
            "--what-would-change",
            help="Also name the smallest change by lead or sales that lifts a lead a tier. Takes far longer.",
        ),
    ] = False,
    keep: Annotated[
        bool, typer.Option("--ledger/--no-ledger", help="Keep every score with its inputs in data/ledger.")
    ] = True,
    chunk: Annotated[
        int | None,
        typer.Option(help="Leads scored at a time, else 20,000; fewer take less memory and more time.", min=1),
    ] = None,
) -> None:
    """Score raw leads: key, as-of, score, probability, interval, tier, grade, reasons, flags, model version.

    Leads already converted or lost, and rows that validation would refuse, are listed with the reason and no score.

    Memory does not grow with the files. A run that was stopped goes on where it stood when it is started again with the
    same files, options and model; without --as-of and without a column as_of, at the moment at which it began.

    Example: leads score new_leads.csv --activities log.csv --model champion --as-of 2026-01-31 --out scores.csv
    """
    from pipeline.ondemand import score as scored

    if (file is None) != open_leads:
        raise ParamsError("give a file of leads, or --open for the history's own open leads (one of the two).")
    if open_leads and (as_of or activities or changes):
        raise ParamsError("--open takes its leads, activities and as-of date from the history; leave the others out.")
    workspace, params = commands.project()
    asked = scored.Asked(
        file,
        activities,
        changes,
        model=partial(model_options.verified, model, sha256, signature, public_key),
        as_of=commands.moment(as_of, "--as-of"),
        out=out,
        spreadsheet=spreadsheet,
        moves=moves,
        keep=keep,
        chunk=chunk,
    )
    typer.echo(scored.run(workspace, params, asked, now=_now(), say=lambda line: typer.echo(line, err=True)))


def _now() -> pd.Timestamp:
    return pd.Timestamp(datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0))
