"""Open leads by points: exact tables, points that add up to the tenth, rates of earlier leads near a known truth."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pipeline.params import CardRates
from pipeline.scoring import card_ranking
from tests import small_cards

RATES = CardRates(min_conversions=4, bands=2, prior_conversions=1.0)
NAMES = ["Retail", "Large", "Opted in", "Visits", "Talks", "Silent"]


def counted(*rows):
    """Points as `card.points` returns them, from (lead, points of each criterion, suppressor)."""
    card = small_cards.card()
    table = []
    for lead, earned, suppressed in rows:
        total = min(min(sum(earned[:3]), 30) + sum(earned[3:]), 50)
        qualifies = total >= card.qualifies_at and not suppressed
        table.append([lead, pd.Timestamp("2024-03-01"), total, qualifies, suppressed, *earned])
    return pd.DataFrame(table, columns=["lead_id", "as_of", "total", "qualifies", "suppressed", *NAMES])


NO_BANDS = card_ranking.bands(counted(("x", [0.0] * 6, "")), np.array([0]), RATES, 0.9)


def test_best_first_equals_by_key_and_those_held_back_last():
    rows = [
        ("c", [10.0, 0, 0, 8.0, 0, 0], ""),
        ("a", [10.0, 0, 0, 8.0, 0, 0], ""),
        ("d", [10.0, 15.0, 10.0, 20.0, 10.0, 0], "No phone"),
        ("b", [0, 15.0, 0, 5.55, 10.0, 0], ""),
        ("e", [0, 0, 0, 0, 0, -5.0], ""),
    ]
    found = card_ranking.ranked(small_cards.card(), counted(*rows), NO_BANDS, 2)
    assert list(found) == list(card_ranking.COLUMNS)
    assert found["lead_id"].tolist() == ["b", "a", "c", "e", "d"]
    assert found["points"].tolist() == [30.5, 18, 18, -5, 50]
    assert found["qualified"].tolist() == [True, False, False, False, False]
    assert found["held_back"].tolist() == ["", "", "", "", "No phone"]
    assert found["held_back_because"].tolist() == ["", "", "", "", "has_phone is false"]
    assert found["top_reasons"].tolist()[:2] == ["+15.0 Large; +10.0 Talks", "+10.0 Retail; +8.0 Visits"]
    assert found[["earlier_rate", "earlier_low", "earlier_high", "earlier_leads"]].isna().all(axis=None)
    # Shuffled leads come out the same.
    again = card_ranking.ranked(small_cards.card(), counted(*rows[::-1]), NO_BANDS, 2)
    pd.testing.assert_frame_equal(again, found)


def test_what_a_cap_takes_off_is_an_entry_of_its_own():
    found = card_ranking.ranked(
        small_cards.card(), counted(("d", [10.0, 15.0, 10.0, 20.0, 10.0, 0.0], "")), NO_BANDS, 9
    )
    assert json.loads(found["reasons"].iloc[0]) == [
        {"criterion": "Visits", "points": 20.0},
        {"criterion": "Large", "points": 15.0},
        {"criterion": "Retail", "points": 10.0},
        {"criterion": "Opted in", "points": 10.0},
        {"criterion": "Talks", "points": 10.0},
        {"criterion": "above the card's cap of 50", "points": -10.0},
        {"criterion": "above the cap of 30 for fit", "points": -5.0},
    ]


def test_nobody_to_rank_is_an_empty_table():
    found = card_ranking.ranked(small_cards.card(), counted(("x", [0.0] * 6, "")).iloc[:0], NO_BANDS, 5)
    assert found.empty and list(found) == list(card_ranking.COLUMNS)


def test_tenths_of_a_worked_row():
    assert card_ranking.in_tenths(np.array([[5.55, 4.0, 0.48], [-0.05, 0.0, 0.1]])).tolist() == [
        [55, 40, 5],
        [-1, 0, 1],
    ]


numbers = st.integers(-400, 400).map(lambda tenths: tenths / 10) | st.floats(-40, 40, width=32).map(float)


@given(st.lists(numbers, min_size=1, max_size=12))
def test_tenths_add_up_stay_near_and_leave_whole_tenths_as_they_are(row):
    tenths = card_ranking.in_tenths(np.array([row]))[0]
    assert tenths.sum() == np.floor(round(float(np.sum(np.array(row) * 10)), 6))
    for value, shown in zip(row, tenths, strict=True):
        assert abs(value * 10 - shown) < 1 + 1e-5
        if value == round(value, 1):
            assert shown == round(value * 10)


@given(
    st.lists(st.lists(numbers, min_size=6, max_size=6), min_size=1, max_size=6),
    st.sampled_from([None, 20.0]),
    st.sampled_from([None, 25.5]),
)
def test_reasons_add_up_to_the_points_and_who_is_shown_with_enough_qualifies(rows, group_cap, cap):
    groups = {"fit": {} if group_cap is None else {"cap": group_cap}, "engagement": {}}
    card = small_cards.card(cap=cap, groups=groups, qualifies_at=12.3)
    earned = pd.DataFrame(rows, columns=NAMES)
    fit = earned[NAMES[:3]].sum(axis=1).clip(upper=group_cap)
    total = (fit + earned[NAMES[3:]].sum(axis=1)).clip(upper=cap)
    table = earned.assign(lead_id=[f"L{k}" for k in range(len(rows))], as_of=pd.Timestamp("2024-03-01"), total=total)
    found = card_ranking.ranked(card, table.assign(qualifies=total.round(9) >= 12.3, suppressed=""), NO_BANDS, 3)
    for row in found.to_dict("records"):
        told = json.loads(row["reasons"])
        assert sum(round(10 * one["points"]) for one in told) == round(10 * row["points"])
        assert all(one["points"] for one in told)
        exact = float(total.iloc[int(row["lead_id"][1:])])
        assert row["points"] <= exact + 1e-6 < row["points"] + 0.1 + 2e-6
        if abs(exact - 12.3) > 1e-6:
            assert row["qualified"] == (row["points"] >= 12.3)


# What earlier leads did


def looks(*rows):
    """Earlier looks as (lead, day, total, label)."""
    lead, day, total, label = zip(*rows, strict=True)
    as_of = pd.Timestamp("2024-01-01") + pd.to_timedelta(list(day), unit="D")
    table = pd.DataFrame({"lead_id": lead, "as_of": as_of, "total": [float(one) for one in total], "suppressed": ""})
    return table, np.array(label)


def test_a_small_history_counted_out():
    """Ten leads below 20 points, of which one converts, and ten from there on, of which three do."""
    low = [(f"a{k}", 3, k, int(k == 0)) for k in range(10)]
    high = [(f"b{k}", 3, 20 + k, int(k < 3)) for k in range(10)]
    # A second look at a lead in the same band counts no second time, whatever came of it.
    table, label = looks(*low, *high, ("b9", 10, 29, 1), ("a9", 10, 9, 0))
    found = card_ranking.bands(table, label, RATES, 0.9)
    assert list(found) == list(card_ranking.BANDS)
    # The middle of the 22 looks lies between 9 and 20: 14.5.
    assert found["points_from"].tolist() == [-np.inf, 14.5] and found["points_below"].tolist() == [14.5, np.inf]
    assert found[["leads", "conversions"]].to_numpy().tolist() == [[10, 1], [10, 3]]
    # Together 4 of 20 convert: one more conversion at that rate is five more leads.
    assert found["rate"].tolist() == [2 / 15, 4 / 15]
    for row, (a, b) in zip(found.to_dict("records"), [(2, 13), (4, 11)], strict=True):
        # A Beta variable with whole parameters lies below x as often as a + b - 1 draws hold a hits (Pearson 1924).
        assert binom.sf(a - 1, a + b - 1, row["low"]) == pytest.approx(0.05)
        assert binom.sf(a - 1, a + b - 1, row["high"]) == pytest.approx(0.95)


def test_without_enough_conversions_or_without_a_lead_that_stayed_there_is_no_rate():
    rows = [(f"a{k}", 3, k, int(k < 4)) for k in range(10)]
    assert len(card_ranking.bands(*looks(*rows), RATES, 0.9)) == 2
    assert card_ranking.bands(*looks(*rows[1:]), RATES, 0.9).empty
    # Two looks at one conversion are one lead that converted.
    assert card_ranking.bands(*looks(*rows[1:], ("a1", 10, 1, 1)), RATES, 0.9).empty
    assert card_ranking.bands(*looks(*rows[:4]), RATES, 0.9).empty
    table, label = looks(*rows)
    assert card_ranking.bands(table.assign(suppressed=["No phone", *[""] * 9]), label, RATES, 0.9).empty


def test_points_that_are_all_the_same_are_one_band_with_the_common_rate():
    found = card_ranking.bands(*looks(*[(f"a{k}", 3, 7, int(k < 4)) for k in range(16)]), RATES, 0.9)
    assert found["rate"].tolist() == [0.25] and found["leads"].tolist() == [16]


def test_a_lead_has_the_rate_of_its_band_to_the_very_bound_and_none_where_it_is_held_back():
    low = [(f"a{k}", 3, k, int(k == 0)) for k in range(10)]
    high = [(f"b{k}", 3, 20 + k, int(k < 3)) for k in range(10)]
    bands = card_ranking.bands(*looks(*low, *high), RATES, 0.9)
    visits = [("w", 14.49, ""), ("x", 14.5, ""), ("y", -3.0, ""), ("z", 20.0, "No phone")]
    table = counted(*[(lead, [0, 0, 0, points, 0, 0], held) for lead, points, held in visits])
    found = card_ranking.ranked(small_cards.card(), table, bands, 1).set_index("lead_id")
    assert found["earlier_rate"].fillna(-1).to_dict() == {"w": 2 / 15, "x": 4 / 15, "y": 2 / 15, "z": -1}
    assert found["earlier_leads"].dropna().tolist() == [10, 10, 10]


def drawn(rng, leads, weight):
    """A history whose leads convert by a known law: 10 % at no points, and `weight` log-odds more with each."""
    total = rng.normal(0, 10, leads)
    truth = 1 / (1 + np.exp(-(np.log(1 / 9) + weight * total)))
    table = pd.DataFrame({"lead_id": [f"L{k:04d}" for k in range(leads)], "as_of": pd.Timestamp("2024-01-01")})
    return table.assign(total=total, suppressed=""), (rng.random(leads) < truth).astype(int), truth


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_intervals_hold_the_true_rate_about_as_often_as_they_say(weight):
    """A hundred histories of 400 leads, five bands each: 500 intervals at 90 %; the truth is known."""
    rng = np.random.default_rng(np.random.SeedSequence([5, *b"bands"]))
    rates = CardRates(min_conversions=10, bands=5, prior_conversions=1.0)
    held, apart, bare = [], [], []
    for _ in range(100):
        table, label, truth = drawn(rng, 400, weight)
        found = card_ranking.bands(table, label, rates, 0.9)
        place = np.searchsorted(found["points_from"].to_numpy()[1:], table["total"], side="right")
        true = pd.Series(truth).groupby(place).mean()
        held += ((found["low"] <= true) & (true <= found["high"])).tolist()
        apart += ((found["rate"] - true) ** 2).tolist()
        bare += ((found["conversions"] / found["leads"] - true) ** 2).tolist()
    assert 0.88 <= np.mean(held) <= 0.96
    # Drawn to the common rate, rates are nearer to the truth where points tell nothing, and not further where they do.
    assert np.mean(apart) < (0.9 if weight == 0 else 1.0) * np.mean(bare)
