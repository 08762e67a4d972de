"""What a comparison with rivals rests on: verdicts, paired differences, tables with a known law, the forward split."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

from benchmarks.quality import measures, sets
from benchmarks.quality.generator import MONTHS, TARGET, Recipe, generate
from benchmarks.quality.measures import Difference, differences, verdict

# Measures


@pytest.mark.parametrize(
    ("low", "high", "lower_is_better", "said"),
    [
        (-0.02, -0.01, True, "ahead"),
        (-0.02, -0.01, False, "behind"),
        (0.01, 0.02, True, "behind"),
        (0.01, 0.02, False, "ahead"),
        (-0.02, 0.01, True, "tie"),
        (-0.02, 0.01, False, "tie"),
        (-0.02, 0.0, True, "tie"),
        (0.0, 0.02, False, "tie"),
        (0.0, 0.0, True, "tie"),
    ],
)
def test_ahead_or_behind_where_the_whole_interval_lies_on_one_side_of_zero(low, high, lower_is_better, said):
    assert verdict(Difference((low + high) / 2, low, high), lower_is_better=lower_is_better) == said


@pytest.fixture(scope="module")
def drawn():
    """Log-odds of 2,000 rows, and outcomes that follow them."""
    rng = np.random.default_rng(8)
    odds = rng.normal(-1, 1.5, 2000)
    return odds, (rng.random(2000) < special.expit(odds)).astype("int64")


def test_systems_that_say_the_same_differ_by_nothing_and_tie(drawn):
    odds, outcome = drawn
    chance = special.expit(odds)
    by_loss, by_auc = differences(outcome, chance, {"twin": chance.copy()}, seed=1)["twin"]
    assert by_loss == by_auc == Difference(0.0, 0.0, 0.0)
    assert verdict(by_loss, lower_is_better=True) == verdict(by_auc, lower_is_better=False) == "tie"


def test_a_system_that_is_better_is_ahead_and_its_rival_behind(drawn):
    odds, outcome = drawn
    good, poor = special.expit(odds), special.expit(odds * 0.3 + np.random.default_rng(9).normal(0, 1.5, len(odds)))
    ours = differences(outcome, good, {"poor": poor}, seed=1)["poor"]
    theirs = differences(outcome, poor, {"good": good}, seed=1)["good"]
    assert [verdict(one, lower_is_better=k == 0) for k, one in enumerate(ours)] == ["ahead", "ahead"]
    assert [verdict(one, lower_is_better=k == 0) for k, one in enumerate(theirs)] == ["behind", "behind"]
    for one, other in zip(ours, theirs, strict=True):
        assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))
        assert one.low < one.value < one.high


def test_differences_are_those_of_the_measures_themselves(drawn):
    odds, outcome = drawn
    ours, other = special.expit(odds), np.full(len(odds), outcome.mean())
    by_loss, by_auc = differences(outcome, ours, {"rate": other}, seed=1)["rate"]
    rate = outcome.mean()
    plain = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert by_loss.value == pytest.approx(measures.row_losses(outcome, ours).mean() - plain)
    assert by_auc.value == pytest.approx(measures.auc(outcome, ours) - 0.5)


def test_the_share_of_pairs_in_the_right_order_by_hand():
    # Pairs of a converted row and another: 0.3 over 0.2, under 0.4; 0.4 over 0.2, level with 0.4.
    assert measures.auc(np.array([0, 1, 0, 1]), np.array([0.2, 0.3, 0.4, 0.4])) == pytest.approx(2.5 / 4)


# Tables with a known law


RECIPES = {
    "linear": Recipe(4_000, 4, (4,), 0.2, "linear"),
    "additive, gaps": Recipe(4_000, 6, (3, 40), 0.08, "additive", missing=0.3),
    "interactions": Recipe(4_000, 8, (3,), 0.6, "interactions", strength=2.0),
    "level": Recipe(4_000, 4, (3,), 0.12, "additive", time="level"),
    "season": Recipe(4_000, 4, (3,), 0.3, "additive", time="season"),
    "concept": Recipe(4_000, 4, (3,), 0.3, "linear", time="concept"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_table_follows_from_its_recipe_and_seed(name):
    recipe = RECIPES[name]
    table, law = generate(recipe, np.random.SeedSequence([1, 2]))
    again, same = generate(recipe, np.random.SeedSequence([1, 2]))
    pd.testing.assert_frame_equal(table, again)
    np.testing.assert_array_equal(law, same)
    other, _ = generate(recipe, np.random.SeedSequence([1, 3]))
    assert not table[TARGET].equals(other[TARGET])


@pytest.mark.parametrize("name", RECIPES)
def test_the_law_has_the_rate_that_was_asked_for_and_made_the_outcomes(name):
    recipe = RECIPES[name]
    table, law = generate(recipe, np.random.SeedSequence([1, 2]))
    assert law.mean() == pytest.approx(recipe.rate, abs=1e-9)
    assert table.columns[-1] == TARGET and set(table[TARGET]) == {0, 1} and len(table) == recipe.rows == len(law)
    # Outcomes agree with the law: their sum, and their product with the log-odds, lie within four standard errors.
    residual, spread = table[TARGET] - law, np.sqrt(law * (1 - law))
    odds = special.logit(law)
    for weight in (np.ones(len(law)), odds - odds.mean()):
        assert abs((weight * residual).sum()) < 4 * np.sqrt(((weight * spread) ** 2).sum())


def test_what_a_recipe_says_of_its_columns():
    linear, _ = generate(RECIPES["linear"], np.random.SeedSequence([1]))
    assert sorted(linear) == ["c001", "n001", "n002", "n003", "n004", TARGET]
    assert not linear.isna().any().any() and linear["c001"].nunique() == 4
    gaps, _ = generate(RECIPES["additive, gaps"], np.random.SeedSequence([1]))
    holes = gaps.drop(columns=TARGET).isna().mean()
    assert (holes > 0).sum() == 6 and 0.1 < holes[holes > 0].mean() < 0.6
    season, _ = generate(RECIPES["season"], np.random.SeedSequence([1]))
    assert season["month"].nunique() == 12
    level, _ = generate(RECIPES["level"], np.random.SeedSequence([1]))
    assert {"index_1", "index_2", "wave", "price_list"} < set(level) and level["index_1"].nunique() <= MONTHS


# Pairs


def test_forward_learns_from_the_first_rows_and_judges_the_rest_in_their_order():
    table = pd.DataFrame({"row": range(11), TARGET: [0, 1] * 5 + [0]}, index=range(100, 111))
    pair = sets.forward("small", table, np.linspace(0, 1, 11))
    assert pair.train["row"].tolist() == list(range(7)) and pair.test["row"].tolist() == [7, 8, 9, 10]
    assert list(pair.train.index) == list(range(7)) and list(pair.test.index) == list(range(4))
    assert pair.law.tolist() == pytest.approx([0.7, 0.8, 0.9, 1.0]) and pair.time_ordered
    assert sets.forward("small", table).law is None


def test_random_deals_every_row_once_with_its_law_and_the_same_way_again():
    table = pd.DataFrame({"row": range(40), TARGET: [0, 1] * 20})
    law = np.arange(40) / 40
    pair, again = sets.random("small", table, 1, law), sets.random("small", table, 1, law)
    assert len(pair.train) == 30 and sorted([*pair.train["row"], *pair.test["row"]]) == list(range(40))
    np.testing.assert_array_equal(pair.law, pair.test["row"] / 40)
    pd.testing.assert_frame_equal(pair.train, again.train)
    assert not pair.time_ordered and pair.test["row"].tolist() != sorted(pair.test["row"])
    assert sets.random("other", table, 1).test["row"].tolist() != pair.test["row"].tolist()


@pytest.mark.parametrize("name", ["linear_small", "steady"])
def test_a_generated_pair_is_forward_where_its_rows_stand_in_time(name):
    recipe = sets.RECIPES[name]
    pair = sets.make(name, seed=3)
    share = sets.RANDOM_SHARE if recipe.time == "none" else sets.FORWARD_SHARE
    assert pair.time_ordered is (recipe.time != "none")
    assert (len(pair.train), len(pair.test)) == (share * recipe.rows, recipe.rows - share * recipe.rows)
    assert len(pair.law) == len(pair.test)
    table, law = generate(recipe, np.random.SeedSequence([3, *name.encode()]))
    if pair.time_ordered:
        cut = len(pair.train)
        pd.testing.assert_frame_equal(pair.test, table.iloc[cut:].reset_index(drop=True))
        np.testing.assert_array_equal(pair.law, law[cut:])
