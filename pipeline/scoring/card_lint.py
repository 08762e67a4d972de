"""What is wrong with a points card, by what it says and by the history before the test window.

An error keeps the card from being counted; a warning says that it counts something else than its author may think. A
warning about a criterion is silenced by the criterion's own `accepts`, with a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.errors import CardError
from pipeline.leads import card_logic
from pipeline.leads.cards import Card, Criterion, OfActivity, OfColumn, Suppressor, leaves, said
from pipeline.scoring.card import Known, add_up, amounts

#: Every kind of finding: those that keep the card from being counted, and those that do not.
ERRORS = (
    "unknown_column",
    "unusable_column",
    "unknown_kind",
    "unknown_value",
    "wrong_type",
    "duplicate_name",
    "unknown_group",
    "unknown_acceptance",
)
WARNINGS = (
    "empty_group",
    "no_points",
    "never_holds",
    "always_holds",
    "same_condition",
    "opposite_signs",
    "suppressed_points",
    "grows_with_age",
    "beyond_cap",
    "idle_cap",
    "unreachable_total",
    "trivial_total",
    "never_fires",
    "always_fires",
    "overlap",
    "cancels_out",
    "word_never_seen",
    "nobody_qualifies",
    "everybody_qualifies",
)
KINDS = ERRORS + WARNINGS


@dataclass(frozen=True)
class Finding:
    """`kind`: one of `KINDS`. `where`: the criteria, suppressors or groups it is about. `accepted`: the reason that the
    card gives for meaning it so; "" without one."""

    kind: str
    where: tuple[str, ...]
    sentence: str
    accepted: str = ""

    @property
    def severity(self) -> Literal["error", "warning"]:
        return "error" if self.kind in ERRORS else "warning"


def static(card: Card, spec: Mapping[str, Any], excluded: Mapping[str, str]) -> list[Finding]:
    """What the card alone tells, beside the contract.

    Args:
        spec: `profile` and `kinds`: what a lead's columns hold and which activities there are, as written by
            `featurize`.
        excluded: source name of every other column of the contract -> why no score may rest on it.

    Returns:
        Errors first, each kind in the order of `KINDS`. With errors about a condition, what follows from conditions is
        not looked for.
    """
    columns = {column["source"]: column["declared"] for column in spec["profile"]}
    kinds = [kind["name"] for kind in spec["kinds"]]
    found = [*_names(card), *_references(card, columns, kinds, excluded)]
    if not any(one.severity == "error" for one in found):
        found += [*_conditions(card, columns), *_pairs(card, columns), *_growth(card)]
    return _settled(card, [*found, *_limits(card)])


def in_history(card: Card, known: Known, before: Sequence[Finding] = (), *, overlap: float) -> list[Finding]:
    """What the history tells: what fires on no row or on all, what fires together, whether anyone qualifies.

    Args:
        known: the facts of the rows before the test window.
        before: what `static` found; its criteria are not accused of the same again.
        overlap: two criteria overlap where, of the rows on which either fires, both fire on this share or more
            (Jaccard 1901).
    """
    fires = amounts(card, known).gt(0).assign(**{one.name: known.holds(one.when) for one in card.suppressors})
    told = {name for one in before if one.kind in ("never_holds", "always_holds") for name in one.where}
    paired = {one.where for one in before if one.kind in ("same_condition", "opposite_signs")}
    found = [
        *_firing(fires.drop(columns=list(told))),
        *_together(card, fires, paired, overlap),
        *_unseen_words(card, known),
        *_qualifying(card, add_up(card, known)["qualifies"]),
    ]
    return _settled(card, found)


def open_findings(found: Sequence[Finding]) -> list[Finding]:
    """Those that the card does not accept."""
    return [one for one in found if not one.accepted]


def refuse_errors(card: Card, found: Sequence[Finding]) -> None:
    """Raise what keeps the card from being counted.

    Raises:
        CardError: one line per error.
    """
    if errors := [one.sentence for one in found if one.severity == "error"]:
        raise CardError(f"card {card.name} cannot be counted:\n" + "\n".join(f"- {sentence}" for sentence in errors))


def _settled(card: Card, found: list[Finding]) -> list[Finding]:
    """Findings in order, with the reasons for which their first criterion accepts them."""
    accepts = {one.name: one.accepts for one in card.criteria}

    def reason(one: Finding) -> str:
        named = [accepts.get(name, {}).get(one.kind, "") for name in one.where]
        return next((text for text in named if text), "") if one.severity == "warning" else ""

    settled = [Finding(one.kind, one.where, one.sentence, reason(one)) for one in found]
    return sorted(settled, key=lambda one: KINDS.index(one.kind))


def _names(card: Card) -> Iterator[Finding]:
    """Names that stand twice, groups that are not there or are empty, and findings that nothing can accept."""
    for name, conditions in card.conditions.items():
        if len(conditions) > 1:
            yield Finding("duplicate_name", (name,), f"`{name}` names {len(conditions)} criteria or suppressors.")
    for one in card.criteria:
        if one.group not in card.groups:
            known = ", ".join(card.groups)
            yield Finding(
                "unknown_group", (one.name,), f"`{one.name}`: group `{one.group}` is not among `groups`: {known}."
            )
        for kind in one.accepts:
            if kind not in WARNINGS:
                yield Finding(
                    "unknown_acceptance",
                    (one.name,),
                    f"`{one.name}` accepts `{kind}`, which is no warning; warnings are {', '.join(WARNINGS)}.",
                )
    for group in card.groups:
        if group not in {one.group for one in card.criteria}:
            yield Finding("empty_group", (group,), f"No criterion belongs to group `{group}`.")


def _column_leaves(card: Card) -> Iterator[tuple[str, OfColumn]]:
    for name, conditions in card.conditions.items():
        for condition in conditions:
            yield from ((name, leaf) for leaf in leaves(condition) if isinstance(leaf, OfColumn))


def _references(
    card: Card, columns: Mapping[str, Mapping[str, Any]], kinds: list[str], excluded: Mapping[str, str]
) -> Iterator[Finding]:
    """Columns, words and kinds of activity that the contract does not have, or has of another type."""
    for name, leaf in _column_leaves(card):
        declared = columns.get(leaf.column)
        if declared is None and leaf.column in excluded:
            yield Finding(
                "unusable_column", (name,), f"`{name}`: no points may rest on `{leaf.column}`: {excluded[leaf.column]}."
            )
        elif declared is None:
            yield Finding(
                "unknown_column",
                (name,),
                f"`{name}`: contract {card.contract} has no column `{leaf.column}`; there are {', '.join(columns)}.",
            )
        else:
            yield from _value(name, leaf, declared)
    for name, conditions in card.conditions.items():
        for condition in conditions:
            for part in leaves(condition):
                if isinstance(part, OfActivity) and (unknown := sorted(set(part.kinds) - set(kinds))):
                    yield Finding(
                        "unknown_kind",
                        (name,),
                        f"`{name}`: contract {card.contract} has no activity {', '.join(f'`{k}`' for k in unknown)}; "
                        f"there are {', '.join(kinds) or 'none'}.",
                    )


def _value(name: str, leaf: OfColumn, declared: Mapping[str, Any]) -> Iterator[Finding]:
    """Words and numbers that the column's type does not know."""
    kind = declared["type"]
    if (leaf.ranged and kind not in ("number", "integer")) or (leaf.words and kind in ("number", "integer")):
        form = "`is`" if leaf.words else "`at_least` and `at_most`"
        yield Finding(
            "wrong_type", (name,), f"`{name}`: {leaf.column} is of type {kind}, which {form} cannot be asked of."
        )
        return
    allowed = ["true", "false"] if kind == "boolean" else declared.get("values")
    if allowed is not None and (unknown := [word for word in leaf.words if word not in map(str, allowed)]):
        yield Finding(
            "unknown_value",
            (name,),
            f"`{name}`: {leaf.column} is never {' or '.join(f'`{w}`' for w in unknown)}; it is one of "
            f"{', '.join(map(str, allowed))}.",
        )


