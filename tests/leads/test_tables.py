"""From text to typed tables: a tiny table in, the exact table out; nulls and boundaries included."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.leads import tables
from pipeline.leads.contract import Resolved, parse, resolve
from pipeline.leads.declarations import declare
from pipeline.params import NewestMoment


def contract(**changed: Any) -> Resolved:
    """A small contract with every role and type; `changed` replaces its keys."""
    content: dict[str, Any] = {
        "contract_version": 1,
        "name": "small",
        "description": "for tests",
        "source": {
            "kind": "files",
            "leads": {"path": "leads.csv", "missing": ["", "n/a"]},
            "activities": {"path": "activities.csv"},
            "changes": {"path": "changes.csv"},
        },
        "key": "id",
        "time": {"kind": "column", "column": "created"},
        "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won", "lost_at": "gone"},
        "columns": {
            "id": {"role": "identifier", "type": "integer"},
            "created": {"role": "ignored", "type": "timestamp"},
            "won": {"role": "outcome", "type": "timestamp"},
            "gone": {"role": "outcome", "type": "timestamp"},
            "country": {"role": "feature", "type": "category", "known_at": "creation"},
            "email": {"role": "personal", "facts": ["work_email"]},
            "size": {"role": "feature", "type": "integer", "known_at": "over_time", "missing": ["-1"]},
            "rate": {"role": "feature", "type": "number", "known_at": "creation"},
            "budget": {"role": "feature", "type": "boolean", "known_at": "over_time"},
            "phone": {"role": "personal", "facts": ["present"]},
            "owner": {"role": "ignored"},
        },
        "activities": {
            "lead": "who",
            "kind": "what",
            "happened_at": "at",
            "recorded_at": "seen",
            "kinds": {"call": {}},
        },
        "changes": {"lead": "who", "column": "field", "recorded_at": "seen", "old_value": "old", "new_value": "new"},
    }
    return resolve(parse(content | changed, file="small.yaml"))


GOOD = {
    "id": "0049301234",
    "created": "2024-01-31T10:00:00+02:00",
    "won": "2024-03-01",
    "gone": "",
    "country": "NA",
    "email": "ada@acme.example",
    "size": "12",
    "rate": "-1.5e2",
    "budget": "Yes",
    "phone": "+49301234",
    "owner": "n/a",
}


def lead(**cells: str | None) -> pd.DataFrame:
    """One lead as text, row 7 of its source."""
    return pd.DataFrame([GOOD | cells], index=pd.Index([7], name="row"), dtype="str")


def cell(name: str, text: str | None) -> Any:
    """What becomes of one cell; the reason where its row is refused."""
    typed = tables.type_leads(lead(**{name: text}), contract())
    return typed.refused["reason"].item() if len(typed.refused) else typed.table[name].item()


def test_a_lead_is_typed_renamed_and_loses_its_personal_columns() -> None:
    typed = tables.type_leads(lead(), contract())
    expected = pd.DataFrame(
        {
            "row": np.array([7], dtype="int64"),
            "lead_id": pd.Series(["0049301234"], dtype="str"),
            "created_at": np.array(["2024-01-31T08:00:00"], dtype="datetime64[us]"),
            "converted_at": np.array(["2024-03-01"], dtype="datetime64[us]"),
            "lost_at": np.array(["NaT"], dtype="datetime64[us]"),
            "country": pd.Series(["NA"], dtype="str"),
            "size": [12.0],
            "rate": [-150.0],
            "budget": [1.0],
            "owner": pd.Series([None], dtype="str"),
            "has_work_email": [1.0],
            "has_phone": [1.0],
        }
    )
    pd.testing.assert_frame_equal(typed.table, expected)
    assert len(typed.refused) == 0


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("rate", "0", 0.0),
        ("rate", " 1.5 ", 1.5),
        ("rate", "+.5", 0.5),
        ("rate", "1e308", 1e308),
        ("rate", "1e400", "column `rate` is too large a number"),
        ("rate", "inf", "column `rate` is not a number"),
        ("rate", "nan", "column `rate` is not a number"),
        ("rate", "1_000", "column `rate` is not a number"),
        ("rate", "1,5", "column `rate` is not a number"),
        ("rate", "0x10", "column `rate` is not a number"),
        ("rate", "\uff11", "column `rate` is not a number"),
        ("size", "3.0", 3.0),
        ("size", "3.5", "column `size` is not a whole number"),
        ("size", "9007199254740992", 2.0**53),
        ("size", "9007199254740994", "column `size` is too large a whole number"),
        ("size", "about 50", "column `size` is not a whole number"),
        ("size", "-2", -2.0),
        ("budget", "TRUE", 1.0),
        ("budget", "0", 0.0),
        ("budget", " 1.0", 1.0),
        ("budget", "no", 0.0),
        ("budget", "2", "column `budget` is not true or false (or yes, no, 1, 0)"),
        ("country", "NA", "NA"),
        ("country", "null", "null"),
        ("country", " ", " "),
    ],
)
def test_cells(name: str, text: str, expected: Any) -> None:
    assert cell(name, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ada@acme.example",
        "ADA.B+c@Sub.Acme-Works.co.uk",
        "ask ada@acme.example, or bob",
        "<mailto:ada@b\u00fccher.de>",
    ],
)
def test_what_looks_like_an_email_address(text: str) -> None:
    assert cell("country", text) == "column `country` holds what looks like an e-mail address"


@pytest.mark.parametrize(
    "text",
    [
        "+4930123456",
        "+49 30 1234-567",
        "+(49) 30 1234567",
        "+49 (0)30 / 123 45 67",
        "+33.1.23.45.67.89",
        "+999 100 0000001",
        "0049 30 1234567",
        "tel:+1-555-010-0100 (desk)",
        "+49 30 12345678 / 0170 12345678",
    ],
)
def test_what_looks_like_a_phone_number(text: str) -> None:
    assert cell("country", text) == "column `country` holds what looks like a phone number"


@pytest.mark.parametrize(
    "text",
    [
        "12345678", "1234567890123", "-12345678", "00012345678", "0012345", "1.234.567,00", "+1 000 000", "1e+12345678",
        "2024-01-31", "2024-01-31T10:00:00+02:00", "09:00 2024-01-31", "31.01.2024 - 28.02.2024", "AB-0012345678",
        "3.0012345678", "+12345678901234567890", "R&D @ home", "@acme", "C++", "5@3", "a@b", "ada at acme.example",
    ],
)  # fmt: skip
def test_plain_numbers_dates_and_codes_are_nobodys(text: str) -> None:
    assert cell("country", text) == text


def test_personal_data_is_looked_for_in_words_that_are_kept_and_not_declared() -> None:
    phone = "+49 30 1234567"
    assert cell("owner", phone) == "column `owner` holds what looks like a phone number"
    assert tables.type_leads(lead(email=phone, phone=phone), contract()).refused.empty
    both = tables.type_leads(lead(country="ada@acme.example", owner=phone), contract()).refused["reason"].item()
    assert both.split("; ") == [
        "column `country` holds what looks like an e-mail address",
        "column `owner` holds what looks like a phone number",
    ]
    columns = contract().contract.model_dump()["columns"]
    columns["country"]["values"] = ["DE", "desk@acme.example"]
    declared = contract(columns=columns)
    assert tables.type_leads(lead(country="desk@acme.example"), declared).refused.empty
    assert len(tables.type_leads(lead(country="ada@acme.example"), declared).refused) == 1
    scored = tables.type_leads(lead(country=phone, owner=phone), contract(), scoring=True)
    assert scored.table["country"].item() == tables.HIDDEN
    assert scored.refused.empty
    kept = tables.type_leads(lead(country="desk@acme.example"), declared, scoring=True)
    assert kept.table["country"].item() == "desk@acme.example"


@pytest.mark.parametrize("name", ["rate", "size", "budget", "country"])
@pytest.mark.parametrize("text", ["", "n/a", None])
def test_declared_words_and_nulls_are_missing(name: str, text: str | None) -> None:
    assert pd.isna(cell(name, text))


def test_a_sentinel_is_missing_in_its_own_column_only() -> None:
    assert math.isnan(cell("size", "-1"))
    assert cell("rate", "-1") == -1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-29", "2024-02-29"),
        ("2024-02-29 23:59", "2024-02-29T23:59"),
        ("2024-02-29T23:59:59.1234567", "2024-02-29T23:59:59.123456"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59"),
        ("2024-02-29T23:59:59-0530", "2024-03-01T05:29:59"),
        ("9999-12-31", "9999-12-31"),
        ("2023-02-29", None),
        ("2024-13-01", None),
        ("29/02/2024", None),
        ("2024", None),
        ("20240229", None),
        ("1709164800", None),
        ("yesterday", None),
    ],
)
def test_moments_are_iso_8601_in_utc(text: str, expected: str | None) -> None:
    typed = tables.type_leads(lead(created=text), contract())
    if expected is None:
        assert "column `created` is not an ISO 8601 date or time" in typed.refused["reason"].item()
    else:
        assert typed.table["created_at"].item() == pd.Timestamp(expected)


def test_a_declared_format_is_the_only_one_read() -> None:
    columns = contract().contract.model_dump()["columns"]
    columns["created"]["format"] = "%d/%m/%Y %H:%M %z"
    resolved = contract(columns=columns)
    typed = tables.type_leads(lead(created="02/01/2024 00:30 +0100"), resolved)
    assert typed.table["created_at"].item() == pd.Timestamp("2024-01-01T23:30")
    refused = tables.type_leads(lead(created="2024-01-02"), resolved).refused
    assert refused["reason"].item() == "column `created` is not a moment of the form `%d/%m/%Y %H:%M %z`"


def test_all_faults_of_a_row_are_named_and_none_of_its_values() -> None:
    typed = tables.type_leads(lead(size="secret-size", rate="secret-rate"), contract())
    assert len(typed.table) == 0
    refused = typed.refused.iloc[0]
    assert refused["row"] == 7 and refused["lead_id"] == "0049301234"
    assert refused["reason"] == "column `size` is not a whole number; column `rate` is not a number"
    assert json.loads(refused["raw"])["size"] == "secret-size"


def test_rows_in_are_rows_kept_and_refused() -> None:
    cells = pd.concat([lead(), lead(size="x"), lead()]).set_axis([1, 2, 3])
    typed = tables.type_leads(cells, contract())
    assert typed.table["row"].tolist() == [1, 3]
    assert typed.refused["row"].tolist() == [2]


def test_no_rows_have_the_same_columns_and_types() -> None:
    full, none = (tables.type_leads(cells, contract()).table for cells in (lead(), lead().iloc[:0]))
    assert none.dtypes.to_dict() == full.dtypes.to_dict()
    for table in ("activities", "changes"):
        nothing = tables.empty(table)
        assert nothing.table.columns[0] == "row" and len(nothing.table) == 0


# Outcomes by flag, times by row order


def flag(values: list[str] | None, positive: str, type_: str = "category") -> Resolved:
    """A contract of two columns whose outcome is a flag."""
    return contract(
        source={"kind": "files", "leads": {"path": "x.csv"}},
        key="row_number",
        time={"kind": "none"},
        outcome={"kind": "flag", "horizon_days": 0, "column": "y", "positive": positive},
        columns={
            "x": {"role": "feature", "type": "number", "known_at": "creation"},
            "y": {"role": "outcome", "type": type_, "values": values},
        },
        activities=None,
        changes=None,
    )


def cells_of(*outcomes: str) -> pd.DataFrame:
    return pd.DataFrame({"x": "1", "y": list(outcomes)}, index=range(1, len(outcomes) + 1), dtype="str")


def test_a_flag_is_true_where_it_is_positive_and_never_a_quiet_no() -> None:
    typed = tables.type_leads(cells_of("yes", "no", "perhaps", ""), flag(["no", "yes"], "yes"))
    assert typed.table["converted"].tolist() == [True, False]
    assert typed.table["converted"].dtype == bool
    assert typed.table["lead_id"].tolist() == ["000000001", "000000002"]
    assert (typed.table["created_at"] == pd.Timestamp(0)).all()
    assert typed.refused["reason"].tolist() == [
        "column `y` is none of its declared values",
        "column `y`, the outcome, is missing",
    ]


def test_a_boolean_flag_may_be_spelled_in_any_way() -> None:
    typed = tables.type_leads(cells_of("TRUE", "false", "1", "maybe"), flag(None, "True", "boolean"))
    assert typed.table["converted"].tolist() == [True, False, True]
    assert typed.refused["row"].tolist() == [4]


@pytest.mark.parametrize(("open_", "aside"), [(["pending"], 1), ([""], 1), (["", "pending"], 2)])
def test_rows_that_are_still_open_are_set_aside_and_never_a_no(open_: list[str], aside: int) -> None:
    resolved = flag(["no", "pending", "yes"], "yes")
    outcome = resolved.contract.outcome.model_copy(update={"open": open_})
    resolved = resolve(resolved.contract.model_copy(update={"outcome": outcome}))
    typed = tables.type_leads(cells_of("yes", "pending", "no", ""), resolved)
    assert typed.set_aside == aside
    assert len(typed.table) + len(typed.refused) + typed.set_aside == 4
    assert typed.table["row"].tolist() == ([1, 3] if "pending" in open_ else [1, 2, 3])
    # To be scored is what they are there for.
    scored = tables.type_leads(cells_of("yes", "pending", "no", ""), resolved, scoring=True)
    assert scored.set_aside == 0 and math.isnan(scored.table["converted"].iloc[3])
    assert math.isnan(scored.table["converted"].iloc[1]) == ("pending" in open_)


def test_several_words_may_mean_converted() -> None:
    resolved = flag(None, "yes")
    outcome = resolved.contract.outcome.model_copy(update={"positive": ["yes", "paid"]})
    resolved = resolve(resolved.contract.model_copy(update={"outcome": outcome}))
    assert tables.type_leads(cells_of("yes", "paid", "no"), resolved).table["converted"].tolist() == [True, True, False]


def test_one_date_for_either_end() -> None:
    resolved = contract(
        source={"kind": "files", "leads": {"path": "x.csv"}},
        outcome={
            "kind": "dates",
            "horizon_days": 30,
            "closed_at": "closed",
            "column": "stage",
            "positive": "won",
            "open": ["talks"],
        },
        columns={
            "id": {"role": "identifier"},
            "created": {"role": "ignored", "type": "timestamp"},
            "closed": {"role": "outcome", "type": "timestamp", "not_before": "created"},
            "stage": {"role": "outcome", "type": "category", "values": ["lost", "talks", "won"]},
            "x": {"role": "feature", "type": "number", "known_at": "creation"},
        },
        activities=None,
        changes=None,
    )
    stages = ["won", "lost", "talks", "", "won"]
    cells = pd.DataFrame(
        {
            "id": list("abcde"),
            "created": "2023-01-01",
            "closed": ["2023-02-01", "2023-03-01", "2023-04-01", "", ""],
            "stage": stages,
            "x": "1",
        },
        index=range(1, 6),
        dtype="str",
    )
    typed = tables.type_leads(cells, resolved)
    assert typed.table["lead_id"].tolist() == list("abcd")
    won, lost = pd.Timestamp("2023-02-01"), pd.Timestamp("2023-03-01")
    assert typed.table["converted_at"].tolist() == [won, pd.NaT, pd.NaT, pd.NaT]
    assert typed.table["lost_at"].tolist() == [pd.NaT, lost, pd.NaT, pd.NaT]
    # What is expected of an open lead stays where it was.
    assert typed.table["closed"].iloc[2] == pd.Timestamp("2023-04-01")
    assert typed.refused["reason"].tolist() == ["column `closed` is missing where `stage` says it is closed"]
    assert declare(resolved, None)
    fresh = tables.type_leads(cells.drop(columns=["closed", "stage"]), resolved, scoring=True)
    assert len(fresh.refused) == 0 and fresh.table["converted_at"].isna().all()


def test_times_of_activities_and_changes_in_the_form_declared() -> None:
    content = contract().contract.model_dump(mode="json")
    content["activities"]["format"] = content["changes"]["format"] = "%d.%m.%Y %H:%M"
    resolved = resolve(parse(content, file="small.yaml"))
    seen = pd.DataFrame(
        {"who": "a", "what": "call", "at": "05.01.2023 10:00", "seen": ["06.01.2023 11:30", "2023-01-06"]},
        index=[1, 2],
        dtype="str",
    )
    typed = tables.type_activities(seen, resolved)
    assert typed.table["recorded_at"].tolist() == [pd.Timestamp("2023-01-06 11:30")]
    assert "a moment of the form `%d.%m.%Y %H:%M`" in typed.refused["reason"].item()
    changed = pd.DataFrame(
        {"who": "a", "field": "size", "seen": "06.01.2023 11:30", "old": "1", "new": "2"}, index=[1], dtype="str"
    )
    assert tables.type_changes(changed, resolved).table["recorded_at"].tolist() == [pd.Timestamp("2023-01-06 11:30")]


def test_for_scoring_an_outcome_may_be_missing_or_absent() -> None:
    resolved = flag(["no", "yes"], "yes")
    typed = tables.type_leads(cells_of("yes", "no", ""), resolved, scoring=True)
    assert typed.table["converted"].tolist()[:2] == [1.0, 0.0] and math.isnan(typed.table["converted"].iloc[2])
    absent = tables.type_leads(cells_of("yes").drop(columns="y"), resolved, scoring=True)
    assert absent.table["converted"].isna().all() and len(absent.refused) == 0


def calendar(day: bool) -> Resolved:
    """A contract whose rows stand in order of time, dated by month and perhaps day."""
    columns: dict[str, Any] = {
        "m": {"role": "ignored", "type": "category"},
        "d": {"role": "ignored", "type": "integer"},
        "x": {"role": "feature", "type": "number", "known_at": "creation"},
        "y": {"role": "outcome", "type": "category"},
    }
    named = {"month": "m", "first_year": 2008} | ({"day": "d"} if day else {})
    return contract(
        source={"kind": "files", "leads": {"path": "x.csv"}},
        key="row_number",
        time={"kind": "row_order", "calendar": named},
        outcome={"kind": "flag", "horizon_days": 0, "column": "y", "positive": "yes"},
        columns=columns,
        activities=None,
        changes=None,
    )


def months(*cells: tuple[str, str]) -> pd.DataFrame:
    rows = [{"m": month, "d": day, "x": "1", "y": "no"} for month, day in cells]
    return pd.DataFrame(rows, index=range(1, len(rows) + 1), dtype="str")


def test_a_month_that_falls_starts_a_new_year() -> None:
    cells = months(("may", "5"), ("June", "6"), ("dec", "31"), ("dec", "1"), ("jan", "2"), ("sept", "3"), ("mar", "4"))
    first = tables.type_leads(cells, calendar(day=False))
    assert first.table["created_at"].dt.strftime("%Y-%m-%d").tolist() == [
        "2008-05-01",
        "2008-06-01",
        "2008-12-01",
        "2008-12-01",
        "2009-01-01",
        "2009-09-01",
        "2010-03-01",
    ]
    assert first.calendar == (2010, 3)


def test_a_day_that_does_not_exist_and_a_month_that_is_none_are_refused() -> None:
    cells = months(("feb", "29"), ("feb", "30"), ("feb", ""), ("fib", "1"), ("feb", "1.5"), ("mar", "1"))
    typed = tables.type_leads(cells, calendar(day=True))
    assert typed.table["created_at"].tolist() == [pd.Timestamp("2008-02-29"), pd.Timestamp("2008-03-01")]
    assert typed.refused["reason"].tolist() == [
        "columns `d` and `m` name no date",
        "columns `d` and `m` name no date",
        "column `m` names no month",
        "column `d` is not a whole number; columns `d` and `m` name no date",
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([*tables.MONTHS, "none"]), min_size=1, max_size=30), st.integers(0, 30))
def test_the_calendar_is_the_same_in_one_part_or_two(names: list[str], cut: int) -> None:
    cells, resolved = months(*((name, "1") for name in names)), calendar(day=False)
    whole = tables.type_leads(cells, resolved)
    first = tables.type_leads(cells.iloc[:cut], resolved)
    second = tables.type_leads(cells.iloc[cut:], resolved, calendar=first.calendar)
    parts = pd.concat([first.table, second.table], ignore_index=True)
    pd.testing.assert_frame_equal(parts, whole.table)
    assert whole.table["created_at"].is_monotonic_increasing


# Activities and changes


def test_activities() -> None:
    cells = pd.DataFrame(
        {
            "who": ["a", "b", ""],
            "what": ["call", "call", "fax"],
            "at": ["2024-01-01", "1/2/2024", "2024-01-02"],
            "seen": ["2024-01-01T12:00Z", "2024-01-02", ""],
            "subject": ["private", "private", "private"],
        },
        index=[1, 2, 3],
        dtype="str",
    )
    typed = tables.type_activities(cells, contract())
    expected = pd.DataFrame(
        {
            "row": np.array([1, 3], dtype="int64"),
            "activity_id": pd.Series(["000000001", "000000003"], dtype="str"),
            "lead_id": pd.Series(["a", None], dtype="str"),
            "kind": pd.Series(["call", "fax"], dtype="str"),
            "happened_at": np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[us]"),
            "recorded_at": np.array(["2024-01-01T12:00", "NaT"], dtype="datetime64[us]"),
        }
    )
    pd.testing.assert_frame_equal(typed.table, expected)
    assert typed.refused["row"].tolist() == [2]
    assert tables.unread(list(cells.columns), contract(), "activities") == ["subject"]


def test_an_activity_of_a_kind_that_looks_personal_is_refused() -> None:
    cells = pd.DataFrame(
        {"who": "a", "what": ["call", "bob@acme.example", "fax"], "at": "2024-01-01", "seen": "2024-01-01"},
        index=[1, 2, 3],
        dtype="str",
    )
    typed = tables.type_activities(cells, contract())
    assert typed.table["kind"].tolist() == ["call", "fax"]
    assert typed.refused["reason"].tolist() == ["column `what` holds what looks like an e-mail address"]


def test_changes_keep_tracked_columns_and_no_value_of_any_other() -> None:
    cells = pd.DataFrame(
        {
            "who": "a",
            "field": ["size", "email", "owner", "shoe", "size", "size", "budget", ""],
            "seen": "2024-01-01",
            "old": ["", "x", "x", "x", "1", "-1", "no", "x"],
            "new": ["5", "ada@acme.example", "y", "z", "many", "7", "YES", "y"],
        },
        index=range(1, 9),
        dtype="str",
    )
    typed = tables.type_changes(cells, contract())
    assert typed.set_aside == 2
    assert typed.changed == {"email": 1, "owner": 1}
    unknown, unnamed = "column is not among those whose changes are kept", "column is missing"
    assert typed.refused[["row", "reason"]].to_numpy().tolist() == [
        [4, unknown],
        [5, "column `new` is not a whole number"],
        [8, unnamed],
    ]
    assert typed.table["row"].tolist() == [1, 6, 7]
    assert typed.table["column"].tolist() == ["size", "size", "budget"]
    assert typed.table["old_value"].fillna("?").tolist() == ["?", "?", "no"]
    assert "ada@acme.example" not in typed.table.to_csv() + typed.refused.to_csv()
    said = {one.reason for one in declare(contract(), None) if (one.table, one.column) == ("changes", "column")}
    assert {unknown, unnamed} <= said, "validation has the same words for it"


def test_a_changed_category_that_looks_personal_is_refused() -> None:
    columns = contract().contract.model_dump()["columns"]
    columns["country"]["known_at"] = "over_time"
    cells = pd.DataFrame(
        {
            "who": "a",
            "field": ["country", "country", "country", "size"],
            "seen": "2024-01-01",
            "old": ["DE", "+49 30 1234567", "", "5"],
            "new": ["bob@acme.example", "DE", "AT", "+12345678"],
        },
        index=[1, 2, 3, 4],
        dtype="str",
    )
    typed = tables.type_changes(cells, contract(columns=columns))
    assert typed.table["row"].tolist() == [3]
    assert typed.refused["reason"].tolist() == [
        "column `new` holds what looks like an e-mail address",
        "column `old` holds what looks like a phone number",
        "column `new` holds what looks like a phone number",
    ]


@pytest.mark.parametrize("key", ["ada@acme.example", "+49 30 1234567", "0171 1234567", "(555) 123-4567"])
def test_no_row_is_named_by_a_persons_address_or_number(key: str) -> None:
    reason = (
        "names rows by what looks like an e-mail address or a phone number (take a key that names nobody, such as "
        "`key: row_number`)"
    )
    assert tables.type_leads(lead(id=key), contract()).refused["reason"].item() == f"column `id` {reason}"
    moments = {"at": ["2024-01-01"], "seen": ["2024-01-01"]}
    activity = pd.DataFrame({"who": [key], "what": ["call"], **moments}, dtype="str")
    assert tables.type_activities(activity, contract()).refused["reason"].item() == f"column `who` {reason}"
    change = pd.DataFrame({"who": [key], "field": ["size"], **moments, "old": ["1"], "new": ["2"]}, dtype="str")
    assert tables.type_changes(change, contract()).refused["reason"].item() == f"column `who` {reason}"


@pytest.mark.parametrize("key", ["0049301234", "00493012345678", "L-0171-1234567", "555-123-4567", "2024/00012", "A@1"])
def test_other_keys_are_taken_as_they_are(key: str) -> None:
    assert tables.type_leads(lead(id=key), contract()).refused.empty


@pytest.mark.parametrize("text", ["+4917112345678", "004917112345678", "01711234567", " +12345678 "])
def test_a_number_written_like_a_phone_number_is_one(text: str) -> None:
    cells = pd.DataFrame([GOOD | {"rate": text}] + [GOOD | {"rate": str(i)} for i in range(9)], dtype="str")
    reason = "column `rate` holds what looks like a phone number"
    assert tables.type_leads(cells, contract()).refused["reason"].tolist() == [reason]


@pytest.mark.parametrize(
    "others", [["+5", "+17", "-3"], ["0000000017", "0000450000", "0123456789"]], ids=["signed", "padded"]
)
def test_a_column_written_with_signs_or_zeros_holds_numbers(others: list[str]) -> None:
    text = "+12345678" if others[0].startswith("+") else "0012345678"
    cells = pd.DataFrame([GOOD | {"rate": rate} for rate in [text, *others]], dtype="str")
    assert tables.type_leads(cells, contract()).refused.empty


def test_personal_cells_are_handed_on_to_be_looked_for_elsewhere() -> None:
    told = tables.type_leads(lead(size="not a number"), contract()).personal
    assert told is not None
    assert told.to_dict("list") == {"email": ["ada@acme.example"], "phone": ["+49301234"]}
    # Three cells that their columns cannot hold: the row's cells stand in each other's place.
    moved = tables.type_leads(lead(size="x", rate="x", budget="x", email="good fit"), contract())
    assert moved.personal is not None and moved.personal.empty and len(moved.refused) == 1
    change = {"who": "a", "field": ["email", "size"], "seen": "2024-01-01", "old": ["a@b.example", "1"]}
    cells = pd.DataFrame(change | {"new": ["c@d.example", "2"]}, dtype="str")
    told = tables.type_changes(cells, contract()).personal
    assert told is not None
    assert told.to_dict("list") == {"email": ["a@b.example", "c@d.example"]}


# Columns


def test_leads_are_closed_and_the_other_tables_are_not() -> None:
    header = [name for name in GOOD if name != "rate"] + ["hidden"]
    absent, unnamed = tables.column_faults(header, contract(), "leads")
    assert absent == "it lacks the column `rate`, which contract small names"
    assert unnamed.startswith("it holds the column `hidden`, which contract small does not name; declare")
    assert tables.column_faults(["who", "what", "at", "seen", "subject"], contract(), "activities") == []
    assert tables.column_faults(["who", "what"], contract(), "activities") == [
        "it lacks the columns `at`, `seen`, which contract small names"
    ]


def test_a_score_needs_key_time_and_features_only() -> None:
    needed = ["id", "created", "country", "size", "rate", "budget"]
    assert tables.column_faults([*needed, "notes"], contract(), "leads", scoring=True) == []
    assert tables.column_faults(needed[1:], contract(), "leads", scoring=True) != []
    typed = tables.type_leads(lead()[needed].assign(as_of="2024-05-01"), contract(), scoring=True)
    assert typed.table["as_of"].item() == pd.Timestamp("2024-05-01")
    assert typed.table[["converted_at", "lost_at", "has_work_email", "has_phone", "owner"]].isna().all(axis=None)
    whole = tables.type_leads(lead(), contract()).table
    assert list(typed.table.columns) == [*whole.columns, "as_of"]


# The newest moment


def newest(
    *moments: str, outlier_share: float = 0.01, slack_days: int = 90, slack_share: float = 0.1
) -> tuple[pd.Timestamp | None, int]:
    params = NewestMoment(outlier_share=outlier_share, slack_days=slack_days, slack_share=slack_share)
    found = tables.Newest(params)
    found.add(pd.DataFrame({"recorded_at": np.array(moments, dtype="datetime64[us]")}))
    return found.result()


def test_the_newest_moment_is_the_last_plausible_one() -> None:
    year = [f"2024-{month:02d}-{day:02d}T09:00" for month in range(1, 13) for day in range(1, 29)]
    assert newest(*year) == (pd.Timestamp("2024-12-28T09:00"), 0)
    assert newest(*year, "2025-02-01T10:30") == (pd.Timestamp("2025-02-01T10:30"), 0)
    assert newest(*year, "2204-12-01", "9999-12-31") == (pd.Timestamp("2024-12-28T09:00"), 2)
    assert newest("2024-01-01") == (pd.Timestamp("2024-01-01"), 0)
    assert newest() == (None, 0)
    late = "2025-02-01T10:30"
    assert newest(*year, late, slack_days=30, slack_share=0.0) == (pd.Timestamp("2024-12-28T09:00"), 1)
    assert newest(*year, late, slack_days=0, slack_share=0.2) == (pd.Timestamp(late), 0)
    assert newest(*year, "2204-12-01", outlier_share=0.001) == (pd.Timestamp("2204-12-01"), 0)


# Properties


@settings(max_examples=40, deadline=None)
@given(st.lists(st.fixed_dictionaries({name: st.text(max_size=12) for name in GOOD}), max_size=6))
def test_any_text_is_kept_or_refused_and_inputs_stay_as_they_were(records: list[dict[str, str]]) -> None:
    encodable = [
        {key: value.encode("utf-8", "replace").decode() for key, value in record.items()} for record in records
    ]
    cells = pd.DataFrame(encodable, columns=list(GOOD), index=range(1, len(records) + 1), dtype="str")
    before = cells.copy()
    typed = tables.type_leads(cells, contract())
    pd.testing.assert_frame_equal(cells, before)
    rows = sorted([*typed.table["row"], *typed.refused["row"]])
    assert rows == list(range(1, len(records) + 1))
    assert not {"email", "phone"} & set(typed.table.columns)
    assert np.isfinite(typed.table["rate"].dropna()).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_numbers_survive_as_text(values: list[float]) -> None:
    cells = pd.concat([lead(rate=repr(value)) for value in values]).set_axis(range(len(values)))
    assert tables.type_leads(cells, contract()).table["rate"].tolist() == values


def test_of_changes_set_aside_only_those_from_one_value_to_another_are_counted_as_such() -> None:
    cells = pd.DataFrame(
        {
            "who": "a",
            "field": "owner",
            "seen": "2024-01-01",
            "old": ["", "x", "x", "y"],  # entered for the first time, saved again, changed, emptied
            "new": ["x", "x", "y", ""],
        },
        index=range(1, 5),
        dtype="str",
    )
    typed = tables.type_changes(cells, contract())
    assert (typed.set_aside, typed.changed) == (4, {"owner": 2})


def test_a_first_line_of_values_is_not_shown() -> None:
    for table in tables.TABLES:
        [fault] = tables.column_faults(["L1", "ada@acme.example", "2024-01-01"], contract(), table)
        assert fault == (
            "its first line holds what looks like an e-mail address or a phone number; it must name the columns"
        )
