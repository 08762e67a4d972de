"""How much faster are contributions by table than XGBoost's own, on one core?

    python -m benchmarks.contributions --trees 100 --rows 1000 10000

For every depth both score the same rows in turn, several times over; what counts is the ratio of the fastest passes, in
processor time. Beside it: the time to read the booster and tabulate it, the size of the tables, the time for a single
row, and the largest difference between both, which is that of single precision.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import xgboost as xgb

from pipeline.scorer.trees import Forest

TYPES = ["c"] * 4 + ["q"] * 16


def draw(rows: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Four categories of twelve levels, four counts and twelve numbers, 8 % missing; and an outcome."""
    matrix = generator.normal(size=(rows, len(TYPES)))
    matrix[:, :4] = generator.integers(0, 12, (rows, 4))
    matrix[:, 4:8] = generator.poisson(2, (rows, 4))
    known = matrix.copy()
    matrix[generator.random(matrix.shape) < 0.08] = np.nan
    log_odds = np.sin(2 * known) @ generator.normal(size=len(TYPES)) + known[:, 5] * known[:, 9]
    log_odds += 2 * np.isin(known[:, 0], [1, 4, 7])
    return matrix, (generator.random(rows) < 1 / (1 + np.exp(-log_odds))).astype("float64")


def data(matrix: np.ndarray, label: np.ndarray | None = None) -> xgb.DMatrix:
    return xgb.DMatrix(matrix, label, feature_types=TYPES, enable_categorical=True, nthread=1)


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Processor seconds, and what came out."""
    begin = time.process_time()
    result = work(*arguments)
    return time.process_time() - begin, result


def tabulated(booster: xgb.Booster, row: np.ndarray) -> Forest:
    """Read and tabulated, which the first row asks for."""
    forest = Forest.of(booster)
    forest.contributions(row)
    return forest


def by_xgboost(booster: xgb.Booster, matrix: np.ndarray) -> np.ndarray:
    return booster.predict(data(matrix), pred_contribs=True)[:, :-1]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--trees", type=int, default=100)
    arguments.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000])
    arguments.add_argument("--depths", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    arguments.add_argument("--passes", type=int, default=3)
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    matrix, label = draw(max(20_000, *asked.rows), np.random.default_rng(asked.seed))
    print("depth   rows  xgboost us/row  tables us/row  ratio  single row ms  load ms  tables MB  difference")
    for depth in asked.depths:
        settings = {"objective": "binary:logistic", "tree_method": "hist", "eta": 0.1, "nthread": 1}
        booster = xgb.train(settings | {"max_depth": depth}, data(matrix[:20_000], label[:20_000]), asked.trees)
        for rows in asked.rows:
            some = matrix[:rows]
            load, forest = timed(tabulated, booster, matrix[:1])
            forest.contributions(some)
            theirs = ours = np.inf
            for _ in range(asked.passes):
                passed, exact = timed(by_xgboost, booster, some)
                theirs = min(theirs, passed)
                passed, (_, parts) = timed(forest.contributions, some)
                ours = min(ours, passed)
            single = np.median([timed(forest.contributions, row[None])[0] for row in some[:100]])
            apart = np.abs(parts - exact).max()
            print(
                f"{depth:5} {rows:6} {theirs / rows * 1e6:15.1f} {ours / rows * 1e6:14.2f} {theirs / ours:6.1f}"
                f" {single * 1e3:14.2f} {load * 1e3:8.0f} {forest._table.nbytes / 1e6:10.1f} {apart:11.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
