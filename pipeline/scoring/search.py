"""The search for settings: forward-in-time folds inside the train window, trials per family, and a greedy blend."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd

from pipeline.errors import NotEnoughData
from pipeline.params import Family, LogisticSettings, Tune, XGBoostSettings
from pipeline.scorer.margin import Encoder
from pipeline.scoring.fit import encode, fit_logistic, ranking_loss, stop_early

Settings = LogisticSettings | XGBoostSettings


@dataclass(frozen=True)
class Fold:
    """Row numbers of the train snapshots: learn from `learn`, judge on `judge`, which were created later."""

    learn: np.ndarray
    judge: np.ndarray
    start: int
    end: int


@dataclass(frozen=True)
class Trial:
    """One tried setting. `losses`: log-loss after the best intercept per fold; `rounds`: trees per fold (empty for
    logistic)."""

    family: Family
    number: int
    settings: Settings
    losses: list[float]
    rounds: list[int]

    @property
    def loss(self) -> float:
        return float(np.mean(self.losses))


def folds(snapshots: pd.DataFrame, *, number: int, first_share: float, horizon_days: int) -> list[Fold]:
    """Rolling origins: learn from leads created before a moment, judge on those created after it.

    Args:
        snapshots: the train snapshots: lead_id, as_of, label, position.
        first_share: share of the leads before the first origin; the rest is cut into `number` equal parts.

    A snapshot whose outcome was not yet known at the origin is not learned from (embargo): its horizon must have
    passed by the as-of date of the first later snapshot.

    Raises:
        NotEnoughData: a fold lacks one of the outcomes.
    """
    position = snapshots["position"].to_numpy()
    places = np.unique(position)
    cuts = [places[round(len(places) * float(share))] for share in np.linspace(first_share, 1, number + 1)[:-1]]
    cuts.append(places[-1] + 1)
    label = snapshots["label"].to_numpy()
    known_at = snapshots["as_of"] + pd.Timedelta(days=horizon_days)
    result = []
    for start, end in itertools.pairwise(cuts):
        later = (position >= start) & (position < end)
        learn = position < start
        if horizon_days:
            learn &= (known_at <= snapshots.loc[later, "as_of"].min()).to_numpy()
        fold = Fold(np.flatnonzero(learn), np.flatnonzero(later), int(start), int(end))
        for rows, what in ((fold.learn, "learns from"), (fold.judge, "is judged on")):
            if len(rows) == 0 or label[rows].min() == label[rows].max():
                raise NotEnoughData(
                    f"a fold {what} {len(rows)} snapshots with {int(label[rows].sum())} conversions; it needs both "
                    "outcomes. Give a longer history or fewer folds in params.yaml (tune.folds)."
                )
        result.append(fold)
    return result


class Judge:
    """Judges settings on the folds. Encoded folds and the margins of finished trials are kept for the blend."""

    def __init__(
        self, snapshots: pd.DataFrame, features: pd.DataFrame, folds_: list[Fold], params: Tune, seed: int, threads: int
    ):
        self.params, self.seed, self.threads = params, seed, threads
        self.label = snapshots["label"].to_numpy(dtype="float64")
        self.folds = folds_
        self._encoded: list[tuple[Encoder, np.ndarray, np.ndarray]] = []
        for fold in folds_:
            encoder, matrix = encode(features.iloc[fold.learn])
            self._encoded.append((encoder, matrix, encoder.matrix(features.iloc[fold.judge])))
        self._margins: dict[tuple[str, str], list[np.ndarray]] = {}

    def judge(self, family: Family, number: int, settings: Settings) -> Trial:
        losses, rounds, margins = [], [], []
        for fold, (encoder, learn, later) in zip(self.folds, self._encoded, strict=True):
            known, asked = self.label[fold.learn], self.label[fold.judge]
            if isinstance(settings, LogisticSettings):
                margin = fit_logistic(encoder, learn, known, settings, clip=self.params.logistic.clip).margin(later)
            else:
                best, margin = stop_early(
                    encoder,
                    (learn, known),
                    (later, asked),
                    settings,
                    self.params.xgboost,
                    seed=self.seed,
                    threads=self.threads,
                )
                rounds.append(best)
            losses.append(ranking_loss(asked, margin))
            margins.append(margin)
        self._margins[family, settings.model_dump_json()] = margins
        return Trial(family, number, settings, losses, rounds)

    def margins(self, trial: Trial) -> list[np.ndarray]:
        """Margins on the judged rows of each fold; computed again for a trial that an earlier process finished."""
        key = (trial.family, trial.settings.model_dump_json())
        if key not in self._margins:
            self.judge(trial.family, trial.number, trial.settings)
        return self._margins[key]

    def blend(self, trials: list[Trial]) -> list[float]:
        """Weights by greedy selection with replacement (Caruana et al. 2004), in log-odds; non-negative, summing to
        1."""
        stacks = [self.margins(trial) for trial in trials]
        total = [np.zeros(len(fold.judge)) for fold in self.folds]
        counts = np.zeros(len(trials), dtype="int64")
        for step in range(1, self.params.blend_steps + 1):
            losses = [
                np.mean(
                    [
                        ranking_loss(self.label[fold.judge], (total[f] + stack[f]) / step)
                        for f, fold in enumerate(self.folds)
                    ]
                )
                for stack in stacks
            ]
            best = int(np.argmin(losses))
            counts[best] += 1
            total = [done + stacks[best][f] for f, done in enumerate(total)]
        return (counts / counts.sum()).tolist()


def suggest(trial: optuna.Trial, family: Family, params: Tune) -> Settings:
    """Settings of one trial, drawn from the ranges in params.yaml; rates and penalties on a log scale."""
    if family == "logistic":
        space = params.logistic
        return LogisticSettings(
            bins=trial.suggest_int("bins", int(space.bins[0]), int(space.bins[1])),
            c=trial.suggest_float("c", *space.c, log=True),
        )
    tree = params.xgboost
    return XGBoostSettings(
        max_depth=trial.suggest_int("max_depth", int(tree.max_depth[0]), int(tree.max_depth[1])),
        learning_rate=trial.suggest_float("learning_rate", *tree.learning_rate, log=True),
        min_child_weight=trial.suggest_float("min_child_weight", *tree.min_child_weight, log=True),
        subsample=trial.suggest_float("subsample", *tree.subsample),
        colsample_bytree=trial.suggest_float("colsample_bytree", *tree.colsample_bytree),
        reg_lambda=trial.suggest_float("reg_lambda", *tree.reg_lambda, log=True),
    )


def search(
    family: Family, judge: Judge, params: Tune, seed: int, study: optuna.Study, report: Callable[[Trial], None]
) -> list[Trial]:
    """Run the trials of one family that `study` has not finished yet; returns all of them in order.

    Each trial's sampler is seeded by (seed, number of finished trials), so that a killed and resumed search draws
    what an uninterrupted one would have drawn. A trial left running by a killed process is marked failed and not
    counted.
    """
    for left in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(left.number, state=optuna.trial.TrialState.FAIL)
    space: Any = params.logistic if family == "logistic" else params.xgboost
    done = [_restored(family, k, trial) for k, trial in enumerate(_finished(study))]
    for trial in done:
        report(trial)
    while len(done) < params.trials[family]:
        number = len(done)
        draw = int(np.random.SeedSequence([seed, number, 3]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(
            seed=draw, multivariate=True, constant_liar=False, n_startup_trials=params.random_trials
        )
        if number == 0 and not study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)):
            study.enqueue_trial(space.first.model_dump())
        asked = study.ask()
        settings = suggest(asked, family, params)
        trial = judge.judge(family, number, settings)
        asked.set_user_attr("losses", trial.losses)
        asked.set_user_attr("rounds", trial.rounds)
        study.tell(asked, trial.loss)
        done.append(trial)
        report(trial)
    return done


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    found = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return sorted(found, key=lambda trial: trial.number)


def _restored(family: Family, number: int, trial: optuna.trial.FrozenTrial) -> Trial:
    settings: Settings = LogisticSettings(**trial.params) if family == "logistic" else XGBoostSettings(**trial.params)
    return Trial(family, number, settings, trial.user_attrs["losses"], trial.user_attrs["rounds"])


def keep(trials: list[Trial], number: int) -> list[Trial]:
    """The best trials of one family, the earlier one first where two are equal; the same settings are kept once."""
    unique = {trial.settings.model_dump_json(): trial for trial in reversed(trials)}
    return sorted(unique.values(), key=lambda trial: (trial.loss, trial.number))[:number]


def trial_table(trials: list[Trial], kept: list[Trial], weights: list[float]) -> pd.DataFrame:
    """One row per trial in the order tried: family, settings, losses, rounds, and its weight in the blend."""
    weight = {id(trial): value for trial, value in zip(kept, weights, strict=True)}
    return pd.DataFrame(
        [
            {"trial": k, "family": trial.family, "log_loss": trial.loss, "weight": weight.get(id(trial), 0.0)}
            | {f"log_loss_fold_{f}": loss for f, loss in enumerate(trial.losses)}
            | {"rounds": " ".join(map(str, trial.rounds))}
            | trial.settings.model_dump()
            for k, trial in enumerate(trials)
        ]
    )


def history(trials: list[Trial]) -> pd.DataFrame:
    """Best log-loss so far after each trial, over all families."""
    loss = pd.Series([trial.loss for trial in trials])
    return pd.DataFrame({"trial": range(len(trials)), "log_loss": loss, "best_log_loss": loss.cummin()})


def fold_table(folds_: list[Fold], snapshots: pd.DataFrame) -> pd.DataFrame:
    """One row per fold: rows and conversions learned from and judged on, and where on the axis the judged leads lie."""
    label = snapshots["label"].to_numpy()
    return pd.DataFrame(
        [
            {
                "fold": k,
                "learned": len(fold.learn),
                "learned_conversions": int(label[fold.learn].sum()),
                "judged": len(fold.judge),
                "judged_conversions": int(label[fold.judge].sum()),
                "start_position": fold.start,
                "end_position": fold.end,
            }
            for k, fold in enumerate(folds_)
        ]
    )


def members(kept: list[Trial], weights: list[float], params: Tune) -> list[dict[str, Any]]:
    """What `train` fits: family, settings, clip, rounds (mean over the folds) and weight of each trial with weight."""
    return [
        {
            "family": trial.family,
            "settings": trial.settings.model_dump(),
            "clip": params.logistic.clip,
            "rounds": max(1, round(float(np.mean(trial.rounds)))) if trial.rounds else 0,
            "weight": weight,
        }
        for trial, weight in zip(kept, weights, strict=True)
        if weight > 0
    ]
