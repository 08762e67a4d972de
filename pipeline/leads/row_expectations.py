"""Expectations that a strategist adds to a contract: which ones there are, what they take, and what they say.

They go by the names and arguments of Great Expectations, which judges them. Allowed are those that judge each row by
itself, so that the rows at fault can be set aside; what a whole table must keep (uniqueness, order) has keys of its own
in a contract. A missing value breaks none of them: that is what `required` is for.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import pandas as pd

#: What a column holds, as far as an expectation can tell.
Holds = Literal["text", "number", "time"]


@dataclass(frozen=True)
class Kind:
    """One expectation of Great Expectations.

    `columns`: how many it looks at; None: two or more. `fits`: what they may hold. `alike`: they must hold the same.
    `needs`, `takes`: arguments that must and may be given (of `either` at least one), each a name in `_ARGUMENTS`.
    `promise`: what must hold, in words.
    """

    columns: int | None
    fits: tuple[Holds, ...]
    promise: Callable[[list[str], Mapping[str, Any]], str]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    alike: bool = True


def _between(what: str) -> Callable[[list[str], Mapping[str, Any]], str]:
    def said(columns: list[str], given: Mapping[str, Any]) -> str:
        lowest = "more than" if given.get("strict_min") else "at least"
        largest = "less than" if given.get("strict_max") else "at most"
        ends = [(lowest, given.get("min_value")), (largest, given.get("max_value"))]
        limits = " and ".join(f"{word} {_plain(end)}" for word, end in ends if end is not None)
        return f"{what.format(columns[0])} {limits}"

    return said


_BOUNDS = ("min_value", "max_value")
_STRICT = ("strict_min", "strict_max")

KINDS: dict[str, Kind] = {
    "expect_column_values_to_be_between": Kind(
        1, ("number", "time"), _between("{} is"), takes=(*_BOUNDS, *_STRICT), either=_BOUNDS
    ),
    "expect_column_values_to_be_in_set": Kind(
        1, ("text", "number"), lambda of, given: f"{of[0]} is one of: {_listed(given['value_set'])}", ("value_set",)
    ),
    "expect_column_values_to_not_be_in_set": Kind(
        1, ("text", "number"), lambda of, given: f"{of[0]} is none of: {_listed(given['value_set'])}", ("value_set",)
    ),
    "expect_column_values_to_match_regex": Kind(
        1, ("text",), lambda of, given: f"{of[0]} matches the pattern {given['regex']}", ("regex",)
    ),
    "expect_column_values_to_not_match_regex": Kind(
        1, ("text",), lambda of, given: f"{of[0]} does not match the pattern {given['regex']}", ("regex",)
    ),
    "expect_column_values_to_match_regex_list": Kind(
        1,
        ("text",),
        lambda of, given: (
            f"{of[0]} matches {'every one' if given.get('match_on') == 'all' else 'one'} of the patterns: "
            f"{_listed(given['regex_list'])}"
        ),
        ("regex_list",),
        ("match_on",),
    ),
    "expect_column_values_to_not_match_regex_list": Kind(
        1,
        ("text",),
        lambda of, given: f"{of[0]} matches none of the patterns: {_listed(given['regex_list'])}",
        ("regex_list",),
    ),
    "expect_column_value_lengths_to_be_between": Kind(
        1, ("text",), _between("the number of characters of {} is"), takes=(*_BOUNDS, *_STRICT), either=_BOUNDS
    ),
    "expect_column_value_lengths_to_equal": Kind(
        1, ("text",), lambda of, given: f"{of[0]} has {_plain(given['value'])} characters", ("value",)
    ),
    "expect_column_pair_values_a_to_be_greater_than_b": Kind(
        2,
        ("number", "time"),
        lambda of, given: f"{of[0]} is greater than {of[1]}" + (", or equal" if given.get("or_equal") else ""),
        takes=("or_equal",),
    ),
    "expect_column_pair_values_to_be_equal": Kind(
        2, ("text", "number", "time"), lambda of, _: f"{of[0]} and {of[1]} are equal"
    ),
    "expect_column_pair_values_to_be_in_set": Kind(
        2,
        ("text", "number"),
        lambda of, given: (
            f"{of[0]} and {of[1]} are one of: " + ", ".join(f"({_listed(pair)})" for pair in given["value_pairs_set"])
        ),
        ("value_pairs_set",),
        alike=False,
    ),
    "expect_multicolumn_sum_to_equal": Kind(
        None, ("number",), lambda of, given: f"{' + '.join(of)} is {_plain(given['sum_total'])}", ("sum_total",)
    ),
    "expect_multicolumn_values_to_be_equal": Kind(
        None, ("text", "number", "time"), lambda of, _: f"{', '.join(of)} are equal"
    ),
    "expect_select_column_values_to_be_unique_within_record": Kind(
        None, ("text", "number", "time"), lambda of, _: f"{', '.join(of)} are all different"
    ),
}


def faults(name: str, columns: list[str], kwargs: Mapping[str, Any], holds: Mapping[str, str]) -> list[str]:
    """What is wrong with one expectation of a contract; empty where nothing is.

    Args:
        holds: what each column of its table holds, after `ingest`: text, number, time, or `personal` (gone by then), or
            something that no expectation judges.
    """
    kind = KINDS.get(name)
    if kind is None:
        return [f"`{name}` is none of the expectations that judge rows one by one: {', '.join(KINDS)}"]
    found = []
    if kind.columns != len(columns) if kind.columns is not None else len(columns) < 2:
        found.append(f"`{name}` looks at {kind.columns or '2 or more'} columns, not {len(columns)}")
    if len(set(columns)) < len(columns):
        found.append(f"`{name}` names a column twice")
    for column in columns:
        if column not in holds:
            found.append(f"`{column}` is no column of this table")
        elif holds[column] == "personal":
            found.append(f"`{column}` is personal and stops at ingest, so nobody can check it")
        elif holds[column] not in kind.fits:
            found.append(f"`{column}` holds {holds[column]}, and `{name}` judges {' or '.join(kind.fits)}")
    held = [holds.get(column) for column in columns]
    if kind.alike and not found and len(set(held)) > 1:
        found.append(f"`{name}` compares columns of one kind, not {' with '.join(map(str, held))}")
    allowed = (*kind.needs, *kind.takes)
    found += [f"`{name}` takes no `{key}`" for key in kwargs if key not in allowed]
    found += [f"`{name}` needs `{key}`" for key in kind.needs if key not in kwargs]
    if kind.either and not any(key in kwargs for key in kind.either):
        found.append(f"`{name}` needs {' or '.join(f'`{key}`' for key in kind.either)}")
    if not found:
        found += [f"`{key}` {fault}" for key, value in kwargs.items() if (fault := _wrong(name, key, value, held))]
    return found


def arguments(name: str, columns: list[str], kwargs: Mapping[str, Any], holds: str) -> dict[str, Any]:
    """The arguments of the library's own expectation; `columns` under their names after `ingest`."""
    kind = KINDS[name]
    given = {key: _moment(value) if holds == "time" and key in _BOUNDS else value for key, value in kwargs.items()}
    if kind.columns == 1:
        return {"column": columns[0], **given}
    if kind.columns == 2:
        return {"column_A": columns[0], "column_B": columns[1], "ignore_row_if": "either_value_is_missing", **given}
    return {"column_list": columns, "ignore_row_if": "any_value_is_missing", **given}


