"""What a strategist may add to a contract, what is wrong with it, and what it says."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from pipeline.errors import ContractError
from pipeline.leads.contract import describe, restore
from pipeline.leads.declarations import declare
from pipeline.leads.row_expectations import KINDS, arguments
from tests.small_history import NEWEST, resolved

#: expectation -> table, columns, arguments, and what must hold in words.
GOOD: dict[str, tuple[str, list[str], dict[str, Any], str]] = {
    "expect_column_values_to_be_between": (
        "leads", ["revenue"], {"min_value": 1, "max_value": 2.0, "strict_max": True},
        "revenue is at least 1 and less than 2",
    ),
    "expect_column_values_to_be_in_set": (
        "leads", ["employees"], {"value_set": [10, 20]}, "employees is one of: 10, 20"
    ),
    "expect_column_values_to_not_be_in_set": (
        "activities", ["what"], {"value_set": ["call"]}, "kind is none of: call"
    ),
    "expect_column_values_to_match_regex": (
        "leads", ["tax_id"], {"regex": "^T[0-9]$"}, "tax_id matches the pattern ^T[0-9]$"
    ),
    "expect_column_values_to_not_match_regex": (
        "leads", ["id"], {"regex": "x"}, "lead_id does not match the pattern x"
    ),
    "expect_column_values_to_match_regex_list": (
        "leads", ["tax_id"], {"regex_list": ["^T", "1"], "match_on": "all"},
        "tax_id matches every one of the patterns: ^T, 1",
    ),
    "expect_column_values_to_not_match_regex_list": (
        "changes", ["is"], {"regex_list": ["^T", "1"]}, "new_value matches none of the patterns: ^T, 1"
    ),
    "expect_column_value_lengths_to_be_between": (
        "leads", ["notes"], {"min_value": 3, "strict_min": True}, "the number of characters of notes is more than 3"
    ),
    "expect_column_value_lengths_to_equal": ("leads", ["tax_id"], {"value": 2}, "tax_id has 2 characters"),
    "expect_column_pair_values_a_to_be_greater_than_b": (
        "leads", ["lost", "made"], {"or_equal": True}, "lost_at is greater than created_at, or equal"
    ),
    "expect_column_pair_values_to_be_equal": (
        "activities", ["when", "noted"], {}, "happened_at and recorded_at are equal"
    ),
    "expect_column_pair_values_to_be_in_set": (
        "leads", ["industry", "employees"], {"value_pairs_set": [["retail", 10], ["retail", 5000]]},
        "industry and employees are one of: (retail, 10), (retail, 5000)",
    ),
    "expect_multicolumn_sum_to_equal": (
        "leads", ["employees", "revenue"], {"sum_total": 10}, "employees + revenue is 10"
    ),
    "expect_multicolumn_values_to_be_equal": (
        "leads", ["employees", "revenue"], {}, "employees, revenue are equal"
    ),
    "expect_select_column_values_to_be_unique_within_record": (
        "leads", ["id", "tax_id", "notes"], {}, "lead_id, tax_id, notes are all different"
    ),
}  # fmt: skip


def own(name: str, **keys: Any) -> dict[str, Any]:
    table, columns, kwargs, _ = GOOD[name]
    one = {
        "expectation": name,
        "table": table,
        "columns": columns,
        "kwargs": kwargs,
        "reason": "the strategist says so",
    }
    return one | keys


def test_every_kind_is_tried() -> None:
    assert set(GOOD) == set(KINDS)


@pytest.mark.parametrize("name", GOOD)
def test_in_words(name: str) -> None:
    (*_, declared) = declare(resolved({"expectations": [own(name)]}), NEWEST)
    assert (declared.about, declared.reason) == (GOOD[name][3], "the strategist says so")
    assert declared.own == name and declared.native


def test_two_of_a_kind_are_told_apart() -> None:
    name = "expect_column_values_to_not_match_regex"
    declared = declare(resolved({"expectations": [own(name), own(name, kwargs={"regex": "y"})]}), NEWEST)
    assert len({one.id for one in declared}) == len(declared)


def test_a_contract_without_any_reads_as_before() -> None:
    assert "expectations" not in describe(resolved())["contract"]


def test_they_come_back_from_the_resolved_contract() -> None:
    bound = own("expect_column_values_to_be_between", columns=["made"], kwargs={"min_value": date(2020, 1, 1)})
    before = resolved({"expectations": [bound]})
    after = restore(describe(before))
    assert declare(after, NEWEST) == declare(before, NEWEST)


@pytest.mark.parametrize(
    ("bound", "moment"),
    [
        (date(2020, 1, 2), datetime(2020, 1, 2)),
        ("2020-01-02", datetime(2020, 1, 2)),
        ("2020-01-02T03:00:00+02:00", datetime(2020, 1, 2, 1)),
    ],
)
def test_a_bound_in_time(bound: object, moment: datetime) -> None:
    given = arguments("expect_column_values_to_be_between", ["t"], {"max_value": bound}, "time")
    assert given == {"column": "t", "max_value": moment}


@pytest.mark.parametrize(
    ("name", "keys", "fault"),
    [
        ("expect_column_values_to_match_regex", {"expectation": "expect_column_values_to_be_unique"},
         "`expect_column_values_to_be_unique` is none of the expectations that judge rows one by one"),
        ("expect_column_values_to_match_regex", {"columns": ["colour"]}, "`colour` is no column of this table"),
        ("expect_column_values_to_match_regex", {"columns": ["phone"]},
         "`phone` is personal and stops at ingest, so nobody can check it"),
        ("expect_column_values_to_match_regex", {"columns": ["employees"]}, "`employees` holds number"),
        ("expect_column_values_to_match_regex", {"columns": ["opted_in"]}, "`opted_in` holds true or false"),
        ("expect_column_values_to_match_regex", {"columns": ["id", "tax_id"]}, "looks at 1 columns, not 2"),
        ("expect_column_values_to_match_regex", {"kwargs": {}}, "needs `regex`"),
        ("expect_column_values_to_match_regex", {"kwargs": {"regex": "x", "mostly": 0.9}}, "takes no `mostly`"),
        ("expect_column_values_to_match_regex", {"kwargs": {"regex": "(x"}}, "`regex` is no pattern that can be read"),
        ("expect_column_values_to_match_regex", {"kwargs": {"regex": "(?>x)"}}, "is no pattern that can be read"),
        ("expect_column_values_to_match_regex", {"kwargs": {"regex": 5}}, "`regex` is a pattern, in quotes"),
        ("expect_column_values_to_match_regex_list", {"kwargs": {"regex_list": []}}, "is a list, not an empty one"),
        ("expect_column_values_to_match_regex_list", {"kwargs": {"regex_list": ["x"], "match_on": "one"}},
         "`match_on` is `any` or `all`"),
        ("expect_column_values_to_be_between", {"kwargs": {"strict_min": True}}, "needs `min_value` or `max_value`"),
        ("expect_column_values_to_be_between", {"kwargs": {"min_value": "1"}}, "`min_value` is a number"),
        ("expect_column_values_to_be_between", {"kwargs": {"min_value": 1, "strict_min": 1}}, "is true or false"),
        ("expect_column_values_to_be_between", {"columns": ["made"], "kwargs": {"min_value": 1}},
         "`min_value` is a moment in ISO 8601"),
        ("expect_column_value_lengths_to_be_between", {"kwargs": {"min_value": 1.5}}, "is a whole number, not below 0"),
        ("expect_column_value_lengths_to_equal", {"kwargs": {"value": -1}}, "is a whole number, not below 0"),
        ("expect_column_values_to_not_be_in_set", {"kwargs": {"value_set": [False]}}, "no text; put it in quotes"),
        ("expect_column_values_to_be_in_set", {"kwargs": {"value_set": ["10"]}}, "holds something that is no number"),
        ("expect_column_pair_values_to_be_in_set", {"kwargs": {"value_pairs_set": [["retail"]]}}, "is a list of pairs"),
        ("expect_column_pair_values_to_be_in_set", {"kwargs": {"value_pairs_set": [[1, 1]]}}, "is no text"),
        ("expect_column_pair_values_a_to_be_greater_than_b", {"columns": ["made", "employees"]},
         "compares columns of one kind, not time with number"),
        ("expect_column_pair_values_to_be_equal", {"columns": ["when", "when"]}, "names a column twice"),
        ("expect_multicolumn_sum_to_equal", {"columns": ["revenue"]}, "looks at 2 or more columns, not 1"),
        ("expect_multicolumn_sum_to_equal", {"kwargs": {"sum_total": True}}, "`sum_total` is a number"),
        ("expect_multicolumn_sum_to_equal", {"reason": " "}, "reason"),
        ("expect_multicolumn_sum_to_equal", {"reason": "two\nlines"}, "reason"),
    ],
)  # fmt: skip
def test_what_is_wrong(name: str, keys: dict[str, Any], fault: str) -> None:
    with pytest.raises(ContractError) as caught:
        resolved({"expectations": [own(name, **keys)]})
    assert fault in str(caught.value) and "expectations.0" in str(caught.value)


def test_every_fault_at_once() -> None:
    wrong = [
        own("expect_column_values_to_match_regex", columns=["colour"], kwargs={}),
        own("expect_column_value_lengths_to_equal", kwargs={"value": "2"}),
        own("expect_multicolumn_sum_to_equal", table="activities", columns=["made", "noted"]),
    ]
    with pytest.raises(ContractError) as caught:
        resolved({"expectations": wrong})
    for place, fault in [(0, "`colour` is no column"), (0, "needs `regex`"), (1, "whole number"), (2, "`made` is no")]:
        assert any(f"expectations.{place}" in part and fault in part for part in str(caught.value).split("; ")), fault


def test_a_table_that_is_not_described() -> None:
    with pytest.raises(ContractError, match="the contract describes no changes"):
        resolved({"changes": None, "expectations": [own("expect_column_values_to_not_match_regex_list")]})
