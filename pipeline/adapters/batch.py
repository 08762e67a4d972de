"""Scoring files and the history's own open leads with a loaded scorer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from pipeline.adapters import files, sources
from pipeline.errors import ArtefactError, SourceError
from pipeline.leads import cohort, contract
from pipeline.leads.contract import CONVERTED, LEAD_KEY, Resolved
from pipeline.leads.declarations import repeats
from pipeline.paths import Workspace
from pipeline.scorer import ScorerError

#: Rows scored at a time.
CHUNK = 20_000


@dataclass(frozen=True)
class Result:
    """Scores in order (best first), and how many rows were scored and refused."""

    scores: pd.DataFrame
    scored: int
    refused: int


def score_files(
    scorer: Any,
    resolved: Resolved,
    leads: Path,
    activities: Path | None,
    changes: Path | None,
    *,
    as_of: pd.Timestamp | None,
    now: pd.Timestamp,
    max_bytes: int,
) -> Result:
    """Score a file of raw leads, under the contract that describes it.

    Args:
        as_of: the moment to score at; None uses the file's `as_of` column, and `now` where it has none.

    Raises:
        SourceError: a file is missing or unreadable, or lacks a column the scorer needs.
    """
    tables = sources.read_for_scoring(
        resolved, leads=leads, activities=activities, changes=changes, max_bytes=max_bytes
    )
    rows = tables.leads
    if as_of is not None or "as_of" not in rows:
        rows = rows.assign(as_of=as_of if as_of is not None else now)
    decided = rows[CONVERTED].notna() if CONVERTED in rows else pd.Series(False, index=rows.index)
    named = tables.activities["activity_id"].notna() & ~repeats(tables.activities, "activity_id")
    scores = _score(scorer, rows[~decided], tables.activities[named], tables.changes, str(leads))
    unread = tables.refused[tables.refused["table"] == "leads"]
    lines = pd.DataFrame({"lead_id": unread[LEAD_KEY], "refused": unread["reason"], "model_version": scorer.version})
    closed = rows.loc[decided, [LEAD_KEY, "as_of"]].assign(refused="already decided", model_version=scorer.version)
    return _ranked(pd.concat([part for part in (scores, closed, lines) if len(part)], ignore_index=True))


def score_open(scorer: Any, workspace: Workspace) -> Result:
    """Score the history's own open leads as of its last recorded moment.

    Raises:
        ArtefactError: the stages before have not run.
    """
    needed = ["ingest/contract.json", "ingest/provenance.json", "validate/leads.parquet"]
    if missing := [name for name in needed if not workspace.path(name).is_file()]:
        raise ArtefactError(f"{workspace.path(missing[0])} is missing; run `dvc repro` first.")
    resolved = contract.restore(files.read_json(workspace.path("ingest/contract.json")))
    newest = files.read_json(workspace.path("ingest/provenance.json"))["newest_recorded_at"]
    leads = files.read_table(workspace.path("validate/leads.parquet"))
    if resolved.contract.outcome.kind == "dates":
        as_of = pd.Timestamp(newest)
        leads = leads[cohort.still_open(leads, as_of)].reset_index(drop=True).assign(as_of=as_of)
    else:
        leads = leads.iloc[:0].assign(as_of=leads["created_at"].iloc[:0])
    wanted = set(leads[LEAD_KEY])
    activities, changes = (
        files.read_table(workspace.path(f"validate/{name}.parquet")) for name in ("activities", "changes")
    )
    mine = activities[activities[LEAD_KEY].isin(wanted)], changes[changes[LEAD_KEY].isin(wanted)]
    return _ranked(_score(scorer, leads, mine[0], mine[1], "the open leads"))


def _score(scorer: Any, rows: pd.DataFrame, activities: pd.DataFrame, changes: pd.DataFrame, what: str) -> pd.DataFrame:
    parts = []
    try:
        for start in tqdm(range(0, max(len(rows), 1), CHUNK), desc="score", unit="chunk", disable=len(rows) <= CHUNK):
            part = rows.iloc[start : start + CHUNK]
            mine = set(part[LEAD_KEY])
            parts.append(
                scorer.score(
                    part,
                    activities[activities[LEAD_KEY].isin(mine)],
                    changes[changes[LEAD_KEY].isin(mine)],
                )
            )
    except ScorerError as error:
        raise SourceError(f"{what}: {error}") from None
    return pd.concat(parts, ignore_index=True)


def _ranked(scores: pd.DataFrame) -> Result:
    """Best first; equal scores by probability, then key; refused rows last, in their order."""
    refused = scores["refused"].fillna("") != ""
    best = scores[~refused].sort_values(["probability", LEAD_KEY], ascending=[False, True])
    return Result(pd.concat([best, scores[refused]], ignore_index=True), int((~refused).sum()), int(refused.sum()))


def export(result: Result, path: Path, reasons: int) -> None:
    """Write scores as CSV: exact numbers, all reasons as JSON, and the strongest in words."""
    scores = result.scores
    words = [in_words(text, reasons) for text in scores["reasons"]]
    place = scores.columns.get_loc("base")
    files.write_csv(
        path, pd.concat([scores.iloc[:, :place], pd.DataFrame({"top_reasons": words}), scores.iloc[:, place:]], axis=1)
    )


def in_words(reasons: object, number: int) -> str:
    """`Pricing pages +12.3; Company size -3.1`: the strongest reasons of one score."""
    if not isinstance(reasons, str):
        return ""
    return "; ".join(f"{criterion} {points:+.1f}" for criterion, points in json.loads(reasons)[:number])
