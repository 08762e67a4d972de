"""How much a random split would have flattered: the optimism gap.

A random split deals leads of the same weeks to both sides, and lets a model learn from leads that come after those it
is tested on. What sales will see is the forward figure. The gap between the two is the part of a random split's figure
that nobody would have seen. Nothing is tuned again: settings, blend weights and rounds are those chosen for the
candidate, so that only the split differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.params import Evaluate, Run, Train
from pipeline.scorer.calibration import sigmoid
from pipeline.scoring import members, metrics


def deal(snapshots: pd.DataFrame, seed: int) -> pd.Series:
    """A random split by lead, as many leads in each part as the split in `snapshots` has; indexed as `snapshots`.

    Args:
        snapshots: `lead_id` and `split`; a lead stands in one split.
    """
    leads = np.sort(snapshots["lead_id"].unique())
    size = snapshots.groupby("split", sort=True)["lead_id"].nunique()
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"optimism"]))
    dealt = pd.Series(np.repeat(size.index.to_numpy(), size.to_numpy()), index=rng.permutation(leads))
    return snapshots["lead_id"].map(dealt)


def refit(
    snapshots: pd.DataFrame,
    names: list[str],
    chosen: list[dict[str, Any]],
    params: Train,
    run: Run,
    directions: np.ndarray | None = None,
) -> pd.DataFrame:
    """Train anew on a random split by lead, and score its test part.

    Args:
        snapshots: lead_id, as_of, label, split, position, and the features `names`, sorted by (lead_id, as_of).
        chosen: members as `tune` wrote them.

    Returns:
        lead_id, label, probability of the random test part, in the order of `snapshots`; none where a part lacks one of
        the outcomes. Nothing drifts between the parts of a random split, so the margin needs no calibrator.
    """
    split = deal(snapshots, run.seed).to_numpy()
    learn, test = (snapshots[mask].reset_index(drop=True) for mask in (split != "test", split == "test"))
    label = learn["label"].to_numpy(dtype="float64")
    if any(one["label"].min() == one["label"].max() for one in (learn, test)):
        return test.iloc[:0][["lead_id", "label"]].assign(probability=pd.Series(dtype="float64"))
    place = learn["position"].to_numpy()
    margin = members.fit(learn[names], label, place, chosen, params, run, directions=directions)
    return test[["lead_id", "label"]].assign(probability=sigmoid(margin.values(test[names])))


def gap(forward: pd.DataFrame, dealt: pd.DataFrame, params: Evaluate, seed: int) -> dict[str, float]:
    """What a random split would have claimed beyond the split in time.

    Args:
        forward: `lead_id`, `label` and `probability` of the candidate on the newest leads. `dealt`: as `refit` gives
        it.

    Returns:
        `optimism_gap`: AUC on the random test part less AUC forward in time; positive where a random split flatters.
        `optimism_gap_low`, `optimism_gap_high`: its interval at `params.interval_level`, from a bootstrap by lead of
        either side. `optimism_gap_log_loss`: the same difference of skill, 1 - log-loss / log-loss of the part's own
        base rate: base rates differ, and with them the log-loss of knowing nothing. `random_split_auc`,
        `random_split_skill`, `skill`: what these are made of. Nothing where
        `dealt` has no rows.
    """
    if dealt.empty:
        return {}
    auc: dict[str, list[float]] = {}
    skill: dict[str, float] = {}
    for name, rows in (("forward", forward), ("random", dealt)):
        table = metrics.bootstrap_by_lead(
            rows,
            ["probability"],
            bins=params.bins,
            samples=params.bootstrap_samples,
            level=params.interval_level,
            seed=seed,
        )
        auc[name] = table.loc[table["metric"] == "auc", ["value", "low", "high"]].to_numpy("float64")[0].tolist()
        label = rows["label"].to_numpy(dtype="float64")
        nothing = metrics.log_loss(label, np.full(len(label), label.mean()))
        skill[name] = 1 - metrics.log_loss(label, rows["probability"].to_numpy(dtype="float64")) / nothing
    (there, low, high), (here, least, most) = auc["random"], auc["forward"]
    # The two sides are drawn apart: their errors add as squares.
    return {
        "optimism_gap": there - here,
        "optimism_gap_low": there - here - float(np.hypot(there - low, most - here)),
        "optimism_gap_high": there - here + float(np.hypot(high - there, here - least)),
        "optimism_gap_log_loss": skill["random"] - skill["forward"],
        "random_split_auc": there,
        "random_split_skill": skill["random"],
        "skill": skill["forward"],
    }


def sentence(figures: Mapping[str, Any]) -> str:
    """One line for the log; says so where there is no gap to measure."""
    if "optimism_gap" not in figures:
        return "no optimism gap was measured: the split is random itself, or a random one lacks outcomes of either kind"
    return (
        f"a random split would have shown an AUC of {figures['random_split_auc']:.3f}: optimism gap "
        f"{figures['optimism_gap']:+.3f} ({figures['optimism_gap_low']:+.3f} to {figures['optimism_gap_high']:+.3f}), "
        f"in log-loss skill {figures['optimism_gap_log_loss']:+.3f}"
    )
