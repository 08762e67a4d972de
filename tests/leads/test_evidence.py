"""What speaks against a column: tables of counts worked out by hand, and each kind of leak beside an honest twin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import params as params_module
from pipeline.leads import evidence
from pipeline.leads.evidence import History, gather


@pytest.fixture(scope="module")
def limits(project_root):
    return params_module.load(project_root / "params.yaml").validate_.leaks


def drawn(seed: int = 0, n: int = 4000, rate: float = 0.2) -> tuple[np.random.Generator, np.ndarray, pd.DataFrame]:
    """A generator, who converts, and five honest columns of which the strongest removes a few percent."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 7]))
    pull = rng.standard_normal(n)
    yes = rng.random(n) < 1 / (1 + np.exp(-(math.log(rate / (1 - rate)) + 0.6 * pull)))
    columns = pd.DataFrame(
        {
            "size": np.exp(pull),
            "noise": rng.standard_normal(n),
            "place": pd.Series(rng.choice(["north", "south", "east"], n), dtype="str"),
            "gaps": np.where(rng.random(n) < 0.4, np.nan, rng.standard_normal(n)),
            "flag": (rng.random(n) < 0.3).astype("float64"),
        }
    )
    return rng, yes, columns


def kinds(history: History, leaks: tuple[str, ...] = ()) -> dict[str, set[str]]:
    found = gather(history, leaks)
    return found.groupby("column")["kind"].agg(set).to_dict() if len(found) else {}


# Tables of counts


def test_numbers_fall_into_bins_and_a_frequent_one_has_its_own(limits):
    values = pd.Series([0.0] * 50 + list(np.arange(1.0, 51.0)) + [np.nan])
    codes = evidence.binned(values, limits)
    assert len(set(codes[:50])) == 1 and codes[0] not in codes[50:]
    assert codes[-1] not in codes[:-1], "missing is a value of its own"
    assert np.all(np.diff(codes[50:-1]) >= 0), "bins keep the order of the numbers"


def test_few_distinct_numbers_are_taken_as_they_are(limits):
    assert evidence.binned(pd.Series([3.0, 1.0, 2.0, 1.0, np.nan]), limits).tolist() == [3, 1, 2, 1, 0]


def test_rare_texts_share_a_code(limits):
    text = pd.Series(["a"] * 30 + ["b"] * 30 + ["c", "d", None], dtype="str")
    codes = evidence.binned(text, limits)
    assert codes[60] == codes[61], "c and d are rare"
    assert len(set(codes)) == 4


def test_moments_are_binned_as_numbers(limits):
    moments = pd.Series(pd.date_range("2024-01-01", periods=200, freq="D").astype("datetime64[us]")).where(
        lambda value: value.dt.day != 5
    )
    codes = evidence.binned(moments, limits)
    assert len(set(codes[moments.isna()])) == 1 and codes.max() + 1 > 10


def test_the_gain_of_a_certain_column_is_one_and_of_none_is_zero():
    outcome = np.array([0.0, 1.0] * 50)
    assert evidence.gain(outcome, outcome) == pytest.approx(1, abs=1e-9)
    assert evidence.gain(outcome, np.full(100, 0.5)) == pytest.approx(0)


def test_the_rate_of_a_value_worked_out_by_hand(limits):
    # 40 rows of value 0 with 10 conversions, 40 of value 1 with 30; one block. Plain rate 0.5; five rows of prior.
    codes = np.repeat([0, 1], 40)
    outcome = np.r_[np.repeat([1.0, 0.0], [10, 30]), np.repeat([1.0, 0.0], [30, 10])]
    rate, effect = evidence.effects(codes, outcome, np.zeros(80, dtype=int), (2, 1), limits)
    assert rate == pytest.approx([0.5])
    seen = (10 + 5 * 0.5) / 45
    assert effect == pytest.approx([math.log(seen / (1 - seen)), -math.log(seen / (1 - seen))])


