"""Where a contract's tables come from: files under `data/raw/`, URLs, and files named on the command line.

The strict reader: bytes, size limit, hash, encoding, the number of fields of every row, all text, and only then types
by the contract. A row that cannot be read is refused with its line and reason; a file that is wrong as a whole is a
`SourceError`. Files are read in parts of `PART_ROWS` rows, so that memory does not grow with them; a workbook is read
sheet by sheet.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import struct
import urllib.error
import urllib.request
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Protocol, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from pipeline.adapters import declared, delimited, files
from pipeline.errors import ContractError, SourceError
from pipeline.leads import tables
from pipeline.leads.contract import LEAD_KEY, ROW, File, Resolved, parse, resolve
from pipeline.leads.tables import Typed
from pipeline.paths import Workspace

#: Rows read and typed at a time.
PART_ROWS = 100_000

#: A workbook whose sheet spans more cells than this is refused: one stray cell far out would fill the memory.
MAX_SHEET_CELLS = 30_000_000

#: No sheet of Excel has more rows.
MAX_SHEET_ROWS = 2**20

#: Seconds without a byte after which a download is given up.
DOWNLOAD_TIMEOUT = 30.0

#: Folder with the published data sets that lies beside a checkout; tried for files whose contract states their hash.
LEAD_DATA_DIR = "LEAD_DATA_DIR"

REFUSED_COLUMNS = ["table", ROW, "reason", "raw"]

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_ZIP = b"PK\x03\x04"
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"

#: What a zip holds that is a workbook: of Excel, of Excel in binary, of LibreOffice.
_WORKBOOK_PARTS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")


#: All that Python's own unpackers raise where bytes are damaged.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, OSError, OverflowError,
    RuntimeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A file at hand: where it lies, what to call it in messages, its sha256."""

    path: Path
    label: str
    sha256: str


@dataclass(frozen=True)
class Fetched:
    """The source of one table: its file, or several in the order they are read, and the sha256 of it all."""

    places: tuple[Place, ...]
    sha256: str

    @property
    def label(self) -> str:
        others = len(self.places) - 1
        return self.places[0].label + (f" and {others} more" if others else "")


@dataclass(frozen=True)
class Part:
    """Some rows of a file as text.

    `cells`: index the 1-based row. `lines`: the line each row of `cells` begins on; None where the file has no lines.
    `refused`: `row`, `reason`, `raw` of rows that could not be read. `file`: its name, where a table has several.
    """

    cells: pd.DataFrame
    lines: np.ndarray | None
    refused: pd.DataFrame
    file: str | None = None


class Block(Protocol):
    """Tables of text as the demo makes them, a number of leads at a time."""

    @property
    def leads(self) -> pd.DataFrame: ...
    @property
    def activities(self) -> pd.DataFrame: ...
    @property
    def changes(self) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Piece:
    """Some typed rows of one table.

    `rows` counts those of the source: kept, refused and set aside. `unread`: columns that the contract does not name.
    """

    table: str
    rows: int
    typed: Typed
    unread: tuple[str, ...] = ()


def read_contract(workspace: Workspace, name: str) -> Resolved:
    """Read, check and resolve `data/contracts/<name>.yaml`.

    Raises:
        ContractError: it is missing (the ones there are listed), faulty, or names itself otherwise.
    """
    path = workspace.contract(name)
    return resolve(declared.read(path, "contract", parse, ContractError, advice="Set `run.contract` in params.yaml."))


# Fetching


def fetch(workspace: Workspace, file: File, *, max_bytes: int, log: Callable[[str], None] | None = None) -> Fetched:
    """Find or download the source of a table and check its size and hash.

    A path is looked up under `data/raw/` (links are followed); where it is not there, and the contract states its hash,
    under the folder that the environment variable `LEAD_DATA_DIR` names. A URL is downloaded once, to
    `data/raw/.cache/<sha256>`. Several files come in the order of `paths`, those of one pattern sorted by name; their
    sha256 is that of the list of theirs, which does not depend on the order.

    Raises:
        SourceError: missing, outside `data/raw/`, too large, of another hash, not to be had, or there twice.
    """
    if file.url is not None:
        path, label = _downloaded(workspace, file, max_bytes=max_bytes, log=log), files.shown(file.url)
        sha256 = _checked(path, label, file.sha256, max_bytes)
        return Fetched((Place(path, label, sha256),), sha256)
    if file.path is not None:
        path, label = _found(workspace, file, file.path)[0], f"data/raw/{file.path}"
        sha256 = _checked(path, label, file.sha256, max_bytes)
        return Fetched((Place(path, label, sha256),), sha256)
    return _several(workspace, file, max_bytes)


