"""Features of many (lead, as-of) pairs from the clean tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipeline.leads.contract import LEAD_KEY
from pipeline.scorer.features import History, build


def rows_at(leads: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The leads' rows for each (lead_id, as_of) of `pairs`, in its order, with `as_of`."""
    where = pd.Index(leads[LEAD_KEY]).get_indexer(pairs[LEAD_KEY])
    return leads.iloc[where].reset_index(drop=True).assign(as_of=pairs["as_of"].to_numpy())


def featurize(
    leads: pd.DataFrame, activities: pd.DataFrame, changes: pd.DataFrame, pairs: pd.DataFrame, spec: dict[str, Any]
) -> pd.DataFrame:
    """Features of every pair, in its order; see `pipeline.scorer.features.build`."""
    index = pd.Index(leads[LEAD_KEY])
    history = History(
        n_owners=len(index),
        row_owner=index.get_indexer(pairs[LEAD_KEY]),
        activities=activities,
        activity_owner=index.get_indexer(activities[LEAD_KEY]),
        changes=changes,
        change_owner=index.get_indexer(changes[LEAD_KEY]),
    )
    return build(rows_at(leads, pairs), history, spec)
