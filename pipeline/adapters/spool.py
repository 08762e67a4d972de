"""Parts of several tables, kept on disk as they come and read back table by table: memory stays that of one part."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.adapters import files
from pipeline.adapters.sources import REFUSED_COLUMNS, Piece, no_refusals
from pipeline.leads.tables import TABLES, Newest


class Spool:
    """Keeps parts below `folder`, which it empties first and removes at the end; use it in a `with` statement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts = {table: Counter(rows=0, refused=0, set_aside=0) for table in TABLES}
        self.unread: dict[str, tuple[str, ...]] = dict.fromkeys(TABLES, ())
        self._refused = [no_refusals()]

    def __enter__(self) -> Spool:
        shutil.rmtree(self.folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def take(self, pieces: Iterable[Piece], newest: Newest | None) -> None:
        """Write every part and count its rows; `newest` sees the moments of each, where the source has a time axis."""
        for number, piece in enumerate(pieces):
            typed = piece.typed
            files.write_table(self.folder / piece.table / f"{number:06d}.parquet", typed.table)
            self.counts[piece.table].update(rows=piece.rows, refused=len(typed.refused), set_aside=typed.set_aside)
            self.unread[piece.table] = piece.unread
            self._refused.append(typed.refused.assign(table=piece.table)[REFUSED_COLUMNS])
            if newest is not None:
                newest.add(typed.table)

    def table(self, name: str) -> Iterator[pd.DataFrame]:
        """The parts of one table in the order they came."""
        return map(files.read_table, sorted((self.folder / name).iterdir()))

    @property
    def refused(self) -> pd.DataFrame:
        """Every refused row of every table."""
        return pd.concat(self._refused, ignore_index=True)

    def source(self, hashes: dict[str, str | None]) -> dict[str, dict[str, Any]]:
        """Provenance per table: hash, rows read, refused and set aside, and the columns that nobody read."""
        return {
            table: {"sha256": hashes[table], **self.counts[table], "unread_columns": self.unread[table]}
            for table in TABLES
        }