def fetch_all(
    workspace: Workspace, resolved: Resolved, *, max_bytes: int, log: Callable[[str], None] | None = None
) -> dict[str, Fetched]:
    """`fetch` for every file of a contract's source, by table; the demo has none."""
    source = resolved.contract.source
    declared = {table: getattr(source, table) for table in tables.TABLES}
    return {
        table: fetch(workspace, file, max_bytes=max_bytes, log=log)
        for table, file in declared.items()
        if file is not None
    }


def _several(workspace: Workspace, file: File, max_bytes: int) -> Fetched:
    """Every file of `paths`, none of them twice."""
    places: dict[str, Place] = {}
    for given in file.paths or []:
        for path in _found(workspace, file, given):
            # The same whether it lies below data/raw/ or in the folder beside the checkout.
            name = path.relative_to(_folder_of(path, workspace)).as_posix()
            if name in places:
                raise SourceError(f"data/raw/{name}: `paths` names it more than once; its rows would count twice.")
            label = f"data/raw/{name}"
            places[name] = Place(path, label, _checked(path, label, None, max_bytes))
    by_content: dict[str, list[str]] = {}
    for name, place in places.items():
        by_content.setdefault(place.sha256, []).append(name)
    if same := [names for names in by_content.values() if len(names) > 1]:
        listed = "; ".join(" and ".join(f"data/raw/{name}" for name in names) for names in same)
        raise SourceError(f"{listed}: have the same content; leave one out, its rows would count twice.")
    listed = "".join(f"{places[name].sha256}  {name}\n" for name in sorted(places))
    sha256 = hashlib.sha256(listed.encode()).hexdigest()
    if file.sha256 is not None and file.sha256 != sha256:
        raise SourceError(
            f"{', '.join(file.paths or [])}: sha256 of the list of these {len(places)} files is {sha256}, the contract "
            f"expects {file.sha256}. If the new content is meant, state its hash in the contract."
        )
    return Fetched(tuple(places.values()), sha256)


def _found(workspace: Workspace, file: File, given: str) -> list[Path]:
    """The file of a path, or with `paths` those of a pattern, sorted; hidden ones are not matched."""
    relative = PurePosixPath(given)
    if relative.is_absolute() or ".." in relative.parts or "\\" in given or "\0" in given:
        raise SourceError(
            f"source path {given!r} must stay below data/raw/: no leading slash, no `..`. To use a file elsewhere, "
            "put a link to it there."
        )
    folders = _folders(workspace, known=file.sha256 is not None)
    for folder in folders:
        if (folder / relative).is_file():
            return [folder / relative]
        if file.paths is not None and any(sign in given for sign in "*?["):
            matched = [path for path in folder.glob(given) if path.is_file()]
            seen = [path for path in matched if not _hidden(path.relative_to(folder))]
            if seen:
                return sorted(seen, key=lambda path: path.relative_to(folder).as_posix())
    tried = " and ".join(str(folder / relative) for folder in folders)
    raise SourceError(f"{tried}: no such file. Put it there or link it; the contract's `source` names it.")


def _folders(workspace: Workspace, *, known: bool) -> list[Path]:
    """Where files may lie; one whose hash is known may also lie beside the checkout."""
    beside = os.environ.get(LEAD_DATA_DIR) if known else None
    return [workspace.raw, *([Path(beside)] if beside else [])]


def _folder_of(path: Path, workspace: Workspace) -> Path:
    return next(folder for folder in _folders(workspace, known=True) if path.is_relative_to(folder))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def check_size(path: Path, label: str, max_bytes: int) -> None:
    """Refuse what is missing, no file, or larger than is allowed.

    Raises:
        SourceError: it is.
    """
    try:
        found = path.stat()
    except OSError as fault:
        raise SourceError(f"{label}: cannot be read ({fault.strerror}).") from None
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(f"{label}: is a folder, a pipe or a device; name a file.")
    if found.st_size > max_bytes:
        raise SourceError(_too_large(label, found.st_size, max_bytes))


def text_size(path: Path) -> int:
    """About how many bytes a file's rows would take as text; 0 where it cannot be read, which its reader will say."""
    try:
        with open(path, "rb") as file:
            begins = file.read(4)
        if begins == _PARQUET:
            return int(pq.read_metadata(path).num_rows) * 70
        return path.stat().st_size * (10 if begins.startswith((_GZIP, _ZIP)) else 1)
    except (OSError, pa.ArrowInvalid):
        return 0


def _checked(path: Path, label: str, expected: str | None, max_bytes: int) -> str:
    """Size and hash of a file; the hash is returned."""
    check_size(path, label, max_bytes)
    try:
        actual = files.sha256(path)
    except OSError as fault:
        raise SourceError(f"{label}: cannot be read ({fault.strerror}).") from None
    if expected is not None and actual != expected:
        raise SourceError(
            f"{label}: sha256 is {actual}, the contract expects {expected}. Get the file as published, or, if the new "
            "content is meant, state its hash in the contract."
        )
    return actual


