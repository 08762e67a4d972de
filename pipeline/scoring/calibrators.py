"""From a margin out of sample to a score that means what it says: calibrator, current level, interval, tiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from pipeline.params import Calibrate, CalibratorKind
from pipeline.scorer.calibration import Calibration, Interval, sigmoid, tenths
from pipeline.scoring.fit import best_intercept
from pipeline.scoring.folds import known_before


def fit(kind: CalibratorKind, label: np.ndarray, margin: np.ndarray) -> Calibration:
    """One calibrator on rows out of sample; `sigmoid` and `beta` fall back to a simpler kind where a slope would not
    rise. Both outcomes must occur.

    Source: Platt 1999; Kull, Silva Filho and Flach, Beyond sigmoids, 2017. Newton's method on two or three parameters.
    """
    if kind == "none":
        return Calibration(kind, 0.0, 1.0, 1.0)
    shift = best_intercept(label, margin)
    if kind == "intercept":
        return Calibration(kind, shift, 1.0, 1.0)
    ones = np.ones(len(margin))
    if kind == "beta":
        design = np.column_stack([ones, -np.logaddexp(0.0, -margin), np.logaddexp(0.0, margin)])
    else:
        design = np.column_stack([ones, margin])
    weights = _newton(design, label, np.array([shift, *[1.0] * (design.shape[1] - 1)]))
    if (weights[1:] <= 0).any():
        return fit("sigmoid" if kind == "beta" else "intercept", label, margin)
    return Calibration(kind, float(weights[0]), float(weights[1]), float(weights[-1]))


def _newton(design: np.ndarray, label: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Logistic regression of a few columns, without a penalty that matters."""
    weights = start
    for _ in range(100):
        probability = sigmoid(design @ weights)
        gradient = design.T @ (label - probability)
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-6 * np.eye(len(weights)), gradient)
        weights = weights + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-10:
            break
    return weights


def level_of(label: np.ndarray, margin: np.ndarray, calibration: Calibration) -> float:
    """The shift of the margin after which predicted and observed conversions of these rows agree."""
    target = float(label.mean())

    def apart(shift: float) -> float:
        return float(calibration.probability(margin + shift).mean()) - target

    return float(optimize.brentq(apart, -20.0, 20.0, xtol=1e-10))


@dataclass(frozen=True)
class Choice:
    """A calibrator, and the level measured on the newest `share` of the rows (None: no level of its own).

    `rows`, `since`, `until`: how many rows the level was measured on, and the as-of dates of the oldest and newest.
    """

    calibration: Calibration
    level: float
    share: float | None
    rows: int
    since: pd.Timestamp | None
    until: pd.Timestamp | None

    def probability(self, margin: np.ndarray) -> np.ndarray:
        return self.calibration.probability(np.asarray(margin) + self.level)


@dataclass(frozen=True)
class Contest:
    """What the choice among calibrators and levels came to.

    `choice`: fitted on all rows. `table`: one row per candidate. `ahead`: the rows judged one step ahead, with `step`
    and the chosen candidate's `log_odds` of them; empty where nothing could be judged.
    """

    choice: Choice
    table: pd.DataFrame
    ahead: pd.DataFrame


def described(choice: Choice, params: Calibrate) -> dict[str, Any]:
    """The current level as plain data: its log-odds, what it was measured on, and whether it is far from zero."""
    return {
        "log_odds": choice.level,
        "share": choice.share,
        "rows": choice.rows,
        "measured_from": None if choice.since is None else choice.since.isoformat(),
        "measured_until": None if choice.until is None else choice.until.isoformat(),
        "moved": abs(choice.level) > params.max_shift,
    }


def moved(choice: Choice, params: Calibrate) -> str:
    """A warning where the current level is further from zero than `params.max_shift`; else ""."""
    if abs(choice.level) <= params.max_shift:
        return ""
    return (
        f"THE LEVEL HAS MOVED: on the newest {choice.rows:,} snapshots whose outcome is known, conversions lie "
        f"{'above' if choice.level > 0 else 'below'} what the model learned, by {abs(choice.level):.2f} in log-odds "
        f"(limit {params.max_shift:g}). Scores carry that as a term of their own, the current level."
    )


