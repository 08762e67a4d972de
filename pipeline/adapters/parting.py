"""Raw tables to be scored, laid out on disk by lead: memory stays that of a part, whatever the tables' size.

What is known of a lead lies in one part, with all that names it: a hash of the key says which. So each part is scored
alone, and what must be looked for in a whole table (rows that stand twice, activities of leads that are not there) is
looked for part by part. An activity's id may stand under two leads; activities are therefore laid out by their id
first, and only what is left of them by lead.
"""

from __future__ import annotations

import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.adapters import files
from pipeline.adapters.sources import Piece
from pipeline.errors import ArtefactError
from pipeline.leads.contract import LEAD_KEY, PLACE, ROW, Resolved
from pipeline.leads.declarations import repeats
from pipeline.leads.tables import TABLES

#: Rows of a table that wait in memory to be laid out together.
WAITING_ROWS = 400_000

#: Rows of history that a part holds about, and bytes of the source behind a part by id; more parts than this are not
#: made.
HISTORY_ROWS, ID_BYTES, MOST_PARTS = 500_000, 8 * 2**20, 4096

#: How full a part is meant to be: a hash fills some a little more, and what is beyond a chunk would be one of its own.
FILLED = 0.95

ACTIVITY_ID = "activity_id"

#: Rows of leads that could not be read.
UNREAD = "unread"

#: Written last: the layout is whole.
_MARK = "parted.json"

#: Why activities are left out, in the order they are counted.
NO_ID, COPY, REPEATED_ID = "without an id", "that copy a row above", "whose id stands in another row too"


@dataclass(frozen=True)
class Known:
    """All that is known of some leads, in the order of the files.

    `leads`, `activities`, `changes`: typed, as `pipeline.leads.tables` describes them. `unread`: keys of their rows
    that could not be read.
    """

    leads: pd.DataFrame
    activities: pd.DataFrame
    changes: pd.DataFrame
    unread: pd.DataFrame


@dataclass(frozen=True)
class Parted:
    """Tables laid out below `folder`.

    `rows`: of leads, in all. `size`: number of parts. `columns`: by table, those that the contract does not name.
    `refused`: by table of history, how many rows each reason refused, without their places. `left_out`: activities left
    out because of their id, by reason. `dated`: leads state their own as-of dates. `held`: by table, rows of each part.
    """

    folder: Path
    rows: int
    size: int
    columns: dict[str, list[str]]
    refused: dict[str, list[tuple[str, int]]]
    left_out: dict[str, int]
    dated: bool
    held: dict[str, list[int]]

    def part(self, number: int) -> Known:
        """One part.

        Raises:
            ArtefactError: it does not hold what was written.
        """
        found = {}
        for table in (*TABLES, UNREAD):
            frame = _read(self.folder / table / f"{number}", self.folder / table / "none")
            if len(frame) != self.held[table][number]:
                raise ArtefactError(f"{self.folder}: not what was written; delete this folder and start again.")
            found[table] = frame.sort_values(ROW, kind="stable", ignore_index=True)
        return Known(found["leads"], found["activities"], found["changes"], found[UNREAD])

    def unread(self) -> Iterator[pd.DataFrame]:
        """Rows of leads that could not be read: `row`, `lead_id`, `reason`, in the order of the file."""
        path = self.folder / f"{UNREAD}.all"
        if path.exists():
            for table in _streams(path):
                yield _frame(table)


