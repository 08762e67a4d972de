"""Bands of scores, and grades of who a lead is and what it does."""

import numpy as np
import pandas as pd
import pytest

from pipeline.scorer.features import DAY_US, History, microseconds
from pipeline.scorer.tiers import grade, held_back, name

TIERS = [{"name": "A", "from": 500}, {"name": "B", "from": 100}, {"name": "C", "from": 0}]


def test_a_tier_begins_at_its_score():
    assert name(np.array([1000, 500, 499, 100, 99, 0]), TIERS).tolist() == ["A", "A", "B", "B", "C", "C"]


@pytest.mark.parametrize(
    ("fit", "engagement", "found"),
    [
        (2.0, 2.0, "A1"),
        (1.0, 0.5, "A1"),  # at the cuts
        (0.99, 0.49, "B2"),
        (-0.5, -1.0, "B2"),
        (-0.51, -1.01, "C3"),
    ],
)
def test_a_grade_is_a_letter_for_fit_and_a_number_for_engagement(fit, engagement, found):
    sums = {"fit": np.array([fit]), "engagement": np.array([engagement])}
    assert grade(sums, {"fit": [1.0, -0.5], "engagement": [0.5, -1.0]}).tolist() == [found]


def test_a_group_without_cuts_has_no_part_in_the_grade():
    sums = {"fit": np.array([0.0, 2.0]), "engagement": np.zeros(2)}
    assert grade(sums, {"fit": [1.0]}).tolist() == ["B", "A"]
    assert grade(sums, {"engagement": [-1.0]}).tolist() == ["1", "1"]
    assert grade(sums, {}).tolist() == ["", ""]


# What holds a lead back

PLAYED = [
    {
        "name": "A",
        "from": 500,
        "play": {
            "suppression": [
                {"activity": "left", "within_days": None, "reason": "it left"},
                {"activity": "call", "within_days": 3, "reason": "called lately"},
            ]
        },
    },
    {"name": "B", "from": 100, "play": {"suppression": []}},
    {"name": "C", "from": 0},
]
NOON = pd.Timestamp("2024-05-10 12:00")


@pytest.mark.parametrize(
    ("activities", "held"),
    [
        ([], ""),
        ([("left", -400, -400)], "it left"),
        ([("call", -2.9, -2.9)], "called lately"),
        ([("call", -3, -3)], ""),  # within three days: less than three
        ([("call", 0, 0)], "called lately"),  # recorded at the as-of date itself
        ([("call", -1, 1)], ""),  # not yet recorded
        ([("call", 1, -1)], ""),  # recorded, and to happen later
        ([("call", None, -1), ("left", -1, None)], ""),
        ([("call", -1, -1), ("left", -9, -9), ("call", -2, -2)], "it left; called lately"),  # in order of the rules
        ([("visit", -1, -1)], ""),
    ],
)
def test_a_play_holds_back_what_its_rules_say(activities, held):
    """Days of (happened, recorded) from the as-of date; the lead beside it has another history."""
    days = pd.DataFrame(activities, columns=["kind", "happened", "recorded"]).astype({"kind": object})
    table = pd.DataFrame({"kind": days["kind"]})
    for moment in ("happened", "recorded"):
        since = pd.to_timedelta(days[moment].astype("float64"), unit="D")
        table[f"{moment}_at"] = (NOON + since).astype("datetime64[us]")
    other = pd.DataFrame({"kind": ["left"], "happened_at": [NOON], "recorded_at": [NOON]})
    both = pd.concat([other, table], ignore_index=True).astype(
        {"happened_at": "datetime64[us]", "recorded_at": "datetime64[us]"}
    )
    owner = np.array([1] + [0] * len(table))
    history = History(2, np.array([0, 0, 1]), both, owner, both.iloc[:0], owner[:0])
    as_of = microseconds(pd.Series([NOON] * 3))
    assert held_back(np.array(["A", "B", "A"], dtype=object), PLAYED, history, as_of).tolist() == [held, "", "it left"]
    assert held_back(np.array(["C", "C", "C"], dtype=object), PLAYED, history, as_of).tolist() == ["", "", ""]
    # The look a day earlier knows a day less.
    before = held_back(np.array(["A"] * 3, dtype=object), PLAYED, history, as_of - DAY_US)
    assert before[2] == ""
