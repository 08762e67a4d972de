"""Sound tables to damage: a small lead history with every type of column, and how such a file may be written."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

LEADS = [
    "lead_id", "created_at", "won_on", "lost_on", "source", "country", "staff", "revenue", "newsletter", "company",
    "email", "comment",
]  # fmt: skip
ACTIVITIES = ["activity_id", "lead_id", "kind", "happened_at", "recorded_at", "note"]

_SOURCES = ["web", "fair", "referral", "newsletter", "Händler"]
_COUNTRIES = ["DE", "AT", "NA", "FR", "España", "Česko"]
_KINDS = ["page_view", "email_open", "call", "meeting"]
_COMPANIES = [
    "Nordwerk", "Müller & Söhne", "Acme, Inc.", 'Pumps 6" and more', "Łódź Metal", "Site; Works", "Crème & Co",
    '"Quoted" Ltd', "Tab\tbed", "Ångström AB", ", leading", "Pipe | Line", "Œuvre SA", "N/A", "naïve £ €",
]  # fmt: skip
_WORDS = [
    "wants an offer", "called back", "budget next year", "see contract", "no answer", "größere Menge", 'a 5" display',
    "sent to sales", "asks for a demo", "prix trop élevé", "good fit", "later",
]  # fmt: skip

_SIGNS = [", ", " ", "; ", "\n", "\r\n", ",", '"', "\n\n"]

#: Letters that cp1252 and latin-1 lack, by what stands for them there.
_PLAIN = str.maketrans({"Č": "C", "Ł": "L", "ź": "z", "Œ": "OE", "€": "EUR"})


@dataclass(frozen=True)
class Style:
    """How a file is written: the keys of a contract's file, and what the reader must cope with by itself."""

    separator: str
    encoding: str
    decimal: str
    quoting: int
    end: str

    @property
    def codec(self) -> str:
        return "utf-16-le" if self.encoding == "utf-16" else self.encoding

    def write(self, cells: list[str]) -> bytes:
        """One row as Python's own writer writes it."""
        text = io.StringIO(newline="")
        csv.writer(
            text,
            delimiter=self.separator,
            quoting=self.quoting,  # type: ignore[arg-type]
            lineterminator=self.end,
        ).writerow(cells)
        return text.getvalue().encode(self.codec)


@dataclass(frozen=True)
class Table:
    """A sound table: rows of text under a header; the first column is its key."""

    name: str
    header: list[str]
    rows: list[list[str]]


def style(rng: np.random.Generator) -> Style:
    separator, decimal = [(",", "."), (";", ","), (";", "."), ("\t", "."), ("|", ",")][
        rng.choice(5, p=[0.5, 0.2, 0.1, 0.1, 0.1])
    ]
    encoding = str(rng.choice(["utf-8", "cp1252", "latin-1", "utf-16"], p=[0.7, 0.12, 0.08, 0.1]))
    quoting = int(rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC], p=[0.6, 0.25, 0.15]))
    return Style(separator, encoding, decimal, quoting, str(rng.choice(["\n", "\r\n"])))


def tables(rng: np.random.Generator, written: Style, *, leads: int, activities: int) -> dict[str, Table]:
    """Leads and activities, sound by the contract of `contract`."""
    found = {"leads": _leads(rng, leads, written.decimal), "activities": _activities(rng, activities, leads)}
    if written.encoding in ("cp1252", "latin-1"):
        found = {
            name: Table(name, table.header, [[cell.translate(_PLAIN) for cell in row] for row in table.rows])
            for name, table in found.items()
        }
    return found


