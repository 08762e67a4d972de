"""What a row must keep to be scored: each rule, its boundary, its null, and the words it is refused with."""

from __future__ import annotations

import ast
import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.scorer import checks
from pipeline.scorer.checks import RULES, before, blank, refusals, words

EMPLOYEES = {"name": "employees", "type": "integer", "min": 1, "max": 5000.5}
INDUSTRY = {"name": "industry", "type": "category", "values": ["retail", "NA"], "required": True}
OPTED_IN = {"name": "opted_in", "type": "boolean"}
CREATED = {"name": "created_at", "type": "timestamp", "required": True}
CLOSED = {"name": "closed_at", "type": "timestamp", "not_before": "created_at", "not_with": "lost_at"}


def said(values: list[Any], column: dict[str, Any]) -> list[str]:
    return refusals(pd.DataFrame({column["name"]: values}), [column]).tolist()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, ""),
        (np.nan, ""),
        ("", ""),
        ("  ", ""),
        (1, ""),
        ("1", ""),
        (" 12 ", ""),
        ("1e3", ""),
        (5000.0, ""),
        (0, "employees is below 1"),
        ("-3", "employees is below 1"),
        (5001, "employees is above 5000.5"),
        (1.5, "employees is not a whole number"),
        ("0.5", "employees is not a whole number; employees is below 1"),
        ("many", "employees is not a number"),
        ("nan", "employees is not a number"),
        ("1,000", "employees is not a number"),
        ("50 to 200", "employees is not a number"),
        ("inf", "employees is infinite or beyond 3.4e+38; employees is above 5000.5"),
        (-np.inf, "employees is infinite or beyond 3.4e+38; employees is below 1"),
    ],
)
def test_numbers(value: object, reason: str) -> None:
    assert said([value], EMPLOYEES) == [reason]
    assert said([value, "7"], EMPLOYEES) == [reason, ""]


@pytest.mark.parametrize("side", [1, -1])
def test_the_largest_number_is_the_largest_that_can_be_computed_with(side: int) -> None:
    column = {"name": "revenue", "type": "number"}
    most, more = side * checks.LARGEST, side * float(np.nextafter(checks.LARGEST, np.inf))
    assert said([most, more, repr(more), side * 1e39], column) == ["", *["revenue is infinite or beyond 3.4e+38"] * 3]
    xgboost.DMatrix(np.array([[most]]))
    with pytest.raises(xgboost.core.XGBoostError, match="inf"):
        xgboost.DMatrix(np.array([[side * 1e39]]))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("retail", ""),
        ("NA", ""),
        (None, "industry is missing"),
        ("", "industry is missing"),
        (" ", "industry is missing"),
        ("Retail", "industry is not among the declared values"),
        (" retail", "industry is not among the declared values"),
        (7, "industry is not among the declared values"),
    ],
)
def test_categories(value: object, reason: str) -> None:
    assert said([value], INDUSTRY) == [reason]


@pytest.mark.parametrize("value", [True, False, 1, 0, 1.0, 0.0, "yes", "No", " TRUE ", "0", None, ""])
def test_booleans(value: object) -> None:
    assert said([value], OPTED_IN) == [""]


@pytest.mark.parametrize("value", [2, 0.5, "ask again"])
def test_not_booleans(value: object) -> None:
    assert said([value], OPTED_IN) == ["opted_in is neither true nor false"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("2024-01-05", ""),
        ("2024-01-05T10:00:00+02:00", ""),
        (pd.Timestamp("2024-01-05", tz="Europe/Berlin"), ""),
        (None, "created_at is missing"),
        ("", "created_at is missing"),
        ("5th of May", "created_at is not a time"),
    ],
)
def test_times(value: object, reason: str) -> None:
    assert said([value], CREATED) == [reason]


def test_a_time_in_a_form_of_its_own() -> None:
    assert said(["05/01/2024", "2024-01-05"], CREATED | {"format": "%d/%m/%Y"}) == ["", "created_at is not a time"]


def test_words_that_stand_for_no_value() -> None:
    assert said(["unknown", "retail"], INDUSTRY | {"missing": ["unknown"]}) == ["industry is missing", ""]
    assert said(["-", "3"], EMPLOYEES | {"missing": ["-"]}) == ["", ""]


def test_two_times_in_order_and_two_columns_that_exclude_each_other() -> None:
    rows = pd.DataFrame(
        {
            "created_at": ["2024-01-05 12:00"] * 5,
            "closed_at": ["2024-01-05 12:00", "2024-01-05", "2024-01-05 11:59", None, "2024-01-06"],
            "lost_at": ["", None, None, "2024-01-06", "2024-01-06"],
        }
    )
    before_, both = "closed_at is before created_at", "closed_at is filled together with lost_at"
    assert refusals(rows, [CREATED, CLOSED]).tolist() == ["", "", before_, "", both]
    assert refusals(rows.drop(columns=["created_at", "lost_at"]), [CLOSED]).tolist() == [""] * 5


