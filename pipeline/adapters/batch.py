"""Scoring files and the history's own open leads with a loaded scorer.

No row is lost in silence: a row of leads gets a score or a reason, or is counted in a note; so is every row of
activities and changes that no score rests on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.adapters import files, model_folder, sources
from pipeline.errors import ArtefactError
from pipeline.leads import cohort, contract
from pipeline.leads.contract import CONVERTED, LEAD_KEY, PLACE, ROW, Resolved
from pipeline.leads.declarations import repeats
from pipeline.paths import Workspace
from pipeline.scorer.model import OUTPUT

#: Rows scored at a time.
CHUNK = 20_000

#: Why a row gets no score, beside the scorer's own reasons.
DECIDED = "already decided"
REPEATED = "lead_id stands in another row too, for the same as_of"

#: What `moves` adds: the smallest change that lifts a lead a tier, who can make it, and what the lead has then.
MOVES = {"change": "change", "moved_by": "change_by", "score": "change_score", "tier": "change_tier"}

#: As the scorer returns its columns.
DTYPES = dict.fromkeys(OUTPUT, "str") | {"as_of": "datetime64[us]"} | dict.fromkeys(model_folder.DOUBLES, "float64")


#: Told of a chunk: the scores, and the rows, activities and changes that the scorer was given.
Record = Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame], object]


def unrecorded(*_: pd.DataFrame) -> None:
    """Keep no record."""


@dataclass(frozen=True)
class Result:
    """Scores in order (best first) with the columns of `OUTPUT` (and of `MOVES`, where asked), and how many rows were
    scored and refused.

    `notes`: what the reader of the scores should know of the input, one plain line each, with counts.
    """

    scores: pd.DataFrame
    scored: int
    refused: int
    notes: list[str] = field(default_factory=list)


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
    moves: bool = False,
    record: Record = unrecorded,
) -> Result:
    """Score a file of raw leads, under the contract that describes it.

    Args:
        as_of: the moment to score at; None uses the file's `as_of` column, and `now` where it has none.
        moves: name the smallest change that lifts each lead a tier, too (the columns of `MOVES`).
        record: told of every chunk of scores, see `Record`.

    Raises:
        SourceError: a file is missing, unreadable or has no rows, or lacks a column that the contract names.
        ModelError: the scorer needs a column that the contract does not name.
    """
    tables = sources.read_for_scoring(
        resolved, leads=leads, activities=activities, changes=changes, max_bytes=max_bytes
    )
    rows = tables.leads
    if as_of is not None or "as_of" not in rows:
        rows = rows.assign(as_of=as_of if as_of is not None else now)
    copies = _copies(rows, LEAD_KEY)
    apart = rows[~copies]
    decided = apart[CONVERTED].notna() if CONVERTED in apart else pd.Series(False, index=apart.index)
    twice = apart[LEAD_KEY].notna() & apart.duplicated([LEAD_KEY, "as_of"], keep=False)
    kept, history_notes = _history(tables, resolved)
    scores = _score(scorer, apart[~decided & ~twice], *kept, str(leads), moves, record)
    unread = tables.refused[tables.refused["table"] == "leads"]
    parts = [
        scores,
        _unscored(apart[twice], REPEATED, scorer.version),
        _unscored(apart[decided & ~twice], DECIDED, scorer.version),
        _unscored(unread, unread["reason"], scorer.version),
    ]
    notes = _columns_unread(tables)
    if n := int(copies.sum()):
        notes.append(f"leads: {_rows(n)} that copy a row above, left out; the first of each counts")
    if resolved.contract.activities is not None and activities is None:
        notes.append("no --activities given: every lead is scored as one that nothing has happened to")
    if resolved.contract.changes is not None and resolved.tracked and changes is None:
        notes.append("no --changes given: today's values stand in for those at the as-of date")
    return _ranked(parts, [*notes, *history_notes])


def score_open(
    scorer: Any, workspace: Workspace, name: str, *, moves: bool = False, record: Record = unrecorded
) -> Result:
    """Score the history's own open leads as of its last recorded moment; `name` is the contract it must be of, `moves`
    and `record` as in `score_files`.

    Raises:
        ArtefactError: the stages before have not run, their results were changed, or are of another contract.
        ModelError: the scorer needs a column that the history does not have.
    """
    results = files.Results(workspace)
    resolved = contract.restore(results.json("ingest/contract.json"))
    if resolved.name != name:
        raise ArtefactError(
            f"data/ holds a run of contract {resolved.name}, params.yaml names {name}; run `dvc repro`."
        )
    newest = results.json("ingest/provenance.json")["newest_recorded_at"]
    leads = results.table("validate/leads.parquet")
    leads = cohort.open_at(leads, resolved.contract, pd.Timestamp(newest))
    activities, changes = (results.table(f"validate/{name}.parquet") for name in ("activities", "changes"))
    return _ranked([_score(scorer, leads, activities, changes, "the open leads", moves, record)], [])


def _score(
    scorer: Any,
    rows: pd.DataFrame,
    activities: pd.DataFrame,
    changes: pd.DataFrame,
    what: str,
    moves: bool,
    record: Record,
) -> pd.DataFrame:
    parts = [_unscored(rows.iloc[:0], "", scorer.version)]
    with model_folder.asking(scorer, what):
        for start in tqdm(range(0, len(rows), CHUNK), desc="score", unit="chunk", disable=len(rows) <= CHUNK):
            some = rows.iloc[start : start + CHUNK]
            scores = scorer.score(some, activities, changes)
            record(scores, some, activities, changes)
            if moves:
                found = scorer.what_would_change(some, activities, changes)
                scores = pd.concat([scores, found[list(MOVES)].set_axis(list(MOVES.values()), axis=1)], axis=1)
            parts.append(scores)
    return pd.concat(parts, ignore_index=True)


def _unscored(rows: pd.DataFrame, reason: str | pd.Series, version: str) -> pd.DataFrame:
    """Rows as a scorer lists those that it refuses: key, as-of and reason, and no score."""
    named = {LEAD_KEY: rows[LEAD_KEY], "as_of": rows.get("as_of", pd.NaT), "reasons": "[]", "refused": reason}
    empty = {name: "" if DTYPES[name] == "str" else np.nan for name in OUTPUT}
    given: dict[str, Any] = empty | {"model_version": version} | named
    return pd.DataFrame(given, index=rows.index).astype(DTYPES)[OUTPUT]


def _ranked(parts: list[pd.DataFrame], notes: list[str]) -> Result:
    """Best first; equal scores by probability, then key; refused rows last, in their order."""
    scores = pd.concat(parts, ignore_index=True)
    scores = scores[[*OUTPUT, *(name for name in MOVES.values() if name in scores)]]
    refused = scores["refused"].fillna("") != ""
    best = scores[~refused].sort_values(["probability", LEAD_KEY], ascending=[False, True])
    ranked = pd.concat([best, scores[refused]], ignore_index=True)
    return Result(ranked, int((~refused).sum()), int(refused.sum()), notes)


# What no score rests on


def _copies(table: pd.DataFrame, key: str) -> pd.Series:
    """True where a row agrees with one above it in every cell: it says nothing new."""
    return table[key].notna() & table.duplicated([name for name in table.columns if name != ROW])


def _columns_unread(tables: sources.ScoringTables) -> list[str]:
    return [
        f"{table}: {len(names):,} {'column' if len(names) == 1 else 'columns'} that the contract does not name, not "
        f"read: {', '.join(names)}"
        for table, names in tables.unread.items()
        if names
    ]


def _history(tables: sources.ScoringTables, resolved: Resolved) -> tuple[tuple[pd.DataFrame, pd.DataFrame], list[str]]:
    """Activities and changes that scores may rest on, and notes of the rows left out, by reason.

    What depends on the lead's own moments is the scorer's to judge, which flags the lead as `history_left_out`.
    """
    unread = tables.refused
    known = set(tables.leads[LEAD_KEY].dropna()) | set(unread.loc[unread["table"] == "leads", LEAD_KEY].dropna())
    kinds = set(resolved.contract.activities.kinds) if resolved.contract.activities else set()
    kept, notes = [], []
    for name, table in (("activities", tables.activities), ("changes", tables.changes)):
        lines = unread.loc[unread["table"] == name, "reason"].str.replace(PLACE, "", regex=True)
        if len(lines):
            common = "; ".join(f"{n:,} x {reason}" for reason, n in Counter(lines).most_common(3))
            notes.append(f"{name}: {_rows(len(lines))} refused and left out; commonest: {common}")
        out: dict[str, pd.Series] = {}
        if name == "activities":
            out["without an id"] = table["activity_id"].isna()
            out["that copy a row above"] = _copies(table, "activity_id")
            out["whose id stands in another row too"] = repeats(table, "activity_id")
        out["without a lead"] = table[LEAD_KEY].isna()
        out["of leads that are not in the file"] = ~table[LEAD_KEY].isin(known)
        if name == "activities":
            out["of a kind that the contract does not declare"] = ~table["kind"].isin(kinds)
        left = pd.Series(True, index=table.index)
        for reason, bad in out.items():
            if n := int((left & bad).sum()):
                notes.append(f"{name}: {_rows(n)} {reason}, left out")
            left &= ~bad
        kept.append(table[left])
    return (kept[0], kept[1]), notes


def _rows(number: int) -> str:
    return f"{number:,} {'row' if number == 1 else 'rows'}"


def export(result: Result, path: Path, reasons: int) -> None:
    """Write scores as CSV: exact numbers, all reasons as JSON, and the strongest in words."""
    scores = result.scores
    words = [in_words(text, reasons) for text in scores["reasons"]]
    place = scores.columns.get_loc("base")
    files.write_csv(
        path, pd.concat([scores.iloc[:, :place], pd.DataFrame({"top_reasons": words}), scores.iloc[:, place:]], axis=1)
    )


def in_words(reasons: object, number: int) -> str:
    """`+12.3 visited the pricing page twice in 7 days; -3.1 Company size: 12 people`: the strongest reasons of one
    score."""
    if not isinstance(reasons, str):
        return ""
    return "; ".join(f"{one['points']:+.1f} {one['text']}" for one in json.loads(reasons)[:number])
