"""Figures: pure drawing from result tables. Nothing is computed here that is not a table first.

Every function returns a matplotlib Figure, 900 pixels wide when saved at 110 dpi.
"""

from __future__ import annotations

import html
import io
import re
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgba
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from pipeline.adapters.drawing import BLUE, GREY, ORANGE, PALE, canvas, headline, styled

#: Names of systems as a reader knows them.
SYSTEMS = {
    "candidate": "Candidate",
    "card": "Points card",
    "base_rate": "Base rate for everyone",
    "one_feature": "Best single feature",
    "logistic": "Logistic regression",
    "xgboost_default": "XGBoost, defaults",
}

#: Groups of criteria in the same way.
GROUPS = {"fit": "Fit: who the lead is", "engagement": "Engagement: what happened since"}


@styled
def splits(table: pd.DataFrame) -> Figure:
    """The windows on the axis they were cut along, and the end of each in which no lead is looked at (embargo).

    Args:
        table: one row per split in order: `split`, `start` and `end` (timestamps or row numbers), `leads`, `snapshots`,
            `conversions`, and optionally `axis`, what the windows were cut along, `last_as_of`, the latest look, and
            `closed`, `not_matured`, `embargoed`, `unrecorded`, the looks set aside.
    """
    figure = canvas(3.7)
    axes = figure.add_subplot()
    dated = isinstance(table["start"].iloc[0], pd.Timestamp)
    start, end = (_axis_numbers(table[name]) for name in ("start", "end"))
    looked = end.copy()
    if dated and "last_as_of" in table:
        looked = np.minimum(end, _axis_numbers(table["last_as_of"].fillna(table["end"])))
    place = np.arange(len(table))
    colours = [BLUE, ORANGE, "#009E73"][: len(table)]
    axes.barh(place, looked - start, left=start, height=0.55, color=colours)
    bars = axes.barh(place, end - looked, left=looked, height=0.55, color="white", edgecolor=colours, hatch="////")
    for edge in start[1:]:
        axes.axvline(edge, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    if dated:
        moments = pd.to_datetime([*table["start"], table["end"].iloc[-1]])
        for k, (x, moment) in enumerate(zip([*start, end[-1]], moments, strict=True)):
            side, y = ("left", k) if k < len(table) else ("right", k - 1)
            axes.text(x, y + 0.31, f"{moment:%Y-%m-%d}", ha=side, va="top", fontsize=8.5, color="#333333")
    labels = [
        f"{row['split'].capitalize()}: {row['leads']:,} leads\n{row['snapshots']:,} snapshots,\n"
        f"{row['conversions']:,} convert ({row['conversions'] / max(1, row['snapshots']):.1%})" + _set_aside(row)
        for row in table.to_dict("records")
    ]
    axes.set_yticks(place, labels)
    axes.set_ylim(len(table) - 0.35, -0.5)
    margin = 0.015 * (end[-1] - start[0])
    axes.set_xlim(start[0] - margin, end[-1] + margin)
    axes.grid(visible=False, axis="y")
    if (end > looked).any():
        gap = Patch(facecolor="white", edgecolor=GREY, hatch="////")
        words = "no look: what comes of it would be known only after the window's end"
        axes.legend([gap], [words], loc="lower left", bbox_to_anchor=(-0.01, 1.0), fontsize=9)
    else:
        for bar in bars:
            bar.remove()
    name = table["axis"].iloc[0] if "axis" in table else ("created_at" if dated else "row order")
    if name == "random order":
        headline(figure, "The source has no time axis: leads were parted at random")
        axes.set_xlabel("Place of the lead in random order")
    else:
        headline(figure, "Later leads test what earlier leads taught")
        axes.set_xlabel(
            "Creation of the lead, and time of the look (UTC)" if dated else "Row of the source, in time order"
        )
    if not dated:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    else:
        _date_axis(axes)
    return figure


def _set_aside(row: dict[Any, Any]) -> str:
    """Looks that count nowhere, as a further line; nothing where there are none."""
    reasons = ("closed", "not_matured", "embargoed", "unrecorded")
    total = sum(int(row[name]) for name in reasons if name in row)
    return f"\n{total:,} set aside" if total else ""


@styled
def delay(table: pd.DataFrame, horizon_days: int, suggested_days: int | None) -> Figure:
    """The share of the conversions that come within so many days, after creation and after a look.

    Args:
        table: one row per day: `day`, `share`, `share_after_look`; none where outcomes are decided at once.
        horizon_days: the contract's. `suggested_days`: None where nothing is suggested.
    """
    if table.empty:
        figure = canvas(1.2)
        figure.add_subplot().set_axis_off()
        headline(figure, "No conversion is dated, or all are decided at once: there is no delay to draw")
        return figure
    figure = canvas(3.9)
    axes = figure.add_subplot()
    # Beyond the day by which nearly all have come the curve says nothing.
    last = int(table["day"][table["share_after_look"] < 0.995].max()) + 1 if len(table) > 1 else 1
    end = min(len(table), max(last, horizon_days, suggested_days or 0))
    drawn = table.head(end)
    day = np.r_[0, drawn["day"]]
    axes.step(
        day, np.r_[0, drawn["share_after_look"]] * 100, where="post", color=BLUE, label="after a look at the lead"
    )
    axes.step(
        *(day, np.r_[0, drawn["share"]] * 100),
        where="post",
        color=GREY,
        linestyle=(0, (4, 2)),
        label="after the lead was created",
    )
    marks = {horizon_days: "the contract's horizon", **({suggested_days: "suggested"} if suggested_days else {})}
    if suggested_days == horizon_days:
        marks = {horizon_days: "the contract's horizon, as suggested"}
    for days, name in marks.items():
        share = float(table["share_after_look"].iloc[min(days, len(table)) - 1]) * 100
        colour = ORANGE if days == horizon_days else "#009E73"
        axes.vlines(days, 0, share, color=colour, linewidth=1.2)
        axes.plot(days, share, "D" if days == horizon_days else "o", color=colour)
        axes.annotate(
            f"{days} days, {name}: {share:.0f} %",
            *((days, share), (8, -4)),
            textcoords="offset points",
            va="top",
            bbox={"color": "white", "pad": 1},
            fontsize=9,
        )
    axes.set_xlim(0, end * 1.02)
    axes.set_ylim(0, 103)
    axes.set_xlabel("Days")
    axes.set_ylabel("Conversions that have come (%)")
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.legend(loc="lower right")
    within = float(table["share_after_look"].iloc[min(horizon_days, len(table)) - 1])
    axes.set_title(f"The horizon catches {within:.0%} of the conversions still to come when a lead is looked at")
    return figure


@styled
def reliability(table: pd.DataFrame, probability: np.ndarray, *, level: float) -> Figure:
    """Predicted against observed conversion, and how many rows have which score.

    Args:
        table: one row per bin: `predicted`, `observed`, `low`, `high`, `holds`.
        probability: of every row, for the histogram.
        level: of the intervals.
    """
    figure = canvas(5.8)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    limit = float(max(table["high"].max(), np.quantile(probability, 0.995))) * 1.04
    beyond = bool(np.max(probability) > limit)
    top.plot([0, limit], [0, limit], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="Score means what it says")
    for holds, colour, marker, text in (
        (True, BLUE, "o", f"{level:.0%} interval holds the score"),
        (False, ORANGE, "D", f"{level:.0%} interval misses it"),
    ):
        mine = table[table["holds"] == holds]
        if len(mine):
            error = np.maximum([mine["observed"] - mine["low"], mine["high"] - mine["observed"]], 0)
            top.errorbar(
                mine["predicted"],
                mine["observed"],
                yerr=error,
                fmt=marker,
                color=colour,
                capsize=3,
                markersize=5,
                label=text,
            )
    missed = table[~table["holds"].astype(bool)]
    less = int((missed["observed"] < missed["predicted"]).sum())
    strays = [f"{count} {way} often" for count, way in ((less, "less"), (len(missed) - less, "more")) if count]
    headline(
        figure,
        f"{len(table) - len(missed)} of {len(table)} bins convert as often as their score says"
        + (f"; {', '.join(strays)}" if strays else ""),
    )
    top.set_ylabel("Observed conversion")
    # Above the axes: whichever way the bins stray, nothing is hidden.
    top.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, fontsize=9, columnspacing=1.4)
    top.set_ylim(0, limit)
    top.yaxis.set_major_formatter(_percent(limit))
    bottom.hist(
        np.minimum(probability, limit),
        bins=np.linspace(0, limit, 51).tolist(),
        color=PALE,
        edgecolor=GREY,
        linewidth=0.4,
    )
    bottom.set_xlim(0, limit)
    bottom.set_xlabel("Predicted conversion (score / 100)" + ("; the last bar holds all higher ones" if beyond else ""))
    bottom.set_ylabel("Snapshots")
    bottom.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    bottom.xaxis.set_major_formatter(_percent(limit))
    return figure


