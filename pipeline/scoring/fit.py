"""Fitting one member of the margin from features and labels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb
from scipy import optimize, sparse

from pipeline.params import LogisticSettings, ScorecardSettings, Tune, XGBoostSettings, XGBoostSpace
from pipeline.scorer.calibration import sigmoid
from pipeline.scorer.margin import Encoder, LogisticMember, XGBoostMember

Settings = LogisticSettings | ScorecardSettings | XGBoostSettings


@dataclass(frozen=True)
class Rows:
    """Snapshots to learn from, encoded.

    Attributes:
        matrix: features, shape (n_rows, n_features), as `Encoder.matrix` gives them.
        label: 0 or 1, shape (n_rows,). Both occur.
        place: where each row's lead stands on the axis of the split, shape (n_rows,): rows of one place are one lead's.
        directions: per feature 1 where the chance may only rise with it, -1 where it may only fall, 0 where it is free.

    Members of the logistic families are kept with the rows that they were fitted on: trees begin from members that are
    tried by themselves too, and their fit takes longer than that of the trees.
    """

    encoder: Encoder
    matrix: np.ndarray
    label: np.ndarray
    place: np.ndarray
    directions: np.ndarray
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)
    _members: dict[str, Future[LogisticMember]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def encode(
        cls, features: pd.DataFrame, label: np.ndarray, place: np.ndarray, directions: np.ndarray | None = None
    ) -> Rows:
        """Rows with an encoder learned from them."""
        encoder = Encoder.fit(features)
        free = np.zeros(len(encoder.names), dtype="int64") if directions is None else directions
        return cls(encoder, encoder.matrix(features), np.asarray(label, dtype="float64"), np.asarray(place), free)

    def weight(self, half_life: float) -> np.ndarray | None:
        """Weight of each row, mean 1: halved with every `half_life` of the axis (as a share of it); None where 0."""
        if half_life == 0:
            return None
        first, last = self.place.min(), self.place.max()
        age = (last - self.place) / max(last - first, 1)
        weight = np.exp2(-age / half_life)
        return np.asarray(weight / weight.mean())

    def once(self, name: str, fit: Callable[[], LogisticMember]) -> LogisticMember:
        """The member fitted under this name; whoever asks for it meanwhile, from another thread, waits."""
        with self._lock:
            first = name not in self._members
            member = self._members.setdefault(name, Future())
        if first:
            try:
                member.set_result(fit())
            except BaseException as fault:
                member.set_exception(fault)
        return member.result()


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


def log_odds(label: np.ndarray) -> float:
    """Of the rate of these labels; both outcomes must occur."""
    return float(np.log(label.mean() / (1 - label.mean())))


def row_losses(label: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Log-loss of every row; `margin`: log-odds."""
    return np.asarray(np.logaddexp(0.0, margin) - label * margin)


def ranking_loss(label: np.ndarray, margin: np.ndarray) -> float:
    """Log-loss after the best intercept: what a margin is worth once its level is right. Needs both outcomes."""
    return float(row_losses(label, margin + best_intercept(label, margin)).mean())


@dataclass(frozen=True)
class Start:
    """What trees begin from: a member of a logistic family. `clip`: as in `fit_logistic`."""

    settings: LogisticSettings | ScorecardSettings
    clip: float


def start_of(settings: Settings, tune: Tune) -> Start | None:
    """The start that a trial's settings name: the last of the first trials of that family."""
    if not isinstance(settings, XGBoostSettings) or settings.start == "nothing":
        return None
    space = tune.scorecard if settings.start == "scorecard" else tune.logistic
    return Start(space.first[-1], tune.logistic.clip)


def fit_member(
    rows: Rows, settings: Settings, *, clip: float, rounds: int, seed: int, threads: int, start: Start | None = None
) -> LogisticMember | XGBoostMember:
    """Fit one member; `rounds`, `seed` and `start` are those of the trees, `clip` that of the logistic families."""
    if isinstance(settings, XGBoostSettings):
        return fit_xgboost(rows, settings, rounds=rounds, seed=seed, threads=threads, start=start)
    return _fit_once(rows, settings, clip)


# Logistic families


