"""Cut-offs that pay: which scores sales should call, given how many leads it can work and what a call and a deal are
worth.

A lead is looked at several times and counts once, at the look at which it scores highest: whatever the cut-off, that
tells whether it reaches it, and a call no later than that look can still win what converts after it. Everything is
stated per typical week, as in a steady state: of the leads that are created in a week, so many reach the cut-off at one
of their looks, in that week or later.

Cut-offs follow from the scores alone (score / 100 is the chance of converting), never from outcomes, so that what came
of the leads remains an honest test of them. A call brings what it costs at a chance of cost / value, the break-even of
cost-sensitive decisions (Elkan 2001).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import NotEnoughData, ParamsError
from pipeline.leads.playbooks import Worth
from pipeline.params import Tiers
from pipeline.scoring import metrics

#: Displayed scores in tenths run from 0 to `TOP`; from `NOBODY` on, no lead is called.
TOP, NOBODY = 1000, 1001

#: Tiers by what they are worth, best first, and what each means.
CALL, BEYOND, LOSS = "A", "B", "C"
MEANING = {
    CALL: "sales works these leads",
    BEYOND: "a call would pay, but sales has no time for it",
    LOSS: "a call costs more than it brings",
}

#: What is stated of a cut-off or a tier, each a week.
FIGURES = ("leads", "expected", "conversions", "cost", "profit")

DAY = pd.Timedelta(days=1)
Array = np.ndarray


@dataclass(frozen=True)
class Terms:
    """What sales can work and what it is worth.

    `per_week`: leads sales can work a week; infinite where it has time for all. `call_cost`: of working one lead.
    `deal_value`: of one conversion, in the same currency.
    """

    call_cost: float
    deal_value: float
    per_week: float = np.inf

    @classmethod
    def of(cls, worth: Worth) -> Terms:
        """As a playbook states them."""
        return cls(worth.call_cost, worth.deal_value, np.inf if worth.per_week is None else worth.per_week)

    def __post_init__(self) -> None:
        faults = []
        if not (np.isfinite(self.call_cost) and self.call_cost >= 0):
            faults.append(f"the cost of a call is {self.call_cost:g}; it must be 0 or more")
        if not (np.isfinite(self.deal_value) and self.deal_value > 0):
            faults.append(f"the value of a deal is {self.deal_value:g}; it must be more than 0")
        if not self.per_week > 0:
            faults.append(f"sales works {self.per_week:g} leads a week; it must be more than 0")
        if faults:
            raise ParamsError("; ".join(faults) + ".")


@dataclass(frozen=True)
class Flow:
    """Leads a week by cut-off: arrays of shape (..., 1001), at place c of those called from a score of c / 10 on.

    `leads`: that reach the cut-off. `expected`: their conversions as their highest scores promise. `conversions`: as
    they came, within the horizon of the highest look.
    """

    leads: Array
    expected: Array
    conversions: Array

    def figure(self, name: str, terms: Terms) -> Array:
        """One of `FIGURES`, or `expected_profit`."""
        if name == "cost":
            return terms.call_cost * self.leads
        if name == "profit":
            return terms.deal_value * self.conversions - terms.call_cost * self.leads
        if name == "expected_profit":
            return terms.deal_value * self.expected - terms.call_cost * self.leads
        return np.asarray(getattr(self, name))


# Leads a week


def in_a_week(
    looks: pd.DataFrame, window: Mapping[Any, Any], *, max_age_days: int, new_per_week: float | None
) -> tuple[pd.DataFrame, float, list[str]]:
    """Leads at their best look, how many come in a week, and what was counted, in sentences.

    Args:
        looks: one row per (lead, as-of): `lead_id`, `created_at`, `as_of`, `score`, `label`.
        window: of these leads: what it was cut along (`axis`), its `start` and `end`, half-open.
        max_age_days: the oldest age looked at.
        new_per_week: leads that come in a week; None for those of the window.

    Raises:
        NotEnoughData: the window follows leads for less than a week. ParamsError: nobody says how many leads come.
    """
    sentences = []
    if window["axis"] == "created_at":
        start, end = pd.Timestamp(window["start"]), pd.Timestamp(window["end"])
        looks, weeks = followed(looks, start=start, end=end, max_age_days=max_age_days)
        count = looks["lead_id"].nunique()
        sentences.append(
            f"Measured on {count:,} leads of the {window['split']} window, which came in over {weeks:.1f} weeks and "
            f"were followed to the age of {max_age_days} days"
        )
        new_per_week = count / weeks if new_per_week is None else new_per_week
    if new_per_week is None:
        raise ParamsError(
            "the source has no creation times, which would say how many leads come in a week; state it: "
            "`worth.new_per_week` in the playbook, or --new-leads."
        )
    sentences.append(f"{new_per_week:,.1f} new leads a week that are still open when they are first looked at")
    return at_their_best(looks), new_per_week, sentences


def followed(
    looks: pd.DataFrame, *, start: pd.Timestamp, end: pd.Timestamp, max_age_days: int
) -> tuple[pd.DataFrame, float]:
    """The looks at leads that were followed to the oldest age, and how many weeks these leads came in.

    The newest leads of a window have had only their first looks, and would count as if they never reached a cut-off
    later. In the weeks that remain, every lead has had all its looks, but for those at which it was closed.

    Args:
        looks: one row per (lead, as-of): `created_at`, `as_of`.
        start, end: the window of creation, half-open.
        max_age_days: the oldest age looked at, in days; an as-of date is the midnight after so many days.

    Raises:
        NotEnoughData: fewer than seven days remain.
    """
    last = looks["as_of"].max().floor("D") + DAY - max_age_days * DAY
    until = min(end, last)
    weeks = (until - start) / (7 * DAY)
    if weeks < 1:
        raise NotEnoughData(
            f"the window follows leads to the age of {max_age_days} days over {max(0.0, 7 * weeks):.0f} days; a "
            "typical week needs at least 7. Give a longer history, or look at younger leads (featurize.ages_days)."
        )
    return looks[looks["created_at"] < until].reset_index(drop=True), float(weeks)


def at_their_best(looks: pd.DataFrame) -> pd.DataFrame:
    """One row per lead: the look at which it scores highest, the first of several.

    Args:
        looks: one row per (lead, as-of): `lead_id`, `as_of`, `score` in [0, 100] with one decimal, `label`.

    Returns:
        `lead_id`, `as_of`, `tenths` (the score, int64 in [0, 1000]), `label`; sorted by lead.
    """
    rows = looks.sort_values(["lead_id", "as_of"], kind="stable", ignore_index=True)
    rows["tenths"] = (rows["score"] * 10).round().astype("int64")
    highest = rows.groupby("lead_id")["tenths"].idxmax()
    return rows.loc[highest, ["lead_id", "as_of", "tenths", "label"]].reset_index(drop=True)


def flow(leads: pd.DataFrame, new_per_week: float) -> Flow:
    """Leads, expected and observed conversions a week by cut-off, arrays of shape (1001,).

    Args:
        leads: as `at_their_best` gives them.
        new_per_week: leads that come in a week, called or not.
    """
    return _flow(leads, np.ones(len(leads)), new_per_week)


def resampled(leads: pd.DataFrame, new_per_week: float, *, samples: int, seed: int) -> Flow:
    """`flow` on resamples of leads, arrays of shape (samples, 1001); how many come in a week is taken as given."""
    blocks = metrics.lead_weights(leads["lead_id"], samples, seed)
    parts = [_flow(leads, weight, new_per_week) for weights in blocks for weight in weights]
    return Flow(*(np.stack([getattr(part, name) for part in parts]) for name in ("leads", "expected", "conversions")))


def _flow(leads: pd.DataFrame, weight: Array, new_per_week: float) -> Flow:
    tenths, label = leads["tenths"].to_numpy(), leads["label"].to_numpy(dtype="float64")

    def reached(amount: Array) -> Array:
        """Of whole numbers, so that cut-offs which call the same leads tie exactly."""
        return np.cumsum(np.bincount(tenths, amount, TOP + 1)[::-1])[::-1] * new_per_week / len(leads)

    return Flow(reached(weight), reached(weight * tenths) / TOP, reached(weight * label))


# Cut-offs


def cut(
    tiers: Tiers, looks: pd.DataFrame, window: Mapping[Any, Any], *, max_age_days: int, worth: Worth | None
) -> list[dict[str, Any]]:
    """Tiers as params.yaml asks for them, best first: `name` and `from` in tenths.

    Args:
        looks, window, max_age_days: as `in_a_week` takes them. `worth`: what the playbook states.

    Raises:
        ParamsError: tiers by worth, and no playbook that states it; else as `in_a_week`.
    """
    if tiers.by == "scores":
        return by_scores(tiers.scores)
    if tiers.by == "shares":
        return by_shares((looks["score"] * 10).round().astype("int64").to_numpy(), tiers.shares)
    if worth is None:
        raise ParamsError(
            "calibrate.tiers.by is `worth`, and no playbook states it: write `worth` (per_week, call_cost, deal_value) "
            "into data/playbooks/<contract>.yaml, or take `shares` or `scores`."
        )
    leads, new_per_week, _ = in_a_week(looks, window, max_age_days=max_age_days, new_per_week=worth.new_per_week)
    return by_worth(flow(leads, new_per_week), Terms.of(worth))


def by_shares(tenths: Array, shares: Mapping[str, float]) -> list[dict[str, Any]]:
    """Tiers by top share of these scores: each begins at the score that its share reaches, the last at 0.

    Args:
        tenths: displayed scores in tenths, int64 of shape (n_rows,).
        shares: rising, in (0, 1], the last 1.
    """
    falling = np.sort(tenths)[::-1]
    return [
        {"name": name, "from": 0 if share == 1.0 else int(falling[max(int(np.ceil(share * len(falling))) - 1, 0)])}
        for name, share in shares.items()
    ]


def break_even(terms: Terms) -> int:
    """The lowest displayed score, in tenths, at which a call brings what it costs; `NOBODY` where none does.

    Example: 12 a call and 900 a deal break even at a chance of 1.33 %, a score of 1.4.
    """
    return min(int(np.ceil(TOP * terms.call_cost / terms.deal_value)), NOBODY)


def within_capacity(found: Flow, terms: Terms) -> Array:
    """The lowest cut-off, in tenths, that no more leads reach than sales can work: int64 of the shape of the flow
    without its last axis.

    Leads of one score are called all or none, so that capacity is never exceeded; a part of it may stay unused.
    """
    return np.asarray((found.leads > terms.per_week).sum(axis=-1), dtype="int64")


def worked(found: Flow, terms: Terms) -> Array:
    """The cut-off from which sales should call, in tenths: the highest profit that the scores promise within capacity.

    Every lead at or above break-even adds to the profit, so that it is the higher of break-even and what capacity
    allows; shape as `within_capacity`.
    """
    return np.maximum(within_capacity(found, terms), break_even(terms))


def by_worth(found: Flow, terms: Terms) -> list[dict[str, Any]]:
    """Tiers by what sales can work and what it is worth, best first: `name` of `MEANING` and `from` in tenths.

    A tier without a score of its own is left out: `BEYOND` where sales has time for all that pays, `LOSS` where every
    call pays, `CALL` where none does.
    """
    starts = {CALL: int(worked(found, terms)), BEYOND: break_even(terms), LOSS: 0}
    kept: list[dict[str, Any]] = []
    for name, start in starts.items():
        if start <= TOP and (not kept or start < kept[-1]["from"]):
            kept.append({"name": name, "from": start})
    return kept


def by_scores(starts: Mapping[str, float]) -> list[dict[str, Any]]:
    """Tiers by fixed scores: `name` and `from` in tenths, best first; the last begins at 0.

    Example: {"hot": 30.0, "warm": 12.5, "cold": 0.0}.

    Raises:
        ParamsError: the scores do not fall to 0, lie outside [0, 100], or have more than one decimal.
    """
    faults = []
    for name, start in starts.items():
        if not 0 <= start <= 100 or abs(start * 10 - round(start * 10)) > 1e-6:
            faults.append(f"tier {name} begins at {start:g}; it must be a score from 0 to 100 with at most one decimal")
    tenths = [round(start * 10) for start in starts.values() if np.isfinite(start)]
    if sorted(set(tenths), reverse=True) != tenths:
        faults.append("each tier must begin below the one before it")
    if not tenths or tenths[-1] != 0:
        faults.append("the last tier must begin at 0, so that every lead has one")
    if faults:
        raise ParamsError("; ".join(faults) + ".")
    return [{"name": name, "from": start} for name, start in zip(starts, tenths, strict=True)]


# Tables


def no_curve() -> pd.DataFrame:
    """The columns of `curve` without a row: nobody says what a call and a deal are worth."""
    return pd.DataFrame(columns=["cut_off", *_ranged(FIGURES), "expected_profit"], dtype="float64")


def no_table() -> pd.DataFrame:
    """The columns of `table` without a row."""
    return pd.DataFrame(columns=["tier", "from_score", *_ranged(FIGURES)], dtype="float64").astype({"tier": "str"})


def _ranged(names: Sequence[str]) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def curve(found: Flow, draws: Flow, terms: Terms, level: float) -> pd.DataFrame:
    """Every cut-off with its figures a week, falling from 100.0 to 0.0: 1001 rows.

    Returns:
        `cut_off` (score), then each of `FIGURES` with `_low` and `_high`, the middle `level` of the resamples, and
        `expected_profit`.
    """
    columns: dict[str, Array] = {"cut_off": np.arange(TOP + 1) / 10}
    for name in FIGURES:
        low, high = _middle(draws.figure(name, terms), level)
        columns |= {name: found.figure(name, terms), f"{name}_low": low, f"{name}_high": high}
    columns["expected_profit"] = found.figure("expected_profit", terms)
    return pd.DataFrame(columns).iloc[::-1].reset_index(drop=True)


def table(found: Flow, draws: Flow, bands: Sequence[Mapping[str, Any]], terms: Terms, level: float) -> pd.DataFrame:
    """What each tier adds a week to those above it, so that the rows add up to calling every lead.

    Args:
        bands: `name` and `from` (tenths), best first, the last from 0.

    Returns:
        One row per tier: `tier`, `from_score`; each of `FIGURES` with `_low` and `_high`. `leads` are those whose best
        tier it is.
    """
    rows: dict[str, Any] = {
        "tier": [band["name"] for band in bands],
        "from_score": [band["from"] / 10 for band in bands],
    }
    starts = [int(band["from"]) for band in bands]
    for name in FIGURES:
        value = _added(found.figure(name, terms), starts)
        low, high = _middle(_added(draws.figure(name, terms), starts), level)
        rows |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame(rows)


def with_start_intervals(table: pd.DataFrame, draws: Flow, terms: Terms, level: float) -> pd.DataFrame:
    """The table of tiers by worth, with `from_low` and `from_high`: where each would begin on resamples of the leads.

    Break-even follows from the terms alone and does not move.
    """
    call = _middle(worked(draws, terms) / 10, level)
    ends = [
        call if tier == CALL else (start, start) for tier, start in zip(table["tier"], table["from_score"], strict=True)
    ]
    place = table.columns.get_loc("from_score")
    assert isinstance(place, int)
    result = table.copy()
    result.insert(place + 1, "from_low", [float(low) for low, _ in ends])
    result.insert(place + 2, "from_high", [float(high) for _, high in ends])
    return result


def _added(total: Array, starts: list[int]) -> Array:
    """Of totals down to a cut-off, shape (..., 1001), the part that each tier adds, shape (..., n_tiers)."""
    return np.diff(total[..., starts], axis=-1, prepend=0.0)


def _middle(draws: Array, level: float) -> tuple[Array, Array]:
    """Percentile interval over the first axis (Efron 1979)."""
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return low, high
