"""`leads init` and `leads use`: from files on disk to a contract in `data/contracts/`, and the line that names it.

The files are read by the strict reader, and looked at on rows spread over all of them; the contract is written as YAML
with a comment on every guess. Nothing that exists is overwritten, unless it is asked for.
"""

from __future__ import annotations

import filecmp
import glob
import os
import re
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from pipeline import params as params_module
from pipeline.adapters import files, sources
from pipeline.errors import ArtefactError, ContractError, ParamsError, SourceError
from pipeline.leads import leakage
from pipeline.leads.contract import parse, resolve
from pipeline.leads.declarations import declare
from pipeline.leads.proposal import Proposal, propose
from pipeline.leads.proposal_draft import Table, Wishes
from pipeline.leads.specification import specify
from pipeline.params import Params, load_yaml
from pipeline.paths import Workspace

#: Rows that a table is judged on; of longer ones every second, fourth, ... row is taken.
LOOKED_AT = 100_000

#: A contract names no column by more characters.
LONGEST_NAME = 200

#: Width of the contract's lines, and of the columns shown on the terminal.
WIDTH = 120
SHOWN_NAME, SHOWN_NOTE = 34, 62

_WHOLE_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}

#: Columns with a note; of more, the rest is counted.
SHOWN_COLUMNS = 200


@dataclass(frozen=True)
class Written:
    """A contract that was proposed and written: where it is, where its files lie, and what to say about it."""

    path: Path
    name: str
    proposal: Proposal
    placed: list[str]


def init(
    workspace: Workspace,
    params: Params,
    given: dict[str, list[str]],
    *,
    name: str | None,
    wishes: Wishes,
    force: bool,
    log: Callable[[str], None],
) -> Written:
    """Read files, propose a contract for them, put links to them below `data/raw/`, and write it.

    Args:
        given: table -> paths or patterns as they were typed; `leads` is among them.
        name: of the contract; None makes one of the first file's name.
        force: whether a contract of that name may be replaced.

    Raises:
        ParamsError: the name is no name, or the contract exists and `force` is False.
        SourceError: a file is missing or cannot be read.
        ContractError: no sound contract can be proposed.
        ArtefactError: another file lies where a link would go.
    """
    found = {table: [path for text in texts for path in _matching(text)] for table, texts in given.items() if texts}
    name = _named(name, found["leads"][0])
    path = workspace.contract(name)
    if path.exists() and not force:
        raise ParamsError(f"{path} exists; choose another --name, or replace it with --force.")
    max_bytes = params.ingest.max_file_mib * 2**20
    tables, places = {}, {}
    for table, paths in found.items():
        places[table] = [_place(workspace, name, one) for one in paths]
        tables[table] = look(paths, [place.relative for place in places[table]], max_bytes=max_bytes)
        seen = tables[table]
        for sentence in seen.notes:
            log(sentence)
        looked = "" if seen.complete else f", looked at {len(seen.cells):,} of them, spread evenly"
        log(f"{table}: {seen.rows:,} rows, {len(seen.cells.columns)} columns{looked}")
    proposal = propose(name, tables, wishes, params)
    text = as_yaml(proposal, _heading(found, tables))
    contract = parse(yaml.safe_load(text), file=str(path))
    if contract != parse(proposal.content, file=str(path)):
        raise ContractError(f"{path}: a name in the files cannot be written as YAML; rename the columns in the files.")
    resolved = resolve(contract)
    declare(resolved, None)
    specify(resolved, params.featurize)
    placed = [line for places_ in places.values() for place in places_ if (line := place.put())]
    files.write_text(path, text)
    return Written(path, name, proposal, placed)


