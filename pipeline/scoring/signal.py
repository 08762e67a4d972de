"""Is there a signal at all? What the ranking out of sample is worth, and whether any column goes with the outcome.

Two routes, since neither is enough. A ranking far above chance out of sample is a signal, whatever it is made of; but
members of different folds share rows, which makes chance alone reach further than a standard error says. Where the
ranking is not that far above, the columns are asked one by one, beside outcomes dealt anew at random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse, stats

from pipeline.params import Train

#: Leads that the columns are asked about at most, blocks of time within which outcomes are dealt, bins of a number.
MOST_LEADS, BLOCKS, BINS = 10_000, 10, 5


@dataclass(frozen=True)
class Signal:
    """`auc`: mean over the groups, weighted by what they can tell; `error`: its standard error, of leads; `z`: how many
    of them the AUC lies above one half; `found`: whether that is enough, or the columns are. `p_value`: how often
    outcomes dealt anew go with the columns as these do; None where that was not asked."""

    auc: float
    error: float
    z: float
    found: bool
    p_value: float | None = None

    def warning(self, min_z: float) -> str:
        """What to say where nothing was found."""
        return (
            f"NO SIGNAL: out of sample the ranking has an AUC of {self.auc:.3f}, {self.z:.1f} standard errors above "
            f"chance; {min_z:g} are asked for, or columns that surely go with the outcome. Every lead gets the base "
            "rate. The columns do not tell who converts, or there is not enough history to see it."
        )


def judge(rows: pd.DataFrame, snapshots: pd.DataFrame, features: pd.DataFrame, params: Train, seed: int) -> Signal:
    """`measure`, and `association` where the ranking alone does not tell but points the right way.

    Args:
        rows: as `measure` takes them. `snapshots`, `features`: as `association` takes them.
    """
    found = measure(rows, params.min_signal)
    if found.found or found.z <= 0:
        return found
    p_value = association(snapshots, features, params.deals, seed)
    return replace(found, found=p_value <= params.max_chance, p_value=p_value)


def association(snapshots: pd.DataFrame, features: pd.DataFrame, deals: int, seed: int) -> float:
    """How often outcomes dealt anew among leads go with the columns as much as the outcomes do; in (0, 1].

    Two statistics are kept, and the rarer of them counts, beside the rarer one of every deal, so that the answer is
    exact under no signal (a permutation test, Fisher 1935; the least p-value of several, Tippett 1931): the sum over
    columns of the squared correlation of ranks with the outcome (of chi-squared over its degrees of freedom, for
    categories), for many weak columns, and the largest such figure, bins of numbers among them, for a single strong
    one. Outcomes are dealt within blocks of time, so that a rate that moves with the period is no association.

    Args:
        snapshots: lead_id, as_of, label, position; the first look at each lead counts. `features`: the same rows.
    """
    first = snapshots.sort_values(["position", "as_of"], kind="stable").drop_duplicates("lead_id")
    step = -(-len(first) // MOST_LEADS)
    first = first.iloc[::step]
    columns = features.loc[first.index]
    label = first["label"].to_numpy(dtype="float64")
    block = np.arange(len(label)) * BLOCKS // len(label)
    mean = (np.bincount(block, label) / np.bincount(block))[block]
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"association"]))
    outcomes = np.empty((len(label), deals + 1))
    outcomes[:, 0] = label - mean
    for k in range(1, deals + 1):
        # Sorted by block, then at random: a deal within every block.
        outcomes[:, k] = label[np.lexsort((rng.random(len(label)), block))] - mean
    spread = (outcomes**2).mean(axis=0)
    if spread[0] == 0:
        return 1.0

    total, largest = np.zeros(deals + 1), np.full(deals + 1, -np.inf)
    for name in columns:
        value = columns[name]
        if pd.api.types.is_numeric_dtype(value):
            rank = value.rank().fillna(value.rank().mean()).to_numpy(dtype="float64")
            deviation = rank.std()
            if not deviation > 0:
                continue
            line = ((rank - rank.mean()) / deviation @ outcomes) ** 2 / len(label) / spread
            total += line
            largest = np.maximum(largest, (line - 1) / np.sqrt(2))
            share = value.rank(pct=True).fillna(1.0).to_numpy(dtype="float64")
            code = np.where(value.isna().to_numpy(), BINS, np.minimum((share * BINS).astype("int64"), BINS - 1))
        else:
            code = np.asarray(pd.factorize(value.astype(object), use_na_sentinel=False)[0])
        code = np.unique(code, return_inverse=True)[1]
        freedom = int(code.max())
        if freedom == 0:
            continue
        members = sparse.csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))))
        squared = ((members @ outcomes) ** 2 / np.bincount(code)[:, None]).sum(axis=0) / spread
        if not pd.api.types.is_numeric_dtype(value):
            total += squared / freedom
        largest = np.maximum(largest, (squared - freedom) / np.sqrt(2 * freedom))
    # Share of the deals, the outcomes themselves among them, that go as far.
    rare = [stats.rankdata(-figure, method="max") / (deals + 1) for figure in (total, largest)]
    rarer = np.minimum(*rare)
    return float(np.mean(rarer <= rarer[0]))


def measure(rows: pd.DataFrame, min_z: float) -> Signal:
    """Judge margins that were made out of sample.

    The test is of ranks, within groups that were scored by the same members: neither the level nor the scale of the
    margin counts. The rows of one lead are one piece of evidence. The variance is that of DeLong et al. 1988, by lead.

    Args:
        rows: `lead_id`, `label`, `margin` and `group`.
        min_z: standard errors above chance from which on it is called a signal.
    """
    found, weights, variances = [], [], []
    for _, part in rows.groupby("group", sort=True):
        label = part["label"].to_numpy(dtype="float64")
        n1, n0 = label.sum(), (1 - label).sum()
        if n1 == 0 or n0 == 0:
            continue
        value = part["margin"].to_numpy()
        rank = part["margin"].rank(method="average").to_numpy()
        # Share of the other outcome's rows that stand on the right side of each row, ties counted half.
        below = np.empty(len(value))
        for kind, others in ((1, n0), (0, n1)):
            mine = label == kind
            within = pd.Series(value[mine]).rank(method="average").to_numpy()
            share = (rank[mine] - within) / others
            below[mine] = share if kind == 1 else 1 - share
        auc = below[label == 1].mean()
        influence = np.where(label == 1, (below - auc) / n1, (below - auc) / n0)
        by_lead = pd.Series(influence).groupby(part["lead_id"].to_numpy()).sum()
        found.append(auc)
        variances.append(float((by_lead**2).sum()))
        weights.append(n1 * n0 / (n1 + n0))
    if not found:
        return Signal(0.5, float("nan"), 0.0, False)
    share = np.array(weights) / np.sum(weights)
    auc = float(share @ np.array(found))
    error = float(np.sqrt(share**2 @ np.array(variances)))
    z = (auc - 0.5) / error if error > 0 else 0.0
    return Signal(auc, error, float(z), bool(z >= min_z))
