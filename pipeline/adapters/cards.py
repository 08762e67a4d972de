"""Points cards in the world: the strategist's files under `data/cards/`, tables of samples, backtests in MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pipeline.adapters import delimited, files
from pipeline.adapters.tracking import Live, Store, answering
from pipeline.errors import CardError, SourceError
from pipeline.leads.cards import Card, describe, parse
from pipeline.params import load_yaml
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
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
        raise CardError(f"{path}: no such card. In that folder: {there}. docs/cards.md shows how to write one.")
    card = parse(load_yaml(path, CardError), file=str(path))
    if card.name != name:
        raise CardError(f"{path}: name: `{card.name}` is not the file's name, `{name}`; make them the same.")
    if card.contract != contract:
        raise CardError(
            f"{path}: the card is about contract {card.contract}, params.yaml names {contract}; take another card, or "
            f"`leads use {card.contract}`."
        )
    return card


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


@dataclass(frozen=True)
class Logged:
    """Where a backtest stands in MLflow; `new`: it was not there before."""

    run_id: str
    new: bool


def log(
    store: Store,
    card: Card,
    *,
    rests_on: Mapping[str, Any],
    figures: Mapping[str, float],
    tables: Mapping[str, pd.DataFrame],
) -> Logged:
    """Log a backtest as one run of the contract's experiment; nothing is logged twice.

    Args:
        rests_on: what the figures follow from, beside the card: hashes and settings. With the card it names the run.
        tables: name -> table, logged as `<name>.csv`.

    A run that a kill left half logged is deleted and logged anew.

    Raises:
        RegistryError: the store refused.
    """
    text = json.dumps({"card": describe(card), "rests_on": dict(rests_on)}, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()
    with store.lock(), answering(store.uri):
        experiment = store.experiment(card.contract)
        for run in store.client.search_runs([experiment], f"tags.kind = 'card' and tags.backtest = '{name}'"):
            if run.info.status == "FINISHED":
                return Logged(run.info.run_id, new=False)
            store.client.delete_run(run.info.run_id)
        live = Live(store)
        about = (
            f"Backtest of the points card `{card.name}`: {card.description} Figures are of the test window; "
            "`difference/...` is card less model on the same rows, paired by lead."
        )
        tags = {
            "kind": "card",
            "backtest": name,
            "card": card.name,
            "contract": card.contract,
            "mlflow.source.name": "leads card backtest",
            "mlflow.source.type": "LOCAL",
            "mlflow.note.content": about,
            **live.tags,
        }
        try:
            made = store.client.create_run(experiment, run_name=f"card {card.name} {name[:8]}", tags=tags)
            run_id: str = made.info.run_id
            store.log(run_id, params=dict(rests_on), metrics=figures)
            store.client.log_text(run_id, yaml.safe_dump(describe(card), sort_keys=False), f"{card.name}.yaml")
            for table, frame in tables.items():
                store.client.log_text(run_id, frame.to_csv(index=False, lineterminator="\n"), f"{table}.csv")
            store.client.set_terminated(run_id, "FINISHED")
            for tag in live.tags:
                store.client.delete_tag(run_id, tag)
        finally:
            live.end()
    return Logged(run_id, new=True)
