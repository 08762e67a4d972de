"""Proof that features use nothing recorded after the as-of date: delete everything later, rebuild, compare byte for
byte.

The truncated history is made by plain loops over one lead's rows, sharing no code with the features it checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipeline.leads.contract import CONVERTED_AT, LEAD_KEY, LOST_AT
from pipeline.scorer.features import History, build


def truncate(
    lead: pd.DataFrame, activities: pd.DataFrame, changes: pd.DataFrame, as_of: pd.Timestamp, tracked: dict[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """One lead's rows as an export at `as_of` would have shown them.

    Args:
        lead: the lead's one row. `activities`, `changes`: all its rows.
        tracked: source name -> table name of the columns whose changes are recorded.
    """
    then = lead.copy()
    for source, name in tracked.items():
        later = [c for c in changes.to_dict("records") if c["column"] == source and c["recorded_at"] > as_of]
        if later:
            first = min(later, key=lambda change: change["recorded_at"])
            then[name] = pd.Series([first["old_value"]], index=then.index, dtype=object)
    for name in (CONVERTED_AT, LOST_AT):
        if name in then and not (then[name] <= as_of).all():
            then[name] = pd.NaT
    return then, activities[activities["recorded_at"] <= as_of], changes[changes["recorded_at"] <= as_of]


def prove(
    snapshots: pd.DataFrame,
    leads: pd.DataFrame,
    activities: pd.DataFrame,
    changes: pd.DataFrame,
    spec: dict[str, Any],
    features: pd.DataFrame,
    *,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Rebuild a seeded sample of snapshots from truncated tables and compare with `features` (same order as
    `snapshots`).

    Returns:
        `pairs` compared, `differences` (pairs with any differing value), `columns` that differed, `passed`.
    """
    generator = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    chosen = np.sort(generator.choice(len(snapshots), size=min(samples, len(snapshots)), replace=False))
    tracked = {column["source"]: column["name"] for column in spec["profile"] if column["tracked"]}
    wanted = snapshots[LEAD_KEY].iloc[chosen].unique()
    lead_rows = leads[leads[LEAD_KEY].isin(wanted)]
    activity_rows = activities[activities[LEAD_KEY].isin(wanted)]
    change_rows = changes[changes[LEAD_KEY].isin(wanted)]
    differing: set[str] = set()
    differences = 0
    for place in chosen:
        snapshot = snapshots.iloc[place]
        key, as_of = snapshot[LEAD_KEY], snapshot["as_of"]
        then, acts, chgs = truncate(
            lead_rows[lead_rows[LEAD_KEY] == key],
            activity_rows[activity_rows[LEAD_KEY] == key],
            change_rows[change_rows[LEAD_KEY] == key],
            as_of,
            tracked,
        )
        again = build(then.assign(as_of=as_of), _single(acts, chgs), spec)
        before = features.iloc[[place]].reset_index(drop=True)
        wrong = [name for name in features.columns if not again[name].equals(before[name])]
        differing.update(wrong)
        differences += bool(wrong)
    return {
        "pairs": len(chosen),
        "differences": differences,
        "columns": sorted(differing),
        "passed": differences == 0 and len(chosen) > 0,
    }


def _single(activities: pd.DataFrame, changes: pd.DataFrame) -> History:
    """History of one row."""
    return History(
        n_owners=1,
        row_owner=np.zeros(1, dtype="int64"),
        activities=activities.reset_index(drop=True),
        activity_owner=np.zeros(len(activities), dtype="int64"),
        changes=changes.reset_index(drop=True),
        change_owner=np.zeros(len(changes), dtype="int64"),
    )