def _fit_once(rows: Rows, settings: LogisticSettings | ScorecardSettings, clip: float) -> LogisticMember:
    """A member of a logistic family; the one that these rows know already, where there is one."""
    if isinstance(settings, ScorecardSettings):
        return rows.once(f"scorecard {settings.model_dump_json()}", lambda: fit_scorecard(rows, settings))
    return rows.once(f"logistic {settings.model_dump_json()} {clip!r}", lambda: fit_logistic(rows, settings, clip=clip))


@dataclass(frozen=True)
class _Binned:
    """One feature cut into bins or levels. `place`: bin of each row, -1 where it is missing."""

    place: np.ndarray
    width: int
    edges: np.ndarray | None

    @classmethod
    def of(cls, value: np.ndarray, levels: int | None, bins: int) -> _Binned:
        missing = np.isnan(value)
        known = np.where(missing, 0.0, value)
        if levels is not None:
            return cls(np.where(missing, -1, known.astype("int64")), levels, None)
        present = value[~missing]
        steps = np.linspace(0, 1, bins + 1)[1:-1]
        edges = np.unique(np.quantile(present, steps)) if len(present) and len(steps) else np.array([])
        place = np.where(missing, -1, np.searchsorted(edges, known, side="right"))
        return cls(place, len(edges) + 1, edges)

    def indicators(self, direction: int) -> sparse.csr_matrix:
        """One column per bin; one per edge passed, where the chance may move in one direction only."""
        rows = np.flatnonzero(self.place >= 0)
        if direction and self.edges is not None:
            passed = self.place[:, None] > np.arange(self.width - 1)[None, :]
            return sparse.csr_matrix(passed.astype("float64"))
        ones = np.ones(len(rows))
        return sparse.csr_matrix((ones, (rows, self.place[rows])), shape=(len(self.place), max(self.width, 1)))


def _levels(encoder: Encoder, name: str) -> int | None:
    return len(encoder.levels[name]) if name in encoder.levels else None


def fit_logistic(rows: Rows, settings: LogisticSettings, *, clip: float) -> LogisticMember:
    """Ridge logistic regression on quantile bins, a clipped linear term and indicators of what is missing.

    A feature with a direction has one step per edge and a slope, all of one sign, so that its term is monotone.

    Args:
        clip: standardised values are cut off at +-clip.
    """
    encoder, n = rows.encoder, len(rows.label)
    blocks: list[sparse.csr_matrix] = []
    low: list[np.ndarray] = []
    high: list[np.ndarray] = []
    shapes: list[tuple[_Binned, int, float, dict[str, Any]]] = []

    def add(block: sparse.csr_matrix, direction: int) -> None:
        blocks.append(block)
        low.append(np.full(block.shape[1], 0.0 if direction > 0 else -np.inf))
        high.append(np.full(block.shape[1], 0.0 if direction < 0 else np.inf))

    for k, name in enumerate(encoder.names):
        value, direction = rows.matrix[:, k], int(rows.directions[k])
        binned = _Binned.of(value, _levels(encoder, name), settings.bins)
        missing = binned.place < 0
        scaling: dict[str, Any] = {}
        direction = direction if binned.edges is not None else 0
        add(binned.indicators(direction), direction)
        # A gap is a value like others: standardised as numbers are, a rare one is not shrunken for being rare.
        share = missing.mean()
        gap = min(clip, 1 / np.sqrt(share * (1 - share))) if 0 < share < 1 else 1.0
        add(sparse.csr_matrix(gap * missing.astype("float64")[:, None]), 0)
        if binned.edges is not None:
            present = value[~missing]
            mean = float(present.mean()) if len(present) else 0.0
            spread = float(present.std()) if len(present) else 0.0
            scaling = {"mean": mean, "scale": spread if spread > 0 else 1.0}
            standard = np.where(missing, 0.0, np.clip((value - mean) / scaling["scale"], -clip, clip))
            add(sparse.csr_matrix(standard[:, None]), direction)
        shapes.append((binned, direction, gap, scaling))

    design = sparse.hstack(blocks, format="csr") if blocks else sparse.csr_matrix((n, 0))
    intercept, weights = _ridge(
        design,
        rows.label,
        rows.weight(settings.half_life),
        np.full(design.shape[1], 1 / settings.c),
        np.zeros(design.shape[1]),
        (np.concatenate([*low, []]), np.concatenate([*high, []])),
    )
    place = 0
    terms: dict[str, dict[str, Any]] = {}
    for name, (binned, direction, gap, scaling), block in zip(encoder.names, shapes, _own(blocks, shapes), strict=True):
        own = weights[place : place + block]
        place += block
        steps = binned.width - 1 if direction else max(binned.width, 1)
        by_bin = np.concatenate([[0.0], np.cumsum(own[:steps])]) if direction else own[:steps][: binned.width]
        term: dict[str, Any] = {"weights": by_bin.tolist(), "missing": gap * float(own[steps])}
        if binned.edges is not None:
            term |= {"edges": binned.edges.tolist(), **scaling, "slope": float(own[steps + 1]), "limit": clip}
        terms[name] = term
    return LogisticMember(encoder=encoder, intercept=intercept, terms=terms)


