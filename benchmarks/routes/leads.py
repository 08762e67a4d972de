"""The leads that every route scores: raw rows of the demo at the as-of dates of the test window, and edge cases."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.routes.edges import Lead, edges
from pipeline.adapters import demo_files
from pipeline.params import Params
from pipeline.paths import Workspace
from pipeline.scorer.model import ACTIVITY_FIELDS, CHANGE_FIELDS

#: Columns of a raw lead that no score is made of, or that would tell its end.
LEFT_OUT = ["full_name", "deal_value_eur", "closing_discount_pct", "contract_owner", "loss_reason", "days_to_close"]
ENDS = ["converted_at", "lost_at"]
NUMBERS, FLAGS = ["employees", "annual_revenue_eur"], {"true": True, "false": False}


@dataclass(frozen=True)
class Asked:
    """Leads in order, the kind of each, and what `evaluate` said of those that are no edge cases (`plain`), in order.

    A lead's history is the same wherever its key stands.
    """

    leads: list[Lead]
    kinds: list[str]
    evaluated: pd.DataFrame

    @property
    def plain(self) -> int:
        return len(self.evaluated)


def asked(workspace: Workspace, params: Params, number: int, share: float, seed: int, folder: Path) -> Asked:
    """So many leads, a share of them edge cases. `folder`: where the demo's raw files are written."""
    n_edges = round(number * share)
    scores = pd.read_parquet(workspace.path("evaluate/scores.parquet"))
    chosen = np.sort(
        np.random.default_rng(np.random.SeedSequence([seed, *b"routes"])).permutation(len(scores))[: number - n_edges]
    )
    evaluated = scores.iloc[chosen].reset_index(drop=True)
    demo_files.export(params.ingest.demo, params.run.seed, folder)
    raw = {name: _read(folder / f"{name}.csv") for name in ("leads", "activities", "changes")}
    plain = nested(raw, evaluated[["lead_id", "as_of"]])
    kinds, made = zip(*edges(plain, n_edges, seed), strict=True) if n_edges else ((), ())
    return Asked([*plain, *made], ["plain"] * len(plain) + list(kinds), evaluated)


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype="str", keep_default_na=False, na_filter=False)
    if "activity_id" in table:
        # As `leads score` has it: of rows that are the same one counts, and none whose id stands in others too.
        table = table.drop_duplicates()
        table = table[~table["activity_id"].duplicated(keep=False)]
    # A phone number where none belongs: only who reads files refuses it, see the guide.
    return table[~table.get("old_value", table["lead_id"]).str.startswith("+")]


def nested(raw: dict[str, pd.DataFrame], keys: pd.DataFrame) -> list[Lead]:
    """Raw rows as an application sends them: one object per key and as-of, with its history."""
    table = raw["leads"].drop(columns=[*LEFT_OUT, *ENDS])
    by_key = {row["lead_id"]: row for row in table.to_dict("records")}
    history = {
        name: {key: part[fields].to_dict("records") for key, part in raw[name].groupby("lead_id")}
        for name, fields in (("activities", ACTIVITY_FIELDS), ("changes", CHANGE_FIELDS))
    }
    found = []
    for key, as_of in keys.itertuples(index=False):
        lead: Lead = {str(name): _value(str(name), text) for name, text in by_key[key].items()}
        lead["as_of"] = as_of.isoformat()
        for name, records in history.items():
            lead[name] = [{k: v if v != "" else None for k, v in one.items()} for one in records.get(key, [])]
        found.append(lead)
    return found


def _value(name: str, text: str) -> Any:
    if text == "":
        return None
    if name in NUMBERS:
        return float(text) if "." in text else int(text)
    return FLAGS.get(text, text) if name == "budget_confirmed" else text


# Ways to carry them


def flat(leads: list[Lead]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Leads as three tables; a history stands once, however often its lead is asked for."""
    names = list(dict.fromkeys(name for lead in leads for name in lead))
    rows = pd.DataFrame(leads, columns=[name for name in names if name not in ("activities", "changes")], dtype=object)
    by_key = {lead["lead_id"]: lead for lead in leads if lead["lead_id"] not in (None, "")}
    tables = [
        pd.DataFrame(
            [[key, *(one[field] for field in fields)] for key, lead in by_key.items() for one in lead[name] or ()],
            columns=["lead_id", *fields],
            dtype=object,
        )
        for name, fields in (("activities", ACTIVITY_FIELDS), ("changes", CHANGE_FIELDS))
    ]
    return rows, tables[0], tables[1]


def write_csv(leads: list[Lead], folder: Path) -> list[Path]:
    """Leads as the three files that `leads score` takes."""
    rows, activities, changes = flat(leads)
    activities.insert(0, "activity_id", [f"A{k}" for k in range(len(activities))])
    paths = []
    for name, table in (("leads", rows), ("activities", activities), ("changes", changes)):
        paths.append(folder / f"{name}.csv")
        table.map(as_text).to_csv(paths[-1], index=False, lineterminator="\n")
    return paths


def as_text(value: Any) -> str:
    """A value of a request as it stands in a file: whole numbers without a point, true and false in lower case."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def fits_a_file(lead: Lead) -> bool:
    """Whether a row of a file can hold a lead, its answer can be told from others, and the reader of files,
    which is stricter than the scorer, refuses nothing that the scorer reads.

    The reader refuses blanks where a number or flag belongs, and whole numbers that a double does not hold.
    """
    typed = [lead[name] for name in (*NUMBERS, "budget_confirmed")]
    blank = any(isinstance(value, str) and value != "" and not value.strip() for value in typed)
    size = lead["employees"]
    return lead["lead_id"] not in (None, "") and not blank and not (isinstance(size, int | float) and abs(size) > 2**53)


def write_lines(leads: list[Lead], path: Path) -> Path:
    """Leads as JSON, one a line."""
    path.write_text("".join(json.dumps(lead) + "\n" for lead in leads), encoding="utf-8")
    return path
