"""Every declaration of a contract becomes an expectation: its planted fault is caught by it, and by nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from great_expectations.expectations.registry import get_expectation_impl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters import expectations, sources
from pipeline.adapters.expectations import check, write_docs
from pipeline.errors import ArtefactError, ContractError
from pipeline.leads import demo, row_expectations
from pipeline.leads.contract import Resolved, describe, parse, resolve
from pipeline.leads.declarations import column_spec, declare
from pipeline.leads.people import Sieve
from pipeline.leads.quarantine import part, unread_leads
from pipeline.leads.specification import specify
from pipeline.leads.tables import TABLES
from pipeline.params import Demo, Personal, load
from pipeline.paths import Workspace
from pipeline.scorer.checks import refusals
from tests.small_history import NEWEST, replaced, resolved, tables, with_cell

LATE = pd.Timestamp("2024-03-02 00:01")
SOON = pd.Timestamp("2023-12-31 23:59")
TOO_LATE = "is after the source's newest recorded moment"
TOO_EARLY = "is before its lead was created"
TOO_LARGE = "is infinite or beyond 3.4e+38"
REPEATED = "stands in another row too"

#: declaration -> table, row, column, value that breaks it, and what is said. Each breaks nothing else.
PLANTED: dict[str, tuple[str, int, str, object, str]] = {
    "leads.lead_id.required": ("leads", 2, "lead_id", None, "lead_id is missing"),
    "leads.created_at.required": ("leads", 2, "created_at", pd.NaT, "created_at is missing"),
    "leads.created_at.not_after_newest": ("leads", 2, "created_at", LATE, f"created_at {TOO_LATE}"),
    "leads.converted_at.not_before": ("leads", 2, "converted_at", SOON, "converted_at is before created_at"),
    "leads.converted_at.not_with": ("leads", 3, "converted_at", pd.Timestamp("2024-01-20"),
        "converted_at is filled together with lost_at"),
    "leads.converted_at.not_after_newest": ("leads", 1, "converted_at", LATE, f"converted_at {TOO_LATE}"),
    "leads.lost_at.not_before": ("leads", 3, "lost_at", SOON, "lost_at is before created_at"),
    "leads.lost_at.not_after_newest": ("leads", 3, "lost_at", LATE, f"lost_at {TOO_LATE}"),
    "leads.has_phone.given": ("leads", 2, "has_phone", 0.0, "phone is missing"),
    "leads.employees.finite": ("leads", 2, "employees", 3.5e38,
        f"employees {TOO_LARGE}"),
    "leads.employees.whole": ("leads", 2, "employees", 10.5, "employees is not a whole number"),
    "leads.employees.min": ("leads", 2, "employees", 0.0, "employees is below 1"),
    "leads.employees.max": ("leads", 2, "employees", 5001.0, "employees is above 5000"),
    "leads.revenue.finite": ("leads", 2, "revenue", 3.5e38, f"revenue {TOO_LARGE}"),
    "leads.revenue.min": ("leads", 2, "revenue", -0.01, "revenue is below 0"),
    "leads.industry.required": ("leads", 2, "industry", " ", "industry is missing"),
    "leads.industry.values": ("leads", 2, "industry", "Retail", "industry is not among the declared values"),
    "leads.opted_in.type": ("leads", 2, "opted_in", 2.0, "opted_in is neither true nor false"),
    "activities.activity_id.required": ("activities", 2, "activity_id", None, "activity_id is missing"),
    "activities.lead_id.required": ("activities", 2, "lead_id", None, "lead_id is missing"),
    "activities.lead_id.known_lead": ("activities", 2, "lead_id", "L9", "its lead is unknown"),
    "activities.kind.required": ("activities", 2, "kind", None, "kind is missing"),
    "activities.kind.values": ("activities", 2, "kind", "carrier pigeon", "kind is not among the declared kinds"),
    "activities.happened_at.required": ("activities", 2, "happened_at", pd.NaT, "happened_at is missing"),
    "activities.happened_at.not_before_creation": ("activities", 2, "happened_at", SOON, f"happened_at {TOO_EARLY}"),
    "activities.recorded_at.required": ("activities", 2, "recorded_at", pd.NaT, "recorded_at is missing"),
    "activities.recorded_at.not_before": ("activities", 1, "recorded_at", pd.Timestamp("2024-01-05 08:59"),
        "recorded_at is before happened_at"),
    "activities.recorded_at.not_after_newest": ("activities", 2, "recorded_at", LATE, f"recorded_at {TOO_LATE}"),
    "changes.lead_id.required": ("changes", 2, "lead_id", None, "lead_id is missing"),
    "changes.lead_id.known_lead": ("changes", 2, "lead_id", "L9", "its lead is unknown"),
    "changes.column.required": ("changes", 2, "column", None, "column is missing"),
    "changes.column.values": ("changes", 2, "column", "mobile", "column is not among those whose changes are kept"),
    "changes.recorded_at.required": ("changes", 2, "recorded_at", pd.NaT, "recorded_at is missing"),
    "changes.recorded_at.not_before_creation": ("changes", 2, "recorded_at", SOON, f"recorded_at {TOO_EARLY}"),
    "changes.recorded_at.not_after_newest": ("changes", 2, "recorded_at", LATE, f"recorded_at {TOO_LATE}"),
}  # fmt: skip
for _side in ("old_value", "new_value"):
    PLANTED |= {
        f"changes.{_side}.employees.type": ("changes", 1, _side, "many", f"{_side} of employees is not a number"),
        f"changes.{_side}.employees.finite": ("changes", 1, _side, "inf", f"{_side} of employees {TOO_LARGE}"),
        f"changes.{_side}.employees.whole": ("changes", 1, _side, "7.5", f"{_side} of employees is not a whole number"),
        f"changes.{_side}.employees.min": ("changes", 1, _side, "0", f"{_side} of employees is below 1"),
        f"changes.{_side}.employees.max": ("changes", 1, _side, "5001", f"{_side} of employees is above 5000"),
        f"changes.{_side}.industry.values": (
            "changes", 2, _side, "mining", f"{_side} of industry is not among the declared values",
        ),
    }  # fmt: skip
#: Faults that take more than one cell; tested on their own below.
OF_SEVERAL_ROWS = {
    "leads.lead_id.unique",
    "leads.tax_id.unique",
    "activities.activity_id.unique",
    "changes.old_value.opted_in.type",
    "changes.new_value.opted_in.type",
}


def planted(*faults: str) -> tuple[dict[str, pd.DataFrame], set[tuple[str, int, str]]]:
    """The clean tables and, for each fault, one more row that is clean but for it; and what must be found."""
    changed, expected = tables(), set()
    for number, fault in enumerate(faults):
        table, template, column, value, reason = PLANTED[fault]
        frame = changed[table]
        row = len(frame) + 1
        own = {"leads": {"lead_id": f"F{number}", "tax_id": None}, "activities": {"activity_id": f"F{number}"}}
        new = frame.iloc[[template - 1]].assign(row=row, **own.get(table, {}))
        new[column] = replaced(new[column], 0, value)
        changed[table] = pd.concat([frame, new.astype(frame.dtypes)], ignore_index=True)
        expected.add((table, row, reason))
        if fault.endswith("employees.finite"):
            expected.add((table, row, reason.replace(TOO_LARGE, "is above 5000")))
    return changed, expected


@contextmanager
def only(table: str) -> Iterator[None]:
    """Run the suite of one table alone: each costs a third of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expectations, "TABLES", (table,))
        yield