def _newest(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    """The rows of the newest places, `number` of them or a few more: a lead's rows stay together."""
    if number >= len(rows):
        return rows
    places = np.sort(rows["position"].to_numpy())
    return rows[rows["position"] >= places[-number]]


def _learn(
    rows: pd.DataFrame, kind: CalibratorKind, share: float | None, of: int, min_conversions: int
) -> Choice | None:
    """A candidate fitted on rows out of sample; None where the newest rows hold too few conversions to tell a level."""
    label, margin = rows["label"].to_numpy(dtype="float64"), rows["margin"].to_numpy()
    calibration = fit(kind, label, margin)
    if share is None:
        return Choice(calibration, 0.0, None, 0, None, None)
    newest = _newest(rows, round(share * of))
    hits = newest["label"].sum()
    if hits < min_conversions or len(newest) - hits < min_conversions:
        return None
    level = level_of(newest["label"].to_numpy(dtype="float64"), newest["margin"].to_numpy(), calibration)
    return Choice(calibration, level, share, len(newest), newest["as_of"].min(), newest["as_of"].max())


def choose(rows: pd.DataFrame, params: Calibrate, *, of: int, horizon_days: int, timed: bool) -> Contest:
    """The calibrator and the level that do best one step ahead.

    The rows of the calibrate window are cut into steps. Each candidate is fitted anew before each step, on the rows out
    of sample whose outcome was known by then, and judged on the step. The calibrator is the one with the least
    log-loss. A level of its own must beat it by `params.level_gain` standard errors (of leads): a short memory costs
    where nothing moves. With fewer conversions than `params.min_conversions` on either side nothing is chosen: then it
    is `intercept`.

    Args:
        rows: snapshots with a margin out of sample: lead_id, as_of, label, split, position, margin.
        of: how many snapshots the shares of `params.level_shares` are shares of.
        timed: the position is time; without it there is no level.

    Returns:
        The winner fitted on all rows; the table has calibrator, level_share (NaN: none), log_loss (NaN where not
        judged), chosen.
    """
    shares: list[float | None] = [None, *(params.level_shares if timed else [])]
    candidates = [(kind, share) for share in shares for kind in params.calibrators]
    judged, losses, log_odds = _judge(rows, candidates, params, of=of, horizon_days=horizon_days)
    if judged.empty:
        kind: CalibratorKind = "intercept" if "intercept" in params.calibrators else params.calibrators[0]
        best = candidates.index((kind, None))
        mean = np.full(len(candidates), np.nan)
    else:
        mean = losses.mean(axis=0)
        plain = len(params.calibrators)
        best = int(np.nanargmin(mean[:plain]))
        rest = np.where(np.isnan(mean), np.inf, mean)
        rival = int(np.argmin(rest))
        if rival >= plain:
            gain = pd.Series(losses[:, best] - losses[:, rival]).groupby(judged["lead_id"].to_numpy()).sum()
            if gain.sum() > params.level_gain * np.sqrt((gain**2).sum()):
                best = rival
    choice = _learn(rows, *candidates[best], of, params.min_conversions if len(judged) else 0)
    if choice is None:  # the newest rows no longer hold enough conversions
        choice = _learn(rows, candidates[best][0], None, of, 0)
    assert choice is not None
    table = pd.DataFrame(
        {
            "calibrator": [kind for kind, _ in candidates],
            "level_share": [np.nan if share is None else share for _, share in candidates],
            "log_loss": mean,
            "chosen": [k == best for k in range(len(candidates))],
        }
    )
    return Contest(choice, table, judged.assign(log_odds=log_odds[:, best] if len(judged) else []))


def _judge(
    rows: pd.DataFrame,
    candidates: list[tuple[CalibratorKind, float | None]],
    params: Calibrate,
    *,
    of: int,
    horizon_days: int,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Rows judged one step ahead, with `step`; loss and log-odds of every candidate on them, NaN where it could not be
    fitted at some step."""
    rows = rows.sort_values(["position", "as_of"], kind="stable", ignore_index=True)
    later = (rows["split"] == "calibrate").to_numpy()
    position = rows["position"].to_numpy()
    places = np.unique(position[later])
    parts, losses, odds = [], [], []
    for k, part in enumerate(np.array_split(places, min(params.steps, len(places)))):
        mine = later & (position >= part[0]) & (position <= part[-1])
        early = rows[known_before(rows, mine, horizon_days)]
        hits = early["label"].sum()
        if min(hits, len(early) - hits) < params.min_conversions:
            continue
        asked = rows[mine]
        label = asked["label"].to_numpy(dtype="float64")
        own = np.full((len(asked), len(candidates)), np.nan)
        for c, (kind, share) in enumerate(candidates):
            fitted = _learn(early, kind, share, of, params.min_conversions)
            if fitted is not None:
                own[:, c] = fitted.calibration.log_odds(asked["margin"].to_numpy() + fitted.level)
        parts.append(asked.assign(step=k))
        odds.append(own)
        with np.errstate(invalid="ignore"):  # NaN where a candidate could not be fitted
            losses.append(np.logaddexp(0.0, own) - label[:, None] * own)
    if not parts or sum(part["label"].sum() for part in parts) < params.min_conversions:
        return rows.iloc[:0].assign(step=0), np.empty((0, len(candidates))), np.empty((0, len(candidates)))
    return pd.concat(parts, ignore_index=True), np.concatenate(losses), np.concatenate(odds)


def interval(rows: pd.DataFrame, contest: Contest, params: Calibrate) -> Interval:
    """The range of the conversion rate of leads scored alike, around the margin with the current level in it.

    Three errors add up as variances, in log-odds, each estimated from rows out of sample and of leads (a lead seen four
    times is one piece of evidence):

    - of the fit: the covariance of a line through the log-odds, and that of the level where it is measured on few rows;
    - of the shape: what bins of equal count lie off the calibrated rate beyond what chance explains;
    - of the time: what whole steps lay off, one step ahead, beyond what chance explains.

    Args:
        rows: as `choose` takes them.
    """
    choice = contest.choice
    margin = rows["margin"].to_numpy() + choice.level
    z = choice.calibration.log_odds(margin)
    label, lead = rows["label"].to_numpy(dtype="float64"), rows["lead_id"].to_numpy()
    covariance = _covariance(z, label, lead)
    knots = np.unique(np.quantile(margin, np.linspace(0.0, 1.0, 2 * params.bins + 1)))
    line = np.column_stack([np.ones(len(knots)), choice.calibration.log_odds(knots)])
    variance = np.einsum("ij,jk,ik->i", line, covariance, line)
    if choice.share is not None:
        newest = _newest(rows, choice.rows)
        odds = choice.calibration.log_odds(newest["margin"].to_numpy() + choice.level)
        variance = variance + _off(odds, newest["label"].to_numpy(dtype="float64"), newest["lead_id"].to_numpy())[1]
    order = np.argsort(z, kind="stable")
    variance = variance + _excess(
        [(z[part], label[part], lead[part]) for part in np.array_split(order, 2 * params.bins)]
    )
    ahead = contest.ahead
    variance = variance + _excess(
        [
            (part["log_odds"].to_numpy(), part["label"].to_numpy(dtype="float64"), part["lead_id"].to_numpy())
            for _, part in ahead.groupby("step")
        ]
    )
    half = stats.norm.ppf(0.5 + params.interval_level / 2) * np.sqrt(variance)
    return Interval(params.interval_level, knots.tolist(), (-half).tolist(), half.tolist())


def _covariance(z: np.ndarray, label: np.ndarray, lead: np.ndarray) -> np.ndarray:
    """Covariance of intercept and slope of a line through the log-odds, robust to several rows of one lead."""
    probability = sigmoid(z)
    design = np.column_stack([np.ones(len(z)), z])
    curvature = (design * (probability * (1 - probability))[:, None]).T @ design
    score = pd.DataFrame(design * (label - probability)[:, None]).groupby(lead).sum().to_numpy()
    inverse = np.linalg.pinv(curvature)
    return np.asarray(inverse @ (score.T @ score) @ inverse)


def _off(z: np.ndarray, label: np.ndarray, lead: np.ndarray) -> tuple[float, float]:
    """How far in log-odds the observed rate lies off the predicted one, to first order, and the variance of that."""
    probability = sigmoid(z)
    curvature = float(np.sum(probability * (1 - probability)))
    apart = pd.Series(label - probability).groupby(lead).sum().to_numpy()
    return float(apart.sum() / curvature), float((apart**2).sum() / curvature**2)


def _excess(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Variance of the parts' distances beyond their own errors, >= 0: method of moments, weighted by precision."""
    found = [_off(*part) for part in parts if len(part[0])]
    if len(found) < 2:
        return 0.0
    apart, variance = (np.array(values) for values in zip(*found, strict=True))
    weight = 1 / np.maximum(variance, 1e-12)
    return max(0.0, float(np.average(apart**2 - variance, weights=weight)))


def tiers(probability: np.ndarray, params: Calibrate) -> list[dict[str, Any]]:
    """Bands of the displayed score, best first: each begins at the score that its top share of these snapshots
    reaches."""
    scores = np.sort(tenths(probability))[::-1]
    bands: list[dict[str, Any]] = []
    for name, share in params.tiers.items():
        start = 0 if share == 1.0 else int(scores[max(int(np.ceil(share * len(scores))) - 1, 0)])
        bands.append({"name": name, "from": start})
    return bands
