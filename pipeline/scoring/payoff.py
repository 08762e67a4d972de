"""What tiers bring a week: leads, conversions, cost and profit, with intervals, and whether tiers moved over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.params import Evaluate
from pipeline.scorer import tiers as scorer_tiers
from pipeline.scoring import capacity, tier_history
from pipeline.scoring.capacity import Flow, Terms


@dataclass(frozen=True)
class Payoff:
    """What `of` found.

    `table`, `curve`: as `capacity.table` and `capacity.curve` give them. `history`: as `tier_history.by_period`, empty
    without a time axis. `bands`: `name` and `from` (tenths) of each tier. `sentences`: what a reader should know beside
    the table. `moved`: which tiers moved over time, in sentences.
    """

    terms: Terms
    table: pd.DataFrame
    curve: pd.DataFrame
    history: pd.DataFrame
    bands: list[dict[str, Any]]
    sentences: list[str]
    moved: list[str]

    def lines(self) -> dict[str, Any]:
        """What is drawn beside the curve: `tiers` (name and lowest score), `break_even` (a score) and `per_week`, None
        where sales has time for all."""
        return {
            "tiers": [(band["name"], band["from"] / 10) for band in self.bands],
            "break_even": capacity.break_even(self.terms) / 10,
            "per_week": self.terms.per_week if np.isfinite(self.terms.per_week) else None,
        }


def of(
    looks: pd.DataFrame,
    window: Mapping[Any, Any],
    terms: Terms,
    bands: Sequence[Mapping[str, Any]] | None,
    params: Evaluate,
    *,
    max_age_days: int,
    new_per_week: float | None,
    period: tier_history.Period,
    seed: int,
) -> Payoff:
    """What tiers bring on the looks of a window.

    Args:
        looks: one row per (lead, as-of) that was scored: `lead_id`, `created_at`, `as_of`, `score`, `label`.
        window, max_age_days, new_per_week: as `capacity.in_a_week` takes them.
        bands: `name` and `from` (tenths) of each tier, best first; None for tiers by worth, on these looks.

    Raises:
        NotEnoughData, ParamsError: as `capacity.in_a_week`.
    """
    leads, new_per_week, sentences = capacity.in_a_week(
        looks, window, max_age_days=max_age_days, new_per_week=new_per_week
    )
    flow = capacity.flow(leads, new_per_week)
    draws = capacity.resampled(leads, new_per_week, samples=params.bootstrap_samples, seed=seed)
    chosen = [dict(band) for band in bands] if bands is not None else capacity.by_worth(flow, terms)
    table = capacity.table(flow, draws, chosen, terms, params.interval_level)
    if bands is None:
        table = capacity.with_start_intervals(table, draws, terms, params.interval_level)
    over_time = history(looks, window, chosen, params, period=period)
    return Payoff(
        terms=terms,
        table=table,
        curve=capacity.curve(flow, draws, terms, params.interval_level),
        history=over_time,
        bands=chosen,
        sentences=[*sentences, *_economy(flow, terms)],
        moved=_moved(over_time),
    )


def history(
    looks: pd.DataFrame,
    window: Mapping[Any, Any],
    bands: Sequence[Mapping[str, Any]],
    params: Evaluate,
    *,
    period: tier_history.Period,
) -> pd.DataFrame:
    """Whether tiers moved, as `tier_history.by_period` tells; empty without a time axis. Arguments as `of`."""
    if window["axis"] != "created_at":
        return pd.DataFrame(columns=tier_history.COLUMNS)
    first = tier_history.first_looks(looks)
    tenths = (first["score"] * 10).round().astype("int64").to_numpy()
    return tier_history.by_period(
        first.assign(tier=scorer_tiers.name(tenths, [dict(band) for band in bands])),
        [band["name"] for band in bands],
        period=period,
        level=params.interval_level,
        false_discoveries=params.tiers.false_discoveries,
    )


def _economy(flow: Flow, terms: Terms) -> list[str]:
    """Break-even and capacity in words."""
    even = capacity.break_even(terms)
    if even == capacity.NOBODY:
        return ["A deal is worth less than a call costs: no call pays"]
    pays = float(flow.leads[even])
    said = [f"A call breaks even at a score of {even / 10:.1f}, which {pays:,.1f} leads a week reach"]
    if not np.isfinite(terms.per_week):
        return said
    cut = int(capacity.worked(flow, terms))
    if cut == capacity.NOBODY:
        return [
            *said,
            f"The highest score alone stands for more than {terms.per_week:,.0f} leads a week: give a larger limit",
        ]
    if cut == even:
        return [*said, f"Sales can work {terms.per_week:,.0f} a week: it has time for every lead that pays"]
    return [
        *said,
        f"Sales can work {terms.per_week:,.0f} a week: {flow.leads[cut]:,.1f} reach {cut / 10:.1f}, and "
        f"{flow.leads[cut - 1]:,.1f} would reach {(cut - 1) / 10:.1f}",
    ]


def _moved(history: pd.DataFrame) -> list[str]:
    """A sentence for every share or conversion of a tier that moved beyond chance."""
    return [
        f"{row['period']}: the {name} of tier {row['tier']} went {row[f'{name}_moved']}, to {row[name]:.1%} from "
        f"{row[f'{name}_others']:.1%} in the other periods"
        for row in history.to_dict("records")
        for name in ("share", "conversion")
        if row[f"{name}_moved"]
    ]
