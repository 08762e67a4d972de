"""The price of a leak: how much better the figures would look with a column that whoever scores would not have.

One fixed system is fitted again with and without each such column, on the rows before the test window, and measured on
that window. It is XGBoost under fixed settings: it takes gaps, categories and steps in a number as they come (a leak
often tells by whether it is filled at all), and with shallow trees one column of noise costs it next to nothing, while
under the library's own defaults the figures fall with every column that is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.leads.contract import CONVERTED, CONVERTED_AT, CREATED_AT, LEAD_KEY, LOST_AT, ROW, Resolved, fact_name
from pipeline.params import LeakPrice
from pipeline.scorer.calibration import sigmoid
from pipeline.scorer.features import feature_list
from pipeline.scorer.margin import Encoder
from pipeline.scoring import fit, metrics

#: Figures that are shown without and with a column, and by how much they look better with it.
MEASURES = ("auc", "log_loss", "lift_10")
COLUMNS = [
    "column",
    "verdict",
    "in_model",
    *(f"{measure}_{which}" for measure in MEASURES for which in ("without", "with", "gain")),
    "sentence",
]

#: Name, and verdict, of the row for all columns called leak together.
ALL, TOGETHER = "(all leaks)", "together"

OTHER = "(other)"
DAY = np.timedelta64(1, "D")


def price(
    snapshots: pd.DataFrame,
    leads: pd.DataFrame,
    leaks: pd.DataFrame,
    resolved: Resolved,
    spec: dict[str, Any],
    params: LeakPrice,
    *,
    seed: int,
    threads: int,
) -> pd.DataFrame:
    """The figures on the test window without and with every column that is called leak or suspect.

    Args:
        snapshots: `lead_id`, `as_of`, `label`, `split` and the features of the model.
        leads: clean leads. A column that is no feature enters by its value there, as exported today, whatever the
            as-of date: that is what a careless pipeline would have used.
        leaks: `column` (name in the source), `verdict` (`leak`, `suspect` or `clear`).
        resolved: the contract.
        spec: the feature specification; it tells which features are made from a column.
        params: the settings of the system, and how many columns and rows are looked at.

    Returns:
        The columns of `COLUMNS`, leaks first, each in the order given, then `ALL` (verdict `TOGETHER`) where there
        are several leaks.
        `*_gain`: how much better the figure looks with the column; for `log_loss`, by how much it falls. `in_model`:
        features of the model are made from the column; they are what is then taken out. Columns beyond
        `params.columns` have no figures. Personal columns, which stop at ingest, and the outcome itself are left out.
    """
    columns = _priced(leaks, resolved, spec)
    rows = _rows(columns, snapshots, leads, resolved, spec, params, seed=seed, threads=threads) if columns else []
    dtypes = {"column": "str", "verdict": "str", "in_model": "bool", "sentence": "str"}
    return pd.DataFrame(rows, columns=COLUMNS).astype({name: dtypes.get(name, "float64") for name in COLUMNS})


def _rows(
    columns: list[_Column],
    snapshots: pd.DataFrame,
    leads: pd.DataFrame,
    resolved: Resolved,
    spec: dict[str, Any],
    params: LeakPrice,
    *,
    seed: int,
    threads: int,
) -> list[list[Any]]:
    """The rows of `price`."""
    model = [feature["name"] for feature in feature_list(spec)]
    trial = _Trial.of(snapshots, leads, model, columns, resolved, params, seed=seed, threads=threads)
    base = trial.measure(model)
    rows = []
    for place, column in enumerate(columns):
        if place >= params.columns:
            rows.append([column.name, column.verdict, column.in_model, *[np.nan] * (3 * len(MEASURES)), _unpriced()])
            continue
        if column.in_model:
            without, with_ = trial.measure([name for name in model if name not in column.features]), base
        else:
            without, with_ = base, trial.measure([*model, column.feature])
        rows.append(_row(column, without, with_))
    known = [column for column in columns if column.verdict == "leak"]
    if len(known) > 1:
        inside = {name for column in known for name in column.features}
        outside = [column.feature for column in known if not column.in_model]
        clean = base if not inside else trial.measure([name for name in model if name not in inside])
        dirty = base if not outside else trial.measure([*model, *outside])
        # Where some leaks are in the model and others are not, the sentence speaks of adding them.
        rows.append(_row(_Column(ALL, TOGETHER, () if outside else tuple(inside)), clean, dirty))
    return rows


@dataclass(frozen=True)
class _Column:
    """A column to be priced. `features`: of the model, made from it; where there are none, `feature` is added."""

    name: str
    verdict: str
    features: tuple[str, ...]

    @property
    def in_model(self) -> bool:
        return bool(self.features)

    @property
    def feature(self) -> str:
        """Name of the column as exported; no feature of the model is called so."""
        return f"{self.name} (exported)"


def _priced(leaks: pd.DataFrame, resolved: Resolved, spec: dict[str, Any]) -> list[_Column]:
    """Columns called leak, then suspects, but for the outcome, keys and times themselves and personal columns."""
    skeleton = {ROW, LEAD_KEY, CREATED_AT, CONVERTED_AT, LOST_AT, CONVERTED}
    profile: dict[str, list[str]] = {}
    for part in spec["profile"]:
        made = [f"n_changes_{part['name']}", f"days_since_change_{part['name']}"] if part["tracked"] else []
        profile[part["source"]] = [part["name"], *made]
    found = []
    for verdict in ("leak", "suspect"):
        for name in leaks.loc[leaks["verdict"] == verdict, "column"].astype(str):
            facts = [fact_name(name, fact) for fact in resolved.contract.columns[name].facts]
            features = tuple(feature for source in (name, *facts) for feature in profile.get(source, []))
            if features or resolved.names.get(name, LEAD_KEY) not in skeleton:
                found.append(_Column(name, verdict, features))
    return found


@dataclass(frozen=True)
class _Trial:
    """Rows to fit on and rows to measure on, encoded once; every fit takes some of the columns."""

    encoder: Encoder
    train: np.ndarray
    label: np.ndarray
    test: np.ndarray
    truth: np.ndarray
    params: LeakPrice
    seed: int
    threads: int

    @classmethod
    def of(
        cls,
        snapshots: pd.DataFrame,
        leads: pd.DataFrame,
        model: Sequence[str],
        columns: Sequence[_Column],
        resolved: Resolved,
        params: LeakPrice,
        *,
        seed: int,
        threads: int,
    ) -> _Trial:
        rows = snapshots.sort_values([LEAD_KEY, "as_of"], ignore_index=True)
        before, test = rows[rows["split"] != "test"], rows[rows["split"] == "test"]
        train = _some(before, params.snapshots, seed)
        outside = [column for column in columns[: params.columns] if not column.in_model]
        outside += [column for column in columns[params.columns :] if not column.in_model and column.verdict == "leak"]
        place = pd.Index(leads[LEAD_KEY])
        parts = []
        for part in (train, test):
            mine = leads.iloc[place.get_indexer(pd.Index(part[LEAD_KEY]))].reset_index(drop=True)
            extra = {column.feature: _exported(mine, column.name, resolved) for column in outside}
            parts.append(pd.concat([part[list(model)].reset_index(drop=True), pd.DataFrame(extra)], axis=1))
        for column in outside:
            if not pd.api.types.is_numeric_dtype(parts[0][column.feature]):
                count = parts[0][column.feature].value_counts()
                common = count.index[count >= params.min_rows_per_value]
                for part in parts:
                    value = part[column.feature]
                    part[column.feature] = value.where(value.isna() | value.isin(common), OTHER)
        encoder = Encoder.fit(parts[0])
        return cls(
            encoder=encoder,
            train=encoder.matrix(parts[0]),
            label=train["label"].to_numpy(dtype="float64"),
            test=encoder.matrix(parts[1]),
            truth=test["label"].to_numpy(dtype="float64"),
            params=params,
            seed=seed,
            threads=threads,
        )

    def measure(self, names: Sequence[str]) -> dict[str, float]:
        """The figures of `MEASURES` on the test window of a system that learned from these columns only."""
        place = [self.encoder.names.index(name) for name in names]
        chance = np.full(len(self.truth), self.label.mean())
        if place:
            levels = {name: known for name, known in self.encoder.levels.items() if name in names}
            encoder = Encoder(names=list(names), levels=levels, complete=[])
            free = np.zeros(len(names), dtype="int64")
            member = fit.fit_xgboost(
                fit.Rows(encoder, self.train[:, place], self.label, np.arange(len(self.label)), free),
                self.params.xgboost,
                rounds=self.params.rounds,
                seed=self.seed,
                threads=self.threads,
            )
            chance = sigmoid(member.margin(self.test[:, place]))
        return {
            "auc": metrics.auc(self.truth, chance),
            "log_loss": metrics.log_loss(self.truth, chance),
            "lift_10": metrics.lift(self.truth, chance, 0.1),
        }


def _some(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """At most about `most` rows: those of leads drawn at random, all rows of each; every row where there are fewer."""
    if len(rows) <= most:
        return rows
    code, leads = pd.factorize(rows[LEAD_KEY])
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"leak price"]))
    drawn = rng.permutation(len(leads)) < round(len(leads) * most / len(rows))
    return rows[drawn[code]]


def _exported(leads: pd.DataFrame, column: str, resolved: Resolved) -> pd.Series:
    """A column's values as the source holds them today: a moment as days since the lead's creation, words as text."""
    value = leads[resolved.names[column]]
    if pd.api.types.is_datetime64_any_dtype(value):
        return pd.Series((value - leads[CREATED_AT]).to_numpy() / DAY)
    return value.astype("float64") if pd.api.types.is_numeric_dtype(value) else value.astype("str")


def _row(column: _Column, without: dict[str, float], with_: dict[str, float]) -> list[Any]:
    gain = {name: with_[name] - without[name] for name in MEASURES}
    gain["log_loss"] = -gain["log_loss"]
    figures = [figure for name in MEASURES for figure in (without[name], with_[name], gain[name])]
    return [column.name, column.verdict, column.in_model, *figures, _sentence(column, without, with_)]


def _sentence(column: _Column, without: dict[str, float], with_: dict[str, float]) -> str:
    """The price in words, with figures as they are shown."""
    subject = "all leaks together" if column.name == ALL else f"`{column.name}`"
    before, after = round(without["auc"], 2), round(with_["auc"], 2)
    if after <= before:
        beside = f"the test AUC is {after:.2f}, without {before:.2f}"
        state = "in the model and could be left out at no loss" if column.in_model else "no help to the figures either"
        return f"{subject[0].upper()}{subject[1:]}: {state}; {beside}."
    figures = (
        f"{after - before:.2f} better ({after:.2f} instead of {before:.2f}) and the lift in the top tenth "
        f"{with_['lift_10']:.1f} instead of {without['lift_10']:.1f}"
    )
    if not column.in_model:
        return f"With {subject} the test AUC looks {figures}; the salesperson would never see that."
    doubt = "if this is a leak, " if column.verdict == "suspect" else ""
    return f"With {subject} in the model, as it is, the test AUC is {figures}; {doubt}sales will not see that gain."


def _unpriced() -> str:
    return "Not priced on its own: `evaluate.leak_price.columns` in params.yaml says how many columns are."
