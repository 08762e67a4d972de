"""Tables sorted by lead in bounded memory: laid out on disk by ranges of leads, then sorted range by range."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.adapters import files
from pipeline.leads.contract import LEAD_KEY


def ranges(keys: int, rows: int) -> list[slice]:
    """Ranges of equally many of `keys` keys, each with about `files.PART_ROWS` of `rows` rows; at least one range."""
    size = max(1, -(-keys // max(1, -(-rows // files.PART_ROWS))))
    return [slice(start, min(start + size, keys)) for start in range(0, max(keys, 1), size)]


def by_lead(
    parts: Iterable[pd.DataFrame], keys: pd.Series, order: list[str], rows: int, folder: Path
) -> Iterator[pd.DataFrame]:
    """The rows of a table in order of lead, range by range; at least one frame.

    Args:
        parts: the table in any order; every row belongs to one of `keys`.
        keys: keys of the leads, sorted, each once.
        order: columns of numbers or times that order the rows of one lead.
        rows: about how many rows there are.
        folder: emptied first, removed at the end.
    """
    leads, cuts = pd.Index(keys), ranges(len(keys), rows)
    none: pd.DataFrame | None = None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with ExitStack() as stack:
            writers: dict[int, pq.ParquetWriter] = {}
            for part in parts:
                none = part.iloc[:0]
                place = leads.get_indexer(pd.Index(part[LEAD_KEY])) // (cuts[0].stop or 1)
                for number in np.unique(place):
                    table = pa.Table.from_pandas(part[place == number], preserve_index=False)
                    if number not in writers:
                        writers[number] = stack.enter_context(pq.ParquetWriter(folder / f"{number}", table.schema))
                    writers[number].write_table(table)
        if none is None:
            raise ValueError("by_lead needs at least one part, an empty one included")
        for number in range(len(cuts)):
            mine = pq.ParquetFile(folder / f"{number}").read().to_pandas() if number in writers else none
            columns = [mine[name].to_numpy() for name in reversed(order)]
            sorted_ = np.lexsort([*columns, leads.get_indexer(pd.Index(mine[LEAD_KEY]))])
            yield mine.iloc[sorted_].reset_index(drop=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