def rows_of(failed: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(failed.itertuples(index=False, name=None))


def test_clean_tables_keep_every_declaration() -> None:
    checked = check(tables(), resolved(), NEWEST)
    assert len(checked.failed) == 0
    assert (checked.summary["failed"] == 0).all()


def test_every_declaration_has_a_planted_fault() -> None:
    declared = {one.id for one in declare(resolved(), NEWEST) if one.rule != "held_as"}
    assert declared == set(PLANTED) | OF_SEVERAL_ROWS


def test_every_planted_fault_is_caught_in_its_row_and_nothing_else_is() -> None:
    changed, expected = planted(*PLANTED)
    assert set(rows_of(check(changed, resolved(), NEWEST).failed)) == expected


@pytest.mark.parametrize("fault", PLANTED)
def test_a_declaration_removed_lets_its_fault_through(fault: str) -> None:
    table, _, _, _, reason = PLANTED[fault]
    changed, expected = planted(fault)
    with only(table):
        found = rows_of(check(changed, resolved(), NEWEST, drop=fault).failed)
    assert set(found) == {entry for entry in expected if entry[2] != reason}


@pytest.mark.parametrize(
    ("column", "key", "fault"),
    [
        ("won", "not_before", "leads.converted_at.not_before"),
        ("won", "not_with", "leads.converted_at.not_with"),
        ("phone", "required", "leads.has_phone.given"),
        ("employees", "min", "leads.employees.min"),
        ("employees", "max", "leads.employees.max"),
        ("employees", "max", "changes.new_value.employees.max"),
        ("industry", "required", "leads.industry.required"),
        ("industry", "values", "leads.industry.values"),
        ("industry", "values", "changes.old_value.industry.values"),
    ],
)
def test_a_key_removed_from_the_contract_lets_its_fault_through(column: str, key: str, fault: str) -> None:
    changed, _ = planted(fault)
    with only(PLANTED[fault][0]):
        assert rows_of(check(changed, resolved(**{column: {key: None}}), NEWEST).failed) == []


class TestUnique:
    def test_rows_that_differ_are_both_set_aside(self) -> None:
        changed = with_cell("leads", 3, "lead_id", "L2")
        found = rows_of(check(changed, resolved(), NEWEST).failed)
        assert ("leads", 2, f"lead_id {REPEATED}") in found
        assert ("leads", 3, f"lead_id {REPEATED}") in found

    def test_of_exact_copies_the_first_is_kept(self) -> None:
        changed = tables()
        copies = changed["activities"].iloc[[0, 0]].assign(row=[7, 4])
        changed["activities"] = pd.concat([changed["activities"], copies], ignore_index=True)
        found = rows_of(check(changed, resolved(), NEWEST).failed)
        assert found == [("activities", row, f"activity_id {REPEATED}") for row in (4, 7)]

    def test_a_copy_does_not_clear_a_third_row_that_differs(self) -> None:
        changed = tables()
        others = changed["activities"].iloc[[0, 0]].assign(row=[4, 5])
        others["kind"] = replaced(others["kind"], 1, "call")
        changed["activities"] = pd.concat([changed["activities"], others], ignore_index=True)
        found = rows_of(check(changed, resolved(), NEWEST).failed)
        assert found == [("activities", row, f"activity_id {REPEATED}") for row in (1, 4, 5)]

    def test_a_unique_column_beside_the_key(self) -> None:
        changed = with_cell("leads", 3, "tax_id", "T1")
        assert rows_of(check(changed, resolved(), NEWEST).failed) == [
            ("leads", row, f"tax_id {REPEATED}") for row in (1, 3)
        ]
        assert rows_of(check(changed, resolved(tax_id={"unique": None}), NEWEST).failed) == []


@pytest.mark.parametrize(
    ("table", "row", "column", "moment", "reasons"),
    [
        ("leads", 1, "converted_at", "2024-01-01", []),
        ("leads", 1, "converted_at", "2024-01-01 10:39:59.999999", ["converted_at is before created_at"]),
        ("activities", 1, "recorded_at", "2024-03-01 23:00", []),
    ],
)
def test_a_date_lasts_all_day(table: str, row: int, column: str, moment: str, reasons: list[str]) -> None:
    changed = with_cell(table, row, column, pd.Timestamp(moment))
    with only(table):
        assert check(changed, resolved(), NEWEST).failed["reason"].tolist() == reasons


def test_a_changed_boolean_is_a_boolean() -> None:
    changed = with_cell("changes", 1, "column", "opted_in")
    with only("changes"):
        assert rows_of(check(changed, resolved(), NEWEST).failed) == [
            ("changes", 1, "old_value of opted_in is neither true nor false"),
            ("changes", 1, "new_value of opted_in is neither true nor false"),
        ]


def test_what_belongs_to_a_lead_that_could_not_be_read_is_not_at_fault() -> None:
    changed = with_cell("activities", 2, "lead_id", "L9")
    assert len(check(changed, resolved(), NEWEST, refused_leads=pd.Series(["L9"])).failed) == 0


def test_empty_tables() -> None:
    empty = {name: table.iloc[:0] for name, table in tables().items()}
    checked = check(empty, resolved(), None)
    assert len(checked.failed) == 0
    assert list(checked.failed.columns) == ["table", "row", "reason"]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = with_cell("leads", 3, "lead_id", "L2")
    monkeypatch.setattr(expectations, "TABLES", ("leads",))
    whole = check(changed, resolved(), NEWEST)
    monkeypatch.setattr(expectations, "CHUNK", 2)
    parts = check(changed, resolved(), NEWEST)
    pd.testing.assert_frame_equal(whole.failed, parts.failed)
    pd.testing.assert_frame_equal(whole.summary, parts.summary)
    assert docs_of(whole, tmp_path / "a") == docs_of(parts, tmp_path / "b")


def test_parts_change_nothing() -> None:
    """Uniqueness and references hold across parts, whatever stands in which."""
    changed, expected = planted(*PLANTED)
    for table, row, of in [("activities", 5, 1), ("changes", 4, 1)]:
        changed[table] = pd.concat([changed[table], changed[table].iloc[[of]].assign(row=row + 100)], ignore_index=True)
    repeated = changed["activities"]["activity_id"].duplicated(keep=False)
    assert repeated.any()
    cut = {name: [table.iloc[at : at + 4] for at in range(0, len(table), 4)] for name, table in changed.items()}
    whole, parts = check(changed, resolved(), NEWEST), check(cut, resolved(), NEWEST)
    assert expected < set(rows_of(whole.failed))
    pd.testing.assert_frame_equal(whole.failed, parts.failed)
    pd.testing.assert_frame_equal(whole.summary, parts.summary)


def test_inputs_stay_as_they_were() -> None:
    (changed, _), (before, _) = planted("leads.industry.required"), planted("leads.industry.required")
    check(changed, resolved(), NEWEST)
    for name in TABLES:
        pd.testing.assert_frame_equal(changed[name], before[name])


class TestErrors:
    def test_a_column_that_is_not_there(self) -> None:
        changed = tables()
        changed["leads"] = changed["leads"].drop(columns="revenue")
        with pytest.raises(ArtefactError, match=r"leads\.revenue.*dvc repro -f ingest"):
            check(changed, resolved(), NEWEST)

    def test_a_column_of_another_type(self) -> None:
        changed = tables()
        changed["leads"]["revenue"] = changed["leads"]["revenue"].astype("str")
        with pytest.raises(ArtefactError, match="revenue is not held as float64"):
            check(changed, resolved(revenue={"min": None}), NEWEST)

    def test_dropping_what_is_not_declared(self) -> None:
        with pytest.raises(ContractError, match=r"leads\.revenue\.max"):
            check(tables(), resolved(), NEWEST, drop="leads.revenue.max")


# The strategist's own

#: expectation -> table, columns, arguments, and the rows of the clean tables that break it.
OWN: dict[str, tuple[str, list[str], dict[str, Any], list[int]]] = {
    "expect_column_values_to_be_between": ("leads", ["made"], {"min_value": "2024-01-02", "strict_min": True}, [1, 2]),
    "expect_column_values_to_be_in_set": ("leads", ["employees"], {"value_set": [10, 20]}, [3]),
    "expect_column_values_to_not_be_in_set": ("activities", ["what"], {"value_set": ["call"]}, [2]),
    "expect_column_values_to_match_regex": ("leads", ["tax_id"], {"regex": "^T(1|2)$"}, [3]),
    "expect_column_values_to_not_match_regex": ("leads", ["id"], {"regex": "[12]"}, [1, 2]),
    "expect_column_values_to_match_regex_list": ("leads", ["tax_id"],
        {"regex_list": ["T", "1"], "match_on": "all"}, [3]),
    "expect_column_values_to_not_match_regex_list": ("changes", ["is"], {"regex_list": ["^r", "^9"]}, [2]),
    "expect_column_value_lengths_to_be_between": ("leads", ["industry"], {"max_value": 6}, [2]),
    "expect_column_value_lengths_to_equal": ("changes", ["was"], {"value": 3}, [1]),
    "expect_column_pair_values_a_to_be_greater_than_b": ("activities", ["noted", "when"], {}, [1]),
    "expect_column_pair_values_to_be_equal": ("activities", ["when", "noted"], {}, [2, 3]),
    "expect_column_pair_values_to_be_in_set": ("leads", ["industry", "employees"],
        {"value_pairs_set": [["retail", 10]]}, [3]),
    "expect_multicolumn_sum_to_equal": ("leads", ["employees", "revenue"], {"sum_total": 11}, [1]),
    "expect_multicolumn_values_to_be_equal": ("leads", ["id", "tax_id"], {}, [1, 3]),
    "expect_select_column_values_to_be_unique_within_record": ("activities", ["when", "noted"], {}, [1]),
}  # fmt: skip


def with_own() -> Resolved:
    """The contract with one expectation of every kind; the reason is its name."""
    own = [
        {"expectation": name, "table": table, "columns": columns, "kwargs": kwargs, "reason": name}
        for name, (table, columns, kwargs, _) in OWN.items()
    ]
    return resolved({"expectations": own})


def test_own_every_kind_is_tried() -> None:
    assert set(OWN) == set(row_expectations.KINDS)


def test_own_arguments_are_those_of_the_library() -> None:
    for name, kind in row_expectations.KINDS.items():
        known = set(get_expectation_impl(name).__fields__)
        assert {*kind.needs, *kind.takes} <= known, name


@pytest.mark.parametrize("chunk", [500_000, 2])
def test_own_rows_at_fault_are_found_and_no_others(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectations, "CHUNK", chunk)
    found = rows_of(check(tables(), with_own(), NEWEST).failed)
    assert sorted(found) == sorted((table, row, name) for name, (table, *_, rows) in OWN.items() for row in rows)


def test_own_are_in_the_docs_with_their_words_and_without_values(tmp_path: Path) -> None:
    history = with_cell("leads", 1, "tax_id", "zoe-secret")
    pages = docs_of(check(history, with_own(), NEWEST), tmp_path / "docs")
    shown = "".join(pages.values())
    assert "tax_id matches the pattern ^T(1|2)$" in pages["leads.html"]
    assert "happened_at and recorded_at are equal" in pages["activities.html"]
    assert "secret" not in shown and "call back" not in shown


# Data Docs


def docs_of(checked: expectations.Checked, folder: Path, history: Any = None, **more: Any) -> dict[str, str]:
    folder.mkdir()
    refused = pd.DataFrame({"table": ["leads"], "row": [9], "reason": ["line 10: <torn>"], "raw": [";"]})
    none = dict.fromkeys(TABLES, 0)
    parted = part(history or tables(), checked.failed, refused.astype({"reason": "str"}), pd.Series(dtype="str"), none)
    write_docs(checked, parted.summary, folder, "small", **more)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_docs_show_counts_and_never_a_value(tmp_path: Path) -> None:
    changed = tables()
    secret = "zoe@secret.example"
    for table, column in [("leads", "industry"), ("activities", "kind"), ("changes", "column")]:
        changed[table][column] = replaced(changed[table][column], 1, secret)
    changed["leads"]["employees"] = [-424242.0, 10.0, 20.0]
    checked = check(changed, resolved(), NEWEST)
    pages = docs_of(checked, tmp_path / "docs", changed)
    assert set(pages) == {"index.html", "leads.html", "activities.html", "changes.html"}
    shown = "".join(pages.values()) + checked.summary.to_csv()
    assert secret not in shown and "424242" not in shown
    assert ">1 (33.3%)<" in pages["leads.html"]
    assert re.search(r"industry is one of: retail, R&amp;D &lt;labs&gt;", pages["leads.html"])
    assert '<a href="leads.html">leads</a>' in pages["index.html"]


def test_docs_say_why_rows_were_left_out_the_commonest_first(tmp_path: Path) -> None:
    history = tables()
    history["leads"]["employees"] = [0.0, -1.0, 5001.0]
    index = docs_of(check(history, resolved(), NEWEST), tmp_path / "a", history, beside={"more.html": "A & B"})[
        "index.html"
    ]
    rows = re.findall(r"<tr>(?:<td>.*?</td>)+</tr>", index)
    told = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    assert told[0] == ['<a href="leads.html">leads</a>', "4", "0", "3 (75.0%)", "1 (25.0%)", "0"]
    assert told[3:6] == [
        ["employees is below 1", "quarantine.parquet", "2", "50.0%"],
        ["&lt;torn&gt;", "refused.parquet", "1", "25.0%"],
        ["employees is above 5000", "quarantine.parquet", "1", "25.0%"],
    ]
    assert told[6] == ["its lead is quarantined", "quarantine.parquet", "3", "100.0%"]
    assert '<a href="more.html">A &amp; B</a>' in index and "quarantine.parquet" in index


@pytest.mark.parametrize(
    ("part", "whole", "shown"), [(0, 0, "0.0%"), (1, 10_000, "below 0.1%"), (1, 1000, "0.1%"), (3, 3, "100.0%")]
)
def test_a_share_that_is_there_is_never_shown_as_nothing(part: int, whole: int, shown: str) -> None:
    assert expectations.share(part, whole) == shown


def test_docs_are_the_same_every_time_and_need_no_net(tmp_path: Path) -> None:
    changed, _ = planted("leads.employees.min")
    with only("leads"):
        first, second = (docs_of(check(changed, resolved(), NEWEST), tmp_path / place) for place in "ab")
    assert first == second
    assert not re.search(r"https?://|<script|&lt;i class|20\d\d-\d\d-\d\dT", "".join(first.values()))


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    check(tables(), resolved(), NEWEST)
    assert list(tmp_path.iterdir()) == []


# Two routes: what validation quarantines, the scorer refuses, in the same words


@st.composite
def leads_tables(draw: st.DrawFn) -> pd.DataFrame:
    n = 30
    moments = st.one_of(
        st.just(pd.NaT),
        st.sampled_from(
            [pd.Timestamp("2024-01-05"), pd.Timestamp("2024-01-05 12:00"), pd.Timestamp("2024-01-06 08:00")]
        ),
    )
    numbers = st.sampled_from([None, float("inf"), -float("inf"), -3.5e38, 3.5e38, -1.0, 0.0, 0.5, 1.0, 5000.0, 5000.5])
    words = st.sampled_from([None, " ", "retail", "R&D <labs>", "Retail", "zzz"])

    def column(values: st.SearchStrategy[Any], dtype: str) -> pd.Series:
        return pd.Series(draw(st.lists(values, min_size=n, max_size=n)), dtype=dtype)

    keys = [f"L{i}" if draw(st.booleans()) else None for i in range(n)]
    return pd.DataFrame(
        {
            "row": range(1, n + 1),
            "lead_id": pd.Series(keys, dtype="str"),
            "created_at": column(moments, "datetime64[us]"),
            "converted_at": column(moments, "datetime64[us]"),
            "lost_at": column(moments, "datetime64[us]"),
            "tax_id": pd.Series([None] * n, dtype="str"),
            "employees": column(numbers, "float64"),
            "revenue": column(numbers, "float64"),
            "industry": column(words, "str"),
            "opted_in": column(st.sampled_from([None, 0.0, 1.0, 2.0]), "float64"),
            "notes": pd.Series([None] * n, dtype="str"),
            "has_phone": 1.0,
        }
    )


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(leads_tables())
def test_validation_and_scorer_agree(leads: pd.DataFrame) -> None:
    contract = resolved()
    with only("leads"):
        failed = check(tables() | {"leads": leads}, contract, NEWEST).failed
    validation = failed.groupby("row")["reason"].agg(set)
    columns = [column_spec(contract, source) for source in contract.names]
    refused = refusals(leads, columns).set_axis(leads["row"])
    assert {row: set(reasons.split("; ")) for row, reasons in refused.items() if reasons} == validation.to_dict()


BOUNDS = st.fixed_dictionaries(
    {"min_value": st.sampled_from([0, 1, 6])},
    optional={"max_value": st.sampled_from([6, 7, 5000]), "strict_min": st.booleans(), "strict_max": st.booleans()},
)
PATTERNS = st.sampled_from(["^r", "l", "(a|b)s>$", "R"])
LISTS = st.lists(PATTERNS, min_size=1, max_size=2)
WORDS = st.lists(st.sampled_from(["retail", "zzz"]), min_size=1)
#: expectation on one column -> the column, and arguments.
ON_ONE: dict[str, tuple[str, st.SearchStrategy[dict[str, Any]]]] = {
    "expect_column_values_to_be_between": ("employees", BOUNDS),
    "expect_column_values_to_be_in_set": ("employees", st.just({"value_set": [1, 0.5]})),
    "expect_column_values_to_not_be_in_set": ("industry", st.fixed_dictionaries({"value_set": WORDS})),
    "expect_column_values_to_match_regex": ("industry", st.fixed_dictionaries({"regex": PATTERNS})),
    "expect_column_values_to_not_match_regex": ("industry", st.fixed_dictionaries({"regex": PATTERNS})),
    "expect_column_values_to_match_regex_list": (
        "industry",
        st.fixed_dictionaries({"regex_list": LISTS, "match_on": st.sampled_from(["any", "all"])}),
    ),
    "expect_column_values_to_not_match_regex_list": ("industry", st.fixed_dictionaries({"regex_list": LISTS})),
    "expect_column_value_lengths_to_be_between": ("industry", BOUNDS),
    "expect_column_value_lengths_to_equal": ("industry", st.just({"value": 6})),
}


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    leads=leads_tables(),
    kwargs=st.fixed_dictionaries({name: given_ for name, (_, given_) in ON_ONE.items()}),
    late=st.booleans(),
)
def test_validation_and_scorer_agree_on_the_strategists_own(
    project_root: Path, leads: pd.DataFrame, kwargs: dict[str, dict[str, Any]], late: bool
) -> None:
    assert set(ON_ONE) == {name for name, kind in row_expectations.KINDS.items() if kind.columns == 1}
    own = [
        {"expectation": name, "columns": [column], "kwargs": kwargs[name], "reason": name}
        for name, (column, _) in ON_ONE.items()
    ]
    bound = {"max_value" if late else "min_value": "2024-01-05T12:00:00Z", "strict_min" if late else "strict_max": True}
    moment = {"expectation": "expect_column_values_to_be_between", "columns": ["made"], "reason": "when"}
    contract = resolved({"expectations": [*own, moment | {"kwargs": bound}]})
    with only("leads"):
        failed = check(tables() | {"leads": leads}, contract, NEWEST).failed
    names = {*ON_ONE, "when"}
    validation = failed[failed["reason"].isin(names)].groupby("row")["reason"].agg(set)
    read = specify(contract, load(project_root / "params.yaml").featurize)["checks"]
    assert {rule["reason"] for column in read for rule in column.get("own", ())} == names
    refused = refusals(leads.assign(lead_id="x"), read).set_axis(leads["row"])
    found = {row: set(reasons.split("; ")) & names for row, reasons in refused.items()}
    assert {row: reasons for row, reasons in found.items() if reasons} == validation.to_dict()


