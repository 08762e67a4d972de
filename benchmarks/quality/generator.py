"""Tables with an outcome whose law is known, drawn from a seed: what the published sets do not cover.

A table is described by a `Recipe` and by nothing else; the recipe says what kind of law it is (a plain sum, curves,
interactions) and what time does to it. Everything that the recipe leaves open (which columns matter, how much, the
shape of each column, the walk of the level) is drawn from the seed, so that no figure here was chosen by looking at
what some system does with it.

The law's own chance of every row comes along: no system can beat it, in expectation, by log-loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special

#: Months that a time-ordered table spans.
MONTHS = 30
TARGET = "y"

Law = Literal["linear", "additive", "interactions"]
Time = Literal["none", "steady", "level", "concept", "season"]


@dataclass(frozen=True)
class Recipe:
    """What a table is like.

    `numbers`, `categories`: number columns, and the number of levels of each category column.
    `rate`: share of all rows that convert, (0, 1). `strength`: standard deviation of the law's log-odds over the rows,
    before what time adds. `noise`: share of the columns that say nothing, [0, 1). `missing`: mean share of empty cells
    of the columns that have any, [0, 1). `time`: "none", rows in no order; else rows in order of time, where "steady"
    changes nothing, "level" moves the base rate and some columns' means and adds columns that name the period,
    "concept" turns the weights, "season" moves the base rate with the month of the year, which is a column.
    """

    rows: int
    numbers: int
    categories: tuple[int, ...]
    rate: float
    law: Law
    strength: float = 1.3
    noise: float = 0.4
    missing: float = 0.0
    time: Time = "none"


@dataclass
class Draft:
    """A table in the making: the columns so far, and the law's log-odds of each row (rows,)."""

    rng: np.random.Generator
    recipe: Recipe
    columns: dict[str, np.ndarray | pd.Series] = field(default_factory=dict)
    margin: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.margin = np.zeros(self.recipe.rows)

    @property
    def passed(self) -> np.ndarray:
        """How much of the time has passed at each row, (0, 1); rising."""
        return (np.arange(self.recipe.rows) + 0.5) / self.recipe.rows


def generate(recipe: Recipe, seed: np.random.SeedSequence) -> tuple[pd.DataFrame, np.ndarray]:
    """The table (rows × columns + `TARGET`, 0 or 1, last) and the law's chance of every row, (0, 1)."""
    draft = Draft(np.random.default_rng(seed), recipe)
    values = _numbers(draft)
    _categories(draft)
    if recipe.law == "additive":
        _curves(draft, values)
    elif recipe.law == "interactions":
        _slopes(draft, values)
        _spread(draft, recipe.strength / 2)
        _interactions(draft, values)
    elif recipe.time == "concept":
        _turning_slopes(draft, values)
    else:
        _slopes(draft, values)
    _spread(draft, recipe.strength)
    _holes(draft)
    if recipe.time == "level":
        _level(draft)
    elif recipe.time == "season":
        _season(draft)
    chance = special.expit(draft.margin + _intercept(draft.margin, recipe.rate))
    order = draft.rng.permutation(len(draft.columns))
    names = list(draft.columns)
    table = pd.DataFrame({names[k]: draft.columns[names[k]] for k in order})
    table[TARGET] = (draft.rng.random(recipe.rows) < chance).astype("int8")
    return table, chance


def _numbers(draft: Draft) -> np.ndarray:
    """Add the number columns; the values that the law sees, (rows, numbers), mean 0 and standard deviation near 1.

    They lean on three common factors. What the table shows is a rising function of them: as they are, skewed, counted,
    rounded or cut off at zero. A linear law shows them as they are, or it would not be linear.
    """
    rng, recipe = draft.rng, draft.recipe
    shape = (recipe.rows, recipe.numbers)
    leaning = rng.uniform(0, 0.6, recipe.numbers)
    loadings = rng.standard_normal((3, recipe.numbers))
    loadings /= np.linalg.norm(loadings, axis=0)
    common = rng.standard_normal((recipe.rows, 3)) @ loadings
    values = np.sqrt(1 - leaning) * rng.standard_normal(shape) + np.sqrt(leaning) * common
    if recipe.time == "level":
        moved = np.where(rng.random(recipe.numbers) < 0.4, rng.normal(0, 0.8, recipe.numbers), 0.0)
        values += (draft.passed - 0.5)[:, None] * moved
    for k in range(recipe.numbers):
        place, spread = 10 ** rng.uniform(-1, 3), 10 ** rng.uniform(-0.5, 1.5)
        form = "plain" if recipe.law == "linear" else rng.choice(["plain", "skewed", "counted", "rounded", "cut"])
        value = values[:, k]
        if form == "skewed":
            shown = spread * np.exp(0.9 * value)
        elif form == "counted":
            shown = np.floor(np.exp(0.8 + 0.8 * value))
        elif form == "rounded":
            shown = np.round(place + spread * value)
        elif form == "cut":
            shown = np.maximum(spread * value, 0.0)
        else:
            shown = place + spread * value
        draft.columns[f"n{k + 1:03d}"] = shown if form in ("counted", "rounded") else np.round(shown, 4)
    return values


