"""Tables laid out by lead: every row in one part, with all that is known of its lead, in the order of the file."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.adapters import parting
from pipeline.adapters.sources import Piece
from pipeline.errors import ArtefactError
from pipeline.leads.contract import ROW
from pipeline.leads.declarations import repeats
from pipeline.leads.tables import Typed
from tests import small_history

NOW = pd.Timestamp("2024-03-01")
NONE = pd.DataFrame(
    {ROW: pd.Series(dtype="int64"), **{name: pd.Series(dtype="str") for name in ("lead_id", "reason", "raw")}}
)


def history(leads: int = 60, seed: int = 1) -> dict[str, pd.DataFrame]:
    """Typed tables with keys that are missing and ids that stand twice."""
    random = np.random.default_rng(seed)
    keys = np.array([*[f"L{k}" for k in range(leads)], None], dtype=object)
    lead = pd.Series(keys[random.integers(0, leads + 1, 2 * leads)], dtype="str")
    made = pd.DataFrame({ROW: range(1, 2 * leads + 1), "lead_id": lead, "created_at": NOW, "industry": "retail"})
    n = 20 * leads
    ids = pd.Series(random.choice([*[f"A{k}" for k in range(n)], None], n), dtype="str")
    events = pd.DataFrame({ROW: range(1, n + 1), "activity_id": ids, "kind": random.choice(["visit", "call"], n)})
    events["lead_id"] = pd.Series(keys[random.integers(0, leads + 1, n)], dtype="str")
    changed = events.drop(columns="activity_id").rename(columns={"kind": "column"}).iloc[: 3 * leads]
    return {"leads": made, "activities": events, "changes": changed}


def pieces(tables: dict[str, pd.DataFrame], rows: int, refused: pd.DataFrame = NONE):
    for name, table in tables.items():
        for start in range(0, len(table), rows):
            part = table.iloc[start : start + rows].reset_index(drop=True)
            said = refused if name == "leads" and start == 0 else NONE
            yield Piece(name, len(part) + len(said), Typed(part, said))


def lay_out(folder, tables, *, rows=50, chunk=10, size=0, refused=NONE):
    return parting.lay_out(
        pieces(tables, rows, refused),
        small_history.resolved(),
        folder,
        as_of=NOW,
        always=False,
        chunk=chunk,
        size=size,
    )


@pytest.mark.parametrize(("rows", "chunk", "size", "parts"), [(7, 10, 0, 13), (50, 1, 10**9, 127), (999, 999, 0, 1)])
def test_every_row_lies_in_one_part_with_all_of_its_lead(tmp_path, monkeypatch, rows, chunk, size, parts):
    monkeypatch.setattr(parting, "WAITING_ROWS", 33)
    tables = history()
    parted = lay_out(tmp_path / "input", tables, rows=rows, chunk=chunk, size=size)
    assert parted.size == parts and parted.rows == len(tables["leads"])
    known = [parted.part(number) for number in range(parts)]
    for name, table in tables.items():
        found = [getattr(part, name) for part in known]
        assert all(part[ROW].is_monotonic_increasing for part in found)
        whole = pd.concat(found).sort_values(ROW, ignore_index=True)
        if name == "activities":
            table = table[table["activity_id"].notna() & ~repeats(table, "activity_id")]
        expected = table.assign(as_of=NOW) if name == "leads" else table
        expected = expected.reset_index(drop=True).astype({"as_of": "datetime64[us]"} if name == "leads" else {})
        pd.testing.assert_frame_equal(whole, expected, check_dtype=False)
        place = pd.concat([part["lead_id"].to_frame().assign(part=number) for number, part in enumerate(found)])
        assert (place.groupby("lead_id", dropna=False)["part"].nunique() == 1).all()
    where = {lead: number for number, part in enumerate(known) for lead in part.leads["lead_id"].dropna()}
    for number, part in enumerate(known):
        assert {where.get(lead, number) for lead in part.activities["lead_id"].dropna()} <= {number}


def test_activities_are_left_out_by_their_id_as_in_one_table(tmp_path):
    table = history()["activities"]
    table = pd.concat([table, table.iloc[:9].assign(**{ROW: range(2001, 2010)})], ignore_index=True)
    parted = lay_out(tmp_path / "input", history() | {"activities": table}, size=10**9)
    missing = table["activity_id"].isna()
    copied = parting.copies(table, "activity_id")
    assert copied.sum() >= 8
    assert parted.left_out == {
        parting.NO_ID: missing.sum(),
        parting.COPY: copied.sum(),
        parting.REPEATED_ID: (repeats(table, "activity_id") & ~copied & ~missing).sum(),
    }


def test_rows_that_could_not_be_read_are_kept_in_order_and_known_by_their_lead(tmp_path):
    keys = pd.Series(["L1", None, "L900"], dtype="str")
    refused = pd.DataFrame({ROW: [500, 501, 502], "lead_id": keys, "reason": ["a", "b", "c"], "raw": "{}"})
    parted = lay_out(tmp_path / "input", history(), refused=refused)
    said = pd.concat(parted.unread(), ignore_index=True)
    assert said[ROW].tolist() == [500, 501, 502] and said["reason"].tolist() == ["a", "b", "c"]
    known = [set(parted.part(number).unread["lead_id"].dropna()) for number in range(parted.size)]
    assert sorted(lead for part in known for lead in part) == ["L1", "L900"]
    assert parted.rows == len(history()["leads"]) + 3


def test_work_that_is_done_is_not_done_again_and_work_half_done_is(tmp_path):
    first = lay_out(tmp_path / "input", history())
    again = parting.lay_out(
        iter(()), small_history.resolved(), tmp_path / "input", as_of=NOW, always=False, chunk=10, size=0
    )
    assert again == first
    (tmp_path / "input/parted.json").unlink()
    (tmp_path / "input/leads/0").write_bytes(b"half")
    assert lay_out(tmp_path / "input", history()) == first
    assert json.loads((tmp_path / "input/parted.json").read_text())["size"] == first.size


def test_a_part_that_lost_rows_is_refused(tmp_path):
    parted = lay_out(tmp_path / "input", history())
    number = int(np.argmax(parted.held["activities"]))
    (tmp_path / f"input/activities/{number}").unlink()
    with pytest.raises(ArtefactError, match="not what was written"):
        parted.part(number)


def test_hashes_follow_from_the_text_alone():
    words = pa.chunked_array([["a", None], ["b", "a", "ü"]], type=pa.large_string())
    found = parting.hashed(words)
    assert found.dtype == "uint64" and found[0] == found[3] != found[2] and found[1] == 0
    assert parting.hashed(pa.chunked_array([["ü"]], type=pa.large_string()))[0] == found[4] == 6689755093696353227
