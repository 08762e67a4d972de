"""Learned points: a known law is found again, verdicts follow from intervals, and what is missing is named."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import NotEnoughData
from pipeline.leads.cards import describe, parse
from pipeline.params import CardSuggestion
from pipeline.scoring import card_suggest
from pipeline.scoring.card import Known, add_up
from tests import small_cards

#: Log-odds of the law, per firing; a point is worth 0.1.
LAW = {"Retail": 1.0, "Large": 1.5, "Opted in": 0.0, "Calls": 0.5}

LIMITS = CardSuggestion(min_rows=200, min_z=3.0, steps=10)

CRITERIA = [
    {"name": "Retail", "group": "fit", "points": 10, "when": {"column": "industry", "is": "retail"}},
    {"name": "Large", "group": "fit", "points": -15, "when": {"column": "employees", "at_least": 1000}},
    {"name": "Opted in", "group": "fit", "points": 5, "when": {"column": "opted_in", "is": True}},
    {"name": "Calls", "group": "engagement", "points": 20, "per": {"activity": "call", "within_days": 30}},
    {"name": "Never", "group": "engagement", "points": 5, "when": {"activity": "call", "within_days": 1}},
]


@pytest.fixture(scope="module")
def world(project_root):
    """Six thousand leads at one date each, two in three of the train window; phones matter, no criterion asks."""
    rng = np.random.default_rng(np.random.SeedSequence([9, *b"suggest"]))
    n = 6000
    frame = pd.DataFrame(
        {
            "lead_id": pd.Series([f"L{k:04d}" for k in range(n)], dtype="str"),
            "created_at": pd.Timestamp("2024-01-01"),
            "as_of": pd.Timestamp("2024-02-01"),
            "employees": rng.choice([10.0, 2000.0], n),
            "revenue": rng.choice([1.0, 2.0, 3.0], n),
            "industry": pd.Series(rng.choice(["retail", "R&D <labs>"], n), dtype="str"),
            "opted_in": rng.choice([0.0, 1.0], n),
            "has_phone": rng.choice([0.0, 1.0], n),
        }
    ).astype({"created_at": "datetime64[us]", "as_of": "datetime64[us]"})
    calls = rng.integers(0, 3, n)
    owner = np.repeat(np.arange(n), calls)
    acts = pd.DataFrame({"lead_id": frame["lead_id"].iloc[owner].to_numpy(), "kind": "call"})
    acts = acts.assign(happened_at=pd.Timestamp("2024-01-20"), recorded_at=pd.Timestamp("2024-01-20")).astype(
        {"happened_at": "datetime64[us]", "recorded_at": "datetime64[us]", "lead_id": "str", "kind": "str"}
    )
    changes = pd.DataFrame(columns=["lead_id", "column", "recorded_at", "old_value", "new_value"], dtype="str")
    changes["recorded_at"] = changes["recorded_at"].astype("datetime64[us]")
    margin = (
        -2.5
        + LAW["Retail"] * (frame["industry"] == "retail")
        + LAW["Large"] * (frame["employees"] >= 1000)
        + LAW["Calls"] * calls
        + 1.0 * frame["has_phone"]
    )
    frame["label"] = (rng.random(n) < 1 / (1 + np.exp(-margin))).astype("int8")
    frame["split"] = np.where(np.arange(n) % 3 < 2, "train", "calibrate")
    frame["age_days"] = 31.0
    spec = small_cards.spec(project_root)
    return frame, lambda card: Known.of(card, frame, acts, changes, spec), spec


def card(**changes):
    return small_cards.card(**({"criteria": CRITERIA, "suppressors": [], "cap": None, "qualifies_at": 20} | changes))


@pytest.fixture(scope="module")
def found(world):
    return card_suggest.suggest(card(), *world, 0.9, LIMITS)


def test_the_law_is_found_in_the_cards_unit(found):
    """Log-odds over one unit: 10 to 15 to 0 to 5, as the law has it, times what the unit makes of a point."""
    points = found.points.set_index("criterion")
    unit = np.log(2) / found.double_odds
    for name, weight in LAW.items():
        assert points.loc[name, "learned_low"] * unit - 0.1 < weight < points.loc[name, "learned_high"] * unit + 0.1
        assert points.loc[name, "learned"] == round(
            (points.loc[name, "learned_low"] + points.loc[name, "learned_high"]) / 2
        )


def test_verdicts_name_sign_size_and_what_adds_nothing(found):
    assert found.points.set_index("criterion")["verdict"].to_dict() == {
        "Retail": "too few points",
        "Large": "wrong sign",
        "Opted in": "adds nothing",
        "Calls": "too many points",
        "Never": "tells nobody apart",
    }
    never = found.points.set_index("criterion").loc["Never"]
    assert never["learned"] == 0 and never["rows"] == 0 and np.isnan(never["conversion"])


@pytest.mark.parametrize(
    ("points", "low", "high", "said"),
    [
        (5, 4, 6, "fits"),
        (5, 5, 6, "fits"),
        (7, 4, 6, "too many points"),
        (3, 4, 6, "too few points"),
        (0, 4, 6, "too few points"),
        (-5, 4, 6, "wrong sign"),
        (-5, -4, -2, "too many points"),
        (-1, -4, -2, "too few points"),
        (5, 0, 6, "adds nothing"),
        (5, -1, 6, "adds nothing"),
        (5, np.nan, np.nan, "tells nobody apart"),
    ],
)
def test_a_verdict_follows_from_the_interval(points, low, high, said):
    assert card_suggest.verdict(points, low, high) == said


def test_counts_and_rates_beside_the_points(found, world):
    frame, points = world[0], found.points.set_index("criterion")
    retail = frame["industry"] == "retail"
    assert points.loc["Retail", "rows"] == retail.sum()
    assert points.loc["Retail", "conversion"] == pytest.approx(frame.loc[retail, "label"].mean())
    assert points.loc["Retail", "conversion_else"] == pytest.approx(frame.loc[~retail, "label"].mean())


def test_what_no_criterion_looks_at_and_would_add_is_named(found):
    assert found.missing["condition"].tolist() == ["has_phone is true"]
    one = found.missing.iloc[0]
    unit = np.log(2) / found.double_odds
    assert one["points"] * unit == pytest.approx(1.0, abs=0.2)
    assert one["z"] > 5 and one["log_loss_gain"] > 0
    covered = small_cards.CARD["suppressors"]
    assert (
        card_suggest.candidates(
            card(suppressors=covered), pd.DataFrame(), {"profile": [], "kinds": [], "aged": False}, 10
        )
        == []
    )


def test_what_adds_on_the_train_window_alone_is_not_missing(world):
    """Where phones no longer matter in the calibrate window, and rather the other way round, nothing is proposed."""
    frame, look, spec = world
    rng = np.random.default_rng(np.random.SeedSequence([9, *b"turned"]))
    turned = (frame["split"] == "calibrate") & (rng.random(len(frame)) < 0.3)
    label = frame["label"].mask(turned, 1 - frame["has_phone"]).astype("int8")
    assert card_suggest.suggest(card(), frame.assign(label=label), look, spec, 0.9, LIMITS).missing.empty


def test_a_limit_that_no_condition_meets_leaves_nothing_missing(found, world):
    assert len(found.missing)
    for strict in (LIMITS.model_copy(update={"min_rows": 3000}), LIMITS.model_copy(update={"min_z": 50.0})):
        assert card_suggest.suggest(card(), *world, 0.9, strict).missing.empty


def test_a_number_is_tried_in_so_many_steps(world):
    frame, _, spec = world
    numbers = frame.assign(revenue=np.arange(len(frame), dtype="float64"))
    for steps in (2, 10):
        tried = [one for _, one in card_suggest.candidates(card(), numbers, spec, steps) if "revenue" in repr(one)]
        assert len(tried) == steps - 1


def test_learned_points_do_better_on_rows_that_they_were_not_learned_from(found):
    ahead = found.ahead.set_index("system")["auc"]
    assert list(ahead.index) == ["hand-made", "learned", "learned, with what is missing"]
    assert ahead.is_monotonic_increasing
    assert ahead["learned"] - ahead["hand-made"] > 0.05
    assert found.better


def test_the_unit_hands_out_as_many_points_as_before(found, world):
    look = world[1]
    known = look(card())
    before = add_up(card(), known)[list(LAW)].abs().to_numpy().sum()
    after = add_up(found.card, known)[[name for name in LAW if name in {one.name for one in found.card.criteria}]]
    assert after.abs().to_numpy().sum() == pytest.approx(before, rel=0.05)


def test_the_learned_card_is_a_card_and_lets_as_many_qualify(found, world):
    look = world[1]
    assert parse(describe(found.card), file="learned.yaml") == found.card
    assert all(float(one.points).is_integer() for one in found.card.criteria)
    assert {one.name for one in found.card.criteria} == {"Retail", "Large", "Calls"}
    before, after = (add_up(one, look(one))["qualifies"].mean() for one in (card(), found.card))
    assert after == pytest.approx(before, abs=0.1)


def test_twice_the_points_by_hand_are_twice_the_points_learned(found, world):
    twice = [one | {"points": 2 * one["points"]} for one in CRITERIA]
    other = card_suggest.suggest(card(criteria=twice, qualifies_at=40), *world, 0.9, LIMITS)
    assert other.double_odds == pytest.approx(2 * found.double_odds, rel=1e-9)
    assert (other.points["learned"] - 2 * found.points["learned"]).abs().max() <= 1


def test_intervals_count_the_looks_at_one_lead_as_one(world):
    """Every row twice under the same lead: nothing is known better than before."""
    frame, look = world[:2]
    places = np.repeat(np.arange(len(frame)), 2)
    known = look(card())
    fired = card_suggest.effective(card(), known)
    once = card_suggest._Fit.of(fired, frame["label"].to_numpy(float), np.arange(len(frame)))
    twice = card_suggest._Fit.of(
        fired.iloc[places].reset_index(drop=True), frame["label"].to_numpy(float)[places], places
    )
    assert twice.of_column("Retail")[1] == pytest.approx(once.of_column("Retail")[1], rel=0.01)


def test_one_outcome_and_criteria_that_tell_nobody_apart_teach_nothing(world):
    frame, look, spec = world
    with pytest.raises(
        NotEnoughData, match=r"train window holds one outcome only; .* before there is at least 1 more conversion"
    ):
        card_suggest.suggest(card(), frame.assign(label=0), look, spec, 0.9, LIMITS)
    with pytest.raises(NotEnoughData, match="tells one lead of the history from another"):
        card_suggest.suggest(card(criteria=CRITERIA[4:]), frame, look, spec, 0.9, LIMITS)
