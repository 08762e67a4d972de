"""Dirty rows of the demo log: rows that no pipeline should learn from, each of a known kind.

Dirt is only ever added: a dirty lead is a damaged copy of a good one under a key of its own, with copies of some of its
activities; the good rows keep every cell. Each kind breaks one declaration of `data/contracts/demo.yaml` (a type, a
required or unique column, a range, a closed list, an order of times, a reference) and no other. Some damage puts a
name, an e-mail address or a phone number where none belongs; such rows stop at `ingest`, as personal columns do.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

#: Dirty kind -> (table, the declaration it breaks).
KINDS: dict[str, tuple[str, str]] = {
    "lead_key_repeated": ("leads", "lead_id is unique; neither row can be trusted"),
    "lead_key_missing": ("leads", "lead_id is required"),
    "created_at_missing": ("leads", "created_at is required"),
    "created_at_unreadable": ("leads", "created_at is a timestamp"),
    "created_after_extraction": ("leads", "no moment lies after the log's last one"),
    "employees_negative": ("leads", "employees is at least 1"),
    "employees_not_a_number": ("leads", "employees is an integer"),
    "revenue_negative": ("leads", "annual_revenue_eur is at least 0"),
    "converted_before_created": ("leads", "converted_at is not before created_at"),
    "lost_before_created": ("leads", "lost_at is not before created_at"),
    "converted_and_lost": ("leads", "lost_at does not stand with converted_at"),
    "country_unknown": ("leads", "country is one of a closed list"),
    "email_in_industry": ("leads", "industry is one of a closed list, and no e-mail address"),
    "phone_in_region": ("leads", "region is one of a closed list, and no phone number"),
    "budget_not_yes_or_no": ("leads", "budget_confirmed is a boolean"),
    "name_in_budget": ("leads", "budget_confirmed is a boolean, and no name"),
    "name_in_department": ("leads", "department is one of a closed list, and no name"),
    "name_in_campaign": ("leads", "campaign, an open list, holds no name"),
    "stranger_in_tech_stack": (
        "leads",
        "tech_stack, an open list, holds no name, not even one that stands nowhere else",
    ),
    "phone_in_source": ("leads", "source, an open list, holds no phone number"),
    "phone_in_employees": ("leads", "employees is a number, and no phone number"),
    "phone_in_revenue": ("leads", "annual_revenue_eur is a number, and no phone number"),
    "email_as_lead_key": ("leads", "lead_id names nobody"),
    "activity_of_dirty_lead": ("activities", "its lead is quarantined"),
    "activity_of_unknown_lead": ("activities", "lead_id refers to a lead"),
    "activity_recorded_before_it_happened": ("activities", "recorded_at is not before happened_at"),
    "activity_kind_unknown": ("activities", "kind is one of those listed"),
    "activity_id_repeated": ("activities", "activity_id is unique; neither row can be trusted"),
    "activity_id_missing": ("activities", "activity_id is required"),
    "activity_before_its_lead": ("activities", "nothing happens before the lead's creation"),
    "activity_happened_at_unreadable": ("activities", "happened_at is a timestamp"),
    "activity_after_extraction": ("activities", "no moment lies after the log's last one"),
    "name_in_activity_kind": ("activities", "kind is one of those listed, and no name"),
    "phone_in_activity_kind": ("activities", "kind is one of those listed, and no phone number"),
    "email_as_activity_lead": ("activities", "lead_id names nobody"),
    "change_of_unknown_column": ("changes", "column is one that the contract knows"),
    "change_of_unknown_lead": ("changes", "lead_id refers to a lead"),
    "change_before_its_lead": ("changes", "nothing is recorded before the lead's creation"),
    "change_recorded_at_missing": ("changes", "recorded_at is required"),
    "name_in_change": ("changes", "a new value is one that its column may hold, and no name"),
    "phone_in_change": ("changes", "an old value is one that its column may hold, and no phone number"),
}
#: Process fields of a lead that go with its outcome.
OUTCOME_FIELDS = ("deal_value_eur", "closing_discount_pct", "contract_owner", "loss_reason", "days_to_close")
#: Dirty leads that no activity can refer to.
NAMELESS = ("lead_key_missing", "created_after_extraction", "email_as_lead_key")
#: Parts of the names of people who stand nowhere else in the log.
STRANGERS = (("Aro", "Ebbi", "Iwa", "Obe", "Ury"), ("linde", "mond", "rath", "sund", "thal"))
#: Kinds whose rows come in pairs that share a key.
PAIRS = ("lead_key_repeated", "activity_id_repeated")
#: Activities copied to a dirty lead, at most, and the share of a block's dirty activities they may fill.
COPIED_ACTIVITIES, COPIED_SHARE = 6, 0.5
DAY = pd.Timedelta(days=1)

Row = dict[str, str]


def add(
    tables: dict[str, pd.DataFrame], share: float, extracted_at: pd.Timestamp, block: int, rng: np.random.Generator
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Scatter dirty rows over a block's tables.

    Args:
        tables: good rows, text, of `leads`, `activities` and `changes`.
        share: dirty rows added to each table, as a share of its good rows. Kinds take turns.
        extracted_at: the end of the history.
        block: number of the block; part of every new key, so that no key repeats by accident.

    Returns:
        The tables with dirty rows at random places, good rows in their old order; and `dirty`: table, row (1-based
        within these tables), kind, sorted by table and row.
    """
    count = {name: round(share * len(good)) for name, good in tables.items()}
    people = tables["leads"].set_index("lead_id", drop=False)
    templates = _sample(tables["leads"], _turns("leads", count["leads"]), rng)
    leads = [(kind, _lead(kind, row, extracted_at, f"X{block:04d}", i, rng)) for i, (kind, row) in enumerate(templates)]
    _share_keys(leads, "lead_id")

    room = int(COPIED_SHARE * count["activities"])
    activities = _copies(tables["activities"], [row["lead_id"] for _, row in templates], leads, room)
    kinds = _turns("activities", count["activities"] - len(activities))
    activities += [
        (kind, _activity(kind, row, _person(people, row), extracted_at, f"Z{block:04d}{i:05d}", rng))
        for i, (kind, row) in enumerate(_sample(tables["activities"], kinds, rng))
    ]
    for i, (kind, row) in enumerate(activities):
        row["activity_id"] = "" if kind == "activity_id_missing" else f"Y{block:04d}-{i:06d}"
    _share_keys(activities, "activity_id")

    followed = tables["changes"][tables["changes"]["column"] != "contract_owner"]
    kinds = _turns("changes", count["changes"]) if len(followed) else []
    changes = [
        (kind, _change(kind, row, _person(people, row), f"Z{block:04d}{i:05d}", rng))
        for i, (kind, row) in enumerate(_sample(followed, kinds, rng))
    ]

    mixed, dirty = {}, []
    for (name, good), bad in zip(tables.items(), (leads, activities, changes), strict=True):
        mixed[name], rows = _scatter(good, [row for _, row in bad], rng)
        dirty.append(pd.DataFrame({"table": name, "row": rows, "kind": [kind for kind, _ in bad]}))
    return mixed, pd.concat(dirty, ignore_index=True).astype({"table": "str", "row": "int64", "kind": "str"})


