"""One damaged file through the real code: reading, typing, personal data, the contract's checks, quarantine, the limit
of refused rows; and what became of every row that nobody had touched.

The checks are those of `validate`, row for row, without Great Expectations around them: a suite takes a second, and
there are ten thousand files. `tests/test_damaged_csv.py` holds both against each other on some.
"""

from __future__ import annotations

import codecs
import json
import re
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.damaged_csv.damage import Damaged, damage
from benchmarks.damaged_csv.tables import Style, Table, contract, style, tables
from pipeline.adapters import sources
from pipeline.adapters.spool import Spool
from pipeline.errors import LeadScoringError
from pipeline.leads import declarations, quarantine
from pipeline.leads.contract import LEAD_KEY, PLACE, ROW, Resolved, parse, resolve
from pipeline.leads.people import Sieve
from pipeline.leads.tables import TABLES, Newest
from pipeline.params import Params
from pipeline.paths import Workspace
from pipeline.scorer import checks

#: Sound tables are made once for so many files, each of which is damaged in its own way.
SHARED = 50

#: Rows of the two tables.
LEADS, ACTIVITIES = 320, 400

ACCEPTED, REFUSED, CRASHED = "accepted", "refused", "traceback"

KEYS = {"leads": LEAD_KEY, "activities": "activity_id"}


@dataclass(frozen=True)
class History:
    """What came out of a history: rows kept and rows read by table, and the rows set aside: table, raw, and whether
    place and reason are told."""

    kept: dict[str, pd.DataFrame]
    aside: pd.DataFrame
    read: dict[str, int]


@dataclass(frozen=True)
class Case:
    """A sound history and the one table of it that is damaged."""

    number: int
    table: str
    truth: Table
    style: Style
    whole: dict[str, bytes]
    damaged: Damaged


@dataclass(frozen=True)
class Verdict:
    """What became of one file.

    `outcome`: accepted, refused (the file, with `exit_code`) or traceback. `kept`, `set_aside`, `lost`, `changed`: of
    the rows that nobody touched; lost is what is neither kept nor set aside with its reason. `faults`: what breaks a
    claim, as sentences; empty where all hold.
    """

    number: int
    table: str
    kinds: tuple[str, ...]
    mild: bool
    outcome: str
    exit_code: int = 0
    message: str = ""
    untouched: int = 0
    kept: int = 0
    set_aside: int = 0
    lost: int = 0
    changed: int = 0
    faults: tuple[str, ...] = ()


