"""Fitting one member of the margin from features and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from pipeline.params import LogisticSettings, XGBoostSettings, XGBoostSpace
from pipeline.scorer.calibration import sigmoid
from pipeline.scorer.margin import Encoder, LogisticMember, XGBoostMember


def best_intercept(label: np.ndarray, margin: np.ndarray) -> float:
    """The shift that minimises the log-loss of `sigmoid(margin + shift)`, by Newton's method; both outcomes must
    occur."""
    rate = np.clip(label.mean(), 1e-9, 1 - 1e-9)
    shift = float(np.log(rate / (1 - rate)) - np.mean(margin))
    for _ in range(50):
        probability = sigmoid(margin + shift)
        curvature = float(np.sum(probability * (1 - probability)))
        step = float(np.sum(label - probability)) / max(curvature, 1e-12)
        shift += float(np.clip(step, -2.0, 2.0))
        if abs(step) < 1e-10:
            break
    return shift


def ranking_loss(label: np.ndarray, margin: np.ndarray) -> float:
    """Log-loss after the best intercept: what a margin is worth once its level is right. Needs both outcomes."""
    shifted = margin + best_intercept(label, margin)
    return float(np.mean(np.logaddexp(0.0, shifted) - label * shifted))


def fit_logistic(
    encoder: Encoder, matrix: np.ndarray, label: np.ndarray, settings: LogisticSettings, *, clip: float
) -> LogisticMember:
    """Ridge logistic regression on quantile bins, a clipped linear term and indicators of what is missing.

    Args:
        matrix: encoded features, shape (n_rows, n_features); `label`: 0 or 1, shape (n_rows,).
        clip: standardised values are cut off at +-clip.
    """
    blocks: list[sparse.csr_matrix] = []
    shapes: list[dict[str, Any]] = []
    shape: dict[str, Any]
    for k, name in enumerate(encoder.names):
        value = matrix[:, k]
        missing = np.isnan(value)
        known = np.where(missing, 0.0, value)
        if name in encoder.levels:
            width = len(encoder.levels[name])
            place, shape = known.astype("int64"), {"width": width, "category": True}
            standard = None
        else:
            present = value[~missing]
            steps = np.linspace(0, 1, settings.bins + 1)[1:-1]
            edges = np.unique(np.quantile(present, steps)) if len(present) and len(steps) else np.array([])
            mean = float(present.mean()) if len(present) else 0.0
            spread = float(present.std()) if len(present) else 0.0
            scale = spread if spread > 0 else 1.0
            width = len(edges) + 1
            place = np.searchsorted(edges, known, side="right")
            shape = {"width": width, "category": False, "edges": edges.tolist(), "mean": mean, "scale": scale}
            standard = np.where(missing, 0.0, np.clip((known - mean) / scale, -clip, clip))
        rows = np.flatnonzero(~missing)
        indicator = sparse.csr_matrix((np.ones(len(rows)), (rows, place[rows])), shape=(len(value), max(width, 1)))
        blocks += [indicator, sparse.csr_matrix(missing.astype("float64")[:, None])]
        if standard is not None:
            blocks.append(sparse.csr_matrix(standard[:, None]))
        shapes.append(shape)

    model = LogisticRegression(C=settings.c, solver="lbfgs", max_iter=300, tol=1e-4)
    model.fit(sparse.hstack(blocks, format="csr"), label)
    weights = iter(model.coef_[0].tolist())
    terms: dict[str, dict[str, Any]] = {}
    for name, shape in zip(encoder.names, shapes, strict=True):
        own = [next(weights) for _ in range(max(shape["width"], 1))]
        term: dict[str, Any] = {"weights": own[: shape["width"]], "missing": next(weights)}
        if not shape["category"]:
            term |= {"edges": shape["edges"], "mean": shape["mean"], "scale": shape["scale"], "slope": next(weights)}
            term["limit"] = clip
        terms[name] = term
    return LogisticMember(encoder=encoder, intercept=float(model.intercept_[0]), terms=terms)


def _dmatrix(
    encoder: Encoder, matrix: np.ndarray, label: np.ndarray, ref: xgb.QuantileDMatrix | None
) -> xgb.QuantileDMatrix:
    return xgb.QuantileDMatrix(
        matrix,
        label=label,
        feature_types=encoder.feature_types,
        enable_categorical=True,
        ref=ref,
    )


def _booster_params(settings: XGBoostSettings, seed: int, threads: int) -> dict[str, Any]:
    return settings.model_dump() | {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "disable_default_eval_metric": True,
        "seed": seed % 2**31,
        "nthread": threads,
    }


def _ranking_metric(margin: np.ndarray, data: xgb.DMatrix) -> tuple[str, float]:
    probability = np.clip(margin.astype("float64"), 1e-7, 1 - 1e-7)
    return "ranking_loss", ranking_loss(data.get_label().astype("float64"), np.log(probability / (1 - probability)))


def fit_xgboost(
    encoder: Encoder,
    matrix: np.ndarray,
    label: np.ndarray,
    settings: XGBoostSettings,
    *,
    rounds: int,
    seed: int,
    threads: int,
) -> XGBoostMember:
    """Trees by the histogram method, a given number of rounds. The number of threads does not change the result."""
    data = _dmatrix(encoder, matrix, label, None)
    booster = xgb.train(_booster_params(settings, seed, threads), data, num_boost_round=rounds)
    return XGBoostMember(encoder=encoder, booster=booster)


def stop_early(
    encoder: Encoder,
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    settings: XGBoostSettings,
    space: XGBoostSpace,
    *,
    seed: int,
    threads: int,
) -> tuple[int, np.ndarray]:
    """Rounds at which the later rows' ranking loss is lowest, and their margin at that round."""
    data = _dmatrix(encoder, *train, None)
    later = _dmatrix(encoder, *valid, data)
    stopping = xgb.callback.EarlyStopping(rounds=space.early_stopping_rounds, min_delta=0.0, save_best=False)
    booster = xgb.train(
        _booster_params(settings, seed, threads),
        data,
        num_boost_round=space.max_rounds,
        evals=[(later, "later")],
        custom_metric=_ranking_metric,
        callbacks=[stopping],
        verbose_eval=False,
    )
    rounds = booster.best_iteration + 1
    return rounds, booster.predict(later, output_margin=True, iteration_range=(0, rounds)).astype("float64")


def encode(features: pd.DataFrame) -> tuple[Encoder, np.ndarray]:
    """The encoder learned from training features, and their matrix."""
    encoder = Encoder.fit(features)
    return encoder, encoder.matrix(features)