def _own(blocks: list[sparse.csr_matrix], shapes: list[tuple[_Binned, int, float, dict[str, Any]]]) -> list[int]:
    """How many columns of the design each feature has."""
    widths = iter(block.shape[1] for block in blocks)
    return [next(widths) + next(widths) + (next(widths) if binned.edges is not None else 0) for binned, *_ in shapes]


def fit_scorecard(rows: Rows, settings: ScorecardSettings) -> LogisticMember:
    """A scorecard: per feature the log-odds that its bin alone speaks for, times a weight that is never negative.

    Weights are fitted by ridge logistic regression towards `settings.towards`; a feature's evidence is counted on rows
    of other leads while they are fitted, so that a feature with many levels does not convince by its own labels. The
    rule of no negative weight keeps features that go together from trading signs, which is what fails when they part.

    Source: weight of evidence, Good 1950; as used in credit scoring, Siddiqi 2006.
    """
    encoder = rows.encoder
    weight = rows.weight(settings.half_life)
    weight = np.ones(len(rows.label)) if weight is None else weight
    fold = _folds_of_leads(rows.place, settings.folds)
    evidence = np.zeros(rows.matrix.shape)
    terms: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(encoder.names):
        binned = _Binned.of(rows.matrix[:, k], _levels(encoder, name), settings.bins)
        place = np.where(binned.place < 0, binned.width, binned.place)
        hits = np.zeros((settings.folds, binned.width + 1))
        seen = np.zeros((settings.folds, binned.width + 1))
        np.add.at(hits, (fold, place), rows.label * weight)
        np.add.at(seen, (fold, place), weight)
        direction = int(rows.directions[k]) if binned.edges is not None else 0
        others = _evidence(hits.sum(axis=0) - hits, seen.sum(axis=0) - seen, settings.prior_rows, direction)
        evidence[:, k] = others[fold, place]
        table = _evidence(hits.sum(axis=0)[None], seen.sum(axis=0)[None], settings.prior_rows, direction)[0]
        terms[name] = {"weights": table[:-1].tolist(), "missing": float(table[-1])}
        if binned.edges is not None:
            terms[name] |= {"edges": binned.edges.tolist(), "mean": 0.0, "scale": 1.0, "slope": 0.0, "limit": 0.0}
    n = rows.matrix.shape[1]
    intercept, weights = _ridge(
        sparse.csr_matrix(evidence),
        rows.label,
        weight,
        np.full(n, 1 / settings.c),
        np.full(n, settings.towards),
        (np.zeros(n), np.full(n, np.inf)),
    )
    for name, factor in zip(encoder.names, weights.tolist(), strict=True):
        term = terms[name]
        term["weights"] = [factor * value for value in term["weights"]]
        term["missing"] *= factor
    return LogisticMember(encoder=encoder, intercept=intercept, terms=terms)


def _evidence(hits: np.ndarray, seen: np.ndarray, prior: float, direction: int) -> np.ndarray:
    """Log-odds of each bin above those of all rows, drawn towards 0 by `prior` rows; the last column is missing values.

    Args:
        hits, seen: weight of conversions and of rows per bin, shape (n, n_bins + 1).
    """
    plain = np.clip(
        hits.sum(axis=1, keepdims=True) / np.maximum(seen.sum(axis=1, keepdims=True), 1e-12), 1e-6, 1 - 1e-6
    )
    rate = (hits + prior * plain) / (seen + prior)
    found = np.log(rate / (1 - rate)) - np.log(plain / (1 - plain))
    if direction:
        from sklearn.isotonic import isotonic_regression

        for row, n in zip(found, seen, strict=True):
            row[:-1] = isotonic_regression(row[:-1], sample_weight=n[:-1] + prior, increasing=direction > 0)
    return np.asarray(found)


