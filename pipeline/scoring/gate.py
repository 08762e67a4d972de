"""The gate: the checks a candidate must pass before it may be registered, each with figure, limit and a sentence.

A refusal is a result, not an error: the decision says what was measured, what was asked for, and what would change it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ArtefactError, meanwhile
from pipeline.params import Register
from pipeline.scoring import levels
from pipeline.scoring import metrics as measures

#: The rivals that a candidate must beat, and what a reader calls them.
RIVALS = {"base_rate": "the base rate of the training window", "one_feature": "a ranking by one feature"}
#: And this one, where the strategist has a card.
CARD = {"card": "the strategist's points card"}

#: Faults of a split, and what a reader calls them.
SPLIT_FAULTS = {
    "leads_in_two_splits": "leads that stand in two windows",
    "horizon_past_end": "labels that reach past the end of their window",
    "out_of_window": "snapshots of leads created outside their window",
}

KEY = ["lead_id", "as_of"]


@dataclass(frozen=True)
class Check:
    """One question of the gate. `figure`: what was measured (None: it could not be); `limit`: what it is held to.
    `meanwhile`: of a check that only more conversions can meet, what ranks the leads until then; "" of the others."""

    name: str
    figure: float | None
    limit: float
    passed: bool
    sentence: str
    meanwhile: str = ""


@dataclass(frozen=True)
class Decision:
    passed: bool
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    @property
    def letter(self) -> str:
        """The decision in words, as a referee would write it to the author."""
        if self.passed:
            return f"The candidate meets all {len(self.checks)} checks and may be registered."
        faults = " ".join(
            f"({k}) {' '.join(filter(None, [check.sentence, check.meanwhile]))}"
            for k, check in enumerate(self.failed, 1)
        )
        met = len(self.checks) - len(self.failed)
        return f"The candidate is not accepted: it meets {met} of {len(self.checks)} checks. {faults}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for decision.json."""
        return {"passed": self.passed, "letter": self.letter, "checks": [asdict(check) for check in self.checks]}


def decide(
    *,
    scores: pd.DataFrame,
    rivals: pd.DataFrame,
    metrics: Mapping[str, Any],
    time_proof: Mapping[str, Any],
    split_faults: Mapping[str, int],
    excluded: Collection[str],
    features: Collection[str],
    against: Sequence[Check],
    limits: Register,
    seed: int,
) -> Decision:
    """Judge a candidate on the test window.

    Args:
        scores: the candidate on the test snapshots: `lead_id`, `as_of`, `label` (0 or 1), `probability` (NaN where the
            scorer refused the row).
        rivals: the same rows in any order: `lead_id`, `as_of`, and a probability per name in `RIVALS`, and in `CARD`
            where there is one.
        metrics: figures of the candidate; `calibration_error` is read.
        time_proof: `pairs` rebuilt from truncated tables, `differences` found, `passed`.
        split_faults: faults of the split by kind, each 0 in a sound one; `leads_in_two_splits` is required.
        excluded: columns that the contract keeps out of the model.
        features: every column and feature that the model reads.
        against: checks beside the champion, as `challenge.judge` makes them; none where there is nothing to compare.
        limits: the section `register` of params.yaml.
        seed: of the bootstrap; leads are resampled with all of their rows.

    A rival is beaten in a metric when the candidate is better in at least `limits.confidence` of the resamples: the
    figure of that check is the bound of the improvement at this confidence, and its limit 0.

    Raises:
        ArtefactError: `scores` and `rivals` do not hold the same snapshots, each once.
    """
    rows, unscored = _paired(scores, rivals)
    conversions = int(rows["label"].sum())
    checks = [
        _counted(
            "test_conversions",
            conversions,
            limits.min_test_conversions,
            at_least=True,
            good=f"The test window holds {conversions:,} conversions; {limits.min_test_conversions:,} are asked for.",
            bad=f"The test window holds only {conversions:,} conversions, too few to judge by: "
            f"{limits.min_test_conversions - conversions:,} more are needed.",
            until_then=meanwhile(CARD.keys() <= set(rivals)),
        ),
        _counted(
            "unscored_rows",
            unscored,
            0,
            good=f"Each of the {len(rows):,} test rows was given a score.",
            bad=f"The scorer refused {unscored:,} of {unscored + len(rows):,} test rows that had passed validation.",
        ),
        *_beats(rows, limits, seed),
        _calibrated(metrics["calibration_error"], limits.max_calibration_error),
        _proved(time_proof),
        *(_sound(kind, found) for kind, found in sorted(split_faults.items())),
        _kept_out(sorted(set(excluded) & set(features)), len(set(excluded))),
        *against,
    ]
    return Decision(passed=all(check.passed for check in checks), checks=tuple(checks))


def cautions(
    *, metrics: Mapping[str, Any], max_shift: float, overruled: Collection[str], undecided: Collection[str]
) -> list[str]:
    """What a reader of the figures must know, one sentence each; none of it is held against the candidate.

    Args:
        metrics: of the evaluation: `split` (`time`, or `random` where the source has no time axis), and the figures of
            `levels`.
        max_shift: the limit that the evaluation held a shift of the level against, in log-odds.
        overruled: columns called leak that the contract keeps in the model.
        undecided: columns left out because the contract does not say when their value becomes known.
    """
    found = levels.sentences(metrics, max_shift)
    if metrics["split"] == "random":
        found.append(measures.RANDOM_SPLIT)
    if overruled:
        found.append(
            f"LEAKS IN THE MODEL: the contract overrules the verdict leak on {', '.join(overruled)}. If the verdict is "
            "right, sales will not see these figures; data/evaluate/leak_price.csv has them without."
        )
    if undecided:
        several = len(undecided) > 1
        count, they = (f"{len(undecided)} columns are", "they become") if several else ("1 column is", "it becomes")
        found.append(f"{count} left out undecided, until the contract says when {they} known: {', '.join(undecided)}.")
    return found


