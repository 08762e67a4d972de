"""The scorer as a folder: code and data, loadable by MLflow as it stands, the same bytes every time.

MLflow's own `save_model` writes a clock time and a random id; this writes the same format by hand. The code goes
under a name made from the content's hash, so that two versions load in one process.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

import pipeline.scorer
from pipeline.adapters import files, model_check
from pipeline.errors import ModelError
from pipeline.scorer.calibration import Calibration, Interval
from pipeline.scorer.margin import Margin
from pipeline.scorer.model import FORMAT, OUTPUT, content, version_of

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}.0"
DOUBLES = (
    "score",
    "probability",
    "interval_low",
    "interval_high",
    "base",
    "fit_points",
    "engagement_points",
    "expected_value",
    "value_score",
)
OUTPUT_TYPES = {"as_of": "datetime"} | dict.fromkeys(DOUBLES, "double")


def write(
    folder: Path,
    *,
    spec: dict[str, Any],
    margin: Margin,
    level: float,
    calibration: Calibration,
    interval: Interval,
    tiers: list[dict[str, Any]],
    grades: dict[str, list[float]],
    deal_values: dict[str, Any] | None = None,
) -> str:
    """Write a model folder into the empty `folder`; returns its version."""
    data, code = folder / "data", folder / "code" / "scorer"
    document, blobs = margin.files()
    files.write_json(data / "spec.json", spec)
    files.write_json(data / "margin.json", document)
    for name, blob in blobs.items():
        files.write_bytes(data / name, blob)
    files.write_json(
        data / "calibration.json",
        {
            "level": level,
            "calibration": vars(calibration),
            "interval": vars(interval),
            "tiers": tiers,
            "grades": grades,
            "deal_values": deal_values,
        },
    )
    code.mkdir(parents=True)
    for source in sorted(Path(pipeline.scorer.__file__).parent.glob("*.py")):
        shutil.copyfile(source, code / source.name)
    version = version_of(spec["contract"], content(folder))
    module = f"scorer_{version.rsplit('-', 1)[1]}"
    code.rename(code.with_name(module))
    files.write_json(data / "manifest.json", {"format": FORMAT, "version": version, "files": content(folder)})
    _describe(folder, module, spec)
    return version


def _describe(folder: Path, module: str, spec: dict[str, Any]) -> None:
    """MLmodel and the environment files, as `mlflow.pyfunc` reads them."""
    wanted = ["lead_id", "created_at", "as_of", *(column["name"] for column in spec["profile"])]
    optional = [*sorted(spec["names"]), *(fact["column"] for fact in spec["facts"]), "converted_at", "lost_at"]
    inputs = [*dict.fromkeys([*wanted, *optional]), "activities", "changes"]
    # Typed columns refuse an integer where a number is meant, and an empty column; the scorer checks every value
    # itself.
    signature = {
        "inputs": json.dumps([{"type": "any", "name": name, "required": False} for name in inputs]),
        "outputs": json.dumps(
            [{"type": OUTPUT_TYPES.get(name, "string"), "name": name, "required": False} for name in OUTPUT]
        ),
        "params": None,
    }
    requirements = [f"{name}=={metadata.version(name)}" for name in model_check.REQUIREMENTS]
    described = model_check.described(module, requirements, PYTHON)
    model = {
        "flavors": described["MLmodel"],
        "mlflow_version": metadata.version("mlflow"),
        "signature": signature,
    }
    files.write_text(folder / "MLmodel", yaml.safe_dump(model, sort_keys=True, width=1_000_000))
    files.write_text(folder / "conda.yaml", yaml.safe_dump(described["conda.yaml"]))
    files.write_text(folder / "python_env.yaml", yaml.safe_dump(described["python_env.yaml"]))
    files.write_text(folder / "requirements.txt", "\n".join(requirements) + "\n")


def load(folder: Path) -> Any:
    """The scorer of a model folder, run by the code that the folder carries, after its hashes have been verified.

    The folder's hashes are its own: that it may be loaded at all must be known from elsewhere, as `registry.resolve`
    and `adapters.verification` know it.

    Raises:
        ModelError: the folder is incomplete, altered or of another format.
    """
    model_check.check(folder, in_place=True)
    module = _module(folder, f"scorer_{model_check.version(folder).rsplit('-', 1)[1]}")
    with _spoken(getattr(module, "ScorerError", pipeline.scorer.ScorerError)):
        try:
            return module.Scorer.load(folder)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError) as fault:
            raise ModelError(
                f"{folder}: its files agree with its manifest, and hold no scorer ({type(fault).__name__}). Make it "
                "anew."
            ) from None


@contextmanager
def asking(scorer: Any, what: str) -> Iterator[None]:
    """Around calls of a scorer that `load` gave: what it raises comes as an error of ours, about `what`.

    A scorer run by the code of its folder raises that code's own class, which no other module can name.

    Raises:
        ModelError: the scorer cannot use what it was given.
    """
    with _spoken(sys.modules[type(scorer).__module__].ScorerError, f"{what}: "):
        yield


@contextmanager
def _spoken(fault: type[Exception], before: str = "") -> Iterator[None]:
    try:
        yield
    except fault as error:
        raise ModelError(f"{before}{error}") from None


def _module(folder: Path, name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    before = sys.dont_write_bytecode, sys.pycache_prefix
    # Byte code written beside the source would no longer be what was made, and byte code that lies there is not what
    # was verified: it is looked for where nothing can be.
    sys.dont_write_bytecode, sys.pycache_prefix = True, os.devnull
    sys.path.insert(0, str(folder / "code"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder / "code"))
        sys.dont_write_bytecode, sys.pycache_prefix = before
