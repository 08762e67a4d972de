"""The strict reader: what it accepts, refuses row by row, or refuses as a whole; and that nothing gets lost."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters import files, sources
from pipeline.errors import ContractError, SourceError
from pipeline.leads import tables
from pipeline.leads.contract import PLACE, File, Resolved, parse, resolve
from pipeline.paths import Workspace

LIMIT = 2**20


def read(content: bytes, **declared: Any) -> list[sources.Part]:
    """All parts of a CSV file with this content, read from memory."""
    file = File(path="x.csv", **declared)
    return list(sources._csv(io.BytesIO(content), file, "x.csv", LIMIT))


def rows(content: bytes, **declared: Any) -> tuple[list[list[str]], list[tuple[int, str]]]:
    """What was read: the cells of the rows kept, and row and reason of those refused."""
    parts = read(content, **declared)
    kept = [row for part in parts for row in part.cells.to_numpy().tolist()]
    refused = [(row, why) for part in parts for row, why in part.refused[["row", "reason"]].itertuples(index=False)]
    return kept, refused


# Reading CSV


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\n1,2\n", [["1", "2"]]),
        (b"a,b\r\n1,2\r\n", [["1", "2"]]),
        (b"a,b\n1,2", [["1", "2"]]),
        (b"a,b\n1,2\n\n\n", [["1", "2"]]),
        (b"\xef\xbb\xbfa,b\n1,2\n", [["1", "2"]]),
        (b'\xef\xbb\xbf"a","b"\n1,2\n', [["1", "2"]]),
        (b'a,b\n"1,5","say ""no"""\n', [["1,5", 'say "no"']]),
        (b'a,b\n"two\nlines",2\n', [["two\nlines", "2"]]),
        (b"a,b\n,\n", [["", ""]]),
        (b'a,b\n1,6" pipe\n', [["1", '6" pipe']]),
        (b"a,b\nNA,0049301234\n", [["NA", "0049301234"]]),
        (b"a,b\n 1 ,2\n", [[" 1 ", "2"]]),
        ("a,b\né,\u2028\n".encode(), [["é", "\u2028"]]),
        (b"a,b\n", []),
        (b"a\n1\n\n2\n", [["1"], [""], ["2"]]),
    ],
)
def test_rows_are_read_as_text(content: bytes, expected: list[list[str]]) -> None:
    kept, refused = rows(content)
    assert (kept, refused) == (expected, [])
    part = read(content)[0]
    assert list(part.cells.columns) == ["a", "b"][: part.cells.shape[1]]
    assert all(dtype == "str" for dtype in part.cells.dtypes)


def test_any_separator() -> None:
    assert rows(b"a;b\n1;2,3\n", separator=";") == ([["1", "2,3"]], [])
    assert rows(b"a\tb\n1\t2\n", separator="\t") == ([["1", "2"]], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1", "1 field where the header has 2"),
        (b"1,2,3", "3 fields where the header has 2"),
        (b"", "the line is empty"),
        (b"1,\x002", "column `b` holds a NUL byte"),
        (b"1,\xff2", "column `b` is not utf-8 text"),
        (b"a,b", "it repeats the header"),
        (b'"1,2', "a quote is opened and not closed"),
        (b'1,"2"3', "text follows a closing quote"),
        (b"1,x\ry", "a carriage return stands in the middle of the line"),
        (b'"' + b"x" * 200_000, "a quote is opened and not closed"),
    ],
    ids=range(10),
)
@pytest.mark.parametrize("after", [b"5,6\n7,8\n", b'"5","6"\n7,8\n'])
def test_a_faulty_row_is_refused_with_its_line_and_the_rest_goes_on(line: bytes, reason: str, after: bytes) -> None:
    kept, refused = rows(b"a,b\n1,2\n3,4\n" + line + b"\n" + after)
    assert kept == [["1", "2"], ["3", "4"], ["5", "6"], ["7", "8"]]
    assert [row for row, _ in refused] == [3]
    if len(line) < 1000 or b'"5"' not in after:
        assert refused[0][1].startswith("line 4: ")
    if reason != "a quote is opened and not closed":
        assert refused[0][1] == f"line 4: {reason}"


def test_rows_and_lines_are_counted_through_quoted_line_ends() -> None:
    part = read(b'a,b\n"1\n1",2\n3\n"4","5"\n')[0]
    assert part.cells.index.tolist() == [1, 3]
    assert part.lines is not None and part.lines.tolist() == [2, 5]
    assert part.refused[["row", "reason", "raw"]].to_numpy().tolist() == [
        [2, "line 4: 1 field where the header has 2", "3"]
    ]


