"""The margin is a sum: members, weights, centring; unseen values take their own path."""

import numpy as np
import pandas as pd
import pytest

from pipeline.params import LogisticSettings, XGBoostSettings
from pipeline.scorer.margin import Encoder, Margin
from pipeline.scoring.fit import encode, fit_logistic, fit_xgboost

TREES = XGBoostSettings(
    max_depth=3, learning_rate=0.2, min_child_weight=1.0, subsample=0.8, colsample_bytree=0.8, reg_lambda=1.0
)


def data(n: int = 2000) -> tuple[pd.DataFrame, np.ndarray]:
    generator = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "visits": generator.poisson(2, n).astype("float64"),
            "size": np.where(generator.random(n) < 0.2, np.nan, generator.lognormal(3, 1, n)),
            "industry": pd.Series(generator.choice(["energy", "retail", "water"], n), dtype="str"),
        }
    )
    log_odds = -2 + 0.5 * frame["visits"] + (frame["industry"] == "retail") - frame["size"].isna()
    return frame, (generator.random(n) < 1 / (1 + np.exp(-log_odds))).to_numpy(dtype="float64")


@pytest.fixture(scope="module")
def blend() -> tuple[Margin, pd.DataFrame]:
    frame, label = data()
    encoder, matrix = encode(frame)
    members = [
        fit_logistic(encoder, matrix, label, LogisticSettings(bins=4, c=0.1), clip=4.0),
        fit_xgboost(encoder, matrix, label, TREES, rounds=30, seed=1, threads=1),
    ]
    return Margin.centred(encoder, members, [0.25, 0.75], frame), frame


def test_contributions_add_up_to_the_blended_margin(blend):
    margin, frame = blend
    matrix = margin.encoder.matrix(frame)
    direct = 0.25 * margin.members[0].margin(matrix) + 0.75 * margin.members[1].margin(matrix)
    np.testing.assert_allclose(margin.base + margin.contributions(frame).sum(axis=1), direct, atol=1e-5)


def test_the_base_is_the_mean_margin_of_the_training_rows(blend):
    margin, frame = blend
    assert margin.contributions(frame).mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)


def test_the_logistic_lookup_equals_the_fitted_model(blend):
    """Two routes: the lookup against scikit-learn's own decision function on the same design, through its gradient."""
    margin, frame = blend
    member = margin.members[0]
    _, label = data()
    matrix = margin.encoder.matrix(frame)
    probability = 1 / (1 + np.exp(-member.margin(matrix)))
    # At the optimum the unpenalised intercept's gradient vanishes: predicted and observed conversions agree.
    assert probability.sum() == pytest.approx(label.sum(), rel=2e-3)


@pytest.mark.parametrize("value", ["oil", "aaa", "zzz"])
def test_an_unseen_value_adds_nothing_wherever_it_sorts(blend, value):
    """As a missing one does here, since no industry was missing in training; other features are scored as usual."""
    margin, frame = blend
    rows = frame.iloc[:50]
    unseen = rows.assign(industry=pd.Series(value, index=rows.index, dtype="str"))
    missing = rows.assign(industry=pd.Series(None, index=rows.index, dtype="str"))
    contributions = margin.contributions(unseen)
    assert (contributions[:, list(frame.columns).index("industry")] == 0).all()
    assert np.abs(contributions).sum() > 0
    np.testing.assert_array_equal(contributions, margin.contributions(missing))
    assert margin.encoder.unseen(unseen)["industry"].all()
    assert not margin.encoder.unseen(missing)["industry"].any()


def test_a_batch_scores_each_row_as_alone(blend):
    margin, frame = blend
    batch = margin.contributions(frame.iloc[:64])
    alone = np.vstack([margin.contributions(frame.iloc[[k]]) for k in range(64)])
    np.testing.assert_array_equal(batch, alone)


def test_threads_do_not_change_the_trees():
    frame, label = data()
    encoder, matrix = encode(frame)
    one, two = (
        bytes(fit_xgboost(encoder, matrix, label, TREES, rounds=20, seed=1, threads=k).booster.save_raw("ubj"))
        for k in (1, 2)
    )
    assert one == two


def test_files_restore_to_the_same_numbers(blend, tmp_path):
    margin, frame = blend
    document, blobs = margin.files()
    for name, blob in blobs.items():
        (tmp_path / name).write_bytes(blob)
    again = Margin.restore(document, tmp_path)
    np.testing.assert_array_equal(margin.contributions(frame), again.contributions(frame))


def test_no_rows_give_no_contributions(blend):
    margin, frame = blend
    assert margin.contributions(frame.iloc[:0]).shape == (0, 3)


def test_levels_are_sorted_and_numbers_have_none():
    frame, _ = data(50)
    assert Encoder.fit(frame).levels == {"industry": ["energy", "retail", "water"]}
