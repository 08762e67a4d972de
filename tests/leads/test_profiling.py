"""What a column of text looks like."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.leads.profiling import order_of_days, profile


def column(*cells: str | None, name: str = "x", times: int = 1) -> pd.Series:
    """Cells as the strict reader hands them over: text, an empty one as NaN."""
    return pd.Series(list(cells) * times, dtype="str", name=name).replace("", np.nan)


def look(*cells: str | None, times: int = 1, name: str = "x", **how):
    return profile(column(*cells, name=name, times=times), repeats=how.pop("repeats", 0.0), **how)


@pytest.mark.parametrize(
    ("cells", "kind", "form"),
    [
        (["1", "2", "-3"], "integer", None),
        (["1.5", "2", "1e3"], "number", None),
        (["true", "false"], "boolean", None),
        (["Yes", "No", ""], "boolean", None),
        (["1", "0"], "boolean", None),
        (["Y", "N"], "category", None),
        (["red", "green"], "category", None),
        # A leading zero belongs to a code.
        (["01067", "10115"], "category", None),
        (["2023-01-31", "2023-01-31T10:11:12Z"], "timestamp", None),
        (["2023-1-5", "2023-01-31"], "timestamp", "%Y-%m-%d"),
        (["31.01.2023", "1.2.2023"], "timestamp", "%d.%m.%Y"),
        (["31/01/2023", "01/02/2023"], "timestamp", "%d/%m/%Y"),
        (["1/31/2023 2:05 PM", "2/1/2023 12:00 AM"], "timestamp", "%m/%d/%Y %I:%M %p"),
        (["31-Jan-2023", "01-Feb-2023"], "timestamp", "%d-%b-%Y"),
        (["Jan 31, 2023", "Feb 1, 2023"], "timestamp", "%b %d, %Y"),
        (["2023-01-31 10:00:00 UTC"], "timestamp", "%Y-%m-%d %H:%M:%S UTC"),
        # Not a date of this world: words.
        (["31.31.2023", "99.99.2023"], "category", None),
        (["", ""], "empty", None),
        (["n/a", "-", ""], "empty", None),
    ],
)
def test_the_type_of_a_column(cells, kind, form):
    found = look(*cells)
    assert (found.kind, found.format) == (kind, form)


def test_numbers_are_read_with_the_sign_of_their_file():
    assert look("1,5", "2,25", decimal=",").kind == "number"
    assert look("1,5", "2,25").kind == "category"
    assert look("1.5", "2.25", decimal=",").kind == "category"


def test_day_and_month_that_cannot_be_told_apart_stay_open_until_a_column_beside_them_tells():
    first = look("01/02/2023", "03/04/2023")
    assert first.ambiguous is not None
    assert {first.ambiguous.day_first, first.ambiguous.month_first} == {"%d/%m/%Y", "%m/%d/%Y"}
    told = look("01/31/2023", "03/04/2023")
    assert order_of_days([first, told]) == "month_first"
    assert look("01/02/2023", "03/04/2023", siblings="month_first").format == "%m/%d/%Y"
    assert order_of_days([told, look("31/01/2023")]) is None


def test_a_type_bears_a_few_unreadable_cells_and_no_more():
    few = look(*["7", "8"] * 500, "oops")
    assert (few.kind, few.unreadable) == ("integer", 1)
    assert look(*["7", "8"] * 50, "oops").kind == "category"


# Words for missing


def test_words_for_missing_are_counted_and_left_out():
    found = look("Select", "Finance", "Select", "N/A", " ", "")
    assert found.missing == {"Select": 2, "N/A": 1, " ": 1}
    assert list(found.words.index) == ["Finance"] and found.given == 1 and found.rows == 6


def test_a_country_na_is_namibia_and_an_industry_na_is_missing():
    countries = look("DE", "FR", "NA", "US", "GB", times=20)
    assert countries.missing == {} and "NA" in countries.words.index
    assert "Namibia" in countries.doubts[0]
    assert look("Retail", "NA", "Software", times=20).missing == {"NA": 20}


def test_unknown_is_an_answer_among_words_and_none_among_numbers():
    assert look("yes", "no", "unknown", times=10).missing == {}
    assert look("1", "2", "unknown", times=10).missing == {"unknown": 10}


@pytest.mark.parametrize(
    ("rest", "word", "missing"),
    [
        # As `pdays` of the bank data: 999 stands for "never", far from 0 to 27.
        ([str(k % 28) for k in range(300)], "999", True),
        ([str(1 + k % 870) for k in range(1000)], "-1", True),
        # Frequent, but within reach of the others.
        ([str(700 + k % 290) for k in range(300)], "999", False),
        # Negative numbers are nothing special where there are many.
        ([str(k - 500) for k in range(900)], "-1", False),
        ([str(k % 28) for k in range(300)], "500", False),
    ],
)
def test_a_number_stands_for_none_only_where_it_stands_out(rest, word, missing):
    found = look(*rest, *[word] * 60)
    assert (word in found.missing) == missing
    assert bool(found.doubts) == missing


def test_a_rare_sentinel_is_a_value():
    assert look(*[str(k % 28) for k in range(1000)], "999").missing == {}


def test_times_that_stand_for_none():
    found = look("2023-05-01", "1900-01-01", "0000-00-00", "2023-06-01")
    assert found.kind == "timestamp" and set(found.missing) == {"1900-01-01", "0000-00-00"}


# Properties


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12), min_size=1, max_size=30))
def test_every_cell_is_given_or_missing_or_empty(cells):
    found = profile(column(*cells), repeats=1.0)
    empty = sum(cell == "" for cell in cells)
    assert found.given + sum(found.missing.values()) + empty == found.rows == len(cells)
    assert found.given == found.words.sum() and 0 <= found.unreadable <= found.given
