"""Figures: 900 pixels wide, the same bytes every time, true to their tables, nothing cut off."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from pipeline.adapters import figures
from tests.fake_results import reliability_table

AS_OF = pd.Timestamp("2024-05-06")


def splits_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "split": ["train", "calibrate", "test"],
            "axis": "created_at",
            "start": pd.to_datetime(["2024-01-01", "2024-06-01", "2024-09-01"]),
            "end": pd.to_datetime(["2024-06-01", "2024-09-01", "2025-01-01"]),
            "leads": [900, 300, 400],
            "snapshots": [2000, 700, 800],
            "conversions": [200, 70, 0],
        }
    )


def embargoed_splits_table() -> pd.DataFrame:
    looked = pd.to_datetime(["2024-05-02", "2024-08-02", "2024-12-02"])
    return splits_table().assign(last_as_of=looked, closed=[3, 2, 1], not_matured=[0, 0, 40], embargoed=[1_100, 300, 0])


def delay_table(days: int = 90) -> pd.DataFrame:
    share = 1 - np.exp(-np.arange(1, days + 1) / 20)
    return pd.DataFrame({"day": np.arange(1, days + 1), "share": share**1.2, "share_after_look": share})


def lift_table() -> pd.DataFrame:
    return pd.DataFrame({"share": [0.1, 0.2, 0.5, 1.0], "lift": [3.0, 2.5, 1.6, 1.0], "capture": [0.3, 0.5, 0.8, 1.0]})


def rivals_table() -> pd.DataFrame:
    rows = [("candidate", 0.30, 3.0), ("base_rate", 0.36, 1.0), ("logistic", 0.29, 3.1)]
    return pd.concat(
        [
            pd.DataFrame({"system": name, "metric": ["log_loss", "lift_10"], "value": [loss, lift]})
            for name, loss, lift in rows
        ],
        ignore_index=True,
    ).assign(low=lambda table: table["value"] * 0.9, high=lambda table: table["value"] * 1.1)


def tiers_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "tier": ["A", "B", "C"],
            "from_score": [30.5, 16.2, 0.0],
            "share": [0.1, 0.0, 0.9],
            "conversion": [0.44, np.nan, 0.1],
            "low": [0.41, np.nan, 0.09],
            "high": [0.47, np.nan, 0.12],
        }
    )


def leak_price_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "column": ["deal_value", "days_to_close", "not_priced", "(all leaks)"],
            "verdict": ["leak", "suspect", "suspect", "together"],
            "auc_without": [0.75, 0.75, np.nan, 0.75],
            "auc_with": [0.92, 0.95, np.nan, 1.0],
            "lift_10_without": [3.0, 3.0, np.nan, 3.0],
            "lift_10_with": [5.0, 4.0, np.nan, 7.5],
        }
    )


def criteria_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "criterion": ["Pricing pages", "A name far too long for any axis of a figure", "Current level"],
            "group": ["engagement", "fit", ""],
            "mean_absolute_points": [4.0, 2.0, 0.5],
        }
    )


def gains_table() -> pd.DataFrame:
    return criteria_table().assign(
        verdict=["adds", "adds nothing", ""],
        adds=[0.004, 0.0, np.nan],
        adds_low=[0.003, -0.001, np.nan],
        adds_high=[0.005, 0.001, np.nan],
        folds_adds=[0.002, 0.001, np.nan],
        folds_adds_low=[-0.001, 0.0, np.nan],
        folds_adds_high=[0.005, 0.002, np.nan],
    )


def waterfall_table() -> pd.DataFrame:
    steps = [
        ("base", "", 10.0),
        ("reason", "visited twice in 7 days", 4.0),
        ("reason", "Region: north", -2.0),
        ("reason", "Size: 12 people", 1.0),
    ]
    rows, upto = [], 0.0
    for k, (kind, text, points) in enumerate(steps):
        rows.append(["L1", AS_OF, k, kind, text, points, upto, upto + points])
        upto += points
    rows.append(["L1", AS_OF, 4, "score", "", upto, 0.0, upto])
    return pd.DataFrame(rows, columns=["lead_id", "as_of", "step", "kind", "text", "points", "start", "end"])


def dependence_table() -> pd.DataFrame:
    bins = [("visits", "0", 0.0), ("visits", "3.5", 3.0), ("visits", "", np.nan), ("region", "north", np.nan)]
    table = pd.DataFrame(bins, columns=["feature", "value", "low"])
    odds = np.array([-0.5, 0.5, 0.1, 0.2])
    return table.assign(
        place=[0, 1, 2, 0], high=table["low"] + 1, log_odds=odds, log_odds_low=odds - 0.1, log_odds_high=odds + 0.2
    )


def swarm_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(1)
    values = pd.DataFrame(
        {
            "visits": np.where(rng.random(200) < 0.1, np.nan, rng.poisson(2.0, 200).astype("float64")),
            "region": pd.Series(rng.choice(["north", "west"], 200), dtype="str"),
            "empty": np.full(200, np.nan),
        }
    )
    contributions = pd.DataFrame({"visits": rng.normal(size=200), "region": rng.normal(size=200) / 2, "empty": 0.0})
    return contributions, values


DRAWINGS: dict[str, Callable[[], Figure]] = {
    "splits": lambda: figures.splits(splits_table()),
    "splits with embargo": lambda: figures.splits(embargoed_splits_table()),
    "delay": lambda: figures.delay(delay_table(), 14, 30),
    "delay, as suggested": lambda: figures.delay(delay_table(3), 30, 30),
    "delay of nothing": lambda: figures.delay(delay_table(0), 0, None),
    "reliability": lambda: figures.reliability(reliability_table(), np.linspace(0.01, 0.6, 100), level=0.9),
    "lift": lambda: figures.lift(lift_table()),
    "tiers": lambda: figures.tiers(tiers_table(), level=0.9),
    "one empty tier": lambda: figures.tiers(tiers_table().iloc[[1]], level=0.9),
    "rivals": lambda: figures.rivals(rivals_table(), level=0.9),
    "leak price": lambda: figures.leak_price(leak_price_table()),
    "price of no leak": lambda: figures.leak_price(leak_price_table().head(0)),
    "criteria": lambda: figures.criteria(criteria_table()),
    "gains of criteria": lambda: figures.criteria_gains(gains_table(), level=0.9),
    "gains without folds": lambda: figures.criteria_gains(gains_table().assign(folds_adds=np.nan), level=0.9),
    "gains of no criterion": lambda: figures.criteria_gains(gains_table().tail(1), level=0.9),
    "waterfall": lambda: figures.waterfall(waterfall_table(), reasons=5),
    "dependence": lambda: figures.dependence(dependence_table(), ["visits", "region", "none"], most=2),
    "beeswarm": lambda: figures.beeswarm(*swarm_tables()),
}


def png(figure: Figure) -> bytes:
    """As `Stage.save_figure` writes it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def words(figure: Figure) -> str:
    """Every text of a figure, titles and tick labels included."""
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.mark.parametrize("name", DRAWINGS)
def test_equal_tables_give_equal_bytes_900_pixels_wide(name: str) -> None:
    first = png(DRAWINGS[name]())
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        second = png(DRAWINGS[name]())
    assert first == second
    assert imread(io.BytesIO(first)).shape[1] == 900


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_text_lies_inside_its_figure(name: str) -> None:
    figure = DRAWINGS[name]()
    figure.draw_without_rendering()
    whole = figure.bbox
    hidden = [label for axes in figure.axes for label in _ticks_out_of_view(axes)]
    for text in figure.findobj(mpl.text.Text):
        if text.get_visible() and text.get_text() and text not in hidden:
            box = text.get_window_extent()
            assert box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1, text.get_text()
            assert box.y0 >= whole.y0 - 1 and box.y1 <= whole.y1 + 1, text.get_text()


