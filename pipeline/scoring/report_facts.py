"""What the report says in words and figures: every sentence is made here from tables, none in a template.

`gather` returns plain data (text, numbers, lists of them), ready to be laid out; it knows no page and no file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.leads import leakage
from pipeline.leads.contract import Resolved
from pipeline.params import Evaluate
from pipeline.scoring import examples, levels, metrics

#: Scores that a reader can picture, in the order in which they are tried for the sentence about what a score means.
MARKS = (30, 20, 40, 10, 50, 5, 60, 70, 80, 90)

#: Leads listed by name, and reasons given for each.
TOP, REASONS = 10, 4

#: Figures of the table of rivals, and whether a larger one is better.
COMPARED = {"log_loss": False, "auc": True, "lift_10": True, "calibration_error": False}

#: Directions and verdicts of criteria, in a reader's words.
DIRECTIONS = {
    "rising": "the more, the better",
    "falling": "the more, the worse",
    "mixed": "not in one sense",
    "by value": "depends on the value",
}
VERDICTS = {"adds": "helps", "adds nothing": "cannot be told from chance", "misleads": "does harm"}

Frames = Mapping[str, pd.DataFrame]


def gather(
    figures: Mapping[str, Any],
    scores: pd.DataFrame,
    taught: pd.DataFrame,
    tables: Frames,
    resolved: Resolved,
    members: Sequence[Mapping[str, Any]],
    params: Evaluate,
    interval_level: float,
) -> dict[str, Any]:
    """Everything the pages say.

    Args:
        figures: the metrics of the evaluation.
        scores: scored test snapshots with `label`: what the scorer returned.
        taught: the examples among them, as `examples.telling` chose them.
        tables: by name: `intervals`, `reliability`, `rivals`, `fairness`, `criteria`, `criteria_over_time`, `leaks`,
            `periods`, `leak_price`, as their stages wrote them.
        members: `family` and `weight` of each fitted member of the margin.
        interval_level: of the intervals that scores carry.

    Returns:
        `contract`, `description`, `version`, `horizon` (words), `dated` (whether as-of dates are dates), `measured`,
        `headlines`, `warnings`, `honesty`, `drivers` (rows), `steadiness`, `top` (rows), `rivals` (rows), `fairness`
        (sentences), `splits` (sentences), `made_of`, `left_out` (rows), `leaks` (sentences), `examples` (rows), `quiz`
        (rows) and `levels`.
    """
    outcome = resolved.contract.outcome
    horizon = f"within {outcome.horizon_days} days after it is scored" if outcome.horizon_days else ""
    dated = has_dates(resolved, scores["as_of"])
    told = [_example(row) for row in taught.to_dict("records")]
    criteria = [str(name) for name in tables["criteria"]["criterion"]]
    over_time = tables["criteria_over_time"]
    around = near_mark(scores, params.reliability_level, params.slice_min_rows)
    return {
        "contract": resolved.name,
        "description": resolved.contract.description,
        "version": figures["model_version"],
        "horizon": horizon,
        "horizon_days": outcome.horizon_days,
        "dated": dated,
        "base_rate": figures["base_rate"],
        "around": around,
        "measured": measured(figures, scores, dated),
        "headlines": headlines(figures, tables, around, horizon),
        "warnings": warnings(figures, tables, resolved, params),
        "honesty": honesty(figures, tables["reliability"], interval_level, params),
        "drivers": drivers(tables["criteria"]),
        # Without dates there are no quarters.
        "steadiness": steadiness(over_time if dated else over_time.head(0), criteria),
        "top": [_listed(row) for row in examples.newest_first(scores, TOP).to_dict("records")],
        "rivals": rivals(tables["rivals"]),
        "fairness": fairness(tables["fairness"], params),
        "splits": splits(figures),
        "made_of": made_of(members, resolved, tables["criteria"]),
        "left_out": left_out(tables),
        "leaks": [typeset(str(sentence)) for sentence in tables["leak_price"]["sentence"].unique()],
        "examples": told,
        "quiz": quiz(told, figures, horizon, interval_level),
        "levels": {"metrics": params.interval_level, "bins": params.reliability_level, "score": interval_level},
    }


def has_dates(resolved: Resolved, as_of: pd.Series) -> bool:
    """Whether as-of dates are dates: a source that only has an order in time gets numbers from 1970 on instead."""
    return resolved.contract.time.kind != "none" and int(as_of.max().year) > 1970


def tiers(scores: pd.DataFrame, bands: Sequence[Mapping[str, Any]], level: float) -> pd.DataFrame:
    """What each tier holds.

    Args:
        scores: `lead_id`, `label`, `probability`, `tier` of scored snapshots.
        bands: tiers from the best down: `name`, and `from` in tenths of the displayed score.
        level: of the intervals.

    Returns:
        One row per tier, from the best down: `tier`, `from_score`, `rows`, `share` (of all rows), `conversion` with its
        interval `low` to `high` (Wilson's for as many rows as they are worth), `mean_probability`, `lift` (conversion
        over that of all rows), `capture` (share of all conversions). A tier without rows has no rates.
    """
    found = metrics.slices(scores, {"tier": ""}, level=level, min_rows=1).set_index("value")
    names = [str(band["name"]) for band in bands]
    found = found.reindex(names)
    rows, conversions = found["rows"].fillna(0), (found["observed"] * found["rows"]).fillna(0)
    hits, total = float(scores["label"].sum()), max(1, len(scores))
    return pd.DataFrame(
        {
            "tier": pd.Series(names, dtype="str"),
            "from_score": [int(band["from"]) / 10 for band in bands],
            "rows": rows.astype("int64").to_numpy(),
            "share": (rows / total).to_numpy(),
            "conversion": found["observed"].to_numpy(dtype="float64"),
            "low": found["low"].to_numpy(dtype="float64"),
            "high": found["high"].to_numpy(dtype="float64"),
            "mean_probability": found["predicted"].to_numpy(dtype="float64"),
            "lift": (found["observed"] / (hits / total)).to_numpy(dtype="float64") if hits else float("nan"),
            "capture": (conversions / hits).to_numpy(dtype="float64") if hits else float("nan"),
        }
    )


def near_mark(scores: pd.DataFrame, level: float, min_rows: int) -> dict[str, Any]:
    """What became of the snapshots with a score near a round one: 30 where there are enough, else another of `MARKS`.

    Near is within 5 points, within half the mark below 10. Where no mark has enough, all of them are taken.

    Returns:
        `from`, `to` (scores), `rows`, `score` (their mean), `of_100` (conversions of 100 snapshots,
        with `low` and `high`).
    """
    near = scores
    ends = (float(scores["score"].min()), float(scores["score"].max()))
    for mark in MARKS:
        width = 5.0 if mark >= 10 else mark / 2
        mine = scores[(scores["score"] - mark).abs() <= width]
        if len(mine) >= min_rows:
            near, ends = mine, (mark - width, mark + width)
            break
    one = metrics.slices(near.assign(near="near"), {"near": ""}, level=level, min_rows=1).iloc[0]
    return {
        "from": ends[0],
        "to": ends[1],
        "rows": len(near),
        "score": 100 * float(one["predicted"]),
        "of_100": 100 * float(one["observed"]),
        "low": 100 * float(one["low"]),
        "high": 100 * float(one["high"]),
    }


def measured(figures: Mapping[str, Any], scores: pd.DataFrame, dated: bool) -> str:
    """On what the figures were measured."""
    first, last = scores["as_of"].min(), scores["as_of"].max()
    between = f", taken from {first:%Y-%m-%d} to {last:%Y-%m-%d}" if dated else ""
    newer = (
        "newer than everything the score was learned from"
        if figures["split"] == "time"
        else "parted at random from those the score was learned from"
    )
    return (
        f"Measured on {figures['rows']:,} snapshots of {figures['leads']:,} leads{between}, {newer}. "
        f"{figures['conversions']:,} of these snapshots ({figures['base_rate']:.1%}) were followed by a conversion."
    )


def headlines(figures: Mapping[str, Any], tables: Frames, around: Mapping[str, Any], horizon: str) -> list[str]:
    """What the score is and how good it is, a plain sentence each."""
    ends = tables["intervals"].set_index("metric")
    rivals_ = rivals(tables["rivals"])
    own = rivals_[0]["log_loss"]["value"]
    better = [row["system"] for row in rivals_[1:] if row["log_loss"]["value"] < own]
    low, high = ends.loc["capture_10", ["low", "high"]].to_numpy("float64").tolist()
    said = [
        f"The score is the chance, in per cent, that a lead converts{' ' if horizon else ''}{horizon}. "
        f"Of 100 leads with a score around {around['score']:.0f}, about {around['of_100']:.0f} convert "
        f"({around['low']:.0f} to {around['high']:.0f}; {around['rows']:,} snapshots with scores from "
        f"{around['from']:g} to {around['to']:g})."
    ]
    if not figures["signal"]:
        return [*said, "It tells no lead from another: nothing that was known beforehand went with the outcome."]
    said += [
        f"Whoever calls the tenth of the leads with the highest scores finds {figures['capture_10']:.0%} of all "
        f"conversions ({low:.0%} to {high:.0%}): {figures['lift_10']:.1f} times as many as with the same number of "
        "calls in random order.",
        f"Of a lead that converts and one that does not, the score puts the right one first {figures['auc']:.0%} of "
        "the time; a coin would do so half of the time.",
        f"Promise and outcome lie {100 * figures['calibration_error']:.1f} points apart on average.",
        f"Its forecasts are closer to what happened (log-loss) than those of all {len(rivals_) - 1} simpler systems "
        "beside it."
        if not better
        else f"{len(better)} of {len(rivals_) - 1} simpler systems beside it forecast closer to what happened "
        "(log-loss): see the comparison.",
    ]
    return said


def warnings(figures: Mapping[str, Any], tables: Frames, resolved: Resolved, params: Evaluate) -> list[str]:
    """What a reader must know before using the score; none where there is nothing to warn of."""
    said = [figures["warning"]] if figures["warning"] else []
    said += levels.sentences(figures, params.max_shift)
    missed = tables["reliability"][~tables["reliability"]["holds"].astype(bool)]
    if len(missed):
        said.append(
            f"{len(missed)} of {len(tables['reliability'])} groups of equal size convert more or less often than their "
            "score says, by more than chance explains."
        )
    if figures["unscored"]:
        said.append(f"{figures['unscored']:,} further snapshots of the test window could not be scored.")
    if kept := leakage.overruled(tables["leaks"]):
        said.append(
            f"The contract keeps {', '.join(kept)} in the model although the leak report says that it knows the "
            "outcome: the figures may be too good."
        )
    if undecided := resolved.undecided:
        said.append(
            f"Nobody has said yet when the values of {', '.join(undecided)} become known; until then they stay out of "
            "the model."
        )
    return [typeset(sentence) for sentence in said]


def typeset(sentence: str) -> str:
    """A sentence written for a log as a page shows it: minus signs, and quotation marks around names."""
    return re.sub(r"`([^`]*)`", r"“\1”", re.sub(r"(?<![\w.])-(?=\d)", "−", sentence))


def honesty(
    figures: Mapping[str, Any], reliability: pd.DataFrame, interval_level: float, params: Evaluate
) -> list[str]:
    """Whether scores keep what they promise."""
    held = int(reliability["holds"].astype(bool).sum())
    word = "above" if figures["level_shift"] > 0 else "below"
    # A shift in log-odds, at the base rate, in points of the score.
    rate = figures["base_rate"]
    points = 100 * abs(figures["level_shift"]) * rate * (1 - rate)
    within = figures["level_shift_low"] <= 0 <= figures["level_shift_high"]
    level = (
        "Overall, conversions came as often as promised: the difference lies within what chance explains"
        if within
        else f"Overall, conversions lay {word} what was promised"
    )
    return [
        f"The snapshots of the test window, ordered by score, are cut into {_counted(len(reliability), 'group')} of "
        f"equal size. In {held} of them the conversion rate agrees with the mean score, within a "
        f"{params.reliability_level:.0%} interval.",
        f"Every score carries an interval that should hold the conversion rate of leads scored alike in "
        f"{interval_level:.0%} of cases. In groups of the test window it did so in {figures['interval_coverage']:.0%}.",
        f"{level} (about {points:.1f} points at the average lead; {_signed(figures['level_shift'], 2)} in log-odds, "
        f"{_signed(figures['level_shift_low'], 2)} to {_signed(figures['level_shift_high'], 2)}).",
    ]


def drivers(criteria: pd.DataFrame) -> list[dict[str, Any]]:
    """Criteria by weight: `criterion`, `group`, `points` (moved on average), `share` (0 to 1), `direction`, `adds`,
    `adds_low`, `adds_high` (thousandths of log-loss; None where it was not judged), `verdict`, `turned` (quarters),
    `agrees` (whether the folds before the test window give the same verdict)."""
    rows = []
    for row in criteria.to_dict("records"):
        judged = pd.notna(row["adds"])
        rows.append(
            {
                "criterion": str(row["criterion"]),
                "group": str(row["group"]) if pd.notna(row["group"]) else "",
                "points": float(row["mean_absolute_points"]),
                "share": float(row["share"]),
                "direction": DIRECTIONS.get(str(row["direction"]), ""),
                "verdict": VERDICTS.get(str(row["verdict"]), ""),
                "turned": int(row["turned"]) if pd.notna(row["turned"]) else 0,
                "agrees": str(row["agrees"]) if pd.notna(row["agrees"]) else "",
            }
            | {name: 1000 * float(row[name]) if judged else None for name in ("adds", "adds_low", "adds_high")}
        )
    return rows


def steadiness(over_time: pd.DataFrame, order: Sequence[str]) -> dict[str, Any]:
    """How each criterion works quarter by quarter, against what was learned.

    Args:
        over_time: `quarter`, `criterion`, `slope`, `slope_low`, `slope_high`, `changed_sign`.
        order: criteria, strongest first.

    Returns:
        `quarters`, and `rows`: `criterion` and a cell per quarter with `factor` (1 as learned, 0 worthless, below 0 the
        other way round; None where it was not measured) and `kind`: "steady" where the interval holds 1 and not 0,
        "weaker" and "stronger" where it lies on one side of 1, "turned" where it lies below 0, and "unclear" where as
        learned and worthless are both possible.
    """
    quarters = sorted(over_time["quarter"].astype(str).unique().tolist())
    found = {(str(row["criterion"]), str(row["quarter"])): _cell(row) for row in over_time.to_dict("records")}
    unclear = {"factor": None, "kind": "unclear"}
    rows = [
        {"criterion": name, "cells": [found.get((name, quarter), unclear) for quarter in quarters]}
        for name in order
        if any((name, quarter) in found for quarter in quarters)
    ]
    return {"quarters": quarters, "rows": rows}


def _cell(row: Mapping[Any, Any]) -> dict[str, Any]:
    if pd.isna(row["slope"]):
        return {"factor": None, "kind": "unclear"}
    low, high = row["slope_low"], row["slope_high"]
    if row["changed_sign"]:
        kind = "turned"
    elif high < 1:
        kind = "weaker"
    elif low > 1:
        kind = "stronger"
    else:
        kind = "steady" if low > 0 else "unclear"
    return {"factor": float(row["slope"]), "kind": kind}


def rivals(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Systems by log-loss, the candidate first: `system`, and per figure of `COMPARED` its `value`, `low` and `high`,
    and whether it is the `best`."""
    by_system = {
        str(system): {
            str(row["metric"]): {name: float(row[name]) for name in ("value", "low", "high")}
            for row in rows.to_dict("records")
            if row["metric"] in COMPARED
        }
        for system, rows in table.groupby("system", sort=False)
    }
    order = sorted(by_system, key=lambda name: (name != "candidate", by_system[name]["log_loss"]["value"]))
    best = {
        metric: (max if larger else min)(found[metric]["value"] for found in by_system.values())
        for metric, larger in COMPARED.items()
    }
    return [
        {"system": name}
        | {
            metric: by_system[name][metric] | {"best": by_system[name][metric]["value"] == best[metric]}
            for metric in COMPARED
        }
        for name in order
    ]


