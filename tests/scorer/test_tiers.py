"""Bands of scores, and grades of who a lead is and what it does."""

import numpy as np
import pytest

from pipeline.scorer.tiers import grade, name

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
