"""What stands behind a reason, in words: "visited the pricing page 3 times in 7 days", "Company size: 1,200 people".

A criterion is made of parts, one per lead column or kind of activity. The contract may say how a part is told (`text`,
`text_none`); else the criterion is named, with the value or the times. Few different words serve many rows, so a
criterion's texts are given as its distinct words and each row's place among them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import features

NOT_KNOWN, NONE = "not known", "none so far"


@dataclass(frozen=True)
class Words:
    """Distinct texts, and for every row the place of its own; `some`: whether each tells of something that is there.

    `named`: the words are phrases of the contract, which need no criterion before them.
    """

    place: np.ndarray
    distinct: list[str]
    some: list[bool]
    named: bool


def tell(built: pd.DataFrame, spec: dict[str, Any], level: float) -> list[tuple[np.ndarray, list[str]]]:
    """Texts of every criterion, in the order of `Scorer.criteria`, the current level last.

    Args:
        built: features as `features.build` gives them, shape (n_rows, n_features).
        spec: the scorer's specification. `level`: the current level in log-odds.

    Returns:
        Per criterion the place of each row's text, int64 of shape (n_rows,), and the distinct texts.
    """
    shared = Counter(part["criterion"] for part in (*spec["profile"], *spec["kinds"]))
    parts: dict[str, list[Words]] = {feature["criterion"]: [] for feature in features.feature_list(spec)}
    for column in spec["profile"]:
        parts[column["criterion"]].append(_column(built, column, shared[column["criterion"]] == 1))
    for kind in spec["kinds"]:
        parts[kind["criterion"]].append(_kind(built, kind, spec["windows_days"], shared[kind["criterion"]] == 1))
    if spec["aged"]:
        parts[features.LEAD_AGE].append(_age(built))
    if spec["kinds"]:
        parts[features.OVERALL].append(_overall(built, spec["windows_days"]))
    told = [_joined(criterion, own) for criterion, own in parts.items()]
    word = "more" if level > 0 else "less"
    newest = f"newer leads convert {word} often than the model learned"
    return [*told, (np.zeros(len(built), dtype="int64"), [newest])]


def _joined(criterion: str, parts: list[Words]) -> tuple[np.ndarray, list[str]]:
    """Parts of one criterion side by side; one that tells of nothing is left out beside one that does."""
    whole = np.zeros(len(parts[0].place), dtype="int64")
    for part in parts:
        whole = whole * len(part.distinct) + part.place
    code, place = np.unique(whole, return_inverse=True)
    distinct = []
    for one in code.tolist():
        chosen: list[tuple[Words, int]] = []
        for part in reversed(parts):
            one, k = divmod(one, len(part.distinct))
            chosen.insert(0, (part, k))
        there = [(part, k) for part, k in chosen if part.some[k]] or chosen
        said = ", ".join(dict.fromkeys(part.distinct[k] for part, k in there))
        distinct.append(said if there[0][0].named else f"{criterion}: {said}")
    return place.astype("int64"), distinct


def _column(built: pd.DataFrame, column: dict[str, Any], alone: bool) -> Words:
    """The value of a lead column, and how long ago it changed where that is followed."""
    value = built[column["name"]]
    missing = value.isna().to_numpy()
    code, found = pd.factorize(value)
    flag = column["declared"]["type"] == "boolean"
    named = column["text"] is not None
    text = column["text"] or ("{value}" if alone else f"{column['name']} {{value}}")
    unit = f" {column['unit']}" if column["unit"] else ""
    nothing = column["text_none"] or (NOT_KNOWN if alone else f"{column['name']} {NOT_KNOWN}")
    distinct, some = [nothing], [False]
    for one in found.tolist():
        if flag and named:
            distinct.append(text if one else column["text_none"] or f"{column['criterion']}: no")
        else:
            shown = ("yes" if one else "no") if flag else f"{_number(one)}{unit}" if column["kind"] == "number" else one
            distinct.append(text.replace("{value}", str(shown)))
        some.append(True)
    if flag and named:
        # A phrase for "no" says nothing of a value that is not known.
        distinct[0] = f"{column['criterion']}: {NOT_KNOWN}"
    place = np.where(missing, 0, code + 1)
    if column["tracked"]:
        return _changed(Words(place, distinct, some, named), built[f"days_since_change_{column['name']}"].to_numpy())
    return Words(place, distinct, some, named)


def _changed(words: Words, since: np.ndarray) -> Words:
    """The same words, with the days since the value changed."""
    days = np.where(np.isnan(since), -1, np.floor(np.where(np.isnan(since), 0, since))).astype("int64")
    code, place = np.unique(words.place * (days.max(initial=0) + 2) + days + 1, return_inverse=True)
    first, ago = np.divmod(code, days.max(initial=0) + 2)
    distinct = [
        words.distinct[k] + (f" (changed {_ago(d - 1)})" if d else "")
        for k, d in zip(first.tolist(), ago.tolist(), strict=True)
    ]
    return Words(place, distinct, [words.some[k] for k in first.tolist()], words.named)


def _kind(built: pd.DataFrame, kind: dict[str, Any], windows: list[int], alone: bool) -> Words:
    """How often a kind of activity happened in the shortest window that holds any, else how long ago."""
    name = kind["name"]
    total = built[f"n_{name}"].to_numpy().astype("int64")
    since = built[f"days_since_{name}"].to_numpy()
    # Window of the count (0: none of them), the count, and the days since the last where no window holds any.
    window, count = np.zeros(len(built), dtype="int64"), total.copy()
    for k, days in enumerate(sorted(windows, reverse=True)):
        within = built[f"n_{name}_{days}d"].to_numpy().astype("int64")
        window, count = np.where(within > 0, len(windows) - k, window), np.where(within > 0, within, count)
    ago = np.where((window == 0) & (total > 0), np.floor(np.nan_to_num(since)), 0).astype("int64")
    key, place = np.unique(np.column_stack([window, count, ago]), axis=0, return_inverse=True)
    named = kind["text"] is not None
    text = kind["text"] or ("{times}" if alone else f"{name} {{times}}")
    nothing = kind["text_none"] or (NONE if alone or named else f"{name} {NONE}")
    if named and not kind["text_none"]:
        nothing = f"{kind['criterion']}: {NONE}"
    distinct, some = [], []
    for where, n, days in key.tolist():
        if n == 0:
            distinct.append(nothing)
        elif where:
            distinct.append(text.replace("{times}", f"{_times(n)} in {sorted(windows)[where - 1]} days"))
        else:
            last = "" if n == 1 else "the last "
            distinct.append(text.replace("{times}", f"{_times(n)}, {last}{_ago(days)}"))
        some.append(n > 0)
    return Words(place.reshape(-1), distinct, some, named)


def _age(built: pd.DataFrame) -> Words:
    day, place = np.unique(np.floor(built["age_days"].to_numpy()), return_inverse=True)
    return Words(place, [f"created {_ago(int(one))}" for one in day], [True] * len(day), True)


def _overall(built: pd.DataFrame, windows: list[int]) -> Words:
    """Activities of any kind in the longest window, and when the last was."""
    days = max(windows)
    count = built[f"n_any_{days}d"].to_numpy().astype("int64")
    since = np.where(built["n_any"] > 0, np.floor(np.nan_to_num(built["days_since_any"].to_numpy())), -1)
    key, place = np.unique(np.column_stack([count, since.astype("int64")]), axis=0, return_inverse=True)
    distinct = []
    for n, last in key.tolist():
        if last < 0:
            distinct.append("no activity so far")
        elif n == 0:
            distinct.append(f"no activity in {days} days, the last {_ago(last)}")
        else:
            distinct.append(f"{n:,} {'activity' if n == 1 else 'activities'} in {days} days, the last {_ago(last)}")
    return Words(place.reshape(-1), distinct, [last >= 0 for _, last in key.tolist()], True)


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n:,} times")


def _ago(days: int) -> str:
    return {0: "today", 1: "1 day ago"}.get(days, f"{days:,} days ago")


def _number(value: float) -> str:
    """`1,200`, `3.25`: whole where it is whole or large."""
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.4g}"
