"""What the last run found, in a few plain lines; and the open leads, ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.adapters import batch, files, model_folder, registry, tracking
from pipeline.errors import ArtefactError
from pipeline.params import Params
from pipeline.paths import Workspace

#: How many open leads the summary names.
TOP = 5
RANKING = Path("data") / "scores" / "open_leads.csv"


def summarize(workspace: Workspace, params: Params) -> str:
    """Decision, figures, version, the open leads with the highest scores, where the ranking is, and what to type next.

    Open leads are ranked by this run's own scorer, registered or not.

    Raises:
        ArtefactError: the pipeline has not run to its end, or its results were changed.
    """
    decision_file = workspace.path("register/decision.json")
    if not decision_file.is_file():
        raise ArtefactError(f"{decision_file} is missing; run `dvc repro` first.")
    results = files.Results(workspace)
    described = results.json("ingest/contract.json")["contract"]
    if described["name"] != params.run.contract:
        raise ArtefactError(
            f"data/ holds a run of contract {described['name']}, params.yaml names {params.run.contract}; "
            "run `dvc repro`."
        )
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


def _ranking(workspace: Workspace, params: Params) -> list[str]:
    """Rank the open leads, write the whole ranking, and name the highest."""
    scorer = model_folder.load(workspace.path("calibrate/scorer"))
    result = batch.score_open(scorer, workspace, params.run.contract)
    if result.scored == 0:
        return ["Open leads         none: every outcome in this source is decided"]
    batch.export(result, workspace.root / RANKING, params.explain.reasons)
    top = result.scores.head(TOP)
    width = max(map(len, top["lead_id"]))
    return [
        f"Call first         of {result.scored:,} open leads as of {top['as_of'].iloc[0]:%Y-%m-%d}; all: {RANKING}",
        *(
            f"  {row['lead_id']:<{width}}  score {row['score']:5.1f} ({100 * row['interval_low']:.1f} to "
            f"{100 * row['interval_high']:.1f})  tier {row['tier']}  {batch.in_words(row['reasons'], 1)}"
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
