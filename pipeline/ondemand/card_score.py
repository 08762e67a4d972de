"""`leads card score`: today's open leads by a points card alone. It asks for no model, and for no conversion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.adapters import cards as store_of_cards
from pipeline.adapters import files
from pipeline.errors import ParamsError
from pipeline.leads import cohort, leakage, maturity
from pipeline.leads.cards import Card
from pipeline.leads.contract import CREATED_AT, Contract
from pipeline.leads.snapshots import rows_at
from pipeline.leads.specification import specify
from pipeline.ondemand.cards import KEY, contract_of_run
from pipeline.params import Params
from pipeline.paths import Workspace
from pipeline.scoring import card_lint, card_ranking
from pipeline.scoring.card import points

#: What the command says wherever it shows points.
NO_CHANCE = "Points are no chance: they say what the card's author holds important, not how many of such leads convert"


@dataclass(frozen=True)
class Scored:
    """`leads`: as `card_ranking.ranked` gives them. `bands`: as `card_ranking.bands`. `sentences`: what a reader should
    know beside them."""

    leads: pd.DataFrame
    bands: pd.DataFrame
    sentences: list[str]


def score(workspace: Workspace, params: Params, name: str, at: pd.Timestamp | None) -> Scored:
    """Rank the history's open leads by the points of a card, from what `ingest` and `validate` left.

    Beside the points stands what earlier leads did, at the ages at which the model would look at them and as far as
    their horizon had passed; leads from before outcomes were recorded are left out.

    Args:
        at: the as-of date, within the history; None for its newest recorded moment.

    Raises:
        ArtefactError: `validate` has not run, results were changed, or they are of another contract.
        CardError: the card cannot be read or counted. ParamsError: `at` lies after the newest recorded moment.
    """
    card = store_of_cards.read(workspace, name, params.run.contract)
    results = files.Results(workspace)
    resolved = contract_of_run(results, params)
    provenance = results.json("ingest/provenance.json")
    usable = leakage.without_leaks(resolved, results.csv("validate/leaks.csv"))
    spec = specify(usable, params.featurize)
    card_lint.refuse_errors(card, card_lint.static(card, spec, usable.excluded))
    leads, activities, changes = (
        results.table(f"validate/{table}.parquet") for table in ("leads", "activities", "changes")
    )
    as_of = _as_of(pd.Timestamp(provenance["newest_recorded_at"]), at)
    limits, level = params.evaluate.card.rates, params.evaluate.interval_level

    open_leads = cohort.open_at(leads, resolved.contract, as_of)
    counted = points(card, open_leads, activities, changes, spec)
    looks = _matured(leads, resolved.contract, as_of, params)
    past = points(card, rows_at(leads, looks), activities, changes, spec)
    bands = card_ranking.bands(past, looks["label"].to_numpy(), limits, level)
    ranked = card_ranking.ranked(card, counted, bands, params.explain.reasons)
    won = looks.loc[(looks["label"] == 1).to_numpy() & (past["suppressed"] == "").to_numpy(), "lead_id"].nunique()
    sentences = [
        _counts(card, ranked, as_of, resolved.contract, provenance),
        NO_CHANCE,
        _earlier(bands, won, limits.min_conversions, level, resolved.contract.outcome.horizon_days),
    ]
    return Scored(ranked, bands, sentences)


def save(scored: Scored, path: Path) -> None:
    """Write the ranking as CSV."""
    files.write_csv(path, scored.leads)


def in_words(scored: Scored) -> str:
    """The sentences, and how earlier leads did by their points, for the terminal."""
    lines = [f"- {sentence}." for sentence in scored.sentences]
    if len(scored.bands):
        rows = [
            {
                "points": _band(row["points_from"], row["points_below"]),
                "earlier leads": f"{row['leads']:,}",
                "converted": f"{row['conversions']:,}",
                "rate": f"{row['rate']:.1%} ({row['low']:.1%} to {row['high']:.1%})",
            }
            for row in scored.bands.iloc[::-1].to_dict("records")
        ]
        lines += ["", pd.DataFrame(rows).to_string(index=False)]
    return "\n".join(lines)


def _as_of(newest: pd.Timestamp, at: pd.Timestamp | None) -> pd.Timestamp:
    """The moment to count at; NaT, as `newest` is, where the source has no times."""
    if at is not None and not at <= newest:
        until = "knows no moments" if pd.isna(newest) else f"ends at {newest:%Y-%m-%d %H:%M}"
        raise ParamsError(
            f"--at {at:%Y-%m-%d %H:%M}: the history {until}, so that nobody can say which leads are open then; give an "
            "earlier date, or run `dvc repro validate` on a newer export."
        )
    return newest if at is None else at


def _matured(leads: pd.DataFrame, contract: Contract, as_of: pd.Timestamp, params: Params) -> pd.DataFrame:
    """Looks at leads whose horizon had passed by then, with their label; those from before outcomes were recorded left
    out."""
    if pd.notna(as_of):
        leads = leads[leads[CREATED_AT] <= as_of].reset_index(drop=True)
    if leads.empty:
        return pd.DataFrame({name: leads[CREATED_AT] if name == "as_of" else [] for name in [*KEY, "label"]})
    kept = maturity.recorded(leads, contract, as_of, params.featurize.recording).kept
    looks = cohort.labelled(leads[kept].reset_index(drop=True), contract, as_of, params.featurize)
    return looks.loc[looks["open"] & looks["matured"], [*KEY, "label"]].reset_index(drop=True)


def _counts(
    card: Card, ranked: pd.DataFrame, as_of: pd.Timestamp, contract: Contract, provenance: dict[str, Any]
) -> str:
    """How many leads there are, qualify, and are held back."""
    if contract.outcome.kind != "dates":
        aside = provenance["source"]["leads"]["set_aside"]
        kept = f"; {aside:,} without an outcome were set aside at ingest" if aside else ""
        return f"The history holds no open leads, since contract {contract.name} knows no dates of outcomes{kept}"
    if ranked.empty:
        return f"The history holds no open leads as of {as_of:%Y-%m-%d %H:%M}"
    held = int((ranked["held_back"] != "").sum())
    return (
        f"{len(ranked):,} open leads as of {as_of:%Y-%m-%d %H:%M} by the points of card {card.name}: "
        f"{int(ranked['qualified'].sum()):,} qualify, with {card.qualifies_at:g} points or more; {held:,} held back, "
        "and last"
    )


def _earlier(bands: pd.DataFrame, won: int, wanted: int, level: float, horizon_days: int) -> str:
    """What stands in the columns of earlier leads, or how many conversions are still needed for it."""
    if bands.empty and won < wanted:
        return (
            f"What earlier leads with about as many points did is left empty: {won:,} that were not held back "
            f"converted, {wanted - won:,} more are needed (evaluate.card.rates.min_conversions)"
        )
    if bands.empty:
        return "What earlier leads with about as many points did is left empty: every one of them converted"
    within = f" within {horizon_days} days of a look" if horizon_days else ""
    return (
        f"Earlier leads with about as many points: how many converted{within}, drawn to the common rate where they are "
        f"few, with a {level:.0%} interval"
    )


def _band(low: float, high: float) -> str:
    if np.isinf(low) and np.isinf(high):
        return "any"
    if np.isinf(low):
        return f"below {high:g}"
    return f"{low:g} and more" if np.isinf(high) else f"{low:g} to below {high:g}"