def _turns(table: str, count: int) -> list[str]:
    """Kinds of damage for `count` rows of a table, in turn; kinds of `PAIRS` take two rows."""
    kinds = [kind for kind, (of, _) in KINDS.items() if of == table and kind != "activity_of_dirty_lead"]
    round_ = [kind for kind in kinds for _ in range(2 if kind in PAIRS else 1)]
    turns = [round_[i % len(round_)] for i in range(count)]
    if turns and turns[-1] in PAIRS and turns.count(turns[-1]) % 2:
        turns[-1] = kinds[-1]
    return turns


def _sample(good: pd.DataFrame, kinds: list[str], rng: np.random.Generator) -> list[tuple[str, Row]]:
    """A copy of some good row for each kind."""
    chosen = good.iloc[rng.integers(0, len(good), len(kinds))] if kinds else good.iloc[:0]
    return list(zip(kinds, _records(chosen), strict=True))


def _records(frame: pd.DataFrame) -> list[Row]:
    names = [str(name) for name in frame]
    return [dict(zip(names, values, strict=True)) for values in frame.itertuples(index=False, name=None)]


def _person(people: pd.DataFrame, row: Row) -> Row:
    """The lead that a row belongs to."""
    return {str(name): str(value) for name, value in people.loc[row["lead_id"]].items()}


