"""Leads that stretch what an application may send: each kind changes a lead of the demo in its own way.

A lead is one object as JSON has it, see docs/deployment.md. Every value is one that all routes can carry: text, a
number, true, false or null.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

Lead = dict[str, Any]
#: Changes a lead; told the how many-th of its kind it is, and a generator of random numbers.
Change = Callable[[Lead, int, np.random.Generator], None]

PROFILE = [
    "annual_revenue_eur", "budget_confirmed", "campaign", "country", "department", "employees", "industry", "region",
    "seniority", "source", "status", "tech_stack",
]  # fmt: skip
OPEN_LISTS, CLOSED_LISTS = ("campaign", "source", "tech_stack"), ("country", "industry", "region", "seniority")
KEYS = [
    "Zoë Ångström", "リード-1", "🦄🚀", "мир", "a" * 5_000, "with,comma", 'with "quotes"', "two words", "=1+1", "@x",
    "-5", "007", "1e5", "NaN", "null", "None", "true", "x'; DROP TABLE leads; --", "<b>", "../../etc", "é", "e\u0301",
    "N/A",
    "\u200bzero width", 12345, -7, 2**53 + 1,
]  # fmt: skip
MOMENTS = [
    "{day}", "{day}T12:30", "{day}T12:30:15", "{day} 12:30:15", "{day}T12:30:15.5", "{day}T12:30:15.123",
    "{day}T12:30:15.123456", "{day}T12:30:15.123456789", "{day}T12:30:15Z", "{day}T23:30:00+02:00",
    "{day}T00:30:00-11:30", "{day}T12:30:15.123456+05:45", "9999-12-31T23:59:59", "2100-01-01", "1970-01-01",
    "1600-02-29", "soon", "12/31/2024", "2024-13-01", "0", "{day}T24:00:00",
]  # fmt: skip
NUMBERS = [
    0, -1, 1, 0.5, 1e-10, 5e-324, 1e15, 2**53 + 1, 2**62, 3.4e38, 3.5e38, 1e308, -1e308, 12.5, 262.0, 1e22, 0.1 + 0.2,
]  # fmt: skip
NUMBER_TEXTS = [
    "262",
    " 42 ",
    "1e3",
    "1.5E2",
    "+7",
    "12.0",
    "1_000",
    "1,5",
    "0x10",
    "inf",
    "-inf",
    "nan",
    "NaN",
    "∞",
    "٣",
]
FLAGS = [True, False, 1, 0, 1.0, 0.0, "yes", "NO", "True", " false ", "1.0", "perhaps", "2", 2, "ja"]
WRONG = ["many", True, False, 3.7, -2, "", " ", "\t", "🦄", "a" * 2_000, 10**18]


def edges(base: list[Lead], number: int, seed: int) -> Iterator[tuple[str, Lead]]:
    """So many leads with the kind of each, in turn of every kind of `KINDS`; keys are new, but for those of `keys`."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, *b"edges"]))
    for k in range(number):
        kind = list(KINDS)[k % len(KINDS)]
        lead = copy.deepcopy(base[int(generator.integers(len(base)))])
        lead["lead_id"] = f"EDGE-{k:04d}"
        KINDS[kind](lead, k // len(KINDS), generator)
        yield kind, lead


def _shifted(moment: str, **by: float) -> str:
    return (pd.Timestamp(moment) + timedelta(**by)).isoformat()


def _missing(lead: Lead, k: int, _: np.random.Generator) -> None:
    names = [*PROFILE, "created_at", "as_of", "email", "phone"]
    lead[names[k % len(names)]] = None


def _all_missing(lead: Lead, k: int, generator: np.random.Generator) -> None:
    gone = PROFILE if k % 3 == 0 else generator.choice(PROFILE, size=int(generator.integers(2, 11)), replace=False)
    lead |= dict.fromkeys([str(name) for name in gone if name != "status"])


def _unseen(lead: Lead, k: int, _: np.random.Generator) -> None:
    words = ["aaa", "mmm", "zzz", "Partner", "🦄", "new channel", "0", "nan", "None", "NA", "a;b", 'q"uote']
    lead[OPEN_LISTS[k % 3]] = words[k // 3 % len(words)]


def _undeclared(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead[CLOSED_LISTS[k % 4]] = ["Atlantis", "de", "DE ", "", " ", "north-east", 5, "NA"][k // 4 % 8]


def _number(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead[("employees", "annual_revenue_eur")[k % 2]] = NUMBERS[k // 2 % len(NUMBERS)]


def _number_text(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead[("employees", "annual_revenue_eur")[k % 2]] = NUMBER_TEXTS[k // 2 % len(NUMBER_TEXTS)]


def _flag(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead["budget_confirmed"] = FLAGS[k % len(FLAGS)]
    lead["changes"] = [] if k % 2 else lead["changes"]


def _empty(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead[PROFILE[k % len(PROFILE)]] = ("", " ", "  \t ")[k // len(PROFILE) % 3]


def _key(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead["lead_id"] = KEYS[k] if k < len(KEYS) else f"ключ-{k}-🙂" * (k % 7 + 1)


def _no_key(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead["lead_id"] = None if k % 2 else ""
    # What tells these leads apart when answers are compared.
    lead["as_of"] = _shifted("2024-10-01", minutes=k)
    lead["activities"], lead["changes"] = [], []


def _as_of(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead["as_of"] = MOMENTS[k % len(MOMENTS)].replace("{day}", lead["as_of"][:10])


def _near_creation(lead: Lead, k: int, _: np.random.Generator) -> None:
    by: dict[str, float] = [{}, {"microseconds": 1}, {"microseconds": -1}, {"days": -1}, {"seconds": 1}, {"days": 400}][
        k % 6
    ]
    lead["as_of"] = _shifted(lead["created_at"], **by)


def _created(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead["created_at"] = ["yesterday", lead["created_at"][:10], lead["created_at"] + "Z", "", 20240101, "2024-02-30"][
        k % 6
    ]


def _future(lead: Lead, k: int, _: np.random.Generator) -> None:
    for step in range(5):
        moment = _shifted(lead["as_of"], days=step + k / 7, microseconds=1)
        lead["activities"].append({"kind": "meeting", "happened_at": moment, "recorded_at": moment})
    late = _shifted(lead["as_of"], days=1)
    lead["activities"].append({"kind": "meeting", "happened_at": lead["as_of"], "recorded_at": late})
    lead["changes"].append({"column": "employees", "recorded_at": late, "old_value": "5", "new_value": "9"})


def _exactly(lead: Lead, k: int, _: np.random.Generator) -> None:
    by = _shifted(lead["as_of"], microseconds=(0, 1, -1)[k % 3])
    lead["activities"].append({"kind": "meeting", "happened_at": by, "recorded_at": by})
    lead["activities"].append({"kind": "call", "happened_at": _shifted(by, days=-7), "recorded_at": by})
    lead["changes"].append({"column": "budget_confirmed", "recorded_at": by, "old_value": None, "new_value": "true"})


def _repeated(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead["activities"] = lead["activities"] * (k % 3 + 2)
    lead["changes"] = lead["changes"] * 2


def _none(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead["activities"] = [] if k % 2 else None
    lead["changes"] = [] if k % 4 < 2 else None


def _thousands(lead: Lead, k: int, generator: np.random.Generator) -> None:
    made, kinds = pd.Timestamp(lead["created_at"]), ["visit_home", "visit_pricing", "email_opened", "call", "unknown"]
    for _ in range((1_000, 3_000, 100)[k % 3]):
        moment = made + pd.Timedelta(seconds=int(generator.integers(0, 90 * 86_400)))
        told = moment + pd.Timedelta(seconds=int(generator.integers(0, 600)))
        kind = kinds[int(generator.integers(len(kinds)))]
        lead["activities"].append({"kind": kind, "happened_at": moment.isoformat(), "recorded_at": told.isoformat()})


def _doubtful(lead: Lead, k: int, _: np.random.Generator) -> None:
    made, as_of = lead["created_at"], lead["as_of"]
    early, day = _shifted(made, days=-2), made[:10]
    happened, recorded = [(early, made), (as_of, made), (early, early), (day, day), (f"{day}T00:00:00Z", made)][k % 5]
    lead["activities"].append({"kind": "meeting", "happened_at": happened, "recorded_at": recorded})


def _undated(lead: Lead, k: int, _: np.random.Generator) -> None:
    bad: Any = ["soon", "", None, "2024-02-30", "31.12.2024"][k % 5]
    good = lead["as_of"]
    pair = [(bad, good), (good, bad), (bad, bad)][k // 5 % 3]
    lead["activities"].append({"kind": "meeting", "happened_at": pair[0], "recorded_at": pair[1]})


def _kinds(lead: Lead, k: int, _: np.random.Generator) -> None:
    kind: Any = ["carrier pigeon", "Meeting", "meeting ", None, "", 5, "🦄"][k % 7]
    lead["activities"].append({"kind": kind, "happened_at": lead["as_of"], "recorded_at": lead["as_of"]})


def _changed(lead: Lead, k: int, _: np.random.Generator) -> None:
    column, old, new = [
        ("employees", "12", "40"), ("employees", 12, 40.0), ("employees", None, "7"), ("employees", "5", None),
        ("employees", "many", "7"), ("employees", "5", "-3"), ("status", "new", "contacted"), ("status", "new", "Won"),
        ("budget_confirmed", "false", "true"), ("budget_confirmed", False, True), ("budget_confirmed", None, "perhaps"),
        ("shoe_size", "41", "42"), (None, "1", "2"), ("industry", "retail", "energy"), ("status", None, None),
    ][k % 15]  # fmt: skip
    moment = _shifted(lead["created_at"], hours=5) if k % 2 else lead["as_of"]
    lead["changes"].append({"column": column, "recorded_at": moment, "old_value": old, "new_value": new})


def _ended(lead: Lead, k: int, _: np.random.Generator) -> None:
    by = [-86_400_000_000, -1, 0, 1, 86_400_000_000][k % 5]
    moment = _shifted(lead["as_of"], microseconds=by)
    name = ("converted_at", "lost_at")[k // 5 % 2]
    lead[name] = moment
    lead["status"] = "customer" if name == "converted_at" else "lost"


def _own_rule(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead["campaign"] = ["test", "TEST spring", "internal demo", "latest", "Internal"][k % 5]


def _wrong_type(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead[PROFILE[k % len(PROFILE)]] = WRONG[k // len(PROFILE) % len(WRONG)]


def _several_faults(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead |= {"employees": 0, "country": "XX", "campaign": "test", "annual_revenue_eur": -5}
    lead["status"] = None if k % 2 else "won"


def _personal(lead: Lead, k: int, _: np.random.Generator) -> None:
    lead["email"] = [
        "a@gmail.com", "A.B@YAHOO.CO.UK", " b@acme.example ", "no address", "", None, "x@localhost", "ü@bücher.example",
        "a@b@c.example", 5,
    ][k % 10]  # fmt: skip
    lead["phone"] = ["+999 1", "", " ", None, 999, "☎"][k % 6]


KINDS: dict[str, Change] = {
    "one value missing": _missing,
    "most values missing": _all_missing,
    "unseen category": _unseen,
    "undeclared category": _undeclared,
    "extreme number": _number,
    "number as text": _number_text,
    "flag": _flag,
    "empty text": _empty,
    "odd key": _key,
    "no key": _no_key,
    "odd as-of": _as_of,
    "as-of near creation": _near_creation,
    "odd creation": _created,
    "future activities": _future,
    "exactly at the as-of": _exactly,
    "repeated activities": _repeated,
    "no history": _none,
    "thousands of activities": _thousands,
    "doubtful activity": _doubtful,
    "undated activity": _undated,
    "odd kind of activity": _kinds,
    "odd change": _changed,
    "decided": _ended,
    "refused by a rule of the contract": _own_rule,
    "wrong type": _wrong_type,
    "several faults": _several_faults,
    "personal columns": _personal,
}