def _folds_of_leads(place: np.ndarray, folds: int) -> np.ndarray:
    """Fold of each row: leads in order of their place, dealt in turn."""
    return np.asarray(np.unique(place, return_inverse=True)[1] % folds)


def _ridge(
    design: sparse.csr_matrix,
    label: np.ndarray,
    weight: np.ndarray | None,
    penalty: np.ndarray,
    towards: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
) -> tuple[float, np.ndarray]:
    """Intercept and weights that minimise log-loss plus half the penalty times the squared distance to `towards`.

    scikit-learn's own solver for this problem is the same L-BFGS, but takes no bounds on the weights.
    """
    weight = np.ones(len(label)) if weight is None else weight
    transposed = design.T.tocsr()
    rate = np.clip(np.average(label, weights=weight), 1e-6, 1 - 1e-6)
    start = np.concatenate([[np.log(rate / (1 - rate))], np.clip(towards, *bounds)])

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        margin = x[0] + design @ x[1:]
        residual = weight * (sigmoid(margin) - label)
        away = x[1:] - towards
        value = float(weight @ row_losses(label, margin) + 0.5 * penalty @ away**2)
        return value, np.concatenate([[residual.sum()], transposed @ residual + penalty * away])

    found = optimize.minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(np.concatenate([[-np.inf], bounds[0]]), np.concatenate([[np.inf], bounds[1]])),
        options={"maxiter": 300, "ftol": 1e-7, "gtol": 1e-3},
    )
    return float(found.x[0]), np.asarray(found.x[1:])


# Trees


def _fit_start(rows: Rows, start: Start, half_life: float) -> LogisticMember:
    """The member that trees begin from, with the half-life of the trees."""
    return _fit_once(rows, start.settings.model_copy(update={"half_life": half_life}), start.clip)


def _target_values(rows: Rows, prior: float, weight: np.ndarray | None) -> dict[str, list[float]]:
    """Per category column the conversion rate of each level, drawn towards the plain rate by `prior` rows."""
    weight = np.ones(len(rows.label)) if weight is None else weight
    plain = np.average(rows.label, weights=weight)
    values = {}
    for name, levels in rows.encoder.levels.items():
        code = rows.matrix[:, rows.encoder.names.index(name)]
        known = ~np.isnan(code)
        at = code[known].astype("int64")
        hits = np.bincount(at, weights=(rows.label * weight)[known], minlength=len(levels))
        seen = np.bincount(at, weights=weight[known], minlength=len(levels))
        values[name] = ((hits + prior * plain) / (seen + prior)).tolist()
    return values


def _ordered_target_values(rows: Rows, prior: float, weight: np.ndarray | None, seed: int) -> np.ndarray:
    """The matrix with every category as the conversion rate of its level among the leads that come before in a random
    order of leads, so that no row sees its own label (Prokhorenkova et al. 2018)."""
    result = rows.matrix.copy()
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"target"]))
    leads, lead = np.unique(rows.place, return_inverse=True)
    order = rng.permutation(len(leads))[lead]
    weight = np.ones(len(rows.label)) if weight is None else weight
    plain = np.average(rows.label, weights=weight)
    for name in rows.encoder.levels:
        k = rows.encoder.names.index(name)
        known = np.flatnonzero(~np.isnan(rows.matrix[:, k]))
        code = rows.matrix[known, k].astype("int64")
        sort = np.lexsort((order[known], code))
        level, own, counted = code[sort], order[known][sort], weight[known][sort]
        converted = rows.label[known][sort] * counted
        hits, seen = np.cumsum(converted) - converted, np.cumsum(counted) - counted
        new_level = np.append(True, level[1:] != level[:-1])[: len(level)]
        new_lead = new_level | np.append(True, own[1:] != own[:-1])[: len(level)]
        # Counts before the first row of the same lead, less those of earlier levels.
        for array in (hits, seen):
            at_lead = array[new_lead][np.cumsum(new_lead) - 1]
            at_level = array[new_level][np.cumsum(new_level) - 1]
            array[:] = at_lead - at_level
        result[known[sort], k] = (hits + prior * plain) / (seen + prior)
    return result


