"""What people do with registered versions: list, approve, reject, roll back, read the log, tell two apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import RegistryError
from pipeline.ondemand import commands

app = typer.Typer(rich_markup_mode=None)

By = Annotated[str, typer.Option(help="Who decides.")]
Note = Annotated[str, typer.Option(help="Why.")]


@app.command()
def approve(
    version: Annotated[int, typer.Argument(help="The registered version to make champion.")],
    by: By,
    note: Note,
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway",
            help="Although it was rejected, or judged against another champion or on old outcomes; the note says why.",
        ),
    ] = False,
) -> None:
    """Make a registered version the champion. Only a person does this; every approval is logged.

    Where register.approvals in params.yaml is 2, the second approval, under another name, moves the champion.

    Example: leads approve 3 --by "Your Name" --note "better lift, same calibration"
    """
    from pipeline.adapters import approvals, tracking

    workspace, params = commands.project()
    name = params.run.contract
    found = approvals.approve(
        tracking.open_store(workspace),
        name,
        version,
        by,
        note,
        asked=params.register_.approvals,
        max_age_days=params.register_.freshness.max_age_days,
        anyway=anyway,
    )
    number = found.version.number
    if found.age:
        typer.echo(found.age)
    if found.waiting:
        typer.echo(f"version {number} of {name} is approved by {by.strip()}; one more person must, too")
    elif found.moved:
        before = f" (before: version {found.before})" if found.before else ""
        typer.echo(f"version {number} is champion of {name}, approved by {by.strip()}{before}")
    else:
        typer.echo(f"version {number} is champion of {name} already; nothing was changed")


@app.command()
def reject(
    version: Annotated[int, typer.Argument(help="The registered version that must not become champion.")],
    by: By,
    note: Note,
) -> None:
    """Say that a version must not become champion: it is challenger no longer, and is approved only with --anyway.

    Example: leads reject 4 --by "Your Name" --note "leans on a campaign that has ended"
    """
    from pipeline.adapters import approvals, tracking

    workspace, params = commands.project()
    found = approvals.reject(tracking.open_store(workspace), params.run.contract, version, by, note)
    typer.echo(f"version {found.number} of {params.run.contract} is rejected by {by.strip()}")


@app.command()
def rollback(
    by: By,
    note: Note,
    to: Annotated[int | None, typer.Option(help="An earlier champion; the one before by default.", min=1)] = None,
) -> None:
    """Make the champion before this one champion again, at once: one name is enough, and no gate is asked.

    Example: leads rollback --by "Your Name" --note "scores of the new one are far too high"
    """
    from pipeline.adapters import approvals, tracking

    workspace, params = commands.project()
    found = approvals.rollback(tracking.open_store(workspace), params.run.contract, by, note, to=to)
    if found.moved:
        before = f" instead of version {found.before}" if found.before else ""
        typer.echo(f"version {found.version.number} is champion of {params.run.contract} again{before}")
    else:
        typer.echo(f"version {found.version.number} is champion of {params.run.contract}; nothing was changed")


@app.command()
def log() -> None:
    """Show who approved, rejected and rolled back what, and check that no line was altered or taken out.

    Ends with exit code 8 where the log does not hold together, or does not explain the champion.

    Example: leads log
    """
    from pipeline.adapters import approvals, tracking

    workspace, params = commands.project()
    found, wrong, unfinished = approvals.examine(tracking.open_store(workspace), params.run.contract)
    for line in approvals.told(found):
        typer.echo(line)
    for sentence in unfinished:
        typer.echo(sentence)
    if wrong:
        raise RegistryError(" ".join(wrong))
    kept = f", and so does MLflow; sha256 of the last: {found.head}" if found.texts else ""
    typer.echo(f"{found.path}: {len(found.texts)} lines about {params.run.contract} hold together{kept}")


@app.command()
def models() -> None:
    """List the registered versions with their aliases and key figures, and who approved or rejected them.

    Example: leads models
    """
    from pipeline.adapters import registry, tracking

    workspace, params = commands.project()
    table = registry.models(tracking.open_store(workspace), params.run.contract)
    typer.echo(table.to_string(index=False) if len(table) else f"no registered version of {params.run.contract} yet")


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="A version, challenger or champion.")],
    second: Annotated[str, typer.Argument(help="The one to compare it with.")],
    leads: Annotated[int, typer.Option(help="Leads of the history to score with both.", min=1)] = 1000,
    out: Annotated[Path | None, typer.Option(help="Folder for all tables as CSV; none are written by default.")] = None,
) -> None:
    """Say what changed from one registered version to another: data, settings, metrics, weights, and leads' tiers.

    Each version scores the same open leads with the code that it carries.

    Example: leads diff champion challenger --out diff
    """
    from pipeline.adapters import files
    from pipeline.ondemand import version_diff

    workspace, params = commands.project()
    if out is not None:
        files.writable(out / "metrics.csv")
    found = version_diff.find(workspace, params, first, second, leads)
    typer.echo(version_diff.in_words(found))
    if out is not None:
        names = version_diff.save(found, out)
        typer.echo(f"\n{out}: {', '.join(names)}")