# The demo: every planted kind of dirt is caught, no good row is lost, and each declaration is needed

#: Dirty kind of the demo -> the declarations that keep it away. The others are refused at ingest.
DEMO_KINDS: dict[str, str] = {
    "lead_key_repeated": "leads.lead_id.unique",
    "lead_key_missing": "leads.lead_id.required",
    "created_at_missing": "leads.created_at.required",
    "created_after_extraction": "leads.created_at.not_after_newest",
    "employees_negative": "leads.employees.min",
    "revenue_negative": "leads.annual_revenue_eur.min",
    "converted_before_created": "leads.converted_at.not_before",
    "lost_before_created": "leads.lost_at.not_before",
    "converted_and_lost": "leads.lost_at.not_with",
    "country_unknown": "leads.country.values",
    "activity_of_unknown_lead": "activities.lead_id.known_lead",
    "activity_recorded_before_it_happened": "activities.recorded_at.not_before",
    "activity_kind_unknown": "activities.kind.values",
    "activity_id_repeated": "activities.activity_id.unique",
    "activity_id_missing": "activities.activity_id.required",
    "activity_before_its_lead": "activities.happened_at.not_before_creation",
    "activity_after_extraction": "activities.recorded_at.not_after_newest",
    "change_of_unknown_lead": "changes.lead_id.known_lead",
    "change_before_its_lead": "changes.recorded_at.not_before_creation",
    "change_recorded_at_missing": "changes.recorded_at.required",
}
#: Dirty kind -> why `ingest` refuses it: by type, or because what may be personal goes no further.
AT_INGEST = {
    "created_at_unreadable": "column `created_at` is not an ISO 8601 date or time",
    "employees_not_a_number": "column `employees` is not a whole number",
    "budget_not_yes_or_no": "column `budget_confirmed` is not true or false",
    "activity_happened_at_unreadable": "column `happened_at` is not an ISO 8601 date or time",
    "email_in_industry": "column `industry` holds what looks like an e-mail address",
    "phone_in_region": "column `region` holds what looks like a phone number",
    "change_of_unknown_column": "column is not among those whose changes are kept",
    "name_in_budget": "column `budget_confirmed` is not true or false",
    "name_in_department": "column `department` holds what stands in a personal column",
    "name_in_campaign": "column `campaign` holds what stands in a personal column",
    "stranger_in_tech_stack": "column `tech_stack` holds what looks like a person's name",
    "phone_in_source": "column `source` holds what looks like a phone number",
    "phone_in_employees": "column `employees` holds what looks like a phone number",
    "phone_in_revenue": "column `annual_revenue_eur` holds what stands in a personal column",
    "email_as_lead_key": "column `lead_id` names rows by what looks like an e-mail address or a phone number",
    "name_in_activity_kind": "column `kind` holds what stands in a personal column",
    "phone_in_activity_kind": "column `kind` holds what looks like a phone number",
    "email_as_activity_lead": "column `lead_id` names rows by what looks like an e-mail address or a phone number",
    "name_in_change": "column `new_value` holds what stands in a personal column",
    "phone_in_change": "column `old_value` holds what looks like a phone number",
}
WITH_ITS_LEAD = {"activity_of_dirty_lead"}
DEMO = Demo(leads=1500, months=12, dirty_share=0.05)


