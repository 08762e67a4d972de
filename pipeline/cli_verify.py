"""`leads verify`, `leads sign` and `leads export`: what vouches for a model, said before anything loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ParamsError
from pipeline.ondemand import commands, model_options


def verify(
    target: Annotated[
        str, typer.Argument(help="A model folder, or a version of this contract's model: number, champion, challenger.")
    ],
    sha256: model_options.Sha256Option = None,
    signature: model_options.SignatureOption = None,
    public_key: model_options.KeyOption = None,
) -> None:
    """Verify a model before MLflow touches it: its files, their hashes, who vouches for them. Loads and runs nothing.

    A folder is refused where nobody outside it vouches for it: the registry, a signature, or a hash that you give. Ends
    with exit code 0 where all agrees, 9 where a folder is refused, 8 where a registered version is.

    Example: leads verify champion
    """
    found = model_options.verified(target, sha256, signature, public_key)
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


def export(
    version: Annotated[str, typer.Argument(help="The version to export: number, champion or challenger.")],
    out: Annotated[Path, typer.Option(help="New folder for the model.")],
) -> None:
    """Write a registered version to a folder that needs no registry, verified, with its signature FOLDER.sig beside it.

    The hash that is printed says what the folder must be: hand it over by another way than the folder.

    Example: leads export champion --out scorer
    """
    from pipeline.adapters import files, registry, tracking

    workspace, params = commands.project()
    number, signed = registry.export(tracking.open_store(workspace), params.run.contract, version, out)
    beside = f", signature in {out}.sig" if signed else ", not signed"
    typer.echo(f"{out}: version {number} of {params.run.contract}{beside}")
    typer.echo(f"sha256 {files.sha256(out)}")
