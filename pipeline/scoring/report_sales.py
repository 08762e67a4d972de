"""What the report says to those who lead sales: what to do with a tier, what it brings, and how long to trust it.

As in `report_facts`, every sentence is made here from tables, and none in a template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.leads.playbooks import Play, in_words
from pipeline.scoring import metrics
from pipeline.scoring.capacity import FIGURES
from pipeline.scoring.payoff import Payoff
from pipeline.scoring.report_facts import typeset

#: A score for which the report says what to do, where a tier holds it.
ASKED = 55.0

#: Months that are named when they are off.
NAMED = 3

#: Shares of the snapshots called first, for which the points card stands beside the score.
CALLED = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)


def gather(
    systems: pd.DataFrame,
    found: Payoff | None,
    months: pd.DataFrame,
    bands: Sequence[Mapping[str, Any]],
    taught_until: pd.Timestamp,
    level: float,
) -> dict[str, Any]:
    """What the report says to sales: `next_month` (sentences; none without dates), `plays`, `worth` (None where nobody
    says what it is worth) and `card` (rows; none without a points card).

    Args:
        systems: `label` and the chances of the candidate and its rivals. `found`: what tiers bring. `months`: as
            `by_month` gives them. `bands`: the scorer's tiers. `taught_until`, `level`: as `next_month` takes them.
    """
    return {
        "next_month": next_month(months, taught_until, level) if len(months) else [],
        "plays": plays(bands),
        "worth": None if found is None else worth(found),
        "card": card_beside(systems) if "card" in systems else [],
    }


def card_beside(systems: pd.DataFrame) -> list[dict[str, float]]:
    """What calling in the order of the points card finds beside calling in the order of the score.

    Args:
        systems: `label`, and the chances `candidate` and `card`, of the rows with a score.

    Returns:
        One row per share of `CALLED`: `share`, and of all conversions the share that the `score` and the `card` find.
    """
    label = systems["label"].to_numpy()
    score, card = (metrics.lift_table(label, systems[name].to_numpy(), CALLED) for name in ("candidate", "card"))
    found = zip(CALLED, score["capture"].tolist(), card["capture"].tolist(), strict=True)
    return [{"share": share, "score": by_score, "card": by_card} for share, by_score, by_card in found]


def plays(bands: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What sales does with each tier.

    Args:
        bands: tiers as the scorer carries them, best first: `name`, `from` (tenths) and, with a playbook, `play`.

    Returns:
        `rows`: `tier`, `from_score`, `owner`, `first_action`, `by_when`, `then`, `not_if` (words, "" for none); empty
        without a playbook. `example`: a sentence for one score, "" without a playbook.
    """
    rows = []
    for band in bands:
        if "play" not in band:
            return {"rows": [], "example": ""}
        play = Play.model_validate(band["play"])
        rows.append(
            {
                "tier": str(band["name"]),
                "from_score": band["from"] / 10,
                "owner": play.owner,
                "first_action": play.first_action,
                "by_when": f"within {play.deadline_hours} hours" if play.deadline_hours is not None else "",
                "then": "; ".join(f"after {step.after_days} days: {step.action}" for step in play.cadence),
                "not_if": "; ".join(rule.reason for rule in play.suppression),
            }
        )
    mine = next(band for band in bands if band["from"] <= ASKED * 10)
    example = (
        f"What to do with a lead of score {ASKED:.0f}: it stands in tier {mine['name']}. "
        f"{_capital(in_words(Play.model_validate(mine['play'])))}."
    )
    return {"rows": rows, "example": example}


def worth(payoff: Payoff) -> dict[str, Any]:
    """What tiers bring a week.

    Returns:
        `sentences`; `rows`, one per tier: `tier`, `from_score`, and each of `FIGURES` with `_low` and `_high`; `lines`,
        what the figure draws beside the curve; `moved`: whether a tier moved over time, in sentences.
    """
    rows = payoff.table[["tier", "from_score", *(f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high"))]]
    told, steps = payoff.moved, payoff.history["period"].nunique()
    moved = [f"Over {steps} months, neither the share of leads in any tier nor its conversion moved beyond chance."]
    if told:
        moved = [f"{sentence}." for sentence in told]
    terms = f"A call costs {payoff.terms.call_cost:g}, a conversion is worth {payoff.terms.deal_value:g}"
    return {
        "sentences": [typeset(f"{sentence}.") for sentence in (terms, *payoff.sentences)],
        "rows": rows.to_dict("records"),
        "lines": payoff.lines(),
        "moved": [typeset(sentence) for sentence in moved] if steps > 1 else [],
    }


def by_month(scores: pd.DataFrame, level: float) -> pd.DataFrame:
    """Whether promise and outcome agree in every month of the as-of date.

    Args:
        scores: scored snapshots: `lead_id`, `as_of`, `label`, `probability`. `level`: of the intervals.

    Returns:
        One row per month with snapshots: `month` (2024-07), `rows`, `predicted` (mean chance), `observed` (conversion
        rate) with its interval `low` to `high` (see `metrics.slices`), `holds`: it holds `predicted`.
    """
    months = scores.assign(month=scores["as_of"].dt.to_period("M").astype("str"))
    table = metrics.slices(months, {"month": ""}, level=level, min_rows=1)
    return table.rename(columns={"value": "month"})[["month", "rows", "predicted", "observed", "low", "high", "holds"]]


def next_month(months: pd.DataFrame, taught_until: pd.Timestamp, level: float) -> list[str]:
    """Whether the score may be trusted in the month to come: what happened in months like it.

    Args:
        months: as `by_month` gives them, at least one.
        taught_until: as-of date of the newest snapshot that taught the score. `level`: of the months' intervals.
    """
    last = pd.Period(str(months["month"].iloc[-1]), "M")
    held, ahead = int(months["holds"].sum()), _months(taught_until.to_period("M"), last)
    # Of a perfect score, months fall outside their interval as often as the level says.
    chance = (1 - level) * len(months)
    off = months[~months["holds"]]
    said = [
        f"These snapshots lie up to {ahead} months after the newest that taught the score: they are what months to "
        f"come looked like from there. In {held} of {len(months)}, promise and outcome agree within a {level:.0%} "
        f"interval; of a perfect score, {len(months) - chance:.1f} would."
    ]
    if len(off):
        apart = off.assign(gap=(off["observed"] - off["predicted"]) * 100)
        furthest = apart.loc[apart["gap"].abs().nlargest(NAMED).index].sort_values("month")
        named = ", ".join(
            f"{row['month']} ({row['gap']:+.1f} points: {'more' if row['gap'] > 0 else 'fewer'} converted)"
            for row in furthest.to_dict("records")
        )
        said.append(f"Off {'were' if len(off) <= NAMED else f'were {len(off)} months, most of all'} {named}.")
    steady = "The newest months give no sign that the score wears off"
    if (~months["holds"].tail(3)).sum() >= 2:
        steady = "The newest months are off: fit anew before relying on it"
    said.append(
        f"{steady}. Beyond that nobody knows: a new campaign, price or product changes who converts. Look again every "
        "month, and fit anew when a month falls outside."
    )
    return [typeset(sentence) for sentence in said]


def _months(first: pd.Period, last: pd.Period) -> int:
    return max(1, (last.year - first.year) * 12 + last.month - first.month)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
