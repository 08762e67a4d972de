"""From text to typed tables: what `ingest` makes of a source's cells, by its contract.

Every cell arrives as text, so that nothing is guessed: a phone number stays text, a country `NA` stays a country. A
cell that its column's type cannot hold refuses the row, with a reason that names the column and never the value.
Personal data ends here. What is kept of personal columns are facts; a row that holds an e-mail address or a phone
number in another column is refused, and so is a change of a column that the contract does not name. Names, and what
only shows beside the rest of its column, are `people`'s to find, which is handed the personal cells for it.

A table of text is a DataFrame of strings (missing is NaN) whose index is the 1-based row of the source.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd

from pipeline.leads import personal
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

#: Stands in what is scored for a word that looks like personal data.
HIDDEN = "(personal)"

#: Why a row is refused whose key is personal.
NAMES_SOMEBODY = (
    "names rows by what looks like an e-mail address or a phone number (take a key that names nobody, such as "
    "`key: row_number`)"
)

#: A row with so many cells that their columns cannot hold is one whose cells stand in each other's place.
MOVED = 3

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
    month of the last row dated by a calendar; the next part goes on from there. `personal`: the text of personal
    columns under the source's names, of every row with fewer than `MOVED` faults, to be looked for elsewhere and then
    forgotten. `changed`: of changes set aside, how many replace one value by another, per column. `moments`: which
    column of which lead these changed and when (`lead_id`, `column`, `recorded_at`), personal columns left out; no
    values.
    """

    table: pd.DataFrame
    refused: pd.DataFrame
    set_aside: int = 0
    calendar: tuple[int, int] | None = None
    personal: pd.DataFrame | None = None
    changed: dict[str, int] = field(default_factory=dict)
    moments: pd.DataFrame | None = None


def type_table(
    table: str,
    cells: pd.DataFrame,
    resolved: Resolved,
    calendar: tuple[int, int] | None = None,
    *,
    decimal: str = ".",
) -> Typed:
    """Type a part of `leads`, `activities` or `changes`; `calendar` is that of the part before."""
    if table == "leads":
        return type_leads(cells, resolved, calendar=calendar, decimal=decimal)
    if table == "activities":
        return type_activities(cells, resolved)
    return type_changes(cells, resolved, decimal=decimal)


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
    words = pd.Series(unnamed, dtype="str")
    if (personal.has_email(words) | (personal.phone_degree(words) >= personal.LIKELY)).any():
        # What a file without a header would be told of its columns are the values of its first row.
        return ["its first line holds what looks like an e-mail address or a phone number; it must name the columns"]
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
    cells: pd.DataFrame,
    resolved: Resolved,
    *,
    calendar: tuple[int, int] | None = None,
    scoring: bool = False,
    decimal: str = ".",
) -> Typed:
    """Type leads.

    Args:
        cells: text under the source's names, index the 1-based row; columns beyond the contract's are left out.
        resolved: the contract.
        calendar: year and month of the last dated row of the part before, where a calendar dates the rows.
        scoring: rows to be scored, not learned from: columns that no score is made of may be absent (their values are
            then missing), an outcome may be missing, and a column `as_of` is typed as a moment.
        decimal: the sign that numbers of these cells are written with.

    Returns:
        `table`: `row` int64, `lead_id` str, `created_at`, then `converted_at` and `lost_at` (outcome by dates) or
        `converted` (by flag: bool; for scoring float64, NaN where not known), then the other columns in the contract's
        order under `resolved.names`, then facts, float64. Numbers, integers and booleans are float64, moments naive UTC
        `datetime64[us]`, everything else str. For scoring `as_of` follows where the cells hold it.
    """
    contract = resolved.contract
    common = _missing_words(contract.source.leads)
    undecided = pd.Series(False, index=cells.index) if scoring else _undecided(cells, resolved)
    cells = cells[~undecided]
    faults = _Faults(cells)
    typed: dict[str, pd.Series] = {}
    texts: dict[str, pd.Series] = {}
    for name, column in contract.columns.items():
        if name in cells:
            texts[name] = _pointed(_text(cells[name], [*common, *column.missing]), column, decimal)
            if scoring and column.role not in ("identifier", "personal") and column.type in ("category", "text"):
                texts[name] = _hidden(texts[name], column.values or ())
            typed[name] = _typed(texts[name], column, name, faults)
            if not scoring or column.type in ("number", "integer"):
                _nobody_in(texts[name], column, name, faults)
            elif name == contract.key:
                _nobodys_key(texts[name], name, faults)
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
        if contract.outcome.closed_at is not None:
            out[CONVERTED_AT], out[LOST_AT] = _ends(texts, typed, resolved, _Faults(cells) if scoring else faults)
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
    told = [name for name, column in contract.columns.items() if column.role == "personal" and name in cells]
    aside = int(undecided.sum())
    # A row whose cells have moved holds in its personal columns what is no person's: `good fit`, a country, a day.
    moved = [row for row, reasons in faults.reasons.items() if len(reasons) >= MOVED]
    seen = pd.DataFrame({name: texts[name] for name in told}).drop(index=moved if told else [])
    return _parted(out, faults, set_aside=aside, calendar=calendar, personal=seen)


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
    for name in (declared.key, declared.lead):
        if name is not None:
            _nobodys_key(text[name], name, faults)
    out = {
        ROW: pd.Series(cells.index, index=cells.index, dtype="int64"),
        "activity_id": _row_keys(cells.index) if declared.key is None else text[declared.key],
        LEAD_KEY: text[declared.lead],
        "kind": text[declared.kind],
        "happened_at": _moment(text[declared.happened_at], declared.format, declared.happened_at, faults),
        "recorded_at": _moment(text[declared.recorded_at], declared.format, declared.recorded_at, faults),
    }
    return _parted(out, faults)


