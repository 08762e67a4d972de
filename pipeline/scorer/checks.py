"""What a lead's row must keep to be scored: the declarations of its contract, row by row, as validation words them.

A row that `validate` would set aside must not get a score. `faults` judges the values of one column and `refusals`
whole rows; `validate` takes its reasons from `words`, so that one fault has one name wherever it is met. What concerns
a table rather than a row (a key that repeats, a lead that does not exist) is validation's alone.

A column is a plain dict: `name`; `type` (number, integer, boolean, category, text, timestamp); and, each optional,
`required`, `min`, `max`, `values`, `not_before` and `not_with` (names of other columns), `missing` (words that stand
for no value), `format` (of timestamps), `own` (rules that the contract adds: `expectation`, `kwargs`, `reason`).
"""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

#: Rules of one column in the order they are judged.
RULES = ("required", "type", "finite", "whole", "min", "max", "values", "not_before", "not_with")

#: No number of a row may be larger, either side of zero: scores are computed in single precision.
LARGEST = float(np.finfo(np.float32).max)

TRUE_WORDS = ("true", "1", "1.0", "yes")
FALSE_WORDS = ("false", "0", "0.0", "no")

_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
#: A moment as text, where no format is named.
ISO_TIME = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_CLOCK})?"
_ISO = re.compile(ISO_TIME)

#: Digits of a second beyond the microsecond.
FINER = re.compile(r"(:\d{2}[.,]\d{6})\d+")

_NOT_OF_TYPE = {"boolean": "is neither true nor false", "timestamp": "is not a time"}


def words(column: Mapping[str, Any], rule: str) -> str:
    """The reason given when `column` breaks `rule`: plain English, with the limit and never with the value."""
    name = column["name"]
    said = {
        "required": "is missing",
        "type": _NOT_OF_TYPE.get(column["type"], "is not a number"),
        "finite": f"is infinite or beyond {LARGEST:.1e}",
        "whole": "is not a whole number",
        "min": f"is below {plain(column.get('min'))}",
        "max": f"is above {plain(column.get('max'))}",
        "values": "is not among the declared values",
        "not_before": f"is before {column.get('not_before')}",
        "not_with": f"is filled together with {column.get('not_with')}",
    }[rule]
    return f"{name} {said}"


def refusals(rows: pd.DataFrame, columns: Sequence[Mapping[str, Any]]) -> pd.Series:
    """Why each row cannot be scored.

    Args:
        rows: one row per (lead, as-of), typed or as text; a column that is absent counts as missing values. Where
            `as_of` is present it must be filled and must not lie before `created_at`.
        columns: what the contract declares, see above.

    Returns:
        Series of str under the index of `rows`: "" where the row may be scored, else every reason, joined by "; ".
    """
    reasons = np.full(len(rows), "", dtype=object)

    def add(bad: pd.Series | np.ndarray, reason: str) -> None:
        where = np.asarray(bad, dtype=bool)
        reasons[where] = np.where(reasons[where] == "", reason, reasons[where] + "; " + reason)

    for column in columns:
        for rule, bad in faults(rows, column).items():
            add(bad, words(column, rule))
        for own in column.get("own", ()):
            if column["name"] in rows:
                add(breaks(rows[column["name"]], column, own), own["reason"])
    if "as_of" in rows:
        as_of, unread = moments(rows["as_of"])
        add(unread, "as_of is not a time")
        add(as_of.isna() & ~unread, "as_of is missing")
        if "created_at" in rows:
            add(as_of < moments(rows["created_at"])[0], "as_of is before created_at")
    return pd.Series(reasons, index=rows.index, dtype="str")


def believable_activities(activities: pd.DataFrame, created: pd.Series) -> pd.Series:
    """Where an activity keeps what validation asks of it: both moments given, none before its lead, recorded last.

    Args:
        activities: happened_at, recorded_at as `datetime64[us]`; `created`: creation of each row's lead, same index.
    """
    happened, recorded = activities["happened_at"], activities["recorded_at"]
    whole = happened.notna() & recorded.notna()
    return whole & ~before(happened, created) & ~before(recorded, happened)


