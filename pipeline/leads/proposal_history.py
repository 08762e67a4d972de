"""Guesses about the other tables: what leads did, and what changed about them."""

from __future__ import annotations

import numpy as np

from pipeline.errors import ContractError
from pipeline.leads import vocabulary
from pipeline.leads.profiling import REPEATED, Profile
from pipeline.leads.proposal_draft import Draft, best_named, listed, look_at, meant

#: Kinds of activities beyond this, or per row, are texts rather than kinds.
MAX_KINDS = 200
MAX_UNLIKE_KINDS = 0.05


def find_changes(draft: Draft) -> None:
    """The columns of a changes table, and which columns of the leads it tells about.

    Raises:
        ContractError: it does not say which column changed, when, or from what to what.
    """
    table = draft.tables.get("changes")
    if table is None:
        return
    profiles = {one.name: one for one in look_at(table)}
    lead = draft.referred["changes"][0]
    left = [name for name in profiles if name != lead]
    named = {name: np.isin(table.cells[name].dropna().unique(), list(draft.columns)).mean() for name in left}
    column = max(named, key=lambda name: named[name], default=None)
    if column is None or named[column] < 0.5:
        raise ContractError(
            f"the changes say nowhere which column of the leads changed: none of {listed(left)} holds their names."
        )
    left.remove(column)
    when = _time_in(profiles, left, vocabulary.CHANGED_AT)
    if when is None:
        raise ContractError(f"the changes have no time: none of {listed(left)} is a date that can be read.")
    left.remove(when)
    old, new = (best_named(left, text) for text in (vocabulary.OLD_VALUE, vocabulary.NEW_VALUE))
    if old is None or new is None or old == new:
        raise ContractError(
            f"the changes need a column with the old value and one with the new; found {listed(left)}. Name them "
            "`old_value` and `new_value`."
        )
    draft.changes = {"lead": lead, "column": column, "recorded_at": when, "old_value": old, "new_value": new}
    if form := profiles[when].format:
        draft.changes["format"] = form
    draft.comments[("changes",)] = "guess: columns by name and content"
    every = list(profiles[column].words.index)
    draft.tracked = [name for name in draft.columns if name in every]
    if unknown := sorted(set(every) - set(draft.columns)):
        draft.decisions.append(
            f"changes of {len(unknown)} column{'s' if len(unknown) > 1 else ''} that the leads do not have will be "
            "refused."
        )


def find_activities(draft: Draft) -> None:
    """The columns of an activities table, and every kind that comes back in it.

    Raises:
        ContractError: it does not say what happened or when, or the outcome has no date.
    """
    table = draft.tables.get("activities")
    if table is None:
        return
    if draft.outcome["kind"] == "flag":
        raise ContractError(
            "activities need an outcome with a date: one decided at once leaves no time for them. Add a column with "
            "the moment of conversion, or leave --activities out."
        )
    profiles = {one.name: one for one in look_at(table)}
    lead = draft.referred["activities"][0]
    left = [name for name in profiles if name != lead]
    key = next(
        (
            name
            for name in left
            if table.repeats[name] <= REPEATED and vocabulary.rank(name, vocabulary.ACTIVITY_KEYS) is not None
        ),
        None,
    )
    left = [name for name in left if name != key]
    happened = _time_in(profiles, left, vocabulary.HAPPENED)
    if happened is None:
        raise ContractError(f"the activities have no time: none of {listed(left)} is a date that can be read.")
    recorded = _time_in(profiles, [name for name in left if name != happened], vocabulary.RECORDED, named_only=True)
    words = [
        name
        for name in left
        if name not in (happened, recorded)
        and profiles[name].kind in ("category", "boolean", "integer")
        and 1 <= len(meant(profiles[name])) <= MAX_KINDS
        and profiles[name].unlike < MAX_UNLIKE_KINDS
    ]
    kind = best_named(words, vocabulary.ACTIVITY_KINDS) or next(
        (n for n in words if profiles[n].kind == "category"), None
    )
    if kind is None:
        raise ContractError(
            f"the activities do not say what happened: none of {listed(left)} holds kinds of activities."
        )
    kinds = sorted(meant(profiles[kind]))
    if rare := profiles[kind].distinct - len(kinds):
        rows = int(profiles[kind].words.drop(kinds).sum())
        draft.decisions.append(
            f"activities: {rare:,} words for kinds stand in {rows:,} rows together and are not listed; those rows will "
            "be set aside. Add a kind to `activities.kinds` if it is one."
        )
    draft.activities = {
        **({"key": key} if key else {}),
        "lead": lead,
        "kind": kind,
        "happened_at": happened,
        "recorded_at": recorded or happened,
    }
    if form := profiles[happened].format:
        draft.activities["format"] = form
    if recorded and profiles[recorded].format != profiles[happened].format:
        draft.activities["recorded_at"] = happened
        draft.decisions.append(f"`{recorded}` of the activities is written unlike `{happened}` and is not read.")
        recorded = None
    draft.activities["kinds"] = {word: {} for word in kinds}
    draft.comments[("activities",)] = "guess: columns by name and content; every kind of the file is listed"
    draft.comments[("activities", "recorded_at")] = (
        "guess: when the system came to know of it"
        if recorded
        else "the file has one time only: right where activities are logged as they happen"
    )
    if recorded is None:
        draft.decisions.append(
            f"activities have one time, `{happened}`. If they are entered later than they happen, scores learn from "
            "what nobody knew yet: name the time of entry as `activities.recorded_at`."
        )


def _time_in(profiles: dict[str, Profile], names: list[str], text: str, *, named_only: bool = False) -> str | None:
    """The column of times that a list of names fits best; else the first, unless only a name counts."""
    times = [n for n in names if profiles[n].kind == "timestamp" and profiles[n].ambiguous is None]
    found = best_named(times, text)
    return found if found is not None or named_only else next(iter(times), None)
