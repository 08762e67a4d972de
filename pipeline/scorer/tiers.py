"""Tiers: named bands of scores."""

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
