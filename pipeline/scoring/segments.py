"""The ideal customer profile: which leads convert, and bring value, by who they are (criteria of group `fit`).

A segment is one value of a criterion, numbers cut into bins, or a pair of such values. Segments are chosen on earlier
leads and stated on later ones, which had no say in the choice: with a thousand segments looked at, the best of them
would look good by chance alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, hypergeom

from pipeline.scorer.worth import levels
from pipeline.scoring import metrics

#: Columns of `profile`. Those before `later_leads` are of the earlier leads, the others of the later ones.
COLUMNS = [
    "segment",
    "criteria",
    "direction",
    "leads",
    "conversions",
    "conversion",
    "lift",
    "q",
    "later_leads",
    "later_conversions",
    "later_conversion",
    "low",
    "high",
    "later_lift",
    "confirmed",
    "value_per_lead",
    "value_low",
    "value_high",
    "value_lift",
]

#: Bounds of bins keep so many digits, so that a person can say them.
DIGITS = 2

Array = np.ndarray


# Values of criteria as text


def columns_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns that say who a lead is: `name`, `criterion` and `type` (`category`, `number` or `boolean`), in the
    order of the feature specification."""
    return [
        {
            "name": column["name"],
            "criterion": column["criterion"],
            "type": "boolean" if column["declared"]["type"] == "boolean" else column["kind"],
        }
        for column in spec["profile"]
        if column["group"] == "fit"
    ]


def with_bounds(leads: pd.DataFrame, columns: Sequence[Mapping[str, Any]], bins: int) -> list[dict[str, Any]]:
    """The columns with `bounds`, where numbers are cut: about equally full bins of these leads, bounds of two digits.

    Plain data, to be kept beside what is made of it. No bounds for categories and booleans.
    """
    return [
        {**column, "bounds": _bounds(leads[column["name"]], bins) if column["type"] == "number" else []}
        for column in columns
    ]


def _bounds(values: pd.Series, bins: int) -> list[float]:
    known = values.dropna().to_numpy(dtype="float64")
    if not len(known):
        return []
    cuts = [float(f"{cut:.{DIGITS}g}") for cut in np.quantile(known, np.arange(1, bins) / bins)]
    # Below the first bound, and from the last on, there are leads.
    return sorted({cut for cut in cuts if known.min() < cut <= known.max()})


# Segments


#: What names a segment: one or two (column, value).
Key = tuple[tuple[str, str], ...]


def profile(
    before: pd.DataFrame,
    after: pd.DataFrame,
    columns: Sequence[Mapping[str, Any]],
    *,
    min_leads: int,
    false_discoveries: float,
    level: float,
    samples: int,
    seed: int,
) -> pd.DataFrame:
    """Segments of the earlier leads that convert more or less often than the rest, and how they do among the later.

    Of the segments named, at most the share `false_discoveries` is expected to be chance (Benjamini and Hochberg 1995,
    over all that hold `min_leads` earlier leads; exact hypergeometric test). A pair must tell more than either of its
    parts: it is tested against the rest of each, and the larger p counts.

    Args:
        before, after: one row per lead: `lead_id`, `converted` in {0, 1}, `value` (of the deal; NaN where unknown or
            none), and the columns. Bounds are those of the earlier leads.
        columns: as `with_bounds` gives them.
        level: of the Wilson interval `low` to `high` for the later conversion, and of `value_low` to `value_high`, the
            percentile interval over `samples` resamples of the segment's later leads.

    Returns:
        The columns of `COLUMNS`, highest lift among the earlier leads first. `direction` is "more" or "less";
        `confirmed`: the interval of the later leads lies on that side of their common rate. `value_per_lead`: value of
        the deals by lead, converted or not; a deal without a value counts as an average earlier one. The value columns
        are NaN where no earlier deal has a value. Figures of later leads are NaN where a segment holds none.
    """
    text, later_text = levels(before, columns), levels(after, columns)
    named = _named(columns)
    later_won = after["converted"].to_numpy(dtype="float64")
    common, later_common = (float(frame["converted"].mean()) if len(frame) else np.nan for frame in (before, after))
    value = _values(before, after)
    cells = _counted(text, before["converted"].astype("int64"), min_leads)
    chosen = _chosen(cells, len(before), int(before["converted"].sum()), min_leads, false_discoveries)
    rows = []
    for key, more, q in chosen:
        n, k = cells[key]
        inside = np.logical_and.reduce([(later_text[name] == said).to_numpy() for name, said in key])
        m, hits = int(inside.sum()), int(later_won[inside].sum())
        low, high = (float(end) if m else np.nan for end in metrics.wilson(hits, m, level))
        rate = hits / m if m else np.nan
        worth = _value_figures(after["lead_id"], inside, value, level=level, samples=samples, seed=seed)
        rows.append(
            {
                "segment": " and ".join(f"{named[name]}: {said}" for name, said in key),
                "criteria": len(key),
                "direction": "more" if more else "less",
                "leads": n,
                "conversions": k,
                "conversion": k / n,
                "lift": k / n / common,
                "q": q,
                "later_leads": m,
                "later_conversions": hits,
                "later_conversion": rate,
                "low": low,
                "high": high,
                "later_lift": rate / later_common if later_common else np.nan,
                "confirmed": bool(low > later_common if more else high < later_common),
                **worth,
            }
        )
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(["lift", "segment"], ascending=[False, True], ignore_index=True)


