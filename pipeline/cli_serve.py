"""`leads serve`: scores over HTTP, by the champion of the moment."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import process
from pipeline.ondemand import commands, model_options

if TYPE_CHECKING:
    from pipeline.adapters.serving.current import Models


def serve(
    model: model_options.ModelOption = "champion",
    sha256: model_options.Sha256Option = None,
    signature: model_options.SignatureOption = None,
    public_key: model_options.KeyOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on; others cannot reach the default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    check_every: Annotated[
        float, typer.Option(help="Seconds between looks whether another version should answer.", min=0.1, max=86400)
    ] = 5.0,
    max_body_mib: Annotated[int, typer.Option(help="Largest body of a request, in MiB.", min=1, max=1024)] = 8,
    max_leads: Annotated[int, typer.Option(help="Most leads of a request.", min=1)] = 10_000,
) -> None:
    """Score leads over HTTP: one or many at a time, by a registered model or an exported folder.

    When another version becomes champion it takes over without a restart; requests in hand end on the one they met. A
    number with --sha256, and a folder, stay what they are.
    Ends at Ctrl-C or SIGTERM, after what is in hand has been answered.

    Example: leads serve --model champion --port 8000
    """
    from pipeline.adapters.serving import app, current, server

    process.settle(0)
    log = process.configure_logging("serve")
    listening = server.listen(host, port)
    answering = current.Current(_models(model, sha256, signature, public_key), log)
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
        "%s (%s) of %s answers on %s",
        f"version {answering.served.number}" if answering.served.number else model,
        answering.served.scorer.version,
        answering.served.scorer.spec["contract"],
        address,
    )
    server.run(app.make(answering, limits, address=address, log=log), listening, ready)
    log.info("ended")


def _models(model: str, sha256: str | None, signature: Path | None, public_key: Path | None) -> Models:
    """Where the scorers come from: the registry, looked at again and again, or a folder that needs no project."""
    from pipeline.adapters import tracking, verification
    from pipeline.adapters.serving import current

    if sha256 is not None or not verification.is_version(model):
        return current.Exported(model_options.verified(model, sha256, signature, public_key))
    workspace, params = commands.project()
    store = tracking.open_store(workspace)
    return current.Registered(store, params.run.contract, model, model_options.key(public_key))
