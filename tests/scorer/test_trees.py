"""Contributions by table are the Shapley values of the trees: by hand, by definition, and as XGBoost computes them."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from pipeline.scorer import trees
from pipeline.scorer.trees import Forest

N = 1200
LEVELS = (2, 7, 50)
NUMBERS = ["q"] * 5
MIXED = ["c"] * len(LEVELS) + ["q"] * 3


def rows(types: list[str], n: int = N, seed: int = 3) -> np.ndarray:
    """Random rows with counts, repeated values and 15 % missing; categories as codes, shape (n, len(types))."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(n, len(types)))
    matrix[:, -1] = generator.poisson(2, n)
    for k, kind in enumerate(types):
        if kind == "c":
            matrix[:, k] = generator.integers(0, LEVELS[k], n)
    matrix[generator.random(matrix.shape) < 0.15] = np.nan
    return matrix


def outcome(matrix: np.ndarray, seed: int = 4) -> np.ndarray:
    """An outcome with interactions, so that deep trees find something."""
    known = np.nan_to_num(matrix, nan=0.7)
    log_odds = np.sin(3 * known[:, 0]) + known[:, 1] * known[:, -2] + 0.5 * (known[:, 2] % 3 == 1) * known[:, -1] - 1
    chance = 1 / (1 + np.exp(-np.clip(log_odds, -30, 30)))
    return (np.random.default_rng(seed).random(len(matrix)) < chance).astype("float64")


def data(matrix: np.ndarray, types: list[str], label: np.ndarray | None = None) -> xgb.DMatrix:
    return xgb.DMatrix(matrix, label, feature_types=types, enable_categorical=True, nthread=1)


def boosted(matrix: np.ndarray, types: list[str], rounds: int = 12, **settings: Any) -> xgb.Booster:
    chosen = {"objective": "binary:logistic", "tree_method": "hist", "eta": 0.4, "nthread": 1} | settings
    return xgb.train(chosen, data(matrix, types, outcome(matrix)), rounds)


def assert_as_xgboost(booster: xgb.Booster, matrix: np.ndarray, types: list[str]) -> None:
    """Both the contributions and the margin, to what single precision leaves of the largest of them."""
    bias, parts = Forest.of(booster).contributions(matrix)
    theirs = booster.predict(data(matrix, types), pred_contribs=True).astype("float64")
    margin = booster.predict(data(matrix, types), output_margin=True).astype("float64")
    near = 1e-5 * max(1.0, np.abs(theirs).max())
    np.testing.assert_allclose(parts, theirs[:, :-1], rtol=0, atol=near)
    np.testing.assert_allclose(bias, theirs[:, -1], rtol=0, atol=near)
    np.testing.assert_allclose(bias + parts.sum(axis=1), margin, rtol=0, atol=near)


def tree(features: list[int], thresholds: list[float], children: list[list[int]], value: list[float]) -> Forest:
    """One tree over two numbers, half of the training rows on either side, a missing value to the left."""
    n = len(features)
    return Forest(
        n_features=2,
        base=0.0,
        first=np.array([0, n]),
        children=np.array(children),
        share=np.full((n, 2), 0.5),
        feature=np.array(features),
        threshold=np.array(thresholds, dtype="float32"),
        missing_left=np.ones(n, dtype=bool),
        category=np.full(n, -1),
        deviating=np.zeros((0, 2), dtype=bool),
        value=np.array(value),
    )


