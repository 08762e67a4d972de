"""Features of many (lead, as-of) pairs from the clean tables, part by part where there are many leads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.leads.contract import LEAD_KEY
from pipeline.scorer.features import History, build

#: The rows of one table whose lead lies between two keys, both included.
Reader = Callable[[str, str], pd.DataFrame]


@dataclass(frozen=True)
class Part:
    """Some leads with all that is known of them: their rows, their pairs, and the features of these in the same order.

    `pairs` and `features` keep the index that the pairs have among all pairs.
    """

    leads: pd.DataFrame
    activities: pd.DataFrame
    changes: pd.DataFrame
    pairs: pd.DataFrame
    features: pd.DataFrame

    def only(self, places: np.ndarray) -> Part:
        """The pairs at these places among all pairs, with the rows of their leads."""
        mine = self.pairs.index.isin(places)
        keys = self.pairs.loc[mine, LEAD_KEY]
        leads, activities, changes = (
            table[table[LEAD_KEY].isin(keys)] for table in (self.leads, self.activities, self.changes)
        )
        return Part(leads, activities, changes, self.pairs[mine], self.features[mine])


def together(parts: Iterable[Part]) -> Part:
    """Parts as one; at least one part."""
    tables = zip(*((one.leads, one.activities, one.changes, one.pairs, one.features) for one in parts), strict=True)
    return Part(*(pd.concat(table, ignore_index=True) for table in tables))


def in_parts(
    leads: pd.DataFrame,
    activities: Reader,
    changes: Reader,
    pairs: pd.DataFrame,
    cuts: Iterable[slice],
    spec: dict[str, Any],
) -> Iterator[Part]:
    """Features of every pair, some leads at a time: a lead's features depend on that lead's own rows only.

    Args:
        leads: sorted by key.
        activities, changes: read the rows of some leads.
        pairs: sorted by (lead_id, as_of).
        cuts: ranges of `leads` that follow on one another and cover all of them.
    """
    place = pd.Index(leads[LEAD_KEY]).get_indexer(pd.Index(pairs[LEAD_KEY]))
    for cut in cuts:
        some = leads.iloc[cut]
        first, last = some[LEAD_KEY].iloc[0], some[LEAD_KEY].iloc[-1]
        start, stop = np.searchsorted(place, [cut.start, cut.stop])
        mine, rows = pairs.iloc[start:stop], (activities(first, last), changes(first, last))
        yield Part(some, *rows, mine, featurize(some, *rows, mine, spec).set_axis(mine.index))


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
