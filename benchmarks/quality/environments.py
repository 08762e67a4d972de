"""Virtual environments, one per requirements file, made when first asked for; the project's own is never touched.

They lie in `.environments/` beside this file, which git ignores. One whose requirements have changed is made anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from benchmarks import environments

HERE = Path(__file__).parent
ENVIRONMENTS = HERE / ".environments"
CACHE = HERE / ".cache"
#: The project's own environment.
OWN = "own"


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
    requirements = HERE / "requirements" / f"{name}.txt"
    return environments.made(ENVIRONMENTS / name, requirements.read_text(encoding="utf-8"))


def quiet(threads: int) -> dict[str, str]:
    """The environment variables of every process started here: `threads` threads, no report of usage to anybody.

    Threads that wait sleep: on a busy machine, waiting by spinning costs OpenMP programs most of their time.
    """
    limited = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")
    limits = {f"{name}_NUM_THREADS": str(threads) for name in limited} | {"LOKY_MAX_CPU_COUNT": str(threads)}
    limits |= {"OMP_WAIT_POLICY": "PASSIVE"}
    silence = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "WANDB_DISABLED": "true"}
    return os.environ | limits | silence | {"MPLBACKEND": "Agg", "PYTHONHASHSEED": "0"}
