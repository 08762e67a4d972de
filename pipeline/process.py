"""What every process of this package sets before it imports anything heavy, and how it ends.

Thread pools read their environment once, when their library is loaded: this module must be imported first, and imports
nothing heavy itself.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import sys
from collections.abc import Callable

from pipeline.errors import ArtefactError

#: Threads that wait must not spin (a fit took 35 s instead of 1 s on a busy machine); BLAS on one thread gives the same
#: sums everywhere; no library reports on its user.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MPLBACKEND": "Agg",
    "TZ": "UTC",
}


def configure_environment() -> None:
    """Set the process environment; values already set for threads and privacy are overruled."""
    os.environ.update(ENVIRONMENT)


def settle(seed: int) -> None:
    """Seed the global generators, for libraries that ask them, and hold BLAS to one thread where it was loaded before
    the environment was set; our own code passes generators explicitly."""
    import numpy
    import threadpoolctl

    threadpoolctl.threadpool_limits(limits=1, user_api="blas")
    random.seed(seed)
    numpy.random.seed(seed)


def configure_logging(name: str) -> logging.Logger:
    """One line per act on standard error, no clock, so that logs of equal runs are equal."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logger = logging.getLogger(f"leads.{name}")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(f"{name}: %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
    return logger


def exit_code(act: Callable[[], None]) -> int:
    """Run `act`; turn an expected error into one message and its exit code, no traceback.

    Expected is what states an exit code: this package's errors, and those of a scorer, which imports nothing of ours
    and may be run by code of its own. So is a disk that is full. Notes on an error (PEP 678) are printed below it.
    """
    try:
        act()
    except Exception as error:
        code = getattr(type(error), "exit_code", None)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            code = ArtefactError.exit_code
        if not isinstance(code, int):
            raise
        sys.stderr.write("\n".join([f"error: {error}", *getattr(error, "__notes__", [])]) + "\n")
        return code
    return 0