# By hand


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # Worth of the coalitions {}, {0}, {1}, both: 3, 4, 5, 8. Feature 0 adds 1 first or 3 last, feature 1 2 or 4.
        ([0.0, 2.0], [2.0, 3.0]),
        # 3, 4, 1, 0: feature 0 adds 1 or -1, feature 1 adds -2 or -4.
        ([0.0, 0.0], [0.0, -3.0]),
        # 3, 2, 5, 2: feature 1 earns, although this row's path never asks for it.
        ([2.0, 2.0], [-2.0, 1.0]),
        # A missing value takes the left branch: as the second row.
        ([np.nan, np.nan], [0.0, -3.0]),
        # A threshold belongs to the right branch: as the third row.
        ([1.0, 1.0], [-2.0, 1.0]),
    ],
)
def test_a_small_tree_by_hand(row, expected):
    """x0 < 1 ? (x1 < 1 ? 0 : 8) : 2, on average (0 + 8) / 4 + 2 / 2 = 3."""
    bias, parts = tree([0, 1], [1, 1], [[1, ~2], [~0, ~1]], [0.0, 8.0, 2.0]).contributions(np.array([row]))
    assert bias == pytest.approx(3.0, abs=1e-15)
    np.testing.assert_allclose(parts, [expected], rtol=0, atol=1e-15)


@pytest.mark.parametrize(("value", "expected"), [(0.0, 3.0), (1.5, -1.0), (5.0, -1.0)])
def test_a_feature_that_occurs_twice_on_a_path_is_one_player(value, expected):
    """x0 < 2 ? (x0 < 1 ? 4 : 0) : 0, on average 1: the only player earns all the difference."""
    bias, parts = tree([0, 0], [2, 1], [[1, ~2], [~0, ~1]], [4.0, 0.0, 0.0]).contributions(np.array([[value, 9.0]]))
    assert bias == pytest.approx(1.0, abs=1e-15)
    np.testing.assert_allclose(parts, [[expected, 0.0]], rtol=0, atol=1e-15)


# By definition


def worth(forest: Forest, row: np.ndarray, known: tuple[int, ...]) -> float:
    """Margin expected when only the features in `known` are told; the others take each branch as often as in
    training."""

    def below(node: int) -> float:
        if node < 0:
            return float(forest.value[~node])
        feature, value = forest.feature[node], np.float32(row[forest.feature[node]])
        left, right = (below(child) for child in forest.children[node])
        if feature not in known:
            return float(forest.share[node] @ [left, right])
        if np.isnan(value):
            deviates = False
        elif forest.category[node] < 0:
            deviates = (value < forest.threshold[node]) != forest.missing_left[node]
        else:
            codes = forest.deviating[forest.category[node], :-1]
            deviates = bool(codes[min(int(value), len(codes) - 1)])
        return left if deviates != forest.missing_left[node] else right

    return forest.base + sum(below(root) for root in forest.first[:-1])


@pytest.mark.parametrize("types", [NUMBERS, MIXED], ids=["numbers", "mixed"])
def test_contributions_are_the_shapley_values_of_the_definition(types):
    matrix = rows(types)
    forest = Forest.of(boosted(matrix, types, rounds=3, max_depth=6))
    few, n = matrix[:8], len(types)
    bias, parts = forest.contributions(few)
    for row, part in zip(few, parts, strict=True):
        table = {known: worth(forest, row, known) for size in range(n + 1) for known in combinations(range(n), size)}
        expected = np.zeros(n)
        for known, value in table.items():
            for k in set(range(n)) - set(known):
                weight = factorial(len(known)) * factorial(n - 1 - len(known)) / factorial(n)
                expected[k] += weight * (table[tuple(sorted((*known, k)))] - value)
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-12)
        # Sums of hessians are rounded to single precision, so that the shares add up to 1 to seven digits only.
        assert bias == pytest.approx(table[()], abs=1e-12)
        assert bias + part.sum() == pytest.approx(table[tuple(range(n))], abs=1e-12)


# As XGBoost


@pytest.mark.parametrize("depth", range(1, 7))
@pytest.mark.parametrize(
    ("types", "onehot"), [(NUMBERS, 4), (MIXED, 100), (MIXED, 1)], ids=["numbers", "one-hot", "partitions"]
)
def test_equal_to_xgboost(depth, types, onehot):
    matrix = rows(types, seed=depth)
    booster = boosted(matrix, types, max_depth=depth, max_cat_to_onehot=onehot)
    assert len(Forest.of(booster).levels()) == depth
    assert_as_xgboost(booster, matrix, types)
    assert_as_xgboost(booster, rows(types, n=300, seed=99), types)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_depth": 6, "grow_policy": "lossguide", "max_leaves": 12, "min_child_weight": 0.0},  # lopsided trees
        {"max_depth": 6, "tree_method": "exact", "gamma": 3.0},  # pruned nodes stay in the file
        {"max_depth": 3, "num_parallel_tree": 4, "subsample": 0.5},
        {"max_depth": 4, "base_score": 0.05, "reg_alpha": 0.5},
    ],
    ids=["lopsided", "pruned", "parallel", "shifted"],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_equal_to_xgboost_for_other_settings(settings, seed):
    matrix = rows(NUMBERS, seed=seed)
    assert_as_xgboost(boosted(matrix, NUMBERS, seed=seed, **settings), matrix, NUMBERS)


