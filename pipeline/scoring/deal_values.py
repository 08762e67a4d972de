"""What a deal with a lead may be worth: means of past deals by segment, drawn towards the common mean as far as few
deals leave them uncertain; and the value-weighted score, chance times worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pipeline.scoring.segments import levels

Array = np.ndarray


def fit(deals: pd.DataFrame, columns: Sequence[Mapping[str, Any]], *, sure: float) -> dict[str, Any] | None:
    """Learn the expected deal value from past deals.

    No criterion, one, or a pair of them parts the deals: the one whose shrunken means tell best of deals that are left
    out one by one, where it tells surely better than fewer criteria do. The mean of a segment of n deals counts
    n / (n + k), k the variance within segments by that between them (empirical Bayes credibility, Bühlmann and Straub
    1970).

    Args:
        deals: one row per converted lead: `value`, NaN where unknown, and the columns.
        columns: as `segments.with_bounds` gives them.
        sure: criteria are used where they lower the squared error on deals left out by more than so many standard
            errors.

    Returns:
        Plain data: `columns` (as given, those used), `overall` (mean of all deals), `deals`, and `cells`, each with
        `levels` (one per column used), `deals` and `value`. None where no deal has a value.
    """
    known = deals[deals["value"].notna()].reset_index(drop=True)
    if known.empty:
        return None
    value = known["value"].to_numpy(dtype="float64")
    text = levels(known, columns)
    used: tuple[int, ...] = ()
    error = _left_out(value, np.zeros(len(value), dtype="int64"))
    for size in (1, 2):
        contest = {which: _left_out(value, _cell(text, which)) for which in combinations(range(len(columns)), size)}
        if not contest:
            break
        which = min(contest, key=lambda one: float(contest[one].mean()))
        gain = error - contest[which]
        if gain.mean() > sure * gain.std() / np.sqrt(len(gain)):
            used, error = which, contest[which]
    return _table(value, text.iloc[:, list(used)], [columns[k] for k in used])


def expected_value(table: Mapping[str, Any], rows: pd.DataFrame) -> pd.Series:
    """Expected value of a deal with each lead, as `fit` learned it; the overall mean where its segment had no deal.

    Args:
        rows: the columns that the table names.

    Returns:
        float64, named `expected_value`, with the index of `rows`; in the unit of the deals.
    """
    found = np.full(len(rows), float(table["overall"]))
    text = levels(rows, table["columns"])
    for cell in table["cells"]:
        mine = np.ones(len(rows), dtype=bool)
        for name, value in zip(text, cell["levels"], strict=True):
            mine &= (text[name] == value).to_numpy()
        found[mine] = cell["value"]
    return pd.Series(found, index=rows.index, name="expected_value")


def value_score(probability: pd.Series, expected: pd.Series) -> pd.Series:
    """Value that a lead is expected to bring: chance of converting times expected value of the deal."""
    return (probability * expected).rename("value_score")


def captured(value: Array, rank_by: Array, share: float) -> float:
    """Share of all value that the leads ranked highest bring, when the top `share` of them is called; ties in part.

    Args:
        value: that each lead brought, 0 where it did not convert.
        rank_by: a score; higher is called first.
    """
    total = float(value.sum())
    if not total:
        return float("nan")
    scores, place = np.unique(-np.asarray(rank_by, dtype="float64"), return_inverse=True)
    leads, brought = np.bincount(place, minlength=len(scores)), np.bincount(place, value, minlength=len(scores))
    called = share * len(value)
    return float(np.interp(called, np.r_[0, leads.cumsum()], np.r_[0, brought.cumsum()]) / total)


def _cell(text: pd.DataFrame, which: tuple[int, ...]) -> Array:
    """The segment of each deal as a number from 0."""
    return np.asarray(text.groupby([text.columns[k] for k in which], sort=True).ngroup().to_numpy())


def _shrinkage(value: Array, cell: Array) -> float:
    """k: variance within cells by that between them; infinite where the means differ no more than chance makes them.

    Source: the unbiased estimators of Bühlmann and Straub (1970) with one observation of weight one per deal.
    """
    n = np.bincount(cell)
    total, cells = len(value), len(n)
    if cells < 2 or total <= cells:
        return np.inf
    mean = np.bincount(cell, value) / n
    within = float(((value - mean[cell]) ** 2).sum()) / (total - cells)
    spread = float((n * (mean - value.mean()) ** 2).sum()) - (cells - 1) * within
    between = spread / (total - float((n**2).sum()) / total)
    return within / between if between > 0 else np.inf


def _left_out(value: Array, cell: Array) -> Array:
    """Squared error of every deal by the shrunken mean of the others; in squared units of the value."""
    total = len(value)
    if total < 2:
        return np.zeros(total)
    n, sums = np.bincount(cell)[cell] - 1.0, np.bincount(cell, value)[cell] - value
    others = (value.sum() - value) / (total - 1)
    k = _shrinkage(value, cell)
    weight = n / (n + k) if k > 0 else (n > 0).astype("float64")
    mean = np.divide(sums, n, out=others.copy(), where=n > 0)
    return np.asarray((value - (weight * mean + (1 - weight) * others)) ** 2)


def _table(value: Array, text: pd.DataFrame, used: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    overall = float(value.mean())
    cells = []
    if used:
        k = _shrinkage(value, _cell(text, tuple(range(len(used)))))
        for key, rows in text.groupby(list(text.columns), sort=True):
            mine = value[rows.index]
            weight = len(mine) / (len(mine) + k)
            worth = float(weight * mine.mean() + (1 - weight) * overall)
            cells.append({"levels": [str(part) for part in key], "deals": len(mine), "value": worth})
    return {"columns": [dict(column) for column in used], "overall": overall, "deals": len(value), "cells": cells}