def _categories(draft: Draft) -> None:
    """Add the category columns: few frequent levels and many rare ones, each with an effect of its own."""
    rng, recipe = draft.rng, draft.recipe
    for k, levels in enumerate(recipe.categories):
        shares = rng.permutation(1 / (1 + np.arange(levels)) ** rng.uniform(0.4, 1.1))
        code = rng.choice(levels, recipe.rows, p=shares / shares.sum())
        weight = 0.0 if rng.random() < recipe.noise else rng.uniform(0.3, 1.0)
        draft.margin += weight * rng.standard_normal(levels)[code]
        draft.columns[f"c{k + 1:03d}"] = np.array([f"level {one:03d}" for one in range(levels)], dtype=object)[code]


def _weights(draft: Draft) -> np.ndarray:
    """A weight per number column, (numbers,), zero for those that say nothing."""
    weights = draft.rng.standard_normal(draft.recipe.numbers)
    return np.where(draft.rng.random(draft.recipe.numbers) < draft.recipe.noise, 0.0, weights)


def _slopes(draft: Draft, values: np.ndarray) -> None:
    draft.margin += values @ _weights(draft)


def _turning_slopes(draft: Draft, values: np.ndarray) -> None:
    """Weights that turn slowly into others: after all of the time, by one radian."""
    first, second = _weights(draft), _weights(draft)
    angle = draft.passed
    draft.margin += np.cos(angle) * (values @ first) + np.sin(angle) * (values @ second)


def _curves(draft: Draft, values: np.ndarray) -> None:
    """A curve per column: bent, stepped, waved or straight."""
    curves: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        np.abs, np.square, np.tanh, lambda v: np.sin(2 * v), lambda v: (v > 0.7).astype(float), lambda v: v,
    )  # fmt: skip
    for k, weight in enumerate(_weights(draft)):
        bent = curves[draft.rng.integers(len(curves))](values[:, k])
        draft.margin += weight * (bent - bent.mean())


def _interactions(draft: Draft, values: np.ndarray) -> None:
    """Products of two to four soft steps; alone, hardly a column of them says anything."""
    rng, count = draft.rng, max(4, draft.recipe.numbers // 2)
    for _ in range(count):
        chosen = rng.choice(draft.recipe.numbers, size=int(rng.integers(2, 5)), replace=False)
        steps = np.tanh(2 * (values[:, chosen] - rng.normal(0, 0.4, len(chosen))))
        draft.margin += rng.normal(0, 1) * steps.prod(axis=1)


def _spread(draft: Draft, strength: float) -> None:
    """Scale the log-odds so far to a standard deviation of `strength`."""
    draft.margin *= strength / max(float(draft.margin.std()), 1e-12)


def _holes(draft: Draft) -> None:
    """Empty cells in two of three columns; in every other one of these, being empty says something by itself."""
    rng, recipe = draft.rng, draft.recipe
    if not recipe.missing:
        return
    for k, name in enumerate(draft.columns):
        if k % 3 == 2:
            continue
        share = rng.uniform(0, 2 * recipe.missing)
        empty = rng.random(recipe.rows) < min(share, 0.95)
        if rng.random() < 0.5:
            draft.margin += rng.normal(0, 0.3) * empty
        draft.columns[name] = pd.Series(draft.columns[name]).mask(empty)


def _level(draft: Draft) -> None:
    """The level walks from month to month, with a trend. Four columns name the period, and cause nothing.

    Two are indices published once a month, one the wave of a campaign that lasts a few months, one a price list.
    """
    rng = draft.rng
    month = np.floor(draft.passed * MONTHS).astype(int)
    walk = np.cumsum(rng.normal(0, 0.25, MONTHS))
    trend = rng.choice([-1, 1]) * rng.uniform(0.5, 1.5) / MONTHS
    draft.margin += (walk + trend * np.arange(MONTHS))[month]
    for k in range(2):
        index = 100 + np.cumsum(rng.normal(rng.normal(0, 0.4), 1, MONTHS))
        draft.columns[f"index_{k + 1}"] = np.round(index[month], 2)
    wave = np.floor((month + rng.integers(0, 2, len(month))) / 5).astype(int)
    draft.columns["wave"] = np.array([f"wave {one}" for one in wave], dtype=object)
    draft.columns["price_list"] = np.array([f"list {one}" for one in month // 6], dtype=object)


def _season(draft: Draft) -> None:
    """The level follows the month of the year, the same every year; the month is a column."""
    month = np.floor(draft.passed * MONTHS).astype(int) % 12
    effect = np.cumsum(draft.rng.normal(0, 0.5, 12))
    draft.margin += (effect - effect.mean())[month]
    draft.columns["month"] = np.array([f"month {one + 1:02d}" for one in month], dtype=object)


def _intercept(margin: np.ndarray, rate: float) -> float:
    """What to add to log-odds (rows,) so that their mean chance is `rate`, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if special.expit(margin + middle).mean() < rate else (low, middle)
    return low
