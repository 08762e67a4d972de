"""Folds that respect time: what may be learned from, and what it is judged on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.errors import NotEnoughData, lacking


@dataclass(frozen=True)
class Fold:
    """Row numbers of the snapshots: learn from `learn`, judge on `judge`. `start`, `end`: where on the axis the
    judged leads lie (the number of the part, where leads were dealt at random)."""

    learn: np.ndarray
    judge: np.ndarray
    start: int
    end: int


def draw(
    snapshots: pd.DataFrame, *, number: int, first_share: float, horizon_days: int, random: bool, seed: int
) -> list[Fold]:
    """Rolling origins: learn from leads created before a moment, judge on those created after it.

    Args:
        snapshots: all that lies before the test window: lead_id, as_of, label, position.
        first_share: share of the leads before the first origin; the rest is cut into `number` equal parts.
        random: the position is no time: leads are dealt into `number` parts, each with its share of the conversions,
            and each part is judged by what was learned from the others.

    A snapshot whose outcome was not yet known at the origin is not learned from (embargo): its horizon must have
    passed by the as-of date of the first later snapshot.

    Raises:
        NotEnoughData: a fold lacks one of the outcomes.
    """
    position = snapshots["position"].to_numpy()
    label = snapshots["label"].to_numpy()
    result = []
    if random:
        part = _dealt(position, label, number, seed)
        for k in range(number):
            result.append(Fold(np.flatnonzero(part != k), np.flatnonzero(part == k), k, k + 1))
    else:
        places = np.unique(position)
        cuts = [places[round(len(places) * float(share))] for share in np.linspace(first_share, 1, number + 1)[:-1]]
        cuts.append(places[-1] + 1)
        for start, end in itertools.pairwise(cuts):
            later = (position >= start) & (position < end)
            learn = known_before(snapshots, later, horizon_days)
            result.append(Fold(np.flatnonzero(learn), np.flatnonzero(later), int(start), int(end)))
    for fold in result:
        for rows, what in ((fold.learn, "learns from"), (fold.judge, "is judged on")):
            if len(rows) == 0 or label[rows].min() == label[rows].max():
                raise NotEnoughData(
                    f"a fold {what} {len(rows)} snapshots with {int(label[rows].sum())} conversions; it needs both "
                    f"outcomes: {lacking(len(rows), int(label[rows].sum()))}. Give a longer history or fewer folds in "
                    "params.yaml (tune.folds)."
                )
    return result


def thinned(snapshots: pd.DataFrame, max_rows: int) -> np.ndarray:
    """True for the rows of every n-th lead along the axis, so that about `max_rows` remain; for all where there are no
    more than that."""
    step = -(-len(snapshots) // max_rows)
    return np.asarray(np.unique(snapshots["position"].to_numpy(), return_inverse=True)[1] % step == 0)


def known_before(snapshots: pd.DataFrame, later: np.ndarray, horizon_days: int) -> np.ndarray:
    """True for rows of leads created before the `later` ones whose outcome was known at the first as-of date there."""
    position = snapshots["position"].to_numpy()
    before = position < position[later].min()
    if horizon_days:
        known_at = snapshots["as_of"] + pd.Timedelta(days=horizon_days)
        before &= (known_at <= snapshots.loc[later, "as_of"].min()).to_numpy()
    return np.asarray(before)


def _dealt(position: np.ndarray, label: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Part of each row: leads at random, those that ever convert and the others dealt in turn."""
    leads, lead = np.unique(position, return_inverse=True)
    converts = np.zeros(len(leads), dtype=bool)
    converts[lead[label == 1]] = True
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"folds"]))
    order = rng.permutation(len(leads))
    order = order[np.argsort(converts[order], kind="stable")]
    part = np.empty(len(leads), dtype="int64")
    part[order] = np.arange(len(leads)) % number
    return part[lead]


def table(drawn: list[Fold], snapshots: pd.DataFrame) -> pd.DataFrame:
    """One row per fold: rows and conversions learned from and judged on, and where on the axis the judged leads lie."""
    label = snapshots["label"].to_numpy()
    return pd.DataFrame(
        [
            {
                "fold": k,
                "learned": len(fold.learn),
                "learned_conversions": int(label[fold.learn].sum()),
                "judged": len(fold.judge),
                "judged_conversions": int(label[fold.judge].sum()),
                "start_position": fold.start,
                "end_position": fold.end,
            }
            for k, fold in enumerate(drawn)
        ]
    )
