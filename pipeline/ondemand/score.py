"""Scores of files, or of the history's own open leads, by a registered version: to files, and into the ledger."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.adapters import (
    batch,
    files,
    ledger,
    model_folder,
    score_export,
    sources,
    unfinished,
)
from pipeline.adapters.batch import Result
from pipeline.adapters.sources import Given
from pipeline.adapters.verification import Verified
from pipeline.errors import ParamsError
from pipeline.leads.contract import Resolved, describe
from pipeline.leads.tables import TABLES
from pipeline.params import Params
from pipeline.paths import Workspace

#: As a file of leads: standard input.
STDIN = Path("-")

#: Raised when work that an earlier version of this code left can no longer be gone on with.
FORMAT = 1


@dataclass(frozen=True)
class Asked:
    """What to score (the open leads where `leads` is None), how, and where to; see `leads score`. `model`: called, the
    model, verified."""

    leads: Path | None
    activities: Path | None
    changes: Path | None
    _: KW_ONLY
    model: Callable[[], Verified]
    as_of: pd.Timestamp | None
    out: Path
    spreadsheet: Path | None
    moves: bool
    keep: bool
    chunk: int | None


def run(workspace: Workspace, params: Params, asked: Asked, *, now: pd.Timestamp, say: Callable[[str], None]) -> str:
    """Score, and write the files asked for; returns what was done in a sentence.

    Args:
        now: the moment to score at where nothing names another. `say`: told what the reader of the scores should know.

    Raises:
        ParamsError: a file to be written has an ending that is not known, or is read or written otherwise too.
        ArtefactError: a file cannot be written, or another process is writing it.
        And as `asked.model`, `model_folder.load`, `batch.score_files` and `batch.score_open`.
    """
    # Before any work: an hour of scoring must not end at a folder that cannot be written.
    target = _targets(asked)
    model = asked.model()
    scorer = model_folder.load(model.folder)
    record = partial(ledger.record, workspace, scorer, model.sha256) if asked.keep else batch.unrecorded
    how: dict[str, Any] = {"chunk": asked.chunk or batch.CHUNK, "moves": asked.moves, "record": record}

    def written(result: Result) -> str:
        for note in result.notes:
            say(note)
        if asked.spreadsheet is not None:
            score_export.for_spreadsheet(result, asked.spreadsheet, params.explain.reasons)
        score_export.export(result, asked.out, params.explain.reasons)
        return (
            f"{asked.out}: {result.scored:,} leads scored, {result.refused:,} listed without a score, "
            f"by {scorer.version}{f' (version {model.number})' if model.number else ''}"
        )

    if asked.leads is None:
        return written(batch.score_open(scorer, workspace, params.run.contract, **how))
    resolved, max_bytes = sources.read_contract(workspace, params.run.contract), params.ingest.max_file_mib * 2**20
    with _given(asked, target, max_bytes) as given:
        same = _same(asked, given, resolved, model.sha256, max_bytes)
        with unfinished.beside(target, same, {"now": now.isoformat()}) as work:
            begun = pd.Timestamp(work.begun["now"])
            if work.resumed:
                say(f"{asked.out}: going on with a run that was stopped; to begin anew instead, delete {work.folder}")
            result = batch.score_files(
                scorer, resolved, given, work.folder, as_of=asked.as_of, now=begun, max_bytes=max_bytes, **how
            )
            if result.at_now:
                when = ", when the run began" if work.resumed else ""
                say(f"as of now: {begun:%Y-%m-%d %H:%M} UTC{when} (give --as-of or an as_of column for another moment)")
            return written(result)


def _targets(asked: Asked) -> Path:
    """Check where the scores are to go; returns the file that holds the exact ones in the end."""
    written = {"--out": files.writable(score_export.checked(asked.out, "--out", score_export.EXACT))}
    if asked.spreadsheet is not None:
        path = score_export.checked(asked.spreadsheet, "--spreadsheet", score_export.SPREADSHEET)
        written["--spreadsheet"] = files.writable(path)
    read = {one.resolve() for one in (asked.leads, asked.activities, asked.changes) if one is not None}
    for (option, path), given in zip(written.items(), (asked.out, asked.spreadsheet), strict=False):
        if path in read:
            raise ParamsError(f"{option} {given} is one of the files to be read; name another one.")
    if len(set(written.values())) < len(written):
        raise ParamsError(f"--spreadsheet {asked.spreadsheet} is what --out writes; name another file.")
    return written["--out"]


@contextmanager
def _given(asked: Asked, target: Path, max_bytes: int) -> Iterator[dict[str, Given | None]]:
    """The files to be read, by table; standard input is kept beside the scores while it is needed."""
    tables = dict(zip(TABLES, (asked.leads, asked.activities, asked.changes), strict=True))
    given = {table: Given.of(path) for table, path in tables.items()}
    if STDIN not in tables.values():
        yield given
        return
    if asked.leads != STDIN or list(tables.values()).count(STDIN) > 1:
        raise ParamsError("- is standard input, which only leads are read from; name files for the other tables.")
    kept = target.with_name(f".{target.name}.stdin")
    with files.private(kept) as file:
        sources.copy(sys.stdin.buffer, file, "standard input", max_bytes)
        file.flush()
        yield given | {"leads": Given(kept, "standard input")}


def _same(
    asked: Asked, given: dict[str, Given | None], resolved: Resolved, sha256: str, max_bytes: int
) -> dict[str, Any]:
    """All that the scores follow from: where any of it differs, work that was left cannot be gone on with."""
    hashes = {}
    for table, one in given.items():
        if one is not None:
            sources.check_size(one.path, one.label, max_bytes)
            hashes[table] = files.sha256(one.path)
    contract = json.dumps(describe(resolved), sort_keys=True)
    return {
        "format": FORMAT,
        "inputs": hashes,
        "contract": hashlib.sha256(contract.encode()).hexdigest(),
        "scorer": sha256,
        "as_of": None if asked.as_of is None else asked.as_of.isoformat(),
        "options": [asked.moves, asked.keep, asked.chunk or batch.CHUNK],
    }
