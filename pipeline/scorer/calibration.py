"""From margin to probability, interval and score.

Calibration is one monotone function of the margin m,

    log-odds = intercept - low_slope * softplus(-m) + high_slope * softplus(m),   softplus(m) = log(1 + exp(m)),

with slopes > 0. Equal slopes make it `intercept + slope * m` (Platt 1999), intercept 0 and slope 1 leave the margin as
it is, two slopes are beta calibration (Kull, Silva Filho and Flach 2017). The interval is stored as offsets in log-odds
at a few margins and interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def sigmoid(log_odds: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(log_odds, dtype="float64")))


def tenths(probability: np.ndarray) -> np.ndarray:
    """The displayed score in tenths of a point: 100 x probability, rounded half up; int64 in [0, 1000]."""
    return np.floor(np.asarray(probability) * 1000.0 + 0.5).astype("int64")


@dataclass(frozen=True)
class Calibration:
    """`kind` names how the three numbers were found; the formula is the same for all."""

    kind: str
    intercept: float
    low_slope: float
    high_slope: float

    def log_odds(self, margin: np.ndarray) -> np.ndarray:
        m = np.asarray(margin, dtype="float64")
        if self.low_slope == self.high_slope:
            return self.intercept + self.low_slope * m
        return self.intercept - self.low_slope * np.logaddexp(0.0, -m) + self.high_slope * np.logaddexp(0.0, m)

    def slope(self, margin: np.ndarray) -> np.ndarray:
        """Change of the log-odds with the margin, > 0, shape as `margin`."""
        above = sigmoid(margin)
        return self.low_slope * (1 - above) + self.high_slope * above

    def probability(self, margin: np.ndarray) -> np.ndarray:
        """Calibrated chance in (0, 1), shape as `margin`."""
        return sigmoid(self.log_odds(margin))


@dataclass(frozen=True)
class Interval:
    """Range of the conversion rate of leads scored alike.

    `margin`: rising knots. `low`, `high`: distance in log-odds below (<= 0) and above (>= 0) the calibrated log-odds
    at each knot; between knots linear, beyond them constant. `level`: probability with which the range holds the
    rate.
    """

    level: float
    margin: list[float]
    low: list[float]
    high: list[float]

    def around(self, margin: np.ndarray, calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end as probabilities; low <= probability <= high."""
        centre = calibration.log_odds(margin)
        return (
            sigmoid(centre + np.interp(margin, self.margin, self.low)),
            sigmoid(centre + np.interp(margin, self.margin, self.high)),
        )