def _downloaded(workspace: Workspace, file: File, *, max_bytes: int, log: Callable[[str], None] | None) -> Path:
    """The file of a URL in the cache, downloaded where it is not there; nothing is kept unless its hash is right."""
    assert file.url is not None and file.sha256 is not None, "a url comes with a hash"
    url, label, target = file.url, files.shown(file.url), workspace.raw / ".cache" / file.sha256
    if target.is_file() and files.sha256(target) == file.sha256:
        return target

    def copy(out: IO[bytes]) -> None:
        digest, size = hashlib.sha256(), 0
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT) as answer:
            stated = answer.headers.get("Content-Length")
            expected = int(stated) if stated and stated.isdigit() else None
            with tqdm(total=expected, unit="B", unit_scale=True, desc="download", disable=None, leave=False) as bar:
                while block := answer.read(2**20):
                    size += len(block)
                    if size > max_bytes:
                        raise SourceError(_too_large(label, size, max_bytes))
                    digest.update(block)
                    out.write(block)
                    bar.update(len(block))
        if expected is not None and size != expected:
            raise SourceError(f"{label}: the download ended after {size} of {expected} bytes; try again.")
        if digest.hexdigest() != file.sha256:
            raise SourceError(
                f"{label}: sha256 of the download is {digest.hexdigest()}, the contract expects {file.sha256}. Check "
                "the address; if the new content is meant, state its hash in the contract."
            )

    if label != url:
        raise SourceError(
            f"{label}: names and passwords in an address are not sent. Fetch the file yourself, put it below data/raw/ "
            "and name it as `path`."
        )
    if log is not None:
        log(f"downloading {label}")
    try:
        files.write_atomic(target, copy)
    except urllib.error.HTTPError as fault:
        fault.close()
        raise SourceError(f"{label}: the server answered {fault.code} {fault.reason}.") from None
    except (OSError, HTTPException, ValueError) as fault:
        cause = getattr(fault, "reason", None) or fault
        raise SourceError(f"{label}: cannot be downloaded ({cause}).") from None
    return target


def copy(stream: IO[bytes], out: IO[bytes], label: str, max_bytes: int) -> None:
    """Copy a stream that cannot be read twice.

    Raises:
        SourceError: it holds more than `max_bytes`; no more than that is copied.
    """
    size = 0
    while block := stream.read(2**20):
        size += len(block)
        if size > max_bytes:
            raise SourceError(_too_large(label, size, max_bytes))
        out.write(block)


def _too_large(label: str, size: int, max_bytes: int) -> str:
    return (
        f"{label}: {size / 2**20:,.1f} MiB, more than the {max_bytes / 2**20:,.0f} MiB that `ingest.max_file_mib` in "
        "params.yaml allows; raise it if the file is meant."
    )


# Reading as text


def read_parts(path: Path, file: File, label: str, *, max_bytes: int) -> Iterator[Part]:
    """Read one file as text, in parts of at most `PART_ROWS` rows; the first part has the columns even without rows.

    Raises:
        SourceError: of another format or encoding, no header, a column name twice or empty, a zip without the member, a
            workbook without the sheet, damaged or too large when unpacked, or more than half of the rows cannot be
            read.
    """
    read = {"csv": _csv, "parquet": _parquet, "excel": _excel}[file.format]
    with _opened(path, file, label, max_bytes) as (stream, name):
        yield from read(stream, file, name, max_bytes)


@contextmanager
def _opened(path: Path, file: File, label: str, max_bytes: int) -> Iterator[tuple[IO[bytes], str]]:
    """The bytes of a file, or of the member of a zip, unpacked where they are compressed, and what to call them."""
    try:
        with open(path, "rb") as raw:
            if file.member is None:
                yield _unpacked(raw, label, max_bytes), label
                return
            name = f"{label}, member {file.member}"
            with _archive(raw, label) as archive:
                if file.member not in archive.namelist():
                    held = ", ".join(archive.namelist()[:10]) or "nothing"
                    raise SourceError(f"{label}: has no member {file.member}; it holds {held}.")
                size = archive.getinfo(file.member).file_size
                if size > max_bytes:
                    raise SourceError(_too_large(name, size, max_bytes))
                with _member(archive, file.member, name) as inner:
                    yield _unpacked(inner, name, max_bytes), name
    except OSError as fault:
        raise SourceError(f"{label}: cannot be read ({fault.strerror or fault}).") from None


def _unpacked(stream: IO[bytes], label: str, max_bytes: int) -> IO[bytes]:
    """The stream, or what it holds where it is compressed with gzip, which its first bytes tell."""
    try:
        packed = cast(io.BufferedReader, stream).peek(2)[:2] == _GZIP
    except _BROKEN as fault:
        raise _damaged(label, fault) from None
    if not packed and isinstance(stream, io.BufferedReader):
        return stream
    return cast("IO[bytes]", _Limited(gzip.GzipFile(fileobj=stream) if packed else stream, label, max_bytes))


