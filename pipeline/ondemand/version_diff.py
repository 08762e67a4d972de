"""`leads diff`: what changed from one registered version to another, from their runs and by scoring the same leads."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.adapters import files, model_folder, registry, tracking
from pipeline.adapters.registry import Version
from pipeline.adapters.tracking import Store
from pipeline.errors import ArtefactError, ModelError
from pipeline.leads import cohort, contract
from pipeline.leads.contract import LEAD_KEY
from pipeline.params import Params
from pipeline.paths import Workspace
from pipeline.scoring import version_changes

#: Criteria named on the screen; the file has all.
SHOWN = 10


@dataclass(frozen=True)
class Diff:
    """`data`, `settings`, `metrics` and `criteria`: see `scoring.version_changes`. `leads` and `tiers` are None, and
    `notes` say why, where the leads of data/ cannot be scored by both."""

    first: Version
    second: Version
    data: pd.DataFrame
    settings: pd.DataFrame
    metrics: pd.DataFrame
    criteria: pd.DataFrame
    leads: pd.DataFrame | None
    tiers: pd.DataFrame | None
    notes: list[str]


def find(workspace: Workspace, params: Params, first: str, second: str, leads: int) -> Diff:
    """Compare two versions, each named by number or alias; `leads`: how many of the history's are scored with both.

    Raises:
        RegistryError: no such version, its run is gone, or its bytes are not those that were registered.
    """
    store, name = tracking.open_store(workspace), params.run.contract
    known = registry.versions(store, name)
    sides = [registry.pick(known, name, which) for which in (first, second)]
    runs = [registry.recorded(store, side) for side in sides]
    notes = []
    criteria = [_table(store, side, "explain/criteria.csv", ["criterion", "share"]) for side in sides]
    data = version_changes.changed(*(_data(store, side, run.digests) for side, run in zip(sides, runs, strict=True)))
    if len(data):
        notes.append("The data differ, so figures were measured on different test windows: read differences with care.")
    folders = [registry.resolve(store, name, side.number)[1] for side in sides]
    both = tiers = None
    try:
        rows, what = _sample(workspace, params, leads)
        scorers = [model_folder.load(folder) for folder in folders]
        both = version_changes.scored(*(_scored(scorer, rows) for scorer in scorers))
        tiers = version_changes.tier_moves(both, *([tier["name"] for tier in scorer.tiers] for scorer in scorers))
        notes.append(what)
    except (ArtefactError, ModelError) as fault:
        notes.append(f"No leads were scored with both: {fault}")
    return Diff(
        sides[0],
        sides[1],
        data,
        version_changes.changed(runs[0].params, runs[1].params),
        version_changes.figures(runs[0].metrics, runs[1].metrics),
        version_changes.weights(*criteria),
        both,
        tiers,
        notes,
    )


@dataclass(frozen=True)
class _Rows:
    """Leads with `as_of`, and their history."""

    leads: pd.DataFrame
    activities: pd.DataFrame
    changes: pd.DataFrame


def _sample(workspace: Workspace, params: Params, number: int) -> tuple[_Rows, str]:
    """Open leads of the history in data/, drawn at random; where none is open, looks at leads of the test window."""
    results = files.Results(workspace)
    resolved = contract.restore(results.json("ingest/contract.json"))
    if resolved.name != params.run.contract:
        raise ArtefactError(f"data/ holds a run of contract {resolved.name}; run `dvc repro`.")
    newest = pd.Timestamp(results.json("ingest/provenance.json")["newest_recorded_at"])
    table = results.table("validate/leads.parquet")
    rows = cohort.open_at(table, resolved.contract, newest)
    if len(rows):
        what = f"open leads as of {newest:%Y-%m-%d}"
    else:
        looks = results.table("featurize/snapshots.parquet").query("split == 'test'")[[LEAD_KEY, "as_of"]]
        rows, what = looks.merge(table, on=LEAD_KEY), "looks at leads of the test window: none is open"
    chance = np.random.default_rng(np.random.SeedSequence([params.run.seed, *b"diff"]))
    chosen = np.sort(chance.choice(len(rows), min(number, len(rows)), replace=False))
    drawn = rows.iloc[chosen].reset_index(drop=True)
    names = set(drawn[LEAD_KEY])
    history = [results.table(f"validate/{name}.parquet") for name in ("activities", "changes")]
    kept = [part[part[LEAD_KEY].isin(names)] for part in history]
    return _Rows(drawn, *kept), f"Scored with both: {len(drawn):,} of {len(rows):,} {what}."


def _scored(scorer: Any, rows: _Rows) -> pd.DataFrame:
    with model_folder.asking(scorer, f"the leads of data/, by {scorer.version}"):
        scores: pd.DataFrame = scorer.score(rows.leads, rows.activities, rows.changes)
    return scores


def _table(store: Store, version: Version, name: str, columns: list[str]) -> pd.DataFrame:
    text = registry.logged(store, version.run_id, name)
    return pd.DataFrame(columns=columns) if text is None else pd.read_csv(io.StringIO(text))[columns]


def _data(store: Store, version: Version, digests: dict[str, str]) -> dict[str, Any]:
    """What a version learned from, in figures: moments, rows, windows and hashes."""
    found: dict[str, Any] = {}
    if (text := registry.logged(store, version.run_id, "ingest/provenance.json")) is not None:
        provenance = json.loads(text)
        found["newest recorded moment"] = provenance["newest_recorded_at"]
        for table, counts in provenance["source"].items():
            found |= {
                f"{table}: rows in the source": counts["rows"],
                f"{table}: sha256 of the source": counts["sha256"],
            }
    if (text := registry.logged(store, version.run_id, "validate/summary.json")) is not None:
        found |= {f"{table}: rows kept": counts["kept"] for table, counts in json.loads(text).items()}
    found |= {f"{table}: sha256 of what was kept": digest for table, digest in digests.items()}
    windows = _table(store, version, "featurize/splits.csv", ["split", "start", "end", "snapshots", "conversions"])
    for row in windows.to_dict("records"):
        found |= {f"{row['split']} window: {key}": row[key] for key in ("start", "end", "snapshots", "conversions")}
    return found


def in_words(diff: Diff) -> str:
    """The comparison as a few tables to read."""
    first, second = (f"version {side.number}" for side in (diff.first, diff.second))
    parts = [f"From {first} ({diff.first.scorer[:12]}) to {second} ({diff.second.scorer[:12]})"]
    for title, table in (("Data", diff.data), ("Settings", diff.settings)):
        parts.append(f"{title}: nothing differs" if table.empty else f"{title}\n{_shown(table, first, second)}")
    parts.append(_metrics(diff.metrics, first, second))
    moved = diff.criteria[diff.criteria["difference"] != 0].head(SHOWN)
    parts.append(
        "Weights of criteria: nothing differs"
        if moved.empty
        else f"Weights of criteria: share of all points\n{_shown(moved.round(4), first, second)}"
    )
    if diff.tiers is not None and diff.leads is not None:
        shown = diff.tiers.rename(columns={"first_tier": first, "second_tier": second}).replace("", "(no score)")
        counts = diff.tiers.groupby("direction")["leads"].sum()
        up, down = (int(counts.get(name, 0)) for name in ("up", "down"))
        change = diff.leads["difference"].abs()
        parts.append(
            f"Tiers\n{shown.to_string(index=False)}\n{up + down:,} of {len(diff.leads):,} leads move tier: {up:,} up, "
            f"{down:,} down; scores differ by {change.mean():.1f} points on average, at most {change.max():.1f}"
        )
    return "\n\n".join([*parts, *diff.notes])


def _metrics(table: pd.DataFrame, first: str, second: str) -> str:
    same = int((table["difference"] == 0).sum())
    if same == len(table):
        return "Metrics: nothing differs"
    shown = table[table["difference"] != 0]
    others = f"\n{same} others are the same" if same else ""
    return f"Metrics\n{_shown(shown.round(4), first, second)}{others}"


def _shown(table: pd.DataFrame, first: str, second: str) -> str:
    return table.rename(columns={"first": first, "second": second}).to_string(index=False)


def save(diff: Diff, folder: Path) -> list[str]:
    """Write every table as CSV; returns the files' names."""
    tables = {name: getattr(diff, name) for name in ("data", "settings", "metrics", "criteria", "tiers", "leads")}
    written = {f"{name}.csv": table for name, table in tables.items() if table is not None}
    for name, table in written.items():
        files.write_csv(folder / name, table)
    return list(written)
