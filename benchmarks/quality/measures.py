"""How good the chances are that a system gave: losses, ranking, calibration, and paired differences with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

#: Chances are kept this far from 0 and 1 before the logarithm, as scikit-learn keeps them.
CLIP = float(np.finfo(np.float64).eps)
BINS = 10
RESAMPLES = 2_000
#: Two-sided 95 %.
LEVEL = 0.95
#: Cells of resampled counts held at once.
CELLS = 4_000_000

Verdict = Literal["ahead", "tie", "behind"]


@dataclass(frozen=True)
class Difference:
    """Ours less a rival's: the difference on the test rows, and the ends of its bootstrap interval."""

    value: float
    low: float
    high: float


def row_losses(outcome: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The log-loss of every row, (rows,), in nats, from 0."""
    kept = np.clip(chance, CLIP, 1 - CLIP)
    return -np.where(outcome == 1, np.log(kept), np.log1p(-kept))


def auc(outcome: np.ndarray, chance: np.ndarray) -> float:
    """The share of pairs (converted, not) that are in the right order, ties as half; [0, 1]."""
    return float(_aucs(outcome, chance, np.ones((1, len(outcome))))[0])


def _aucs(outcome: np.ndarray, chance: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The AUC of every resample, (resamples,); `counts`: how often each row was drawn, (resamples, rows)."""
    order = np.argsort(chance, kind="stable")
    sorted_chance, drawn = chance[order], counts[:, order]
    converted = outcome[order] == 1
    first = np.searchsorted(sorted_chance, sorted_chance[converted], side="left")
    last = np.searchsorted(sorted_chance, sorted_chance[converted], side="right")
    others = np.zeros((len(counts), len(outcome) + 1))
    np.cumsum(drawn * ~converted, axis=1, out=others[:, 1:])
    positives = drawn[:, converted]
    pairs = positives.sum(axis=1) * others[:, -1]
    below = (positives * (others[:, first] + others[:, last])).sum(axis=1) / 2
    return np.divide(below, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def bins(chance: np.ndarray) -> np.ndarray:
    """The bin of every row, (rows,), 0 to 9: equal counts by chance, and rows of the same chance in the same bin."""
    ranks = stats.rankdata(chance, method="average") - 0.5
    return np.minimum((ranks * BINS / len(chance)).astype(int), BINS - 1)


def calibration_error(outcome: np.ndarray, chance: np.ndarray) -> float:
    """Mean distance between what a bin promises and what it keeps, weighted by rows; [0, 1]."""
    promised, kept, sizes = _by_bin(bins(chance), outcome, chance)
    return float(np.average(np.abs(promised - kept), weights=sizes))


def bins_held(outcome: np.ndarray, chance: np.ndarray) -> float:
    """Share of the bins whose Wilson 95 % interval of the conversion rate holds the mean chance; [0, 1]."""
    promised, kept, sizes = _by_bin(bins(chance), outcome, chance)
    z = stats.norm.ppf((1 + LEVEL) / 2)
    middle = (kept + z**2 / (2 * sizes)) / (1 + z**2 / sizes)
    half = z / (1 + z**2 / sizes) * np.sqrt(kept * (1 - kept) / sizes + z**2 / (4 * sizes**2))
    return float((np.abs(promised - middle) <= half).mean())


def _by_bin(code: np.ndarray, outcome: np.ndarray, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean chance, share converted and rows of every bin that has rows."""
    sizes = np.bincount(code, minlength=BINS)
    some = sizes > 0
    promised = np.bincount(code, weights=chance, minlength=BINS)[some] / sizes[some]
    kept = np.bincount(code, weights=outcome, minlength=BINS)[some] / sizes[some]
    return promised, kept, sizes[some]


def differences(
    outcome: np.ndarray, ours: np.ndarray, rivals: dict[str, np.ndarray], seed: int
) -> dict[str, tuple[Difference, Difference]]:
    """Per rival, ours less theirs in log-loss and in AUC, with paired bootstrap intervals over the test rows.

    All systems meet the same resamples. A resample without both outcomes does not count towards the AUC.
    """
    rng = np.random.default_rng(seed)
    rows, names = len(outcome), list(rivals)
    losses = np.column_stack([row_losses(outcome, ours), *(row_losses(outcome, rivals[name]) for name in names)])
    drawn_losses, drawn_aucs = [], []
    at_once = max(1, CELLS // rows)
    for start in range(0, RESAMPLES, at_once):
        number = min(at_once, RESAMPLES - start)
        picks = rng.integers(0, rows, (number, rows)) + rows * np.arange(number)[:, None]
        counts = np.bincount(picks.ravel(), minlength=number * rows).reshape(number, rows).astype(float)
        drawn_losses.append(counts @ losses / rows)
        drawn_aucs.append(np.column_stack([_aucs(outcome, one, counts) for one in (ours, *rivals.values())]))
    all_losses, all_aucs = np.concatenate(drawn_losses), np.concatenate(drawn_aucs)
    own_auc = auc(outcome, ours)
    found = {}
    for k, name in enumerate(names, start=1):
        by_loss = _interval(float((losses[:, 0] - losses[:, k]).mean()), all_losses[:, 0] - all_losses[:, k])
        by_auc = _interval(own_auc - auc(outcome, rivals[name]), all_aucs[:, 0] - all_aucs[:, k])
        found[name] = (by_loss, by_auc)
    return found


def _interval(value: float, drawn: np.ndarray) -> Difference:
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(value, float(low), float(high))


def verdict(difference: Difference, *, lower_is_better: bool) -> Verdict:
    """Ahead or behind where the whole interval lies on one side of zero, else a tie."""
    if difference.low <= 0 <= difference.high:
        return "tie"
    return "ahead" if (difference.high < 0) == lower_is_better else "behind"
