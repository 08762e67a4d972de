"""The options by which a command is told its model, and what they name, verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.ondemand import commands

if TYPE_CHECKING:
    from pipeline.adapters.verification import Verified

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="champion, challenger, or a version number of this contract's registered model; or an exported folder.",
    ),
]
Sha256Option = Annotated[
    str | None, typer.Option("--sha256", help="The hash that the model must have, as `leads verify` printed it.")
]
SignatureOption = Annotated[
    Path | None, typer.Option("--signature", help="Signature of a folder; FOLDER.sig beside it by default.")
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--public-key", help="PEM file of the key that must have signed it; else LEADS_SIGNING_PUBLIC_KEY names it."
    ),
]


def verified(model: str, sha256: str | None, signature: Path | None, public_key: Path | None) -> Verified:
    """The model that a command's options name, verified and not yet loaded; raises as `verification.verified`."""
    from pipeline.adapters import tracking, verification

    def registered() -> tuple[tracking.Store, str]:
        workspace, params = commands.project()
        return tracking.open_store(workspace), params.run.contract

    return verification.verified(
        model,
        registered=registered,
        sha256=sha256,
        signature=signature,
        key=key(public_key),
    )


def key(public_key: Path | None) -> Path | None:
    """The file of --public-key, where it was given and holds a key that can be used."""
    from pipeline.adapters import signing

    return None if public_key is None else signing.key_file(public_key, "--public-key")
