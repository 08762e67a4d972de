"""Tune, train and calibrate in one go, in memory: what the stages do one by one, with files in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
import pandas as pd

from pipeline.params import Family, Params
from pipeline.scorer.calibration import Interval
from pipeline.scorer.margin import Margin
from pipeline.scoring import calibrators, members, search, signal
from pipeline.scoring.calibrators import Contest
from pipeline.scoring.search import Trial
from pipeline.scoring.signal import Signal


@dataclass(frozen=True)
class Learned:
    """What was learned. `judged`: the margins out of sample, with label, split and position; `needed`: conversions that
    a full search lacks."""

    margin: Margin
    contest: Contest
    interval: Interval
    signal: Signal
    trials: list[Trial]
    weights: np.ndarray
    judged: pd.DataFrame
    needed: int

    def probability(self, features: pd.DataFrame) -> np.ndarray:
        """Calibrated chance of every row, in (0, 1)."""
        return self.contest.choice.probability(self.margin.values(features))


def learn(
    snapshots: pd.DataFrame,
    features: pd.DataFrame,
    params: Params,
    *,
    timed: bool,
    horizon_days: int,
    directions: np.ndarray | None = None,
    guarded: bool = True,
    report: Callable[[Trial], None] = lambda _: None,
    go_on: Callable[[Family], bool] = lambda _: True,
) -> Learned:
    """Search, fit and calibrate.

    Args:
        snapshots: all that lies before the test window: lead_id, as_of, label, split (train, calibrate), position;
            sorted by (lead_id, as_of). `features`: the same rows.
        guarded: without a signal the base rate is all that is learned; False learns on regardless.
        report, go_on: as `search.Search.run` takes them.

    Raises:
        NotEnoughData: a fold lacks one of the outcomes.
    """
    tune, run = params.tune, params.run
    label, place = snapshots["label"].to_numpy(dtype="float64"), snapshots["position"].to_numpy()
    judge, plan = search.set_up(
        snapshots, features, tune, run, timed=timed, horizon_days=horizon_days, directions=directions
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = plan.run(judge, {family: optuna.create_study() for family in plan.planned()}, report, go_on)
    weights = judge.blend(trials)
    chosen = search.members(trials, weights, tune)
    judged = members.out_of_sample(
        judge.judged(trials, weights),
        snapshots,
        features,
        chosen,
        params.train,
        run,
        horizon_days=horizon_days,
        directions=directions,
    )
    found = signal.judge(judged, snapshots, features, params.train, run.seed)
    if found.found or not guarded:
        margin = members.fit(features, label, place, chosen, params.train, run, directions=directions)
    else:
        margin = members.base_rate(features, label)
        judged["margin"] = margin.base
    contest = calibrators.choose(judged, params.calibrate, horizon_days=horizon_days, timed=timed)
    interval = calibrators.interval(judged, contest, params.calibrate, timed=timed)
    return Learned(margin, contest, interval, found, trials, weights, judged, plan.needed)
