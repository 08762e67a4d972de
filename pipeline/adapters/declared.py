"""What people declare in a YAML file of its own, named like the file: contracts, points cards, playbooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.params import load_yaml


class Named(Protocol):
    """What a file declares under its own name."""

    @property
    def name(self) -> str: ...


Declared = TypeVar("Declared", bound=Named)


def read(path: Path, kind: str, parse: Callable[..., Declared], fault: type[Exception], *, advice: str) -> Declared:
    """Read `<name>.yaml` and check it.

    Args:
        kind: what it is, in a word. `parse`: takes the content and `file`, its place for error texts. `advice`: what to
            do where the file is missing, a whole sentence.

    Raises:
        fault: it is missing (the ones there are listed), faulty, or names itself otherwise.
    """
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
        raise fault(f"{path}: no such {kind}. In that folder: {there}. {advice}")
    found = parse(load_yaml(path, fault), file=str(path))
    if found.name != path.stem:
        raise fault(f"{path}: name: `{found.name}` is not the file's name, `{path.stem}`; make them the same.")
    return found
