"""The house style of figures: colours, size, and what every drawing begins with.

Figures use matplotlib's object interface only, so that no state is shared, and no chance: equal tables give equal
bytes. Colours are from Okabe and Ito's set, which people with any kind of colour vision can tell apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREY, PALE = "#0072B2", "#D55E00", "#767676", "#D9D9D9"
WIDTH = 900 / 110

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#EBEBEB",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "text.parse_math": False,
    # As SVG: text stays text, and names of parts follow from what they hold.
    "svg.fonttype": "none",
    "svg.hashsalt": "lead-scoring",
}

Arguments = ParamSpec("Arguments")


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's defaults and `STYLE`, whatever the user's own settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


class _Drawing(Figure):
    """A figure that is saved under the style it was drawn in: some ticks are made only then."""

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        with _style():
            super().savefig(*args, **kwargs)


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Draw under `_style`."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    return drawn


def canvas(height: float) -> Figure:
    """An empty figure of the common width; `height` in inches."""
    figure = _Drawing(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def headline(figure: Figure, text: str) -> None:
    """A title for the whole figure, at its left edge."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=10.5)