def _ticks_out_of_view(axes: mpl.axes.Axes) -> list[mpl.text.Text]:
    """Labels of ticks beyond the limits, which matplotlib keeps but does not draw."""
    found = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        found += [
            label
            for tick in axis.get_major_ticks()
            if not low <= tick.get_loc() <= high
            for label in (tick.label1, tick.label2)
        ]
    return found


def test_drawing_changes_no_table() -> None:
    table = waterfall_table()
    figures.waterfall(table, reasons=1)
    pd.testing.assert_frame_equal(table, waterfall_table())


def test_splits_name_their_counts() -> None:
    text = words(figures.splits(splits_table()))
    assert "Train: 900 leads\n2,000 snapshots,\n200 convert (10.0%)" in text
    assert "Creation of the lead, and time of the look (UTC)" in text
    assert "no look" not in text and "set aside" not in text


def test_splits_show_the_embargo_its_edges_and_what_was_set_aside() -> None:
    table = embargoed_splits_table()
    figure = figures.splits(table)
    text = words(figure)
    assert "no look: what comes of it would be known only after the window's end" in text
    assert "200 convert (10.0%)\n1,103 set aside" in text
    assert all(day in text for day in ("2024-01-01", "2024-06-01", "2024-09-01", "2025-01-01"))
    bars = [patch for patch in figure.axes[0].patches if patch.get_hatch() is not None]
    gaps = [(bar.get_x(), bar.get_width()) for bar in bars]
    days = mpl.dates.date2num(table["last_as_of"])
    assert [x for x, _ in gaps] == days.tolist()
    assert [width for _, width in gaps] == [30, 30, 30]


