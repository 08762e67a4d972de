"""Cut-offs that pay: exact on small tables, equal to trying every cut-off, true where the chances are known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NotEnoughData, ParamsError
from pipeline.leads.playbooks import Worth
from pipeline.params import Tiers
from pipeline.scorer import tiers
from pipeline.scoring import capacity
from pipeline.scoring.capacity import NOBODY, Terms

MONDAY = pd.Timestamp("2024-01-01")


def looks(*rows: tuple[str, int, float, int]) -> pd.DataFrame:
    """One look per (lead, day, score, label)."""
    frame = pd.DataFrame(rows, columns=["lead_id", "day", "score", "label"])
    return frame.assign(as_of=MONDAY + pd.to_timedelta(frame.pop("day"), unit="D"))


#: Lead a rises from 5 to 40 and converts; b falls from 20; c is seen once; d stands at one score twice.
FOUR = looks(
    *(("a", 3, 5.0, 0), ("a", 10, 40.0, 1)),
    *(("b", 3, 20.0, 0), ("b", 10, 12.5, 0)),
    ("c", 3, 1.0, 0),
    *(("d", 3, 20.0, 1), ("d", 10, 20.0, 0)),
)


def test_a_lead_counts_once_at_the_first_of_its_highest_looks():
    found = capacity.at_their_best(FOUR.sample(frac=1, random_state=1))
    expected = pd.DataFrame(
        {
            "lead_id": ["a", "b", "c", "d"],
            "as_of": MONDAY + pd.to_timedelta([10, 3, 3, 3], unit="D"),
            "tenths": [400, 200, 10, 200],
            "label": [1, 0, 0, 1],
        }
    )
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_leads_a_week_by_cut_off():
    # Four leads stand for eight that come in a week.
    flow = capacity.flow(capacity.at_their_best(FOUR), 8.0)
    at = {cut: [float(getattr(flow, name)[cut]) for name in ("leads", "expected", "conversions")] for cut in (0, 10)}
    # 2 x (0.40 + 0.20 + 0.20 + 0.01)
    assert at[0] == at[10] == pytest.approx([8.0, 1.62, 4.0])
    assert [flow.leads[cut] for cut in (11, 200, 201, 400, 401, 1000)] == [6, 6, 2, 2, 0, 0]
    assert [flow.conversions[cut] for cut in (11, 200, 201, 400, 401)] == [4, 4, 2, 2, 0]


@pytest.mark.parametrize(
    ("cost", "value", "tenths"),
    [
        (12, 900, 14),  # 1.33 %: a score of 1.3 loses, 1.4 pays
        (9, 900, 10),  # 1 % exactly
        (0, 900, 0),  # a call that costs nothing always pays
        (900, 900, 1000),
        (901, 900, NOBODY),
    ],
)
def test_break_even(cost, value, tenths):
    assert capacity.break_even(Terms(cost, value)) == tenths


@pytest.mark.parametrize(
    ("per_week", "cut_off"),
    [
        (8.0, 0),  # as many as come
        (100.0, 0),  # more than come
        (7.9, 11),
        (6.0, 11),
        (5.9, 201),  # both leads at 20.0, or neither
        (2.0, 201),
        (1.9, 401),  # not even the best lead
    ],
)
def test_the_cut_off_within_capacity_takes_ties_whole(per_week, cut_off):
    flow = capacity.flow(capacity.at_their_best(FOUR), 8.0)
    assert capacity.within_capacity(flow, Terms(0, 1, per_week)) == cut_off


@pytest.mark.parametrize(
    ("terms", "tiers"),
    [
        (Terms(15, 100, 2.0), {"A": 201, "B": 150, "C": 0}),
        (Terms(15, 100), {"A": 150, "C": 0}),  # time for all that pays
        (Terms(0, 100, 2.0), {"A": 201, "B": 0}),  # every call pays
        (Terms(0, 100), {"A": 0}),
        (Terms(200, 100, 2.0), {"C": 0}),  # no call pays
    ],
)
def test_tiers_by_worth_leave_out_what_is_empty(terms, tiers):
    flow = capacity.flow(capacity.at_their_best(FOUR), 8.0)
    assert {band["name"]: band["from"] for band in capacity.by_worth(flow, terms)} == tiers
    assert set(tiers) <= set(capacity.MEANING)


def test_nobody_is_called_where_the_best_tie_exceeds_capacity():
    crowd = pd.DataFrame({"lead_id": ["a", "b"], "tenths": [1000, 1000], "label": [1, 1]})
    flow = capacity.flow(crowd, 2.0)
    assert capacity.worked(flow, Terms(1, 10, 1.0)) == NOBODY
    assert capacity.by_worth(flow, Terms(1, 10, 1.0)) == [{"name": "B", "from": 100}, {"name": "C", "from": 0}]


LEADS = st.lists(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1)), min_size=1, max_size=4), min_size=1, max_size=12
)


@settings(max_examples=40)
@given(LEADS, st.integers(0, 60), st.integers(1, 400), st.integers(1, 30), st.integers(1, 30))
def test_the_cut_off_is_the_best_of_all_cut_offs(leads, cost, value, per_week, new_per_week):
    """Every cut-off is tried on the looks themselves, with nothing of the module but its scale of scores."""
    rows = looks(*((f"L{k}", day, score / 2, y) for k, one in enumerate(leads) for day, (score, y) in enumerate(one)))
    terms = Terms(cost, value, per_week)
    flow = capacity.flow(capacity.at_their_best(rows), new_per_week)

    def promised(cut: int) -> float | None:
        """Profit a week of calling from `cut` on; None beyond capacity."""
        called = [max(score for score, _ in one) / 2 for one in leads]
        called = [score for score in called if round(score * 10) >= cut]
        scale = new_per_week / len(leads)
        if len(called) * new_per_week / len(leads) > per_week:
            return None
        return scale * sum(value * score / 100 - cost for score in called)

    profits = {cut: profit for cut in range(NOBODY + 1) if (profit := promised(cut)) is not None}
    found = int(capacity.worked(flow, terms))
    assert found in profits
    assert profits[found] == pytest.approx(max(profits.values()), abs=1e-9)
    # The next lower cut-off calls more than sales can work, or someone who does not pay.
    assert found == 0 or found - 1 not in profits or (found - 1) / 1000 * value < cost


@settings(max_examples=20)
@given(LEADS, st.lists(st.integers(1, 250), max_size=4, unique=True))
def test_tiers_add_up_to_calling_everyone(leads, starts):
    rows = looks(*((f"L{k}", day, score / 2, y) for k, one in enumerate(leads) for day, (score, y) in enumerate(one)))
    best = capacity.at_their_best(rows)
    flow, terms = capacity.flow(best, 10.0), Terms(2, 50)
    draws = capacity.resampled(best, 10.0, samples=3, seed=1)
    bands = [{"name": str(start), "from": start} for start in [*sorted(starts, reverse=True), 0]]
    table = capacity.table(flow, draws, bands, terms, 0.9)
    assert table["leads"].sum() == pytest.approx(10.0)
    assert table["conversions"].sum() == pytest.approx(10 * best["label"].mean())
    assert table["profit"].sum() == pytest.approx(50 * table["conversions"].sum() - 2 * 10.0)
    # By another route: a tier's leads are those whose highest score lies in its band.
    band = np.searchsorted(sorted([0, *starts]), best["tenths"], side="right") - 1
    counts = np.bincount(band, minlength=len(bands))[::-1]
    np.testing.assert_allclose(table["leads"], counts * 10 / len(best))


def test_known_chances_are_found_again():
    """Leads that convert as their scores say: profit lies within its interval, and promise and outcome agree."""
    rng = np.random.default_rng(5)
    chance = rng.beta(1, 6, 20_000).round(3)
    best = pd.DataFrame(
        {
            "lead_id": [f"L{k:05d}" for k in range(len(chance))],
            "tenths": (chance * 1000).round().astype("int64"),
            "label": (rng.random(len(chance)) < chance).astype("int8"),
        }
    )
    terms = Terms(20, 200, 300.0)
    flow = capacity.flow(best, 1000.0)
    draws = capacity.resampled(best, 1000.0, samples=200, seed=2)
    bands = capacity.by_worth(flow, terms)
    table = capacity.with_start_intervals(capacity.table(flow, draws, bands, terms, 0.9), draws, terms, 0.9)
    # The upper 30 % of Beta(1, 6) begin at 1 - 0.3 ** (1 / 6) = 0.1818; calls break even at 0.1.
    assert [band["name"] for band in bands] == ["A", "B", "C"]
    assert bands[0]["from"] == pytest.approx(1000 * (1 - 0.3 ** (1 / 6)), abs=5)
    assert bands[1]["from"] == 100
    truth = 1000 * np.mean(np.where(best["tenths"] >= bands[0]["from"], 200 * chance - 20, 0))
    top = table.iloc[0]
    assert top["profit_low"] < truth < top["profit_high"]
    assert top["conversions_low"] < top["expected"] < top["conversions_high"]
    assert top["from_low"] <= top["from_score"] <= top["from_high"]
    assert table.loc[1, ["from_low", "from_high"]].tolist() == [10.0, 10.0]
    assert table["cost"].tolist() == pytest.approx((20 * table["leads"]).tolist())
    # Of leads per week the binomial error is known: 1000 x sqrt(p (1 - p) / n) at p = 0.3, 1.645 of it to each side.
    half = 1.645 * 1000 * math.sqrt(0.3 * 0.7 / len(best))
    assert (top["leads_high"] - top["leads_low"]) / 2 == pytest.approx(half, rel=0.2)


def test_the_curve_states_every_cut_off():
    best = capacity.at_their_best(FOUR)
    flow, draws = capacity.flow(best, 8.0), capacity.resampled(best, 8.0, samples=50, seed=3)
    terms = Terms(10, 100)
    curve = capacity.curve(flow, draws, terms, 0.9)
    assert curve["cut_off"].tolist() == (np.arange(1000, -1, -1) / 10).tolist()
    at = curve.set_index("cut_off")
    assert at.loc[20.0, ["leads", "conversions", "cost", "profit"]].tolist() == [6, 4, 60, 340]
    assert at.loc[20.0, "expected_profit"] == pytest.approx(100 * 1.6 - 60)
    for name in capacity.FIGURES:
        assert (curve[f"{name}_low"] <= curve[f"{name}_high"]).all()
    # All eight leads are called at 0, whatever the resample.
    assert at.loc[0.0, ["leads", "leads_low", "leads_high"]].tolist() == [8, 8, 8]


def test_the_same_seed_draws_the_same_leads():
    best = capacity.at_their_best(FOUR)
    one, same, other = (capacity.resampled(best, 8.0, samples=20, seed=seed).leads for seed in (1, 1, 2))
    assert one.shape == (20, 1001)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_week_counts_leads_that_were_followed_to_the_oldest_age():
    rows = pd.DataFrame(
        {
            "lead_id": ["a", "a", "b", "c"],
            "created_at": MONDAY + pd.to_timedelta([0.5, 0.5, 13.99, 14.0], unit="D"),
            # Looks at 3 and 10 days; the newest look on day 23 is that of day 13 at the age of 10.
            "as_of": MONDAY + pd.to_timedelta([3, 10, 23, 17], unit="D"),
        }
    )
    kept, weeks = capacity.followed(rows, start=MONDAY, end=MONDAY + pd.Timedelta(days=60), max_age_days=10)
    assert weeks == 2.0
    assert kept["lead_id"].tolist() == ["a", "a", "b"]
    # A window that ends before is the limit.
    kept, weeks = capacity.followed(rows, start=MONDAY, end=MONDAY + pd.Timedelta(days=7), max_age_days=10)
    assert (weeks, kept["lead_id"].tolist()) == (1.0, ["a", "a"])
    with pytest.raises(NotEnoughData, match=r"to the age of 20 days over 4 days; a typical week needs at least 7"):
        capacity.followed(rows, start=MONDAY, end=MONDAY + pd.Timedelta(days=60), max_age_days=20)


def test_tiers_by_fixed_scores():
    assert capacity.by_scores({"hot": 30.0, "warm": 12.5, "cold": 0.0}) == [
        {"name": "hot", "from": 300},
        {"name": "warm", "from": 125},
        {"name": "cold", "from": 0},
    ]
    with pytest.raises(ParamsError) as fault:
        capacity.by_scores({"a": 101.0, "b": 3.25, "c": 40.0})
    assert str(fault.value) == (
        "tier a begins at 101; it must be a score from 0 to 100 with at most one decimal; "
        "tier b begins at 3.25; it must be a score from 0 to 100 with at most one decimal; "
        "each tier must begin below the one before it; the last tier must begin at 0, so that every lead has one."
    )


def test_terms_that_make_no_sense_are_all_named():
    with pytest.raises(ParamsError) as fault:
        Terms(-1, 0, 0)
    assert str(fault.value) == (
        "the cost of a call is -1; it must be 0 or more; the value of a deal is 0; it must be more than 0; "
        "sales works 0 leads a week; it must be more than 0."
    )
    with pytest.raises(ParamsError, match="nan"):
        Terms(math.nan, 1)


# Tiers as params.yaml asks for them

ASKED = Tiers(by="shares", shares={"A": 0.1, "B": 0.3, "D": 1.0}, scores={"hot": 30.0, "cold": 0.0})
WINDOW = {"split": "calibrate", "axis": "created_at", "start": MONDAY, "end": MONDAY + pd.Timedelta(days=28)}


def thousand() -> pd.DataFrame:
    """A thousand leads of four weeks, looked at after three days, one score each."""
    created = MONDAY + pd.to_timedelta(np.arange(1000) * 28 / 1000, unit="D")
    frame = pd.DataFrame({"lead_id": [f"L{k:04d}" for k in range(1000)], "created_at": created})
    return frame.assign(as_of=created.floor("D") + pd.Timedelta(days=3), score=np.arange(1000) / 10, label=0)


def cut(by: str, worth: Worth | None = None, window: dict | None = None):
    asked = ASKED.model_copy(update={"by": by})
    return capacity.cut(asked, thousand(), window or WINDOW, max_age_days=3, worth=worth)


def test_tiers_by_share_take_their_share_and_every_score_has_one():
    bands = cut("shares")
    share = pd.Series(tiers.name(np.arange(1000), bands)).value_counts(normalize=True)
    assert share.to_dict() == pytest.approx({"A": 0.1, "B": 0.2, "D": 0.7})
    assert tiers.name(np.array([0, 1000]), bands).tolist() == ["D", "A"]


def test_tiers_by_fixed_scores_are_those_scores():
    assert cut("scores") == [{"name": "hot", "from": 300}, {"name": "cold", "from": 0}]


def test_tiers_by_worth_are_what_sales_can_work_and_what_pays():
    """250 leads a week, scored 0.0 to 99.9: fifty of them a week from 80.0 on; 5 a call and 100 a deal pay from 5.0."""
    worth = Worth(per_week=50, call_cost=5, deal_value=100)
    assert cut("worth", worth) == [{"name": "A", "from": 800}, {"name": "B", "from": 50}, {"name": "C", "from": 0}]
    all_day = worth.model_copy(update={"per_week": None})
    assert cut("worth", all_day) == [{"name": "A", "from": 50}, {"name": "C", "from": 0}]
    # Half as many leads come: sales has time for twice the share of them.
    fewer = worth.model_copy(update={"new_per_week": 125.0})
    assert cut("worth", fewer)[0] == {"name": "A", "from": 600}


def test_tiers_by_worth_need_a_playbook_that_states_it_and_somebody_who_says_how_many_come():
    with pytest.raises(ParamsError, match=r"write `worth` .* into data/playbooks/<contract>\.yaml"):
        cut("worth")
    undated = {"split": "calibrate", "axis": "random order", "start": 0, "end": 1000}
    with pytest.raises(ParamsError, match=r"worth\.new_per_week"):
        cut("worth", Worth(per_week=50, call_cost=5, deal_value=100), undated)
    stated = Worth(per_week=50, call_cost=5, deal_value=100, new_per_week=250)
    assert cut("worth", stated, undated)[0] == {"name": "A", "from": 800}
