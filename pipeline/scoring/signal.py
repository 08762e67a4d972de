"""Is there a signal at all? What the ranking out of sample is worth, in standard errors above chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Signal:
    """`auc`: mean over the groups, weighted by what they can tell; `error`: its standard error, of leads; `z`: how many
    of them the AUC lies above one half; `found`: whether that is enough."""

    auc: float
    error: float
    z: float
    found: bool

    def warning(self, min_z: float) -> str:
        """What to say where nothing was found."""
        return (
            f"NO SIGNAL: out of sample the ranking has an AUC of {self.auc:.3f}, {self.z:.1f} standard errors above "
            f"chance; {min_z:g} are asked for. Every lead gets the base rate. The columns do not tell who converts, or "
            "there is not enough history to see it."
        )


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
