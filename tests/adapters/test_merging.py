"""Merged runs are the sorted whole, however many there are and however few rows are held of each."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.adapters import merging

ORDER = ["place", "worst", "lead", "row"]


def table(rows: int, seed: int) -> pd.DataFrame:
    """Rows with many ties, which only the last column of the order settles."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "place": random.integers(0, 2, rows),
            "worst": -random.integers(0, 3, rows) / 3,
            "lead": pd.Series(random.choice(["", "a", "Z", "ü", "\U0001f600"], rows), dtype="str"),
            "row": random.permutation(rows),
            "what": pd.Series(random.integers(0, 9, rows).astype(str), dtype="str"),
        }
    )


@pytest.mark.parametrize(("rows", "runs"), [(0, 1), (1, 1), (500, 1), (500, 3), (503, 11), (40, 40)])
def test_merged_runs_are_the_sorted_table(tmp_path, monkeypatch, rows, runs):
    monkeypatch.setattr(merging, "BATCH_ROWS", 7)
    monkeypatch.setattr(merging, "WIDTH", 3)
    monkeypatch.setattr(merging, "BLOCK_ROWS", 50)
    whole = table(rows, seed=rows)
    paths = []
    for number, part in enumerate(np.array_split(np.arange(rows), runs)):
        paths.append(tmp_path / f"{number}")
        merging.write(paths[-1], whole.iloc[part].sort_values(ORDER, ignore_index=True), {"rows": len(part)})
    blocks = list(merging.merged(paths, ORDER, tmp_path / "between"))
    assert [len(block) for block in blocks[:-1]] == [50] * (len(blocks) - 1)
    found = pd.concat(blocks, ignore_index=True)
    expected = sorted(whole.itertuples(index=False, name=None), key=lambda row: row[:4])
    assert list(found.itertuples(index=False, name=None)) == expected
    assert found.dtypes.to_dict() == whole.dtypes.to_dict()


def test_a_run_remembers_its_facts(tmp_path):
    merging.write(tmp_path / "a", table(3, 1), {"rows": 3, "count": {"ü": 1}})
    assert json.dumps(merging.facts(tmp_path / "a"), ensure_ascii=False) == '{"rows": 3, "count": {"ü": 1}}'
