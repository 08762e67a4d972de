"""Where a contract's tables come from: files under `data/raw/`, URLs, and files named on the command line.

The strict reader: bytes, size limit, hash, UTF-8, the arity of every row, all text, and only then types by the
contract. A row that cannot be read is refused with its line and reason; a file that is wrong as a whole is a
`SourceError`. Files are read in parts of `PART_ROWS` rows, so that memory does not grow with them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from pipeline.adapters import files
from pipeline.errors import ContractError, SourceError
from pipeline.leads import tables
from pipeline.leads.contract import LEAD_KEY, ROW, File, Resolved, parse, resolve
from pipeline.leads.tables import Typed
from pipeline.params import load_yaml
from pipeline.paths import Workspace

#: Rows read and typed at a time.
PART_ROWS = 100_000

#: A physical line longer than this is no line of a table; nothing longer is held in memory.
MAX_LINE_BYTES = 16 * 2**20

#: Seconds without a byte after which a download is given up.
DOWNLOAD_TIMEOUT = 30.0

#: Folder with the published data sets that lies beside a checkout; tried for files whose contract states their hash.
LEAD_DATA_DIR = "LEAD_DATA_DIR"

REFUSED_COLUMNS = ["table", ROW, "reason", "raw"]

_MAGIC = {
    b"PK\x03\x04": "a zip archive; name the file in it as `member`",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"PAR1": "Parquet; declare `format: parquet`",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}


@dataclass(frozen=True)
class Fetched:
    """A source file at hand: where it lies, what to call it in messages, its sha256."""

    path: Path
    label: str
    sha256: str


@dataclass(frozen=True)
class Part:
    """Some rows of a file as text.

    `cells`: index the 1-based row. `lines`: the line each row of `cells` begins on; None where the file has no lines.
    `refused`: `row`, `reason`, `raw` of rows that could not be read.
    """

    cells: pd.DataFrame
    lines: np.ndarray | None
    refused: pd.DataFrame


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


@dataclass(frozen=True)
class ScoringTables:
    """What `leads score` was given, typed.

    `leads`, `activities`, `changes`: as `pipeline.leads.tables` describes them, leads with `as_of` where the file has
    it. `refused`: `table`, `row`, `lead_id` (NaN where it cannot be told), `reason`, `raw`. `unread`: by table, columns
    that the contract does not name.
    """

    leads: pd.DataFrame
    activities: pd.DataFrame
    changes: pd.DataFrame
    refused: pd.DataFrame
    unread: dict[str, list[str]]


def read_contract(workspace: Workspace, name: str) -> Resolved:
    """Read, check and resolve `data/contracts/<name>.yaml`.

    Raises:
        ContractError: it is missing (the ones there are listed), faulty, or names itself otherwise.
    """
    path = workspace.contract(name)
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
        raise ContractError(f"{path}: no such contract. In that folder: {there}. Set `run.contract` in params.yaml.")
    contract = parse(load_yaml(path, ContractError), file=str(path))
    if contract.name != name:
        raise ContractError(f"{path}: name: `{contract.name}` is not the file's name, `{name}`; make them the same.")
    return resolve(contract)


# Fetching


def fetch(workspace: Workspace, file: File, *, max_bytes: int, log: Callable[[str], None] | None = None) -> Fetched:
    """Find or download a source file and check its size and hash.

    A path is looked up under `data/raw/` (links are followed); where it is not there, and the contract states its hash,
    under the folder that the environment variable `LEAD_DATA_DIR` names. A URL is downloaded once, to
    `data/raw/.cache/<sha256>`.

    Raises:
        SourceError: missing, outside `data/raw/`, too large, of another hash, or not to be had.
    """
    if file.url is not None:
        path, label = _downloaded(workspace, file, max_bytes=max_bytes, log=log), files.shown(file.url)
    else:
        assert file.path is not None, "a file has a path or a url"
        path, label = _found(workspace, file), f"data/raw/{file.path}"
    return Fetched(path, label, _checked(path, label, file.sha256, max_bytes))


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


def _found(workspace: Workspace, file: File) -> Path:
    assert file.path is not None, "a file has a path or a url"
    relative = PurePosixPath(file.path)
    if relative.is_absolute() or ".." in relative.parts or "\\" in file.path or "\0" in file.path:
        raise SourceError(
            f"source path {file.path!r} must stay below data/raw/: no leading slash, no `..`. To use a file elsewhere, "
            "put a link to it there."
        )
    folders = [workspace.raw]
    if file.sha256 is not None and (beside := os.environ.get(LEAD_DATA_DIR)):
        folders.append(Path(beside))
    for folder in folders:
        if (folder / relative).is_file():
            return folder / relative
    tried = " and ".join(str(folder / relative) for folder in folders)
    raise SourceError(f"{tried}: no such file. Put it there or link it; the contract's `source` names it.")


def _checked(path: Path, label: str, expected: str | None, max_bytes: int) -> str:
    """Size and hash of a file; the hash is returned."""
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise SourceError(_too_large(label, size, max_bytes))
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


def _too_large(label: str, size: int, max_bytes: int) -> str:
    return (
        f"{label}: {size / 2**20:,.1f} MiB, more than the {max_bytes / 2**20:,.0f} MiB that `ingest.max_file_mib` in "
        "params.yaml allows; raise it if the file is meant."
    )


# Reading as text


def read_parts(path: Path, file: File, label: str, *, max_bytes: int) -> Iterator[Part]:
    """Read a file as text, in parts of at most `PART_ROWS` rows; the first part has the columns even without rows.

    Raises:
        SourceError: not UTF-8, no header, a column name twice or empty, a zip without the member, or more than half of
            the rows cannot be read.
    """
    with _opened(path, file, label, max_bytes) as (stream, name):
        yield from (_parquet if file.format == "parquet" else _csv)(stream, file, name)


@contextmanager
def _opened(path: Path, file: File, label: str, max_bytes: int) -> Iterator[tuple[IO[bytes], str]]:
    """The bytes of a file, or of the member of a zip, and what to call them."""
    try:
        with open(path, "rb") as raw:
            if file.member is None:
                yield raw, label
                return
            name = f"{label}, member {file.member}"
            with zipfile.ZipFile(raw) as archive:
                if file.member not in archive.namelist():
                    held = ", ".join(archive.namelist()[:10]) or "nothing"
                    raise SourceError(f"{label}: has no member {file.member}; it holds {held}.")
                size = archive.getinfo(file.member).file_size
                if size > max_bytes:
                    raise SourceError(_too_large(name, size, max_bytes))
                with _member(archive, file.member, name) as inner:
                    yield inner, name
    except (zipfile.BadZipFile, zlib.error, EOFError) as fault:
        raise SourceError(f"{label}: not a sound zip archive ({fault}).") from None
    except OSError as fault:
        raise SourceError(f"{label}: cannot be read ({fault.strerror or fault}).") from None


def _member(archive: zipfile.ZipFile, member: str, label: str) -> IO[bytes]:
    try:
        return archive.open(member)
    except (RuntimeError, NotImplementedError) as fault:  # a password, a compression that Python does not know
        raise SourceError(f"{label}: cannot be unpacked ({fault}).") from None


@dataclass(frozen=True)
class _Record:
    """One row of a CSV file: where it begins, its lines, and either its fields or what is wrong with it."""

    line: int
    raw: str
    fields: list[str]
    fault: str | None


def _csv(stream: IO[bytes], file: File, label: str) -> Iterator[Part]:
    records = _records(_lines(stream, label), file.separator)
    first = next(records, None)
    if first is None:
        raise SourceError(f"{label}: is empty; the first line must name the columns.")
    header = first.fields
    if first.fault is not None:
        raise SourceError(f"{label}, line 1: the header cannot be read: {first.fault}.")
    _check_header(header, label)

    kept: list[list[str]] = []
    rows: list[int] = []
    lines: list[int] = []
    refused: list[tuple[int, str, str]] = []
    row, n_refused, first_fault = 0, 0, ""

    def part() -> Part:
        columns = zip(*kept, strict=True) if kept else [[] for _ in header]
        cells = pd.DataFrame(
            {name: pd.array(list(column), dtype="str") for name, column in zip(header, columns, strict=True)},
            index=pd.Index(rows, dtype="int64", name=ROW),
        )
        if 2 * n_refused > row:
            raise SourceError(
                f"{label}: {n_refused:,} of {row:,} rows cannot be read; the first: {first_fault}. The separator is "
                f"declared as {file.separator!r}. Correct the file or its contract."
            )
        return Part(cells, np.array(lines, dtype="int64"), _refused(refused))

    for record in records:
        row += 1
        if record.fault is None:
            kept.append(record.fields)
            rows.append(row)
            lines.append(record.line)
        else:
            reason = f"line {record.line}: {record.fault}"
            first_fault = first_fault or reason
            n_refused += 1
            refused.append((row, reason, record.raw))
        if len(kept) + len(refused) >= PART_ROWS:
            yield part()
            kept, rows, lines, refused = [], [], [], []
    if row == 0 or kept or refused:
        yield part()


def _lines(stream: IO[bytes], label: str) -> Iterator[str]:
    """Physical lines as text, ends included, without a byte order mark."""
    for number, raw in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), start=1):
        if number == 1:
            for magic, what in _MAGIC.items():
                if raw.startswith(magic):
                    raise SourceError(f"{label}: is {what}.")
        text = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
        if len(raw) > MAX_LINE_BYTES:
            raise SourceError(
                f"{label}, line {number}: longer than {MAX_LINE_BYTES // 2**20} MiB; is this a table of text?"
            )
        try:
            yield text.decode("utf-8")
        except UnicodeDecodeError as fault:
            raise SourceError(
                f"{label}, line {number}, byte {fault.start + 1}: not UTF-8 text. Save the file as UTF-8."
            ) from None


def _records(lines: Iterator[str], separator: str) -> Iterator[_Record]:
    """Rows by RFC 4180: quotes, doubled quotes, line ends within quotes. The first is the header and sets the arity.

    A quote that is never closed would swallow the rows below it, up to the next quote or the end. It shows: text
    follows a closing quote, the file ends within quotes, or a row of several lines has an odd number of quotes, or the
    wrong number of fields while its second line has the right one. Then only the line it stands on is refused, and
    reading goes on with the next. Empty lines at the end are no rows.
    """
    ahead: deque[str] = deque()
    taken: list[str] = []
    number, arity = 1, None
    empty: list[_Record] = []

    def feed() -> Iterator[str]:
        while (line := ahead.popleft() if ahead else next(lines, None)) is not None:
            taken.append(line)
            yield line

    reader = csv.reader(feed(), delimiter=separator, strict=True)
    while True:
        fault: str | None = None
        fields: list[str] = []
        taken.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = _quoting_fault(str(error))
        if fault is None and len(taken) > 1 and _swallows(taken, len(fields), separator, arity):
            fault = "a quote is opened and not closed"
        if fault is not None:
            ahead.extendleft(reversed(taken[1:]))
            del taken[1:]
            reader = csv.reader(feed(), delimiter=separator, strict=True)
        elif not fields and arity == 1:
            fields = [""]
        elif not fields:
            fault = "the line is empty"
        elif any("\0" in line for line in taken):
            fault = "it holds a NUL byte"
        elif arity is not None and len(fields) != arity:
            fault = f"{_fields(len(fields))} where the header has {arity}"
        record = _Record(number, "".join(taken).rstrip("\r\n"), fields, fault)
        number += len(taken)
        if fault == "the line is empty" and arity is not None:
            empty.append(record)
            continue
        yield from empty
        empty.clear()
        yield record
        arity = len(fields) if arity is None else arity


def _swallows(lines: list[str], n_fields: int, separator: str, arity: int | None) -> bool:
    """Whether a row of several lines is one that lost or gained a quote and took in the rows below it."""
    if sum(line.count('"') for line in lines) % 2:
        return True
    if n_fields == arity:
        return False
    try:
        return [len(fields) for fields in csv.reader([lines[1]], delimiter=separator, strict=True)] == [arity]
    except csv.Error:
        return False


def _quoting_fault(message: str) -> str:
    if "unexpected end of data" in message:
        return "a quote is opened and not closed"
    if "field larger than" in message:
        return f"a field is longer than {csv.field_size_limit():,} characters, or its quote is not closed"
    if "new-line character" in message:
        return "a carriage return stands in the middle of the line"
    return "text follows a closing quote"


def _parquet(stream: IO[bytes], file: File, label: str) -> Iterator[Part]:
    """Parquet as text without loss: numbers in their shortest exact form, moments as ISO 8601 in UTC, nulls missing."""
    seekable = stream if file.member is None else io.BytesIO(stream.read())
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


def _fields(count: int) -> str:
    return f"{count} field" if count == 1 else f"{count} fields"


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
            parts = read_parts(source.path, declared, source.label, max_bytes=max_bytes)
            yield from _typed_parts(table, parts, resolved, source.label)


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


def read_for_scoring(
    resolved: Resolved,
    leads: Path,
    activities: Path | None = None,
    changes: Path | None = None,
    *,
    max_bytes: int,
) -> ScoringTables:
    """Read raw tables that a user names, to be scored: CSV with the separator of the contract's files, or `.parquet`.

    Columns go by the source's names. Those that no score is made of may be absent or come on top; outcome columns may
    be absent or empty, since open leads have none. A column `as_of` in leads is kept as a moment.

    Raises:
        SourceError: a file is missing, unreadable or wrong as a whole, lacks a column that a score needs, or has no
            leads; or activities or changes are given for a contract that has none.
    """
    typed: dict[str, list[Typed]] = {table: [] for table in tables.TABLES}
    left: dict[str, list[str]] = {table: [] for table in tables.TABLES}
    for table, path in (("leads", leads), ("activities", activities), ("changes", changes)):
        if path is None:
            typed[table] = [tables.empty(table)]
            continue
        if table != "leads" and getattr(resolved.contract, table) is None:
            raise SourceError(f"{path}: contract {resolved.name} has no {table}; leave the option out.")
        file = _as_given(path, getattr(resolved.contract.source, table))
        _checked(path, str(path), None, max_bytes)
        parts = read_parts(path, file, str(path), max_bytes=max_bytes)
        for piece in _typed_parts(table, parts, resolved, str(path), scoring=True):
            typed[table].append(piece.typed)
            left[table] = list(piece.unread)
    refused = [part.refused.assign(table=table) for table, done in typed.items() for part in done]
    whole = {table: pd.concat([part.table for part in done], ignore_index=True) for table, done in typed.items()}
    columns = ["table", ROW, LEAD_KEY, "reason", "raw"]
    return ScoringTables(**whole, refused=pd.concat(refused, ignore_index=True)[columns], unread=left)


def no_refusals() -> pd.DataFrame:
    """An empty `ingest/refused.parquet`."""
    return _refused([]).assign(table=pd.Series(dtype="str"))[REFUSED_COLUMNS]


def _as_given(path: Path, declared: File | None) -> File:
    """How to read a file named on the command line: as the contract's file of that table, but where and what it is."""
    base = declared if declared is not None else File(path="given")
    kind = "parquet" if path.suffix.lower() == ".parquet" else "csv"
    return base.model_copy(update={"path": str(path), "url": None, "member": None, "sha256": None, "format": kind})


def _typed_parts(
    table: str,
    parts: Iterable[Part],
    resolved: Resolved,
    label: str,
    *,
    scoring: bool = False,
) -> Iterator[Piece]:
    """Type parts of text; reasons name the line where the file has lines.

    For scoring any number of rows may be refused: each comes back with its reason.
    """
    calendar: tuple[int, int] | None = None
    rows, n_refused, reasons = 0, 0, Counter[str]()
    for number, part in enumerate(parts):
        if number == 0:
            _check_columns(list(part.cells.columns), resolved, table, label, scoring=scoring)
        if table == "leads":
            typed = tables.type_leads(part.cells, resolved, calendar=calendar, scoring=scoring)
        else:
            typed = tables.type_table(table, part.cells, resolved)
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
        reasons = [f"line {line}: {reason}" for line, reason in zip(lines, refused["reason"], strict=True)]
        refused = refused.assign(reason=pd.Series(reasons, dtype="str"))
    if not len(part.refused):
        return refused
    unread = part.refused.assign(**{LEAD_KEY: pd.Series(np.nan, index=part.refused.index, dtype="str")})
    return pd.concat([refused, unread[refused.columns]]).sort_values(ROW, ignore_index=True)
