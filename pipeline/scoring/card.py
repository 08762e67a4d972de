"""What a points card makes of leads at their as-of dates, from what was recorded by then and nothing else.

Columns are read through the scorer's own cleaning and roll-back; an activity counts as it does in the scorer's
features, once it has happened and been recorded. A row's points depend on that lead's own rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import CardError
from pipeline.leads.cards import All, AnyOf, Card, Condition, Criterion, Not, OfActivity, OfAge, Per
from pipeline.leads.contract import LEAD_KEY
from pipeline.scorer import cleaning
from pipeline.scorer.features import DAY_US, History, build, microseconds, pairs


def points(
    card: Card, rows: pd.DataFrame, activities: pd.DataFrame, changes: pd.DataFrame, spec: Mapping[str, Any]
) -> pd.DataFrame:
    """Points of every row, by criterion and in total.

    Args:
        rows: one row per (lead, as-of): `lead_id`, `created_at`, `as_of`, and the columns that the card looks at, under
            their names after `ingest`, as they stand today.
        activities: `lead_id`, kind, happened_at, recorded_at. changes: `lead_id`, column, recorded_at, old_value,
            new_value. Rows of other leads, and those recorded after a row's as-of date, have no part in it.
        spec: `profile` says how columns are read, as written by `featurize`.

    Returns:
        DataFrame in row order: `lead_id`, `as_of`, `total` (points after all caps), `qualifies` (bool: the total
        reaches `qualifies_at` and nothing suppresses the lead), `suppressed` (name of the first suppressor that holds,
        else ""), and per criterion, in the card's order, its points before the cap of its group, as float64.

    Raises:
        CardError: the card looks at a column that `profile` does not hold.
    """
    return add_up(card, Known.of(card, rows, activities, changes, spec))


def add_up(card: Card, known: Known) -> pd.DataFrame:
    """As `points`, of rows whose facts were looked up before."""
    earned = earn(card, amounts(card, known))
    total = np.zeros(len(known.keys))
    for name, group in card.groups.items():
        mine = [one.name for one in card.criteria if one.group == name]
        together = earned[mine].sum(axis=1).to_numpy()
        total += together if group.cap is None else np.minimum(together, group.cap)
    if card.cap is not None:
        total = np.minimum(total, card.cap)
    suppressed = np.full(len(total), "", dtype=object)
    for one in reversed(card.suppressors):
        suppressed[known.holds(one.when)] = one.name
    # Points like 0.1 do not add up exactly in binary, which must not cost a lead its call.
    qualifies = (total.round(9) >= card.qualifies_at) & (suppressed == "")
    counted = known.keys.assign(total=total, qualifies=qualifies, suppressed=pd.Series(suppressed, dtype="str"))
    return pd.concat([counted, earned], axis=1)


def amounts(card: Card, known: Known) -> pd.DataFrame:
    """How often each criterion fires on each row: 0 or 1, or with `per` the number of activities after decay.

    Float64 of shape (n_rows, n_criteria), before any cap.
    """
    return pd.DataFrame({one.name: _amount(one, known) for one in card.criteria}, index=known.keys.index)


def earn(card: Card, amount: pd.DataFrame) -> pd.DataFrame:
    """Points of each criterion after its own cap, from its `amounts`."""
    earned = {}
    for one in card.criteria:
        most = np.inf if one.cap is None else one.cap
        earned[one.name] = np.clip(amount[one.name] * one.points, -most, most)
    return pd.DataFrame(earned, index=amount.index)


def _amount(criterion: Criterion, known: Known) -> np.ndarray:
    amount = np.ones(len(known.keys)) if criterion.per is None else known.weight(criterion.per)
    return amount if criterion.when is None else amount * known.holds(criterion.when)


@dataclass(frozen=True)
class Known:
    """What a card may look at of each row, as of its date.

    `keys`: `lead_id` and `as_of` per row. `profile`: columns under their source names, float64 or str, NaN where
    missing. `age_days`: float64. `row`, `kind`, `days`: one entry per activity known by then: the place of its row, the
    place of its kind in `kinds`, and how many days before the as-of date it happened.
    """

    keys: pd.DataFrame
    profile: pd.DataFrame
    age_days: np.ndarray
    kinds: tuple[str, ...]
    row: np.ndarray
    kind: np.ndarray
    days: np.ndarray

    @classmethod
    def of(
        cls,
        card: Card,
        rows: pd.DataFrame,
        activities: pd.DataFrame,
        changes: pd.DataFrame,
        spec: Mapping[str, Any],
    ) -> Known:
        """Look up what the card needs; arguments as `points`."""
        used = [column for column in spec["profile"] if column["source"] in card.columns]
        if absent := sorted(card.columns - {column["source"] for column in used}):
            raise CardError(
                f"card {card.name} looks at {', '.join(absent)}, which no lead's profile holds; run "
                f"`leads card lint {card.name}`."
            )
        rows = rows.reset_index(drop=True)
        cleaned = {column["name"]: cleaning.clean(rows[column["name"]], column["declared"]) for column in used}
        rows = rows.assign(**cleaned)
        owner, leads = pd.factorize(rows[LEAD_KEY].astype(object))
        history = _history(pd.Index(leads), owner, activities, changes)
        built = build(rows, history, {**spec, "profile": used, "kinds": [], "aged": True})
        kinds = tuple(sorted(card.kinds))
        row, kind, days = _happened(rows, history, kinds)
        return cls(
            keys=rows[[LEAD_KEY, "as_of"]],
            profile=pd.DataFrame({column["source"]: built[column["name"]] for column in used}, index=rows.index),
            age_days=built["age_days"].to_numpy(),
            kinds=kinds,
            row=row,
            kind=kind,
            days=days,
        )

    def weight(self, per: Per) -> np.ndarray:
        """Activities per row, each counted less the longer ago it happened where `per` says so; float64, >= 0."""
        mine = self._of(per.kinds, per.within_days)
        decayed = None if per.half_life_days is None else 0.5 ** (self.days[mine] / per.half_life_days)
        return np.bincount(self.row[mine], weights=decayed, minlength=len(self.keys)).astype("float64")

    def holds(self, condition: Condition) -> np.ndarray:
        """Where a condition holds: bool array of shape (n_rows,)."""
        if isinstance(condition, Not):
            return ~self.holds(condition.not_)
        if isinstance(condition, All):
            return np.logical_and.reduce([self.holds(part) for part in condition.all_])
        if isinstance(condition, AnyOf):
            return np.logical_or.reduce([self.holds(part) for part in condition.any_])
        if isinstance(condition, OfAge):
            return _between(self.age_days, condition.age_days.at_least, condition.age_days.at_most)
        if isinstance(condition, OfActivity):
            mine = self._of(condition.kinds, condition.within_days)
            count = np.bincount(self.row[mine], minlength=len(self.keys))
            return _between(count, condition.fewest, condition.at_most)
        value = self.profile[condition.column]
        if condition.missing is not None:
            return (value.isna() == condition.missing).to_numpy()
        if condition.words:
            words = [_TRUTH.get(word, np.nan) for word in condition.words]
            listed = value.isin(words if value.dtype.kind == "f" else list(condition.words))
            return (listed & value.notna()).to_numpy()
        return _between(value.to_numpy(dtype="float64"), condition.at_least, condition.at_most)

    def _of(self, kinds: tuple[str, ...], within_days: int | None) -> np.ndarray:
        mine = np.isin(self.kind, [self.kinds.index(name) for name in kinds])
        return mine if within_days is None else mine & (self.days < within_days)


_TRUTH = {"true": 1.0, "false": 0.0}


def _between(value: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """Where a number lies from `low` to `high`, at least one of which is given; a missing number lies nowhere."""
    inside = np.ones(len(value), dtype=bool)
    if low is not None:
        inside &= value >= low
    if high is not None:
        inside &= value <= high
    return inside


def _history(leads: pd.Index, owner: np.ndarray, activities: pd.DataFrame, changes: pd.DataFrame) -> History:
    """The activities and changes of these leads, those without a moment left out."""

    def own(table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        place = leads.get_indexer(pd.Index(table[LEAD_KEY].astype(object)))
        return table[place >= 0].reset_index(drop=True), place[place >= 0]

    (kept, of_activity), (changed, of_change) = own(activities), own(changes)
    return History(
        n_owners=len(leads),
        row_owner=owner,
        activities=kept,
        activity_owner=of_activity,
        changes=changed,
        change_owner=of_change,
    )


def _happened(
    rows: pd.DataFrame, history: History, kinds: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per activity known at a row's as-of date: the row, the kind, and the days since it happened."""
    as_of = microseconds(rows["as_of"])
    code = pd.Index(kinds, dtype=object).get_indexer(pd.Index(history.activities["kind"].astype(object)))
    order = np.flatnonzero(code >= 0)
    order = order[np.argsort(history.activity_owner[order], kind="stable")]
    row, event = pairs(history.row_owner, history.activity_owner[order], history.n_owners)
    event = order[event]
    happened = microseconds(history.activities["happened_at"])[event]
    recorded = microseconds(history.activities["recorded_at"])[event]
    missing = np.iinfo("int64").min
    seen = (happened <= as_of[row]) & (recorded <= as_of[row]) & (happened != missing) & (recorded != missing)
    return row[seen], code[event[seen]], (as_of[row[seen]] - happened[seen]) / DAY_US
