"""`leads curves`: how quality grows with history, and how it falls as a model ages, from refits without tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.adapters import files
from pipeline.errors import NotEnoughData
from pipeline.params import Params
from pipeline.paths import Workspace
from pipeline.scorer.calibration import sigmoid
from pipeline.scorer.features import directions, feature_list
from pipeline.scoring import members, metrics
from pipeline.scoring.fit import ranking_loss

#: Shares of the leads before the test window that the learning curve learns from.
SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)
#: Where the windows of the staleness curve end, as shares of these leads; each is as long as the first ends.
ENDS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

COLUMNS = ["curve", "share", "age_days", "leads", "snapshots", "conversions", "log_loss", "ranking_loss", "auc"]


def curves(
    workspace: Workspace, params: Params, progress: Callable[[list[Any]], Iterable[Any]] = lambda steps: steps
) -> pd.DataFrame:
    """Refit the chosen members on parts of the history, and measure each on the test window.

    Returns:
        `curve`: `learning` (every n-th lead of the whole history before the test window) or `staleness` (a window of
        half that history, which ends earlier and earlier). `share`: of the leads learned from, or where the window
        ends. `age_days`: from the newest as-of date learned from to the middle one of the test window; NaN without a
        time axis. `log_loss` of the bare margins, `ranking_loss` after the best intercept, `auc`. Rows that cannot be
        fitted, for want of an outcome, are left out.

    Raises:
        ArtefactError: `tune` has not run, or results were changed. NotEnoughData: nothing could be fitted.
    """
    results = files.Results(workspace)
    spec = results.json("featurize/features.json")
    chosen = results.json("tune/best.json")["members"]
    snapshots = results.table("featurize/snapshots.parquet")
    names = [feature["name"] for feature in feature_list(spec)]
    test = snapshots[snapshots["split"] == "test"]
    before = snapshots[snapshots["split"] != "test"].reset_index(drop=True)
    place = np.unique(before["position"].to_numpy(), return_inverse=True)[1]
    n = int(place.max()) + 1

    parts: list[tuple[str, float, np.ndarray]] = [
        ("learning", share, np.floor((place + 1) * share) > np.floor(place * share)) for share in SHARES
    ]
    if spec["timed"]:
        parts += [("staleness", end, (place < end * n) & (place >= (end - ENDS[0]) * n)) for end in ENDS]
    rows = []
    middle = test["as_of"].sort_values(ignore_index=True).iloc[len(test) // 2]
    for curve, share, mask in progress(parts):
        learn = before[mask]
        label = learn["label"].to_numpy(dtype="float64")
        if not 0 < label.sum() < len(label):
            continue
        margin = members.fit(
            learn[names].reset_index(drop=True),
            label,
            learn["position"].to_numpy(),
            chosen,
            params.train,
            params.run,
            directions=directions(spec),
        ).values(test[names])
        truth = test["label"].to_numpy(dtype="float64")
        age = (middle - learn["as_of"].max()) / pd.Timedelta(days=1) if spec["timed"] else np.nan
        figures = [metrics.log_loss(truth, sigmoid(margin)), ranking_loss(truth, margin), metrics.auc(truth, margin)]
        rows.append([curve, share, age, learn["lead_id"].nunique(), len(learn), int(label.sum()), *figures])
    if not rows:
        raise NotEnoughData("no part of the history before the test window holds both outcomes.")
    return pd.DataFrame(rows, columns=COLUMNS)
