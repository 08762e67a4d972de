"""Has the level moved, and where does it stand now? A random walk seen through noise.

The distance between observed and predicted log-odds is measured on blocks of rows in order of time. The local level
model says that it is a level that walks, plus the error of each measurement:

    distance_t = level_t + e_t,   e_t ~ N(0, variance_t);     level_t = level_{t-1} + w_t,   w_t ~ N(0, step^2 gap_t).

The Kalman filter gives the newest level for a given step, and the likelihood of the distances, each seen one step
ahead, by which the step is chosen. A step of zero is a level that stands still: the two are compared by likelihood.

Source: Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989; Durbin and Koopman, Time Series
Analysis by State Space Methods, 2012, chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

#: Logarithms of the variance of a step, in squared log-odds per mean gap, between which the likeliest is looked for.
STEPS = np.linspace(-14.0, 3.0, 69)


@dataclass(frozen=True)
class Walk:
    """The newest level of a walk.

    Attributes:
        level: in log-odds.
        error: its standard error.
        weight: what each distance counts in it, shape (n,); they sum to 1.
        evidence: twice the logarithm of how much likelier the distances are under the walk than under a level that
            stands still, >= 0. Where nothing moves it exceeds 2.7 about once in twenty times.
    """

    level: float
    error: float
    weight: np.ndarray
    evidence: float


def walk(distance: np.ndarray, variance: np.ndarray, gap: np.ndarray) -> Walk:
    """The likeliest walk through some distances.

    Args:
        distance: observed less predicted log-odds per block, in order of time, shape (n,), n >= 2.
        variance: of the error of each, > 0, shape (n,).
        gap: time from each block to the next, > 0, shape (n - 1,), in any unit.
    """
    gap = gap / gap.mean()

    def loss(step: float) -> float:
        return -_filtered(distance, variance, np.exp(step) * gap)[2]

    losses = [loss(step) for step in STEPS]
    near = int(np.argmin(losses))
    bounds = STEPS[max(near - 1, 0)], STEPS[min(near + 1, len(STEPS) - 1)]
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    weight, error, likelihood = _filtered(distance, variance, np.exp(found.x) * gap)
    still = _filtered(distance, variance, np.zeros(len(gap)))[2]
    return Walk(float(weight @ distance), float(np.sqrt(error)), weight, max(0.0, 2 * (likelihood - still)))


def _filtered(distance: np.ndarray, variance: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Weights and variance of the newest level, and the log-likelihood of all distances but the first, which nothing
    foretells. `moved`: variance of the level's move from each block to the next."""
    weight = np.zeros(len(distance))
    weight[0] = 1.0
    level, error, likelihood = float(distance[0]), float(variance[0]), 0.0
    for k in range(1, len(distance)):
        error += float(moved[k - 1])
        total = error + float(variance[k])
        surprise = float(distance[k]) - level
        likelihood -= 0.5 * (np.log(2 * np.pi * total) + surprise**2 / total)
        gain = error / total
        level += gain * surprise
        error *= 1 - gain
        weight *= 1 - gain
        weight[k] = gain
    return weight, error, likelihood
