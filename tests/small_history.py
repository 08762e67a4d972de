"""A history small enough to read: three leads, three activities, two changes, under a contract that uses every rule."""

from __future__ import annotations

import copy
from typing import Any

import pandas as pd

from pipeline.leads.contract import Resolved, parse, resolve

NEWEST = pd.Timestamp("2024-03-01")

CONTRACT: dict[str, Any] = {
    "contract_version": 1,
    "name": "small",
    "description": "a history small enough to read",
    "source": {"kind": "demo"},
    "key": "id",
    "time": {"kind": "column", "column": "made"},
    "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won", "lost_at": "lost"},
    "columns": {
        "id": {"role": "identifier"},
        "made": {"role": "ignored", "type": "timestamp", "known_at": "creation"},
        "won": {
            "role": "outcome",
            "type": "timestamp",
            "known_at": "outcome",
            "not_before": "made",
            "not_with": "lost",
        },
        "lost": {"role": "outcome", "type": "timestamp", "known_at": "outcome", "not_before": "made"},
        "phone": {"role": "personal", "facts": ["present"], "required": True},
        "tax_id": {"role": "identifier", "unique": True},
        "employees": {"role": "feature", "type": "integer", "known_at": "over_time", "min": 1, "max": 5000},
        "revenue": {"role": "feature", "type": "number", "known_at": "creation", "min": 0},
        "industry": {
            "role": "feature",
            "type": "category",
            "known_at": "over_time",
            "values": ["retail", "R&D <labs>"],
            "required": True,
        },
        "opted_in": {"role": "feature", "type": "boolean", "known_at": "over_time"},
        "notes": {"role": "ignored", "reason": "free text"},
    },
    "activities": {
        "key": "aid",
        "lead": "of",
        "kind": "what",
        "happened_at": "when",
        "recorded_at": "noted",
        "kinds": {"visit": {}, "call": {}},
    },
    "changes": {"lead": "of", "column": "which", "recorded_at": "noted", "old_value": "was", "new_value": "is"},
}


def resolved(change: dict[str, Any] | None = None, **columns: dict[str, Any]) -> Resolved:
    """The contract, resolved; `columns` replaces keys of single columns (None removes one)."""
    content = copy.deepcopy(CONTRACT) | (change or {})
    for name, keys in columns.items():
        column = content["columns"].setdefault(name, {}) | keys
        content["columns"][name] = {key: value for key, value in column.items() if value is not None}
    return resolve(parse(content, file="small.yaml"))


def tables() -> dict[str, pd.DataFrame]:
    """Clean tables as `ingest` leaves them; the second lead is open."""
    leads = pd.DataFrame(
        {
            "row": [1, 2, 3],
            "lead_id": ["L1", "L2", "L3"],
            "created_at": times("2024-01-01 10:40", "2024-01-02", "2024-01-03 08:00"),
            "converted_at": times("2024-02-01", None, None),
            "lost_at": times(None, None, "2024-01-20"),
            "tax_id": text("T1", None, "T3"),
            "employees": [10.0, None, 5000.0],
            "revenue": [0.0, 1.5, None],
            "industry": text("retail", "R&D <labs>", "retail"),
            "opted_in": [1.0, 0.0, None],
            "notes": text(None, "call back", None),
            "has_phone": [1.0, 1.0, 1.0],
        }
    )
    activities = pd.DataFrame(
        {
            "row": [1, 2, 3],
            "activity_id": text("A1", "A2", "A3"),
            "lead_id": text("L2", "L1", "L1"),
            "kind": text("visit", "call", "visit"),
            "happened_at": times("2024-01-05 09:00", "2024-01-04 12:00", "2024-01-01"),
            "recorded_at": times("2024-01-05 09:00", "2024-01-06", "2024-01-01 11:00"),
        }
    )
    changes = pd.DataFrame(
        {
            "row": [1, 2],
            "lead_id": text("L3", "L1"),
            "column": text("employees", "industry"),
            "recorded_at": times("2024-01-10", "2024-01-11"),
            "old_value": text("4000", None),
            "new_value": text("5000", "retail"),
        }
    )
    return {"leads": leads, "activities": activities, "changes": changes}


def with_cell(table: str, row: int, column: str, value: object) -> dict[str, pd.DataFrame]:
    """The clean tables with one cell changed."""
    changed = tables()
    frame = changed[table]
    frame[column] = replaced(frame[column], row - 1, value)
    return changed


def replaced(column: pd.Series, place: int, value: object) -> pd.Series:
    """A column with one value replaced, its dtype kept."""
    values = column.astype(object).tolist()
    values[place] = value
    return pd.Series(values, index=column.index, dtype=column.dtype)


def times(*moments: str | None) -> pd.Series:
    return pd.Series(pd.to_datetime(list(moments), format="ISO8601"), dtype="datetime64[us]")


def text(*cells: str | None) -> pd.Series:
    return pd.Series(list(cells), dtype="str")