def _email(person: Row) -> str:
    return person["email"] or f"{person['full_name'].replace(' ', '.').lower()}@post.example"


def _stranger(rng: np.random.Generator) -> str:
    """A name that is nobody's."""
    first, last = STRANGERS
    given, family = first[rng.integers(0, len(first))], first[rng.integers(0, len(first))]
    return f"{given}{last[rng.integers(0, len(last))]} {family}{last[rng.integers(0, len(last))]}"


def _national(number: int) -> str:
    """A phone number as it is written within a country, in one of the usual forms."""
    line = f"{number:07d}"
    return (f"0999 {line}", f"(999) {line[:3]}-{line[3:]}", f"0999/{line}", f"999-{line[:3]}-{line[3:]}")[number % 4]


def _share_keys(rows: list[tuple[str, Row]], key: str) -> None:
    """Give every second row of a pair the key of the first."""
    pairs = [row for kind, row in rows if kind in PAIRS]
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        second[key] = first[key]


def _lead(kind: str, row: Row, extracted_at: pd.Timestamp, prefix: str, i: int, rng: np.random.Generator) -> Row:
    """A copy of a lead under a new key, damaged in one way."""
    row = row | {"lead_id": f"{prefix}{i:05d}"}
    created = pd.Timestamp(row["created_at"])
    unsettled = row | dict.fromkeys(("converted_at", "lost_at", *OUTCOME_FIELDS), "")
    before = (created - DAY * int(rng.integers(1, 60))).isoformat()
    number = int(rng.integers(1, 500))
    match kind:
        case "lead_key_repeated":
            return row
        case "lead_key_missing":
            return row | {"lead_id": ""}
        case "created_at_missing":
            return row | {"created_at": ""}
        case "created_at_unreadable":
            return row | {"created_at": f"week {created.week} of {created.year}"}
        case "created_after_extraction":
            return unsettled | {"created_at": (extracted_at + DAY * number).isoformat()}
        case "employees_negative":
            return row | {"employees": str(-number)}
        case "employees_not_a_number":
            return row | {"employees": "50 to 200"}
        case "revenue_negative":
            return row | {"annual_revenue_eur": str(-1000 * number)}
        case "converted_before_created":
            return unsettled | {"converted_at": before}
        case "lost_before_created":
            return unsettled | {"lost_at": before}
        case "converted_and_lost":
            after = (created + DAY / 24).isoformat()
            return unsettled | {"converted_at": after, "lost_at": after}
        case "country_unknown":
            return row | {"country": "ZZ"}
        case "email_in_industry":
            return row | {"industry": _email(row)}
        case "phone_in_region":
            return row | {"region": row["phone"] or f"+999 100 {number:07d}"}
        case "budget_not_yes_or_no":
            return row | {"budget_confirmed": "ask again"}
        case "name_in_budget":
            return row | {"budget_confirmed": row["full_name"]}
        case "name_in_department":
            return row | {"department": row["full_name"]}
        case "name_in_campaign":
            return row | {"campaign": row["full_name"]}
        case "stranger_in_tech_stack":
            return row | {"tech_stack": _stranger(rng)}
        case "phone_in_source":
            return row | {"source": _national(number)}
        case "phone_in_employees":
            return row | {"employees": f"+999100{number:07d}"}
        case "phone_in_revenue":
            phone = row["phone"] or f"+999 100 {number:07d}"
            return row | {"phone": phone, "annual_revenue_eur": phone.replace(" ", "").lstrip("+")}
        case "email_as_lead_key":
            return row | {"lead_id": _email(row)}
    raise KeyError(kind)


