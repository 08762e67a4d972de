"""`leads verify` and `leads sign`: what vouches for a model, said before anything loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ParamsError
from pipeline.ondemand import commands


def verify(
    target: Annotated[
        str, typer.Argument(help="A model folder, or a version of this contract's model: number, champion, challenger.")
    ],
    sha256: Annotated[str | None, typer.Option(help="The hash that it must have, as this command printed it.")] = None,
    signature: Annotated[
        Path | None, typer.Option(help="Signature of a folder; FOLDER.sig beside it by default.")
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(help="PEM file of the key that must have signed it; else LEADS_SIGNING_PUBLIC_KEY names it."),
    ] = None,
) -> None:
    """Verify a model before MLflow touches it: its files, their hashes, who vouches for them. Loads and runs nothing.

    A folder is refused where nobody outside it vouches for it: the registry, a signature, or a hash that you give. Ends
    with exit code 0 where all agrees, 9 where a folder is refused, 8 where a registered version is.

    Example: leads verify champion
    """
    from pipeline.adapters import signing, tracking, verification

    def registered() -> tuple[tracking.Store, str]:
        workspace, params = commands.project()
        return tracking.open_store(workspace), params.run.contract

    found = verification.verified(
        target,
        registered=registered,
        sha256=sha256,
        signature=signature,
        key=None if public_key is None else signing.key_file(public_key, "--public-key"),
    )
    typer.echo(f"{target}: VERIFIED, {found.version} in {found.folder}")
    for line in found.lines:
        typer.echo(f"  {line}")


def sign(
    version: Annotated[str, typer.Argument(help="The version to sign: number, champion or challenger.")],
) -> None:
    """Sign a registered version with the key that LEADS_SIGNING_KEY names. `dvc repro` does so itself where one is set.

    Example: leads sign 3
    """
    from pipeline.adapters import registry, signing, tracking

    key = signing.signing_key()
    if key is None:
        raise ParamsError(f"{signing.SIGNING_KEY} names no key; set it to the PEM file of the private key.")
    workspace, params = commands.project()
    new = registry.sign(tracking.open_store(workspace), params.run.contract, version, key)
    said = "signed" if new else "was signed before"
    typer.echo(f"version {version} of {params.run.contract} {said}, by the key {signing.fingerprint(key)[:16]}")
