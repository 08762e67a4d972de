"""Tiers over time: exact on a small table, silent under chance, and aware of what moved."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact

from pipeline.scoring import metrics, tier_history


def leads(counts: dict[tuple[str, str], tuple[int, int]]) -> pd.DataFrame:
    """(as-of date, tier) -> leads, and how many of them convert."""
    rows = [
        (pd.Timestamp(date), tier, int(k < won)) for (date, tier), (held, won) in counts.items() for k in range(held)
    ]
    return pd.DataFrame(rows, columns=["as_of", "tier", "label"])


def history(frame: pd.DataFrame, **changes: object) -> pd.DataFrame:
    options = {"period": "month", "level": 0.9, "false_discoveries": 0.1} | changes
    return tier_history.by_period(frame, ["A", "B"], **options)


STEADY = {("2024-01-01", "A"): (10, 4), ("2024-01-31", "B"): (30, 3), ("2024-02-01", "A"): (12, 5)}


def test_shares_and_conversions_per_month():
    table = history(leads(STEADY | {("2024-02-29", "B"): (28, 2)}))
    assert table[["period", "tier", "leads"]].to_numpy().tolist() == [
        ["2024-01", "A", 10],
        ["2024-01", "B", 30],
        ["2024-02", "A", 12],
        ["2024-02", "B", 28],
    ]
    first = table.iloc[0]
    assert (first["share"], first["share_others"]) == (10 / 40, 12 / 40)
    assert (first["conversion"], first["conversion_others"]) == (4 / 10, 5 / 12)
    assert (first["share_low"], first["share_high"]) == tuple(map(float, metrics.wilson(10, 40, 0.9)))
    assert (first["conversion_low"], first["conversion_high"]) == tuple(map(float, metrics.wilson(4, 10, 0.9)))
    assert (table[["share_moved", "conversion_moved"]] == "").all(axis=None)
    assert table.groupby("period")["share"].sum().tolist() == [1.0, 1.0]


def test_a_tier_without_leads_has_no_conversion():
    table = history(leads(STEADY))
    empty = table.iloc[3]
    assert (empty["leads"], empty["share"]) == (0, 0.0)
    assert empty[["conversion", "conversion_low", "conversion_high"]].isna().all()
    # All forty leads of January against twelve of February: the one tier holds all of them.
    assert table["share_moved"].tolist() == ["down", "up", "up", "down"]


def test_one_period_has_nothing_to_be_compared_with():
    table = history(leads(STEADY), period="quarter")
    assert table["period"].tolist() == ["2024Q1", "2024Q1"]
    assert table[["share_others", "conversion_others"]].isna().all(axis=None)
    assert (table[["share_moved", "conversion_moved"]] == "").all(axis=None)


def test_what_moved_is_flagged_and_nothing_else():
    """March's tier A swells from a tenth to a third; April's converts half as often."""
    rows = {}
    for month in range(1, 7):
        held = 330 if month == 3 else 100
        won = 20 if month == 4 else round(0.4 * held)
        rows |= {
            (f"2024-{month:02d}-15", "A"): (held, won),
            (f"2024-{month:02d}-16", "B"): (1000 - held, (1000 - held) // 10),
        }
    table = history(leads(rows)).set_index(["period", "tier"])
    assert table.loc[("2024-03", "A"), "share_moved"] == "up"
    assert table.loc[("2024-04", "A"), "conversion_moved"] == "down"
    flagged = table.index[table["conversion_moved"] != ""].get_level_values("tier")
    assert set(flagged) == {"A"}


def test_chance_alone_is_seldom_flagged():
    """Of 20 histories in which nothing moves, about one in ten may flag anything."""
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng([seed, 7])
        days = pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.integers(0, 182, 600), unit="D")
        tier = np.where(rng.random(600) < 0.2, "A", "B")
        frame = pd.DataFrame({"as_of": days, "tier": tier, "label": rng.random(600) < np.where(tier == "A", 0.4, 0.1)})
        alarms += bool((history(frame)[["share_moved", "conversion_moved"]] != "").any(axis=None))
    assert alarms <= 5  # more than 5 of 20 at a chance of 0.1: about 1 %


def test_the_verdict_is_that_of_the_step_up_procedure():
    """Benjamini and Hochberg's own words: the largest k whose p is at most k / m of the level."""
    counts = {("2024-01-01", "A"): (40, 20), ("2024-01-02", "B"): (60, 5), ("2024-02-01", "A"): (20, 4)}
    frame = leads(counts | {("2024-02-02", "B"): (80, 8), ("2024-03-01", "A"): (25, 8), ("2024-03-02", "B"): (75, 7)})
    table = history(frame)
    month = frame["as_of"].dt.strftime("%Y-%m")
    p = []
    for row in table.itertuples():
        inside, mine = month == row.period, frame["tier"] == row.tier
        p.append(fisher_exact(pd.crosstab(inside, mine)).pvalue)
        p.append(fisher_exact(pd.crosstab(inside[mine], frame.loc[mine, "label"])).pvalue)
    ranked = sorted(p)
    passed = [value for k, value in enumerate(ranked, 1) if value <= 0.1 * k / len(ranked)]
    flags = (table[["share_moved", "conversion_moved"]] != "").to_numpy().ravel()
    assert flags.tolist() == [value <= max(passed, default=-1.0) for value in p]
    assert 0 < flags.sum() < len(flags)


def test_the_first_look_of_every_lead():
    looks = pd.DataFrame(
        {
            "lead_id": ["b", "a", "a"],
            "as_of": pd.to_datetime(["2024-01-03", "2024-01-10", "2024-01-03"]),
            "tier": ["B", "A", "B"],
        }
    )
    found = tier_history.first_looks(looks)
    assert found[["lead_id", "tier"]].to_numpy().tolist() == [["a", "B"], ["b", "B"]]


@pytest.mark.parametrize("period", ["month", "quarter"])
def test_the_order_of_the_rows_does_not_matter(period):
    frame = leads(STEADY)
    pd.testing.assert_frame_equal(
        history(frame, period=period), history(frame.sample(frac=1, random_state=2), period=period)
    )
