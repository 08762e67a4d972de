"""`leads serve`: scores over HTTP, by the champion of the moment."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from pipeline import process
from pipeline.ondemand import commands


def serve(
    model: Annotated[
        str, typer.Option("--model", help="champion, challenger, or a version number of this contract's model.")
    ] = "champion",
    host: Annotated[str, typer.Option(help="Address to listen on; others cannot reach the default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    check_every: Annotated[
        float, typer.Option(help="Seconds between looks whether another version should answer.", min=0.1, max=86400)
    ] = 5.0,
    max_body_mib: Annotated[int, typer.Option(help="Largest body of a request, in MiB.", min=1, max=1024)] = 8,
    max_leads: Annotated[int, typer.Option(help="Most leads of a request.", min=1)] = 10_000,
) -> None:
    """Score leads over HTTP with a registered model: one or many at a time, a page with an example, health.

    When another version becomes champion it takes over without a restart; requests in hand end on the one they met.
    Ends at Ctrl-C or SIGTERM, after what is in hand has been answered.

    Example: leads serve --model champion --port 8000
    """
    from pipeline.adapters import tracking
    from pipeline.adapters.serving import app, current, server

    workspace, params = commands.project()
    process.settle(params.run.seed)
    log = process.configure_logging("serve")
    listening = server.listen(host, port)
    store = tracking.open_store(workspace)
    answering = current.Current(current.Registered(store, params.run.contract, model), log)
    address = server.address(listening)
    limits = app.Limits(body=max_body_mib * 2**20, leads=max_leads, check_s=check_every)
    if not server.is_local(listening):
        log.warning(
            "%s can be reached from other machines, and nothing here asks who they are or hides what is sent; put a "
            "server with passwords and TLS in front of it",
            address,
        )
    ready = partial(
        log.info,
        "version %d (%s) of %s answers on %s",
        answering.served.number,
        answering.served.scorer.version,
        params.run.contract,
        address,
    )
    server.run(app.make(answering, limits, address=address, log=log), listening, ready)
    log.info("ended")
