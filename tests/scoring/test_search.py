"""Folds forward in time, trials that resume, a blend that helps."""

import numpy as np
import optuna
import pandas as pd
import pytest

from pipeline import params as params_module
from pipeline.errors import NotEnoughData
from pipeline.params import Tune
from pipeline.scoring import search
from pipeline.scoring.fit import best_intercept, ranking_loss


@pytest.fixture(scope="module")
def tune(project_root) -> Tune:
    full = params_module.load(project_root / "params.yaml").tune
    return full.model_copy(update={"trials": {"logistic": 3, "xgboost": 3}})


def history(n: int = 1200) -> tuple[pd.DataFrame, pd.DataFrame]:
    generator = np.random.default_rng(3)
    features = pd.DataFrame({"a": generator.normal(size=n), "b": generator.normal(size=n)})
    log_odds = -1 + features["a"] + (features["b"] > 0.5)
    snapshots = pd.DataFrame(
        {
            "lead_id": [f"{k:05d}" for k in range(n)],
            "as_of": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n) // 10, unit="D"),
            "label": (generator.random(n) < 1 / (1 + np.exp(-log_odds))).astype("int8"),
            "position": np.arange(n),
        }
    )
    return snapshots, features


def test_folds_learn_from_the_past_whose_outcome_was_known():
    snapshots, _ = history()
    found = search.folds(snapshots, number=3, first_share=0.55, horizon_days=7)
    assert [(fold.start, fold.end) for fold in found] == [(660, 840), (840, 1020), (1020, 1200)]
    for fold in found:
        origin = snapshots["as_of"].iloc[fold.judge].min()
        known = snapshots["as_of"].iloc[fold.learn] + pd.Timedelta(days=7)
        assert known.max() <= origin
        assert snapshots["position"].iloc[fold.judge].min() == fold.start
    # Seven days of ten leads each are not yet decided at the first origin (day 66).
    assert len(found[0].learn) == 660 - 60


def test_folds_without_both_outcomes_are_an_error():
    snapshots, _ = history()
    with pytest.raises(NotEnoughData, match="is judged on 180 snapshots with 0 conversions"):
        search.folds(
            snapshots.assign(label=snapshots["label"].where(snapshots["position"] < 1020, 0)),
            number=3,
            first_share=0.55,
            horizon_days=7,
        )


def test_the_best_intercept_makes_predicted_and_observed_agree():
    label, margin = np.array([1.0, 0, 0, 0]), np.array([3.0, 2.0, 1.0, 5.0])
    shift = best_intercept(label, margin)
    assert (1 / (1 + np.exp(-(margin + shift)))).sum() == pytest.approx(1.0)
    assert ranking_loss(label, margin) == pytest.approx(ranking_loss(label, margin + 7))


def test_a_constant_margin_has_the_loss_of_the_base_rate():
    label = np.array([1.0, 0, 0, 0])
    assert ranking_loss(label, np.zeros(4)) == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))


def run(judge, tune, study, stop_after=None):
    seen = []

    def report(trial):
        seen.append(trial)
        if stop_after is not None and len(seen) == stop_after:
            raise KeyboardInterrupt

    try:
        return search.search("xgboost", judge, tune, 5, study, report)
    except KeyboardInterrupt:
        return seen


def test_a_killed_search_resumes_to_the_same_trials(tune, tmp_path):
    snapshots, features = history()
    folds = search.folds(snapshots, number=2, first_share=0.6, horizon_days=7)

    def judge():
        return search.Judge(snapshots, features, folds, tune, 5, 2)

    def study(name):
        storage = f"sqlite:///{tmp_path / name}.db"
        return optuna.create_study(study_name="s", storage=storage, load_if_exists=True)

    whole = run(judge(), tune, study("whole"))
    run(judge(), tune, study("killed"), stop_after=2)
    study("killed").ask()  # a trial that a killed process left running
    assert run(judge(), tune, study("killed")) == whole


def test_a_search_killed_in_its_first_trial_still_begins_with_the_strong_default(tune, tmp_path):
    snapshots, features = history()
    folds = search.folds(snapshots, number=2, first_share=0.6, horizon_days=7)
    judge = search.Judge(snapshots, features, folds, tune, 5, 1)
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{tmp_path / 's'}.db")
    study.enqueue_trial(tune.xgboost.first.model_dump())
    study.ask()
    assert run(judge, tune, study, stop_after=1)[0].settings == tune.xgboost.first


def test_the_blend_is_no_worse_than_its_best_member(tune):
    snapshots, features = history()
    folds = search.folds(snapshots, number=2, first_share=0.6, horizon_days=7)
    judge = search.Judge(snapshots, features, folds, tune, 5, 1)
    kept = [
        judge.judge("logistic", 0, tune.logistic.first),
        judge.judge("xgboost", 0, tune.xgboost.first),
    ]
    weights = judge.blend(kept)
    assert sum(weights) == pytest.approx(1)
    losses = [
        np.mean(
            [
                ranking_loss(
                    snapshots["label"].to_numpy(dtype="float64")[fold.judge],
                    sum(weight * judge.margins(trial)[k] for weight, trial in zip(mix, kept, strict=True)),
                )
                for k, fold in enumerate(folds)
            ]
        )
        for mix in (weights, [1, 0], [0, 1])
    ]
    assert losses[0] <= min(losses[1:]) + 1e-12


def test_keep_takes_the_best_and_the_same_settings_once(tune):
    first = tune.xgboost.first
    other = first.model_copy(update={"max_depth": 2})
    trials = [
        search.Trial("xgboost", 0, first, [0.5], [10]),
        search.Trial("xgboost", 1, other, [0.4], [10]),
        search.Trial("xgboost", 2, other, [0.4], [10]),
    ]
    assert [trial.number for trial in search.keep(trials, 2)] == [1, 0]
