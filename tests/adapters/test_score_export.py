"""Scores as files: exact ones are what pandas writes of the whole, whatever the blocks; spreadsheets run no formula."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters import batch, score_export
from pipeline.errors import ParamsError
from pipeline.scorer.model import OUTPUT

TOLD = (
    '[{"criterion":"A","group":"fit","points":12.3,"text":"visited \\"x\\""},'
    '{"criterion":"B","group":"fit","points":-3.1,"text":"Größe: 12"}]'
)
ATTACKS = ["=1+1", "+1", "-2+3+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", '"=1', "'=1", "＝1", "＋1"]
ATTACKS += ["－1", "＠x", "\ufeff=1", "\u200b=1", "a;=1", 'a","=1', "a\t=1", "a\r\n=1", "a|=1", "−1"]


def scores(keys, moments) -> pd.DataFrame:
    """Rows as a scorer returns them, the last one without a score."""
    n = len(keys)
    table = pd.DataFrame({name: pd.Series([""] * n, dtype="str") for name in OUTPUT})
    chance = np.linspace(0.9, 1 / 3, n)
    numbers = {name: 100 * chance for name in batch.DTYPES if batch.DTYPES[name] == "float64" and name in OUTPUT}
    table = table.assign(
        **numbers, lead_id=pd.Series(keys, dtype="str"), as_of=pd.Series(moments, dtype="datetime64[us]"), reasons=TOLD
    ).assign(score=np.round(100 * chance, 1), interval_low=chance - 0.01, interval_high=chance + 0.01, tier="A")
    table.loc[n - 1, ["score", "probability", "interval_low", "interval_high"]] = np.nan
    table.loc[n - 1, "refused"] = "no, why?"
    return table[OUTPUT]


def result(table: pd.DataFrame, rows: int, unit: str = "D") -> batch.Result:
    """The table in blocks of so many rows."""
    parts = [table.iloc[k : k + rows].reset_index(drop=True) for k in range(0, len(table), rows)]
    return batch.Result(lambda: iter(parts), len(table) - 1, 1, unit=unit)


@pytest.mark.parametrize(
    ("last", "unit"),
    [
        ("2024-01-02", "D"),
        ("2024-01-02 10:00:01", "s"),
        ("2024-01-02 10:00:01.250", "ms"),
        ("2024-01-02 10:00:01.000001", "us"),
        (None, "D"),
    ],
)
def test_exact_files_are_those_of_the_whole_table(tmp_path, last, unit):
    table = scores(["L1", 'L"2', "L,3"], pd.to_datetime(["2024-01-01", None, last], format="ISO8601"))
    assert batch._unit(table["as_of"]) == unit
    place = table.columns.get_loc("base")
    table.insert(place, "top_reasons", '+12.3 visited "x"; -3.1 Größe: 12')
    expected = table.to_csv(index=False, lineterminator="\n").encode()
    for rows in (1, 2, 3):
        score_export.export(result(table.drop(columns="top_reasons"), rows, unit), tmp_path / "a.csv", 2)
        assert (tmp_path / "a.csv").read_bytes() == expected
        score_export.export(result(table.drop(columns="top_reasons"), rows, unit), tmp_path / f"{rows}.parquet", 2)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{rows}.parquet"), table, check_exact=True)
        assert (tmp_path / f"{rows}.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()


@pytest.mark.parametrize("key", ["L\r1", "L\n1", "L\r\n1", "\r"])
def test_a_key_that_holds_a_line_end_reads_back_as_it_was(tmp_path, key):
    table = scores([key, "L2", "L3"], pd.to_datetime(["2024-01-01"] * 3))
    score_export.export(result(table, 3), tmp_path / "a.csv", 2)
    with open(tmp_path / "a.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["lead_id"] for row in read] == [key, "L2", "L3"]
    assert read[0]["score"] == "90.0"


def begins_formula(cell: str) -> bool:
    """What a spreadsheet may take for a formula: a sign, after anything that it does not show."""
    shown = cell.strip().lstrip('"\ufeff\u200b ').lstrip()
    return shown.startswith(tuple("=+-@＝＋－＠\u2212"))


def cells_of(text: str, separator: str) -> list[str]:
    """The cells that a spreadsheet makes which parts them by this sign, whatever the file meant."""
    return [cell for row in csv.reader(io.StringIO(text), delimiter=separator) for cell in row]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_lead_id_becomes_a_formula_and_each_can_be_recognised(tmp_path, attack):
    key = f"{attack}L7"
    table = scores([key, "L2"], pd.to_datetime(["2024-01-01"] * 2)).assign(
        tier=attack, flags=attack, held_back=attack, refused=["", attack], reasons=TOLD.replace("visited", "=x;-y")
    )
    score_export.for_spreadsheet(result(table, 1), tmp_path / "s.csv", 2)
    raw = (tmp_path / "s.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    text = raw.decode("utf-8-sig")
    own = list(csv.DictReader(io.StringIO(text)))
    assert len(own) == 2 and own[0]["score"] == "90.0" and own[0]["score_low"] == "89.0"
    assert not [cell for row in own for name, cell in row.items() if begins_formula(cell) and name != "expected_value"]
    assert own[0]["lead_id"].replace("'", "").endswith("L7")
    # Elsewhere a semicolon or a tab parts cells, and quotes are no quotes there.
    for separator in ";\t|":
        assert not [cell for cell in cells_of(text, separator) if begins_formula(cell)]


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("L0000001", "L0000001"),
        ("12", "12"),
        ("00123", "'00123"),
        ("1234567890123456", "'1234567890123456"),
        ("1E5", "'1E5"),
        ("3-4", "'3-4"),
        ("2024-01-05", "'2024-01-05"),
        ("TRUE", "'TRUE"),
        ("10:30", "'10:30"),
        ("SEPT2", "'SEPT2"),
        ("Mar 3", "'Mar 3"),
        ("2-Sep", "'2-Sep"),
        ("(5)", "'(5)"),
        ("50%", "'50%"),
        ("1,234", "'1,234"),
        (".50", "'.50"),
        ("123456789012345", "123456789012345"),
        ("MARIA", "MARIA"),
        ("B2B", "B2B"),
        ("3f2a-11", "3f2a-11"),
        ("-5", "'-5"),
        ("A-5", "A-5"),
    ],
)
def test_keys_that_a_spreadsheet_would_rewrite_are_kept_as_text(key, shown):
    assert score_export.harmless_key(key) == shown


@given(st.text(alphabet=st.sampled_from(list("=+-@\"' ;,|\t\r\n\u200b\ufeffＡ＝＋a1")), max_size=12))
def test_no_text_begins_a_formula_behind_any_separator(text):
    found = score_export.harmless(text)
    for separator in (",", ";", "|", "\t", "\n"):
        assert not any(begins_formula(cell) for cell in found.split(separator))


def test_scores_without_one_are_empty_in_a_spreadsheet(tmp_path):
    table = scores(["L1", "L2"], pd.to_datetime(["2024-01-01 10:00", None])).assign(
        change="Size: 5", change_by="sales", change_score=12.5, change_tier="A"
    )
    score_export.for_spreadsheet(result(table, 2, "s"), tmp_path / "s.csv", 1)
    first, last = csv.DictReader(io.StringIO((tmp_path / "s.csv").read_text("utf-8-sig")))
    assert first["as_of"] == "2024-01-01 10:00:00" and first["reasons"] == 'visited "x" (+12.3)'
    assert (first["change"], first["score_then"]) == ("Size: 5", "12.5")
    assert (last["score"], last["score_low"], last["as_of"], last["no_score_because"]) == ("", "", "", "no, why?")


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ParamsError, match=r"--out .*scores\.xlsx: name a file that ends in \.csv or \.parquet"):
        score_export.checked(tmp_path / "scores.xlsx", "--out", score_export.EXACT)
    assert score_export.checked(tmp_path / "A.CSV", "--out", score_export.EXACT) == tmp_path / "A.CSV"
