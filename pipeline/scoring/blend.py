"""Which trials become members of the margin, and with what weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import optimize

from pipeline.params import Blend
from pipeline.scorer.calibration import sigmoid
from pipeline.scoring.fit import best_intercept, ranking_loss, row_losses

Folds = Sequence[np.ndarray]


def weigh(
    labels: Folds,
    stacks: Sequence[Folds],
    families: Sequence[str],
    costs: Sequence[float],
    leads: Folds,
    params: Blend,
    *,
    timed: bool,
    seed: int,
) -> np.ndarray:
    """Weight of every trial, non-negative and summing to 1.

    Forward in time the weights are those of `by_family`: what complemented best on past folds is a poor guide to the
    time to come. Where leads were dealt at random, half of them is that and half is the blend that minimises the loss
    itself, averaged over resamples. Then light trials are left out, and the least useful per cost until at most
    `params.members` remain and their exact reasons cost at most `params.cost_us`.

    Args:
        labels: of the judged rows of each fold.
        stacks: per trial, its margins on the judged rows of each fold.
        families: of each trial.
        costs: microseconds that each trial's reasons take per row and core.
        leads: whose the judged rows of each fold are, as numbers.
        timed: the folds run forward in time.
    """
    weights = by_family(labels, stacks, families, leads, params)
    if not timed:
        weights = (weights + resampled(labels, stacks, params.resamples, seed)) / 2
    cost = np.asarray(costs, dtype="float64")
    while True:
        enough = weights >= min(params.least_weight, weights.max())
        used = np.flatnonzero(enough)
        weights = np.where(enough, weights, 0.0)
        weights /= weights.sum()
        if len(used) == 1 or (len(used) <= params.members and cost[used].sum() <= params.cost_us):
            return weights
        # Where there are too many, the lightest goes; where they are too dear, the one that brings least for its cost.
        value = weights[used] if len(used) > params.members else weights[used] / cost[used]
        weights[used[np.argmin(value)]] = 0.0


def by_family(
    labels: Folds, stacks: Sequence[Folds], families: Sequence[str], leads: Folds, params: Blend
) -> np.ndarray:
    """Equal shares for the near-best trials of each family, and for each family a share that falls with its distance
    from the best one, counted in standard errors, like a normal density: families that cannot be told apart count
    alike.

    The standard error of a distance has two parts: of leads, whose rows are one piece of evidence, and of folds, which
    differ where the world does.
    """
    losses = np.array(
        [[ranking_loss(label, own) for label, own in zip(labels, stack, strict=True)] for stack in stacks]
    )
    alone = losses.mean(axis=1)
    order = np.argsort(alone, kind="stable")
    near: dict[str, list[int]] = {}
    for k in order.tolist():
        mine = near.setdefault(families[k], [])
        if len(mine) < params.near_most and alone[k] <= alone[(mine or [k])[0]] * (1 + params.near):
            mine.append(k)
    best, lead = int(order[0]), np.unique(np.concatenate(leads), return_inverse=True)[1]
    weights = np.zeros(len(stacks))
    for mine in near.values():
        first = mine[0]
        apart = _row_losses(labels, stacks[first]) - _row_losses(labels, stacks[best])
        of_leads = np.sqrt(np.sum(np.bincount(lead, weights=apart - apart.mean()) ** 2)) / len(apart)
        of_folds = (losses[first] - losses[best]).std(ddof=1) / np.sqrt(len(labels))
        error = max(float(np.hypot(of_leads, of_folds)), 1e-12)
        away = (alone[first] - alone[best]) / (params.patience * error)
        weights[mine] = np.exp(-0.5 * away**2) / len(mine)
    return weights / weights.sum()


def _row_losses(labels: Folds, margins: Folds) -> np.ndarray:
    """Loss of every judged row after the best intercept of its fold."""
    folds = zip(labels, margins, strict=True)
    return np.concatenate([row_losses(label, margin + best_intercept(label, margin)) for label, margin in folds])


def resampled(labels: Folds, stacks: Sequence[Folds], samples: int, seed: int) -> np.ndarray:
    """The weights that minimise the mean loss over the folds, averaged over Poisson resamples of the judged rows.

    The average leans on trials that often belong to the best blend, rather than on those that happened to.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"blend"]))
    columns = [np.column_stack([stack[f] for stack in stacks]) for f in range(len(labels))]
    total = np.zeros(len(stacks))
    for _ in range(samples):
        counts = [rng.poisson(1.0, len(label)).astype("float64") for label in labels]
        total += _lightest(labels, columns, counts)
    return total / total.sum()


def _lightest(labels: Folds, columns: Folds, counts: Folds) -> np.ndarray:
    """Weights on the simplex with the least loss: L-BFGS over their logarithms, and one intercept per fold."""
    n = columns[0].shape[1]

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        weights = np.exp(x[:n] - x[:n].max())
        weights /= weights.sum()
        value, slope, shifts = 0.0, np.zeros(n), np.zeros(len(labels))
        for f, (label, column, count) in enumerate(zip(labels, columns, counts, strict=True)):
            margin = column @ weights + x[n + f]
            scale = len(labels) * max(count.sum(), 1.0)
            value += float(count @ row_losses(label, margin)) / scale
            residual = count * (sigmoid(margin) - label) / scale
            slope += column.T @ residual
            shifts[f] = residual.sum()
        return value, np.concatenate([weights * (slope - weights @ slope), shifts])

    shifts = [best_intercept(label, column.mean(axis=1)) for label, column in zip(labels, columns, strict=True)]
    start = np.concatenate([np.zeros(n), shifts])
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x[:n]
    weights = np.exp(found - found.max())
    return np.asarray(weights / weights.sum())
