"""One fixed system that is fitted again with other columns: the figures without and with a column of the source.

It is XGBoost under fixed settings: it takes gaps, categories and steps in a number as they come, and with shallow trees
one column of noise costs it next to nothing, while under the library's own defaults the figures fall with every column
that is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.leads.contract import CREATED_AT, LEAD_KEY, Resolved, fact_name
from pipeline.params import LeakPrice, XGBoostSettings
from pipeline.scorer.calibration import sigmoid
from pipeline.scorer.margin import Encoder
from pipeline.scoring import fit, metrics

#: Figures that are shown without and with a column, and by how much they look better with it.
MEASURES = ("auc", "log_loss", "lift_10")

OTHER = "(other)"
DAY = np.timedelta64(1, "D")


def exported(column: str) -> str:
    """Name under which a column of the source enters as exported; no feature of the model is called so."""
    return f"{column} (exported)"


def made_from(column: str, resolved: Resolved, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Features of the model that are made from a column of the source, its facts included."""
    profile: dict[str, list[str]] = {}
    for part in spec["profile"]:
        made = [f"n_changes_{part['name']}", f"days_since_change_{part['name']}"] if part["tracked"] else []
        profile[part["source"]] = [part["name"], *made]
    facts = [fact_name(column, fact) for fact in resolved.contract.columns[column].facts]
    return tuple(feature for source in (column, *facts) for feature in profile.get(source, []))


def gains(without: Mapping[str, float], with_: Mapping[str, float]) -> dict[str, float]:
    """By how much each figure looks better with the column; for the log-loss, by how much it falls."""
    return {
        name: (without[name] - with_[name]) if name == "log_loss" else with_[name] - without[name] for name in MEASURES
    }


@dataclass(frozen=True)
class Trial:
    """Rows before the test window to fit on and rows of it to measure on, encoded once; every fit takes some columns.

    `train`, `test`: shape (n_rows, n_columns), columns in the order of the encoder. `label`, `truth`: their outcomes.
    `lead`: of the test rows.
    """

    encoder: Encoder
    train: np.ndarray
    label: np.ndarray
    test: np.ndarray
    truth: np.ndarray
    lead: np.ndarray
    rounds: int
    settings: XGBoostSettings
    seed: int
    threads: int

    @classmethod
    def of(
        cls,
        snapshots: pd.DataFrame,
        leads: pd.DataFrame,
        model: Sequence[str],
        outside: Sequence[str],
        resolved: Resolved,
        params: LeakPrice,
        *,
        seed: int,
        threads: int,
    ) -> Trial:
        """Rows with the features of the model and, under the name of `exported`, columns of the source.

        Args:
            snapshots: `lead_id`, `as_of`, `label`, `split` and the features `model`.
            leads: clean leads. The columns `outside` (source names) enter by their values there, as exported today,
                whatever the as-of date.
        """
        rows = snapshots.sort_values([LEAD_KEY, "as_of"], ignore_index=True)
        before, test = rows[rows["split"] != "test"], rows[rows["split"] == "test"]
        train = some(before, params.snapshots, seed)
        place = pd.Index(leads[LEAD_KEY])
        parts = []
        for part in (train, test):
            mine = leads.iloc[place.get_indexer(pd.Index(part[LEAD_KEY]))].reset_index(drop=True)
            extra = {exported(column): as_exported(mine, column, resolved) for column in outside}
            parts.append(pd.concat([part[list(model)].reset_index(drop=True), pd.DataFrame(extra)], axis=1))
        for name in map(exported, outside):
            if not pd.api.types.is_numeric_dtype(parts[0][name]):
                count = parts[0][name].value_counts()
                common = count.index[count >= params.min_rows_per_value]
                for part in parts:
                    part[name] = part[name].where(part[name].isna() | part[name].isin(common), OTHER)
        encoder = Encoder.fit(parts[0])
        return cls(
            encoder=encoder,
            train=encoder.matrix(parts[0]),
            label=train["label"].to_numpy(dtype="float64"),
            test=encoder.matrix(parts[1]),
            truth=test["label"].to_numpy(dtype="float64"),
            lead=test[LEAD_KEY].to_numpy(),
            rounds=params.rounds,
            settings=params.xgboost,
            seed=seed,
            threads=threads,
        )

    def log_odds(self, names: Sequence[str]) -> np.ndarray:
        """Of the test rows, by a system that learned from these columns only, shape (n_test,)."""
        place = [self.encoder.names.index(name) for name in names]
        if not place:
            return np.full(len(self.truth), fit.log_odds(self.label))
        levels = {name: known for name, known in self.encoder.levels.items() if name in names}
        encoder = Encoder(names=list(names), levels=levels, complete=[])
        free = np.zeros(len(names), dtype="int64")
        member = fit.fit_xgboost(
            fit.Rows(encoder, self.train[:, place], self.label, np.arange(len(self.label)), free),
            self.settings,
            rounds=self.rounds,
            seed=self.seed,
            threads=self.threads,
        )
        return member.margin(self.test[:, place])

    def measure(self, log_odds: np.ndarray) -> dict[str, float]:
        """The figures of `MEASURES` on the test window."""
        chance = sigmoid(log_odds)
        return {
            "auc": metrics.auc(self.truth, chance),
            "log_loss": metrics.log_loss(self.truth, chance),
            "lift_10": metrics.lift(self.truth, chance, 0.1),
        }


def some(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """At most about `most` rows: those of leads drawn at random, all rows of each; every row where there are fewer."""
    if len(rows) <= most:
        return rows
    code, leads = pd.factorize(rows[LEAD_KEY])
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"leak price"]))
    drawn = rng.permutation(len(leads)) < round(len(leads) * most / len(rows))
    return rows[drawn[code]]


def as_exported(leads: pd.DataFrame, column: str, resolved: Resolved) -> pd.Series:
    """A column's values as the source holds them today: a moment as days since the lead's creation, words as text."""
    value = leads[resolved.names[column]]
    if pd.api.types.is_datetime64_any_dtype(value):
        return pd.Series((value - leads[CREATED_AT]).to_numpy() / DAY)
    return value.astype("float64") if pd.api.types.is_numeric_dtype(value) else value.astype("str")
