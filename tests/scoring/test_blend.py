"""The blend: weights on the simplex, families by what they are worth, limits kept, a known best mixture found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.params import load
from pipeline.scorer.calibration import sigmoid
from pipeline.scoring import blend
from pipeline.scoring.fit import ranking_loss

BLEND = load(Path(__file__).parents[2] / "params.yaml").tune.blend


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed]))


def world(seed: int = 1, folds: int = 4, n: int = 1500) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Labels of each fold, and two parts of the margin: the law is their sum."""
    draw = rng(seed)
    first, second = (list(part) for part in draw.normal(size=(2, folds, n)))
    labels = [(draw.random(n) < sigmoid(-1 + a + b)).astype("float64") for a, b in zip(first, second, strict=True)]
    return labels, first, second


def mix(first, second, *weights):
    return [weights[0] * a + weights[1] * b for a, b in zip(first, second, strict=True)]


def weigh(labels, stacks, families, costs=None, *, timed=True, **changed):
    costs = [1.0] * len(stacks) if costs is None else costs
    params = BLEND.model_copy(update=changed)
    return blend.weigh(labels, stacks, families, costs, own(labels), params, timed=timed, seed=1)


def own(labels: list[np.ndarray]) -> list[np.ndarray]:
    """Every row a lead of its own."""
    places = np.arange(sum(map(len, labels)))
    return np.split(places, np.cumsum([len(label) for label in labels])[:-1])


def by_family(labels, stacks, families, leads=None):
    return blend.by_family(labels, stacks, families, own(labels) if leads is None else leads, BLEND)


def mean_loss(labels, margins) -> float:
    return float(np.mean([ranking_loss(label, margin) for label, margin in zip(labels, margins, strict=True)]))


# By family


def test_families_that_are_equal_share_equally_whatever_their_number_of_trials():
    labels, first, second = world()
    law = mix(first, second, 1, 1)
    weights = weigh(labels, [law, law, law, law], ["scorecard", "xgboost", "xgboost", "xgboost"])
    assert weights == pytest.approx([1 / 2, 1 / 4, 1 / 4, 0])


def test_a_clearly_worse_family_gets_nearly_nothing():
    labels, first, second = world()
    law, half = mix(first, second, 1, 1), mix(first, second, 1, 0)
    assert by_family(labels, [law, half], ["a", "b"])[1] < 0.001
    assert weigh(labels, [law, half], ["a", "b"]).tolist() == [1.0, 0.0]


def test_a_family_loses_weight_as_a_normal_density_of_its_distance():
    """The distance is counted in standard errors, of leads and of folds together, and by hand here."""
    labels, first, second = world()
    law, other = mix(first, second, 1, 1), mix(first, second, 1, 0.8)
    weights = by_family(labels, [law, other], ["a", "b"])
    losses = np.array([[ranking_loss(*pair) for pair in zip(labels, stack, strict=True)] for stack in (law, other)])
    gaps = losses[1] - losses[0]
    rows = blend._row_losses(labels, other) - blend._row_losses(labels, law)
    error = np.hypot(gaps.std(ddof=1) / np.sqrt(4), rows.std() / np.sqrt(len(rows)))
    assert weights[1] / weights[0] == pytest.approx(np.exp(-0.5 * (gaps.mean() / (BLEND.patience * error)) ** 2))
    assert 0.01 < weights[1] < 0.5


def test_looks_at_one_lead_are_one_piece_of_evidence():
    """Rows that stand there four times tell families apart no better where they are said to be of one lead."""
    labels, first, second = world(n=400)
    stacks = [mix(first, second, 1, 1), mix(first, second, 1, 0.8)]
    again = [[np.tile(part, 4) for part in folds] for folds in (labels, *stacks)]
    once = by_family(labels, stacks, ["a", "b"])
    as_leads = by_family(again[0], again[1:], ["a", "b"], [np.tile(part, 4) for part in own(labels)])
    assert as_leads == pytest.approx(once)
    assert by_family(again[0], again[1:], ["a", "b"])[1] < once[1]


def test_the_heaviest_trial_stays_where_all_are_light():
    labels, first, second = world()
    law = mix(first, second, 1, 1)
    weights = weigh(labels, [law, law, law], ["a", "b", "c"], least_weight=0.5)
    assert weights == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_of_a_family_only_the_near_best_trials_count_and_not_too_many():
    labels, first, second = world()
    law, far = mix(first, second, 1, 1), mix(first, second, 1, 0.2)
    weights = weigh(labels, [far, *[law] * 4], ["a"] * 5, near_most=3)
    assert weights == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0])


def test_one_trial_has_all():
    labels, first, _ = world()
    for timed in (True, False):
        assert weigh(labels, [first], ["a"], timed=timed).tolist() == [1.0]