def test_one_field_too_many_in_every_row_is_an_error_of_the_file() -> None:
    header, row = ";".join(f"c{k}" for k in range(21)), ";".join("1" * 22)
    content = f"{header}\n{row}\n{row}\n".encode()
    with pytest.raises(
        SourceError, match="2 of 2 rows cannot be read; the first: line 2: 22 fields where the header has 21"
    ):
        read(content, separator=";")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; the first line must name the columns"),
        (b"\n1,2\n", "line 1: the header cannot be read: the line is empty"),
        (b"a,a\n1,2\n", "the header names `a` more than once"),
        (b"a,,b\n1,2,3\n", "column 2 of 3 has no name"),
        (b",,\n1,2,3\n", "column 1, 2, 3 of 3 has no name"),
        (b"a,\n1,2\n", "the first: line 2: a value stands in a column that the header does not name"),
        (b'"a,b\n1,2\n', "line 1: the header cannot be read: a quote is opened"),
        (b"a,\x00b\n1,2\n", "NUL byte"),
        (b"a,b\n3,\xff4\n", "1 of 1 rows cannot be read; .* the encoding as utf-8"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16 text; declare `encoding: utf-16`"),
        (b"PK\x03\x04rest", "is a zip archive or a workbook; name the file in the archive as `member`"),
        (b"\xd0\xcf\x11\xe0rest", "is an old or protected Excel workbook; declare `format: excel`"),
        (b"\x1f\x8brest", "is compressed with gzip within gzip or zip"),
        (b"PAR1rest", "is Parquet; declare `format: parquet`"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(content)


def test_empty_columns_behind_the_last_are_none() -> None:
    kept, refused = rows(b"a,b,, \n1,2,,\n3,4,x,\n5,6,, \n")
    assert kept == [["1", "2"], ["5", "6"]]
    assert refused == [(2, "line 3: a value stands in a column that the header does not name")]
    assert read(b"a,b,,\n3,4,x,\n1,2,,\n1,2,,\n")[0].refused["raw"].tolist() == ["3,4,x,"]


def test_parts_hold_the_same_rows_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'a,b\n1,2\n3\n"4\n4",5\n6,7\n8,9\n'
    whole = rows(content)
    monkeypatch.setattr(sources, "PART_ROWS", 2)
    parts = read(content)
    assert [len(part.cells) + len(part.refused) for part in parts] == [2, 2, 1]
    assert rows(content) == whole


# Nothing but SourceError, whatever the bytes; untouched rows stay as they were

PLAIN = st.text(alphabet="ab1,; é", max_size=5)
WILD = st.text(alphabet='a,"\n\r ', max_size=5)


def written(table: list[list[str]], quoting: int) -> list[bytes]:
    """Each row of a table as CSV by Python's own writer: the second route."""
    lines = []
    for row in table:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n", quoting=quoting).writerow(row)  # type: ignore[arg-type]
        lines.append(text.getvalue().encode())
    return lines


def mutate(data: st.DataObject, line: bytes) -> bytes:
    """One byte replaced, inserted or deleted."""
    place = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.sampled_from(list(b'",;\n\ra1 \x00\xff')))
    act = data.draw(st.sampled_from(["replace", "insert", "delete"]))
    return line[:place] + (b"" if act == "delete" else bytes([byte])) + line[place + (act != "insert") :]


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_one_wrong_byte_touches_one_row(data: st.DataObject, quoting: int) -> None:
    table = data.draw(st.lists(st.lists(PLAIN, min_size=3, max_size=3), min_size=3, max_size=8))
    lines = written(table, quoting)
    hit = data.draw(st.integers(0, len(table) - 1))
    lines[hit] = mutate(data, lines[hit])
    try:
        kept, _ = rows(b"a,b,c\n" + b"".join(lines))
    except SourceError:
        return
    gone = {hit, hit + 1} if not lines[hit].endswith(b"\n") else {hit}
    before = [row for k, row in enumerate(table) if k < hit]
    after = [row for k, row in enumerate(table) if k > hit and k not in gone]
    assert kept[: len(before)] == before
    assert not after or kept[-len(after) :] == after


def test_a_lost_separator_before_a_quote_does_not_take_in_the_row_below() -> None:
    """`1,",",` less its first comma: a quoted break between two bare quotes is where two rows met."""
    kept, refused = rows(b'a,b,c\n,,\n1",",\n,,",1"\n')
    assert kept == [["", "", ""], ["", "", ",1"]]
    assert len(refused) == 1


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(WILD, min_size=2, max_size=2), max_size=8))
def test_what_python_writes_is_read_back_cell_by_cell(table: list[list[str]]) -> None:
    assert rows(b"a,b\n" + b"".join(written(table, csv.QUOTE_ALL))) == (table, [])


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_damage_leaves_rows_that_add_up_or_one_clear_error(data: st.DataObject) -> None:
    table = data.draw(st.lists(st.lists(WILD, min_size=2, max_size=2), min_size=1, max_size=8))
    content = b"a,b\n" + b"".join(written(table, csv.QUOTE_MINIMAL))
    for _ in range(data.draw(st.integers(1, 4))):
        content = mutate(data, content)
    try:
        parts = read(content)
    except SourceError as error:
        assert str(error).startswith("x.csv") and str(error).endswith(".")
        return
    numbers = sorted(row for part in parts for row in [*part.cells.index, *part.refused["row"]])
    assert numbers == list(range(1, len(numbers) + 1))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        read(content)
    except SourceError as error:
        assert str(error).endswith(".")


# Parquet


def parquet(frame: pd.DataFrame | pa.Table, path: Path) -> list[sources.Part]:
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame)
    pq.write_table(table, path)
    file = File(path=path.name, format="parquet")
    return list(sources.read_parts(path, file, path.name, max_bytes=LIMIT))


def test_parquet_becomes_text_without_loss(tmp_path: Path) -> None:
    table = pa.table(
        {
            "i": pa.array([1, 2**60, None]),
            "f": pa.array([0.1, 1e20, float("nan")]),
            "b": pa.array([True, False, None]),
            "s": pa.array(["NA", "", None]),
            "t": pa.array([0, 1_000_001, None], pa.timestamp("us")),
            "z": pa.array([0, 3_600_000, None], pa.timestamp("ms", tz="Europe/Lisbon")),
            "d": pa.array([0, 1, None], pa.date32()),
            "c": pa.array(["x", "y", None]).dictionary_encode(),
        }
    )
    (part,) = parquet(table, tmp_path / "x.parquet")
    assert part.cells.index.tolist() == [1, 2, 3]
    assert part.cells.iloc[0].tolist() == [
        "1",
        "0.1",
        "true",
        "NA",
        "1970-01-01 00:00:00.000000",
        "1970-01-01 00:00:00.000",
        "1970-01-01",
        "x",
    ]
    assert part.cells.iloc[1].tolist() == [
        str(2**60),
        "1e+20",
        "false",
        "",
        "1970-01-01 00:00:01.000001",
        "1970-01-01 01:00:00.000",
        "1970-01-02",
        "y",
    ]
    assert part.cells.iloc[2].isna().all()


@pytest.mark.parametrize("column", [pa.array([[1]]), pa.array([{"k": 1}]), pa.array([b"\xff"])])
def test_parquet_with_nested_or_binary_columns_is_refused(tmp_path: Path, column: pa.Array) -> None:
    with pytest.raises(SourceError, match="column `x` holds"):
        parquet(pa.table({"x": column}), tmp_path / "x.parquet")


def test_broken_parquet_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(SourceError, match="not a sound Parquet file"):
        list(sources.read_parts(path, File(path="x", format="parquet"), "x", max_bytes=LIMIT))


# Excel

SHEET = """<?xml version="1.0" encoding="UTF-8"?>
<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{rows}</sheetData>
</worksheet>"""
#: Styles 1 to 4: a date, a moment, a time, a duration.
STYLES = """<?xml version="1.0" encoding="UTF-8"?>
<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">
<numFmts count="1"><numFmt numFmtId="170" formatCode="[h]:mm:ss"/></numFmts>
<cellXfs count="5"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/><xf numFmtId="21"/><xf numFmtId="170"/>
</cellXfs>
</styleSheet>"""


def cell(place: str, value: object) -> str:
    """One cell as a spreadsheet writes it: text, a number, a boolean, or what is given as XML."""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, (int, float)):
        return f'<c r="{place}"><v>{value}</v></c>'
    if isinstance(value, tuple):
        return f'<c r="{place}" {value[0]}>{value[1]}</c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'