def use(workspace: Workspace, name: str) -> str | None:
    """Set `run.contract` in params.yaml, that one line and nothing else; None where it says so already.

    Returns:
        The contract that was named before.

    Raises:
        ContractError: there is no sound contract of that name.
        ParamsError: params.yaml is faulty, or does not name its contract on a line of its own.
    """
    before = params_module.load(workspace.params).run.contract
    sources.read_contract(workspace, name)
    if before == name:
        return None
    text = workspace.params.read_text(encoding="utf-8")
    line = re.compile(r"(?ms)^(run:[^\n]*\n(?:[ \t]+[^\n]*\n|[ \t]*#[^\n]*\n|\s*\n)*?[ \t]+contract:[ \t]*)([^\s#]+)")
    changed, n = line.subn(lambda found: found.group(1) + name, text, count=1)
    expected = load_yaml(workspace.params, ParamsError)
    assert isinstance(expected, dict), "params.yaml was read before"
    expected["run"]["contract"] = name
    if n != 1 or yaml.safe_load(changed) != expected:
        raise ParamsError(
            f"{workspace.params}: `run.contract` stands on no line of its own; write `contract: {name}` there by hand."
        )
    files.write_text(workspace.params, changed)
    return before


# Files


def _matching(text: str) -> list[Path]:
    """The file of a path, or the files of a pattern in order of their names."""
    path = Path(text)
    if path.is_file():
        return [path]
    found = sorted(Path(one) for one in glob.glob(text) if Path(one).is_file())
    if not found:
        what = "is a folder; name the files in it" if path.is_dir() else "no such file"
        raise SourceError(f"{text}: {what}.")
    return found


def _named(name: str | None, first: Path) -> str:
    """The contract's name: as asked for, or the file's made valid."""
    if name is not None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ParamsError(f"--name {name}: a name takes small letters, digits and `_`, a letter first.")
        return name
    stem = re.sub(r"[^a-z0-9]+", "_", first.name.split(".")[0].lower()).strip("_")
    return stem if re.match(r"[a-z]", stem) else f"leads_{stem}".rstrip("_")


@dataclass(frozen=True)
class _Place:
    """Where a file is to be found below `data/raw/`: there already, or by a link that is still to be made."""

    file: Path
    target: Path
    relative: str

    def put(self) -> str:
        """Link the file, or copy it where links are not possible; what was done, in words."""
        if self.target.exists() or self.target.is_symlink():
            return ""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        shown = Path("data") / "raw" / self.relative
        try:
            os.symlink(self.file.resolve(), self.target)
        except OSError:
            shutil.copyfile(self.file, self.target)
            return f"{shown}: a copy of {self.file}, since links are not possible here"
        return f"{shown}: a link to {self.file.resolve()}"


def _place(workspace: Workspace, name: str, file: Path) -> _Place:
    absolute = Path(os.path.abspath(file))
    raw = Path(os.path.abspath(workspace.raw))
    if absolute.is_relative_to(raw):
        return _Place(file, absolute, absolute.relative_to(raw).as_posix())
    target = raw / name / file.name
    if target.is_symlink() and not target.exists():
        raise ArtefactError(f"{target} is a link to a file that is gone; remove it, then try again.")
    if target.exists() and not (target.samefile(file) or filecmp.cmp(target, file, shallow=False)):
        raise ArtefactError(f"{target} is another file; remove it, or choose another --name.")
    return _Place(file, target, f"{name}/{file.name}")


def look(paths: list[Path], relative: list[str], *, max_bytes: int) -> Table:
    """Read the files of one table: some rows of them all, and of every row what takes all of them.

    Raises:
        SourceError: a file is too large or cannot be read, or the files have unlike columns or forms.
    """
    guess = sources.guess(paths, max_bytes=max_bytes)
    kept: list[pd.DataFrame] = []
    step, rows, refused = 1, 0, 0
    header: list[str] | None = None
    across: dict[str, _Across] = {}
    for path in paths:
        before = rows
        for part in sources.read_parts(path, guess.file, str(path), max_bytes=max_bytes):
            cells = part.cells
            if header is None:
                header = _names(cells, path)
            if list(cells.columns) != header:
                raise SourceError(f"{path}: has other columns than {paths[0]}; files of one table have the same.")
            refused += len(part.refused)
            rows += len(cells) + len(part.refused)
            for column in header:
                across.setdefault(column, _Across()).add(cells[column].mask(cells[column] == ""))
            numbered = cells.set_axis(pd.Index(cells.index + before, dtype="int64"))
            kept.append(numbered[(numbered.index - 1) % step == 0])
            while sum(map(len, kept)) > LOOKED_AT:
                step *= 2
                kept = [one[(one.index - 1) % step == 0] for one in kept]
    cells = pd.concat(kept)
    if not len(cells):
        raise SourceError(f"{paths[0]}: has no rows below its header; there is nothing to look at.")
    where = {"path": relative[0]} if len(relative) == 1 else {"paths": relative}
    return Table(
        cells=cells.mask(cells == ""),
        rows=rows - refused,
        repeats={column: one.repeats for column, one in across.items()},
        source=where | guess.file.model_dump(exclude={"path", "paths", "url", "sha256"}, exclude_defaults=True),
        notes=guess.sentences
        if not refused
        else (*guess.sentences, f"{refused:,} rows cannot be read and are refused."),
    )


