"""Scoring files and the history's own open leads with a loaded scorer.

No row is lost in silence: a row of leads gets a score or a reason, or is counted in a note; so is every row of
activities and changes that no score rests on. A file is scored part by part, see `parting`: its size costs time and
disk, not memory, and what was scored before a process ended is not scored again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.adapters import files, merging, model_folder, parting, sources
from pipeline.adapters.parting import COPY, NO_ID, REPEATED_ID, Known, Parted, copies
from pipeline.adapters.sources import Given, Piece
from pipeline.errors import ArtefactError
from pipeline.leads import cohort, contract
from pipeline.leads.contract import CONVERTED, LEAD_KEY, ROW, Resolved
from pipeline.leads.tables import TABLES
from pipeline.paths import Workspace
from pipeline.scorer.model import OUTPUT

#: Leads scored at a time.
CHUNK = 20_000

#: Why a row gets no score, beside the scorer's own reasons.
DECIDED = "already decided"
REPEATED = "lead_id stands in another row too, for the same as_of"

#: What `moves` adds: the smallest change that lifts a lead a tier, who can make it, and what the lead has then.
MOVES = {"change": "change", "moved_by": "change_by", "score": "change_score", "tier": "change_tier"}

#: As the scorer returns its columns, and as moves are named.
DTYPES = dict.fromkeys(OUTPUT, "str") | {"as_of": "datetime64[us]"} | dict.fromkeys(model_folder.DOUBLES, "float64")
DTYPES |= {"change": "str", "change_by": "str", "change_score": "float64", "change_tier": "str"}

#: Units that moments may be written to, and how many microseconds each has.
UNITS = {"D": 86_400_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}

#: What rows are put in order by: scored ones first, best first, equal ones by key; the others by why they have no
#: score. The row of the file settles the rest.
ORDER = ["_place", "_worst", "_lead", ROW]
SCORED, UNSCORED, TWICE, CLOSED, UNREAD = range(5)


#: Told of a chunk: the scores, and the rows, activities and changes that the scorer was given.
Record = Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame], object]


def unrecorded(*_: pd.DataFrame) -> None:
    """Keep no record."""


@dataclass(frozen=True)
class Result:
    """Scores in order: best first; equal scores by probability, then key; rows without a score last.

    `blocks`: called, gives the scores in frames of some rows each, with the columns of `OUTPUT` (and of `MOVES`, where
    asked). `scored`, `refused`: rows with and without a score. `notes`: what the reader of the scores should know of
    the input, one plain line each, with counts. `unit`: of `UNITS`, the coarsest that all as-of dates can be written
    in. `at_now`: leads were scored as of the moment of the run, since nothing names another.
    """

    blocks: Callable[[], Iterator[pd.DataFrame]]
    scored: int
    refused: int
    notes: list[str] = field(default_factory=list)
    unit: str = "D"
    at_now: bool = False

    @property
    def scores(self) -> pd.DataFrame:
        """All of them, for whoever has the memory."""
        return pd.concat(self.blocks(), ignore_index=True)


def score_files(
    scorer: Any,
    resolved: Resolved,
    given: Mapping[str, Given | None],
    folder: Path,
    *,
    as_of: pd.Timestamp | None,
    now: pd.Timestamp,
    max_bytes: int,
    chunk: int = CHUNK,
    moves: bool = False,
    record: Record = unrecorded,
) -> Result:
    """Score files of raw leads, activities and changes, under the contract that describes them.

    Args:
        given: the file of each table; leads at least.
        folder: where the work lies meanwhile; the result is read from there. What an earlier call with the same
            arguments left there is not done again.
        as_of: the moment to score at; None uses the file's `as_of` column, and `now` where it has none.
        chunk: leads scored at a time; the result does not depend on it.
        moves: name the smallest change that lifts each lead a tier, too (the columns of `MOVES`).
        record: told of every chunk of scores, see `Record`.

    Raises:
        SourceError: a file is missing, unreadable or has no rows, or lacks a column that the contract names.
        ModelError: the scorer needs a column that the contract does not name.
    """
    leads, activities = given["leads"], given.get("activities")
    assert leads is not None, "leads are what is scored"
    parted = parting.lay_out(
        _counted(sources.pieces_for_scoring(resolved, given, max_bytes=max_bytes)),
        resolved,
        folder / "input",
        as_of=now if as_of is None else as_of,
        always=as_of is not None,
        chunk=chunk,
        size=sources.text_size(activities.path) if activities is not None else 0,
    )
    runs = [folder / f"scores_{number:04d}" for number in range(parted.size)]
    with (
        tqdm(total=parted.rows, desc="score", unit="lead", disable=None, leave=False) as bar,
        model_folder.asking(scorer, leads.label),
    ):
        for number, path in enumerate(runs):
            if not path.exists():
                merging.write(path, *_scored_part(scorer, resolved, parted.part(number), chunk, moves, record))
            bar.update(merging.facts(path)["rows"])
    runs += _unread_runs(folder, parted, scorer.version, moves)
    facts = [merging.facts(path) for path in runs]
    count: Counter[str] = Counter()
    for one in facts:
        count.update(one["count"])

    def blocks() -> Iterator[pd.DataFrame]:
        for block in merging.merged(runs, ORDER, folder / "merged"):
            yield _typed(block, _columns(moves))

    return Result(
        blocks,
        scored=count["scored"],
        refused=count["refused"],
        notes=_notes(resolved, parted, given, count),
        unit=max((one["unit"] for one in facts), key=list(UNITS).index),
        at_now=as_of is None and not parted.dated,
    )


def score_open(
    scorer: Any,
    workspace: Workspace,
    name: str,
    *,
    chunk: int = CHUNK,
    moves: bool = False,
    record: Record = unrecorded,
) -> Result:
    """Score the history's own open leads as of its last recorded moment; `name` is the contract it must be of, the
    others as in `score_files`.

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
    with (
        tqdm(total=len(leads), desc="score", unit="lead", disable=None, leave=False) as bar,
        model_folder.asking(scorer, "the open leads"),
    ):
        scores = _score(scorer, leads, activities, changes, chunk, moves, record, bar.update)
    ordered = scores.sort_values(ORDER, kind="stable", ignore_index=True).drop(columns=ORDER)
    refused = int((ordered["refused"] != "").sum())
    return Result(lambda: iter([ordered]), scored=len(ordered) - refused, refused=refused, unit=_unit(ordered["as_of"]))


