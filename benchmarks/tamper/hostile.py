"""Model folders made by somebody who means harm: each would run code, or bring down who reads it, if it were believed.

Every one of them would write to a file, the canary, where its code ran.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import struct
from collections.abc import Callable
from importlib._bootstrap_external import _code_to_timestamp_pyc
from pathlib import Path

import yaml

from pipeline.scorer.model import FORMAT, content, version_of


def seal(folder: Path) -> None:
    """Make the folder's own hashes agree with what it holds now, as its maker would: manifest, names, and MLmodel."""
    code = next(path for path in (folder / "code").iterdir() if path.name.startswith("scorer_"))
    version = version_of("demo", content(folder))
    module = f"scorer_{version.rsplit('-', 1)[1]}"
    os.rename(code, code.with_name(module))
    described = (folder / "MLmodel").read_text().replace(code.name, module)
    (folder / "MLmodel").write_text(described)
    manifest = {"format": FORMAT, "version": version, "files": content(folder)}
    (folder / "data" / "manifest.json").write_text(json.dumps(manifest))


class _Payload:
    """Unpickled, it writes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def _code(folder: Path) -> Path:
    return next((folder / "code").iterdir())


def _attack(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()\n"


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def _change(folder: Path, change: Callable[[dict], object]) -> None:
    """Change MLmodel as data."""
    model = yaml.safe_load((folder / "MLmodel").read_text())
    change(model)
    (folder / "MLmodel").write_text(yaml.safe_dump(model))


def _function(folder: Path, **keys: str) -> None:
    _change(folder, lambda model: model["flavors"]["python_function"].update(keys))


def pickle_as_json(folder: Path, canary: Path) -> None:
    (folder / "data" / "spec.json").write_bytes(pickle.dumps(_Payload(canary)))


def pickle_as_trees(folder: Path, canary: Path) -> None:
    next((folder / "data").glob("*.ubj")).write_bytes(pickle.dumps(_Payload(canary)))


def pickled_model(folder: Path, canary: Path) -> None:
    (folder / "python_model.pkl").write_bytes(pickle.dumps(_Payload(canary)))
    _function(folder, loader_module="mlflow.pyfunc.model", python_model="python_model.pkl")


def pickled_flavor(folder: Path, canary: Path) -> None:
    (folder / "model.pkl").write_bytes(pickle.dumps(_Payload(canary)))
    flavor = {"pickled_model": "model.pkl", "sklearn_version": "1.9.1", "serialization_format": "pickle"}
    _change(folder, lambda model: model["flavors"].update(sklearn=flavor))


def code_when_imported(folder: Path, canary: Path) -> None:
    _append(_code(folder) / "__init__.py", _attack(canary))


def code_in_a_part(folder: Path, canary: Path) -> None:
    _append(_code(folder) / "tiers.py", _attack(canary))


def code_beside(folder: Path, canary: Path) -> None:
    """A module of the name of one that the scorer imports."""
    (folder / "code" / "dataclasses.py").write_text(_attack(canary))
    (folder / "code" / "xgboost.py").write_text(_attack(canary))


def another_loader(folder: Path, canary: Path) -> None:
    (folder / "code" / "loader.py").write_text(_attack(canary) + "def _load_pyfunc(path): ...\n")
    _function(folder, loader_module="loader")


def another_package_as_loader(folder: Path, canary: Path) -> None:
    """A second package whose name passes for a scorer's."""
    package = folder / "code" / "scorer_000000000000"
    package.mkdir()
    (package / "__init__.py").write_text(_attack(canary) + "def _load_pyfunc(path): ...\n")
    _function(folder, loader_module=package.name)


def code_outside(folder: Path, canary: Path) -> None:
    outside = folder.with_name(f"{folder.name}_outside")
    outside.mkdir(exist_ok=True)
    (outside / "outside_loader.py").write_text(_attack(canary) + "def _load_pyfunc(path): ...\n")
    _function(folder, loader_module="outside_loader", code=f"../{outside.name}")


def data_outside(folder: Path, canary: Path) -> None:
    _function(folder, data="/etc")


def byte_code(folder: Path, canary: Path) -> None:
    """Byte code that Python takes for that of the source: its time and size are those of the source."""
    source = _code(folder) / "tiers.py"
    compiled = compile(source.read_text() + _attack(canary), str(source), "exec")
    about = source.stat()
    target = Path(importlib.util.cache_from_source(str(source)))
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(_code_to_timestamp_pyc(compiled, int(about.st_mtime), about.st_size))


def extension_module(folder: Path, canary: Path) -> None:
    (_code(folder) / "tiers.abi3.so").write_bytes(b"\x7fELF" + bytes(100))


def link_to_a_file(folder: Path, canary: Path) -> None:
    path = folder / "data" / "spec.json"
    path.unlink()
    path.symlink_to("/etc/passwd")


def link_to_endless_zeros(folder: Path, canary: Path) -> None:
    path = folder / "data" / "calibration.json"
    path.unlink()
    path.symlink_to("/dev/zero")


def linked_code(folder: Path, canary: Path) -> None:
    outside = folder.with_name(f"{folder.name}_linked")
    code = _code(folder)
    os.rename(code, outside)
    _append(outside / "__init__.py", _attack(canary))
    code.symlink_to(outside)


