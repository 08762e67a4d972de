"""Reasons: points per criterion that add up to the displayed score, to the displayed decimal.

The score is a monotone function f of the margin, and the margin a sum. Along the straight path from the base to the
lead each term's share of f is its contribution times the mean slope of f on that path (Aumann and Shapley 1974; for
one function of one sum the mean slope is (f(margin) - f(base)) / (margin - base)). Rounding to tenths keeps the sum
by largest remainder.
"""

from __future__ import annotations

import json

import numpy as np

from .calibration import Calibration, tenths

LEVEL = "Current level"


def points(contributions: np.ndarray, base: float, calibration: Calibration) -> tuple[int, np.ndarray]:
    """Points in tenths.

    Args:
        contributions: log-odds per row and criterion, shape (n_rows, n_criteria); margin = base + their sum.
        base: margin at which the path starts.
        calibration: from margin to chance.

    Returns:
        The base score in tenths, and int64 points of shape (n_rows, n_criteria): base + points = `tenths` of the row's
        probability, exactly.

    Example: base 20.0, score 52.8, contributions 1.0 and 0.5 log-odds give 21.9 and 10.9 points: 32.8 in the ratio
    2 to 1, the odd tenth to the larger remainder.
    """
    probability = calibration.probability
    start = float(probability(np.array([base]))[0])
    shift = contributions.sum(axis=1)
    rise = probability(base + shift) - start
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(
            np.abs(shift) > 1e-9, rise / shift, float(calibration.slope(np.array(base))) * start * (1 - start)
        )
    exact = contributions * slope[:, None] * 1000.0
    base_tenths = int(tenths(np.array([start]))[0])
    target = tenths(probability(base + shift)) - base_tenths
    return base_tenths, _largest_remainder(exact, target)


def _largest_remainder(exact: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Integers near `exact` whose rows sum to `target`: floors, then ones (or minus ones) where the remainders are
    largest.

    A row whose target lies further from its sum than rounding explains is shared out in whole rounds; ties go to the
    first criterion.
    """
    whole = np.floor(exact).astype("int64")
    n = exact.shape[1]
    if n == 0:
        return whole
    left = target - whole.sum(axis=1)
    rounds, extra = np.divmod(left, n)
    # An exact zero has no remainder and no reason to move: it comes last in line.
    remainder = np.where(exact == 0, -1.0, exact - whole)
    order = np.argsort(-remainder, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(n), order.shape), axis=1)
    return whole + rounds[:, None] + (rank < extra[:, None])


def told(
    criteria: list[str], groups: list[str], row_points: np.ndarray, texts: list[tuple[np.ndarray, list[str]]]
) -> list[str]:
    """Per row a JSON list of reasons, strongest first, without criteria that add nothing.

    Each is an object: `criterion`, `group` ("fit", "engagement", "" for the current level), `points` with one decimal,
    `text`, what stands behind it in words.

    Args:
        criteria, groups: of the columns. `row_points`: tenths, shape (n_rows, n_criteria). `texts`: per criterion as
            `texts.tell` gives them.
    """
    parts = []
    for k, (criterion, group) in enumerate(zip(criteria, groups, strict=True)):
        head = f'{{"criterion":{_json(criterion)},"group":{_json(group)},"points":'
        place, distinct = texts[k]
        tails = [f',"text":{_json(text)}}}' for text in distinct]
        parts.append(
            [
                f"{head}{points / 10}{tails[one]}"
                for points, one in zip(row_points[:, k].tolist(), place.tolist(), strict=True)
            ]
        )
    order = np.argsort(-np.abs(row_points), axis=1, kind="stable")
    shown = (row_points != 0).sum(axis=1)
    return [
        "[" + ",".join([parts[k][row] for k in places[:n]]) + "]"
        for row, (places, n) in enumerate(zip(order.tolist(), shown.tolist(), strict=True))
    ]


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
