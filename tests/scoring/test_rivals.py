"""Rivals: each does what its name says, sees only what training knew, and gives the same numbers every time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import NotEnoughData
from pipeline.scorer.margin import Encoder
from pipeline.scoring import metrics
from pipeline.scoring.rivals import RIVALS, Design, OneFeature, Rivals

NAN = float("nan")


def leads(n: int, seed: int) -> pd.DataFrame:
    """Snapshots whose conversion depends on `visits` (strongly) and `region` (weakly); `noise` tells nothing."""
    rng = np.random.default_rng(seed)
    visits = rng.poisson(2.0, n).astype("float64")
    region = rng.choice(["north", "south", "west"], n)
    log_odds = -2.5 + 0.7 * visits + np.where(region == "west", 0.4, 0.0)
    frame = pd.DataFrame(
        {
            "lead_id": [f"{k:06d}" for k in range(n)],
            "as_of": pd.Timestamp("2024-01-01"),
            "label": (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype("int8"),
            "visits": np.where(rng.random(n) < 0.05, np.nan, visits),
            "region": pd.Series(region, dtype="str").mask(rng.random(n) < 0.05),
            "noise": rng.normal(size=n),
            "empty": np.full(n, np.nan),
            "nowhere": pd.Series([None] * n, dtype="str"),
        }
    )
    return frame


FEATURES = ["noise", "visits", "region", "empty", "nowhere"]


@pytest.fixture(scope="module")
def fitted() -> Rivals:
    return Rivals.fit(leads(3000, 1), FEATURES, bins=10, seed=7, threads=1)


def test_one_feature_of_a_number_has_exact_rates() -> None:
    value = np.array([0.0, 0.0, 1.0, 1.0, NAN, NAN])
    label = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    rank = OneFeature.fit("visits", value, label, levels=None, bins=2)
    # The only inner bound is the median of the known values, 0.5.
    assert rank.edges is not None
    assert rank.edges.tolist() == [0.5]
    # Base rate 3/6. (0 + 1) / (2 + 2), (1 + 1) / (2 + 2), missing (2 + 1) / (2 + 2).
    assert rank.rates.tolist() == [0.25, 0.5, 0.75]
    # The bound itself belongs to the upper bin; values beyond training fall in the outer bins.
    assert rank.predict(np.array([-9.0, 0.5, 9.0, NAN])).tolist() == [0.25, 0.5, 0.5, 0.75]


def test_one_feature_of_a_category_has_a_rate_per_level_and_the_base_rate_for_what_training_never_missed() -> None:
    value = np.array([0.0, 0.0, 1.0, 1.0])
    rank = OneFeature.fit("region", value, np.array([0.0, 0.0, 1.0, 1.0]), levels=2, bins=10)
    assert rank.edges is None
    # Base rate 1/2: (0 + 1) / (2 + 2), (2 + 1) / (2 + 2); never missing, so (0 + 1) / (0 + 2).
    assert rank.predict(np.array([0.0, 1.0, NAN])).tolist() == [0.25, 0.75, 0.5]


def test_design_standardises_numbers_and_opens_categories() -> None:
    frame = pd.DataFrame({"visits": [0.0, 2.0, NAN], "region": pd.Series(["west", "north", None], dtype="str")})
    encoder = Encoder.fit(frame)
    design = Design.fit(encoder, encoder.matrix(frame))
    # Missing flags of visits and region; visits with mean 1 and deviation 1; then north and west.
    assert design.columns(encoder.matrix(frame)).tolist() == [
        [0.0, 0.0, -1.0, 0.0, 1.0],
        [0.0, 0.0, 1.0, 1.0, 0.0],
        [1.0, 1.0, 0.0, 0.0, 0.0],
    ]


def test_the_strongest_column_is_found_and_every_rival_is_a_probability(fitted: Rivals) -> None:
    test = leads(3000, 2)
    found = fitted.predict(test)
    assert list(found.columns) == list(RIVALS)
    assert fitted.one_feature.name == "visits"
    assert ((found > 0) & (found < 1)).all(axis=None)
    label = test["label"].to_numpy()
    loss = {name: metrics.log_loss(label, found[name].to_numpy()) for name in RIVALS}
    # The law is additive in log-odds, so the logistic is right for it and deep trees are not.
    assert loss["logistic"] < loss["one_feature"] < loss["base_rate"]
    assert loss["logistic"] < loss["xgboost_default"]
    assert metrics.auc(label, found["base_rate"].to_numpy()) == 0.5


def test_base_rate_is_the_training_rate_for_everyone(fitted: Rivals) -> None:
    assert fitted.predict(leads(5, 3))["base_rate"].tolist() == [leads(3000, 1)["label"].mean()] * 5


def test_a_value_never_seen_is_scored_as_missing_even_between_two_known_ones(fitted: Rivals) -> None:
    row = leads(1, 4).assign(region=pd.Series(["north"], dtype="str"))
    # "oblast" sorts between "north" and "south": left to itself, XGBoost would take it for the latter.
    unseen, missing = row.assign(region="oblast"), row.assign(region=pd.Series([None], dtype="str"))
    a, b = fitted.predict(unseen), fitted.predict(missing)
    assert a["xgboost_default"].equals(b["xgboost_default"])
    assert a["one_feature"].equals(b["one_feature"])


def test_rows_in_another_order_and_more_threads_give_the_same_numbers(fitted: Rivals) -> None:
    train, test = leads(3000, 1), leads(200, 5)
    again = Rivals.fit(train.sample(frac=1, random_state=1), FEATURES, bins=10, seed=7, threads=2)
    pd.testing.assert_frame_equal(again.predict(test), fitted.predict(test), check_exact=True)


def test_rows_are_not_changed() -> None:
    train = leads(200, 6)
    before = train.copy()
    Rivals.fit(train, FEATURES, bins=5, seed=7, threads=1).predict(train)
    pd.testing.assert_frame_equal(train, before)


def test_one_outcome_only_is_not_enough() -> None:
    with pytest.raises(NotEnoughData, match="rivals need both: at least 1 more conversion"):
        Rivals.fit(leads(50, 1).assign(label=0), FEATURES, bins=10, seed=7, threads=1)
