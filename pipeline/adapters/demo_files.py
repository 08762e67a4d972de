"""The demo CRM log as raw files: what a CRM export looks like, and rows to try `leads score` on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pipeline.adapters import files
from pipeline.leads import demo
from pipeline.leads.tables import TABLES
from pipeline.params import Demo


def export(params: Demo, seed: int, folder: Path) -> dict[str, int]:
    """Write `leads.csv`, `activities.csv` and `changes.csv`, block by block; returns the rows of each."""
    counts: Counter[str] = Counter()
    for table in TABLES:

        def write(file: object, table: str = table) -> None:
            for number, block in enumerate(demo.generate(params, seed)):
                rows = getattr(block, table)
                counts[table] += len(rows)
                text = rows.to_csv(index=False, header=number == 0, lineterminator="\n")
                file.write(text.encode("utf-8"))  # type: ignore[attr-defined]

        files.write_atomic(folder / f"{table}.csv", write)
    return dict(counts)
