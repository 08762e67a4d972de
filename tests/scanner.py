"""Looks for personal values in every byte below a folder, and in what the files there contain.

Opened, and what is in them opened again: zip, tar, gzip, zlib, Parquet, SQLite, the text chunks of PNG, base64 in text.
Text is read as UTF-8, and as UTF-16 and UTF-32 where it has NUL bytes; with the escapes of JSON, HTML and web
addresses undone. Values are found in any case, and names and phone numbers whatever stands between their parts. Written
with plain means and nothing of the package, so that it shares no mistake with what it checks.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import html
import io
import re
import sqlite3
import struct
import tarfile
import tempfile
import unicodedata
import urllib.parse
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_WORD = re.compile(r"[^\W\d_]+")
_BEFORE = re.compile(r"[^\s@<>()\[\]{}\"',;:=&?/\\|`]+$")
_BEHIND = re.compile(r"[^\s@<>()\[\]{}\"',;:=&?/\\|`]+")
_RUN = re.compile(r"\d(?:[ \t().\-/\u00a0]{0,3}\d){7,}")
_ACCENT = re.compile(r"[\u0300-\u036f]")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{64,}={0,2}")
#: Containers in containers in containers.
DEPTH = 6


class Wanted:
    """Personal values to look for: names by their first two or more words, addresses, numbers by their digits."""

    def __init__(self, names: Iterable[str] = (), emails: Iterable[str] = (), phones: Iterable[str] = ()) -> None:
        self.names: dict[tuple[str, ...], str] = {}
        for name in names:
            words = tuple(_WORD.findall(_plain(name)))
            assert len(words) >= 2, "a name has two words"
            self.names[words[:2]] = name
            self.names[words[1::-1]] = name
        self.emails = {_plain(email): email for email in emails}
        self.phones = {_digits(phone): phone for phone in phones}
        self.lengths = sorted({len(digits) for digits in self.phones})
        assert not self.phones or self.lengths[0] >= 8, "a phone number has eight digits"

    def __len__(self) -> int:
        return len(set(self.names.values())) + len(self.emails) + len(self.phones)

    def within(self, text: str) -> set[str]:
        text = _plain(text)
        found = set()
        if self.names:
            words = _WORD.findall(text)
            found |= {self.names[pair] for pair in pairwise(words) if pair in self.names}
        for sign in re.finditer("@", text) if self.emails else ():
            before = _BEFORE.search(text[max(0, sign.start() - 100) : sign.start()])
            behind = _BEHIND.match(text, sign.end(), sign.end() + 100)
            if before and behind:
                address = f"{before.group()}@{behind.group()}"
                found |= {self.emails[part] for part in (address, address.strip(".-+_*!#$%^~")) if part in self.emails}
        for run in _RUN.findall(text) if self.phones else ():
            digits = _digits(run)
            for length in self.lengths:
                parts = (digits[at : at + length] for at in range(len(digits) - length + 1))
                found |= {self.phones[part] for part in parts if part in self.phones}
        return found


def scan(root: Path, wanted: Wanted, *, skip: Iterable[str] = ()) -> dict[str, set[str]]:
    """Every file below `root` in which a wanted value stands, as a path below it -> those values.

    `skip`: files, or folders with all that is below them, as paths below `root`; they are not opened.
    """
    left_out = [root / path for path in skip]
    found: dict[str, set[str]] = defaultdict(set)
    #: DVC's cache holds every output once more.
    inside: dict[bytes, set[str]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or any(path == out or out in path.parents for out in left_out):
            continue
        name = path.relative_to(root).as_posix()
        raw = path.read_bytes()
        key = hashlib.sha256(raw).digest()
        if key not in inside:
            inside[key] = set().union(*(wanted.within(text) for text in texts(raw)))
        if hits := wanted.within(name) | inside[key]:
            found[name] |= hits
    return dict(found)


def texts(raw: bytes, depth: int = DEPTH) -> Iterator[str]:
    """All that can be read in some bytes: as text, and what they contain, opened."""
    yield from _readings(raw)
    if depth == 0:
        return
    for inner in _contents(raw):
        if isinstance(inner, str):
            yield from _unescaped(inner)
        else:
            yield from texts(inner, depth - 1)


def _readings(raw: bytes) -> Iterator[str]:
    yield from _unescaped(raw.decode("utf-8", "replace"))
    if b"\0" in raw:
        for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
            for shift in range(2 if encoding.startswith("utf-16") else 4):
                text = raw[shift:].decode(encoding, "ignore")
                if re.search(r"[ -~]{8,}", text):
                    yield text


def _unescaped(text: str) -> Iterator[str]:
    yield text
    if "\\u" in text:
        yield _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    if re.search(r"\\[ntr]", text):
        yield re.sub(r"\\[ntr]", " ", text)
    if "&" in text:
        yield html.unescape(text)
    if "%" in text:
        yield urllib.parse.unquote_plus(text)


def _contents(raw: bytes) -> Iterator[bytes | str]:
    """What a container holds; nothing where the bytes are none that is known, or are damaged."""
    if raw[:4] == b"PAR1":
        yield from _parquet(raw)
    elif raw[:15] == b"SQLite format 3":
        yield from _sqlite(raw)
    elif raw[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png(raw)
    elif raw[:2] == b"\x1f\x8b":
        with _forgiving():
            yield gzip.decompress(raw)
    elif raw[:1] == b"\x78" and len(raw) > 2 and (raw[0] * 256 + raw[1]) % 31 == 0:
        with _forgiving():
            yield zlib.decompress(raw)
    elif raw[257:262] == b"ustar":
        with _forgiving(), tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for member in archive:
                yield member.name
                if member.isfile() and (file := archive.extractfile(member)) is not None:
                    yield file.read()
    elif zipfile.is_zipfile(io.BytesIO(raw)):
        with _forgiving(), zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for info in archive.infolist():
                yield info.filename
                yield archive.read(info)
    else:
        for match in _BASE64.findall(raw):
            with _forgiving():
                yield base64.b64decode(match[: len(match) // 4 * 4])


class _forgiving:
    """Damaged containers are read as far as they go."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        damaged = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, binascii.Error, RuntimeError)
        return kind is not None and issubclass(kind, damaged)


