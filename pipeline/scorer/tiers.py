"""Tiers: named bands of scores. Grades: who a lead is, and what it does, apart."""

from __future__ import annotations

import numpy as np


def name(score_tenths: np.ndarray, tiers: list[dict[str, object]]) -> np.ndarray:
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
