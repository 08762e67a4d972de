"""Two HTML pages, each complete in itself: no script, no request, no clock; equal facts give equal bytes.

Templates lie beside this module. They lay out; sentences and figures come from facts, drawings from
`pipeline.adapters.figures`. Whatever is not markup of ours is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.adapters import figures, tier_figures

TEMPLATES = Path(__file__).parent / "templates"

#: Reasons of an example that are drawn one by one; weaker ones become one bar.
DRAWN = 10

#: Words of the README's glossary, in its order; a test holds the two together.
GLOSSARY = {
    "lead": "a person or company that may convert; one key, one creation time",
    "activity": "something a lead did or that was done to it, with when it happened and when it was recorded",
    "change": "a value of a lead that changed, and when that was recorded",
    "conversion, horizon": "the outcome predicted: converted within so many days after the as-of date (0: decided at "
    "once)",
    "as-of date": "the moment a score is given; nothing recorded later may touch it",
    "known-at": "when a column's value becomes known: at creation, over time, with the outcome, unknown",
    "snapshot": "a lead that is open at an as-of date, its features, its label",
    "matured": "a snapshot whose horizon has passed; younger ones carry no label and are set aside",
    "split, embargo": "windows in time for train, calibrate and test; a snapshot whose horizon crosses its window's "
    "end is dropped",
    "margin": "log-odds as a sum: base, one term per criterion, the current level",
    "current level": "how far the newest outcomes lie above or below the model, in log-odds; a term of its own, zero "
    "unless a level that moves explains the outcomes clearly better than one that stands still",
    "probability, score, tier": "calibrated chance; 100 times that, one decimal; a named band of scores",
    "interval": "90 % range for the conversion rate of leads scored alike",
    "criterion": "one thing a sales person would name; every feature belongs to exactly one",
    "reason, base": "points a criterion adds to or takes from the score; the score at the average margin of the "
    "training snapshots",
    "points card": "criteria with hand-made points, a rival of the learned model",
    "challenger, champion": "registered and through the gate; approved by a named person",
    "gate, decision": "the checks a candidate must pass; their recorded result",
    "contract": "the description of one data source",
    "quarantine": "rows refused by validation, each kept with its reason",
}

#: Systems and groups as the figures name them.
WORDS = {**figures.SYSTEMS, **figures.GROUPS}


def report(
    facts: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    probability: np.ndarray,
) -> str:
    """The report of one candidate.

    Args:
        facts: as `pipeline.scoring.report_facts.gather` returns them, with `next_month`, `plays`, `worth` and `card` of
            `pipeline.scoring.report_sales`.
        tables: by name: `reliability`, `by_month`, `lift`, `tiers`, `rivals`, `fairness`, `splits`, `criteria`,
            `features`, `dependence`, `leak_price`, and `profit` with facts of what tiers are worth, as their stages
            wrote them.
        probability: of every scored test snapshot, for the histogram.

    Returns:
        The text of a whole page.
    """
    level = facts["levels"]
    drawn = {
        "reliability": (
            figures.reliability(tables["reliability"], probability, level=level["bins"]),
            "Predicted against observed conversion, with intervals; the table below holds the same figures.",
        ),
        "criteria": (
            figures.criteria(tables["criteria"]),
            "Criteria by the points they move on average; the table below holds the same figures.",
        ),
        "dependence": (
            figures.dependence(_shown(tables["dependence"]), list(tables["features"]["feature"])),
            "What each value of the strongest features adds to the log-odds or takes away.",
        ),
        "tiers": (
            figures.tiers(tables["tiers"], level=level["metrics"]),
            "Share and conversion of each tier; the table below holds the same figures.",
        ),
        "lift": (
            figures.lift(tables["lift"]),
            "Lift and capture by the share of leads called; the table below holds the same figures.",
        ),
        "rivals": (
            figures.rivals(tables["rivals"], level=level["metrics"]),
            "Log-loss and lift of every system with intervals; the table below holds the same figures.",
        ),
        "splits": (
            figures.splits(_dated(tables["splits"])),
            "The train, calibrate and test windows; the table below holds the same figures.",
        ),
        "leak_price": (
            figures.leak_price(tables["leak_price"]),
            "AUC and lift without and with each column that knows the outcome; the sentences below say the same.",
        ),
    }
    if facts["worth"] is not None:
        drawn["profit"] = (
            tier_figures.profit(tables["profit"], level=level["metrics"], **facts["worth"]["lines"]),
            "Profit and leads a week by cut-off, with break-even, capacity and tiers; the table below holds the tiers.",
        )
    return _page(
        "report.html.j2",
        facts=facts,
        tables={name: table.to_dict("records") for name, table in tables.items()},
        figures={name: _inline(figure, name, about) for name, (figure, about) in drawn.items()},
        glossary=GLOSSARY,
    )


def training(facts: Mapping[str, Any], steps: pd.DataFrame) -> str:
    """The page for a sales team.

    Args:
        facts: as for `report`. `steps`: the examples of the facts, taken apart, in their order; see
            `pipeline.scoring.examples.taken_apart`.
    """
    apart = [rows for _, rows in steps.groupby(["lead_id", "as_of"], sort=False)]
    drawn = [
        _inline(
            figures.waterfall(rows, reasons=DRAWN),
            f"example{place}",
            f"The steps from the base to the score of lead {rows['lead_id'].iloc[0]}; the table below holds them all.",
        )
        for place, rows in enumerate(apart, start=1)
    ]
    return _page("training.html.j2", facts=facts, figures=drawn)


def _inline(figure: Any, name: str, about: str) -> Markup:
    """A drawing as markup: made by us, its texts escaped by the library that draws it."""
    return Markup(figures.svg(figure, name, about))


def _dated(splits: pd.DataFrame) -> pd.DataFrame:
    """Windows cut along a time have moments again, which a CSV file holds as text."""
    if pd.api.types.is_numeric_dtype(splits["start"]):
        return splits
    times = {name: pd.to_datetime(splits[name]) for name in ("start", "end", "last_as_of") if name in splits}
    return splits.assign(**times)


def _shown(dependence: pd.DataFrame) -> pd.DataFrame:
    """Values as text again, the missing one empty, whatever a CSV file makes of a column of them."""
    value = dependence["value"]
    shown = value.map("{:.4g}".format) if pd.api.types.is_numeric_dtype(value) else value
    return dependence.assign(value=shown.where(value.notna(), "").astype("str"))


def _page(template: str, **context: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": lambda value: f"{value:,.0f}",
        "decimals": lambda value, places: _number(value, places),
        "percent": lambda value, places=1: "none" if pd.isna(value) else f"{value:.{places}%}",
        "signed": lambda value, places=1: f"{value:+.{places}f}".replace("-", "−"),
    }
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, words=WORDS, **context)


def _number(value: float, places: int) -> str:
    return "none" if pd.isna(value) else f"{value:,.{places}f}".replace("-", "−")
