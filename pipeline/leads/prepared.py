"""A contract for a prepared table: one row per lead, an outcome decided at once, every other column known by then.

For trying the system on a table that somebody has made ready, beside other systems that take such tables. Nothing is
known here of when a column's value became known: whoever hands the table over answers for that.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd

from pipeline.errors import ParamsError
from pipeline.leads.contract import Resolved, parse, resolve
from pipeline.leads.profiling import number, profile
from pipeline.scorer.checks import FALSE_WORDS, TRUE_WORDS

NAME = "prepared"


def describe(
    cells: pd.DataFrame,
    target: str,
    *,
    dropped: Collection[str],
    positive: str | None,
    time_ordered: bool,
    source: dict[str, Any],
) -> Resolved:
    """The contract of a table of text.

    Args:
        cells: rows under the file's column names, NaN where a cell is empty.
        target: the outcome's column; `positive`: its value that means converted, None where the words tell.
        dropped: columns that are left out.
        time_ordered: rows stand in order of time.
        source: how the file is to be read, as a contract says it.

    Raises:
        ParamsError: a named column is not in the table, the outcome has not two values, or which one means converted
            cannot be told.
        ContractError: nothing is left to learn from.
    """
    if absent := [name for name in (target, *dropped) if name not in cells]:
        raise ParamsError(f"the table has no column {', '.join(absent)}; it has {', '.join(map(str, cells))}.")
    if target in dropped:
        raise ParamsError(f"--drop leaves out {target}, which holds the outcome.")
    columns: dict[str, Any] = {
        target: {"role": "outcome", "type": "category", "known_at": "outcome"},
        **{name: {"role": "ignored", "reason": "dropped on the command line"} for name in dropped},
    }
    for name in map(str, cells):
        if name not in columns:
            columns[name] = _column(cells[name], source.get("decimal", "."))
    content = {
        "contract_version": 1,
        "name": NAME,
        "description": "A prepared table: what its columns mean, and when they became known, nobody has said here.",
        "source": {"kind": "files", "leads": source},
        "key": "row_number",
        "time": {"kind": "row_order" if time_ordered else "none"},
        "outcome": {
            "kind": "flag",
            "horizon_days": 0,
            "column": target,
            "positive": _positive(cells[target], target, positive),
        },
        "columns": {name: columns[name] for name in map(str, cells)},
    }
    return resolve(parse(content, file=NAME))


def _column(cells: pd.Series, decimal: str) -> dict[str, Any]:
    """A feature of the type that its values have; what does not fit a number counts as missing."""
    seen = profile(cells, repeats=1.0, decimal=decimal)
    kind = seen.kind if seen.kind in ("number", "boolean") else "category"
    # A number that may stand for a gap stays a number: as one, it costs nothing where the guess is wrong.
    missing = {word: n for word, n in seen.missing.items() if number(word, decimal) is None}
    if seen.kind == "integer":  # whole by chance: a later row may hold a fraction
        kind = "number"
    if kind == "number":
        missing |= {str(word): 1 for word in seen.words.index if number(str(word), decimal) is None}
    elif kind == "boolean":
        flags = (*TRUE_WORDS, *FALSE_WORDS)
        missing |= {str(word): 1 for word in seen.words.index if str(word).strip().lower() not in flags}
    return {
        "role": "feature",
        "type": kind,
        "known_at": "creation",
        "criterion": str(cells.name),
        "missing": [word for word in missing if word],
    }


def _positive(cells: pd.Series, target: str, positive: str | None) -> str:
    words = sorted(str(word) for word in cells.dropna().unique())
    if len(words) != 2:
        raise ParamsError(f"column {target} has {len(words)} values; an outcome has two.")
    if positive is not None:
        if positive not in words:
            raise ParamsError(f"column {target} has the values {' and '.join(words)}; {positive} is not among them.")
        return positive
    said = [word for word in words if word.strip().lower() in TRUE_WORDS]
    if len(said) != 1:
        raise ParamsError(f"which value of {target} means converted, {' or '.join(words)}? Say it with --positive.")
    return said[0]
