"""Personal values in the wrong column: found by what the personal columns hold, or as the odd one out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.leads import people
from pipeline.leads.contract import Resolved, parse, resolve
from pipeline.leads.people import KNOWN, NAME, PHONE, UNDECLARED, People, Sieve
from pipeline.leads.tables import type_table
from pipeline.params import Personal

PARAMS = Personal(few_rows=3, common_share=0.01, shared_share=0.1, odd_share=0.05)


def contract(**columns: dict[str, Any]) -> Resolved:
    content: dict[str, Any] = {
        "contract_version": 1,
        "name": "small",
        "description": "for tests",
        "source": {
            "kind": "files",
            "leads": {"path": "l.csv"},
            "activities": {"path": "a.csv"},
            "changes": {"path": "c.csv"},
        },
        "key": "id",
        "time": {"kind": "column", "column": "made"},
        "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won"},
        "columns": {
            "id": {"role": "identifier"},
            "made": {"role": "ignored", "type": "timestamp"},
            "won": {"role": "outcome", "type": "timestamp"},
            "who": {"role": "personal"},
            "mail": {"role": "personal"},
            "dial": {"role": "personal"},
            "open": {"role": "feature", "type": "category", "known_at": "over_time"},
            "closed": {"role": "feature", "type": "category", "known_at": "creation", "values": ["a b", "c"]},
            "size": {"role": "feature", "type": "number", "known_at": "over_time"},
            "notes": {"role": "ignored"},
        }
        | columns,
        "activities": {
            "key": "aid",
            "lead": "of",
            "kind": "what",
            "happened_at": "at",
            "recorded_at": "at",
            "kinds": {"call": {}},
        },
        "changes": {"lead": "of", "column": "which", "recorded_at": "at", "old_value": "was", "new_value": "is"},
    }
    return resolve(parse(content, file="small.yaml"))


ROWS = 200


def leads(cells: dict[tuple[int, str], str | None] | None = None) -> pd.DataFrame:
    """Leads of made-up people, with single cells changed; rows count from 1."""
    table = pd.DataFrame(
        {
            "id": [f"L{i}" for i in range(1, ROWS + 1)],
            "made": "2024-01-01",
            "won": "",
            "who": [f"Gi{chr(97 + i % 26)}va Fa{chr(97 + i // 26)}mil" for i in range(ROWS)],
            "mail": [f"m{i}.box@acme.example" for i in range(ROWS)],
            "dial": [f"+998 71 {i:07d}" for i in range(ROWS)],
            "open": ["web fair", "ads", "word of mouth"][0:1] * 100 + ["ads"] * 100,
            "closed": "c",
            "size": [str(10 * i) for i in range(ROWS)],
            "notes": "",
        },
        index=pd.RangeIndex(1, ROWS + 1, name="row"),
        dtype="str",
    )
    for (row, column), value in (cells or {}).items():
        table.loc[row, column] = value
    return table


def sifted(resolved: Resolved, *parts: tuple[str, pd.DataFrame]) -> pd.DataFrame:
    """What the sieve refuses of some parts: table, row, reason, raw."""
    sieve = Sieve(resolved, PARAMS)
    typed = [(table, type_table(table, cells, resolved)) for table, cells in parts]
    for table, part in typed:
        assert part.refused.empty, part.refused["reason"].tolist()
        sieve.see(table, part)
    refused = []
    for table, part in typed:
        kept, out = sieve.sift(table, part.table)
        assert sorted([*kept["row"], *out["row"]]) == part.table["row"].tolist()
        assert kept.dtypes.equals(part.table.dtypes)
        refused.append(out.assign(table=table))
    return pd.concat(refused, ignore_index=True)


def reasons(cells: dict[tuple[int, str], str | None], **columns: dict[str, Any]) -> dict[int, str]:
    found = sifted(contract(**columns), ("leads", leads(cells)))
    return dict(zip(found["row"], found["reason"], strict=True))


def test_good_rows_pass() -> None:
    assert reasons({}) == {}


@pytest.mark.parametrize(
    "value",
    [
        "Giava Faamil",
        "giava faamil",
        "FAAMIL, GIAVA",
        "giava.faamil",
        "call Giava Faamil on Monday",
        "M5 box acme example",
        "99871 0000012",
        "ask for 998/71/0000012 first",
        "Gizva Fahmil",  # the given name of one, the family name of another
    ],
)
def test_what_stands_in_a_personal_column_is_found_elsewhere(value: str) -> None:
    found = reasons({(7, "open"): value})
    assert list(found) == [7]
    assert found[7] in (f"column `open` {KNOWN}", f"column `open` {NAME}")
    assert "Giava" not in found[7]


def test_a_declared_value_and_a_word_that_many_rows_share_are_nobodys() -> None:
    taken = {(1, "who"): "A B", (2, "who"): "Web Fair"}
    assert reasons({**taken, (9, "closed"): "a b"}) == {}
    assert reasons({(row, "mail"): "big town" for row in range(1, 80)} | {(90, "open"): "big town"}) == {}


def test_a_name_in_two_columns_is_one_name() -> None:
    cells = {(1, "who"): "Qavek", (1, "mail"): "Zuxor"}
    for value in ("Qavek Zuxor", "zuxor, qavek"):
        assert reasons({**cells, (7, "notes"): f"met {value} today"}) == {7: f"column `notes` {KNOWN}"}


def test_a_single_word_counts_only_where_it_is_the_odd_one_out() -> None:
    assert reasons({(1, "who"): "Qavek", (7, "open"): "qavek"}) == {7: f"column `open` {KNOWN}"}
    town = {(row, "open"): f"town{chr(96 + row)}" for row in range(1, 25)}
    assert reasons({(1, "who"): "Townb", **town}) == {}, "a column of many rare words, of which one is a name"


@pytest.mark.parametrize("value", ["Qavek Zuxor", "Zuxor, Qavek", "Dr. Qavek Zuxor", "QAVEK ZUXOR"])
def test_a_stranger_is_found_where_nothing_else_has_the_form_of_a_name(value: str) -> None:
    assert reasons({(7, "open"): value}) == {7: f"column `open` {NAME}"}
    places = {(row, "open"): "Costa Verde" for row in range(50, 60)}
    assert reasons({**places, (7, "open"): value}) == {}
    many = {(row, "open"): f"Qa{chr(96 + row)}k Zux{chr(96 + row)}r" for row in range(1, 25)}
    assert reasons(many) == {}, "names without end: what the column is about"
    assert reasons({(7, "open"): "Web Zuxor"}) == {}, "a word of the column"
    assert reasons({(row, "open"): value for row in range(1, 4)}) == {}, "not rare"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("555-123-4567", PHONE),
        ("0049301234567", PHONE),
        ("01711234567", PHONE),
        ("612 345 678", PHONE),
        ("5551234567", None),
        ("2024-01-31", None),
    ],
)
def test_a_phone_number_that_might_be_a_code_is_the_odd_one_out(value: str, reason: str | None) -> None:
    assert reasons({(7, "open"): value}) == ({7: f"column `open` {reason}"} if reason else {})
    assert reasons({(row, "open"): value for row in range(1, 4)}) == {}, "a code that several rows share"


@pytest.mark.parametrize("value", ["qavek zuxor", "ask again"])
def test_words_that_a_closed_list_does_not_hold_go_no_further(value: str) -> None:
    assert reasons({(7, "closed"): value}) == {7: f"column `closed` {UNDECLARED}"}
    assert reasons({(7, "closed"): "d"}) == {}, "for validation to say"


def test_a_number_is_a_person_where_it_is_somebodys() -> None:
    assert reasons({(7, "size"): "998710000012", (8, "size"): "998719999999"}) == {7: f"column `size` {KNOWN}"}


def test_rows_are_not_named_by_people() -> None:
    found = reasons({(7, "id"): "Giava Faamil", (8, "id"): "Qavek Zuxor", (9, "id"): "555-123-4567"})
    assert found == {
        7: f"column `id`, which names rows, {KNOWN}",
        8: f"column `id`, which names rows, {NAME}",
        9: f"column `id`, which names rows, {PHONE}",
    }
    firms = {(row, "id"): f"Qa{chr(97 + row // 20)}k Zux{chr(97 + row % 20)}r" for row in range(1, ROWS + 1)}
    assert reasons(firms) == {}, "keys that all look so are what they are"


def test_activities_and_changes_are_sifted_by_what_the_leads_tell() -> None:
    moments = {"at": "2024-01-02"}
    activities = pd.DataFrame(
        {"aid": ["1", "2", "3", "4"], "of": ["L1", "L1", "Giava Faamil", "L2"], **moments,
         "what": ["call", "call Giava Faamil", "call", "ask again"]},
        index=[1, 2, 3, 4], dtype="str",
    )  # fmt: skip
    changes = pd.DataFrame(
        {"of": "L1", "which": ["open", "open", "size", "mail", "open"], **moments,
         "was": ["ads", "ads", "998710000012", "x@y.example", "ads"],
         "is": ["web fair", "GIAVA FAAMIL", "5", "qavek.zuxor@y.example", "Qavek Zuxor"]},
        index=[1, 2, 3, 4, 5], dtype="str",
    )  # fmt: skip
    found = sifted(contract(), ("leads", leads()), ("activities", activities), ("changes", changes))
    assert found[["table", "row", "reason"]].to_numpy().tolist() == [
        ["activities", 2, f"column `what` {KNOWN}"],
        ["activities", 3, f"column `of`, which names rows, {KNOWN}"],
        ["activities", 4, f"column `what` {UNDECLARED}"],
        ["changes", 2, f"column `is` {KNOWN}"],
        ["changes", 3, f"column `was` {KNOWN}"],
        ["changes", 5, f"column `is` {KNOWN}"],  # from the changed address, which is set aside
    ]


def test_refused_rows_are_kept_under_the_names_of_the_source() -> None:
    found = sifted(contract(), ("leads", leads({(7, "open"): "Giava Faamil", (7, "size"): "12"})))
    raw = json.loads(found["raw"].item())
    assert (raw["id"], raw["open"], raw["size"]) == ("L7", "Giava Faamil", 12)
    assert raw["made"].startswith("2024-01-01T00:00")
    assert "who" not in raw and found["lead_id"].tolist() == ["L7"]


def test_people_of_refused_rows_count_and_parts_do_not_matter() -> None:
    resolved = contract()
    table = leads({(3, "size"): "much", (3, "who"): "Qavek Zuxor", (150, "open"): "qavek zuxor"})

    def found(*parts: pd.DataFrame) -> list[int]:
        sieve = Sieve(resolved, PARAMS)
        typed = [type_table("leads", part, resolved) for part in parts]
        for part in typed:
            sieve.see("leads", part)
        return [row for part in typed for row in sieve.sift("leads", part.table)[1]["row"]]

    assert found(table) == found(table.iloc[:100], table.iloc[100:]) == [150]


def test_free_text_is_judged_by_what_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "MAX_DISTINCT", 20)
    remarks = {(row, "notes"): f"remark number {row}" for row in range(1, 60)}
    said = {
        (70, "notes"): "spoke to giava faamil",
        (71, "notes"): "Gizva Fahmil wants an offer",
        (72, "notes"): "gizva fahmil wants an offer",  # in a sentence, names of two people are words
        (73, "notes"): "call 555-123-4567",
        (76, "notes"): "Gizva Fahmil Wants An Offer",  # a headline
        (74, "notes"): "Qavek Zuxor",
        (75, "notes"): "ring 998710000012",
    }
    assert reasons(remarks | said) == {
        70: f"column `notes` {KNOWN}",
        71: f"column `notes` {NAME}",
        73: f"column `notes` {PHONE}",
        75: f"column `notes` {KNOWN}",
    }


def test_only_hashes_are_kept_of_people() -> None:
    gathered = People(PARAMS)
    gathered.add(
        pd.DataFrame({"who": ["Giava Faamil", None, ""], "dial": ["+998 71 1234567", "1980-05-17", "35"]}, dtype="str")
    )
    known = gathered.known()
    assert {array.dtype for array in vars(known).values()} == {np.dtype("uint64")}
    assert [len(getattr(known, name)) for name in ("wholes", "pairs", "words", "numbers")] == [1, 1, 2, 1]
    assert known.look(["35", "1980-05-17", "Giava", "x"])["whole"].tolist() == [False] * 4
