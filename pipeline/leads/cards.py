"""A points card: the strategist's own file, `data/cards/<name>.yaml`, as frozen types.

A card adds points for what is known of a lead at an as-of date: criteria with points of either sign, counts that may
decay, caps, suppressors that keep a lead from being called whatever its points, and the total from which a lead
qualifies. `docs/cards.md` explains every key. The schema is closed. Whether a card fits its contract, and makes sense,
is the question of `pipeline.scoring.card_lint`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    ValidationError,
    model_validator,
)

from pipeline.errors import CardError
from pipeline.leads import contract
from pipeline.leads.contract import Name
from pipeline.params import problems
from pipeline.scorer.checks import plain

Days = Annotated[int, Field(ge=1, le=3650)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Points = Annotated[float, Field(ge=-100_000, le=100_000)]
Cap = Annotated[float, Field(gt=0, le=1_000_000)]
Word = StrictStr | StrictBool | StrictInt
Kinds = Name | Annotated[list[Name], Field(min_length=1)]

#: Columns that `pipeline.scoring.card.points` returns beside one per criterion.
RESERVED = ("lead_id", "as_of", "total", "qualifies", "suppressed")


class Part(contract.Part):
    """As a part of a contract; `all`, `any`, `is` and `not`, which Python keeps for itself, go by an alias."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)


class Range(Part):
    """Numbers from `at_least` to `at_most`, both included; one of them may be left out."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give `at_least`, `at_most` or both")
        return self


class OfColumn(Part):
    """A lead column as of the as-of date: its value is one of `is`, lies from `at_least` to `at_most`, or is missing.

    A missing value meets nothing but `missing: true`.
    """

    column: Name
    is_: Annotated[Word | list[Word] | None, Field(alias="is")] = None
    at_least: float | None = None
    at_most: float | None = None
    missing: bool | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The words of `is`, true and false as `true` and `false`; none where the condition has another form."""
        given = self.is_ if isinstance(self.is_, list) else [] if self.is_ is None else [self.is_]
        return tuple(str(word).lower() if isinstance(word, bool) else str(word) for word in given)

    @property
    def ranged(self) -> bool:
        return self.at_least is not None or self.at_most is not None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if [self.is_ is not None, self.ranged, self.missing is not None].count(True) != 1:
            raise ValueError("give one of `is`, `at_least` and `at_most`, and `missing`")
        if self.is_ is not None and not self.words:
            raise ValueError("`is` lists no word")
        return self


class OfActivity(Part):
    """How often activities of some kinds happened, within so many days before the as-of date where `within_days` is
    given: at least once, unless `at_least` or `at_most` say otherwise."""

    activity: Kinds
    within_days: Days | None = None
    at_least: Count | None = None
    at_most: Count | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        return _several(self.activity)

    @property
    def fewest(self) -> int:
        """The least count that meets the condition, before `at_most`."""
        if self.at_least is not None:
            return self.at_least
        return 1 if self.at_most is None else 0


class OfAge(Part):
    """Days since the lead was created."""

    age_days: Range


class All(Part):
    all_: Annotated[list[Condition], Field(alias="all", min_length=1, max_length=50)]


class AnyOf(Part):
    any_: Annotated[list[Condition], Field(alias="any", min_length=1, max_length=50)]


class Not(Part):
    not_: Annotated[Condition, Field(alias="not")]


#: The key that tells the form of a condition -> the field that holds it.
_FORMS = {
    "column": "column",
    "activity": "activity",
    "age_days": "age_days",
    "all": "all_",
    "any": "any_",
    "not": "not_",
}


def _form(value: Any) -> str | None:
    """Which form a condition has, by the one key that tells it."""
    named = [
        form for form, field in _FORMS.items() if (form in value if isinstance(value, dict) else hasattr(value, field))
    ]
    return named[0] if len(named) == 1 else None


