"""Figures of tiers that pay, in the house style: drawing from tables, nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipeline.adapters.drawing import BLUE, GREY, ORANGE, canvas, headline, styled

GREEN = "#009E73"

#: Scores that a smaller share of the leads reaches are not drawn.
DRAWN_SHARE = 0.005


@styled
def worth(curve: pd.DataFrame, told: Mapping[str, Any] | None, level: float) -> Figure:
    """`profit`, or a note where nobody says what a call and a deal are worth.

    Args:
        told: `lines`, what is drawn beside the curve; None for the note.
    """
    if told is not None:
        return profit(curve, level=level, **told["lines"])
    figure = canvas(1.2)
    headline(figure, "No playbook says what a call costs and what a deal is worth: no profit to draw")
    return figure


@styled
def profit(
    curve: pd.DataFrame,
    tiers: Sequence[tuple[str, float]],
    *,
    break_even: float,
    per_week: float | None,
    level: float,
) -> Figure:
    """Profit and leads a week by cut-off, with break-even, capacity, and where the tiers begin.

    Args:
        curve: one row per cut-off: `cut_off`, `profit` and `leads`, both with `_low` and `_high`, `expected_profit`.
        tiers: name and lowest score of each, best first.
        break_even: score at which a call brings what it costs; above 100 where none does.
        per_week: leads sales can work a week; None where no limit is drawn.
        level: of the intervals.
    """
    figure = canvas(5.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    rows = curve.sort_values("cut_off")
    x = rows["cut_off"].to_numpy()
    reached = x[(rows["leads"] >= DRAWN_SHARE * rows["leads"].max()).to_numpy()]
    limit = max(float(reached.max()), *(start for _, start in tiers)) * 1.03 + 0.5
    for axes, name in ((top, "profit"), (bottom, "leads")):
        axes.fill_between(x, rows[f"{name}_low"], rows[f"{name}_high"], color=BLUE, alpha=0.2, linewidth=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _amount(value)))
    top.plot(x, rows["profit"], color=BLUE, label=f"as the leads converted, with {level:.0%} interval")
    top.plot(x, rows["expected_profit"], color=GREY, linestyle=(0, (4, 2)), label="as the scores promised")
    bottom.plot(x, rows["leads"], color=BLUE)
    top.axhline(0, color=GREY, linewidth=0.8)
    if break_even <= limit:
        for axes in (top, bottom):
            axes.axvline(break_even, color=GREEN, linewidth=2.2, linestyle=(0, (1, 1.5)))
        _word(bottom, (break_even, 0.97), f"a call breaks even at {break_even:.1f}", GREEN)
    if per_week is not None:
        bottom.axhline(per_week, color=ORANGE, linewidth=1.2, linestyle=(0, (4, 2)))
        words = f"sales can work {per_week:,.0f} a week"
        bottom.annotate(
            words,
            (limit, per_week),
            (-4, 5),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=ORANGE,
            bbox={"color": "white", "pad": 1},
        )
    for place, (name, start) in enumerate((name, start) for name, start in tiers if start > 0):
        for axes in (top, bottom):
            # Where a tier begins at break-even, both lines are to be seen.
            axes.axvline(start, color=ORANGE, linewidth=1.2, zorder=1)
        # One above the other: tiers may lie close together.
        _word(top, (start, 0.08 + 0.08 * (place % 4)), f"{name} from {start:.1f}", ORANGE)
    top.set_ylabel("Profit a week")
    bottom.set_ylabel("Leads a week")
    bottom.set_xlabel("Lowest score that is called (further left, more leads are called)")
    bottom.set_xlim(0, limit)
    bottom.set_ylim(0, float(max(rows["leads"].max(), per_week or 0.0)) * 1.12)
    low, high = float(np.min(rows["profit_low"])), float(np.max(rows["profit_high"]))
    top.set_ylim(min(low, 0.0) - 0.05 * (high - low), high + 0.05 * (high - low))
    top.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, fontsize=9)
    headline(figure, _said(curve, tiers, break_even))
    return figure


def _said(curve: pd.DataFrame, tiers: Sequence[tuple[str, float]], break_even: float) -> str:
    if break_even > 100:
        return "No call pays: a deal is worth less than a call costs"
    name, start = tiers[0]
    row = curve.iloc[int((curve["cut_off"] - start).abs().argmin())]
    profit, low, high = (_amount(row[name]) for name in ("profit", "profit_low", "profit_high"))
    return f"Calling the {row['leads']:,.0f} leads a week of tier {name} brings {profit} ({low} to {high})"


def _amount(value: float) -> str:
    return f"{value:,.0f}".replace("-", "−")


def _word(axes: Axes, place: tuple[float, float], text: str, colour: str) -> None:
    """Words beside a vertical line, at a height given as a share of the axes."""
    beside: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": 9}
    axes.annotate(
        *(text, place, (4, 0)),
        va="top" if place[1] > 0.5 else "bottom",
        color=colour,
        bbox={"color": "white", "pad": 1},
        **beside,
    )