def _parquet(raw: bytes) -> Iterator[bytes | str]:
    file = pq.ParquetFile(pa.BufferReader(raw))
    for key, value in (file.metadata.metadata or {}).items():
        yield key
        yield value
    table = file.read()
    for name in table.column_names:
        yield name
        column = table.column(name)
        if not pa.types.is_nested(column.type):
            column = column.unique()
        yield from _joined(cell for value in column.to_pylist() for cell in _cell(value))


def _joined(cells: Iterable[bytes | str]) -> Iterator[bytes | str]:
    """Texts as one, with a word between them that is nobody's name: one look at many is quicker than many at one."""
    words = []
    for cell in cells:
        if isinstance(cell, str):
            words.append(cell)
        else:
            yield cell
    yield "\nx\n".join(words)


def _cell(value: object) -> Iterator[bytes | str]:
    if isinstance(value, (bytes, str)):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (*_cell(key), *_cell(inner))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _cell(inner)
    elif isinstance(value, float):
        if value.is_integer() and abs(value) >= 1e7:
            yield str(int(value))
    elif value is not None:
        yield str(value)


def _sqlite(raw: bytes) -> Iterator[bytes | str]:
    with tempfile.NamedTemporaryFile(suffix=".db") as copy:
        copy.write(raw)
        copy.flush()
        store = sqlite3.connect(f"file:{copy.name}?mode=ro&immutable=1", uri=True)
        try:
            for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                rows = store.execute(f'SELECT * FROM "{table}"')
                yield from _joined(cell for row in rows for value in row for cell in _cell(value))
        finally:
            store.close()


def _png(raw: bytes) -> Iterator[bytes | str]:
    at = 8
    while at + 8 <= len(raw):
        size, kind = struct.unpack(">I4s", raw[at : at + 8])
        body = raw[at + 8 : at + 8 + size]
        if kind in (b"tEXt", b"iTXt", b"eXIf"):
            yield body
        if kind in (b"zTXt", b"iTXt"):
            for start in [place for place in range(len(body)) if body[place] == 0x78]:
                with _forgiving():
                    yield zlib.decompress(body[start:])
        at += 12 + size


def _plain(text: str) -> str:
    """Without case and accents; what is no text leaves blanks."""
    text = text.replace("\ufffd", " ")
    if text.isascii():
        return text.lower()
    return _ACCENT.sub("", unicodedata.normalize("NFKD", text).casefold())


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdecimal()).lstrip("0")
