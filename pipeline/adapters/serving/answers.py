"""Scores as JSON: numbers exact, reasons as objects, null where there is nothing."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd


def told(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """One object per row of what a scorer returned, in order, with its columns as keys.

    `reasons` becomes a list of objects, `flags` a list of texts, a moment `2026-01-31T12:00:00Z`; a missing number and
    an empty text become null.
    """
    columns = {str(name): _plain(str(name), values) for name, values in scores.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(name: str, values: pd.Series) -> list[Any]:
    if name == "reasons":
        return [json.loads(text) for text in values]
    if name == "flags":
        return [text.split(";") if text else [] for text in values]
    if values.dtype.kind == "M":
        return [None if pd.isna(moment) else f"{moment.isoformat()}Z" for moment in values]
    return [None if pd.isna(value) or value == "" else value for value in values.tolist()]
