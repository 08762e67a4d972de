"""What every rival's script reads and writes.

    python SCRIPT.py TRAIN.csv TEST.csv OUT.csv --target y [--seconds 150] [--seed 1] [--threads 2] [--drop COLUMN]...
        [--time-ordered]

OUT.csv gets one column, `probability`, one row per row of TEST.csv in the same order.
"""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Task:
    """What a rival may know.

    `train`, `test`: (rows × columns), the same columns; each column holds numbers (float) or text (object, missing as
    None). `outcome`: 0 or 1, (train rows,). `texts`: the columns that hold text. `seconds`: time for fitting.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    outcome: np.ndarray
    texts: list[str]
    seconds: float
    seed: int
    threads: int
    time_ordered: bool
    out: str

    @property
    def numbers(self) -> list[str]:
        return [name for name in self.train.columns if name not in self.texts]

    def categories(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Train and test with text as categories, the same levels in both; one that only the test has is missing."""
        train, test = self.train.copy(), self.test.copy()
        for name in self.texts:
            train[name] = train[name].astype("category")
            test[name] = pd.Categorical(test[name], categories=train[name].cat.categories)
        return train, test

    def named(self, missing: str = "missing") -> tuple[pd.DataFrame, pd.DataFrame]:
        """Train and test with missing text as a level of its own."""
        filled = [frame.copy() for frame in (self.train, self.test)]
        for frame in filled:
            for name in self.texts:
                frame[name] = frame[name].map(lambda value: missing if value is None else value).astype(object)
        return filled[0], filled[1]

    def answer(self, probabilities: np.ndarray) -> None:
        """Write the chances of the test rows, (test rows,), in [0, 1].

        Raises:
            ValueError: they are not as many, or not chances.
        """
        given = np.asarray(probabilities, dtype=float)
        if given.shape != (len(self.test),):
            raise ValueError(f"{given.shape} chances for {len(self.test)} rows")
        if not np.isfinite(given).all() or given.min() < 0 or given.max() > 1:
            raise ValueError("some chances are missing or outside of 0 to 1")
        pd.DataFrame({"probability": given}).to_csv(self.out, index=False)


def task() -> Task:
    """What the command line asks for. Text and flags are text; everything else is a number."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser()
    for name in ("train", "test", "out"):
        parser.add_argument(name)
    parser.add_argument("--target", required=True)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--drop", action="append", default=[])
    parser.add_argument("--time-ordered", action="store_true")
    asked = parser.parse_args()
    train = pd.read_csv(asked.train, low_memory=False).drop(columns=asked.drop)
    outcome = train.pop(asked.target).to_numpy(dtype="int64")
    test = pd.read_csv(asked.test, low_memory=False).reindex(columns=train.columns)
    texts = [name for name in train if not pd.api.types.is_numeric_dtype(train[name]) or train[name].dtype == bool]
    for name in train:
        for frame in (train, test):
            if name in texts:
                text = frame[name].astype(object)
                frame[name] = pd.Series([None if pd.isna(v) else str(v) for v in text], frame.index, dtype=object)
            else:
                frame[name] = pd.to_numeric(frame[name], errors="coerce").astype(float)
    return Task(
        train, test, outcome, texts, asked.seconds, asked.seed, asked.threads, asked.time_ordered,
        os.path.abspath(asked.out),
    )  # fmt: skip
