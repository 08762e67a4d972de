"""Evidence that a column knows the outcome: figures from the table alone, each with its limit and a plain sentence.

No single sign finds every leak. A process field is empty until the lead closes; the length of the deciding call is
always there but tells too much; a copy of either hides behind another name. So several kinds of evidence are gathered,
all from tables of counts: nothing is fitted that a reader could not recompute by hand.

The measure of what a column tells is its *gain*, the share of the outcome's uncertainty that it removes: one minus the
log-loss of the conversion rates per value over the log-loss of the plain rate (the uncertainty coefficient, Theil 1970,
"On the estimation of relationships involving qualitative variables"). It is measured out of fold, so that a column of
many values gains nothing by chance, and within blocks of time, so that a column that merely names the period, while the
rate changes, is not taken for one that knows the lead. Where conversions are rare even a telling column gains little;
beside the gain stands the *separation*, Somers' D of the same rates (1962, "A new asymmetric measure of association for
ordinal variables"): of all pairs of a lead that converted and one that did not, the share put in the right order minus
the share put in the wrong one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.params import Leaks, Limits, Power

Weight = Literal["leak", "suspect"]

KINDS = {
    "filled_with_outcome": "filled for one outcome only",
    "filled_when_closed": "filled only when the lead has closed",
    "power": "tells far more about the outcome than the other columns do",
    "deciding_values": "some of its values decide the outcome",
    "changed_after": "is changed when the outcome is known",
    "fill_gap": "filled for closed leads more often than for open ones of the same age",
    "collapse": "what it tells does not hold for newer leads",
    "stands_in": "says the same as a column that is known to leak",
}
COLUMNS = ["column", "kind", "figure", "limit", "weighs", "sentence"]


@dataclass(frozen=True)
class Item:
    """One piece of evidence: a figure that has passed its limit."""

    column: str
    kind: str
    figure: float
    limit: float
    weighs: Weight
    sentence: str


@dataclass(frozen=True)
class History:
    """What is looked at: one row per lead.

    `columns`: candidate columns, float64, str or datetime64, missing as NaN. `converted`: 1 or 0, NaN where not known
    yet. `position`: place on the time axis, larger is newer; None where there is none. `open_`, `age_days`: for leads
    with dated outcomes, else None. `changed`: `column`, `changes`, `after_outcome`; None without a changes table.
    """

    columns: pd.DataFrame
    converted: pd.Series
    params: Leaks
    position: pd.Series | None = None
    open_: pd.Series | None = None
    age_days: pd.Series | None = None
    changed: pd.DataFrame | None = None

    @cached_property
    def known(self) -> np.ndarray:
        """Which rows have an outcome."""
        return self.converted.notna().to_numpy()

    @cached_property
    def outcome(self) -> np.ndarray:
        """0.0 or 1.0 of the rows with an outcome."""
        return self.converted.to_numpy(dtype="float64")[self.known]

    @property
    def tells(self) -> bool:
        """Whether both outcomes are frequent enough to say anything."""
        return bool(min(self.outcome.sum(), (1 - self.outcome).sum()) >= self.params.min_rows)

    @cached_property
    def block(self) -> np.ndarray:
        """Block of time of the rows with an outcome, 0 upwards, of equal size.

        Without a time axis the order of the rows stands in for it: most exports come in some order of time, and where
        one does not, blocks do no harm. One block where conversions are too few to tell blocks apart, and where the
        order itself gives the outcome away: a file sorted by outcome.
        """
        n, conversions = len(self.outcome), int(min(self.outcome.sum(), (1 - self.outcome).sum()))
        blocks = min(self.params.blocks, conversions // self.params.min_rows)
        one = np.zeros(n, dtype="int64")
        if blocks < 2:
            return one
        place = np.arange(len(self.known)) if self.position is None else self.position.to_numpy()
        rank = np.argsort(np.argsort(place[self.known], kind="stable"), kind="stable")
        block = rank * blocks // n
        return one if gain(self.outcome, out_of_fold(block, self.outcome, one, self.params)) > 0.5 else block

    @cached_property
    def names(self) -> list[str]:
        return [str(name) for name in self.columns]

    @cached_property
    def codes(self) -> dict[str, np.ndarray]:
        """Each column as codes of its values or bins, over the rows with an outcome."""
        return {name: binned(self.columns[name][self.known], self.params) for name in self.names}

    @cached_property
    def plain(self) -> np.ndarray:
        """Rate of each row's block of time, out of fold."""
        return out_of_fold(np.zeros(len(self.outcome), dtype="int64"), self.outcome, self.block, self.params)

    @cached_property
    def rates(self) -> dict[str, np.ndarray]:
        """Rate of each row's value in its block, out of fold, by column."""
        return {name: out_of_fold(codes, self.outcome, self.block, self.params) for name, codes in self.codes.items()}

    @cached_property
    def gains(self) -> dict[str, float]:
        """Each column's gain within blocks of time."""
        return {name: gain(self.outcome, rate, self.plain) for name, rate in self.rates.items()}

    @cached_property
    def separations(self) -> dict[str, float]:
        """Each column's separation within blocks of time."""
        return {name: separation(self.outcome, rate, self.block) for name, rate in self.rates.items()}


