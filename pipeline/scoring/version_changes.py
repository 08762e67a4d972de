"""What differs between two scorers, table by table. Pure: two sides in, one frame out, the first side left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

KEY = ["lead_id", "as_of"]


def changed(first: Mapping[str, Any], second: Mapping[str, Any]) -> pd.DataFrame:
    """`name`, `first` and `second`, as text, of what is not the same on both sides; "" where one lacks it."""
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    rows = [[name, *("" if side.get(name) is None else str(side[name]) for side in (first, second))] for name in names]
    return pd.DataFrame(rows, columns=["name", "first", "second"], dtype="str")


def figures(first: Mapping[str, float], second: Mapping[str, float]) -> pd.DataFrame:
    """`name`, `first`, `second`, `difference` (second less first) of every figure of either side, by name."""
    names = sorted({*first, *second})
    table = pd.DataFrame(
        {
            "name": pd.Series(names, dtype="str"),
            "first": np.array([first.get(name, np.nan) for name in names], dtype="float64"),
            "second": np.array([second.get(name, np.nan) for name in names], dtype="float64"),
        }
    )
    return table.assign(difference=table["second"] - table["first"])


def weights(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """How much of the score each criterion makes: `criterion`, `first`, `second`, `difference`, the largest first.

    Args:
        first, second: `criterion` and `share`, in [0, 1], as stage `explain` states them.

    A criterion that one side lacks makes nothing of its score.
    """
    sides = [dict(zip(side["criterion"], side["share"], strict=True)) for side in (first, second)]
    table = figures(*sides).fillna({"first": 0.0, "second": 0.0}).rename(columns={"name": "criterion"})
    table["difference"] = table["second"] - table["first"]
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def scored(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The same leads as both sides score them: key, `first_score`, `second_score`, `difference`, `first_tier`,
    `second_tier`, those whose score changes most first.

    Args:
        first, second: `lead_id`, `as_of`, `score` (0 to 100, NaN where refused) and `tier` ("" where refused).
    """
    sides = [
        side[[*KEY, "score", "tier"]].rename(columns={"score": f"{name}_score", "tier": f"{name}_tier"})
        for name, side in (("first", first), ("second", second))
    ]
    both = sides[0].merge(sides[1], on=KEY, how="outer", validate="one_to_one")
    both["difference"] = (both["second_score"] - both["first_score"]).round(1)
    order = [*KEY, "first_score", "second_score", "difference", "first_tier", "second_tier"]
    size = both["difference"].abs()
    return both.assign(size=size).sort_values(["size", *KEY], ascending=[False, True, True], ignore_index=True)[order]


def tier_moves(both: pd.DataFrame, first: Sequence[str], second: Sequence[str]) -> pd.DataFrame:
    """Leads by tier on either side: `first_tier`, `second_tier`, `leads`, `direction` (up, down or same).

    Args:
        both: as `scored` gives it.
        first, second: names of each side's tiers, the best one first. A lead without a score stands below all.

    Up is towards the first tier: by place, so that sides with tiers of other names can be compared.
    """
    places = [{name: place for place, name in enumerate([*names, ""])} for names in (first, second)]
    counts = both.groupby(["first_tier", "second_tier"]).size().reset_index(name="leads")
    place = [counts[f"{name}_tier"].map(side) for name, side in zip(("first", "second"), places, strict=True)]
    counts["direction"] = np.select([place[1] < place[0], place[1] > place[0]], ["up", "down"], "same").astype(object)
    order = pd.DataFrame({"one": place[0], "other": place[1]}).sort_values(["one", "other"]).index
    return counts.loc[order].reset_index(drop=True)
