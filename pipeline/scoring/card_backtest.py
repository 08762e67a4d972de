"""A points card judged as the model is: on the same test rows, by the same metrics, with paired differences by lead.

A card ranks by its points, and calls last whom it suppresses: lift, capture and the other figures of a ranking are
those of that order. Points are no chance, though. What they are worth is learned on the calibrate window, by a logistic
regression of the outcome on the total, and judged on the test window by log-loss, Brier score and calibration error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from pipeline.errors import NotEnoughData, lacking
from pipeline.leads.cards import Card
from pipeline.params import Evaluate
from pipeline.scorer.calibration import sigmoid
from pipeline.scoring import card_lint, metrics
from pipeline.scoring.card import points

CARD, MODEL, RANKED = "card", "model", "ranked"

#: Metrics of chances; the others are of the order alone.
OF_CHANCES = ("log_loss", "brier", "calibration_error")

#: Shares of the leads called first in the lift table.
SHARES = (0.01, 0.02, 0.05, *(tenth / 10 for tenth in range(1, 11)))


@dataclass(frozen=True)
class Chance:
    """From points to a chance: sigmoid(intercept + slope x total), and `suppressed`, the conversion rate of suppressed
    rows, where a suppressor holds.

    `slope`: log-odds per point, at least 0: a card says that more points are better, and is not turned round where they
    are not.
    """

    intercept: float
    slope: float
    suppressed: float

    @classmethod
    def fit(cls, counted: pd.DataFrame, label: np.ndarray) -> Chance:
        """Learn on rows of one window.

        Args:
            counted: `total` and `suppressed`, as `card.points` returns them.
            label: 1 converted, 0 not; shape (n_rows,).

        Raises:
            NotEnoughData: the rows that nothing suppresses do not hold both outcomes.
        """
        held = (counted["suppressed"] != "").to_numpy()
        total, y = counted["total"].to_numpy(dtype="float64")[~held], np.asarray(label, dtype="float64")
        if len(np.unique(y[~held])) < 2:
            raise NotEnoughData(
                f"the calibrate window holds one outcome only among the {len(total):,} rows that the card does not "
                "suppress; what its points are worth cannot be learned before there is "
                f"{lacking(len(total), int(y[~held].sum()))}."
            )
        middle, spread = float(total.mean()), float(total.std())
        slope, intercept = 0.0, _log_odds(float(y[~held].mean()))
        if spread > 0:
            scaled = (total - middle) / spread
            fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8).fit(scaled[:, None], y[~held])
            if fitted.coef_[0, 0] > 0:
                slope = float(fitted.coef_[0, 0]) / spread
                intercept = float(fitted.intercept_[0]) - slope * middle
        # As if one more row had been suppressed, and had converted as often as the others do.
        rate = (float(y[held].sum()) + float(y[~held].mean())) / (int(held.sum()) + 1)
        return cls(intercept, slope, rate)

    def probability(self, counted: pd.DataFrame) -> np.ndarray:
        """Chances in (0, 1), in row order."""
        chance = sigmoid(self.intercept + self.slope * counted["total"].to_numpy(dtype="float64"))
        return np.where(counted["suppressed"] != "", self.suppressed, chance)


def as_rival(
    card: Card,
    before: pd.DataFrame,
    label: np.ndarray,
    test: pd.DataFrame,
    history: tuple[pd.DataFrame, pd.DataFrame],
    spec: Mapping[str, Any],
) -> np.ndarray:
    """What a card's points are worth on the test rows: chances in (0, 1), shape (n_test_rows,).

    Args:
        before, test: rows of the calibrate and of the test window, as `card.points` takes them; `label` of the former.
        history: activities and changes. `spec`: as written by `featurize`.

    Raises:
        CardError: the card cannot be counted on this contract. NotEnoughData: see `Chance.fit`.
    """
    card_lint.refuse_errors(card, card_lint.static(card, spec, {}))
    counted = [points(card, rows, *history, spec) for rows in (before, test)]
    return Chance.fit(counted[0], label).probability(counted[1])


def ranking(counted: pd.DataFrame) -> np.ndarray:
    """The order in which a card calls leads, as numbers in [0, 1]: more points are higher, suppressed leads are 0."""
    place = counted["total"].rank(method="dense").to_numpy()
    return np.where(counted["suppressed"] != "", 0.0, place / max(1.0, place.max(initial=1.0)))


@dataclass(frozen=True)
class Backtest:
    """`metrics`: one row per metric, see `compare`. `lift`: `share`, and `lift` and `capture` of card and model.
    `reliability`: as `metrics.reliability`, of the card's chances. `figures`: single numbers by name."""

    metrics: pd.DataFrame
    lift: pd.DataFrame
    reliability: pd.DataFrame
    figures: dict[str, float]


