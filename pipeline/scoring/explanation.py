"""Why the scores are what they are: weights of criteria and features, leads taken apart, proof that the parts add up.

Points come from the reasons of every scored row; log-odds come from the contributions of a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ArtefactError
from pipeline.params import Explain
from pipeline.scorer import Scorer
from pipeline.scoring import fold_weights, weights
from pipeline.scoring.examples import reasons, taken_apart

KEY = ["lead_id", "as_of"]

#: What criteria that help nobody do, in a log's words.
VERDICTS = {"adds nothing": "add nothing that can be told from chance", "misleads": "cost log-loss"}


# The test window taken apart


@dataclass(frozen=True)
class Apart:
    """Scored rows of the test window with all that their scores are made of, in one order.

    `rows`: key, label and features. `scores`: as the scorer returned them. `points`: see `points`. `contributions`:
    log-odds, one column per feature. `margin`: base, contributions and current level, in log-odds, shape (n_rows,).
    """

    rows: pd.DataFrame
    scores: pd.DataFrame
    points: pd.DataFrame
    contributions: pd.DataFrame
    margin: np.ndarray


@dataclass(frozen=True)
class Sample:
    """Some rows of an `Apart`: their places in it, their rows and their contributions."""

    places: np.ndarray
    rows: pd.DataFrame
    contributions: pd.DataFrame


def take_apart(scorer: Scorer, test: pd.DataFrame, returned: pd.DataFrame, features: Sequence[dict[str, str]]) -> Apart:
    """Take every row with a score apart.

    Args:
        test: snapshots of the test window: key, label and features. `returned`: what the scorer made of them, in the
            same order, refused rows included.
        features: `name`, `criterion`, `group` and `type` of every feature.

    Raises:
        ArtefactError: base and points do not give the score, of however few rows.
    """
    fit = (returned["refused"] == "").to_numpy()
    rows, scores = test[fit].reset_index(drop=True), returned[fit].reset_index(drop=True)
    found = points(scores)
    whole = adds_up(scores, found)
    if not whole.all():
        raise ArtefactError(
            f"the reasons of {int((~whole).sum()):,} of {len(whole):,} test rows do not add up to their score. This is "
            "a fault in the scorer's code, not in the data; a scorer with it must not be registered."
        )
    names = [feature["name"] for feature in features]
    parts = pd.DataFrame(scorer.margin.contributions(rows[names]), columns=names)
    return Apart(rows, scores, found, parts, scorer.margin.base + parts.sum(axis=1).to_numpy() + scorer.level)


def draw(apart: Apart, size: int, seed: int) -> Sample:
    """At most `size` rows, see `sample`."""
    places = sample(len(apart.rows), size, seed)
    return Sample(places, *(table.iloc[places].reset_index(drop=True) for table in (apart.rows, apart.contributions)))


def tables(
    scorer: Scorer,
    apart: Apart,
    drawn: Sample,
    by_fold: pd.DataFrame,
    features: Sequence[dict[str, str]],
    params: Explain,
) -> dict[str, pd.DataFrame]:
    """Result tables by the names of the files that they become: `criteria`, `criteria_over_time`, `criteria_by_fold`,
    `dependence`, `features`, `waterfalls`. Points are of every row, mean log-odds of criteria and features of the
    sample.

    Args:
        by_fold: as `fold_weights.by_fold` gives it.
    """
    names = [feature["name"] for feature in features]
    learned, over_time = weights.learned(
        apart.rows, apart.contributions, features, apart.margin, scorer.calibration, params
    )
    weighed = criteria(apart.points, len(apart.rows), drawn.contributions, features)
    before = fold_weights.over_folds(by_fold, learned, level=params.interval_level)
    return {
        "criteria": weighed.merge(learned, on="criterion", how="left").merge(before, on="criterion", how="left"),
        "criteria_over_time": over_time,
        "criteria_by_fold": by_fold,
        "dependence": weights.dependence(apart.rows[names], apart.contributions, features, bins=params.bins),
        "features": feature_weights(drawn.contributions, features),
        "waterfalls": waterfalls(apart.scores, params.waterfalls),
    }


def agreement(scorer: Scorer, apart: Apart, drawn: Sample) -> dict[str, Any]:
    """How far, on the sample, contributions are from SHAP's own and probabilities from what contributions add up to;
    see `shap_agreement`."""
    added = scorer.calibration.probability(apart.margin)[drawn.places]
    shown = apart.scores["probability"].to_numpy()[drawn.places]
    matrix = scorer.margin.encoder.matrix(drawn.rows[list(drawn.contributions)])
    return shap_agreement(scorer.members, matrix) | {
        "rows_checked": len(apart.rows),
        "rows_adding_up": int(adds_up(apart.scores, apart.points).sum()),
        "sampled_rows": len(drawn.rows),
        "largest_probability_difference": float(np.abs(added - shown).max(initial=0.0)),
        "model_version": scorer.version,
    }


def sentences(weighed: pd.DataFrame) -> list[str]:
    """Which criteria cannot be told from chance or do harm on later leads, one sentence per verdict.

    Args:
        weighed: the table `criteria`; the current level has no verdict.
    """
    judged = int(weighed["verdict"].notna().sum())
    named = {verdict: weighed.loc[weighed["verdict"] == verdict, "criterion"].tolist() for verdict in VERDICTS}
    return [
        f"on later leads {len(names)} of {judged} criteria {VERDICTS[verdict]}: {', '.join(names)}"
        for verdict, names in named.items()
        if names
    ]


# Their parts


def sample(n_rows: int, size: int, seed: int) -> np.ndarray:
    """Rising positions of at most `size` of `n_rows` rows, drawn without replacement."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"explain"]))
    return np.sort(rng.permutation(n_rows)[:size])


