"""The demo's law: the true P(converts within the horizon | everything recorded by the as-of date).

In the demo's world (`demo_world`) the future of a lead depends on its records alone, so the law needs no more than the
tables:

1. the state at the as-of date is rebuilt from what was recorded before it;
2. what has happened but is not yet recorded is drawn: given the records, the events of day `s` that are recorded later
   than the as-of date are Poisson with mean rate(S_s) x P(lag reaches past it), independent of all that was recorded;
3. the lead walks on from there along `paths` random paths, open all the way, and each path adds up
   `P(still open at day t) x P(converts on day t)`. Conversions themselves are never drawn, which keeps the error small.

What is left is the error of a mean over paths, stated beside every probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.leads.demo_world import (
    BUDGET,
    DAY_SECONDS,
    KEEP,
    KINDS,
    LAG,
    LATE,
    MAX_LAG,
    START,
    STATUS,
    TRACKED,
    WEEK,
    K,
    State,
    Terms,
    Walk,
    codes,
    draw_activities,
    hazards,
    rates,
    terms_of,
)

#: Simulated paths held at once; a working set of about 40 MiB.
PATHS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Records:
    """Typed tables as numbers. Activities and changes are sorted by lead; `*_start[i]` is where lead `i` begins.

    `lead`: position of each input row's lead among the distinct leads. Times are whole days since `START`.
    """

    lead: np.ndarray
    created: np.ndarray
    terms: Terms
    current: dict[str, np.ndarray]
    activity_start: np.ndarray
    kind: np.ndarray
    happened: np.ndarray
    recorded: np.ndarray
    change_start: np.ndarray
    column: np.ndarray
    changed: np.ndarray
    old: np.ndarray


def law(
    leads: pd.DataFrame,
    activities: pd.DataFrame,
    changes: pd.DataFrame,
    as_of: pd.Series | pd.DatetimeIndex | np.ndarray,
    *,
    horizon_days: int,
    paths: int,
    seed: int,
) -> pd.DataFrame:
    """True chance of each lead, open at its as-of date, to convert within the horizon.

    Args:
        leads: one row per (lead, as-of), typed as `ingest` leaves them (a lead may stand in several rows); profile
            columns, `has_work_email`, `has_phone`, and the tracked columns with their current values. Outcome columns
            are not looked at: the law takes for granted that the lead is open at its as-of date.
        activities, changes: clean, typed as `ingest` leaves them; rows of other leads and rows recorded later are
            ignored (a later change only tells what the value was before it).
        as_of: midnights after the lead's creation, shape (n_rows,).
        horizon_days: the outcome counts in `(as_of, as_of + horizon_days]`.
        paths: simulated paths per row, at least 2.
        seed: every draw follows from it, the order of the rows, and what was recorded by the as-of dates.

    Returns:
        DataFrame of shape (n_rows, 2), indexed as `leads`: `probability` and `standard_error` in [0, 1].

    Raises:
        ValueError: an as-of date is no midnight or lies before its lead's creation, or fewer than two paths.
    """
    if paths < 2:
        raise ValueError(f"paths is {paths}; a standard error needs at least 2.")
    day, seconds = np.divmod(_seconds(pd.Series(np.asarray(as_of))), DAY_SECONDS)
    if seconds.any():
        raise ValueError("the demo's world moves in days: every as-of date must be a midnight.")
    records = read(leads, activities, changes)
    if (day <= records.created).any():
        raise ValueError("an as-of date lies before the first midnight after its lead's creation.")

    rng = np.random.default_rng(np.random.SeedSequence([seed, horizon_days, paths]))
    at_once = max(1, PATHS_AT_ONCE // paths)
    chance, error = np.empty(len(leads)), np.empty(len(leads))
    for first in range(0, len(leads), at_once):
        rows = np.arange(first, min(first + at_once, len(leads)))
        converts = _converts(records, rows, day[rows], horizon_days, paths, rng)
        chance[rows] = converts.mean(axis=1)
        error[rows] = converts.std(axis=1, ddof=1) / np.sqrt(paths)
    return pd.DataFrame({"probability": chance, "standard_error": error}, index=leads.index)


def _converts(
    records: Records, rows: np.ndarray, day: np.ndarray, horizon_days: int, paths: int, rng: np.random.Generator
) -> np.ndarray:
    """P(converts within the horizon) along each path, shape (rows, paths)."""
    path = np.repeat(np.arange(len(rows)), paths)
    pending = np.zeros((MAX_LAG + 1, len(KINDS), len(path)))
    terms = records.terms.take(rows)
    late = np.array([K[kind] for kind in LATE])
    for ago in range(1, MAX_LAG + 1):
        # Lags that reach from `ago` days before the as-of date past it: recorded on day `lag - ago` from then.
        reach = LAG[late, ago:]
        state = state_at(records, rows, day - ago)
        mean = rates(terms, state)[late] * (state.age >= 0)
        mean = (mean[:, None, :] * reach[:, :, None]).reshape(-1, len(rows))
        owner, cell = draw_activities(mean[:, path], rng)
        kind, beyond = late[cell // reach.shape[1]], cell % reach.shape[1]
        np.add.at(pending, (beyond, kind, owner), KEEP[kind] ** (ago + beyond))

    walk = Walk(terms.take(path), state_at(records, rows, day).take(path), pending)
    still_open, converts = np.ones(len(path)), np.zeros(len(path))
    for _ in range(horizon_days):
        convert, lose = hazards(walk.terms, walk.state)
        closes = -np.expm1(-(convert + lose))
        converts += still_open * closes * convert / (convert + lose)
        still_open *= 1 - closes
        walk.step(rng)
    return converts.reshape(len(rows), paths)


def read(leads: pd.DataFrame, activities: pd.DataFrame, changes: pd.DataFrame) -> Records:
    """Typed tables as numbers; see `law` for what they hold."""
    key = pd.Index(leads["lead_id"].unique())
    activity_lead = key.get_indexer(pd.Index(activities["lead_id"]))
    mine = np.flatnonzero(activity_lead >= 0)
    mine = mine[np.argsort(activity_lead[mine], kind="stable")]

    column = pd.Index(TRACKED).get_indexer(pd.Index(changes["column"]))
    change_lead = key.get_indexer(pd.Index(changes["lead_id"]))
    recorded = _seconds(changes["recorded_at"])
    told = np.flatnonzero((change_lead >= 0) & (column >= 0))
    told = told[np.lexsort((recorded[told], change_lead[told]))]
    old = changes["old_value"].iloc[told]
    budget = leads["budget_confirmed"].to_numpy("float64")
    return Records(
        lead=key.get_indexer(pd.Index(leads["lead_id"])),
        created=_seconds(leads["created_at"]) // DAY_SECONDS,
        terms=terms_of(leads),
        current={
            "status": codes(leads["status"], STATUS).astype("float64"),
            "budget_confirmed": np.where(np.isnan(budget), 0.0, np.where(budget == 1, 1.0, 2.0)),
            "employees": leads["employees"].to_numpy("float64"),
        },
        activity_start=np.searchsorted(activity_lead[mine], np.arange(len(key) + 1)),
        kind=codes(activities["kind"].iloc[mine], KINDS),
        happened=_seconds(activities["happened_at"].iloc[mine]) // DAY_SECONDS,
        recorded=_seconds(activities["recorded_at"].iloc[mine]) // DAY_SECONDS,
        change_start=np.searchsorted(change_lead[told], np.arange(len(key) + 1)),
        column=column[told],
        changed=recorded[told] // DAY_SECONDS,
        old=_old_values(old, column[told]),
    )


def state_at(records: Records, rows: np.ndarray, day: np.ndarray) -> State:
    """State of the leads of `rows` at midnight `day` (shape (len(rows),)), from what was recorded before it."""
    n = len(rows)
    lead = records.lead[rows]
    row, event = _expand(records.activity_start, lead)
    seen = records.recorded[event] < day[row]
    row, event = row[seen], event[seen]
    kind, ago = records.kind[event], day[row] - records.happened[event]
    decayed = np.bincount(kind * n + row, weights=KEEP[kind] ** ago, minlength=len(KINDS) * n).reshape(len(KINDS), n)
    fresh = (kind == K["visit_pricing"]) & (ago <= WEEK)
    # Row i of the ring is the day t - 7 + i: a walk that starts here overwrites the oldest first.
    pricing = np.bincount((WEEK - ago[fresh]) * n + row[fresh], minlength=WEEK * n).reshape(WEEK, n)

    row, event = _expand(records.change_start, lead)
    seen = records.changed[event] < day[row]
    now = {}
    for number, name in enumerate(TRACKED):
        now[name] = records.current[name][rows].copy()
        later = np.flatnonzero(~seen & (records.column[event] == number))
        # The first change after the as-of date tells the value at it; rows come in order of time.
        of_row, first = np.unique(row[later], return_index=True)
        now[name][of_row] = records.old[event[later[first]]]
    enriched = np.zeros(n, dtype=bool)
    enriched[row[seen & (records.column[event] == TRACKED.index("employees"))]] = True
    return State(
        day=day.astype("int64"),
        age=(day - records.created[rows]).astype("int64"),
        decayed=decayed,
        pricing_days=pricing.astype("float64"),
        employees=now["employees"],
        status=now["status"].astype("int64"),
        budget=now["budget_confirmed"].astype("int64"),
        enriched=enriched,
    )


def _expand(start: np.ndarray, lead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (row, event) of the same lead, in order of row, then event."""
    count = (start[1:] - start[:-1])[lead]
    row = np.repeat(np.arange(len(lead)), count)
    offset = np.arange(len(row)) - np.repeat(count.cumsum() - count, count)
    return row, start[lead[row]] + offset


def _old_values(old: pd.Series, column: np.ndarray) -> np.ndarray:
    """Old values of changes as the numbers that a state holds."""
    values = np.empty(len(old))
    status, budget, employees = (column == number for number in range(len(TRACKED)))
    values[status] = codes(old[status], STATUS)
    values[budget] = codes(old[budget].fillna(""), BUDGET) % len(BUDGET)
    values[employees] = pd.to_numeric(old[employees].replace("", None)).to_numpy("float64")
    return values


def _seconds(times: pd.Series) -> np.ndarray:
    """Whole seconds since `START`."""
    return (times.to_numpy("datetime64[s]") - START).astype("int64")