def fairness(table: pd.DataFrame, params: Evaluate) -> list[str]:
    """What the table of groups says, in sentences."""
    if table.empty:
        return [
            f"No column of the contract parts the leads into groups of at least {params.slice_min_rows} snapshots: "
            "there is nothing to compare."
        ]
    off = table[(table["gap_low"] > 0) | (table["gap_high"] < 0)]
    columns = table.loc[table["below_four_fifths"], "feature"].nunique()
    return [
        f"{len(table)} groups of at least {params.slice_min_rows} snapshots, by {table['feature'].nunique()} columns "
        f"of the contract. In {len(off)} of them the conversion rate differs from the mean score by more than a "
        f"{params.interval_level:.0%} interval allows; {(1 - params.interval_level) * len(table):.0f} would be "
        "expected by chance alone.",
        f"In {columns} of {table['feature'].nunique()} columns some group reaches the top tier less than four fifths "
        "as often as the group that reaches it most. That is the four-fifths rule, a rule of thumb of US guidelines on "
        "the selection of employees: a reason to look, not a verdict. Where groups convert at different rates, an "
        "honest score must select them at different rates.",
    ]


def splits(figures: Mapping[str, Any]) -> list[str]:
    """What the split says about the figures."""
    if "optimism_gap" not in figures:
        return [
            "Leads were parted at random, since the source has no time axis: how the score does on later leads is not "
            "known."
            if figures["split"] != "time"
            else "What a random split would have claimed was not measured."
        ]
    low, high = figures["optimism_gap_low"], figures["optimism_gap_high"]
    chance = ", no more than chance explains" if low <= 0 <= high else ""
    return [
        "The score learns from older leads, is adjusted on later ones, and is judged on the newest. No lead stands in "
        "two of these windows.",
        f"Had leads been parted at random, as is often done, its AUC would have looked like "
        f"{figures['random_split_auc']:.3f} instead of {figures['auc']:.3f}: a difference of "
        f"{_signed(figures['optimism_gap'], 3)} ({_signed(low, 3)} to {_signed(high, 3)}){chance}.",
    ]


