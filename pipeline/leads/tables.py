"""From text to typed tables: what `ingest` makes of a source's cells, by its contract.

Every cell arrives as text, so that nothing is guessed: a phone number stays text, a country `NA` stays a country. A
cell that its column's type cannot hold refuses the row, with a reason that names the column and never the value.
Personal data ends here. What is kept of personal columns are facts; a row that holds an e-mail address or a phone
number in another column's text is refused, and so is a change of a column that the contract does not name.

A table of text is a DataFrame of strings (missing is NaN) whose index is the 1-based row of the source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd

from pipeline.leads.contract import (
    ACTIVITY_COLUMNS,
    CHANGE_COLUMNS,
    CONVERTED,
    CONVERTED_AT,
    CREATED_AT,
    LEAD_KEY,
    LOST_AT,
    ROW,
    Calendar,
    Column,
    File,
    Resolved,
    fact_name,
)
from pipeline.params import NewestMoment
from pipeline.scorer import checks, facts

TABLES = ("leads", "activities", "changes")
AS_OF = "as_of"

#: A column of this type is checked and held as the dtype on the right; everything else stays text.
TIME: Final = "datetime64[us]"
NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
ISO_TIME = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_CLOCK})?"

#: What gives a person away within a text. A phone number begins with + or 00 and a country code and has 8 to 15 digits,
#: so that no plain number, amount, date or code is taken for one; numbers in a national form are not found.
PERSONAL: Final = {
    "an e-mail address": re.compile(r"[^\s@]@(?:[^\s@.,;:<>()]+\.)+[^\W\d_]{2,}"),
    "a phone number": re.compile(
        r"(?:(?<![\w+])\+\(?|(?<![\w+.,:/-])00)[1-9](?:[\s().\-\u2010-\u2015/]{0,3}\d){7,14}(?!\d)"
    ),
}

#: Beyond this a float64 no longer tells neighbouring whole numbers apart.
LARGEST_WHOLE = 2.0**53

#: Names of months, cut to three letters: `jan`, `June`, `sept`.
MONTHS = {
    month: number
    for number, month in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], start=1
    )
}


@dataclass(frozen=True)
class Typed:
    """One table, or a part of it, after typing: rows in = rows of `table` + rows of `refused` + `set_aside`.

    `table`: as this module's functions say, with `row` first. `refused`: `row`, `lead_id` (NaN where there is none),
    `reason`, `raw` (the cells as JSON). `set_aside`: rows of no use to the model, not at fault. `calendar`: year and
    month of the last row dated by a calendar; the next part goes on from there.
    """

    table: pd.DataFrame
    refused: pd.DataFrame
    set_aside: int = 0
    calendar: tuple[int, int] | None = None


def type_table(table: str, cells: pd.DataFrame, resolved: Resolved, calendar: tuple[int, int] | None = None) -> Typed:
    """Type a part of `leads`, `activities` or `changes`; `calendar` is that of the part before."""
    if table == "leads":
        return type_leads(cells, resolved, calendar=calendar)
    return type_activities(cells, resolved) if table == "activities" else type_changes(cells, resolved)


def column_faults(header: list[str], resolved: Resolved, table: str, *, scoring: bool = False) -> list[str]:
    """What is wrong with a table's columns, one sentence each; empty where nothing is.

    `leads` is closed: a column that the contract does not name is a fault, since nobody has said whether it may enter
    the model. The others need the columns that the contract names; what else they hold is not read (see `unread`). For
    scoring, only the columns that a score is made of are needed, and others are tolerated.
    """
    contract = resolved.contract
    if table == "leads":
        wanted = _needed_for_scoring(resolved) if scoring else list(contract.columns)
    else:
        wanted = _named(resolved, table)
    found = []
    if absent := [name for name in wanted if name not in header]:
        found.append(f"it lacks {_listed(absent)}, which contract {contract.name} names")
    unnamed = [name for name in header if name not in contract.columns]
    if table == "leads" and not scoring and unnamed:
        found.append(
            f"it holds {_listed(unnamed)}, which contract {contract.name} does not name; declare every column there "
            "(`role: ignored` keeps one out of the model)"
        )
    return found


def unread(header: list[str], resolved: Resolved, table: str) -> list[str]:
    """Columns of a table that the contract does not name and typing leaves out."""
    known = [*resolved.contract.columns, AS_OF] if table == "leads" else _named(resolved, table)
    return [name for name in header if name not in known]


def type_leads(
    cells: pd.DataFrame, resolved: Resolved, *, calendar: tuple[int, int] | None = None, scoring: bool = False
) -> Typed:
    """Type leads.

    Args:
        cells: text under the source's names, index the 1-based row; columns beyond the contract's are left out.
        resolved: the contract.
        calendar: year and month of the last dated row of the part before, where a calendar dates the rows.
        scoring: rows to be scored, not learned from: columns that no score is made of may be absent (their values are
            then missing), an outcome may be missing, and a column `as_of` is typed as a moment.

    Returns:
        `table`: `row` int64, `lead_id` str, `created_at`, then `converted_at` and `lost_at` (outcome by dates) or
        `converted` (by flag: bool; for scoring float64, NaN where not known), then the other columns in the contract's
        order under `resolved.names`, then facts, float64. Numbers, integers and booleans are float64, moments naive UTC
        `datetime64[us]`, everything else str. For scoring `as_of` follows where the cells hold it.
    """
    contract = resolved.contract
    common = _missing_words(contract.source.leads)
    faults = _Faults(cells)
    typed: dict[str, pd.Series] = {}
    texts: dict[str, pd.Series] = {}
    for name, column in contract.columns.items():
        if name in cells:
            texts[name] = _text(cells[name], [*common, *column.missing])
            typed[name] = _typed(texts[name], column, name, faults)
            # What is scored is not kept: there such a value is one that training has not seen, and is flagged as that.
            if not scoring:
                _nobody_in(texts[name], column, name, faults)
        else:
            texts[name] = _text(pd.Series(np.nan, index=cells.index, dtype="str"), [])
            typed[name] = _typed(texts[name], column, name, _Faults(cells))

    out: dict[str, pd.Series] = {ROW: pd.Series(cells.index, index=cells.index, dtype="int64")}
    if contract.key == "row_number":
        out[LEAD_KEY] = _row_keys(cells.index)
    else:
        out[LEAD_KEY] = texts[contract.key]
    if contract.time.column is not None:
        out[CREATED_AT] = typed[contract.time.column]
    elif contract.time.calendar is not None and contract.time.calendar.month in cells:
        out[CREATED_AT], calendar = _dated(texts, contract.time.calendar, calendar, faults)
    else:
        out[CREATED_AT] = pd.Series(np.datetime64(0, "us"), index=cells.index, dtype=TIME)
    if contract.outcome.kind == "dates":
        never = pd.Series(pd.NaT, index=cells.index, dtype=TIME)
        for target, source in ((CONVERTED_AT, contract.outcome.converted_at), (LOST_AT, contract.outcome.lost_at)):
            out[target] = typed[source] if source is not None else never
    else:
        out[CONVERTED] = _flag(texts, resolved, faults, open_allowed=scoring)

    for name, renamed in resolved.names.items():
        if renamed not in out:
            out[renamed] = typed[name]
    for name, column in contract.columns.items():
        for fact in column.facts:
            known = facts.derive(fact, texts[name]) if name in cells else pd.Series(np.nan, index=cells.index)
            out[fact_name(name, fact)] = known
    if scoring and AS_OF in cells:
        out[AS_OF] = _moment(_text(cells[AS_OF], common), None, AS_OF, faults)
    return _parted(out, faults, calendar=calendar)


def type_activities(cells: pd.DataFrame, resolved: Resolved) -> Typed:
    """Type activities: `row`, `activity_id`, `lead_id`, `kind`, `happened_at`, `recorded_at`.

    Where the contract names no key, `activity_id` is the row number as nine digits.
    """
    declared = resolved.contract.activities
    if declared is None:
        return empty("activities")
    common = _missing_words(resolved.contract.source.activities)
    faults = _Faults(cells)
    text = {name: _text(cells[name], common) for name in _named(resolved, "activities")}
    _impersonal(text[declared.kind], declared.kind, faults, declared.kinds)
    out = {
        ROW: pd.Series(cells.index, index=cells.index, dtype="int64"),
        "activity_id": _row_keys(cells.index) if declared.key is None else text[declared.key],
        LEAD_KEY: text[declared.lead],
        "kind": text[declared.kind],
        "happened_at": _moment(text[declared.happened_at], None, declared.happened_at, faults),
        "recorded_at": _moment(text[declared.recorded_at], None, declared.recorded_at, faults),
    }
    return _parted(out, faults)


def type_changes(cells: pd.DataFrame, resolved: Resolved) -> Typed:
    """Type changes: `row`, `lead_id`, `column` (a tracked source column), `recorded_at`, `old_value`, `new_value`.

    Values stay text, but must be what their column can hold. Personal values go no further: changes of columns that the
    contract names and does not track are set aside and counted; those of a column that it does not name, or of none,
    are refused, since nobody can say what their values are.
    """
    contract = resolved.contract
    declared = contract.changes
    if declared is None:
        return empty("changes")
    common = _missing_words(contract.source.changes)
    column = _text(cells[declared.column], common)
    aside = column.isin([name for name in contract.columns if name not in resolved.tracked])
    cells, column = cells[~aside], column[~aside]

    faults = _Faults(cells)
    faults.add(column.isna(), "column is missing")
    faults.add(column.notna() & ~column.isin(resolved.tracked), "column is not among those whose changes are kept")
    out = {
        ROW: pd.Series(cells.index, index=cells.index, dtype="int64"),
        LEAD_KEY: _text(cells[declared.lead], common),
        "column": column,
        "recorded_at": _moment(_text(cells[declared.recorded_at], common), None, declared.recorded_at, faults),
    }
    for target, source in (("old_value", declared.old_value), ("new_value", declared.new_value)):
        value = _text(cells[source], common)
        for name in resolved.tracked:
            mine = column == name
            value = value.mask(mine & value.isin(contract.columns[name].missing))
            _typed(value.where(mine), contract.columns[name], source, faults)
            _nobody_in(value.where(mine), contract.columns[name], source, faults)
        out[target] = value
    return _parted(out, faults, set_aside=int(aside.sum()))


def empty(table: str) -> Typed:
    """No rows of `activities` or `changes`, for a source that has none."""
    columns = ACTIVITY_COLUMNS if table == "activities" else CHANGE_COLUMNS
    out = {ROW: pd.Series(dtype="int64")}
    out |= {name: pd.Series(dtype=TIME if name.endswith("_at") else "str") for name in columns}
    return _parted(out, _Faults(pd.DataFrame()))


@dataclass
class Newest:
    """The newest recorded moment of a source that does not state it, proof against single wrong dates.

    One lead dated 2204 must not mature every snapshot. Moments are counted by day; the newest is the last one that lies
    within `slack_days`, or `slack_share` of the history, of the day by which all but `outlier_share` of the moments
    have passed. The history is what lies between the outermost `outlier_share` of the moments at either end.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("recorded_at", CREATED_AT, CONVERTED_AT, LOST_AT)

    params: NewestMoment
    days: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, table: pd.DataFrame) -> None:
        """Count the moments of a typed table."""
        for name in self.COLUMNS:
            if name not in table or not len(table):
                continue
            moments = table[name].dropna().to_numpy(dtype=TIME).view("int64")
            by_day = pd.Series(moments).groupby(moments // 86_400_000_000).agg(["size", "max"])
            for day, size, newest in by_day.itertuples():
                count, latest = self.days.get(int(day), (0, int(newest)))
                self.days[int(day)] = (count + int(size), max(latest, int(newest)))

    def result(self) -> tuple[pd.Timestamp | None, int]:
        """The newest plausible moment (None where there is none), and how many moments lie after it."""
        if not self.days:
            return None, 0
        days = np.array(sorted(self.days))
        passed = np.cumsum([self.days[int(day)][0] for day in days])
        ends = (self.params.outlier_share, 1 - self.params.outlier_share)
        first, last = (int(days[np.searchsorted(passed, share * passed[-1])]) for share in ends)
        limit = last + max(self.params.slack_days, int(self.params.slack_share * (last - first)))
        plausible = days[days <= limit]
        newest = pd.Timestamp(np.datetime64(self.days[int(plausible[-1])][1], "us"))
        return newest, int(passed[-1] - passed[len(plausible) - 1])


# Cells to values


class _Faults:
    """Reasons by row, gathered while the columns of one part are typed."""

    def __init__(self, cells: pd.DataFrame) -> None:
        self.cells = cells
        self.reasons: dict[int, list[str]] = {}

    def add(self, bad: pd.Series, reason: str) -> None:
        for row in bad.index[bad.to_numpy(dtype=bool)]:
            self.reasons.setdefault(row, []).append(reason)


def _text(cells: pd.Series, missing: list[str]) -> pd.Series:
    """Cells as `str`, declared words for missing as NaN."""
    text = cells.astype("str")
    return text.mask(text.isin(missing)) if missing else text


def _typed(text: pd.Series, column: Column, name: str, faults: _Faults) -> pd.Series:
    """One column as its type says; identifiers and personal columns stay text whatever they look like."""
    if column.role in ("identifier", "personal"):
        return text
    if column.type == "timestamp":
        return _moment(text, column.format, name, faults)
    if column.type == "boolean":
        return _boolean(text, name, faults)
    if column.type in ("number", "integer"):
        return _number(text, name, faults, whole=column.type == "integer")
    return text


def _nobody_in(text: pd.Series, column: Column, name: str, faults: _Faults) -> None:
    """Refuse cells of words that name a person. Identifiers are taken as they are: they may look like anything."""
    if column.role not in ("identifier", "personal") and column.type in ("category", "text"):
        _impersonal(text, name, faults, column.values or ())


def _impersonal(text: pd.Series, name: str, faults: _Faults, declared: Collection[str]) -> None:
    """Refuse cells that look like personal data, but for words that the contract itself holds."""
    words = [word for word in text.dropna().unique() if word not in declared]
    for what, pattern in PERSONAL.items():
        if found := [word for word in words if pattern.search(word)]:
            faults.add(text.isin(found), f"column `{name}` holds what looks like {what}")


def _number(text: pd.Series, name: str, faults: _Faults, *, whole: bool) -> pd.Series:
    given = text.notna()
    stripped = text.str.strip()
    readable = stripped.str.fullmatch(NUMBER).fillna(False).astype(bool)
    value = pd.Series(np.nan, index=text.index, dtype="float64")
    value[readable] = np.array([float(cell) for cell in stripped[readable]], dtype="float64")
    faults.add(given & ~readable, f"column `{name}` is not a {'whole ' if whole else ''}number")
    finite = value.abs().lt(np.inf) | ~readable
    faults.add(~finite, f"column `{name}` is too large a number")
    if whole:
        faults.add(readable & finite & (value % 1 != 0), f"column `{name}` is not a whole number")
        faults.add(readable & finite & (value.abs() > LARGEST_WHOLE), f"column `{name}` is too large a whole number")
    return value


def _boolean(text: pd.Series, name: str, faults: _Faults) -> pd.Series:
    value, neither = checks.booleans(text)
    faults.add(neither, f"column `{name}` is not true or false (or yes, no, 1, 0)")
    return value


def _moment(text: pd.Series, format_: str | None, name: str, faults: _Faults) -> pd.Series:
    """Naive UTC; an offset is converted, a moment without one is UTC. Digits beyond the microsecond are cut off."""
    stripped = text.str.strip()
    if format_ is not None:
        value = pd.to_datetime(stripped, format=format_, utc=True, errors="coerce")
        wanted = f"a moment of the form `{format_}`"
    else:
        readable = stripped.where(stripped.str.fullmatch(ISO_TIME).fillna(False).astype(bool))
        readable = readable.str.replace(r"(\.[0-9]{6})[0-9]+", r"\1", regex=True)
        value = pd.to_datetime(readable, format="ISO8601", utc=True, errors="coerce")
        wanted = "an ISO 8601 date or time (if the file uses another form, declare it as the column's `format`)"
    faults.add(text.notna() & value.isna(), f"column `{name}` is not {wanted}")
    return value.dt.tz_localize(None).astype(TIME)


def _flag(texts: dict[str, pd.Series], resolved: Resolved, faults: _Faults, *, open_allowed: bool) -> pd.Series:
    """Whether the outcome column holds the positive word; an outcome that is neither is a fault, never a quiet no."""
    outcome = resolved.contract.outcome
    assert outcome.column is not None and outcome.positive is not None, "a flag names both"
    column, text = resolved.contract.columns[outcome.column], texts[outcome.column]
    if column.type == "boolean":
        value, _ = checks.booleans(text)
        positive, _ = checks.booleans(pd.Series([outcome.positive], dtype="str"))
        value = (value == positive.item()).astype("float64").where(value.notna())
    else:
        value = (text == outcome.positive).astype("float64").where(text.notna())
        if column.values is not None:
            undeclared = text.notna() & ~text.isin(column.values)
            faults.add(undeclared, f"column `{outcome.column}` is none of its declared values")
    if open_allowed:
        return value
    faults.add(text.isna(), f"column `{outcome.column}`, the outcome, is missing")
    return value == 1.0


def _dated(
    texts: dict[str, pd.Series], calendar: Calendar, before: tuple[int, int] | None, faults: _Faults
) -> tuple[pd.Series, tuple[int, int] | None]:
    """Dates of rows in time order: a month that falls starts a new year. Without a day, the first of the month."""
    month = texts[calendar.month].str.strip().str.lower().str.slice(stop=3).map(MONTHS)
    faults.add(month.isna(), f"column `{calendar.month}` names no month")
    known = month.dropna().astype("int64")
    year, last = before if before is not None else (calendar.first_year, 0)
    falls = np.diff(known.to_numpy(), prepend=last) < 0
    years = pd.Series(year + np.cumsum(falls), index=known.index)
    after = (int(years.iloc[-1]), int(known.iloc[-1])) if len(known) else before

    day = pd.Series(1.0, index=month.index)
    if calendar.day is not None:
        day = _number(texts[calendar.day], calendar.day, _Faults(faults.cells), whole=True)
    parts = pd.DataFrame({"year": years, "month": known, "day": day.reindex(known.index)})
    dates = pd.to_datetime(parts.where(parts["day"] % 1 == 0), errors="coerce").reindex(month.index)
    faults.add(month.notna() & dates.isna(), f"columns `{calendar.day}` and `{calendar.month}` name no date")
    return dates.astype(TIME), after


def _row_keys(rows: pd.Index) -> pd.Series:
    return pd.Series([f"{row:09d}" for row in rows], index=rows, dtype="str")


# Tables to parts


def _parted(
    out: dict[str, pd.Series], faults: _Faults, *, set_aside: int = 0, calendar: tuple[int, int] | None = None
) -> Typed:
    table = pd.DataFrame(out)
    bad = list(faults.reasons)
    cells = faults.cells.loc[bad]
    refused = pd.DataFrame(
        {
            ROW: pd.Series(bad, dtype="int64"),
            LEAD_KEY: table.loc[bad, LEAD_KEY].reset_index(drop=True) if bad else pd.Series(dtype="str"),
            "reason": pd.Series(["; ".join(reasons) for reasons in faults.reasons.values()], dtype="str"),
            "raw": pd.Series([_json(record) for record in cells.to_dict("records")], dtype="str"),
        }
    ).sort_values(ROW, ignore_index=True)
    kept = table.drop(index=bad) if bad else table
    return Typed(table=kept.reset_index(drop=True), refused=refused, set_aside=set_aside, calendar=calendar)


def _json(record: dict[Any, Any]) -> str:
    return json.dumps({key: None if pd.isna(value) else value for key, value in record.items()}, ensure_ascii=False)


# What the contract names


def _named(resolved: Resolved, table: str) -> list[str]:
    """Source columns of activities or changes that the contract names; none where it has no such table."""
    declared = getattr(resolved.contract, table)
    if declared is None:
        return []
    named = declared.model_dump(exclude={"kinds"})
    return [name for name in named.values() if name is not None]


def _needed_for_scoring(resolved: Resolved) -> list[str]:
    contract = resolved.contract
    needed = {contract.key, contract.time.column, *resolved.features}
    return [name for name in contract.columns if name in needed]


def _missing_words(file: File | None) -> list[str]:
    return [""] if file is None else file.missing


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:10])
    noun = "column" if len(names) == 1 else "columns"
    return f"the {noun} {shown}" + (f" and {len(names) - 10} more" if len(names) > 10 else "")
