"""Exact contributions of boosted trees by table lookup.

What a leaf contributes to each feature depends only on which conditions on its path hold. So each tree is cut into
pieces of at most eight conditions, and for every pattern of a piece's conditions the contributions of all its leaves
are summed in advance. A row then costs one comparison per condition and one lookup per piece and feature.

A condition is said to deviate where the value is present and takes the branch that a missing value does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xgboost as xgb

#: Conditions on the longest path, and in a piece: a pattern is one byte, and every path fits into a piece.
DEPTH, BITS = 6, 8
WEIGHTS = (1 << np.arange(BITS)).astype("uint8")[:, None]

#: Rows scored at once, so that their working arrays stay in the cache; fewer than FEW are scored one by one.
ROWS, FEW = 8192, 96

#: Table values computed at once: a bound on the working memory.
CHUNK = 1 << 20


@dataclass(frozen=True)
class Forest:
    """Boosted trees as arrays, and the exact path-dependent SHAP values of their margin (Lundberg et al. 2020).

    Conditions are numbered tree by tree, and so are leaves; leaf k is written ~k where either may stand. Per condition:
    `children` (left, right) and `share` (part of the training rows that takes either, by hessian), of shape
    (n_conditions, 2), `feature`, `threshold` (float32; below goes left), `missing_left`, and `category`, the row of
    `deviating`, or -1 for a number. `deviating`, shape (n_categorical, n_codes + 1): whether a code deviates; the last
    column is a missing value. `value`, shape (n_leaves,): log-odds. `first`, shape (n_trees + 1,): the first condition
    of each tree. `base`: log-odds before the first tree, plus the trees that are a single leaf.
    """

    n_features: int
    base: float
    first: np.ndarray
    children: np.ndarray
    share: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    category: np.ndarray
    deviating: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, booster: xgb.Booster) -> Forest:
        """Read a booster of trees for a binary outcome.

        Raises:
            ValueError: it is another kind of model, or a tree is deeper than 6.
        """
        learner = json.loads(booster.save_raw("json"))["learner"]
        kind, objective = learner["gradient_booster"]["name"], learner["objective"]["name"]
        if (kind, objective) != ("gbtree", "binary:logistic"):
            raise ValueError(f"Contributions need gbtree with binary:logistic, not {kind} with {objective}.")
        trees = learner["gradient_booster"]["model"]["trees"]

        def column(name: str, dtype: str) -> np.ndarray:
            return np.fromiter(chain.from_iterable(tree[name] for tree in trees), dtype=dtype)

        sizes = [len(tree["left_children"]) for tree in trees]
        start = np.cumsum([0, *sizes])
        left, right = column("left_children", "int64"), column("right_children", "int64")
        inner = left >= 0
        number = np.where(inner, np.cumsum(inner) - 1, ~(np.cumsum(~inner) - 1))
        below = (np.stack([left, right], axis=1) + np.repeat(start[:-1], sizes)[:, None])[inner]
        cover, condition = column("sum_hessian", "float64"), column("split_conditions", "float32")
        missing_left = column("default_left", "bool")[inner]
        category, deviating = _categories(trees, number, start, missing_left)
        value, roots = condition[~inner].astype("float64"), number[start[:-1]]
        forest = cls(
            n_features=int(learner["learner_model_param"]["num_feature"]),
            base=_log_odds(learner["learner_model_param"]["base_score"]) + float(value[~roots[roots < 0]].sum()),
            first=np.concatenate([[0], np.cumsum(inner)])[start],
            children=number[below],
            share=cover[below] / cover[inner, None],
            feature=column("split_indices", "int64")[inner],
            threshold=condition[inner],
            missing_left=missing_left,
            category=category,
            deviating=deviating,
            value=value,
        )
        if (depth := len(forest.levels())) > DEPTH:
            raise ValueError(f"A tree is {depth} conditions deep; contributions are tabulated for at most {DEPTH}.")
        return forest

    def levels(self) -> list[np.ndarray]:
        """Conditions by depth, from the roots down."""
        level, levels = self.first[:-1][np.diff(self.first) > 0], []
        while len(level):
            levels.append(level)
            below = self.children[level].ravel()
            level = below[below >= 0]
        return levels

    def contributions(self, matrix: np.ndarray) -> tuple[float, np.ndarray]:
        """Bias in log-odds and contributions, float64 of shape (n_rows, n_features); bias + row sum = margin.

        A row gets the same bits in any batch: every feature's terms are added up in the order of the lookups.

        Args:
            matrix: float64 of shape (n_rows, n_features); categories as codes, NaN where missing.
        """
        if matrix.shape[1] != self.n_features:
            raise ValueError(f"The trees know {self.n_features} features, the matrix has {matrix.shape[1]}.")
        result = np.empty(matrix.shape)
        for begin in range(0, len(matrix), ROWS):
            # XGBoost compares in single precision.
            block = matrix[begin : begin + ROWS].astype("float32")
            if len(block) < FEW:
                for k, row in enumerate(block):
                    result[begin + k] = self._row(row)
            else:
                result[begin : begin + ROWS] = self._block(np.ascontiguousarray(block.T)).T
        return self.base + self._pieces.paths.mean, result

    @cached_property
    def _pieces(self) -> Pieces:
        return Pieces.of(self)

    @cached_property
    def _table(self) -> np.ndarray:
        return self._pieces.table()

    def _codes(self, values: np.ndarray) -> np.ndarray:
        """Columns of `deviating`: the last for a missing value, the last but one for any code above the listed ones."""
        missing = self.deviating.shape[1] - 1
        return np.where(np.isnan(values), missing, np.minimum(values, missing - 1)).astype("intp")

    def _row(self, row: np.ndarray) -> np.ndarray:
        """Contributions of one row, both of shape (n_features,): one pass over all trees."""
        pieces, values = self._pieces, row[self.feature]
        # The condition after the last one pads the patterns and never deviates.
        deviates = np.zeros(len(values) + 1, dtype=bool)
        deviates[:-1] = np.where(self.missing_left, values >= self.threshold, values < self.threshold)
        on = self._categorical
        deviates[on] = self.deviating[self.category[on], self._codes(values[on])]
        pattern = np.packbits(deviates[pieces.conditions], axis=1, bitorder="little")[:, 0]
        terms = self._table[pieces.start + pattern[pieces.piece]]
        return np.bincount(pieces.feature, weights=terms, minlength=self.n_features)

    @cached_property
    def _categorical(self) -> np.ndarray:
        return np.flatnonzero(self.category >= 0)

    def _block(self, block: np.ndarray) -> np.ndarray:
        """Contributions of many rows, both of shape (n_features, n_rows): one pass over all rows per condition."""
        rows = block.shape[1]
        totals = [np.zeros(rows) for _ in block]
        codes = {feature: self._codes(block[feature]) for feature in set(self.feature[self._categorical].tolist())}
        deviates = np.empty(((1 << DEPTH) - 1, rows), dtype=bool)
        digits = deviates.view("uint8")
        chosen, places, terms = np.empty((BITS, rows), "uint8"), np.empty(rows, "intp"), np.empty((BITS, rows))
        for tests, steps in self._steps:
            for (feature, against, compare), result in zip(tests, deviates, strict=False):
                if compare is None:
                    against.take(codes[feature], out=result, mode="clip")
                else:
                    compare(block[feature], against, out=result)
            for conditions, features, table in steps:
                n = len(conditions)
                digits.take(conditions, axis=0, out=chosen[:n], mode="clip")
                np.multiply(chosen[:n], WEIGHTS[:n], out=chosen[:n])
                places[:] = np.bitwise_or.reduce(chosen[:n], axis=0)
                table.take(places, axis=1, out=terms[: len(features)], mode="clip")
                for feature, term in zip(features, terms, strict=False):
                    totals[feature] += term
        return np.stack(totals)

    @cached_property
    def _steps(self) -> list[tuple[list[tuple[int, Any, Any]], list[tuple[np.ndarray, list[int], np.ndarray]]]]:
        """The work of `_block`, tree by tree: its conditions (feature, row of `deviating` or threshold, comparison),
        and its pieces (conditions of the pattern within the tree, features, table of shape (n_features, 2 ** bits))."""
        pieces = self._pieces
        tests = [
            (int(feature), threshold, np.greater_equal if left else np.less)
            if row < 0
            else (int(feature), self.deviating[row], None)
            for feature, threshold, left, row in zip(
                self.feature, self.threshold, self.missing_left, self.category, strict=True
            )
        ]
        ends = np.searchsorted(pieces.piece, np.arange(len(pieces.bits) + 1))
        # The lowest condition of every piece is the root of its tree.
        of_tree = np.searchsorted(pieces.conditions[:, 0], self.first)
        result = []
        for tree, (begin, end) in enumerate(zip(self.first[:-1], self.first[1:], strict=True)):
            steps = []
            for piece in range(of_tree[tree], of_tree[tree + 1]):
                own, bits = slice(ends[piece], ends[piece + 1]), int(pieces.bits[piece])
                features, start = pieces.feature[own].tolist(), pieces.start[ends[piece]]
                table = self._table[start : start + (len(features) << bits)].reshape(len(features), 1 << bits)
                steps.append((pieces.conditions[piece, :bits] - begin, features, table))
            result.append((tests[begin:end], steps))
        return result


def _log_odds(base_score: str) -> float:
    """XGBoost writes the base as a probability, and computes its log-odds in single precision, away from 0 and 1."""
    one, tiny = np.float32(1), np.float32(1e-6)
    rate = np.ravel(json.loads(base_score)).astype("float32")[0]
    return float(-np.log(one / np.clip(rate, tiny, one - tiny) - one))


def _categories(
    trees: list[dict[str, Any]], number: np.ndarray, start: np.ndarray, missing_left: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`category` and `deviating` of the forest: the listed categories go right, all others left."""
    listed = [
        (number[offset + node], tree["categories"][begin : begin + size])
        for tree, offset in zip(trees, start[:-1], strict=True)
        for node, begin, size in zip(
            tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
        )
    ]
    category = np.full(len(missing_left), -1)
    # One code more than any that is listed stands for all above it.
    right = np.zeros((len(listed), 2 + max((max(codes) for _, codes in listed), default=-1)), dtype=bool)
    for row, (condition, codes) in enumerate(listed):
        category[condition] = row
        right[row, codes] = True
    default = missing_left[np.array([condition for condition, _ in listed], dtype="int64")]
    return category, np.pad(right == default[:, None], ((0, 0), (0, 1)))


