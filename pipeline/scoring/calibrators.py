"""From a margin out of sample to a score that means what it says: calibrator, current level, interval, tiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from pipeline.params import Calibrate, CalibratorKind
from pipeline.scorer.calibration import Calibration, Interval, sigmoid
from pipeline.scorer.margin import Margin
from pipeline.scoring.fit import best_intercept, row_losses
from pipeline.scoring.folds import known_before
from pipeline.scoring.local_level import walk

#: Blocks of rows that a walk of the level is looked for in, at least.
MIN_BLOCKS = 5

#: Leaves a margin as it is.
AS_IT_IS = Calibration("none", 0.0, 1.0, 1.0)


def fit(kind: CalibratorKind, label: np.ndarray, margin: np.ndarray) -> Calibration:
    """One calibrator on rows out of sample; `sigmoid` and `beta` fall back to a simpler kind where a slope would not
    rise. Both outcomes must occur.

    Source: Platt 1999; Kull, Silva Filho and Flach, Beyond sigmoids, 2017. Newton's method on two or three parameters.
    """
    if kind == "none":
        return AS_IT_IS
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
    target = float(np.clip(label.mean(), 0.5 / len(label), 1 - 0.5 / len(label)))

    def apart(shift: float) -> float:
        return float(calibration.probability(margin + shift).mean()) - target

    # Far enough for the surest margin to be turned round. A flat calibrator moves little for much: where there is no
    # signal its slope is nearly 0.
    most = (20.0 + float(np.abs(margin).max())) / min(1.0, calibration.low_slope, calibration.high_slope)
    return float(optimize.brentq(apart, -most, most, xtol=1e-10))


@dataclass(frozen=True)
class Choice:
    """A calibrator, and the current level where it has moved.

    `level`, `error`: in log-odds, and its standard error; both 0 where it has not. `rows`, `since`, `until`: on how
    many rows nine tenths of it rest, and the as-of dates of the oldest and newest of them.
    """

    calibration: Calibration
    level: float = 0.0
    error: float = 0.0
    rows: int = 0
    since: pd.Timestamp | None = None
    until: pd.Timestamp | None = None

    def probability(self, margin: np.ndarray) -> np.ndarray:
        return self.calibration.probability(np.asarray(margin) + self.level)


@dataclass(frozen=True)
class Contest:
    """What the choice among calibrators came to, with a level that stands still and with one that may move.

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
        "standard_error": choice.error,
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


