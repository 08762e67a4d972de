"""Sample leads with the points they should get: a table of text, read into the tables that a card is counted on.

One row per sample. A column goes by the name of a column of the contract, and holds its value; of a kind of activity,
and holds how many days before the as-of date it happened, several parted by blanks; or is one of `KEYS`. What is
expected stands in columns `expect total`, `expect qualifies`, `expect suppressed` and `expect <criterion>`; an empty
cell expects nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import CardError
from pipeline.leads.cards import Card
from pipeline.leads.contract import CREATED_AT, LEAD_KEY
from pipeline.scorer import checks, cleaning

#: Columns of a table of samples that name nothing of the contract; all are optional.
KEYS = ("sample", "as_of", "age_days", "activities", "changes")
EXPECT = "expect "

#: The as-of date of samples that give none: their history is told in days before it.
AS_OF = pd.Timestamp("2000-01-01")

#: Expected and counted points are the same where they are not further apart: half of the last decimal shown.
CLOSE = 0.05

_FIELDS = {
    "activities": ["kind", "happened_at", "recorded_at"],
    "changes": ["column", "recorded_at", "old_value", "new_value"],
}


@dataclass(frozen=True)
class Samples:
    """`rows`, `activities`, `changes`: as `pipeline.scoring.card.points` takes them. `expected`: `place` of the row,
    `sample` (its name), `what`, and `expected` (float, bool or str)."""

    rows: pd.DataFrame
    activities: pd.DataFrame
    changes: pd.DataFrame
    expected: pd.DataFrame


def read(table: pd.DataFrame, card: Card, spec: Mapping[str, Any], *, file: str) -> Samples:
    """Read samples.

    Args:
        table: text, "" where a cell is empty; one row per sample.
        spec: `profile`, `kinds` and `tracked`, as written by `featurize`.

    Raises:
        CardError: columns that nobody knows and cells that cannot be read, all at once, by sample and column.
    """
    columns = {column["source"]: column for column in spec["profile"]}
    kinds = [kind["name"] for kind in spec["kinds"]]
    faults = _columns(table, card, columns, kinds)
    names = table["sample"] if "sample" in table else pd.Series("", index=table.index)
    names = names.where(names != "", [f"row {k + 1}" for k in range(len(table))]).reset_index(drop=True)
    table = table.reset_index(drop=True)

    def fault(place: int, what: str) -> None:
        faults.append(f"sample `{names[place]}`: {what}")

    as_of = _moments(table, fault)
    age = _numbers(table, "age_days", fault)
    rows = pd.DataFrame({LEAD_KEY: [f"sample {k}" for k in range(len(table))], "as_of": as_of})
    rows[CREATED_AT] = as_of - pd.to_timedelta(age.fillna(0.0), unit="D").astype("timedelta64[us]")
    if card.aged:
        for place in np.flatnonzero(age.isna()).tolist():
            fault(place, "the card looks at the age of a lead; give `age_days`.")
    for source, column in columns.items():
        text = table[source].replace("", None) if source in table else pd.Series(None, index=table.index, dtype=object)
        value = cleaning.clean(text, column["declared"])
        for rule, bad in checks.faults(pd.DataFrame({column["name"]: value}), column["declared"]).items():
            if rule != "required":
                for place in np.flatnonzero(bad).tolist():
                    fault(place, f"{checks.words(column['declared'], rule)}.")
        rows[column["name"]] = value
    activities = [*_records(table, "activities", as_of, fault), *_days(table, kinds, columns, as_of, fault)]
    changes = _records(table, "changes", as_of, fault)
    for record in activities:
        if record["kind"] not in kinds:
            fault(record["place"], f"an activity's `kind` is none of {', '.join(kinds)}.")
    for record in changes:
        if record["column"] not in spec["tracked"]:
            fault(record["place"], f"a change's `column` is none of {', '.join(spec['tracked'])}.")
    expected = _expected(table, names, fault)
    if faults:
        raise CardError(f"{file} cannot be read:\n" + "\n".join(f"- {one}" for one in faults))
    return Samples(
        rows,
        _history(activities, _FIELDS["activities"]),
        _history(changes, _FIELDS["changes"]),
        expected,
    )


def differences(samples: Samples, counted: pd.DataFrame) -> pd.DataFrame:
    """Where a card counts otherwise than expected: `sample`, `what`, `expected`, `counted`, in the order of the table.

    Args:
        counted: as `pipeline.scoring.card.points` returns it, for the samples' rows.
    """
    found = []
    for one in samples.expected.to_dict("records"):
        got = counted[one["what"]].iloc[one["place"]]
        expected = one["expected"]
        close = abs(got - expected) <= CLOSE + 1e-9 if isinstance(expected, float) else got == expected
        if not close:
            shown = round(float(got), 1) if isinstance(expected, float) else got
            found.append([one["sample"], one["what"], expected, shown])
    return pd.DataFrame(found, columns=["sample", "what", "expected", "counted"], dtype=object)


def _columns(table: pd.DataFrame, card: Card, columns: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    """Columns that are neither of the contract nor of a table of samples."""
    expectable = {"total", "qualifies", "suppressed", *(one.name for one in card.criteria)}
    given = [str(name) for name in table]
    asked = [name.removeprefix(EXPECT) for name in given if name.startswith(EXPECT)]
    faults = [
        f"column `{EXPECT}{name}`: the card has no criterion `{name}`." for name in asked if name not in expectable
    ]
    known = {*KEYS, *columns, *kinds}
    faults += [
        f"column `{name}` is no column or kind of activity that a score may rest on, and none of {', '.join(KEYS)}."
        for name in given
        if name not in known and not name.startswith(EXPECT)
    ]
    if not asked:
        faults.append(f"no column says what is expected; add `{EXPECT}total` or `{EXPECT}` and a criterion's name.")
    if table.empty:
        faults.append("there is no sample.")
    return faults


def _moments(table: pd.DataFrame, fault: Any) -> pd.Series:
    given = (
        table["as_of"].where(table["as_of"] != "") if "as_of" in table else pd.Series(None, table.index, dtype="str")
    )
    moment, unread = checks.moments(given)
    for place in np.flatnonzero(unread).tolist():
        fault(place, "`as_of` is not a time; write 2026-01-31 or 2026-01-31T12:00.")
    return moment.fillna(AS_OF)


def _numbers(table: pd.DataFrame, name: str, fault: Any) -> pd.Series:
    if name not in table:
        return pd.Series(np.nan, index=table.index)
    number, unread = checks.numbers(table[name].where(table[name].str.strip() != ""))
    for place in np.flatnonzero(unread | (number < 0)).tolist():
        fault(place, f"`{name}` is not a number of days, 0 or more.")
    return number


def _days(
    table: pd.DataFrame, kinds: Sequence[str], columns: Mapping[str, Any], as_of: pd.Series, fault: Any
) -> list[dict[str, Any]]:
    """Activities told as days before the as-of date, in the column of their kind."""
    found = []
    for kind in kinds:
        if kind not in table or kind in columns:
            continue
        for place, cell in enumerate(table[kind]):
            days, unread = checks.numbers(pd.Series(cell.split(), dtype="str"))
            if unread.any() or (days < 0).any():
                fault(place, f"`{kind}` is not a list of days, 0 or more, parted by blanks.")
                continue
            for one in days:
                moment = as_of[place] - pd.Timedelta(days=float(one))
                found.append({"place": place, "kind": kind, "happened_at": moment, "recorded_at": moment})
    return found


def _records(table: pd.DataFrame, name: str, as_of: pd.Series, fault: Any) -> list[dict[str, Any]]:
    """A JSON list of records per cell; a moment may be told as `days_ago`, and is recorded when it happened unless
    `recorded_at` says later."""
    found: list[dict[str, Any]] = []
    for place, cell in enumerate(table.get(name, [])):
        if not cell.strip():
            continue
        try:
            records = json.loads(cell)
        except json.JSONDecodeError:
            records = None
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            fault(place, f"`{name}` is not a JSON list of records.")
            continue
        for record in records:
            one, problem = _record(record, name, as_of[place])
            if problem:
                fault(place, f"`{name}`: {problem}")
            else:
                found.append(one | {"place": place})
    return found


def _record(record: dict[str, Any], name: str, as_of: pd.Timestamp) -> tuple[dict[str, Any], str]:
    """One activity or change with its moments read, and what is wrong with it."""
    fields = _FIELDS[name]
    moment = "happened_at" if name == "activities" else "recorded_at"
    if unknown := sorted(set(record) - {*fields, "days_ago"}):
        return {}, f"a record has the unknown key {', '.join(unknown)}; keys are {', '.join(fields)} and days_ago."
    if (moment in record) == ("days_ago" in record) or not isinstance(record.get(fields[0]), str):
        return {}, f"a record has `{fields[0]}`, and either `{moment}` or `days_ago`."
    given = {key: record[key] for key in (moment, "recorded_at") if key in record}
    times, unread = checks.moments(pd.Series(given, dtype=object))
    days = record.get("days_ago", 0)
    if unread.any() or isinstance(days, bool) or not isinstance(days, int | float):
        return {}, "a moment or `days_ago` cannot be read."
    read = dict(times)
    read.setdefault(moment, as_of - pd.Timedelta(days=float(days)))
    read.setdefault("recorded_at", read[moment])
    kept = {key: record.get(key) for key in fields if key not in (moment, "recorded_at")}
    return kept | read, ""


def _history(records: list[dict[str, Any]], fields: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame([{name: one.get(name) for name in fields} for one in records], columns=fields)
    frame.insert(0, LEAD_KEY, pd.Series([f"sample {one['place']}" for one in records], dtype="str"))
    return frame.astype({name: "datetime64[us]" if name.endswith("_at") else object for name in fields})


def _expected(table: pd.DataFrame, names: pd.Series, fault: Any) -> pd.DataFrame:
    found = []
    for column in [str(name) for name in table if str(name).startswith(EXPECT)]:
        what = column.removeprefix(EXPECT)
        for place, cell in enumerate(table[column]):
            if not cell.strip():
                continue
            value: float | bool | str = cell.strip()
            if what == "qualifies":
                if value not in ("true", "false"):
                    fault(place, f"`{column}` is neither true nor false.")
                value = value == "true"
            elif what == "suppressed":
                value = "" if value == "-" else value
            else:
                number, unread = checks.numbers(pd.Series([value], dtype="str"))
                if unread.any():
                    fault(place, f"`{column}` is not a number of points.")
                value = float(number.iloc[0])
            found.append([place, names[place], what, value])
    table_ = pd.DataFrame(found, columns=["place", "sample", "what", "expected"], dtype=object)
    return table_.sort_values("place", kind="stable", ignore_index=True)
