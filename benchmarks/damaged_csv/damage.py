"""Every kind of damage that we know files to suffer, alone and combined: what a crash, an editor, a spreadsheet, a
transfer or a hand does to one.

A damaged file knows its own truth: which rows nobody touched, and whether its header and its writing as a whole are
sound.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.damaged_csv.tables import Style, Table


@dataclass
class Line:
    """The bytes of one row; `row` is its place in the table, None where damage has put it there."""

    content: bytes
    row: int | None = None
    touched: bool = False


@dataclass
class Draft:
    """A file on its way to be damaged.

    `sound`: its header and its writing as a whole are as the contract says. `at_risk`: rows that nobody touched, but
    that read otherwise now. `bare`: damage of the whole file, done last.
    """

    rng: np.random.Generator
    table: Table
    style: Style
    header: bytes
    lines: list[Line]
    sound: bool = True
    at_risk: list[int] = field(default_factory=list)
    bare: list[Callable[[bytes], bytes]] = field(default_factory=list)

    @property
    def end(self) -> bytes:
        return self.style.end.encode(self.style.codec)

    def encoded(self, text: str) -> bytes:
        return text.encode(self.style.codec, "replace")

    def pick(self) -> Line:
        """A row to damage, best one that is still whole."""
        whole = [line for line in self.lines if line.row is not None and not line.touched]
        return whole[self.rng.integers(len(whole))] if whole else self.lines[self.rng.integers(len(self.lines))]

    def edit(self, change: Callable[[str], str]) -> None:
        """Change the text of one row; its line end stays."""
        line = self.pick()
        text = line.content.decode(self.style.codec, "replace").removesuffix(self.style.end)
        line.content, line.touched = self.encoded(change(text)) + self.end, True

    def edit_bytes(self, change: Callable[[bytes], bytes]) -> None:
        line = self.pick()
        content = line.content.removesuffix(self.end)
        line.content, line.touched = change(content) + self.end, True

    def rewrite(self, change: Callable[[list[str]], list[str]]) -> None:
        """Write one row anew with other cells."""
        line = self.pick()
        cells = self.table.rows[line.row or 0]
        line.content, line.touched = self.written(change(list(cells))), True

    def written(self, cells: list[str]) -> bytes:
        return self.style.write([self.encoded(cell).decode(self.style.codec) for cell in cells])

    def insert(self, text: str) -> None:
        """Put a line of its own between two rows."""
        self.insert_bytes(self.encoded(text) + self.end)

    def insert_bytes(self, content: bytes) -> None:
        self.lines.insert(int(self.rng.integers(len(self.lines) + 1)), Line(content, touched=True))

    def place(self, text: str | bytes) -> int:
        return int(self.rng.integers(len(text) + 1))

    def column(self, *names: str) -> int:
        there = [place for place, name in enumerate(self.table.header) if name in names]
        return there[self.rng.integers(len(there))] if there else int(self.rng.integers(len(self.table.header)))


@dataclass(frozen=True)
class Damaged:
    """A damaged file and its truth.

    `untouched`: places of rows whose bytes are as they were written. `at_risk`: rows whose bytes changed with those of
    the whole file: they may be refused, but not come out changed. `damaged`: rows touched, and lines put in. `sound`:
    the header and the file as a whole are as the contract says.
    """

    content: bytes
    kinds: tuple[str, ...]
    untouched: tuple[int, ...]
    at_risk: tuple[int, ...]
    damaged: int
    sound: bool


Damage = Callable[[Draft], None]


def _put(text: str, place: int, what: str, *, over: int = 0) -> str:
    return text[:place] + what + text[place + over :]


def _at_field(draft: Draft, text: str, what: str, *, before: bool) -> str:
    """Put something right before or behind one field, as far as separators show fields."""
    places = [0, *(k + 1 for k, sign in enumerate(text) if sign == draft.style.separator)]
    ends = [*(k for k, sign in enumerate(text) if sign == draft.style.separator), len(text)]
    return _put(text, int(draft.rng.choice(places if before else ends)), what)


def _without(draft: Draft, text: str, sign: str) -> str:
    """Lose one of a sign."""
    places = [k for k, there in enumerate(text) if there == sign]
    return _put(text, int(draft.rng.choice(places)), "", over=1) if places else text + sign


def _set(draft: Draft, names: tuple[str, ...], values: list[str]) -> None:
    place, value = draft.column(*names), str(draft.rng.choice(values))
    draft.rewrite(lambda cells: [*cells[:place], value, *cells[place + 1 :]])


# Single rows

SIGNS = [
    "\x01",
    "\x07",
    "\x0b",
    "\x0c",
    "\x1a",
    "\x1f",
    "\x7f",
    "\x85",
    "\u2028",
    "\ufeff",
    "\u200b",
    "\xa0",
    "“",
    "’",
    "１",
]
DATES = [
    "05/01/2023",
    "01-05-2023",
    "2023-13-45",
    "45000",
    "2023/05/01",
    "5.1.2023",
    "20230105",
    "2023-01-05 25:00",
    "0000-00-00",
]
NUMBERS = [
    "NA",
    "N/A",
    "null",
    "1e400",
    "-1e400",
    "inf",
    "nan",
    "1,234.5",
    "1.234,5",
    "0x1F",
    "١٢",
    "1_000",
    "--1",
    "1e",
    "-5",
]

BREAKS = ["\n", "\r\n", "\n\n"]
COMMENTS = ["# exported by crm", "Total: 300 rows", "---", "(300 rows affected)"]
ADDRESSES = ["call ada@acme.example", "+49 30 1234567"]


def _other(separator: str) -> str:
    return ";" if separator == "," else ","


def _foreign(codec: str) -> str:
    return "cp1252" if codec == "utf-8" else "utf-8"


def _lost_line_end(draft: Draft) -> None:
    place = int(draft.rng.integers(max(1, len(draft.lines) - 1)))
    for line in draft.lines[place : place + 2]:
        line.touched = True
    draft.lines[place].content = draft.lines[place].content.removesuffix(draft.end)


def _bare_return(draft: Draft) -> None:
    """A line end that is a carriage return alone."""
    line = draft.pick()
    line.content, line.touched = line.content.removesuffix(draft.end) + draft.encoded("\r"), True


def _swap_end(draft: Draft) -> None:
    """The other of the two usual line ends, which is none of a damage."""
    line = draft.pick()
    other = "\n" if draft.style.end == "\r\n" else "\r\n"
    line.content = line.content.removesuffix(draft.end) + draft.encoded(other)


def _garbage(draft: Draft) -> None:
    """A block of bytes, overwritten across rows."""
    first = int(draft.rng.integers(len(draft.lines)))
    hit = draft.lines[first : first + int(draft.rng.integers(1, 4))]
    size = sum(len(line.content) for line in hit)
    for line in hit:
        line.content, line.touched = b"", True
    hit[0].content = draft.rng.bytes(size)
    if first + len(hit) < len(draft.lines):
        # The row behind begins in the middle of a line.
        draft.lines[first + len(hit)].touched = True


def _cut_short(draft: Draft) -> None:
    """The last row ends in the middle."""
    line = draft.lines[-1]
    line.content, line.touched = line.content[: draft.rng.integers(1, max(2, len(line.content) - 1))], True


def _zeros(draft: Draft) -> None:
    """A tail of zero bytes, as a file system leaves behind after a crash."""
    draft.lines.append(Line(bytes(int(draft.rng.integers(1, 5000))), touched=True))


def _twice(draft: Draft) -> None:
    """An exact copy of a row, further down or up."""
    draft.insert_bytes(draft.lines[draft.rng.integers(len(draft.lines))].content)


def _key_of_another(draft: Draft) -> None:
    other = draft.table.rows[draft.rng.integers(len(draft.table.rows))][0]
    draft.rewrite(lambda cells: [other, *cells[1:]])


def _in_quotes(draft: Draft, cell: str) -> str:
    return cell + str(draft.rng.choice(['"', '""', '",', ',"', '"\n', '\n"', '","', '"\n"']))


def _fuzz(draft: Draft) -> None:
    """A few bytes changed, lost or put in, anywhere in a row, its end included."""
    line = draft.pick()
    content = bytearray(line.content)
    for _ in range(draft.rng.integers(1, 4)):
        place = int(draft.rng.integers(len(content))) if content else 0
        byte = (
            int(draft.rng.integers(256))
            if draft.rng.random() < 0.5
            else int(draft.rng.choice(list(b'",;\n\r\t|\x00 ')))
        )
        match draft.rng.integers(3):
            case 0:
                content[place : place + 1] = bytes([byte])
            case 1:
                content[place:place] = bytes([byte])
            case _:
                del content[place : place + 1]
    line.touched = True
    if not bytes(content).endswith(draft.end):
        # What follows stands on the same line now.
        at = next(place for place, one in enumerate(draft.lines) if one is line)
        for follower in draft.lines[at + 1 : at + 2]:
            follower.touched = True
    line.content = bytes(content)


ROWS: dict[str, Damage] = {
    "field lost": lambda d: d.rewrite(lambda cells: cells[: (k := int(d.rng.integers(len(cells))))] + cells[k + 1 :]),
    "field too many": lambda d: d.rewrite(lambda cells: [*cells[: (k := d.place(b"12345"))], "x", *cells[k:]]),
    "many fields too many": lambda d: d.rewrite(lambda cells: cells * int(d.rng.integers(2, 50))),
    "trailing separator": lambda d: d.edit(lambda text: text + d.style.separator),
    "separator within": lambda d: d.edit(lambda text: _put(text, d.place(text), d.style.separator)),
    "separator lost": lambda d: d.edit(lambda text: _without(d, text, d.style.separator)),
    "other separator": lambda d: d.edit(lambda text: text.replace(d.style.separator, _other(d.style.separator))),
    "quote opened": lambda d: d.edit(lambda text: _at_field(d, text, '"', before=True)),
    "quote closed": lambda d: d.edit(lambda text: _at_field(d, text, '"', before=False)),
    "quote within": lambda d: d.edit(lambda text: _put(text, d.place(text), '"')),
    "quote lost": lambda d: d.edit(lambda text: _without(d, text, '"')),
    "quotes doubled": lambda d: d.edit(lambda text: text.replace('"', '""')),
    "quotes stripped": lambda d: d.edit(lambda text: text.replace('"', "")),
    "quotes escaped": lambda d: d.edit(lambda text: text.replace('""', '\\"').replace('"', '\\"')),
    "quotes piled up": lambda d: d.edit(lambda text: _put(text, d.place(text), '"' * int(d.rng.integers(1, 6)))),
    "quotes in a cell": lambda d: d.edit(lambda text: _at_field(d, text, _in_quotes(d, ""), before=True)),
    "text behind a quote": lambda d: d.edit(lambda text: text.replace('"', '"x', 1) if '"' in text else '"a"b' + text),
    "NUL": lambda d: d.edit(lambda text: _put(text, d.place(text), "\0")),
    "control character": lambda d: d.edit(lambda text: _put(text, d.place(text), str(d.rng.choice(SIGNS)))),
    "invalid bytes": lambda d: d.edit_bytes(
        lambda raw: raw[: (k := d.place(raw))] + d.rng.bytes(int(d.rng.integers(1, 4))).translate(_HIGH) + raw[k:]
    ),
    "other encoding": lambda d: d.edit_bytes(
        lambda raw: (raw.decode(d.style.codec) + " Größe").encode(_foreign(d.style.codec), "replace")
    ),
    "row in UTF-16": lambda d: d.edit_bytes(lambda raw: raw.decode(d.style.codec).encode("utf-16-le")),
    "byte lost": lambda d: d.edit_bytes(lambda raw: raw[: (k := d.place(raw))] + raw[k + 1 :]),
    "bytes changed": _fuzz,
    "huge field": lambda d: d.edit(lambda text: _put(text, d.place(text), "x" * int(d.rng.choice([5_000, 140_000])))),
    "return within": lambda d: d.edit(lambda text: _put(text, d.place(text), "\r")),
    "line break within": lambda d: d.edit(lambda text: _put(text, d.place(text), str(d.rng.choice(BREAKS)))),
    "line end lost": _lost_line_end,
    "bare return": _bare_return,
    "other line end": _swap_end,
    "empty line": lambda d: d.insert(str(d.rng.choice(["", " ", "\t"]))),
    "separators alone": lambda d: d.insert(d.style.separator * (len(d.table.header) - 1)),
    "header again": lambda d: d.insert_bytes(d.header),
    "header again with a mark": lambda d: d.insert_bytes(d.encoded("\ufeff") + d.header),
    "comment": lambda d: d.insert(str(d.rng.choice(COMMENTS))),
    "copy of a row": _twice,
    "key of another": _key_of_another,
    "key lost": lambda d: d.rewrite(lambda cells: ["", *cells[1:]]),
    "fields moved": lambda d: d.rewrite(lambda cells: [*cells[1:], cells[0]]),
    "fields swapped": lambda d: d.rewrite(lambda cells: [cells[k] for k in d.rng.permutation(len(cells))]),
    "mixed date": lambda d: _set(d, ("created_at", "won_on", "lost_on", "happened_at", "recorded_at"), DATES),
    "no number": lambda d: _set(d, ("staff", "revenue"), NUMBERS),
    "no such word": lambda d: _set(d, ("source", "newsletter", "kind"), ["NA", "maybe", "wEb", " ", "null", "2"]),
    "address elsewhere": lambda d: _set(d, ("company", "comment", "source", "kind"), ADDRESSES),
    "garbage": _garbage,
    "cut short": _cut_short,
    "tail of zeros": _zeros,
}  # fmt: skip

_HIGH = bytes(128 + k % 128 for k in range(256))


# Whole files


def _bare(change: Callable[[Draft, bytes], bytes], *, sound: bool = False) -> Damage:
    def damage(draft: Draft) -> None:
        draft.bare.append(lambda content: change(draft, content))
        draft.sound &= sound

    return damage


def _other_encoding(draft: Draft) -> None:
    """Rows whose bytes differ in another encoding are touched by it."""
    others = [codec for codec in ("utf-8", "cp1252", "utf-16-le") if codec != draft.style.codec]
    other = str(draft.rng.choice(others))
    draft.sound = False
    draft.at_risk = [line.row for line in draft.lines if line.row is not None and not line.touched]
    for line in draft.lines:
        was = line.content
        line.content = was.decode(draft.style.codec, "replace").encode(other, "replace")
        line.touched |= line.content != was
    draft.header = draft.header.decode(draft.style.codec).encode(other)
    if other == "utf-16-le" and draft.rng.random() < 0.5:
        draft.bare.append(lambda content: codecs.BOM_UTF16_LE + content)


def _header(change: Callable[[Draft, list[str]], list[str]]) -> Damage:
    def damage(draft: Draft) -> None:
        draft.sound = False
        draft.header = draft.written(change(draft, list(draft.table.header)))

    return damage


def _all_rows(change: Callable[[Draft, str], str]) -> Damage:
    def damage(draft: Draft) -> None:
        draft.sound = False
        for line in draft.lines:
            was = line.content
            text = was.decode(draft.style.codec, "replace").removesuffix(draft.style.end)
            line.content = draft.encoded(change(draft, text)) + draft.end
            line.touched |= line.content != was

    return damage


def _reordered(draft: Draft) -> None:
    """Columns in another order, header and rows alike: sound."""
    order = draft.rng.permutation(len(draft.table.header))
    draft.header = draft.written([draft.table.header[k] for k in order])
    for line in draft.lines:
        if line.row is not None and not line.touched:
            line.content = draft.written([draft.table.rows[line.row][k] for k in order])


def _wider(draft: Draft) -> None:
    """Empty columns after the last, as spreadsheets export them: sound."""
    extra = draft.encoded(draft.style.separator * 3)
    draft.header = draft.header.removesuffix(draft.end) + extra + draft.end
    for line in draft.lines:
        line.content = line.content.removesuffix(draft.end) + extra + draft.end


def _returns_alone(draft: Draft) -> None:
    """Carriage returns for line ends throughout, as old spreadsheets write: sound, where no cell holds a line end."""
    draft.header = draft.header.removesuffix(draft.end) + draft.encoded("\r")
    for line in draft.lines:
        body = line.content.removesuffix(draft.end)
        if b"\n" in body:
            line.touched = True
            body = draft.encoded(body.decode(draft.style.codec, "replace").replace("\r\n", " ").replace("\n", " "))
        line.content = body + draft.encoded("\r")


def _first(text: Callable[[Draft], str], *, sound: bool = False) -> Damage:
    """Something before the header."""

    def damage(draft: Draft) -> None:
        draft.header = draft.encoded(text(draft)) + draft.header
        draft.sound &= sound

    return damage


def _zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("leads.csv", content)
    return out.getvalue()


def _truncated(draft: Draft) -> None:
    """The file ends early, in the middle of a row."""
    draft.sound = False
    left = int(draft.rng.integers(len(draft.lines)))
    for line in draft.lines[left:]:
        line.touched = True
    draft.lines = draft.lines[: left + 1]
    _cut_short(draft)


def _mark(draft: Draft) -> bytes:
    return codecs.BOM_UTF8 if draft.style.encoding == "utf-8" else b""


FILES: dict[str, Damage] = {
    "byte order mark": _bare(lambda d, content: _mark(d) + content, sound=True),
    "packed with gzip": _bare(lambda d, content: gzip.compress(content, 1, mtime=0), sound=True),
    "no last line end": _bare(lambda d, content: content.removesuffix(d.end), sound=True),
    "empty lines at the end": _bare(lambda d, content: content + d.end * 3, sound=True),
    "columns in another order": _reordered,
    "empty columns behind": _wider,
    "returns for line ends": _returns_alone,
    "sep= line": _first(lambda d: f"sep={d.style.separator}{d.style.end}", sound=True),
    "sep= line with another sign": _first(lambda d: f"sep=^{d.style.end}"),
    "gzip cut short": _bare(lambda d, content: gzip.compress(content, 1, mtime=0)[: -int(d.rng.integers(1, 200))]),
    "gzip damaged": _bare(lambda d, content: (g := gzip.compress(content, 1, mtime=0))[:60] + b"\0" + g[61:]),
    "packed with zip": _bare(lambda d, content: _zipped(content)),
    "other encoding throughout": _other_encoding,
    "foreign byte order mark": _bare(
        lambda d, content: (codecs.BOM_UTF8 if d.style.codec != "utf-8" else codecs.BOM_UTF16_BE) + content
    ),
    "no header": _bare(lambda d, content: content[len(d.header) :]),
    "column named twice": _header(lambda d, names: [*names[:-1], names[0]]),
    "column without a name": _header(lambda d, names: ["" if k == 2 else name for k, name in enumerate(names)]),
    "last column without a name": _header(lambda d, names: [*names[:-1], ""]),
    "column missing in the header": _header(lambda d, names: names[:-1]),
    "column too many in the header": _header(lambda d, names: [*names, "extra"]),
    "header in capitals": _header(lambda d, names: [name.upper() for name in names]),
    "header with a quote": _first(lambda d: '"'),
    "empty line first": _first(lambda d: d.style.end),
    "title first": _first(lambda d: f"Export of 2024-01-05{d.style.end}"),
    "other separator throughout": _all_rows(lambda d, text: text.replace(d.style.separator, "^")),
    "trailing separator throughout": _all_rows(lambda d, text: text + d.style.separator),
    "quotes stripped throughout": _all_rows(lambda d, text: text.replace('"', "")),
    "quotes doubled throughout": _all_rows(lambda d, text: text.replace('"', '""')),
    "quotes escaped throughout": _all_rows(lambda d, text: text.replace('""', '\\"')),
    "dates in another order": _all_rows(lambda d, text: text.replace("2023-", "01/02/")),
    "file twice": _bare(lambda d, content: content + content),
    "ends early": _truncated,
    "nothing": _bare(lambda d, content: b""),
    "noise": _bare(lambda d, content: d.rng.bytes(3000)),
    "zeros": _bare(lambda d, content: bytes(3000)),
}  # fmt: skip

#: Damage of the whole file that leaves every row and the header readable as the contract says.
HARMLESS = (
    "byte order mark", "packed with gzip", "no last line end", "empty lines at the end", "columns in another order",
    "empty columns behind", "returns for line ends", "sep= line",
)  # fmt: skip


def damage(table: Table, style: Style, rng: np.random.Generator) -> Damaged:
    """Write a table and damage it: a little, a lot, in one way or in several, row by row or as a whole."""
    rows = [Line(style.write(cells), row) for row, cells in enumerate(table.rows)]
    draft = Draft(rng, table, style, style.write(table.header), rows)
    kinds: list[str] = []
    few = max(1, int(0.0099 * len(rows)))
    match rng.integers(8):
        case 0 | 1:  # one kind, a few rows: what must be accepted
            kinds = [str(rng.choice(list(ROWS)))] * int(rng.integers(1, few + 1))
        case 2 | 3:  # several kinds, a few rows
            kinds = [str(kind) for kind in rng.choice(list(ROWS), int(rng.integers(1, few + 1)))]
        case 4:  # one kind, many rows
            kinds = [str(rng.choice(list(ROWS)))] * int(rng.integers(1, max(2, len(rows) // 3)))
        case 5:  # everything at once
            kinds = [str(kind) for kind in rng.choice(list(ROWS), int(rng.integers(1, max(2, len(rows) // 5))))]
        case 6:  # the file as a whole
            kinds = [str(rng.choice(list(FILES)))]
        case _:  # a file written soundly in an unusual way, with a few rows damaged; or as a whole and row by row
            whole = str(rng.choice(list(HARMLESS if rng.random() < 0.7 else FILES)))
            kinds = [*(str(kind) for kind in rng.choice(list(ROWS), int(rng.integers(1, few + 1)))), whole]
    # Quotes meet quotes: damage of this kind is the one that swallows rows.
    if rng.random() < 0.15:
        some = [kind for kind in ROWS if kind.startswith(("quote", "text behind"))]
        kinds = [*(str(kind) for kind in rng.choice(some, int(rng.integers(2, few + 2)))), *kinds[-1:]]
    for kind in kinds:
        (ROWS.get(kind) or FILES[kind])(draft)
    content = draft.header + b"".join(line.content for line in draft.lines)
    if style.encoding == "utf-16" and not content.startswith(codecs.BOM_UTF16_LE):
        content = codecs.BOM_UTF16_LE + content
    for change in draft.bare:
        content = change(content)
    touched = sum(line.touched for line in draft.lines) + (
        len(table.rows) - sum(line.row is not None for line in draft.lines)
    )
    untouched = tuple(line.row for line in draft.lines if line.row is not None and not line.touched)
    at_risk = tuple(draft.at_risk)
    return Damaged(content, tuple(dict.fromkeys(kinds)), untouched, at_risk, touched, draft.sound)
