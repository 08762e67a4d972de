"""What follows from conditions alone: the ones that never hold, always hold, and say the same."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pipeline.leads import card_logic
from pipeline.leads.cards import Condition

COLUMNS = {
    "seniority": {"type": "category", "values": ["director", "manager", "intern"]},
    "status": {"type": "category", "values": ["new", "contacted"], "required": True},
    "source": {"type": "category"},
    "employees": {"type": "integer", "min": 1},
    "revenue": {"type": "number"},
    "opted_in": {"type": "boolean"},
}


def condition(content):
    return TypeAdapter(Condition).validate_python(content)


DIRECTOR, INTERN = {"column": "seniority", "is": "director"}, {"column": "seniority", "is": "intern"}
WEEK, MONTH = {"activity": "form", "within_days": 7}, {"activity": "form", "within_days": 30}


@pytest.mark.parametrize(
    ("content", "can", "must"),
    [
        (DIRECTOR, True, False),
        ({"all": [DIRECTOR, {"not": DIRECTOR}]}, False, False),
        ({"any": [DIRECTOR, {"not": DIRECTOR}]}, True, True),
        ({"all": [DIRECTOR, INTERN]}, False, False),
        # A closed list is met by one of its words, or the value is missing, unless it must be filled in.
        ({"column": "seniority", "is": ["director", "manager", "intern"]}, True, False),
        ({"column": "status", "is": ["new", "contacted"]}, True, True),
        ({"column": "status", "missing": True}, False, False),
        ({"column": "seniority", "is": "pilot"}, False, False),
        ({"column": "source", "is": "pilot"}, True, False),
        ({"column": "opted_in", "is": [True, False]}, True, False),
        ({"all": [{"column": "opted_in", "is": True}, {"column": "opted_in", "missing": True}]}, False, False),
        # Numbers: empty ranges, ranges beside each other, what the contract already says.
        ({"column": "employees", "at_least": 50, "at_most": 10}, False, False),
        ({"column": "employees", "at_least": 50, "at_most": 50}, True, False),
        ({"column": "employees", "at_most": 0}, False, False),
        ({"any": [{"column": "employees", "at_least": 1}, {"column": "employees", "missing": True}]}, True, True),
        (
            {"all": [{"column": "employees", "at_least": 10}, {"not": {"column": "employees", "at_least": 11}}]},
            True,
            False,
        ),
        (
            {
                "all": [
                    {"column": "employees", "at_least": 10},
                    {"not": {"column": "employees", "at_least": 11}},
                    {"not": {"column": "employees", "at_most": 10}},
                ]
            },
            False,
            False,
        ),
        # Between two whole numbers there is room for a revenue.
        (
            {
                "all": [
                    {"not": {"column": "revenue", "at_most": 10}},
                    {"not": {"column": "revenue", "at_least": 11}},
                    {"column": "revenue", "missing": False},
                ]
            },
            True,
            False,
        ),
        # Counts: never below 0, and those of a week within those of a month, of one kind within those of several.
        ({"activity": "form", "at_least": 0}, True, True),
        ({"activity": "form", "at_least": 3, "at_most": 2}, False, False),
        ({"all": [WEEK, {"not": MONTH}]}, False, False),
        ({"all": [MONTH, {"not": WEEK}]}, True, False),
        ({"all": [WEEK, {"activity": ["call", "form"], "at_most": 0}]}, False, False),
        ({"all": [{"activity": ["call", "form"]}, {"activity": "form", "at_most": 0}]}, True, False),
        ({"age_days": {"at_least": 0}}, True, True),
        ({"age_days": {"at_most": -1}}, False, False),
    ],
)
def test_what_can_hold_and_what_must(content, can, must):
    assert card_logic.possible(condition(content), COLUMNS) is can
    assert card_logic.certain(condition(content), COLUMNS) is must


def test_the_same_said_in_other_words():
    both = condition({"not": {"any": [{"not": DIRECTOR}, {"not": WEEK}]}})
    assert card_logic.same(both, condition({"all": [WEEK, DIRECTOR]}), COLUMNS)
    assert not card_logic.same(both, condition(WEEK), COLUMNS)
    assert card_logic.implies(condition(WEEK), condition(MONTH), COLUMNS)
    assert not card_logic.implies(condition(MONTH), condition(WEEK), COLUMNS)


# Every condition over few values against a search through all leads there can be


FORM_COUNTS = st.tuples(st.sampled_from([7, None]), st.integers(0, 2))
LEAVES = st.one_of(
    st.lists(st.sampled_from(["director", "intern"]), min_size=1).map(lambda w: {"column": "seniority", "is": w}),
    st.booleans().map(lambda missing: {"column": "seniority", "missing": missing}),
    st.integers(1, 3).map(lambda low: {"column": "employees", "at_least": float(low)}),
    st.integers(1, 3).map(lambda high: {"column": "employees", "at_most": float(high)}),
    FORM_COUNTS.map(lambda c: {"activity": "form", "within_days": c[0], "at_least": c[1]}),
    st.integers(1, 2).map(lambda days: {"age_days": {"at_least": float(days)}}),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=6,
)


def met(one, lead):
    """A condition on one lead, counted out."""
    if "not" in one:
        return not met(one["not"], lead)
    if "all" in one or "any" in one:
        return all(met(p, lead) for p in one["all"]) if "all" in one else any(met(p, lead) for p in one["any"])
    if "age_days" in one:
        return lead["age"] >= one["age_days"]["at_least"]
    if "activity" in one:
        return lead[f"form {one['within_days']}"] >= one["at_least"]
    value = lead[one["column"]]
    if "missing" in one:
        return (value is None) == one["missing"]
    if value is None:
        return False
    if "is" in one:
        return value in one["is"]
    return value >= one["at_least"] if "at_least" in one else value <= one["at_most"]


LEADS = [
    {"seniority": word, "employees": number, "age": age, "form 7": week, "form None": ever}
    for word, number, age, week, ever in itertools.product(
        ["director", "manager", "intern", None], [1, 2, 3, 4, None], [0, 1, 2], [0, 1, 2], [0, 1, 2]
    )
    if week <= ever
]


@settings(max_examples=150)
@given(CONDITIONS)
def test_the_search_finds_what_counting_out_finds(one):
    found = [met(one, lead) for lead in LEADS]
    assert card_logic.possible(condition(one), COLUMNS) == any(found)
    assert card_logic.certain(condition(one), COLUMNS) == all(found)