def _leads(rng: np.random.Generator, number: int, decimal: str) -> Table:
    rows = []
    for lead in range(number):
        day = int(rng.integers(300))
        won, lost = rng.random() < 0.2, rng.random() < 0.5
        rows.append(
            [
                f"L{lead:05d}",
                _day(day),
                _day(day + int(rng.integers(1, 60))) if won else "",
                _day(day + int(rng.integers(1, 60))) if lost and not won else "",
                str(rng.choice(_SOURCES)),
                str(rng.choice(_COUNTRIES)),
                str(rng.integers(1, 5000)) if rng.random() < 0.9 else "",
                f"{rng.random() * 1e6:.2f}".replace(".", decimal) if rng.random() < 0.8 else "",
                str(rng.choice(["true", "false"])),
                str(rng.choice(_COMPANIES)),
                f"office{lead}@firm{lead % 40}.example" if rng.random() < 0.7 else "",
                _text(rng),
            ]
        )
    return Table("leads", LEADS, rows)


def _activities(rng: np.random.Generator, number: int, leads: int) -> Table:
    rows = []
    for activity in range(number):
        day, minute = 300 + int(rng.integers(60)), int(rng.integers(24 * 60))
        moment = f"{_day(day)}T{minute // 60:02d}:{minute % 60:02d}:00"
        rows.append(
            [
                f"A{activity:06d}",
                f"L{rng.integers(leads):05d}",
                str(rng.choice(_KINDS)),
                moment,
                moment,
                _text(rng),
            ]
        )
    return Table("activities", ACTIVITIES, rows)


def _day(number: int) -> str:
    return str(np.datetime64("2023-01-01") + number)


def _text(rng: np.random.Generator) -> str:
    """Free text: mostly short, sometimes of several lines, with separators and quotes in any place."""
    if rng.random() < 0.5:
        return ""
    pieces = [str(rng.choice(_WORDS)) for _ in range(rng.integers(1, 8))]
    signs = [str(rng.choice(_SIGNS, p=[0.3, 0.3, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05]))
             for _ in pieces]  # fmt: skip
    text = "".join(piece + sign for piece, sign in zip(pieces, signs, strict=True))
    return text if rng.random() < 0.2 else text.rstrip(" ,;")


def contract(written: Style, *, activities: bool) -> dict[str, Any]:
    """The contract that describes these tables, as plain data; without `activities` that of the leads alone."""
    file = {"separator": written.separator, "encoding": written.encoding, "decimal": written.decimal}
    moment = {"type": "timestamp"}
    described: dict[str, Any] = {
        "contract_version": 1,
        "name": "damaged",
        "description": "Tables made to be damaged.",
        "source": {
            "kind": "files",
            "leads": {"path": "leads.csv"} | file,
            "activities": {"path": "activities.csv"} | file,
        },
        "key": "lead_id",
        "time": {"kind": "column", "column": "created_at"},
        "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won_on", "lost_at": "lost_on"},
        "columns": {
            "lead_id": {"role": "identifier", "required": True, "unique": True},
            "created_at": moment | {"role": "ignored", "required": True},
            "won_on": moment | {"role": "outcome", "not_before": "created_at", "not_with": "lost_on"},
            "lost_on": moment | {"role": "outcome", "not_before": "created_at"},
            "source": {
                "role": "feature",
                "type": "category",
                "known_at": "creation",
                "values": _SOURCES,
                "required": True,
            },
            "country": {"role": "feature", "type": "category", "known_at": "creation"},
            "staff": {"role": "feature", "type": "integer", "known_at": "creation", "min": 1},
            "revenue": {"role": "feature", "type": "number", "known_at": "creation", "min": 0, "max": 1e7},
            "newsletter": {"role": "feature", "type": "boolean", "known_at": "creation"},
            "company": {"role": "ignored", "type": "text"},
            "email": {"role": "personal", "facts": ["work_email"]},
            "comment": {"role": "ignored", "type": "text"},
        },
        "activities": {
            "key": "activity_id",
            "lead": "lead_id",
            "kind": "kind",
            "happened_at": "happened_at",
            "recorded_at": "recorded_at",
            "kinds": {kind: {} for kind in _KINDS},
        },
    }
    if not activities:
        del described["activities"], described["source"]["activities"]
    return described
