"""Lint: one planted fault per kind of finding is found, and a sound card is left alone."""

import copy

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import CardError
from pipeline.scoring import card_lint
from pipeline.scoring.card import Known
from tests import small_cards, small_history


@pytest.fixture(scope="module")
def spec(project_root):
    return small_cards.spec(project_root)


#: Columns of the small contract that no points may rest on.
EXCLUDED = {"won": "role is outcome"}

VISIT, CALL = {"activity": "visit", "within_days": 7}, {"activity": "call", "within_days": 7}


def planted(name=None, **keys):
    """A change of one criterion's keys, or with a new name one more criterion."""

    def plant(content):
        mine = [one for one in content["criteria"] if one["name"] == name]
        if not mine:
            mine = [{"name": name, "group": "engagement", "points": 3}]
            content["criteria"].append(mine[0])
        mine[0].update(keys)

    return plant


def top(**keys):
    return lambda content: content.update(keys)


def also(*plants):
    return lambda content: [plant(content) for plant in plants]


def of_column(column, **keys):
    return planted("Planted", when={"column": column, **keys})


STATIC = {
    "unknown_column": of_column("colour", **{"is": "blue"}),
    "unusable_column": of_column("won", missing=False),
    "unknown_kind": planted("Planted", when={"activity": ["visit", "dinner"]}),
    "unknown_value": of_column("industry", **{"is": ["retail", "retale"]}),
    "wrong_type": of_column("industry", at_least=3),
    "duplicate_name": lambda content: content["criteria"].append(
        {"name": "Retail", "group": "engagement", "points": 3, "when": VISIT}
    ),
    "unknown_group": planted("Planted", group="fitt", when=VISIT),
    "unknown_acceptance": planted("Planted", when=VISIT, accepts={"grows": "so be it"}),
    "empty_group": lambda content: content["groups"].update({"spare": {}}),
    "no_points": planted("Planted", points=0, when=VISIT),
    "never_holds": of_column("employees", at_least=500, at_most=50),
    "always_holds": planted("Planted", when={"any": [VISIT, {"not": VISIT}]}),
    "same_condition": planted("Planted", when={"not": {"not": {"column": "industry", "is": ["retail"]}}}),
    "opposite_signs": planted("Planted", points=-3, when={"column": "industry", "is": "retail"}),
    "suppressed_points": planted("Planted", when={"all": [VISIT, {"column": "has_phone", "is": False}]}),
    "grows_with_age": planted("Planted", per={"activity": "visit"}, cap=10),
    "beyond_cap": planted("Planted", group="fit", points=31, when=CALL),
    "idle_cap": lambda content: content["groups"]["fit"].update(cap=35),
    "unreachable_total": top(qualifies_at=61, cap=None),
    "trivial_total": top(qualifies_at=0),
}


def made(plant):
    content = copy.deepcopy(small_cards.CARD)
    plant(content)
    return small_cards.parse(content, file="small.yaml")


@pytest.mark.parametrize("kind", STATIC)
def test_a_planted_fault_is_found_by_what_the_card_says(kind, spec):
    found = card_lint.static(made(STATIC[kind]), spec, EXCLUDED)
    assert [one.kind for one in found] == [kind]
    where = {"idle_cap": "fit", "empty_group": "spare", "duplicate_name": "Retail"}.get(kind, "Planted")
    assert found[0].where == () or where in found[0].where
    assert found[0].severity == ("error" if kind in card_lint.ERRORS else "warning")
    assert found[0].sentence.endswith(".")


@pytest.mark.parametrize(
    ("kind", "plant"),
    [
        # Other faces of the same faults.
        ("never_holds", planted("Planted", when={"all": [VISIT, {"not": VISIT}]})),
        ("never_holds", planted("Planted", when={"activity": "visit", "at_least": 3, "at_most": 2})),
        ("never_holds", planted("Planted", when={"all": [VISIT, {"activity": "visit", "at_most": 0}]})),
        ("always_holds", planted("Planted", when={"activity": "visit", "at_least": 0})),
        ("grows_with_age", planted("Planted", when={"activity": "visit", "at_least": 3})),
        ("wrong_type", of_column("employees", **{"is": ["50"]})),
        ("unknown_value", of_column("opted_in", **{"is": "maybe"})),
        ("beyond_cap", planted("Planted", points=-9, when=CALL, cap=5)),
        ("idle_cap", planted("Planted", when=CALL, cap=5)),
        ("idle_cap", top(cap=60)),
        ("opposite_signs", planted("Planted", points=-3, when={"activity": "visit", "within_days": 30})),
        ("unknown_kind", top(suppressors=[{"name": "Planted", "when": {"activity": "dinner"}}])),
        ("unknown_column", top(suppressors=[{"name": "Planted", "when": {"column": "colour", "missing": True}}])),
    ],
)
def test_other_faces_of_the_same_faults(kind, plant, spec):
    assert kind in [one.kind for one in card_lint.static(made(plant), spec, EXCLUDED)]


def test_a_sound_card_is_left_alone(spec):
    assert card_lint.static(small_cards.card(), spec, EXCLUDED) == []


