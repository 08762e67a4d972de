"""What the model has learned, per criterion: what it adds on later leads, in which sense, in what shape, how steadily.

The margin is a sum, so a criterion can be taken out of it, or weighed anew beside the rest, without learning again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.params import Explain
from pipeline.scorer.calibration import Calibration, sigmoid
from pipeline.scorer.features import RECENCY
from pipeline.scoring.fit import best_intercept, row_losses

#: Verdicts: the gain lies above 0, cannot be told from none, or lies below.
ADDS, NOTHING, MISLEADS = "adds", "adds nothing", "misleads"


def learned(
    test: pd.DataFrame,
    contributions: pd.DataFrame,
    features: Sequence[dict[str, str]],
    margin: np.ndarray,
    calibration: Calibration,
    params: Explain,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the model has learned of each criterion, judged on rows that taught nothing.

    Args:
        test: `lead_id`, `as_of`, `label` and features of the rows. `contributions`: log-odds, one column per feature.
        margin: of the rows, shape (n_rows,); a term counts by what the calibrated log-odds lose without it.

    Returns:
        Per criterion `direction`, the columns of `adds`, `least` and `most` (smallest and largest
        `mean_absolute_log_odds` over quarters) and `turned` (quarters in which it worked the other way round); and the
        table of `over_time`.
    """
    label, lead = test["label"].to_numpy(dtype="float64"), test["lead_id"].to_numpy()
    log_odds = calibration.log_odds(margin)
    parts = terms(contributions, features).apply(lambda term: log_odds - calibration.log_odds(margin - term))
    steady = over_time(
        label, log_odds, parts, lead, test["as_of"], level=params.interval_level, min_conversions=params.min_conversions
    )
    found = adds(label, log_odds, parts, lead, level=params.interval_level)
    by_criterion = steady.groupby("criterion")
    size = by_criterion["mean_absolute_log_odds"]
    sense = directions(test, contributions, features, bins=params.bins, one_way=params.one_way)
    found.insert(1, "direction", [sense[name] for name in found["criterion"]])
    return found.assign(
        least=found["criterion"].map(size.min()),
        most=found["criterion"].map(size.max()),
        turned=found["criterion"].map(by_criterion["changed_sign"].sum()),
    ), steady


def terms(contributions: pd.DataFrame, features: Sequence[dict[str, str]]) -> pd.DataFrame:
    """Contributions of features, summed per criterion; criteria in order of their first feature.

    Args:
        contributions: log-odds, one column per feature. `features`: `name` and `criterion` of every feature.
    """
    names = list(dict.fromkeys(feature["criterion"] for feature in features))
    return pd.DataFrame(
        {
            name: contributions[[one["name"] for one in features if one["criterion"] == name]].sum(axis=1)
            for name in names
        }
    )


def adds(
    label: np.ndarray, log_odds: np.ndarray, parts: pd.DataFrame, lead: np.ndarray, *, level: float
) -> pd.DataFrame:
    """What each criterion adds on rows that taught nothing: the log-loss without it less that with it.

    "Without" replaces its term by the term's mean; both sides are taken at their best intercept, so that only the
    differences between leads count.

    Args:
        label, log_odds, lead: of the rows, shape (n_rows,). `parts`: as `terms` gives them.
        level: probability with which the interval, normal and robust to several rows of a lead, holds the gain.

    Returns:
        `criterion`, `adds` (nats per row, `adds_low`, `adds_high`), and `verdict`: "adds", "adds nothing" where the
        interval holds 0, or "misleads" where it lies below.
    """
    whole = row_losses(label, log_odds + best_intercept(label, log_odds))
    entries = []
    for name in parts:
        without = log_odds - (parts[name] - parts[name].mean()).to_numpy()
        gain = row_losses(label, without + best_intercept(label, without)) - whole
        mean = float(gain.mean())
        half = float(stats.norm.ppf(0.5 + level / 2) * error_by_lead(gain - mean, lead))
        entries.append([name, mean, mean - half, mean + half, verdict(mean - half, mean + half)])
    return pd.DataFrame(entries, columns=["criterion", "adds", "adds_low", "adds_high", "verdict"])


