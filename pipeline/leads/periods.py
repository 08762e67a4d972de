"""Columns that tell when rather than who: how much of what varies in them is explained by their place in time.

No outcome is looked at. A model that learns from such a column learns which months were good, and the months ahead are
other ones. Choosing by the outcome instead is a trap: one change of regime makes these columns look convincing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.leads import contract
from pipeline.leads.contract import Resolved
from pipeline.params import Periods

#: Columns of `judge`.
COLUMNS = ["column", "share", "limit", "verdict", "reason"]
LEFT_OUT, OVERRULED, KEPT = "left out", "overruled", "kept"


def explained(values: pd.Series, block: np.ndarray) -> float:
    """Share of a column's variation that the block of time explains, in [0, 1].

    Numbers: eta squared of their ranks. Words: Gini impurity, a missing one counting as a word of its own.

    Args:
        values: float64 or str.
        block: int array of shape (n,), the block each row lies in.
    """
    if pd.api.types.is_numeric_dtype(values):
        given = values.notna().to_numpy()
        if given.sum() < 2:
            return 0.0
        ranks = pd.Series(values[given].rank().to_numpy(dtype="float64"))
        total = float(((ranks - ranks.mean()) ** 2).sum())
        means = ranks.groupby(block[given]).transform("mean")
        return float(((means - ranks.mean()) ** 2).sum() / total) if total else 0.0
    table = pd.crosstab(block, values.astype(object).fillna("").astype(str).to_numpy()).to_numpy(dtype="float64")
    rows = table.sum(axis=1)
    whole = 1 - ((table.sum(axis=0) / table.sum()) ** 2).sum()
    within = (rows / rows.sum() * (1 - ((table / rows[:, None]) ** 2).sum(axis=1))).sum()
    return float(1 - within / whole) if whole else 0.0


def shares(columns: Mapping[str, pd.Series], position: np.ndarray, params: Periods) -> dict[str, float]:
    """Per column the share that its place in time explains; nothing where there are too few rows to tell.

    Args:
        columns: by name, each of shape (n_leads,).
        position: place of each lead in time, shape (n_leads,).
    """
    if len(position) < params.min_rows:
        return {}
    block = np.empty(len(position), dtype="int64")
    block[np.argsort(position, kind="stable")] = np.arange(len(position)) * params.blocks // len(position)
    return {name: explained(values.reset_index(drop=True), block) for name, values in columns.items()}


def judge(leads: pd.DataFrame, resolved: Resolved, position: np.ndarray, params: Periods) -> pd.DataFrame:
    """Every column that might enter the model, with its share, highest first.

    Args:
        leads: clean leads created before the test window; `position`: their place in time.

    Returns:
        `column` (source name), `share`, `limit`, `verdict` (`left out`, `overruled`, `kept`), `reason`; no rows where
        the source has no time axis, or too few leads to tell.
    """
    rows = []
    if resolved.contract.time.kind != "none":
        columns = {name: leads[resolved.names.get(name, name)] for name in resolved.features}
        for name, share in shares(columns, position, params).items():
            column = resolved.contract.columns.get(name)
            verdict, reason = KEPT, ""
            if share > params.max_share:
                overruled = column.overrules_period if column is not None else None
                verdict = LEFT_OUT if overruled is None else OVERRULED
                reason = (
                    overruled or f"its place in time explains {share:.0%} of what varies in it: it tells when, not who"
                )
            rows.append([name, share, params.max_share, verdict, reason])
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"share": "float64", "limit": "float64"})
    return table.sort_values(["share", "column"], ascending=[False, True], ignore_index=True)


def without(resolved: Resolved, judged: pd.DataFrame) -> Resolved:
    """The contract without the columns that `judge` leaves out.

    Raises:
        ContractError: nothing is left to learn from.
    """
    mine = judged[judged["verdict"] == LEFT_OUT]
    reasons = dict(zip(mine["column"], mine["reason"], strict=True))
    return contract.without(
        resolved,
        reasons,
        "every column that might enter the model tells when rather than who (the share of each that its place in time "
        "explains is above featurize.periods.max_share); say in the contract why one may enter: `overrules_period`.",
    )
