"""Rows set aside, what goes with them, and the sum that must come out."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ValidationFailed
from pipeline.leads.quarantine import Parted, check_shares, kept, part, unread_leads
from tests.small_history import resolved, tables, text

NONE = {"leads": 0, "activities": 0, "changes": 0}


def failed(*rows: tuple[str, int, str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["table", "row", "reason"])
    return frame.astype({"table": "str", "row": "int64", "reason": "str"})


def refused(*rows: tuple[str, int, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["table", "row", "reason", "raw"])
    return frame.astype({"table": "str", "row": "int64", "reason": "str", "raw": "str"})


def parted(*rows: tuple[str, int, str]) -> Parted:
    return part(tables(), failed(*rows), refused(), text(), NONE)


def set_aside(result: Parted) -> list[tuple[Any, ...]]:
    return list(result.quarantine[["table", "row", "reasons"]].itertuples(index=False, name=None))


def test_nothing_failed_nothing_goes() -> None:
    result = parted()
    assert set_aside(result) == []
    assert {name: counts["kept"] for name, counts in result.summary.items()} == {
        "leads": 3,
        "activities": 3,
        "changes": 2,
    }


def test_what_belongs_to_a_quarantined_lead_goes_with_it() -> None:
    result = parted(("leads", 1, "employees is below 1"))
    assert set_aside(result) == [
        ("leads", 1, "employees is below 1"),
        ("activities", 2, "its lead is quarantined"),
        ("activities", 3, "its lead is quarantined"),
        ("changes", 2, "its lead is quarantined"),
    ]
    assert result.summary["activities"] == {
        "rows": 3,
        "refused": 0,
        "set_aside": 0,
        "kept": 1,
        "quarantined": 2,
        "with_their_lead": 2,
        "reasons": {"its lead is quarantined": 2},
    }


def test_a_row_at_fault_itself_keeps_its_own_reasons() -> None:
    result = parted(
        ("leads", 1, "employees is below 1"), ("activities", 2, "kind is missing"), ("activities", 2, "too late")
    )
    assert ("activities", 2, "kind is missing; too late") in set_aside(result)
    assert result.summary["activities"]["with_their_lead"] == 1


def test_while_one_row_of_a_lead_stays_so_do_its_activities() -> None:
    given_ = tables()
    copy = given_["leads"].iloc[[0]].assign(row=4)
    given_["leads"] = pd.concat([given_["leads"], copy], ignore_index=True)
    result = part(given_, failed(("leads", 4, "lead_id stands in another row too")), refused(), text(), NONE)
    assert set_aside(result) == [("leads", 4, "lead_id stands in another row too")]


def test_what_belongs_to_a_lead_that_could_not_be_read_goes_too() -> None:
    given_ = tables()
    given_["leads"] = given_["leads"].iloc[1:].reset_index(drop=True)
    unread = refused(("leads", 1, "line 2: column `employees` is not a number", "{}"))
    result = part(given_, failed(), unread, text("L1"), NONE)
    assert set_aside(result) == [
        ("activities", 2, "its lead could not be read"),
        ("activities", 3, "its lead could not be read"),
        ("changes", 2, "its lead could not be read"),
    ]
    assert result.summary["leads"]["reasons"] == {"column `employees` is not a number": 1}


def test_the_row_is_kept_as_text() -> None:
    (raw,) = parted(("activities", 1, "why")).quarantine["raw"]
    assert json.loads(raw) == {
        "row": 1,
        "activity_id": "A1",
        "lead_id": "L2",
        "kind": "visit",
        "happened_at": "2024-01-05T09:00:00.000000",
        "recorded_at": "2024-01-05T09:00:00.000000",
    }


def test_kept_leads_are_in_order() -> None:
    given_ = tables()
    given_["leads"] = given_["leads"].iloc[::-1]
    assert part(given_, failed(), refused(), text(), NONE).leads["lead_id"].tolist() == ["L1", "L2", "L3"]


@pytest.mark.parametrize("size", [1, 2])
def test_parts_change_nothing(size: int) -> None:
    faults = failed(
        ("leads", 1, "employees is below 1"), ("activities", 1, "kind is missing"), ("activities", 1, "too late")
    )
    cut = {
        name: [table.iloc[at : at + size] for at in range(0, len(table), size)][::-1]
        for name, table in tables().items()
    }
    whole, pieces = (part(given_, faults, refused(), text(), NONE) for given_ in (tables(), cut))
    pd.testing.assert_frame_equal(whole.leads, pieces.leads)
    pd.testing.assert_frame_equal(whole.quarantine, pieces.quarantine)
    assert whole.summary == pieces.summary
    left = [len(rows) for rows in kept(cut["activities"], pieces.gone["activities"])]
    assert len(left) == len(cut["activities"]) and sum(left) == 0


@settings(deadline=None)
@given(st.sets(st.integers(1, 3)), st.sets(st.integers(1, 3)), st.sets(st.integers(1, 2)), st.integers(0, 3))
def test_every_row_is_accounted_for(leads: set[int], activities: set[int], changes: set[int], aside: int) -> None:
    chosen = {"leads": leads, "activities": activities, "changes": changes}
    faults = [(name, row, "why") for name, rows in chosen.items() for row in rows]
    unread = refused(("activities", 9, "torn", "x"))
    result = part(tables(), failed(*faults), unread, text(), NONE | {"changes": aside})
    left = {name: pd.concat(kept(table, result.gone[name])) for name, table in tables().items()}
    assert set(left["activities"]["lead_id"]) <= set(result.leads["lead_id"])
    for name, counts in result.summary.items():
        assert counts["rows"] == counts["kept"] + counts["quarantined"] + counts["refused"] + counts["set_aside"]
        assert set(left[name]["row"]).isdisjoint(chosen[name])
        assert len(left[name]) == counts["kept"]
    assert result.summary["activities"]["rows"] == 4


class TestUnreadLeads:
    def test_the_key_is_read_from_the_cells(self) -> None:
        rows = refused(
            ("leads", 1, "r", '{"id": "L7", "made": "yesterday"}'),
            ("leads", 2, "r", "L8;torn line"),
            ("leads", 3, "r", '{"id": null}'),
            ("leads", 4, "r", "12"),
            ("activities", 5, "r", '{"id": "L9"}'),
        )
        assert unread_leads(rows, resolved().contract).tolist() == ["L7"]

    def test_the_row_number_is_the_key(self) -> None:
        contract = resolved().contract.model_copy(update={"key": "row_number"})
        assert unread_leads(refused(("leads", 12, "r", "torn")), contract).tolist() == ["000000012"]

    def test_none(self) -> None:
        assert unread_leads(refused(), resolved().contract).tolist() == []


class TestShares:
    def summary(self, **counts: int) -> dict[str, dict[str, Any]]:
        base = {"rows": 100, "refused": 0, "quarantined": 0, "with_their_lead": 0, "kept": 90, "reasons": {}}
        return {"leads": base | counts}

    def test_the_limit_itself_is_allowed(self) -> None:
        check_shares(self.summary(refused=2, quarantined=3), 0.05)

    def test_one_more_is_not(self) -> None:
        summary = self.summary(refused=2, quarantined=4)
        summary["leads"]["reasons"] = {"b is missing": 3, "a is missing": 3, "its lead is quarantined": 50}
        with pytest.raises(ValidationFailed) as caught:
            check_shares(summary, 0.05)
        assert caught.value.exit_code == 5
        assert "leads: 6 of 100 rows (6.0%) were refused or quarantined" in str(caught.value)
        assert "allows 5.0%. Most frequent: 3 × a is missing; 3 × b is missing." in str(caught.value)

    def test_rows_that_went_with_their_lead_do_not_count(self) -> None:
        check_shares(self.summary(quarantined=50, with_their_lead=48), 0.05)

    def test_an_empty_table_is_within_any_limit(self) -> None:
        check_shares(self.summary(rows=0), 0.0)

    def test_no_lead_left(self) -> None:
        with pytest.raises(ValidationFailed, match="no row is left"):
            check_shares(self.summary(kept=0), 1.0)
