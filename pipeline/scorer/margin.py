"""The margin: log-odds as a sum, base + one term per feature + the current level.

Members are fitted models with exact additive contributions; the margin is their weighted sum. Each contribution is
centred on its mean over the training snapshots, so that the base is the average margin of the training snapshots.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .trees import Forest

# Imported where used: it takes a second, and whoever only builds features, from this same package, needs none of it.
if TYPE_CHECKING:
    import xgboost as xgb


@dataclass(frozen=True)
class Encoder:
    """Features as a float matrix for trees: numbers as they are, categories as the index of their training level.

    A value not seen in training is missing, on purpose: left to itself XGBoost scores it as another level. `complete`
    names the features without a gap in training, for which a missing value is as new as an unseen one.
    """

    names: list[str]
    levels: dict[str, list[str]]
    complete: list[str]

    @classmethod
    def fit(cls, features: pd.DataFrame) -> Encoder:
        """Learn the levels of every `str` column, sorted."""
        levels = {
            name: sorted(features[name].dropna().unique().tolist())
            for name in features.columns
            if not pd.api.types.is_numeric_dtype(features[name])
        }
        complete = [name for name in features.columns if features[name].notna().all()]
        return cls(names=list(features.columns), levels=levels, complete=complete)

    @property
    def feature_types(self) -> list[str]:
        return ["c" if name in self.levels else "q" for name in self.names]

    def matrix(self, features: pd.DataFrame) -> np.ndarray:
        """Float64 array of shape (n_rows, n_features); NaN where missing or unseen."""
        result = np.empty((len(features), len(self.names)))
        for k, name in enumerate(self.names):
            if name in self.levels:
                code = pd.Index(self.levels[name], dtype=object).get_indexer(pd.Index(features[name].astype(object)))
                result[:, k] = np.where(code < 0, np.nan, code)
            else:
                result[:, k] = features[name].to_numpy(dtype="float64")
        return result

    def unseen(self, features: pd.DataFrame) -> dict[str, np.ndarray]:
        """Per category column: True where a value is present but was not seen in training."""
        return {
            name: (features[name].notna() & ~features[name].isin(levels)).to_numpy()
            for name, levels in self.levels.items()
        }

    def data(self) -> dict[str, Any]:
        return {"names": self.names, "levels": self.levels, "complete": self.complete}

    def unknown(self, features: pd.DataFrame) -> np.ndarray:
        """True where training has no evidence on a value: unseen, or missing where nothing was; shape as `matrix`."""
        result = np.zeros((len(features), len(self.names)), dtype=bool)
        for k, name in enumerate(self.names):
            if name in self.complete:
                result[:, k] = features[name].isna().to_numpy()
        for name, mask in self.unseen(features).items():
            result[:, self.names.index(name)] |= mask
        return result


@dataclass(frozen=True)
class LogisticMember:
    """Logistic regression as a lookup: per feature a weight per bin or level, and a slope on the standardised value.

    `terms[name]` holds, for a number: `edges` (rising), `weights` (one per bin, len(edges) + 1), `mean`, `scale`,
    `slope` and `limit` (standardised values are clipped to +-limit); for a category: `weights` per level in the
    encoder's order. `missing` is the weight of a missing or unseen value.
    """

    encoder: Encoder
    intercept: float
    terms: dict[str, dict[str, Any]]
    kind = "logistic"

    def contributions(self, matrix: np.ndarray) -> tuple[float, np.ndarray]:
        """Bias and contributions in log-odds, shape (n_rows, n_features), not centred."""
        result = np.empty(matrix.shape)
        for k, name in enumerate(self.encoder.names):
            term, value = self.terms[name], matrix[:, k]
            missing = np.isnan(value)
            known = np.where(missing, 0.0, value)
            weights = np.asarray(term["weights"], dtype="float64")
            if name in self.encoder.levels:
                part = weights[known.astype("int64")] if len(weights) else np.zeros(len(value))
            else:
                standard = np.clip((known - term["mean"]) / term["scale"], -term["limit"], term["limit"])
                part = weights[np.searchsorted(term["edges"], known, side="right")] + term["slope"] * standard
            result[:, k] = np.where(missing, term["missing"], part)
        return self.intercept, result

    def data(self) -> dict[str, Any]:
        return {"intercept": self.intercept, "terms": self.terms}

    def margin(self, matrix: np.ndarray) -> np.ndarray:
        bias, parts = self.contributions(matrix)
        return bias + parts.sum(axis=1)


@dataclass(frozen=True)
class XGBoostMember:
    """Gradient-boosted trees; contributions are exact path-dependent SHAP values of the margin (Lundberg et al.
    2020).

    `values`: where the trees see categories as numbers, one number per training level and column; None where they see
    them as they are. `start`: the member that the trees correct; None where they begin from nothing.
    """

    encoder: Encoder
    booster: xgb.Booster
    values: dict[str, list[float]] | None = None
    start: LogisticMember | None = None
    kind = "xgboost"

    @staticmethod
    def translate(encoder: Encoder, matrix: np.ndarray, values: dict[str, list[float]] | None) -> np.ndarray:
        """The encoded matrix as the trees see it: categories as the numbers of `values`."""
        if not values:
            return matrix
        result = matrix.copy()
        for name, table in values.items():
            k = encoder.names.index(name)
            known = ~np.isnan(matrix[:, k])
            result[known, k] = np.asarray(table)[matrix[known, k].astype("int64")]
        return result

    def dmatrix(self, matrix: np.ndarray) -> xgb.DMatrix:
        """Encoded rows as the booster takes them."""
        import xgboost as xgb

        types = self.encoder.feature_types if self.values is None else ["q"] * len(self.encoder.names)
        seen = self.translate(self.encoder, matrix, self.values)
        return xgb.DMatrix(seen, feature_types=types, enable_categorical=True)

    @cached_property
    def forest(self) -> Forest:
        """The trees as arrays, for contributions that the library takes many times as long for."""
        return Forest.of(self.booster)

    def of_trees(self, matrix: np.ndarray) -> tuple[float, np.ndarray]:
        """Bias and contributions of the trees alone, without what they start from."""
        return self.forest.contributions(self.translate(self.encoder, matrix, self.values))

    def contributions(self, matrix: np.ndarray) -> tuple[float, np.ndarray]:
        bias, own = self.of_trees(matrix)
        if self.start is not None:
            first, other = self.start.contributions(matrix)
            bias, own = bias + first, own + other
        return bias, own

    def margin(self, matrix: np.ndarray, rounds: int = 0) -> np.ndarray:
        """Margin of every row; of the first `rounds` trees only, where that is not 0."""
        found = self.booster.predict(self.dmatrix(matrix), output_margin=True, iteration_range=(0, rounds))
        first = 0.0 if self.start is None else self.start.margin(matrix)
        return np.asarray(found.astype("float64") + first)


Member = LogisticMember | XGBoostMember


@dataclass(frozen=True)
class Margin:
    """The weighted sum of the members.

    `weights`: one per member, non-negative, summing to 1. `base`: mean margin over the training snapshots. `centre`:
    mean weighted contribution per feature over the same snapshots, shape (n_features,).
    """

    encoder: Encoder
    members: list[Member]
    weights: list[float]
    base: float
    centre: np.ndarray

    def contributions(self, features: pd.DataFrame) -> np.ndarray:
        """Centred contributions in log-odds, shape (n_rows, n_features): margin = base + sum over features.

        A value on which training has no evidence adds nothing: without this rule it would follow the members' default
        branch, which was never fitted to anything.
        """
        parts = self.raw(self.encoder.matrix(features), self.members, self.weights)[1] - self.centre
        return np.where(self.encoder.unknown(features), 0.0, parts)

    def values(self, features: pd.DataFrame) -> np.ndarray:
        """The margin of every row, without the current level: base + the sum of its contributions."""
        return np.asarray(self.base + self.contributions(features).sum(axis=1))

    @staticmethod
    def raw(matrix: np.ndarray, members: list[Member], weights: list[float]) -> tuple[float, np.ndarray]:
        """Weighted bias and contributions before centring."""
        bias, total = 0.0, np.zeros(matrix.shape)
        for member, weight in zip(members, weights, strict=True):
            own_bias, parts = member.contributions(matrix)
            bias += weight * own_bias
            total += weight * parts
        return bias, total

    @classmethod
    def centred(cls, encoder: Encoder, members: list[Member], weights: list[float], features: pd.DataFrame) -> Margin:
        """The margin of fitted members, centred on the training snapshots `features`."""
        bias, parts = cls.raw(encoder.matrix(features), members, weights)
        centre = parts.mean(axis=0)
        return cls(encoder=encoder, members=members, weights=weights, base=float(bias + centre.sum()), centre=centre)

    def files(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The margin as one JSON document and named binary files, for `restore`."""
        entries, blobs = [], {}
        for k, (member, weight) in enumerate(zip(self.members, self.weights, strict=True)):
            entry: dict[str, Any] = {"kind": member.kind, "weight": weight}
            if isinstance(member, XGBoostMember):
                entry["file"] = f"member_{k}.ubj"
                entry["values"] = member.values
                entry["start"] = None if member.start is None else member.start.data()
                blobs[entry["file"]] = bytes(member.booster.save_raw(raw_format="ubj"))
            else:
                entry |= member.data()
            entries.append(entry)
        document = {
            "encoder": self.encoder.data(),
            "base": self.base,
            "centre": self.centre.tolist(),
            "members": entries,
        }
        return document, blobs

    @classmethod
    def restore(cls, document: dict[str, Any], folder: Path) -> Margin:
        """Read back what `files` gave; binary files lie in `folder` and must have been verified by the caller."""
        encoder = Encoder(**document["encoder"])
        members: list[Member] = []
        for entry in document["members"]:
            if entry["kind"] == "xgboost":
                import xgboost as xgb

                booster = xgb.Booster(model_file=bytearray((folder / entry["file"]).read_bytes()))
                start = LogisticMember(encoder, **entry["start"]) if entry["start"] else None
                members.append(XGBoostMember(encoder=encoder, booster=booster, values=entry["values"], start=start))
            else:
                members.append(LogisticMember(encoder=encoder, intercept=entry["intercept"], terms=entry["terms"]))
        return cls(
            encoder=encoder,
            members=members,
            weights=[entry["weight"] for entry in document["members"]],
            base=document["base"],
            centre=np.asarray(document["centre"], dtype="float64"),
        )
