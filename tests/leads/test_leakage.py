"""Which columns enter the model, which stay out, and what the table says about them."""

from __future__ import annotations

import math
from typing import Any

from pipeline.leads.leakage import COLUMNS, report
from tests.small_history import resolved, tables


def rows(**columns: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = report(tables()["leads"], resolved(**columns))
    assert list(found.columns) == COLUMNS
    return {row["column"]: row for row in found.to_dict("records")}


def test_one_row_per_column_of_the_source_in_its_order() -> None:
    assert list(rows()) == list(resolved().contract.columns)


def test_a_feature() -> None:
    assert rows()["employees"] == {
        "column": "employees",
        "role": "feature",
        "known_at": "over_time",
        "verdict": "enters the model",
        "reason": "criterion employees",
        "filled_open": 0.0,
        "filled_closed": 1.0,
        "evidence": "filled only when the outcome is known",
    }


def test_a_column_filled_for_open_leads_too_is_no_suspect() -> None:
    found = rows()["industry"]
    assert (found["filled_open"], found["filled_closed"], found["evidence"]) == (1.0, 1.0, "")


def test_a_column_known_with_the_outcome_stays_out() -> None:
    found = rows(revenue={"known_at": "outcome"})["revenue"]
    assert (found["verdict"], found["reason"]) == ("left out", "known only with the outcome")
    assert (found["filled_open"], found["filled_closed"]) == (1.0, 0.5)


def test_the_contract_may_give_the_reason() -> None:
    assert (rows()["notes"]["verdict"], rows()["notes"]["reason"]) == ("left out", "free text")


def test_a_personal_column_leaves_its_facts() -> None:
    found = rows()["phone"]
    assert found["verdict"] == "left out"
    assert found["reason"] == "role is personal; only what is derived from it enters: has_phone"
    assert math.isnan(found["filled_open"]) and math.isnan(found["filled_closed"]) and found["evidence"] == ""


def test_without_open_leads_there_is_no_evidence() -> None:
    leads = tables()["leads"].iloc[[0, 2]]
    found = report(leads, resolved()).set_index("column").loc["employees"]
    assert math.isnan(found["filled_open"]) and found["filled_closed"] == 1.0 and found["evidence"] == ""


def test_without_dates_there_are_no_shares() -> None:
    content: dict[str, Any] = {
        "key": "row_number",
        "time": {"kind": "none"},
        "outcome": {"kind": "flag", "horizon_days": 0, "column": "bought", "positive": "yes"},
        "activities": None,
        "changes": None,
        "columns": {
            "bought": {"role": "outcome", "type": "boolean", "known_at": "outcome"},
            "pages": {"role": "feature", "type": "number", "known_at": "creation"},
        },
    }
    leads = tables()["leads"][["row", "lead_id"]].assign(converted=[True, False, False], pages=1.0)
    found = report(leads, resolved(content))
    assert found["filled_open"].isna().all() and found["filled_closed"].isna().all()
    assert found["verdict"].tolist() == ["left out", "enters the model"]