def _conditions(card: Card, columns: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Conditions that nothing can meet, or that nothing can fail to meet."""
    for name, conditions in card.conditions.items():
        if not card_logic.possible(conditions[0], columns):
            yield Finding("never_holds", (name,), f"`{name}` can never fire: {said(conditions[0])}.")
        elif card_logic.certain(conditions[0], columns):
            yield Finding("always_holds", (name,), f"`{name}` fires for every lead: {said(conditions[0])}.")


def _pairs(card: Card, columns: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Criteria on one condition, and criteria that only suppressed leads meet."""
    can = [one for one in card.criteria if card_logic.possible(one.fires, columns)]
    for first, second in combinations(can, 2):
        if first.points * second.points == 0 or not card_logic.same(first.fires, second.fires, columns):
            continue
        where, what = (first.name, second.name), f"`{first.name}` and `{second.name}` fire on the same leads"
        if first.points * second.points < 0:
            yield Finding("opposite_signs", where, f"{what}, with points of opposite signs: {said(first.fires)}.")
        elif first.per is None and second.per is None:
            yield Finding("same_condition", where, f"{what}, and their points add up: {said(first.fires)}.")
    for suppressor in card.suppressors:
        for one in can:
            if card_logic.implies(one.fires, suppressor.when, columns):
                yield _suppressed(one, suppressor)


def _suppressed(one: Criterion, suppressor: Suppressor) -> Finding:
    return Finding(
        "suppressed_points",
        (one.name,),
        f"`{one.name}` fires only where `{suppressor.name}` suppresses the lead: its points never count.",
    )


def _growth(card: Card) -> Iterator[Finding]:
    """Points that can only grow the older a lead gets: counts since ever that do not decay."""
    for one in card.criteria:
        counted = one.per is not None and one.per.within_days is None and one.per.half_life_days is None
        often = [
            leaf
            for leaf in (leaves(one.when) if one.when is not None else ())
            if isinstance(leaf, OfActivity) and leaf.within_days is None and leaf.fewest > 1
        ]
        if one.points > 0 and (counted or often):
            yield Finding(
                "grows_with_age",
                (one.name,),
                f"`{one.name}` counts activities since ever: every lead gathers points with age. Give `within_days`"
                f"{' or `half_life_days`' if counted else ''}.",
            )


def _limits(card: Card) -> Iterator[Finding]:
    """Points and caps that do not go together, and a qualifying total out of reach, or within everybody's."""
    for one in card.criteria:
        if one.points == 0:
            yield Finding("no_points", (one.name,), f"`{one.name}` gives 0 points.")
        caps = {"its own cap": one.cap, "the card's cap": card.cap}
        if one.group in card.groups:
            caps[f"the cap of group `{one.group}`"] = card.groups[one.group].cap
        if one.per is None and one.cap is not None and one.cap >= abs(one.points):
            yield Finding("idle_cap", (one.name,), f"`{one.name}`: its own cap of {one.cap:g} is never reached.")
        for what, cap in caps.items():
            if cap is not None and (one.points > cap or (what == "its own cap" and -one.points > cap)):
                yield Finding(
                    "beyond_cap", (one.name,), f"`{one.name}` gives {one.points:g} points; {what} is {cap:g}."
                )
    totals = {}
    for name, group in card.groups.items():
        most = sum(_most(one) for one in card.criteria if one.group == name)
        if group.cap is not None and 0 < most <= group.cap:
            yield Finding(
                "idle_cap", (name,), f"Group `{name}` gives at most {most:g} points; its cap of {group.cap:g} is idle."
            )
        totals[name] = most if group.cap is None else min(most, group.cap)
    reachable = sum(totals.values())
    if card.cap is not None and reachable <= card.cap:
        yield Finding("idle_cap", (), f"The card gives at most {reachable:g} points; its cap of {card.cap:g} is idle.")
    reachable = reachable if card.cap is None else min(reachable, card.cap)
    if reachable < card.qualifies_at:
        yield Finding(
            "unreachable_total",
            (),
            f"A lead qualifies with {card.qualifies_at:g} points; the card gives at most {reachable:g}.",
        )
    if card.qualifies_at <= 0:
        yield Finding(
            "trivial_total", (), f"A lead that nothing is known of qualifies: `qualifies_at: {card.qualifies_at:g}`."
        )


def _most(one: Criterion) -> float:
    """The most points a criterion can give."""
    if one.points <= 0:
        return 0.0
    most = one.points if one.per is None else np.inf
    return float(most if one.cap is None else min(most, one.cap))


# What only the history tells


def _firing(fires: pd.DataFrame) -> Iterator[Finding]:
    """Criteria and suppressors that fire on no row, or on every one."""
    for name, rows in fires.items():
        where = (str(name),)
        if not rows.any():
            yield Finding("never_fires", where, f"`{name}` fires on none of the {len(rows):,} snapshots.")
        elif rows.all():
            yield Finding("always_fires", where, f"`{name}` fires on every snapshot, so that it ranks nobody.")


def _together(
    card: Card, fires: pd.DataFrame, paired: Collection[tuple[str, ...]], overlap: float
) -> Iterator[Finding]:
    """Criteria that fire on nearly the same rows, but for the pairs that are known as such."""
    apart = [one for one in card.criteria if 0 < fires[one.name].mean() < 1]
    for first, second in combinations(apart, 2):
        where = (first.name, second.name)
        share = float((fires[first.name] & fires[second.name]).sum() / (fires[first.name] | fires[second.name]).sum())
        if share < overlap or where in paired:
            continue
        what = f"`{first.name}` and `{second.name}` fire together on {share:.0%} of the snapshots on which either fires"
        if first.points * second.points > 0:
            yield Finding("overlap", where, f"{what}, and their points add up: one thing counts twice.")
        elif first.points * second.points < 0:
            yield Finding("cancels_out", where, f"{what}, with points of opposite signs.")


def _unseen_words(card: Card, known: Known) -> Iterator[Finding]:
    """Words of categories that no row holds."""
    for name, leaf in _column_leaves(card):
        value = known.profile[leaf.column]
        if value.dtype.kind == "f":
            continue
        seen = set(value.dropna())
        if unseen := [word for word in leaf.words if word not in seen]:
            listed = ", ".join(f"`{word}`" for word in unseen)
            yield Finding("word_never_seen", (name,), f"`{name}`: {leaf.column} was never {listed}; is it spelled so?")


def _qualifying(card: Card, qualifies: pd.Series) -> Iterator[Finding]:
    """A qualifying total that no row reaches, or every one."""
    asked = f"`qualifies_at: {card.qualifies_at:g}`"
    if not qualifies.any():
        yield Finding("nobody_qualifies", (), f"None of the {len(qualifies):,} snapshots qualifies with {asked}.")
    elif qualifies.all():
        yield Finding("everybody_qualifies", (), f"Every snapshot qualifies with {asked}.")