def _names(cells: pd.DataFrame, path: Path) -> list[str]:
    names = [str(name) for name in cells]
    if long := [place for place, name in enumerate(names, 1) if len(name) > LONGEST_NAME]:
        raise SourceError(
            f"{path}: the name of column {', '.join(map(str, long))} is longer than {LONGEST_NAME} characters; "
            "shorten it."
        )
    return names


class _Across:
    """How often the values of a column repeat, which only all rows can say."""

    def __init__(self) -> None:
        self._hashes: list[np.ndarray] | None = []

    def add(self, cells: pd.Series) -> None:
        given = cells.dropna()
        if self._hashes is not None and len(given):
            hashes = pd.util.hash_pandas_object(given, index=False, categorize=False).to_numpy()
            # A column that repeats itself this often within a part is no key: its hashes need not be kept.
            if len(np.unique(hashes)) < 0.5 * len(hashes):
                self._hashes = None
            else:
                self._hashes.append(hashes)

    @property
    def repeats(self) -> float:
        """Share of the values given that stand in an earlier row too, 1 where it is more than half."""
        if not self._hashes:
            return 1.0
        every = np.concatenate(self._hashes)
        return 1 - len(np.unique(every)) / len(every)


# The contract as text


def _heading(found: dict[str, list[Path]], tables: dict[str, Table]) -> list[str]:
    named = "; ".join(
        f"{table}: {', '.join(path.name for path in paths)} ({tables[table].rows:,} rows)"
        for table, paths in found.items()
    )
    return [
        f"Proposed by `leads init`. {named}.",
        "Every guess carries a comment. What a person must still decide is marked `undecided`: such columns stay out "
        "of the model until then. Keys are described in docs/contracts.md, the next steps in docs/bring_your_own.md.",
    ]


def as_yaml(proposal: Proposal, heading: list[str]) -> str:
    """The contract as YAML, comments above or beside what they are about."""
    lines: list[str] = []
    for paragraph in heading:
        _above(lines, paragraph, "")
    for key, value in proposal.content.items():
        if isinstance(value, dict) or key == "key":
            lines.append("")
        _emit(lines, key, value, "", (key,), proposal.comments)
    return "\n".join(lines) + "\n"


def _emit(
    lines: list[str], key: str, value: Any, indent: str, path: tuple[str, ...], comments: dict[tuple[str, ...], str]
) -> None:
    said = comments.get((*path, ""), "")
    remark = comments.get(path, "")
    if said:
        _above(lines, said, indent)
    if isinstance(value, dict) and value and not _short(value, path):
        if remark:
            _above(lines, remark, indent)
        lines.append(f"{indent}{scalar(key)}:")
        for place, (inner, held) in enumerate(value.items()):
            if place and path == ("columns",):
                lines.append("")
            _emit(lines, inner, held, indent + "  ", (*path, inner), comments)
        return
    text = f"{indent}{scalar(key)}: {_flow(value)}"
    if isinstance(value, list) and len(text) > WIDTH:
        if remark:
            _above(lines, remark, indent)
        lines.append(f"{indent}{scalar(key)}:")
        lines.extend(f"{indent}  - {_flow(one)}" for one in value)
    elif isinstance(value, str) and len(text) > WIDTH and value == " ".join(value.split()):
        if remark:
            _above(lines, remark, indent)
        lines.append(f"{indent}{scalar(key)}: >-")
        lines.extend(f"{indent}  {line}" for line in textwrap.wrap(value, WIDTH - len(indent) - 2, **_WHOLE_WORDS))
    elif remark and len(text) + len(remark) + 3 <= WIDTH:
        lines.append(f"{text} # {remark}")
    else:
        if remark:
            _above(lines, remark, indent)
        lines.append(text)


