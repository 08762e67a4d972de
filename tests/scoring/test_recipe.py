"""The recipe in one go: what it learns is what its parts say, thinned histories are scored whole, the guard guards."""

import numpy as np
import pandas as pd
import pytest

from pipeline.params import load
from pipeline.scoring import metrics, recipe


@pytest.fixture(scope="module")
def params(project_root):
    full = load(project_root / "params.yaml")
    tree = full.tune.xgboost
    few = tree.model_copy(update={"first": tree.first[:1], "max_rounds": 40, "early_stopping_rounds": 10})
    tune = full.tune.model_copy(
        update={
            "trials": {"scorecard": 1, "logistic": 2, "xgboost": 1},
            "folds": 3,
            "xgboost": few,
            "min_conversions": 20,
        }
    )
    train = full.train.model_copy(update={"deals": 99})
    return full.model_copy(update={"tune": tune, "train": train})


def history(n: int, strength: float, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(np.random.SeedSequence([seed, 11]))
    features = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    chance = 1 / (1 + np.exp(1.2 - strength * (features["a"] - features["b"])))
    snapshots = pd.DataFrame(
        {
            "lead_id": [f"L{k:05d}" for k in range(n)],
            "as_of": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(n) // 20, unit="D"),
            "label": (rng.random(n) < chance).astype("int8"),
            "split": np.where(np.arange(n) < 0.7 * n, "train", "calibrate"),
            "position": np.arange(n),
        }
    )
    return snapshots, features


def test_what_is_learned_ranks_and_stands_at_the_right_level(params):
    snapshots, features = history(3000, 1.0)
    learned = recipe.learn(snapshots, features, params, timed=True, horizon_days=7)
    later, after = history(3000, 1.0, seed=2)
    probability = learned.probability(after)
    label = later["label"].to_numpy()
    assert metrics.auc(label, probability) > 0.75
    # Three standard errors of the mean of 3,000 outcomes.
    assert probability.mean() == pytest.approx(label.mean(), abs=3 * np.sqrt(0.25 / 3000))
    assert learned.signal.found and learned.needed == 0
    assert set(learned.judged["lead_id"]) <= set(snapshots["lead_id"])
    assert learned.weights.sum() == pytest.approx(1.0)


def test_without_a_signal_every_lead_gets_one_chance_unless_the_guard_is_off(params):
    snapshots, features = history(1500, 0.0, seed=3)
    guarded = recipe.learn(snapshots, features, params, timed=True, horizon_days=7)
    assert not guarded.signal.found and not guarded.margin.members
    assert np.ptp(guarded.probability(features)) == 0
    free = recipe.learn(snapshots, features, params, timed=True, horizon_days=7, guarded=False)
    assert free.margin.members and np.ptp(free.probability(features)) > 0


def test_a_long_history_is_searched_in_part_and_its_calibrate_window_scored_whole(params):
    snapshots, features = history(3000, 1.0)
    few = params.model_copy(update={"tune": params.tune.model_copy(update={"max_rows": 1000})})
    learned = recipe.learn(snapshots, features, few, timed=True, horizon_days=7)
    judged = learned.judged
    calibrate = snapshots.loc[snapshots["split"] == "calibrate", "lead_id"]
    assert sorted(judged.loc[judged["split"] == "calibrate", "lead_id"]) == sorted(calibrate)
    assert set(judged["split"]) == {"calibrate"}
    assert not judged["lead_id"].duplicated().any()