def workbook(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    """A workbook made by hand: the smallest that spreadsheets open. A cell of None is not written."""
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    names = list(sheets)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r0" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
        f'xmlns:r="{office}"><sheets>'
        + "".join(f'<sheet name="{name}" sheetId="{k}" r:id="r{k}"/>' for k, name in enumerate(names, 1))
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        + "".join(
            f'<Relationship Id="r{k}" Type="{office}/worksheet" Target="worksheets/sheet{k}.xml"/>'
            for k in range(1, len(names) + 1)
        )
        + f'<Relationship Id="rs" Type="{office}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": STYLES,
    }
    for k, name in enumerate(names, 1):
        rows = "".join(
            f'<row r="{r}">'
            + "".join(cell(f"{chr(65 + c)}{r}", value) for c, value in enumerate(values) if value is not None)
            + "</row>"
            for r, values in enumerate(sheets[name], 1)
        )
        parts[f"xl/worksheets/sheet{k}.xml"] = SHEET.format(rows=rows)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def excel(path: Path, max_bytes: int = LIMIT, **declared: Any) -> list[sources.Part]:
    file = File(path=path.name, format="excel", **declared)
    return list(sources.read_parts(path, file, path.name, max_bytes=max_bytes))


def test_a_sheet_becomes_text_without_guessing(tmp_path: Path) -> None:
    header: list[object] = ["id", "n", "f", "b", "day", "at", "time", "long", "formula", "error", "empty"]
    row: list[object] = [
        "00123",
        5.0,
        0.1,
        True,
        ('s="1"', "<v>45296</v>"),
        ('s="2"', "<v>45296.5625</v>"),
        ('s="3"', "<v>0.354166666666667</v>"),
        ('s="4"', "<v>1.25</v>"),
        ("", "<f>1+1</f><v>2</v>"),
        ('t="e"', "<v>#DIV/0!</v>"),
        None,
    ]
    (part,) = excel(workbook(tmp_path / "x.xlsx", {"Leads": [header, row, ["NA", 1e20, -2, False, " x "]]}))
    assert list(part.cells.columns) == header
    assert all(dtype == "str" for dtype in part.cells.dtypes)
    first, second = part.cells.to_numpy().tolist()
    assert first == [
        "00123",
        "5",
        "0.1",
        "true",
        "2024-01-05",
        "2024-01-05 13:30:00",
        "08:30:00",
        "30:00:00",
        "2",
        "",
        "",
    ]
    assert second == ["NA", "100000000000000000000", "-2", "false", " x ", "", "", "", "", "", ""]
    assert part.lines is not None and part.lines.tolist() == [2, 3]


def test_a_sheet_is_named_or_the_first(tmp_path: Path) -> None:
    path = workbook(tmp_path / "x.xlsx", {"One": [["a"], [1]], "Two": [["b"], [2]]})
    assert excel(path)[0].cells.to_dict("list") == {"a": ["1"]}
    assert excel(path, sheet="Two")[0].cells.to_dict("list") == {"b": ["2"]}
    with pytest.raises(SourceError, match=r"has no sheet Three; it holds One, Two\."):
        excel(path, sheet="Three")


def test_rows_of_a_sheet_are_refused_by_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PART_ROWS", 3)
    rows_: list[list[object]] = [["a", "b"], [1, 2], [None], [3, 4, "beyond"], [5, 6], [7, None], [None, " "], [None]]
    parts = excel(workbook(tmp_path / "x.xlsx", {"S": rows_}))
    assert [part.cells.to_numpy().tolist() for part in parts] == [[["1", "2"]], [["5", "6"], ["7", ""], ["", " "]]]
    assert [part.cells.index.tolist() for part in parts] == [[1], [4, 5, 6]]
    assert parts[0].refused.to_numpy().tolist() == [
        [2, "line 3: the line is empty", ",,"],
        [3, "line 4: a value stands in a column that the header does not name", "3,4,beyond"],
    ]


@pytest.mark.parametrize(
    ("rows_", "message"),
    [
        ([], "sheet S: is empty; its first row must name the columns"),
        ([[None, "b"], [1, 2]], "sheet S: column 1 of 2 has no name"),
        ([["a", "a"], [1, 2]], "sheet S: the header names `a` more than once"),
        ([["a"], [1, 2], [1, 2]], "sheet S: more than half of its 2 rows are empty or wider"),
    ],
)
def test_a_sheet_that_is_wrong_as_a_whole(tmp_path: Path, rows_: list[list[object]], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        excel(workbook(tmp_path / "x.xlsx", {"S": rows_}))


def test_a_sheet_with_a_header_alone_has_its_columns(tmp_path: Path) -> None:
    (part,) = excel(workbook(tmp_path / "x.xlsx", {"S": [["a", "b"]]}))
    assert list(part.cells.columns) == ["a", "b"] and len(part.cells) == 0


@pytest.mark.parametrize("far", [b"XFD2001", b"xfd2001", b"A99999999999"])
def test_a_stray_cell_far_out_does_not_fill_the_memory(tmp_path: Path, far: bytes) -> None:
    rows_: list[list[object]] = [["a"], *([[1]] * 2000)]
    path = workbook(tmp_path / "x.xlsx", {"S": rows_})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = sheet.replace(b'r="A2001"', b'r="' + far + b'"')
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(SourceError, match=r"a sheet reaches [0-9,]+ columns far and [0-9,]+ rows down"):
        excel(path, max_bytes=2**30)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"PK\x03\x04rest", b"\xd0\xcf\x11\xe0rest"])
def test_what_is_no_workbook_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.xlsx").write_bytes(content)
    with pytest.raises(SourceError, match=r"x\.xlsx: not a sound"):
        excel(tmp_path / "x.xlsx")


def test_a_workbook_that_unpacks_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = workbook(tmp_path / "x.xlsx", {"S": [["a"], *([["x" * 1000]] * 100)]})
    assert path.stat().st_size < 50_000
    with pytest.raises(SourceError, match=r"x\.xlsx, unpacked: 0\.1 MiB, more than the"):
        excel(path, max_bytes=50_000)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_workbook_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    rows_: list[list[object]] = [["a", "b"], *([k, f"x{k}"] for k in range(20))]
    path = workbook(tmp_path / "x.xlsx", {"S": rows_})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[place] = data.draw(st.integers(0, 255))
        else:
            del content[place : place + data.draw(st.integers(1, 30))]
    path.write_bytes(bytes(content))
    try:
        excel(path)
    except SourceError as error:
        assert str(error).endswith(".")


# gzip


