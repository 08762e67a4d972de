"""What the candidate is compared with: simple systems fitted on the rows before the test window, judged on its rows.

Rivals keep their libraries' own defaults, so that anyone can repeat them; they share no code with the candidate but the
encoder, which pins categories to the levels seen in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xgboost as xgb
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.errors import NotEnoughData, lacking
from pipeline.scorer.margin import Encoder
from pipeline.scoring.metrics import auc

#: Columns of `predict`, in order.
RIVALS = ("base_rate", "one_feature", "logistic", "xgboost_default")


@dataclass(frozen=True)
class OneFeature:
    """Leads ranked by one column: its conversion rate per equal-count bin, or per level of a category.

    `edges`: rising inner bounds of the bins of a number, left-closed; None for a category, whose bins are its levels.
    `rates`: one per bin, then one for a missing or unseen value; each is smoothed as if one more conversion, at the
    base rate, had been seen there.
    """

    name: str
    edges: np.ndarray | None
    rates: np.ndarray

    @classmethod
    def fit(cls, name: str, value: np.ndarray, label: np.ndarray, *, levels: int | None, bins: int) -> OneFeature:
        """Fit on one encoded column; `levels` is the number of levels of a category, None for a number."""
        edges, n_bins = None, levels or 0
        if levels is None:
            known = value[~np.isnan(value)]
            edges = np.unique(np.quantile(known, np.arange(1, bins) / bins)) if len(known) else np.empty(0)
            n_bins = len(edges) + 1
        place = _bin(value, edges, n_bins)
        rows = np.bincount(place, minlength=n_bins + 1)
        hits = np.bincount(place, weights=label, minlength=n_bins + 1)
        return cls(name=name, edges=edges, rates=(hits + 1) / (rows + 1 / label.mean()))

    def predict(self, value: np.ndarray) -> np.ndarray:
        """Probabilities in (0, 1), shape as `value`."""
        return self.rates[_bin(value, self.edges, len(self.rates) - 1)]


def _bin(value: np.ndarray, edges: np.ndarray | None, n_bins: int) -> np.ndarray:
    """Bin of each encoded value; `n_bins`, one past the last, for missing ones."""
    missing = np.isnan(value)
    known = np.where(missing, 0.0, value)
    inside = known.astype("int64") if edges is None else np.searchsorted(edges, known, side="right")
    return np.where(missing, n_bins, inside)


@dataclass(frozen=True)
class Design:
    """Features for a plain logistic regression: standardised numbers, missing at the mean, and one-hot categories.

    A missing value has a column of its own where training had one; an unseen category has none.
    """

    encoder: Encoder
    scaler: StandardScaler
    missing: np.ndarray

    @classmethod
    def fit(cls, encoder: Encoder, matrix: np.ndarray) -> Design:
        numbers = matrix[:, [name not in encoder.levels for name in encoder.names]]
        # The scaler passes over NaN, but for a column without any value, which counts as 0.
        numbers = np.where(np.isnan(numbers).all(axis=0), 0.0, numbers)
        scaler = StandardScaler().fit(numbers) if numbers.shape[1] else StandardScaler()
        return cls(encoder=encoder, scaler=scaler, missing=np.isnan(matrix).any(axis=0))

    def columns(self, matrix: np.ndarray) -> np.ndarray:
        """Float64 array of shape (n_rows, n_columns), without NaN."""
        number = np.array([name not in self.encoder.levels for name in self.encoder.names])
        parts = [np.isnan(matrix[:, self.missing]).astype("float64")]
        if number.any():
            parts.append(np.nan_to_num(self.scaler.transform(matrix[:, number]), nan=0.0))
        for k, name in enumerate(self.encoder.names):
            if name in self.encoder.levels:
                parts.append((matrix[:, [k]] == np.arange(len(self.encoder.levels[name]))).astype("float64"))
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Rivals:
    """Fitted rivals. `one_feature.name` tells which column ranks best on its own."""

    encoder: Encoder
    base_rate: float
    one_feature: OneFeature
    design: Design
    logistic: LogisticRegression
    booster: xgb.Booster

    @classmethod
    def fit(cls, snapshots: pd.DataFrame, features: list[str], *, bins: int, seed: int, threads: int) -> Rivals:
        """Fit every rival on the same rows.

        Args:
            snapshots: `lead_id`, `as_of`, `label` in {0, 1} and the features: float64, or str for categories. Row order
                does not matter.
            features: columns to learn from.
            bins: equal-count bins of a number for the one-feature rank, which takes the feature with the best AUC on
                these rows; the first of equals.

        Raises:
            NotEnoughData: the rows do not hold both outcomes.
        """
        rows = snapshots.sort_values(["lead_id", "as_of"], ignore_index=True)
        label = rows["label"].to_numpy(dtype="float64")
        if len(label) == 0 or label.min() == label.max():
            raise NotEnoughData(
                f"the {len(label):,} rows before the test window hold one outcome only; rivals need both: "
                f"{lacking(len(label), int(label.sum()))}."
            )
        encoder = Encoder.fit(rows[features])
        matrix = encoder.matrix(rows[features])
        levels = {name: len(known) for name, known in encoder.levels.items()}
        ranks = [
            OneFeature.fit(name, matrix[:, k], label, levels=levels.get(name), bins=bins)
            for k, name in enumerate(features)
        ]
        quality = [auc(label, rank.predict(matrix[:, k])) for k, rank in enumerate(ranks)]
        design = Design.fit(encoder, matrix)
        return cls(
            encoder=encoder,
            base_rate=float(label.mean()),
            one_feature=ranks[int(np.argmax(quality))],
            design=design,
            # All defaults but the number of iterations, which is raised so that it converges.
            logistic=LogisticRegression(max_iter=10_000).fit(design.columns(matrix), label),
            # All defaults: 100 rounds, depth 6, eta 0.3.
            booster=xgb.train(
                {"objective": "binary:logistic", "seed": seed, "nthread": threads},
                _dmatrix(encoder, matrix, label),
                num_boost_round=100,
            ),
        )

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Probabilities of every rival, columns as `RIVALS`, in row order of `frame` (its features)."""
        matrix = self.encoder.matrix(frame[self.encoder.names])
        own = self.encoder.names.index(self.one_feature.name)
        return pd.DataFrame(
            {
                "base_rate": np.full(len(matrix), self.base_rate),
                "one_feature": self.one_feature.predict(matrix[:, own]),
                "logistic": self.logistic.predict_proba(self.design.columns(matrix))[:, 1],
                "xgboost_default": self.booster.predict(_dmatrix(self.encoder, matrix)).astype("float64"),
            }
        )


def _dmatrix(encoder: Encoder, matrix: np.ndarray, label: np.ndarray | None = None) -> xgb.DMatrix:
    return xgb.DMatrix(
        matrix,
        label=label,
        feature_types=encoder.feature_types,
        enable_categorical=True,
    )
