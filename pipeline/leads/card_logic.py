"""What follows from a card's conditions alone: whether one can ever hold, always holds, or says the same as another.

A condition is searched for a way to hold: alternatives are tried one after another, and what each asks of one quantity
(a column, an age, a count of activities) must leave it at least one value. Counts are tied together: what happened
within a week happened within a month, and visits of one page are visits of any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.leads.cards import All, AnyOf, Condition, Not, OfActivity, OfAge, OfColumn

#: A bound: its number, and how far beyond it the bound itself lies (1: above it, -1: below, 0: it is included).
Bound = tuple[float, int]

_LEAST: Bound = (float("-inf"), 0)
_MOST: Bound = (float("inf"), 0)


@dataclass(frozen=True)
class Span:
    """Values from `low` to `high`; whole numbers only where `whole`."""

    low: Bound = _LEAST
    high: Bound = _MOST
    whole: bool = False

    def both(self, other: Span) -> Span:
        return Span(max(self.low, other.low), min(self.high, other.high), self.whole or other.whole)

    @property
    def empty(self) -> bool:
        return self.low > self.high


@dataclass(frozen=True)
class Words:
    """A word among `listed`, or any but those where `other`; None stands for a missing value."""

    listed: frozenset[str | None]
    other: bool = False

    def both(self, other: Words) -> Words:
        if self.other and other.other:
            return Words(self.listed | other.listed, True)
        if self.other or other.other:
            allowed, barred = (other, self) if self.other else (self, other)
            return Words(allowed.listed - barred.listed)
        return Words(self.listed & other.listed)

    @property
    def empty(self) -> bool:
        return not self.other and not self.listed


@dataclass(frozen=True)
class Count:
    """The activities of some kinds within so many days; None: since ever."""

    kinds: frozenset[str]
    within_days: int | None

    def within(self, other: Count) -> bool:
        """Whether everything counted here is counted there too."""
        return self.kinds <= other.kinds and (
            other.within_days is None or (self.within_days is not None and self.within_days <= other.within_days)
        )


@dataclass(frozen=True)
class _World:
    """What is asked so far, by quantity: numbers of columns, words of columns, counts, and the age (under `None`)."""

    spans: Mapping[str | Count | None, Span] = field(default_factory=dict)
    words: Mapping[str, Words] = field(default_factory=dict)

    def with_span(self, name: str | Count | None, span: Span) -> _World | None:
        """The world in which a number lies within `span` too; None where it cannot."""
        narrowed = self.spans.get(name, _WHOLE if isinstance(name, Count) else Span()).both(span)
        spans = {**self.spans, name: narrowed}
        counts = {one: here for one, here in spans.items() if isinstance(one, Count)}
        apart = any(part.within(whole) and counts[part].low > counts[whole].high for part in counts for whole in counts)
        return None if narrowed.empty or apart else _World(spans, self.words)

    def with_words(self, name: str, words: Words) -> _World | None:
        narrowed = self.words[name].both(words) if name in self.words else words
        return None if narrowed.empty else _World(self.spans, {**self.words, name: narrowed})


_WHOLE = Span((0, 0), _MOST, whole=True)


def possible(condition: Condition, columns: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether some lead could meet it.

    Args:
        columns: source name -> what is declared of it (`type`, and optional `values`, `min`, `max`, `required`), as in
            the `profile` of a specification. Columns that it does not name may hold anything.
    """
    return _search([(condition, True)], _World(), columns)


def certain(condition: Condition, columns: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether every lead meets it."""
    return not possible(Not(not_=condition), columns)


def implies(first: Condition, second: Condition, columns: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether no lead meets the first without the second."""
    return not possible(All(all_=[first, Not(not_=second)]), columns)


def same(first: Condition, second: Condition, columns: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether both hold for the same leads, whatever these are."""
    return implies(first, second, columns) and implies(second, first, columns)


def _search(
    asked: list[tuple[Condition, bool]], world: _World | None, columns: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Whether all that is `asked` (a condition, and whether it shall hold or not) can be true in `world` at once."""
    if world is None:
        return False
    if not asked:
        return True
    (condition, wanted), rest = asked[0], asked[1:]
    if isinstance(condition, Not):
        return _search([(condition.not_, not wanted), *rest], world, columns)
    if isinstance(condition, All | AnyOf):
        parts = condition.all_ if isinstance(condition, All) else condition.any_
        if isinstance(condition, All) == wanted:
            return _search([*((part, wanted) for part in parts), *rest], world, columns)
        return any(_search([(part, wanted), *rest], world, columns) for part in parts)
    return any(_search(rest, further, columns) for further in _ways(condition, wanted, world, columns))


def _ways(
    leaf: OfColumn | OfActivity | OfAge, wanted: bool, world: _World, columns: Mapping[str, Mapping[str, Any]]
) -> list[_World | None]:
    """The worlds in which a condition without parts holds, or does not."""
    if isinstance(leaf, OfActivity):
        count = Count(frozenset(leaf.kinds), leaf.within_days)
        spans = _spans(leaf.fewest, leaf.at_most, wanted, whole=True)
        return [world.with_span(count, span) for span in spans]
    if isinstance(leaf, OfAge):
        known = world.with_span(None, Span((0, 0)))
        spans = _spans(leaf.age_days.at_least, leaf.age_days.at_most, wanted, whole=False)
        return [known.with_span(None, span) if known else None for span in spans]
    declared = columns.get(leaf.column, {})
    filled = Words(frozenset([None]), other=True)
    if declared.get("values") is not None:
        filled = Words(frozenset(str(value) for value in declared["values"]))
    elif declared.get("type") == "boolean":
        filled = Words(frozenset(["true", "false"]))
    empty = None if declared.get("required") else world.with_words(leaf.column, Words(frozenset([None])))
    there = world.with_words(leaf.column, filled)
    if leaf.missing is not None:
        return [empty if leaf.missing == wanted else there]
    if leaf.words:
        listed = Words(frozenset(leaf.words), other=not wanted)
        return [there and there.with_words(leaf.column, listed), *([] if wanted else [empty])]
    whole = declared.get("type") == "integer"
    low, high = declared.get("min"), declared.get("max")
    bounds = Span(_LEAST if low is None else (low, 0), _MOST if high is None else (high, 0), whole)
    spans = _spans(leaf.at_least, leaf.at_most, wanted, whole)
    return [
        *(there and there.with_span(leaf.column, bounds.both(span)) for span in spans),
        *([] if wanted else [empty]),
    ]


def _spans(low: float | None, high: float | None, wanted: bool, whole: bool) -> list[Span]:
    """From `low` to `high`, or what lies outside; a number above a whole one is at least the next."""
    if wanted:
        return [Span(_LEAST if low is None else (low, 0), _MOST if high is None else (high, 0), whole)]
    below = [] if low is None else [Span(high=(low - 1, 0) if whole else (low, -1), whole=whole)]
    return below + ([] if high is None else [Span(low=(high + 1, 0) if whole else (high, 1), whole=whole)])
