"""Delimited text: what damage costs, that it costs no more than its own line, and what is guessed of a text."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters import delimited
from pipeline.errors import SourceError


def read(content: bytes, **declared: Any) -> list[delimited.Record]:
    return list(delimited.records(io.BytesIO(content), "x.csv", **{"separator": ",", **declared}))


def rows(content: bytes, **declared: Any) -> tuple[list[list[str]], list[tuple[int, str]]]:
    """Fields of the sound rows, and line and fault of the others; the header left out."""
    found = read(content, **declared)[1:]
    kept = [record.fields for record in found if record.fault is None]
    return kept, [(record.line, record.fault) for record in found if record.fault is not None]


# Encodings

TEXT = "name,größe\nMüller,1\nNaïve & Co,2\n"
ROWS = [["Müller", "1"], ["Naïve & Co", "2"]]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (b"\xef\xbb\xbf" + TEXT.encode(), "utf-8"),
        (TEXT.encode("cp1252"), "cp1252"),
        (TEXT.encode("latin-1"), "latin-1"),
        (TEXT.encode("utf-16"), "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16"),
    ],
)
def test_every_encoding_gives_the_same_rows(content: bytes, encoding: str) -> None:
    assert read(content, encoding=encoding)[0].fields == ["name", "größe"]
    assert rows(content, encoding=encoding) == (ROWS, [])


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (TEXT.encode("utf-16"), "utf-8", "is UTF-16 text; declare `encoding: utf-16`"),
        (TEXT.encode(), "utf-16", "is not UTF-16 text; correct its `encoding`"),
        (b"\xef\xbb\xbf" + TEXT.encode(), "cp1252", "is UTF-8 text; leave `encoding: cp1252` out"),
        (TEXT.encode("cp1252"), "utf-8", "line 1: the header cannot be read: it is not utf-8 text"),
        (TEXT.encode(), "cp1252", "line 1: the header cannot be read: it is UTF-8 text, not cp1252 text"),
        (TEXT.encode("utf-16-le"), "utf-8", "line 1: the header cannot be read: it is not utf-8 text"),
        ("a,b\n1,2\n".encode("utf-16-le"), "utf-8", "line 1: the header cannot be read: it holds a NUL byte"),
    ],
)
def test_another_encoding_than_declared_is_an_error_of_the_file(content: bytes, encoding: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(content, encoding=encoding)


@pytest.mark.parametrize(
    ("line", "encoding", "fault"),
    [
        (b"1,\xff2", "utf-8", "column `b` is not utf-8 text"),
        (b"\xe9,\xe9", "utf-8", "column `a`, `b` is not utf-8 text"),
        (b"1,\xc3", "utf-8", "column `b` is not utf-8 text"),
        (b"\xff", "utf-8", "it is not utf-8 text"),
        (b"1,\x81", "cp1252", "column `b` is not cp1252 text"),
        (b"1,\xc3\xa9", "cp1252", "it is UTF-8 text, not cp1252 text"),
        (b"1,\xc3\xa9", "latin-1", "it is UTF-8 text, not latin-1 text"),
        (b"1,\x80", "latin-1", "column `b` holds a control character"),
        (b"1,\x002", "utf-8", "column `b` holds a NUL byte"),
        (b"1,\x1a", "utf-8", "column `b` holds a control character"),
        (b"\x00\x00\x00", "utf-8", "it holds a NUL byte"),
    ],
)
def test_a_line_that_is_no_text_is_refused_alone(line: bytes, encoding: str, fault: str) -> None:
    kept, refused = rows(b"a,b\n1,2\n" + line + b"\n3,4\n", encoding=encoding)
    assert (kept, refused) == ([["1", "2"], ["3", "4"]], [(3, fault)])


def test_bytes_that_are_no_text_are_kept_as_escapes() -> None:
    record = read(b'a,b\n1,"\xff"\n')[1]
    assert (record.raw, record.fault) == ('1,"\\xff"', "column `b` is not utf-8 text")


def test_a_bad_byte_within_a_quoted_field_of_two_lines_refuses_that_row() -> None:
    kept, refused = rows(b'a,b\n1,2\n"x\ny\xff",2\n3,4\n')
    assert (kept, refused) == ([["1", "2"], ["3", "4"]], [(3, "column `a` is not utf-8 text")])


def test_a_byte_lost_in_utf_16_refuses_one_row() -> None:
    lines = [line.encode("utf-16-le") for line in ("a,b\n", "1,2\n", "3,4\n", "5,6\n")]
    lines[2] = lines[2][:3] + lines[2][4:]
    kept, refused = rows(b"\xff\xfe" + b"".join(lines), encoding="utf-16")
    assert kept == [["1", "2"], ["5", "6"]]
    assert refused == [(3, "it is not utf-16 text")]


# Lines


def test_a_huge_line_is_one_refused_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_LINE_BYTES", 2**20)
    for size in (2**20 + 1, 5 * 2**20):
        kept, refused = rows(b"a,b\n1,2\n" + b'"x,' * (size // 3 + 1) + b"\n3,4\n5,6")
        assert (kept, refused) == ([["1", "2"], ["3", "4"], ["5", "6"]], [(3, "it is longer than 1 MiB")])
    with pytest.raises(SourceError, match="line 1: the header cannot be read: it is longer than 1 MiB"):
        rows(b"x" * (2**20 + 1) + b"\n1\n")


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    content = 'a,b\n1,2\n"é\né",3\n\x00,4\nx\n5,"6,\n7"\n'.encode() + b"\xff,1\n8,9"
    whole = read(content)
    for size in (1, 2, 3, 7, 16):
        monkeypatch.setattr(delimited, "_BLOCK_BYTES", size)
        assert read(content) == whole


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_every_line_end(end: str) -> None:
    content = f'a,b{end}1,2{end}"x",""{end}'.encode()
    assert rows(content) == ([["1", "2"], ["x", ""]], [])


def test_rows_parted_by_returns_alone_are_rows_of_that_line() -> None:
    kept, refused = rows(b"a,b,c\n1,2,3\n4,5,6\r7,8,9\r\r10,11,12\n13,14,15\r\n")
    assert kept == [["1", "2", "3"], ["4", "5", "6"], ["7", "8", "9"], ["10", "11", "12"], ["13", "14", "15"]]
    assert refused == []
    assert [record.line for record in read(b"a,b\n1,2\r3,4\n5,6\n")[1:]] == [2, 2, 3]


def test_a_return_within_a_cell_refuses_its_line_and_no_other() -> None:
    fault = "a carriage return stands in the middle of the line"
    assert rows(b"a,b\n1,x\ry\n3,4\n") == ([["3", "4"]], [(2, fault)])
    kept, refused = rows(b"a,b\n1,2\r3,4\r5\n6,7\n")
    assert (kept, refused) == ([["1", "2"], ["3", "4"], ["6", "7"]], [(2, fault)])
    assert rows(b'a,b\n"x\ry",1\n') == ([["x\ry", "1"]], [])


def test_the_line_of_spreadsheets_that_names_the_separator() -> None:
    for first in (b"sep=;\n", b"SEP=;\r\n", b'"sep=;"\n', b"\xef\xbb\xbfsep=;\n"):
        found = read(first + b"a;b\n1;2\n", separator=";")
        assert [(record.line, record.fields) for record in found] == [(2, ["a", "b"]), (3, ["1", "2"])]
    with pytest.raises(SourceError, match=r"line 1: says that fields are separated by ';'; declare that"):
        read(b"sep=;\na;b\n")


def test_a_header_within_the_file_is_refused() -> None:
    assert rows(b"a,b\n1,2\na,b\n3,4\n") == ([["1", "2"], ["3", "4"]], [(3, "it repeats the header")])
    assert rows(b"a\na\n") == ([["a"]], [])


# Quotes

WIDE = b"id,at,n,kind,note\n"
GOOD = [b"L%d,2024-01-0%d,%d,web,fine\n" % (k, k % 9 + 1, k) for k in range(30)]


def table(*lines: bytes) -> tuple[list[list[str]], list[tuple[int, str]]]:
    """`lines` in the middle of thirty sound rows."""
    kept, refused = rows(WIDE + b"".join(GOOD) + b"".join(lines))
    expected = [line.decode().strip().split(",") for line in GOOD]
    assert kept[:30] == expected
    return kept[30:], refused


def test_two_stray_quotes_do_not_swallow_the_rows_between_them() -> None:
    kept, refused = table(
        b'L30,2024-01-01,1,"web,x\n',
        b"L31,2024-01-02,2,web,y\n",
        b'L32,2024-01-03,3,web",z\n',
        b"L33,2024-01-04,4,web,\n",
    )
    assert kept == [
        ["L31", "2024-01-02", "2", "web", "y"],
        ["L32", "2024-01-03", "3", 'web"', "z"],
        ["L33", "2024-01-04", "4", "web", ""],
    ]
    assert refused == [(32, delimited.NOT_CLOSED)]


def test_quoted_text_that_only_has_as_many_commas_is_no_row() -> None:
    kept, refused = table(b'L30,2024-01-01,1,web,"Dear all,\nred, green, blue, or grey, and\nregards, A, B, C, D"\n')
    assert refused == []
    assert kept[0][4] == "Dear all,\nred, green, blue, or grey, and\nregards, A, B, C, D"


def test_a_quote_that_is_never_closed_costs_its_own_line_at_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_ROW_CHARACTERS", 1000)
    many = [b'%d,",",x\n' % k for k in range(2000)]
    kept, refused = rows(b"a,b,c\n" + b'0,",x\n' + b"".join(many))
    assert refused == [(2, delimited.NOT_CLOSED)]
    assert kept == [[str(k), ",", "x"] for k in range(2000)]


def test_a_long_line_within_quotes_is_no_row() -> None:
    kept, refused = table(b'L30,2024-01-01,1,web,"x\n' + b"y" * 140_000 + b'\nz"\n', b"L31,2024-01-02,2,web,y\n")
    assert kept == [["L31", "2024-01-02", "2", "web", "y"]]
    assert len(refused) == 3


def test_a_long_row_of_one_line_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_ROW_CHARACTERS", 10)
    assert rows(b'a,b\n"12345678901234567890",2\n3,4\n') == ([["12345678901234567890", "2"], ["3", "4"]], [])


CELL = st.text(alphabet='ab ,"\n\r;é', max_size=8)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=8), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
)
def test_what_python_writes_is_read_back(cells: list[list[str]], quoting: Any) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting).writerows([["n", "o", "p"], *cells])
    assert rows(text.getvalue().encode()) == (cells, [])


# Guessing


def guess(content: bytes) -> delimited.Guess:
    return delimited.guess(io.BytesIO(content), "x.csv")


@pytest.mark.parametrize(
    ("content", "encoding", "separator", "decimal"),
    [
        (b"a,b\n1,2\n", None, ",", None),
        (b"a;b\n1,5;2\n", None, ";", ","),
        (b"a;b\n1.5;2\n", None, ";", "."),
        (b"a;b\n1,5;2.5\n", None, ";", "."),
        (b"a\tb\nx, y\tz\n", None, "\t", None),
        (b"a|b\nx|z\n", None, "|", None),
        (b"a,b\n1;2;3,4\n", None, ",", None),
        (b'a;b\n"x,y";"z,z"\n', None, ";", None),
        (b"only\n1\n2\n", None, ",", None),
        (b"sep=|\na|b\n1|2\n", None, "|", None),
        ("a;b\nü;1,5\n".encode(), "utf-8", ";", ","),
        ("a;b\nü;1,5\n".encode("cp1252"), "cp1252", ";", ","),
        ("a;b\nü;1,5\n".encode("utf-16"), "utf-16", ";", ","),
        ("a;b\nü;1,5\n".encode("utf-16-le"), "utf-16", ";", ","),
        (b"\xef\xbb\xbfa;b\n1;2\n", "utf-8", ";", None),
    ],
)
def test_what_is_guessed(content: bytes, encoding: str | None, separator: str, decimal: str | None) -> None:
    found = guess(content)
    assert (found.encoding, found.separator, found.decimal) == (encoding, separator, decimal)
    assert all(sentence.endswith(".") for sentence in found.sentences)


def test_one_bad_line_does_not_change_the_encoding() -> None:
    good = "a,b\n" + "é,1\n" * 10
    found = guess(good.encode() + b"\xe9,2\n")
    assert found.encoding == "utf-8"
    assert "1 others are not, and will be refused" in found.sentences[0]


def test_an_umlaut_late_in_a_long_text_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 64)
    assert guess(b"a,b\n" + b"x,1\n" * 500 + b"\xe9,2").encoding == "cp1252"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x00\x01\n"])
def test_what_is_no_table_of_text_is_an_error(content: bytes) -> None:
    with pytest.raises(SourceError):
        guess(content)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_a_guess_of_any_bytes_can_be_read_or_is_refused(content: bytes) -> None:
    try:
        found = guess(content)
        read(content, separator=found.separator, encoding=found.encoding or "utf-8")
    except SourceError as error:
        assert str(error).startswith("x.csv") and str(error).endswith(".")
