"""Verdicts: what the table says of each column, and what the contract makes of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import params as params_module
from pipeline.errors import ContractError
from pipeline.leads import demo, leakage, tables
from pipeline.leads.contract import Resolved, parse, resolve
from pipeline.params import load_yaml
from tests import small_history
from tests.small_history import resolved

#: A source without dates, and with one feature.
UNDATED: dict[str, Any] = {
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


@pytest.fixture(scope="module")
def limits(project_root):
    return params_module.load(project_root / "params.yaml").validate_.leaks


@pytest.fixture(scope="module")
def log(project_root):
    """Clean tables of a small demo log, typed."""
    params = params_module.load(project_root / "params.yaml").ingest.demo.model_copy(
        update={"leads": 3000, "dirty_share": 0.0}
    )
    contract = resolve(parse(load_yaml(project_root / "data/contracts/demo.yaml", ValueError), file="demo"))
    (block,) = demo.generate(params, seed=5)
    leads = tables.type_leads(block.leads.replace("", np.nan).astype("str"), contract).table
    changes = tables.type_changes(block.changes.replace("", np.nan).astype("str"), contract).table
    return leads, changes.sort_values(["lead_id", "recorded_at", "row"]), demo.extracted_at(params)


def careless(project_root, **columns: dict[str, Any]) -> Resolved:
    """The demo's contract as a careless person would write it: every process field a feature known at creation."""
    content = load_yaml(project_root / "data/contracts/demo.yaml", ValueError)
    assert isinstance(content, dict)
    # Whoever takes it for a feature does not know that it says what the deal was worth.
    del content["outcome"]["value"]
    for name in demo.LEAKS:
        column = content["columns"][name]
        content["columns"][name] = {"role": "feature", "type": column["type"], "known_at": "creation"}
    for name, keys in columns.items():
        content["columns"][name] |= keys
    return resolve(parse(content, file="careless.yaml"))


def test_every_planted_leak_of_the_demo_is_found_and_nothing_else(project_root, log, limits):
    leads, changes, newest = log
    contract = careless(project_root)
    found = leakage.judge(leads, changes, contract, limits, newest)
    by_verdict = found.verdicts.groupby("verdict")["column"].agg(set)
    assert by_verdict[leakage.LEAK] == set(demo.LEAKS)
    assert leakage.SUSPECT not in by_verdict


def test_today_s_status_would_be_a_leak_and_its_first_value_is_none(project_root, log, limits):
    leads, _, newest = log
    none = pd.DataFrame({"lead_id": [], "column": [], "old_value": []}, dtype="str")
    contract = careless(project_root)
    found = leakage.judge(leads, none, contract, limits, newest).verdicts.set_index("column")
    assert found.loc["status", "verdict"] == leakage.LEAK


def test_a_leak_stays_out_unless_the_contract_overrules(project_root, log, limits):
    leads, changes, newest = log
    contract = careless(
        project_root, contract_owner={"overrules_leak": "assigned before the first call, the log shows"}
    )
    found = leakage.judge(leads, changes, contract, limits, newest)
    report = leakage.report(leads, contract, found).set_index("column")
    assert set(report.index[(report["verdict"] == "leak") & report["in_model"]]) == {"contract_owner"}
    assert report.loc["contract_owner", "reason"] == "overruled: assigned before the first call, the log shows"
    assert report.loc["deal_value_eur", "reason"] == "a leak, as the evidence says"

    reduced = leakage.without_leaks(contract, report.reset_index())
    assert set(contract.features) - set(reduced.features) == set(demo.LEAKS) - {"contract_owner"}
    assert reduced.excluded["deal_value_eur"] == "a leak, as the evidence says"
    assert reduced.tracked == contract.tracked


def test_nothing_left_to_learn_from_is_an_error():
    leaks = pd.DataFrame({"column": ["pages"], "in_model": [False], "reason": ["a leak, as the evidence says"]})
    with pytest.raises(ContractError, match="every column that might enter the model is a leak"):
        leakage.without_leaks(resolved(UNDATED), leaks)


def test_a_tracked_column_as_it_was_at_creation():
    history = small_history.tables()
    contract = resolved().contract
    employees = leakage.at_creation(
        history["leads"], history["changes"], "employees", "employees", contract.columns["employees"]
    )
    assert employees.dtype == "float64" and employees.fillna(-1).tolist() == [10.0, -1.0, 4000.0]
    industry = leakage.at_creation(
        history["leads"], history["changes"], "industry", "industry", contract.columns["industry"]
    )
    assert industry.dtype == "str" and industry.isna().tolist() == [True, False, False]


