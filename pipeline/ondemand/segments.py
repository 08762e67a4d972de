"""`leads segments`: the ideal customer profile, and what deals may be worth, from the last run's snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.adapters import files
from pipeline.errors import ContractError, NotEnoughData
from pipeline.ondemand.cards import contract_of_run
from pipeline.params import Params
from pipeline.paths import Workspace
from pipeline.scoring import deal_values, segments, tier_history

#: Segments at either end that the terminal shows.
SHOWN = 8


@dataclass(frozen=True)
class Found:
    """What `find` found.

    `table`: as `segments.profile` gives it. `values`: as the scorer carries them, None without deal values.
    `captured`: by `share` of the leads called first, the share of all value that they bring, ranked `by_score` and
    `by_value_score`.
    """

    table: pd.DataFrame
    values: dict[str, Any] | None
    captured: pd.DataFrame
    sentences: list[str]


def find(workspace: Workspace, params: Params) -> Found:
    """Segments chosen on the leads before the test window, and stated on those of the test window.

    A lead converts where one of its snapshots is labelled so; who it is, is what was known at its first look.

    Raises:
        ArtefactError: `evaluate` has not run, its results were changed, or they are of another contract.
        ContractError: no criterion says who a lead is. NotEnoughData: no earlier lead converted.
    """
    results = files.Results(workspace)
    resolved = contract_of_run(results, params)
    columns = segments.columns_of(results.json("featurize/features.json"))
    if not columns:
        raise ContractError(f"contract {resolved.name}: no criterion of group `fit` says who a lead is.")
    leads = _leads(results, columns, resolved.value)
    before, after = (leads[(leads["split"] == "test") == test].reset_index(drop=True) for test in (False, True))
    if not before["converted"].any():
        raise NotEnoughData(
            "no lead before the test window converted: there is no profile to tell before at least 1 has."
        )
    limits = params.evaluate.segments
    columns = segments.with_bounds(before, columns, limits.bins)
    table = segments.profile(
        before,
        after,
        columns,
        min_leads=limits.min_leads,
        false_discoveries=limits.false_discoveries,
        level=params.evaluate.interval_level,
        samples=params.evaluate.bootstrap_samples,
        seed=params.run.seed,
    )
    values = results.json("calibrate/summary.json")["deal_values"]
    sentences = [
        f"Chosen among {len(before):,} earlier leads, of which {before['converted'].mean():.1%} converted, and stated "
        f"on {len(after):,} later ones ({after['converted'].mean():.1%})",
        f"{len(table):,} segments convert otherwise than the rest; the later leads bear out "
        f"{int(table['confirmed'].sum()):,} of them",
    ]
    captured = pd.DataFrame(columns=["share", "by_score", "by_value_score"])
    if values is not None:
        captured = _captured(results.table("evaluate/scores.parquet"), after, values, limits.shares)
        sentences += _worth(values, captured)
    return Found(table, values, captured, sentences)


def save(found: Found, folder: Path) -> None:
    """Write segments.csv, and where there are deal values deal_values.json and value_captured.csv, into a folder."""
    files.write_csv(folder / "segments.csv", found.table)
    if found.values is not None:
        files.write_json(folder / "deal_values.json", found.values)
        files.write_csv(folder / "value_captured.csv", found.captured)


def in_words(found: Found) -> str:
    """The segments with the highest and the lowest lift, and the sentences, for the terminal."""
    lines = [f"- {sentence}." for sentence in found.sentences]
    for direction, rows in (("more", found.table.head(SHOWN)), ("less", found.table.tail(SHOWN).iloc[::-1])):
        rows = rows[rows["direction"] == direction]
        if len(rows):
            lines += ["", f"Convert {direction} often than the rest, figures of the later leads:", "", _shown(rows)]
    return "\n".join(lines)


def _leads(results: files.Results, columns: list[dict[str, Any]], value: str | None) -> pd.DataFrame:
    """One row per lead with snapshots: lead_id, split, the columns at its first look, converted, value."""
    snapshots = results.table("featurize/snapshots.parquet").sort_values(["lead_id", "as_of"], kind="stable")
    converted = snapshots.groupby("lead_id", sort=True)["label"].max()
    first = tier_history.first_looks(snapshots)
    leads = first[["lead_id", "split", *(column["name"] for column in columns)]]
    leads = leads.assign(converted=converted.to_numpy(), value=np.nan)
    if value is not None:
        known = results.table("validate/leads.parquet").set_index("lead_id")[value]
        leads["value"] = known.reindex(leads["lead_id"]).to_numpy(dtype="float64")
    return leads


def _captured(
    scores: pd.DataFrame, after: pd.DataFrame, values: dict[str, Any], shares: Sequence[float]
) -> pd.DataFrame:
    """Value brought by the later leads ranked highest, at their first look, by score and by value-weighted score."""
    first = tier_history.first_looks(scores[scores["refused"] == ""])
    rows = first[["lead_id", "probability", "value_score", "label"]].merge(after, on="lead_id", validate="one_to_one")
    brought = np.where(rows["label"] == 1, rows["value"].fillna(values["overall"]), 0.0)
    ranks = {"by_score": rows["probability"].to_numpy(), "by_value_score": rows["value_score"].to_numpy()}
    return pd.DataFrame(
        {"share": shares}
        | {name: [deal_values.captured(brought, rank, share) for share in shares] for name, rank in ranks.items()}
    )


def _worth(values: dict[str, Any], captured: pd.DataFrame) -> list[str]:
    told = " and ".join(column["criterion"] for column in values["columns"])
    by = f"by {told}, drawn to the common mean" if told else "the same for every lead, since no criterion tells more"
    near_a_tenth = captured.iloc[int((captured["share"] - 0.1).abs().argmin())]
    return [
        f"Expected deal value, from {values['deals']:,} deals of {values['overall']:,.0f} on average: {by}",
        f"The {near_a_tenth['share']:.0%} of the later leads called first bring {near_a_tenth['by_score']:.0%} of all "
        f"value by the score, and {near_a_tenth['by_value_score']:.0%} by chance times expected value",
    ]


def _shown(rows: pd.DataFrame) -> str:
    table = pd.DataFrame({"segment": rows["segment"], "leads": rows["later_leads"]})
    table["conversion"] = [
        f"{row['later_conversion']:.1%} ({row['low']:.1%} to {row['high']:.1%})" for row in rows.to_dict("records")
    ]
    table["lift"] = rows["later_lift"].round(2)
    table["borne out"] = np.where(rows["confirmed"], "yes", "no")
    if rows["value_per_lead"].notna().any():
        table["value per lead"] = [f"{value:,.0f}" for value in rows["value_per_lead"]]
        table["value lift"] = rows["value_lift"].round(2)
    return table.to_string(index=False)
