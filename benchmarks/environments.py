"""Virtual environments for what is measured beside the project; its own is never touched."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

#: Says what an environment was made from.
STAMP = "requirements.sha256"
_PIN = re.compile(r"^([A-Za-z0-9_.-]+==[^ \\\n]+)( ;[^\\\n]*)?", re.MULTILINE)


class EnvironmentFailed(Exception):
    """An environment could not be made; the message holds what pip said last."""


def made(folder: Path, requirements: str, constraints: str = "") -> Path:
    """The Python of the environment in `folder`, made anew where it is missing or of other requirements.

    Args:
        requirements, constraints: text of the files of those names, as pip reads them.

    Raises:
        EnvironmentFailed: pip could not install it.
    """
    wanted = hashlib.sha256((requirements + constraints).encode()).hexdigest()
    python, stamp = folder / "bin" / "python", folder / STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing the environment {folder.name}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "venv", folder)
    for name, text in (("requirements", requirements), ("constraints", constraints)):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    told = ["--requirement", folder / "requirements.txt", "--constraint", folder / "constraints.txt"]
    run(python, "-m", "pip", "install", "--quiet", *told)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def locked(lock: Path) -> str:
    """The versions of a lock file as constraints: the same ones, without hashes."""
    return "".join(f"{pin}{marker}\n" for pin, marker in _PIN.findall(lock.read_text(encoding="utf-8")))


def pinned(names: Iterable[str], constraints: str) -> str:
    """Requirements that name these packages in the versions of the constraints."""
    versions = dict(line.split(" ;")[0].split("==") for line in constraints.splitlines())
    return "".join(f"{name}=={versions[name]}\n" for name in names)


def run(*command: str | Path) -> None:
    """Run one command.

    Raises:
        EnvironmentFailed: it did not end well.
    """
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise EnvironmentFailed(done.stderr.strip()[-500:])