@styled
def lift(table: pd.DataFrame) -> Figure:
    """Lift and capture by the share of leads called.

    Args:
        table: `share` (0 to 1), `lift`, `capture`, one row per share, rising.
    """
    figure = canvas(3.9)
    left, right = figure.subplots(1, 2)
    share = table["share"].to_numpy() * 100
    # On white, so that no grid line strikes the words through.
    beside: dict[str, Any] = {"color": GREY, "fontsize": 8.5, "bbox": {"color": "white", "pad": 1}}
    left.plot(share, table["lift"], color=BLUE, marker="o", markersize=4)
    left.axhline(1, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    left.text(99, 0.95, "called in random order", ha="right", va="top", **beside)
    left.set_ylabel("Conversion rate, times that of all snapshots")
    left.set_ylim(0, float(np.nanmax([1.0, table["lift"].max()])) * 1.15)
    right.plot(np.r_[0, share], np.r_[0, table["capture"]] * 100, color=BLUE, marker="o", markersize=4)
    right.plot([0, 100], [0, 100], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    right.text(98, 12, "dashed: called in random order", ha="right", va="top", **beside)
    right.set_ylabel("Conversions found (%)")
    right.set_ylim(0, 103)
    for axes, column, text, place in ((left, "lift", "{:.1f}×", (5, 5)), (right, "capture", "{:.0%}", (7, -9))):
        axes.set_xlabel("Snapshots called, highest scores first (%)")
        axes.set_xlim(0, 102)
        for row in table[table["share"].isin([0.1, 0.2, 0.5])].to_dict("records"):
            y = row[column] * (100 if column == "capture" else 1)
            axes.annotate(
                text.format(row[column]), (row["share"] * 100, y), place, textcoords="offset points", fontsize=9
            )
    tenth = table.loc[table["share"] == 0.1, ["lift", "capture"]]
    if len(tenth):
        headline(
            figure,
            f"The top tenth by score converts {tenth['lift'].iloc[0]:.1f} times as often as all, and holds "
            f"{tenth['capture'].iloc[0]:.0%} of the conversions",
        )
    return figure


@styled
def tiers(table: pd.DataFrame, *, level: float) -> Figure:
    """What share of the leads each tier holds, and how often they convert.

    Args:
        table: one row per tier from the best down: `tier`, `from_score`, `share`, `conversion`, `low`, `high`; the
            rates are NaN where a tier is empty.
        level: of the intervals.
    """
    figure = canvas(1.5 + 0.42 * len(table))
    left, right = figure.subplots(1, 2, sharey=True)
    place = np.arange(len(table))
    share, rate = table["share"].to_numpy() * 100, table["conversion"].to_numpy() * 100
    left.barh(place, share, color=PALE, edgecolor=GREY, linewidth=0.6, height=0.6)
    error = np.maximum([rate - table["low"].to_numpy() * 100, table["high"].to_numpy() * 100 - rate], 0)
    right.errorbar(rate, place, xerr=error, fmt="o", color=BLUE, capsize=3, markersize=5)
    for axes, values, words in ((left, share, "{:.0f}%"), (right, rate, "{:.1f}%")):
        for y, value in enumerate(values.tolist()):
            if np.isfinite(value):
                spot = (4, 0) if axes is left else (0, 8)
                side = {"va": "center"} if axes is left else {"ha": "center"}
                axes.annotate(words.format(value), (value, y), spot, textcoords="offset points", fontsize=8.5, **side)
        axes.margins(x=0.15)
        axes.set_xlim(left=0)
        axes.grid(visible=False, axis="y")
    left.set_yticks(place, [f"{row['tier']} (from {row['from_score']:.1f})" for row in table.to_dict("records")])
    left.set_ylim(len(table) - 0.4, -0.7)
    left.set_xlabel("Share of the snapshots (%)")
    right.set_xlabel(f"Conversion (%), with its {level:.0%} interval")
    best = table.iloc[0]
    converts = (
        f"and converts {best['conversion']:.0%} of the time" if np.isfinite(best["conversion"]) else "none of them"
    )
    headline(figure, f"Tier {best['tier']} holds {best['share']:.0%} of the snapshots {converts}")
    return figure


@styled
def refits(table: pd.DataFrame) -> Figure:
    """Log-loss after the best intercept, and AUC, of refits on parts of the history, all measured on the test window.

    Args:
        table: rows of one `curve`: `learning`, drawn by `leads`, or `staleness`, drawn by `age_days`; with
            `ranking_loss` and `auc`.
    """
    learning = bool((table["curve"] == "learning").all())
    across = "leads" if learning else "age_days"
    rows = table.sort_values(across)
    figure = canvas(3.9)
    left, right = figure.subplots(1, 2)
    for axes, column, words in (
        (left, "ranking_loss", "Log-loss at the best level (lower is better)"),
        (right, "auc", "AUC (higher is better)"),
    ):
        axes.plot(rows[across], rows[column], color=BLUE, marker="o", markersize=4)
        axes.set_ylabel(words)
        axes.set_xlabel("Leads learned from" if learning else "Days from what was learned to the test window")
        axes.margins(x=0.06, y=0.15)
    first, last = float(rows["auc"].iloc[0]), float(rows["auc"].iloc[-1])
    begin, end = (float(rows[across].iloc[k]) for k in (0, -1))
    between = f"{begin:,.0f} to {end:,.0f} leads" if learning else f"{begin:.0f} to {end:.0f} days of age"
    headline(figure, f"From {between} the AUC goes from {first:.3f} to {last:.3f}")
    return figure


@styled
def rivals(table: pd.DataFrame, *, level: float) -> Figure:
    """Log-loss and lift of every system with intervals.

    Args:
        table: `system`, `metric`, `value`, `low`, `high`; metrics `log_loss` and `lift_10` are drawn. The candidate's
            rows are named `candidate`.
        level: of the intervals.
    """
    figure = canvas(3.4)
    panels = figure.subplots(1, 2, sharey=True)
    systems = list(dict.fromkeys(table["system"]))
    order = (
        table[table["metric"] == "log_loss"].set_index("system").loc[systems, "value"].sort_values(kind="stable").index
    )
    for axes, metric, name in (
        (panels[0], "log_loss", "Log-loss (further left is better)"),
        (panels[1], "lift_10", "Lift in the top tenth (further right is better)"),
    ):
        rows = table[table["metric"] == metric].set_index("system").loc[order]
        for place, (system, row) in enumerate(rows.iterrows()):
            error = np.maximum([[row["value"] - row["low"]], [row["high"] - row["value"]]], 0)
            own = system == "candidate"
            axes.errorbar(
                row["value"],
                place,
                xerr=error,
                fmt="D" if own else "o",
                color=ORANGE if own else BLUE,
                capsize=3,
                markersize=6 if own else 5,
            )
            digits = 4 if metric == "log_loss" else 2
            axes.annotate(
                f"{row['value']:.{digits}f}",
                (row["value"], place),
                (0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
            )
        axes.set_xlabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(order)), [SYSTEMS.get(system, str(system)) for system in order])
    panels[0].set_ylim(len(order) - 0.4, -0.7)
    rank = ["", "second ", "third ", "fourth ", "fifth "][list(order).index("candidate")]
    headline(
        figure,
        f"The candidate has the {rank}lowest log-loss of {len(order)} system{'s' * (len(order) > 1)} "
        f"(same snapshots, {level:.0%} intervals)",
    )
    return figure


@styled
def leak_price(table: pd.DataFrame, *, most: int = 15) -> Figure:
    """What the figures on the test window are without and with each column called leak or suspect.

    Args:
        table: `column`, `verdict` (`leak`, `suspect`, or something else for several together), and `auc` and `lift_10`
            as `*_without` and `*_with`; the first `most` rows with figures are drawn. There may be none.
    """
    rows = table[table["auc_with"].notna()].head(most)
    if rows.empty:
        figure = canvas(1.2)
        figure.add_subplot().set_axis_off()
        headline(figure, "No column is called a leak or a suspect: there is nothing to price")
        return figure
    figure = canvas(1.5 + 0.34 * len(rows))
    panels = figure.subplots(1, 2, sharey=True)
    place = np.arange(len(rows))
    for axes, metric, name in ((panels[0], "auc", "AUC"), (panels[1], "lift_10", "Lift in the top tenth")):
        without, with_ = rows[f"{metric}_without"].to_numpy(), rows[f"{metric}_with"].to_numpy()
        axes.hlines(place, without, with_, color=PALE, linewidth=3)
        axes.plot(without, place, "o", color=BLUE, label="without it: what sales would see")
        axes.plot(with_, place, "D", color=ORANGE, label="with it: what the figures would claim")
        axes.set_xlabel(f"{name} on the test window")
        axes.margins(x=0.08)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(place, [_short(name) for name in rows["column"]])
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=9)
    single = rows[rows["verdict"].isin(["leak", "suspect"])].reset_index(drop=True)
    top = single.iloc[int((single["auc_with"] - single["auc_without"]).argmax())]
    headline(
        figure,
        f"“{_short(top['column'])}” would make an AUC of {top['auc_without']:.2f} look like {top['auc_with']:.2f}",
    )
    return figure


