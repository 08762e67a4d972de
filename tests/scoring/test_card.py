"""Points of a card at an as-of date: exact on small tables, the same by a second route, blind to what comes later."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CardError
from pipeline.leads.snapshots import rows_at
from pipeline.scoring import card as counting
from tests import small_cards, small_history
from tests.small_history import text, times


@pytest.fixture(scope="module")
def spec(project_root):
    return small_cards.spec(project_root)


def pairs(*moments):
    """Snapshots as (lead, moment)."""
    keys = pd.DataFrame({"lead_id": text(*(key for key, _ in moments)), "as_of": times(*(day for _, day in moments))})
    return rows_at(small_history.tables()["leads"], keys)


def count(rows, spec, card=None, **tables):
    history = small_history.tables() | tables
    return counting.points(card or small_cards.card(), rows, history["activities"], history["changes"], spec)


def activities(*rows):
    """Activities as (lead, kind, happened, recorded)."""
    lead, kind, happened, recorded = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "lead_id": text(*lead),
            "kind": text(*kind),
            "happened_at": times(*happened),
            "recorded_at": times(*recorded),
        }
    )


def test_a_small_history_counted_out(spec):
    rows = pairs(("L1", "2024-01-05"), ("L1", "2024-01-11"), ("L2", "2024-01-15 09:00"), ("L3", "2024-01-11"))
    found = count(rows, spec)
    assert list(found) == ["lead_id", "as_of", "total", "qualifies", "suppressed"] + [
        "Retail",
        "Large",
        "Opted in",
        "Visits",
        "Talks",
        "Silent",
    ]
    # L1 had no industry before the change of 11 January, and its call was recorded on 6 January only.
    # Its visit was 4 days, then 10 days before: 8 points halve every 10 days. L2 has no revenue known... and no call.
    # L3 grew from 4000 to 5000: large either way; nothing ever happened to it, and it is 7.67 days old.
    assert found["Retail"].tolist() == [0, 10, 0, 10]
    assert found["Large"].tolist() == [0, 0, 0, 15]
    assert found["Opted in"].tolist() == [10, 10, 0, 0]
    np.testing.assert_allclose(found["Visits"], [8 * 2**-0.4, 4, 4, 0], rtol=1e-12)
    assert found["Talks"].tolist() == [0, 10, 0, 0]
    assert found["Silent"].tolist() == [0, 0, 0, -5]
    np.testing.assert_allclose(found["total"], [10 + 8 * 2**-0.4, 34, 4, 20], rtol=1e-12)
    assert found["qualifies"].tolist() == [False, True, False, False]
    assert found["suppressed"].tolist() == ["", "", "", ""]


def test_windows_are_half_open_and_the_moment_of_recording_decides(spec):
    acts = activities(
        ("L1", "visit", "2024-01-01 12:00", "2024-01-01 12:00"),  # 30 days before to the moment: outside
        ("L1", "visit", "2024-01-01 12:00:01", "2024-01-31 12:00"),  # just inside, recorded at the as-of moment
        ("L1", "visit", "2024-01-30", "2024-01-31 12:00:01"),  # recorded a second later
        ("L1", "visit", "2024-02-01", "2024-01-01"),  # happens later
        ("L1", "visit", None, "2024-01-01"),  # nobody knows when
        ("L9", "visit", "2024-01-30", "2024-01-30"),  # of a lead that is not asked for
    )
    found = count(pairs(("L1", "2024-01-31 12:00")), spec, activities=acts)
    assert found["Visits"].tolist() == [pytest.approx(8 * 2**-3, rel=1e-5)]


def test_caps_cut_each_criterion_then_its_group_then_the_total(spec):
    acts = activities(*[("L3", "visit", "2024-01-10", "2024-01-10")] * 9, ("L3", "call", "2024-01-10", "2024-01-10"))
    rows = pairs(("L3", "2024-01-10")).assign(opted_in=1.0, revenue=5.0)
    found = count(rows, spec, activities=acts).iloc[0]
    # 10 + 15 + 10 of the fit are cut to 30, nine visits of 8 to 20, and 30 + 20 + 10 to 50.
    assert found["Visits"] == 20
    assert found[["Retail", "Large", "Opted in", "Talks"]].tolist() == [10, 15, 10, 10]
    assert found["total"] == 50
    without = count(rows, spec, small_cards.card(cap=None), activities=acts).iloc[0]
    assert without["total"] == 60


def test_negative_points_are_capped_too(spec):
    one = {"name": "Calls", "group": "engagement", "points": -4, "per": {"activity": "call"}, "cap": 10}
    acts = activities(*[("L1", "call", "2024-01-04", "2024-01-04")] * 3)
    found = count(pairs(("L1", "2024-01-05")), spec, small_cards.card(criteria=[one]), activities=acts)
    assert found["total"].tolist() == [-10]


def test_a_suppressed_lead_keeps_its_points_and_does_not_qualify(spec):
    both = [
        {"name": "No phone", "when": {"column": "has_phone", "is": False}},
        {"name": "Unknown branch", "when": {"column": "industry", "missing": True}},
    ]
    card = small_cards.card(suppressors=both, qualifies_at=5)
    rows = pairs(("L1", "2024-01-05"), ("L1", "2024-01-12")).assign(has_phone=[0.0, 1.0])
    found = count(rows, spec, card)
    assert found["suppressed"].tolist() == ["No phone", ""]
    assert found["qualifies"].tolist() == [False, True]
    assert (found["total"] > 5).all()
    assert count(rows.assign(has_phone=1.0), spec, card)["suppressed"].tolist() == ["Unknown branch", ""]


def test_a_missing_value_meets_nothing_but_missing(spec):
    cases = {
        "is": {"column": "industry", "is": ["retail", "R&D <labs>"]},
        "is not": {"not": {"column": "industry", "is": "retail"}},
        "at least": {"column": "revenue", "at_least": 0},
        "at most": {"column": "revenue", "at_most": 10},
        "no range": {"not": {"column": "revenue", "at_least": 0}},
        "missing": {"column": "revenue", "missing": True},
        "filled": {"column": "revenue", "missing": False},
        "false": {"column": "opted_in", "is": False},
        "not true": {"not": {"column": "opted_in", "is": True}},
    }
    criteria = [{"name": name, "group": "fit", "points": 1, "when": when} for name, when in cases.items()]
    rows = pairs(("L2", "2024-01-03")).assign(industry=[None], revenue=[np.nan], opted_in=[np.nan])
    rows["industry"] = rows["industry"].astype("str")
    found = count(rows, spec, small_cards.card(criteria=criteria)).iloc[0]
    assert [name for name in cases if found[name]] == ["is not", "no range", "missing", "not true"]


def test_no_rows_and_no_history_are_no_trouble(spec):
    rows, history = pairs(("L2", "2024-01-03")), small_history.tables()
    empty = {name: history[name].iloc[:0] for name in ("activities", "changes")}
    assert count(rows, spec, **empty)["total"].tolist() == [0]
    assert len(count(rows.iloc[:0], spec)) == 0


def test_a_column_that_nobody_has_is_an_error(spec):
    one = {"name": "a", "group": "fit", "points": 1, "when": {"column": "colour", "is": "blue"}}
    with pytest.raises(CardError, match="looks at colour, which no lead's profile holds"):
        count(pairs(("L1", "2024-01-05")), spec, small_cards.card(criteria=[one]))


# Random histories, counted by a second route, and truncated


DAYS = st.integers(0, 60 * 24).map(lambda hours: pd.Timestamp("2024-01-01") + pd.Timedelta(hours=hours))
KEYS = st.sampled_from(["L1", "L2", "L3"])
ACTIVITIES = st.lists(st.tuples(KEYS, st.sampled_from(["visit", "call", "mail"]), DAYS, DAYS), max_size=25)
CHANGES = st.lists(
    st.tuples(
        KEYS,
        st.sampled_from([("employees", ["", "10", "1000", "4000"]), ("industry", ["", "retail", "R&D <labs>"])]),
        DAYS,
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=6,
    unique_by=lambda change: (change[0], change[1][0], change[2]),
)


def tables(acts, moved):
    act = pd.DataFrame(acts, columns=["lead_id", "kind", "happened_at", "recorded_at"])
    change = pd.DataFrame(
        [[lead, column, at, words[old], words[new]] for lead, (column, words), at, old, new in moved],
        columns=["lead_id", "column", "recorded_at", "old_value", "new_value"],
    )
    texts = {"lead_id": "str", "kind": "str", "column": "str", "old_value": "str", "new_value": "str"}
    as_moment = {"happened_at": "datetime64[us]", "recorded_at": "datetime64[us]"}
    return [t.astype({k: v for k, v in (texts | as_moment).items() if k in t}) for t in (act, change)]


@settings(max_examples=12)
@given(ACTIVITIES, CHANGES, st.lists(st.tuples(KEYS, DAYS), min_size=1, max_size=5))
def test_two_routes_agree_and_nothing_later_is_seen(project_root, acts, moved, asked):
    spec, (act, change) = small_cards.spec(project_root), tables(acts, moved)
    rows = pairs(*((key, str(moment)) for key, moment in asked))
    found = counting.points(small_cards.card(), rows, act, change, spec)
    leads = small_cards.leads_by_hand(rows, act, change, spec)
    expected = pd.DataFrame([small_cards.by_hand(small_cards.CARD, lead) for lead in leads])
    pd.testing.assert_frame_equal(found[list(expected)], expected, check_dtype=False, rtol=1e-9, atol=1e-9)
    # The first row alone, without activities that came later; a change still to come tells what was before it.
    as_of = rows["as_of"].iloc[0]
    early = act[(act["recorded_at"] <= as_of) & (act["happened_at"] <= as_of)]
    alone = counting.points(small_cards.card(), rows.iloc[[0]], early, change, spec)
    pd.testing.assert_frame_equal(alone, found.iloc[[0]])


def test_counts_are_those_of_the_scorers_features(spec, project_root):
    """The same activities through the features that the model learns from."""
    from pipeline.leads.snapshots import featurize

    history = small_history.tables()
    keys = pairs(("L1", "2024-01-09"), ("L2", "2024-01-12 09:00"), ("L3", "2024-03-01"))[["lead_id", "as_of"]]
    built = featurize(history["leads"], history["activities"], history["changes"], keys, spec)
    criteria = [
        {"name": f"n_{kind}_{days}d", "group": "fit", "points": 1, "per": {"activity": kind, "within_days": days}}
        for kind in ("visit", "call")
        for days in spec["windows_days"]
    ]
    found = count(rows_at(history["leads"], keys), spec, small_cards.card(criteria=criteria))
    names = [one["name"] for one in criteria]
    pd.testing.assert_frame_equal(found[names], built[names])
