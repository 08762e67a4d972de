"""Playbooks: closed, all faults at once, and in keeping with tiers and contract."""

from __future__ import annotations

import copy

import pytest
import yaml

from pipeline.errors import ParamsError
from pipeline.leads import contract, playbooks

PLAY = {
    "owner": "inside sales",
    "first_action": "call",
    "deadline_hours": 24,
    "cadence": [{"after_days": 1, "action": "call again"}, {"after_days": 5, "action": "write"}],
    "suppression": [
        {"activity": "unsubscribed", "reason": "the lead unsubscribed"},
        {"activity": "call", "within_days": 3, "reason": "called lately"},
    ],
}
BOOK = {
    "playbook_version": 1,
    "name": "small",
    "description": "Made up.",
    "tiers": {"A": PLAY, "B": {"owner": "marketing", "first_action": "write"}},
}


def book(**changes: object) -> dict[str, object]:
    """`BOOK` with some keys of tier A's play changed."""
    content = copy.deepcopy(BOOK)
    content["tiers"]["A"] |= changes
    return content


def test_a_playbook_is_read_as_it_stands():
    found = playbooks.parse(BOOK, file="small.yaml")
    assert found.tiers["A"].owner == "inside sales"
    assert [step.after_days for step in found.tiers["A"].cadence] == [1, 5]
    assert [rule.within_days for rule in found.tiers["A"].suppression] == [None, 3]
    assert (found.tiers["B"].deadline_hours, found.tiers["B"].cadence, found.tiers["B"].suppression) == (None, [], [])
    with pytest.raises(Exception, match="frozen"):
        found.tiers["A"].owner = "somebody else"


def test_every_fault_is_named_at_once():
    content = book(owner="Jane@example.com", deadline_hours=0, hurry=True, first_action=" ")
    content["tiers"]["B"] = {"owner": "marketing"}
    with pytest.raises(ParamsError) as fault:
        playbooks.parse(content, file="small.yaml")
    lines = str(fault.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "tiers.A.owner",
        "tiers.A.first_action",
        "tiers.A.deadline_hours",
        "tiers.A.hurry",
        "tiers.B.first_action",
    ]
    assert all(line.startswith("small.yaml: ") for line in lines)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cadence": [PLAY["cadence"][1], PLAY["cadence"][0]]}, "must rise"),
        ({"cadence": [PLAY["cadence"][0]] * 2}, "none may stand twice"),
        ({"cadence": [{"after_days": 0, "action": "call"}]}, "cadence.0.after_days"),
        ({"suppression": [PLAY["suppression"][0]] * 2}, "holds a rule twice"),
        ({"owner": "Sales"}, "owner"),
    ],
)
def test_what_a_play_may_not_say(changes, words):
    with pytest.raises(ParamsError, match=words):
        playbooks.parse(book(**changes), file="small.yaml")


@pytest.mark.parametrize("content", [None, [], "A", {"tiers": {}}])
def test_what_is_no_playbook(content):
    with pytest.raises(ParamsError, match=r"^small\.yaml: "):
        playbooks.parse(content, file="small.yaml")


def test_tiers_without_a_play_and_unknown_activities():
    found = playbooks.parse(BOOK, file="small.yaml")
    playbooks.check(found, ["A"], {"unsubscribed", "call"}, file="small.yaml")
    with pytest.raises(ParamsError) as fault:
        playbooks.check(found, ["A", "C", "D"], {"call", "visit"}, file="small.yaml")
    assert str(fault.value) == (
        "small.yaml: tiers: no play for tier C; there are plays for A, B\n"
        "small.yaml: tiers: no play for tier D; there are plays for A, B\n"
        "small.yaml: tiers.A.suppression.0: `unsubscribed` is not a kind of activity of the contract; it lists "
        "call, visit"
    )
    with pytest.raises(ParamsError, match="it lists none"):
        playbooks.check(found, ["A"], [], file="small.yaml")


def test_a_play_in_a_line():
    found = playbooks.parse(BOOK, file="small.yaml").tiers
    assert playbooks.in_words(found["A"]) == (
        "inside sales: call within 24 hours; after 1 day: call again; after 5 days: write; not if the lead "
        "unsubscribed or called lately"
    )
    assert playbooks.in_words(found["B"]) == "marketing: write"


def test_tiers_carry_their_plays_as_plain_data():
    found, tiers = playbooks.parse(BOOK, file="small.yaml"), [{"name": "A", "from": 300}, {"name": "B", "from": 0}]
    top, rest = playbooks.with_plays(tiers, found, ["unsubscribed", "call"], file="small.yaml")
    assert (top["name"], top["from"], rest["from"]) == ("A", 300, 0)
    assert top["play"]["suppression"] == [PLAY["suppression"][0] | {"within_days": None}, PLAY["suppression"][1]]
    assert rest["play"] == {
        "owner": "marketing",
        "first_action": "write",
        "deadline_hours": None,
        "cadence": [],
        "suppression": [],
    }
    assert playbooks.with_plays(tiers, None, [], file="small.yaml") == tiers
    with pytest.raises(ParamsError, match="no play for tier C"):
        playbooks.with_plays([{"name": "C", "from": 0}], found, ["unsubscribed", "call"], file="small.yaml")


def test_what_it_is_worth_comes_back_as_it_was_stated():
    worth = {"per_week": 120, "call_cost": 0, "deal_value": 900.5}
    found = playbooks.parse(BOOK | {"worth": worth}, file="small.yaml")
    assert found.worth is not None
    assert found.worth.model_dump() == worth | {"new_per_week": None}
    assert playbooks.restore(playbooks.describe(found)) == found
    assert playbooks.restore(None) is None
    with pytest.raises(ParamsError) as fault:
        playbooks.parse(
            BOOK | {"worth": {"per_week": 0, "call_cost": -1, "deal_value": float("inf"), "new": 3}}, file="small.yaml"
        )
    assert [line.split(": ")[1] for line in str(fault.value).splitlines()] == [
        "worth.per_week",
        "worth.call_cost",
        "worth.deal_value",
        "worth.new",
    ]


def test_the_demo_ships_a_play_for_every_tier(project_root):
    def read(folder: str) -> object:
        return yaml.safe_load((project_root / "data" / folder / "demo.yaml").read_text(encoding="utf-8"))

    found = playbooks.parse(read("playbooks"), file="demo.yaml")
    described = contract.parse(read("contracts"), file="demo.yaml")
    assert described.activities is not None
    tiers = yaml.safe_load((project_root / "params.yaml").read_text(encoding="utf-8"))["calibrate"]["tiers"]
    playbooks.check(
        found, [*tiers["shares"], *tiers["scores"], "A", "B", "C"], described.activities.kinds, file="demo.yaml"
    )


def test_every_key_is_explained(project_root):
    text = (project_root / "docs" / "tiers.md").read_text(encoding="utf-8")
    parts = [playbooks.Playbook, playbooks.Worth, playbooks.Play, playbooks.Step, playbooks.Suppression]
    assert not [key for part in parts for key in part.model_fields if f"`{key}`" not in text]
