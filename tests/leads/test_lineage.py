"""Whether two scorers promise the same, and which rows one of them has seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.leads import lineage


def known(
    kind: str = "column", end: object = "2024-04-01", source: object = "a", seed: int = 1, **outcome: object
) -> lineage.Known:
    meaning = {"kind": "dates", "horizon_days": 30, "converted_at": "won_at"} | outcome
    splits = pd.DataFrame({"split": ["train", "calibrate", "test"], "start": ["w", "x", end], "end": ["x", end, "y"]})
    contract = {"contract": {"outcome": meaning, "time": {"kind": kind}}}
    return lineage.known(contract, splits, {"newest_recorded_at": "2024-07-01T00:00:00", "source": source}, seed)


@pytest.mark.parametrize(
    ("mine", "theirs", "why"),
    [
        (known(), known(), ""),
        (known(value="deal"), known(), ""),  # what a deal was worth does not change what a conversion is
        (known(horizon_days=60), known(), "its `horizon_days` is 30, the candidate's 60"),
        (known(converted_at="paid_at"), known(), "its `converted_at` is won_at, the candidate's paid_at"),
        (known(positive=["yes"]), known(), "its `positive` is None"),
        (known("row_order"), known(), "were parted by `column`, the candidate's by `row_order`"),
        (known(source="b"), known(), ""),
        (known("none", source="b"), known("none"), "another extract"),
        (known("none", seed=2), known("none"), "another seed"),
        (known("none", "2024-05-01"), known("none"), "other shares"),
        (known(seed=2), known(), ""),
        (known("none"), known("none"), ""),
    ],
)
def test_scorers_that_do_not_promise_the_same(mine, theirs, why):
    said = lineage.differs(mine, theirs)
    assert why in said and bool(said) == bool(why)


def test_leads_created_before_the_end_of_what_taught_it_were_seen():
    created = pd.Series(pd.to_datetime(["2024-03-31 23:59:59", "2024-04-01 00:00:00", "2024-05-01 00:00:00"]))
    rows = pd.DataFrame({"position": [5, 10, 11]})
    assert lineage.taught(rows, created, known(), known()).tolist() == [True, False, False]
    order = known("row_order", 10)
    assert lineage.taught(rows, created, order, order).tolist() == [True, False, False]
    # The same source parted by the same seed: its test window is the candidate's.
    random = known("none", 10)
    assert lineage.taught(rows, created, random, random).tolist() == [False] * 3


def test_moments_of_a_candidate_are_plain_data():
    newest = lineage.newest({"newest_recorded_at": "2024-07-01T09:30:00"})
    told = lineage.freshness(pd.Timestamp("2024-06-30"), newest)
    assert told == {"judged_until": "2024-06-30T00:00:00", "newest_recorded": "2024-07-01T09:30:00"}
    assert set(lineage.freshness(None, None).values()) == {None}


def test_a_source_without_moments_has_no_newest_one():
    found = lineage.known({}, pd.DataFrame(), {"newest_recorded_at": None, "source": {}}, 1)
    assert found.newest is None and np.array_equal(found.splits, pd.DataFrame())
