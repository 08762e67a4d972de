"""Guesses about every column of the leads: role, type, known-at, criterion, unit, bounds, words for missing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pandas as pd

from pipeline.leads import personal, vocabulary
from pipeline.leads.profiling import UNLIKE, Profile
from pipeline.leads.proposal_draft import Column, Draft, meant
from pipeline.leads.proposal_lead import code_like
from pipeline.scorer.features import LEAD_AGE, OVERALL
from pipeline.scorer.reasons import LEVEL

#: More different whole numbers than this are amounts, whatever their name says.
MAX_CODES = 1_000

#: Share of rows that may contradict a rule that is proposed; they are set aside.
CONTRADICTING = 0.01

#: So few different whole numbers might be codes; more than so many different values are no list of words.
FEW = 30
MANY = 50

#: Share of different values from which nearly every row has another one.
NEARLY_ALL = 0.95

LAST = [
    ("last",),
    ("latest",),
    ("letzte",),
    ("letzter",),
    ("ultima",),
    ("ultimo",),
    ("derniere",),
    ("dernier",),
    ("updated",),
]

#: Different words that are looked at for personal data within free text.
MAX_TEXTS = 5_000


def describe_columns(draft: Draft) -> None:
    """Role, type, known-at and the rest of every column, before anything judges them."""
    outcome = {draft.outcome.get(key): key for key in ("converted_at", "lost_at", "closed_at", "column")}
    criteria: set[str] = {LEVEL, LEAD_AGE, OVERALL}
    copies = _copies(draft)
    for name, column in draft.columns.items():
        one = column.profile
        if words := [word for word in one.missing if word != ""]:
            rows = sum(one.missing.values())
            column.set("missing", words, f"guess: stand for no value, in {rows:,} of {one.rows:,} rows")
        for doubt in one.doubts:
            column.say(f"{doubt[0].upper()}{doubt[1:]}.")
        if column.keys.get("role") == "personal":
            continue
        if name == draft.key:
            _key_column(column)
        elif name == draft.time.get("column"):
            _time_column(column)
        elif outcome.get(name) == "column":
            _flag_column(draft, column)
        elif name in outcome:
            _date_column(draft, column, outcome[name])
        elif name in copies:
            left_out(column, f"holds the same as `{copies[name]}`")
        else:
            _plain_column(draft, column, criteria)


def _copies(draft: Draft) -> dict[str, str]:
    """Columns that hold the same as an earlier one, cell by cell."""
    alike: dict[tuple[int, int], list[str]] = {}
    found: dict[str, str] = {}
    for name in map(str, draft.cells):
        one = draft.profile(name)
        if one.distinct < 2:
            continue
        others = alike.setdefault((one.given, one.distinct), [])
        same = [other for other in others if draft.cells[name].equals(draft.cells[other].rename(name))]
        if same:
            found[name] = same[0]
        else:
            others.append(name)
    return found


def _key_column(column: Column) -> None:
    column.set("role", "identifier")
    column.set("required", True)
    column.set("unique", True, "a key that stands twice says that neither row can be trusted")
    column.note = "key"


def _time_column(column: Column) -> None:
    _timestamp(column, "ignored")
    column.set("known_at", "creation")
    column.set("required", True)
    column.set("reason", "the time axis")
    column.note = "time of creation"


def _date_column(draft: Draft, column: Column, what: str) -> None:
    _timestamp(column, "outcome")
    column.set("known_at", "outcome")
    name, created = column.profile.name, draft.time["column"]
    moment = draft.moment(name)
    early = (moment.dt.floor("D") < draft.moment(created).dt.floor("D")).sum()
    both = (moment.notna() & draft.moment(draft.outcome["converted_at"]).notna()).sum() if what == "lost_at" else 0
    if early <= CONTRADICTING * len(moment):
        column.set("not_before", created, "guess: nothing is decided before it begins")
    else:
        draft.decisions.append(
            f"{early:,} leads have a `{name}` before their `{created}`: is one of them another time?"
        )
    if what == "lost_at" and both <= CONTRADICTING * len(moment):
        column.set("not_with", draft.outcome["converted_at"], "guess: a lead converts or is lost, not both")
    elif what == "lost_at":
        draft.decisions.append(
            f"{both:,} leads have both a `{name}` and a `{draft.outcome['converted_at']}`: which holds?"
        )
    column.note = "outcome"


def _flag_column(draft: Draft, column: Column) -> None:
    one = column.profile
    column.set("role", "outcome")
    # True and false read as a flag; a third word for open, or others than true and false, are words.
    words = one.kind != "boolean" or "open" in draft.outcome
    column.set("type", "category" if words else "boolean")
    column.set("known_at", "outcome")
    if words:
        column.set("values", sorted(meant(one)), "closed: a new word must first be sorted into won, lost or open")
    if "open" not in draft.outcome:
        column.set("required", True)
    column.note = "outcome"


def _timestamp(column: Column, role: str) -> None:
    one = column.profile
    column.set("role", role)
    column.set("type", "timestamp")
    if one.format is not None:
        remark = "guess: the form that reads every cell"
        if one.unreadable:
            remark = f"guess: {one.unreadable:,} cells have another form; those rows are refused"
        column.set("format", one.format, remark)


def left_out(column: Column, reason: str) -> None:
    """Keep a column out of the model; as text, so that nothing in it can refuse a row for its type."""
    column.set("role", "ignored", "guess: see `reason`")
    column.set("type", "text")
    column.set("reason", reason)
    column.note = reason


def _plain_column(draft: Draft, column: Column, criteria: set[str]) -> None:
    """A column that is neither key nor time, outcome or personal."""
    one = column.profile
    reason = _why_not(one)
    if one.kind == "timestamp" and one.ambiguous is None:
        _other_time(column)
    elif reason is not None:
        left_out(column, reason)
    elif one.free_text and _names_people(one):
        column.set("role", "personal", "guess: free text that names e-mail addresses or phone numbers; never stored")
        column.note = "personal: free text with addresses or numbers"
    elif one.free_text:
        left_out(column, "free text")
    elif _id_like(one):
        column.set("role", "identifier", "guess: nearly every row has another value, as the number of a record has")
        column.note = "an identifier, not the key"
    elif one.kind == "category" and one.unlike > UNLIKE and one.distinct > MANY:
        left_out(column, "nearly every lead has another value")
    else:
        _feature(draft, column, criteria)


def _why_not(one: Profile) -> str | None:
    """Why a column can be nothing but ignored, or None."""
    if one.kind == "empty":
        return "is empty in every row"
    if one.ambiguous is not None:
        return "day and month cannot be told apart"
    if one.distinct == 1 and one.given == one.rows:
        return "holds one value in every row"
    if one.kind == "text":
        return one.doubts[-1] if one.doubts else "no type can hold it"
    return None


def _names_people(one: Profile) -> bool:
    text = pd.Series(one.words.index[:MAX_TEXTS].astype("str"), dtype="str")
    return bool((personal.has_email(text) | (personal.phone_degree(text) >= personal.LIKELY)).any())


def _feature(draft: Draft, column: Column, criteria: set[str]) -> None:
    one, name = column.profile, column.profile.name
    column.set("role", "feature")
    kind, why = _type_of(one)
    column.set("type", kind, why)
    if name in draft.tracked:
        column.set("known_at", "over_time", "the changes table says from when on each value held")
    elif vocabulary.rank(name, vocabulary.AFTERWARDS) is not None:
        column.set("known_at", "outcome", "guess: by its name")
        column.set("reason", "by its name, filled in with or after the outcome")
        column.note = "by its name, filled in with the outcome"
    elif _rewritten(name):
        column.set("known_at", "unknown", "undecided: by its name it is rewritten while a lead is worked")
        column.note = "by its name, rewritten later"
    else:
        column.set("known_at", "creation", "guess: nothing in the file speaks against it")
    criterion = next(one for one in _criteria(name) if one not in criteria)
    criteria.add(criterion)
    column.set("criterion", criterion, "guess: its name; what would a sales person call it?")
    engages = vocabulary.holds(name, vocabulary.ENGAGEMENT)
    column.set(
        "group", "engagement" if engages else "fit", f"guess: {'what a lead does' if engages else 'who a lead is'}"
    )
    if kind in ("number", "integer"):
        unit = next((vocabulary.UNITS[word] for word in vocabulary.words(name) if word in vocabulary.UNITS), None)
        if unit is not None:
            column.set("unit", unit, "guess: by its name")
        if one.low >= 0 and vocabulary.holds(name, vocabulary.NOT_NEGATIVE):
            column.set("min", 0, "guess: less makes no sense; a row with less is set aside")


def _criteria(name: str) -> Iterator[str]:
    """Names for a criterion, the best first; each criterion is named once."""
    yield vocabulary.pretty(name)
    yield name
    yield from (f"{name} ({number})" for number in itertools.count(2))


def _other_time(column: Column) -> None:
    name = column.profile.name
    later = (vocabulary.CONVERTED_DATES, vocabulary.LOST_DATES, vocabulary.CLOSE_DATES, vocabulary.AFTERWARDS)
    if any(vocabulary.rank(name, text) is not None for text in later):
        _timestamp(column, "outcome")
        column.set("known_at", "outcome", "guess: by its name")
        column.note = "known with the outcome"
        return
    _timestamp(column, "ignored")
    column.remarks["role"] = "guess: see `reason`"
    column.set("reason", "a time: no feature is made of it")
    column.note = "a time: no feature is made of it"


def _rewritten(name: str) -> bool:
    """Whether a name speaks of what is written while a lead is worked: a status, an owner, a last something."""
    said = vocabulary.words(name)
    listed = any(vocabulary.rank(name, text) is not None for text in (vocabulary.LATER, vocabulary.STATES))
    return listed or "owner" in said or (said[:1] in LAST and "name" not in said)


def _id_like(one: Profile) -> bool:
    """Whether a column names records of some kind: unlike values under such a name, or of one shape."""
    named = vocabulary.holds(one.name, vocabulary.ID_WORDS)
    if one.kind == "integer":
        return one.unlike > NEARLY_ALL and one.distinct > MANY and (named or (one.unique and code_like(one)))
    if one.kind != "category" or one.distinct <= MANY:
        return False
    return (one.unlike > NEARLY_ALL and (named or code_like(one))) or (one.unlike > UNLIKE and named and code_like(one))


def _type_of(one: Profile) -> tuple[str, str]:
    """Type of a feature, and why."""
    refused = f"; {one.unreadable:,} rows hold something else and are refused" if one.unreadable else ""
    if one.kind == "boolean":
        return "boolean", "guess: two values that mean yes and no"
    if one.kind == "category":
        return "category", f"guess: {one.distinct:,} different words; the list stays open for new ones"
    span = f"from {one.low:g} to {one.high:g}"
    if one.kind == "integer" and one.distinct <= MAX_CODES and vocabulary.holds(one.name, vocabulary.CODES):
        return (
            "category",
            f"guess: {one.distinct:,} codes, by its name; write integer if they are amounts",
        )
    if one.kind == "integer":
        codes = "; write category if they are codes" if one.distinct <= FEW and one.low >= 1 else ""
        return "integer", f"guess: whole numbers {span}{refused}{codes}"
    return "number", f"guess: numbers {span}{refused}"