def test_leaves_above_all_pieces_are_counted():
    """On one side of the root all outcomes are equal, which makes a leaf; the other side is too large for a piece."""
    matrix = rows(NUMBERS)
    label = outcome(matrix)
    matrix[:, 3] = np.arange(N) % 2
    label[matrix[:, 3] == 0] = 0.0
    settings = {"objective": "binary:logistic", "max_depth": 6, "min_child_weight": 0.0, "nthread": 1}
    booster = xgb.train(settings, data(matrix, NUMBERS, label), 10)
    forest = Forest.of(booster)
    roots = forest.first[:-1]
    lonely = (forest.children[roots] < 0).any(axis=1) & (np.diff(forest.first) > trees.BITS)
    assert lonely.any()
    assert_as_xgboost(booster, matrix, NUMBERS)


@pytest.mark.parametrize("depth", [2, 5])
def test_values_next_to_a_threshold_are_compared_in_single_precision(depth):
    matrix = rows(NUMBERS)
    booster = boosted(matrix, NUMBERS, max_depth=depth)
    forest = Forest.of(booster)
    exact = forest.threshold.astype("float64")
    edge = np.concatenate([exact, exact * (1 + 1e-9), exact * (1 - 1e-9), np.nextafter(forest.threshold, np.inf)])
    assert_as_xgboost(booster, np.repeat(edge[:, None], len(NUMBERS), axis=1), NUMBERS)


def test_a_level_that_no_tree_lists():
    """Training had no row with it, yet the encoder knows it: it goes left everywhere, as with XGBoost."""
    matrix = rows(MIXED)
    booster = boosted(matrix, MIXED, max_depth=3, max_cat_to_onehot=1)
    matrix[:, 0], matrix[:, 1] = LEVELS[0], 3 * LEVELS[2]
    assert_as_xgboost(booster, matrix[:200], MIXED)


def test_columns_that_are_all_missing():
    matrix = rows(MIXED)
    matrix[:, [1, 4]] = np.nan
    assert_as_xgboost(boosted(matrix, MIXED, max_depth=4), matrix, MIXED)
    booster = boosted(rows(MIXED), MIXED, max_depth=4)
    assert_as_xgboost(booster, np.full((200, len(MIXED)), np.nan), MIXED)


def test_a_feature_without_a_split_contributes_nothing():
    matrix = rows(NUMBERS)
    matrix[:, 2] = 1.0
    assert (Forest.of(boosted(matrix, NUMBERS, max_depth=4)).contributions(matrix)[1][:, 2] == 0).all()


# The same bits on every route


@pytest.mark.parametrize("depth", [3, 6])
def test_a_row_has_the_same_contributions_alone_and_in_any_batch(depth):
    matrix = rows(MIXED)
    booster = boosted(matrix, MIXED, max_depth=depth, rounds=30)
    forest = Forest.of(booster)
    bias, batch = forest.contributions(matrix)
    for k in range(40):
        alone_bias, alone = (
            Forest.of(booster).contributions(matrix[[k]]) if k < 3 else forest.contributions(matrix[[k]])
        )
        assert alone_bias == bias
        np.testing.assert_array_equal(alone, batch[[k]])
    order = np.random.default_rng(1).permutation(len(matrix))
    np.testing.assert_array_equal(forest.contributions(matrix[order])[1], batch[order])
    np.testing.assert_array_equal(forest.contributions(np.asfortranarray(matrix))[1], batch)