def test_out_of_fold_a_column_of_many_values_gains_nothing(limits):
    rng, yes, _ = drawn()
    many = rng.integers(0, 1500, len(yes))
    one = np.zeros(len(yes), dtype=int)
    assert evidence.gain(yes.astype(float), evidence.out_of_fold(many, yes.astype(float), one, limits)) < 0.01


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), min_size=1, max_size=5))
def test_wilson_holds_the_share(pairs):
    n = np.array([size for size, _ in pairs], dtype=float)
    hits = np.minimum(n, [count for _, count in pairs])
    low, high = evidence.wilson(hits, n)
    assert np.all(low <= hits / n + 1e-12) and np.all(high >= hits / n - 1e-12)
    assert np.all(low >= -1e-12) and np.all(high <= 1 + 1e-12)


# Kinds of evidence, each beside an honest twin


def test_honest_columns_are_not_accused(limits):
    for seed in range(5):
        _, yes, columns = drawn(seed)
        order = pd.Series(np.arange(len(yes)))
        assert kinds(History(columns, pd.Series(yes.astype(float)), limits, position=order)) == {}


def test_filled_for_one_outcome_only(limits):
    rng, yes, columns = drawn()
    won, lost = yes & (rng.random(len(yes)) < 0.9), ~yes & (rng.random(len(yes)) < 0.5)
    columns["amount"] = np.where(won, 10.0, np.nan)
    columns["lost_because"] = pd.Series(np.where(lost, "price", None), dtype="str")
    columns["reached"] = np.where(rng.random(len(yes)) < np.where(yes, 0.9, 0.5), 1.0, np.nan)
    found = gather(History(columns, pd.Series(yes.astype(float)), limits))
    filled = found[found["kind"] == "filled_with_outcome"].set_index("column")
    assert list(filled.index) == ["amount", "lost_because"]
    assert (filled["weighs"] == "leak").all() and (filled["figure"] == 0).all()
    assert filled.loc["amount", "sentence"].endswith("and for 0.0% of those that did not")


def test_filled_once_the_outcome_is_known_either_way(limits):
    rng, yes, columns = drawn()
    open_ = rng.random(len(yes)) < 0.5
    age = pd.Series(rng.integers(0, 300, len(yes)).astype(float))
    columns["took_days"] = np.where(open_, np.nan, 5.0)
    columns["worked_on"] = np.where(rng.random(len(yes)) < np.where(open_, 0.2, 0.8), 1.0, np.nan)
    columns["touched"] = np.where(rng.random(len(yes)) < np.where(open_, 0.5, 0.6), 1.0, np.nan)
    converted = pd.Series(yes.astype(float)).mask(open_)
    found = kinds(History(columns, converted, limits, open_=pd.Series(open_), age_days=age))
    assert found == {"took_days": {"filled_when_closed"}, "worked_on": {"fill_gap"}}


def test_a_column_that_fills_with_age_is_no_fill_gap(limits):
    """Closed leads are older; what every lead gets in time must not accuse the column."""
    rng, yes, columns = drawn(n=6000)
    age = rng.integers(0, 300, len(yes)).astype(float)
    open_ = rng.random(len(yes)) < np.clip(1 - age / 250, 0.05, 0.95)
    columns["enriched"] = np.where(rng.random(len(yes)) < age / 300, 1.0, np.nan)
    converted = pd.Series(yes.astype(float)).mask(open_)
    history = History(columns, converted, limits, open_=pd.Series(open_), age_days=pd.Series(age))
    by_hand = columns["enriched"].notna()
    assert by_hand[~open_].mean() - by_hand[open_].mean() > limits.fill_gap, "without matching ages it would be accused"
    assert kinds(history) == {}