def gather(history: History, leaks: Collection[str] = ()) -> pd.DataFrame:
    """All evidence against the columns of a history.

    Args:
        history: what is looked at.
        leaks: columns of the history that somebody has declared as known only with the outcome; others are compared
            with them, and with those that the evidence itself convicts.

    Returns:
        DataFrame with the columns of `COLUMNS`, in the order of the history's columns; empty where conversions or
        non-conversions are fewer than `min_rows`, since then nothing can be told.
    """
    if not history.tells:
        return _frame([], history)
    found = [
        *_filled(history),
        *_fill_gap(history),
        *_power(history),
        *_deciding(history),
        *_changed(history),
        *_collapse(history),
    ]
    found += _stand_ins(history, {*leaks, *convicted(_frame(found, history))})
    return _frame(found, history)


def convicted(evidence: pd.DataFrame) -> list[str]:
    """Columns that the evidence calls leaks: one piece that weighs as much, or two kinds of lighter ones.

    `collapse` never adds up with another kind: a column that names the period is no leak.
    """
    heavy = set(evidence.loc[evidence["weighs"] == "leak", "column"])
    light = evidence[(evidence["weighs"] == "suspect") & (evidence["kind"] != "collapse")]
    kinds = light.groupby("column")["kind"].nunique()
    return sorted(heavy | set(kinds.index[kinds >= 2]))


# Tables of counts


def binned(column: pd.Series, params: Leaks) -> np.ndarray:
    """Codes 0 upwards: the values of text and of numbers with few of them, else quantile bins; missing is a value.

    A number that fills a whole bin has it to itself. Texts on fewer than `min_rows` rows share one code.
    """
    if column.dtype.kind in "fiubM":
        number = column.astype("int64").where(column.notna()) if column.dtype.kind == "M" else column
        values = number.to_numpy(dtype="float64", na_value=np.nan)
        there = values[~np.isnan(values)]
        distinct = np.unique(there)
        if len(distinct) > params.bins:
            edges = np.unique(np.quantile(there, np.linspace(0, 1, params.bins + 1)[1:-1]))
            place = np.searchsorted(edges, values, side="left") + np.searchsorted(edges, values, side="right")
        else:
            place = np.searchsorted(distinct, values)
        place = np.where(np.isnan(values), -1, place)
    else:
        codes, levels = pd.factorize(column, sort=True)
        count = np.bincount(codes + 1, minlength=len(levels) + 1)[codes + 1]
        place = np.where((count < params.min_rows) & (codes >= 0), len(levels), codes)
    return np.unique(place, return_inverse=True)[1]


def out_of_fold(codes: np.ndarray, outcome: np.ndarray, block: np.ndarray, params: Leaks) -> np.ndarray:
    """Conversion rate of each row's value in its block of time, learned from the other folds.

    In log-odds, a value adds the same in every block: how far conversions of its rows lie above those that the blocks'
    rates let expect. Both are drawn towards the plain rate as if by `prior_rows` further rows.

    Args:
        codes, block: shape (n,), 0 upwards.
        outcome: shape (n,), 0.0 or 1.0.

    Returns:
        Shape (n,), probabilities inside (0, 1).
    """
    fold = np.arange(len(outcome)) % params.folds
    probability = np.empty(len(outcome))
    for k in range(params.folds):
        rest, mine = fold != k, fold == k
        rate, effect = effects(codes[rest], outcome[rest], block[rest], (codes.max() + 1, block.max() + 1), params)
        probability[mine] = expit(logit(rate)[block[mine]] + effect[codes[mine]])
    return probability


