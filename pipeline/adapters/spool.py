"""Parts of several tables, kept on disk as they come and read back table by table: memory stays that of one part.

On the way back every part is sifted: only when all have been seen can be told what names a person in the wrong column.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.adapters import files
from pipeline.adapters.sources import REFUSED_COLUMNS, Piece, no_refusals
from pipeline.leads.contract import LEAD_KEY, ROW
from pipeline.leads.people import Sieve
from pipeline.leads.tables import TABLES, TIME, Newest

MOMENTS = "moments"


class Spool:
    """Keeps parts below `folder`, which it empties first and removes at the end; use it in a `with` statement."""

    def __init__(self, folder: Path, sieve: Sieve) -> None:
        self.folder = folder
        self.sieve = sieve
        self.counts = {table: Counter(rows=0, refused=0, set_aside=0) for table in TABLES}
        self.unread: dict[str, tuple[str, ...]] = dict.fromkeys(TABLES, ())
        self.changed: Counter[str] = Counter()
        self._refused = [no_refusals()]

    def __enter__(self) -> Spool:
        shutil.rmtree(self.folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def take(self, pieces: Iterable[Piece]) -> None:
        """Write every part and count its rows."""
        for number, piece in enumerate(pieces):
            typed = piece.typed
            files.write_table(self.folder / piece.table / f"{number:06d}.parquet", typed.table)
            self.counts[piece.table].update(rows=piece.rows, refused=len(typed.refused), set_aside=typed.set_aside)
            self.unread[piece.table] = piece.unread
            self.changed.update(typed.changed)
            if typed.moments is not None:
                files.write_table(self.folder / MOMENTS / f"{number:06d}.parquet", typed.moments)
            self._refused.append(typed.refused.assign(table=piece.table)[REFUSED_COLUMNS])
            self.sieve.see(piece.table, typed)

    def table(self, name: str, newest: Newest | None = None) -> Iterator[pd.DataFrame]:
        """The parts of one table in the order they came, without the rows that name somebody; to be read once.

        `newest` sees the moments of what is kept, where the source has a time axis.
        """
        for path in sorted((self.folder / name).iterdir()):
            kept, refused = self.sieve.sift(name, files.read_table(path))
            self.counts[name].update(refused=len(refused))
            self._refused.append(refused.assign(table=name)[REFUSED_COLUMNS])
            if newest is not None:
                newest.add(kept)
            yield kept

    def moments(self) -> Iterator[pd.DataFrame]:
        """When columns whose values are not followed changed, part by part; one empty part where there are none."""
        none = {LEAD_KEY: "str", "column": "str", "recorded_at": TIME}
        yield pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in none.items()})
        yield from map(files.read_table, sorted((self.folder / MOMENTS).glob("*.parquet")))

    @property
    def refused(self) -> pd.DataFrame:
        """Every refused row of every table that has been read back, in order of table and row."""
        refused = pd.concat(self._refused, ignore_index=True)
        place = refused["table"].map({table: place for place, table in enumerate(TABLES)}).rename("place")
        order = pd.concat([place, refused[ROW]], axis=1).sort_values(["place", ROW], kind="stable").index
        return refused.loc[order].reset_index(drop=True)

    def source(self, hashes: dict[str, str | None]) -> dict[str, dict[str, Any]]:
        """Provenance per table: hash, rows read, refused and set aside, and the columns that nobody read."""
        return {
            table: {"sha256": hashes[table], **self.counts[table], "unread_columns": self.unread[table]}
            for table in TABLES
        }
