"""`leads tiers`: what each tier brings a week, on the leads of the test window, and whether tiers moved over time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.adapters import files, tier_figures
from pipeline.errors import ArtefactError, ParamsError
from pipeline.leads import playbooks
from pipeline.params import Evaluate, Params, load_yaml
from pipeline.paths import Workspace
from pipeline.scorer import tiers as scorer_tiers
from pipeline.scoring import capacity, tier_history
from pipeline.scoring.capacity import Terms


@dataclass(frozen=True)
class Found:
    """What `find` found.

    `table`, `curve`: as `capacity.table` and `capacity.curve` give them. `history`: as `tier_history.by_period`, empty
    without a time axis. `bands`: `name` and `from` (tenths) of each tier. `plays`: what is done with each, where there
    is a playbook. `sentences`: what a reader should know beside the table.
    """

    terms: Terms
    table: pd.DataFrame
    curve: pd.DataFrame
    history: pd.DataFrame
    bands: list[dict[str, Any]]
    plays: dict[str, str]
    sentences: list[str]


def find(
    workspace: Workspace,
    params: Params,
    terms: Terms,
    *,
    scores: dict[str, float] | None,
    new_leads: float | None,
    period: tier_history.Period,
) -> Found:
    """Tiers by worth where sales has a limit, else by the scores given, else those that the scorer carries.

    Args:
        scores: lowest score of each tier, best first.
        new_leads: leads that come in a week; None for those of the test window.

    Raises:
        ArtefactError: `evaluate` has not run, its results were changed, or they are of another contract.
        NotEnoughData: the test window follows leads for less than a week. ParamsError: nobody says how many leads come.
    """
    results = files.Results(workspace)
    described = results.json("ingest/contract.json")["contract"]
    if described["name"] != params.run.contract:
        raise ArtefactError(
            f"data/ holds a run of contract {described['name']}, params.yaml names {params.run.contract}; run "
            "`dvc repro`."
        )
    looks = _looks(results)
    leads, new_leads, sentences = _in_a_week(results, looks, new_leads)
    flow = capacity.flow(leads, new_leads)
    options = params.evaluate
    draws = capacity.resampled(leads, new_leads, samples=options.bootstrap_samples, seed=params.run.seed)
    by_worth = np.isfinite(terms.per_week)
    if by_worth:
        bands = capacity.by_worth(flow, terms)
    elif scores is not None:
        bands = capacity.by_scores(scores)
    else:
        bands = results.json("calibrate/summary.json")["tiers"]
    table = capacity.table(flow, draws, bands, terms, options.interval_level)
    if by_worth:
        table = capacity.with_start_intervals(table, draws, terms, options.interval_level)

    names = [band["name"] for band in bands]
    history = _history(looks, bands, period, options) if _dated(results) else _no_history()
    return Found(
        terms=terms,
        table=table,
        curve=capacity.curve(flow, draws, terms, options.interval_level),
        history=history,
        bands=bands,
        plays=_plays(workspace, params.run.contract, names, described),
        sentences=[*sentences, *_economy(flow, terms), *_moved(history)],
    )


def save(found: Found, folder: Path, level: float) -> None:
    """Write tiers.csv, profit.csv, history.csv and profit.png into a folder."""
    files.write_csv(folder / "tiers.csv", found.table)
    files.write_csv(folder / "profit.csv", found.curve)
    files.write_csv(folder / "history.csv", found.history)
    drawing = tier_figures.profit(
        found.curve,
        [(band["name"], band["from"] / 10) for band in found.bands],
        break_even=capacity.break_even(found.terms) / 10,
        per_week=found.terms.per_week if np.isfinite(found.terms.per_week) else None,
        level=level,
    )
    files.write_figure(folder / "profit.png", drawing)


def in_words(found: Found) -> str:
    """The table with its intervals, the plays, and the sentences, for the terminal."""
    rows = []
    for row in found.table.to_dict("records"):
        shown = {"tier": row["tier"], "from score": _ranged(row, "from_score", 1, ends=("from_low", "from_high"))}
        shown |= {f"{name} a week": _ranged(row, name, 1) for name in ("leads", "expected", "conversions")}
        rows.append(shown | {f"{name} a week": _ranged(row, name, 0) for name in ("cost", "profit")})
    lines = [pd.DataFrame(rows).to_string(index=False), "", *(f"- {sentence}." for sentence in found.sentences)]
    if np.isfinite(found.terms.per_week):
        lines += [f"- Tier {band['name']}: {capacity.MEANING[band['name']]}." for band in found.bands]
    return "\n".join([*lines, *(f"- Tier {tier}, {play}." for tier, play in found.plays.items())])


def _looks(results: files.Results) -> pd.DataFrame:
    """The scored snapshots of the test window: lead_id, created_at, as_of, score, label."""
    scores = results.table("evaluate/scores.parquet")
    scores = scores.loc[scores["refused"] == "", ["lead_id", "as_of", "score", "label"]]
    leads = results.table("validate/leads.parquet")[["lead_id", "created_at"]]
    return scores.merge(leads, on="lead_id", how="left", validate="many_to_one")


def _window(results: files.Results) -> dict[Any, Any]:
    """The test window: what it was cut along (`axis`), its `start` and `end`."""
    windows = results.csv("featurize/splits.csv")
    return windows[windows["split"] == "test"].to_dict("records")[0]


def _dated(results: files.Results) -> bool:
    return bool(_window(results)["axis"] == "created_at")


def _in_a_week(
    results: files.Results, looks: pd.DataFrame, new_leads: float | None
) -> tuple[pd.DataFrame, float, list[str]]:
    """Leads at their best look, how many come in a week, and what was counted."""
    sentences = []
    if _dated(results):
        window, max_age = _window(results), results.json("featurize/features.json")["max_age_days"] or 0
        start, end = pd.Timestamp(window["start"]), pd.Timestamp(window["end"])
        looks, weeks = capacity.followed(looks, start=start, end=end, max_age_days=max_age)
        count = looks["lead_id"].nunique()
        sentences.append(
            f"Measured on {count:,} leads of the test window, which came in over {weeks:.1f} weeks and were followed "
            f"to the age of {max_age} days"
        )
        new_leads = count / weeks if new_leads is None else new_leads
    if new_leads is None:
        raise ParamsError(
            "the source has no creation times, which would say how many leads come in a week; give --new-leads."
        )
    sentences.append(f"{new_leads:,.1f} new leads a week that are still open when they are first looked at")
    return capacity.at_their_best(looks), new_leads, sentences


def _history(
    looks: pd.DataFrame, bands: list[dict[str, Any]], period: tier_history.Period, options: Evaluate
) -> pd.DataFrame:
    first = tier_history.first_looks(looks)
    tenths = (first["score"] * 10).round().astype("int64").to_numpy()
    return tier_history.by_period(
        first.assign(tier=scorer_tiers.name(tenths, bands)),
        [band["name"] for band in bands],
        period=period,
        level=options.interval_level,
        false_discoveries=options.tiers.false_discoveries,
    )


def _no_history() -> pd.DataFrame:
    return pd.DataFrame(columns=tier_history.COLUMNS)


def _economy(flow: capacity.Flow, terms: Terms) -> list[str]:
    """Break-even and capacity in words."""
    even = capacity.break_even(terms)
    if even == capacity.NOBODY:
        return ["A deal is worth less than a call costs: no call pays"]
    pays = float(flow.leads[even])
    said = [f"A call breaks even at a score of {even / 10:.1f}, which {pays:,.1f} leads a week reach"]
    if not np.isfinite(terms.per_week):
        return said
    cut = int(capacity.worked(flow, terms))
    if cut == capacity.NOBODY:
        return [
            *said,
            f"The highest score alone stands for more than {terms.per_week:,.0f} leads a week: give a larger limit",
        ]
    if cut == even:
        return [*said, f"Sales can work {terms.per_week:,.0f} a week: it has time for every lead that pays"]
    return [
        *said,
        f"Sales can work {terms.per_week:,.0f} a week: {flow.leads[cut]:,.1f} reach {cut / 10:.1f}, and "
        f"{flow.leads[cut - 1]:,.1f} would reach {(cut - 1) / 10:.1f}",
    ]


def _moved(history: pd.DataFrame) -> list[str]:
    """A sentence for every share or conversion of a tier that moved beyond chance."""
    return [
        f"{row['period']}: the {name} of tier {row['tier']} went {row[f'{name}_moved']}, to {row[name]:.1%} from "
        f"{row[f'{name}_others']:.1%} in the other periods"
        for row in history.to_dict("records")
        for name in ("share", "conversion")
        if row[f"{name}_moved"]
    ]


def _plays(workspace: Workspace, contract: str, tiers: list[str], described: dict[str, Any]) -> dict[str, str]:
    """What the contract's playbook says of each tier, in words; nothing where there is no playbook."""
    path = workspace.root / "data" / "playbooks" / f"{contract}.yaml"
    if not path.is_file():
        return {}
    playbook = playbooks.parse(load_yaml(path, ParamsError), file=str(path))
    playbooks.check(playbook, tiers, (described["activities"] or {"kinds": {}})["kinds"], file=str(path))
    return {tier: playbooks.in_words(playbook.tiers[tier]) for tier in tiers}


def _ranged(row: dict[Any, Any], name: str, digits: int, ends: tuple[str, str] | None = None) -> str:
    """A figure and its interval, where it has one."""
    low, high = ends or (f"{name}_low", f"{name}_high")
    said = [f"{value:,.{digits}f}" for value in (row[name], row.get(low, np.nan), row.get(high, np.nan))]
    return f"{said[0]} ({said[1]} to {said[2]})" if low in row and len(set(said)) > 1 else said[0]