def believable_changes(
    changes: pd.DataFrame, created: pd.Series, tracked: Mapping[str, Mapping[str, Any]]
) -> pd.Series:
    """Where a change keeps what validation asks of it: recorded, not before its lead, values of their column's kind.

    Args:
        changes: column, recorded_at, old_value, new_value; `created` as above.
        tracked: source name -> what is declared of the column; changes of other columns are no concern here.
    """
    kept = changes["recorded_at"].notna() & ~before(changes["recorded_at"], created)
    for source, column in tracked.items():
        mine = changes["column"] == source
        for side in ("old_value", "new_value"):
            values = changes.loc[mine, [side]].set_axis([column["name"]], axis=1)
            for rule, bad in faults(values, column).items():
                if rule != "required":
                    kept &= ~bad.reindex(changes.index, fill_value=False)
    return kept


def faults(rows: pd.DataFrame, column: Mapping[str, Any]) -> dict[str, pd.Series]:
    """Where the values of one column break what is declared of it.

    Returns:
        rule -> bool Series under the index of `rows`, True where broken; only rules that are declared or that the type
        implies, in the order of `RULES`. A missing value breaks nothing but `required`.
    """
    values = rows[column["name"]] if column["name"] in rows else pd.Series(np.nan, index=rows.index, dtype=object)
    missing = blank(values, column.get("missing") or ())
    found: dict[str, pd.Series] = {}
    if column.get("required"):
        found["required"] = missing
    kind = column["type"]
    if kind in ("number", "integer"):
        number, unread = numbers(values.mask(missing))
        found["type"] = unread
        found["finite"] = number.abs() > LARGEST
        if kind == "integer":
            found["whole"] = broken_whole(number)
        if column.get("min") is not None:
            found["min"] = number < column["min"]
        if column.get("max") is not None:
            found["max"] = number > column["max"]
    elif kind == "boolean":
        found["type"] = booleans(values.mask(missing))[1]
    elif kind == "timestamp":
        moment, found["type"] = moments(values.mask(missing), column.get("format"))
        if column.get("not_before") in rows:
            found["not_before"] = before(moment, moments(rows[column["not_before"]])[0])
    elif column.get("values") is not None:
        found["values"] = ~missing & ~values.astype("str").isin([str(value) for value in column["values"]])
    if column.get("not_with") in rows:
        found["not_with"] = ~missing & ~blank(rows[column["not_with"]])
    return found


def breaks(values: pd.Series, column: Mapping[str, Any], own: Mapping[str, Any]) -> pd.Series:
    """True where a value breaks a rule that the contract adds; a missing value, or one not of its type, breaks none.

    Args:
        own: `expectation` and `kwargs`, those of Great Expectations that look at one column and judge row by row.
    """
    name, given, kind = own["expectation"], own["kwargs"], column["type"]
    filled = values.mask(blank(values, column.get("missing") or ()))
    held: pd.Series
    if kind in ("number", "integer"):
        held = numbers(filled)[0]
    elif kind == "timestamp":
        held = moments(filled, column.get("format"))[0]
    else:
        held = filled.astype("str")
    if name.endswith("_in_set"):
        kept = held.isin(given["value_set"])
        kept = ~kept if "_to_not_" in name else kept
    elif "_regex" in name:
        patterns = given["regex_list"] if name.endswith("_list") else [given["regex"]]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This pattern is interpreted as a regular expression", UserWarning)
            hits = np.array([held.str.contains(pattern, na=False).to_numpy(dtype=bool) for pattern in patterns])
        found: np.ndarray = np.all(hits, axis=0) if given.get("match_on") == "all" else np.any(hits, axis=0)
        kept = pd.Series(~found if "_to_not_" in name else found, index=values.index)
    else:
        size = held.str.len() if "_lengths_" in name else held
        low, high = given.get("min_value", given.get("value")), given.get("max_value", given.get("value"))
        if kind == "timestamp":
            low, high = (None if end is None else moments(pd.Series([end], dtype="str"))[0][0] for end in (low, high))
        kept = pd.Series(True, index=values.index)
        if low is not None:
            kept &= size > low if given.get("strict_min") else size >= low
        if high is not None:
            kept &= size < high if given.get("strict_max") else size <= high
    return held.notna() & ~kept