class DirtyDemo:
    """The demo, ingested, with what is known to be dirty."""

    def __init__(self, contract: Resolved) -> None:
        blocks = list(demo.generate(DEMO, 7))
        pieces = list(sources.pieces_of_blocks(iter(blocks), contract))
        sieve = Sieve(contract, Personal(few_rows=5, common_share=0.001, shared_share=0.01, odd_share=0.05))
        for piece in pieces:
            sieve.see(piece.table, piece.typed)
        sifted = [(piece.table, *sieve.sift(piece.table, piece.typed.table)) for piece in pieces]
        self.contract = contract
        self.dirty = pd.concat([block.dirty for block in blocks], ignore_index=True)
        self.tables = {
            name: pd.concat([kept for table, kept, _ in sifted if table == name], ignore_index=True) for name in TABLES
        }
        refused = [piece.typed.refused.assign(table=piece.table) for piece in pieces]
        refused += [named.assign(table=table) for table, _, named in sifted]
        self.refused = pd.concat(refused, ignore_index=True)
        self.unread = unread_leads(self.refused, contract.contract)
        self.newest = demo.extracted_at(DEMO)

        self.failed = self.check()

    def check(self, drop: str | None = None) -> pd.DataFrame:
        return check(self.tables, self.contract, self.newest, refused_leads=self.unread, drop=drop).failed

    def gone(self) -> pd.DataFrame:
        parted = part(self.tables, self.failed, self.refused, self.unread, dict.fromkeys(TABLES, 0))
        return pd.concat([parted.quarantine[["table", "row"]], self.refused[["table", "row"]]])

    def passes(self, kind: str, failed: pd.DataFrame) -> bool:
        rows = self.dirty[self.dirty["kind"] == kind].merge(failed, on=["table", "row"], how="left")
        return bool(rows["reason"].isna().any())


