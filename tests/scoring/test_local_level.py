"""The walk of a level against known truth, and the filter against a second route: the joint normal distribution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from pipeline.scoring.local_level import _filtered, walk


def distances(seed: int, n: int, step: float, error: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The true levels, what is seen of them, and the gaps between."""
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    gap = rng.uniform(0.5, 1.5, n - 1)
    level = np.concatenate([[0.3], 0.3 + np.cumsum(rng.normal(0, step * np.sqrt(gap)))])
    return level, level + rng.normal(0, error, n), gap


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 9), step=st.floats(0, 2), error=st.floats(0.05, 1))
def test_the_filter_is_the_conditional_mean_of_the_joint_normal_distribution(seed, n, step, error):
    """With a first level of which nothing is known, told by the first distance alone: generalised least squares."""
    _, seen, gap = distances(seed, n, step, error)
    variance = np.linspace(error, 2 * error, n) ** 2
    moved = step**2 * gap
    weight, spread, likelihood = _filtered(seen, variance, moved)
    # Distances less the newest level: errors and the moves in between.
    ends = np.concatenate([np.cumsum(moved[::-1])[::-1], [0.0]])
    covariance = np.diag(variance) + np.minimum(ends[:, None], ends[None, :])
    solved = np.linalg.solve(covariance, np.ones(n))
    np.testing.assert_allclose(weight, solved / solved.sum(), atol=1e-9)
    assert spread == pytest.approx(1 / solved.sum(), rel=1e-8)
    # Differences to the first distance do not depend on where the level began.
    moves = np.concatenate([[0.0], np.cumsum(moved)])
    joint = variance[0] + np.minimum(moves[1:, None], moves[None, 1:]) + np.diag(variance[1:])
    assert likelihood == pytest.approx(multivariate_normal.logpdf(seen[1:] - seen[0], cov=joint), rel=1e-8)


def test_a_level_that_stands_still_is_the_mean_weighted_by_precision():
    _, seen, _ = distances(1, 12, 0.0, 0.2)
    variance = np.linspace(0.02, 0.2, 12)
    weight, spread, _ = _filtered(seen, variance, np.zeros(11))
    np.testing.assert_allclose(weight, (1 / variance) / (1 / variance).sum())
    assert spread == pytest.approx(1 / (1 / variance).sum())


def test_evidence_for_a_walk_that_is_none_is_rarely_large():
    """The limit of params.yaml, 2.7, is passed once in twenty times: of 400, by 20, give or take three errors."""
    evidence = [walk(*_measured(seed, 20, 0.0)).evidence for seed in range(400)]
    assert min(evidence) >= 0
    assert 4 <= sum(one > 2.7 for one in evidence) <= 33


def _measured(seed: int, n: int, step: float, error: float = 0.15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    _, seen, gap = distances(seed, n, step, error)
    return seen, np.full(n, error**2), gap


def test_the_newest_level_is_told_with_the_error_that_is_said():
    """Nine of ten lie within 1.645 errors, over 200 walks; a walk that is not found counts like any other."""
    held, found = [], []
    for seed in range(200):
        level, seen, gap = distances(seed, 20, 0.3, 0.15)
        walked = walk(seen, np.full(20, 0.15**2), gap)
        held.append(abs(walked.level - level[-1]) < 1.645 * walked.error)
        found.append(walked.evidence > 2.7)
        assert walked.weight.sum() == pytest.approx(1) and walked.weight.min() >= 0
    assert np.mean(found) > 0.9
    assert 0.83 <= np.mean(held) <= 0.97


def test_a_jump_long_ago_is_followed():
    seen = np.concatenate([np.zeros(12), np.full(8, 1.0)])
    walked = walk(seen, np.full(20, 0.01), np.ones(19))
    assert walked.level == pytest.approx(1.0, abs=0.05) and walked.evidence > 2.7
    assert walked.weight[:12].sum() < 0.05