def _copies(good: pd.DataFrame, originals: list[str], leads: list[tuple[str, Row]], room: int) -> list[tuple[str, Row]]:
    """Activities of the leads that dirty ones were copied from, handed to the copies, `room` rows at most."""
    theirs = good[good["lead_id"].isin(set(originals))]
    own = theirs.groupby("lead_id").indices
    copies: list[tuple[str, Row]] = []
    taken: set[str] = set()
    for original, (kind, lead) in zip(originals, leads, strict=True):
        # A lead that cannot be named, or that is created past the end, has no activities of its own.
        if kind in NAMELESS or lead["lead_id"] in taken or original not in own:
            continue
        taken.add(lead["lead_id"])
        mine = _records(theirs.iloc[own[original][:COPIED_ACTIVITIES]])
        copies += [("activity_of_dirty_lead", row | {"lead_id": lead["lead_id"]}) for row in mine]
    return copies[:room]


def _activity(
    kind: str, row: Row, person: Row, extracted_at: pd.Timestamp, stranger: str, rng: np.random.Generator
) -> Row:
    """A copy of an activity of a lead, damaged in one way; kinds of the key are done where keys are given."""
    days = int(rng.integers(2, 400))
    created = pd.Timestamp(person["created_at"])
    match kind:
        case "activity_id_repeated" | "activity_id_missing":
            return row
        case "activity_of_unknown_lead":
            return row | {"lead_id": stranger}
        case "activity_recorded_before_it_happened":
            happened = max(pd.Timestamp(row["happened_at"]), created + DAY / 24)
            return row | {"happened_at": happened.isoformat(), "recorded_at": (created + DAY / 48).isoformat()}
        case "activity_kind_unknown":
            return row | {"kind": "carrier_pigeon"}
        case "activity_before_its_lead":
            before = created - DAY * days
            return row | {"happened_at": before.isoformat(), "recorded_at": (before + DAY / 24).isoformat()}
        case "activity_happened_at_unreadable":
            return row | {"happened_at": "yesterday"}
        case "activity_after_extraction":
            after = (extracted_at + DAY * days).isoformat()
            return row | {"happened_at": after, "recorded_at": after}
        case "name_in_activity_kind":
            return row | {"kind": f"call with {person['full_name']}"}
        case "phone_in_activity_kind":
            return row | {"kind": _national(days)}
        case "email_as_activity_lead":
            return row | {"lead_id": _email(person)}
    raise KeyError(kind)


def _change(kind: str, row: Row, person: Row, stranger: str, rng: np.random.Generator) -> Row:
    """A copy of a change of a followed column, damaged in one way."""
    number = int(rng.integers(2, 400))
    created = pd.Timestamp(person["created_at"])
    match kind:
        case "change_of_unknown_column":
            return row | {"column": "mobile_phone", "old_value": "", "new_value": f"+999 200 {number:07d}"}
        case "change_of_unknown_lead":
            return row | {"lead_id": stranger}
        case "change_before_its_lead":
            return row | {"recorded_at": (created - DAY * number).isoformat()}
        case "change_recorded_at_missing":
            return row | {"recorded_at": ""}
        case "name_in_change":
            return row | {"column": "status", "new_value": person["full_name"]}
        case "phone_in_change":
            return row | {"column": "employees", "old_value": f"+999200{number:07d}", "new_value": "5"}
    raise KeyError(kind)


def _scatter(good: pd.DataFrame, bad: list[Row], rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """Good rows in their order with bad ones between them, also in theirs; and the 1-based rows where these stand."""
    before = np.sort(rng.integers(0, len(good) + 1, len(bad)))
    order = np.argsort(np.r_[np.arange(len(good)) + 0.5, before], kind="stable")
    rows = pd.concat([good, pd.DataFrame(bad, columns=good.columns, dtype="str")], ignore_index=True).iloc[order]
    return rows.reset_index(drop=True), np.flatnonzero(order >= len(good)) + 1
