"""What a column of text looks like: its type, its words for missing, the form of its times, whether it repeats.

Everything is judged on distinct cells with their counts, so that a million rows cost what their distinct cells cost. A
type is given to a column when all but `UNREADABLE` of its cells can be read as that type by the strict reader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.leads import vocabulary
from pipeline.leads.tables import NUMBER
from pipeline.scorer.checks import FALSE_WORDS, ISO_TIME, TRUE_WORDS

Kind = Literal["number", "integer", "boolean", "timestamp", "category", "text", "empty"]

#: Share of a column's cells that may be unreadable under its type; the strict reader refuses those rows.
UNREADABLE = 0.005

#: Share of the values of a key that may stand twice, and of its cells that may be empty: rows that are set aside.
REPEATED = 0.02

#: A word in at least so many rows is meant.
AN_ANSWER = 5

#: A number stands for "none" where it holds at least this share of the cells, and lies further from the next than the
#: others spread.
SENTINEL_SHARE = 0.01
SENTINELS = frozenset({sign * value for value in (9, 99, 999, 9999, 99999, 999999, 9999999) for sign in (1.0, -1.0)})

#: Text is free where it is this long on average, or most cells are unlike each other.
LONG_TEXT = 40
UNLIKE = 0.5

#: Distinct words that are looked at one by one for personal data and forms of times.
MAX_WORDS = 20_000

_NUMBER = re.compile(NUMBER)
_ISO = re.compile(ISO_TIME)
_AMOUNT = re.compile(
    r"[-+]?\s*(?:[€$£¥]|EUR|USD|CHF|GBP|%)?\s*[-+]?[0-9][0-9.,' ]*\s*(?:[€$£¥%]|EUR|USD|CHF|GBP|k|K|Mio)?"
)
_DAY = re.compile(
    r"(?:(?P<y>\d{4})(?P<s1>[-/.])\d{1,2}(?P=s1)\d{1,2}"
    r"|(?P<a>\d{1,2})(?P<s2>[-/.])(?P<b>\d{1,2})(?P=s2)(?P<y2>\d{4}|\d{2})"
    r"|(?P<c>\d{1,2})(?P<s3>[ -])(?P<m>[A-Za-z]{3,9})(?P=s3)(?P<y3>\d{4}|\d{2})"
    r"|(?P<m4>[A-Za-z]{3,9}) (?P<d4>\d{1,2}), (?P<y4>\d{4}))"
    r"(?P<gap>, |T| )?(?P<clock>\d{1,2}:\d{2}(?P<sec>:\d{2}(?P<frac>\.\d+)?)?(?P<half> ?[AaPp][Mm])?)?"
    r"(?P<zone> UTC| GMT|Z)?"
)


@dataclass(frozen=True)
class Ambiguous:
    """Times whose day and month cannot be told apart: every cell is a time under both forms."""

    day_first: str
    month_first: str


@dataclass(frozen=True)
class Profile:
    """One column of a table of text.

    `words`: distinct given cells -> rows, commonest first, words for missing left out. `rows`: rows looked at; `given`:
    of these with a value. `missing`: word for missing -> rows, beside the empty cell. `format`: of a timestamp, None
    where it is ISO 8601. `unreadable`: rows that the type refuses. `repeats`: share of the values of the whole file
    that stand in an earlier row too, in [0, 1]. `low`, `high`: of numbers. `doubts`: what a person should know.
    """

    name: str
    kind: Kind
    words: pd.Series
    rows: int
    given: int
    missing: dict[str, int] = field(default_factory=dict)
    format: str | None = None
    ambiguous: Ambiguous | None = None
    unreadable: int = 0
    repeats: float = 1.0
    low: float = float("nan")
    high: float = float("nan")
    doubts: tuple[str, ...] = ()

    @property
    def distinct(self) -> int:
        return len(self.words)

    @property
    def filled(self) -> float:
        """Share of the rows with a value, in [0, 1]."""
        return self.given / self.rows if self.rows else 0.0

    @property
    def unlike(self) -> float:
        """Distinct values per given cell, in [0, 1]."""
        return self.distinct / self.given if self.given else 0.0

    @property
    def unique(self) -> bool:
        """Whether hardly a value stands twice: a key with a few faults."""
        return self.repeats <= REPEATED

    @property
    def complete(self) -> bool:
        return self.given >= (1 - REPEATED) * self.rows

    @property
    def free_text(self) -> bool:
        """Whether cells are sentences rather than words: long, with blanks, mostly unlike each other."""
        if self.kind not in ("category", "text") or not self.given:
            return False
        words = self.words.head(MAX_WORDS)
        length = np.average(words.index.str.len(), weights=words)
        blanks = np.average(words.index.str.count(" "), weights=words)
        return bool(blanks >= 3 and length >= LONG_TEXT / 2 and self.unlike > UNLIKE) or bool(
            length >= LONG_TEXT and blanks >= 2 and self.unlike > UNLIKE / 5
        )


def profile(cells: pd.Series, *, repeats: float, decimal: str = ".", siblings: str | None = None) -> Profile:
    """What one column looks like.

    Args:
        cells: text, NaN where the cell is empty.
        repeats: share of the values of the whole file that stand in an earlier row too.
        decimal: the decimal sign of the file's numbers.
        siblings: `day_first` or `month_first` where other columns of the file decide the order of day and month.
    """
    name = str(cells.name)
    counts = cells.value_counts(sort=True)
    counts.index = counts.index.astype("str")
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    blank = counts.index.str.strip() == ""
    missing = {str(word): int(n) for word, n in counts[blank].items()}
    counts = counts[~blank]
    folded = pd.Index(counts.index.str.strip().str.lower())

    none = pd.Series(folded.isin(list(vocabulary.EMPTY_WORDS)), index=counts.index)
    vague = pd.Series(folded.isin(list(vocabulary.NO_NUMBER)), index=counts.index)
    made = _timed(name, counts, none | vague, siblings) or _numeric(counts, none | vague, decimal)
    if made is None and len(counts[~(none | vague)]):
        made = _worded(name, counts, none, vague)
    rows = len(cells)
    if made is None:
        missing |= {str(word): int(n) for word, n in counts[none | vague].items()}
        return Profile(name=name, kind="empty", words=counts[:0], rows=rows, given=0, missing=missing, repeats=1.0)
    missing |= {str(word): int(n) for word, n in counts[made.none].items()}
    left = counts[~made.none]
    return Profile(
        name=name,
        kind=made.kind,
        words=left,
        rows=rows,
        given=int(left.sum()),
        missing=missing,
        format=made.format,
        ambiguous=made.ambiguous,
        unreadable=made.unreadable,
        repeats=repeats,
        low=made.low,
        high=made.high,
        doubts=made.doubts,
    )


@dataclass(frozen=True)
class _Made:
    """A type found for a column; `none` marks the distinct cells that stand for missing under it."""

    kind: Kind
    none: pd.Series
    format: str | None = None
    ambiguous: Ambiguous | None = None
    unreadable: int = 0
    low: float = float("nan")
    high: float = float("nan")
    doubts: tuple[str, ...] = ()


def _most(counts: pd.Series, fits: np.ndarray) -> int | None:
    """Rows that do not fit, where they are few enough; None otherwise."""
    bad = int(counts.to_numpy()[~fits].sum())
    total = int(counts.sum())
    return bad if total and bad <= UNREADABLE * total else None


# Numbers


def _numeric(counts: pd.Series, none: pd.Series, decimal: str) -> _Made | None:
    given = counts[~none]
    if not len(given):
        return None
    text = [word.strip() for word in given.index]
    pointed = [number(word, decimal) for word in text]
    value = np.array([np.nan if one is None else one for one in pointed])
    fits = np.isfinite(value)
    bad = _most(given, fits)
    if bad is None:
        return None
    # A leading zero belongs to a code: 01067 is a post code, not a number.
    coded = [len(word) > 1 and word[0] == "0" and word.isdigit() for word in text]
    if given.to_numpy()[coded].sum() > UNREADABLE * given.sum():
        return None
    values, rows = value[fits], given.to_numpy()[fits]
    flags = {word.strip().lower() for word in given.index[fits]}
    if len(set(values)) <= 2 and flags <= {*TRUE_WORDS, *FALSE_WORDS} and bad == 0:
        return _Made("boolean", none, low=float(values.min()), high=float(values.max()))
    stands_out = _sentinels(values, rows)
    mark = none.copy()
    mark[given.index[fits][np.isin(values, list(stands_out))]] = True
    kept = values[~np.isin(values, list(stands_out))]
    whole = bool((kept % 1 == 0).all()) and not any("e" in word.lower() for word in text[:1000])
    doubts = tuple(
        f"{value:g} stands in {int(rows[values == value].sum()):,} rows, far from all other values: read as no value"
        for value in sorted(stands_out)
    )
    kind: Kind = "integer" if whole else "number"
    return _Made(kind, mark, unreadable=bad, low=float(kept.min()), high=float(kept.max()), doubts=doubts)


def number(text: str, decimal: str = ".") -> float | None:
    """A cell as the strict reader takes it for a number, or None."""
    if decimal == ",":
        if "." in text:
            return None
        text = text.replace(",", ".")
    return float(text) if _NUMBER.fullmatch(text) else None


def _sentinels(values: np.ndarray, rows: np.ndarray) -> set[float]:
    """Numbers that stand for none: one of 9, 99, 999, ... or -1, frequent, and far from the rest."""
    found: set[float] = set()
    order = np.argsort(values)
    values, rows = values[order], rows[order]
    total = rows.sum()
    for _ in range(2):
        for place in (-1, 0):
            if len(values) < 4:
                return found
            value, rest = values[place], np.delete(values, place)
            often = rows[place] >= max(5, SENTINEL_SHARE * total)
            spread = rest.max() - rest.min()
            gap = np.abs(rest - value).min()
            # -1 among values from 0 on is near them, but on the other side of nothing.
            below = value in (-1.0, -9.0, -99.0) and rest.min() >= 0
            if often and (below or (value in SENTINELS and gap > spread)):
                found.add(float(value))
                keep = np.delete(np.arange(len(values)), place)
                values, rows = values[keep], rows[keep]
    return found


# Times


def _timed(name: str, counts: pd.Series, none: pd.Series, siblings: str | None) -> _Made | None:
    empty = none | pd.Series([bool(vocabulary.EMPTY_TIMES.match(w.strip())) for w in counts.index], index=counts.index)
    given = counts[~empty]
    if not len(given):
        return None
    sample = [word.strip() for word in given.index[:50]]
    if not any(_DAY.fullmatch(word) or _ISO.fullmatch(word) for word in sample):
        return None
    text = pd.Index([word.strip() for word in given.index])
    iso = np.array([_ISO.fullmatch(word) is not None for word in text])
    bad = _most(given, iso & ~_parsed(text, None).isna().to_numpy())
    if bad is not None:
        return _Made("timestamp", empty, unreadable=bad)
    best: tuple[int, str] | None = None
    forms = pd.Series([_form(word) for word in text], index=given.index)
    if (forms == "").all():
        return None
    common = given.groupby(forms).sum().drop("", errors="ignore").sort_values(ascending=False)
    form = str(common.index[0])
    if "%1" not in form:
        best = (_unread(given, text, form), form)
    else:
        # Day or month first: whichever reads every cell; where both do, the file's other columns decide, or nobody.
        read = {
            order: _unread(given, text, form.replace("%1", a).replace("%2", b))
            for order, a, b in (("day_first", "%d", "%m"), ("month_first", "%m", "%d"))
        }
        day, month = (form.replace("%1", a).replace("%2", b) for a, b in (("%d", "%m"), ("%m", "%d")))
        if read["day_first"] == read["month_first"] and siblings is None:
            if _most(given, ~_parsed(text, day).isna().to_numpy()) is None:
                return None
            both = Ambiguous(day, month)
            return _Made("timestamp", empty, ambiguous=both, format=day, unreadable=read["day_first"])
        if read["day_first"] == read["month_first"]:
            chosen = str(siblings)
        else:
            chosen = min(read, key=lambda order: read[order])
        best = (read[chosen], day if chosen == "day_first" else month)
    unreadable, form = best
    if unreadable > UNREADABLE * given.sum():
        return None
    return _Made("timestamp", empty, format=form, unreadable=unreadable)


def _form(text: str) -> str:
    """The form of a time in the notation of `strptime`, `%1` and `%2` for day and month in some order; "" for none."""
    found = _DAY.fullmatch(text)
    if found is None or (found["gap"] is None) != (found["clock"] is None):
        return ""
    if found["y"]:
        day = "%Y{0}%m{0}%d".format(found["s1"])
    elif found["a"]:
        first, second = ("%d", "%m") if found["s2"] == "." else ("%1", "%2")
        day = f"{first}{found['s2']}{second}{found['s2']}{'%Y' if len(found['y2']) == 4 else '%y'}"
    elif found["c"]:
        month = "%b" if len(found["m"]) == 3 else "%B"
        day = f"%d{found['s3']}{month}{found['s3']}{'%Y' if len(found['y3']) == 4 else '%y'}"
    else:
        day = f"{'%b' if len(found['m4']) == 3 else '%B'} %d, %Y"
    clock = ""
    if found["clock"]:
        hour = "%I" if found["half"] else "%H"
        clock = f"{found['gap']}{hour}:%M{':%S' if found['sec'] else ''}{'.%f' if found['frac'] else ''}"
        if found["half"]:
            clock += " %p" if found["half"].startswith(" ") else "%p"
    return day + clock + (found["zone"] or "")


def _parsed(text: pd.Index, form: str | None) -> pd.Series:
    moments = pd.to_datetime(pd.Series(text), format=form or "ISO8601", utc=True, errors="coerce")
    return moments.dt.tz_localize(None)


def _unread(given: pd.Series, text: pd.Index, form: str) -> int:
    return int(given.to_numpy()[_parsed(text, form).isna().to_numpy()].sum())


def order_of_days(profiles: list[Profile]) -> str | None:
    """What the decided columns of a file say of the others: `day_first`, `month_first`, or None where they disagree."""
    said = set()
    for one in profiles:
        if one.kind == "timestamp" and one.format is not None and one.ambiguous is None and "/" in one.format:
            said.add(
                "day_first" if one.format.startswith("%d") else "month_first" if one.format.startswith("%m") else ""
            )
    said.discard("")
    return said.pop() if len(said) == 1 else None


# Words


def _worded(name: str, counts: pd.Series, none: pd.Series, vague: pd.Series) -> _Made | None:
    folded = {word: word.strip().lower() for word in counts.index}
    # A list of country codes holds NA for Namibia.
    two_letters = [word for word in counts.index if vocabulary.COUNTRY_CODE.fullmatch(word)]
    countries = len(two_letters) >= 3 and counts[two_letters].sum() > 0.5 * counts[~none].sum()
    kept = none.copy()
    if not countries:
        kept |= pd.Series(
            [word == "na" and counts.index[k].strip() == "NA" for k, word in enumerate(folded.values())],
            index=counts.index,
        )
    given = counts[~kept]
    if not len(given):
        return None
    doubts = []
    if countries and "NA" in counts.index:
        doubts.append(f"NA stands in {int(counts['NA']):,} rows among country codes: read as Namibia, not as missing")
    honest = [word for word in given.index if folded[word] in vocabulary.NO_NUMBER and word != "NA"]
    if honest:
        doubts.append(
            f"{', '.join(repr(word) for word in honest[:3])} stands in {int(given[honest].sum()):,} rows: read as an "
            "answer of its own; put it under `missing` if it means that nobody knows"
        )
    flags = np.array([folded[word] in (*TRUE_WORDS, *FALSE_WORDS) for word in given.index])
    bad = _most(given, flags)
    # A third word that comes back is an answer of its own, not a slip.
    if bad == 0 or (bad is not None and given[~flags].max() < AN_ANSWER):
        return _Made("boolean", kept, unreadable=bad, doubts=tuple(doubts))
    amounts = np.array(
        [
            _AMOUNT.fullmatch(word.strip()) is not None and any(c.isdigit() for c in word)
            for word in given.index[:MAX_WORDS]
        ]
    )
    if len(given) > 20 and amounts.mean() > 0.95 and any(not w.strip().isdigit() for w in given.index[:MAX_WORDS]):
        doubts.append(
            "cells are amounts with signs or separators between thousands, which no type can hold: save them as plain "
            "numbers to use the column"
        )
        return _Made("text", kept, doubts=tuple(doubts))
    return _Made("category", kept, doubts=tuple(doubts))
