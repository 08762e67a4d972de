"""Whether groups of leads are treated alike: what their scores promise, what happened, and who is called first.

Groups are values of columns that the contract names. Nothing is known here of attributes that are no column: a group
that nobody recorded cannot be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.leads.contract import Resolved
from pipeline.scoring import metrics

#: A group chosen less than four fifths as often as the group chosen most is worth a look: the rule of thumb of the US
#: Uniform Guidelines on Employee Selection Procedures (29 CFR 1607.4 D, 1978).
FOUR_FIFTHS = 0.8

#: Columns of `table`.
COLUMNS = (
    "criterion",
    "feature",
    "value",
    "rows",
    "conversion",
    "mean_probability",
    "gap",
    "gap_low",
    "gap_high",
    "selected",
    "ratio",
    "below_four_fifths",
)


def watched(resolved: Resolved) -> list[str]:
    """Columns, by their names after `ingest`, that stay out of the model and still say who a lead is.

    A category or true/false known at creation whose role is `feature` or `ignored`: this is how a contract has a column
    looked at without learning from it.
    """
    return [
        resolved.names[name]
        for name in resolved.excluded
        if (column := resolved.contract.columns[name]).role in ("feature", "ignored")
        and column.type in ("category", "boolean")
        and column.known_at == "creation"
    ]


def table(frame: pd.DataFrame, columns: Mapping[str, str], *, level: float, min_rows: int) -> pd.DataFrame:
    """Calibration and selection by group.

    Args:
        frame: `lead_id`, `label`, `probability`, `selected` (bool: in the top tier) and the named columns, one row per
            snapshot.
        columns: column -> criterion, "" where the column is not in the model.
        level: of the intervals. `min_rows`: a group with fewer rows is left out.

    Returns:
        The columns of `COLUMNS`, one row per group in the order of `metrics.slices`. `gap`: conversion rate less mean
        probability, `gap_low` to `gap_high` its interval (Wilson's for as many rows as they are worth). `selected`:
        share of the group in the top tier. `ratio`: that share over the largest among the column's groups, NaN where
        no group is selected or the column has one group only.
    """
    found = metrics.slices(frame, dict(columns), level=level, min_rows=min_rows)
    shares = [
        float(frame.loc[_text(frame[row["feature"]]) == row["value"], "selected"].mean())
        for row in found.to_dict("records")
    ]
    found = found.assign(selected=np.array(shares, dtype="float64"))
    by_column = found.groupby("feature", sort=False)["selected"]
    highest, groups = by_column.transform("max"), by_column.transform("size")
    ratio = (found["selected"] / highest.where(highest > 0)).where(groups > 1).astype("float64")
    return found.assign(
        conversion=found["observed"],
        mean_probability=found["predicted"],
        gap_low=found["low"] - found["predicted"],
        gap_high=found["high"] - found["predicted"],
        ratio=ratio,
        below_four_fifths=ratio < FOUR_FIFTHS,
    )[list(COLUMNS)]


def _text(values: pd.Series) -> pd.Series:
    """Values as `metrics.slices` names them."""
    return values.astype(object).fillna("(missing)").astype(str)