Condition = Annotated[
    Annotated[OfColumn, Tag("column")]
    | Annotated[OfActivity, Tag("activity")]
    | Annotated[OfAge, Tag("age_days")]
    | Annotated[All, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")],
    Discriminator(
        _form,
        custom_error_type="condition",
        custom_error_message="a condition has exactly one of the keys column, activity, age_days, all, any and not",
    ),
]


# They hold conditions, which are only known now.
for _whole in (All, AnyOf, Not):
    _whole.model_rebuild()


class Per(Part):
    """Points for each activity rather than once. With `half_life_days` one that happened so many days before the as-of
    date counts half, one from twice as long a quarter."""

    activity: Kinds
    within_days: Days | None = None
    half_life_days: Annotated[float, Field(gt=0, le=3650)] | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        return _several(self.activity)


class Criterion(Part):
    """Points where `when` holds; with `per` times the number of activities, at most `cap` points either side of zero.

    `accepts`: findings of `leads card lint` about this criterion that are meant so, each with the reason.
    """

    name: Name
    group: Name
    points: Points
    when: Condition | None = None
    per: Per | None = None
    cap: Cap | None = None
    accepts: dict[Name, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)

    @property
    def fires(self) -> Condition:
        """The condition under which it gives points."""
        parts: list[Condition] = [] if self.when is None else [self.when]
        if self.per is not None:
            parts.append(OfActivity(activity=self.per.activity, within_days=self.per.within_days))
        return parts[0] if len(parts) == 1 else All(all_=parts)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.when is None and self.per is None:
            raise ValueError("give `when`, `per` or both")
        if self.name in RESERVED:
            raise ValueError(f"the name `{self.name}` is the pipeline's own; take another")
        return self


class Suppressor(Part):
    """A lead that `when` holds for is not to be called, whatever its points."""

    name: Name
    when: Condition


class Group(Part):
    """Criteria whose points together are at most `cap`."""

    cap: Cap | None = None


class Card(Part):
    """`contract`: the contract whose columns and kinds of activity the card names. `source`: where it was published, if
    it was. `cap`: the most points in total. `qualifies_at`: the total from which a lead qualifies for a call."""

    card_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    contract: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)] | None = None
    qualifies_at: Points
    cap: Cap | None = None
    groups: Annotated[dict[Name, Group], Field(min_length=1)]
    criteria: Annotated[list[Criterion], Field(min_length=1, max_length=500)]
    suppressors: list[Suppressor] = Field(default_factory=list, max_length=100)

    @property
    def conditions(self) -> dict[str, list[Condition]]:
        """Criterion or suppressor -> the conditions under which it fires; of two that share a name, both."""
        found: dict[str, list[Condition]] = {}
        for one in self.criteria:
            found.setdefault(one.name, []).append(one.fires)
        for one_ in self.suppressors:
            found.setdefault(one_.name, []).append(one_.when)
        return found

    @property
    def columns(self) -> set[str]:
        """Source names of the columns that it looks at."""
        return {leaf.column for leaf in self._leaves() if isinstance(leaf, OfColumn)}

    @property
    def kinds(self) -> set[str]:
        """Kinds of activity that it looks at."""
        return {kind for leaf in self._leaves() if isinstance(leaf, OfActivity) for kind in leaf.kinds}

    @property
    def aged(self) -> bool:
        """Whether it looks at the age of a lead."""
        return any(isinstance(leaf, OfAge) for leaf in self._leaves())

    def _leaves(self) -> Iterator[OfColumn | OfActivity | OfAge]:
        for conditions in self.conditions.values():
            for condition in conditions:
                yield from leaves(condition)


def parse(content: object, *, file: str) -> Card:
    """Check the content of one card file.

    Raises:
        CardError: every unknown key and wrong value, listed at once.
    """
    try:
        return Card.model_validate(content)
    except ValidationError as fault:
        raise CardError(problems(fault, file)) from None


def describe(card: Card) -> dict[str, Any]:
    """The card as plain data; `parse` reads it back."""
    return card.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def leaves(condition: Condition) -> Iterator[OfColumn | OfActivity | OfAge]:
    """The conditions without parts within a condition, in order."""
    if isinstance(condition, OfColumn | OfActivity | OfAge):
        yield condition
        return
    if isinstance(condition, Not):
        parts = [condition.not_]
    else:
        parts = condition.all_ if isinstance(condition, All) else condition.any_
    for part in parts:
        yield from leaves(part)


def said(condition: Condition) -> str:
    """A condition in words: `visit_pricing at least twice within 7 days and not (seniority is intern)`."""
    if isinstance(condition, Not):
        return f"not ({said(condition.not_)})"
    if isinstance(condition, All):
        return " and ".join(_bracketed(part) for part in condition.all_)
    if isinstance(condition, AnyOf):
        return " or ".join(_bracketed(part) for part in condition.any_)
    if isinstance(condition, OfAge):
        return f"age in days {_between(condition.age_days.at_least, condition.age_days.at_most)}"
    if isinstance(condition, OfActivity):
        named, most = " or ".join(condition.kinds), condition.at_most
        within = "" if condition.within_days is None else f" within {condition.within_days} days"
        often = "" if condition.fewest == 1 and most is None else f" {_between(condition.fewest or None, most)} times"
        return f"{named}{often}{within}"
    if condition.words:
        return f"{condition.column} is {' or '.join(condition.words)}"
    if condition.missing is not None:
        return f"{condition.column} is {'missing' if condition.missing else 'filled in'}"
    return f"{condition.column} {_between(condition.at_least, condition.at_most)}"


def _bracketed(condition: Condition) -> str:
    return f"({said(condition)})" if isinstance(condition, All | AnyOf) else said(condition)


def _between(low: float | None, high: float | None) -> str:
    ends = [] if low is None else [f"at least {plain(low)}"]
    return " and ".join([*ends, *([] if high is None else [f"at most {plain(high)}"])])


def _several(names: str | list[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