def effects(
    codes: np.ndarray, outcome: np.ndarray, block: np.ndarray, sizes: tuple[int, int], params: Leaks
) -> tuple[np.ndarray, np.ndarray]:
    """Rate of each block, and what each value adds to it in log-odds; shapes (sizes[1],) and (sizes[0],)."""
    prior, plain = params.prior_rows, float(np.clip(outcome.mean(), 1e-6, 1 - 1e-6))
    count = np.bincount(block, minlength=sizes[1])
    rate = (np.bincount(block, outcome, minlength=sizes[1]) + prior * plain) / (count + prior)
    count = np.bincount(codes, minlength=sizes[0])
    seen = (np.bincount(codes, outcome, minlength=sizes[0]) + prior * plain) / (count + prior)
    expected = (np.bincount(codes, rate[block], minlength=sizes[0]) + prior * plain) / (count + prior)
    return rate, logit(seen) - logit(expected)


def gain(outcome: np.ndarray, probability: np.ndarray, plain: np.ndarray | None = None) -> float:
    """One minus the log-loss over that of `plain` (the outcome's own rate where None): 1 is certainty, 0 is nothing."""
    reference = log_loss(outcome, np.full(len(outcome), outcome.mean()) if plain is None else plain)
    return 1 - log_loss(outcome, probability) / reference if reference > 0 else 0.0


def separation(outcome: np.ndarray, probability: np.ndarray, block: np.ndarray) -> float:
    """Somers' D, -1 to 1, over the pairs of leads of one block: 1 is perfect order, 0 is none, and so is no pair."""
    right, pairs = 0.0, 0.0
    for k in range(block.max() + 1):
        mine = block == k
        converted, values = outcome[mine], np.unique(probability[mine], return_inverse=True)[1]
        hits, misses = np.bincount(values, converted), np.bincount(values, 1 - converted)
        below = np.cumsum(misses) - misses
        right += float(hits @ (2 * below + misses))
        pairs += float(hits.sum() * misses.sum())
    return right / pairs - 1 if pairs else 0.0


def log_loss(outcome: np.ndarray, probability: np.ndarray) -> float:
    sure = np.clip(probability, 1e-12, 1 - 1e-12)
    return float(-np.mean(outcome * np.log(sure) + (1 - outcome) * np.log1p(-sure)))


def logit(probability: np.ndarray | float) -> np.ndarray:
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.log(clipped) - np.log1p(-clipped)


def expit(margin: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(margin, -30, 30)))