def type_changes(cells: pd.DataFrame, resolved: Resolved, *, decimal: str = ".") -> Typed:
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
    told = _told(cells, column, resolved)
    old, new = (_text(cells[name], common) for name in (declared.old_value, declared.new_value))
    # A first value, entered when the lead was, is no change.
    counts = column[aside & old.notna() & (old != new)].value_counts()
    changed = {str(name): int(count) for name, count in counts.items()}
    moments = _moments(cells[aside], column[aside], resolved)
    cells, column = cells[~aside], column[~aside]

    faults = _Faults(cells)
    _nobodys_key(_text(cells[declared.lead], common), declared.lead, faults)
    faults.add(column.isna(), "column is missing")
    faults.add(column.notna() & ~column.isin(resolved.tracked), "column is not among those whose changes are kept")
    out = {
        ROW: pd.Series(cells.index, index=cells.index, dtype="int64"),
        LEAD_KEY: _text(cells[declared.lead], common),
        "column": column,
        "recorded_at": _moment(
            _text(cells[declared.recorded_at], common), declared.format, declared.recorded_at, faults
        ),
    }
    for target, source in (("old_value", declared.old_value), ("new_value", declared.new_value)):
        value = _text(cells[source], common)
        for name in resolved.tracked:
            mine = column == name
            value = value.mask(mine & value.isin(contract.columns[name].missing))
            value = value.where(~mine, _pointed(value, contract.columns[name], decimal))
            _typed(value.where(mine), contract.columns[name], source, faults)
            _nobody_in(value.where(mine), contract.columns[name], source, faults)
        out[target] = value
    return replace(_parted(out, faults, set_aside=int(aside.sum()), personal=told), changed=changed, moments=moments)


def _moments(cells: pd.DataFrame, column: pd.Series, resolved: Resolved) -> pd.DataFrame:
    """When columns whose values are not followed changed; what names nobody and has a readable moment."""
    declared = resolved.contract.changes
    assert declared is not None, "there are changes"
    common = _missing_words(resolved.contract.source.changes)
    unreadable = _Faults(cells)
    lead = _text(cells[declared.lead], common)
    _nobodys_key(lead, declared.lead, unreadable)
    at = _moment(_text(cells[declared.recorded_at], common), declared.format, declared.recorded_at, unreadable)
    personal_ = [name for name, about in resolved.contract.columns.items() if about.role == "personal"]
    fine = lead.notna() & at.notna() & ~column.isin(personal_) & ~cells.index.isin(list(unreadable.reasons))
    table = pd.DataFrame({LEAD_KEY: lead, "column": column, "recorded_at": at})
    return table[fine].reset_index(drop=True)


