"""`leads tiers`: what each tier brings a week, on the leads of the test window, and whether tiers moved over time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.adapters import files, tier_figures
from pipeline.adapters import playbooks as playbook_files
from pipeline.errors import ParamsError
from pipeline.leads import playbooks
from pipeline.leads.playbooks import Playbook
from pipeline.ondemand.cards import contract_of_run
from pipeline.params import Params
from pipeline.paths import Workspace
from pipeline.scoring import capacity, payoff, tier_history
from pipeline.scoring.capacity import Terms
from pipeline.scoring.payoff import Payoff


@dataclass(frozen=True)
class Asked:
    """What the command line asked for; what it left open the playbook says.

    `per_week`: tiers follow from it and from what pays. `scores`: lowest score of each tier, best first. Without either
    the tiers are those of the scorer.
    """

    call_cost: float | None
    deal_value: float | None
    per_week: float | None = None
    scores: dict[str, float] | None = None
    new_leads: float | None = None

    def terms(self, playbook: Playbook | None) -> Terms:
        """What sales can work and what it is worth.

        Raises:
            ParamsError: neither the command line nor the playbook says what a call or a deal is worth.
        """
        worth = playbook.worth if playbook is not None else None
        known = {
            "--call-cost": self.call_cost if self.call_cost is not None or worth is None else worth.call_cost,
            "--deal-value": self.deal_value if self.deal_value is not None or worth is None else worth.deal_value,
        }
        if missing := [name for name, value in known.items() if value is None]:
            raise ParamsError(
                f"nobody says what a call costs and what a deal is worth: give {' and '.join(missing)}, or write "
                "`worth` into data/playbooks/<contract>.yaml."
            )
        cost, value = (float(amount) for amount in known.values() if amount is not None)
        most = self.per_week if self.per_week is not None or worth is None else worth.per_week
        return Terms(cost, value, np.inf if most is None else most)


@dataclass(frozen=True)
class Found:
    """What `find` found: the payoff, and what is done with each tier, where there is a playbook."""

    payoff: Payoff
    by_worth: bool
    plays: dict[str, str]


def find(workspace: Workspace, params: Params, asked: Asked, *, period: tier_history.Period) -> Found:
    """Tiers by worth where a limit is asked for, else by the scores given, else those that the scorer carries.

    Raises:
        ArtefactError: `evaluate` has not run, its results were changed, or they are of another contract.
        NotEnoughData: the test window follows leads for less than a week. ParamsError: nobody says how many leads come,
        or what a call or a deal is worth.
    """
    results = files.Results(workspace)
    resolved = contract_of_run(results, params)
    playbook = playbook_files.of_contract(workspace, resolved)
    terms = asked.terms(playbook)
    bands = None
    if asked.scores is not None:
        bands = capacity.by_scores(asked.scores)
    elif asked.per_week is None:
        bands = results.json("calibrate/summary.json")["tiers"]
    new_per_week = asked.new_leads
    if new_per_week is None and playbook is not None and playbook.worth is not None:
        new_per_week = playbook.worth.new_per_week
    windows = results.csv("featurize/splits.csv")
    found = payoff.of(
        _looks(results),
        windows[windows["split"] == "test"].to_dict("records")[0],
        terms,
        bands,
        params.evaluate,
        max_age_days=results.json("featurize/features.json")["max_age_days"] or 0,
        new_per_week=new_per_week,
        period=period,
        seed=params.run.seed,
    )
    plays = {}
    if playbook is not None:
        names = [band["name"] for band in found.bands]
        playbooks.check(playbook, names, resolved.kinds, file=str(playbook_files.path_of(workspace, resolved.name)))
        plays = {tier: playbooks.in_words(playbook.tiers[tier]) for tier in names}
    return Found(found, bands is None, plays)


def save(found: Found, folder: Path, level: float) -> None:
    """Write tiers.csv, profit.csv, history.csv and profit.png into a folder."""
    files.write_csv(folder / "tiers.csv", found.payoff.table)
    files.write_csv(folder / "profit.csv", found.payoff.curve)
    files.write_csv(folder / "history.csv", found.payoff.history)
    drawing = tier_figures.profit(found.payoff.curve, level=level, **found.payoff.lines())
    files.write_figure(folder / "profit.png", drawing)


def in_words(found: Found) -> str:
    """The table with its intervals, the plays, and the sentences, for the terminal."""
    rows = []
    for row in found.payoff.table.to_dict("records"):
        shown = {"tier": row["tier"], "from score": _ranged(row, "from_score", 1, ends=("from_low", "from_high"))}
        shown |= {f"{name} a week": _ranged(row, name, 1) for name in ("leads", "expected", "conversions")}
        rows.append(shown | {f"{name} a week": _ranged(row, name, 0) for name in ("cost", "profit")})
    lines = [
        pd.DataFrame(rows).to_string(index=False),
        "",
        *(f"- {sentence}." for sentence in (*found.payoff.sentences, *found.payoff.moved)),
    ]
    if found.by_worth:
        lines += [f"- Tier {band['name']}: {capacity.MEANING[band['name']]}." for band in found.payoff.bands]
    return "\n".join([*lines, *(f"- Tier {tier}, {play}." for tier, play in found.plays.items())])


def _looks(results: files.Results) -> pd.DataFrame:
    """The scored snapshots of the test window: lead_id, created_at, as_of, score, label."""
    scores = results.table("evaluate/scores.parquet")
    scores = scores.loc[scores["refused"] == "", ["lead_id", "as_of", "score", "label"]]
    leads = results.table("validate/leads.parquet")[["lead_id", "created_at"]]
    return scores.merge(leads, on="lead_id", how="left", validate="many_to_one")


def _ranged(row: dict[Any, Any], name: str, digits: int, ends: tuple[str, str] | None = None) -> str:
    """A figure and its interval, where it has one."""
    low, high = ends or (f"{name}_low", f"{name}_high")
    said = [f"{value:,.{digits}f}" for value in (row[name], row.get(low, np.nan), row.get(high, np.nan))]
    return f"{said[0]} ({said[1]} to {said[2]})" if low in row and len(set(said)) > 1 else said[0]