def _counted(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces, with a progress bar over their rows."""
    with tqdm(desc="read", unit="row", unit_scale=True, disable=None, leave=False) as bar:
        for piece in pieces:
            yield piece
            bar.update(piece.rows)


# A part


def _scored_part(
    scorer: Any, resolved: Resolved, known: Known, chunk: int, moves: bool, record: Record
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Every row of a part's leads in order, with a score or the reason why it has none; and counts for the notes."""
    copy = copies(known.leads, LEAD_KEY)
    apart = known.leads[~copy]
    decided = apart[CONVERTED].notna() if CONVERTED in apart else pd.Series(False, index=apart.index)
    twice = apart[LEAD_KEY].notna() & apart.duplicated([LEAD_KEY, "as_of"], keep=False)
    kept, count = _history(known, resolved)
    parts = [
        _score(scorer, apart[~decided & ~twice], *kept, chunk, moves, record),
        _unscored(apart[twice], REPEATED, scorer.version, TWICE),
        _unscored(apart[decided & ~twice], DECIDED, scorer.version, CLOSED),
    ]
    scores = _typed(pd.concat(parts, ignore_index=True), [*_columns(moves), *ORDER])
    refused = int((scores["refused"] != "").sum())
    count.update({"copies": int(copy.sum()), "scored": len(scores) - refused, "refused": refused})
    ordered = scores.sort_values(ORDER, kind="stable", ignore_index=True)
    return ordered, {"rows": len(known.leads), "count": dict(count), "unit": _unit(scores["as_of"])}


def _score(
    scorer: Any,
    rows: pd.DataFrame,
    activities: pd.DataFrame,
    changes: pd.DataFrame,
    chunk: int,
    moves: bool,
    record: Record,
    done: Callable[[int], object] = lambda _: None,
) -> pd.DataFrame:
    """Scores of rows, with the columns of `ORDER`. All rows of a lead are scored in one chunk, where the first of them
    says when it was created."""
    parts = [_unscored(rows.iloc[:0], "", scorer.version, UNSCORED)]
    for some in _chunks(rows, chunk):
        happened, changed = activities, changes
        if len(some) < len(rows):
            happened, changed = (table[table[LEAD_KEY].isin(some[LEAD_KEY])] for table in (activities, changes))
        scores = scorer.score(some, happened, changed)
        record(scores, some, happened, changed)
        if moves:
            found = scorer.what_would_change(some, happened, changed)
            scores = pd.concat([scores, found[list(MOVES)].set_axis(list(MOVES.values()), axis=1)], axis=1)
        fit = scores["refused"].fillna("") == ""
        parts.append(
            scores.assign(
                _place=np.where(fit, SCORED, UNSCORED),
                _worst=-scores["probability"].where(fit, 0.0),
                _lead=scores[LEAD_KEY].fillna("").where(fit, ""),
                **{ROW: some[ROW].to_numpy()},
            )
        )
        done(len(some))
    return pd.concat(parts, ignore_index=True)


def _chunks(rows: pd.DataFrame, chunk: int) -> Iterator[pd.DataFrame]:
    """The rows in chunks of about so many, those of one lead together."""
    if len(rows) <= chunk:
        if len(rows):
            yield rows
        return
    lead, _ = pd.factorize(rows[LEAD_KEY])
    order = np.argsort(lead, kind="stable")
    first = np.flatnonzero(np.diff(lead[order], prepend=-2))
    begins: list[int] = []
    for start in first.tolist():
        if not begins or start - begins[-1] >= chunk:
            begins.append(start)
    for start, end in zip(begins, [*begins[1:], len(rows)], strict=True):
        yield rows.iloc[order[start:end]]


def _unscored(rows: pd.DataFrame, reason: str | pd.Series, version: str, place: int) -> pd.DataFrame:
    """Rows as a scorer lists those that it refuses: key, as-of and reason, and no score; with the columns of
    `ORDER`."""
    named = {LEAD_KEY: rows[LEAD_KEY], "as_of": rows.get("as_of", pd.NaT), "reasons": "[]", "refused": reason}
    empty = {name: "" if DTYPES[name] == "str" else np.nan for name in OUTPUT}
    given: dict[str, Any] = empty | {"model_version": version} | named
    found = pd.DataFrame(given, index=rows.index).astype({name: DTYPES[name] for name in OUTPUT})[OUTPUT]
    lead = pd.Series("", index=rows.index, dtype="str")
    return found.assign(_place=place, _worst=0.0, _lead=lead, **{ROW: rows[ROW]})


def _unread_runs(folder: Path, parted: Parted, version: str, moves: bool) -> list[Path]:
    """Rows of leads that could not be read, as runs of their own; at least one."""
    runs = []
    for number, rows in enumerate(parted.unread()):
        path = folder / f"unread_{number:04d}"
        named = _typed(_unscored(rows, rows["reason"], version, UNREAD), [*_columns(moves), *ORDER])
        merging.write(path, named, {"rows": len(rows), "count": {"refused": len(rows)}, "unit": "D"})
        runs.append(path)
    return runs


def _columns(moves: bool) -> list[str]:
    return [*OUTPUT, *(MOVES.values() if moves else ())]


def _typed(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """These columns, as `DTYPES` has them; those that are not there without a value."""
    return rows.reindex(columns=columns).astype({name: DTYPES[name] for name in columns if name in DTYPES})


def _unit(moments: pd.Series) -> str:
    """The coarsest of `UNITS` that all these moments can be written in."""
    given = moments.dropna().to_numpy(dtype="datetime64[us]").view("int64")
    return next(name for name, size in UNITS.items() if not (given % size).any())


# What no score rests on


def _history(known: Known, resolved: Resolved) -> tuple[tuple[pd.DataFrame, pd.DataFrame], Counter[str]]:
    """Activities and changes that scores may rest on, and how many rows were left out, by `<table> <reason>`.

    What depends on the lead's own moments is the scorer's to judge, which flags the lead as `history_left_out`.
    """
    leads = set(known.leads[LEAD_KEY].dropna()) | set(known.unread[LEAD_KEY].dropna())
    kinds = set(resolved.contract.activities.kinds) if resolved.contract.activities else set()
    kept, count = [], Counter[str]()
    for name, table in (("activities", known.activities), ("changes", known.changes)):
        out = {NO_LEAD: table[LEAD_KEY].isna(), NOT_THERE: ~table[LEAD_KEY].isin(leads)}
        if name == "activities":
            out[NO_KIND] = ~table["kind"].isin(kinds)
        left = pd.Series(True, index=table.index)
        for reason, bad in out.items():
            count[f"{name} {reason}"] += int((left & bad).sum())
            left &= ~bad
        kept.append(table[left])
    return (kept[0], kept[1]), count


NO_LEAD, NOT_THERE = "without a lead", "of leads that are not in the file"
NO_KIND = "of a kind that the contract does not declare"


def _notes(
    resolved: Resolved, parted: Parted, given: Mapping[str, Given | None], count: Mapping[str, int]
) -> list[str]:
    """What the reader of the scores should know of the input."""
    notes = [
        f"{table}: {len(names):,} {'column' if len(names) == 1 else 'columns'} that the contract does not name, not "
        f"read: {', '.join(names)}"
        for table in TABLES
        if (names := parted.columns[table])
    ]
    if n := count["copies"]:
        notes.append(f"leads: {_rows(n)} that copy a row above, left out; the first of each counts")
    if resolved.contract.activities is not None and given.get("activities") is None:
        notes.append("no --activities given: every lead is scored as one that nothing has happened to")
    if resolved.contract.changes is not None and resolved.tracked and given.get("changes") is None:
        notes.append("no --changes given: today's values stand in for those at the as-of date")
    for name in ("activities", "changes"):
        if lines := Counter(dict(parted.refused[name])):
            common = "; ".join(f"{n:,} x {reason}" for reason, n in lines.most_common(3))
            notes.append(f"{name}: {_rows(lines.total())} refused and left out; commonest: {common}")
        left = {reason: parted.left_out.get(reason, 0) for reason in (NO_ID, COPY, REPEATED_ID) if name == "activities"}
        left |= {reason: count[f"{name} {reason}"] for reason in (NO_LEAD, NOT_THERE, NO_KIND)}
        notes += [f"{name}: {_rows(n)} {reason}, left out" for reason, n in left.items() if n]
    return notes


def _rows(number: int) -> str:
    return f"{number:,} {'row' if number == 1 else 'rows'}"
