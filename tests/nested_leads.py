"""Leads of a run as an application sends them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd


def nested(demo_run: Path, keys: pd.DataFrame) -> list[dict]:
    """Rows as an application sends them: the lead, the moment, and its history as lists, in plain JSON."""
    tables = {
        name: pd.read_parquet(demo_run / f"data/validate/{name}.parquet").drop(columns="row")
        for name in ("leads", "activities", "changes")
    }
    rows = keys.merge(tables["leads"], on="lead_id", how="left")
    for name in ("activities", "changes"):
        mine = tables[name][tables[name]["lead_id"].isin(rows["lead_id"])]
        records = {
            key: json.loads(part.to_json(orient="records", date_format="iso", date_unit="us"))
            for key, part in mine.groupby("lead_id")
        }
        rows[name] = [records.get(key, []) for key in rows["lead_id"]]
    return json.loads(rows.to_json(orient="records", date_format="iso", date_unit="us", double_precision=15))
