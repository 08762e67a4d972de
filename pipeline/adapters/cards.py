"""Points cards in the world: the strategist's files under `data/cards/`, and tables of samples."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml

from pipeline.adapters import declared, delimited, files
from pipeline.errors import CardError, SourceError
from pipeline.leads.cards import Card, describe, parse
from pipeline.paths import Workspace


def folder(workspace: Workspace) -> Path:
    """Where the strategist keeps the cards."""
    return workspace.root / "data" / "cards"


def read(workspace: Workspace, name: str, contract: str) -> Card:
    """Read `data/cards/<name>.yaml`, which must be about `contract`.

    Raises:
        CardError: it is missing (the ones there are listed), faulty, names itself otherwise, or is about another
            contract.
    """
    path = folder(workspace) / f"{name}.yaml"
    card = declared.read(path, "card", parse, CardError, advice="docs/cards.md shows how to write one.")
    if card.contract != contract:
        raise CardError(
            f"{path}: the card is about contract {card.contract}, params.yaml names {contract}; take another card, or "
            f"`leads use {card.contract}`."
        )
    return card


def of_contract(workspace: Workspace, contract: str) -> Card | None:
    """The contract's own card, `data/cards/<contract>.yaml`; None where there is none.

    Raises:
        CardError: as `read`.
    """
    return read(workspace, contract, contract) if (folder(workspace) / f"{contract}.yaml").is_file() else None


def write(path: Path, card: Card) -> None:
    """Write a card as YAML, as `read` reads it."""
    files.write_text(path, yaml.safe_dump(describe(card), sort_keys=False, allow_unicode=True, width=120))


def read_samples(path: Path) -> pd.DataFrame:
    """A CSV of sample leads as text; empty cells are "".

    Raises:
        SourceError: it is missing, no text in UTF-8, or has lines that are no rows, each named.
    """
    try:
        with open(path, "rb") as stream:
            header, *rows = delimited.records(stream, str(path), separator=",")
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file.") from None
    faults = [f"{path}, line {row.line}: {row.fault}" for row in rows if row.fault is not None]
    if twice := sorted({name for name in header.fields if header.fields.count(name) > 1}):
        faults.append(f"{path}: the columns {', '.join(twice)} stand twice.")
    if faults:
        raise SourceError("\n".join(faults))
    return pd.DataFrame([row.fields for row in rows], columns=header.fields, dtype="str")
