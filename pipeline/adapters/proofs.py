"""The proof by truncation on what a workspace holds: more pairs than every run takes the time for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from pipeline.adapters import files
from pipeline.leads import contract, truncation
from pipeline.leads.contract import LEAD_KEY
from pipeline.paths import Workspace
from pipeline.scorer.features import feature_list


def check_time(
    workspace: Workspace, *, samples: int, seed: int, progress: Callable[[Iterable[int]], Iterable[int]] = iter
) -> dict[str, Any]:
    """Prove on a sample of the stored snapshots that their features use nothing recorded later.

    Memory is that of one part of a table and of the rows of the leads in the sample.

    Returns:
        As `truncation.prove`.

    Raises:
        ArtefactError: the workspace lacks a result of `validate` or `featurize`, or it is not what the stage wrote.
    """
    results = files.Results(workspace)
    resolved = contract.restore(results.json("ingest/contract.json"))
    spec = results.json("featurize/features.json")
    stored = results.parts("featurize/snapshots.parquet")
    chosen = truncation.sample(stored.total, samples, seed)
    found, before = [], 0
    for part in stored:
        mine = chosen[(chosen >= before) & (chosen < before + len(part))] - before
        found.append(part.iloc[mine])
        before += len(part)
    snapshots = pd.concat(found, ignore_index=True)

    def of_these(table: str) -> pd.DataFrame:
        parts = results.parts(f"validate/{table}.parquet")
        return pd.concat([part[part[LEAD_KEY].isin(snapshots[LEAD_KEY])] for part in parts], ignore_index=True)

    features = snapshots[[feature["name"] for feature in feature_list(spec)]]
    return truncation.prove(
        *(snapshots, of_these("leads"), of_these("activities"), of_these("changes"), spec, features, resolved),
        samples=len(snapshots),
        seed=seed,
        progress=progress,
    )