def blank(values: pd.Series, missing: Sequence[str] = ()) -> pd.Series:
    """True where there is no value: NaN, None, text of blanks only, or one of the words `missing`."""
    nothing = values.isna()
    if values.dtype.kind in "fiubM":
        return nothing
    text = values.astype("str").where(~nothing)
    return nothing | (text.str.strip() == "") | text.isin(list(missing))


def numbers(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Values as float64, and where a value is there but is no number."""
    if values.dtype.kind in "fiub":
        return values.astype("float64"), pd.Series(False, index=values.index)
    text = values.astype("str").str.strip().where(values.notna())
    number = pd.to_numeric(text.astype(object), errors="coerce").astype("float64")
    return number, values.notna() & number.isna()


def booleans(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Values as float64 (1.0 true, 0.0 false), and where a value is there but is neither."""
    text = values.astype("str").str.strip().str.lower().where(values.notna())
    found = np.where(text.isin(TRUE_WORDS), 1.0, np.where(text.isin(FALSE_WORDS), 0.0, np.nan))
    number = pd.Series(found, index=values.index)
    return number, values.notna() & number.isna()


def moments(values: pd.Series, format: str | None = None) -> tuple[pd.Series, pd.Series]:
    """Values as naive UTC `datetime64[us]`, and where a value is there but is no time."""
    if values.dtype.kind == "M":
        moment = values
    else:
        given = ~blank(values)
        # Read to the microsecond: one row in nanoseconds would narrow the range of all.
        text = values.astype(object).where(given).map(_iso if format is None else _to_microseconds)
        moment = pd.to_datetime(text, errors="coerce", utc=True, format=format or "ISO8601")
    if getattr(moment.dtype, "tz", None) is not None:
        moment = moment.dt.tz_convert("UTC").dt.tz_localize(None)
    moment = moment.astype("datetime64[us]")
    return moment, ~blank(values) & moment.isna()


def _iso(value: object) -> object:
    """A moment, or text that may be read as one; None for anything else. pandas would take a number for nanoseconds
    since 1970, and text that people write in other orders for a date."""
    if isinstance(value, str):
        text = value.strip()
        return FINER.sub(r"\1", text) if _ISO.fullmatch(text) else None
    if isinstance(value, pd.Timestamp):
        return value.as_unit("us")
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]")
    return value if isinstance(value, datetime.date) else None


def _to_microseconds(value: object) -> object:
    return FINER.sub(r"\1", value) if isinstance(value, str) else value


def before(left: pd.Series, right: pd.Series | pd.Timestamp) -> pd.Series:
    """True where `left` lies before `right`; a missing moment is never before.

    A moment at exactly midnight is taken for a date, which lasts all day: an activity dated 3 March is not before its
    lead created on 3 March at 10:40.
    """
    day = right.dt.floor("D") if isinstance(right, pd.Series) else right.floor("D")
    dated = left == left.dt.floor("D")
    return (left < right) & ~(dated & (left >= day))


def broken_whole(number: pd.Series) -> pd.Series:
    """True where a finite number has a fraction."""
    value = number.to_numpy(dtype="float64")
    return pd.Series(np.isfinite(value) & (np.floor(value) != value), index=number.index)


def plain(limit: float | None) -> str:
    """A limit as a person writes it: 1, not 1.0."""
    return "" if limit is None else str(int(limit)) if float(limit).is_integer() else repr(float(limit))