def _paired(scores: pd.DataFrame, rivals: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Scored rows with the candidate and its rivals side by side, sorted by key, and how many rows carry no score."""
    candidate = scores[[*KEY, "label", "probability"]].rename(columns={"probability": "candidate"})
    try:
        theirs = rivals[[*KEY, *_asked(rivals)]]
        rows = candidate.merge(theirs, on=KEY, how="outer", validate="one_to_one", indicator=True)
    except pd.errors.MergeError:
        raise ArtefactError(
            "evaluate/scores.parquet or rival_scores.parquet names a snapshot twice; run `dvc repro -f evaluate`."
        ) from None
    alone = int((rows["_merge"] != "both").sum())
    if alone:
        raise ArtefactError(
            f"{alone:,} snapshots stand in only one of evaluate/scores.parquet and rival_scores.parquet; "
            "run `dvc repro -f evaluate`."
        )
    scored = rows[rows["candidate"].notna()].drop(columns="_merge").sort_values(KEY, ignore_index=True)
    return scored, len(rows) - len(scored)


def _asked(rivals: pd.DataFrame) -> dict[str, str]:
    """The rivals to beat that are there, and what a reader calls them."""
    return RIVALS | {name: words for name, words in CARD.items() if name in rivals}


def _beats(rows: pd.DataFrame, limits: Register, seed: int) -> list[Check]:
    """Log-loss and lift in the top tenth against every rival, paired on the same resampled leads."""
    asked = _asked(rows)
    if rows.empty or not 0 < rows["label"].sum() < len(rows):
        sentence = "The scored test rows do not hold both outcomes, so the candidate cannot be compared with {}."
        return [
            Check(f"{metric}_beats_{rival}", None, 0.0, False, sentence.format(words))
            for rival, words in asked.items()
            for metric in ("log_loss", "lift_10")
        ]
    # One bin: the calibration error is not compared here.
    draws = measures.resampled_by_lead(rows, ["candidate", *asked], bins=1, samples=limits.bootstrap_samples, seed=seed)
    checks = []
    for rival, words in asked.items():
        for metric, direction, what in (("log_loss", -1.0, "log-loss"), ("lift_10", 1.0, "lift in the top tenth")):
            column = measures.METRICS.index(metric)
            gain = direction * (draws["candidate"][:, column] - draws[rival][:, column])
            # Resamples without a conversion have no lift; they speak for neither side.
            bound = float(np.quantile(gain[~np.isnan(gain)], 1 - limits.confidence))
            mine, theirs = (_measure(metric, rows["label"], rows[name]) for name in ("candidate", rival))
            passed = bound > 0
            verdict = (
                f"{'better' if passed else 'not better'} in at least {100 * limits.confidence:g} % of "
                f"{limits.bootstrap_samples:,} resamples of the leads (the gain at that confidence is {bound:+.4f})"
            )
            checks.append(
                Check(
                    name=f"{metric}_beats_{rival}",
                    figure=bound,
                    limit=0.0,
                    passed=passed,
                    sentence=f"Its {what} is {mine:.4f} against {theirs:.4f} for {words}: {verdict}.",
                )
            )
    return checks


def _measure(metric: str, label: pd.Series, probability: pd.Series) -> float:
    y, p = label.to_numpy(dtype="float64"), probability.to_numpy(dtype="float64")
    return measures.log_loss(y, p) if metric == "log_loss" else measures.lift(y, p, 0.1)


def _calibrated(error: float | None, limit: float) -> Check:
    if error is None or np.isnan(error):
        return Check("calibration_error", None, limit, False, "The calibration error could not be measured.")
    passed = error <= limit
    relation = "within" if passed else "above"
    sentence = (
        f"Score and observed conversion differ by {error:.4f} on average over the bins of the test window, "
        f"{relation} the limit of {limit:.4f}."
    )
    return Check("calibration_error", float(error), limit, passed, sentence)


def _proved(proof: Mapping[str, Any]) -> Check:
    pairs, differences = int(proof["pairs"]), int(proof["differences"])
    passed = bool(proof["passed"]) and differences == 0 and pairs > 0
    if passed:
        sentence = f"All {pairs:,} snapshots rebuilt without anything recorded later came out the same."
    elif pairs == 0:
        sentence = "No snapshot was rebuilt from truncated tables: nothing proves that the features look only backward."
    else:
        sentence = (
            f"{differences:,} of {pairs:,} snapshots came out differently once everything recorded later was removed: "
            "a feature looks into the future."
        )
    return Check("time_proof", float(differences), 0.0, passed, sentence)


def _sound(kind: str, found: int) -> Check:
    words = SPLIT_FAULTS.get(kind, kind.replace("_", " "))
    return _counted(
        f"split_{kind}",
        found,
        0,
        good=f"The split, looked at again by another route, shows no {words}.",
        bad=f"The split shows {found:,} {words}: the test window does not stand apart from what was learned.",
    )


def _kept_out(inside: list[str], excluded: int) -> Check:
    return _counted(
        "excluded_columns",
        len(inside),
        0,
        good=f"None of the {excluded:,} columns that the contract keeps out of the model is among its inputs.",
        bad=f"The model reads columns that the contract keeps out: {', '.join(inside)}.",
    )


def _counted(
    name: str, figure: int, limit: int, *, good: str, bad: str, at_least: bool = False, until_then: str = ""
) -> Check:
    passed = figure >= limit if at_least else figure <= limit
    sentence, until_then = (good, "") if passed else (bad, until_then)
    return Check(name, float(figure), float(limit), passed, sentence, until_then)
