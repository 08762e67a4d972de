"""Raw values as `ingest` would have typed them, so that a row scores the same whichever way it comes in.

Text from a file, JSON numbers, and columns that pandas turned into floats because one value was missing all stand for
the same thing: words declared as missing are missing, a category code 2.0 is "2", a flag may be a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from . import checks


def clean(values: pd.Series, column: Mapping[str, Any]) -> pd.Series:
    """One column, typed where it can be.

    Args:
        values: raw values of any dtype.
        column: `type`, and `missing`: words that stand for no value.

    Returns:
        Series under the same index: float64 for numbers and booleans, `str` for categories and text; text that is no
        number is left as it is, among numbers as objects, for `checks.refusals` to name.
    """
    kind, words = column["type"], [str(word) for word in column.get("missing") or ()]
    plain = values.astype(object).where(values.notna(), None)
    if values.dtype.kind in "bO":
        # Told apart from 1 and 0, which they equal: what a row holds must not depend on the rows beside it.
        plain = plain.map(_plain)
    codes, distinct = pd.factorize(plain, use_na_sentinel=True)
    numeric = kind in ("number", "integer", "boolean")
    cleaned = np.array(
        [_number(one, words) if numeric else _word(one, words) for one in distinct] + [None], dtype=object
    )
    result = pd.Series(cleaned[codes], index=values.index, dtype=object)
    if not numeric:
        return result.astype("str")
    typed, unread = checks.booleans(result) if kind == "boolean" else checks.numbers(result)
    # Text that stays must not change how the rows beside it are read: theirs stay typed.
    return result.where(unread, typed.astype(object)) if unread.any() else typed


def single(value: object) -> object:
    """A value, and what is no single one, such as a list, as its text, which no column knows."""
    return str(value) if isinstance(value, list | tuple | dict | set | np.ndarray) else value


def _plain(value: object) -> object:
    return str(value).lower() if isinstance(value, bool | np.bool_) else single(value)


def _number(value: object, words: list[str]) -> object:
    """A number, true or false, or text to be read as one; None where a word for missing is meant, 999.0 as `999`."""
    return None if _word(value, words) is None else value


def _word(value: object, words: list[str]) -> str | None:
    """A value as `ingest` writes it: whole floats without a point, flags in lower case."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        text = str(int(value))
    else:
        text = str(value)
    return None if text in words else text