@pytest.fixture(scope="module")
def demo_contract(project_root: Path) -> Resolved:
    return sources.read_contract(Workspace(project_root), "demo")


@pytest.fixture(scope="module")
def dirty_demo(demo_contract: Resolved) -> DirtyDemo:
    return DirtyDemo(demo_contract)


def test_demo_every_dirty_row_goes_and_no_good_one(dirty_demo: DirtyDemo) -> None:
    known = set(rows_of(dirty_demo.dirty[["table", "row"]]))
    gone = set(rows_of(dirty_demo.gone()))
    assert known <= gone
    good = sum(len(table) for table in dirty_demo.tables.values())
    assert len(gone - known) <= 0.001 * good


def test_demo_every_kind_is_here(dirty_demo: DirtyDemo) -> None:
    assert set(dirty_demo.dirty["kind"]) == set(DEMO_KINDS) | set(AT_INGEST) | WITH_ITS_LEAD


@pytest.mark.parametrize("kind", AT_INGEST)
def test_demo_what_ingest_refuses_never_reaches_validation(kind: str, dirty_demo: DirtyDemo) -> None:
    rows = dirty_demo.dirty[dirty_demo.dirty["kind"] == kind]
    found = rows.merge(dirty_demo.refused, on=["table", "row"], how="left")
    assert found["reason"].str.startswith(AT_INGEST[kind]).fillna(False).all()