def test_gzip_is_unpacked_by_itself(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n1,2\n")
    (tmp_path / "x.csv").write_bytes(packed)
    file = File(path="x.csv")
    (part,) = sources.read_parts(tmp_path / "x.csv", file, "x.csv", max_bytes=LIMIT)
    assert part.cells.to_numpy().tolist() == [["1", "2"]]
    path = zipped(tmp_path / "x.zip", inner=packed)
    assert parts_of(path, member="inner")[0].cells.to_numpy().tolist() == [["1", "2"]]
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    (tmp_path / "x.gz").write_bytes(gzip.compress((tmp_path / "x.parquet").read_bytes()))
    (part,) = sources.read_parts(tmp_path / "x.gz", File(path="x", format="parquet"), "x", max_bytes=LIMIT)
    assert part.cells.to_numpy().tolist() == [["1"]]


def test_gzip_that_unpacks_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"a\n" + b"1\n" * LIMIT))
    with pytest.raises(SourceError, match=r"x\.gz, unpacked: 1\.0 MiB, more than the 1 MiB"):
        list(sources.read_parts(path, File(path="x"), "x.gz", max_bytes=LIMIT))


@pytest.mark.parametrize(
    "change", [lambda b: b[:-5], lambda b: b[:30], lambda b: b[:-6] + b"x" + b[-5:], lambda b: b[:5]]
)
def test_damaged_gzip_is_a_clear_error(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(change(gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (k, k * k) for k in range(500)))))
    with pytest.raises(SourceError, match=r"x\.gz: not a sound archive, or damaged"):
        list(sources.read_parts(path, File(path="x"), "x.gz", max_bytes=LIMIT))