# The mixture itself


def test_resamples_find_a_known_best_mixture():
    """The law is a sum of two margins with equal parts; a third is noise. The weights add up to one, so the margins
    are given twice as large as in the law."""
    labels, first, second = world(n=4000)
    noise = list(rng(9).normal(size=(4, 4000)))
    twice = mix(first, second, 2, 0), mix(first, second, 0, 2), noise
    weights = blend.resampled(labels, twice, 4, seed=1)
    # The error of a slope on 16,000 rows is about 0.02, in weights half of that; three of them.
    assert weights == pytest.approx([0.5, 0.5, 0.0], abs=0.04)


def test_resampled_weights_follow_from_the_seed():
    labels, first, second = world()
    stacks = [first, second]
    assert (blend.resampled(labels, stacks, 3, 1) == blend.resampled(labels, stacks, 3, 1)).all()
    assert (blend.resampled(labels, stacks, 3, 1) != blend.resampled(labels, stacks, 3, 2)).any()


def test_the_lightest_mixture_is_that_of_a_search_over_a_grid():
    """Two routes to the minimum of the same loss."""
    labels, first, second = world(folds=2, n=400)
    columns = [np.column_stack(pair) for pair in zip(mix(first, second, 2, 0), mix(first, second, 0, 2), strict=True)]
    counts = [np.ones(400)] * 2
    found = blend._lightest(labels, columns, counts)

    def loss(weight: float) -> float:
        return mean_loss(labels, [column @ [weight, 1 - weight] for column in columns])

    grid = np.linspace(0, 1, 201)
    assert found[0] == pytest.approx(grid[np.argmin([loss(weight) for weight in grid])], abs=0.006)


def test_without_a_time_axis_half_of_the_weight_is_that_of_the_mixture():
    labels, first, second = world()
    stacks = [mix(first, second, 2, 0), mix(first, second, 0, 2)]
    half = (by_family(labels, stacks, ["a", "b"]) + blend.resampled(labels, stacks, BLEND.resamples, 1)) / 2
    assert weigh(labels, stacks, ["a", "b"], timed=False) == pytest.approx(half)
    assert weigh(labels, stacks, ["a", "b"]) == pytest.approx(by_family(labels, stacks, ["a", "b"]))


# Limits


def test_what_is_too_dear_goes_least_useful_per_cost_first():
    labels, first, second = world()
    law = mix(first, second, 1, 1)
    stacks, families = [law] * 3, ["a", "b", "c"]
    assert weigh(labels, stacks, families, [300, 90, 10], cost_us=400) == pytest.approx([1 / 3] * 3)
    assert weigh(labels, stacks, families, [301, 90, 10], cost_us=400) == pytest.approx([0, 1 / 2, 1 / 2])
    assert weigh(labels, stacks, families, [301, 90, 10], cost_us=50).tolist() == [0, 0, 1]


def test_the_last_one_stays_whatever_it_costs():
    labels, first, second = world()
    assert weigh(labels, [mix(first, second, 1, 1)], ["a"], [1e6]).tolist() == [1.0]


def test_with_too_many_members_the_lightest_go_and_the_others_are_rescaled():
    labels, first, second = world()
    law = mix(first, second, 1, 1)
    found = weigh(labels, [law] * 5, ["a", "a", "a", "b", "c"], members=2)
    assert found == pytest.approx([0, 0, 0, 1 / 2, 1 / 2])


def test_a_light_trial_is_left_out():
    labels, first, second = world()
    stacks = [mix(first, second, 1, 1), mix(first, second, 1, 0.8)]
    light = by_family(labels, stacks, ["a", "b"])[1]
    assert weigh(labels, stacks, ["a", "b"], least_weight=light * 1.01).tolist() == [1.0, 0.0]
    assert weigh(labels, stacks, ["a", "b"], least_weight=light * 0.99)[1] == pytest.approx(light)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(1, 300)), min_size=1, max_size=8),
    st.booleans(),
    st.integers(1, 4),
    st.floats(20, 500),
)
def test_weights_lie_on_the_simplex_and_within_every_limit(seed, trials, timed, members, cost_us):
    labels, first, second = world(seed, folds=2, n=120)
    draw = rng(seed)
    stacks = [mix(first, second, *draw.uniform(0, 1.5, 2)) for _ in trials]
    families, costs = [family for family, _ in trials], np.array([cost for _, cost in trials])
    weights = weigh(labels, stacks, families, costs, timed=timed, members=members, cost_us=cost_us, resamples=2)
    used = weights > 0
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
    assert weights[used].min() >= BLEND.least_weight
    assert used.sum() <= members
    assert used.sum() == 1 or costs[used].sum() <= cost_us