def test_delay_names_the_horizon_and_the_suggestion() -> None:
    text = words(figures.delay(delay_table(), 14, 30))
    assert "The horizon catches 50% of the conversions still to come" in text
    assert "14 days, the contract's horizon: 50 %" in text and "30 days, suggested: 78 %" in text
    assert "as suggested" in words(figures.delay(delay_table(3), 30, 30))
    assert "no delay to draw" in words(figures.delay(delay_table(0), 0, None))


def test_a_random_split_says_so() -> None:
    table = splits_table().assign(axis="random order", start=[0, 900, 1200], end=[900, 1200, 1600])
    text = words(figures.splits(table))
    assert "parted at random" in text
    assert "random order" in text
    in_rows = words(figures.splits(table.drop(columns="axis")))
    assert "Row of the source" in in_rows


def test_reliability_counts_the_bins_that_hold() -> None:
    figure = figures.reliability(reliability_table(), np.array([0.1, 0.4]), level=0.9)
    text = words(figure)
    assert "1 of 2 bins convert as often as their score says; 1 more often" in text
    assert "90% interval misses it" in text
    all_hold = reliability_table().assign(holds=True)
    assert "misses" not in words(figures.reliability(all_hold, np.array([0.1, 0.4]), level=0.9))


def test_lift_says_what_the_top_tenth_holds() -> None:
    assert "The top tenth by score converts 3.0 times as often as all, and holds 30% of the conversions" in words(
        figures.lift(lift_table())
    )


def test_tiers_say_what_the_best_holds() -> None:
    figure = figures.tiers(tiers_table(), level=0.9)
    text = words(figure)
    assert "Tier A holds 10% of the snapshots and converts 44% of the time" in text
    assert "A (from 30.5)" in text and "44.0%" in text and "nan" not in text
    assert [bar.get_width() for bar in figure.axes[0].patches] == [10.0, 0.0, 90.0]
    assert "holds 0% of the snapshots" in words(figures.tiers(tiers_table().iloc[[1]], level=0.9))


def test_a_drawing_in_a_page_keeps_its_text_and_shares_no_name() -> None:
    first = figures.svg(figures.waterfall(waterfall_table(), reasons=5), "first", 'What "happened" & why')
    again = figures.svg(figures.waterfall(waterfall_table(), reasons=5), "first", 'What "happened" & why')
    other = figures.svg(figures.waterfall(waterfall_table(), reasons=5), "other", "What happened")
    assert first == again
    assert first.startswith('<svg role="img" aria-label="What &quot;happened&quot; &amp; why" ')
    assert all(text in first for text in TOLD) and "http" not in first and "<metadata" not in first
    named = [set(re.findall(r' id="([^"]+)"', text)) for text in (first, other)]
    assert named[0] and not named[0] & named[1]
    pointed = set(re.findall(r'(?:href="#|url\(#)([^")]+)', first))
    assert pointed and pointed <= named[0]


