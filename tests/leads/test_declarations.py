"""What a contract declares, in words, and what it cannot declare."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pipeline.errors import ContractError
from pipeline.leads.declarations import declare
from tests.small_history import CONTRACT, NEWEST, resolved


def said(column: str) -> dict[str, tuple[str, str]]:
    """Rule -> what must hold, and what is said where it does not."""
    mine = [one for one in declare(resolved(), NEWEST) if (one.table, one.column) == ("leads", column)]
    return {one.rule: (one.about, one.reason) for one in mine}


def test_a_number_in_words() -> None:
    assert said("employees") == {
        "held_as": ("employees is held as a number (float64)", "employees is not held as float64"),
        "finite": ("employees is finite, and not beyond 3.4e+38", "employees is infinite or beyond 3.4e+38"),
        "whole": ("employees is a whole number", "employees is not a whole number"),
        "min": ("employees is at least 1", "employees is below 1"),
        "max": ("employees is at most 5000", "employees is above 5000"),
    }


def test_a_time_in_words() -> None:
    assert said("converted_at") == {
        "held_as": ("converted_at is held as a moment (datetime64[us])", "converted_at is not held as datetime64[us]"),
        "not_before": ("converted_at is not before created_at", "converted_at is before created_at"),
        "not_with": (
            "converted_at is not filled together with lost_at",
            "converted_at is filled together with lost_at",
        ),
        "not_after_newest": (
            "converted_at is not after the source's newest recorded moment",
            "converted_at is after the source's newest recorded moment",
        ),
    }


def test_a_limit_of_zero_is_a_limit() -> None:
    assert said("revenue")["min"] == ("revenue is at least 0", "revenue is below 0")


def test_each_declaration_has_a_name_of_its_own() -> None:
    names = [one.id for one in declare(resolved(), NEWEST)]
    assert len(names) == len(set(names))


def test_a_source_without_times_has_no_newest_moment() -> None:
    assert not any(one.rule == "not_after_newest" for one in declare(resolved(), None))


def test_a_key_by_row_number_and_no_time_are_still_checked() -> None:
    content: dict[str, Any] = {
        "key": "row_number",
        "time": {"kind": "none"},
        "outcome": {"kind": "flag", "horizon_days": 0, "column": "bought", "positive": "yes"},
        "activities": None,
        "changes": None,
        "columns": {
            "bought": {"role": "outcome", "type": "category", "known_at": "outcome", "values": ["yes", "no"]},
            "pages": {"role": "feature", "type": "number", "known_at": "creation"},
        },
    }
    names = {one.id for one in declare(resolved(content), pd.Timestamp("2024-01-01"))}
    assert names == {
        "leads.row.held_as",
        "leads.converted.held_as",
        "leads.pages.held_as",
        "leads.pages.finite",
        "leads.lead_id.unique",
        "leads.created_at.held_as",
        "leads.created_at.required",
    }


def test_what_nobody_could_check_is_an_error_that_names_every_fault() -> None:
    broken = resolved(
        phone={"facts": None, "unique": True},
        tax_id={"type": "integer", "min": 1},
        opted_in={"values": ["yes", "no"]},
        won={"not_with": "phone"},
    )
    with pytest.raises(ContractError) as caught:
        declare(broken, NEWEST)
    message = str(caught.value)
    assert "personal column `phone` is `required`, which takes `facts: [present]` to be checked" in message
    assert "personal column `phone` stops at ingest, so unique cannot be checked" in message
    assert "column `tax_id` is held as text, so min cannot be checked" in message
    assert "column `opted_in` is held as boolean, so values cannot be checked" in message
    assert "column `won`: `not_with` names the personal column `phone`" in message


def test_the_contract_of_these_tests_uses_every_key_that_declares() -> None:
    keys = {key for column in CONTRACT["columns"].values() for key in column}
    assert {"required", "unique", "min", "max", "values", "not_before", "not_with"} <= keys