@pytest.mark.parametrize("kind", DEMO_KINDS)
def test_demo_a_declaration_removed_lets_its_kind_through(kind: str, dirty_demo: DirtyDemo) -> None:
    assert not dirty_demo.passes(kind, dirty_demo.failed)
    with only(DEMO_KINDS[kind].split(".")[0]):
        assert dirty_demo.passes(kind, dirty_demo.check(drop=DEMO_KINDS[kind]))


@pytest.mark.parametrize(
    ("column", "kind"), [("employees", "employees_not_a_number"), ("budget_confirmed", "budget_not_yes_or_no")]
)
def test_demo_a_type_removed_lets_its_kind_through(
    column: str, kind: str, dirty_demo: DirtyDemo, demo_contract: Resolved
) -> None:
    rows = dirty_demo.dirty.loc[dirty_demo.dirty["kind"] == kind, "row"]
    assert rows.isin(dirty_demo.refused.loc[dirty_demo.refused["table"] == "leads", "row"]).all()
    content = describe(demo_contract)["contract"]
    # Neither words for true and false nor a mover go with a category without a list.
    content["columns"][column] = {
        key: value
        for key, value in content["columns"][column].items()
        if key not in ("min", "text", "text_none", "moved_by")
    } | {"type": "category"}
    loose = DirtyDemo(resolve(parse(content, file="demo.yaml")))
    assert loose.passes(kind, loose.failed)