@pytest.mark.parametrize("n", [trees.FEW - 1, trees.FEW, trees.ROWS, trees.ROWS + 1, trees.ROWS + trees.FEW])
def test_blocks_do_not_show(n):
    matrix = rows(NUMBERS)
    forest = Forest.of(boosted(matrix, NUMBERS, max_depth=3))
    many = np.resize(matrix, (n, len(NUMBERS)))
    batch = forest.contributions(matrix)[1]
    np.testing.assert_array_equal(forest.contributions(many)[1], np.resize(batch, many.shape))


def test_the_matrix_is_left_as_it_was():
    matrix = rows(MIXED)
    before = matrix.copy()
    Forest.of(boosted(matrix, MIXED, max_depth=3)).contributions(matrix)
    np.testing.assert_array_equal(matrix, before)


def test_the_size_of_working_memory_does_not_show(monkeypatch):
    booster = boosted(rows(MIXED), MIXED, max_depth=6)
    whole = Forest.of(booster)._table
    monkeypatch.setattr(trees, "CHUNK", 1000)
    np.testing.assert_array_equal(Forest.of(booster)._table, whole)


# The edges


def test_no_rows():
    matrix = rows(MIXED)
    bias, parts = Forest.of(boosted(matrix, MIXED, max_depth=3)).contributions(matrix[:0])
    assert parts.shape == (0, len(MIXED))
    assert np.isfinite(bias)


@pytest.mark.parametrize("n", [1, 500])
def test_no_trees(n):
    matrix = rows(NUMBERS, n=n)
    bias, parts = Forest.of(boosted(matrix, NUMBERS, rounds=0, base_score=0.25)).contributions(matrix)
    assert bias == pytest.approx(np.log(0.25 / 0.75), abs=1e-7)
    np.testing.assert_array_equal(parts, np.zeros((n, len(NUMBERS))))


@pytest.mark.parametrize("n", [1, 500])
def test_trees_that_are_a_single_leaf(n):
    matrix = rows(NUMBERS)
    booster = boosted(matrix, NUMBERS, rounds=3, gamma=1e9, base_score=0.9)
    assert len(Forest.of(booster).feature) == 0
    assert_as_xgboost(booster, matrix[:n], NUMBERS)


def test_single_leaves_among_trees():
    matrix = rows(NUMBERS)
    booster = boosted(matrix, NUMBERS, rounds=40, max_depth=3, gamma=4.0)
    sizes = np.diff(Forest.of(booster).first)
    assert (sizes == 0).any()
    assert (sizes > 0).any()
    assert_as_xgboost(booster, matrix, NUMBERS)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_outcome_only(label):
    """The base is then a probability of 0 or 1, which XGBoost moves away from the edge."""
    matrix = rows(NUMBERS, n=200)
    booster = xgb.train({"objective": "binary:logistic"}, data(matrix, NUMBERS, np.full(200, label)), 2)
    assert_as_xgboost(booster, matrix, NUMBERS)


def test_trees_deeper_than_six_are_refused():
    booster = boosted(rows(NUMBERS), NUMBERS, max_depth=7, min_child_weight=0.0)
    with pytest.raises(ValueError, match="7 conditions deep"):
        Forest.of(booster)


@pytest.mark.parametrize("settings", [{"booster": "dart"}, {"objective": "reg:squarederror"}, {"booster": "gblinear"}])
def test_other_models_are_refused(settings):
    matrix = rows(NUMBERS, n=200)
    chosen = {"objective": "binary:logistic"} | settings
    booster = xgb.train(chosen, data(matrix, NUMBERS, outcome(matrix)), 2)
    with pytest.raises(ValueError, match="need gbtree with binary:logistic"):
        Forest.of(booster)


def test_a_matrix_of_other_features_is_refused():
    forest = Forest.of(boosted(rows(NUMBERS), NUMBERS, max_depth=2))
    with pytest.raises(ValueError, match="know 5 features, the matrix has 4"):
        forest.contributions(rows(NUMBERS)[:, :4])
