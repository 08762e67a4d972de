"""Raw values are cleaned to what `ingest` would have typed."""

import numpy as np
import pandas as pd
import pytest

from pipeline.scorer import checks
from pipeline.scorer.cleaning import clean

CODE = {"name": "browser", "type": "category", "missing": ["", "n/a"]}
SIZE = {"name": "size", "type": "number", "missing": ["", "999"]}
FLAG = {"name": "flag", "type": "boolean", "missing": [""]}


@pytest.mark.parametrize(
    ("values", "cleaned"),
    [
        ([2.0, None, 3.0], ["2", None, "3"]),  # pandas makes floats of codes where one is missing
        ([2, 3, 10], ["2", "3", "10"]),
        (["2", "n/a", ""], ["2", None, None]),
        ([True, False, None], ["true", "false", None]),
        ([2.5, " 2", "NA"], ["2.5", " 2", "NA"]),
    ],
)
def test_categories(values, cleaned):
    got = clean(pd.Series(values, dtype=object), CODE)
    assert got.astype(object).where(got.notna(), None).tolist() == cleaned


@pytest.mark.parametrize("values", [["7", "999", "", None], [7, 999, 999, None], [7.0, 999.0, np.nan, np.nan]])
def test_numbers(values):
    got = clean(pd.Series(values), SIZE)
    assert got.dtype == "float64"
    assert got[0] == 7 and got[1:].isna().all()


def test_text_that_is_no_number_stays_for_the_checks_to_name():
    assert clean(pd.Series(["7", "seven"]), SIZE).tolist() == [7.0, "seven"]


@pytest.mark.parametrize("values", [[True, False, None], ["yes", "no", ""], [1, 0, np.nan], ["1.0", "False", None]])
def test_flags(values):
    got = clean(pd.Series(values, dtype=object), FLAG)
    assert got[:2].tolist() == [1.0, 0.0] and np.isnan(got[2])


def test_the_index_is_kept():
    assert clean(pd.Series(["7"], index=[42]), SIZE).index.tolist() == [42]


def test_what_a_row_holds_does_not_depend_on_the_rows_beside_it():
    """`True` equals 1, and pandas takes the two for one value: each is read as it stands, in any company."""
    mixed = [1, True, 0, False, 2.0, None, "true", "No", " ", "perhaps", "7", "1e3"]
    mixed += [["retail"], {"a": 1}, (1, [2]), np.array([1, 2])]

    def read(values: list[object], kind: str) -> list[tuple[str, bool]]:
        cleaned = clean(pd.Series(values, dtype=object), {"name": "flag", "type": kind})
        if kind == "category":
            return [(str(one), False) for one in cleaned]
        value, unread = (checks.booleans if kind == "boolean" else checks.numbers)(cleaned)
        return list(zip(value.astype(str), unread, strict=True))

    for kind in ("number", "boolean", "category"):
        assert read(mixed, kind) == [read([one], kind)[0] for one in mixed], kind


@pytest.mark.parametrize("beside", [" ", "\t", "perhaps", "2"])
def test_a_flag_is_a_flag_beside_text_that_is_none(beside):
    """What is left for the checks to name must not turn its neighbours into text, which no feature reads."""
    got = clean(pd.Series(["true", "no", None, beside], dtype=object), FLAG)
    assert got[:2].tolist() == [1.0, 0.0] and np.isnan(got[2]) and got[3] == beside
