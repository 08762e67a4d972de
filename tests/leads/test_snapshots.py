"""Features part by part are the features of the whole, whatever the parts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.leads import cohort, snapshots
from pipeline.leads.specification import specify
from pipeline.params import Params, load
from tests.small_history import NEWEST, resolved, tables


@pytest.fixture(scope="module")
def params(project_root: Path) -> Params:
    return load(project_root / "params.yaml")


def reader(table: pd.DataFrame):
    return lambda first, last: table[table["lead_id"].between(first, last)].reset_index(drop=True)


def history(copies: int) -> dict[str, pd.DataFrame]:
    """The small history several times over, each time under other keys, sorted as the clean tables are."""
    grown = {}
    for name, table in tables().items():
        many = [table.assign(lead_id=table["lead_id"] + f"-{copy:02d}") for copy in range(copies)]
        order = ["lead_id"] if name == "leads" else ["lead_id", "recorded_at", "row"]
        grown[name] = pd.concat(many).sort_values(order, ignore_index=True)
    return grown


@settings(max_examples=25, deadline=None)
@given(copies=st.integers(1, 6), cuts=st.sets(st.integers(1, 17)), sample=st.integers(0, 2**16))
def test_parts_change_nothing(params: Params, copies: int, cuts: set[int], sample: int) -> None:
    given_ = history(copies)
    leads = given_["leads"]
    spec = specify(resolved(), params.featurize)
    found = cohort.pairs(leads, [3, 10, 20], NEWEST)
    pairs = found.loc[found["open"], ["lead_id", "as_of"]].reset_index(drop=True)
    edges = sorted({0, len(leads), *(cut for cut in cuts if cut < len(leads))})
    slices = [slice(start, stop) for start, stop in pairwise(edges)]
    whole = snapshots.featurize(leads, given_["activities"], given_["changes"], pairs, spec)
    read = reader(given_["activities"]), reader(given_["changes"])
    parts = list(snapshots.in_parts(leads, *read, pairs, slices, spec))
    pd.testing.assert_frame_equal(pd.concat([part.pairs for part in parts]), pairs)
    pd.testing.assert_frame_equal(pd.concat([part.features for part in parts]), whole)

    chosen = np.flatnonzero(np.random.default_rng(sample).random(len(pairs)) < 0.3)
    seen = snapshots.together(part.only(chosen) for part in parts)
    if not len(chosen):
        assert all(len(table) == 0 for table in (seen.leads, seen.activities, seen.changes, seen.features))
        return
    pd.testing.assert_frame_equal(seen.pairs, pairs.iloc[chosen].reset_index(drop=True))
    pd.testing.assert_frame_equal(seen.features, whole.iloc[chosen].reset_index(drop=True))
    for name, rows in [("leads", seen.leads), ("activities", seen.activities), ("changes", seen.changes)]:
        expected = given_[name][given_[name]["lead_id"].isin(seen.pairs["lead_id"])]
        pd.testing.assert_frame_equal(rows, expected.reset_index(drop=True))