def lay_out(
    pieces: Iterable[Piece],
    resolved: Resolved,
    folder: Path,
    *,
    as_of: pd.Timestamp,
    always: bool,
    chunk: int,
    size: int,
) -> Parted:
    """Lay raw tables out by lead, or find them laid out already.

    Args:
        pieces: as `sources.pieces_for_scoring` gives them; not asked where the work was done before.
        folder: made, and emptied where it holds less than the whole.
        as_of: the moment of leads that state none, or of all of them where `always`.
        chunk: leads that a part holds about. `size`: bytes of the activities as text.
    """
    if (folder / _MARK).is_file():
        return Parted(folder=folder, **files.read_json(folder / _MARK))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    keyed = resolved.contract.activities is not None and resolved.contract.activities.key is not None
    taken = _Taken(folder, as_of, always, min(256, 1 + size // ID_BYTES) if keyed else 1)
    for piece in pieces:
        taken.take(piece)
    by_id = taken.finish()
    rows = taken.rows
    most = max(rows["leads"] / (FILLED * chunk), rows["activities"] / HISTORY_ROWS, rows["changes"] / HISTORY_ROWS, 1)
    count = min(MOST_PARTS, math.ceil(most))
    left_out: Counter[str] = Counter()
    held = {}
    for table in (*TABLES, UNREAD):
        if table == "activities":
            source = _of_sound_ids(by_id, left_out) if keyed else _streams(by_id[0])
        else:
            source = _streams(folder / f"{table}.all")
        held[table] = _distribute(source, LEAD_KEY, folder / table, count)
        if table != UNREAD:
            (folder / f"{table}.all").unlink(missing_ok=True)
    shutil.rmtree(folder / "by_id", ignore_errors=True)
    facts: dict[str, Any] = {
        "rows": rows["leads"],
        "size": count,
        "columns": taken.columns,
        # Pairs, since equally common reasons are named in the order they came.
        "refused": {table: list(counts.items()) for table, counts in taken.refused.items()},
        "left_out": dict(left_out),
        "dated": taken.dated,
        "held": held,
    }
    files.write_json(folder / _MARK, facts)
    return Parted(folder=folder, **facts)


class _Taken:
    """Takes typed pieces in and writes them down: activities by their id, the other tables as they come."""

    def __init__(self, folder: Path, as_of: pd.Timestamp, always: bool, id_parts: int) -> None:
        self.folder, self.as_of, self.always, self.id_parts = folder, as_of, always, id_parts
        self.rows: Counter[str] = Counter()
        self.columns: dict[str, list[str]] = {table: [] for table in TABLES}
        self.refused: dict[str, Counter[str]] = {table: Counter() for table in TABLES}
        self.dated = False
        (folder / "by_id").mkdir()
        self._by_id = _Layout(folder / "by_id", ACTIVITY_ID, id_parts)

    def take(self, piece: Piece) -> None:
        name, frame, refused = piece.table, piece.typed.table, piece.typed.refused
        self.rows[name] += piece.rows
        self.columns[name] = list(piece.unread)
        if name != "leads":
            self.refused[name].update(refused["reason"].str.replace(PLACE, "", regex=True))
        if name == "activities":
            self._by_id.add(_table(frame))
            return
        if name == "leads":
            self.dated = "as_of" in frame
            if self.always or not self.dated:
                frame = frame.assign(as_of=self.as_of)
            _append(self.folder / f"{UNREAD}.all", _table(refused[[ROW, LEAD_KEY, "reason"]]))
        _append(self.folder / f"{name}.all", _table(frame))

    def finish(self) -> list[Path]:
        """Files of the activities, by id."""
        self._by_id.flush()
        return [self.folder / "by_id" / f"{number}" for number in range(self.id_parts)]


class _Layout:
    """Rows laid out into files by a hash of one column; rows without a value go to the first."""

    def __init__(self, folder: Path, column: str, count: int) -> None:
        self.folder, self.column, self.count = folder, column, count
        self.held = [0] * count
        self._waiting: list[pa.Table] = []
        self._rows = 0
        folder.mkdir(exist_ok=True)

    def add(self, table: pa.Table) -> None:
        if not (self.folder / "none").exists():
            _append(self.folder / "none", table.slice(0, 0))
        self._waiting.append(table)
        self._rows += table.num_rows
        if self._rows >= WAITING_ROWS:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(one.cast(self._waiting[0].schema) for one in self._waiting)
        self._waiting, self._rows = [], 0
        if self.count == 1:
            self.held[0] += table.num_rows
            _append(self.folder / "0", table)
            return
        place = hashed(table.column(self.column)) % np.uint64(self.count)
        order = np.argsort(place, kind="stable")
        table = table.take(pa.array(order))
        ends = np.searchsorted(place[order], np.arange(self.count + 1, dtype="uint64"))
        for number, (start, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
            if end > start:
                self.held[number] += end - start
                _append(self.folder / f"{number}", table.slice(start, end - start))


def _distribute(source: Iterable[pa.Table], column: str, folder: Path, count: int) -> list[int]:
    """Lay tables out by `column`; returns the rows of every part."""
    layout = _Layout(folder, column, count)
    for table in source:
        layout.add(table)
    layout.flush()
    return layout.held


def _of_sound_ids(paths: list[Path], left_out: Counter[str]) -> Iterator[pa.Table]:
    """Activities whose id is theirs alone; those that are left out are counted."""
    for path in paths:
        table = _read(path, path.with_name("none"))
        bad = {
            NO_ID: table[ACTIVITY_ID].isna(),
            COPY: copies(table, ACTIVITY_ID),
            REPEATED_ID: repeats(table, ACTIVITY_ID),
        }
        left = pd.Series(True, index=table.index)
        for reason, found in bad.items():
            left_out[reason] += int((left & found).sum())
            left &= ~found
        yield _table(table[left])


def copies(table: pd.DataFrame, key: str) -> pd.Series:
    """True where a row agrees with one above it in every cell: it says nothing new."""
    # Few keys stand twice, and only their rows need be compared cell by cell.
    again = table[key].notna() & table[key].duplicated(keep=False)
    found = pd.Series(False, index=table.index)
    found[again] = table[again].duplicated([name for name in table.columns if name != ROW])
    return found


def hashed(column: pa.ChunkedArray) -> np.ndarray:
    """A hash of every text, uint64, the same on every machine; 0 where there is none."""
    coded = column.combine_chunks().dictionary_encode()
    words = coded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    hashes = pd.util.hash_array(words, categorize=False) if len(words) else np.zeros(0, dtype="uint64")
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return np.append(hashes, np.uint64(0))[codes]


# Files of parts


def _table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _append(path: Path, table: pa.Table) -> None:
    """Add rows to a file, as an Arrow stream of their own behind those that it holds."""
    with open(path, "ab") as file, pa.ipc.new_stream(file, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)


def _streams(path: Path) -> Iterator[pa.Table]:
    """The streams of a file, one after another."""
    if not path.exists():
        return
    end = os.path.getsize(path)
    with open(path, "rb") as file:
        while file.tell() < end:
            with pa.ipc.open_stream(file) as reader:
                yield reader.read_all()


def _read(path: Path, none: Path) -> pd.DataFrame:
    """All rows of a file; those of `none`, which are no rows but the columns, where it does not exist."""
    tables = list(_streams(path)) or list(_streams(none))
    return _frame(pa.concat_tables(tables))


_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
