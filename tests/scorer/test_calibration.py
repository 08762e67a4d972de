"""Calibration is one rising function: its formula, its slope, and its limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.scorer.calibration import Calibration, Interval, sigmoid

slopes = st.floats(0.05, 4)


def test_beta_calibration_by_hand():
    calibration = Calibration("beta", 0.5, 2.0, 3.0)
    # At margin 0 both softplus are log 2: 0.5 - 2 log 2 + 3 log 2.
    assert calibration.log_odds(np.array(0.0)) == pytest.approx(0.5 + np.log(2))
    # Far out one of them is the margin itself, the other nothing.
    assert calibration.log_odds(np.array([-80.0, 80.0])) == pytest.approx([0.5 - 160.0, 0.5 + 240.0])
    assert calibration.slope(np.array([-80.0, 0.0, 80.0])) == pytest.approx([2.0, 2.5, 3.0])


def test_beta_calibration_is_that_of_its_paper():
    """Kull, Silva Filho and Flach 2017: 1 / (1 + 1 / (e^c s^a / (1 - s)^b)), s the chance before calibration."""
    margin = np.linspace(-4, 4, 41)
    a, b, c = 0.7, 1.8, -0.3
    s = sigmoid(margin)
    theirs = 1 / (1 + 1 / (np.exp(c) * s**a / (1 - s) ** b))
    np.testing.assert_allclose(Calibration("beta", c, a, b).probability(margin), theirs, rtol=1e-12)


@pytest.mark.parametrize("slope", [0.4, 1.0, 2.5])
def test_equal_slopes_are_a_line(slope):
    margin = np.linspace(-30, 30, 61)
    line = Calibration("sigmoid", -0.2, slope, slope).log_odds(margin)
    np.testing.assert_allclose(line, -0.2 + slope * margin, atol=1e-12)
    nearly = Calibration("beta", -0.2, slope, slope * (1 + 1e-12)).log_odds(margin)
    np.testing.assert_allclose(nearly, line, atol=1e-9)


@settings(deadline=None)
@given(st.floats(-3, 3), slopes, slopes, st.floats(-8, 8))
def test_the_slope_is_the_derivative_of_the_log_odds(intercept, low_slope, high_slope, margin):
    calibration, step = Calibration("beta", intercept, low_slope, high_slope), 1e-5
    before, after = calibration.log_odds(np.array([margin - step, margin + step]))
    assert calibration.slope(np.array(margin)) == pytest.approx((after - before) / (2 * step), rel=1e-5)


@settings(deadline=None)
@given(st.floats(-3, 3), slopes, slopes, st.lists(st.floats(-20, 20), min_size=2, max_size=20))
def test_a_higher_margin_never_has_a_lower_chance(intercept, low_slope, high_slope, margins):
    chance = Calibration("beta", intercept, low_slope, high_slope).probability(np.sort(margins))
    assert (np.diff(chance) >= 0).all()
    assert ((chance > 0) & (chance <= 1)).all()


def test_between_knots_the_interval_is_interpolated_and_beyond_them_constant():
    interval = Interval(level=0.9, margin=[-1.0, 1.0], low=[-1.0, -0.5], high=[1.0, 0.5])
    none = Calibration("none", 0.0, 1.0, 1.0)
    low, high = interval.around(np.array([0.0, -3.0, 4.0]), none)
    np.testing.assert_allclose(low, sigmoid(np.array([-0.75, -4.0, 3.5])), rtol=1e-12)
    np.testing.assert_allclose(high, sigmoid(np.array([0.75, -2.0, 4.5])), rtol=1e-12)
