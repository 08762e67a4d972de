"""The strict reader of delimited text: bytes to rows of fields, each either sound or refused with what is wrong.

RFC 4180: quotes, doubled quotes, line ends within quotes. Damage stays where it is: a line whose bytes are no text of
its encoding, that is too long or holds control characters is one refused row, and a quote that is never closed costs
the line it stands on, not those it would swallow. What is wrong as a whole (no header, another format) is a
`SourceError`.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterator
from itertools import chain, islice
from typing import IO, NamedTuple

from pipeline.errors import SourceError
from pipeline.leads.contract import Encoding

#: A physical line longer than this is no line of a table; nothing longer is held in memory.
MAX_LINE_BYTES = 16 * 2**20

#: A row of several lines that has not ended after so many characters never will: its quote is not closed.
MAX_ROW_CHARACTERS = 2**20

#: Sound rows that tell what a row of the file looks like, where it must be told from lines of quoted text.
SAMPLE_ROWS = 200

_BLOCK_BYTES = 2**20

#: Formats known by their first bytes, and what to do about them.
MAGIC = {
    b"PK\x03\x04": "a zip archive or a workbook; name the file in the archive as `member`, or declare `format: excel`",
    b"\xd0\xcf\x11\xe0": "an old or protected Excel workbook; declare `format: excel`",
    b"\x1f\x8b": "compressed with gzip within gzip or zip; unpack it once more",
    b"PAR1": "Parquet; declare `format: parquet`",
    b"\xff\xfe": "UTF-16 text; declare `encoding: utf-16`",
    b"\xfe\xff": "UTF-16 text; declare `encoding: utf-16`",
}

NOT_CLOSED = "a quote is opened and not closed"

_EMPTY = "the line is empty"
_RETURN_WITHIN = "a carriage return stands in the middle of the line"
_UTF8_MARK = b"\xef\xbb\xbf"

#: Encodings of one byte per character, in which almost any bytes are some text.
_SINGLE = ("cp1252", "latin-1")

#: The line some spreadsheets put before the header to say what separates fields.
_SAYS_SEPARATOR = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE | re.DOTALL)

#: Bytes that the encoding could not decode (kept as lone surrogates), and characters that no table holds on purpose.
_NO_TEXT = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_UNCLEAN = re.compile(f"{_NO_TEXT.pattern}|{_CONTROL.pattern}")

#: A carriage return that is no part of a line's end.
_RETURN = re.compile(r"\r(?![\r\n]|$)")


class Record(NamedTuple):
    """One row: the line it begins on, and either its fields or what is wrong with it and its text."""

    line: int
    fields: list[str]
    fault: str | None = None
    raw: str = ""


def records(stream: IO[bytes], label: str, *, separator: str, encoding: Encoding = "utf-8") -> Iterator[Record]:
    """The rows of a text; the first is the header and sets the number of fields. Empty lines at the end are no rows.

    A quote that is never closed would swallow the rows below it, up to the next quote or the end. It shows: text
    follows a closing quote, the text ends within quotes, a row of several lines has an odd number of quotes, or lines
    within it read as rows of their own. Then only the line it stands on is refused, and reading goes on with the next.
    A line that holds several rows, parted by carriage returns alone, is read as these rows.

    Args:
        encoding: utf-8, cp1252, latin-1, or utf-16 (little-endian where no byte order mark says otherwise).

    Raises:
        SourceError: the header cannot be read, or the bytes are of another format.
    """
    lines = _Lines(stream, label, encoding)
    source: Iterator[str] = iter(lines)
    first = next(source, None)
    if first is None:
        raise SourceError(f"{label}: is empty; the first line must name the columns.")
    number, source = 1, chain([first], source)
    if says := _SAYS_SEPARATOR.fullmatch(first):
        if says[1] != separator:
            raise SourceError(
                f"{label}, line 1: says that fields are separated by {says[1]!r}; declare that as `separator`."
            )
        number = 2
        next(source)
    header: list[str] | None = None
    rows = _Rows(separator)
    empty: list[Record] = []
    for record in _parsed(lines, source, number, rows):
        if header is None:
            if record.fault is not None:
                raise SourceError(
                    f"{label}, line {record.line}: the header cannot be read: {record.fault}. {_advice(encoding)}"
                )
            header = record.fields
        elif record.fault == _EMPTY:
            empty.append(record)
            continue
        yield from empty
        empty.clear()
        yield record


def _advice(encoding: str) -> str:
    return f"The first line must name the columns, as {encoding} text (`encoding` in the contract)."


def _parsed(lines: _Lines, source: Iterator[str], number: int, rows: _Rows) -> Iterator[Record]:
    """Records from the lines of `source`, the first of which is number `number` of `lines`."""
    ahead: deque[str] = deque()
    taken: list[str] = []

    def feed() -> Iterator[str]:
        size = 0
        while (line := ahead.popleft() if ahead else next(source, None)) is not None:
            size = size + len(line) if taken else len(line)
            taken.append(line)
            yield line
            if taken and size > MAX_ROW_CHARACTERS:
                return

    reader = csv.reader(feed(), delimiter=rows.separator, strict=True)
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
        if fault is None and (len(taken) > 1 or "\r" in taken[0][:-2]) and rows.swallowed(taken, fields):
            fault = NOT_CLOSED
        if fault is not None:
            ahead.extendleft(reversed(taken[1:]))
            del taken[1:]
            reader = csv.reader(feed(), delimiter=rows.separator, strict=True)
        damage = None
        if lines.damage:
            found = [lines.damage.pop(line, None) for line in range(number, number + len(taken))]
            damage = next(filter(None, found), None)
        if fault is not None and damage is None and (apart := rows.parted_by_returns(taken[0])):
            yield from (Record(number, cells, why, piece) for piece, cells, why in apart)
        else:
            if not fields and rows.arity == 1 and fault is None:
                fields = [""]
            if damage is not None:
                fault = rows.where(fields, damage)
            elif fault is None:
                fault = rows.fault(fields)
            yield Record(number, fields, fault, "" if fault is None else _clean("".join(taken).rstrip("\r\n")))
        number += len(taken)


class _Rows:
    """What a sound row of the file looks like: the number of fields, and what its columns hold."""

    def __init__(self, separator: str) -> None:
        self.separator = separator
        self.header: list[str] | None = None
        self._sample: deque[list[str]] = deque(maxlen=SAMPLE_ROWS)
        apart = re.escape(separator)
        field = rf'(?:"(?:[^"]|"")*+"|[^"{apart}\r\n]*+)'
        self._sound = re.compile(rf"{field}(?:{apart}{field})*+[\r\n]*")

    @property
    def arity(self) -> int | None:
        return None if self.header is None else len(self.header)

    def fault(self, fields: list[str]) -> str | None:
        """What is wrong with a row that could be split into fields; the first one sets what the others must be."""
        if not fields:
            return _EMPTY
        if self.header is None:
            self.header = fields
        elif len(fields) != len(self.header):
            return f"{_fields(len(fields))} where the header has {len(self.header)}"
        elif fields == self.header and len(fields) > 1:
            return "it repeats the header"
        else:
            self._sample.append(fields)
        return None

    def where(self, fields: list[str], damage: str) -> str:
        """Damage of a line, with the columns it stands in where that can be told."""
        if self.header is None or len(fields) != len(self.header):
            return f"it {damage}"
        found = [name for name, cell in zip(self.header, fields, strict=True) if _UNCLEAN.search(cell)]
        if not found:
            return f"it {damage}"
        return f"column {', '.join(f'`{name}`' for name in found)} {damage}"

    def swallowed(self, lines: list[str], fields: list[str]) -> bool:
        """Whether a row of several lines is one that lost or gained a quote and took in the rows below it.

        A writer that quotes line breaks quotes quotes too: a bare one in such a row is where two rows met.
        """
        if sum(line.count('"') for line in lines) % 2 or not self._sound.fullmatch("".join(lines)):
            return True
        lines = [piece for line in lines for piece in _RETURN.split(line)]
        within = lines[1:] if len(fields) != self.arity else lines[1:-1]
        return self._read_as_rows([cells for line in within if (cells := self._alone(line)) is not None])

    def parted_by_returns(self, line: str) -> list[tuple[str, list[str], str | None]]:
        """Text, fields and fault of the rows of a line that carriage returns part; none where these are no rows."""
        if self.header is None or "\r" not in (line := line.rstrip("\r\n")):
            return []
        pieces = [piece for piece in re.split(r"[\r\n]+", line) if piece]
        cells = [self._alone(piece) for piece in pieces]
        if sum(found is not None for found in cells) < 2:
            return []
        return [
            (piece, found, self.fault(found)) if found is not None else (piece, [], _RETURN_WITHIN)
            for piece, found in zip(pieces, cells, strict=True)
        ]

    def _alone(self, line: str) -> list[str] | None:
        """The fields of a line that is a sound row for itself: every quote in place, as many fields as the header."""
        # A field as long as the line could be longer than the library takes.
        if len(line) > csv.field_size_limit() or not self._sound.fullmatch(line):
            return None
        fields = next(csv.reader([line], delimiter=self.separator), [])
        return fields if len(fields) == self.arity else None

    def _read_as_rows(self, lines: list[list[str]]) -> bool:
        """Whether lines of as many fields as the header are rows rather than quoted text: their cells look like those
        of their columns.

        Columns that hold words say nothing. Where all do, or nothing has been read yet, many fields must do; else three
        in four of the telling cells must fit, and two of these must hold something.
        """
        if not lines:
            return False
        telling: dict[int, set[str]] = {}
        for place in range(len(lines[0])):
            kinds = [_kind(row[place]) for row in self._sample]
            if 20 * kinds.count("words") < len(kinds) != kinds.count("nothing"):
                telling[place] = set(kinds)
        if not telling:
            return len(lines[0]) > 5

        def alike(cells: list[str]) -> bool:
            kinds = {place: _kind(cells[place]) for place in telling}
            fitting = [kinds[place] for place in telling if kinds[place] in telling[place]]
            return 4 * len(fitting) >= 3 * len(telling) and len(fitting) - fitting.count("nothing") > 1

        return any(map(alike, lines))


def _kind(cell: str) -> str:
    """What a cell looks like: nothing, numbers and dates, a code, or words."""
    if not cell.strip():
        return "nothing"
    if not re.search(r"\d", cell):
        return "words"
    if re.fullmatch(r"[\d\s.,:/+\-TZ]+", cell):
        return "numbers"
    return "words" if re.search(r"\s", cell) else "code"


def _quoting_fault(message: str) -> str:
    if "unexpected end of data" in message:
        return NOT_CLOSED
    if "field larger than" in message:
        return f"a field is longer than {csv.field_size_limit():,} characters, or its quote is not closed"
    if "new-line character" in message:
        return _RETURN_WITHIN
    return "text follows a closing quote"


def _fields(count: int) -> str:
    return f"{count} field" if count == 1 else f"{count} fields"


def _clean(text: str) -> str:
    """Text that can be stored: what could not be decoded, as escapes."""

    def escape(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

    return _NO_TEXT.sub(escape, text)


# Bytes to lines


class _Lines:
    """Physical lines as text, ends included, without a byte order mark.

    `damage`: number of a line -> what is wrong with its bytes or characters, ahead of the line itself.
    """

    def __init__(self, stream: IO[bytes], label: str, encoding: str) -> None:
        self.damage: dict[int, str] = {}
        self._stream, self._label, self._encoding = stream, label, encoding

    def __iter__(self) -> Iterator[str]:
        first = self._stream.read(_BLOCK_BYTES)
        codec, first = self._begun(first)
        wide = codec.startswith("utf-16")
        end = _line_end(first, codec)
        number = 0
        for block in self._blocks(first, end.encode(codec)):
            by_line = wide or len(block) > MAX_LINE_BYTES or (codec in _SINGLE and not block.isascii())
            text = None if by_line else _decoded(block, codec)
            if text is not None and not _CONTROL.search(text):
                # Written to, it would turn a line feed into `end`, but for the end that is one.
                for line in io.StringIO(text, newline="\n") if end == "\n" else _lines_by_return(text):
                    number += 1
                    yield line
                continue
            for raw in _split(block, end.encode(codec)):
                number += 1
                yield self._line(number, raw, codec)

    def _begun(self, first: bytes) -> tuple[str, bytes]:
        """The codec, and the first bytes without a byte order mark."""
        if self._encoding == "utf-16":
            if first and b"\0" not in first:
                raise SourceError(f"{self._label}: is not UTF-16 text; correct its `encoding`.")
            if first.startswith(codecs.BOM_UTF16_BE):
                return "utf-16-be", first[2:]
            return "utf-16-le", first.removeprefix(codecs.BOM_UTF16_LE)
        for magic, what in MAGIC.items():
            if first.startswith(magic):
                raise SourceError(f"{self._label}: is {what}.")
        if self._encoding == "utf-8":
            return "utf-8", first.removeprefix(_UTF8_MARK)
        if first.startswith(_UTF8_MARK):
            raise SourceError(f"{self._label}: is UTF-8 text; leave `encoding: {self._encoding}` out of its contract.")
        return self._encoding, first

    def _blocks(self, first: bytes, end: bytes) -> Iterator[bytes]:
        """Whole lines in blocks; a line that is too long comes alone, cut off one byte beyond the limit."""
        rest, head = b"", None
        block = first
        while block:
            block = rest + block
            cut = block.rfind(end) + len(end) if end in block else 0
            whole, rest = block[:cut], block[cut:]
            if head is not None and whole:
                yield head + end
                head, whole = None, whole[whole.index(end) + len(end) :]
            if whole:
                yield from self._bounded(whole, end)
            if len(rest) > MAX_LINE_BYTES:
                head = rest[: MAX_LINE_BYTES + 1] if head is None else head
                rest = rest[len(rest) + 1 - len(end) :]
            block = self._stream.read(_BLOCK_BYTES)
        if head is not None or rest:
            yield head if head is not None else rest

    def _bounded(self, whole: bytes, end: bytes) -> Iterator[bytes]:
        """A block of whole lines; where its size allows for a line that is too long, line by line."""
        if len(whole) <= MAX_LINE_BYTES:
            yield whole
        else:
            yield from (line[: MAX_LINE_BYTES + 1] for line in _split(whole, end))

    def _line(self, number: int, raw: bytes, codec: str) -> str:
        """One line for itself; its damage is noted."""
        if len(raw) > MAX_LINE_BYTES:
            self.damage[number] = f"is longer than {MAX_LINE_BYTES / 2**20:g} MiB"
            return raw[:1000].decode("ascii", "replace").replace('"', "'") + " ...\n"
        text = _decoded(raw, codec)
        if text is None:
            mixed = codec in _SINGLE and _decoded(raw, "utf-8") is not None
            self.damage[number] = f"is {'UTF-8 text, not' if mixed else 'not'} {self._encoding} text"
            return _forced(raw, codec)
        if found := _CONTROL.search(text):
            self.damage[number] = f"holds a {'NUL byte' if found[0] == chr(0) else 'control character'}"
        return text


def _line_end(first: bytes, codec: str) -> str:
    """What ends lines: old spreadsheets write a carriage return alone, behind the header and mostly."""
    feed, alone, both = (end.encode(codec) for end in ("\n", "\r", "\r\n"))
    header = first[: first.find(feed)] if feed in first else first
    returns = first.count(alone) - first.count(both)
    return "\r" if alone in header.removesuffix(alone) and returns > first.count(feed) else "\n"


def _lines_by_return(text: str) -> Iterator[str]:
    *whole, last = text.split("\r")
    yield from (line + "\r" for line in whole)
    if last:
        yield last


def _split(block: bytes, end: bytes) -> Iterator[bytes]:
    *whole, last = block.split(end)
    yield from (line + end for line in whole)
    if last:
        yield last


def _decoded(raw: bytes, codec: str) -> str | None:
    """Text, or None where the bytes are none, or are text of UTF-8 in the place of one of a byte per character."""
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        return None
    if codec in _SINGLE and not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            return text
        return None
    return text


def _forced(raw: bytes, codec: str) -> str:
    """Text with what cannot be decoded as lone surrogates, so that fields and quotes can still be told."""
    if codec.startswith("utf-16"):
        return raw[: len(raw) // 2 * 2].decode(codec, "surrogatepass") + ("\udc80\n" if len(raw) % 2 else "")
    return raw.decode(codec, "surrogateescape")


# Guessing


class Guess(NamedTuple):
    """How a text is probably written, and why; None where it is plain ASCII or has no broken numbers."""

    encoding: Encoding | None
    separator: str
    decimal: str | None
    sentences: list[str]


SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}

#: Lines from which the separator is guessed.
_GUESS_LINES = 500

_WITH_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
_WITH_POINT = re.compile(r"\s*[+-]?\d+\.\d+\s*")


def guess(stream: IO[bytes], label: str) -> Guess:
    """Guess encoding, separator and decimal sign; the whole text is read, since one umlaut may come late.

    Raises:
        SourceError: the text is empty, or its first line is no header by any separator.
    """
    first = stream.read(_BLOCK_BYTES)
    sample = b"".join(_split(first, b"\n")) if len(first) < _BLOCK_BYTES else first[: first.rfind(b"\n") + 1] or first
    encoding, why = _guessed_encoding(first, stream)
    found = _SAYS_SEPARATOR.match(first[:20].removeprefix(_UTF8_MARK).decode("latin-1"))
    tried: dict[str, tuple[float, int, list[Record]]] = {}
    fault: SourceError | None = None
    for separator in [found[1]] if found else SEPARATORS:
        try:
            text = records(io.BytesIO(sample), label, separator=separator, encoding=encoding or "utf-8")
            rows = list(islice(text, _GUESS_LINES))
        except SourceError as error:
            fault = fault or error
            continue
        sound = [row for row in rows if row.fault is None]
        tried[separator] = (len(sound) / len(rows), len(rows[0].fields), rows)
    if not tried and fault is not None:
        raise fault
    apart = {sign: told for sign, told in tried.items() if told[1] > 1}
    separator = max(apart, key=lambda sign: (round(apart[sign][0], 1), apart[sign][1]), default=next(iter(tried)))
    share, arity, rows = tried[separator]
    name = SEPARATORS.get(separator, repr(separator))
    if found:
        said = f"Its first line says that fields are separated by {name}."
    elif arity == 1:
        said = "None of comma, semicolon, tab and bar parts its header: it is read as one column."
    else:
        said = f"Fields are separated by {name}: {share:.0%} of its first lines then have the header's {arity} fields."
    decimal, numbers = _guessed_decimal(rows, separator)
    return Guess(encoding, separator, decimal, [why, said, *numbers])


def _guessed_encoding(first: bytes, stream: IO[bytes]) -> tuple[Encoding | None, str]:
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", "It is UTF-16 text: it begins with that byte order mark."
    if first.startswith(_UTF8_MARK):
        return "utf-8", "It is UTF-8 text: it begins with that byte order mark."
    if b"\n\0" in first and first.count(b"\0") > len(first) // 4:
        return "utf-16", "It is UTF-16 text: every other byte is zero."
    utf8 = other = 0
    rest = b""
    block = first
    while block:
        *whole, rest = (rest + block).split(b"\n")
        for line in whole if not block.isascii() else []:
            if not line.isascii():
                utf8, other = (utf8 + 1, other) if _decoded(line, "utf-8") is not None else (utf8, other + 1)
        block = stream.read(_BLOCK_BYTES)
    if not rest.isascii():
        utf8, other = (utf8 + 1, other) if _decoded(rest, "utf-8") is not None else (utf8, other + 1)
    if not utf8 and not other:
        return None, "It is plain ASCII text, which is read as UTF-8."
    if utf8 >= other:
        damaged = f"; {other:,} others are not, and will be refused" if other else ""
        return "utf-8", f"It is UTF-8 text, as {utf8:,} lines with letters beyond ASCII show{damaged}."
    return "cp1252", (
        f"It is not UTF-8, as {other:,} lines with letters beyond ASCII show. It is read as cp1252, as Windows writes "
        "text; check that accents and umlauts come out right."
    )


def _guessed_decimal(rows: list[Record], separator: str) -> tuple[str | None, list[str]]:
    """A comma where broken numbers are written with one and none with a point; None where there are no broken ones."""
    commas, points = Counter[int](), Counter[int]()
    for row in rows[1:]:
        for place, cell in enumerate(row.fields if row.fault is None else []):
            commas[place] += separator != "," and bool(_WITH_COMMA.fullmatch(cell))
            points[place] += bool(_WITH_POINT.fullmatch(cell))
    named = [rows[0].fields[place] for place, count in commas.items() if count]
    if points.total():
        return ".", []
    if not named:
        return None, []
    return ",", [f"Numbers are written with a decimal comma, as in {', '.join(f'`{name}`' for name in named[:5])}."]