def points(scores: pd.DataFrame) -> pd.DataFrame:
    """The reasons of scored rows as a table: `place` (row position), `criterion`, `points` (tenths, int64), as listed.

    Args:
        scores: `reasons`, a JSON list of objects per row, as the scorer returns it.
    """
    listed = reasons(scores)
    flat = [one for row in listed for one in row]
    return pd.DataFrame(
        {
            "place": np.repeat(np.arange(len(listed)), [len(row) for row in listed]),
            "criterion": pd.Series([one["criterion"] for one in flat], dtype="str"),
            "points": _tenths(np.array([one["points"] for one in flat], dtype="float64")),
        }
    )


def adds_up(scores: pd.DataFrame, found: pd.DataFrame) -> np.ndarray:
    """True for every row whose base and points give its score exactly, counted in tenths of a point.

    Args:
        found: the `points` of the same rows.
    """
    total = np.bincount(found["place"], weights=found["points"], minlength=len(scores)).astype("int64")
    return np.asarray(_tenths(scores["base"].to_numpy()) + total == _tenths(scores["score"].to_numpy()))


def criteria(
    found: pd.DataFrame, rows: int, contributions: pd.DataFrame, features: Sequence[dict[str, str]]
) -> pd.DataFrame:
    """Weight of every criterion, strongest first.

    Args:
        found: `points` of the scored rows, of which there are `rows`.
        contributions: log-odds of a sample of rows, one column per feature.
        features: `name`, `criterion` and `group` of every feature.

    Returns:
        `criterion`, `group` ("" for the current level), `features` (how many), `mean_absolute_points` and `mean_points`
        over all scored rows (absent reasons count 0), `share` of the absolute points (0 to 1), and
        `mean_absolute_log_odds` over the sample.
    """
    groups = {feature["criterion"]: feature["group"] for feature in features}
    names = list(dict.fromkeys([*groups, *found["criterion"]]))
    # The current level has points and no features.
    log_odds = weights.terms(contributions, features).reindex(columns=names, fill_value=0.0)
    absolute = found["points"].abs().groupby(found["criterion"]).sum()
    signed = found["points"].groupby(found["criterion"]).sum()
    per_row = 10 * max(1, rows)
    table = pd.DataFrame(
        {
            "criterion": pd.Series(names, dtype="str"),
            "group": pd.Series([groups.get(name, "") for name in names], dtype="str"),
            "features": [sum(feature["criterion"] == name for feature in features) for name in names],
            "mean_absolute_points": [int(absolute.get(name, 0)) / per_row for name in names],
            "mean_points": [int(signed.get(name, 0)) / per_row for name in names],
            "share": [int(absolute.get(name, 0)) / max(1, int(absolute.sum())) for name in names],
            "mean_absolute_log_odds": [_mean_absolute(log_odds[name].to_numpy()) for name in names],
        }
    )
    return table.sort_values(["mean_absolute_points", "criterion"], ascending=[False, True], ignore_index=True)