def _wrong(name: str, key: str, value: Any, held: list[str | None]) -> str | None:
    """What is wrong with one argument, or None."""
    first = held[0]
    match key:
        case "regex":
            return _no_pattern(value)
        case "regex_list":
            return _no_list(value) or next((fault for one in value if (fault := _no_pattern(one))), None)
        case "match_on":
            return None if value in ("any", "all") else "is `any` or `all`"
        case "or_equal" | "strict_min" | "strict_max":
            return None if isinstance(value, bool) else "is true or false"
        case "value":
            return None if _is_count(value) else "is a whole number, not below 0"
        case "min_value" | "max_value":
            if "lengths" in name:
                return None if _is_count(value) else "is a whole number, not below 0"
            return (None if _is_moment(value) else "is a moment in ISO 8601") if first == "time" else _no_number(value)
        case "sum_total":
            return _no_number(value)
        case "value_set":
            return _no_list(value) or next((fault for one in value if (fault := _not_held(one, first))), None)
        case _:
            if fault := _no_list(value):
                return fault
            if not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
                return "is a list of pairs"
            both = (_not_held(one, holds) for pair in value for one, holds in zip(pair, held, strict=True))
            return next((fault for fault in both if fault), None)


def _no_list(value: Any) -> str | None:
    return None if isinstance(value, list) and value else "is a list, not an empty one"


def _no_pattern(value: Any) -> str | None:
    if not isinstance(value, str):
        return "is a pattern, in quotes"
    # Tables are searched by pandas, which knows a little less than Python itself does.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pd.Series(["a"], dtype="str").str.contains(value)
        except (re.error, ValueError) as fault:
            return f"is no pattern that can be read: {fault}"
    return None


def _no_number(value: Any) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else "is a number"


def _not_held(value: Any, holds: str | None) -> str | None:
    if holds == "number":
        fault = _no_number(value)
        return fault and "holds something that is no number"
    return None if isinstance(value, str) else "holds something that is no text; put it in quotes"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_moment(value: Any) -> bool:
    try:
        _moment(value)
    except (TypeError, ValueError):
        return False
    return True


def _moment(value: Any) -> datetime:
    """A bound in time: YAML's own date, or text in ISO 8601 (so it comes back from JSON); without a zone, as UTC."""
    if isinstance(value, date):
        value = value.isoformat()
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo is None else (moment - moment.utcoffset()).replace(tzinfo=None)  # type: ignore[operator]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def _listed(values: list[Any]) -> str:
    return ", ".join(map(_plain, values))