def wilson(successes: np.ndarray, n: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the 95 % interval of a share (Wilson 1927)."""
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / n + spread / (4 * n))
    return centre - half, centre + half


# Kinds of evidence


def _weighed(column: str, kind: str, figure: float, limits: Limits, sentence: str) -> Item:
    """A figure beyond the limit of a suspect, and perhaps beyond that of a leak."""
    if figure >= limits.leak:
        return Item(column, kind, figure, limits.leak, "leak", sentence)
    return Item(column, kind, figure, limits.suspect, "suspect", sentence)


def _filled(history: History) -> Iterator[Item]:
    """Columns that have a value for one outcome, and hardly ever for the other.

    Shares are compared within blocks of time: a field that came into use as the rate rose goes with the period. So the
    share under the outcome that fills the column more is averaged as the other outcome's leads lie over the blocks.
    """
    params, converted, block = history.params.filled, history.outcome == 1, history.block
    for name in history.names:
        there = history.columns[name].notna().to_numpy(dtype="float64")[history.known]
        for filled, rest, who, others in (
            (converted, ~converted, "leads that converted", "did not"),
            (~converted, converted, "leads that did not convert", "converted"),
        ):
            n, weight = np.bincount(block[filled]), np.bincount(block[rest]) / rest.sum()
            size = max(len(n), len(weight))
            n, weight = (np.pad(one, (0, size - len(one))) for one in (n, weight))
            high = float(weight @ (np.bincount(block[filled], there[filled], minlength=size) / np.maximum(n, 1)))
            low = float(there[rest].mean())
            # Among too few leads of the other outcome, none that is filled proves nothing.
            enough = min(there[filled].sum(), high * rest.sum()) >= history.params.min_rows
            if not enough or low > params.suspect * high:
                continue
            heavy = low <= params.leak * high
            yield Item(
                name,
                "filled_with_outcome",
                low / high,
                params.leak if heavy else params.suspect,
                "leak" if heavy else "suspect",
                f"filled for {high:.1%} of {who} and for {low:.1%} of those that {others}",
            )


def _fill_gap(history: History) -> Iterator[Item]:
    """Columns filled for closed leads, and seldom for open ones of the same age."""
    if history.open_ is None or history.age_days is None:
        return
    params, opened = history.params, history.open_.to_numpy(dtype=bool)
    age = history.age_days.to_numpy(dtype="float64")
    edges = np.unique(np.quantile(age, np.linspace(0, 1, params.bins + 1)[1:-1]))
    group = np.searchsorted(edges, age, side="right")
    size = len(edges) + 1
    n_open, n_closed = np.bincount(group[opened], minlength=size), np.bincount(group[~opened], minlength=size)
    weight = np.minimum(n_open, n_closed).astype("float64")
    if weight.sum() < params.min_rows:
        return
    weight /= weight.sum()
    for name in history.names:
        there = history.columns[name].notna().to_numpy(dtype="float64")
        filled = [np.bincount(group[mine], there[mine], minlength=size) for mine in (opened, ~opened)]
        fill_open = float(weight @ (filled[0] / np.maximum(n_open, 1)))
        fill_closed = float(weight @ (filled[1] / np.maximum(n_closed, 1)))
        share = f"filled for {fill_closed:.1%} of closed leads and for {fill_open:.1%} of open ones of the same age"
        enough = fill_closed * min(n_closed.sum(), n_open.sum()) >= params.min_rows
        if enough and fill_open <= params.filled.leak * fill_closed:
            ratio = fill_open / fill_closed
            yield Item(name, "filled_when_closed", ratio, params.filled.leak, "leak", share)
        elif fill_closed - fill_open >= params.fill_gap:
            yield Item(name, "fill_gap", fill_closed - fill_open, params.fill_gap, "suspect", share)


def _power(history: History) -> Iterator[Item]:
    """Columns out of line: what they tell stands apart from the others, or is more than any honest one tells."""
    found = set()
    for name, value, rest, limit, weighs in _out_of_line(history.gains, history.params.power):
        found.add(name)
        sentence = f"alone removes {value:.0%} of what is uncertain about the outcome"
        if rest is not None:
            sentence += f"; the next column in line removes {max(rest, 0):.0%}"
        yield Item(name, "power", value, limit, weighs, sentence)
    for name, value, rest, limit, weighs in _out_of_line(history.separations, history.params.separation):
        if name in found:
            continue
        sentence = f"alone puts {(1 + value) / 2:.0%} of the pairs of a converting and another lead in order"
        if rest is not None:
            sentence += f"; the next column in line {(1 + max(rest, 0)) / 2:.0%}, where chance gives 50%"
        yield Item(name, "power", value, limit, weighs, sentence)


def _out_of_line(figures: dict[str, float], params: Power) -> Iterator[tuple[str, float, float | None, float, Weight]]:
    """Columns whose figure stands apart: name, figure, that of the next column in line, limit, weight.

    Sorted by figure, the columns above the lowest step by `times_rest` are out of line; the floor keeps a step between
    two figures near nothing from counting.
    """
    ranked = sorted(figures.items(), key=lambda entry: (-entry[1], entry[0]))
    values = [max(value, params.floor) for _, value in ranked]
    apart = 0
    for place in range(min(len(values) - 1, (len(values) + 1) // 2)):
        if ranked[place][1] >= params.suspect and values[place] >= params.times_rest * values[place + 1]:
            apart = place + 1
    for place, (name, value) in enumerate(ranked):
        rest = ranked[apart][1] if place < apart else None
        if value >= params.certain:
            yield name, value, rest, params.certain, "leak"
        elif place < apart:
            heavy = value >= params.leak
            yield name, value, rest, params.leak if heavy else params.suspect, "leak" if heavy else "suspect"
        elif value >= params.alone:
            yield name, value, rest, params.alone, "suspect"


def _deciding(history: History) -> Iterator[Item]:
    """Columns with values whose leads nearly all convert, or nearly never while others do."""
    params, outcome = history.params.deciding, history.outcome
    plain = outcome.mean()
    for name, codes in history.codes.items():
        n, converted = np.bincount(codes), np.bincount(codes, outcome)
        low, high = wilson(converted, n)
        enough = n >= history.params.min_rows
        always = enough & (converted / n >= params.rate) & (low >= params.rate - 0.1) & (plain <= params.rate - 0.2)
        covered = converted[always].sum() / outcome.sum()
        if covered >= params.suspect:
            yield _weighed(
                name,
                "deciding_values",
                covered,
                params,
                f"{converted[always].sum() / n[always].sum():.1%} of the leads with some of its values convert, and "
                f"these make {covered:.0%} of all conversions",
            )
            continue
        never = enough & (converted / n <= (1 - params.rate) * plain) & (high <= 0.2 * plain)
        covered = (n - converted)[never].sum() / (1 - outcome).sum()
        if covered >= params.never:
            yield Item(
                name,
                "deciding_values",
                covered,
                params.never,
                "suspect",
                f"{converted[never].sum() / n[never].sum():.2%} of the leads with some of its values convert, where "
                f"{plain:.0%} do in all, and these make {covered:.0%} of the leads that did not",
            )


def _changed(history: History) -> Iterator[Item]:
    """Columns changed at, or after, the moment of the outcome."""
    if history.changed is None:
        return
    params = history.params
    for name, changes, after in history.changed[["column", "changes", "after_outcome"]].to_numpy().tolist():
        share = after / changes if changes else 0.0
        if name not in history.columns or after < params.min_rows or share < params.changed.suspect:
            continue
        yield _weighed(
            name,
            "changed_after",
            share,
            params.changed,
            f"{after:,} of its {changes:,} changes were recorded when the outcome was known",
        )


def _collapse(history: History) -> Iterator[Item]:
    """Columns whose rates by value, learned on older leads, tell nothing about newer ones.

    Level and spread are fitted to the newer leads: only the order in which a column puts its values is judged.
    """
    if history.position is None or history.block.max() == 0:
        return
    params, outcome = history.params, history.outcome
    older = history.block < 0.6 * (history.block.max() + 1)
    if min(outcome[~older].sum(), (1 - outcome[~older]).sum()) < params.min_rows:
        return
    if min(outcome[older].sum(), (1 - outcome[older]).sum()) < params.min_rows:
        return
    one = np.zeros(len(outcome), dtype="int64")
    for name, codes in history.codes.items():
        mixed = gain(outcome, out_of_fold(codes, outcome, one, params))
        if mixed < params.collapse.gain:
            continue
        _, effect = effects(codes[older], outcome[older], one[older], (codes.max() + 1, 1), params)
        newer = (_at_level(slope * effect[codes[~older]], outcome[~older].mean()) for slope in (0.0, 0.25, 0.5, 1.0))
        forward = max(gain(outcome[~older], probability) for probability in newer)
        if forward <= params.collapse.remains * mixed:
            yield Item(
                name,
                "collapse",
                forward / mixed,
                params.collapse.remains,
                "suspect",
                f"removes {mixed:.0%} of what is uncertain where old and new leads are mixed, and {forward:.0%} "
                "where older leads must tell about newer ones",
            )


def _at_level(margin: np.ndarray, rate: float) -> np.ndarray:
    """Probabilities of `margin` plus the constant that makes their mean `rate`; by bisection."""
    low, high = -40.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(margin + middle).mean() < rate else (low, middle)
    return expit(margin + low)


def _stand_ins(history: History, leaks: set[str]) -> Iterator[Item]:
    """Columns from which a leak can be read: its being filled, or its being high.

    The relation is measured within each outcome: two columns that both merely go with the outcome are no copies.
    """
    params = history.params.stands_in
    group = history.outcome.astype("int64")
    for leak in sorted(leaks & set(history.columns)):
        tells = _two_sides(history.columns[leak][history.known], history.codes[leak], history.params)
        for name, codes in history.codes.items():
            if name == leak or name in leaks:
                continue
            judged = [k for k in (0, 1) if _varies(tells[group == k], history.params.min_rows)]
            if not judged:
                continue
            mine = np.isin(group, judged)
            side, own = tells[mine], group[mine]
            plain = out_of_fold(np.zeros(len(side), dtype="int64"), side, own, history.params)
            told = gain(side, out_of_fold(codes[mine], side, own, history.params), plain)
            if told >= params.suspect:
                yield _weighed(
                    name,
                    "stands_in",
                    told,
                    params,
                    f"tells {told:.0%} of what there is to know about {leak}, which leaks",
                )


def _two_sides(column: pd.Series, codes: np.ndarray, params: Leaks) -> np.ndarray:
    """A column as 0.0 or 1.0: filled or not where that varies, else the upper half of its codes."""
    there = column.notna().to_numpy()
    if _varies(there.astype("float64"), params.min_rows):
        return there.astype("float64")
    return (codes > np.median(codes)).astype("float64")


def _varies(side: np.ndarray, min_rows: int) -> bool:
    return bool(min(side.sum(), (1 - side).sum()) >= min_rows)


def _frame(found: list[Item], history: History) -> pd.DataFrame:
    frame = pd.DataFrame([vars(item) for item in found], columns=COLUMNS)
    order = {name: place for place, name in enumerate(history.columns)}
    kinds = {name: place for place, name in enumerate(KINDS)}
    frame = frame.assign(place=frame["column"].map(order), rank=frame["kind"].map(kinds))
    frame = frame.sort_values(["place", "rank"], kind="stable").drop(columns=["place", "rank"])
    return frame.astype({"figure": "float64", "limit": "float64"}).reset_index(drop=True)
