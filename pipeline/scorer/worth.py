"""What a deal with a lead may be worth, by segments that were learned from past deals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

MISSING = "(missing)"


def levels(leads: pd.DataFrame, columns: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The value of every column as text, in row order: a category as it is, "yes" or "no", a bin, or `MISSING`.

    Args:
        columns: each with `name`, `type` (`category`, `number` or `boolean`), and `bounds`, where a number is cut.

    Example: bounds 20 and 64 make "under 20", "20 to under 64" and "64 and over".
    """
    return pd.DataFrame({column["name"]: _level(leads[column["name"]], column) for column in columns}, leads.index)


def expected_value(table: Mapping[str, Any], rows: pd.DataFrame) -> np.ndarray:
    """Expected value of a deal with each lead; the overall mean where its segment had no deal.

    Args:
        table: `columns` (as `levels` takes them), `overall`, and `cells`, each with `levels` (one per column) and
            `value`.
        rows: the columns that the table names.

    Returns:
        float64 of shape (n_rows,), in the unit of the deals.
    """
    found = np.full(len(rows), float(table["overall"]))
    text = levels(rows, table["columns"])
    for cell in table["cells"]:
        mine = np.ones(len(rows), dtype=bool)
        for name, value in zip(text, cell["levels"], strict=True):
            mine &= (text[name] == value).to_numpy()
        found[mine] = cell["value"]
    return found


def _level(values: pd.Series, column: Mapping[str, Any]) -> pd.Series:
    missing = values.isna()
    if column["type"] == "category":
        text = values.astype("str")
    elif column["type"] == "boolean":
        text = pd.Series(np.where(values == 1, "yes", "no"), index=values.index, dtype="str")
    else:
        place = np.searchsorted(column["bounds"], values.to_numpy(dtype="float64"), side="right")
        names = np.array([*_bins(column["bounds"]), MISSING], dtype=object)
        text = pd.Series(names[np.where(missing, len(names) - 1, place)], index=values.index, dtype="str")
    return text.mask(missing, MISSING)


def _bins(bounds: Sequence[float]) -> list[str]:
    said = [f"{bound:,.10g}" for bound in bounds]
    if not said:
        return ["any"]
    between = [f"{low} to under {high}" for low, high in pairwise(said)]
    return [f"under {said[0]}", *between, f"{said[-1]} and over"]