def verdict(low: float, high: float) -> str:
    """What an interval around a gain says of it."""
    return ADDS if low > 0 else MISLEADS if high < 0 else NOTHING


def error_by_lead(values: np.ndarray, lead: np.ndarray) -> float:
    """Standard error of the mean of centred values, of which a lead's belong together."""
    by_lead = pd.Series(values).groupby(lead).sum().to_numpy()
    return float(np.sqrt((by_lead**2).sum())) / len(values)


def directions(
    values: pd.DataFrame,
    contributions: pd.DataFrame,
    features: Sequence[dict[str, str]],
    *,
    bins: int,
    one_way: float,
) -> dict[str, str]:
    """Per criterion the sense in which it works: "rising" where more of it, or fresher, speaks for a conversion,
    "falling", "mixed", or "by value" for a category.

    A criterion of several features works as its strongest, by mean absolute contribution. Of days since something
    happened, what counts is whether it happened at all; of other numbers, whether mean contributions of bins rise with
    the value: their rank correlation with it lies beyond `one_way`, in [0, 1). A gap is left out.
    """
    found = {}
    for name in dict.fromkeys(feature["criterion"] for feature in features):
        own = [feature for feature in features if feature["criterion"] == name]
        weight = [float(contributions[one["name"]].abs().mean()) for one in own]
        strongest = own[int(np.argmax(weight))]
        value, part = values[strongest["name"]], contributions[strongest["name"]].to_numpy()
        missing = value.isna().to_numpy()
        if strongest["type"] == "category":
            found[name] = "by value"
        elif strongest["name"].startswith(RECENCY) and 0 < missing.sum() < len(missing):
            apart = part[~missing].mean() - part[missing].mean()
            found[name] = "rising" if apart > 0 else "falling" if apart < 0 else "mixed"
        else:
            means = pd.Series([part[mine].mean() for shown, *_, mine in _bins(value, "number", bins) if shown])
            # Without a spread there is no correlation, and no sense.
            alike = means.corr(pd.Series(means.index), method="spearman") if means.nunique() > 1 else 0.0
            found[name] = "rising" if alike > one_way else "falling" if alike < -one_way else "mixed"
    return found


def over_time(
    label: np.ndarray,
    log_odds: np.ndarray,
    parts: pd.DataFrame,
    lead: np.ndarray,
    as_of: pd.Series,
    *,
    level: float,
    min_conversions: int,
) -> pd.DataFrame:
    """Whether each criterion works in every quarter as it was learned.

    Args:
        as_of: of the rows; the other arguments as `by_period` takes them.

    Returns:
        The table of `by_period`, its first column `quarter` (2024Q3).
    """
    quarter = as_of.dt.to_period("Q").astype("str").to_numpy()
    found = by_period(label, log_odds, parts, lead, quarter, level=level, min_conversions=min_conversions)
    return found.rename(columns={"period": "quarter"})


def by_period(
    label: np.ndarray,
    log_odds: np.ndarray,
    parts: pd.DataFrame,
    lead: np.ndarray,
    period: np.ndarray,
    *,
    level: float,
    min_conversions: int,
) -> pd.DataFrame:
    """Whether each criterion works in every period as it was learned.

    Args:
        period: that each row belongs to, shape (n_rows,); the other arguments as `adds` takes them.
        min_conversions: periods with fewer of either outcome get no slope.

    Returns:
        One row per period and criterion: `period`, `criterion`, `rows`, `conversions`, `mean_absolute_log_odds` of its
        term, and `slope`: the factor by which the period itself would weigh the term beside all others (1 as learned, 0
        worthless, below 0 the other way round), with `slope_low` and `slope_high`; NaN where the term is the same for
        all. `changed_sign`: the whole interval lies below 0.
    """
    z = stats.norm.ppf(0.5 + level / 2)
    entries = []
    for name in np.unique(period):
        mine = period == name
        hits = int(label[mine].sum())
        enough = min(hits, int(mine.sum()) - hits) >= min_conversions
        for criterion in parts:
            term = parts[criterion].to_numpy()[mine]
            slope = error = float("nan")
            if enough and np.ptp(term) > 1e-9:
                slope, error = _slope(label[mine], log_odds[mine] - term, term, lead[mine])
            low, high = slope - z * error, slope + z * error
            size = float(np.abs(term).mean())
            entries.append([name, criterion, int(mine.sum()), hits, size, slope, low, high, bool(high < 0)])
    names = ["period", "criterion", "rows", "conversions", "mean_absolute_log_odds"]
    return pd.DataFrame(entries, columns=[*names, "slope", "slope_low", "slope_high", "changed_sign"])


