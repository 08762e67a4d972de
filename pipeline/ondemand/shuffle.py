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
from pipeline.scoring.search import Trial

#: How far from one half the AUC may lie.
TOLERANCE = 0.06


def check(workspace: Workspace, params: Params, seed: int, report: Callable[[Trial], None]) -> float:
    """AUC on the test window of a system that learned from labels dealt anew among all snapshots, guard off.

    A pipeline that lets an answer slip into its features or its folds finds something even then.

    Raises:
        ArtefactError: featurize has not run, or its results were changed.
        ProofFailed: the AUC lies further than `TOLERANCE` from one half.
    """
    results = files.Results(workspace)
    spec = results.json("featurize/features.json")
    snapshots = results.table("featurize/snapshots.parquet")
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"shuffle"]))
    snapshots["label"] = rng.permutation(snapshots["label"].to_numpy())
    names = [feature["name"] for feature in feature_list(spec)]
    test = (snapshots["split"] == "test").to_numpy()
    before, after = snapshots[~test].reset_index(drop=True), snapshots[test]
    learned = recipe.learn(
        before,
        before[names],
        params,
        timed=spec["timed"],
        horizon_days=spec["horizon_days"],
        directions=directions(spec),
        guarded=False,
        report=report,
    )
    found = metrics.auc(after["label"].to_numpy(), learned.margin.values(after[names]))
    if abs(found - 0.5) > TOLERANCE:
        raise ProofFailed(
            f"with labels dealt at random the test window is ranked with an AUC of {found:.3f}; it should lie within "
            f"0.5 +- {TOLERANCE:g}. An answer slips into the features or the folds."
        )
    return found