def made_of(members: Sequence[Mapping[str, Any]], resolved: Resolved, criteria: pd.DataFrame) -> str:
    """What kind of model it is."""
    names = {
        "logistic": "logistic regressions",
        "scorecard": "scorecards",
        "xgboost": "sets of boosted trees (XGBoost)",
    }
    parts = []
    for family in dict.fromkeys(str(member["family"]) for member in members):
        weight = sum(float(member["weight"]) for member in members if member["family"] == family)
        parts.append(f"{names.get(family, family)} ({weight:.0%})")
    kinds = len(resolved.contract.activities.kinds) if resolved.contract.activities else 0
    activities = f" and {_counted(kinds, 'kind')} of activities" if kinds else ""
    told = f"{len(criteria):,} {'criterion' if len(criteria) == 1 else 'criteria'}"
    source = f"It reads {_counted(len(resolved.features), 'fact')} about a lead{activities}, told as {told}."
    return (
        f"A weighted sum of {' and '.join(parts)}, then calibrated. {source}" if parts else f"The base rate. {source}"
    )


def left_out(tables: Frames) -> list[dict[str, str]]:
    """Columns that the model does not see: `column`, `why`, and `verdict` of the leak report ("" where it has none)."""
    leaks, periods = tables["leaks"], tables["periods"]
    verdict = dict(zip(leaks["column"], leaks["verdict"].fillna(""), strict=True))
    reasons = [
        (name, why)
        for name, why, inside in zip(leaks["column"], leaks["reason"].fillna(""), leaks["in_model"], strict=True)
        if not inside
    ]
    reasons += [
        (name, "tells when rather than who a lead is") for name in periods.loc[periods["verdict"] != "kept", "column"]
    ]
    return [{"column": str(name), "why": str(why), "verdict": str(verdict.get(name, ""))} for name, why in reasons]


