"""The members of the margin, fitted on the whole train window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipeline.params import LogisticSettings, Run, Train, XGBoostSettings
from pipeline.scorer.margin import Encoder, Margin, Member
from pipeline.scoring.fit import encode, fit_logistic, fit_xgboost


def each(
    features: pd.DataFrame, label: np.ndarray, chosen: list[dict[str, Any]], run: Run
) -> tuple[Encoder, list[Member]]:
    """Fit every chosen setting; see `fit` for what goes in."""
    encoder, matrix = encode(features)
    fitted: list[Member] = []
    for entry in chosen:
        if entry["family"] == "logistic":
            fitted.append(
                fit_logistic(encoder, matrix, label, LogisticSettings(**entry["settings"]), clip=entry["clip"])
            )
        else:
            settings = XGBoostSettings(**entry["settings"])
            fitted.append(
                fit_xgboost(
                    encoder, matrix, label, settings, rounds=entry["rounds"], seed=run.seed, threads=run.threads
                )
            )
    return encoder, fitted


def fit(features: pd.DataFrame, label: np.ndarray, chosen: list[dict[str, Any]], params: Train, run: Run) -> Margin:
    """Fit every chosen setting and centre the blend.

    Args:
        features: train snapshots, shape (n_rows, n_features); `label`: 0 or 1, shape (n_rows,).
        chosen: family, settings, rounds and weight of each member, as `tune` wrote them.
    """
    encoder, fitted = each(features, label, chosen, run)
    step = max(1, -(-len(features) // params.base_rows))
    return Margin.centred(encoder, fitted, [entry["weight"] for entry in chosen], features.iloc[::step])
