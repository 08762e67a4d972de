"""What would change a score: what the lead or sales can move, one step or a few, and what the scorer says of it then.

Nothing here is a promise. The scorer has seen what such leads did, not what they do when they are pushed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from . import features
from .features import History

#: More of one kind of activity than this is no small change.
MOST = 3


@dataclass(frozen=True)
class Move:
    """One change: `times` more activities of `kind`, or `value` in the lead column `column`.

    `moved_by`: "lead" or "sales". `text`: the change in words.
    """

    criterion: str
    moved_by: str
    text: str
    times: int = 1
    kind: str | None = None
    column: dict[str, Any] | None = None
    value: str | float | None = None


def moves(spec: dict[str, Any]) -> Iterator[Move]:
    """All moves that the contract allows, the smallest first: one activity or one value, then two activities, ..."""
    for column in spec["profile"]:
        if column["moved_by"] is None:
            continue
        flag = column["declared"]["type"] == "boolean"
        for value in [1.0] if flag else column["declared"]["values"]:
            text = f"{column['criterion']}: {'yes' if flag else value}"
            yield Move(column["criterion"], column["moved_by"], text, column=column, value=value)
    for times in range(1, MOST + 1):
        for kind in spec["kinds"]:
            if kind["moved_by"] is not None:
                more = "once more" if times == 1 else f"{times} times more"
                text = f"{kind['criterion']}: {more}"
                yield Move(kind["criterion"], kind["moved_by"], text, times=times, kind=kind["name"])


def apart(history: History) -> History:
    """The same history with an owner for each row, so that what is added to one row is not seen by another."""

    def own(table: pd.DataFrame, owner: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
        order = np.argsort(owner, kind="stable")
        row, event = features.pairs(history.row_owner, owner[order], history.n_owners)
        return table.iloc[order[event]].reset_index(drop=True), row

    n = len(history.row_owner)
    return History(
        n,
        np.arange(n),
        *own(history.activities, history.activity_owner),
        *own(history.changes, history.change_owner),
    )


def applied(rows: pd.DataFrame, history: History, move: Move) -> tuple[pd.DataFrame, History]:
    """Rows and history as if the move had been made, and recorded, at the as-of date of every row.

    Args:
        rows: one per owner, in the order of the owners, with `as_of` and the profile columns. `history`: of `apart`.
    """
    owner = np.arange(len(rows))
    as_of = rows["as_of"].reset_index(drop=True)
    if move.kind is not None:
        made = pd.DataFrame({"kind": move.kind, "happened_at": as_of, "recorded_at": as_of})
        made = pd.concat([made] * move.times, ignore_index=True)
        activities = pd.concat([history.activities, made], ignore_index=True)
        owners = np.concatenate([history.activity_owner, *[owner] * move.times])
        return rows, replace(history, activities=activities, activity_owner=owners)
    column = move.column or {}
    if not column["tracked"]:
        return rows.assign(**{column["name"]: move.value}), history
    told = str(move.value) if column["kind"] == "category" else "true"
    made = pd.DataFrame({"column": column["source"], "recorded_at": as_of, "old_value": None, "new_value": told})
    changes = pd.concat([history.changes.astype(made.dtypes), made], ignore_index=True)
    return rows, replace(history, changes=changes, change_owner=np.concatenate([history.change_owner, owner]))