def _slope(label: np.ndarray, offset: np.ndarray, term: np.ndarray, lead: np.ndarray) -> tuple[float, float]:
    """Weight of the term beside an offset, with an intercept of its own, and its error robust to rows of one lead."""
    design = np.column_stack([np.ones(len(term)), term - term.mean()])
    weights = np.array([0.0, 1.0])
    for _ in range(50):
        probability = sigmoid(offset + design @ weights)
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), design.T @ (label - probability))
        weights = weights + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    score = pd.DataFrame(design * (label - sigmoid(offset + design @ weights))[:, None]).groupby(lead).sum().to_numpy()
    inverse = np.linalg.pinv(curvature)
    return float(weights[1]), float(np.sqrt((inverse @ (score.T @ score) @ inverse)[1, 1]))


def dependence(
    values: pd.DataFrame, contributions: pd.DataFrame, features: Sequence[dict[str, str]], *, bins: int
) -> pd.DataFrame:
    """Shape of every feature: its mean contribution by its value.

    Args:
        values, contributions: the same rows, one column per feature. `bins`: of equal count for numbers; the most
            frequent levels for categories, the others taken together.

    Returns:
        One row per feature and value: `feature`, `criterion`, `value` (the bin's mean, or the level; "" where it is
        missing, "others" for rare levels), `place` (order of the bins), `low`, `high` (ends of the bin, NaN for
        categories), `rows`, and `log_odds`, `log_odds_low`, `log_odds_high`: mean and the middle 80 % of contributions.
    """
    entries = []
    for feature in features:
        value, part = values[feature["name"]], contributions[feature["name"]].to_numpy()
        for place, (shown, low, high, mine) in enumerate(_bins(value, feature["type"], bins)):
            own = part[mine]
            ends = np.quantile(own, [0.1, 0.9]).tolist()
            entries.append(
                [feature["name"], feature["criterion"], shown, place, low, high, len(own), float(own.mean()), *ends]
            )
    names = ["feature", "criterion", "value", "place", "low", "high", "rows", "log_odds"]
    table = pd.DataFrame(entries, columns=[*names, "log_odds_low", "log_odds_high"])
    return table.astype({"feature": "str", "criterion": "str", "value": "str"})


def _bins(value: pd.Series, kind: str, bins: int) -> list[tuple[str, float, float, np.ndarray]]:
    """What is shown of a bin, its ends, and its rows; missing values last."""
    missing = value.isna().to_numpy()
    found = []
    if kind == "category":
        counts = value.value_counts()
        common = sorted(counts.index[:bins])
        for level in common:
            found.append((str(level), np.nan, np.nan, (value == level).to_numpy()))
        rest = ~value.isin(common).to_numpy() & ~missing
        if rest.any():
            found.append(("others", np.nan, np.nan, rest))
    elif not missing.all():
        number = value.to_numpy(dtype="float64")
        edges = np.unique(np.quantile(number[~missing], np.linspace(0, 1, bins + 1)[1:-1]))
        place = np.searchsorted(edges, number, side="left")
        for k in range(len(edges) + 1):
            mine = ~missing & (place == k)
            if mine.any():
                found.append((f"{number[mine].mean():.4g}", float(number[mine].min()), float(number[mine].max()), mine))
    if missing.any():
        found.append(("", np.nan, np.nan, missing))
    return found
