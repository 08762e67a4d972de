"""The share of the training rows that converted, for everybody."""

from __future__ import annotations

import numpy as np
from exchange import task

if __name__ == "__main__":
    asked = task()
    asked.answer(np.full(len(asked.test), asked.outcome.mean()))
