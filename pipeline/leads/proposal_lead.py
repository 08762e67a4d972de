"""Guesses about the lead itself: its key, its personal columns, and the axis of time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.errors import ContractError
from pipeline.leads import personal, vocabulary
from pipeline.leads.contract import fact_name
from pipeline.leads.profiling import Profile
from pipeline.leads.proposal_draft import Draft, Wishes
from pipeline.leads.tables import MONTHS

#: Share of rows that must have a creation time.
ENOUGH = 0.95

#: Month after month down the file, not more often than this part of what chance would change.
CALENDAR_CHANGES = 0.05

#: Share of cells that must look personal for the whole column to count as that; names are told less surely.
PERSONAL_SHARE = 0.05
NAMES_SHARE = 0.5
#: Where the column's own name says that it holds names, so many that are plainly some will do.
NAMED_SHARE = 0.2

#: Fewer rows show no order.
CALENDAR_ROWS = 200

_MONTHS_IN_FULL = frozenset(
    ["january", "february", "march", "april", "may", "june", "july", "august", "sept", "september"]
    + ["october", "november", "december"]
)
_IN_ORDER = "guess: by its name; leads are split along it, older to learn, newer to test"


def references(draft: Draft) -> dict[str, tuple[str, str]]:
    """Which column of activities and changes refers to which column of leads; see `Draft.referred`.

    Raises:
        ContractError: none does, or the two refer to different ones.
    """
    found: dict[str, tuple[str, str]] = {}
    leads = draft.tables["leads"]
    named = [one for one, column in draft.columns.items() if column.profile.unique and column.profile.kind != "empty"]
    known = {one: set(leads.cells[one].dropna().tolist()) for one in named}
    for name in ("activities", "changes"):
        table = draft.tables.get(name)
        if table is None:
            continue
        best: tuple[float, str, str] | None = None
        for column in map(str, table.cells):
            given = set(table.cells[column].dropna().unique().tolist())
            for one, values in known.items():
                share = len(given & values) / max(1, len(given))
                if best is None or share > best[0]:
                    best = (share, column, one)
        seen = len(leads.cells) / max(1, leads.rows)
        if best is None or best[0] < 0.5 * seen:
            raise ContractError(
                f"no column of the {name} refers to the leads: none holds values of a column that names each lead "
                "once. Give both tables the lead's key."
            )
        found[name] = (best[1], best[2])
    if len({lead for _, lead in found.values()}) > 1:
        raise ContractError(
            "activities and changes refer to leads by different columns "
            f"({', '.join(f'`{lead}`' for _, lead in found.values())}); give both the same key."
        )
    return found


def find_key(draft: Draft) -> None:
    """The column that names a lead: what other tables refer to, else one that looks like a key, else the row's number.

    Raises:
        ContractError: other tables refer to leads by personal data.
    """
    referred = draft.referred
    draft.comments[("key",)] = "no column names each row once: rows are numbered"
    if referred:
        lead = next(iter(referred.values()))[1]
        if kind := _personal_kind(draft, lead):
            raise ContractError(
                f"the other tables refer to leads by `{lead}`, which holds {kind}: personal data cannot be a key, "
                "since it stops at ingest. Give the tables another key."
            )
        draft.key = lead
        draft.comments[("key",)] = f"guess: {' and '.join(referred)} refer to leads by it, and it names each lead once"
        return
    best: tuple[int, int, str] | None = None
    for place, (name, column) in enumerate(draft.columns.items()):
        one = column.profile
        if not one.unique or not one.complete or one.kind not in ("integer", "category", "text"):
            continue
        if _personal_kind(draft, name) or one.free_text or one.unreadable:
            continue
        named = vocabulary.rank(name, vocabulary.KEYS)
        if named is None and not (vocabulary.holds(name, vocabulary.ID_WORDS) or code_like(one)):
            continue
        score = named if named is not None else 1_000
        if best is None or (score, place) < best[:2]:
            best = (score, place, name)
    if best is not None:
        draft.key = best[2]
        draft.comments[("key",)] = "guess: the column is complete, no value stands twice, and it looks like a key"


def code_like(one: Profile) -> bool:
    """Words of one shape without blanks, with digits: A-00017, 7f9c2ba4; or whole numbers counted up by one."""
    if one.kind == "integer":
        return one.high - one.low <= 1.05 * one.distinct and one.distinct > 20
    words = one.words.index[:500]
    if not len(words) or any(" " in word for word in words):
        return False
    digits = np.mean([any(letter.isdigit() for letter in word) for word in words])
    return bool(digits > 0.9 and np.std([len(word) for word in words]) <= 2.5)


def _personal_kind(draft: Draft, name: str) -> str | None:
    """What personal data a column holds, by content, else by name where the content may be that; None for none."""
    one = draft.profile(name)
    if one.kind in ("boolean", "empty", "number"):
        return None
    text = draft.word(name)
    if one.kind in ("category", "text", "integer"):
        if personal.share_of_emails(text) >= PERSONAL_SHARE:
            return "e-mail addresses"
        # Digits alone under the name of a number of a record are that: 006000000000012.
        recorded = vocabulary.holds(name, vocabulary.ID_WORDS) and vocabulary.personal(name) is None
        plain = recorded and bool(one.words.index.str.fullmatch(r"[0-9]+").all())
        if one.kind != "integer" and not plain and personal.share_of_phones(text) >= PERSONAL_SHARE:
            return "phone numbers"
    said = vocabulary.personal(name)
    many = one.distinct > 20 and one.unlike > 0.05
    if said == "a name" and one.kind == "category" and personal.share_of_names(text) >= NAMED_SHARE:
        return "names"
    if said == "a date of birth":
        return "dates of birth"
    if one.kind == "timestamp":
        return None
    if one.kind == "integer":
        return "phone numbers" if said == "a phone number" and one.high >= 10**6 and many else None
    if said is not None and (many or said == "a mark of one person"):
        return {"an e-mail address": "e-mail addresses", "a phone number": "phone numbers", "a name": "names"}.get(
            said, "addresses" if said == "an address" else "marks of single persons"
        )
    if many and not vocabulary.holds(name, vocabulary.OF_THINGS) and personal.share_of_names(text) >= NAMES_SHARE:
        return "names"
    return None


def find_personal(draft: Draft) -> None:
    """Columns that hold personal data, and the facts that may be derived from them."""
    facts: set[str] = set()
    for name, column in draft.columns.items():
        kind = None if name == draft.key else _personal_kind(draft, name)
        if kind is None:
            continue
        by_name = vocabulary.personal(name) is not None
        how = "by name and content" if by_name else "by content: its name says nothing"
        column.set("role", "personal", f"guess: {kind}, {how}; read at ingest, never stored")
        column.note = f"personal: {kind}"
        if not by_name:
            draft.decisions.append(f"`{name}` looks like {kind}: it is proposed as personal. Check that it is.")
        if kind == "e-mail addresses" and "work_email" not in facts and "has_work_email" not in draft.columns:
            facts.add("work_email")
            column.set("facts", ["work_email"], "guess: a company's own address says something about a buyer")
            column.set("criterion", "Business e-mail")
        elif kind == "phone numbers" and fact_name(name, "present") not in draft.columns:
            column.set(
                "facts", ["present"], "guess: whether it was given says something; take it out if it is asked later"
            )
            column.set("criterion", f"{vocabulary.pretty(name)} given")


def find_created(draft: Draft, wishes: Wishes) -> str | None:
    """The column with the moment of creation, or None."""
    times = [name for name in draft.free("timestamp") if name != wishes.outcome]
    usable = []
    for name in times:
        one = draft.profile(name)
        if one.ambiguous is not None:
            both = one.ambiguous
            draft.decisions.append(
                f"`{name}`: no row tells whether day or month comes first. Set its type to `timestamp` with `format: "
                f'"{both.day_first}"` or `"{both.month_first}"`.'
            )
        elif one.filled >= ENOUGH and one.distinct > 5:
            usable.append(name)
        elif vocabulary.rank(name, vocabulary.CREATED) is not None and one.filled < ENOUGH:
            draft.decisions.append(
                f"`{name}` is empty in {one.rows - one.given:,} rows, too many to split leads along it; leads without "
                "it would be set aside."
            )
    later = (vocabulary.CONVERTED_DATES, vocabulary.LOST_DATES, vocabulary.CLOSE_DATES, vocabulary.LATER)
    named = [(vocabulary.rank(name, vocabulary.CREATED), k, name) for k, name in enumerate(usable)]
    ranked = sorted(entry for entry in named if entry[0] is not None)
    partly = [name for name in usable if vocabulary.part(name, vocabulary.phrases(vocabulary.CREATED)[:30])]
    speaks = [name for name in usable if any(vocabulary.rank(name, text) is not None for text in later)]
    if ranked:
        found = ranked[0][2]
        draft.comments[("time", "column")] = _IN_ORDER
    elif partly:
        found = partly[0]
        draft.comments[("time", "column")] = _IN_ORDER
    elif rest := [name for name in usable if name not in speaks]:
        # The earliest of the times of a row is the one that can stand for its creation.
        frame = pd.DataFrame({name: draft.moment(name) for name in rest})
        found = str((frame.le(frame.min(axis=1), axis=0)).mean().idxmax())
        draft.comments[("time", "column")] = "guess: the earliest time of a row; its name does not say"
        draft.decisions.append(
            f"`{found}` is taken for the moment of creation, being the earliest. Is it (`time.column`)?"
        )
    else:
        return None
    return found


def find_time(draft: Draft, created: str | None) -> None:
    """The axis of time: the moment of creation, else the order of the rows where months or years show it, else none."""
    if created is not None:
        draft.time = {"kind": "column", "column": created}
        one = draft.profile(created)
        if empty := one.rows - one.given:
            draft.decisions.append(f"{empty:,} rows have no `{created}` and will be set aside.")
    elif (calendar := _calendar(draft)) is not None:
        month, day, falls = calendar
        draft.time = {"kind": "row_order", "calendar": {"month": month}}
        if day is not None:
            draft.time["calendar"]["day"] = day
        draft.time["calendar"]["first_year"] = 2000
        draft.comments[("time", "kind")] = (
            f"guess: `{month}` goes month by month down the file, starting anew {falls} time{'s' if falls != 1 else ''}"
        )
        draft.comments[("time", "calendar", "first_year")] = "undecided: set the year of the file's first row"
        draft.decisions.append(
            f"rows are taken to stand in time order, since `{month}` does. `time.calendar.first_year` is not in the "
            "file: set it (2000 stands in for it; scores do not depend on it)."
        )
    elif (ordered := _ordered(draft)) is not None:
        draft.time = {"kind": "row_order"}
        draft.comments[("time", "kind")] = f"guess: `{ordered}` rises down the file: rows stand in time order"
        draft.decisions.append(f"rows are taken to stand in time order, since `{ordered}` does. Do they (`time.kind`)?")
    else:
        draft.time = {"kind": "none"}
        draft.comments[("time", "kind")] = (
            "no column says when a lead was created: leads are split at random, and every figure is marked so. Such "
            "figures are no forecast; add a time of creation if the source has one"
        )
        draft.decisions.append(
            "no time of creation was found: the split is random, and the figures say nothing of the months ahead. If "
            "rows stand in time order, write `time: {kind: row_order}`."
        )


def _calendar(draft: Draft) -> tuple[str, str | None, int] | None:
    """A column of months that runs through the file in order, the day beside it, and how often the year starts anew."""
    for name in draft.free("category"):
        words = draft.profile(name).words.index
        if not 3 <= len(words) <= 24 or not all(_month(word) for word in words):
            continue
        month = draft.word(name).map(_month, na_action="ignore").dropna().to_numpy(dtype="int64")
        if _runs(month):
            return name, _day_of(draft, name), int((np.diff(month) < 0).sum())
    return None


def _runs(month: np.ndarray) -> bool:
    """Whether months follow each other down the file, year after year, rather than come and go."""
    if len(month) < CALENDAR_ROWS:
        return False
    changes, falls = int((np.diff(month) != 0).sum()), int((np.diff(month) < 0).sum())
    by_chance = len(month) * (1 - ((np.bincount(month) / len(month)) ** 2).sum())
    return changes >= 2 and changes <= CALENDAR_CHANGES * by_chance and changes <= 12 * (falls + 1)


def _ordered(draft: Draft) -> str | None:
    """A column of years that only rises down the file, or of months as numbers that run through it."""
    for name in draft.free("integer"):
        one = draft.profile(name)
        values = pd.to_numeric(draft.word(name), errors="coerce").dropna().to_numpy(dtype="float64")
        if len(values) < CALENDAR_ROWS or one.distinct < 2:
            continue
        said = vocabulary.words(name)[-1:]
        years = said in [("year",), ("jahr",), ("ano",), ("annee",)] and one.low >= 1900 and one.high <= 2200
        months = said in [("month",), ("monat",), ("mes",), ("mois",)] and one.low >= 1 and one.high <= 12
        if (years and (np.diff(values) >= 0).all()) or (months and _runs(values.astype("int64"))):
            return name
    return None


def _month(word: object) -> int | None:
    """Number of a month by its English name, three letters or all of it."""
    text = str(word).strip().lower()
    return MONTHS.get(text[:3]) if text in MONTHS or text in _MONTHS_IN_FULL else None


def _day_of(draft: Draft, month: str) -> str | None:
    """A column of days with which the dates of the rows hardly ever fall back."""
    for name in draft.free("integer"):
        one = draft.profile(name)
        if vocabulary.words(name)[-1:] not in [("day",), ("tag",), ("dia",), ("jour",)] or one.low < 1 or one.high > 31:
            continue
        months = draft.word(month).map(_month, na_action="ignore")
        days = pd.to_numeric(draft.word(name), errors="coerce")
        steps = np.diff((31 * months + days).dropna().to_numpy(dtype="float64"))
        new_year = (steps < -31).sum()
        if ((steps < 0).sum() - new_year) <= 0.001 * len(steps):
            return name
    return None
