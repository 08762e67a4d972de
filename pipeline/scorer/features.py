"""Point-in-time features: what was recorded about a lead by its as-of date, and nothing else.

One function builds them for training and for scoring. Inputs are flat tables; `owner` arrays say which history
belongs to which row, so that the same code serves a table joined by lead (training, batches) and lists nested in a
row (requests).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import checks
from .cleaning import clean

DAY_US = 86_400_000_000

#: Criteria of features that belong to no column or kind.
LEAD_AGE, OVERALL = "Lead age", "Overall activity"

#: Features so named count the days since something happened: the fewer, the fresher.
RECENCY = "days_since_"

#: Who a lead is, and what it does: every criterion belongs to one of them.
GROUPS = ("fit", "engagement")


@dataclass(frozen=True)
class History:
    """Activities and changes, each with the integer owner its row belongs to, and the owner of every scored row.

    `row_owner`: int array of shape (n_rows,), values in [0, n_owners). `activities`: columns kind, happened_at,
    recorded_at. `changes`: columns column, recorded_at, old_value, new_value.
    """

    n_owners: int
    row_owner: np.ndarray
    activities: pd.DataFrame
    activity_owner: np.ndarray
    changes: pd.DataFrame
    change_owner: np.ndarray


def microseconds(times: pd.Series) -> np.ndarray:
    """Naive UTC times as int64 microseconds since 1970; missing is the smallest int64 (and must be masked)."""
    return times.to_numpy(dtype="datetime64[us]").view("int64")


def feature_list(spec: dict[str, Any]) -> list[dict[str, str]]:
    """Every feature of a specification in order: name, criterion, group, and type `number` or `category`."""
    features = [
        {"name": c["name"], "criterion": c["criterion"], "group": c["group"], "type": c["kind"]}
        for c in spec["profile"]
    ]

    def add(name: str, criterion: str, group: str = "engagement") -> None:
        features.append({"name": name, "criterion": criterion, "group": group, "type": "number"})

    for column in spec["profile"]:
        if column["tracked"]:
            add(f"n_changes_{column['name']}", column["criterion"], column["group"])
            add(f"{RECENCY}change_{column['name']}", column["criterion"], column["group"])
    if spec["aged"]:
        add("age_days", LEAD_AGE)
    if spec["kinds"]:
        for kind in spec["kinds"]:
            for days in spec["windows_days"]:
                add(f"n_{kind['name']}_{days}d", kind["criterion"], kind["group"])
            add(f"n_{kind['name']}", kind["criterion"], kind["group"])
            add(f"{RECENCY}{kind['name']}", kind["criterion"], kind["group"])
        for days in spec["windows_days"]:
            add(f"n_any_{days}d", OVERALL)
            add(f"active_days_{days}d", OVERALL)
        for name in ("n_any", f"{RECENCY}any", "trend_any", "mean_gap_days", "days_to_first"):
            add(name, OVERALL)
    return features


def directions(spec: dict[str, Any]) -> np.ndarray:
    """Per feature of `feature_list`: 1 where the chance may only rise with it, -1 where it may only fall, 0 where it is
    free. int64 of shape (n_features,).

    A kind of activity that speaks for a conversion does so by its counts, and against it by the days since the last.
    """
    signs: dict[str, int] = {}
    for column in spec["profile"]:
        signs[column["name"]] = column.get("direction", 0)
    for kind in spec["kinds"]:
        sign = kind.get("direction", 0)
        for days in spec["windows_days"]:
            signs[f"n_{kind['name']}_{days}d"] = sign
        signs[f"n_{kind['name']}"] = sign
        signs[f"{RECENCY}{kind['name']}"] = -sign
    return np.array([signs.get(feature["name"], 0) for feature in feature_list(spec)], dtype="int64")


def build(rows: pd.DataFrame, history: History, spec: dict[str, Any]) -> pd.DataFrame:
    """Features of every row.

    Args:
        rows: one row per (lead, as-of): `created_at`, `as_of`, and the profile columns of the specification.
        history: what is known of each row's owner; rows recorded after a row's as-of date are ignored here.
        spec: `profile`, `kinds`, `windows_days`, `aged`, as written by `featurize`.

    Returns:
        DataFrame of shape (n_rows, n_features), in row order, columns as `feature_list`: float64, or str for
        categories; NaN where a value is missing. Counts are of activities; `days_since_*`, `age_days` and gaps are
        days.
    """
    as_of = microseconds(rows["as_of"])
    created = microseconds(rows["created_at"])
    values: dict[str, Any] = {}
    _profile(values, rows, as_of, history, spec)
    if spec["aged"]:
        values["age_days"] = (as_of - created) / DAY_US
    if spec["kinds"]:
        _activities(values, as_of, created, history, spec)
    names = [feature["name"] for feature in feature_list(spec)]
    return pd.DataFrame({name: values[name] for name in names}, index=pd.RangeIndex(len(rows)))


def pairs(row_owner: np.ndarray, owner: np.ndarray, n_owners: int) -> tuple[np.ndarray, np.ndarray]:
    """All (row, event) index pairs of the same owner; `owner`, that of the events, must be sorted."""
    start = np.searchsorted(owner, np.arange(n_owners + 1))
    count = np.diff(start)[row_owner]
    row = np.repeat(np.arange(len(row_owner)), count)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, np.repeat(start[:-1][row_owner], count) + offset


def _profile(
    values: dict[str, Any], rows: pd.DataFrame, as_of: np.ndarray, history: History, spec: dict[str, Any]
) -> None:
    """Profile columns as of each row; tracked ones rolled to the as-of date by their changes."""
    for column in spec["profile"]:
        name, kind = column["name"], column["kind"]
        value = rows[name].reset_index(drop=True)
        if not column["tracked"]:
            values[name] = _typed(value, kind)
            continue
        dated = history.changes["recorded_at"].notna()
        mine = np.flatnonzero((dated & (history.changes["column"] == column["source"])).to_numpy())
        recorded = microseconds(history.changes["recorded_at"])[mine]
        order = np.lexsort((np.arange(len(mine)), recorded, history.change_owner[mine]))
        mine, recorded = mine[order], recorded[order]
        owner = history.change_owner[mine]
        row, event = pairs(history.row_owner, owner, history.n_owners)
        seen = recorded[event] <= as_of[row]
        n_seen = np.bincount(row[seen], minlength=len(rows))
        first = np.searchsorted(owner, history.row_owner)
        n_any = np.bincount(row, minlength=len(rows))

        current = value.astype(object).to_numpy().copy()
        new = history.changes["new_value"].astype(object).to_numpy()[mine]
        old = history.changes["old_value"].astype(object).to_numpy()[mine]
        changed = n_seen > 0
        current[changed] = new[first[changed] + n_seen[changed] - 1]
        before = ~changed & (n_any > 0)
        current[before] = old[first[before]]
        values[name] = _typed(clean(pd.Series(current, dtype=object), column["declared"]), kind)
        values[f"n_changes_{name}"] = n_seen.astype("float64")
        since = np.full(len(rows), np.nan)
        since[changed] = (as_of[changed] - recorded[first[changed] + n_seen[changed] - 1]) / DAY_US
        values[f"{RECENCY}change_{name}"] = since


def _typed(value: pd.Series, kind: str) -> pd.Series:
    """A cleaned profile value as float64 or str; text that is no number is missing (and refuses its row elsewhere)."""
    if kind == "category":
        return value.astype("str").reset_index(drop=True)
    return checks.numbers(value)[0].reset_index(drop=True)


def _activities(
    values: dict[str, Any], as_of: np.ndarray, created: np.ndarray, history: History, spec: dict[str, Any]
) -> None:
    """Counts, recency, trend, gaps and firsts of the activities recorded, and happened, by the as-of date."""
    n_rows, names = len(as_of), [kind["name"] for kind in spec["kinds"]]
    kind = pd.Index(names).get_indexer(history.activities["kind"].astype(object))
    order = np.argsort(history.activity_owner, kind="stable")
    row, event = pairs(history.row_owner, history.activity_owner[order], history.n_owners)
    event = order[event]
    happened = microseconds(history.activities["happened_at"])[event]
    recorded = microseconds(history.activities["recorded_at"])[event]
    missing = np.iinfo("int64").min
    known = (recorded <= as_of[row]) & (happened <= as_of[row]) & (kind[event] >= 0)
    known &= (recorded != missing) & (happened != missing)
    row, event, happened = row[known], event[known], happened[known]
    kind, ago = kind[event], as_of[row] - happened
    cell, n_cells = row * len(names) + kind, n_rows * len(names)

    def count(index: np.ndarray, size: int) -> np.ndarray:
        return np.bincount(index, minlength=size).astype("float64")

    n_any = {days: count(row[ago < days * DAY_US], n_rows) for days in spec["windows_days"]}
    n_all = count(row, n_rows)
    for days in spec["windows_days"]:
        within = ago < days * DAY_US
        per_kind = count(cell[within], n_cells).reshape(n_rows, len(names))
        for k, name in enumerate(names):
            values[f"n_{name}_{days}d"] = per_kind[:, k]
        values[f"n_any_{days}d"] = n_any[days]
        day = np.unique(row[within] * np.int64(1_000_000) + happened[within] // DAY_US)
        values[f"active_days_{days}d"] = count(day // 1_000_000, n_rows)
    per_kind = count(cell, n_cells).reshape(n_rows, len(names))
    latest = _extreme(np.minimum, cell, ago, n_cells).reshape(n_rows, len(names))
    for k, name in enumerate(names):
        values[f"n_{name}"] = per_kind[:, k]
        values[f"{RECENCY}{name}"] = latest[:, k] / DAY_US

    newest, oldest = _extreme(np.minimum, row, ago, n_rows), _extreme(np.maximum, row, ago, n_rows)
    short, long = spec["windows_days"][0], spec["windows_days"][-1]
    values["n_any"] = n_all
    values[f"{RECENCY}any"] = newest / DAY_US
    values["trend_any"] = n_any[short] / short - n_any[long] / long
    gaps = np.where(n_all > 1, n_all - 1, np.nan)
    values["mean_gap_days"] = (oldest - newest) / gaps / DAY_US
    values["days_to_first"] = (as_of - oldest - created) / DAY_US


def _extreme(function: np.ufunc, index: np.ndarray, value: np.ndarray, size: int) -> np.ndarray:
    """Smallest or largest value per index as float64; NaN where an index has none."""
    result = np.full(size, np.nan)
    order = np.argsort(index, kind="stable")
    index, value = index[order], value[order]
    if len(index):
        first = np.flatnonzero(np.r_[True, index[1:] != index[:-1]])
        result[index[first]] = function.reduceat(value, first)
    return result
