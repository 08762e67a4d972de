"""Tier inflation: how many leads each tier holds over time, and how they convert, with what has moved beyond chance.

Thresholds are fixed scores. Where the world drifts and the scores do not follow, a tier swells or thins, or its leads
convert otherwise than before; both are told apart from chance here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, fisher_exact

from pipeline.scoring import metrics

#: Columns of `by_period`. `*_others`: the same figure over all other periods.
COLUMNS = [
    "period",
    "tier",
    "leads",
    "share",
    "share_low",
    "share_high",
    "share_others",
    "share_moved",
    "conversion",
    "conversion_low",
    "conversion_high",
    "conversion_others",
    "conversion_moved",
]

Period = Literal["month", "quarter"]


def first_looks(looks: pd.DataFrame) -> pd.DataFrame:
    """One row per lead, its first look, sorted by lead.

    Later looks come late to every window, so that the mix of ages changes over its months, and the tiers with it.
    """
    return looks.sort_values(["lead_id", "as_of"], kind="stable").drop_duplicates("lead_id").reset_index(drop=True)


def by_period(
    leads: pd.DataFrame, tiers: Sequence[str], *, period: Period, level: float, false_discoveries: float
) -> pd.DataFrame:
    """Share and conversion of every tier in every period of the as-of date.

    A figure has moved where Fisher's exact test tells the period from all others together; of all figures said to have
    moved, at most the share `false_discoveries` is expected to be chance (Benjamini and Hochberg 1995).

    Args:
        leads: one row per lead: `as_of`, `tier`, `label` in {0, 1}.
        tiers: their names in order.
        level: of the Wilson intervals.

    Returns:
        The columns of `COLUMNS`, one row per period and tier, in order. Conversion is NaN where a tier holds no lead;
        `*_others` where there is no other period. `*_moved`: "up", "down", or "" where chance explains it.
    """
    named = leads["as_of"].dt.to_period({"month": "M", "quarter": "Q"}[period]).astype("str")
    periods = sorted(named.unique())
    cells = pd.MultiIndex.from_product([periods, tiers], names=["period", "tier"])
    counts = leads.groupby([named.rename("period"), "tier"])["label"].agg(["size", "sum"])
    counts = counts.reindex(cells, fill_value=0).astype("int64")
    shape = (len(periods), len(tiers))
    held, won = (counts[name].to_numpy().reshape(shape) for name in ("size", "sum"))
    all_ = np.broadcast_to(held.sum(axis=1, keepdims=True), shape)
    table = counts.index.to_frame(index=False).assign(leads=held.ravel())
    for name, hits, of in (("share", held, all_), ("conversion", won, held)):
        table = table.assign(**_figure(name, hits, of, level))
    p = table[["share_p", "conversion_p"]].to_numpy()
    moved = false_discovery_control(p.ravel()).reshape(p.shape) <= false_discoveries
    for k, name in enumerate(("share", "conversion")):
        way = np.where(table[name] > table[f"{name}_others"], "up", "down")
        table[f"{name}_moved"] = np.where(moved[:, k], way, "")
    return table[COLUMNS]


def _figure(name: str, hits: np.ndarray, of: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """A rate per period and tier with its interval, that of the other periods, and the chance of so far apart."""
    other_hits, other_of = (part.sum(axis=0, keepdims=True) - part for part in (hits, of))
    low, high = metrics.wilson(hits, of, level)
    with np.errstate(invalid="ignore"):
        value, others = hits / of, other_hits / other_of
    low, high = (np.where(of > 0, end, np.nan) for end in (low, high))
    p = [
        fisher_exact([[a, n - a], [b, m - b]]).pvalue
        for a, n, b, m in zip(hits.ravel(), of.ravel(), other_hits.ravel(), other_of.ravel(), strict=True)
    ]
    ends = {"": value, "_low": low, "_high": high, "_others": others}
    return {f"{name}{end}": figure.ravel() for end, figure in ends.items()} | {f"{name}_p": np.array(p)}
