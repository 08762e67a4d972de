"""Leads taken apart: from the base, reason by reason, to the score; and which leads teach a reader most."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

KEY = ["lead_id", "as_of"]

#: Columns of `taken_apart`.
STEPS = (*KEY, "step", "kind", "criterion", "text", "points", "start", "end")


def reasons(scores: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """The reasons of every row as objects; all texts are parsed at once, which takes half the time."""
    return list(json.loads(f"[{','.join(scores['reasons'].tolist())}]"))


def taken_apart(scores: pd.DataFrame) -> pd.DataFrame:
    """The bars that lead from base to score, for every row given.

    Args:
        scores: `lead_id`, `as_of`, `base`, and `reasons`, as the scorer returns them.

    Returns:
        `lead_id`, `as_of`, `step` (0 for the base), `kind` ("base", "reason" or "score"), `criterion` and `text` (""
        but for reasons), `points`, and `start` and `end` of the step's bar, all on the scale of the score.
    """
    entries = []
    for row, listed in zip(scores.to_dict("records"), reasons(scores), strict=True):
        steps = [("base", "", "", row["base"])]
        steps += [("reason", one["criterion"], one["text"], one["points"]) for one in listed]
        upto = 0
        for k, (kind, name, text, value) in enumerate(steps):
            points = tenths(value)
            entries.append([row["lead_id"], row["as_of"], k, kind, name, text, points, upto, upto + points])
            upto += points
        entries.append([row["lead_id"], row["as_of"], len(steps), "score", "", "", upto, 0, upto])
    table = pd.DataFrame(entries, columns=list(STEPS))
    return table.assign(**{name: table[name] / 10 for name in ("points", "start", "end")})


def tenths(value: float) -> int:
    """Points with one decimal as whole tenths."""
    return round(value * 10)


def telling(scores: pd.DataFrame) -> pd.DataFrame:
    """Up to five leads that show how a score comes about, each another lead.

    `high`, `middle`, `low`: the highest, the median and the lowest score. `against`: the lead with the most points
    taken off, among those that still stand above the base where there are any. `cancel`: large points on both sides
    that leave the score near the base. A kind without a lead that shows it is left out: where all scores are equal,
    there is a `middle` only.

    Args:
        scores: scored rows: `lead_id`, `as_of`, `score`, `base`, `reasons`.

    Returns:
        The chosen rows with `example` (the kind), and `up` and `down`: sums of the points that speak for and against.
        Ties go to the first key.
    """
    ranked = scores.sort_values(["score", *KEY], ascending=[False, True, True], ignore_index=True)
    points = [[tenths(one["points"]) for one in listed] for listed in reasons(ranked)]
    up = np.array([sum(one for one in row if one > 0) for row in points], dtype="int64")
    down = np.array([sum(one for one in row if one < 0) for row in points], dtype="int64")
    ranked = ranked.assign(up=up / 10, down=down / 10)
    above, last = up + down > 0, len(ranked) - 1
    wanted: dict[str, np.ndarray] = {
        "high": -np.arange(len(ranked)),
        "middle": -np.abs(np.arange(len(ranked)) - last // 2),
        "low": np.arange(len(ranked)),
        "against": np.where(down < 0, np.where(above | ~above.any(), -down, 0), 0),
        "cancel": np.minimum(up, -down) - np.abs(up + down),
    }
    chosen: list[tuple[str, int]] = []
    free = np.ones(len(ranked), dtype=bool)
    for kind, worth in wanted.items():
        if not free.any():
            break
        best = int(np.argmax(np.where(free, worth, np.iinfo("int64").min)))
        if kind in ("against", "cancel") and worth[best] <= 0:
            continue
        if kind in ("high", "low") and ranked["score"].iloc[0] == ranked["score"].iloc[last]:
            continue
        chosen.append((kind, best))
        free &= (ranked["lead_id"] != ranked["lead_id"].iloc[best]).to_numpy()
    picked = ranked.iloc[[place for _, place in chosen]].reset_index(drop=True)
    return picked.assign(example=pd.Series([kind for kind, _ in chosen], dtype="str"))


def newest_first(scores: pd.DataFrame, count: int) -> pd.DataFrame:
    """The leads with the highest score at their newest snapshot, at most `count`, highest first; ties go to the first
    key."""
    newest = scores.sort_values(KEY).drop_duplicates("lead_id", keep="last")
    return newest.sort_values(["score", *KEY], ascending=[False, True, True], ignore_index=True).head(count)
