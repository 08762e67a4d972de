"""The one atomic writer, its readers, hashes, and the check of what stages wrote. A file is either the old one or the
new one, never half of either."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ArtefactError
from pipeline.paths import Workspace, catalogue

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Rows per row group: tables are written sorted by key in groups, so that later work can go group by group.
ROW_GROUP = 100_000

#: Rows held at once where a table is worked on part by part; results do not depend on it.
PART_ROWS = 500_000


def write_atomic(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write through a temporary file in the same folder, flush it to disk, then rename it over `path`.

    A link is written through: what it points to is replaced, the link stays.

    Raises:
        ArtefactError: `path` is a folder, a device or a pipe, or its folder cannot be written.
    """
    target = writable(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
    except OSError as fault:
        raise ArtefactError(f"{path}: cannot be written ({fault.strerror}).") from None
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def private(path: Path) -> Iterator[IO[bytes]]:
    """A file to write for as long as the block lasts: only this process writes it, and only its user may read it.

    What a killed process left is written over.

    Raises:
        ArtefactError: another process has it.
    """
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtefactError(f"another process is using {path}; wait until it has ended.") from None
        try:
            file.truncate()
            yield file
        finally:
            path.unlink(missing_ok=True)


def writable(path: Path) -> Path:
    """The regular file that writing to `path` would replace; its folder is made.

    Raises:
        ArtefactError: as `write_atomic`.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise ArtefactError(f"{path} is not a file that can be replaced; name a file.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ArtefactError(f"{path} cannot be written: {fault.strerror}.") from None
    if not os.access(target.parent, os.W_OK):
        raise ArtefactError(f"{path} cannot be written: no permission in {target.parent}.")
    return target


def write_bytes(path: Path, content: bytes) -> None:
    write_atomic(path, lambda file: _ignore(file.write(content)))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """JSON with sorted keys and no NaN, so that equal content is equal bytes."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """CSV of a result table; floats with 17 significant digits where needed, so that they read back unchanged."""
    write_text(path, csv_text(frame))


def csv_text(frame: pd.DataFrame, *, header: bool = True) -> str:
    """A table as CSV, with text in quotes where one holds a carriage return.

    Where the writer decides by itself, it takes only the line ends that it writes for a reason to quote, and whoever
    reads the file would see two rows.
    """
    texts = [frame[name] for name in frame if frame[name].dtype.kind not in "iufbM"]
    steered = any(text.astype("str").str.contains("\r", regex=False, na=False).any() for text in texts)
    return frame.to_csv(
        index=False,
        header=header,
        lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC if steered else csv.QUOTE_MINIMAL,
    )


def write_table(path: Path, frame: pd.DataFrame | Iterable[pd.DataFrame], *, row_group: int | None = None) -> None:
    """Parquet without clock times or library names. An iterable of frames is written as it comes, in row groups of
    `row_group` rows (`ROW_GROUP` by default) whatever the frames' sizes, so that the bytes do not depend on how the
    rows were parted."""

    def write(file: IO[bytes]) -> None:
        writer: pq.ParquetWriter | None = None
        for group in _row_groups([frame] if isinstance(frame, pd.DataFrame) else frame, row_group or ROW_GROUP):
            if writer is None:
                writer = pq.ParquetWriter(file, group.schema, compression="zstd", coerce_timestamps="us")
            writer.write_table(group)
        if writer is None:
            raise ValueError("write_table needs at least one frame, an empty one included")
        writer.close()

    write_atomic(path, write)


def _row_groups(frames: Iterable[pd.DataFrame], size: int) -> Iterator[pa.Table]:
    """The frames' rows, one after another, in tables of `size` rows, the last one shorter; one empty table where
    there are frames but no rows."""
    waiting: pa.Table | None = None
    written = False
    for frame in frames:
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
        waiting = table if waiting is None else pa.concat_tables([waiting, table.cast(waiting.schema)])
        while waiting.num_rows >= size:
            yield waiting.slice(0, size).combine_chunks()
            waiting, written = waiting.slice(size), True
    if waiting is not None and (waiting.num_rows or not written):
        yield waiting.combine_chunks()


def read_table(path: Path) -> pd.DataFrame:
    """Parquet as pandas: text as `str`, times as naive UTC `datetime64[us]`."""
    return pd.read_parquet(path)


@dataclass(frozen=True)
class Parts:
    """A table on disk in parts of at most `PART_ROWS` rows, at least one; every iteration reads it anew."""

    path: Path

    def __iter__(self) -> Iterator[pd.DataFrame]:
        with pq.ParquetFile(self.path) as file:
            if file.metadata.num_rows == 0:
                yield file.read().to_pandas()
            for batch in file.iter_batches(batch_size=PART_ROWS):
                yield pa.Table.from_batches([batch]).to_pandas()

    def between(self, column: str, first: Any, last: Any) -> pd.DataFrame:
        """The rows whose `column` lies in [first, last]; of a table sorted by it, only their row groups are read."""
        return pd.read_parquet(self.path, filters=[(column, ">=", first), (column, "<=", last)])

    @property
    def total(self) -> int:
        """Rows of the whole table."""
        return int(pq.read_metadata(self.path).num_rows)


def read_csv(path: Path) -> pd.DataFrame:
    """A result table; only an empty cell is missing, since `NA` may be the name of a column or a country."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""], lineterminator="\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class Results:
    """What stages wrote, checked against the manifests that they left; every manifest is read once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._manifests: dict[str, dict[str, str]] = {}

    def manifest(self, stage: str) -> dict[str, str]:
        """sha256 of every file and folder that a stage wrote.

        Raises:
            ArtefactError: the stage has not run to its end.
        """
        if stage not in self._manifests:
            path = self._workspace.path(f"{stage}/manifest.json")
            if not path.is_file():
                raise ArtefactError(f"{path} is missing; run `dvc repro {stage}` first.")
            self._manifests[stage] = read_json(path)
        return self._manifests[stage]

    def path(self, name: str) -> Path:
        """Path of the artefact `<stage>/<file>`, verified.

        Raises:
            ArtefactError: it is missing, or differs from what its stage wrote.
        """
        artefact, path = catalogue[name], self._workspace.path(name)
        expected = self.manifest(artefact.stage).get(artefact.file)
        if not path.exists() or sha256(path) != expected:
            raise ArtefactError(
                f"{path} is missing or is not what stage {artefact.stage} wrote; run `dvc repro -f {artefact.stage}`."
            )
        return path

    def table(self, name: str) -> pd.DataFrame:
        return read_table(self.path(name))

    def parts(self, name: str) -> Parts:
        return Parts(self.path(name))

    def csv(self, name: str) -> pd.DataFrame:
        return read_csv(self.path(name))

    def json(self, name: str) -> Any:
        return read_json(self.path(name))


def write_figure(path: Path, figure: Figure) -> None:
    """PNG without a clock time or library version in it."""
    write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=110, metadata={"Software": None}))


def make_once(path: Path, make: Callable[[Path], None]) -> None:
    """Where `path` is missing, let `make` write it under another name, then rename: it appears whole or not at all."""
    if path.exists():
        return
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    make(new)
    os.replace(new, path)


def shown(address: str) -> str:
    """An address without the name and password it may carry."""
    return re.sub(r"//[^/?#]*@", "//", address)


def sha256(path: Path) -> str:
    """Hash of one file, or of a folder: of the sorted list of its files' relative paths and hashes, byte code left
    out."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        parts = (f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n" for file in inside)
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ignore(_: object) -> None:
    """A writer returns nothing; `file.write` returns a count."""
