"""Rows that failed are set aside with their reasons, what belongs to a lead goes with it, and no row is lost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.errors import ValidationFailed
from pipeline.leads.contract import LEAD_KEY, ROW, Contract

LEAD_QUARANTINED = "its lead is quarantined"
LEAD_REFUSED = "its lead could not be read"

#: Order of the clean tables.
ORDER = {
    "leads": [LEAD_KEY],
    "activities": [LEAD_KEY, "recorded_at", "happened_at", ROW],
    "changes": [LEAD_KEY, "recorded_at", ROW],
}


@dataclass(frozen=True)
class Parted:
    """Tables without the rows set aside, and those rows.

    `kept`: table -> rows, sorted as in `ORDER`. `quarantine`: table, row, reasons (joined by "; "), raw (the row as
    JSON text), one line per row set aside, in order of table and row. `summary`: table -> rows, refused, set_aside,
    kept, quarantined, of these `with_their_lead` (not at fault themselves), and `reasons`: reason -> rows.
    """

    kept: dict[str, pd.DataFrame]
    quarantine: pd.DataFrame
    summary: dict[str, dict[str, Any]]


def part(
    tables: dict[str, pd.DataFrame],
    failed: pd.DataFrame,
    refused: pd.DataFrame,
    refused_leads: pd.Series,
    set_aside: dict[str, int],
) -> Parted:
    """Set aside the rows that failed, and the activities and changes of leads that are gone.

    Args:
        tables: `leads`, `activities`, `changes` as `ingest` left them.
        failed: table, row, reason; one line per row and broken declaration.
        refused: table, reason; lines that `ingest` could not read.
        refused_leads: keys of leads among them, as far as they are known; see `unread_leads`.
        set_aside: rows of no use that `ingest` left out, by table; counted only.
    """
    bad_leads = tables["leads"][ROW].isin(failed.loc[failed["table"] == "leads", ROW])
    kept_keys = tables["leads"].loc[~bad_leads, LEAD_KEY]
    quarantined_keys = tables["leads"].loc[bad_leads, LEAD_KEY]

    kept, aside, summary = {}, [], {}
    for name, table in tables.items():
        own = failed.loc[failed["table"] == name, [ROW, "reason"]]
        gone = own.iloc[:0]
        if name != "leads":
            lead = table[LEAD_KEY]
            orphaned = lead.notna() & ~lead.isin(kept_keys) & ~table[ROW].isin(own[ROW])
            with_quarantined = orphaned & lead.isin(quarantined_keys)
            with_refused = orphaned & ~with_quarantined & lead.isin(refused_leads)
            gone = pd.concat(
                [
                    table.loc[with_quarantined, [ROW]].assign(reason=LEAD_QUARANTINED),
                    table.loc[with_refused, [ROW]].assign(reason=LEAD_REFUSED),
                ]
            )
        found = pd.concat([own, gone], ignore_index=True)
        joined = found.groupby(ROW)["reason"].agg("; ".join)
        bad = table[ROW].isin(joined.index)
        rows = table[bad].sort_values(ROW)
        aside.append(
            pd.DataFrame(
                {
                    "table": name,
                    ROW: rows[ROW].to_numpy(),
                    "reasons": joined.reindex(rows[ROW]).to_numpy(),
                    "raw": _json(rows),
                }
            )
        )
        kept[name] = table[~bad].sort_values(ORDER[name], ignore_index=True)
        unread = refused.loc[refused["table"] == name, "reason"].str.replace(r"^line \d+: ", "", regex=True)
        left_out = set_aside[name]
        summary[name] = {
            "rows": len(table) + len(unread) + left_out,
            "refused": len(unread),
            "set_aside": left_out,
            "kept": len(kept[name]),
            "quarantined": len(rows),
            "with_their_lead": int(gone[ROW].nunique()),
            "reasons": {
                str(reason): int(count)
                for reason, count in pd.concat([found["reason"], unread]).value_counts().sort_index().items()
            },
        }
    quarantine = pd.concat(aside, ignore_index=True)
    return Parted(
        kept=kept,
        quarantine=quarantine.astype({"table": "str", ROW: "int64", "reasons": "str", "raw": "str"}),
        summary=summary,
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
