"""Rows that failed are set aside with their reasons, what belongs to a lead goes with it, and no row is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ValidationFailed
from pipeline.leads.contract import LEAD_KEY, PLACE, ROW, Contract
from pipeline.leads.declarations import Table, parts

LEAD_QUARANTINED = "its lead is quarantined"
LEAD_REFUSED = "its lead could not be read"

#: Order of the clean tables: by lead, and among the rows of one lead by these columns.
ORDER: dict[str, list[str]] = {
    "leads": [],
    "activities": ["recorded_at", "happened_at", ROW],
    "changes": ["recorded_at", ROW],
}


@dataclass(frozen=True)
class Parted:
    """Which rows are set aside, and what is left.

    `leads`: the leads that are kept, sorted by key. `gone`: table -> `row` of every row set aside, rising; see `kept`.
    `quarantine`: table, row, reasons (joined by "; "), raw (the row as JSON text), one line per row set aside, in
    order of table and row. `summary`: table -> rows, refused, set_aside, kept, quarantined, of these `with_their_lead`
    (not at fault themselves), and `reasons`: reason -> rows.
    """

    leads: pd.DataFrame
    gone: dict[str, np.ndarray]
    quarantine: pd.DataFrame
    summary: dict[str, dict[str, Any]]


def part(
    tables: Mapping[str, Table],
    failed: pd.DataFrame,
    refused: pd.DataFrame,
    refused_leads: pd.Series,
    set_aside: dict[str, int],
) -> Parted:
    """Set aside the rows that failed, and the activities and changes of leads that are gone.

    Args:
        tables: `leads`, `activities`, `changes` as `ingest` left them, whole or in parts.
        failed: table, row, reason; one line per row and broken declaration.
        refused: table, reason; lines that `ingest` could not read.
        refused_leads: keys of leads among them, as far as they are known; see `unread_leads`.
        set_aside: rows of no use that `ingest` left out, by table; counted only.
    """
    bad_leads = failed.loc[failed["table"] == "leads", ROW].unique()
    leads = pd.concat(list(kept(tables["leads"], bad_leads))).sort_values([LEAD_KEY], ignore_index=True)
    every = pd.Index(pd.concat([rows[LEAD_KEY] for rows in parts(tables["leads"])]).dropna().unique())
    stays = every.isin(leads[LEAD_KEY])

    gone, aside, summary = {}, [], {}
    for name, table in tables.items():
        own = failed.loc[failed["table"] == name, [ROW, "reason"]]
        total, with_their_lead = 0, 0
        reasons: Counter[str] = Counter()
        mine = []
        for rows in parts(table):
            found = own[own[ROW].isin(rows[ROW])]
            if name != "leads":
                orphans = _orphans(rows[~rows[ROW].isin(own[ROW])], every, stays, refused_leads)
                found = pd.concat([found, orphans], ignore_index=True)
                with_their_lead += len(orphans)
            reasons.update(found["reason"])
            total += len(rows)
            joined = _joined(found)
            bad = rows[rows[ROW].isin(joined.index)].sort_values(ROW)
            columns = {"table": name, ROW: bad[ROW].to_numpy()}
            mine.append(pd.DataFrame({**columns, "reasons": joined.reindex(bad[ROW]).to_numpy(), "raw": _json(bad)}))
        aside.append(pd.concat(mine, ignore_index=True).sort_values(ROW, ignore_index=True))
        gone[name] = aside[-1][ROW].to_numpy(dtype="int64")
        unread = refused.loc[refused["table"] == name, "reason"].str.replace(PLACE, "", regex=True)
        reasons.update(unread)
        summary[name] = {
            "rows": total + len(unread) + set_aside[name],
            "refused": len(unread),
            "set_aside": set_aside[name],
            "kept": total - len(gone[name]),
            "quarantined": len(gone[name]),
            "with_their_lead": with_their_lead,
            "reasons": {reason: reasons[reason] for reason in sorted(reasons)},
        }
    quarantine = pd.concat(aside, ignore_index=True)
    return Parted(
        leads=leads,
        gone=gone,
        quarantine=quarantine.astype({"table": "str", ROW: "int64", "reasons": "str", "raw": "str"}),
        summary=summary,
    )


def kept(table: Table, gone: np.ndarray) -> Iterator[pd.DataFrame]:
    """A table without the rows set aside, part by part, in the order they come."""
    for rows in parts(table):
        yield rows[~rows[ROW].isin(gone)]


def _joined(found: pd.DataFrame) -> pd.Series:
    """The reasons of each row as one text, by `row`; few rows have several."""
    repeated = found.duplicated(ROW, keep=False)
    several = found[repeated].groupby(ROW)["reason"].agg("; ".join)
    return pd.concat([found[~repeated].set_index(ROW)["reason"], several.astype("str")])


def _orphans(rows: pd.DataFrame, every: pd.Index, stays: np.ndarray, refused_leads: pd.Series) -> pd.DataFrame:
    """Rows whose lead is gone, as row and reason; `every` is the key of each lead read, `stays` whether it is kept."""
    lead = rows[LEAD_KEY]
    place = every.get_indexer(pd.Index(lead))
    read = place >= 0
    quarantined = read & ~np.r_[stays, False][place]
    refused = ~read & lead.notna().to_numpy() & lead.isin(refused_leads).to_numpy()
    return pd.concat(
        [
            rows.loc[quarantined, [ROW]].assign(reason=LEAD_QUARANTINED),
            rows.loc[refused, [ROW]].assign(reason=LEAD_REFUSED),
        ]
    )


def unread_leads(refused: pd.DataFrame, contract: Contract) -> pd.Series:
    """Keys of the leads that `ingest` refused, where the row could be told into its cells.

    Args:
        refused: table, row, raw (the cells as JSON text, or a line that is no row of the table).
    """
    rows = refused[refused["table"] == "leads"]
    if contract.key == "row_number":
        return pd.Series([f"{row:09d}" for row in rows[ROW]], dtype="str")
    return pd.Series([_cell(raw, contract.key) for raw in rows["raw"]], dtype="str").dropna().reset_index(drop=True)


def _cell(raw: str, column: str) -> str | None:
    try:
        cells = json.loads(raw)
    except ValueError:
        return None
    return cells.get(column) if isinstance(cells, dict) else None


def check_shares(summary: dict[str, dict[str, Any]], max_share: float) -> None:
    """Refuse a source of which too much is unusable.

    Rows that only went with their lead do not count: the lead does.

    Raises:
        ValidationFailed: the share of a table's rows that were refused or failed exceeds `max_share`, or no lead is
            left; every such table is named, with its commonest reasons.
    """
    faults = []
    for table, counts in summary.items():
        unusable = counts["refused"] + counts["quarantined"] - counts["with_their_lead"]
        if unusable and unusable > max_share * counts["rows"]:
            own = {key: n for key, n in counts["reasons"].items() if key not in (LEAD_QUARANTINED, LEAD_REFUSED)}
            top = sorted(own.items(), key=lambda item: (-item[1], item[0]))[:5]
            listed = "; ".join(f"{n:,} × {reason}" for reason, n in top)
            faults.append(
                f"{table}: {unusable:,} of {counts['rows']:,} rows ({unusable / counts['rows']:.1%}) were refused or "
                f"quarantined, and `validate.max_refused_share` in params.yaml allows {max_share:.1%}. "
                f"Most frequent: {listed}."
            )
    if faults:
        advice = "Correct the source or its contract, or raise the limit knowingly."
        raise ValidationFailed("\n".join([*faults, advice]))
    if summary["leads"]["kept"] == 0:
        raise ValidationFailed("leads: no row is left to learn from.")


def _json(rows: pd.DataFrame) -> list[str]:
    """Each row as one line of JSON, times in ISO form."""
    if rows.empty:
        return []
    text = rows.to_json(
        orient="records", lines=True, date_format="iso", date_unit="us", double_precision=15, force_ascii=False
    )
    return [line for line in str(text).split("\n") if line]