def test_a_column_that_tells_too_much_for_its_company(limits):
    rng, yes, columns = drawn()
    columns["talk_seconds"] = rng.gamma(1.6, np.where(yes, 380.0, 140.0))
    found = gather(History(columns, pd.Series(yes.astype(float)), limits))
    assert found[["column", "kind", "weighs"]].to_numpy().tolist() == [["talk_seconds", "power", "leak"]]
    assert limits.power.leak <= found["figure"].item() < limits.power.certain


def test_several_leaks_do_not_hide_one_another(limits):
    rng, yes, columns = drawn()
    columns["status"] = pd.Series(np.where(rng.random(len(yes)) < 0.03, ~yes, yes).astype(str), dtype="str")
    columns["visits"] = rng.poisson(np.where(yes, 5.0, 1.5)).astype(float)
    columns["talk_seconds"] = rng.gamma(1.6, np.where(yes, 380.0, 140.0))
    history = History(columns, pd.Series(yes.astype(float)), limits)
    assert evidence.convicted(gather(history)) == ["status", "talk_seconds", "visits"]


def test_a_column_that_names_the_period_is_no_leak_but_its_gain_collapses(limits):
    """The rate jumps in the middle; a market rate knows the month, not the lead."""
    n = 8000
    rng = np.random.default_rng(3)
    month = np.arange(n) * 24 // n
    rate = np.where(month < 12, 0.04, 0.4)
    rate = np.where((month >= 14) & (month < 16), 0.15, rate)
    yes = rng.random(n) < rate
    columns = pd.DataFrame({"market": 5 - 0.19 * month + 0.01 * rng.standard_normal(24)[month]})
    columns["talk_seconds"] = rng.gamma(1.6, np.where(yes, 380.0, 140.0))
    columns["noise"] = rng.standard_normal(n)
    history = History(columns, pd.Series(yes.astype(float)), limits, position=pd.Series(np.arange(n)))
    assert history.gains["market"] < 0.05 < limits.power.leak <= history.gains["talk_seconds"]
    found = kinds(history)
    assert found["market"] == {"collapse"} and "collapse" not in found["talk_seconds"]
    assert evidence.convicted(gather(history)) == ["talk_seconds"]


def test_a_file_sorted_by_its_outcome_is_judged_as_one_block(limits):
    rng, yes, columns = drawn()
    columns["talk_seconds"] = rng.gamma(1.6, np.where(yes, 380.0, 140.0))
    order = np.argsort(yes, kind="stable")
    history = History(columns.iloc[order], pd.Series(yes.astype(float)).iloc[order], limits)
    assert history.block.max() == 0
    assert evidence.convicted(gather(history)) == ["talk_seconds"]


def test_values_that_decide(limits):
    rng, yes, columns = drawn(rate=0.1)
    step = np.where(yes & (rng.random(len(yes)) < 0.3), "onboarding", rng.choice(["call", "mail", "wait"], len(yes)))
    columns["next_step"] = pd.Series(step, dtype="str")
    found = gather(History(columns, pd.Series(yes.astype(float)), limits)).set_index(["column", "kind"])
    piece = found.loc[("next_step", "deciding_values")]
    assert piece["weighs"] == "leak" and piece["figure"] == pytest.approx(0.3, abs=0.06)
    assert piece["sentence"].startswith("100.0% of the leads with some of its values convert")


def test_values_under_which_nobody_converts_make_a_suspect(limits):
    rng, yes, columns = drawn(rate=0.3)
    columns["note"] = pd.Series(np.where(~yes & (rng.random(len(yes)) < 0.4), "dead", "-"), dtype="str")
    found = gather(History(columns, pd.Series(yes.astype(float)), limits))
    piece = found[(found["column"] == "note") & (found["kind"] == "deciding_values")]
    assert piece["weighs"].tolist() == ["suspect"]


