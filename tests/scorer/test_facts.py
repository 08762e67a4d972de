"""Facts from personal columns: an address or a number in, one figure out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.leads.contract import Fact
from pipeline.scorer import facts


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ada@acme.example", 1.0),
        ("ada@gmail.com", 0.0),
        ("Ada@GMAIL.com", 0.0),
        ("  ada@gmail.com ", 0.0),
        ("ada@yahoo.co.uk", 0.0),
        ("ada@hotmail.fr", 0.0),
        ("ada@gmx.at", 0.0),
        ("ada@yahoo.acme.com", 1.0),
        ("ada@live-events.com", 1.0),
        ("ada@sub.acme.co.uk", 1.0),
        ("ada@mygmail.com", 1.0),
        ("not an address", np.nan),
        ("ada@", np.nan),
        ("@acme.com", np.nan),
        ("ada@acme", np.nan),
        ("ada@@acme.com", np.nan),
        ("ada@acme.com\n", 1.0),
        ("", np.nan),
        (None, np.nan),
    ],
)
def test_work_email(address: str | None, expected: float) -> None:
    result = facts.work_email(pd.Series([address], dtype="str"))
    pd.testing.assert_series_equal(result, pd.Series([expected]))


def test_present_counts_blank_text_as_absent() -> None:
    result = facts.present(pd.Series(["+49301234", "0", "", "  ", None], dtype="str"))
    assert result.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("fact", sorted(facts.FACTS))
def test_empty_and_all_missing_columns_keep_their_index(fact: str) -> None:
    assert facts.derive(fact, pd.Series([], dtype="str")).dtype == "float64"
    missing = facts.derive(fact, pd.Series([None, np.nan], index=[7, 9], dtype=object))
    assert missing.index.tolist() == [7, 9]
    assert not (missing == 1.0).any()


def test_every_fact_a_contract_may_name_can_be_derived() -> None:
    assert set(Fact.__args__) == set(facts.FACTS)  # type: ignore[attr-defined]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=30)), max_size=20))
def test_any_text_gives_zero_one_or_nothing(values: list[str | None]) -> None:
    column = pd.Series(values, dtype=object)
    before = column.copy()
    for fact in facts.FACTS:
        result = facts.derive(fact, column)
        assert result.isna().to_numpy().tolist() == [v not in (0.0, 1.0) for v in result]
    pd.testing.assert_series_equal(column, before)
