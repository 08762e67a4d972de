"""Reasons: base + points = the displayed score, to the tenth."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.scorer.calibration import Calibration, tenths
from pipeline.scorer.reasons import points, told


def test_points_share_the_rise_in_proportion_to_the_contributions():
    calibration = Calibration("none", 0.0, 1.0, 1.0)
    base, got = points(np.array([[1.0, 0.5], [-1.0, 1.0], [0.0, 0.0]]), np.log(0.25), calibration)
    assert base == 200
    # sigmoid(log(1/4) + 1.5) = 0.528386; the rise of 328.4 tenths splits 2:1 into 218.9 and 109.5, target 528 - 200.
    assert got[0].tolist() == [219, 109]
    # A path of length zero has the calibrator's own slope p(1 - p) = 0.16: 160 tenths per log-odds.
    assert got[1].tolist() == [-160, 160]
    assert got[2].tolist() == [0, 0]


@pytest.mark.parametrize("slopes", [(0.5, 0.5), (1.0, 1.0), (3.0, 3.0), (0.4, 2.0), (2.0, 0.4)])
def test_contributions_that_cancel_have_the_points_of_those_that_nearly_do(slopes):
    calibration = Calibration("beta", 0.2, *slopes)
    _, got = points(np.array([[1.0, -1.0], [1.0, -1 + 1e-6]]), -0.4, calibration)
    assert got[0].tolist() == [got[0, 0], -got[0, 0]]
    assert np.abs(got[0] - got[1]).max() <= 1


contributions = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 12)), elements=st.floats(-6, 6))


@settings(max_examples=300, deadline=None)
@given(contributions, st.floats(-5, 5), st.floats(-2, 2), st.floats(0.1, 3), st.floats(0.1, 3))
def test_base_and_points_add_up_to_the_displayed_score(parts, base, intercept, low_slope, high_slope):
    calibration = Calibration("beta", intercept, low_slope, high_slope)
    start, got = points(parts, base, calibration)
    shown = tenths(calibration.probability(base + parts.sum(axis=1)))
    assert (start + got.sum(axis=1) == shown).all()


@settings(max_examples=200, deadline=None)
@given(contributions, st.floats(-3, 3))
def test_rounding_moves_no_criterion_by_more_than_a_tenth_or_two(parts, base):
    calibration = Calibration("none", 0.0, 1.0, 1.0)
    _, got = points(parts, base, calibration)
    shift = parts.sum(axis=1)
    start = calibration.probability(np.array([base]))
    slope = np.where(
        np.abs(shift) > 1e-9,
        (calibration.probability(base + shift) - start) / np.where(np.abs(shift) > 1e-9, shift, 1),
        start * (1 - start),
    )
    assert np.abs(got - 1000 * parts * slope[:, None]).max() < 2


def test_reasons_are_json_strongest_first_without_zeros():
    texts = [
        (np.array([1, 0]), ["none so far", "3 visits"]),
        (np.array([0, 0]), ['12 "people"']),
        (np.array([0, 0]), ["none"]),
    ]
    groups = ["engagement", "fit", "engagement"]
    found = told(["Visits", "Größe", "Calls"], groups, np.array([[12, -305, 0], [0, 0, 0]]), texts)
    assert json.loads(found[0]) == [
        {"criterion": "Größe", "group": "fit", "points": -30.5, "text": '12 "people"'},
        {"criterion": "Visits", "group": "engagement", "points": 1.2, "text": "3 visits"},
    ]
    assert found[1] == "[]"


@pytest.mark.parametrize(
    ("probability", "shown"), [(0.0, 0), (0.0004, 0), (0.0005, 1), (0.5, 500), (0.99951, 1000), (1.0, 1000)]
)
def test_the_displayed_score_rounds_half_up(probability, shown):
    assert tenths(np.array([probability])).tolist() == [shown]