@dataclass(frozen=True)
class Paths:
    """The ways from the roots down to the leaves: shape (n_leaves,), or (n_leaves, depth) by place, from the leaf up.

    `value`: log-odds of the leaf. `piece`: where it is counted. `bit`: the condition's place in the piece's pattern.
    `deviates`: whether the path deviates there. All conditions on one feature hold or fail as one player, which sits at
    the first place with this feature: `fails` is the bit of the player that fails with the condition, 0 where the path
    is over. `share`, by player: the part of the training rows that meets its conditions; 1 at places without a player,
    which so change nothing. `lookup`, by player: where its contributions go; -1 without one.
    """

    value: np.ndarray
    piece: np.ndarray
    bit: np.ndarray
    deviates: np.ndarray
    fails: np.ndarray
    share: np.ndarray
    lookup: np.ndarray

    @cached_property
    def mean(self) -> float:
        """Mean log-odds over the training rows, as the hessians weigh them."""
        return float((self.value * self.share.prod(axis=1)).sum())

    def contributions(self, leaves: np.ndarray) -> np.ndarray:
        """Shapley values of the leaves by player and by set of failing players: (depth, len(leaves), 2 ** depth).

        A leaf is worth its value times the share of every player outside the coalition, or nothing when one inside
        fails. A coalition of s out of d players weighs s! (d - 1 - s)! / d!, the integral of t^s (1 - t)^(d - 1 - s)
        over (0, 1). So the sum over coalitions is the integral of a product over the other players, a polynomial in t
        of degree d - 1, and Gauss-Legendre quadrature with at least d / 2 points is exact.
        """
        depth = self.share.shape[1]
        share = self.share[leaves].T[:, :, None]
        holds = 1 & ~(np.arange(1 << depth) >> np.arange(depth)[:, None, None])
        points, weights = np.polynomial.legendre.leggauss((depth + 1) // 2)
        total = np.zeros((depth, len(leaves), 1 << depth))
        for point, weight in zip((1 + points) / 2, weights / 2, strict=True):
            factor = point * holds + (1 - point) * share
            # The product over all players but one: those before it times those after it.
            after = np.full(factor.shape, weight)
            for player in range(depth - 1, 0, -1):
                np.multiply(after[player], factor[player], out=after[player - 1])
            before = np.ones(factor.shape[1:])
            for player in range(depth):
                total[player] += before * after[player]
                before *= factor[player]
        return total * (holds - share) * self.value[leaves, None]

    def failing(self, leaves: np.ndarray, bits: int) -> np.ndarray:
        """The set of failing players by leaf and pattern: uint8 of shape (len(leaves), 2 ** bits)."""
        patterns = np.arange(1 << bits, dtype="uint8")
        result = np.zeros((len(leaves), 1 << bits), dtype="uint8")
        for bit, deviates, fails in zip(self.bit.T, self.deviates.T, self.fails.T, strict=True):
            wrong = (patterns >> bit[leaves, None] & 1) ^ deviates[leaves, None]
            result |= wrong * fails[leaves, None]
        return result


@dataclass(frozen=True)
class Pieces:
    """Trees cut into pieces: the conditions below a node, and those above it.

    `conditions`, shape (n_pieces, BITS): the condition behind each bit of the pattern, then n_conditions as padding;
    `bits`, shape (n_pieces,): how many there are. One lookup per piece and feature, in this order, shape (n_lookups,):
    `piece`, `feature`, and `start` of its 2 ** bits values in the table.
    """

    paths: Paths
    conditions: np.ndarray
    bits: np.ndarray
    piece: np.ndarray
    feature: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, forest: Forest) -> Pieces:
        """Cut a forest into the largest pieces of at most BITS conditions."""
        n, n_leaves, levels = len(forest.feature), len(forest.value), forest.levels()
        # Arrays of conditions and leaves: index ~k, leaf k, counts from the end.
        parent, side, home = np.full((3, n + n_leaves), -1)
        size = np.zeros(n + n_leaves, dtype="int64")
        for level in reversed(levels):
            below = forest.children[level]
            parent[below], side[below] = level[:, None], (0, 1)
            size[level] = 1 + size[below].sum(axis=1)
        for depth, level in enumerate(levels):
            top = (home[level] < 0) & (depth + size[level] <= BITS)
            home[level[top]] = level[top]
            home[forest.children[level]] = home[level, None]
        # A leaf above all pieces is counted in one next to it, which has all of the leaf's conditions above it.
        near = home.copy()
        for level in reversed(levels):
            near[level] = near[forest.children[level]].max(axis=1)
        leaves = -1 - np.arange(n_leaves)
        leaves = leaves[parent[leaves] >= 0]
        tops, piece = np.unique(np.where(home[leaves] < 0, near[parent[leaves]], home[leaves]), return_inverse=True)

        path, taken = np.full((2, len(leaves), len(levels)), -1)
        here, below_root = leaves, np.ones(len(leaves), dtype=bool)
        for k in range(len(levels)):
            taken[:, k] = np.where(below_root, side[here], -1)
            here = path[:, k] = np.where(below_root, parent[here], -1)
            below_root = here >= 0
        used, places = path >= 0, np.arange(len(levels))
        key = piece[:, None] * (n + 1) + path
        distinct = np.unique(key[used])
        begin = np.searchsorted(distinct, np.arange(len(tops) + 1) * (n + 1))
        conditions = np.full((len(tops), BITS), n)
        of_piece = distinct // (n + 1)
        conditions[of_piece, np.arange(len(distinct)) - begin[of_piece]] = distinct % (n + 1)
        bits = np.diff(begin)

        feature = np.where(used, forest.feature[path], -1 - places)
        player = (feature[:, :, None] == feature[:, None, :]).argmax(axis=2) if len(levels) else path
        ratio = np.where(used, forest.share[path, taken], 1.0)
        share = np.ones(path.shape)
        for k in range(len(levels)):
            share[:, k] = np.where(player == k, ratio, 1.0).prod(axis=1)
        first = used & (player == places)
        names = piece[:, None] * forest.n_features + feature
        lookups = np.unique(names[first])
        length = 1 << bits[lookups // forest.n_features]
        paths = Paths(
            value=forest.value[~leaves],
            piece=piece,
            bit=np.where(used, np.searchsorted(distinct, key) - begin[piece, None], 0).astype("uint8"),
            deviates=(taken == forest.missing_left[path]).astype("uint8"),
            fails=np.where(used, 1 << player, 0).astype("uint8"),
            share=share,
            lookup=np.where(first, np.searchsorted(lookups, names), -1),
        )
        return cls(
            paths=paths,
            conditions=conditions,
            bits=bits,
            piece=lookups // forest.n_features,
            feature=lookups % forest.n_features,
            start=np.cumsum(length) - length,
        )

    def table(self) -> np.ndarray:
        """The contributions in log-odds, 2 ** bits per lookup, one lookup after the other."""
        paths = self.paths
        leaf, player = np.nonzero(paths.lookup >= 0)
        order = np.argsort(paths.lookup[leaf, player], kind="stable")
        leaf, player = leaf[order], player[order]
        result = np.empty(int((1 << self.bits[self.piece]).sum()))
        for bits in np.unique(self.bits).tolist():
            group = np.flatnonzero(self.bits == bits)
            volume = int((self.bits[paths.piece[leaf]] == bits).sum()) << bits
            for some in np.array_split(group, min(len(group), 1 + volume // CHUNK)):
                inside = np.zeros(len(self.bits), dtype=bool)
                inside[some] = True
                leaves, entry = np.flatnonzero(inside[paths.piece]), inside[paths.piece[leaf]]
                values, failing = paths.contributions(leaves), paths.failing(leaves, bits)
                own = np.searchsorted(leaves, leaf[entry])
                row = player[entry] * len(leaves) + own
                # Lookups by falling number of leaves: those with a further leaf always come first.
                lookups, begin, count = np.unique(
                    paths.lookup[leaf[entry], player[entry]], return_index=True, return_counts=True
                )
                most = np.argsort(-count, kind="stable")
                lookups, begin, count = lookups[most], begin[most], count[most]
                sums = np.zeros((len(lookups), 1 << bits))
                for k in range(count.max()):
                    further = begin[: (count > k).sum()] + k
                    places = (row[further] * values.shape[2])[:, None] + failing[own[further]]
                    sums[: len(further)] += values.ravel().take(places)
                result[self.start[lookups, None] + np.arange(1 << bits)] = sums
        return result
