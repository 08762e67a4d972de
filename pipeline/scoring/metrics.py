"""How well probabilities fit what happened: metrics, their intervals by lead, and paired differences between systems.

Every metric has one implementation that takes a weight per row; a figure is that implementation with equal weights,
and a bootstrap sample of leads is the same with the number of times each lead was drawn. Tied scores are never ordered
by chance: they are one step of the ROC and precision-recall curves, lie in one bin, and share the places at a cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm

#: Shares of the leads called first, in per cent, that `summary` reports lift and capture for.
SHARES = (10, 20, 50)

#: Names of `summary`'s metrics, in order. Larger is better for all but those in `SMALLER_IS_BETTER`.
METRICS = (
    "log_loss",
    "brier",
    "auc",
    "average_precision",
    "calibration_error",
    *(f"lift_{share}" for share in SHARES),
    *(f"capture_{share}" for share in SHARES),
)
SMALLER_IS_BETTER = ("log_loss", "brier", "calibration_error")

#: What a reader must know of figures whose windows are no stretches of time.
RANDOM_SPLIT = "Leads were parted at RANDOM, since the source has no time axis: the figures are no forecast."

#: Columns of `slices`.
SLICE = (
    "criterion",
    "feature",
    "value",
    "rows",
    "observed",
    "low",
    "high",
    "predicted",
    "gap",
    "holds",
    "log_loss",
    "auc",
)

#: Weights held at once while resampling (rows x samples): memory stays bounded on millions of rows, and what is worked
#: on stays near the processor.
_BLOCK = 1_000_000

Array = np.ndarray


def log_loss(label: Array, probability: Array) -> float:
    """Mean negative log-likelihood in nats; >= 0, smaller is better. Probabilities of 0 or 1 are moved by 2.2e-16."""
    return float(_losses(*_checked(label, probability))[0].mean())


def brier(label: Array, probability: Array) -> float:
    """Mean squared distance of probability and label, in [0, 1]; smaller is better."""
    return float(_losses(*_checked(label, probability))[1].mean())


def auc(label: Array, score: Array) -> float:
    """Chance that a converted row stands above one that did not, ties counted half; NaN if one outcome is absent."""
    return float(_auc(*_one(label, score)[1:])[0])


def average_precision(label: Array, score: Array) -> float:
    """Precision averaged over the steps of recall, without interpolation; NaN if nothing converted."""
    return float(_average_precision(*_one(label, score)[1:])[0])


def calibration_error(label: Array, probability: Array, bins: int) -> float:
    """Mean |observed - predicted| over equal-count bins of probability, weighted by count; in [0, 1].

    Rows of one probability lie in one bin (that of their middle place), so there may be fewer bins than asked for.
    """
    steps, weight, positive = _one(label, probability)
    return float(_calibration_error(steps, weight, positive, bins)[0])


def lift(label: Array, score: Array, share: float) -> float:
    """Conversion rate among the top `share` of rows over that of all rows; NaN if nothing converted.

    The cut may fall inside a row or a tie, which then count in part: a constant score has lift 1 at every share.

    Example: labels 1, 0, 0, 0 under falling scores have lift 4 at share 0.25 and lift 2 at share 0.5.
    """
    return float(_lift_capture(*_one(label, score)[1:], share)[0][0])


def capture(label: Array, score: Array, share: float) -> float:
    """Share of all conversions found among the top `share` of rows, in [0, 1]; NaN if none. Ties as in `lift`."""
    return float(_lift_capture(*_one(label, score)[1:], share)[1][0])


def lift_table(label: Array, score: Array, shares: Sequence[float]) -> pd.DataFrame:
    """`share`, `rows` called (not rounded), `lift` and `capture`, one row per share in (0, 1]."""
    _, weight, positive = _one(label, score)
    both = [_lift_capture(weight, positive, share) for share in shares]
    return pd.DataFrame(
        {
            "share": np.asarray(shares, dtype="float64"),
            "rows": np.asarray(shares, dtype="float64") * len(np.asarray(label)),
            "lift": [float(one[0][0]) for one in both],
            "capture": [float(one[1][0]) for one in both],
        }
    )


def wilson(successes: Array | float, n: Array | float, level: float) -> tuple[Array, Array]:
    """Score interval for a rate (Wilson 1927): lower and upper end, shapes as `successes`; [0, 1] where n is 0.

    Example: 10 of 100 at level 0.95 gives 0.0552 to 0.1744.
    """
    n = np.asarray(n, dtype="float64")
    z2 = norm.ppf(0.5 + level / 2) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.asarray(successes, dtype="float64") / n
        centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # The exact ends at 0 and n successes are 0 and 1; rounding must not move them.
    low = np.where(rate == 0, 0.0, centre - half)
    high = np.where(rate == 1, 1.0, centre + half)
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def reliability(
    label: Array, probability: Array, bins: int, level: float, lead: Array | pd.Series | None = None
) -> pd.DataFrame:
    """Predicted and observed conversion per equal-count bin of probability, lowest first.

    Args:
        lead: whose snapshot each row is; None where every row is a lead of its own. Looks at one lead share its fate,
            so that a bin is worth fewer rows than it has: those divided by the design effect, the variance of its rate
            by lead over that by row (Kish 1965; in a score interval, Korn and Graubard 1998).

    Returns:
        Columns `bin` (1-based), `rows`, `effective_rows`, `predicted` (mean probability), `observed` (conversion rate),
        `low`, `high` (its Wilson interval at `level` for so many effective rows), `holds` (it holds the mean
        probability). Bins without rows are left out.
    """
    y, p = _checked(label, probability)
    steps = _Steps(p)
    number = _bins(steps.total(np.ones((1, len(p)))), bins)[0]
    frame = pd.DataFrame({"bin": number[steps.group], "label": y[steps.order], "probability": p[steps.order]})
    frame["lead"] = np.arange(len(frame)) if lead is None else np.asarray(lead)[steps.order]
    table = frame.groupby("bin", sort=True).agg(
        rows=("label", "size"), predicted=("probability", "mean"), observed=("label", "mean"), hits=("label", "sum")
    )
    effect = frame.groupby("bin")[["label", "lead"]].apply(lambda rows: _design_effect(rows["label"], rows["lead"]))
    table.insert(1, "effective_rows", table["rows"] / effect)
    low, high = wilson((table["hits"] / effect).to_numpy(), table["effective_rows"].to_numpy(), level)
    holds = (low <= table["predicted"]) & (table["predicted"] <= high)
    table = table.drop(columns="hits").assign(low=low, high=high, holds=holds).reset_index(drop=True)
    table.insert(0, "bin", np.arange(1, len(table) + 1))
    return table


def _design_effect(label: pd.Series, lead: pd.Series) -> float:
    """How many rows are worth one, at least 1: the variance of their rate by lead over that by row."""
    apart = label - label.mean()
    by_row = float((apart**2).sum())
    return max(1.0, float((apart.groupby(lead).sum() ** 2).sum()) / by_row) if by_row else 1.0


def chance_error(
    probability: Array | pd.Series, label: Array | pd.Series, lead: Array | pd.Series, bins: int, level: float
) -> float:
    """The calibration error that true chances stay within, in a share `level` of test windows like this.

    The gap of a bin is then normal around 0, with the variance of so many draws of its chances times the design effect
    (see `reliability`; here of the distances of label and chance, over all bins), and the error is the mean of their
    sizes: folded normals, whose sum is again taken as normal. It falls with the root of the rows.
    """
    y, p = _checked(label, probability)
    steps = _Steps(p)
    number = _bins(steps.total(np.ones((1, len(p)))), bins)[0][steps.group]
    rows = pd.DataFrame({"bin": number, "apart": (y - p)[steps.order], "variance": (p * (1 - p))[steps.order]})
    rows["apart"] -= rows.groupby("bin")["apart"].transform("mean")
    by_lead = rows.groupby([rows["bin"], np.asarray(lead)[steps.order]])["apart"].sum()
    by_row = float((rows["apart"] ** 2).sum())
    effect = max(1.0, float((by_lead**2).sum()) / by_row) if by_row else 1.0
    spread = np.sqrt(effect * rows.groupby("bin")["variance"].sum().to_numpy()) / len(rows)
    mean, variance = np.sqrt(2 / np.pi) * spread.sum(), (1 - 2 / np.pi) * (spread**2).sum()
    return float(mean + norm.ppf(level) * np.sqrt(variance))


def summary(label: Array, probability: Array, *, bins: int) -> dict[str, float]:
    """Every metric of `METRICS`, and `base_rate`, on the rows given."""
    y, p = _checked(label, probability)
    values = _metrics(_System(y, p), np.ones((1, len(y))), bins)[0]
    return dict(zip(METRICS, values.tolist(), strict=True)) | {"base_rate": float(y.mean())}


def slices(frame: pd.DataFrame, columns: dict[str, str], *, level: float, min_rows: int) -> pd.DataFrame:
    """How the probabilities do among the rows of each value of categorical features.

    Args:
        frame: `lead_id`, `label`, `probability` and the named columns, one row per snapshot.
        columns: categorical feature -> criterion.
        min_rows: a value with fewer rows is left out.

    Returns:
        The columns of `SLICE`: `value` is "(missing)" where there is none, `observed` the conversion rate with its
        Wilson interval `low` to `high` for as many rows as they are worth (see `reliability`), `predicted` the mean
        probability, `gap` observed - predicted, `holds` whether the interval holds the mean probability, `auc` NaN
        where one outcome is absent. Sorted by feature, as given, and value.
    """
    entries = []
    for feature, criterion in columns.items():
        for value, rows in frame.groupby(frame[feature].astype(object).fillna("(missing)").astype(str), sort=True):
            if len(rows) < min_rows:
                continue
            y, p = _checked(rows["label"], rows["probability"])
            effect = _design_effect(rows["label"], rows["lead_id"])
            low, high = wilson(y.sum() / effect, len(y) / effect, level)
            entries.append(
                {
                    "criterion": criterion,
                    "feature": feature,
                    "value": value,
                    "rows": len(y),
                    "observed": y.mean(),
                    "low": float(low),
                    "high": float(high),
                    "predicted": p.mean(),
                    "gap": y.mean() - p.mean(),
                    "holds": bool(low <= p.mean() <= high),
                    "log_loss": log_loss(y, p),
                    "auc": auc(y, p),
                }
            )
    return pd.DataFrame(entries, columns=list(SLICE))


def bootstrap_by_lead(
    frame: pd.DataFrame, systems: Sequence[str], *, bins: int, samples: int, level: float, seed: int
) -> pd.DataFrame:
    """Every metric of every system with an interval from resampled leads.

    Leads are drawn with replacement, each with all of its rows, because the rows of one lead are not independent. Every
    system sees the same draws. The interval is the middle `level` of the draws, moved so that their median lies on the
    figure: a resample adds noise to every bin, which alone would lift the calibration error.

    Args:
        frame: one row per snapshot: `lead_id`, `label` in {0, 1}, and a column of probabilities per system.
        systems: names of those columns.

    Returns:
        Columns `system`, `metric`, `value`, `low`, `high`; systems in the order given, metrics in that of `METRICS`.
    """
    tables = []
    ones = np.ones((1, len(frame)))
    draws = resampled_by_lead(frame, systems, bins=bins, samples=samples, seed=seed)
    for name in systems:
        value = _metrics(_System(*_checked(frame["label"], frame[name])), ones, bins)[0]
        ends = np.array([_interval(draws[name][:, k], value[k], level, metric) for k, metric in enumerate(METRICS)])
        tables.append(
            pd.DataFrame({"system": name, "metric": METRICS, "value": value, "low": ends[:, 0], "high": ends[:, 1]})
        )
    return pd.concat(tables, ignore_index=True)


def resampled_by_lead(
    frame: pd.DataFrame, systems: Sequence[str], *, bins: int, samples: int, seed: int
) -> dict[str, Array]:
    """Every metric on every resample of leads: per system an array of shape (samples, n_metrics).

    All systems are measured on the same draws, so that their differences are paired; for equal `seed` and `samples` the
    draws are those of `bootstrap_by_lead`.
    """
    parts = {name: _System(*_checked(frame["label"], frame[name])) for name in systems}
    result: dict[str, list[Array]] = {name: [] for name in systems}
    for weights in lead_weights(frame["lead_id"], samples, seed):
        for name, part in parts.items():
            result[name].append(_metrics(part, weights, bins))
    return {name: np.concatenate(values) for name, values in result.items()}


def calibration_excess(
    frame: pd.DataFrame, mine: str, theirs: str, *, bins: int, samples: int, level: float, seed: int
) -> tuple[float, float]:
    """By how much the squared calibration error of one system may exceed another's, and what chance makes of it.

    The squared error is the mean over rows of the squared gap between observed and expected rate of their bin. Both
    systems are held against the same bins, of equally many rows in the order of their mean probability, and the same
    draws of leads: what the labels add by chance is then nearly the same to both and cancels in the difference, which
    it does not where each has bins of its own, nor between gaps that are not squared.

    Args:
        frame: one row per snapshot: `lead_id`, `label` in {0, 1}, and a column of probabilities per system.

    Returns:
        The upper bound of the difference at `level`, and what this bound stays within, in a share `level` of windows
        like this, where the chances of `mine` are true: the difference is then normal around minus the mean squared
        distance of both systems in a bin.
    """
    order = np.argsort((frame[mine] + frame[theirs]).to_numpy(), kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    starts, order = np.cumsum([0, *map(len, groups)])[:-1], np.concatenate(groups)
    y, p, q = (frame[name].to_numpy(dtype="float64")[order] for name in ("label", mine, theirs))

    def squared(weight: Array, apart: Array) -> Array:
        rows = np.add.reduceat(weight, starts, axis=1)
        gap = np.add.reduceat(weight * apart, starts, axis=1) / np.maximum(rows, 1.0)
        return np.asarray((rows * gap**2).sum(axis=1) / rows.sum(axis=1))

    draws = np.concatenate(
        [
            squared(weights[:, order], y - p) - squared(weights[:, order], y - q)
            for weights in lead_weights(frame["lead_id"], samples, seed)
        ]
    )
    bound, middle = np.quantile(draws, [level, 0.5])
    distance = squared(np.ones((1, len(frame))), p - q)[0]
    return float(bound), float(2 * (bound - middle) - distance)


def lead_weights(lead_id: pd.Series, samples: int, seed: int) -> Iterator[Array]:
    """How often each row's lead was drawn: float64 blocks of shape (some samples, n_rows)."""
    code, leads = pd.factorize(lead_id, sort=True)
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"bootstrap"]))
    block = max(1, _BLOCK // max(1, len(code)))
    for start in range(0, samples, block):
        size = min(block, samples - start)
        drawn = [np.bincount(rng.integers(len(leads), size=len(leads)), minlength=len(leads)) for _ in range(size)]
        yield np.stack(drawn).astype("float64")[:, code]


def _interval(draws: Array, value: float, level: float, metric: str) -> tuple[float, float]:
    """Median-centred percentile interval within the metric's range; NaN where the metric is undefined."""
    draws = draws[~np.isnan(draws)]
    if len(draws) == 0 or np.isnan(value):
        return float("nan"), float("nan")
    low, middle, high = np.quantile(draws, [0.5 - level / 2, 0.5, 0.5 + level / 2])
    most = np.inf if metric == "log_loss" or metric.startswith("lift") else 1.0
    return max(value + float(low - middle), 0.0), min(value + float(high - middle), most)


def _checked(label: Array | pd.Series, score: Array | pd.Series) -> tuple[Array, Array]:
    """Both as float64 arrays of equal, positive length; ValueError where a metric would be meaningless."""
    y, s = np.asarray(label, dtype="float64"), np.asarray(score, dtype="float64")
    if y.ndim != 1 or y.shape != s.shape or len(y) == 0:
        raise ValueError(f"label and score must be of one equal, positive length, not {y.shape} and {s.shape}")
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1")
    if not np.isfinite(s).all():
        raise ValueError("scores must be finite")
    return y, s


def _losses(y: Array, p: Array) -> tuple[Array, Array]:
    """Log-loss and squared error of every row."""
    if (p < 0).any() or (p > 1).any():
        raise ValueError("probabilities must lie in [0, 1]")
    eps = np.finfo("float64").eps
    safe = np.clip(p, eps, 1 - eps)
    return -np.where(y == 1, np.log(safe), np.log1p(-safe)), (p - y) ** 2


class _Steps:
    """Rows from the highest score down, and the steps that tied rows form."""

    def __init__(self, score: Array) -> None:
        self.order = np.argsort(-score, kind="stable")
        ranked = score[self.order]
        self.last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self.group = np.repeat(np.arange(len(self.last)), np.diff(self.last, prepend=-1))
        self.value = ranked[self.last]

    def total(self, weight: Array) -> Array:
        """Cumulative weight at the end of every step, shape (samples, n_steps); `weight` in the order of the rows."""
        return np.asarray(np.cumsum(weight, axis=1)[:, self.last])


class _System:
    """Labels and probabilities of one system, sorted once for all resamples."""

    def __init__(self, y: Array, p: Array) -> None:
        self.steps = _Steps(p)
        self.y = y[self.steps.order]
        log, square = _losses(y, p)
        self.losses = np.stack([log, square], axis=1)


def _before(upto: Array) -> Array:
    """Cumulative values at the start of every step."""
    return np.concatenate([np.zeros((len(upto), 1)), upto[:, :-1]], axis=1)


def _bins(weight: Array, bins: int) -> Array:
    """Equal-count bin of every step, 0 for the lowest scores: where the middle of its weight falls."""
    middle = weight[:, -1:] - (weight + _before(weight)) / 2
    return np.minimum((bins * middle / weight[:, -1:]).astype("int64"), bins - 1)


def _one(label: Array, score: Array) -> tuple[_Steps, Array, Array]:
    """Steps, cumulative weight and cumulative conversions with weight one per row."""
    y, s = _checked(label, score)
    steps = _Steps(s)
    return steps, steps.total(np.ones((1, len(y)))), steps.total(y[steps.order][None, :])


def _metrics(system: _System, weights: Array, bins: int) -> Array:
    """Every metric of `METRICS` under every row of `weights` (samples, n_rows): shape (samples, n_metrics)."""
    steps = system.steps
    losses = weights @ system.losses / weights.sum(axis=1, keepdims=True)
    ranked = weights[:, steps.order]
    weight, positive = steps.total(ranked), steps.total(ranked * system.y)
    cuts = [_lift_capture(weight, positive, share / 100) for share in SHARES]
    columns = [
        losses[:, 0],
        losses[:, 1],
        _auc(weight, positive),
        _average_precision(weight, positive),
        _calibration_error(steps, weight, positive, bins),
        *(cut[0] for cut in cuts),
        *(cut[1] for cut in cuts),
    ]
    return np.stack(columns, axis=1)


def _auc(weight: Array, positive: Array) -> Array:
    negative = weight - positive
    won = np.diff(positive, axis=1, prepend=0.0) * (negative[:, -1:] - (negative + _before(negative)) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return won.sum(axis=1) / (positive[:, -1] * negative[:, -1])


def _average_precision(weight: Array, positive: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        # Steps of weight zero come first where their leads were not drawn: no rows, no gain.
        precision = np.where(weight > 0, positive / weight, 0.0)
        return (np.diff(positive, axis=1, prepend=0.0) * precision).sum(axis=1) / positive[:, -1]


def _calibration_error(steps: _Steps, weight: Array, positive: Array, bins: int) -> Array:
    """|sum of labels - sum of probabilities| per bin, summed and divided by the weight of all rows."""
    samples = len(weight)
    gap = np.diff(positive, axis=1, prepend=0.0) - np.diff(weight, axis=1, prepend=0.0) * steps.value
    place = (_bins(weight, bins) + bins * np.arange(samples)[:, None]).ravel()
    total = np.bincount(place, weights=gap.ravel(), minlength=bins * samples).reshape(samples, bins)
    return np.abs(total).sum(axis=1) / weight[:, -1]


def _lift_capture(weight: Array, positive: Array, share: float) -> tuple[Array, Array]:
    """Lift and capture of the top `share` of the weight; the step at the cut counts in proportion."""
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], not {share}")
    row = np.arange(len(weight))
    total, conversions = weight[:, -1], positive[:, -1]
    called = share * total
    step = np.minimum((weight < called[:, None]).sum(axis=1), weight.shape[1] - 1)
    before, found = (np.where(step > 0, upto[row, step - 1], 0.0) for upto in (weight, positive))
    width, hits = weight[row, step] - before, positive[row, step] - found
    # All over `width`, so that whole rows give exact results: lift 1 at share 1, and at any share of a constant score.
    found = found * width + (called - before) * hits
    with np.errstate(divide="ignore", invalid="ignore"):
        return found * total / (called * conversions * width), found / (conversions * width)