# Finding and checking files


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path / "project")
    found.raw.mkdir(parents=True)
    return found


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_path_is_found_below_data_raw_also_through_a_link(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").write_bytes(b"a\n1\n")
    (workspace.raw / "x.csv").symlink_to(tmp_path / "elsewhere.csv")
    fetched = sources.fetch(workspace, File(path="x.csv"), max_bytes=LIMIT)
    assert (fetched.label, fetched.sha256) == ("data/raw/x.csv", sha(b"a\n1\n"))


@pytest.mark.parametrize("path", ["/etc/hostname", "../params.yaml", "a/../../params.yaml", "..", "a\\b"])
def test_a_path_never_leaves_data_raw(workspace: Workspace, path: str) -> None:
    with pytest.raises(SourceError, match="must stay below data/raw/"):
        sources.fetch(workspace, File(path=path), max_bytes=LIMIT)


def test_a_missing_file_names_every_place_tried(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAD_DATA_DIR", str(tmp_path / "beside"))
    with pytest.raises(SourceError, match=r"data/raw/x\.csv: no such file\. Put it there or link it"):
        sources.fetch(workspace, File(path="x.csv"), max_bytes=LIMIT)
    with pytest.raises(SourceError, match=r"data/raw/x\.csv and .*/beside/x\.csv: no such file"):
        sources.fetch(workspace, File(path="x.csv", sha256="0" * 64), max_bytes=LIMIT)


def test_the_data_folder_serves_only_files_known_by_hash_and_comes_second(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "x.csv").write_bytes(b"a\n1\n")
    monkeypatch.setenv("LEAD_DATA_DIR", str(beside))
    known = File(path="x.csv", sha256=sha(b"a\n1\n"))
    assert sources.fetch(workspace, known, max_bytes=LIMIT).places[0].path == beside / "x.csv"
    with pytest.raises(SourceError, match="no such file"):
        sources.fetch(workspace, File(path="x.csv"), max_bytes=LIMIT)
    (workspace.raw / "x.csv").write_bytes(b"a\n2\n")
    with pytest.raises(SourceError, match="the contract expects"):
        sources.fetch(workspace, known, max_bytes=LIMIT)


def test_size_and_hash_are_checked_before_reading(workspace: Workspace) -> None:
    (workspace.raw / "x.csv").write_bytes(b"a\n1\n" * 100)
    with pytest.raises(SourceError, match=r"more than the .* that `ingest\.max_file_mib`"):
        sources.fetch(workspace, File(path="x.csv"), max_bytes=100)
    with pytest.raises(SourceError, match=r"sha256 is [0-9a-f]{64}, the contract expects 0+"):
        sources.fetch(workspace, File(path="x.csv", sha256="0" * 64), max_bytes=LIMIT)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_a_clear_error(workspace: Workspace) -> None:
    path = workspace.raw / "x.csv"
    path.write_bytes(b"a\n1\n")
    path.chmod(0)
    with pytest.raises(SourceError, match="cannot be read"):
        sources.fetch(workspace, File(path="x.csv"), max_bytes=LIMIT)


# Zip archives


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def parts_of(path: Path, **declared: Any) -> list[sources.Part]:
    return list(sources.read_parts(path, File(path="x.zip", **declared), "x.zip", max_bytes=LIMIT))


def test_a_member_of_a_zip_is_read_as_if_it_were_a_file(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", inner=b"a,b\n1,2\n", other=b"")
    assert parts_of(path, member="inner")[0].cells.to_numpy().tolist() == [["1", "2"]]
    with pytest.raises(SourceError, match=r"has no member leads\.csv; it holds inner, other"):
        parts_of(path, member="leads.csv")
    with pytest.raises(SourceError, match="is a zip archive or a workbook; name the file"):
        parts_of(path)


def test_a_member_may_be_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    path = zipped(tmp_path / "x.zip", inner=(tmp_path / "x.parquet").read_bytes())
    assert parts_of(path, member="inner", format="parquet")[0].cells.to_numpy().tolist() == [["1"]]


def test_a_member_that_unpacks_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", inner=b"a" * (LIMIT + 1))
    with pytest.raises(SourceError, match=r"member inner: 1\.0 MiB, more than the 1 MiB"):
        parts_of(path, member="inner")


@pytest.mark.parametrize("place", [0, 40, -30])
def test_a_damaged_zip_is_a_clear_error(tmp_path: Path, place: int) -> None:
    path = zipped(tmp_path / "x.zip", inner=b"a,b\n" + b"".join(b"%d,%d\n" % (k, k * k) for k in range(500)))
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(SourceError, match=r"x\.zip"):
        parts_of(path, member="inner")


# Downloads


class Handler(BaseHTTPRequestHandler):
    """Serves `/good`, stops short at `/short`, stays silent at `/slow`; everything else is missing."""

    content = b"a,b\n1,2\n"

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.released.wait(5)  # type: ignore[attr-defined]
        elif self.path in ("/good", "/short"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.content) + (self.path == "/short")))
            self.end_headers()
            self.wfile.write(self.content)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def served() -> Iterator[str]:
    """A server on loopback that ends with the block."""
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.released = Event()  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.released.set()  # type: ignore[attr-defined]
            server.shutdown()
            thread.join()


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served() as url:
        yield url


def test_an_address_with_a_password_is_neither_sent_nor_shown(workspace: Workspace) -> None:
    digest, said = sha(Handler.content), []
    file = File(url="https://me:s3cr@t@data.example/leads.csv", sha256=digest)
    with pytest.raises(SourceError, match="are not sent") as caught:
        sources.fetch(workspace, file, max_bytes=LIMIT, log=said.append)
    assert str(caught.value).startswith("https://data.example/leads.csv: ") and said == []
    # Fetched by hand, it is taken from the cache.
    files.write_bytes(workspace.raw / ".cache" / digest, Handler.content)
    assert sources.fetch(workspace, file, max_bytes=LIMIT, log=said.append).label == "https://data.example/leads.csv"


def test_a_url_is_downloaded_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    digest, said = sha(Handler.content), []
    with served() as url:
        file = File(url=f"{url}/good", sha256=digest)
        fetched = sources.fetch(workspace, file, max_bytes=LIMIT, log=said.append)
    path = fetched.places[0].path
    assert path == workspace.raw / ".cache" / digest
    assert path.read_bytes() == Handler.content
    assert said == [f"downloading {url}/good"]
    again = sources.fetch(workspace, file, max_bytes=LIMIT, log=said.append)  # the server is gone
    assert again == fetched and len(said) == 1
    path.write_bytes(b"altered")
    with pytest.raises(SourceError, match="cannot be downloaded"):
        sources.fetch(workspace, file, max_bytes=LIMIT)


@pytest.mark.parametrize(
    ("page", "digest", "limit", "message"),
    [
        ("good", "0" * 64, LIMIT, "the contract expects 0+. Check the address"),
        ("short", sha(Handler.content), LIMIT, "ended after 8 of 9 bytes; try again"),
        ("good", sha(Handler.content), 4, "more than the"),
        ("none", sha(b""), LIMIT, "the server answered 404"),
        ("slow", sha(b""), LIMIT, "cannot be downloaded"),
    ],
)
def test_a_failed_download_is_a_clear_error_and_leaves_nothing(
    workspace: Workspace,
    loopback: str,
    monkeypatch: pytest.MonkeyPatch,
    page: str,
    digest: str,
    limit: int,
    message: str,
) -> None:
    monkeypatch.setattr(sources, "DOWNLOAD_TIMEOUT", 0.5)
    with pytest.raises(SourceError, match=message):
        sources.fetch(workspace, File(url=f"{loopback}/{page}", sha256=digest), max_bytes=limit)
    assert not list((workspace.raw / ".cache").iterdir())


def test_a_file_url_works_and_an_unknown_host_is_a_clear_error(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a\n1\n")
    file = File(url=f"file://{tmp_path}/x.csv", sha256=sha(b"a\n1\n"))
    assert sources.fetch(workspace, file, max_bytes=LIMIT).sha256 == file.sha256
    with pytest.raises(SourceError, match="cannot be downloaded"):
        sources.fetch(workspace, File(url=f"file://{tmp_path}/none.csv", sha256="0" * 64), max_bytes=LIMIT)


# Several files of one table


def several(workspace: Workspace, given: list[str], **files_: bytes) -> sources.Fetched:
    for name, content in files_.items():
        path = workspace.raw / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return sources.fetch(workspace, File(paths=given), max_bytes=LIMIT)


def names_of(fetched: sources.Fetched) -> list[str]:
    return [place.label.removeprefix("data/raw/") for place in fetched.places]


def test_patterns_match_in_order_of_name_and_lists_in_their_own(workspace: Workspace) -> None:
    contents = {name: name.encode() for name in ("b", "a", "c", "old__a", "old__z", ".hidden")}
    assert names_of(several(workspace, ["?", "old/*"], **contents)) == ["a", "b", "c", "old/a", "old/z"]
    assert names_of(several(workspace, ["old/z", "b"])) == ["old/z", "b"]
    assert names_of(several(workspace, ["**/a"])) == ["a", "old/a"]
    (workspace.raw / "odd[1].csv").write_bytes(b"odd")
    assert names_of(several(workspace, ["odd[1].csv"])) == ["odd[1].csv"]


def test_the_hash_of_several_files_is_that_of_their_list_in_any_order(workspace: Workspace) -> None:
    fetched = several(workspace, ["b", "a"], a=b"one", b=b"two")
    listed = f"{sha(b'one')}  a\n{sha(b'two')}  b\n"
    assert fetched.sha256 == sha(listed.encode())
    assert several(workspace, ["?"]).sha256 == fetched.sha256
    known = File(paths=["a", "b"], sha256=fetched.sha256)
    assert sources.fetch(workspace, known, max_bytes=LIMIT).label == "data/raw/a and 1 more"
    with pytest.raises(
        SourceError, match=r"sha256 of the list of these 2 files is [0-9a-f]{64}, the contract expects 0+"
    ):
        sources.fetch(workspace, File(paths=["a", "b"], sha256="0" * 64), max_bytes=LIMIT)


def test_several_files_known_by_hash_may_lie_beside_the_checkout(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = several(workspace, ["a", "b"], a=b"one", b=b"two").sha256
    workspace.raw.rename(tmp_path / "beside")
    monkeypatch.setenv("LEAD_DATA_DIR", str(tmp_path / "beside"))
    fetched = sources.fetch(workspace, File(paths=["?"], sha256=known), max_bytes=LIMIT)
    assert fetched.sha256 == known and names_of(fetched) == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a", "?"], "data/raw/a: `paths` names it more than once"),
        (["a", "copy"], "data/raw/a and data/raw/copy: have the same content; leave one out"),
        (["a", "none-*.csv"], r"none-\*\.csv: no such file"),
        (["a", "../b"], "must stay below data/raw/"),
        (["/a"], "must stay below data/raw/"),
    ],
)
def test_several_files_that_cannot_be_one_table(workspace: Workspace, given: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        several(workspace, given, a=b"one", b=b"two", copy=b"one")


# By contract

CONTRACT: dict[str, Any] = {
    "contract_version": 1,
    "name": "small",
    "description": "for tests",
    "source": {
        "kind": "files",
        "leads": {"path": "leads.csv", "separator": ";"},
        "activities": {"path": "activities.csv"},
        "changes": {"path": "changes.csv"},
    },
    "key": "id",
    "time": {"kind": "column", "column": "created"},
    "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won"},
    "columns": {
        "id": {"role": "identifier"},
        "created": {"role": "ignored", "type": "timestamp"},
        "won": {"role": "outcome", "type": "timestamp"},
        "size": {"role": "feature", "type": "integer", "known_at": "over_time"},
        "email": {"role": "personal", "facts": ["work_email"]},
    },
    "activities": {"lead": "id", "kind": "kind", "happened_at": "at", "recorded_at": "at", "kinds": {"call": {}}},
    "changes": {"lead": "id", "column": "field", "recorded_at": "at", "old_value": "old", "new_value": "new"},
}
LEADS = b"""id;created;won;size;email
L1;2024-01-01;;5;ada@acme.example
L2;2024-01-02;2024-02-01;x;
L3
L4;2024-01-04;;7;
L5;2024-01-05;;8;
"""
ACTIVITIES = b"id,kind,at,note\nL1,call,2024-01-03,x\n"
CHANGES = b"id,field,at,old,new\nL1,size,2024-01-03,4,5\nL1,email,2024-01-03,a,b\n"


@pytest.fixture
def small(workspace: Workspace) -> Resolved:
    for name, content in (("leads", LEADS), ("activities", ACTIVITIES), ("changes", CHANGES)):
        (workspace.raw / f"{name}.csv").write_bytes(content)
    return resolve(parse(CONTRACT, file="small.yaml"))


def pieces(workspace: Workspace, resolved: Resolved) -> list[sources.Piece]:
    fetched = sources.fetch_all(workspace, resolved, max_bytes=LIMIT)
    return list(sources.pieces_of_files(resolved, fetched, max_bytes=LIMIT))


def test_files_become_typed_tables_and_every_row_is_accounted_for(workspace: Workspace, small: Resolved) -> None:
    leads, activities, changes = pieces(workspace, small)
    assert [piece.table for piece in (leads, activities, changes)] == list(tables.TABLES)
    assert leads.rows == 5 and leads.typed.table["lead_id"].tolist() == ["L1", "L4", "L5"]
    assert leads.typed.refused[["row", "reason"]].to_numpy().tolist() == [
        [2, "line 3: column `size` is not a whole number"],
        [3, "line 4: 1 field where the header has 5"],
    ]
    assert activities.unread == ("note",)
    assert (changes.rows, len(changes.typed.table), changes.typed.set_aside) == (2, 1, 1)


def test_several_files_are_one_table(workspace: Workspace, small: Resolved) -> None:
    header, *lines = LEADS.splitlines(keepends=True)
    (workspace.raw / "leads-1.csv").write_bytes(header + b"".join(lines[:2]))
    turned = [b";".join(line.strip().split(b";")[::-1]) + b"\n" for line in (header, *lines[2:])]
    (workspace.raw / "leads-2.csv").write_bytes(gzip.compress(b"".join(turned)))
    source = CONTRACT["source"] | {"leads": {"paths": ["leads-*.csv"], "separator": ";"}}
    resolved = resolve(parse(CONTRACT | {"source": source}, file="small.yaml"))
    one, two = (piece for piece in pieces(workspace, resolved) if piece.table == "leads")
    whole = pieces(workspace, small)[0].typed
    assert (one.rows, two.rows) == (2, 3)
    table = pd.concat([one.typed.table, two.typed.table], ignore_index=True)
    pd.testing.assert_frame_equal(table, whole.table)
    reasons = [*one.typed.refused["reason"], *two.typed.refused["reason"]]
    assert reasons == [
        "leads-1.csv, line 3: column `size` is not a whole number",
        "leads-2.csv, line 2: 1 field where the header has 5",
    ]
    assert [re.sub(PLACE, "", reason) for reason in reasons] == [
        re.sub(PLACE, "", reason) for reason in whole.refused["reason"]
    ]
    assert two.typed.refused["row"].tolist() == [3]


def test_several_files_need_the_same_columns(workspace: Workspace, small: Resolved) -> None:
    (workspace.raw / "leads-1.csv").write_bytes(LEADS)
    (workspace.raw / "leads-2.csv").write_bytes(LEADS.replace(b"size", b"weight", 1))
    source = CONTRACT["source"] | {"leads": {"paths": ["leads-1.csv", "leads-2.csv"], "separator": ";"}}
    with pytest.raises(SourceError, match=r"leads-2\.csv: lacks `size`, holds `weight`, unlike data/raw/leads-1\.csv"):
        pieces(workspace, resolve(parse(CONTRACT | {"source": source}, file="small.yaml")))


def test_a_decimal_comma_encoding_and_workbook_give_the_same_tables(workspace: Workspace, small: Resolved) -> None:
    columns = CONTRACT["columns"] | {"size": {"role": "feature", "type": "number", "known_at": "over_time"}}
    header = ["id", "created", "won", "size", "email"]
    cells: list[list[object]] = [["L1", "2024-01-01", "", 1.5, ""], ["Lé", "2024-01-02", "", -20.0, ""]]

    def typed(**declared: Any) -> pd.DataFrame:
        source = CONTRACT["source"] | {"leads": {"path": "leads.csv", **declared}}
        content = CONTRACT | {"source": source, "columns": columns}
        return pieces(workspace, resolve(parse(content, file="small.yaml")))[0].typed.table

    text = "\n".join(";".join(map(str, row)) for row in [header, *cells]) + "\n"
    (workspace.raw / "leads.csv").write_bytes(text.encode())
    expected = typed(separator=";")
    assert expected["size"].tolist() == [1.5, -20.0]
    (workspace.raw / "leads.csv").write_bytes(text.replace(".", ",").encode("cp1252"))
    pd.testing.assert_frame_equal(typed(separator=";", encoding="cp1252", decimal=","), expected)
    workbook(workspace.raw / "leads.csv", {"S": [header, *cells]})  # type: ignore[list-item]
    pd.testing.assert_frame_equal(typed(format="excel"), expected)


def test_a_decimal_comma_makes_a_point_no_part_of_a_number(workspace: Workspace, small: Resolved) -> None:
    leads = b"id;created;won;size;email\nL1;2024-01-01;;1.000;\nL2;2024-01-01;;7,0;\nL3;2024-01-01;;8;\n"
    (workspace.raw / "leads.csv").write_bytes(leads)
    (workspace.raw / "changes.csv").write_bytes(b"id;field;at;old;new\nL2;size;2024-01-03;5,0;7,0\n")
    source = CONTRACT["source"] | {
        name: {"path": f"{name}.csv", "separator": ";", "decimal": ","} for name in ("leads", "changes")
    }
    found = pieces(workspace, resolve(parse(CONTRACT | {"source": source}, file="small.yaml")))
    assert found[0].typed.table["size"].tolist() == [7.0, 8.0]
    assert found[0].typed.refused["reason"].tolist() == ["line 2: column `size` is not a whole number"]
    assert '"1.000"' in found[0].typed.refused["raw"].item()
    assert found[2].typed.table[["old_value", "new_value"]].to_numpy().tolist() == [["5.0", "7.0"]]


def test_parts_give_the_same_tables_as_the_whole(
    workspace: Workspace, small: Resolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pieces(workspace, small)[0].typed
    monkeypatch.setattr(sources, "PART_ROWS", 2)
    parts = [piece.typed for piece in pieces(workspace, small) if piece.table == "leads"]
    assert len(parts) == 3
    pd.testing.assert_frame_equal(pd.concat([part.table for part in parts], ignore_index=True), whole.table)
    pd.testing.assert_frame_equal(pd.concat([part.refused for part in parts], ignore_index=True), whole.refused)


def test_csv_and_parquet_give_the_same_tables(workspace: Workspace, small: Resolved) -> None:
    cells = pieces(workspace, small)[0].typed.table
    clean = LEADS.replace(b"L3\n", b"").replace(b";x;", b";6;")
    (workspace.raw / "leads.csv").write_bytes(clean)
    from_csv = pieces(workspace, small)[0].typed.table
    frame = pd.read_csv(io.BytesIO(clean), sep=";", parse_dates=["created", "won"])
    pq.write_table(pa.Table.from_pandas(frame), workspace.raw / "leads.parquet")
    content = CONTRACT | {"source": CONTRACT["source"] | {"leads": {"path": "leads.parquet", "format": "parquet"}}}
    from_parquet = pieces(workspace, resolve(parse(content, file="small.yaml")))[0].typed.table
    pd.testing.assert_frame_equal(from_csv, from_parquet)
    assert list(cells.columns) == list(from_csv.columns)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LEADS.replace(b"size", b"weight", 1), r"it lacks the column `size`.*; it holds the column `weight`"),
        (LEADS.replace(b";", b","), "is the contract.s `separator`"),
        (LEADS.split(b"\n")[0], "has no rows below its header"),
        (
            LEADS.replace(b"2024-01-0", b"01/2024/"),
            "5 of 5 rows of leads are refused; .* Commonest: 4 × column `created` is not an ISO 8601",
        ),
    ],
)
def test_a_file_that_the_contract_does_not_describe(
    workspace: Workspace, small: Resolved, content: bytes, message: str
) -> None:
    (workspace.raw / "leads.csv").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        pieces(workspace, small)


