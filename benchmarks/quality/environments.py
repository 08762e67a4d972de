"""Virtual environments, one per requirements file, made when first asked for; the project's own is never touched.

They lie in `.environments/` beside this file, which git ignores. One whose requirements have changed is made anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = HERE / ".environments"
CACHE = HERE / ".cache"
#: Says which requirements an environment was made from.
STAMP = "requirements.sha256"
#: The project's own environment.
OWN = "own"


class EnvironmentFailed(Exception):
    """An environment could not be made; the message holds what pip said last."""


def requirements_hash(name: str) -> str:
    """sha256 of what decides the versions in an environment: its requirements, or for `OWN` the project's lock file."""
    file = HERE.parents[1] / "requirements.lock" if name == OWN else HERE / "requirements" / f"{name}.txt"
    return hashlib.sha256(file.read_bytes()).hexdigest()


def interpreter(name: str) -> Path:
    """The Python of an environment; makes the environment where it lacks or is outdated.

    Raises:
        EnvironmentFailed: pip could not install it.
    """
    if name == OWN:
        return Path(sys.executable)
    folder, wanted = ENVIRONMENTS / name, requirements_hash(name)
    python, stamp = folder / "bin" / "python", folder / STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing the environment of {name}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    requirements = HERE / "requirements" / f"{name}.txt"
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise EnvironmentFailed(done.stderr.strip()[-500:])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def quiet(threads: int) -> dict[str, str]:
    """The environment variables of every process started here: `threads` threads, no report of usage to anybody.

    Threads that wait sleep: on a busy machine, waiting by spinning costs OpenMP programs most of their time.
    """
    limited = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")
    limits = {f"{name}_NUM_THREADS": str(threads) for name in limited} | {"LOKY_MAX_CPU_COUNT": str(threads)}
    limits |= {"OMP_WAIT_POLICY": "PASSIVE"}
    silence = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "WANDB_DISABLED": "true"}
    return os.environ | limits | silence | {"MPLBACKEND": "Agg", "PYTHONHASHSEED": "0"}
