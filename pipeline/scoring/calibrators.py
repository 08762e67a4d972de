"""From fitted members to a score that means what it says: calibrator, interval, tiers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.params import Calibrate
from pipeline.scorer.calibration import Calibration, Interval, sigmoid, tenths
from pipeline.scoring.fit import best_intercept
from pipeline.scoring.metrics import log_loss, wilson

Kind = Literal["none", "intercept", "sigmoid"]


def fit(kind: Kind, label: np.ndarray, margin: np.ndarray) -> Calibration:
    """One calibrator on later rows. `sigmoid` falls back to `intercept` where its slope would not rise.

    Source: Platt, Probabilistic outputs for support vector machines, 1999; Newton's method on two parameters.
    """
    if kind == "none":
        return Calibration(kind, 0.0, 1.0)
    intercept, slope = best_intercept(label, margin), 1.0
    if kind == "intercept":
        return Calibration(kind, intercept, slope)
    design = np.column_stack([np.ones(len(margin)), margin])
    weights = np.array([intercept, slope])
    for _ in range(100):
        probability = sigmoid(design @ weights)
        gradient = design.T @ (label - probability)
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        weights = weights + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-10:
            break
    if weights[1] <= 0:
        return Calibration("intercept", intercept, 1.0)
    return Calibration(kind, float(weights[0]), float(weights[1]))


def choose(
    snapshots: pd.DataFrame, margin: np.ndarray, params: Calibrate, *, horizon_days: int
) -> tuple[Calibration, pd.DataFrame]:
    """The calibrator that does best one step ahead: fitted on earlier rows, judged on the later half.

    Earlier rows are those whose outcome was known when the later half begins. With fewer conversions than
    `params.min_conversions` on either side there is no evidence to choose by: then it is `intercept`, where allowed.

    Args:
        snapshots: calibrate snapshots with `as_of`, `label` and `position`; `margin`: their margins, same order.

    Returns:
        The chosen kind fitted on all rows, and a table: calibrator, log_loss (NaN where not judged), chosen.
    """
    label = snapshots["label"].to_numpy(dtype="float64")
    position = snapshots["position"].to_numpy()
    later = position >= np.median(position)
    early = ~later
    if horizon_days:
        known_at = snapshots["as_of"] + pd.Timedelta(days=horizon_days)
        early &= (known_at <= snapshots.loc[later, "as_of"].min()).to_numpy()
    kinds = list(params.calibrators)
    if min(label[early].sum(), label[later].sum()) < params.min_conversions:
        losses = [float("nan")] * len(kinds)
        best = "intercept" if "intercept" in kinds else kinds[0]
    else:
        trials = [fit(kind, label[early], margin[early]) for kind in kinds]
        losses = [log_loss(label[later], trial.probability(margin[later])) for trial in trials]
        best = kinds[int(np.argmin(losses))]
    table = pd.DataFrame({"calibrator": kinds, "log_loss": losses, "chosen": [kind == best for kind in kinds]})
    return fit(best, label, margin), table


def interval(snapshots: pd.DataFrame, margin: np.ndarray, calibration: Calibration, params: Calibrate) -> Interval:
    """The range of the conversion rate of leads scored alike, from bins of equal count on the calibrate snapshots.

    In each bin the Wilson interval counts leads, not snapshots: a lead seen four times is one piece of evidence. Its
    ends are kept as distances in log-odds from the calibrated mean of the bin, so that the range always holds the
    probability.
    """
    order = np.argsort(margin, kind="stable")
    knots, low, high = [], [], []
    label, leads = snapshots["label"].to_numpy(dtype="float64"), snapshots["lead_id"].to_numpy()
    for part in np.array_split(order, min(params.bins, len(order))):
        mean = float(calibration.probability(margin[part]).mean())
        n = len(np.unique(leads[part]))
        below, above = (float(end) for end in wilson(float(label[part].mean()) * n, n, params.interval_level))
        centre = np.log(mean / (1 - mean))
        ends = [np.log(end / (1 - end)) for end in (max(below, 1e-6), min(above, 1 - 1e-6))]
        knots.append(float(margin[part].mean()))
        low.append(float(min(ends[0] - centre, 0.0)))
        high.append(float(max(ends[1] - centre, 0.0)))
    return Interval(level=params.interval_level, margin=knots, low=low, high=high)


def tiers(probability: np.ndarray, params: Calibrate) -> list[dict[str, Any]]:
    """Bands of the displayed score, best first: each begins at the score that its top share of these snapshots
    reaches."""
    scores = np.sort(tenths(probability))[::-1]
    bands: list[dict[str, Any]] = []
    for name, share in params.tiers.items():
        start = 0 if share == 1.0 else int(scores[max(int(np.ceil(share * len(scores))) - 1, 0)])
        bands.append({"name": name, "from": start})
    return bands