Format = Literal["csv", "parquet", "excel"]


def _format_of(stream: IO[bytes], label: str) -> Format:
    """The format that the bytes themselves tell; whatever is neither is text."""
    head = stream.read(4)
    if head == _PARQUET:
        return "parquet"
    if head == _OLD_WORKBOOK:
        return "excel"
    if head == _ZIP:
        with _archive(io.BytesIO(head + stream.read()), label) as archive:
            names = archive.namelist()
        return "excel" if any(name in names for name in _WORKBOOK_PARTS) else "csv"
    return "csv"


class _Limited:
    """What comes out of a compressed file, up to a limit: a small file can unpack to any size."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, label: str, max_bytes: int) -> None:
        self._stream, self._label, self._max_bytes, self._size = stream, label, max_bytes, 0

    def read(self, size: int = -1) -> bytes:
        left = self._max_bytes - self._size + 1
        try:
            content = self._stream.read(left if size < 0 else min(size, left))
        except _BROKEN as fault:
            raise _damaged(self._label, fault) from None
        self._size += len(content)
        if self._size > self._max_bytes:
            raise SourceError(_too_large(f"{self._label}, unpacked", self._size, self._max_bytes))
        return content


@contextmanager
def _archive(stream: IO[bytes], label: str) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(stream)
    except _BROKEN as fault:
        raise _damaged(label, fault) from None
    with archive:
        yield archive


def _damaged(label: str, fault: Exception) -> SourceError:
    return SourceError(f"{label}: not a sound archive, or damaged ({fault}).")


def _member(archive: zipfile.ZipFile, member: str, label: str) -> IO[bytes]:
    try:
        return archive.open(member)
    except _BROKEN as fault:  # also a password, or a compression that Python does not know
        raise SourceError(f"{label}: cannot be unpacked ({fault}).") from None


def _csv(stream: IO[bytes], file: File, label: str, max_bytes: int) -> Iterator[Part]:
    records = delimited.records(stream, label, separator=file.separator, encoding=file.encoding)
    first = next(records)
    header = _names(first.fields, label)

    kept: list[list[str]] = []
    rows: list[int] = []
    lines: list[int] = []
    refused: list[tuple[int, str, str]] = []
    row, n_refused, first_fault = 0, 0, ""

    def part() -> Part:
        if 2 * n_refused > row:
            raise SourceError(
                f"{label}: {n_refused:,} of {row:,} rows cannot be read; the first: {first_fault}. The separator is "
                f"declared as {file.separator!r}, the encoding as {file.encoding}. Correct the file or its contract."
            )
        return Part(_cells(header, kept, rows), np.array(lines, dtype="int64"), _refused(refused))

    for record in records:
        row += 1
        fault = record.fault or _beyond(header, record.fields)
        if fault is None:
            kept.append(record.fields)
            rows.append(row)
            lines.append(record.line)
        else:
            reason = f"line {record.line}: {fault}"
            first_fault = first_fault or reason
            n_refused += 1
            refused.append((row, reason, record.raw or file.separator.join(record.fields)))
        if len(kept) + len(refused) >= PART_ROWS:
            yield part()
            kept, rows, lines, refused = [], [], [], []
    if row == 0 or kept or refused:
        yield part()


def _cells(header: list[str], kept: list[list[str]], rows: list[int]) -> pd.DataFrame:
    """Rows of text as a table; fields beyond the header are left out."""
    columns = zip(*kept, strict=True) if kept else [[] for _ in header]
    return pd.DataFrame(
        {name: pd.array(list(column), dtype="str") for name, column in zip(header, columns, strict=False)},
        index=pd.Index(rows, dtype="int64", name=ROW),
    )


def _names(header: list[str], label: str) -> list[str]:
    """The names of the columns; spreadsheets may put empty ones after the last, whose cells must then be empty too."""
    last = max((place for place, name in enumerate(header, 1) if name.strip()), default=0)
    _check_header(header[:last] or header, label)
    return header[:last]


def _beyond(header: list[str], fields: list[str]) -> str | None:
    if len(fields) > len(header) and any(field.strip() for field in fields[len(header) :]):
        return "a value stands in a column that the header does not name"
    return None


def _excel(stream: IO[bytes], file: File, label: str, max_bytes: int) -> Iterator[Part]:
    """One sheet of a workbook as text: its first row names the columns; empty rows at the end are no rows.

    Dates and times become ISO 8601 (without the time where it is midnight), whole numbers lose the decimals that the
    format gives every number, other numbers come in their shortest exact form, booleans are true or false, durations
    hours:minutes:seconds, formulas their last value. A cell that shows an error is empty.
    """
    content = io.BytesIO(stream.read())
    _check_workbook(content, label, max_bytes)
    with _workbook(content, label) as book:
        names = [str(name) for name in book.sheet_names]
        if not names or (file.sheet is not None and file.sheet not in names):
            raise SourceError(f"{label}: has no sheet {file.sheet or 'at all'}; it holds {', '.join(names) or 'none'}.")
        name = f"{label}, sheet {file.sheet or names[0]}"
        table = pd.read_excel(
            book, sheet_name=file.sheet or names[0], header=None, dtype=object, na_filter=False, keep_default_na=False
        )
    filled = [[_excel_text(cell) for cell in cells] for cells in table.itertuples(index=False)]
    while filled and not any(filled[-1]):
        filled.pop()
    if not filled:
        raise SourceError(f"{name}: is empty; its first row must name the columns.")
    header = _names(filled[0], name)
    # A fault of reading, or None, by row.
    faults = [_beyond(header, cells) if any(cells) else "the line is empty" for cells in filled[1:]]
    if 2 * sum(fault is not None for fault in faults) > len(faults):
        raise SourceError(f"{name}: more than half of its {len(faults):,} rows are empty or wider than its header.")
    for first in range(0, max(len(faults), 1), PART_ROWS):
        numbered = list(enumerate(zip(filled[1:], faults, strict=True), start=1))[first : first + PART_ROWS]
        sound = [(row, cells) for row, (cells, fault) in numbered if fault is None]
        refused = [(row, f"line {row + 1}: {fault}", ",".join(cells)) for row, (cells, fault) in numbered if fault]
        rows = [row for row, _ in sound]
        yield Part(
            _cells(header, [cells for _, cells in sound], rows), np.array(rows, dtype="int64") + 1, _refused(refused)
        )


@contextmanager
def _workbook(content: io.BytesIO, label: str) -> Iterator[pd.ExcelFile]:
    """A workbook opened by pandas; its library (Calamine) has errors of its own for all that can be wrong with one."""
    # Loading it takes a moment that the other formats need not pay.
    from python_calamine import CalamineError, PasswordError

    try:
        with pd.ExcelFile(content, engine="calamine") as book:
            yield book
    except PasswordError:
        raise SourceError(f"{label}: is protected by a password; save it without.") from None
    except (CalamineError, ValueError, IndexError) as fault:
        raise SourceError(f"{label}: not a sound Excel workbook ({str(fault).splitlines()[0]}).") from None


def _check_workbook(content: io.BytesIO, label: str, max_bytes: int) -> None:
    """Refuse what would fill the memory: a workbook is a zip, and a sheet is held as a full rectangle of cells."""
    if not content.getvalue().startswith(_ZIP):
        return
    with _archive(content, label) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > max_bytes:
            raise SourceError(_too_large(f"{label}, unpacked", size, max_bytes))
        for member in archive.namelist():
            if not re.fullmatch(r"xl/worksheets/[^/]+\.xml", member):
                continue
            with _member(archive, member, label) as sheet:
                width, height = _reach(cast("IO[bytes]", _Limited(sheet, label, max_bytes)))
            if height > MAX_SHEET_ROWS or width * height > MAX_SHEET_CELLS:
                raise SourceError(
                    f"{label}: a sheet reaches {width:,} columns far and {height:,} rows down; delete what stands "
                    "beyond the table, or save the table as CSV."
                )


def _reach(sheet: IO[bytes]) -> tuple[int, int]:
    """How many columns and rows the XML of a sheet spans, by its cells; what it says of itself may be wrong."""
    columns, rows, rest = {b"A"}, {b"1"}, b""
    while block := sheet.read(2**20):
        found = re.findall(rb"""\br=["']([A-Za-z]+)(\d+)["']""", rest + block)
        columns |= {column for column, _ in found}
        rows = {max(rows.union(row for _, row in found), key=int)}
        rest = block[-32:]
    return max(map(_column_number, columns)), int(rows.pop())


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number


def _excel_text(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, dt.datetime):
        return cell.date().isoformat() if cell.time() == dt.time() else cell.isoformat(sep=" ")
    if isinstance(cell, (dt.date, dt.time)):
        return cell.isoformat()
    if isinstance(cell, dt.timedelta):
        minutes, seconds = divmod(cell.days * 86_400 + cell.seconds, 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    return str(cell)


def _parquet(stream: IO[bytes], file: File, label: str, max_bytes: int) -> Iterator[Part]:
    """Parquet as text without loss: numbers in their shortest exact form, moments as ISO 8601 in UTC, nulls missing."""
    seekable = stream if isinstance(stream, io.BufferedReader) else io.BytesIO(stream.read())
    try:
        source = pq.ParquetFile(seekable)
        header = list(source.schema_arrow.names)
        _check_header(header, label)
        row, seen = 0, False
        for batch in source.iter_batches(batch_size=PART_ROWS):
            seen = True
            rows = pd.RangeIndex(row + 1, row + 1 + batch.num_rows, name=ROW)
            columns = {name: _as_text(batch.column(k), name, label) for k, name in enumerate(header)}
            yield Part(pd.DataFrame(columns, index=rows), None, _refused([]))
            row += batch.num_rows
        if not seen:
            none = pd.RangeIndex(1, 1, name=ROW)
            yield Part(pd.DataFrame({name: pd.Series(dtype="str") for name in header}, index=none), None, _refused([]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as fault:
        raise SourceError(f"{label}: not a sound Parquet file ({str(fault).splitlines()[0]}).") from None


def _as_text(values: pa.Array, name: str, label: str) -> pd.api.extensions.ExtensionArray:
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.dictionary_decode(), kind.value_type
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        values = values.cast(pa.timestamp(kind.unit))
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise SourceError(f"{label}: column `{name}` holds {kind}, which is no plain value; flatten it first.")
    text = values.cast(pa.large_string())
    return cast("pd.api.extensions.ExtensionArray", pd.array(text.to_numpy(zero_copy_only=False), dtype="str"))


def _check_header(header: list[str], label: str) -> None:
    if any("\0" in name for name in header):
        raise SourceError(f"{label}, line 1: holds a NUL byte; is this a table of text?")
    if unnamed := [str(place) for place, name in enumerate(header, 1) if not name.strip()]:
        raise SourceError(f"{label}: column {', '.join(unnamed)} of {len(header)} has no name; give it one.")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise SourceError(f"{label}: the header names {', '.join(f'`{name}`' for name in twice)} more than once.")


def _refused(rows: list[tuple[int, str, str]]) -> pd.DataFrame:
    numbers, reasons, raws = zip(*rows, strict=True) if rows else ((), (), ())
    return pd.DataFrame(
        {
            ROW: pd.Series(numbers, dtype="int64"),
            "reason": pd.Series(reasons, dtype="str"),
            "raw": pd.Series(raws, dtype="str"),
        }
    )


# Guessing how a file is to be read


@dataclass(frozen=True)
class Guess:
    """How the files of one table are probably to be read, for a person to confirm.

    `file`: its `path` is the name of the first file alone. `sentences`: what was guessed, and why.
    """

    file: File
    sentences: tuple[str, ...]


def guess(paths: Sequence[Path], *, max_bytes: int) -> Guess:
    """Guess format, encoding, separator and decimal sign of the files of one table from their content.

    A workbook, Parquet, gzip and zip are known by their first bytes. Text is UTF-8 where most of its lines beyond ASCII
    are, UTF-16 by its byte order mark, else cp1252, as Windows writes it. Fields are separated by the sign among
    `, ; tab |` by which most of the first lines have as many fields as the header; of several such signs, the one that
    makes more columns. Of a workbook the first sheet is taken.

    Raises:
        SourceError: missing, unreadable, too large, a zip that does not hold just one file, or files that are written
            unlike each other.
    """
    guesses = [_guess(path, max_bytes) for path in paths]
    found, sentences = guesses[0]
    for path, (other, said) in zip(paths[1:], guesses[1:], strict=True):
        # Plain ASCII goes with any encoding, a file without broken numbers with any decimal sign.
        found = {key: other.get(key) if value is None else value for key, value in found.items()}
        unlike = [key for key, value in other.items() if value is not None and value != found.get(key)]
        if unlike:
            raise SourceError(
                f"{path}: is written unlike {paths[0]} ({', '.join(unlike)}); files of one table take one format."
            )
        sentences = list(dict.fromkeys([*sentences, *said]))
    settled = {key: value for key, value in found.items() if value is not None}
    return Guess(File(path=paths[0].name, **settled), tuple(sentences))


def _guess(path: Path, max_bytes: int) -> tuple[dict[str, Any], list[str]]:
    """Keys of a `File`, None where the content leaves them open; and sentences."""
    label, file = str(path), File(path=path.name)
    _checked(path, label, None, max_bytes)
    with open(path, "rb") as raw:
        head = raw.read(4)
    kind = _kind(path, file, max_bytes)
    found: dict[str, Any] = {}
    said: list[str] = []
    if head[:2] == _GZIP:
        said.append(f"{path.name} is compressed with gzip and is read as it stands.")
    elif head == _ZIP and kind == "csv":
        file = file.model_copy(update={"member": _only_member(path, label)})
        found["member"] = file.member
        said.append(f"{path.name} is a zip archive; the table is its one file, {file.member}.")
        kind = _kind(path, file, max_bytes)
    found["format"] = kind
    with _opened(path, file, label, max_bytes) as (stream, name):
        if kind == "parquet":
            said.append(f"{path.name} holds a Parquet table.")
        elif kind == "excel":
            said.append(f"{path.name} is an Excel workbook; {_sheets(stream, name, max_bytes)}")
        else:
            told = delimited.guess(stream, name)
            found |= {"encoding": told.encoding, "separator": told.separator, "decimal": told.decimal}
            said += told.sentences
    return found, said


def _kind(path: Path, file: File, max_bytes: int, label: str | None = None) -> Format:
    with _opened(path, file, label or str(path), max_bytes) as (stream, name):
        return _format_of(stream, name)


def _only_member(path: Path, label: str) -> str:
    with open(path, "rb") as raw, _archive(raw, label) as archive:
        held = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(held) != 1:
        raise SourceError(
            f"{label}: is a zip of {len(held)} files ({', '.join(held[:10])}); unpack the one that holds the table."
        )
    return held[0]


def _sheets(stream: IO[bytes], label: str, max_bytes: int) -> str:
    """Which sheet of a workbook is taken."""
    content = io.BytesIO(stream.read())
    _check_workbook(content, label, max_bytes)
    with _workbook(content, label) as book:
        sheets = [str(sheet) for sheet in book.sheet_names]
    if not sheets:
        raise SourceError(f"{label}: has no sheet of cells.")
    others = f" Others, which are not read: {', '.join(sheets[1:])}." if len(sheets) > 1 else ""
    return f"the table is taken from its first sheet, {sheets[0]}.{others}"


# Reading by contract


def pieces_of_files(resolved: Resolved, fetched: dict[str, Fetched], *, max_bytes: int) -> Iterator[Piece]:
    """Every table of a file source, typed, in parts: leads, then activities, then changes; at least one part of each.

    Raises:
        SourceError: a file is wrong as a whole, its columns are not the contract's, it has no leads, or more than half
            of a table's rows are refused.
    """
    for table in tables.TABLES:
        declared = getattr(resolved.contract.source, table)
        if declared is None:
            yield Piece(table, 0, tables.empty(table))
        else:
            source = fetched[table]
            parts = _parts_of(source, declared, max_bytes)
            yield from _typed_parts(table, parts, resolved, declared, source.label)


def pieces_of_blocks(blocks: Iterable[Block], resolved: Resolved) -> Iterator[Piece]:
    """The demo's blocks of text tables, typed; rows are numbered through, table by table."""
    rows = dict.fromkeys(tables.TABLES, 0)
    for block in blocks:
        for table in tables.TABLES:
            cells: pd.DataFrame = getattr(block, table)
            first = rows[table] + 1
            numbered = cells.set_axis(pd.RangeIndex(first, first + len(cells), name=ROW))
            rows[table] += len(cells)
            yield Piece(table, len(cells), tables.type_table(table, numbered, resolved))


@dataclass(frozen=True)
class Given:
    """A file that a user names on the command line, and what to call it in messages."""

    path: Path
    label: str

    @classmethod
    def of(cls, path: Path | None) -> Given | None:
        return None if path is None else cls(path, str(path))


def pieces_for_scoring(resolved: Resolved, given: Mapping[str, Given | None], *, max_bytes: int) -> Iterator[Piece]:
    """Raw tables that a user names, typed, in parts: leads, then activities, then changes; at least one part of each.

    Text with the separator of the contract's files, or what the first bytes tell: Parquet, a workbook, gzip. Columns go
    by the source's names. Those that no score is made of may be absent or come on top; outcome columns may be absent or
    empty, since open leads have none. A column `as_of` in leads is kept as a moment.

    Args:
        given: by table; leads at least.

    Raises:
        SourceError: a file is missing, unreadable or wrong as a whole, lacks a column that a score needs, or has no
            leads; or activities or changes are given for a contract that has none.
    """
    files_ = {}
    for table in tables.TABLES:
        if (one := given.get(table)) is None:
            continue
        if table != "leads" and getattr(resolved.contract, table) is None:
            raise SourceError(f"{one.label}: contract {resolved.name} has no {table}; leave the option out.")
        check_size(one.path, one.label, max_bytes)
        files_[table] = _as_given(one, getattr(resolved.contract.source, table), max_bytes)
    for table in tables.TABLES:
        if (one := given.get(table)) is None:
            yield Piece(table, 0, tables.empty(table))
            continue
        parts = read_parts(one.path, files_[table], one.label, max_bytes=max_bytes)
        yield from _typed_parts(table, parts, resolved, files_[table], one.label, scoring=True)


def no_refusals() -> pd.DataFrame:
    """An empty `ingest/refused.parquet`."""
    return _refused([]).assign(table=pd.Series(dtype="str"))[REFUSED_COLUMNS]


def _as_given(given: Given, declared: File | None, max_bytes: int) -> File:
    """How to read a file named on the command line: as the contract's file of that table, but for its format.

    The first bytes tell the format; one that is not the contract's is read as that format is read by default.
    """
    base = declared if declared is not None else File(path="given")
    kind = _kind(given.path, File(path="given"), max_bytes, given.label)
    if kind != base.format:
        return File(path=str(given.path), format=kind, missing=base.missing)
    return base.model_copy(update={"path": str(given.path), "paths": None, "url": None, "member": None, "sha256": None})


def _parts_of(source: Fetched, file: File, max_bytes: int) -> Iterator[Part]:
    """The parts of every file of a table, rows numbered through, columns in the order of the first file.

    Raises:
        SourceError: as `read_parts`; or a file has other columns than the first.
    """
    columns: list[str] | None = None
    before = 0
    for place in source.places:
        rows = 0
        for part in read_parts(place.path, file, place.label, max_bytes=max_bytes):
            if columns is None:
                columns = list(part.cells.columns)
            if set(part.cells.columns) != set(columns):
                lacks = [f"lacks `{name}`" for name in columns if name not in part.cells]
                holds = [f"holds `{name}`" for name in part.cells if name not in columns]
                raise SourceError(
                    f"{place.label}: {', '.join(lacks + holds)}, unlike {source.places[0].label}; files of one table "
                    "need the same columns, in any order."
                )
            rows += len(part.cells) + len(part.refused)
            if len(source.places) > 1:
                part = _moved(part, columns, before, place.label.removeprefix("data/raw/"))
            yield part
        before += rows


def _moved(part: Part, columns: list[str], before: int, file: str) -> Part:
    """A part of a later file: its rows come after `before` others."""
    cells = part.cells[columns].set_axis(part.cells.index + before)
    reasons = pd.Series([f"{file}, {reason}" for reason in part.refused["reason"]], dtype="str")
    refused = part.refused.assign(**{ROW: part.refused[ROW] + before, "reason": reasons})
    return Part(cells, part.lines, refused, file)


def _typed_parts(
    table: str,
    parts: Iterable[Part],
    resolved: Resolved,
    file: File,
    label: str,
    *,
    scoring: bool = False,
) -> Iterator[Piece]:
    """Type parts of text; reasons name the line where the file has lines, and the file where a table has several.

    For scoring any number of rows may be refused: each comes back with its reason.
    """
    calendar: tuple[int, int] | None = None
    rows, n_refused, reasons = 0, 0, Counter[str]()
    for number, part in enumerate(parts):
        if number == 0:
            _check_columns(list(part.cells.columns), resolved, table, label, scoring=scoring)
        if table == "leads":
            typed = tables.type_leads(part.cells, resolved, calendar=calendar, scoring=scoring, decimal=file.decimal)
        else:
            typed = tables.type_table(table, part.cells, resolved, decimal=file.decimal)
        calendar = typed.calendar
        reasons.update(fault for reason in typed.refused["reason"] for fault in reason.split("; "))
        refused = _with_lines(typed.refused, part)
        rows, n_refused = rows + len(part.cells) + len(part.refused), n_refused + len(refused)
        if 2 * n_refused > rows and not scoring:
            common = "; ".join(f"{count:,} × {reason}" for reason, count in reasons.most_common(3))
            raise SourceError(
                f"{label}: {n_refused:,} of {rows:,} rows of {table} are refused; the contract does not describe this "
                f"file. Commonest: {common}. Correct the file, or types, formats and words for missing in the contract."
            )
        unread = tuple(tables.unread(list(part.cells.columns), resolved, table))
        yield Piece(table, len(part.cells) + len(part.refused), replace(typed, refused=refused), unread)
    if rows == 0 and table == "leads":
        raise SourceError(f"{label}: has no rows below its header; there is nothing to do.")


def _check_columns(header: list[str], resolved: Resolved, table: str, label: str, *, scoring: bool) -> None:
    faults = tables.column_faults(header, resolved, table, scoring=scoring)
    if faults and len(header) == 1:
        faults.append("the header has one column only; is the contract's `separator` (else `,`) the one in the file?")
    if faults:
        raise SourceError(
            f"{label}: {'; '.join(faults)}. Names must agree exactly, capitals and blanks included; correct the file's "
            "header or the contract."
        )


def _with_lines(refused: pd.DataFrame, part: Part) -> pd.DataFrame:
    """Refusals of typing, with the line each stands on, and those of reading, in order of rows."""
    if part.lines is not None and len(refused):
        lines = part.lines[part.cells.index.get_indexer(pd.Index(refused[ROW]))]
        file = "" if part.file is None else f"{part.file}, "
        reasons = [f"{file}line {line}: {reason}" for line, reason in zip(lines, refused["reason"], strict=True)]
        refused = refused.assign(reason=pd.Series(reasons, dtype="str"))
    if not len(part.refused):
        return refused
    unread = part.refused.assign(**{LEAD_KEY: pd.Series(np.nan, index=part.refused.index, dtype="str")})
    return pd.concat([refused, unread[refused.columns]]).sort_values(ROW, ignore_index=True)