def quiz(
    taught: Sequence[Mapping[str, Any]], figures: Mapping[str, Any], horizon: str, level: float
) -> list[dict[str, str]]:
    """Questions for a training, each with its answer; the figures are this run's own."""
    first = taught[0]
    when = f" {horizon}" if horizon else ""
    asked = [
        (
            "A lead has a score of 30. What happens to 100 such leads?",
            f"About 30 of them convert{when}, and about 70 do not. Nobody knows which ones: that is why it is a "
            "chance.",
        ),
        (
            f"The average conversion rate is {figures['base_rate']:.0%}. Is a score of 30 good or bad?",
            f"{_against_average(30, 100 * figures['base_rate'])} A score is compared with the average, not with 100.",
        ),
        (
            f"A lead starts from {first['base']:.1f}. Its reasons add {first['up']:.1f} points and take "
            f"{-first['down']:.1f} away. What is its score?",
            f"{first['base']:.1f} + {first['up']:.1f} − {-first['down']:.1f} = {first['score']:.1f}. Nothing is "
            "left over.",
        ),
        (
            "Two leads show the same activity. For one it is worth 8 points, for the other 3. Is that an error?",
            "No. What a reason is worth depends on the rest of the lead: the same push moves a lead in the middle "
            "further than one that is nearly lost or nearly won.",
        ),
        (
            "A score of 30 comes with an interval from 25 to 36. What does that say?",
            f"That the conversion rate of leads scored like this one lies between 25 and 36 of 100, in {level:.0%} of "
            "cases. It says nothing about whether this single lead will convert.",
        ),
        (
            "A call would add points. Should every lead be called to raise its score?",
            "No. The score says who converts, not what makes somebody convert: leads that are called are leads that "
            "somebody had a reason to call.",
        ),
        (
            "May a contract be refused because the score is low?",
            "No. The score orders work. A decision with legal or similarly significant effect on a person is not made "
            "by the score alone.",
        ),
    ]
    return [{"question": question, "answer": answer} for question, answer in asked]


