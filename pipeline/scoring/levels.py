"""Whether scores stand at the right level on later leads, and how old the evidence for that level is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from pipeline.params import Evaluate
from pipeline.scoring.calibrators import distance

DAY = pd.Timedelta(days=1)


def figures(
    level: Mapping[str, Any],
    as_of: pd.Series,
    lead: pd.Series,
    label: np.ndarray,
    probability: np.ndarray,
    params: Evaluate,
) -> dict[str, Any]:
    """The current level that scores carry, and how far later outcomes lie off it.

    Args:
        level: as `calibrators.described` wrote it. `as_of`, `lead`, `label`, `probability`: of the test snapshots.

    Returns:
        `level`: the term in log-odds. `level_rows`: snapshots it was measured on, 0 where it has none of its own.
        `level_age_days`: days from the newest of these to the middle of the test window; absent without a level of its
        own. `level_shift`: by how much, in log-odds, later conversions lie above (below, where negative) what the
        scores promise, with its interval by lead (`level_shift_low`, `level_shift_high`). `level_shifted`: that
        interval lies beyond `params.max_shift` on one side.
    """
    odds = np.log(probability) - np.log1p(-probability)
    shift, variance = distance(label, odds, lead.to_numpy())
    half = float(norm.ppf(0.5 + params.interval_level / 2) * np.sqrt(variance))
    found: dict[str, Any] = {
        "level": float(level["log_odds"]),
        "level_rows": int(level["rows"]),
        "level_moved": bool(level["moved"]),
        "level_shift": shift,
        "level_shift_low": shift - half,
        "level_shift_high": shift + half,
        "level_shifted": bool(shift - half > params.max_shift or shift + half < -params.max_shift),
    }
    if level["measured_until"] is not None:
        middle = as_of.sort_values(ignore_index=True).iloc[len(as_of) // 2]
        found["level_age_days"] = float((middle - pd.Timestamp(level["measured_until"])) / DAY)
    return found


def coverage(scores: pd.DataFrame, bins: int, level: float) -> float:
    """Share of equal-count bins of the score whose observed rate lies within the interval that the scores gave, widened
    by what chance adds to the rate of so many leads; about the interval's own level where it is honest.

    Args:
        scores: `lead_id`, `label`, `probability`, `interval_low`, `interval_high` of scored snapshots.
    """
    ordered = scores.sort_values("probability", kind="stable")
    held = []
    for part in np.array_split(np.arange(len(ordered)), min(2 * bins, len(ordered))):
        rows = ordered.iloc[part]
        apart = (rows["label"] - rows["probability"]).groupby(rows["lead_id"]).sum()
        chance = norm.ppf(0.5 + level / 2) * float(np.sqrt((apart**2).sum())) / len(rows)
        gap = float(rows["label"].mean() - rows["probability"].mean())
        own = (rows["interval_high"] if gap > 0 else rows["interval_low"]).mean() - rows["probability"].mean()
        held.append(abs(gap) <= np.hypot(abs(own), chance))
    return float(np.mean(held))


def sentences(figures_: Mapping[str, Any], max_shift: float) -> list[str]:
    """What a reader must know of the level and the signal, one sentence each; none of it is held against the candidate.

    Args:
        figures_: the metrics of the evaluation.
    """
    said = []
    if not figures_["signal"]:
        said.append(
            f"NO SIGNAL: out of sample the ranking was only {figures_['signal_standard_errors']:.1f} standard errors "
            f"above chance{_dealt(figures_)}, so that every lead has the base rate as its score."
        )
    if not figures_["repeatable"]:
        said.append(
            "NOT REPEATABLE: the search ended by the clock, was shared by processes, or ran on a GPU. Its trials are "
            "kept in data/tune/trials.csv; the counts in data/tune/best.json repeat a search that ended by the clock."
        )
    if needed := figures_["conversions_needed"]:
        said.append(
            f"FEW CONVERSIONS: only the shrunken scorecard and logistic regression were used; about {needed:,} more "
            "conversions before the test window are needed for a full search."
        )
    if figures_["level_moved"]:
        said.append(
            f"THE LEVEL HAD MOVED before the test window: scores carry a current level of {figures_['level']:+.2f} in "
            f"log-odds, measured on {figures_['level_rows']:,} snapshots."
        )
    if figures_["level_shifted"]:
        word = "above" if figures_["level_shift"] > 0 else "below"
        said.append(
            f"THE LEVEL HAS MOVED SINCE: in the test window conversions lie {word} what the scores promise, by "
            f"{abs(figures_['level_shift']):.2f} in log-odds ({figures_['level_shift_low']:+.2f} to "
            f"{figures_['level_shift_high']:+.2f}; limit {max_shift:g}). Train again on newer outcomes."
        )
    return said


def _dealt(figures_: Mapping[str, Any]) -> str:
    """What the second route to a signal found, where it was asked."""
    if "signal_p_value" not in figures_:
        return ""
    return f", and {figures_['signal_p_value']:.1%} of outcomes dealt anew go with the columns as well as the real ones"
