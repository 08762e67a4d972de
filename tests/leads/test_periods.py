"""Columns that tell when rather than who: exact shares of small tables, and what a contract makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ContractError
from pipeline.leads.contract import Resolved, parse, resolve
from pipeline.leads.periods import COLUMNS, KEPT, LEFT_OUT, OVERRULED, explained, judge, shares, without
from pipeline.params import Periods

FEW = Periods(max_share=0.5, blocks=4, min_rows=8)


# The share of a column that time explains


@pytest.mark.parametrize(
    ("values", "block", "share"),
    [
        # Ranks 1 to 4, mean 2.5: squares of 5 in all, of which the blocks' means 1.5 and 3.5 make 4.
        ([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], 0.8),
        ([1.0, 2.0, 3.0, 4.0], [0, 1, 1, 0], 0.0),
        # Ranks only: how far the largest lies off does not count, nor do signs of a rising curve.
        ([-9.0, 2.0, 3.0, 4e30], [0, 0, 1, 1], 0.8),
        # Ties share their rank: 1.5, 1.5, 3.5, 3.5.
        ([7.0, 7.0, 8.0, 8.0], [0, 0, 1, 1], 1.0),
        # A missing number is left out: ranks 1, 2, 3 with block means 1 and 2.5, that is 1.5 of 2.
        ([1.0, np.nan, 3.0, 4.0], [0, 0, 1, 1], 0.75),
        ([5.0, 5.0, 5.0, np.nan], [0, 0, 1, 1], 0.0),
        ([5.0, np.nan, np.nan, np.nan], [0, 0, 1, 1], 0.0),
        ([np.nan] * 4, [0, 0, 1, 1], 0.0),
    ],
)
def test_numbers_by_their_ranks(values: list[float], block: list[int], share: float) -> None:
    assert explained(pd.Series(values), np.array(block)) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "block", "share"),
    [
        (["a", "a", "b", "b"], [0, 0, 1, 1], 1.0),
        (["a", "b", "a", "b"], [0, 0, 1, 1], 0.0),
        # Gini impurity 6/16 as a whole; 0 and 1/2 within the blocks.
        (["a", "a", "a", "b"], [0, 0, 1, 1], 1 / 3),
        # Blocks count by their rows: 3/8 as a whole, 3/4 of the rows at 4/9, that is 1/3, within.
        (["a", "b", "a", "a"], [0, 0, 0, 1], 1 / 9),
        # A missing word is a word of its own.
        (["a", "a", None, None], [0, 0, 1, 1], 1.0),
        (["a", None, "a", None], [0, 0, 1, 1], 0.0),
        (["a"] * 4, [0, 0, 1, 1], 0.0),
        ([None] * 4, [0, 0, 1, 1], 0.0),
    ],
)
def test_words_by_their_impurity(values: list[str | None], block: list[int], share: float) -> None:
    assert explained(pd.Series(values, dtype="str"), np.array(block)) == pytest.approx(share, abs=1e-12)


def test_time_itself_and_chance() -> None:
    block = np.repeat(np.arange(10), 100)
    random = np.random.default_rng(5)
    assert explained(pd.Series(np.arange(1000.0)), block) == pytest.approx(0.99, abs=1e-3)
    assert explained(pd.Series(block.astype("float64")), block) == pytest.approx(1)
    assert explained(pd.Series([f"wave {k}" for k in block], dtype="str"), block) == pytest.approx(1)
    assert explained(pd.Series(random.normal(size=1000)), block) < 0.05
    assert explained(pd.Series(random.choice(["a", "b"], 1000), dtype="str"), block) < 0.05


def test_blocks_are_cut_along_the_position_whatever_the_order_of_the_rows() -> None:
    position = np.array([7, 0, 5, 2, 6, 1, 4, 3])
    columns = {
        "wave": pd.Series([f"wave {place // 2}" for place in position], index=range(50, 58)),
        "row": pd.Series([f"row {k // 2}" for k in range(8)]),
    }
    found = shares(columns, position, FEW)
    assert found["wave"] == pytest.approx(1)
    # Impurity 3/4 as a whole. By place the rows are 1 5 3 7 6 2 4 0, in fours of the table's own order 0 2 1 3 3 1 2 0.
    assert found["row"] == pytest.approx(1 - 0.5 / 0.75)


def test_with_too_few_leads_nothing_is_said() -> None:
    columns = {"wave": pd.Series(["a"] * 4 + ["b"] * 4)}
    assert shares(columns, np.arange(8), FEW) == {"wave": pytest.approx(1)}
    assert shares({"wave": columns["wave"].head(7)}, np.arange(7), FEW) == {}


# What a contract makes of it


def contract(time: dict[str, Any] | None = None, **columns: dict[str, Any]) -> Resolved:
    feature = {"role": "feature", "known_at": "creation"}
    described: dict[str, Any] = {
        "wave": feature | {"type": "category"},
        "label": feature | {"type": "number"},
        "list": feature | {"type": "number", "overrules_period": "prices stay as they are"},
        "phone": {"role": "personal", "facts": ["present"]},
        "note": {"role": "ignored"},
        "won": {"role": "outcome", "type": "category"},
    }
    content = {
        "contract_version": 1,
        "name": "small",
        "description": "for tests",
        "source": {"kind": "files", "leads": {"path": "leads.csv"}},
        "key": "row_number",
        "time": time or {"kind": "row_order"},
        "outcome": {"kind": "flag", "horizon_days": 0, "column": "won", "positive": "yes"},
        "columns": described | columns,
    }
    return resolve(parse(content, file="small.yaml"))


#: Eight leads as `ingest` names their columns, newest first.
POSITION = np.arange(8)[::-1].copy()
LEADS = pd.DataFrame(
    {
        "wave": pd.Series(["d", "d", "c", "c", "b", "b", "a", "a"], dtype="str"),
        "label_": [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0],
        "list": [4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0],
        "has_phone": [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        "note": ["z"] * 8,
        "converted": [True, False] * 4,
    }
)
SAID = "its place in time explains 100% of what varies in it: it tells when, not who"


def test_every_column_that_might_enter_has_its_share_and_verdict_highest_first() -> None:
    judged = judge(LEADS, contract(), POSITION, FEW)
    assert list(judged.columns) == COLUMNS
    rows = [tuple(row) for row in judged.itertuples(index=False)]
    assert rows == [
        ("has_phone", pytest.approx(1), 0.5, LEFT_OUT, SAID),
        ("list", pytest.approx(1), 0.5, OVERRULED, "prices stay as they are"),
        ("wave", pytest.approx(1), 0.5, LEFT_OUT, SAID),
        ("label", pytest.approx(0), 0.5, KEPT, ""),
    ]


def test_no_outcome_is_looked_at() -> None:
    other = LEADS.assign(converted=LEADS["converted"].to_numpy()[::-1])
    pd.testing.assert_frame_equal(
        judge(LEADS.drop(columns="converted"), contract(), POSITION, FEW), judge(other, contract(), POSITION, FEW)
    )


def test_a_column_at_the_limit_is_kept() -> None:
    limit = explained(pd.Series(np.arange(8.0)), np.repeat([0, 1], 4))
    leads = LEADS.assign(label_=np.arange(8.0))
    at = judge(leads, contract(), POSITION, Periods(max_share=limit, blocks=2, min_rows=8)).set_index("column")
    below = judge(leads, contract(), POSITION, Periods(max_share=limit - 1e-9, blocks=2, min_rows=8))
    assert at.loc["label", "verdict"] == KEPT
    assert below.set_index("column").loc["label", "verdict"] == LEFT_OUT


@pytest.mark.parametrize(
    ("leads", "time"), [(LEADS, {"kind": "none"}), (LEADS.head(7), {"kind": "row_order"})], ids=["no time", "too few"]
)
def test_without_a_time_axis_or_with_too_few_leads_no_column_is_judged(
    leads: pd.DataFrame, time: dict[str, Any]
) -> None:
    judged = judge(leads, contract(time), POSITION[: len(leads)], FEW)
    assert list(judged.columns) == COLUMNS and not len(judged)
    assert judged["share"].dtype == "float64"
    whole = contract(time)
    assert without(whole, judged) == whole


def test_columns_left_out_are_excluded_with_the_reason_and_the_overruled_one_stays() -> None:
    whole = contract()
    left = without(whole, judge(LEADS, whole, POSITION, FEW))
    assert list(left.features) == ["label", "list"]
    assert left.excluded == whole.excluded | {"has_phone": SAID, "wave": SAID}
    assert list(whole.features) == ["wave", "label", "list", "has_phone"], "the contract given is not changed"


def test_a_contract_of_nothing_but_periods_is_an_error() -> None:
    ignored = {"role": "ignored"}
    alone = contract(label=ignored, list=ignored, phone=ignored)
    with pytest.raises(ContractError, match=r"contract small: every column .* tells when .*`overrules_period`"):
        without(alone, judge(LEADS, alone, POSITION, FEW))
