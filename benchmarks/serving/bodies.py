"""Requests as nobody should send them: bodies bent, cut and spliced, JSON of another shape, wrong headers and paths."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

JSON = {"Content-Type": "application/json"}

#: What no answer may hold: a place in a file system, or a trace of the code.
INSIDE = re.compile(rb"Traceback|\.py\b|site-packages|/(?:usr|etc|tmp|var|opt|home|srv|proc|Users|root|work)\b")

#: Pieces of JSON, and of what only looks like it.
TOKENS = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"0x10",
    b"01",
    b"1" * 5000,
    b"9223372036854775808",
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\xff"',
    b"[" * 3000,
    b'{"a":' * 3000,
    b'{"lead_id":1,"lead_id":2}',
    b"\xef\xbb\xbf",
    b"/*",
    b"'",
    b",",
    b"null",
    b"true",
    b"{}",
    b"[[]]",
]

#: Values that may stand where another one should.
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**63,
    10**30,
    1.5,
    1e308,
    -1e-320,
    "",
    " ",
    "nan",
    "x" * 2000,
    "\u0000",
    "é\u202e",
    "../../etc/passwd",
    "<script>",
    "9999-12-31",
    "2024-02-30",
    "2024-01-01T00:00:00.123456789",
    1726876800,
    [],
    {},
    [1],
    {"a": 1},
    [[]],
    [{}],
    [None],
    [{"kind": [1]}],
    [{"kind": "call", "happened_at": True}],
]


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))


def fuzzed(lead: dict[str, Any], number: int, seed: int) -> Iterator[Asked]:
    """So many requests, most of them bad, made from a sound lead."""
    chance = random.Random(seed)
    for _ in range(number):
        key = chance.choice(["lead", "leads"])
        path = "/score" if key == "lead" else "/score/batch"
        sound = {key: lead if key == "lead" else [lead] * chance.randint(0, 3)}
        yield chance.choice([_bent, _bent, _reshaped, _reshaped, _reshaped, _misdirected])(chance, path, sound)


def _bent(chance: random.Random, path: str, sound: dict[str, Any]) -> Asked:
    """The text of a sound body with bytes changed, cut off, put in, or written in another encoding."""
    body = bytearray(json.dumps(sound).encode())
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(body) + 1)
        act = chance.randrange(5)
        if act == 0 and place < len(body):
            body[place] = chance.randrange(256)
        elif act == 1:
            del body[place:]
        elif act == 2:
            body[place:place] = chance.choice(TOKENS)
        elif act == 3:
            del body[place : place + chance.randint(1, 40)]
        else:
            body = bytearray(body.decode("latin-1").encode(chance.choice(["utf-16", "utf-8-sig", "utf-32"])))
    return Asked("POST", path, bytes(body))


def _reshaped(chance: random.Random, path: str, sound: dict[str, Any]) -> Asked:
    """Sound JSON with values replaced, keys taken out, renamed or added, or all of it in something else."""
    document: Any = copy.deepcopy(sound)
    for _ in range(chance.randint(1, 3)):
        holder, key = chance.choice(_places(document) or [({"": document}, "")])
        act = chance.randrange(4)
        if act < 2 or isinstance(holder, list):
            holder[key] = copy.deepcopy(chance.choice(VALUES))
        elif act == 2:
            del holder[key]
        else:
            holder[chance.choice(["", "é", "../..", "lead", "leads", "as_of", "activities", key + " "])] = holder.pop(
                key
            )
    if chance.random() < 0.1:
        document = chance.choice([[document], document.get("lead"), json.dumps(document), 1, None, {"leads": document}])
    return Asked("POST", path, json.dumps(document).encode())


def _misdirected(chance: random.Random, path: str, sound: dict[str, Any]) -> Asked:
    """A sound body with the wrong method, path or headers, or one that is empty, too large or no JSON at all."""
    body = json.dumps(sound).encode()
    return chance.choice(
        [
            Asked(chance.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS"]), path, b""),
            Asked(
                "POST", chance.choice([path + "/", "/", "/invocations", "/health", "/%2e%2e/etc", "/score?x=%00"]), body
            ),
            Asked(
                "POST", path, body, {"Content-Type": chance.choice(["text/csv", "", "application/x-ndjson", "\u00e9"])}
            ),
            Asked("POST", path, body, {"Content-Type": "application/json; charset=latin-1"}),
            Asked("POST", path, body, JSON | {"Content-Encoding": chance.choice(["gzip", "br", "x"])}),
            Asked("POST", path, b""),
            Asked("POST", path, chance.randbytes(chance.randint(1, 3000))),
            Asked("POST", path, b" " * chance.choice([10, 10_000]) + body + b" " * 1000),
        ]
    )


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every (object or list, key) in a document, outside in."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            found += [(holder, key) for key in keys]
            waiting += [holder[key] for key in keys]
    return found