def pipe(folder: Path, canary: Path) -> None:
    """Whoever opens it waits for ever."""
    path = folder / "data" / "spec.json"
    path.unlink()
    os.mkfifo(path)


def names_that_climb(folder: Path, canary: Path) -> None:
    manifest = json.loads((folder / "data" / "manifest.json").read_text())
    manifest["files"]["../../../etc/passwd"] = "0" * 64
    (folder / "data" / "manifest.json").write_text(json.dumps(manifest))


def trees_that_climb(folder: Path, canary: Path) -> None:
    path = folder / "data" / "margin.json"
    path.write_text(path.read_text().replace("member_0.ubj", "../../../../../../../../etc/passwd"))


def names_for_a_terminal(folder: Path, canary: Path) -> None:
    (folder / "data" / "a\n\x1b[2Jverified.json").write_text("{}")
    (folder / "data" / os.fsdecode(b"\xff\xfe.json")).write_text("{}")


def endless_json(folder: Path, canary: Path) -> None:
    """Sparse: four gibibytes that take no room on disk."""
    os.truncate(folder / "data" / "spec.json", 4 * 2**30)


def endless_manifest(folder: Path, canary: Path) -> None:
    os.truncate(folder / "data" / "manifest.json", 4 * 2**30)


def deep_manifest(folder: Path, canary: Path) -> None:
    (folder / "data" / "manifest.json").write_text("[" * 200_000)


def deep_json(folder: Path, canary: Path) -> None:
    (folder / "data" / "spec.json").write_text("[" * 200_000 + "]" * 200_000)


def manifest_of_nothing(folder: Path, canary: Path) -> None:
    """NaN and a number of five thousand digits where names, hashes and the format should stand."""
    text = '{"files": [[NaN, NaN], [{}, 1]], "format": NaN, "version": ' + "9" * 5000 + "}"
    (folder / "data" / "manifest.json").write_text(text)


def keys_that_are_no_numbers(folder: Path, canary: Path) -> None:
    path = folder / "data" / "calibration.json"
    path.write_text(path.read_text().replace('"level": 0.0', '"level": NaN, "NaN": {"NaN": -Infinity}'))


def exploding_trees(folder: Path, canary: Path) -> None:
    """UBJSON that announces an array of four billion numbers and ends there."""
    blob = b"{L" + struct.pack(">q", 7) + b"learner[$d#L" + struct.pack(">q", 2**32)
    next((folder / "data").glob("*.ubj")).write_bytes(blob)


def yaml_that_calls(folder: Path, canary: Path) -> None:
    call = f'run: !!python/object/apply:os.system ["touch {canary}"]\n'
    (folder / "MLmodel").write_text((folder / "MLmodel").read_text() + call)


def yaml_that_explodes(folder: Path, canary: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
    (folder / "MLmodel").write_text("\n".join(lines))


def yaml_that_does_not_fit(folder: Path, canary: Path) -> None:
    for name, text in (("conda.yaml", "!!bool x"), ("python_env.yaml", "!!int ''"), ("MLmodel", "!!timestamp x")):
        (folder / name).write_text(text)


def another_package_source(folder: Path, canary: Path) -> None:
    path = folder / "requirements.txt"
    path.write_text("--index-url http://127.0.0.1:9/\n" + path.read_text() + "scorer-tools\n")


def two_thousand_files(folder: Path, canary: Path) -> None:
    for k in range(2_000):
        (folder / "data" / f"part_{k}.json").touch()


ATTACKS = (
    pickle_as_json,
    pickle_as_trees,
    pickled_model,
    pickled_flavor,
    code_when_imported,
    code_in_a_part,
    code_beside,
    another_loader,
    another_package_as_loader,
    code_outside,
    data_outside,
    byte_code,
    extension_module,
    link_to_a_file,
    link_to_endless_zeros,
    linked_code,
    pipe,
    names_that_climb,
    trees_that_climb,
    names_for_a_terminal,
    endless_json,
    endless_manifest,
    deep_manifest,
    deep_json,
    manifest_of_nothing,
    keys_that_are_no_numbers,
    exploding_trees,
    yaml_that_calls,
    yaml_that_explodes,
    yaml_that_does_not_fit,
    another_package_source,
    two_thousand_files,
)

#: These are about the folder's hashes, or cannot be hashed.
UNSEALABLE = (
    link_to_endless_zeros,
    pipe,
    names_that_climb,
    names_for_a_terminal,
    endless_json,
    endless_manifest,
    deep_manifest,
    manifest_of_nothing,
    two_thousand_files,
)

#: Those whose makers also make the folder's hashes agree.
SEALED = tuple(attack for attack in ATTACKS if attack not in UNSEALABLE)

#: Sealed ones that only a signature tells from a scorer: they look like one, and a registry that somebody else writes
#: to may vouch for them.
PASSING = (
    pickle_as_json,
    pickle_as_trees,
    code_when_imported,
    code_in_a_part,
    trees_that_climb,
    deep_json,
    keys_that_are_no_numbers,
    exploding_trees,
)