def case(seed: int, number: int) -> Case:
    """The file with this number; it does not depend on any other."""
    written, made, whole = _sound(seed, number // SHARED)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1, number]))
    table = "leads" if rng.random() < 0.7 else "activities"
    return Case(number, table, made[table], written, whole, damage(made[table], written, rng))


@lru_cache(maxsize=2)
def _sound(seed: int, shared: int) -> tuple[Style, dict[str, Table], dict[str, bytes]]:
    """A sound history: how it is written, its tables, its files."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0, shared]))
    written = style(rng)
    made = tables(rng, written, leads=LEADS, activities=ACTIVITIES)
    mark = codecs.BOM_UTF16_LE if written.encoding == "utf-16" else b""
    whole = {
        name: mark + b"".join(written.write(cells) for cells in [one.header, *one.rows]) for name, one in made.items()
    }
    return written, made, whole


class Judge:
    """Takes files through ingest and validation, in a folder for them, and judges what became of each."""

    def __init__(self, seed: int, params: Params, folder: Path, check: Check | None = None) -> None:
        self.seed, self.params, self.folder, self.check = seed, params, folder, check or by_flags
        self._truths: dict[tuple[int, str], History] = {}

    def judge(self, number: int) -> Verdict:
        one = case(self.seed, number)
        damaged = one.damaged
        mild = damaged.sound and damaged.damaged < 0.01 * len(one.truth.rows)
        verdict = Verdict(number, one.table, damaged.kinds, mild, ACCEPTED, untouched=len(damaged.untouched))
        try:
            history = self._history(one, damaged.content)
        except LeadScoringError as error:
            faults = [] if not mild else [f"is refused, though under 1 % of its rows are damaged: {error}"]
            if not str(error).strip().endswith("."):
                faults.append(f"is refused without a whole sentence: {error}")
            code = error.exit_code
            return replace(verdict, outcome=REFUSED, exit_code=code, message=str(error), faults=tuple(faults))
        except Exception:
            message = traceback.format_exc()
            return replace(verdict, outcome=CRASHED, message=message, faults=("ends in a traceback",))
        return _compared(verdict, one, history, self._truth(one).kept[one.table])

    def _history(self, one: Case, content: bytes) -> History:
        """A damaged table of leads alone; one of activities with its sound leads."""
        described = contract(one.style, activities=one.table == "activities")
        resolved = resolve(parse(described, file="damaged.yaml"))
        files = {"leads": one.whole["leads"], one.table: content}
        return _history(files, resolved, self.params, self.folder, self.check)

    def _truth(self, one: Case) -> History:
        """What comes out of the same history without any damage; nothing of it may be set aside."""
        shared = (one.number // SHARED, one.table)
        if shared not in self._truths:
            history = self._history(one, one.whole[one.table])
            assert history.aside.empty, f"file {one.number}: the sound history is not: {history.aside['raw'].iloc[0]}"
            self._truths = {key: made for key, made in self._truths.items() if key[0] == shared[0]}
            self._truths[shared] = history
        return self._truths[shared]


def _compared(verdict: Verdict, one: Case, history: History, truth: pd.DataFrame) -> Verdict:
    """Every row that nobody touched beside its truth."""
    key = KEYS[one.table]
    columns = [name for name in truth.columns if name != ROW]
    expected = {row[0]: row for row in _rows(truth, key, columns)}
    found: dict[str, list[tuple]] = {}
    for row in _rows(history.kept[one.table], key, columns):
        found.setdefault(row[0], []).append(row)
    texts = "\n".join(history.aside.loc[history.aside["table"] == one.table, "raw"])
    outcomes: Counter[str] = Counter()
    for place in one.damaged.untouched:
        name = one.truth.rows[place][0]
        if expected[name] in found.get(name, []):
            outcomes["kept"] += 1
        elif name in found:
            outcomes["changed"] += 1
        else:
            outcomes["set_aside" if name in texts else "lost"] += 1
    for place in set(one.damaged.at_risk) - set(one.damaged.untouched):
        name = one.truth.rows[place][0]
        outcomes["changed"] += name in found and expected[name] not in found[name]
    faults = []
    if outcomes["changed"]:
        faults.append(f"{outcomes['changed']} untouched rows came out changed")
    if outcomes["lost"]:
        faults.append(f"{outcomes['lost']} untouched rows are gone without a reason")
    unplaced = history.aside[~history.aside["placed"]]
    if len(unplaced):
        faults.append(f"{len(unplaced)} refusals without line or reason")
    if verdict.mild and outcomes["kept"] < 0.99 * len(one.damaged.untouched):
        faults.append(f"only {outcomes['kept']} of {len(one.damaged.untouched)} untouched rows are kept")
    aside = (history.aside["table"] == one.table).sum()
    if history.read[one.table] != len(history.kept[one.table]) + aside:
        faults.append("rows in are not rows kept and set aside")
    return replace(
        verdict, **{name: outcomes[name] for name in ("kept", "set_aside", "lost", "changed")}, faults=tuple(faults)
    )


def _rows(table: pd.DataFrame, key: str, columns: list[str]) -> list[tuple]:
    """Rows as tuples that compare cell by cell, the key first; missing is None."""
    ordered = table[[key, *(name for name in columns if name != key)]].astype(object)
    return list(ordered.where(ordered.notna(), None).itertuples(index=False, name=None))


# The way through ingest and validate

Check = Callable[[dict[str, pd.DataFrame], Resolved, "pd.Timestamp | None", pd.Series], pd.DataFrame]


def _history(content: dict[str, bytes], resolved: Resolved, params: Params, folder: Path, check: Check) -> History:
    workspace = Workspace(folder)
    workspace.raw.mkdir(parents=True, exist_ok=True)
    for name, bytes_ in content.items():
        (workspace.raw / f"{name}.csv").write_bytes(bytes_)
    max_bytes = params.ingest.max_file_mib * 2**20
    fetched = sources.fetch_all(workspace, resolved, max_bytes=max_bytes)
    newest = Newest(params.ingest.newest)
    with Spool(folder / "spool", Sieve(resolved, params.ingest.personal)) as spool:
        spool.take(sources.pieces_of_files(resolved, fetched, max_bytes=max_bytes))
        typed = {name: pd.concat(list(spool.table(name, newest)), ignore_index=True) for name in TABLES}
    refused = spool.refused
    unread = quarantine.unread_leads(refused, resolved.contract)
    failed = check(typed, resolved, newest.result()[0], unread)
    aside = {name: counts["set_aside"] for name, counts in spool.counts.items()}
    parted = quarantine.part(typed, failed, refused, unread, aside)
    quarantine.check_shares(parted.summary, params.validate_.max_refused_share)
    kept = {name: typed[name][~typed[name][ROW].isin(parted.gone[name])] for name in TABLES} | {"leads": parted.leads}
    later = parted.quarantine
    told = refused["reason"].str.match(PLACE) & (refused["reason"].str.replace(PLACE, "", regex=True) != "")
    # A row that the sieve refuses is known by its number, as one in quarantine is.
    told |= refused["raw"].map(_is_json).astype(bool) & (refused["reason"] != "")
    both = [
        pd.DataFrame({"table": refused["table"], "raw": refused["raw"], "placed": told}),
        pd.DataFrame({"table": later["table"], "raw": later["raw"], "placed": later["reasons"] != ""}),
    ]
    rows = {name: counts["rows"] for name, counts in spool.counts.items()}
    return History(kept, pd.concat(both, ignore_index=True), rows)


def by_flags(
    typed: dict[str, pd.DataFrame], resolved: Resolved, newest: pd.Timestamp | None, unread: pd.Series
) -> pd.DataFrame:
    """Rows that break a declaration: table, row, reason, as `expectations.check` finds them."""
    declared = declarations.declare(resolved, newest)
    across = declarations.look_across(typed, declared, unread)
    failed = []
    for name in TABLES:
        mine = [one for one in declared if one.table == name]
        kept = declarations.flags(name, typed[name], resolved, mine, newest, across)
        for one in mine:
            values = typed[name][one.column]
            match one.rule:
                case "held_as":
                    bad = pd.Series(str(values.dtype) != one.limit, index=values.index)
                case "required":
                    bad = values.isna() | (values.astype("str").str.strip() == "")
                case "finite":
                    bad = values.abs() > checks.LARGEST
                case "min":
                    bad = values < one.limit
                case "max":
                    bad = values > one.limit
                case "values":
                    bad = values.notna() & ~values.isin(list(one.limit))
                case _:
                    bad = ~kept[one.id]
            failed.append(pd.DataFrame({"table": name, ROW: typed[name].loc[bad, ROW], "reason": one.reason}))
    return pd.concat(failed, ignore_index=True).astype({"table": "str", "reason": "str"})


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def shown(verdict: Verdict) -> str:
    """One line to find the file again by."""
    kinds = ", ".join(verdict.kinds)
    head = f"file {verdict.number} ({verdict.table}; {kinds}): {'; '.join(verdict.faults)}"
    return re.sub(r"\n\s*", " | ", f"{head}\n{verdict.message}" if verdict.outcome == CRASHED else head)
