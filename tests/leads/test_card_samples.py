"""Sample leads as a strategist types them: read into tables, refused with every fault, compared with the count."""

import json

import pandas as pd
import pytest

from pipeline.errors import CardError
from pipeline.leads import card_samples
from pipeline.scoring import card as counting
from tests import small_cards


@pytest.fixture(scope="module")
def spec(project_root):
    return small_cards.spec(project_root)


def table(*rows):
    return pd.DataFrame(rows, dtype="str").fillna("")


def read(spec, *rows, **changes):
    return card_samples.read(table(*rows), small_cards.card(**changes), spec, file="samples.csv")


def differences(spec, *rows):
    samples = read(spec, *rows)
    counted = counting.points(small_cards.card(), samples.rows, samples.activities, samples.changes, spec)
    return card_samples.differences(samples, counted)


WHOLE = {
    "sample": "a shop that looked around",
    "industry": "retail",
    "employees": "1000",
    "opted_in": "true",
    "age_days": "12",
    "visit": "0 10",
    "expect total": "42",
    "expect qualifies": "true",
    "expect suppressed": "-",
    "expect Visits": "12.0",
}


def test_a_sample_that_comes_out_as_expected(spec):
    assert differences(spec, WHOLE).empty


def test_every_difference_is_named_criterion_by_criterion(spec):
    other = WHOLE | {"employees": "999", "has_phone": "false", "visit": "", "sample": ""}
    found = differences(spec, WHOLE, other)
    assert found.to_numpy().tolist() == [
        ["row 2", "total", 42.0, 15.0],
        ["row 2", "qualifies", True, False],
        ["row 2", "suppressed", "", "No phone"],
        ["row 2", "Visits", 12.0, 0.0],
    ]


@pytest.mark.parametrize(("expected", "met"), [("12.05", True), ("12.06", False), ("11.95", True), ("", True)])
def test_points_are_compared_to_half_of_the_last_decimal(spec, expected, met):
    assert differences(spec, WHOLE | {"expect Visits": expected}).empty is met


def test_history_as_lists_of_records(spec):
    acts = [
        {"kind": "visit", "days_ago": 0},
        {"kind": "visit", "happened_at": "2025-05-21", "recorded_at": "2025-06-01"},  # recorded a day late
        {"kind": "call", "happened_at": "2025-05-30", "recorded_at": "2025-05-31"},
    ]
    changes = [{"column": "employees", "days_ago": 3, "old_value": "10", "new_value": "2000"}]
    row = {
        "as_of": "2025-05-31",
        "age_days": "20",
        "employees": "10",
        "revenue": "1",
        "activities": json.dumps(acts),
        "changes": json.dumps(changes),
        "expect Visits": "8",
        "expect Talks": "10",
        "expect Large": "15",
    }
    assert differences(spec, row).empty


def test_every_fault_is_named_at_once_and_no_value_is(spec):
    row = {
        "sample": "odd",
        "colour": "blue",
        "industry": "secret plans",
        "employees": "many",
        "as_of": "yesterday",
        "age_days": "-1",
        "visit": "2 days",
        "activities": '[{"kind": "mail", "days_ago": 1}, {"kind": "visit"}, {"kind": "visit", "when": 3}]',
        "changes": "none",
        "expect total": "lots",
        "expect qualifies": "perhaps",
        "expect Charm": "5",
    }
    with pytest.raises(CardError) as raised:
        read(spec, row)
    faults = str(raised.value).splitlines()[1:]
    assert len(faults) == 13
    for word in (
        "criterion `Charm`",
        "column `colour`",
        "industry is not among the declared values",
        "employees is not a number",
        "`as_of` is not a time",
        "`age_days` is not a number of days",
        "`visit` is not a list of days",
        "unknown key when",
        "either `happened_at` or `days_ago`",
        "`kind` is none of visit, call",
        "`changes` is not a JSON list",
        "`expect total` is not a number of points",
        "`expect qualifies` is neither true nor false",
    ):
        assert word in str(raised.value)
    for value in ("secret", "many", "yesterday", "blue", "lots", "perhaps"):
        assert value not in str(raised.value)


def test_changes_of_a_column_that_is_not_followed_are_refused(spec):
    changes = '[{"column": "revenue", "days_ago": 1, "old_value": "1", "new_value": "2"}]'
    with pytest.raises(CardError, match="a change's `column` is none of employees, industry, opted_in"):
        read(spec, {"age_days": "1", "expect total": "0", "changes": changes})


def test_an_age_is_asked_for_where_the_card_looks_at_it(spec):
    with pytest.raises(CardError, match="give `age_days`"):
        read(spec, {"expect total": "0"})
    assert len(read(spec, {"expect total": "0"}, criteria=small_cards.CARD["criteria"][:5]).rows) == 1


def test_samples_that_expect_nothing_are_refused(spec):
    with pytest.raises(CardError, match="no column says what is expected"):
        read(spec, {"industry": "retail", "age_days": "1"})
    with pytest.raises(CardError, match="there is no sample"):
        card_samples.read(pd.DataFrame({"expect total": []}), small_cards.card(), spec, file="samples.csv")