def _told(cells: pd.DataFrame, column: pd.Series, resolved: Resolved) -> pd.DataFrame:
    """What changes of personal columns tell: their old and new values, column by column."""
    declared = resolved.contract.changes
    assert declared is not None, "there are changes"
    common = _missing_words(resolved.contract.source.changes)
    values = [_text(cells[source], common) for source in (declared.old_value, declared.new_value)]
    named = [name for name, about in resolved.contract.columns.items() if about.role == "personal"]
    told = {
        name: pd.concat([value[column == name] for value in values], ignore_index=True)
        for name in named
        if (column == name).any()
    }
    return pd.DataFrame(told)


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


def _pointed(text: pd.Series, column: Column, decimal: str) -> pd.Series:
    """Numbers with a decimal point, from a file that writes another sign; there a point is no part of a number."""
    if decimal == "." or column.type not in ("number", "integer"):
        return text
    return text.str.translate({ord(decimal): ".", ord("."): decimal})


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
    """Refuse cells that name a person, by what they look like alone."""
    if column.role == "identifier":
        _nobodys_key(text, name, faults)
    elif column.role == "personal":
        return
    elif column.type in ("category", "text"):
        _impersonal(text, name, faults, column.values or ())
    elif column.type in ("number", "integer"):
        faults.add(_phone_cells(text), f"column `{name}` holds what looks like a phone number")


def _impersonal(text: pd.Series, name: str, faults: _Faults, declared: Collection[str]) -> None:
    """Refuse cells that look like personal data, but for words that the contract itself holds."""
    for what, words in _people(text, declared).items():
        if words:
            faults.add(text.isin(words), f"column `{name}` holds what looks like {what}")


def _hidden(text: pd.Series, declared: Collection[str]) -> pd.Series:
    """Cells that look like personal data as a word that training has not seen either: a lead is scored all the same,
    and nothing that is kept of the score names anybody."""
    words = [word for found in _people(text, declared).values() for word in found]
    return text.mask(text.isin(words), HIDDEN) if words else text


def _people(text: pd.Series, declared: Collection[str]) -> dict[str, list[str]]:
    """Words that look like personal data, by what they look like."""
    words = pd.Series([word for word in text.dropna().unique() if word not in declared], dtype="str")
    return {
        "an e-mail address": list(words[personal.has_email(words)]),
        "a phone number": list(words[personal.phone_degree(words) >= personal.CERTAIN]),
    }


def _nobodys_key(text: pd.Series, name: str, faults: _Faults) -> None:
    """Refuse rows that are named by an e-mail address or a phone number: their name would stand in every table."""
    # Of the many keys of a table few have a sign that one of the two needs: plain digits name nobody.
    signs = text.str.contains(r"[@%+(\[/ ]", regex=True).fillna(False).astype(bool)
    words = pd.Series(text[signs].unique(), dtype="str")
    found = personal.has_email(words) | (personal.phone_degree(words) >= personal.CERTAIN)
    if found.any():
        faults.add(text.isin(list(words[found])), f"column `{name}` {NAMES_SOMEBODY}")


def _phone_cells(text: pd.Series) -> pd.Series:
    """Numbers written as phone numbers are: with + and 8 to 15 digits, or with zeros in front.

    Where most of a column is written so, numbers too short for a phone among them, that is how the column is written.
    """
    stripped = text.dropna().str.strip()
    found = pd.Series(False, index=text.index)
    for sign, phone in ((r"[+]", r"[+][1-9][0-9]{7,14}"), (r"0[0-9]", r"00[1-9][0-9]{5,12}|0[1-9][0-9]{8,10}")):
        begins = stripped.str.match(sign).astype(bool)
        phones = begins & stripped.str.fullmatch(phone).astype(bool)
        if phones.any() and (phones.sum() == begins.sum() or begins.sum() <= len(stripped) / 2):
            found |= phones.reindex(found.index, fill_value=False)
    return found


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
        readable = stripped.where(stripped.str.fullmatch(checks.ISO_TIME).fillna(False).astype(bool))
        readable = readable.str.replace(r"(\.[0-9]{6})[0-9]+", r"\1", regex=True)
        value = pd.to_datetime(readable, format="ISO8601", utc=True, errors="coerce")
        wanted = "an ISO 8601 date or time (if the file uses another form, declare it as the column's `format`)"
    faults.add(text.notna() & value.isna(), f"column `{name}` is not {wanted}")
    return value.dt.tz_localize(None).astype(TIME)


