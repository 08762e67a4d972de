"""Open leads in the order of a points card, with the points that make up each total, and what earlier leads did.

Points are no chance: they say what the card's author holds important. What can be said of chances without a model is
how often earlier leads with about as many points converted, and only where enough of them have.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from scipy.stats import beta

from pipeline.leads.cards import Card, said
from pipeline.params import CardRates

#: Columns of `ranked`. `earlier_*`: see `bands`.
COLUMNS = (
    "lead_id",
    "as_of",
    "points",
    "qualified",
    "held_back",
    "held_back_because",
    "earlier_rate",
    "earlier_low",
    "earlier_high",
    "earlier_leads",
    "top_reasons",
    "reasons",
)

#: Columns of `bands`.
BANDS = ("points_from", "points_below", "leads", "conversions", "rate", "low", "high")


def ranked(card: Card, counted: pd.DataFrame, earlier: pd.DataFrame, reasons: int) -> pd.DataFrame:
    """The leads, best first: more points are better, those held back come last, and equals are in order of their key.

    Args:
        counted: the card's points of every lead, as `card.points` returns them.
        earlier: as `bands` gives them.
        reasons: how many are named in words.

    Returns:
        `COLUMNS`, one row per lead. `points`: the total after all caps, rounded down to a tenth, so that who is shown
        with the qualifying total has it. `qualified`: as the card says. `held_back`: the name of the first suppressor
        that holds, and `held_back_because` its condition in words; both "" where none does. `reasons`: a JSON list of
        `criterion` and `points`, strongest first, that add up to `points` exactly; what a cap takes off is an entry of
        its own. `top_reasons`: the strongest in words. `earlier_*` are missing without bands, and for leads held back.
    """
    names, parts = terms(card, counted)
    tenths = in_tenths(parts)
    held = counted["suppressed"].to_numpy(dtype=object)
    why = {"": ""} | {one.name: said(one.when) for one in card.suppressors}
    told = [_told(names, row) for row in tenths]
    points = tenths.sum(axis=1) / 10
    table = pd.DataFrame(
        {
            "lead_id": counted["lead_id"].to_numpy(),
            "as_of": counted["as_of"].to_numpy(),
            "points": points,
            "qualified": counted["qualifies"].to_numpy(),
            "held_back": pd.Series(held, dtype="str"),
            "held_back_because": pd.Series([why[name] for name in held], dtype="str"),
            **_of_band(points, held != "", earlier),
            "top_reasons": pd.Series([_in_words(row[:reasons]) for row in told], dtype="str"),
            "reasons": pd.Series([json.dumps(row, ensure_ascii=False) for row in told], dtype="str"),
        }
    )
    order = np.lexsort([table["lead_id"].to_numpy(dtype=str), -counted["total"].round(6), held != ""])
    return table.iloc[order].reset_index(drop=True)[list(COLUMNS)]


def terms(card: Card, counted: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """What a total is made of: the points of each criterion, and those that each cap of a group, then of the card,
    takes off.

    Returns:
        Names, and float64 of shape (n_rows, n_names) whose rows add up to `total`.
    """
    names = [one.name for one in card.criteria]
    parts = [counted[name].to_numpy(dtype="float64") for name in names]
    together = np.zeros(len(counted))
    for group, limit in card.groups.items():
        mine = counted[[one.name for one in card.criteria if one.group == group]].sum(axis=1).to_numpy()
        if limit.cap is not None:
            names.append(f"above the cap of {limit.cap:g} for {group}")
            parts.append(np.minimum(limit.cap - mine, 0.0))
            mine = mine + parts[-1]
        together = together + mine
    if card.cap is not None:
        names.append(f"above the card's cap of {card.cap:g}")
        parts.append(np.minimum(card.cap - together, 0.0))
    return names, np.column_stack(parts)


def in_tenths(parts: np.ndarray) -> np.ndarray:
    """Numbers in whole tenths, whose rows add up to the sum of the row rounded down.

    Each place holds by how much the running sum, rounded down, has grown there: whole tenths stay what they are, zeros
    stay zero, and every entry is within a tenth of the number.

    Args:
        parts: shape (n_rows, n_parts).

    Returns:
        int64 of that shape. Example: 5.55, 4, 0.48 add up to 10.03, and give 55, 40 and 5: 10.0.
    """
    # Binary fractions fall short of whole tenths by some 1e-15, which must not cost a tenth.
    running = np.floor(np.round(np.cumsum(parts * 10, axis=1), 6)).astype("int64")
    return np.diff(running, axis=1, prepend=0)


def bands(counted: pd.DataFrame, label: np.ndarray, params: CardRates, level: float) -> pd.DataFrame:
    """How often earlier leads converted, by their points.

    Args:
        counted: the card's points of earlier looks at leads, as `card.points` returns them; looks that a suppressor
            holds back have no part in it. label: what came of each look within the horizon, 0 or 1.
        level: of the intervals, e.g. 0.9.

    Returns:
        `BANDS`, lowest first; empty where fewer than `params.min_conversions` leads converted, or all of them did.
        Bands are about equally full in looks and half-open in points; the first and the last have no end (an infinite
        `points_from`, `points_below`). A lead counts once in a band, at its first look there: n `leads`, k
        `conversions`. With r the rate of all bands together and c = `params.prior_conversions`,

            rate = (k + c) / (n + c / r)

        as if c more leads had converted, at that rate; `low` to `high` is the middle of the Beta distribution with
        k + c and n - k + c / r - c, the posterior of a rate under the prior that this says.
    """
    free = (counted["suppressed"] == "").to_numpy()
    looks = counted.loc[free, ["lead_id", "as_of"]].assign(total=counted["total"].round(6), label=label[free])
    won = looks.loc[looks["label"] == 1, "lead_id"].nunique()
    if won < params.min_conversions or won == looks["lead_id"].nunique():
        return pd.DataFrame(columns=list(BANDS), dtype="float64")
    cuts = np.floor(looks["total"].quantile(np.arange(1, params.bands) / params.bands).to_numpy() * 10) / 10
    cuts = np.unique(cuts[cuts > looks["total"].min()])
    looks = looks.assign(band=np.searchsorted(cuts, looks["total"], side="right"))
    first = looks.sort_values(["lead_id", "as_of"], kind="stable").drop_duplicates(["lead_id", "band"])
    table = first.groupby("band")["label"].agg(["size", "sum"]).reindex(range(len(cuts) + 1))
    n, k = table["size"].to_numpy(dtype="float64"), table["sum"].to_numpy(dtype="float64")
    more = params.prior_conversions
    rows = more / (k.sum() / n.sum())
    tail = 0.5 - level / 2
    ends = [beta.ppf(end, k + more, n - k + rows - more) for end in (tail, 1 - tail)]
    bounds = np.r_[-np.inf, cuts, np.inf]
    columns = [bounds[:-1], bounds[1:], n, k, (k + more) / (n + rows), *ends]
    return pd.DataFrame(dict(zip(BANDS, columns, strict=True))).astype({"leads": "int64", "conversions": "int64"})


def _of_band(points: np.ndarray, held: np.ndarray, earlier: pd.DataFrame) -> dict[str, pd.Series]:
    """Rate, interval and number of the earlier leads in the band of each lead; missing where there is none."""
    if earlier.empty:
        place = np.full(len(points), -1)
    else:
        place = np.searchsorted(earlier["points_from"].to_numpy()[1:], points, side="right")
    place = np.where(held, -1, place)
    found = earlier[["rate", "low", "high", "leads"]].reindex(place).reset_index(drop=True)
    return {f"earlier_{name}": found[name] for name in found} | {"earlier_leads": found["leads"].astype("Int64")}


def _told(names: list[str], tenths: np.ndarray) -> list[dict[str, object]]:
    """The entries of one lead that are not zero, strongest first."""
    order = np.argsort(-np.abs(tenths), kind="stable")
    return [{"criterion": names[k], "points": int(tenths[k]) / 10} for k in order if tenths[k]]


def _in_words(entries: list[dict[str, object]]) -> str:
    return "; ".join(f"{one['points']:+.1f} {one['criterion']}" for one in entries)
