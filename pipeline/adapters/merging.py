"""Sorted runs on disk, and their merge: an order over any number of rows in the memory of a few blocks (Knuth, The Art
of Computer Programming, volume 3, section 5.4.1)."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import pandas as pd
import pyarrow as pa

from pipeline.adapters import files

#: Rows read of a run at a time; runs merged at a time; rows given out at a time.
BATCH_ROWS, WIDTH, BLOCK_ROWS = 256, 64, 10_000


def write(path: Path, frame: pd.DataFrame, facts: dict[str, Any]) -> None:
    """Write a run whole or not at all: rows that are in order already, and what is to be remembered of them."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({"facts": json.dumps(facts)})

    def to(file: IO[bytes]) -> None:
        with pa.ipc.new_file(file, table.schema, options=_OPTIONS) as writer:
            writer.write_table(table, max_chunksize=BATCH_ROWS)

    files.write_atomic(path, to)


def facts(path: Path) -> dict[str, Any]:
    """What `write` was to remember of a run."""
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        found: dict[str, Any] = json.loads(reader.schema.metadata[b"facts"])
        return found


def merged(runs: list[Path], order: list[str], folder: Path) -> Iterator[pd.DataFrame]:
    """The rows of all runs in order, `BLOCK_ROWS` at a time; one empty block where there are none.

    Args:
        runs: at least one, with the same columns, each sorted by the columns `order`, rising, none of them missing.
        folder: for what is merged in between where there are more than `WIDTH` runs; made.
    """
    level = 0
    while len(runs) > WIDTH:
        folder.mkdir(parents=True, exist_ok=True)
        wider = []
        for number, start in enumerate(range(0, len(runs), WIDTH)):
            path = folder / f"{level}_{number}"
            _write_all(path, _tables(runs[start : start + WIDTH], order, BATCH_ROWS))
            wider.append(path)
        runs, level = wider, level + 1
    for table in _tables(runs, order, BLOCK_ROWS):
        yield table.to_pandas()


def _write_all(path: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with open(path, "wb") as file, pa.ipc.new_file(file, first.schema, options=_OPTIONS) as writer:
        writer.write_table(first, max_chunksize=BATCH_ROWS)
        for table in tables:
            writer.write_table(table, max_chunksize=BATCH_ROWS)


class _Row(NamedTuple):
    """A row's key, and where it lies: batches are numbered as they are read."""

    key: tuple[Any, ...]
    batch: int
    place: int


def _tables(runs: list[Path], order: list[str], size: int) -> Iterator[pa.Table]:
    """The rows of some runs in order, `size` at a time."""
    held: dict[int, pa.RecordBatch] = {}
    counter = iter(range(1 << 62))

    def rows(path: Path) -> Iterator[_Row]:
        # Read, not mapped: pages of a mapped file would count as memory of this process.
        with open(path, "rb") as file, pa.ipc.open_file(file) as reader:
            for k in range(reader.num_record_batches):
                batch, number = reader.get_batch(k), next(counter)
                held[number] = batch
                for place, key in enumerate(zip(*(batch.column(name).to_pylist() for name in order), strict=True)):
                    yield _Row(key, number, place)

    with open(runs[0], "rb") as file, pa.ipc.open_file(file) as reader:
        schema = reader.schema
    waiting: list[_Row] = []
    given = False
    for row in heapq.merge(*map(rows, runs)):
        waiting.append(row)
        if len(waiting) == size:
            yield _gathered(waiting, held, schema)
            waiting, given = [], True
    if waiting or not given:
        yield _gathered(waiting, held, schema)


def _gathered(rows: list[_Row], held: dict[int, pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """The rows as a table; batches that come to their end are let go."""
    needed = sorted({row.batch for row in rows})
    starts, total = {}, 0
    for number in needed:
        starts[number], total = total, total + held[number].num_rows
    table = pa.Table.from_batches([held[number] for number in needed], schema=schema)
    found = table.take(pa.array([starts[row.batch] + row.place for row in rows], type=pa.int64()))
    for number in {row.batch for row in rows if row.place == held[row.batch].num_rows - 1}:
        del held[number]
    return found


_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")
