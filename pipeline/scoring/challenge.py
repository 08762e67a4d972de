"""A candidate against the champion of this moment: both score the same raw test rows, each with its own feature code.

Rows of leads, or of a time, that the champion was taught on are left out: it would know their outcomes. What remains is
matured, and new to both. A candidate must be surely better, or, with newer data, surely not worse by more than a slack
(non-inferiority, as trials of medicines use it): a model that is only as good on the same data gains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.leads.lineage import Known, differs, taught
from pipeline.params import Evaluate, Register
from pipeline.scoring import metrics
from pipeline.scoring.gate import Check, named, signed
from pipeline.scoring.weights import error_by_lead

DAY = pd.Timedelta(days=1)

#: What a candidate that ranks or is calibrated worse would have to change.
TOP = "Whom sales calls first would be chosen worse, whatever it gains elsewhere; data/evaluate/lift.csv shows where."
OFF = "Its scores would say less what they promise; data/evaluate/reliability.csv shows which are off."


@dataclass(frozen=True)
class Verdict:
    """`checks` of a candidate that can be compared, or `why_not` it cannot; how many test rows were compared, and how
    many left out because the champion was taught on their leads or time (`taught`) or gave them no score."""

    checks: tuple[Check, ...] = ()
    why_not: str = ""
    rows: int = 0
    taught: int = 0
    unscored: int = 0

    def warnings(self, champion: int) -> list[str]:
        """What whoever approves must answer for, in a sentence."""
        if not self.why_not:
            return []
        return [
            f"NOT COMPARABLE with the champion, version {champion}: {self.why_not}. Whoever approves the candidate "
            "says in the note why it goes on."
        ]

    def described(self, *, identical: bool) -> dict[str, Any]:
        """Plain data for decision.json. `identical`: the candidate is that version, to the byte."""
        counts = {"rows": self.rows, "taught": self.taught, "unscored": self.unscored}
        comparable = not identical and not self.why_not
        return {"comparable": comparable, "why_not": self.why_not} | counts


def judge(
    test: pd.DataFrame,
    created_at: pd.Series,
    candidate: np.ndarray,
    champion: np.ndarray | None,
    mine: Known,
    theirs: Known | None,
    why_not: str,
    categories: Sequence[str],
    limits: Register,
    evaluate: Evaluate,
    *,
    seed: int,
) -> Verdict:
    """Compare candidate and champion on the rows that neither was taught on.

    Args:
        test: test snapshots: `lead_id`, `label`, `position` and the columns of `categories`. `created_at`: of their
            leads.
        candidate, champion: their probabilities of these rows, NaN where refused. `champion` is None where it could not
            be asked, for the reason `why_not`.
        mine, theirs: how the two were taught.
        evaluate: bins of the calibration error, and rows of the smallest group.
        seed: of the bootstrap; leads are resampled with all of their rows.
    """
    if champion is None or theirs is None:
        return Verdict(why_not=why_not)
    if apart := differs(mine, theirs):
        return Verdict(why_not=apart)
    left_out = taught(test, created_at, mine, theirs)
    rows = test.assign(candidate=candidate, champion=champion)
    unscored = np.isnan(champion) & ~left_out
    some = rows[~left_out & ~unscored & ~np.isnan(candidate)].reset_index(drop=True)
    counts = (len(some), int(left_out.sum()), int(unscored.sum()))
    hits = int(some["label"].sum())
    fewer, what = min((hits, "conversions"), (len(some) - hits, "that did not convert"))
    if fewer < limits.min_test_conversions:
        why = (
            f"the {len(some):,} test rows that it was not taught on hold {fewer:,} {what} ({counts[1]:,} rows are left "
            f"out); {limits.min_test_conversions:,} are asked for"
        )
        return Verdict((), why, *counts)
    checks = [
        *_figures(some, mine, theirs, limits, evaluate.bins, seed),
        _slices(some, categories, limits.champion.slack.slice_gap, limits.confidence, evaluate.slice_min_rows),
        _newer(_days(mine, theirs)),
    ]
    return Verdict(tuple(checks), "", *counts)


def _figures(rows: pd.DataFrame, mine: Known, theirs: Known, limits: Register, bins: int, seed: int) -> list[Check]:
    """Log-loss, lift in the top tenth and calibration error, paired on the same resampled leads."""
    both, slack = ["candidate", "champion"], limits.champion.slack
    draws = metrics.resampled_by_lead(rows, both, bins=bins, samples=limits.bootstrap_samples, seed=seed)
    label = rows["label"].to_numpy()
    found = {name: metrics.summary(label, rows[name].to_numpy(), bins=bins) for name in both}

    def gain(metric: str, direction: float) -> float:
        """The improvement that is sure."""
        column = metrics.METRICS.index(metric)
        apart = direction * (draws["candidate"][:, column] - draws["champion"][:, column])
        return float(np.nanquantile(apart, 1 - limits.confidence))

    def root(square: float) -> float:
        return float(np.copysign(np.sqrt(abs(square)), square))

    def said(metric: str, words: str) -> str:
        values = [f"{found[name][metric]:.4f}" for name in both]
        return (
            f"On {len(rows):,} test rows that neither was taught on, its {words} is {values[0]} against {values[1]} of "
            "the champion"
        )

    def check(metric: str, figure: float, limit: float, sentence: str, advice: str) -> Check:
        passed = figure > limit
        how = (
            f"the gain that is sure at {100 * limits.confidence:g} % is {signed(figure)}, and must be above {limit:.4g}"
        )
        return Check(f"champion_{metric}", figure, limit, passed, f"{sentence} ({how}).", "" if passed else advice)

    sure, days = gain("log_loss", -1.0), _days(mine, theirs)
    as_good, newer = sure > -slack.log_loss, days >= limits.champion.newer_days
    if sure > 0:
        verdict = "surely better"
    elif as_good and newer:
        verdict = f"surely no worse than by {slack.log_loss:g}, from data that are newer by {days:.0f} days"
    elif as_good:
        verdict = (
            f"as good, not surely better, from data that are newer by {max(0.0, days):.0f} days; as good is enough "
            f"from {limits.champion.newer_days} days on"
        )
    else:
        verdict = "not surely better, nor surely as good"
    advice = (
        f"One as good as this passes once its data are newer by {limits.champion.newer_days} days; before that it must "
        "be surely better."
        if as_good
        else "The champion stays. A candidate that learned more, from newer outcomes or other criteria, may be tried."
    )
    limit = -slack.log_loss if newer else 0.0
    checks = [check("log_loss", sure, limit, f"{said('log_loss', 'log-loss')}: {verdict}", advice)]
    excess, chance = metrics.calibration_excess(
        rows, "candidate", "champion", bins=bins, samples=limits.bootstrap_samples, level=limits.confidence, seed=seed
    )
    # On few rows even a candidate whose chances are true cannot surely be told from one that is off by the slack.
    off = max(slack.calibration_error, root(chance))
    for metric, sure, allowed, words, advice in (
        ("lift_10", gain("lift_10", 1.0), slack.lift_10, "lift in the top tenth", TOP),
        ("calibration_error", -root(excess), off, "calibration error", OFF),
    ):
        verdict = (
            f"surely no worse than by {allowed:.4g}"
            if sure > -allowed
            else f"it may be worse by more than {allowed:.4g}"
        )
        checks.append(check(metric, sure, -allowed, f"{said(metric, words)}: {verdict}", advice))
    return checks


def _days(mine: Known, theirs: Known) -> float:
    """By how many days the candidate's newest recorded moment lies after the champion's; 0 without moments."""
    if mine.newest is None or theirs.newest is None:
        return 0.0
    return float((mine.newest - theirs.newest) / DAY)


def _newer(days: float) -> Check:
    if days >= 0:
        sentence = f"Its newest recorded moment lies {days:.0f} days after the champion's."
        return Check("champion_data", days, 0.0, True, sentence)
    sentence = (
        f"Its data are older than the champion's: its newest recorded moment lies {-days:.0f} days before; none is "
        "allowed."
    )
    return Check("champion_data", days, 0.0, False, sentence, "Extract the source anew, and run `dvc repro`.")


def _slices(rows: pd.DataFrame, categories: Sequence[str], slack: float, confidence: float, min_rows: int) -> Check:
    """No group may be met worse than by the champion: with a gap that is no chance (at a Bonferroni level), and wider
    than the champion's by more than the slack."""
    groups = [
        (f"{name} {value}", mine)
        for name in categories
        for value, mine in rows.groupby(rows[name].astype(object).fillna("(missing)").astype(str), sort=True)
        if len(mine) >= min_rows
    ]
    z = stats.norm.ppf(1 - (1 - confidence) / 2 / max(1, len(groups)))
    worse: list[tuple[float, str]] = []
    widest = 0.0
    for name, mine in groups:
        apart = (mine["label"] - mine["candidate"]).to_numpy(dtype="float64")
        gap, before = abs(float(apart.mean())), abs(float((mine["label"] - mine["champion"]).mean()))
        sure = gap > z * error_by_lead(apart - apart.mean(), mine["lead_id"].to_numpy())
        widest = max(widest, gap - before if sure else 0.0)
        if sure and gap - before > slack:
            worse.append((before - gap, f"{name} ({100 * gap:.1f} points off, the champion {100 * before:.1f})"))
    sentence = (
        f"In none of {len(groups):,} groups of leads are scores surely off, and by {100 * slack:.1f} points more than "
        "the champion's."
        if not worse
        else f"Scores are surely off, and by more than {100 * slack:.1f} points more than the champion's, in "
        f"{len(worse):,} of {len(groups):,} groups of leads: {named([words for _, words in sorted(worse)])}."
    )
    advice = "data/evaluate/slices.csv has every group. See whether the candidate learned from such leads at all."
    return Check("champion_slices", widest, slack, not worse, sentence, advice if worse else "")
