"""What a model folder must look like, checked before MLflow or a parser touches anything in it.

Files first, by name, kind and size, without opening one; then hashes; then what MLmodel and the environment files say,
because MLflow imports what the first names and installs what the others name. Nothing in the folder is ever run.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pipeline.adapters import files
from pipeline.errors import ModelError

MIB = 2**20

#: Every file that a model folder may hold: its path within, and the most bytes it may have. The first that fits counts.
ALLOWED = (
    (re.compile(r"MLmodel|conda\.yaml|python_env\.yaml|requirements\.txt|data/manifest\.json"), MIB),
    (re.compile(r"code/scorer_[0-9a-f]{12}/[a-z_][a-z0-9_]*\.py"), MIB),
    (re.compile(r"data/[a-z][a-z0-9_]*\.(json|ubj)"), 256 * MIB),
)
FOLDERS = re.compile(r"data|code|code/scorer_[0-9a-f]{12}")
REQUIRED = ("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "data/manifest.json")

#: A scorer has some thirty files; a folder with more than this is not looked at further.
MOST_ENTRIES = 1000

#: Faults and names beyond these are counted, not listed: what is listed may be somebody's attempt to flood a terminal.
SHOWN, LONGEST = 10, 120

#: Why a file is refused, where its kind says more than its name.
KINDS = (
    (re.compile(r"(.*/)?[^/]*\.(pkl|pickle|cloudpickle|joblib|dill|skops|npy|npz|pt|pth|bin)"), "may hold a pickle"),
    (
        re.compile(r"(.*/)?(__pycache__|[^/]*\.py[co])"),
        "byte code, which Python would run in place of the source; remove it",
    ),
    (re.compile(r"(.*/)?[^/]*\.(so|pyd|dylib|dll)"), "a library that Python would load in place of the source"),
    (re.compile(r"registered_model_meta"), "MLflow leaves it beside what it pulls; remove it, then verify"),
)


@dataclass(frozen=True)
class Entry:
    """One thing in a folder: `path` within it with `/` between the parts, and `size` in bytes (0 but for a file)."""

    path: str
    kind: Literal["file", "folder", "link", "other"]
    size: int


def check(folder: Path, *, vouch: Callable[[str], list[str]] | None = None, in_place: bool = False) -> None:
    """Refuse a folder that is not a scorer's, whole and unaltered; arguments as `faults`.

    Raises:
        ModelError: every fault that was found.
    """
    if found := faults(folder, vouch=vouch, in_place=in_place):
        raise ModelError(listed(f"{files.shown(str(folder))} is no scorer that can be used", found))


def faults(
    folder: Path,
    *,
    sha256: str | None = None,
    vouch: Callable[[str], list[str]] | None = None,
    in_place: bool = False,
) -> list[str]:
    """What speaks against a model folder, one sentence each; none where nothing does.

    Args:
        sha256: hash that the whole folder must have, as `files.sha256` gives it; None where none is known.
        vouch: given the folder's hash, says what keeps others from vouching for it.
        in_place: byte code may lie beside the source, as Python leaves it; for who never reads it
            (`model_folder.load`).

    Of what the files say, only the manifest is read before names, kinds, sizes, hashes and others have had their say.
    """
    from pipeline.scorer.model import ScorerError, verify

    try:
        if found := shape(entries(folder, in_place=in_place)):
            return found
        actual = files.sha256(folder)
        if sha256 not in (None, actual):
            found.append(f"its files have the sha256 {actual}, and {said(str(sha256))} was expected")
        found += vouch(actual) if vouch else []
        called = verify(folder)
    except ScorerError as fault:
        return [*found, str(fault)]
    except OSError as fault:
        return [f"it cannot be read ({fault.strerror})"]
    return found or [*_names(folder, called)]


def version(folder: Path) -> str:
    """What a folder without faults calls itself, `<contract>-<12 digits>`."""
    return str(files.read_json(folder / "data" / "manifest.json")["version"])


# Names, kinds and sizes


def entries(folder: Path, *, in_place: bool = False) -> list[Entry]:
    """What lies in a folder, at most `MOST_ENTRIES` and one; a folder that no scorer has is named, not entered."""
    found: list[Entry] = []
    for entry in _walk(folder, "", in_place):
        found.append(entry)
        if len(found) > MOST_ENTRIES:
            break
    return found


def _walk(folder: Path, within: str, in_place: bool) -> Iterator[Entry]:
    with os.scandir(folder / within) as listing:
        for one in sorted(listing, key=lambda one: one.name):
            path, about = f"{within}{one.name}", one.stat(follow_symlinks=False)
            if stat.S_ISDIR(about.st_mode):
                if in_place and re.fullmatch(r"code/scorer_[0-9a-f]{12}/__pycache__", path):
                    continue
                yield Entry(path, "folder", 0)
                if FOLDERS.fullmatch(path):
                    yield from _walk(folder, f"{path}/", in_place)
            elif stat.S_ISREG(about.st_mode):
                yield Entry(path, "file", about.st_size)
            else:
                yield Entry(path, "link" if stat.S_ISLNK(about.st_mode) else "other", 0)


def shape(found: Iterable[Entry]) -> list[str]:
    """What speaks against the names, kinds and sizes of a folder's entries."""
    found = list(found)
    if len(found) > MOST_ENTRIES:
        return [f"it holds more than {MOST_ENTRIES:,} files"]
    against = [f"{said(entry.path)}: {fault}" for entry in found if (fault := _against(entry))]
    held = {entry.path for entry in found if entry.kind == "file"}
    packages = sorted({path.split("/")[1] for path in held if path.startswith("code/") and path.count("/") == 2})
    against += [f"{path}: missing" for path in REQUIRED if path not in held]
    if len(packages) != 1:
        against.append(f"code/: holds {len(packages)} folders of code, where a scorer has one")
    elif f"code/{packages[0]}/__init__.py" not in held:
        against.append(f"code/{said(packages[0])}/__init__.py: missing")
    return against