def _blocks(rows: pd.DataFrame, params: Calibrate) -> list[pd.DataFrame]:
    """Rows in order of time, cut where equally many of the rarer outcome have been seen, at least
    `params.min_conversions` each and `params.level_blocks` times at most; a lead's rows stay together."""
    rows = rows.sort_values(["position", "as_of"], kind="stable", ignore_index=True)
    label = rows["label"].to_numpy()
    rare = label if label.mean() <= 0.5 else 1 - label
    number = min(params.level_blocks, int(rare.sum()) // params.min_conversions)
    if number == 0:
        return []
    _, lead = np.unique(rows["position"].to_numpy(), return_inverse=True)
    seen = np.cumsum(np.bincount(lead, weights=rare))
    block = np.clip(np.ceil(seen / seen[-1] * number).astype("int64") - 1, 0, number - 1)
    return [part for _, part in rows.groupby(block[lead])]


def _learned(
    rows: pd.DataFrame, candidates: Sequence[tuple[CalibratorKind, bool]], params: Calibrate
) -> Iterator[Choice]:
    """Candidates fitted on rows out of sample: a kind of calibrator, and whether its level may move."""
    label, margin = rows["label"].to_numpy(dtype="float64"), rows["margin"].to_numpy()
    fitted = {kind: fit(kind, label, margin) for kind in dict.fromkeys(kind for kind, _ in candidates)}
    parts = _blocks(rows, params) if any(moving for _, moving in candidates) else []
    for kind, moving in candidates:
        yield _leveled(fitted[kind], parts, params) if moving else Choice(fitted[kind])


def _known(rows: pd.DataFrame, margin: str = "margin") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, margin and lead of rows."""
    return rows["label"].to_numpy(dtype="float64"), rows[margin].to_numpy(), rows["lead_id"].to_numpy()


def _leveled(calibration: Calibration, parts: list[pd.DataFrame], params: Calibrate) -> Choice:
    """The calibrator with a level of its own where blocks of rows give evidence that it has moved."""
    if len(parts) < MIN_BLOCKS:
        return Choice(calibration)
    found = np.array([distance(*_known(part), calibration) for part in parts])
    middle = np.array([part["position"].mean() for part in parts])
    walked = walk(found[:, 0], found[:, 1], np.maximum(np.diff(middle), 1e-9))
    if walked.evidence < params.level_evidence:
        return Choice(calibration)
    newest = np.cumsum(walked.weight[::-1])
    used = parts[-(int(np.searchsorted(newest, 0.9)) + 1) :]
    return Choice(
        calibration,
        walked.level,
        walked.error,
        sum(map(len, used)),
        min(part["as_of"].min() for part in used),
        max(part["as_of"].max() for part in used),
    )


def distance(
    label: np.ndarray, margin: np.ndarray, lead: np.ndarray, calibration: Calibration = AS_IT_IS
) -> tuple[float, float]:
    """How far observed conversions lie off predicted ones: the shift of the margin after which both agree, and its
    variance, robust to several rows of one lead and never below that of independent rows.

    Args:
        label, margin, lead: of the rows, shape (n_rows,) each, n_rows > 0; `lead` only tells leads apart.
    """
    shift = level_of(label, margin, calibration)
    probability = calibration.probability(margin + shift)
    spread = probability * (1 - probability)
    rise = float(np.sum(spread * calibration.slope(margin + shift)))
    by_lead = pd.Series(label - probability).groupby(lead).sum().to_numpy()
    return shift, max(float((by_lead**2).sum()), float(spread.sum())) / rise**2


def choose(rows: pd.DataFrame, params: Calibrate, *, horizon_days: int, timed: bool) -> Contest:
    """The calibrator that does best one step ahead, and the level that the newest rows are at.

    The rows of the calibrate window are cut into steps. Each candidate is fitted anew before each step, on the rows out
    of sample whose outcome was known by then, and judged on the step. The calibrator with the least log-loss is kept.
    The level is that of `local_level.walk`, whose likelihood is evidence one step ahead as well; it is zero unless the
    walk explains the rows better than a level that stands still by `params.level_evidence`. With fewer conversions than
    `params.min_conversions` on either side nothing is chosen: then it is `intercept`.

    Args:
        rows: snapshots with a margin out of sample: lead_id, as_of, label, split, position, margin.
        timed: the position is time; without it there is no level.

    Returns:
        The winner fitted on all rows; the table has calibrator, level (still, moving), log_loss (NaN where not judged),
        chosen.
    """
    candidates = [(kind, moving) for moving in ([False, True] if timed else [False]) for kind in params.calibrators]
    judged, losses, log_odds = _judge(rows, candidates, params, horizon_days=horizon_days)
    if judged.empty:
        kind: CalibratorKind = "intercept" if "intercept" in params.calibrators else params.calibrators[0]
        best = candidates.index((kind, False))
        mean = np.full(len(candidates), np.nan)
    else:
        mean = losses.mean(axis=0)
        best = int(np.argmin(np.where([moving == timed for _, moving in candidates], mean, np.inf)))
    table = pd.DataFrame(
        {
            "calibrator": [kind for kind, _ in candidates],
            "level": ["moving" if moving else "still" for _, moving in candidates],
            "log_loss": mean,
            "chosen": [k == best for k in range(len(candidates))],
        }
    )
    choice = next(_learned(rows, [candidates[best]], params))
    return Contest(choice, table, judged.assign(log_odds=log_odds[:, best] if len(judged) else []))


def _judge(
    rows: pd.DataFrame,
    candidates: list[tuple[CalibratorKind, bool]],
    params: Calibrate,
    *,
    horizon_days: int,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Rows judged one step ahead, with `step`; loss and log-odds of every candidate on them."""
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
        own = np.empty((len(asked), len(candidates)))
        for c, fitted in enumerate(_learned(early, candidates, params)):
            own[:, c] = fitted.calibration.log_odds(asked["margin"].to_numpy() + fitted.level)
        parts.append(asked.assign(step=k))
        odds.append(own)
        losses.append(row_losses(label[:, None], own))
    if not parts or sum(part["label"].sum() for part in parts) < params.min_conversions:
        return rows.iloc[:0].assign(step=0), np.empty((0, len(candidates))), np.empty((0, len(candidates)))
    return pd.concat(parts, ignore_index=True), np.concatenate(losses), np.concatenate(odds)


def interval(rows: pd.DataFrame, contest: Contest, params: Calibrate, *, timed: bool) -> Interval:
    """The range of the conversion rate of leads scored alike, around the margin with the current level in it.

    Three errors add up as variances, in log-odds, each estimated from rows out of sample and of leads (a lead seen four
    times is one piece of evidence):

    - of the fit: the covariance of a line through the log-odds, and the error of the level where it has one of its own;
    - of the shape: what bins of equal count lie off a curve through all of them, beyond what chance explains;
    - of the time: what whole periods lie off a forecast of them, beyond what chance explains. Periods are the steps,
      forecast by calibrators of all that came before, and the groups, forecast by members of all that came before:
      steps lie near to what they were forecast from, groups about as far as scores are used.

    Args:
        rows: as `choose` takes them, with `group` (scored by the same members).
        timed: the position is time; without it groups are no periods.
    """
    choice = contest.choice
    label, margin, lead = _known(rows)
    margin = margin + choice.level
    z = choice.calibration.log_odds(margin)
    covariance = _covariance(z, label, lead)
    knots = np.unique(np.quantile(margin, np.linspace(0.0, 1.0, 2 * params.bins + 1)))
    line = np.column_stack([np.ones(len(knots)), choice.calibration.log_odds(knots)])
    variance = np.einsum("ij,jk,ik->i", line, covariance, line)
    slope = choice.calibration.slope(knots)
    variance = variance + (slope * choice.error) ** 2
    # Old rows lie off the current level together: that is of the time, not of the shape.
    z = z + level_of(label, z, AS_IT_IS)
    order = np.argsort(z, kind="stable")
    variance = variance + _excess(
        [(label[part], z[part], lead[part]) for part in np.array_split(order, 2 * params.bins) if len(part)]
    )
    periods = [_known(part, "log_odds") for _, part in contest.ahead.groupby("step")]
    if timed:
        periods += [_known(part) for _, part in rows.groupby("group")]
    variance = variance + _excess(periods)
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


def _excess(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Variance of the parts' distances beyond their own errors, >= 0; 0 for fewer than two parts.

    Source: Paule and Mandel, Consensus values and weighting factors, 1982, around zero.
    """
    if len(parts) < 2:
        return 0.0
    apart, variance = (np.array(values) for values in zip(*(distance(*part) for part in parts), strict=True))

    def surplus(excess: float) -> float:
        return float(np.sum(apart**2 / (variance + excess))) - len(apart)

    # Where every distance is at most the square root of this, there is no surplus.
    most = float(np.max(apart**2))
    return 0.0 if surplus(0.0) <= 0 else float(optimize.brentq(surplus, 0.0, most, xtol=1e-12))


def grades(margin: Margin, features: pd.DataFrame, groups: Sequence[str], params: Calibrate) -> dict[str, list[float]]:
    """From which sum of log-odds on a lead has the first, second, ... letter for fit, or number for engagement, so that
    the shares `params.grades` of leads reach them; see `pipeline.scorer.tiers.grade`.

    Args:
        features: of the calibrate window, shape (n_rows, n_features); evenly thinned to `params.grade_rows`. `groups`:
            of the features.
    """
    contributions = margin.contributions(features.iloc[:: max(1, -(-len(features) // params.grade_rows))])
    found = {}
    for group in dict.fromkeys(groups):
        sums = contributions[:, np.array(groups) == group].sum(axis=1)
        # Where nothing of a group was learned, all are alike and there is nothing to grade.
        if np.ptp(sums) > 0:
            found[group] = np.quantile(sums, 1 - np.array(params.grades)).tolist()
    return found
