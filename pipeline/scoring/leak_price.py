"""The price of a leak: how much better the figures would look with a column that whoever scores would not have.

The system of `column_trial` is fitted again with and without each such column, on the rows before the test window, and
measured on that window. It takes gaps as they come: a leak often tells by whether it is filled at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.leads.contract import CONVERTED, CONVERTED_AT, CREATED_AT, LEAD_KEY, LOST_AT, ROW, Resolved
from pipeline.params import LeakPrice
from pipeline.scorer.features import feature_list
from pipeline.scoring.column_trial import MEASURES, Trial, exported, gains, made_from

COLUMNS = [
    "column",
    "verdict",
    "in_model",
    *(f"{measure}_{which}" for measure in MEASURES for which in ("without", "with", "gain")),
    "sentence",
]

#: Name, and verdict, of the row for all columns called leak together.
ALL, TOGETHER = "(all leaks)", "together"


def price(
    snapshots: pd.DataFrame,
    leads: pd.DataFrame,
    leaks: pd.DataFrame,
    resolved: Resolved,
    spec: dict[str, Any],
    params: LeakPrice,
    *,
    seed: int,
    threads: int,
) -> pd.DataFrame:
    """The figures on the test window without and with every column that is called leak or suspect.

    Args:
        snapshots: `lead_id`, `as_of`, `label`, `split` and the features of the model.
        leads: clean leads. A column that is no feature enters by its value there, as exported today, whatever the
            as-of date: that is what a careless pipeline would have used.
        leaks: `column` (name in the source), `verdict` (`leak`, `suspect` or `clear`).
        resolved: the contract.
        spec: the feature specification; it tells which features are made from a column.
        params: the settings of the system, and how many columns and rows are looked at.

    Returns:
        The columns of `COLUMNS`, leaks first, each in the order given, then `ALL` (verdict `TOGETHER`) where there
        are several leaks.
        `*_gain`: how much better the figure looks with the column; for `log_loss`, by how much it falls. `in_model`:
        features of the model are made from the column; they are what is then taken out. Columns beyond
        `params.columns` have no figures. Personal columns, which stop at ingest, and the outcome itself are left out.
    """
    columns = _priced(leaks, resolved, spec)
    rows = _rows(columns, snapshots, leads, resolved, spec, params, seed=seed, threads=threads) if columns else []
    dtypes = {"column": "str", "verdict": "str", "in_model": "bool", "sentence": "str"}
    return pd.DataFrame(rows, columns=COLUMNS).astype({name: dtypes.get(name, "float64") for name in COLUMNS})


def _rows(
    columns: list[_Column],
    snapshots: pd.DataFrame,
    leads: pd.DataFrame,
    resolved: Resolved,
    spec: dict[str, Any],
    params: LeakPrice,
    *,
    seed: int,
    threads: int,
) -> list[list[Any]]:
    """The rows of `price`."""
    model = [feature["name"] for feature in feature_list(spec)]
    tried = [column for k, column in enumerate(columns) if k < params.columns or column.verdict == "leak"]
    added = [column.name for column in tried if not column.in_model]
    trial = Trial.of(snapshots, leads, model, added, resolved, params, seed=seed, threads=threads)

    def measure(names: list[str]) -> dict[str, float]:
        return trial.measure(trial.log_odds(names))

    base = measure(model)
    rows = []
    for place, column in enumerate(columns):
        if place >= params.columns:
            rows.append([column.name, column.verdict, column.in_model, *[np.nan] * (3 * len(MEASURES)), _unpriced()])
            continue
        if column.in_model:
            without, with_ = measure([name for name in model if name not in column.features]), base
        else:
            without, with_ = base, measure([*model, exported(column.name)])
        rows.append(_row(column, without, with_))
    known = [column for column in columns if column.verdict == "leak"]
    if len(known) > 1:
        inside = {name for column in known for name in column.features}
        outside = [exported(column.name) for column in known if not column.in_model]
        clean = base if not inside else measure([name for name in model if name not in inside])
        dirty = base if not outside else measure([*model, *outside])
        # Where some leaks are in the model and others are not, the sentence speaks of adding them.
        rows.append(_row(_Column(ALL, TOGETHER, () if outside else tuple(inside)), clean, dirty))
    return rows


@dataclass(frozen=True)
class _Column:
    """A column to be priced. `features`: of the model, made from it; where there are none, the column itself is
    added."""

    name: str
    verdict: str
    features: tuple[str, ...]

    @property
    def in_model(self) -> bool:
        return bool(self.features)


def _priced(leaks: pd.DataFrame, resolved: Resolved, spec: dict[str, Any]) -> list[_Column]:
    """Columns called leak, then suspects, but for the outcome, keys and times themselves and personal columns."""
    skeleton = {ROW, LEAD_KEY, CREATED_AT, CONVERTED_AT, LOST_AT, CONVERTED}
    found = []
    for verdict in ("leak", "suspect"):
        for name in leaks.loc[leaks["verdict"] == verdict, "column"].astype(str):
            features = made_from(name, resolved, spec)
            if features or resolved.names.get(name, LEAD_KEY) not in skeleton:
                found.append(_Column(name, verdict, features))
    return found


def _row(column: _Column, without: dict[str, float], with_: dict[str, float]) -> list[Any]:
    gain = gains(without, with_)
    figures = [figure for name in MEASURES for figure in (without[name], with_[name], gain[name])]
    return [column.name, column.verdict, column.in_model, *figures, _sentence(column, without, with_)]


def _sentence(column: _Column, without: dict[str, float], with_: dict[str, float]) -> str:
    """The price in words, with figures as they are shown."""
    subject = "all leaks together" if column.name == ALL else f"`{column.name}`"
    before, after = round(without["auc"], 2), round(with_["auc"], 2)
    if after <= before:
        beside = f"the test AUC is {after:.2f}, without {before:.2f}"
        state = "in the model and could be left out at no loss" if column.in_model else "no help to the figures either"
        return f"{subject[0].upper()}{subject[1:]}: {state}; {beside}."
    figures = (
        f"{after - before:.2f} better ({after:.2f} instead of {before:.2f}) and the lift in the top tenth "
        f"{with_['lift_10']:.1f} instead of {without['lift_10']:.1f}"
    )
    if not column.in_model:
        return f"With {subject} the test AUC looks {figures}; the salesperson would never see that."
    doubt = "if this is a leak, " if column.verdict == "suspect" else ""
    return f"With {subject} in the model, as it is, the test AUC is {figures}; {doubt}sales will not see that gain."


def _unpriced() -> str:
    return "Not priced on its own: `evaluate.leak_price.columns` in params.yaml says how many columns are."