@dataclass(frozen=True)
class _Trees:
    """Rows as XGBoost takes them under some settings, and what is needed to treat later rows alike."""

    data: xgb.QuantileDMatrix
    values: dict[str, list[float]] | None
    params: dict[str, Any]
    start: LogisticMember | None

    @classmethod
    def of(
        cls, rows: Rows, settings: XGBoostSettings, begin: Start | None, seed: int, threads: int, device: str = "cpu"
    ) -> _Trees:
        weight = rows.weight(settings.half_life)
        matrix, values = rows.matrix, None
        if settings.categories == "target" and rows.encoder.levels:
            values = _target_values(rows, settings.target_prior, weight)
            matrix = _ordered_target_values(rows, settings.target_prior, weight, seed)
        data = xgb.QuantileDMatrix(
            matrix,
            label=rows.label,
            weight=weight,
            feature_types=_feature_types(rows.encoder, values),
            enable_categorical=True,
            nthread=threads,
        )
        start = None if begin is None else _fit_start(rows, begin, settings.half_life)
        own = settings.model_dump(exclude={"half_life", "categories", "target_prior", "start"})
        params = own | {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "disable_default_eval_metric": True,
            "seed": seed % 2**31,
            "nthread": threads,
            "device": device,
        }
        if rows.directions.any():
            numbers = [name not in rows.encoder.levels for name in rows.encoder.names]
            params["monotone_constraints"] = tuple(np.where(numbers, rows.directions, 0).tolist())
        if start is not None:
            data.set_base_margin(start.margin(rows.matrix))
            params["base_score"] = 0.5  # the start has an intercept of its own
        return cls(data, values, params, start)


def _feature_types(encoder: Encoder, values: dict[str, list[float]] | None) -> list[str]:
    return encoder.feature_types if values is None else ["q"] * len(encoder.names)


def fit_xgboost(
    rows: Rows, settings: XGBoostSettings, *, rounds: int, seed: int, threads: int, start: Start | None = None
) -> XGBoostMember:
    """Trees by the histogram method, a given number of rounds, from nothing or from a member of a logistic family. The
    number of threads does not change the result."""
    trees = _Trees.of(rows, settings, start, seed, threads)
    booster = xgb.train(trees.params, trees.data, num_boost_round=rounds)
    return XGBoostMember(encoder=rows.encoder, booster=booster, values=trees.values, start=trees.start)


def learning_curve(
    rows: Rows,
    later: np.ndarray,
    label: np.ndarray,
    settings: XGBoostSettings,
    space: XGBoostSpace,
    *,
    start: Start | None,
    seed: int,
    threads: int,
    device: str = "cpu",
) -> tuple[np.ndarray, XGBoostMember]:
    """Ranking loss of later rows after each round, and the member fitted; ends when nothing was gained for a while.

    Args:
        later: encoded features of the later rows, shape (n_later, n_features); `label`: their labels.
    """
    trees = _Trees.of(rows, settings, start, seed, threads, device)
    judged = xgb.QuantileDMatrix(
        XGBoostMember.translate(rows.encoder, later, trees.values),
        label=label,
        feature_types=_feature_types(rows.encoder, trees.values),
        enable_categorical=True,
        nthread=threads,
        ref=trees.data,
    )
    if trees.start is not None:
        judged.set_base_margin(trees.start.margin(later))

    def metric(chance: np.ndarray, data: xgb.DMatrix) -> tuple[str, float]:
        probability = np.clip(chance.astype("float64"), 1e-7, 1 - 1e-7)
        return "ranking_loss", ranking_loss(label, np.log(probability / (1 - probability)))

    curves: dict[str, dict[str, list[float]]] = {}
    booster = xgb.train(
        trees.params,
        trees.data,
        num_boost_round=space.max_rounds,
        evals=[(judged, "later")],
        custom_metric=metric,
        evals_result=curves,
        callbacks=[xgb.callback.EarlyStopping(rounds=space.early_stopping_rounds, min_delta=0.0, save_best=False)],
        verbose_eval=False,
    )
    member = XGBoostMember(encoder=rows.encoder, booster=booster, values=trees.values, start=trees.start)
    return np.asarray(curves["later"]["ranking_loss"]), member


def settings_of(family: str, values: dict[str, Any]) -> Settings:
    """Settings read back from plain data."""
    kinds: dict[str, type[Settings]] = {
        "logistic": LogisticSettings,
        "scorecard": ScorecardSettings,
        "xgboost": XGBoostSettings,
    }
    return kinds[family](**values)