def test_blocks_are_numbered_through() -> None:
    resolved = resolve(parse(CONTRACT, file="small.yaml"))
    leads = pd.read_csv(io.BytesIO(LEADS.replace(b"L3\n", b"")), sep=";", dtype="str")
    activities = pd.read_csv(io.BytesIO(ACTIVITIES), dtype="str")
    changes = pd.read_csv(io.BytesIO(CHANGES), dtype="str")

    class Block:
        def __init__(self) -> None:
            self.leads, self.activities, self.changes = leads, activities, changes

    found = list(sources.pieces_of_blocks([Block(), Block()], resolved))
    assert [piece.typed.table["row"].tolist() for piece in found if piece.table == "leads"] == [[1, 3, 4], [5, 7, 8]]
    assert [piece.typed.refused["row"].tolist() for piece in found if piece.table == "leads"] == [[2], [6]]
    assert [piece.typed.table["row"].tolist() for piece in found if piece.table == "activities"] == [[1], [2]]


# Contracts


def test_a_missing_contract_lists_those_there(workspace: Workspace) -> None:
    folder = workspace.contract("x").parent
    folder.mkdir(parents=True)
    (folder / "demo.yaml").write_text("name: other")
    with pytest.raises(ContractError, match=r"x\.yaml: no such contract\. In that folder: demo\."):
        sources.read_contract(workspace, "x")


