"""Scores as files: exact for machines, and rounded and harmless for spreadsheets."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa

from pipeline.adapters import files
from pipeline.adapters.batch import Result
from pipeline.errors import ParamsError

#: Endings of files of exact scores, and of those for people.
EXACT, SPREADSHEET = (".csv", ".parquet"), (".csv",)

#: Rows of a row group: with their reasons they take a few tens of megabytes.
ROW_GROUP = 10_000


def checked(path: Path, option: str, allowed: tuple[str, ...]) -> Path:
    """The path, where its ending is one that can be written.

    Raises:
        ParamsError: it is not.
    """
    if path.suffix.lower() not in allowed:
        raise ParamsError(f"{option} {path}: name a file that ends in {' or '.join(allowed)}.")
    return path


def export(result: Result, path: Path, reasons: int) -> None:
    """Write scores as CSV, or as Parquet where the name ends so: exact numbers, all reasons as JSON, and the strongest
    `reasons` of them in words. The bytes follow from the scores alone, not from how they were parted."""
    frames = (_with_words(block, reasons) for block in result.blocks())
    if path.suffix.lower() == ".parquet":
        files.write_table(path, frames, row_group=ROW_GROUP)
    else:
        files.write_atomic(path, lambda file: _write_csv(file, frames, result.unit))


def _with_words(scores: pd.DataFrame, number: int) -> pd.DataFrame:
    """Scores with a column `top_reasons` before `base`."""
    words = pd.Series([in_words(text, number) for text in scores["reasons"]], index=scores.index, dtype="str")
    place = scores.columns.get_loc("base")
    return pd.concat([scores.iloc[:, :place], words.rename("top_reasons"), scores.iloc[:, place:]], axis=1)


def _write_csv(file: IO[bytes], frames: Iterator[pd.DataFrame], unit: str) -> None:
    for number, frame in enumerate(frames):
        table = frame.assign(as_of=moments(frame["as_of"], unit))
        file.write(files.csv_text(table, header=number == 0).encode("utf-8"))


def moments(times: pd.Series, unit: str) -> pd.Series:
    """Times as text in one unit for all, with a blank before the clock time: `2024-01-31` or `2024-01-31 08:00:00`."""
    moment = pa.array(times.to_numpy(dtype="datetime64[us]"))
    typed = moment.cast(pa.date32() if unit == "D" else pa.timestamp(unit), safe=False)
    return pd.Series(typed.cast(pa.string()).to_pandas(), index=times.index, dtype="str")


# For spreadsheets

#: Signs that make a spreadsheet take a cell for a formula, their full-width forms among them.
_FORMULA = "=+\\-@＝＋－＠﹦﹢﹣﹫−"

#: Where a cell may begin: at its start, or behind a sign that a spreadsheet of another country takes for the separator;
#: blanks, quotes and signs that nobody sees may come first.
_BEGINS = re.compile(
    rf"(^|[,;|])([\s\"'`\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u2069\u061c\u180e\u3164\ufe00-\ufe0f\ufeff]*)(?=[{_FORMULA}])"
)

#: Line ends, tabs and other signs that steer.
_STEERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"

#: Keys that a spreadsheet would rewrite: all that is made of digits and signs (zeros in front, powers of ten, dates,
#: times, shares, sums of money) but plain numbers of up to 15 digits, months beside digits, and truth values.
_REWRITTEN = re.compile(
    r"(?!(?:0|[1-9]\d{0,14})$)"
    r"(?:[($€£¥\s]*[\d.,][\d\s.,:/()%$€£¥+-]*(?:e[+-]?\d+|[ap]m?)?"
    rf"|(?:\d{{1,4}}[\s./-]*)?{_MONTH}[\s.,/-]*\d[\d\s.,:/-]*"
    rf"|\d{{1,4}}[\s./-]*{_MONTH}|true|false)",
    re.IGNORECASE,
)


def for_spreadsheet(result: Result, path: Path, reasons: int) -> None:
    """Write scores for people: CSV that a spreadsheet opens, rounded, the strongest `reasons` in words.

    It begins with a byte order mark, by which spreadsheets know UTF-8. No text in it can be taken for a formula (OWASP,
    CSV injection), whichever sign the spreadsheet separates cells by; an apostrophe goes before what could.
    """
    frames = (_for_people(block, reasons, result.unit) for block in result.blocks())

    def write(file: IO[bytes]) -> None:
        file.write(codecs.BOM_UTF8)
        for number, frame in enumerate(frames):
            text = frame.to_csv(index=False, header=number == 0, lineterminator="\r\n", quoting=csv.QUOTE_NONNUMERIC)
            file.write(text.encode("utf-8"))

    files.write_atomic(path, write)


def _for_people(scores: pd.DataFrame, reasons: int, unit: str) -> pd.DataFrame:
    """The columns of the export for people, with harmless texts."""
    words = [in_words(text, reasons, sign_last=True) for text in scores["reasons"]]
    columns = {
        "lead_id": scores["lead_id"].map(harmless_key, na_action="ignore"),
        "as_of": moments(scores["as_of"], unit),
        "score": scores["score"],
        "score_low": (100 * scores["interval_low"]).round(1),
        "score_high": (100 * scores["interval_high"]).round(1),
        "tier": scores["tier"],
        "grade": scores["grade"],
        "reasons": pd.Series(words, index=scores.index, dtype="str"),
        "held_back": scores["held_back"],
        "expected_value": scores["expected_value"].round(0),
        "no_score_because": scores["refused"],
        "flags": scores["flags"],
    }
    if "change" in scores:
        columns |= {"change": scores["change"], "change_by": scores["change_by"], "score_then": scores["change_score"]}
    table = pd.DataFrame(columns | {"model_version": scores["model_version"]})
    texts = [name for name in table if table[name].dtype.kind not in "fi" and name not in ("lead_id", "as_of")]
    return table.assign(**{str(name): table[name].map(harmless, na_action="ignore") for name in texts})


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe stands before a sign that begins one.

    Example: `=1+1` becomes `'=1+1`, and `a;-1` becomes `a;'-1`.
    """
    return _BEGINS.sub(r"\1'\2", _STEERS.sub(" ", text))


def harmless_key(key: str) -> str:
    """A lead's key, harmless, and with an apostrophe where a spreadsheet would turn it into another: `'00123`."""
    found = harmless(key)
    return f"'{found}" if _REWRITTEN.fullmatch(found.strip()) else found


# In words


def in_words(reasons: object, number: int, *, sign_last: bool = False) -> str:
    """`+12.3 visited the pricing page twice in 7 days; -3.1 Company size: 12 people`: the strongest reasons of one
    score; with `sign_last` as `visited the pricing page twice in 7 days (+12.3); ...`."""
    if not isinstance(reasons, str):
        return ""
    form = "{1} ({0:+.1f})" if sign_last else "{0:+.1f} {1}"
    told: list[str] = []
    place = reasons.find("{")
    # One after another: of the many that a score has, few are shown.
    while len(told) < number and place >= 0:
        one, end = _DECODER.raw_decode(reasons, place)
        told.append(form.format(one["points"], one["text"]))
        place = reasons.find("{", end)
    return "; ".join(told)


_DECODER = json.JSONDecoder()
