"""What the history says of a card's points: integers learned on the card's own criteria, and criteria that it lacks.

A logistic regression on how often each criterion fires gives log-odds; they are divided by one unit and rounded. The
unit is chosen so that the leads get as many points in all as from the hand-made card, so that both can be compared
point by point, and a total means about the same. Nothing of the test window is looked at.

Source: additive scoring by rounded logistic regression, as in credit scorecards (Siddiqi 2006); errors by lead, whose
snapshots share their fate (Liang and Zeger 1986).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from pipeline.errors import NotEnoughData, lacking
from pipeline.leads.cards import Card, Condition, Criterion, Group, OfActivity, OfAge, OfColumn, said
from pipeline.params import CardSuggestion
from pipeline.scorer.calibration import sigmoid
from pipeline.scorer.features import LEAD_AGE
from pipeline.scoring import metrics
from pipeline.scoring.card import Known, add_up, amounts, earn
from pipeline.scoring.card_backtest import Chance, ranking

#: Columns of `Suggestion.points`, `.missing` and `.ahead`.
POINTS = (
    "criterion",
    "group",
    "points",
    "learned",
    "learned_low",
    "learned_high",
    "verdict",
    "rows",
    "conversion",
    "conversion_else",
)
MISSING = ("criterion", "condition", "points", "z", "rows", "conversion", "log_loss_gain", "lift_10_gain")
AHEAD = ("system", "log_loss", "auc", "lift_10")

#: Systems of `ahead`.
BY_HAND, LEARNED, WIDER = "hand-made", "learned", "learned, with what is missing"

#: Share of the leads called first that `lift_10` is about.
TOP = 0.1


@dataclass(frozen=True)
class Suggestion:
    """`points`: learned beside hand-made points, one row per criterion. `missing`: criteria of the contract that the
    card does not look at and that would add to it, best first. `ahead`: hand-made and learned points, the latter also
    with what is missing, learned on the train window and judged on the calibrate window. `card`: the learned card.
    `double_odds`: how many of its points double the odds."""

    points: pd.DataFrame
    missing: pd.DataFrame
    ahead: pd.DataFrame
    card: Card
    double_odds: float

    @property
    def better(self) -> bool:
        """Whether learned points had the smaller log-loss on rows that they were not learned from."""
        losses = self.ahead.set_index("system")["log_loss"]
        return bool(losses[LEARNED] < losses[BY_HAND])


def suggest(
    card: Card,
    rows: pd.DataFrame,
    look: Callable[[Card], Known],
    spec: Mapping[str, Any],
    level: float,
    limits: CardSuggestion,
) -> Suggestion:
    """Learn a card's points from the windows before the test window.

    Args:
        rows: snapshots of both windows: `lead_id`, `split` (`train`, `calibrate`), `label`, and the features.
        look: the facts that a card needs of these rows, in their order.
        spec: `profile`, `kinds`, `windows_days` and `aged`, as written by `featurize`.
        level: of the interval around learned points, e.g. 0.9.
        limits: which conditions on what the card lacks are tried and proposed.

    Raises:
        NotEnoughData: a window does not hold both outcomes.
    """
    seen = _Seen.of(card, rows, look)
    for window, mask in (("train", seen.train), ("calibrate", ~seen.train)):
        label = seen.label[mask & seen.called]
        if len(np.unique(label)) < 2:
            raise NotEnoughData(
                f"the {window} window holds one outcome only; no points can be learned before there is "
                f"{lacking(len(label), int(label.sum()))}."
            )
    fit = seen.fit(seen.fired, seen.called)
    unit = unit_of(card, seen.fired[seen.called], fit)
    missing = _missing(seen, rows, spec, unit, limits)
    return Suggestion(
        points=_table(seen, fit, unit, level),
        missing=missing.drop(columns="found"),
        ahead=_ahead(seen, missing),
        card=learned_card(card, fit, unit, seen.known, seen.share),
        double_odds=float(np.log(2) / unit),
    )


@dataclass(frozen=True)
class _Seen:
    """A card on the rows before the test window: its facts, how often each criterion fires, and what came of the lead.

    `train`: rows of the train window. `called`: rows that nothing suppresses. `share`: of the rows that qualify.
    """

    card: Card
    look: Callable[[Card], Known]
    known: Known
    fired: pd.DataFrame
    label: np.ndarray
    lead: np.ndarray
    train: np.ndarray
    called: np.ndarray
    share: float

    @classmethod
    def of(cls, card: Card, rows: pd.DataFrame, look: Callable[[Card], Known]) -> _Seen:
        known = look(card)
        counted = add_up(card, known)
        return cls(
            card=card,
            look=look,
            known=known,
            fired=effective(card, known),
            label=rows["label"].to_numpy(dtype="float64"),
            lead=pd.factorize(rows["lead_id"])[0],
            train=(rows["split"] == "train").to_numpy(),
            called=(counted["suppressed"] == "").to_numpy(),
            share=float(counted["qualifies"].mean()),
        )

    def fit(self, columns: pd.DataFrame, where: np.ndarray) -> _Fit:
        return _Fit.of(columns[where], self.label[where], self.lead[where])


def effective(card: Card, known: Known) -> pd.DataFrame:
    """How often each criterion fires as far as its own cap lets it count; float64 of shape (n_rows, n_criteria)."""
    amount = amounts(card, known)
    earned = earn(card, amount)
    columns = {one.name: earned[one.name] / one.points if one.points else amount[one.name] for one in card.criteria}
    return pd.DataFrame(columns, index=amount.index)


@dataclass(frozen=True)
class _Fit:
    """A logistic regression on columns, with a ridge of one so that columns which always go together share.

    `names`: columns that vary. `weights`: log-odds, the intercept first. `inverse`: of the curvature. `covariance`: of
    the weights, by lead. `variance`: of each row's outcome. `rest`: outcome less chance per row.
    """

    names: list[str]
    weights: np.ndarray
    design: np.ndarray
    inverse: np.ndarray
    covariance: np.ndarray
    variance: np.ndarray
    rest: np.ndarray
    lead: np.ndarray

    @classmethod
    def of(cls, columns: pd.DataFrame, label: np.ndarray, lead: np.ndarray) -> _Fit:
        names = [str(name) for name in columns if columns[name].nunique() > 1]
        matrix = columns[names].to_numpy()
        if names:
            model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-8).fit(matrix, label)
            weights = np.r_[model.intercept_, model.coef_[0]]
        else:
            weights = np.array([np.log(label.mean() / (1 - label.mean()))])
        design = np.column_stack([np.ones(len(matrix)), matrix])
        chance = sigmoid(design @ weights)
        ridge = np.diag([0.0, *[1.0] * len(names)])
        variance = chance * (1 - chance)
        curvature = (design * variance[:, None]).T @ design
        inverse = np.linalg.inv(curvature + ridge)
        rest = label - chance
        pushed = _by_lead(design * rest[:, None], lead)
        return cls(names, weights, design, inverse, inverse @ (pushed.T @ pushed) @ inverse, variance, rest, lead)

    def of_column(self, name: str) -> tuple[float, float]:
        """Log-odds of a column and their standard error; both NaN where it did not vary."""
        if name not in self.names:
            return float("nan"), float("nan")
        place = self.names.index(name) + 1
        return float(self.weights[place]), float(np.sqrt(self.covariance[place, place]))

    def predict(self, columns: pd.DataFrame) -> np.ndarray:
        return sigmoid(self.weights[0] + columns[self.names].to_numpy() @ self.weights[1:])

    def z(self, column: np.ndarray) -> float:
        """How many standard errors a further column lies from adding nothing: the score test (Rao 1948), by lead."""
        spread = self.design.T @ (self.variance * column)
        apart = column - self.design @ (self.inverse @ spread)
        pushed = _by_lead((apart * self.rest)[:, None], self.lead)[:, 0]
        size = float(np.sqrt((pushed**2).sum()))
        return float(pushed.sum()) / size if size > 0 else 0.0


def unit_of(card: Card, fired: pd.DataFrame, fit: _Fit) -> float:
    """Log-odds of one point: what makes learned and hand-made points as many in all over the rows, signs left out.

    Raises:
        NotEnoughData: no criterion with points fires on some rows and not on others.
    """
    mean = fired.mean()
    by_hand = sum(abs(one.points) * mean[one.name] for one in card.criteria if one.name in fit.names)
    by_outcome = sum(abs(fit.of_column(name)[0]) * mean[name] for name in fit.names)
    if by_hand <= 0 or by_outcome <= 0:
        raise NotEnoughData(f"no criterion of card {card.name} tells one lead of the history from another.")
    return float(by_outcome / by_hand)


def learned_card(card: Card, fit: _Fit, unit: float, known: Known, share: float) -> Card:
    """The card with learned points: criteria that come to nothing are left out, and so are caps of groups and in total,
    which the regression does not know; as near to `share` of the rows qualify as whole points allow.

    Raises:
        NotEnoughData: nothing comes to a whole point.
    """
    kept = []
    for one in card.criteria:
        points = whole(fit.of_column(one.name)[0] / unit)
        if points:
            cap = None if one.cap is None or not one.points else max(1.0, np.rint(one.cap * abs(points / one.points)))
            kept.append(one.model_copy(update={"points": float(points), "cap": cap}))
    if not kept:
        raise NotEnoughData(f"no criterion of card {card.name} comes to a whole point.")
    used = {one.group for one in kept}
    groups = {name: Group() for name in card.groups if name in used}
    learned = card.model_copy(
        update={
            "name": f"{card.name}_learned",
            "description": f"Points learned from the history on the criteria of card {card.name}.",
            "criteria": kept,
            "cap": None,
            "groups": groups,
        }
    )
    total = add_up(learned, known)["total"]
    steps = np.unique(np.ceil(total))
    nearest = steps[np.argmin([abs(float((total >= step).mean()) - share) for step in steps])]
    return learned.model_copy(update={"qualifies_at": float(nearest)})


def whole(points: float) -> int:
    """The nearest whole number of points; none where nothing was learned."""
    return 0 if np.isnan(points) else int(np.rint(points))


def _table(seen: _Seen, fit: _Fit, unit: float, level: float) -> pd.DataFrame:
    reach, rows = norm.ppf(0.5 + level / 2), []
    for one in seen.card.criteria:
        weight, error = fit.of_column(one.name)
        low, high = (weight - reach * error) / unit, (weight + reach * error) / unit
        fires = (seen.fired[one.name] > 0).to_numpy() & seen.called
        rows.append(
            [
                one.name,
                one.group,
                one.points,
                whole(weight / unit),
                low,
                high,
                verdict(one.points, low, high),
                int(fires.sum()),
                _mean(seen.label[fires]),
                _mean(seen.label[seen.called & ~fires]),
            ]
        )
    return pd.DataFrame(rows, columns=list(POINTS))


def verdict(points: float, low: float, high: float) -> str:
    """What an interval of learned points says of hand-made ones; `low` and `high` are NaN where nothing was learned."""
    if np.isnan(low):
        return "tells nobody apart"
    if low <= 0 <= high:
        return "adds nothing"
    if (low > 0) != (points > 0) and points != 0:
        return "wrong sign"
    if low <= points <= high:
        return "fits"
    return "too many points" if abs(points) > max(abs(low), abs(high)) else "too few points"


# What the card does not look at


def candidates(card: Card, rows: pd.DataFrame, spec: Mapping[str, Any], steps: int) -> list[tuple[str, Condition]]:
    """Conditions on criteria of the contract that the card does not look at, each with its criterion.

    Of a category every word, of a number and of the age so many about equally full `steps`, of a kind of activity every
    window, and of what may be missing that it is.
    """
    covered = {column["criterion"] for column in spec["profile"] if column["source"] in card.columns}
    covered |= {kind["criterion"] for kind in spec["kinds"] if kind["name"] in card.kinds}
    found: list[tuple[str, Condition]] = []
    for column in spec["profile"]:
        if column["criterion"] in covered:
            continue
        source, value = column["source"], rows[column["name"]]
        tried: list[OfColumn] = []
        if column["declared"]["type"] == "boolean":
            tried = [OfColumn(column=source, is_=flag) for flag in (True, False)]
        elif column["kind"] == "category":
            tried = [OfColumn(column=source, is_=word) for word in sorted(value.dropna().unique())]
        else:
            tried = [OfColumn(column=source, at_least=step) for step in _steps(value, steps)]
        if value.isna().any():
            tried.append(OfColumn(column=source, missing=True))
        found += [(column["criterion"], one) for one in tried]
    for kind in spec["kinds"]:
        if kind["criterion"] not in covered:
            windows = [*spec["windows_days"], None]
            found += [(kind["criterion"], OfActivity(activity=kind["name"], within_days=days)) for days in windows]
    if spec["aged"] and not card.aged:
        days = np.unique(np.floor(_steps(rows["age_days"], steps)))
        found += [(LEAD_AGE, OfAge.model_validate({"age_days": {"at_least": float(day)}})) for day in days]
    return found


def _steps(value: pd.Series, steps: int) -> list[float]:
    """Quantiles of a number, to two digits as a person would write them."""
    inner = value.dropna().quantile(np.arange(1, steps) / steps)
    return sorted({float(f"{one:.2g}") for one in inner})


def _missing(
    seen: _Seen, rows: pd.DataFrame, spec: Mapping[str, Any], unit: float, limits: CardSuggestion
) -> pd.DataFrame:
    """Of each criterion that the card does not look at the condition that adds most on the train window, where it adds
    on the calibrate window too; `found` holds it as a criterion of a card."""
    card, label = seen.card, seen.label
    tried = candidates(card, rows, spec, limits.steps)
    learn, judged = seen.train & seen.called, ~seen.train & seen.called
    base = seen.fit(seen.fired, learn)
    before = base.predict(seen.fired[judged])
    group = next(iter(card.groups))
    new = [Criterion(name=said(condition), group=group, points=1.0, when=condition) for _, condition in tried]
    best: dict[str, tuple[float, Criterion, np.ndarray]] = {}
    if new:
        facts = seen.look(card.model_copy(update={"criteria": new, "suppressors": []}))
    for (criterion, condition), one in zip(tried, new, strict=True):
        column = facts.holds(condition).astype("float64")
        if min(column[learn].sum(), (1 - column[learn]).sum()) < limits.min_rows:
            continue
        z = base.z(column[learn])
        # A condition and its opposite tell the same: the first one is proposed, whatever rounding makes of them.
        if abs(z) >= limits.min_z and (criterion not in best or abs(z) > abs(best[criterion][0]) + 1e-6):
            best[criterion] = (z, one, column)
    entries = []
    for criterion, (z, one, column) in best.items():
        wider = seen.fired.assign(**{one.name: column})
        fit = seen.fit(wider, learn)
        after, truth = fit.predict(wider[judged]), label[judged]
        gain = metrics.log_loss(truth, before) - metrics.log_loss(truth, after)
        points, fires = whole(fit.of_column(one.name)[0] / unit), (column > 0) & seen.called
        if gain > 0 and points:
            lift = metrics.lift(truth, after, TOP) - metrics.lift(truth, before, TOP)
            found = one.model_copy(update={"points": float(points)})
            entries.append([criterion, one.name, points, z, int(fires.sum()), _mean(label[fires]), gain, lift, found])
    table = pd.DataFrame(entries, columns=[*MISSING, "found"])
    return table.sort_values(["log_loss_gain", "criterion"], ascending=[False, True], ignore_index=True)


def _ahead(seen: _Seen, missing: pd.DataFrame) -> pd.DataFrame:
    """Hand-made, learned, and learned with what is missing: points of the train window on the calibrate window."""
    card, train, label = seen.card, seen.train, seen.label

    def learned(wanted: Card, known: Known) -> Card:
        columns, learn = effective(wanted, known), train & seen.called
        fit = seen.fit(columns, learn)
        return learned_card(wanted, fit, unit_of(wanted, columns[learn], fit), known, seen.share)

    systems = {BY_HAND: (card, seen.known), LEARNED: (learned(card, seen.known), seen.known)}
    if len(missing):
        wider = card.model_copy(update={"criteria": [*card.criteria, *missing["found"]]})
        known = seen.look(wider)
        systems[WIDER] = (learned(wider, known), known)
    rows = []
    for name, (one, known) in systems.items():
        counted = add_up(one, known)
        chance = Chance.fit(counted[train], label[train]).probability(counted[~train])
        order, truth = ranking(counted[~train]), label[~train]
        rows.append([name, metrics.log_loss(truth, chance), metrics.auc(truth, order), metrics.lift(truth, order, TOP)])
    return pd.DataFrame(rows, columns=list(AHEAD))


def _by_lead(values: np.ndarray, lead: np.ndarray) -> np.ndarray:
    """Rows summed per lead: float64 of shape (n_leads, n_columns)."""
    code = np.unique(lead, return_inverse=True)[1]
    return np.stack([np.bincount(code, weights=values[:, k]) for k in range(values.shape[1])], axis=1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