# The report


def rows(limits, **columns: dict[str, Any]) -> dict[str, dict[str, Any]]:
    history = small_history.tables()
    contract = resolved(**columns)
    found = leakage.judge(history["leads"], history["changes"], contract, limits, small_history.NEWEST)
    table = leakage.report(history["leads"], contract, found)
    assert list(table.columns) == leakage.COLUMNS
    return {row["column"]: row for row in table.to_dict("records")}


def test_one_row_per_column_of_the_source_in_its_order(limits):
    assert list(rows(limits)) == list(resolved().contract.columns)


def test_a_feature_of_a_history_too_small_to_tell(limits):
    found = rows(limits)["employees"]
    assert math.isnan(found.pop("gain"))
    assert found == {
        "column": "employees",
        "role": "feature",
        "known_at": "over_time",
        "verdict": "clear",
        "in_model": True,
        "reason": "criterion employees",
        "evidence": "",
        "filled_open": 0.0,
        "filled_closed": 1.0,
    }


def test_a_column_known_with_the_outcome_stays_out(limits):
    found = rows(limits, revenue={"known_at": "outcome"})["revenue"]
    assert (found["in_model"], found["reason"]) == (False, "known only with the outcome")
    assert (found["filled_open"], found["filled_closed"]) == (1.0, 0.5)


def test_the_contract_may_give_the_reason(limits):
    assert (rows(limits)["notes"]["in_model"], rows(limits)["notes"]["reason"]) == (False, "free text")


@pytest.mark.parametrize("column", ["id", "made", "won", "lost", "phone"])
def test_the_key_times_outcomes_and_persons_are_not_judged(limits, column):
    found = rows(limits)[column]
    assert (found["verdict"], found["in_model"], found["evidence"]) == ("", False, "")


def test_a_personal_column_leaves_its_facts(limits):
    found = rows(limits)["phone"]
    assert found["reason"] == "role is personal; only what is derived from it enters: has_phone"
    assert math.isnan(found["filled_open"]) and math.isnan(found["filled_closed"])


def test_without_dates_there_are_no_shares(limits):
    history = small_history.tables()
    leads = history["leads"][["row", "lead_id"]].assign(converted=[True, False, False], pages=1.0)
    contract = resolved(UNDATED)
    found = leakage.report(leads, contract, leakage.judge(leads, history["changes"], contract, limits, None))
    assert found["filled_open"].isna().all() and found["filled_closed"].isna().all()
    assert found["in_model"].tolist() == [False, True]


def test_a_large_history_is_looked_at_in_even_steps(limits):
    rng = np.random.default_rng(1)
    yes = rng.random(50_000) < 0.2
    columns = pd.DataFrame({"told": np.where(yes, 1.0, np.nan), "noise": rng.standard_normal(50_000)})
    converted = pd.Series(yes.astype(float))
    found = leakage.examine(columns, converted, params=limits.model_copy(update={"max_rows": 500}))
    assert found.verdicts["verdict"].tolist() == ["leak", "clear"]


def test_overruling_needs_a_feature():
    with pytest.raises(ContractError, match="overrules_leak"):
        resolved(revenue={"known_at": "outcome", "overrules_leak": "because"})


def test_changes_are_counted_from_the_moment_of_closing_on():
    leads = small_history.tables()["leads"]
    moments = pd.DataFrame(
        {
            "lead_id": ["L1", "L1", "L2", "L3", "L9"],
            "column": ["owner", "owner", "owner", "size", "size"],
            "recorded_at": small_history.times(
                "2024-01-31 23:59", "2024-02-01", "2024-02-20", "2024-01-21", "2024-01-21"
            ),
        }
    )
    counted = leakage.when_known(moments, leads)
    assert counted is not None
    assert counted.to_numpy().tolist() == [["owner", 3, 1], ["size", 1, 1]], "open leads have no closing, L9 is nobody"
    none = leakage.when_known(moments.iloc[:0], leads)
    assert none is not None and none.empty
    assert leakage.when_known(moments, leads.drop(columns=["converted_at", "lost_at"])) is None


def test_overruled_columns_are_leaks_in_the_model() -> None:
    leaks = pd.DataFrame(
        {
            "column": ["deal", "visits", "region", "id"],
            "verdict": ["leak", "leak", "suspect", ""],
            "in_model": [False, True, True, False],
        }
    )
    assert leakage.overruled(leaks) == ["visits"]
    assert leakage.overruled(leaks.head(1)) == []