@pytest.mark.parametrize(("after", "weighs"), [(95, ["leak"]), (40, ["suspect"]), (10, [])])
def test_changes_when_the_outcome_is_known(limits, after, weighs):
    _, yes, columns = drawn()
    changed = pd.DataFrame({"column": ["place"], "changes": [100], "after_outcome": [after]})
    found = gather(History(columns, pd.Series(yes.astype(float)), limits, changed=changed))
    assert found["weighs"].tolist() == weighs
    assert all(found["sentence"] == f"{after} of its 100 changes were recorded when the outcome was known")


def test_a_copy_of_a_known_leak(limits):
    """The currency of an amount is filled for the same leads; the industry merely converts better."""
    rng, yes, columns = drawn()
    filled = rng.random(len(yes)) < np.where(yes, 0.6, 0.3)
    columns["amount"] = np.where(filled, rng.gamma(2, 500, len(yes)), np.nan)
    columns["currency"] = pd.Series(np.where(filled, rng.choice(["EUR", "USD"], len(yes)), None), dtype="str")
    history = History(columns, pd.Series(yes.astype(float)), limits)
    assert "currency" not in kinds(history), "alone it is no leak"
    assert kinds(history, ("amount",)) == {"currency": {"stands_in"}}


def test_two_columns_that_go_with_the_outcome_are_no_copies(limits):
    rng, yes, columns = drawn()
    columns["talk_seconds"] = rng.gamma(1.6, np.where(yes, 380.0, 140.0))
    columns["visits"] = rng.poisson(np.where(yes, 2.2, 1.2)).astype(float)
    found = kinds(History(columns, pd.Series(yes.astype(float)), limits), ("talk_seconds",))
    assert "stands_in" not in found.get("visits", set())


def test_two_kinds_of_lighter_evidence_convict_but_not_with_collapse():
    def rows(*pieces: tuple[str, str, str]) -> pd.DataFrame:
        return pd.DataFrame(pieces, columns=["column", "kind", "weighs"])

    assert evidence.convicted(rows(("a", "power", "suspect"), ("a", "fill_gap", "suspect"))) == ["a"]
    assert evidence.convicted(rows(("a", "power", "suspect"), ("a", "collapse", "suspect"))) == []
    assert evidence.convicted(rows(("a", "power", "suspect"), ("b", "fill_gap", "suspect"))) == []
    assert evidence.convicted(rows(("a", "power", "leak"))) == ["a"]


# Too little to tell, and odd columns


@pytest.mark.parametrize("converted", [[], [1.0] * 19 + [0.0] * 500, [0.0] * 30, [np.nan] * 40])
def test_too_few_outcomes_say_nothing(limits, converted):
    values: Any = np.arange(len(converted), dtype=float)
    history = History(pd.DataFrame({"a": values}), pd.Series(converted, dtype="float64"), limits)
    assert not history.tells and len(gather(history)) == 0
    assert list(gather(history).columns) == evidence.COLUMNS


def test_constant_and_empty_columns_are_clear(limits):
    _, yes, columns = drawn()
    columns = columns.assign(constant=1.0, empty=np.nan, text=pd.Series([None] * len(yes), dtype="str"))
    assert kinds(History(columns, pd.Series(yes.astype(float)), limits)) == {}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["affine", "order of columns"]))
def test_scale_and_order_of_columns_change_nothing(limits, seed, change):
    rng, yes, columns = drawn(seed, n=600)
    columns["talk_seconds"] = np.rint(rng.gamma(1.6, np.where(yes, 380.0, 140.0)))
    converted = pd.Series(yes.astype(float))
    plain = gather(History(columns, converted, limits))
    other = (
        columns.assign(talk_seconds=columns["talk_seconds"] * 4 + 8) if change == "affine" else columns.iloc[:, ::-1]
    )
    again = gather(History(other, converted, limits))
    by = ["column", "kind"]
    pd.testing.assert_frame_equal(
        plain.sort_values(by, ignore_index=True), again.sort_values(by, ignore_index=True), check_dtype=False
    )
