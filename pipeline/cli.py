"""The `leads` command: score, compare, approve. Thin: every act is a function elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from pipeline import process

process.configure_environment()

import typer  # noqa: E402  (after the environment: thread pools read it when loaded)

from pipeline import cli_card, cli_score, cli_serve, cli_verify, cli_versions  # noqa: E402
from pipeline.ondemand import commands  # noqa: E402

app = typer.Typer(
    name="leads",
    help="Which leads should sales call first, how sure are we, and why?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cli_card.app, name="card")
app.registered_commands += cli_versions.app.registered_commands

app.command()(cli_score.score)


@app.command()
def fit(
    train: Annotated[Path, typer.Argument(help="CSV, Excel or Parquet: one row per lead, decided.")],
    target: Annotated[str, typer.Option(help="The column with the outcome, which has two values.")],
    out: Annotated[Path, typer.Option(help="New folder for the model.")],
    positive: Annotated[
        str | None, typer.Option(help="The value that means converted; else 1, yes or true, where it is one of them.")
    ] = None,
    time_ordered: Annotated[bool, typer.Option("--time-ordered", help="The rows stand in order of time.")] = False,
    drop: Annotated[list[str] | None, typer.Option(help="A column to leave out; may be repeated.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="End the search by the clock; the count of params.yaml otherwise.", min=1)
    ] = None,
) -> None:
    """Learn from a prepared table, with the stages' own code and no contract; for comparing systems on the same rows.

    Every column is used but those dropped. What looks like a leak is only reported: a contract would keep it out.

    Example: leads fit train.csv --target converted --time-ordered --drop duration --seconds 150 --out model
    """
    from pipeline.adapters import verification
    from pipeline.ondemand import prepared

    workspace, params = commands.project()
    log = process.configure_logging("fit")
    process.settle(params.run.seed)
    found = prepared.fit(
        params,
        train,
        target,
        out,
        positive=positive,
        time_ordered=time_ordered,
        dropped=drop or [],
        seconds=seconds,
        log=log,
    )
    verification.note_made(workspace, out)
    for sentence in found.sentences:
        typer.echo(sentence, err=True)
    typer.echo(f"{out}: {found.version}, after {found.trials} trials. Next: leads predict {out} TEST.csv --out p.csv")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder that `leads fit` wrote.")],
    table: Annotated[Path, typer.Argument(help="Rows as those of the fit; the outcome may be absent.")],
    out: Annotated[Path, typer.Option(help="CSV with the chance of every row, in their order.")],
    sha256: Annotated[
        str | None, typer.Option(help="Hash of a folder that was not made in this project, from whoever made it.")
    ] = None,
) -> None:
    """Chances for the rows of a prepared table.

    A model runs code of its own: a folder that `leads fit` did not make in this project needs --sha256.

    Example: leads predict model test.csv --out p.csv
    """
    from pipeline.adapters import verification
    from pipeline.ondemand import prepared

    workspace, params = commands.project()
    process.settle(params.run.seed)
    verification.refuse_unknown(workspace, model, sha256)
    scored, unscored = prepared.predict(model, table, out, params)
    typer.echo(f"{out}: {scored:,} rows scored, {unscored:,} left empty")


@app.command()
def init(
    leads: Annotated[list[str], typer.Argument(help="CSV, Excel or Parquet of past leads; several make one table.")],
    activities: Annotated[
        list[str] | None, typer.Option(help="Their activities; repeat it or give a pattern for several files.")
    ] = None,
    changes: Annotated[list[str] | None, typer.Option(help="Changes of their columns over time.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the contract; else made of the file's name.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="The column that says whether, or when, a lead converted; else guessed.")
    ] = None,
    positive: Annotated[str | None, typer.Option(help="Its value that means converted; else guessed.")] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Days within which a conversion counts; else from the delays.", min=1, max=3650)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a contract of that name.")] = False,
) -> None:
    """Look at files of leads and propose a contract for them, with a comment on every guess.

    Example: leads init leads.csv --activities log.csv --changes history.csv
    """
    from pipeline.adapters import proposals
    from pipeline.leads.proposal_draft import Wishes

    workspace, params = commands.project()
    written = proposals.init(
        workspace,
        params,
        {"leads": leads, "activities": activities or [], "changes": changes or []},
        name=name,
        wishes=Wishes(outcome, positive, horizon),
        force=force,
        log=lambda line: typer.echo(line, err=True),
    )
    typer.echo(proposals.in_words(written))


@app.command()
def use(name: Annotated[str, typer.Argument(help="Name of a contract in data/contracts/.")]) -> None:
    """Make a contract the one that the pipeline runs: sets `run.contract` in params.yaml.

    Example: leads use my_crm
    """
    from pipeline.adapters import proposals

    workspace, _ = commands.project()
    before = proposals.use(workspace, name)
    if before is None:
        typer.echo(f"params.yaml names contract {name} already; nothing was changed")
    else:
        typer.echo(f"params.yaml names contract {name} now (before: {before}). Next: make repro, or: dvc repro")


@app.command()
def check() -> None:
    """Read params.yaml and the contract it names, and say what is wrong with them, before anything runs.

    Example: leads check
    """
    from pipeline.adapters import sources
    from pipeline.leads.specification import specify
    from pipeline.scorer.features import feature_list

    workspace, params = commands.project()
    spec = specify(sources.read_contract(workspace, params.run.contract), params.featurize)
    typer.echo(f"params.yaml and contract {params.run.contract} are sound: {len(feature_list(spec))} features")


@app.command()
def drift() -> None:
    """Compare the history in data/ with the one behind the champion, after `dvc repro validate` and before training.

    Example: leads drift
    """
    from pipeline.adapters import summaries

    workspace, params = commands.project()
    typer.echo(summaries.drifted(workspace, params))


@app.command()
def check_time(
    samples: Annotated[int, typer.Option(help="Snapshots to rebuild.", min=1)] = 1000,
    seed: Annotated[int | None, typer.Option(help="Seed of the sample; that of params.yaml by default.", min=0)] = None,
) -> None:
    """Prove that no feature of the last run looks into the future.

    For random snapshots everything recorded after the as-of date is deleted, the features are built again, and compared
    byte for byte. Ends with exit code 10 and the names of the features where any differs.

    Example: leads check-time --samples 1000
    """
    from tqdm import tqdm

    from pipeline.adapters import proofs
    from pipeline.leads import truncation

    workspace, params = commands.project()
    proof = proofs.check_time(
        workspace,
        samples=samples,
        seed=params.run.seed if seed is None else seed,
        progress=lambda places: tqdm(places, "check-time", unit="snapshot", disable=None),
    )
    truncation.refuse_differences(proof)
    typer.echo(f"{proof['pairs']:,} snapshots rebuilt without anything recorded later: every feature came out the same")


@app.command()
def check_shuffle(
    seed: Annotated[
        int | None, typer.Option(help="Seed of the shuffle; that of params.yaml by default.", min=0)
    ] = None,
) -> None:
    """Deal the labels of the last run's snapshots anew at random, learn from them, and prove that nothing is found.

    Search, training and calibration run as they are, without the guard against no signal. Ends with exit code 10 where
    the AUC on the test window is further from one half than 0.06, or than chance alone goes where conversions are few.
    Takes as long as tuning and training.

    Example: leads check-shuffle
    """
    from pipeline.adapters.studies import Clock, Progress
    from pipeline.ondemand import shuffle

    workspace, params = commands.project()
    process.settle(params.run.seed)
    log = process.configure_logging("check-shuffle")
    found = shuffle.check(
        workspace,
        params,
        params.run.seed if seed is None else seed,
        lambda trials: Progress(log, trials, Clock.after(None)),
    )
    typer.echo(
        f"with labels dealt at random the test window is ranked with an AUC of {found:.3f}: nothing slips through"
    )


@app.command()
def curves(
    out: Annotated[
        Path | None, typer.Option(help="Folder for curves.csv and the pictures; data/curves by default.")
    ] = None,
) -> None:
    """Say how quality grows with history, and how it falls as a model ages: refits of the last run, without tuning.

    Example: leads curves
    """
    from tqdm import tqdm

    from pipeline.adapters import figures, files
    from pipeline.ondemand import curves as refits

    workspace, params = commands.project()
    process.settle(params.run.seed)
    table = refits.curves(workspace, params, lambda parts: tqdm(parts, "curves", unit="fit", disable=None))
    folder = out or workspace.root / "data" / "curves"
    folder.mkdir(parents=True, exist_ok=True)
    files.write_csv(folder / "curves.csv", table)
    for name in table["curve"].unique():
        files.write_figure(folder / f"{name}.png", figures.refits(table[table["curve"] == name]))
    typer.echo(table.round(4).to_string(index=False))
    typer.echo(f"{folder}: curves.csv and a picture of each curve")


app.command()(commands.explain)
app.command()(cli_serve.serve)
app.command()(commands.tiers)
app.command()(commands.segments)
app.command()(cli_verify.verify)
app.command()(cli_verify.sign)
app.command()(cli_verify.export)


@app.command()
def sync() -> None:
    """Log and register what a deleted or new MLflow store lacks, from the results in data/.

    Example: leads sync
    """
    from pipeline.adapters import candidates

    workspace, _ = commands.project()
    typer.echo(str(candidates.sync(workspace)))


@app.command()
def summary() -> None:
    """Say in a few lines what the last run found, and rank the open leads.

    Example: leads summary
    """
    from pipeline.adapters import summaries

    workspace, params = commands.project()
    typer.echo(summaries.summarize(workspace, params))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for leads.csv, activities.csv and changes.csv.")] = Path("demo"),
) -> None:
    """Write the demo CRM log as raw CSV files, to look at or to try `leads score` on.

    Example: leads demo --out demo && leads score demo/leads.csv --activities demo/activities.csv --changes
    demo/changes.csv
    """
    from pipeline.adapters import demo_files

    _, params = commands.project()
    counts = demo_files.export(params.ingest.demo, params.run.seed, out)
    typer.echo(", ".join(f"{out / name}.csv: {rows:,} rows" for name, rows in counts.items()))


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on loopback.", min=1, max=65535)] = 5000) -> None:
    """Open the MLflow UI on loopback, on this project's store. Ctrl-C ends it.

    Where MLFLOW_TRACKING_URI names a server, only say its address: it has a UI of its own.

    Example: leads ui --port 5001
    """
    from pipeline.adapters import files, tracking

    workspace, _ = commands.project()
    store = tracking.open_store(workspace)
    if store.uri.startswith(("http://", "https://")):
        typer.echo(f"MLflow on {files.shown(store.uri)}")
        return
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        store.uri,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    # The page for experiments of trained models; without the query a first visit meets the one for agents.
    typer.echo(f"MLflow on http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning", err=True)
    # Without the workers for jobs, which nothing here asks for, the pages are there much sooner.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # In this process's place, so that whatever ends this process ends the server.
    sys.stderr.flush()
    os.execve(sys.executable, command, environment)


def main() -> None:
    """Entry point: errors of ours are one message and their exit code, no traceback."""
    sys.exit(process.exit_code(lambda: app(standalone_mode=True)))


if __name__ == "__main__":
    main()
