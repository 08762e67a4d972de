"""The picture of tiers that pay: the same bytes every time, true to its table, nothing cut off."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from pipeline.adapters import tier_figures

TIERS = [("A", 30.0), ("B", 5.0), ("C", 0.0)]


def curve(cost: float = 5.0) -> pd.DataFrame:
    cut = np.arange(1000, -1, -1) / 10
    leads = 200 * np.exp(-cut / 15)
    profit = 100 * leads * (cut + 15) / 100 - cost * leads
    table = pd.DataFrame({"cut_off": cut, "leads": leads, "profit": profit, "expected_profit": 0.9 * profit})
    for name in ("leads", "profit"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 5, table[name] + 5
    return table


DRAWINGS = {
    "worth": lambda: tier_figures.profit(curve(), TIERS, break_even=5.0, per_week=27.0, level=0.9),
    "no limit": lambda: tier_figures.profit(curve(), TIERS, break_even=5.0, per_week=None, level=0.9),
    "more than come": lambda: tier_figures.profit(curve(), TIERS[1:], break_even=5.0, per_week=500.0, level=0.9),
    "nothing pays": lambda: tier_figures.profit(
        curve(cost=200.0), [("C", 0.0)], break_even=100.1, per_week=27.0, level=0.9
    ),
    "close together": lambda: tier_figures.profit(
        curve(), [("A", 6.0), ("B", 5.5), ("C", 5.0), ("D", 0.0)], break_even=5.0, per_week=None, level=0.9
    ),
}


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_visible())


@pytest.mark.parametrize("name", ["worth", "nothing pays"])
def test_equal_tables_give_equal_bytes_900_pixels_wide(name):
    def png() -> bytes:
        file = io.BytesIO()
        DRAWINGS[name]().savefig(file, format="png", dpi=110, metadata={"Software": None})
        return file.getvalue()

    first = png()
    with mpl.rc_context({"font.size": 30}):
        assert png() == first
    assert imread(io.BytesIO(first)).shape[1] == 900


@pytest.mark.parametrize("name", ["more than come", "nothing pays", "close together"])
def test_every_label_lies_inside_the_figure(name):
    figure = DRAWINGS[name]()
    figure.draw_without_rendering()
    whole = figure.bbox
    labels = [text for axes in figure.axes for text in axes.texts] + [figure._suptitle]
    assert len(labels) > 1
    for label in labels:
        box = label.get_window_extent()
        assert whole.x0 - 1 <= box.x0 and box.x1 <= whole.x1 + 1, label.get_text()
        assert whole.y0 - 1 <= box.y0 and box.y1 <= whole.y1 + 1, label.get_text()


def test_the_picture_says_what_the_table_says():
    figure = DRAWINGS["worth"]()
    text = words(figure)
    row = curve().set_index("cut_off").loc[30.0]
    assert f"Calling the {row['leads']:,.0f} leads a week of tier A brings {row['profit']:,.0f}" in text
    assert f"({row['profit_low']:,.0f} to {row['profit_high']:,.0f})" in text
    for said in ("A from 30.0", "B from 5.0", "a call breaks even at 5.0", "sales can work 27 a week"):
        assert said in text
    assert "C from" not in text
    drawn = figure.axes[0].lines[0]
    np.testing.assert_array_equal(drawn.get_ydata(), curve()["profit"].to_numpy()[::-1])


def test_what_is_not_given_is_not_drawn():
    assert "sales can work" not in words(DRAWINGS["no limit"]())
    nothing = words(DRAWINGS["nothing pays"]())
    assert "No call pays" in nothing and "breaks even" not in nothing


def test_drawing_changes_no_table():
    table = curve()
    tier_figures.profit(table, TIERS, break_even=5.0, per_week=27.0, level=0.9)
    pd.testing.assert_frame_equal(table, curve())
