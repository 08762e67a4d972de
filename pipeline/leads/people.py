"""Whom a source's personal columns name, and where else they turn up.

Personal columns stop at `ingest`, but a name typed into the wrong column would go on. What the personal columns hold
says what people are called: a cell of another column that holds the same refuses its row, with a reason that names the
column and what was found, never the value. A person who stands nowhere in the personal columns shows by form alone,
where a value has that of a name, is rare, and is the odd one out in its column.

The tables are looked at twice: first everything is seen, then every part is sifted. In between stand hashes of personal
values, and how often the words of each other column occur; memory stays far below that of the tables.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.leads import personal
from pipeline.leads.contract import LEAD_KEY, ROW, Resolved
from pipeline.leads.tables import Typed
from pipeline.params import Personal

#: Beyond so many different values a column is free text: nothing in it is common, so nothing is odd.
MAX_DISTINCT = 50_000
#: Longer values are free text, too, and are no name as a whole.
MAX_LENGTH = 200
#: Fewer digits are shared by too many numbers to mean a person.
MIN_DIGITS = 9

WORDS = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
DIGIT, NO_DIGIT, NO_SIGN = re.compile(r"\d"), re.compile(r"\D+"), re.compile(r"[\W_]+")
#: Digits with what may stand between them.
RUNS = re.compile(r"\d(?:[\s().\-/]{0,3}\d){8,17}")


# Whom the personal columns name

#: Hashes, and how many rows hold each.
_Counted = tuple[np.ndarray, np.ndarray]


class People:
    """Hashes of what the personal columns hold, gathered part by part."""

    def __init__(self, params: Personal) -> None:
        self.params = params
        self._rows: Counter[str] = Counter()
        self._wholes: dict[str, list[_Counted]] = {}
        self._pairs: dict[str, list[_Counted]] = {}
        self._singles: list[np.ndarray] = []
        self._words: list[np.ndarray] = []
        self._numbers: list[np.ndarray] = []

    def add(self, cells: pd.DataFrame) -> None:
        """Take in the personal columns of a part, text under the source's names; missing is NaN."""
        single: dict[str, pd.Series] = {}
        for name, column in cells.items():
            given = column.dropna().astype("str").str.strip()
            given = given[given != ""]
            counts = given.value_counts(sort=False)
            forms = [_Form.of(value) for value in counts.index]
            self._rows[str(name)] += int(counts.sum())
            wholes = [(form.whole, n) for form, n in zip(forms, counts, strict=True) if form.whole]
            _count(self._wholes.setdefault(str(name), []), wholes)
            self._singles.append(_unique(_hashed(form.single for form in forms if form.single))[0])
            pairs = [(pair, n) for form, n in zip(forms, counts, strict=True) for pair in form.pairs]
            _count(self._pairs.setdefault(str(name), []), pairs)
            self._words.append(_unique(_hashed(word for form in forms for word in form.words))[0])
            self._numbers.append(np.unique(np.array([n for form in forms for n in form.numbers], dtype="uint64")))
            alone = pd.Series([form.single for form in forms], index=counts.index, dtype="str")
            if (alone != "").any():
                single[str(name)] = given.map(alone)
        # First and family name in columns of their own stand together on the row.
        names = list(single)
        for place, first in enumerate(names):
            for second in names[place + 1 :]:
                both = pd.concat([single[first], single[second]], axis=1, join="inner").set_axis(["a", "b"], axis=1)
                both = both[(both["a"] != "") & (both["b"] != "")]
                _count(
                    self._pairs.setdefault(first, []),
                    [(str(pair), n) for pair, n in (both["a"] + " " + both["b"]).value_counts().items()],
                )

    def known(self) -> Known:
        """What was gathered; values and pairs of words that many rows share (a town, a title) name nobody."""
        wholes, _ = self._parted(self._wholes)
        pairs, shared = self._parted(self._pairs)
        joined = (_joined(parts) for parts in (self._singles, self._words, self._numbers))
        return Known(wholes, pairs, shared, *joined)

    def _parted(self, counted: dict[str, list[_Counted]]) -> tuple[np.ndarray, np.ndarray]:
        """Hashes that few rows hold, and those that many do."""
        few, many = [], []
        for name, parts in counted.items():
            if not parts:
                continue
            keys, counts = _unique(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
            common = counts >= max(self.params.few_rows, self.params.shared_share * self._rows[name])
            few.append(keys[~common])
            many.append(keys[common])
        return _joined(few), _joined(many)


class _Form(NamedTuple):
    """What one personal value may be found by.

    `whole`: letters and digits of a value of several words, or with digits. `single`: a value of one word. `pairs`:
    words that stand side by side. `words`: of a value that is made of few words. `numbers`: its digits.
    """

    whole: str = ""
    single: str = ""
    pairs: Sequence[str] = ()
    words: Sequence[str] = ()
    numbers: Sequence[int] = ()

    @classmethod
    def of(cls, value: str) -> _Form:
        folded = _folded(value)
        numbers = _numbers(value)
        address = "@" in folded
        words = WORDS.findall(folded.split("@", 1)[0])
        letters = DIGIT.search(folded) is None
        bare = _bare(folded)
        whole = bare if len(bare) >= 6 and not bare.isdigit() and (len(words) > 1 or address or not letters) else ""
        if not (letters or address) or not 1 <= len(words) <= 5:
            return cls(whole=whole, numbers=numbers)
        if len(words) == 1:
            single = "" if address or len(words[0]) < 3 else words[0]
            return cls(whole=whole, single=single, words=[single] if single else [], numbers=numbers)
        pairs = [f"{first} {second}" for first, second in pairwise(words)]
        # `Ada B. King`: without what stands between, too.
        pairs += [f"{words[0]} {words[-1]}"] if len(words) > 2 else []
        return cls(whole=whole, pairs=pairs, words=[] if address else _telling(words), numbers=numbers)


@dataclass(frozen=True)
class Known:
    """Sorted hashes of personal values, and sorted numbers; see `_Form`. `shared`: pairs that many rows hold."""

    wholes: np.ndarray
    pairs: np.ndarray
    shared: np.ndarray
    singles: np.ndarray
    words: np.ndarray
    numbers: np.ndarray

    def look(self, values: list[str], vocabulary: frozenset[str] = frozenset()) -> pd.DataFrame:
        """What personal there is in each of some values.

        Returns:
            One row per value, bool. `whole`: it is a personal value, or holds two words that stand side by side in
            one, or the digits of one. `single`: it is a personal value of one word. `words`: two words side by side
            both occur in personal values, neither in `vocabulary`; `capitals`: and both are capitalised, as not every
            word of a longer text is, so that this may be believed of a sentence as well.
        """
        owners: list[int] = []
        ordered: list[str] = []
        turned: list[str] = []
        firsts: list[str] = []
        seconds: list[str] = []
        capitals: list[bool] = []
        bare, alone, numbered = [], [], np.zeros(len(values), dtype=bool)
        for place, value in enumerate(values):
            words = [(_folded(word), word[0].isupper()) for word in WORDS.findall(value)]
            bare.append(_bare(_folded(value)))
            alone.append(words[0][0] if len(words) == 1 and DIGIT.search(value) is None else "")
            numbers = np.array(_numbers(value, runs=True), dtype="uint64")
            numbered[place] = bool(len(numbers)) and bool(_isin(numbers, self.numbers).any())
            # In a headline every word is capitalised.
            stands_out = len(words) <= 3 or not all(upper for _, upper in words)
            for (first, upper), (second, upper_too) in pairwise(words):
                owners.append(place)
                ordered.append(f"{first} {second}")
                turned.append(f"{second} {first}")
                telling = len(_telling([first, second])) == 2 and not {first, second} & vocabulary
                firsts.append(first if telling else "")
                seconds.append(second if telling else "")
                capitals.append(upper and upper_too and stands_out)
        owner = np.array(owners, dtype="int64")
        exact = _isin(_hashed(ordered), self.pairs) | _isin(_hashed(turned), self.pairs)
        loose = _isin(_hashed(firsts), self.words) & _isin(_hashed(seconds), self.words)
        loose &= np.array([first != "" for first in firsts], dtype=bool) & ~_isin(_hashed(ordered), self.shared)

        def any_of(pairs: np.ndarray) -> np.ndarray:
            return np.bincount(owner[pairs], minlength=len(values)) > 0

        whole = _isin(_hashed(bare), self.wholes) & np.array([len(text) >= 6 for text in bare], dtype=bool)
        return pd.DataFrame(
            {
                "whole": whole | any_of(exact) | numbered,
                "single": _isin(_hashed(alone), self.singles) & np.array([text != "" for text in alone], dtype=bool),
                "words": any_of(loose),
                "capitals": any_of(loose & np.array(capitals, dtype=bool)),
            }
        )


def _telling(words: list[str]) -> list[str]:
    """Words long enough, and rare enough in other uses, to be part of somebody's name."""
    return [word for word in words if len(word) > 2 and not personal.is_everyday(word)]


# Where else they turn up


@dataclass(frozen=True)
class Place:
    """A column that may hold words and must name nobody: `column` after ingest, `source` before.

    `words`: whether it holds free words, or only numbers as text. `safe`: values that the contract itself holds;
    `closed`: no others are meant to stand there.
    """

    table: str
    column: str
    source: str
    words: bool
    safe: frozenset[str] = frozenset()
    closed: bool = False
    #: Rows of `changes` that this is about: those of one column of leads.
    of: str | None = None

    @property
    def profile(self) -> str:
        """Changes hold the values of the column that they change."""
        return f"leads {self.of}" if self.of else f"{self.table} {self.source}"


class Profile:
    """How many rows hold each value of a column; None once there are too many."""

    def __init__(self) -> None:
        self.rows = 0
        self.counts: Counter[str] | None = Counter()

    def add(self, values: pd.Series) -> None:
        counts = values.value_counts(sort=False)
        self.rows += int(counts.sum())
        if self.counts is not None:
            for value, n in counts.items():
                if len(str(value)) <= MAX_LENGTH:
                    self.counts[str(value)] += int(n)
            if len(self.counts) > MAX_DISTINCT:
                self.counts = None


class Sieve:
    """Sees every part of every table once, then sifts each."""

    def __init__(self, resolved: Resolved, params: Personal) -> None:
        self.resolved, self.params = resolved, params
        self.places = _places(resolved)
        self.people = People(params)
        self.profiles = {place.profile: Profile() for place in self.places}
        self._known: Known | None = None
        self._judged: dict[str, dict[str, str]] = {}

    def see(self, table: str, typed: Typed) -> None:
        """Take in a part of a table, with the personal cells that were left out of it."""
        if typed.personal is not None:
            self.people.add(typed.personal)
        for place in self._of(table):
            if place.words:
                self.profiles[place.profile].add(_cells(typed.table, place))

    def sift(self, table: str, part: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Part the rows that name somebody from the others; every part must have been seen before.

        Returns:
            The rows kept, and those refused: `row`, `lead_id`, `reason`, `raw` (the typed cells as JSON, under the
            source's names).
        """
        if self._known is None:
            self._known = self.people.known()
        reasons: dict[int, list[str]] = {}
        for place in self._of(table):
            cells = _cells(part, place)
            found = self._found(place, cells)
            for row, value in cells[cells.isin(list(found))].items():
                reasons.setdefault(int(str(row)), []).append(f"column `{place.source}` {found[value]}")
        for column, source in self._numbers(table):
            whole = part[column].where(
                part[column].abs().between(10 ** (MIN_DIGITS - 1), 2.0**53) & (part[column] % 1 == 0)
            )
            given = whole.dropna()
            bad = given[_isin(given.abs().to_numpy().astype("uint64"), self._known.numbers)]
            for row in bad.index:
                reasons.setdefault(int(row), []).append(f"column `{source}` {KNOWN}")
        for column, source in self._keys(table):
            for row, what in self._named(part[column]).items():
                reasons.setdefault(int(str(row)), []).append(f"column `{source}`, which names rows, {what}")
        return self._parted(table, part, reasons)

    def _of(self, table: str) -> list[Place]:
        return [place for place in self.places if place.table == table]

    def _found(self, place: Place, cells: pd.Series) -> dict[str, str]:
        """Value -> what it holds, for the values of a part that name somebody."""
        assert self._known is not None
        values = [value for value in cells.unique() if value not in place.safe]
        if not values:
            return {}
        profile = self.profiles[place.profile]
        if not place.words:
            looked = self._known.look(values)
            return {value: KNOWN for value, whole in zip(values, looked["whole"], strict=True) if whole}
        if profile.counts is None:
            return _judge_free(values, cells.value_counts(), self._known, self.params)
        if place.profile not in self._judged:
            self._judged[place.profile] = _judge(profile, place.safe, place.closed, self._known, self.params)
        judged = self._judged[place.profile]
        long = [value for value in values if len(value) > MAX_LENGTH]
        found = _judge_free(long, cells.value_counts(), self._known, self.params) if long else {}
        return found | {value: judged[value] for value in values if value in judged}

    def _numbers(self, table: str) -> list[tuple[str, str]]:
        if table != "leads":
            return []
        columns = self.resolved.contract.columns
        names = self.resolved.names
        return [
            (names[name], name)
            for name in names
            if columns[name].type in ("number", "integer") and _is_free(columns[name].role)
        ]

    def _keys(self, table: str) -> list[tuple[str, str]]:
        """Columns that name rows, after and before ingest."""
        contract = self.resolved.contract
        if table == "leads":
            named = [name for name, column in contract.columns.items() if column.role == "identifier"]
            return [(self.resolved.names[name], name) for name in named]
        if table == "changes":
            return [(LEAD_KEY, contract.changes.lead)] if contract.changes else []
        if contract.activities is None:
            return []
        key = contract.activities.key
        return [(LEAD_KEY, contract.activities.lead), *([("activity_id", key)] if key else [])]

    def _named(self, keys: pd.Series) -> pd.Series:
        """What is personal about the keys of rows, by row. Keys are many, and mostly letters with digits: others are
        looked at."""
        assert self._known is not None
        given = keys.dropna()
        few = self.params.odd_share * len(keys)
        plain = given[~given.str.contains(r"[0-9]", regex=True).astype(bool)]
        values = pd.Series(plain.unique(), dtype="str")
        shaped = plain.isin(list(values[personal.has_name_shape(values)]))
        known = plain.isin(list(values[self._known.look(list(values))["whole"].to_numpy()]))
        named = pd.Series(np.where(known, KNOWN, NAME), index=plain.index)[known | (shaped & (shaped.sum() <= few))]

        dialled = given[given.str.fullmatch(r"[0-9]+[().\-][0-9().\-]+").astype(bool)]
        phones = dialled[personal.phone_degree(dialled) >= personal.LIKELY]
        odd = phones.index if len(phones) <= few else phones.index[:0]
        return pd.concat([named, pd.Series(PHONE, index=odd, dtype="str")])

    def _parted(
        self, table: str, part: pd.DataFrame, reasons: dict[int, list[str]]
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        places = sorted(reasons)
        bad = part.loc[places]
        refused = pd.DataFrame(
            {
                ROW: bad[ROW].to_numpy(dtype="int64"),
                LEAD_KEY: bad[LEAD_KEY].reset_index(drop=True),
                "reason": pd.Series(["; ".join(dict.fromkeys(reasons[place])) for place in places], dtype="str"),
                "raw": pd.Series(_json(_as_given(bad, self.resolved, table)), dtype="str"),
            }
        )
        return (part.drop(index=places).reset_index(drop=True) if places else part), refused


KNOWN = "holds what stands in a personal column"
NAME = "holds what looks like a person's name"
PHONE = "holds what looks like a phone number"
UNDECLARED = "is none of its declared values, and may name a person"


def _judge(profile: Profile, safe: Iterable[str], closed: bool, known: Known, params: Personal) -> dict[str, str]:
    """Value -> what it holds, for the values of a column that name somebody. `params` says what is rare and odd."""
    assert profile.counts is not None
    safe = frozenset(safe)
    counts = profile.counts
    values = [value for value in counts if value not in safe]
    if not values:
        return {}
    rows = np.array([counts[value] for value in values])
    common = {value for value, n in counts.items() if value in safe or n >= params.few_rows}
    rare = np.array([value not in common for value in values])
    words_of = [frozenset(word for word in map(_folded, WORDS.findall(value)) if len(word) > 2) for value in values]
    shaped = personal.has_name_shape(pd.Series(values, dtype="str")).to_numpy() & rare
    whole = known.look(values)["whole"].to_numpy()
    # Words of the column: those of its common values, of rare ones without the form of a name, and any that so many of
    # the others share that it is nobody's in particular.
    spread = Counter(word for words, named in zip(words_of, shaped, strict=True) if named for word in words)
    many = max(params.few_rows, 0.2 * shaped.sum())
    vocabulary = frozenset(word for value in common for word in map(_folded, WORDS.findall(value)))
    vocabulary |= {word for words, named in zip(words_of, shaped | whole, strict=True) if not named for word in words}
    vocabulary |= {word for word, n in spread.items() if n > many}
    #: Share of the rows that hold something common: what a column is about.
    usual = sum(counts[value] for value in common if value in counts) / profile.rows

    looked = known.look(values, vocabulary if usual >= 0.5 else frozenset())
    # In sentences, and where every value is another, two words side by side must be written as a name is.
    short = np.array([len(value) <= 60 for value in values]) & (usual >= 0.5)
    words = np.where(short, looked["words"], looked["capitals"])
    unshared = rows < _limit(params, profile.rows)
    text = pd.Series(values, dtype="str")
    degree = personal.phone_degree(text).to_numpy()
    shaped &= np.array([not words & vocabulary for words in words_of])

    def odd(found: np.ndarray) -> np.ndarray:
        """What was found, where it is too little to be what the column is about."""
        return found & (usual >= 0.5) & (rows[found].sum() <= params.odd_share * profile.rows)

    findings = [
        (whole & unshared, KNOWN),
        (looked["single"].to_numpy() & rare & (usual >= 1 - params.odd_share), KNOWN),
        (words & unshared, NAME),
        (rare & (degree >= personal.LIKELY), PHONE),
        (odd(rare & (degree == personal.POSSIBLE)), PHONE),
        (odd(shaped) if not any(map(personal.is_capitalised, common)) else np.zeros(len(values), dtype=bool), NAME),
        (rare & closed & np.array([personal.may_name(value) for value in values]), UNDECLARED),
    ]
    judged: dict[str, str] = {}
    for found, reason in findings:
        for place in np.flatnonzero(found):
            judged.setdefault(values[place], reason)
    return judged


def _judge_free(values: list[str], rows: pd.Series, known: Known, params: Personal) -> dict[str, str]:
    """The same for free text, where nothing is common: only what is certain."""
    looked = known.look(values)
    degree = personal.phone_degree(pd.Series(values, dtype="str"))
    unshared = rows.reindex(values).to_numpy() < _limit(params, int(rows.sum()))
    judged = {}
    for place, value in enumerate(values):
        if looked["whole"].iloc[place] and unshared[place]:
            judged[value] = KNOWN
        elif looked["capitals"].iloc[place] and unshared[place]:
            judged[value] = NAME
        elif degree.iloc[place] >= personal.LIKELY:
            judged[value] = PHONE
    return judged


def _limit(params: Personal, rows: int) -> float:
    """Rows from which on a value is a word of its column, whoever else bears it."""
    return max(params.few_rows, params.common_share * rows)


# The contract's columns


def _is_free(role: str) -> bool:
    return role not in ("personal", "identifier")


def _places(resolved: Resolved) -> list[Place]:
    contract, places = resolved.contract, []
    for name, column in contract.columns.items():
        if not _is_free(column.role) or name == contract.outcome.column:
            continue
        safe = frozenset(column.values or ())
        words = column.type in ("category", "text")
        if words:
            places.append(Place("leads", resolved.names[name], name, True, safe, column.values is not None))
        if name in resolved.tracked and contract.changes is not None and column.type != "boolean":
            for after, before in (("old_value", contract.changes.old_value), ("new_value", contract.changes.new_value)):
                places.append(Place("changes", after, before, words, safe, column.values is not None, of=name))
    if contract.activities is not None:
        kind = contract.activities.kind
        places.append(Place("activities", "kind", kind, True, frozenset(contract.activities.kinds), True))
    return places


def _cells(part: pd.DataFrame, place: Place) -> pd.Series:
    """The values given in a place."""
    cells = part[place.column]
    if place.of is not None:
        cells = cells[part["column"] == place.of]
    return cells.dropna()


def _as_given(rows: pd.DataFrame, resolved: Resolved, table: str) -> pd.DataFrame:
    """Typed rows under the source's names; a column that stands for two (one time for both) is there once."""
    named = rows.drop(columns=ROW).rename(columns=_sources(resolved, table))
    return named.loc[:, ~named.columns.duplicated()]


def _sources(resolved: Resolved, table: str) -> dict[str, str]:
    """Name after ingest -> the source's."""
    contract = resolved.contract
    if table == "leads":
        return {after: before for before, after in resolved.names.items()}
    declared = contract.activities if table == "activities" else contract.changes
    if declared is None:
        return {}
    after = {"key": "activity_id", "lead": LEAD_KEY}
    named = declared.model_dump(exclude={"kinds"})
    return {after.get(key, key): name for key, name in named.items() if name is not None}


# Values to hashes


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else personal.fold(text)


def _bare(folded: str) -> str:
    return NO_SIGN.sub("", folded)


def _numbers(value: str, *, runs: bool = False) -> list[int]:
    """The digits of a value, and of each run of digits in it; without zeros in front, and only where they are many."""
    if len(NO_DIGIT.sub("", value)) < MIN_DIGITS:
        return []
    found = RUNS.findall(value) if runs else [value]
    digits = [NO_DIGIT.sub("", text).lstrip("0") for text in found]
    return [int(text) for text in digits if MIN_DIGITS <= len(text) <= 18]


def _hashed(texts: Iterable[str]) -> np.ndarray:
    values = np.array(list(texts), dtype=object)
    return pd.util.hash_array(values, categorize=False) if len(values) else np.array([], dtype="uint64")


def _count(parts: list[_Counted], values: list[tuple[str, int]]) -> None:
    """Add values and their rows to what was counted before."""
    if values:
        texts, rows = zip(*values, strict=True)
        parts.append(_unique(_hashed(texts), np.array(rows)))


def _unique(keys: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sorted keys, each once, and the sum of its counts."""
    unique, place = np.unique(keys, return_inverse=True)
    summed = np.bincount(place, weights=counts, minlength=len(unique)) if len(unique) else np.zeros(0)
    return unique, summed


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(parts)) if parts else np.array([], dtype="uint64")


def _isin(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether each key is among sorted ones."""
    if not len(known) or not len(keys):
        return np.zeros(len(keys), dtype=bool)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.asarray(known[place] == keys)


def _json(rows: pd.DataFrame) -> list[str]:
    """Each row as one line of JSON, times in ISO form."""
    if rows.empty:
        return []
    text = rows.to_json(
        orient="records", lines=True, date_format="iso", date_unit="us", double_precision=15, force_ascii=False
    )
    return [line for line in str(text).split("\n") if line]
