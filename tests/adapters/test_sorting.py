"""Sorted by lead on disk: the same rows in the same order as a plain sort, whatever the parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters import files
from pipeline.adapters.sorting import by_lead, ranges


def test_ranges_hold_about_as_many_rows_as_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PART_ROWS", 10)
    assert ranges(6, 30) == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert ranges(5, 30) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert ranges(5, 10) == ranges(5, 0) == [slice(0, 5)]
    assert ranges(2, 1000) == [slice(0, 1), slice(1, 2)]
    assert ranges(0, 0) == [slice(0, 0)]


def table(seed: int, leads: int, rows: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    day = pd.Timestamp("2024-01-01").as_unit("us")
    return pd.DataFrame(
        {
            "row": generator.permutation(rows) + 1,
            "lead_id": pd.Series([f"L{one}" for one in generator.integers(0, max(leads, 1), rows)], dtype="str"),
            "recorded_at": day + pd.to_timedelta(generator.integers(0, 3, rows), unit="D").as_unit("us"),
        }
    )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000),
    leads=st.integers(1, 12),
    rows=st.integers(0, 60),
    size=st.integers(1, 70),
    limit=st.integers(1, 100),
)
def test_as_a_plain_sort(seed: int, leads: int, rows: int, size: int, limit: int, tmp_path: Path) -> None:
    whole = table(seed, leads, rows)
    keys = pd.Series(sorted(f"L{one}" for one in range(leads)), dtype="str")
    cut = [whole.iloc[at : at + size] for at in range(0, max(rows, 1), size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PART_ROWS", limit)
        found = list(by_lead(iter(cut), keys, ["recorded_at", "row"], rows, tmp_path / "parts"))
    expected = whole.sort_values(["lead_id", "recorded_at", "row"], ignore_index=True)
    pd.testing.assert_frame_equal(pd.concat(found, ignore_index=True), expected)
    assert not (tmp_path / "parts").exists()


def test_the_folder_goes_after_an_error(tmp_path: Path) -> None:
    def parts():
        yield table(1, 2, 5)
        raise RuntimeError("disk full")

    keys = pd.Series(["L0", "L1"], dtype="str")
    with pytest.raises(RuntimeError):
        list(by_lead(parts(), keys, ["row"], 5, tmp_path / "parts"))
    assert not (tmp_path / "parts").exists()


def test_no_part_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one part"):
        list(by_lead([], pd.Series([], dtype="str"), ["row"], 0, tmp_path / "parts"))
