"""A playbook says what sales does with the leads of each tier: who, what first, by when, how it goes on, and when not;
and what its work costs and brings.

One YAML file in `data/playbooks/`, named like the contract whose tiers it is for; `playbook_version: 1` covers every
key here, and later keys are optional additions. The schema is closed: an unknown key is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pipeline.errors import ParamsError
from pipeline.leads.contract import Name, Part
from pipeline.params import problems

Sentence = Annotated[str, Field(pattern=r"^[^\n]*\S[^\n]*$", max_length=200)]

#: A role, in words of small letters: a playbook outlives whoever holds the role, and names no one.
RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*([ _-][a-z0-9]+)*$", max_length=60)]


class Step(Part):
    """What is done if nothing came of it before: so many days after the first action."""

    after_days: Annotated[int, Field(ge=1, le=365)]
    action: Sentence


class Suppression(Part):
    """When the lead is left alone: a kind of activity was recorded, ever or within so many days before the as-of date.

    `activity`: a kind that the contract lists.
    """

    activity: Name
    within_days: Annotated[int | None, Field(ge=1, le=3650)] = None
    reason: Sentence


class Play(Part):
    """What is done with the leads of one tier.

    `owner`: the role that answers for them. `deadline_hours`: from the moment the score is given to the first action;
    none where there is no hurry. `cadence`: what follows, in order of days. `suppression`: any one of these holds the
    lead back.
    """

    owner: RoleName
    first_action: Sentence
    deadline_hours: Annotated[int | None, Field(ge=1, le=24 * 90)] = None
    cadence: Annotated[list[Step], Field(default_factory=list)]
    suppression: Annotated[list[Suppression], Field(default_factory=list)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        days = [step.after_days for step in self.cadence]
        if sorted(set(days)) != days:
            raise ValueError("the days of `cadence` must rise, and none may stand twice")
        rules = [(rule.activity, rule.within_days) for rule in self.suppression]
        if len(set(rules)) != len(rules):
            raise ValueError("`suppression` holds a rule twice")
        return self


class Worth(Part):
    """What sales can work and what it is worth.

    `per_week`: leads sales can work a week; left out where it has time for all. `call_cost`: of working one lead;
    `deal_value`: of one conversion, in the same currency. `new_per_week`: leads that come in a week, where the source
    has no creation times that would tell, or where that has changed.
    """

    per_week: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    call_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    deal_value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    new_per_week: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None


class Playbook(Part):
    """Plays by tier, and what they are worth."""

    playbook_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: Annotated[str, Field(min_length=1)]
    worth: Worth | None = None
    tiers: Annotated[dict[Name, Play], Field(min_length=1)]


def describe(playbook: Playbook) -> dict[str, Any]:
    """The playbook as plain data, which `parse` reads."""
    return playbook.model_dump(mode="json")


def restore(described: Any) -> Playbook | None:
    """From what `describe` gives; None from nothing."""
    return None if described is None else Playbook.model_validate(described)


def with_plays(
    tiers: Sequence[dict[str, Any]], playbook: Playbook | None, kinds: Collection[str], *, file: str
) -> list[dict[str, Any]]:
    """The tiers (`name`, `from`), each with its `play` as plain data; as they are without a playbook.

    Raises:
        ParamsError: as `check`.
    """
    if playbook is None:
        return [dict(tier) for tier in tiers]
    check(playbook, [tier["name"] for tier in tiers], kinds, file=file)
    return [dict(tier) | {"play": playbook.tiers[tier["name"]].model_dump(mode="json")} for tier in tiers]


def parse(content: object, *, file: str) -> Playbook:
    """Check the content of one playbook file.

    Raises:
        ParamsError: every unknown key and wrong value, listed at once.
    """
    try:
        return Playbook.model_validate(content)
    except ValidationError as fault:
        raise ParamsError(problems(fault, file)) from None


def check(playbook: Playbook, tiers: Sequence[str], kinds: Collection[str], *, file: str) -> None:
    """Compare a playbook with the tiers it is for and with the activities that the contract lists.

    A play of a tier that is not there is allowed: tiers come and go with what sales can work.

    Raises:
        ParamsError: a tier has no play, or a suppression names an unknown kind of activity; all of them at once.
    """
    faults = []
    for tier in tiers:
        if tier not in playbook.tiers:
            faults.append(f"tiers: no play for tier {tier}; there are plays for {', '.join(playbook.tiers)}")
    listed = ", ".join(sorted(kinds)) or "none"
    for tier, play in playbook.tiers.items():
        for place, rule in enumerate(play.suppression):
            if rule.activity not in kinds:
                faults.append(
                    f"tiers.{tier}.suppression.{place}: `{rule.activity}` is not a kind of activity of the contract; "
                    f"it lists {listed}"
                )
    if faults:
        raise ParamsError("\n".join(f"{file}: {fault}" for fault in faults))


def check_worth(playbook: Playbook, *, dated: bool, file: str) -> None:
    """What tiers bring a week needs to know how many leads come in a week.

    Args:
        dated: the source has creation times, which tell.

    Raises:
        ParamsError: it has none, and `worth` does not say.
    """
    if playbook.worth is not None and playbook.worth.new_per_week is None and not dated:
        raise ParamsError(
            f"{file}: worth: the source has no creation times, which would say how many leads come in a week; state "
            "it as `new_per_week`."
        )


def in_words(play: Play) -> str:
    """One play in a line, for the terminal.

    Example: "inside sales: call within 24 hours; after 2 days: write; not if the lead unsubscribed".
    """
    by_when = f" within {play.deadline_hours} hours" if play.deadline_hours is not None else ""
    steps = [f"after {step.after_days} day{'s' if step.after_days > 1 else ''}: {step.action}" for step in play.cadence]
    held = [rule.reason for rule in play.suppression]
    not_if = [f"not if {' or '.join(held)}"] if held else []
    return "; ".join([f"{play.owner}: {play.first_action}{by_when}", *steps, *not_if])