def test_a_contract_must_bear_the_name_of_its_file(workspace: Workspace, project_root: Path) -> None:
    folder = workspace.contract("x").parent
    folder.mkdir(parents=True)
    text = (project_root / "data" / "contracts" / "online_shoppers.yaml").read_text(encoding="utf-8")
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match="name: `online_shoppers` is not the file's name, `mine`"):
        sources.read_contract(workspace, "mine")


# For scoring


def for_scoring(
    resolved: Resolved, leads: Path, activities: Path | None = None, changes: Path | None = None
) -> dict[str, sources.Piece]:
    """The pieces of files that are small enough for one each, by table."""
    paths = {"leads": leads, "activities": activities, "changes": changes}
    given = {table: sources.Given.of(path) for table, path in paths.items()}
    found = list(sources.pieces_for_scoring(resolved, given, max_bytes=LIMIT))
    assert [piece.table for piece in found] == list(tables.TABLES)
    return {piece.table: piece for piece in found}


def test_raw_tables_are_read_for_scoring(tmp_path: Path) -> None:
    resolved = resolve(parse(CONTRACT, file="small.yaml"))
    leads = tmp_path / "open.csv"
    leads.write_bytes(b"id;size;created;as_of;note\nL1;5;2024-01-01;2024-03-01;x\nL2;many;2024-01-01;2024-03-01;\nL3\n")
    (tmp_path / "acts.csv").write_bytes(ACTIVITIES)
    found = for_scoring(resolved, leads, tmp_path / "acts.csv")
    table = found["leads"].typed.table
    assert table["lead_id"].tolist() == ["L1"]
    assert table["as_of"].item() == pd.Timestamp("2024-03-01")
    assert table[["converted_at", "lost_at", "has_work_email"]].isna().all(axis=None)
    assert len(found["activities"].typed.table) == 1 and len(found["changes"].typed.table) == 0
    assert found["leads"].typed.refused[["row", "lead_id", "reason"]].fillna("?").to_numpy().tolist() == [
        [2, "L2", "line 3: column `size` is not a whole number"],
        [3, "?", "line 4: 1 field where the header has 5"],
    ]
    unread = {name: piece.unread for name, piece in found.items()}
    assert unread == {"leads": ("note",), "activities": ("note",), "changes": ()}


def test_what_is_scored_may_have_another_format_than_the_history(tmp_path: Path) -> None:
    source = CONTRACT["source"] | {
        "leads": {"path": "leads.csv", "separator": ";", "decimal": ",", "encoding": "cp1252"}
    }
    resolved = resolve(parse(CONTRACT | {"source": source}, file="small.yaml"))
    header, row = ["id", "size", "created"], ["Lé", 5, "2024-01-01"]
    lines = [header, row]
    (tmp_path / "a.csv").write_bytes("\n".join(";".join(map(str, line)) for line in lines).encode("cp1252"))
    (tmp_path / "b.csv").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    workbook(tmp_path / "c.xlsx", {"S": lines})
    pq.write_table(pa.table({name: [value] for name, value in zip(header, row, strict=True)}), tmp_path / "d.bin")
    for name in ("a.csv", "b.csv", "c.xlsx", "d.bin"):
        table = for_scoring(resolved, tmp_path / name)["leads"].typed.table
        assert table[["lead_id", "size"]].to_numpy().tolist() == [["Lé", 5.0]], name