def _against(entry: Entry) -> str:
    if entry.kind in ("link", "other"):
        return "a link; a scorer holds files only" if entry.kind == "link" else "neither a file nor a folder"
    if entry.kind == "folder":
        return "" if FOLDERS.fullmatch(entry.path) else _kind(entry.path) or "a folder that no scorer has"
    most = next((most for pattern, most in ALLOWED if pattern.fullmatch(entry.path)), None)
    if most is None:
        return _kind(entry.path) or "no scorer has a file of this name"
    return f"{entry.size:,} bytes, where {most:,} are the most" if entry.size > most else ""


def _kind(path: str) -> str:
    return next((why for pattern, why in KINDS if pattern.fullmatch(path)), "")


# What MLflow would import and install


def described(module: str, requirements: list[str], python: str) -> dict[str, Any]:
    """The flavors in MLmodel, and the content of conda.yaml and python_env.yaml.

    Args:
        module: name of the folder's code, `scorer_<12 digits>`.
        requirements: `<package>==<version>`, as in requirements.txt.
        python: version, as `3.11.0`.
    """
    return {
        "MLmodel": {
            "python_function": {
                "code": "code",
                "data": "data",
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": module,
                "python_version": python,
            }
        },
        "conda.yaml": {
            "channels": ["conda-forge"],
            "dependencies": [f"python={python}", "pip", {"pip": requirements}],
            "name": "mlflow-env",
        },
        "python_env.yaml": {
            "python": python,
            "build_dependencies": ["pip"],
            "dependencies": ["-r requirements.txt"],
        },
    }


#: What a serving environment needs; `xgboost-cpu` of the same version serves as well and is smaller.
REQUIREMENTS = ("mlflow", "numpy", "pandas", "xgboost")

_PINS = re.compile("".join(rf"{name}==[0-9][0-9a-z.]*\n" for name in REQUIREMENTS))
_PYTHON = re.compile(r"3\.[0-9]{1,2}\.[0-9]{1,2}")


def _names(folder: Path, called: str) -> Iterator[str]:
    """What MLmodel and the environment files name beside the folder's own code and the pinned packages."""
    module = f"scorer_{called.rsplit('-', 1)[1]}"
    if not (folder / "code" / module).is_dir():
        yield f"code/: its folder is not named {said(module)}, after the version {said(called)}"
        return
    pins = (folder / "requirements.txt").read_bytes().decode("utf-8", "replace")
    if not _PINS.fullmatch(pins):
        yield f"requirements.txt: names something else than exact versions of {', '.join(REQUIREMENTS)}"
        return
    model, environment = _yaml(folder / "MLmodel"), _yaml(folder / "python_env.yaml")
    python = environment.get("python") if isinstance(environment, dict) else None
    if not isinstance(python, str) or not _PYTHON.fullmatch(python):
        yield "python_env.yaml: names no Python version"
        return
    expected = described(module, pins.splitlines(), python)
    if not isinstance(model, dict) or model.keys() - {"flavors", "mlflow_version", "signature"}:
        yield "MLmodel: holds something that no scorer's has"
    elif model.get("flavors") != expected["MLmodel"]:
        yield f"MLmodel: names another loader than {module}, or another flavor, folder or environment than a scorer's"
    for name, content in (("conda.yaml", _yaml(folder / "conda.yaml")), ("python_env.yaml", environment)):
        if content != expected[name]:
            yield f"{name}: names another environment than requirements.txt"


def _yaml(path: Path) -> Any:
    """Content of a small YAML file; None where it cannot be read, whatever the reason."""
    try:
        return yaml.safe_load(path.read_bytes())
    # What its constructors raise on values that do not fit their tags is no error of YAML.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return None


# Words


def listed(what: str, found: list[str]) -> str:
    """`what`, and below it what was found, one line each."""
    more = [f"and {len(found) - SHOWN:,} more"] if len(found) > SHOWN else []
    return "\n".join([f"{what}:", *(f"  - {one}" for one in [*found[:SHOWN], *more])])


def said(name: str) -> str:
    """A name from the folder as it may be printed: in ASCII, without control characters, and not endless."""
    plain = ascii(name)[1:-1]
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}..."