def _undecided(cells: pd.DataFrame, resolved: Resolved) -> pd.Series:
    """Rows whose outcome is still open, by the words that the contract names for that."""
    contract = resolved.contract
    outcome = contract.outcome
    if outcome.flag is None or outcome.open is None:
        return pd.Series(False, index=cells.index)
    missing = [*_missing_words(contract.source.leads), *contract.columns[outcome.flag].missing]
    text = _text(cells[outcome.flag], missing)
    return text.isin(outcome.open) | (text.isna() if "" in outcome.open else False)


def _ends(
    texts: dict[str, pd.Series], typed: dict[str, pd.Series], resolved: Resolved, faults: _Faults
) -> tuple[pd.Series, pd.Series]:
    """Moments of conversion and of loss, where one column dates both and another says which it was."""
    outcome = resolved.contract.outcome
    assert outcome.column is not None and outcome.closed_at is not None, "the one goes with the other"
    text, closed = texts[outcome.column], typed[outcome.closed_at]
    won = _is_won(text, resolved)
    open_ = won.isna() | text.isin(outcome.open or [])
    faults.add(
        ~open_ & closed.isna(), f"column `{outcome.closed_at}` is missing where `{outcome.column}` says it is closed"
    )
    return closed.where(~open_ & (won == 1.0)), closed.where(~open_ & (won == 0.0))


def _is_won(text: pd.Series, resolved: Resolved) -> pd.Series:
    """1.0 where the outcome column holds a word for converted, 0.0 where it holds another, NaN where it holds none."""
    outcome = resolved.contract.outcome
    assert outcome.column is not None and outcome.won, "a column comes with its words"
    if resolved.contract.columns[outcome.column].type == "boolean":
        value, _ = checks.booleans(text)
        positive, _ = checks.booleans(pd.Series(outcome.won, dtype="str"))
        return value.isin(positive).astype("float64").where(value.notna())
    return text.isin(outcome.won).astype("float64").where(text.notna())


def _flag(texts: dict[str, pd.Series], resolved: Resolved, faults: _Faults, *, open_allowed: bool) -> pd.Series:
    """Whether the outcome column holds the positive word; an outcome that is neither is a fault, never a quiet no."""
    outcome = resolved.contract.outcome
    assert outcome.column is not None, "a flag names its column"
    column, text = resolved.contract.columns[outcome.column], texts[outcome.column]
    value = _is_won(text, resolved)
    if column.type != "boolean" and column.values is not None:
        undeclared = text.notna() & ~text.isin(column.values)
        faults.add(undeclared, f"column `{outcome.column}` is none of its declared values")
    if open_allowed:
        return value.mask(text.isin(outcome.open or []))
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
    out: dict[str, pd.Series],
    faults: _Faults,
    *,
    set_aside: int = 0,
    calendar: tuple[int, int] | None = None,
    personal: pd.DataFrame | None = None,
) -> Typed:
    table = pd.DataFrame(out)
    bad = list(faults.reasons)
    cells = faults.cells.loc[bad]
    # A key that names somebody goes no further either.
    named = [any(NAMES_SOMEBODY in said for said in faults.reasons[row]) for row in bad]
    keys = table.loc[bad, LEAD_KEY].mask(np.array(named, dtype=bool)) if bad else pd.Series(dtype="str")
    refused = pd.DataFrame(
        {
            ROW: pd.Series(bad, dtype="int64"),
            LEAD_KEY: keys.reset_index(drop=True),
            "reason": pd.Series(["; ".join(reasons) for reasons in faults.reasons.values()], dtype="str"),
            "raw": pd.Series([_json(record) for record in cells.to_dict("records")], dtype="str"),
        }
    ).sort_values(ROW, ignore_index=True)
    kept = table.drop(index=bad) if bad else table
    return Typed(kept.reset_index(drop=True), refused, set_aside, calendar, personal)


def _json(record: dict[Any, Any]) -> str:
    return json.dumps({key: None if pd.isna(value) else value for key, value in record.items()}, ensure_ascii=False)


# What the contract names


def _named(resolved: Resolved, table: str) -> list[str]:
    """Source columns of activities or changes that the contract names; none where it has no such table."""
    declared = getattr(resolved.contract, table)
    if declared is None:
        return []
    named = declared.model_dump(exclude={"kinds", "format"})
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