def test_a_count_that_fades_or_is_a_milestone_does_not_grow_with_age(spec):
    fades = made(planted("Planted", per={"activity": "visit", "half_life_days": 30}))
    once = made(planted("Planted", when={"activity": "visit"}))
    against = made(planted("Planted", points=-1, per={"activity": "call"}))
    for card in (fades, once, against):
        assert card_lint.static(card, spec, EXCLUDED) == []


def test_errors_are_refused_and_warnings_are_not(spec):
    both = made(also(of_column("colour", missing=True), planted("Silent", points=0)))
    found = card_lint.static(both, spec, EXCLUDED)
    assert [one.kind for one in found] == ["unknown_column", "no_points"]
    with pytest.raises(CardError, match="no column `colour`"):
        card_lint.refuse_errors(both, found)
    card_lint.refuse_errors(both, found[1:])


def test_a_warning_may_be_accepted_with_a_reason_and_an_error_may_not(spec):
    grows = made(planted("Planted", per={"activity": "visit"}, accepts={"grows_with_age": "a published card"}))
    (one,) = card_lint.static(grows, spec, EXCLUDED)
    assert one.accepted == "a published card"
    assert card_lint.open_findings([one]) == []
    wrong = made(also(of_column("colour", missing=True), planted("Planted", accepts={"unknown_column": "no matter"})))
    assert {one.kind for one in card_lint.open_findings(card_lint.static(wrong, spec, EXCLUDED))} == {
        "unknown_column",
        "unknown_acceptance",
    }


# What only the history tells


def history(card, spec, rows=400):
    """Facts of random snapshots: three values of everything, a visit in every second and a call in every fourth."""
    rng = np.random.default_rng(np.random.SeedSequence([1, *b"lint"]))
    keys = pd.DataFrame({"lead_id": [f"L{k:03d}" for k in range(rows)]}, dtype="str")
    frame = keys.assign(
        created_at=pd.Timestamp("2024-01-01"),
        as_of=pd.Timestamp("2024-01-20"),
        employees=rng.choice([10.0, 200.0, 3000.0], rows),
        revenue=rng.choice([0.0, 5.0], rows),
        industry=pd.Series(rng.choice(["retail", "R&D <labs>"], rows, p=[0.3, 0.7]), dtype="str"),
        opted_in=rng.choice([0.0, 1.0], rows),
        has_phone=rng.choice([0.0, 1.0], rows, p=[0.1, 0.9]),
    ).astype({"created_at": "datetime64[us]", "as_of": "datetime64[us]"})
    acts = pd.concat(
        [keys.iloc[start::step].assign(kind=kind) for kind, start, step in (("visit", 0, 2), ("call", 1, 4))]
    ).assign(happened_at=pd.Timestamp("2024-01-18"), recorded_at=pd.Timestamp("2024-01-18"))
    acts = acts.astype({"happened_at": "datetime64[us]", "recorded_at": "datetime64[us]", "kind": "str"})
    return Known.of(card, frame, acts, small_history.tables()["changes"].iloc[:0], spec)


SEEN = {
    "never_fires": planted("Planted", when={"activity": "call", "within_days": 1}),
    "always_fires": planted("Planted", when={"age_days": {"at_least": 10}}),
    "overlap": planted(
        "Planted", when={"any": [{"column": "industry", "is": "retail"}, {"activity": "call", "within_days": 1}]}
    ),
    "cancels_out": planted("Planted", points=-4, when={"activity": "visit", "within_days": 29}),
    "word_never_seen": of_column("industry", **{"is": ["retail", "R&D"]}),
    "nobody_qualifies": top(qualifies_at=50),
    "everybody_qualifies": top(qualifies_at=-20, suppressors=[]),
}


def open_list(spec):
    """The small contract without its closed list of industries."""
    changed = copy.deepcopy(spec)
    for column in changed["profile"]:
        column["declared"].pop("values", None)
    return changed


@pytest.mark.parametrize("kind", SEEN)
def test_a_planted_fault_is_found_in_the_history(kind, spec):
    card = made(SEEN[kind])
    found = card_lint.in_history(card, history(card, open_list(spec)), overlap=0.9)
    named = [one.kind for one in found]
    # A misspelt word leaves the same leads as the criterion that has it right.
    assert named == (["overlap", kind] if kind == "word_never_seen" else [kind])
    assert found[-1].severity == "warning"


def test_a_sound_card_is_left_alone_by_the_history(spec):
    card = small_cards.card()
    assert card_lint.in_history(card, history(card, spec), overlap=0.9) == []


def test_the_history_does_not_repeat_what_the_card_itself_said(spec):
    card = made(also(STATIC["never_holds"], planted("Twin", when={"column": "industry", "is": "retail"})))
    before = card_lint.static(card, spec, EXCLUDED)
    assert [one.kind for one in before] == ["never_holds", "same_condition"]
    assert card_lint.in_history(card, history(card, spec), before, overlap=0.9) == []


def test_every_kind_of_finding_is_planted_above():
    assert {*STATIC, *SEEN} == set(card_lint.KINDS)
    assert len(card_lint.KINDS) == 27
