"""How a scorer was taught: whether two of them promise the same, and which leads and times one has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

#: Parts of the outcome that say what a conversion is.
MEANING = ("kind", "horizon_days", "converted_at", "lost_at", "closed_at", "column", "positive")


@dataclass(frozen=True)
class Known:
    """What is known of how a scorer was taught.

    `contract`: as the stages read it, plain data. `splits`: its windows, one row each, by name (`axis`, `start`,
    `end`). `newest`: newest moment that its source recorded; None without one. `source`: hashes of its source. `seed`:
    that of the run, by which leads without a time axis are parted.
    """

    contract: Mapping[str, Any]
    splits: pd.DataFrame
    newest: pd.Timestamp | None
    source: Mapping[str, Any]
    seed: int


def known(contract: Mapping[str, Any], splits: pd.DataFrame, provenance: Mapping[str, Any], seed: int) -> Known:
    """How a scorer was taught, from what its stages wrote (the resolved contract, the windows, the provenance) and the
    seed of their run."""
    return Known(contract, splits, newest(provenance), provenance["source"], seed)


def newest(provenance: Mapping[str, Any]) -> pd.Timestamp | None:
    """The newest moment that a history holds; None where its source has no times."""
    told = provenance["newest_recorded_at"]
    return None if told is None else pd.Timestamp(told)


def freshness(judged_until: pd.Timestamp | None, newest_recorded: pd.Timestamp | None) -> dict[str, str | None]:
    """Up to when outcomes of the test window are known, and the newest moment of the history, as plain data."""
    moments = {"judged_until": judged_until, "newest_recorded": newest_recorded}
    return {name: None if moment is None else moment.isoformat() for name, moment in moments.items()}


def differs(mine: Known, theirs: Known) -> str:
    """Why scores of the two do not promise the same; "" where they do."""
    for name in MEANING:
        pair = [known.contract["contract"]["outcome"].get(name) for known in (mine, theirs)]
        if pair[0] != pair[1]:
            return f"the champion was taught another outcome: its `{name}` is {pair[1]}, the candidate's {pair[0]}"
    kinds = [known.contract["contract"]["time"]["kind"] for known in (mine, theirs)]
    if kinds[0] != kinds[1]:
        return f"the champion's leads were parted by `{kinds[1]}`, the candidate's by `{kinds[0]}`"
    if kinds[0] == "none" and not _parted_alike(mine, theirs):
        return (
            "without a time axis, nobody can tell which leads the champion was taught on: it is of another extract, "
            "another seed, or other shares of the windows"
        )
    return ""


def _parted_alike(mine: Known, theirs: Known) -> bool:
    windows = [known.splits[["split", "start", "end"]].astype(str).to_numpy().tolist() for known in (mine, theirs)]
    return mine.source == theirs.source and mine.seed == theirs.seed and windows[0] == windows[1]


def taught(test: pd.DataFrame, created_at: pd.Series, mine: Known, theirs: Known) -> np.ndarray:
    """Whether the champion was taught on a test row's lead or on its time, shape (n_rows,).

    A lead created before the end of the champion's calibrate window was, and every outcome before that moment too.
    Rows of a source without creation times count by their place in it, which new rows do not change.

    Args:
        test: `position`: place of the lead on the axis of the split. `created_at`: of the same rows.
    """
    end = theirs.splits.set_index("split").loc["calibrate", "end"]
    kind = mine.contract["contract"]["time"]["kind"]
    if kind == "column":
        return (created_at < pd.Timestamp(str(end))).to_numpy()
    if kind == "row_order":
        return (test["position"] < float(str(end))).to_numpy()
    # Parted at random, and alike: its windows are those of the candidate.
    return np.zeros(len(test), dtype=bool)