def test_scoring_says_what_it_lacks(tmp_path: Path) -> None:
    resolved = resolve(parse(CONTRACT, file="small.yaml"))
    with pytest.raises(SourceError, match="cannot be read"):
        for_scoring(resolved, tmp_path / "none.csv")
    (tmp_path / "open.csv").write_bytes(b"id;created\nL1;2024-01-01\n")
    with pytest.raises(SourceError, match="it lacks the column `size`"):
        for_scoring(resolved, tmp_path / "open.csv")
    alone = resolve(
        parse(
            {k: v for k, v in CONTRACT.items() if k != "changes"}
            | {"source": {k: v for k, v in CONTRACT["source"].items() if k != "changes"}},
            file="small.yaml",
        )
    )
    (tmp_path / "open.csv").write_bytes(b"id;created\nL1;2024-01-01\n")
    with pytest.raises(SourceError, match="contract small has no changes; leave the option out"):
        for_scoring(alone, tmp_path / "open.csv", None, tmp_path / "open.csv")


def test_reading_history_and_reading_for_scoring_agree(workspace: Workspace, small: Resolved) -> None:
    typed = pieces(workspace, small)
    raw = workspace.raw
    scoring = for_scoring(small, raw / "leads.csv", raw / "activities.csv", raw / "changes.csv")
    for piece in typed:
        pd.testing.assert_frame_equal(scoring[piece.table].typed.table, piece.typed.table)


# The published files


@pytest.mark.parametrize(
    ("name", "n_rows", "n_converted"),
    [("bank_marketing", 41_188, 4_640), ("bank_marketing_full", 45_211, 5_289), ("online_shoppers", 12_330, 1_908)],
)
def test_published_files_are_read_whole(
    project_root: Path, lead_data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str, n_rows: int, n_converted: int
) -> None:
    monkeypatch.setenv("LEAD_DATA_DIR", str(lead_data_dir))
    workspace = Workspace(project_root)
    resolved = sources.read_contract(workspace, name)
    fetched = sources.fetch_all(workspace, resolved, max_bytes=2**25)
    leads, _, _ = sources.pieces_of_files(resolved, fetched, max_bytes=2**25)
    table = leads.typed.table
    assert (leads.rows, len(table), len(leads.typed.refused)) == (n_rows, n_rows, 0)
    assert int(table["converted"].sum()) == n_converted
    declared = resolved.contract.source.leads
    assert declared is not None
    plain = pd.read_csv(fetched["leads"].places[0].path, sep=declared.separator, keep_default_na=False)
    for column, spec in resolved.contract.columns.items():
        if spec.type in ("number", "integer"):
            expected = plain[column].astype("float64")
            expected = expected.mask(plain[column].astype(str).isin(spec.missing))
            pd.testing.assert_series_equal(table[column], expected, check_names=False)


# Guessing


def test_a_guess_reads_the_file_it_was_made_of(tmp_path: Path) -> None:
    text = "id;größe;am\nL1;1,5;2024-01-02\nL2;22,25;\n"
    pq.write_table(pa.table({"id": ["L1", "L2"], "größe": [1.5, 22.25], "am": ["2024-01-02", ""]}), tmp_path / "p")
    workbook(tmp_path / "x", {"S": [["id", "größe", "am"], ["L1", 1.5, "2024-01-02"], ["L2", 22.25, ""]], "T": [["a"]]})
    written = {
        "u": text.encode(),
        "c": text.encode("cp1252"),
        "w": text.encode("utf-16"),
        "s": b"sep=;\r\n" + text.encode(),
        "g": gzip.compress(text.encode()),
        "t": text.replace(";", "\t").encode(),
    }
    for name, content in written.items():
        (tmp_path / name).write_bytes(content)
    zipped(tmp_path / "z", inner=text.encode())
    for name in [*written, "z", "p", "x"]:
        path = tmp_path / name
        found = sources.guess([path], max_bytes=LIMIT)
        assert found.file.path == name and all(sentence.endswith(".") for sentence in found.sentences)
        (part,) = sources.read_parts(path, found.file, name, max_bytes=LIMIT)
        decimal = found.file.decimal
        assert list(part.cells.columns) == ["id", "größe", "am"]
        expected = [["L1", f"1{decimal}5", "2024-01-02"], ["L2", f"22{decimal}25", ""]]
        assert part.cells.to_numpy().tolist() == expected, name


def test_files_of_one_table_agree_or_leave_it_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"id;n\nL1;1\n")
    (tmp_path / "b").write_bytes("id;n\nLé;1,5\n".encode("cp1252"))
    (tmp_path / "c").write_bytes(b"id,n\nL1,1\n")
    (tmp_path / "d").write_bytes("id;n\nLé;1,5\n".encode())
    found = sources.guess([tmp_path / "a", tmp_path / "b"], max_bytes=LIMIT).file
    assert (found.encoding, found.separator, found.decimal) == ("cp1252", ";", ",")
    assert found == sources.guess([tmp_path / "b", tmp_path / "a"], max_bytes=LIMIT).file.model_copy(
        update={"path": "a"}
    )
    with pytest.raises(SourceError, match=r"c: is written unlike .*a \(separator\)"):
        sources.guess([tmp_path / "a", tmp_path / "c"], max_bytes=LIMIT)
    with pytest.raises(SourceError, match=r"d: is written unlike .*b \(encoding\)"):
        sources.guess([tmp_path / "b", tmp_path / "d"], max_bytes=LIMIT)


def test_a_guess_has_its_limits(tmp_path: Path) -> None:
    zipped(tmp_path / "two.zip", a=b"1", b=b"2")
    with pytest.raises(SourceError, match=r"is a zip of 2 files \(a, b\); unpack the one that holds the table"):
        sources.guess([tmp_path / "two.zip"], max_bytes=LIMIT)
    with pytest.raises(SourceError, match="cannot be read"):
        sources.guess([tmp_path / "none.csv"], max_bytes=LIMIT)
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "pipe"):
        with pytest.raises(SourceError, match="is a folder, a pipe or a device"):
            sources.check_size(tmp_path / name, "it", LIMIT)
    (tmp_path / "big.csv").write_bytes(b"a\n" * 100)
    with pytest.raises(SourceError, match="more than the"):
        sources.guess([tmp_path / "big.csv"], max_bytes=100)
