"""`leads card`: the strategist's points card, checked, tried on samples, put to work, judged, and learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import CardError
from pipeline.ondemand import commands
from pipeline.params import Params
from pipeline.paths import Workspace

app = typer.Typer(
    help="The strategist's points card in data/cards/: check, try, rank by it, judge, and learn from it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

CardName = Annotated[
    str | None, typer.Argument(help="Name of a card in data/cards/; that of the contract in use by default.")
]


def _project(name: str | None) -> tuple[Workspace, Params, str]:
    workspace, params = commands.project()
    return workspace, params, name or params.run.contract


def _folder(out: Path | None, workspace: Workspace, command: str, card: str) -> Path:
    return out or workspace.root / "data" / f"card_{command}" / card


@app.command()
def lint(name: CardName = None) -> None:
    """Say what is wrong with a card: by what it says, and by the history before the test window where there is one.

    Ends with exit code 11 where anything is found that the card does not accept with a reason.

    Example: leads card lint demo
    """
    from pipeline.ondemand import cards
    from pipeline.scoring.card_lint import open_findings

    workspace, params, card = _project(name)
    found = cards.lint(workspace, params, card)
    left = open_findings(found.findings)
    for one in found.findings:
        said = f"accepted ({one.accepted})" if one.accepted else one.severity
        typer.echo(f"{said} {one.kind}: {one.sentence}")
    where = "by what it says alone" if found.rows is None else f"by what it says and {found.rows:,} snapshots"
    if left:
        raise CardError(f"card {card}, judged {where}: {len(left)} findings. docs/cards.md explains each.")
    typer.echo(f"card {card}, judged {where}: nothing to find fault with")


@app.command()
def test(
    name: Annotated[str, typer.Argument(help="Name of a card in data/cards/.")],
    samples: Annotated[Path, typer.Argument(help="CSV of sample leads with the points expected; see docs/cards.md.")],
) -> None:
    """Count sample leads, and say criterion by criterion where they come out otherwise than expected.

    Ends with exit code 11 where any does.

    Example: leads card test demo data/cards/demo_samples.csv
    """
    from pipeline.ondemand import cards

    workspace, params, card = _project(name)
    apart, samples_read, expected = cards.test(workspace, params, card, samples)
    if len(apart):
        typer.echo(apart.to_string(index=False))
        raise CardError(
            f"card {card}: {len(apart)} of {expected} expectations of {samples_read} samples are not met; correct the "
            "card, or the samples."
        )
    typer.echo(f"card {card}: {samples_read} samples meet all {expected} expectations")


@app.command()
def score(
    name: CardName = None,
    at: Annotated[
        str | None, typer.Option(help="Moment to count at, as 2026-01-31; the history's newest by default. UTC.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV for the ranking; data/card_score/NAME.csv by default.")] = None,
) -> None:
    """Rank the history's open leads by a card's points, without a model: for histories with few conversions.

    Needs `dvc repro validate` and nothing later. Points are no chance; what earlier leads with about as many did stands
    beside them, where enough have converted.

    Example: leads card score demo --out call_first.csv
    """
    from pipeline.adapters import files
    from pipeline.ondemand import card_score

    workspace, params, card = _project(name)
    moment = commands.moment(at, "--at")
    target = out or workspace.root / "data" / "card_score" / f"{card}.csv"
    files.writable(target)
    found = card_score.score(workspace, params, card, moment)
    card_score.save(found, target)
    typer.echo(card_score.in_words(found))
    typer.echo(f"\n{target}: {len(found.leads):,} leads, best first")


@app.command()
def backtest(
    name: CardName = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables; data/card_backtest/NAME by default.")] = None,
) -> None:
    """Judge a card on the test rows of the last run, beside the model, and log it to MLflow.

    Example: leads card backtest demo
    """
    from pipeline.ondemand import cards

    workspace, params, card = _project(name)
    folder = _folder(out, workspace, "backtest", card)
    judged, logged = cards.backtest(workspace, params, card, folder)
    shown = ["metric", "card", "model", "difference", "difference_low", "difference_high", "card_better"]
    typer.echo(judged.metrics[shown].round(4).to_string(index=False))
    typer.echo()
    typer.echo(judged.lift.round(3).to_string(index=False))
    typer.echo()
    figures = judged.figures
    typer.echo(
        f"{figures['qualify_share']:.1%} of {figures['rows']:,.0f} test snapshots qualify; they hold "
        f"{figures['qualify_capture']:.1%} of the conversions. {figures['suppressed_share']:.1%} are suppressed."
    )
    typer.echo(f"{folder}: metrics.csv, lift.csv, reliability.csv, figures.csv")
    typer.echo(f"run {logged.run_id[:8]} {'logged' if logged.new else 'was logged before'}")


@app.command()
def suggest(
    name: CardName = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables and learned card; data/card_suggest/NAME by default.")
    ] = None,
) -> None:
    """Learn whole points on a card's own criteria from the history before the test window, beside the hand-made ones.

    Example: leads card suggest demo
    """
    from pipeline.ondemand import cards

    workspace, params, card = _project(name)
    folder = _folder(out, workspace, "suggest", card)
    found = cards.suggest(workspace, params, card, folder)
    typer.echo(found.points.round(3).to_string(index=False))
    typer.echo()
    if len(found.missing):
        typer.echo("What the contract knows, no criterion looks at, and would add:")
        typer.echo(found.missing.round(4).to_string(index=False))
    else:
        typer.echo("Nothing that no criterion looks at would add to this card.")
    typer.echo()
    typer.echo("Learned on the train window, judged on the calibrate window:")
    typer.echo(found.ahead.round(4).to_string(index=False))
    if not found.better:
        typer.echo("The learned points do no better there: too few conversions, perhaps, to learn so many points from.")
    typer.echo(
        f"{found.double_odds:.1f} learned points double the odds. {folder}: points.csv, missing.csv, ahead.csv, and "
        f"the learned card, {found.card.name}.yaml"
    )