def _against_average(score: float, average: float) -> str:
    if average <= 0:
        return "Nothing can be said: nothing converted."
    times = score / average
    if times >= 1.2:
        return f"Good: it is {times:.1f} times the average."
    return "About average." if times >= 0.8 else f"Rather low: the average lead is {1 / times:.1f} times as likely."


def _example(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One lead for the training page, with a paragraph on how to read it."""
    reasons = json.loads(row["reasons"])
    return _listed(row) | {
        "example": str(row["example"]),
        "up": float(row["up"]),
        "down": float(row["down"]),
        "all_reasons": [_reason(one) for one in reasons],
        "reading": _reading(row, reasons),
    }


def _reading(row: Mapping[Any, Any], reasons: Sequence[Mapping[str, Any]]) -> str:
    """How to read one lead, from the base to the score."""
    base, score, up, down = (float(row[name]) for name in ("base", "score", "up", "down"))
    if not reasons:
        return f"A typical lead stands at {base:.1f}, and nothing that is known of this one moves it from there."
    speak = [one for one in reasons if one["points"] > 0]
    against = [one for one in reasons if one["points"] < 0]
    said = [f"A typical lead stands at {base:.1f}."]
    for found, verb in ((speak, "speaks most for this one"), (against, "speaks most against it")):
        if found:
            strongest = max(found, key=lambda one: abs(one["points"]))
            said.append(f"What {verb}: {strongest['text']} ({_signed(strongest['points'])}).")
    said.append(
        f"All that speaks for it adds {up:.1f} points, all that speaks against it takes {abs(down):.1f} away: "
        f"{base:.1f} + {up:.1f} − {abs(down):.1f} = {score:.1f}."
    )
    lesson = {
        "high": "Call first. Even so, it may not convert: the score is a chance, not a promise.",
        "middle": "Half of the leads stand above it and half below. That is no bad lead, it is an ordinary one.",
        "low": "Others should be called before it. A few leads like this one convert all the same.",
        "against": "Reasons against do not rule a lead out: read the sum, not the longest bar.",
        "cancel": "Strong reasons on both sides meet near the base: an ordinary chance, and no ordinary lead.",
    }
    return " ".join([*said, lesson[str(row["example"])]])


def _listed(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One scored lead as a reader wants it: keys, figures, strongest reasons; no value but what the reasons say."""
    return {
        "lead": str(row["lead_id"]),
        "as_of": f"{row['as_of']:%Y-%m-%d}",
        "score": float(row["score"]),
        "low": 100 * float(row["interval_low"]),
        "high": 100 * float(row["interval_high"]),
        "base": float(row["base"]),
        "tier": str(row["tier"]),
        "grade": str(row["grade"]),
        "converted": bool(row["label"]),
        "reasons": [_reason(one) for one in json.loads(row["reasons"])[:REASONS]],
    }


def _reason(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "criterion": str(one["criterion"]),
        "text": str(one["text"]),
        "points": float(one["points"]),
        "signed": _signed(one["points"]),
    }


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _signed(value: float, places: int = 1) -> str:
    return f"{value:+.{places}f}".replace("-", "−")
