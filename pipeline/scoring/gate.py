"""The gate: the checks a candidate must pass before it may be registered, each with figure, limit and a sentence.

A refusal is a result, not an error: the decision says what was measured, what was asked for, and what would change it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

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
    "closed_leads": "snapshots of leads that had converted or were lost by then",
    "horizon_past_end": "labels that reach past the end of their window",
    "horizon_past_newest": "labels that reach past the newest recorded moment",
    "leads_in_two_splits": "leads that stand in two windows",
    "out_of_window": "snapshots of leads created outside their window",
    "snapshots_twice": "snapshots that stand in it twice",
    "windows_apart": "gaps or overlaps between windows",
    "wrong_labels": "labels that the recorded outcome does not bear out",
}

#: What is compared with the rivals, whether more of it is better, and what a reader calls it.
COMPARED = (("log_loss", -1.0, "log-loss"), ("lift_10", 1.0, "lift in the top tenth"))
#: What would let a candidate beat a rival.
MORE = "More conversions make a true gain surer; data/explain/criteria.csv shows which criteria tell who converts."
BOTH = "It takes scored leads that converted and scored leads that did not."

KEY = ["lead_id", "as_of"]

#: Names in a sentence before the rest is only counted.
NAMED = 3


@dataclass(frozen=True)
class Check:
    """One question of the gate. `figure`: what was measured (None: it could not be); `limit`: what it is held to;
    `advice`: of a check that is not met, what would change it; "" of the others."""

    name: str
    figure: float | None
    limit: float
    passed: bool
    sentence: str
    advice: str = ""


@dataclass(frozen=True)
class Instead:
    """What ranks the leads where data are too thin for what was asked.

    `use`: `logistic` (the candidate is the shrunken one), `champion`, `card` or `none`; `needed`: conversions that are
    lacking, None where that is not the fault; `figures`: log-loss, AUC and lift in the top tenth of what is offered, on
    the rows of the test window, None where they cannot be measured; `command`: what ranks the leads by it, "" for none.
    """

    use: Literal["logistic", "champion", "card", "none"]
    needed: int | None
    figures: dict[str, float] | None
    command: str
    sentence: str


@dataclass(frozen=True)
class Decision:
    passed: bool
    checks: tuple[Check, ...]
    instead: Instead | None = None

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    @property
    def letter(self) -> str:
        """The decision in words, as a referee would write it to the author."""
        offered = [self.instead.sentence] if self.instead else []
        if self.passed:
            return " ".join([f"The candidate meets all {len(self.checks)} checks and may be registered.", *offered])
        # Advice that several faults share is given once, after the last of them.
        last = {check.advice: k for k, check in enumerate(self.failed) if check.advice}
        faults = [
            f"({k + 1}) {check.sentence}{f' {check.advice}' if last.get(check.advice) == k else ''}"
            for k, check in enumerate(self.failed)
        ]
        met = len(self.checks) - len(self.failed)
        verdict = f"The candidate is not accepted: it meets {met} of {len(self.checks)} checks."
        return " ".join([verdict, *faults, *offered])

    def as_dict(self) -> dict[str, Any]:
        """Plain data for decision.json."""
        return {
            "passed": self.passed,
            "letter": self.letter,
            "checks": [asdict(check) for check in self.checks],
            "instead": asdict(self.instead) if self.instead else None,
        }


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
    newest: pd.Timestamp | None,
    horizon_days: int,
    champion: int | None,
    limits: Register,
    bins: int,
    seed: int,
) -> Decision:
    """Judge a candidate on the test window.

    Args:
        scores: the candidate on the test snapshots: `lead_id`, `as_of`, `label` (0 or 1), `probability` (NaN where the
            scorer refused the row).
        rivals: the same rows in any order: `lead_id`, `as_of`, and a probability per name in `RIVALS`, and in `CARD`
            where there is one.
        metrics: figures of the candidate; `calibration_error`, `signal` and `conversions_needed` are read.
        time_proof: `pairs` rebuilt from truncated tables, `differences` found, `passed`.
        split_faults: faults of the split by kind, each 0 in a sound one; `leads_in_two_splits` is required.
        excluded: columns that the contract keeps out of the model.
        features: every column and feature that the model reads.
        against: checks beside the champion, as `challenge.judge` makes them; none where there is nothing to compare.
        newest: newest moment that the history holds; None where its source has no times.
        horizon_days: of the outcome.
        champion: number of the version that is in use; None without one.
        limits: the section `register` of params.yaml.
        bins: of the calibration error.
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
            f"{limits.min_test_conversions - conversions:,} more are needed for {limits.min_test_conversions:,}.",
            advice="They come with time, or with a longer history.",
        ),
        _counted(
            "unscored_rows",
            unscored,
            0,
            good=f"Each of the {len(rows):,} test rows was given a score.",
            bad=f"The scorer refused {unscored:,} of {unscored + len(rows):,} test rows that had passed validation; "
            "none is allowed.",
            advice="Such leads would get no score. Why it refused each is in the column `refused` of "
            "data/evaluate/scores.parquet.",
        ),
        *_beats(rows, limits, seed),
        _calibrated(rows, metrics["calibration_error"], limits, bins),
        *_fresh(rows, newest, horizon_days, limits.freshness.judged_within_days),
        _proved(time_proof),
        *(_sound(kind, found) for kind, found in sorted(split_faults.items())),
        _kept_out(sorted(set(excluded) & set(features)), len(set(excluded))),
        *against,
    ]
    passed = all(check.passed for check in checks)
    return Decision(passed, tuple(checks), _instead(passed, rows, metrics, champion, limits.min_test_conversions, bins))


