"""What can happen to a model folder by accident or by a clumsy hand: one way each, drawn at random."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(folder: Path, other: Path, rng: np.random.Generator) -> Path:
    """One bit of one file; every file is as likely as another."""
    path = _any(files_of(folder), rng)
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(content))
    return path


def truncate(folder: Path, other: Path, rng: np.random.Generator) -> Path:
    """One file, cut off anywhere, at its first byte too."""
    path = _any(files_of(folder), rng)
    os.truncate(path, int(rng.integers(path.stat().st_size)))
    return path


def swap(folder: Path, other: Path, rng: np.random.Generator) -> Path:
    """One file, or all of data or code, taken from another version."""
    code, theirs = (next((one / "code").iterdir()).name for one in (folder, other))
    pairs = [(path, other / str(path.relative_to(folder)).replace(code, theirs)) for path in files_of(folder)]
    differing = [(path, twin) for path, twin in pairs if twin.is_file() and path.read_bytes() != twin.read_bytes()]
    choice = int(rng.integers(len(differing) + 2))
    if choice < len(differing):
        path, twin = differing[choice]
        shutil.copyfile(twin, path)
        return path
    path = folder / ("data", "code")[choice - len(differing)]
    shutil.rmtree(path)
    shutil.copytree(other / path.name, path)
    return path


def add(folder: Path, other: Path, rng: np.random.Generator) -> Path:
    """A file more, under a name that a scorer might have, in any of its folders."""
    code = next((folder / "code").iterdir())
    places = [folder, folder / "data", folder / "code", code]
    names = ["extra.json", "member_9.ubj", "extra.py", "model.pkl", ".hidden", "sitecustomize.py", "MLmodel.bak"]
    path = _any(places, rng) / _any(names, rng)
    path.write_bytes(b"{}")
    return path


def remove(folder: Path, other: Path, rng: np.random.Generator) -> Path:
    path = _any(files_of(folder), rng)
    path.unlink()
    return path


def link(folder: Path, other: Path, rng: np.random.Generator) -> Path:
    """A file, or a folder, that is a link to the very same content elsewhere."""
    elsewhere = folder.with_name(f"{folder.name}_elsewhere")
    shutil.rmtree(elsewhere, ignore_errors=True)
    elsewhere.mkdir()
    path = _any([*files_of(folder), folder / "data", folder / "code"], rng)
    os.rename(path, elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)
    return path


Way = Callable[[Path, Path, np.random.Generator], Path]

#: Each way, and how many times the full run goes it.
WAYS: dict[Way, int] = {flip: 1000, truncate: 200, swap: 100, add: 100, remove: 50, link: 50}


def _any(things: list, rng: np.random.Generator):
    return things[int(rng.integers(len(things)))]
