"""What the last run found, in a few plain lines; and the open leads, ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.adapters import batch, files, model_folder, registry, score_export, tracking
from pipeline.errors import ArtefactError
from pipeline.leads import drift
from pipeline.params import Params
from pipeline.paths import Workspace

#: How many open leads the summary names.
TOP = 5
RANKING = Path("data") / "scores" / "open_leads.csv"


def summarize(workspace: Workspace, params: Params) -> str:
    """Decision, figures, warnings, version, the open leads with the highest scores, where the ranking is, and what to
    type next.

    Open leads are ranked by this run's own scorer, registered or not.

    Raises:
        ArtefactError: the pipeline has not run to its end, or its results were changed.
    """
    decision_file = workspace.path("register/decision.json")
    if not decision_file.is_file():
        raise ArtefactError(f"{decision_file} is missing; run `dvc repro` first.")
    results = files.Results(workspace)
    described = results.json("ingest/contract.json")["contract"]
    _check_contract(described["name"], params)
    decision = results.json("register/decision.json")
    registration = results.json("register/registration.json")
    metrics = results.json("evaluate/metrics.json")
    version = registration["version"]
    lines = ["", f"Lead scoring for {params.run.contract}", ""]
    if decision["passed"]:
        model = registration["model"]
        lines.append(f"Decision           passed: version {version} of {model} is registered, alias challenger")
    else:
        lines.append(f"Decision           refused, nothing registered. {decision['letter']}")
    split = "newest leads" if metrics["split"] == "time" else "leads parted at RANDOM, no time axis: not a forecast"
    horizon = described["outcome"]["horizon_days"]
    within = f" within {horizon} days" if horizon else ""
    ranges = pd.read_csv(results.path("evaluate/intervals.csv")).set_index("metric")
    price = pd.read_csv(results.path("evaluate/leak_price.csv"))
    level = f"{params.evaluate.interval_level:.0%} interval"
    lift, error = ranges.loc["lift_10"], 100 * ranges.loc["calibration_error"]
    lines += [
        f"Test window        {metrics['rows']:,} snapshots of {metrics['leads']:,} leads, "
        f"{metrics['conversions']:,} convert{within} ({split})",
        f"Lift, top tenth    {lift['value']:.2f} times the conversions of calling at random "
        f"({level} {lift['low']:.2f} to {lift['high']:.2f})",
        f"Calibration error  {error['value']:.1f} points between score and conversions, on average "
        f"({level} {error['low']:.1f} to {error['high']:.1f})",
        f"                   {metrics['bins_hold_share']:.0%} of the score bins agree with what happened",
        *_warnings(decision["warnings"], price),
        "",
        *_ranking(workspace, params),
        "",
        *_next(
            version,
            described["activities"] is not None,
            registry.champion(tracking.open_store(workspace), params.run.contract),
        ),
    ]
    return "\n".join(lines)


def _warnings(sentences: list[str], price: pd.DataFrame) -> list[str]:
    """What the decision warns of, and what the worst leak would have made the figures look like."""
    lines = [f"{'Warning' if k == 0 else '':<19}{sentence}" for k, sentence in enumerate(sentences)]
    single = price[price["auc_gain"].notna() & price["verdict"].isin(["leak", "suspect"])]
    if len(single):
        worst = single["sentence"].iloc[int(single["auc_gain"].argmax())]
        lines.append(f"{'Price of a leak':<19}{worst} All: data/evaluate/leak_price.csv")
    return lines


def _ranking(workspace: Workspace, params: Params) -> list[str]:
    """Rank the open leads, write the whole ranking, and name the highest."""
    scorer = model_folder.load(workspace.path("calibrate/scorer"))
    result = batch.score_open(scorer, workspace, params.run.contract)
    if result.scored == 0:
        provenance = files.Results(workspace).json("ingest/provenance.json")
        if aside := provenance["source"]["leads"]["set_aside"]:
            return [f"Open leads         {aside:,}, set aside at ingest; rank them: leads score FILE --model VERSION"]
        return ["Open leads         none: every outcome in this source is decided"]
    score_export.export(result, workspace.root / RANKING, params.explain.reasons)
    top = result.scores.head(TOP)
    width = max(map(len, top["lead_id"]))
    return [
        f"Call first         of {result.scored:,} open leads as of {top['as_of'].iloc[0]:%Y-%m-%d}; all: {RANKING}",
        *(
            f"  {row['lead_id']:<{width}}  score {row['score']:5.1f} ({100 * row['interval_low']:.1f} to "
            f"{100 * row['interval_high']:.1f})  tier {row['tier']}  {score_export.in_words(row['reasons'], 1)}"
            for row in top.to_dict("records")
        ),
    ]


def _next(version: int | None, with_activities: bool, champion: Any) -> list[str]:
    """What to type next."""
    activities = "--activities FILE " if with_activities else ""
    if version is None:
        return [
            "Next               read data/register/decision.json, change params.yaml or the contract, then: dvc repro"
        ]
    if champion is not None and champion.number == version:
        return [f"Next               version {version} is champion. Score new leads: leads score FILE {activities}"]
    return [
        "Next               look at the run:  make ui",
        f'                   approve it:       leads approve {version} --by "YOUR NAME" --note "WHY"',
        f"                   score new leads:  leads score FILE {activities}--model challenger",
    ]


def drifted(workspace: Workspace, params: Params) -> str:
    """The validated history against the one that was accepted last: a table of what differs, or that nothing does.

    Raises:
        ArtefactError: `validate` has not run, its results were changed, or they are of another contract.
    """
    profile = files.Results(workspace).json("validate/profile.json")
    _check_contract(profile["contract"], params)
    found = registry.accepted(tracking.open_store(workspace), params.run.contract)
    if found is None:
        return f"no history of {params.run.contract} was accepted yet: there is nothing to compare this one with"
    version, known = found
    table = drift.compare(known, profile, params.register_.drift, params.validate_.profile)
    against = f"the history behind version {version} of {params.run.contract}"
    if known == profile:
        return f"this is {against}"
    rows = table[table["warning"] != ""]
    if rows.empty:
        return f"nothing differs from {against} in {len(table)} comparisons"
    shown = rows[["what", "column", "detail", "figure", "limit"]].round(3).to_string(index=False)
    sentences = "\n".join(f"- {sentence}" for sentence in rows["warning"])
    return (
        f"{len(rows)} of {len(table)} comparisons with {against} pass their limits (warnings only):\n\n{shown}\n\n"
        f"{sentences}"
    )


def _check_contract(name: str, params: Params) -> None:
    """Refuse results of another contract than the one in params.yaml."""
    if name != params.run.contract:
        raise ArtefactError(
            f"data/ holds a run of contract {name}, params.yaml names {params.run.contract}; run `dvc repro`."
        )