def _short(value: dict[str, Any], path: tuple[str, ...]) -> bool:
    """Kinds of activities stand on one line each."""
    return path[:2] == ("activities", "kinds") and len(path) == 3


def _above(lines: list[str], text: str, indent: str) -> None:
    clean = " ".join(text.split())
    lines.extend(f"{indent}# {line}" for line in textwrap.wrap(clean, WIDTH - len(indent) - 2, **_WHOLE_WORDS))


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(one) for one in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return scalar(value) if isinstance(value, str) else str(value)


def scalar(text: str) -> str:
    """A text as YAML that reads back as that text, on one line: plain where that is safe, else within quotes."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_./%-]*(?: [A-Za-z0-9_./%-]+)*", text) and yaml.safe_load(text) == text:
        return text
    return str(
        yaml.dump(text, Dumper=yaml.SafeDumper, default_style='"', width=10**9, allow_unicode=True)
    ).removesuffix("\n")


# What to say on the terminal


def in_words(written: Written) -> str:
    """The proposal for the terminal: columns, suspects of a leak, open decisions, what to type next."""
    proposal = written.proposal
    outcome, time = proposal.content["outcome"], proposal.content["time"]
    converted = outcome.get("converted_at") or f"{outcome['column']} = {outcome['positive']}"
    if "closed_at" in outcome:
        converted += f", dated by {outcome['closed_at']}"
    axis = {"column": time.get("column"), "row_order": "the order of the rows", "none": "NONE: split at random"}
    lines = [
        "",
        f"Key       {proposal.content['key']}",
        f"Time      {axis[time['kind']]}",
        f"Outcome   {converted}" + (f", within {outcome['horizon_days']} days" if outcome["horizon_days"] else ""),
        "",
        *_table(proposal.columns),
    ]
    known = dict(zip(proposal.columns["column"], proposal.columns["known_at"], strict=True))
    for verdict, title in ((leakage.LEAK, "Leaks, left out"), (leakage.SUSPECT, "Suspects of a leak")):
        mine = proposal.suspects[proposal.suspects["verdict"] == verdict]
        if len(mine):
            lines += ["", f"{title} ({len(mine)})"]
        for row in mine.itertuples():
            stays = " (stays in: its changes say what was known when)" if known[row.column] == "over_time" else ""
            lines += _wrapped(f"{row.column}: {row.evidence}{stays}")
    lines += ["", f"For a person to decide ({len(proposal.decisions)})"]
    lines += [line for sentence in proposal.decisions for line in _wrapped(sentence)]
    lines += ["", *written.placed, f"{written.path}: the contract; every guess carries a comment", ""]
    lines += [
        f"Next               leads use {written.name}",
        "                   make repro      (or: dvc repro && leads summary)",
        "                   It runs as it stands; undecided columns stay out until someone decides.",
    ]
    return "\n".join(lines)


def _table(columns: pd.DataFrame) -> list[str]:
    shown = columns.head(SHOWN_COLUMNS).rename(columns={"known_at": "known at"})
    shown = shown.assign(column=[_cut(name, SHOWN_NAME) for name in shown["column"]])
    shown = shown.assign(note=[_cut(note, SHOWN_NOTE) for note in shown["note"]])
    widths = [max(len(str(name)), *(len(str(cell)) for cell in shown[name])) for name in shown]
    made = ["  ".join(str(name).ljust(width) for name, width in zip(shown, widths, strict=True)).rstrip()]
    for row in shown.to_numpy():
        made.append("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if len(columns) > SHOWN_COLUMNS:
        made.append(f"and {len(columns) - SHOWN_COLUMNS} more")
    return made


def _cut(text: str, width: int) -> str:
    flat = " ".join(str(text).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(
        " ".join(sentence.split()), WIDTH, initial_indent="  - ", subsequent_indent="    ", **_WHOLE_WORDS
    )
