"""What a request may hold: strict JSON, and in it leads as the scorer takes them.

Python's reader lets pass what JSON does not have (NaN, half a character) and the last of two equal keys win. Here each
is refused, with an HTTP status and a sentence that names the place and never a value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.scorer.model import ACTIVITY_FIELDS, CHANGE_FIELDS

#: Lists of records that a lead carries, and the fields that are read of them.
HISTORY = {"activities": ACTIVITY_FIELDS, "changes": CHANGE_FIELDS}
#: Moments that end a lead; optional, and read where they are given.
ENDS = ("converted_at", "lost_at")
#: Sets of columns that the leads of one request may have; each is a call of the scorer.
MOST_SHAPES = 20
#: Names of unread columns that an answer lists.
MOST_UNREAD = 20

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_FINER = re.compile(r"[.,]\d{7}")


class Refusal(Exception):
    """A request that gets no scores: an HTTP status, and what is wrong in a sentence without a value."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class Form:
    """What a scorer reads of a lead, under its own names or those of the source.

    `needed`: own names of columns that must be there, as one of `spellings`; `as_of` is not among them. `read`: every
    name that is read. `times`: names of moments.
    """

    needed: tuple[str, ...]
    spellings: Mapping[str, frozenset[str]]
    read: frozenset[str]
    times: frozenset[str]

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Form:
        """The form of a scorer with this spec (see `pipeline/leads/specification.py`)."""
        facts = {fact["name"]: fact["column"] for fact in spec["facts"]}
        own = ["lead_id", "created_at", *(one["name"] for one in spec["profile"])]
        history = [name for name, used in (("activities", spec["kinds"]), ("changes", spec["tracked"])) if used]
        needed = tuple(name for name in own if name not in facts) + tuple(history)
        spellings = {
            name: frozenset({name, *(old for old, new in spec["names"].items() if new == name)})
            for name in (*own, "as_of", *ENDS, *HISTORY)
        }
        dated = {one["name"] for one in spec["checks"] if one["type"] == "timestamp"} | {"created_at", "as_of", *ENDS}
        return cls(
            needed=needed,
            spellings=spellings,
            read=frozenset().union(*spellings.values(), facts.values(), spec["names"]),
            times=frozenset().union(*(spellings.get(name, {name}) for name in dated)),
        )


@dataclass(frozen=True)
class Leads:
    """Leads of one request as the scorer takes them, in their order.

    `clocked`: their as-of date is the moment of the request. `apart`: a moment is given finer than in microseconds,
    which changes how pandas reads the whole column: these leads share a call with no other request's.
    `unread`: columns that the scorer does not know, the first `MOST_UNREAD` by name.
    """

    leads: list[dict[str, Any]]
    clocked: list[bool]
    apart: bool
    unread: list[str]


def document(body: bytes) -> Any:
    """The one JSON value of a body.

    Raises:
        Refusal: status 400; it is not JSON (RFC 8259), a key stands twice in an object, or it is nested too deeply.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise Refusal(400, f"the body is not UTF-8, from byte {fault.start} on.") from None
    try:
        read = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        if _HALF.search(text):
            json.dumps(read, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as fault:
        raise Refusal(400, f"the body is not JSON: see line {fault.lineno}, column {fault.colno}.") from None
    except UnicodeEncodeError:
        raise Refusal(400, "the body is not JSON: a text holds half of a surrogate pair.") from None
    except RecursionError:
        raise Refusal(400, "the body is nested too deeply; a request has five levels.") from None
    except ValueError:
        raise Refusal(400, "the body holds a whole number of thousands of digits; send it as text.") from None
    return read


def leads(document: Any, key: str, form: Form, now: str, most: int) -> Leads:
    """The leads of a request.

    Args:
        key: `lead`, whose value is one lead, or `leads`, whose value is a list of up to `most`.
        now: as-of date of leads that name none, ISO 8601.

    Raises:
        Refusal: status 422, or 413 where there are too many; the first fault that was met.
    """
    if not isinstance(document, dict) or list(document) != [key]:
        raise Refusal(422, f'the body is not an object with the one key "{key}".')
    given = [document[key]] if key == "lead" else document[key]
    if not isinstance(given, list):
        raise Refusal(422, "leads is not a list.")
    if len(given) > most:
        raise Refusal(413, f"{len(given):,} leads are more than the {most:,} that one request may hold; send several.")
    read, unread = [], set()
    for k, one in enumerate(given):
        place = key if key == "lead" else f"leads[{k}]"
        read.append(_lead(one, form, place))
        unread |= one.keys() - form.read
    clocked = [not form.spellings["as_of"] & lead.keys() for lead in read]
    for lead, missing in zip(read, clocked, strict=True):
        if missing:
            lead["as_of"] = now
        for name in ENDS:
            # Left out or null is the same here, and leads with the same columns share a call.
            if not form.spellings[name] & lead.keys():
                lead[name] = None
    if len({frozenset(lead) for lead in read}) > MOST_SHAPES:
        raise Refusal(
            422,
            f"the leads have more than {MOST_SHAPES} different sets of columns; give a column without value as null.",
        )
    return Leads(read, clocked, any(_is_fine(lead, form) for lead in read), sorted(unread)[:MOST_UNREAD])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Refusal(400, "the body is not strict JSON: a key stands twice in one object.")
    return made


def _constant(word: str) -> None:
    raise Refusal(400, "the body is not JSON: NaN and Infinity are no numbers there; send null.")


def _lead(given: Any, form: Form, place: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Refusal(422, f"{place} is not an object.")
    if absent := [name for name in form.needed if not form.spellings[name] & given.keys()]:
        raise Refusal(
            422, f"{place} lacks {', '.join(absent)}; a value may be missing (null, or an empty list), its key may not."
        )
    lead = {
        name: _records(value, name, place)
        if name in HISTORY
        else _value(value, f"{place}.{name}", is_moment=name in form.times)
        for name, value in given.items()
        if name in form.read
    }
    if any(isinstance(given.get(name), bool) for name in form.spellings["lead_id"]):
        raise Refusal(422, f"{place}.lead_id is neither text nor a number.")
    return lead


def _records(value: Any, name: str, place: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(record, dict) for record in value):
        raise Refusal(422, f"{place}.{name} is not a list of objects.")
    return [
        {
            field: _value(record[field], f"{place}.{name}[{k}].{field}", is_moment=field.endswith("_at"))
            for field in HISTORY[name]
            if field in record
        }
        for k, record in enumerate(value)
    ]


def _value(value: Any, place: str, *, is_moment: bool) -> str | int | float | None:
    """A value of a column, as the scorer reads it.

    True and false become words: Python's equal 1 and 0, and in one column with these pandas would take the one for the
    other. A number where a moment belongs becomes text, as it would stand in a file.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise Refusal(422, f"{place} is a whole number beyond 64 bits; send it as text.")
    if isinstance(value, float) and not math.isfinite(value):
        raise Refusal(422, f"{place} is a number beyond what a double holds.")
    if isinstance(value, int | float):
        return str(value) if is_moment else value
    raise Refusal(422, f"{place} is neither text, number, true, false nor null.")


def _is_fine(lead: Mapping[str, Any], form: Form) -> bool:
    """Whether a moment of the lead or its history needs nanoseconds to be read."""
    return any(moment is not None and _FINER.search(moment) for moment in _moments(lead, form))


def _moments(lead: Mapping[str, Any], form: Form) -> Iterable[str | None]:
    for name in form.times & lead.keys():
        yield lead[name]
    for table in HISTORY:
        for record in lead.get(table, ()):
            yield record.get("happened_at")
            yield record.get("recorded_at")
