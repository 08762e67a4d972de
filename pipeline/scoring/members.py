"""The members of the margin, fitted on all that is known before the test window."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pandas as pd

from pipeline.params import Run, Train
from pipeline.scorer.margin import Encoder, Margin, Member
from pipeline.scoring.fit import Rows, Start, fit_member, log_odds, settings_of
from pipeline.scoring.folds import known_before


def each(rows: Rows, chosen: Sequence[dict[str, Any]], run: Run) -> list[Member]:
    """Fit every chosen setting, under a seed of its own; members side by side."""

    def one(k: int) -> Member:
        entry = chosen[k]
        start = None
        if entry["start"] is not None:
            start = Start(cast(Any, settings_of(entry["settings"]["start"], entry["start"])), entry["clip"])
        return fit_member(
            rows,
            settings_of(entry["family"], entry["settings"]),
            clip=entry["clip"],
            rounds=entry["rounds"],
            seed=int(np.random.SeedSequence([run.seed, k]).generate_state(1)[0]),
            threads=max(1, run.threads // len(chosen)),
            start=start,
        )

    with ThreadPoolExecutor(run.threads) as pool:
        return list(pool.map(one, range(len(chosen))))


def fit(
    features: pd.DataFrame,
    label: np.ndarray,
    place: np.ndarray,
    chosen: Sequence[dict[str, Any]],
    params: Train,
    run: Run,
    *,
    directions: np.ndarray | None = None,
) -> Margin:
    """Fit every chosen setting and centre the blend.

    Args:
        features: snapshots to learn from, shape (n_rows, n_features); `label`: 0 or 1, shape (n_rows,); `place`: where
            each row's lead stands on the axis of the split, shape (n_rows,).
        chosen: family, settings, rounds and weight of each member, as `tune` wrote them.
        directions: per feature, see `fit.Rows`.
    """
    rows = Rows.encode(features, label, place, directions)
    fitted = each(rows, chosen, run)
    step = max(1, -(-len(features) // params.base_rows))
    return Margin.centred(rows.encoder, fitted, [entry["weight"] for entry in chosen], features.iloc[::step])


def out_of_sample(
    judged: pd.DataFrame,
    snapshots: pd.DataFrame,
    features: pd.DataFrame,
    chosen: Sequence[dict[str, Any]],
    params: Train,
    run: Run,
    *,
    horizon_days: int,
    directions: np.ndarray | None = None,
) -> pd.DataFrame:
    """Margins by members that had not seen the row, with what is known of it.

    Where the search looked at all rows these are its own. Where it looked at some, they are those of the calibrate
    window, scored whole by members fitted on all that was known before it. The search's own are left out then: members
    that learned from a few rows are surer than they should be, and would pull the calibrator of the others along.

    Args:
        judged: margins of the search: lead_id, as_of, fold, margin.
        snapshots: all that lies before the test window: lead_id, as_of, label, split, position; `features`: the same.

    Returns:
        The columns of `snapshots` named above, `group` (scored by the same members) and `margin`.
    """
    known = ["lead_id", "as_of", "label", "split", "position"]
    rows = judged.rename(columns={"fold": "group"}).merge(
        snapshots[known], on=["lead_id", "as_of"], validate="one_to_one"
    )
    later = (snapshots["split"] == "calibrate").to_numpy()
    if (rows["split"] == "calibrate").sum() == later.sum():
        return rows
    label, place = snapshots["label"].to_numpy(dtype="float64"), snapshots["position"].to_numpy()
    learn = known_before(snapshots, later, horizon_days)
    fitted = fit(features[learn], label[learn], place[learn], chosen, params, run, directions=directions)
    margin = fitted.values(features[later]) + log_odds(label) - log_odds(label[learn])
    return snapshots.loc[later, known].assign(group=-1, margin=margin)[list(rows)].reset_index(drop=True)


def base_rate(features: pd.DataFrame, label: np.ndarray) -> Margin:
    """The margin without a member: the log-odds of the base rate for every lead."""
    rate = float(np.clip(label.mean(), 1e-9, 1 - 1e-9))
    centre = np.zeros(features.shape[1])
    return Margin(Encoder.fit(features), [], [], float(np.log(rate / (1 - rate))), centre)
