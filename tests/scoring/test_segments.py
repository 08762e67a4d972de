"""Segments: values as text, counts by another route, known truth found, chance left alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

from pipeline.scorer.worth import levels
from pipeline.scoring import metrics, segments

SIZE = {"name": "employees", "criterion": "Company size", "type": "number"}
SOURCE = {"name": "source", "criterion": "Lead source", "type": "category"}
PHONE = {"name": "has_phone", "criterion": "Phone known", "type": "boolean"}
OPTIONS = {"min_leads": 50, "false_discoveries": 0.1, "level": 0.9, "samples": 50, "seed": 1}


def leads(n: int, seed: int, chance=lambda frame: np.full(len(frame), 0.2)) -> pd.DataFrame:
    """Random leads, who convert with the chance given."""
    rng = np.random.default_rng([seed, 3])
    frame = pd.DataFrame(
        {
            "lead_id": [f"L{k:05d}" for k in range(n)],
            "employees": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(4, 1, n).round()),
            "source": pd.Series(rng.choice(["referral", "search", "event", "list"], n), dtype="str"),
            "has_phone": (rng.random(n) < 0.6).astype("float64"),
        }
    )
    frame["converted"] = (rng.random(n) < chance(frame)).astype("int8")
    value = np.where(frame["employees"] > 100, 300.0, 100.0)
    return frame.assign(value=np.where((frame["converted"] == 1) & (rng.random(n) < 0.9), value, np.nan))


def test_the_columns_that_say_who_a_lead_is():
    spec = {
        "profile": [
            {"name": "size", "criterion": "Size", "group": "fit", "kind": "number", "declared": {"type": "integer"}},
            {
                "name": "status",
                "criterion": "S",
                "group": "engagement",
                "kind": "category",
                "declared": {"type": "category"},
            },
            {"name": "phone", "criterion": "Phone", "group": "fit", "kind": "number", "declared": {"type": "boolean"}},
            {"name": "land", "criterion": "Land", "group": "fit", "kind": "category", "declared": {"type": "category"}},
        ]
    }
    assert segments.columns_of(spec) == [
        {"name": "size", "criterion": "Size", "type": "number"},
        {"name": "phone", "criterion": "Phone", "type": "boolean"},
        {"name": "land", "criterion": "Land", "type": "category"},
    ]


@pytest.mark.parametrize(
    ("values", "bins", "bounds"),
    [
        ([1, 2, 3, 4], 2, [2.5]),
        ([1234, 5678, 9012, 3456], 2, [4600.0]),  # 4567, said in two digits
        ([7, 7, 7], 4, []),  # one value
        ([0, 0, 0, 1], 4, [0.25]),  # 0 and 0.25: below 0 there is no lead
        ([np.nan], 3, []),
    ],
)
def test_bounds(values, bins, bounds):
    frame = pd.DataFrame({"employees": np.array(values, dtype="float64")})
    assert segments.with_bounds(frame, [SIZE], bins) == [{**SIZE, "bounds": bounds}]


def test_values_as_text():
    frame = pd.DataFrame(
        {
            "employees": [19.9, 20.0, 63.0, 64.0, np.nan],
            "source": pd.Series(["NA", "list", None, "list", "event"], dtype="str"),
            "has_phone": [1.0, 0.0, np.nan, 1.0, 0.0],
        }
    )
    columns = [SIZE | {"bounds": [20.0, 64.0]}, SOURCE | {"bounds": []}, PHONE | {"bounds": []}]
    assert levels(frame, columns).to_dict("list") == {
        "employees": ["under 20", "20 to under 64", "20 to under 64", "64 and over", "(missing)"],
        "source": ["NA", "list", "(missing)", "list", "event"],
        "has_phone": ["yes", "no", "(missing)", "yes", "no"],
    }
    [one] = levels(frame, [SIZE | {"bounds": []}]).to_numpy().T.tolist()
    assert one == ["any", "any", "any", "any", "(missing)"]
    millions = pd.DataFrame({"employees": [999_999.0, 1e6, 5e8]})
    said = levels(millions, [SIZE | {"bounds": [1e6, 5e8]}])["employees"].tolist()
    assert said == ["under 1,000,000", "1,000,000 to under 500,000,000", "500,000,000 and over"]


def told(before: pd.DataFrame, after: pd.DataFrame, **changes: object) -> pd.DataFrame:
    columns = segments.with_bounds(before, [SIZE, SOURCE, PHONE], 3)
    return segments.profile(before, after, columns, **OPTIONS | changes)


def by_referral_and_phone(frame: pd.DataFrame) -> np.ndarray:
    """Referrals convert twice as often as others; those with a phone number twice as often again."""
    referral = (frame["source"] == "referral").to_numpy()
    return 0.1 * np.where(referral, 2, 1) * np.where(referral & (frame["has_phone"] == 1), 2, 1)


def test_a_known_profile_is_found_and_stated_on_later_leads():
    before, after = leads(6000, 1, by_referral_and_phone), leads(3000, 2, by_referral_and_phone)
    table = told(before, after)
    assert list(table.columns) == segments.COLUMNS
    first = table.iloc[0]
    assert (first["segment"], first["direction"]) == ("Lead source: referral and Phone known: yes", "more")
    assert first["low"] < 0.4 < first["high"]
    assert bool(first["confirmed"])
    assert "Lead source: referral" in set(table["segment"])
    # Size has no part in it, and no pair of it may ride on what the other part knows.
    assert not table["segment"].str.contains("Company size").any()

    # By another route: the figures of every segment, from the rows that its own words describe.
    text = levels(after, segments.with_bounds(before, [SIZE, SOURCE, PHONE], 3))
    named = {"Company size": "employees", "Lead source": "source", "Phone known": "has_phone"}
    for row in table.to_dict("records"):
        rows = after
        for part in row["segment"].split(" and "):
            criterion, value = part.split(": ")
            rows = rows[text.loc[rows.index, named[criterion]] == value]
        assert (row["later_leads"], row["later_conversions"]) == (len(rows), rows["converted"].sum())
        low, high = metrics.wilson(rows["converted"].sum(), len(rows), 0.9)
        assert (row["low"], row["high"]) == (float(low), float(high))
        assert row["later_lift"] == pytest.approx(rows["converted"].mean() / after["converted"].mean())
        worth = rows["value"].fillna(before["value"].mean()).where(rows["converted"] == 1, 0)
        assert row["value_per_lead"] == pytest.approx(worth.mean())
        assert row["value_low"] <= row["value_per_lead"] <= row["value_high"]


def test_columns_of_one_criterion_are_told_apart():
    before = leads(3000, 1, by_referral_and_phone)
    columns = [SOURCE | {"bounds": []}, PHONE | {"bounds": [], "criterion": "Lead source"}]
    table = segments.profile(before, before, columns, **OPTIONS)
    assert "Lead source (source): referral and Lead source (has_phone): yes" in set(table["segment"])


def test_the_test_is_against_the_rest():
    """One criterion, two values: p of the exact law, which is that of both values."""
    before = leads(400, 4)
    table = segments.profile(before, before, [PHONE | {"bounds": []}], **OPTIONS | {"false_discoveries": 1.0})
    with_phone = before["has_phone"] == 1
    k, n, hits = before.loc[with_phone, "converted"].sum(), with_phone.sum(), before["converted"].sum()
    law = hypergeom(len(before), hits, n)
    p = min(1.0, 2 * min(law.cdf(k), law.sf(k - 1)))
    assert table["segment"].tolist() in (
        ["Phone known: yes", "Phone known: no"],
        ["Phone known: no", "Phone known: yes"],
    )
    assert table["q"].tolist() == pytest.approx([p, p])
    assert sorted(table["direction"]) == ["less", "more"]


def test_chance_alone_is_seldom_named():
    """Of 20 histories without any profile, about one in ten may name something; more than 5 at a chance of 1 %."""
    alarms = sum(len(told(leads(800, seed), leads(50, seed + 100), samples=2)) > 0 for seed in range(20))
    assert alarms <= 5


def test_small_segments_are_not_looked_at():
    before = leads(3000, 6, by_referral_and_phone)
    table = told(before, leads(500, 7), min_leads=700)
    assert (table["leads"] >= 700).all() and len(table)
    assert not (table["criteria"] == 2).any()


def test_without_deal_values_there_is_no_value():
    before, after = leads(3000, 8, by_referral_and_phone), leads(500, 9)
    table = told(before.assign(value=np.nan), after)
    assert len(table)
    assert table[["value_per_lead", "value_low", "value_high", "value_lift"]].isna().all(axis=None)
    pd.testing.assert_series_equal(table["low"], told(before, after)["low"])


def test_a_segment_that_no_later_lead_holds():
    before, after = leads(3000, 8, by_referral_and_phone), leads(500, 9)
    table = told(before, after[after["source"] != "referral"].reset_index(drop=True)).set_index("segment")
    gone = table.loc["Lead source: referral"]
    assert gone["later_leads"] == 0 and not gone["confirmed"]
    assert gone[["later_conversion", "low", "high", "value_per_lead"]].isna().all()


def test_nothing_to_tell_is_an_empty_table():
    before = leads(60, 10)
    assert list(told(before, before, min_leads=50).columns) == segments.COLUMNS
    assert not len(told(before, before, min_leads=1000))


def test_the_order_of_the_rows_does_not_matter():
    before, after = leads(2000, 11, by_referral_and_phone), leads(300, 12)
    other = before.sample(frac=1, random_state=1).reset_index(drop=True)
    pd.testing.assert_frame_equal(told(before, after), told(other, after))
