"""Drift: a profile without lead values, no alarm where nothing changed, and a sentence for every kind of change."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from pipeline.leads import contract, drift
from pipeline.params import Drift, Profile
from tests.small_history import NEWEST, resolved, tables

PROFILE = Profile(min_count=20, values=50, steps=50, recent_days=90)
TINY = Profile(min_count=1, values=50, steps=2, recent_days=59)
LIMITS = Drift(
    psi=0.2, bins=10, missing=0.05, category=0.01, volume=1.5, volume_months=6, conversion=1.25, false_alarm=0.001
)
LONG = pd.Timestamp("2025-01-01")
DAY = pd.Timedelta(days=1)
INDUSTRIES = [f"i{k}" for k in range(8)]


def history(seed: int, leads: int = 3000, months: int = 24) -> dict[str, pd.DataFrame]:
    """A stationary history under the small contract, newest moment `LONG`: every month as the one before."""
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    start = LONG - pd.DateOffset(months=months)
    span = (LONG - start) / DAY
    created = pd.Series(start + pd.to_timedelta(np.sort(rng.random(leads)) * span, unit="D")).astype("datetime64[us]")
    won = (created + pd.to_timedelta(rng.integers(1, 60, leads), unit="D")).where(rng.random(leads) < 0.2)
    table = pd.DataFrame(
        {
            "row": np.arange(1, leads + 1),
            "lead_id": pd.Series([f"L{k:06d}" for k in range(leads)], dtype="str"),
            "created_at": created,
            "converted_at": won.where(won <= LONG),
            "lost_at": pd.Series(pd.NaT, index=created.index, dtype="datetime64[us]"),
            "tax_id": pd.Series([f"T{k}" for k in range(leads)], dtype="str"),
            "employees": np.where(rng.random(leads) < 0.1, np.nan, np.round(rng.lognormal(4, 1.3, leads))),
            "revenue": rng.lognormal(15, 1.5, leads),
            "industry": pd.Series(rng.choice(INDUSTRIES, leads, p=[0.3, 0.2, *[0.5 / 6] * 6]), dtype="str"),
            "opted_in": rng.integers(0, 2, leads).astype("float64"),
            "notes": pd.Series([None] * leads, dtype="str"),
            "has_phone": (rng.random(leads) < 0.7).astype("float64"),
        }
    )
    # A lead comes in bursts: several activities of one kind within days.
    owner = np.repeat(rng.integers(0, leads, 2 * leads), rng.integers(1, 6, 2 * leads))
    when = created.iloc[owner].to_numpy() + pd.to_timedelta(rng.random(len(owner)) * 30, unit="D").to_numpy()
    activities = pd.DataFrame(
        {
            "row": np.arange(1, len(owner) + 1),
            "lead_id": table["lead_id"].iloc[owner].to_numpy(),
            "kind": pd.Series(rng.choice(["visit", "call"], len(owner), p=[0.8, 0.2]), dtype="str"),
            "recorded_at": pd.Series(when).astype("datetime64[us]"),
        }
    )
    activities = activities[activities["recorded_at"] <= LONG].sort_values(["lead_id", "recorded_at"])
    return {"leads": table, "activities": activities.reset_index(drop=True)}


def profile(of: dict[str, pd.DataFrame], newest: pd.Timestamp = LONG, params: Profile = PROFILE) -> dict[str, Any]:
    made = drift.profile(of, resolved(), newest, params)
    assert json.loads(json.dumps(made)) == made, "as it is read back from profile.json"
    return made


def compare(old: dict[str, Any] | None, new: dict[str, Any], profile: Profile = PROFILE) -> pd.DataFrame:
    table = drift.compare(old, new, LIMITS, profile)
    assert list(table.columns) == drift.COLUMNS
    assert ((table["warning"] != "") == (table["figure"] > table["limit"])).all()
    assert not table.duplicated(["what", "column", "detail"]).any()
    return table


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    return profile(history(1))


# The profile


def test_a_profile_counts_what_is_there():
    made = profile(tables(), NEWEST, TINY)
    assert (made["contract"], made["newest"]) == ("small", "2024-03-01T00:00:00")
    assert made["rows"] == {"leads": 3, "activities": 3, "changes": 2}
    assert made["columns"]["industry"]["all"] == {"rows": 3, "missing": 0, "values": {"retail": 2, "R&D <labs>": 1}}
    assert made["columns"]["opted_in"]["all"] == {"rows": 3, "missing": 1, "values": {"false": 1, "true": 1}}
    assert made["columns"]["has_phone"]["all"]["values"] == {"true": 3}
    assert made["columns"]["employees"]["all"] == {"rows": 3, "missing": 1, "steps": [10.0], "up_to": [1]}
    # One of three was created more than 59 days ago, one of them exactly 59 days ago.
    assert made["columns"]["industry"]["recent"]["rows"] == 2
    assert made["columns"]["notes"] == {"type": "other"}
    assert made["volume"]["leads"] == {"months": {"2024-01": 3}, "clumping": 1.0}
    assert made["volume"]["activities: visit"] == {"months": {"2024-01": 2}, "clumping": 1.0}
    # The second lead is open, but its horizon has passed; the first converted a day after its own.
    assert made["conversion"] == {"2024-01": {"leads": 3, "converted": 0}}


def test_personal_columns_and_keys_are_not_described():
    made = profile(history(1))
    assert "phone" not in made["columns"]
    described = {name for name, column in made["columns"].items() if "all" in column}
    assert described == {"employees", "revenue", "industry", "opted_in", "has_phone"}
    assert "L000001" not in json.dumps(made)


def test_a_value_in_few_rows_is_never_listed():
    rare = history(1)
    rare["leads"].loc[:18, "industry"] = "Dr. Rare"
    assert "Rare" not in json.dumps(profile(rare))
    rare["leads"].loc[:19, "industry"] = "Dr. Rare"
    assert profile(rare)["columns"]["industry"]["all"]["values"]["Dr. Rare"] == 20


def test_the_steps_of_a_number_are_nobodys_value():
    leads = history(1)["leads"]
    described = profile({"leads": leads})["columns"]["revenue"]["all"]
    assert not set(described["steps"]) & set(leads["revenue"])
    counts = np.diff([0, *described["up_to"], len(leads)])
    assert counts.min() >= PROFILE.min_count
    assert described["up_to"] == [int((leads["revenue"] <= step).sum()) for step in described["steps"]]


@given(st.lists(st.floats(-1e12, 1e12), max_size=80), st.integers(1, 10), st.integers(2, 30))
def test_steps_rise_and_count_what_does_not_exceed_them(values: list[float], min_count: int, steps: int):
    column = drift._Column()
    column.add(pd.Series(values, dtype="float64"), "number")
    made = column.described("number", Profile(min_count=min_count, values=5, steps=steps, recent_days=1))
    assert made["steps"] == sorted(set(made["steps"]))
    assert made["up_to"] == [sum(value <= step for value in values) for step in made["steps"]]
    assert len(made["steps"]) < steps


@pytest.mark.parametrize("size", [11, 1000, 10_000])
def test_parts_give_the_profile_of_the_whole(size: int):
    whole = history(2, leads=300)
    parts = {
        name: [table.iloc[start : start + size] for start in range(0, len(table), size)]
        for name, table in whole.items()
    }
    assert drift.profile(parts, resolved(), LONG, PROFILE) == profile(whole)


def test_a_source_without_time_axis_has_no_months():
    flag = contract.resolve(
        contract.parse(
            {
                "contract_version": 1,
                "name": "timeless",
                "description": "no time axis",
                "source": {"kind": "files", "leads": {"path": "a.csv"}},
                "key": "row_number",
                "time": {"kind": "none"},
                "outcome": {"kind": "flag", "horizon_days": 0, "column": "bought", "positive": "yes"},
                "columns": {
                    "bought": {"role": "outcome"},
                    "pages": {"role": "feature", "type": "number", "known_at": "creation"},
                },
            },
            file="timeless.yaml",
        )
    )
    leads = pd.DataFrame(
        {
            "lead_id": pd.Series([f"{k:09d}" for k in range(100)], dtype="str"),
            "created_at": pd.Series(np.datetime64(0, "us"), index=range(100), dtype="datetime64[us]"),
            "converted": np.arange(100) % 4 == 0,
            "pages": np.arange(100.0),
        }
    )
    made = drift.profile({"leads": leads}, flag, pd.Timestamp(0), PROFILE)
    assert made["volume"]["leads"]["months"] == {}
    assert made["conversion"] == {"undated": {"leads": 100, "converted": 25}}
    assert "recent" not in made["columns"]["pages"]
    later = leads.assign(converted=np.arange(100) % 2 == 0)
    table = compare(made, drift.profile({"leads": later}, flag, pd.Timestamp(0), PROFILE))
    assert table["what"].tolist() == ["missing", "distribution", "conversion", "newest"]
    assert table.loc[table["what"] == "conversion", "figure"].item() == pytest.approx(2, rel=0.02)


# Nothing changed


def test_without_an_accepted_history_there_is_nothing_to_say(usual):
    assert compare(None, usual).empty


def test_a_history_does_not_differ_from_itself(usual):
    table = compare(usual, usual)
    assert set(table["what"]) == {"missing", "distribution", "volume", "conversion", "newest"}
    assert drift.warnings(table) == []
    unchanged = table["what"].isin(["missing", "distribution", "newest"])
    assert table.loc[unchanged, "figure"].max() == 0
    assert table.loc[table["what"].isin(["volume", "conversion"]), "figure"].tolist() == [1.0] * 4


def test_chance_alone_hardly_ever_warns():
    """Seven stationary histories, small ones too: at most one comparison in three hundred warns (56 pairs of
    histories; on the demo, with 30 pairs of seeds and 30 of random halves, it was 1 of 2,639)."""
    made = [profile(history(seed, leads)) for leads in (300, 3000) for seed in range(10, 17)]
    pairs = [pair for half in (made[:7], made[7:]) for pair in itertools.permutations(half, 2)]
    found = pd.concat([compare(*pair) for pair in pairs])
    assert len(found) > 1000
    assert (found["warning"] != "").mean() <= 1 / 300


def test_random_halves_of_one_history_hardly_ever_warn():
    whole, rng, found = history(3), np.random.default_rng(1), []
    keys = whole["leads"]["lead_id"]
    for _ in range(10):
        mine = set(keys[rng.random(len(keys)) < 0.5])
        halves = [
            {name: table[table["lead_id"].isin(mine) == side] for name, table in whole.items()} for side in (1, 0)
        ]
        found.append(compare(*(profile(half) for half in halves)))
    assert (pd.concat(found)["warning"] != "").mean() <= 1 / 100


def test_a_history_that_only_grew_does_not_warn():
    whole = history(4)
    then = LONG - 60 * DAY
    before = {
        name: table[table["created_at" if name == "leads" else "recorded_at"] <= then] for name, table in whole.items()
    }
    before["leads"] = before["leads"].assign(
        converted_at=before["leads"]["converted_at"].where(before["leads"]["converted_at"] <= then)
    )
    assert drift.warnings(compare(profile(before, then), profile(whole))) == []


# Something changed


def shifted(change: str) -> dict[str, pd.DataFrame]:
    """Another stationary history with one change."""
    changed = history(5)
    leads, activities = changed["leads"], changed["activities"]
    late = leads["created_at"] >= LONG - 75 * DAY
    if change == "numbers":
        leads["employees"] = np.round(leads["employees"] * 3)
    elif change == "newest numbers":
        leads.loc[late, "revenue"] /= 10
    elif change == "shares":
        leads.loc[leads["industry"] == "i0", "industry"] = "i1"
        leads.loc[::3, "industry"] = "i0"
        leads.loc[::4, "industry"] = "i7"
    elif change == "new value":
        leads.loc[late & (leads.index % 4 == 0), "industry"] = "space"
    elif change == "gone value":
        leads.loc[leads["industry"] == "i3", "industry"] = "i4"
    elif change == "missing":
        leads.loc[late & (leads.index % 2 == 0), "opted_in"] = np.nan
    elif change == "fact":
        leads["has_phone"] = 0.0
    elif change == "outage":
        month = activities["recorded_at"].dt.strftime("%Y-%m") == "2024-09"
        changed["activities"] = activities[~(month & (activities["kind"] == "visit"))]
    elif change == "fewer leads":
        changed["leads"] = leads[~late | (leads.index % 4 == 0)]
    elif change == "conversion":
        leads["converted_at"] = leads["converted_at"].where(leads.index % 2 == 0)
    return changed


@pytest.mark.parametrize(
    ("change", "what", "column", "words"),
    [
        ("numbers", "distribution", "employees", "its middle value is about [12][0-9]{2}, there about [45][0-9]$"),
        ("newest numbers", "distribution", "revenue", "among the newest leads"),
        ("shares", "distribution", "industry", "'i[017]' in [0-9.]+%, there in"),
        ("new value", "category", "industry", "holds the new value 'space': [0-9.]+% of the newest leads have it"),
        ("gone value", "category", "industry", "no longer holds 'i3'"),
        ("missing", "missing", "opted_in", "missing in 4[0-9.]+% of the newest leads, in the accepted history in 0.0%"),
        ("fact", "distribution", "has_phone", "'false' in 100.0%, there in [23]"),
        ("outage", "volume", "activities: visit", "0 in 2024-09, [0-9]{3} in the accepted history"),
        ("fewer leads", "volume", "leads", "in 2024-1[12], [0-9]{3} in the accepted history"),
        ("conversion", "conversion", "", "[0-9.]+% of 2,[0-9]{3} leads convert in time, in the accepted"),
    ],
)
def test_every_kind_of_change_is_named(usual, change: str, what: str, column: str, words: str):
    table = compare(usual, profile(shifted(change)))
    found = table[(table["what"] == what) & (table["column"] == column) & (table["warning"] != "")]
    assert len(found) == 1, table[table["warning"] != ""]
    assert pd.Series(found["warning"]).str.contains(words).item(), found["warning"].item()


def test_only_what_changed_is_named(usual):
    for change, columns in {"numbers": {"employees"}, "missing": {"opted_in"}, "gone value": {"industry"}}.items():
        table = compare(usual, profile(shifted(change)))
        assert set(table.loc[table["warning"] != "", "column"]) == columns


def test_new_months_are_compared_with_the_months_before_them():
    """The accepted history ends in October; of November and December only a third is in the new one."""
    then = LONG - 62 * DAY
    whole = history(6)
    before = {
        name: table[table["created_at" if name == "leads" else "recorded_at"] <= then] for name, table in whole.items()
    }
    late = whole["leads"]["created_at"] > pd.Timestamp("2024-11-01")
    whole["leads"] = whole["leads"][~late | (whole["leads"].index % 3 == 0)]
    table = compare(profile(before, then), profile(whole))
    leads = table[(table["what"] == "volume") & (table["column"] == "leads")]
    assert leads["detail"].item() in ("2024-11", "2024-12")
    assert "in the 6 months before (median)" in leads["warning"].item()


def test_columns_that_come_go_or_change_their_type(usual):
    new = json.loads(json.dumps(usual))
    del new["columns"]["revenue"]
    new["columns"]["budget"] = usual["columns"]["revenue"]
    new["columns"]["employees"]["type"] = "category"
    table = compare(usual, new)
    assert table.loc[table["what"] == "column", ["column", "warning"]].values.tolist() == [
        ["employees", "column `employees` is read as category, in the accepted history as number"],
        ["budget", "column `budget` is new: the accepted history did not have it"],
        ["revenue", "column `revenue` is gone: the accepted history had it"],
    ]


def test_an_older_history_is_told(usual):
    old = history(1)
    then = LONG - 100 * DAY
    old["leads"] = old["leads"][old["leads"]["created_at"] <= then]
    table = compare(usual, profile(old, then))
    assert table.loc[table["what"] == "newest", "warning"].item().startswith("the history ends 100.0 days before")


def test_one_lead_is_no_news(usual):
    """A single lead with a new value, or the last of a rare one, changes nothing that is told."""
    changed = history(1)
    changed["leads"].loc[0, "industry"] = "space"
    assert drift.warnings(compare(usual, profile(changed))) == []


# The figures by another route


def test_the_stability_index_by_hand():
    # (0.5 - 0.25) ln 2 + (0.5 - 0.75) ln(2/3) = 0.2747; the half row per bin is lost in a million.
    assert drift._psi(np.array([5e5, 5e5]), np.array([2.5e5, 7.5e5])) == pytest.approx(0.27465, abs=1e-4)
    assert drift._psi(np.array([0.0, 1e3]), np.array([0.0, 2e3])) < 0.001


@pytest.mark.parametrize("degrees", [1, 2, 5, 9, 20, 50])
@pytest.mark.parametrize("above", [0.1, 0.01, 0.001])
def test_the_chi_square_limit_is_that_of_a_library(degrees: int, above: float):
    assert drift._chi_square(degrees, above) == pytest.approx(chi2.isf(above, degrees), rel=0.04)


def test_steps_read_off_another_history_are_near_the_truth():
    a, b = history(7)["leads"], history(8)["leads"]
    described = profile({"leads": b})["columns"]["revenue"]["all"]
    for step in profile({"leads": a})["columns"]["revenue"]["all"]["steps"]:
        read = drift._up_to(step, described, len(b))
        assert read == pytest.approx((b["revenue"] <= step).sum(), abs=0.01 * len(b))
