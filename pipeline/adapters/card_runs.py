"""Backtests of points cards as runs in MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from pipeline.adapters.tracking import Live, Store, answering
from pipeline.leads.cards import Card, describe


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