def feature_weights(contributions: pd.DataFrame, features: Sequence[dict[str, str]]) -> pd.DataFrame:
    """Weight of every feature in log-odds over the rows given, strongest first.

    Returns:
        `feature`, `criterion`, `group`, `mean_absolute_log_odds`, `mean_log_odds`.
    """
    table = pd.DataFrame(
        {
            "feature": pd.Series([feature["name"] for feature in features], dtype="str"),
            "criterion": pd.Series([feature["criterion"] for feature in features], dtype="str"),
            "group": pd.Series([feature["group"] for feature in features], dtype="str"),
            "mean_absolute_log_odds": [_mean_absolute(contributions[f["name"]].to_numpy()) for f in features],
            "mean_log_odds": [float(contributions[feature["name"]].mean()) for feature in features],
        }
    )
    return table.sort_values(["mean_absolute_log_odds", "feature"], ascending=[False, True], ignore_index=True)


def waterfalls(scores: pd.DataFrame, count: int) -> pd.DataFrame:
    """Leads taken apart, from the highest score to the lowest, evenly spaced in rank (3: highest, median, lowest).

    Returns:
        As `examples.taken_apart`; equal scores are ordered by key.
    """
    ranked = scores.sort_values(["score", *KEY], ascending=[False, True, True], ignore_index=True)
    chosen = np.unique(np.round(np.linspace(0, len(ranked) - 1, min(count, len(ranked)))).astype("int64"))
    return taken_apart(ranked.iloc[chosen])


def shap_agreement(members: Sequence[Any], matrix: np.ndarray) -> dict[str, Any]:
    """How far the contributions of the tree members are from those of `shap.TreeExplainer`, and from adding up.

    `TreeExplainer` hands the work to XGBoost's own path-dependent TreeSHAP (Lundberg et al. 2020); the scorer's
    contributions come from tables of its own, so the two are independent. That bias and contributions sum to the margin
    is checked for members of every kind; that they are Shapley values is shown in the tests, by counting out every
    subset.

    Args:
        members: objects with `kind`, `contributions(matrix)`, `margin(matrix)` and, for trees, `booster`,
            `dmatrix(matrix)` and `of_trees(matrix)`.
        matrix: encoded features of the rows compared, shape (n_rows, n_features).

    Returns:
        `members` per kind, `largest_difference` (log-odds), `largest_relative_difference` (over the largest absolute
        contribution), and `largest_margin_difference` (log-odds).
    """
    # Imported here, because it takes seconds and only this function needs it.
    import shap

    largest = relative = apart = 0.0
    counts: dict[str, int] = {}
    for member in members:
        counts[member.kind] = counts.get(member.kind, 0) + 1
        bias, ours = member.contributions(matrix)
        apart = max(apart, float(np.abs(bias + ours.sum(axis=1) - member.margin(matrix)).max(initial=0.0)))
        if member.kind != "xgboost":
            continue
        trees = member.of_trees(matrix)[1]
        explainer = shap.TreeExplainer(member.booster)
        theirs = np.asarray(explainer.shap_values(member.dmatrix(matrix)), dtype="float64")
        difference = float(np.abs(trees - theirs).max(initial=0.0))
        largest = max(largest, difference)
        relative = max(relative, difference / max(float(np.abs(theirs).max(initial=0.0)), 1e-12))
    return {
        "members": counts,
        "largest_difference": largest,
        "largest_relative_difference": relative,
        "largest_margin_difference": apart,
    }


def _tenths(value: np.ndarray) -> np.ndarray:
    """Points with one decimal as whole tenths."""
    return np.rint(np.asarray(value, dtype="float64") * 10).astype("int64")


def _mean_absolute(value: np.ndarray) -> float:
    return float(np.abs(value).mean()) if len(value) else 0.0