def test_rivals_are_ordered_by_log_loss_and_the_candidate_placed() -> None:
    figure = figures.rivals(rivals_table(), level=0.9)
    assert "second lowest log-loss of 3 systems" in words(figure)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["Logistic regression", "Candidate", "Base rate for everyone"]
    alone = rivals_table().query("system == 'candidate'")
    assert "The candidate has the lowest log-loss of 1 system (" in words(figures.rivals(alone, level=0.9))


def test_leaks_are_drawn_without_and_with() -> None:
    figure = figures.leak_price(leak_price_table())
    text = words(figure)
    assert "“days_to_close” would make an AUC of 0.75 look like 0.95" in text
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["deal_value", "days_to_close", "(all leaks)"]
    without, with_ = (line.get_xdata() for line in figure.axes[0].lines)
    assert (list(without), list(with_)) == ([0.75, 0.75, 0.75], [0.92, 0.95, 1.0])
    assert "nothing to price" in words(figures.leak_price(leak_price_table().head(0)))


def test_gains_are_those_of_the_criteria_judged() -> None:
    drawn = words(figures.criteria_gains(gains_table(), level=0.9))
    assert "1 of 2 criteria surely add in the test window" in drawn and "Current level" not in drawn
    assert "1 weaker criterion is not drawn" in words(figures.criteria_gains(gains_table(), level=0.9, most=1))
    assert "nothing to judge" in words(figures.criteria_gains(gains_table().tail(1), level=0.9))


def test_weaker_criteria_are_left_out_and_counted() -> None:
    assert "2 weaker criteria are not drawn" in words(figures.criteria(criteria_table(), most=1))
    assert "not drawn" not in words(figures.criteria(criteria_table()))


TOLD = ["visited twice in 7 days", "Region: north", "Size: 12 people"]


@pytest.mark.parametrize(
    ("reasons", "labels"),
    [
        (5, ["Base (typical lead)", *TOLD, "Score"]),
        # A single weaker criterion is named: a bar of its own takes no more room.
        (2, ["Base (typical lead)", *TOLD, "Score"]),
        (1, ["Base (typical lead)", TOLD[0], "2 weaker criteria", "Score"]),
    ],
)
def test_weaker_reasons_become_one_bar_that_keeps_the_sum(reasons: int, labels: list[str]) -> None:
    figure = figures.waterfall(waterfall_table(), reasons=reasons)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == labels
    assert axes.get_title(loc="left") == "Lead L1 on 2024-05-06 scores 13.0 of 100"
    # Bars chain: each begins where the one above ends, and the last runs from zero to the score.
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    assert all(above[1] == pytest.approx(below[0]) for above, below in itertools.pairwise(bars[:-1]))
    assert bars[-1] == pytest.approx((0.0, 13.0))
    assert bars[-2][1] == pytest.approx(13.0)


def test_dependence_draws_every_bin_of_the_strongest_features() -> None:
    figure = figures.dependence(dependence_table(), ["visits", "region"], most=1)
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "visits"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "3.5", "missing"]
    _, known, missing = (line.get_ydata() for line in axes.lines)
    assert (list(known), list(missing)) == ([-0.5, 0.5], [0.1])


def test_beeswarm_draws_every_row_of_the_strongest_features() -> None:
    contributions, values = swarm_tables()
    figure = figures.beeswarm(contributions, values, most=2)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["visits", "region"]
    for place, name in enumerate(["visits", "region"]):
        points = np.asarray(axes.collections[place].get_offsets())
        np.testing.assert_allclose(points[:, 0], contributions[name])
        assert (np.abs(points[:, 1] - place) < 0.45).all()


def test_beeswarm_of_features_without_any_effect() -> None:
    flat = pd.DataFrame({"visits": np.zeros(50)})
    png(figures.beeswarm(flat, pd.DataFrame({"visits": np.ones(50)})))
