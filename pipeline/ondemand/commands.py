"""The commands of what is put together on demand, as the command line registers them. Thin, and light to import."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer

from pipeline import params as params_module
from pipeline import process
from pipeline.errors import ParamsError
from pipeline.params import Params
from pipeline.paths import Workspace, find_root


def tiers(
    call_cost: Annotated[
        float | None, typer.Option(help="What working one lead costs; else as the playbook says.")
    ] = None,
    deal_value: Annotated[
        float | None,
        typer.Option(help="What one conversion is worth, in the same currency; else as the playbook says."),
    ] = None,
    per_week: Annotated[
        float | None, typer.Option(help="Leads sales can work a week: tiers follow from it and from what pays.")
    ] = None,
    scores: Annotated[
        str | None, typer.Option(help="Tiers by fixed scores instead, best first: A=30,B=12.5,C=0.")
    ] = None,
    new_leads: Annotated[
        float | None, typer.Option(help="Leads that come in a week, where not as many as in the test window.")
    ] = None,
    period: Annotated[Literal["month", "quarter"], typer.Option(help="Step of the look at tiers over time.")] = "month",
    out: Annotated[Path | None, typer.Option(help="Folder for tables and picture; data/tiers by default.")] = None,
) -> None:
    """Say what each tier brings a week: leads, conversions, cost and profit, with intervals, on the test window.

    With --per-week, the tiers follow from what sales can work and from what a call and a deal are worth; with --scores,
    they are fixed; without either, they are those of the scorer (calibrate.tiers in params.yaml). What is not given is
    taken from `worth` in data/playbooks/<contract>.yaml.

    Example: leads tiers --per-week 120 --call-cost 12 --deal-value 900
    """
    from pipeline.adapters import files
    from pipeline.ondemand import tiers as worth

    if per_week is not None and scores is not None:
        raise ParamsError("give --per-week, from which tiers follow, or --scores, which fixes them; not both.")
    for name, given in (("--per-week", per_week), ("--new-leads", new_leads)):
        if given is not None and not 0 < given < math.inf:
            raise ParamsError(f"{name} {given:g}: it must be more than 0, and finite.")
    asked = worth.Asked(call_cost, deal_value, per_week, None if scores is None else _starts(scores), new_leads)
    workspace, params = project()
    process.settle(params.run.seed)
    folder = out or workspace.root / "data" / "tiers"
    files.writable(folder / "tiers.csv")
    found = worth.find(workspace, params, asked, period=period)
    worth.save(found, folder, params.evaluate.interval_level)
    typer.echo(worth.in_words(found))
    typer.echo(f"{folder}: tiers.csv, profit.csv, history.csv and profit.png")


def segments(
    out: Annotated[Path | None, typer.Option(help="Folder for the tables; data/segments by default.")] = None,
) -> None:
    """Say who converts and who brings value, by what a lead is: the ideal customer profile.

    Segments are chosen on the leads before the test window and stated on those of the test window.

    Value counts where the contract names an `outcome.value`.

    Example: leads segments
    """
    from pipeline.adapters import files
    from pipeline.ondemand import segments as profile

    workspace, params = project()
    process.settle(params.run.seed)
    folder = out or workspace.root / "data" / "segments"
    files.writable(folder / "segments.csv")
    found = profile.find(workspace, params)
    profile.save(found, folder)
    typer.echo(profile.in_words(found))
    also = ", deal_values.json and value_captured.csv" if found.values is not None else ""
    typer.echo(f"\n{folder}: segments.csv{also}")


def explain(
    lead: Annotated[str, typer.Argument(help="The lead's key.")],
    at: Annotated[
        str | None, typer.Option(help="As-of date of the score, as 2026-01-31 or 2026-01-31T12:00; the newest without.")
    ] = None,
) -> None:
    """Say why a lead got the score it got: rebuilt from the ledger by the version that gave it, reason by reason.

    Example: leads explain L0014799 --at 2024-08-30
    """
    from pipeline.ondemand import past

    workspace, params = project()
    process.settle(params.run.seed)
    found = past.rebuild(workspace, params.run.contract, lead, moment(at, "--at"))
    typer.echo("\n\n".join(past.in_words(one) for one in found))


def moment(text: str | None, option: str) -> pd.Timestamp | None:
    """A moment given on the command line under the name `option`, as naive UTC.

    Raises:
        ParamsError: it is no date.
    """
    if text is None:
        return None
    given = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
    if pd.isna(given):
        raise ParamsError(f"{option} {text!r} is not a date; write 2026-01-31 or 2026-01-31T12:00.")
    return given.tz_localize(None)


def project() -> tuple[Workspace, Params]:
    """The project around the working directory, and its params."""
    workspace = Workspace(find_root(Path.cwd()))
    return workspace, params_module.load(workspace.params)


def _starts(text: str) -> dict[str, float]:
    """Lowest score by tier from `A=30,B=12.5,C=0`."""
    starts: dict[str, float] = {}
    for part in text.split(","):
        name, _, start = part.partition("=")
        try:
            score = float(start)
        except ValueError:
            raise ParamsError(f"--scores {text}: write tiers and their lowest scores as A=30,B=12.5,C=0.") from None
        if not name.strip() or name.strip() in starts:
            raise ParamsError(f"--scores {text}: every tier needs a name of its own.")
        starts[name.strip()] = score
    return starts