@styled
def criteria(table: pd.DataFrame, *, most: int = 20) -> Figure:
    """Criteria by how far they move scores.

    Args:
        table: `criterion`, `group`, `mean_absolute_points`, strongest first; the first `most` are drawn.
    """
    rows = table.head(most)
    figure = canvas(1.4 + 0.27 * len(rows))
    axes = figure.add_subplot()
    colour = {"fit": BLUE, "engagement": ORANGE}
    place = np.arange(len(rows))
    axes.barh(
        place, rows["mean_absolute_points"], color=[colour.get(group, GREY) for group in rows["group"]], height=0.7
    )
    for y, points in enumerate(rows["mean_absolute_points"].tolist()):
        axes.annotate(f"{points:.2f}", (points, y), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_yticks(place, [_short(name) for name in rows["criterion"]])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("Points a criterion adds to or takes from a score, on average")
    weaker = len(table) - len(rows)
    left_out = f"; {weaker} weaker {'criterion is' if weaker == 1 else 'criteria are'} not drawn" if weaker else ""
    axes.set_title(f"“{_short(rows['criterion'].iloc[0])}” moves scores most{left_out}")
    groups = [group for group in ("fit", "engagement") if (rows["group"] == group).any()]
    if len(groups) > 1:
        handles = [Patch(color=colour[group], label=GROUPS[group]) for group in groups]
        axes.legend(handles=handles, loc="lower right")
    return figure


@styled
def criteria_gains(table: pd.DataFrame, *, level: float, most: int = 20) -> Figure:
    """What criteria add to the fit on later leads: in the test window, and over the folds of the search before it.

    Args:
        table: `criterion`, `verdict`, and `adds` and `folds_adds` with their `_low` and `_high`, strongest first; the
            first `most` of those judged are drawn. There may be none, and none over the folds.
        level: of the intervals.
    """
    judged = table[table["adds"].notna()]
    rows = judged.head(most)
    if rows.empty:
        figure = canvas(1.2)
        figure.add_subplot().set_axis_off()
        headline(figure, "No criterion has a say in the scores: there is nothing to judge")
        return figure
    figure = canvas(1.7 + 0.3 * len(rows))
    axes = figure.add_subplot()
    axes.axvline(0, color=GREY, linewidth=1)
    drawn = (
        ("adds", -0.15, "o", BLUE, "in the test window"),
        ("folds_adds", 0.15, "D", ORANGE, "over the folds before it"),
    )
    for name, offset, marker, colour, told in drawn:
        known = rows[name].notna().to_numpy()
        value, low, high = (1000 * rows[f"{name}{end}"].to_numpy()[known] for end in ("", "_low", "_high"))
        place = np.arange(len(rows))[known] + offset
        axes.hlines(place, low, high, color=colour, linewidth=1.5)
        axes.plot(value, place, marker, color=colour, markersize=4.5, label=told)
    axes.set_yticks(np.arange(len(rows)), [_short(name) for name in rows["criterion"]])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    weaker = len(judged) - len(rows)
    left_out = f"; {weaker} weaker {'criterion is' if weaker == 1 else 'criteria are'} not drawn" if weaker else ""
    axes.set_xlabel(f"Log-loss saved, thousandths of a nat per look ({level:.0%} intervals)")
    adding = int((judged["verdict"] == "adds").sum())
    axes.set_title(f"{adding} of {len(judged)} criteria surely add in the test window{left_out}")
    axes.legend(loc="lower right")
    return figure


@styled
def dependence(table: pd.DataFrame, order: list[str], *, most: int = 6) -> Figure:
    """What the value of a feature adds to the log-odds, for the strongest features.

    Args:
        table: `feature`, `value`, `place`, `low`, `high`, `log_odds`, `log_odds_low`, `log_odds_high`; a row per bin.
        order: features, strongest first; the first `most` are drawn.
    """
    names = order[:most]
    figure = canvas(0.5 + 2.3 * -(-len(names) // 2))
    panels = figure.subplots(-(-len(names) // 2), 2, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        rows = table[table["feature"] == name].sort_values("place")
        place = np.arange(len(rows))
        axes.axhline(0, color=GREY, linewidth=1)
        axes.vlines(place, rows["log_odds_low"], rows["log_odds_high"], color=PALE, linewidth=5)
        known = (rows["value"] != "").to_numpy()
        line = "-" if rows["low"].notna().any() else ""
        axes.plot(place[known], rows["log_odds"].to_numpy()[known], "o", linestyle=line, color=BLUE, markersize=4)
        axes.plot(place[~known], rows["log_odds"].to_numpy()[~known], "D", color=ORANGE, markersize=4)
        labels = [_short(value) if value else "missing" for value in rows["value"]]
        axes.set_xticks(place, labels, rotation=35, ha="right", fontsize=7.5)
        axes.grid(visible=False, axis="x")
        axes.set_title(_short(name), fontsize=9.5)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in panels[::2]:
        axes.set_ylabel("log-odds", fontsize=8.5)
    headline(figure, "What a value adds to the log-odds: mean (dot) and the middle 80% of leads (bar)")
    return figure


@styled
def waterfall(table: pd.DataFrame, *, reasons: int) -> Figure:
    """From base to score, one panel per lead.

    Args:
        table: `lead_id`, `as_of`, `step`, `kind` ("base", "reason", "score"), `text`, `points`, `start`, `end`, on the
            scale of the score; steps in order.
        reasons: strongest reasons drawn one by one; the weaker ones become one bar.
    """
    leads = [rows for _, rows in table.groupby(["lead_id", "as_of"], sort=False)]
    parts = [_merged(rows, reasons) for rows in leads]
    figure = canvas(0.75 + sum(0.75 + 0.27 * len(part) for part in parts))
    panels = np.atleast_1d(
        figure.subplots(len(parts), 1, sharex=True, height_ratios=[len(part) + 1.5 for part in parts])
    )
    right = float(table[["start", "end"]].to_numpy().max())
    for axes, rows, part in zip(panels, leads, parts, strict=True):
        _draw_steps(axes, part.to_dict("records"))
        axes.set_yticks(range(len(part)), part["label"])
        axes.set_ylim(len(part) - 0.4, -0.6)
        axes.set_xlim(min(0.0, float(part[["start", "end"]].to_numpy().min())), right * 1.1 + 0.5)
        axes.grid(visible=False, axis="y")
        first = rows.iloc[0]
        date = f" on {pd.Timestamp(first['as_of']).date()}" if pd.Timestamp(first["as_of"]).year > 1970 else ""
        axes.set_title(f"Lead {first['lead_id']}{date} scores {part['points'].iloc[-1]:.1f} of 100")
    panels[-1].set_xlabel("Score (chance of converting, %)")
    headline(figure, "The points of all criteria lead from the base to the score and leave nothing over")
    return figure


@styled
def beeswarm(contributions: pd.DataFrame, values: pd.DataFrame, *, most: int = 15) -> Figure:
    """Contribution of the strongest features to every sampled lead, coloured by the feature's value.

    Args:
        contributions: log-odds, one row per lead and one column per feature.
        values: the feature values in the same shape: numbers, or text for categories.
        most: features drawn, by mean absolute contribution.
    """
    weight = contributions.abs().mean().sort_values(ascending=False, kind="stable")
    names = list(weight.index[:most])
    figure = canvas(max(3.0, 1.5 + 0.36 * len(names)))
    axes = figure.add_subplot()
    # Without the palest end, which is lost on white, and without grey, which stands for no value.
    colours = ListedColormap(mpl.colormaps["plasma"](np.linspace(0, 0.87, 256)))
    x = contributions[names].to_numpy()
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    span = max(high - low, 1e-9)
    axes.axvline(0, color=GREY, linewidth=1)
    for place, name in enumerate(names):
        x = contributions[name].to_numpy()
        axes.scatter(
            x,
            place + _swarm(x, low, span),
            c=_value_colours(values[name], colours),
            s=5,
            linewidths=0,
            rasterized=True,
        )
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("Contribution to the log-odds of converting (left of 0 speaks against, right of 0 for)")
    axes.set_title(
        f"“{_short(names[0])}” moves the {len(contributions):,} sampled scores most; one dot is one snapshot"
    )
    scale = ScalarMappable(Normalize(0, 1), colours)
    bar = figure.colorbar(scale, ax=axes, ticks=[0, 1], shrink=0.6, aspect=30, pad=0.01)
    bar.ax.set_yticklabels(["low", "high"])
    bar.set_label("Value of the feature, by rank\n(grey: category or missing)")
    bar.outline.set_visible(False)
    return figure


def _swarm(x: np.ndarray, low: float, span: float) -> np.ndarray:
    """Vertical offsets within (-0.4, 0.4): points of a narrow column stand in turn above and below its middle."""
    column = np.floor((x - low) / span * 140).astype("int64")
    order = np.lexsort((x, column))
    ranked = column[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]][: len(x)])
    size = np.diff(np.r_[first, len(x)])
    turn = np.arange(len(x)) - np.repeat(first, size)
    step = np.where(turn % 2 == 1, (turn + 1) // 2, -(turn // 2))
    height = 0.8 / max(16.0, float(size.max(initial=1)))
    offset = np.empty(len(x))
    offset[order] = step * height
    return offset


def _value_colours(value: pd.Series, colours: Any) -> np.ndarray:
    """RGBA by rank of the value among its column; grey for categories and missing values."""
    result = np.tile(to_rgba("#9A9A9A"), (len(value), 1))
    if pd.api.types.is_numeric_dtype(value) and value.notna().any():
        rank = value.rank(method="average").to_numpy()
        least, most = float(np.nanmin(rank)), float(np.nanmax(rank))
        known = ~np.isnan(rank)
        result[known] = colours((rank[known] - least) / max(most - least, 1e-9))
    return result


def _draw_steps(axes: Axes, steps: list[dict[Any, Any]]) -> None:
    """One bar per step, its points beside it, and a line from the bar above to where this one begins."""
    for place, step in enumerate(steps):
        reason = step["kind"] == "reason"
        colour = GREY if not reason else BLUE if step["points"] >= 0 else ORANGE
        axes.barh(place, step["end"] - step["start"], left=step["start"], color=colour, height=0.66)
        text = f"{step['points']:+.1f}".replace("-", "−") if reason else f"{step['points']:.1f}"
        beside = (max(step["start"], step["end"]), place)
        axes.annotate(text, beside, (4, 0), textcoords="offset points", va="center", fontsize=8.5)
        if place:
            joint = step["start"] if reason else step["end"]
            axes.plot([joint, joint], [place - 0.67, place - 0.33], color=GREY, linewidth=0.8)


def _merged(rows: pd.DataFrame, reasons: int) -> pd.DataFrame:
    """Base, the first `reasons` reasons, the others as one bar, and the score, each with a `label`."""
    base, named, score = (rows[rows["kind"] == kind] for kind in ("base", "reason", "score"))
    shown, rest = named.iloc[:reasons], named.iloc[reasons:]
    if len(rest) == 1:
        shown, rest = named, named.iloc[:0]
    parts = [
        base.assign(label="Base (typical lead)"),
        shown.assign(label=[_short(text, 48) for text in shown["text"]]),
    ]
    if len(rest):
        parts.append(
            rest.iloc[:1].assign(
                label=f"{len(rest)} weaker criteria", points=round(rest["points"].sum(), 1), end=rest["end"].iloc[-1]
            )
        )
    return pd.concat([*parts, score.assign(label="Score")], ignore_index=True)


def svg(figure: Figure, name: str, about: str) -> str:
    """A figure as an `<svg>` element to stand in a page beside others: no clock, no link, no name used twice.

    Args:
        name: what its parts are named after, unlike that of any other figure of the page.
        about: what a reader hears who does not see it.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # A page needs no namespaces, and says once what this style says of every line.
    text = re.sub(r' xmlns(:xlink)?="[^"]*"|<defs>\s*<style.*?</style>\s*</defs>\s*', "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", lambda tag: _named_after(tag[0], name), text)
    label = html.escape(about, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _named_after(tag: str, name: str) -> str:
    """A tag whose own name, and those it points to, begin with `name`; whoever lacks the typeface gets one as wide."""
    tag = re.sub(r'( id="|url\(#)', rf"\1{name}-", tag.replace("xlink:href", "href"))
    tag = tag.replace(' href="#', f' href="#{name}-')
    return tag.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")


def _date_axis(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _axis_numbers(values: pd.Series) -> np.ndarray:
    """Row numbers as they are, moments as matplotlib's days."""
    if isinstance(values.iloc[0], pd.Timestamp):
        return np.asarray(date2num(pd.to_datetime(values).to_numpy(dtype="datetime64[us]")))
    return values.to_numpy(dtype="float64")


def _percent(limit: float) -> PercentFormatter:
    """Percentages with a decimal only where the axis is short."""
    return PercentFormatter(xmax=1, decimals=1 if limit < 0.05 else 0)


def _short(name: object, most: int = 34) -> str:
    """A label that leaves room for the drawing."""
    text = str(name)
    return text if len(text) <= most else text[: most - 1] + "…"