def signed(gain: float) -> str:
    """A gain with its sign, to four decimals; nothing is 0, not -0.0000."""
    return f"{gain:+.4f}" if round(gain, 4) else "0"


def named(names: Iterable[str]) -> str:
    """The first names of a list, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more


def judged_until(as_of: pd.Series, newest: pd.Timestamp | None, horizon_days: int) -> pd.Timestamp | None:
    """The newest moment up to which outcomes of the test window are known; None where the source has no times.

    `as_of`: of the test snapshots.
    """
    if newest is None or as_of.isna().all():
        return None
    return pd.Timestamp(as_of.max()) + pd.Timedelta(days=horizon_days)


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
        sentence = "The scored test rows do not hold both outcomes, so its {} cannot be compared with that of {}."
        return [
            Check(f"{metric}_beats_{rival}", None, 0.0, False, sentence.format(what, words), BOTH)
            for rival, words in asked.items()
            for metric, _, what in COMPARED
        ]
    # One bin: the calibration error is not compared here.
    draws = measures.resampled_by_lead(rows, ["candidate", *asked], bins=1, samples=limits.bootstrap_samples, seed=seed)
    checks = []
    for rival, words in asked.items():
        for metric, direction, what in COMPARED:
            column = measures.METRICS.index(metric)
            gain = direction * (draws["candidate"][:, column] - draws[rival][:, column])
            # Resamples without a conversion have no lift; they speak for neither side.
            bound = float(np.quantile(gain[~np.isnan(gain)], 1 - limits.confidence))
            mine, theirs = (_measure(metric, rows["label"], rows[name]) for name in ("candidate", rival))
            passed = bound > 0
            verdict = (
                f"{'better' if passed else 'not better'} in at least {100 * limits.confidence:g} % of "
                f"{limits.bootstrap_samples:,} resamples of the leads (the gain at that confidence is {signed(bound)}, "
                "and must be above 0)"
            )
            checks.append(
                Check(
                    name=f"{metric}_beats_{rival}",
                    figure=bound,
                    limit=0.0,
                    passed=passed,
                    sentence=f"Its {what} is {mine:.4f} against {theirs:.4f} for {words}: {verdict}.",
                    advice="" if passed else MORE,
                )
            )
    return checks


def _measure(metric: str, label: pd.Series, probability: pd.Series) -> float:
    y, p = label.to_numpy(dtype="float64"), probability.to_numpy(dtype="float64")
    return measures.log_loss(y, p) if metric == "log_loss" else measures.lift(y, p, 0.1)


def _calibrated(rows: pd.DataFrame, error: float | None, limits: Register, bins: int) -> Check:
    """The calibration error within its limit, or within what chance alone makes of true chances on so few rows."""
    limit = limits.max_calibration_error
    if error is None or np.isnan(error) or rows.empty:
        advice = "It takes scored test rows: see the checks before this one."
        return Check("calibration_error", None, limit, False, "The calibration error could not be measured.", advice)
    chance = measures.chance_error(rows["candidate"], rows["label"], rows["lead_id"], bins, limits.confidence)
    held, passed = max(limit, chance), error <= max(limit, chance)
    sentence = (
        f"Score and observed conversion differ by {error:.4f} on average over the bins of the test window, "
        f"{'within' if passed else 'above'} the limit of {held:.4f}"
    )
    if chance > limit:
        sentence += (
            f", which true chances would keep in {100 * limits.confidence:g} % of test windows as small as this "
            f"(on many rows the limit is {limit:g})"
        )
    apart = float((rows["candidate"] - rows["label"]).mean())
    advice = (
        f"On average scores lie {100 * abs(apart):.1f} points {'above' if apart > 0 else 'below'} what happened; "
        "data/evaluate/reliability.csv shows it bin by bin. If the level has moved, train again on newer outcomes."
    )
    return Check("calibration_error", float(error), held, passed, f"{sentence}.", "" if passed else advice)


def _fresh(rows: pd.DataFrame, newest: pd.Timestamp | None, horizon_days: int, limit: int) -> list[Check]:
    """Outcomes that the candidate was judged on must reach near the end of the history; no check without times."""
    until = judged_until(rows["as_of"], newest, horizon_days)
    if until is None or newest is None:
        return []
    days = max(0, (newest - until).days)
    return [
        _counted(
            "outcomes_fresh",
            days,
            limit,
            good=f"The newest outcome that it was judged on is of {until:%Y-%m-%d}, {days:,} days before the newest "
            f"recorded moment; {limit:,} are allowed.",
            bad=f"The newest outcome that it was judged on is of {until:%Y-%m-%d}, {days:,} days before the newest "
            f"recorded moment of the history; {limit:,} are allowed.",
            advice="Nothing says how good it is on what came since. Give an extract whose leads reach as far as its "
            "activities and changes.",
        )
    ]


def _proved(proof: Mapping[str, Any]) -> Check:
    pairs, differences = int(proof["pairs"]), int(proof["differences"])
    passed = bool(proof["passed"]) and differences == 0 and pairs > 0
    if passed:
        sentence = f"All {pairs:,} snapshots rebuilt without anything recorded later came out the same."
    elif pairs == 0:
        sentence = "No snapshot was rebuilt from truncated tables: nothing proves that the features look only backward."
        advice = "Set `featurize.time_proof_samples` in params.yaml to how many are to be rebuilt."
    else:
        sentence = (
            f"{differences:,} of {pairs:,} snapshots came out differently once everything recorded later was removed: "
            "a feature looks into the future."
        )
        advice = (
            "Which columns differ is in data/featurize/time_proof.json; `leads check-time` looks at more snapshots."
        )
    return Check("time_proof", float(differences), 0.0, passed, sentence, "" if passed else advice)


def _sound(kind: str, found: int) -> Check:
    words = SPLIT_FAULTS.get(kind, kind.replace("_", " "))
    return _counted(
        f"split_{kind}",
        found,
        0,
        good=f"The split, looked at again by another route, shows no {words}.",
        bad=f"The split, looked at again by another route, shows {found:,} {words}; none is allowed, since figures "
        "of the test window would be no forecast.",
        advice="Run `dvc repro -f featurize`. If that ends alike, it is a fault of the pipeline: please report it.",
    )


def _kept_out(inside: list[str], excluded: int) -> Check:
    return _counted(
        "excluded_columns",
        len(inside),
        0,
        good=f"None of the {excluded:,} columns that the contract keeps out of the model is among its inputs.",
        bad=f"The model reads {len(inside):,} of the columns that the contract keeps out, and may read none: "
        f"{', '.join(inside)}.",
        advice="However good its figures are, sales will not see these values when a lead is scored. Run `dvc repro` "
        "after the contract was changed; if a column is known in time, the contract may say so (`known_at`, "
        "`overrules_leak`).",
    )


def _counted(name: str, figure: int, limit: int, *, good: str, bad: str, advice: str, at_least: bool = False) -> Check:
    passed = figure >= limit if at_least else figure <= limit
    sentence, advice = (good, "") if passed else (bad, advice)
    return Check(name, float(figure), float(limit), passed, sentence, advice)


def _instead(
    passed: bool, rows: pd.DataFrame, metrics: Mapping[str, Any], champion: int | None, asked: int, bins: int
) -> Instead | None:
    """What ranks the leads where conversions are too few, or tell of no signal; None where neither is the case."""
    lacking = max(0, asked - int(rows["label"].sum()))
    needed = int(metrics["conversions_needed"])
    measurable = 0 < rows["label"].sum() < len(rows)

    def figures(name: str) -> dict[str, float] | None:
        if not measurable:
            return None
        found = measures.summary(rows["label"].to_numpy(), rows[name].to_numpy(), bins=bins)
        return {metric: found[metric] for metric in ("log_loss", "auc", "lift_10")}

    def said(found: dict[str, float] | None) -> str:
        return f" (on the test rows: AUC {found['auc']:.3f}, lift {found['lift_10']:.2f})" if found else ""

    if passed:
        if not needed:
            return None
        own = figures("candidate")
        sentence = (
            f"It is the shrunken logistic regression or scorecard{said(own)}: a full search takes about {needed:,} "
            "more conversions before the test window."
        )
        return Instead("logistic", needed, own, "leads score --open --model challenger", sentence)
    if not lacking and metrics["signal"]:
        return None
    if champion is not None:
        sentence = (
            f"Until then the champion, version {champion}, goes on ranking the open leads (`leads score --open`)."
        )
        return Instead("champion", lacking or None, None, "leads score --open", sentence)
    if CARD.keys() <= set(rows):
        own = figures("card")
        return Instead("card", lacking or None, own, "leads card score", f"{meanwhile(True)[:-1]}{said(own)}.")
    return Instead("none", lacking or None, None, "", meanwhile(False))
