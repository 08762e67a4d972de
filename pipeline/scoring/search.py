"""The search for settings: trials per family, judged on the folds, and what the blend of the best is made of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import optuna
import pandas as pd
from optuna.storages import _heartbeat

from pipeline.params import Family, LogisticSettings, Run, ScorecardSettings, Tune, XGBoostSettings
from pipeline.scorer.margin import Margin, Member, XGBoostMember
from pipeline.scoring import blend, folds
from pipeline.scoring.fit import (
    Rows,
    Settings,
    Start,
    fit_member,
    learning_curve,
    log_odds,
    ranking_loss,
    settings_of,
    start_of,
)
from pipeline.scoring.folds import Fold

State = optuna.trial.TrialState


@dataclass(frozen=True)
class Trial:
    """One tried setting. `losses`: log-loss after the best intercept per fold, up to the one after which it was pruned;
    `rounds`: of trees, the same for every fold (0 for the logistic families)."""

    family: Family
    number: int
    settings: Settings
    losses: list[float]
    rounds: int
    pruned: bool = False

    @property
    def loss(self) -> float:
        return float(np.mean(self.losses))

    @property
    def values(self) -> dict[str, Any]:
        """The settings as plain data."""
        return self.settings.model_dump()

    @property
    def cost_us(self) -> float:
        """Microseconds that exact reasons take per row and core, roughly."""
        if not isinstance(self.settings, XGBoostSettings):
            return 1.0
        return self.rounds * TREE_COST_US[self.settings.max_depth]


#: What exact contributions of one tree cost per row, by its depth, in microseconds; measured by
#: `benchmarks/contributions`.
TREE_COST_US = {1: 0.03, 2: 0.04, 3: 0.04, 4: 0.1, 5: 0.18, 6: 0.3}


#: Whether a trial goes on, by its losses on the folds so far.
GoesOn = Callable[[list[float]], bool]


@dataclass(frozen=True)
class _Fitted:
    """What one fold came to.

    `loss`: ranking loss of the judged rows, of trees after as many rounds as are best here. `curve`: of trees, the loss
    after each round; None for the logistic families. `margins`: of the judged rows; of trees after so many rounds, or
    after all where there are fewer. `member`: with all of its rounds.
    """

    loss: float
    curve: np.ndarray | None
    margins: Callable[[int], np.ndarray]
    member: Member

    def after(self, rounds: int) -> Member:
        """The member whose margins these are."""
        if self.curve is None or not isinstance(self.member, XGBoostMember):
            return self.member
        return replace(self.member, booster=self.member.booster[: min(rounds, len(self.curve))])


#: Names a trial: its family, and its settings as text.
_Key = tuple[str, str]


@dataclass
class Judge:
    """Judges settings on the folds. Encoded folds, the margins of finished trials, and the members of the best of each
    family are kept for the blend."""

    snapshots: pd.DataFrame
    features: pd.DataFrame
    folds: list[Fold]
    params: Tune
    seed: int
    threads: int
    timed: bool
    directions: np.ndarray | None = None
    _encoded: list[tuple[Rows, np.ndarray]] = field(default_factory=list, init=False)
    _margins: dict[_Key, list[np.ndarray]] = field(default_factory=dict, init=False)
    _members: dict[_Key, tuple[float, list[Member]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        label = self.snapshots["label"].to_numpy(dtype="float64")
        place = self.snapshots["position"].to_numpy()
        for fold in self.folds:
            rows = Rows.encode(self.features.iloc[fold.learn], label[fold.learn], place[fold.learn], self.directions)
            self._encoded.append((rows, rows.encoder.matrix(self.features.iloc[fold.judge])))
        self.labels = [label[fold.judge] for fold in self.folds]
        lead = self.snapshots["lead_id"].factorize()[0]
        self.leads = [lead[fold.judge] for fold in self.folds]

    def judge(self, family: Family, number: int, settings: Settings, goes_on: GoesOn = lambda _: True) -> Trial:
        """Fit and judge fold by fold, as long as `goes_on` says so: folds side by side, looked at in their order."""
        losses: list[float] = []
        fitted: list[_Fitted] = []
        with ThreadPoolExecutor(self.threads) as pool:
            running = [pool.submit(self._fitted, fold, settings) for fold in range(len(self.folds))]
            for future in running:
                one = future.result()
                fitted.append(one)
                losses.append(one.loss)
                if len(losses) < len(self.folds) and not goes_on(losses):
                    for other in running:
                        other.cancel()
                    return Trial(family, number, settings, losses, 0, pruned=True)
        curves = [one.curve for one in fitted if one.curve is not None]
        rounds = _common_rounds(curves) if curves else 0
        margins = [one.margins(rounds) for one in fitted]
        losses = [ranking_loss(label, margin) for label, margin in zip(self.labels, margins, strict=True)]
        trial = Trial(family, number, settings, losses, rounds)
        self._margins[_key(trial)] = margins
        self._keep(trial, [one.after(rounds) for one in fitted])
        return trial

    def _keep(self, trial: Trial, members: list[Member]) -> None:
        """Keep what the folds fitted, of as many trials of a family as a blend may have members: the best."""
        self._members[_key(trial)] = (trial.loss, members)
        mine = [key for key in self._members if key[0] == trial.family]
        if len(mine) > self.params.blend.members:
            del self._members[max(mine, key=lambda key: self._members[key][0])]

    def _fitted(self, fold: int, settings: Settings) -> _Fitted:
        (rows, later), label = self._encoded[fold], self.labels[fold]
        threads = max(1, self.threads // len(self.folds))
        if isinstance(settings, XGBoostSettings):
            curve, trees = learning_curve(
                *(rows, later, label, settings, self.params.xgboost),
                start=start_of(settings, self.params),
                seed=self.seed,
                threads=threads,
                device=self.params.device,
            )
            return _Fitted(
                float(curve.min()), curve, lambda rounds: trees.margin(later, min(rounds, len(curve))), trees
            )
        clip = self.params.logistic.clip
        member = fit_member(rows, settings, clip=clip, rounds=0, seed=self.seed, threads=threads)
        margin = member.margin(later)
        return _Fitted(ranking_loss(label, margin), None, lambda _: margin, member)

    def margins(self, trial: Trial) -> list[np.ndarray]:
        """Margins on the judged rows of each fold; computed again for a trial that an earlier process finished."""
        if _key(trial) not in self._margins:
            self.judge(trial.family, trial.number, trial.settings)
        return self._margins[_key(trial)]

    def members(self, trial: Trial) -> list[Member]:
        """What each fold fitted; fitted again where it was not kept."""
        if (kept := self._members.get(_key(trial))) is not None:
            return kept[1]
        with ThreadPoolExecutor(self.threads) as pool:
            again = pool.map(lambda fold: self._fitted(fold, trial.settings), range(len(self.folds)))
            return [one.after(trial.rounds) for one in again]

    def blend(self, trials: Sequence[Trial]) -> np.ndarray:
        """Weight of every trial; pruned ones, and settings that were tried before, have none."""
        weights = np.zeros(len(trials))
        seen: set[_Key] = set()
        kept = []
        for k, trial in enumerate(trials):
            if not trial.pruned and _key(trial) not in seen:
                seen.add(_key(trial))
                kept.append(k)
        stacks = [self.margins(trials[k]) for k in kept]
        weights[kept] = blend.weigh(
            self.labels,
            stacks,
            [trials[k].family for k in kept],
            [trials[k].cost_us for k in kept],
            self.leads,
            self.params.blend,
            timed=self.timed,
            seed=self.seed,
        )
        return weights

    def judged(self, trials: Sequence[Trial], weights: np.ndarray) -> pd.DataFrame:
        """Margins of the blend on every judged row, each by members that did not learn from it.

        Members of a fold know the conversion rate of what they learned from, the final members that of all rows: the
        margins are moved by the difference, so that they have the level that the final ones will have.

        Returns:
            `lead_id`, `as_of`, `fold` and `margin`, in order of fold, then of the snapshots.
        """
        used = [(trial, weight) for trial, weight in zip(trials, weights, strict=True) if weight > 0]
        label, parts = self.snapshots["label"].to_numpy(dtype="float64"), []
        for k, fold in enumerate(self.folds):
            margin = np.sum([weight * self.margins(trial)[k] for trial, weight in used], axis=0)
            key = self.snapshots[["lead_id", "as_of"]].iloc[fold.judge]
            parts.append(key.assign(fold=k, margin=margin + log_odds(label) - log_odds(label[fold.learn])))
        return pd.concat(parts, ignore_index=True)

    def contributions(self, trials: Sequence[Trial], weights: np.ndarray) -> pd.DataFrame:
        """Contributions in log-odds of every feature to the blend on every judged row, by members that did not learn
        from it.

        They are those of a margin that had been handed over at the beginning of the fold: centred on the rows that its
        members learned from (as many of them as are judged), and 0 where these hold no evidence on a value.

        Returns:
            `lead_id`, `as_of` and one column per feature; the rows of `judged`, in their order.
        """
        used = [(trial, weight) for trial, weight in zip(trials, weights.tolist(), strict=True) if weight > 0]
        # One by one, before the folds go side by side: a member that was not kept is fitted again here.
        members = [self.members(trial) for trial, _ in used]

        def one(k: int) -> pd.DataFrame:
            fold, (rows, _) = self.folds[k], self._encoded[k]
            learned = self.features.iloc[fold.learn[:: max(1, len(fold.learn) // len(fold.judge))]]
            margin = Margin.centred(rows.encoder, [own[k] for own in members], [weight for _, weight in used], learned)
            later = self.features.iloc[fold.judge]
            parts = pd.DataFrame(margin.contributions(later), columns=later.columns, index=later.index)
            return pd.concat([self.snapshots[["lead_id", "as_of"]].iloc[fold.judge], parts], axis=1)

        with ThreadPoolExecutor(self.threads) as pool:
            return pd.concat(pool.map(one, range(len(self.folds))), ignore_index=True)


def _key(trial: Trial) -> _Key:
    return trial.family, trial.settings.model_dump_json()


def _common_rounds(curves: Sequence[np.ndarray]) -> int:
    """Rounds at which the mean of the folds' curves is lowest. Curves end where nothing was gained for a while: beyond
    its end a curve goes on at its last value."""
    longest = max(map(len, curves))
    extended = [np.concatenate([curve, np.full(longest - len(curve), curve[-1])]) for curve in curves]
    return int(np.argmin(np.mean(extended, axis=0))) + 1


def suggest(trial: optuna.Trial, family: Family, params: Tune, *, timed: bool, categories: bool) -> Settings:
    """Settings of one trial, drawn from the ranges in params.yaml; rates and penalties on a log scale.

    Args:
        timed: the history has an order in time, so that recent rows may count more.
        categories: there are category columns, so that their treatment is a choice.
    """
    if family == "scorecard":
        card = params.scorecard
        first = card.first[0]
        return ScorecardSettings(
            bins=trial.suggest_int("bins", int(card.bins[0]), int(card.bins[1])),
            prior_rows=trial.suggest_float("prior_rows", *card.prior_rows, log=True),
            c=trial.suggest_float("c", *card.c, log=True),
            towards=first.towards,
            folds=first.folds,
            half_life=_half_life(trial, params, timed),
        )
    if family == "logistic":
        space = params.logistic
        return LogisticSettings(
            bins=trial.suggest_int("bins", int(space.bins[0]), int(space.bins[1])),
            c=trial.suggest_float("c", *space.c, log=True),
            half_life=_half_life(trial, params, timed),
        )
    tree = params.xgboost
    return XGBoostSettings(
        max_depth=trial.suggest_int("max_depth", int(tree.max_depth[0]), int(tree.max_depth[1])),
        learning_rate=trial.suggest_float("learning_rate", *tree.learning_rate, log=True),
        min_child_weight=trial.suggest_float("min_child_weight", *tree.min_child_weight, log=True),
        subsample=trial.suggest_float("subsample", *tree.subsample),
        colsample_bytree=trial.suggest_float("colsample_bytree", *tree.colsample_bytree),
        colsample_bynode=trial.suggest_float("colsample_bynode", *tree.colsample_bynode),
        reg_lambda=trial.suggest_float("reg_lambda", *tree.reg_lambda, log=True),
        start=trial.suggest_categorical("start", ["nothing", "scorecard", "logistic"]),
        categories=trial.suggest_categorical("categories", ["native", "target"]) if categories else "native",
        target_prior=tree.first[0].target_prior,
        half_life=_half_life(trial, params, timed),
    )


def _half_life(trial: optuna.Trial, params: Tune, timed: bool) -> float:
    return float(trial.suggest_categorical("half_life", list(params.half_lives))) if timed else 0.0


@dataclass(frozen=True)
class Search:
    """What a search is made of beside the judge. `timed`: the folds run forward in time. `needed`: conversions that a
    full search lacks; where there are any, only the first trials of the two logistic families are tried."""

    params: Tune
    seed: int
    timed: bool
    needed: int
    categories: bool

    @classmethod
    def of(cls, snapshots: pd.DataFrame, features: pd.DataFrame, params: Tune, seed: int, *, timed: bool) -> Search:
        needed = max(0, params.min_conversions - int(snapshots["label"].sum()))
        categories = any(not pd.api.types.is_numeric_dtype(features[name]) for name in features)
        return cls(params, seed, timed, needed, categories)

    def planned(self) -> dict[Family, int]:
        """Trials per family."""
        if self.needed:
            return {"scorecard": 1, "logistic": 1}
        return dict(self.params.trials)

    def run(
        self,
        judge: Judge,
        studies: Mapping[Family, optuna.Study],
        report: Callable[[Trial], None],
        go_on: Callable[[Family], bool] = lambda _: True,
        wait: Callable[[], None] = lambda: None,
    ) -> list[Trial]:
        """Run the trials that the studies have not finished; returns all, in the order of a search of so many.

        Each trial's sampler is seeded by (seed, number), and sees and is measured against finished trials of lower
        number only, so that a killed and resumed search draws what an uninterrupted one would have drawn. A trial left
        running by a killed process is marked failed and not counted.

        Args:
            go_on: asked before each trial but a family's first; False leaves out this trial, and the search ends before
                its count is reached.
            wait: called where the only trials left are those that other processes sharing the studies are running.
        """
        if self.params.storage is not None:
            return self._together(judge, studies, report, go_on, wait)
        trials: list[Trial] = []
        done: dict[Family, list[Trial]] = {family: [] for family in self.planned()}
        for study in studies.values():
            for left in study.get_trials(deepcopy=False, states=(State.RUNNING,)):
                study.tell(left.number, state=State.FAIL)
        finished = {family: _finished(study) for family, study in studies.items()}
        for family in schedule(self.planned()):
            number = len(done[family])
            if number < len(finished[family]):
                trial = _restored(family, number, finished[family][number])
            elif number and not go_on(family):
                continue
            else:
                trial = self._next(family, number, judge, studies[family], done[family])
            done[family].append(trial)
            trials.append(trial)
            report(trial)
        return _in_turn(trials)

    def _together(
        self,
        judge: Judge,
        studies: Mapping[Family, optuna.Study],
        report: Callable[[Trial], None],
        go_on: Callable[[Family], bool],
        wait: Callable[[], None],
    ) -> list[Trial]:
        """As `run`, where several processes share the studies: each takes the next trial that nobody has begun. Two
        that look at the same moment may begin the same one; the blend counts equal settings once.

        A process that ends in the midst of a trial gives no more signs of life, and others take its place.
        """
        states = (State.COMPLETE, State.PRUNED, State.RUNNING)
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                for study in studies.values():
                    optuna.storages.fail_stale_trials(study)
            begun = {family: len(study.get_trials(deepcopy=False, states=states)) for family, study in studies.items()}
            turn: dict[Family, int] = dict.fromkeys(studies, 0)
            for family in schedule(self.planned()):
                turn[family] += 1
                if turn[family] > begun[family] and (begun[family] == 0 or go_on(family)):
                    finished = [_restored(family, k, one) for k, one in enumerate(_finished(studies[family]))]
                    report(self._next(family, begun[family], judge, studies[family], finished))
                    break
            else:
                missing = any(len(_finished(studies[family])) < number for family, number in self.planned().items())
                if not missing or not all(go_on(family) for family in studies):
                    break
                wait()
        return _in_turn(
            [_restored(family, k, one) for family, study in studies.items() for k, one in enumerate(_finished(study))]
        )

    def _next(self, family: Family, number: int, judge: Judge, study: optuna.Study, earlier: list[Trial]) -> Trial:
        draw = int(np.random.SeedSequence([self.seed, number, 3]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(
            seed=draw, multivariate=True, constant_liar=False, n_startup_trials=self.params.random_trials
        )
        first = getattr(self.params, family).first
        if number < len(first) and not study.get_trials(deepcopy=False, states=(State.WAITING,)):
            study.enqueue_trial(first[number].model_dump())
        with warnings.catch_warnings():
            # Optuna warns because it gives signs of life from `optimize` alone; here they are given below.
            warnings.filterwarnings("ignore", message="Heartbeat")
            asked = study.ask()
        drawn = suggest(asked, family, self.params, timed=self.timed, categories=self.categories)
        settings = first[number] if number < len(first) else drawn
        with _heartbeat.get_heartbeat_thread(asked._trial_id, study._storage):
            trial = judge.judge(family, number, settings, lambda losses: self._promising(losses, earlier))
        asked.set_user_attr("settings", settings.model_dump())
        asked.set_user_attr("losses", trial.losses)
        asked.set_user_attr("rounds", trial.rounds)
        if trial.pruned:
            for step, loss in enumerate(trial.losses):
                asked.report(loss, step)
            study.tell(asked, state=State.PRUNED)
        else:
            study.tell(asked, trial.loss)
        return trial

    def _promising(self, losses: list[float], earlier: list[Trial]) -> bool:
        """Not much worse on these folds than the best earlier trial of the family was on the same ones."""
        best = min(
            (float(np.mean(trial.losses[: len(losses)])) for trial in earlier if not trial.pruned), default=np.inf
        )
        return bool(np.mean(losses) <= best * (1 + self.params.prune_worse))


def set_up(
    snapshots: pd.DataFrame,
    features: pd.DataFrame,
    params: Tune,
    run: Run,
    *,
    timed: bool,
    horizon_days: int,
    directions: np.ndarray | None = None,
) -> tuple[Judge, Search]:
    """The judge and the search over some history: all of it, or every n-th lead where it has more than `max_rows`.

    Args:
        snapshots: all that lies before the test window: lead_id, as_of, label, position; sorted by (lead_id, as_of).
            `features`: the same rows.
        timed, directions: see `Judge`, `fit.Rows`. `horizon_days`: see `folds.draw`.

    Raises:
        NotEnoughData: a fold lacks one of the outcomes.
    """
    some = folds.thinned(snapshots, params.max_rows)
    snapshots, features = snapshots[some].reset_index(drop=True), features[some].reset_index(drop=True)
    cut = folds.draw(
        snapshots,
        number=params.folds,
        first_share=params.first_fold_share,
        horizon_days=horizon_days,
        random=not timed,
        seed=run.seed,
    )
    judge = Judge(snapshots, features, cut, params, run.seed, run.threads, timed, directions)
    return judge, Search.of(snapshots, features, params, run.seed, timed=timed)


def schedule(planned: Mapping[Family, int]) -> Iterator[Family]:
    """Families in turn, so that each has had its share whenever the search is cut short."""
    order = get_args(Family)
    places = [((k + 0.5) / number, order.index(family)) for family, number in planned.items() for k in range(number)]
    yield from (order[family] for _, family in sorted(places))


def _in_turn(trials: Sequence[Trial]) -> list[Trial]:
    """Trials in the order of a search of so many: one cut short can be repeated by its counts, to the byte."""
    mine: dict[Family, list[Trial]] = {}
    for trial in trials:
        mine.setdefault(trial.family, []).append(trial)
    waiting = {family: iter(sorted(own, key=lambda trial: trial.number)) for family, own in mine.items()}
    return [next(waiting[family]) for family in schedule({family: len(own) for family, own in mine.items()})]


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    found = study.get_trials(deepcopy=False, states=(State.COMPLETE, State.PRUNED))
    return sorted(found, key=lambda trial: trial.number)


def _restored(family: Family, number: int, trial: optuna.trial.FrozenTrial) -> Trial:
    known = trial.user_attrs
    settings = settings_of(family, known["settings"])
    return Trial(family, number, settings, known["losses"], known["rounds"], trial.state == State.PRUNED)


def trial_table(trials: Sequence[Trial], weights: np.ndarray) -> pd.DataFrame:
    """One row per trial in the order tried: family, state, settings, losses, rounds, and its weight in the blend."""
    return pd.DataFrame(
        [
            {
                "trial": k,
                "family": trial.family,
                "state": "pruned" if trial.pruned else "complete",
                "log_loss": trial.loss,
                "weight": weight,
            }
            | {f"log_loss_fold_{f}": loss for f, loss in enumerate(trial.losses)}
            | {"rounds": trial.rounds}
            | trial.settings.model_dump()
            for k, (trial, weight) in enumerate(zip(trials, weights.tolist(), strict=True))
        ]
    )


def counts(trials: Sequence[Trial]) -> dict[str, int]:
    """Trials per family."""
    families = [trial.family for trial in trials]
    return {family: families.count(family) for family in sorted(set(families))}


def history(trials: Sequence[Trial]) -> pd.DataFrame:
    """Log-loss of every trial that was judged on all folds, and the best so far, over all families."""
    whole = [(k, trial.loss) for k, trial in enumerate(trials) if not trial.pruned]
    loss = pd.Series([loss for _, loss in whole])
    return pd.DataFrame({"trial": [k for k, _ in whole], "log_loss": loss, "best_log_loss": loss.cummin()})


def _plain(start: Start | None) -> dict[str, Any] | None:
    return None if start is None else start.settings.model_dump()


def members(trials: Sequence[Trial], weights: np.ndarray, params: Tune) -> list[dict[str, Any]]:
    """What `train` fits: family, settings, clip, rounds and weight of each trial with weight."""
    return [
        {
            "family": trial.family,
            "settings": trial.settings.model_dump(),
            "clip": params.logistic.clip,
            "start": _plain(start_of(trial.settings, params)),
            "rounds": trial.rounds,
            "weight": weight,
        }
        for trial, weight in zip(trials, weights.tolist(), strict=True)
        if weight > 0
    ]
