"""Work that a killed process left beside the file it was to make, so that the next one goes on where it stood."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.adapters import files
from pipeline.errors import ArtefactError


@dataclass(frozen=True)
class Unfinished:
    """A folder for the work, and what was noted when it began; `resumed`: an earlier process began it."""

    folder: Path
    begun: dict[str, Any]
    resumed: bool


@contextmanager
def beside(out: Path, same: dict[str, Any], begin: dict[str, Any]) -> Iterator[Unfinished]:
    """A folder beside `out` for the work that makes it, named by the hash of all that the work depends on.

    It goes when the work is done, or fails before `keep` was there. One that was left by work of another kind on the
    same file is removed. Only one process works on a file at a time.

    Args:
        same: what must be the same for the work to go on, as JSON holds it.
        begin: noted where the work begins; work that goes on gets what was noted then.

    Raises:
        ArtefactError: another process is at work on this file, or nothing can be written beside it.
    """
    key = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:16]
    folder = out.with_name(f".{out.name}.{key}")
    for other in sorted(out.parent.glob(f".{glob.escape(out.name)}.{'[0-9a-f]' * 16}")):
        if other != folder and other.is_dir():
            with _locked(other, out):
                shutil.rmtree(other)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as fault:
        raise ArtefactError(f"{out}: cannot be written ({fault.strerror}).") from None
    with _locked(folder, out):
        for left in out.parent.iterdir():  # by a process killed while it wrote the result
            if re.fullmatch(rf"\.{re.escape(out.name)}\.\d+\.tmp", left.name):
                left.unlink()
        noted = folder / "begun.json"
        resumed = noted.is_file()
        if not resumed:
            files.write_json(noted, begin)
        try:
            yield Unfinished(folder, files.read_json(noted), resumed)
        except Exception as fault:
            if (folder / KEEP).exists():
                fault.add_note(
                    f"What was done so far is kept, and gone on with next time: {folder}. Delete it to drop it."
                )
            else:
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


#: While this is not there, nothing in the folder is worth keeping after an error.
KEEP = "input/parted.json"


@contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    """Alone with a folder; the lock goes with the process that holds it."""
    busy = ArtefactError(f"another process is writing {out}; wait until it has ended, or name another file.")
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        raise busy from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The folder may be another one by now, made anew by a third process.
            alone = os.path.samestat(os.fstat(descriptor), os.stat(folder))
        except (BlockingIOError, FileNotFoundError):
            alone = False
        if not alone:
            raise busy
        yield
    finally:
        os.close(descriptor)
