"""Tiers: named bands of scores, with what sales does in each. Grades: who a lead is, and what it does, apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .features import DAY_US, History, microseconds, pairs


def name(score_tenths: np.ndarray, tiers: Sequence[dict[str, Any]]) -> np.ndarray:
    """The tier of each score.

    Args:
        score_tenths: displayed scores in tenths, int64 of shape (n_rows,).
        tiers: from the best down, each with `name` and `from` (lowest displayed score in tenths); the last begins at 0.
    """
    names = np.array([tier["name"] for tier in tiers], dtype=object)
    starts = np.array([tier["from"] for tier in tiers], dtype="int64")
    return names[(score_tenths[:, None] >= starts[None, :]).argmax(axis=1)]


def grade(sums: dict[str, np.ndarray], cuts: dict[str, list[float]]) -> np.ndarray:
    """A letter for fit, a number for engagement: A1 is best in both, C3 least in both.

    Grades come from sums of log-odds, not of points: what a point is worth depends on the rest of the lead.

    Args:
        sums: per group ("fit", "engagement") the log-odds of its criteria, shape (n_rows,).
        cuts: per group, falling: from which sum on a lead has the first letter or number, the second, ...; a group that
            is not there has none, and the grade lacks its part.
    """
    found = [np.full(len(next(iter(sums.values()))), "", dtype=object)]
    for group, marks in (("fit", "ABCDEFGHI"), ("engagement", "123456789")):
        if group in cuts:
            place = (sums[group][:, None] < np.array(cuts[group])[None, :]).sum(axis=1)
            found.append(np.array(list(marks), dtype=object)[place])
    return np.asarray(sum(found[1:], found[0]))


def held_back(tier: np.ndarray, tiers: Sequence[dict[str, Any]], history: History, as_of: np.ndarray) -> np.ndarray:
    """Why the play of its tier leaves a lead alone: the reasons of all rules that hold, joined by "; ", else "".

    Args:
        tier: name of each row's tier, shape (n_rows,). `as_of`: int64 microseconds since 1970, same shape.
        tiers: each may have a `play` whose `suppression` lists rules: an `activity` that was recorded by the as-of
            date, ever or happened less than `within_days` before it, and the `reason`.
        history: of the rows' owners.
    """
    found = np.full(len(tier), "", dtype=object)
    recorded, happened = (microseconds(history.activities[name]) for name in ("recorded_at", "happened_at"))
    kind = history.activities["kind"].to_numpy(dtype=object)
    dated = (recorded != np.iinfo("int64").min) & (happened != np.iinfo("int64").min)
    for band in tiers:
        rows = np.flatnonzero(tier == band["name"])
        for rule in (band.get("play") or {"suppression": []})["suppression"]:
            mine = np.flatnonzero(dated & (kind == rule["activity"]))
            mine = mine[np.argsort(history.activity_owner[mine], kind="stable")]
            row, event = pairs(history.row_owner[rows], history.activity_owner[mine], history.n_owners)
            row, event = rows[row], mine[event]
            holds = (recorded[event] <= as_of[row]) & (happened[event] <= as_of[row])
            if rule["within_days"] is not None:
                holds &= as_of[row] - happened[event] < rule["within_days"] * DAY_US
            for place in np.unique(row[holds]):
                found[place] = f"{found[place]}; {rule['reason']}" if found[place] else rule["reason"]
    return found