def judge(
    rows: pd.DataFrame,
    counted: pd.DataFrame,
    chance: Chance,
    params: Evaluate,
    seed: int,
    shares: Sequence[float] = SHARES,
) -> Backtest:
    """Judge a card beside the model.

    Args:
        rows: one row per test snapshot that the model scored: `lead_id`, `label`, and `model`, its probability.
        counted: the card's points of the same rows, in the same order.
        chance: learned before the test window.
    """
    own, ranked = chance.probability(counted), ranking(counted)
    frame = rows.reset_index(drop=True).assign(**{CARD: own, RANKED: ranked})
    label = frame["label"].to_numpy()
    orders = {CARD: ranked, MODEL: frame[MODEL].to_numpy()}
    beside = {name: metrics.lift_table(label, order, shares) for name, order in orders.items()}
    lift = pd.DataFrame({"share": beside[CARD]["share"], "rows": beside[CARD]["rows"]})
    for name, one in beside.items():
        lift[f"lift_{name}"], lift[f"capture_{name}"] = one["lift"], one["capture"]
    qualifies, held = counted["qualifies"].to_numpy(), (counted["suppressed"] != "").to_numpy()
    figures = {
        "rows": float(len(frame)),
        "leads": float(frame["lead_id"].nunique()),
        "conversions": float(label.sum()),
        "qualify_share": float(qualifies.mean()),
        "qualify_conversion": _mean(label[qualifies]),
        "qualify_capture": float(label[qualifies].sum() / max(1, label.sum())),
        "suppressed_share": float(held.mean()),
        "suppressed_conversion": _mean(label[held]),
        **{f"chance_{name}": value for name, value in asdict(chance).items()},
    }
    if chance.slope > 0:
        figures["points_to_double_the_odds"] = float(np.log(2) / chance.slope)
    return Backtest(
        metrics=compare(frame, params, seed),
        lift=lift,
        reliability=metrics.reliability(label, own, params.bins, params.reliability_level, frame["lead_id"]),
        figures=figures,
    )


def compare(frame: pd.DataFrame, params: Evaluate, seed: int) -> pd.DataFrame:
    """Every metric of card and model, and their difference, paired by lead.

    Args:
        frame: `lead_id`, `label`, the probabilities `card` and `model`, and the card's order as `ranked`, in [0, 1].

    Returns:
        One row per metric: `metric`; `card` and `model`, each with `_low` and `_high`; `difference` (card - model) with
        the middle `interval_level` of its resamples, moved so that their median lies on the figure; `card_better`: the
        share of the resamples in which the card does better, ties counted half.
    """
    systems, samples = [CARD, RANKED, MODEL], params.bootstrap_samples
    single = metrics.bootstrap_by_lead(
        frame, systems, bins=params.bins, samples=samples, level=params.interval_level, seed=seed
    )
    draws = metrics.resampled_by_lead(frame, systems, bins=params.bins, samples=samples, seed=seed)
    of_chances = np.isin(metrics.METRICS, OF_CHANCES)
    table = pd.DataFrame({"metric": metrics.METRICS})
    by_system = {name: single[single["system"] == name].reset_index(drop=True) for name in systems}
    mine = by_system[CARD].where(pd.Series(of_chances), by_system[RANKED])
    for name, one in ((CARD, mine), (MODEL, by_system[MODEL])):
        table[name], table[f"{name}_low"], table[f"{name}_high"] = one["value"], one["low"], one["high"]
    apart = np.where(of_chances, draws[CARD], draws[RANKED]) - draws[MODEL]
    tail = 0.5 - params.interval_level / 2
    low, middle, high = np.nanquantile(apart, [tail, 0.5, 1 - tail], axis=0)
    table["difference"] = table[CARD] - table[MODEL]
    table["difference_low"] = table["difference"] + low - middle
    table["difference_high"] = table["difference"] + high - middle
    better = np.where(np.isin(metrics.METRICS, metrics.SMALLER_IS_BETTER), -apart, apart)
    table["card_better"] = (better > 0).mean(axis=0) + (better == 0).mean(axis=0) / 2
    return table


def _log_odds(rate: float) -> float:
    return float(np.log(rate / (1 - rate)))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