def test_the_as_of_date() -> None:
    rows = pd.DataFrame(
        {
            "created_at": pd.to_datetime(["2024-01-05 12:00"] * 5),
            "as_of": ["2024-01-05 12:00", "2024-01-05 11:59", "2024-01-05", None, "soon"],
        }
    )
    early = "as_of is before created_at"
    assert refusals(rows, [CREATED]).tolist() == ["", early, early, "as_of is missing", "as_of is not a time"]


def test_a_missing_key_and_an_absent_column() -> None:
    key = {"name": "lead_id", "type": "text", "required": True}
    assert said(["L1", None, " "], key) == ["", "lead_id is missing", "lead_id is missing"]
    assert refusals(pd.DataFrame({"other": [1]}), [key, EMPLOYEES]).tolist() == ["lead_id is missing"]


def test_no_rows() -> None:
    assert refusals(pd.DataFrame({"employees": pd.Series(dtype="str")}), [EMPLOYEES]).tolist() == []


def test_the_index_is_kept_and_the_input_is_not_touched() -> None:
    rows = pd.DataFrame({"employees": ["0", "3"]}, index=[7, 7])
    untouched = rows.copy()
    assert refusals(rows, [EMPLOYEES]).index.tolist() == [7, 7]
    pd.testing.assert_frame_equal(rows, untouched)


def test_every_rule_has_words() -> None:
    column = CLOSED | EMPLOYEES
    assert all(words(column, rule).startswith("employees ") for rule in RULES)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=True, width=32), st.integers(-10, 6000)), min_size=1))
def test_typed_values_and_their_text_get_the_same_answer(values: list[float | None]) -> None:
    typed = pd.Series(values, dtype="float64")
    text = typed.map(lambda value: None if pd.isna(value) else repr(value)).astype("str")
    numbers = refusals(pd.DataFrame({"employees": typed}), [EMPLOYEES])
    assert numbers.tolist() == refusals(pd.DataFrame({"employees": text}), [EMPLOYEES]).tolist()


@settings(deadline=None)
@given(st.text(min_size=1))
def test_a_reason_never_holds_the_value(value: str) -> None:
    marked = f"zq{value}qz"
    reasons = said([marked], EMPLOYEES) + said([marked], INDUSTRY) + said([marked], CREATED) + said([marked], OPTED_IN)
    assert all(reason and "zq" not in reason for reason in reasons)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["", "0", "3", "x", "inf", None]), min_size=1, max_size=6))
def test_a_row_is_judged_by_itself(values: list[str | None]) -> None:
    assert said(values, EMPLOYEES) == [said([value], EMPLOYEES)[0] for value in values]


def test_a_moment_at_midnight_is_a_date() -> None:
    left = pd.Series(pd.to_datetime(["2024-01-05", "2024-01-05 00:00:01", "2024-01-04", None], format="ISO8601"))
    assert before(left, pd.Timestamp("2024-01-05 10:40")).tolist() == [False, True, True, False]
    assert before(left, pd.Series([pd.NaT] * 4, dtype="datetime64[us]")).tolist() == [False] * 4


def test_blank() -> None:
    assert blank(pd.Series(["a", "", " \t", None, "-"]), ["-"]).tolist() == [False, True, True, True, True]
    assert blank(pd.Series([0.0, np.nan])).tolist() == [False, True]


def test_the_module_stands_alone() -> None:
    tree = ast.parse(Path(checks.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported == {"__future__", "collections.abc", "datetime", "re", "typing", "warnings", "numpy", "pandas"}


def test_a_moment_in_nanoseconds_narrows_no_other():
    texts = ["2024-05-01T10:00:00.123456789", "9999-01-01T00:00:00", "2024-05-01T10:00:00.123456+02:00"]
    texts += [pd.Timestamp("2024-05-01T10:00:00.123456789"), np.datetime64("2024-05-01T10:00:00.123456789", "ns")]
    together, unread = checks.moments(pd.Series(texts, dtype=object))
    assert not unread.any()
    alone = [checks.moments(pd.Series([text], dtype=object))[0].iloc[0] for text in texts]
    assert together.tolist() == alone
    assert together.iloc[0] == pd.Timestamp("2024-05-01T10:00:00.123456")


@pytest.mark.parametrize(
    "value", [20240101, 1.7e18, True, "20240101", "01/02/2024", "2024-W05-1", "2024-02-30", "soon"]
)
def test_what_people_do_not_write_as_a_moment_is_none(value):
    """pandas would read a number as nanoseconds since 1970, and a week or bare digits as a date."""
    moment, unread = checks.moments(pd.Series([value], dtype=object))
    assert moment.isna().all() and unread.all()


@pytest.mark.parametrize(
    "value",
    [
        "2024-01-31T11:00:00Z", " 2024-01-31 12:00+01:00", "2024-01-31T11:00:00.000000999",
        datetime.datetime(2024, 1, 31, 11), pd.Timestamp("2024-01-31T12:00+01:00"), np.datetime64("2024-01-31T11:00"),
    ],
)  # fmt: skip
def test_a_moment_is_the_same_in_any_form(value):
    assert checks.moments(pd.Series([value], dtype=object))[0].tolist() == [pd.Timestamp("2024-01-31T11:00")]
