"""`leads check-shuffle`: where labels are dealt anew at random, nothing may be found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.adapters import files
from pipeline.errors import ProofFailed
from pipeline.params import Params
from pipeline.paths import Workspace
from pipeline.scorer.features import directions, feature_list
from pipeline.scoring import metrics, recipe
from pipeline.scoring.search import Search, Trial

#: How far from one half the AUC may lie, at least: with few conversions chance alone goes further.
TOLERANCE = 0.06


def tolerance(label: np.ndarray) -> float:
    """How far from one half the AUC of labels dealt at random may lie: `TOLERANCE`, or three standard errors.

    Source: Mann and Whitney 1947; where nothing is known the variance of an AUC is `(n1 + n0 + 1) / (12 n1 n0)`.
    """
    rows, hits = len(label), float(label.sum())
    return float(max(TOLERANCE, 3 * np.sqrt((rows + 1) / (12 * max(hits * (rows - hits), 1.0)))))


def check(workspace: Workspace, params: Params, seed: int, progress: Callable[[int], Callable[[Trial], None]]) -> float:
    """AUC on the test window of a system that learned from labels dealt anew among all snapshots, guard off.

    A pipeline that lets an answer slip into its features or its folds finds something even then.

    Args:
        progress: given the number of trials, a function that is told of each one.

    Raises:
        ArtefactError: featurize has not run, or its results were changed.
        ProofFailed: the AUC lies further than `tolerance` from one half.
    """
    results = files.Results(workspace)
    spec = results.json("featurize/features.json")
    snapshots = results.table("featurize/snapshots.parquet")
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"shuffle"]))
    snapshots["label"] = rng.permutation(snapshots["label"].to_numpy())
    names = [feature["name"] for feature in feature_list(spec)]
    test = (snapshots["split"] == "test").to_numpy()
    before, after = snapshots[~test].reset_index(drop=True), snapshots[test]
    planned = Search.of(before, before[names], params.tune, params.run.seed, timed=spec["timed"]).planned()
    learned = recipe.learn(
        before,
        before[names],
        params,
        timed=spec["timed"],
        horizon_days=spec["horizon_days"],
        directions=directions(spec),
        guarded=False,
        report=progress(sum(planned.values())),
    )
    label = after["label"].to_numpy()
    found, limit = metrics.auc(label, learned.margin.values(after[names])), tolerance(label)
    if abs(found - 0.5) > limit:
        raise ProofFailed(
            f"with labels dealt at random the test window is ranked with an AUC of {found:.3f}; it should lie within "
            f"0.5 +- {limit:.2f}. An answer slips into the features or the folds."
        )
    return found