def _named(columns: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What a reader calls each column: its criterion, with its own name where the criterion has several columns."""
    times = Counter(column["criterion"] for column in columns)
    return {
        column["name"]: column["criterion"] + (f" ({column['name']})" if times[column["criterion"]] > 1 else "")
        for column in columns
    }


def _counted(text: pd.DataFrame, won: pd.Series, min_leads: int) -> dict[Key, tuple[int, int]]:
    """Leads and conversions of every value, and every pair of values of two columns, that `min_leads` leads hold."""
    cells: dict[Key, tuple[int, int]] = {}
    for names in (*((name,) for name in text), *combinations(text, 2)):
        counts = won.groupby([text[name] for name in names], sort=True).agg(["size", "sum"])
        counts = counts[counts["size"] >= min_leads]
        values: list[Any] = list(counts.index) if len(names) > 1 else [(value,) for value in counts.index]
        for said, n, k in zip(values, counts["size"], counts["sum"], strict=True):
            cells[tuple(zip(map(str, names), said, strict=True))] = (int(n), int(k))
    return cells


def _chosen(
    cells: Mapping[Key, tuple[int, int]], leads: int, conversions: int, min_leads: int, false_discoveries: float
) -> list[tuple[Key, bool, float]]:
    """Segments that stand out, whether they convert more often, and the share of false discoveries down to them."""
    sides = []
    for place, (key, (n, k)) in enumerate(cells.items()):
        parts = [cells[(part,)] for part in key] if len(key) > 1 else [(leads, conversions)]
        # A pair that is nearly all of one of its parts is that part.
        if all(total - n >= min_leads for total, _ in parts):
            sides += [(place, k, n, hits, total) for total, hits in parts]
    if not sides:
        return []
    table = pd.DataFrame(sides, columns=["cell", "k", "n", "hits", "total"])
    table["more"] = table["k"] * table["total"] > table["hits"] * table["n"]
    table["p"] = _tail(table["k"], table["n"], table["hits"], table["total"])
    by_cell = table.groupby("cell").agg(p=("p", "max"), more=("more", "first"), ways=("more", "nunique"))
    q = false_discovery_control(by_cell["p"].where(by_cell["ways"] == 1, 1.0))
    keys = list(cells)
    return [
        (keys[int(cell)], bool(more), float(one))
        for cell, more, one in zip(by_cell.index, by_cell["more"], q, strict=True)
        if one <= false_discoveries
    ]


def _tail(k: pd.Series, n: pd.Series, hits: pd.Series, total: pd.Series) -> Array:
    """Chance of k or fewer, or of k or more, of the part's conversions among n of its leads, twice the smaller."""
    fewer, more = hypergeom.cdf(k, total, hits, n), hypergeom.sf(k - 1, total, hits, n)
    return np.minimum(1.0, 2 * np.minimum(fewer, more))


def _values(before: pd.DataFrame, after: pd.DataFrame) -> Array | None:
    """Value that each later lead brought, 0 where it did not convert; None where no earlier deal has a value."""
    known = before.loc[before["converted"] == 1, "value"].dropna()
    if known.empty:
        return None
    return np.where(after["converted"] == 1, after["value"].fillna(float(known.mean())), 0.0)


def _value_figures(
    lead: pd.Series, inside: Array, value: Array | None, *, level: float, samples: int, seed: int
) -> dict[str, float]:
    if value is None or not inside.any():
        return dict.fromkeys(("value_per_lead", "value_low", "value_high", "value_lift"), np.nan)
    brought, common = value[inside], float(value.mean())
    means = [weights @ brought / len(brought) for weights in metrics.lead_weights(lead[inside], samples, seed)]
    low, high = np.quantile(np.concatenate(means), [0.5 - level / 2, 0.5 + level / 2])
    return {
        "value_per_lead": float(brought.mean()),
        "value_low": float(low),
        "value_high": float(high),
        "value_lift": float(brought.mean()) / common if common else np.nan,
    }
