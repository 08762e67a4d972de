"""The draft of a contract: what is known of each column so far, and what was said about it.

A draft is filled step by step by its neighbours (`proposal_lead`, `proposal_outcome`, `proposal_history`,
`proposal_columns`) and becomes a contract in `proposal`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.leads import personal, vocabulary
from pipeline.leads.profiling import Profile, order_of_days, profile
from pipeline.params import Params

#: A word is written into a contract where it stands in so many of the rows looked at (in this share of few rows), and
#: looks like nobody's data.
MEANT_ROWS = 5
MEANT_SMALL = 0.01
MEANT_SHARE = 0.0002


@dataclass(frozen=True)
class Table:
    """A table of text as it was looked at.

    `cells`: rows, evenly spread over the files and in their order, index the 1-based row, empty cells NaN. `rows`: rows
    of the files. `repeats`: column -> share of the values of all rows that stand in an earlier one too. `source`: how
    to read it, as the contract says it; `notes`: what was guessed for that.
    """

    cells: pd.DataFrame
    rows: int
    repeats: dict[str, float]
    source: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every row was looked at."""
        return len(self.cells) == self.rows


@dataclass(frozen=True)
class Wishes:
    """What the user has decided already: the outcome's column, the value that means converted, the horizon in days."""

    outcome: str | None = None
    positive: str | None = None
    horizon_days: int | None = None


@dataclass
class Column:
    """A column of the draft: keys of the contract, remarks by key ("" for one above all), a note for the terminal.

    `suspect`: the leak detector suspects it.
    """

    profile: Profile
    keys: dict[str, Any] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    note: str = ""
    suspect: bool = False

    def set(self, key: str, value: Any, remark: str = "") -> None:
        """Set a key; the remark replaces that of an earlier value."""
        self.keys[key] = value
        if remark:
            self.remarks[key] = remark
        else:
            self.remarks.pop(key, None)

    def say(self, sentence: str) -> None:
        """Add a sentence to what stands above the column."""
        self.remarks[""] = f"{self.remarks['']} {sentence}" if self.remarks.get("") else sentence


@dataclass
class Draft:
    """Everything found so far.

    `referred`: other table -> (its column that refers to leads, the column of leads it refers to). `tracked`: columns
    whose changes are recorded. `comments`: path of a key -> what to say beside it. `decisions`: what a person must
    decide.
    """

    name: str
    tables: dict[str, Table]
    params: Params
    columns: dict[str, Column]
    referred: dict[str, tuple[str, str]] = field(default_factory=dict)
    key: str = "row_number"
    time: dict[str, Any] = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)
    activities: dict[str, Any] | None = None
    changes: dict[str, Any] | None = None
    tracked: list[str] = field(default_factory=list)
    comments: dict[tuple[str, ...], str] = field(default_factory=dict)
    decisions: list[str] = field(default_factory=list)

    @property
    def cells(self) -> pd.DataFrame:
        """The leads as text."""
        return self.tables["leads"].cells

    def profile(self, name: str) -> Profile:
        """What a column of the leads looks like."""
        return self.columns[name].profile

    def of_kind(self, *kinds: str) -> list[str]:
        """Columns of the leads of some kinds, in their order."""
        return [name for name, column in self.columns.items() if column.profile.kind in kinds]

    def free(self, *kinds: str) -> list[str]:
        """Columns of some kinds that nothing was decided about yet."""
        return [name for name in self.of_kind(*kinds) if name != self.key and "role" not in self.columns[name].keys]

    def moment(self, name: str) -> pd.Series:
        """A column of times as naive UTC, NaT where it cannot be read."""
        one = self.profile(name)
        text = self.cells[name].mask(self.cells[name].isin(list(one.missing))).str.strip()
        read = pd.to_datetime(text, format=one.format or "ISO8601", utc=True, errors="coerce")
        return read.dt.tz_localize(None)

    def word(self, name: str) -> pd.Series:
        """A column of words, those for missing as NaN."""
        return self.cells[name].mask(self.cells[name].isin(list(self.profile(name).missing)))


def as_contract(draft: Draft) -> dict[str, Any]:
    """The contract of a draft as plain data, keys in the order of the documentation."""
    order = [
        "role", "type", "format", "known_at", "criterion", "group", "unit", "min", "max", "values", "missing",
        "required", "unique", "not_before", "not_with", "facts", "reason",
    ]  # fmt: skip
    columns = {
        name: {key: column.keys[key] for key in order if key in column.keys} for name, column in draft.columns.items()
    }
    made: dict[str, Any] = {
        "contract_version": 1,
        "name": draft.name,
        "description": f"Leads of {draft.name}, as `leads init` understood them.",
        "source": {"kind": "files", **{name: table.source for name, table in draft.tables.items()}},
        "key": draft.key,
        "time": draft.time,
        "outcome": draft.outcome,
        "columns": columns,
    }
    if draft.activities is not None:
        made["activities"] = draft.activities
    if draft.changes is not None:
        made["changes"] = draft.changes
    return made


def best_named(names: list[str], text: str) -> str | None:
    """The column whose name stands first in a list of `vocabulary`, else the first with a phrase of it in its name."""
    ranked = sorted((place, name) for name in names if (place := vocabulary.rank(name, text)) is not None)
    if ranked:
        return ranked[0][1]
    phrases = vocabulary.phrases(text)
    return next((name for name in names if vocabulary.part(name, phrases)), None)


def meant(one: Profile) -> list[str]:
    """Words of a column that may be written into a contract: those that come back, and name no person."""
    rows = min(MEANT_ROWS, MEANT_SMALL * one.given)
    common = one.words[one.words >= max(rows, MEANT_SHARE * one.given)]
    text = pd.Series(common.index.astype("str"), dtype="str")
    named = personal.has_email(text) | (personal.phone_degree(text) >= personal.LIKELY)
    return [str(word) for word in text[~named]]


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names for a sentence: `a`, `b` and 3 more."""
    every = list(names)
    shown = ", ".join(f"`{name}`" for name in every[:most])
    return shown + (f" and {len(every) - most} more" if len(every) > most else "")


def look_at(table: Table) -> list[Profile]:
    """What every column of a table looks like; where one column tells day from month, so do those beside it."""
    cells = table.cells
    decimal = table.source.get("decimal", ".")
    made = [profile(cells[name], repeats=table.repeats[name], decimal=decimal) for name in map(str, cells)]
    siblings = order_of_days(made)
    if siblings is None:
        return made
    return [
        profile(cells[one.name], repeats=one.repeats, decimal=decimal, siblings=siblings) if one.ambiguous else one
        for one in made
    ]
