"""The margin is a sum: members, weights, centring; unseen values take their own path."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.params import LogisticSettings, ScorecardSettings
from pipeline.scorer.margin import Encoder, Margin, XGBoostMember
from pipeline.scoring.fit import Rows, Start, fit_logistic, fit_scorecard, fit_xgboost
from tests import trees

PLAIN = LogisticSettings(bins=4, c=0.1, half_life=0.0)
CARD = ScorecardSettings(bins=6, prior_rows=5.0, c=0.1, towards=0.8, folds=5, half_life=0.0)
TREES = trees.TREES.model_copy(update={"subsample": 0.8, "colsample_bytree": 0.8})
WEIGHTS = [0.2, 0.1, 0.3, 0.4]


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


def encoded(n: int = 2000) -> Rows:
    frame, label = data(n)
    return Rows.encode(frame, label, np.arange(n))


@pytest.fixture(scope="module")
def blend() -> tuple[Margin, pd.DataFrame]:
    """A member of every kind: trees from nothing, and trees on rates of levels that correct a scorecard."""
    rows = encoded()
    other = TREES.model_copy(update={"start": "scorecard", "categories": "target"})
    members = [
        fit_logistic(rows, PLAIN, clip=4.0),
        fit_scorecard(rows, CARD),
        fit_xgboost(rows, TREES, rounds=30, seed=1, threads=1),
        fit_xgboost(rows, other, rounds=10, seed=1, threads=1, start=Start(CARD, clip=4.0)),
    ]
    frame = data()[0]
    return Margin.centred(rows.encoder, members, WEIGHTS, frame), frame


def test_contributions_add_up_to_the_blended_margin(blend):
    margin, frame = blend
    matrix = margin.encoder.matrix(frame)
    direct = sum(weight * member.margin(matrix) for weight, member in zip(WEIGHTS, margin.members, strict=True))
    np.testing.assert_allclose(margin.base + margin.contributions(frame).sum(axis=1), direct, atol=1e-5)
    np.testing.assert_array_equal(margin.values(frame), margin.base + margin.contributions(frame).sum(axis=1))


def test_the_base_is_the_mean_margin_of_the_training_rows(blend):
    margin, frame = blend
    assert margin.contributions(frame).mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)


@pytest.mark.parametrize("member", [0, 1])
def test_a_lookup_agrees_with_the_rows_it_was_fitted_to(blend, member):
    """At the optimum the gradient of the intercept, which no penalty holds, vanishes: predicted and observed
    conversions agree. A scorecard's evidence is counted on other leads while its weights are fitted, on all later."""
    margin, frame = blend
    _, label = data()
    probability = 1 / (1 + np.exp(-margin.members[member].margin(margin.encoder.matrix(frame))))
    assert probability.sum() == pytest.approx(label.sum(), rel=2e-3 if member == 0 else 2e-2)


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


@pytest.mark.parametrize("categories", ["native", "target"])
def test_threads_do_not_change_the_trees(categories):
    rows, trees = encoded(), TREES.model_copy(update={"categories": categories})
    one, two = (bytes(fit_xgboost(rows, trees, rounds=20, seed=1, threads=k).booster.save_raw("ubj")) for k in (1, 2))
    assert one == two


def test_trees_see_a_level_as_its_number_and_a_gap_as_a_gap():
    encoder = Encoder(names=["size", "industry"], levels={"industry": ["energy", "retail"]}, complete=[])
    matrix = np.array([[3.0, 1.0], [np.nan, 0.0], [7.0, np.nan]])
    before = matrix.copy()
    seen = XGBoostMember.translate(encoder, matrix, {"industry": [0.1, 0.4]})
    np.testing.assert_array_equal(seen, [[3.0, 0.4], [np.nan, 0.1], [7.0, np.nan]])
    np.testing.assert_array_equal(matrix, before)
    assert XGBoostMember.translate(encoder, matrix, None) is matrix


def test_the_margin_of_fewer_trees_is_that_of_a_shorter_fit(blend):
    """Trees are grown one after the other: ten rounds of thirty are a fit of ten."""
    margin, frame = blend
    matrix = margin.encoder.matrix(frame)
    short = fit_xgboost(encoded(), TREES, rounds=10, seed=1, threads=1)
    np.testing.assert_array_equal(margin.members[2].margin(matrix, 10), short.margin(matrix))


def test_files_restore_to_the_same_numbers(blend, tmp_path):
    margin, frame = blend
    document, blobs = margin.files()
    for name, blob in blobs.items():
        (tmp_path / name).write_bytes(blob)
    # As it is written and read: through JSON.
    again = Margin.restore(json.loads(json.dumps(document)), tmp_path)
    np.testing.assert_array_equal(margin.contributions(frame), again.contributions(frame))
    matrix = margin.encoder.matrix(frame)
    for one, other in zip(margin.members, again.members, strict=True):
        np.testing.assert_array_equal(one.margin(matrix), other.margin(matrix))
    assert again.members[3].values == margin.members[3].values and set(again.members[3].values) == {"industry"}
    assert again.members[3].start == margin.members[3].start and again.members[2].start is None
    assert again.files() == (document, blobs)


def test_a_margin_without_members_is_its_base_for_every_row(tmp_path):
    frame, _ = data(50)
    margin = Margin(Encoder.fit(frame), [], [], -1.5, np.zeros(3))
    document, blobs = margin.files()
    again = Margin.restore(document, tmp_path)
    assert blobs == {}
    assert (again.values(frame) == -1.5).all()
    assert again.contributions(frame).shape == (50, 3)


def test_no_rows_give_no_contributions(blend):
    margin, frame = blend
    assert margin.contributions(frame.iloc[:0]).shape == (0, 3)


def test_levels_are_sorted_and_numbers_have_none():
    frame, _ = data(50)
    assert Encoder.fit(frame).levels == {"industry": ["energy", "retail", "water"]}
