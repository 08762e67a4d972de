"""Groups of leads: calibration, selection, the four-fifths rule; recomputed from the rows by plain counting."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scoring import fairness, metrics
from tests.fake_results import resolved_with


def frame(region: list[str | None], label: list[int], probability: list[float], selected: list[bool]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "lead_id": [f"L{k}" for k in range(len(region))],
            "region": pd.Series(region, dtype="str"),
            "label": label,
            "probability": probability,
            "selected": selected,
        }
    )


#: Ten rows each: north reaches the top tier in 5, south in 4, west in 3, and one row has no region.
SHARED = frame(
    [*["north"] * 10, *["south"] * 10, *["west"] * 10, None],
    [*[1] * 3, *[0] * 7, *[1] * 2, *[0] * 8, *[0] * 10, 1],
    [0.3] * 30 + [0.9],
    [*[True] * 5, *[False] * 5, *[True] * 4, *[False] * 6, *[True] * 3, *[False] * 7, False],
)


def test_a_group_below_four_fifths_of_the_highest_rate_is_named() -> None:
    found = fairness.table(SHARED, {"region": "Region"}, level=0.9, min_rows=2)
    assert list(found.columns) == list(fairness.COLUMNS)
    assert found["value"].tolist() == ["north", "south", "west"]  # one row alone is no group
    assert found["selected"].tolist() == pytest.approx([0.5, 0.4, 0.3])
    # 0.4 of 0.5 is four fifths, and four fifths is not below it.
    assert found["ratio"].tolist() == pytest.approx([1.0, 0.8, 0.6])
    assert found["below_four_fifths"].tolist() == [False, False, True]


def test_the_gap_is_conversion_less_mean_probability_with_wilsons_interval() -> None:
    found = fairness.table(SHARED, {"region": "Region"}, level=0.9, min_rows=2).set_index("value")
    assert found["conversion"].to_dict() == pytest.approx({"north": 0.3, "south": 0.2, "west": 0.0})
    assert found["gap"].to_dict() == pytest.approx({"north": 0.0, "south": -0.1, "west": -0.3})
    low, high = metrics.wilson(np.array([3.0, 2.0, 0.0]), np.full(3, 10.0), 0.9)
    np.testing.assert_allclose(found["gap_low"], low - 0.3)
    np.testing.assert_allclose(found["gap_high"], high - 0.3)


def test_a_missing_value_is_a_group_too() -> None:
    found = fairness.table(SHARED, {"region": "Region"}, level=0.9, min_rows=1).set_index("value")
    assert found.loc["(missing)", ["rows", "selected"]].tolist() == [1, 0.0]


def test_without_a_second_group_or_a_selected_row_there_is_no_ratio() -> None:
    one = fairness.table(SHARED.head(10), {"region": ""}, level=0.9, min_rows=1)
    assert one["ratio"].isna().all() and not one["below_four_fifths"].any()
    none = fairness.table(SHARED.assign(selected=False), {"region": ""}, level=0.9, min_rows=1)
    assert none["ratio"].isna().all() and not none["below_four_fifths"].any()


def test_without_columns_there_are_no_groups() -> None:
    assert fairness.table(SHARED, {}, level=0.9, min_rows=1).empty
    assert list(fairness.table(SHARED, {}, level=0.9, min_rows=1).columns) == list(fairness.COLUMNS)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 1), st.floats(0.01, 0.99), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_the_table_is_what_counting_row_by_row_gives(rows: list[tuple[str, int, float, bool]]) -> None:
    found = fairness.table(frame(*map(list, zip(*rows, strict=True))), {"region": "Region"}, level=0.9, min_rows=3)  # type: ignore[arg-type]
    groups: dict[str, list[tuple[str, int, float, bool]]] = {}
    for row in rows:
        groups.setdefault(row[0], []).append(row)
    groups = {name: groups[name] for name in sorted(groups) if len(groups[name]) >= 3}
    assert found["value"].tolist() == list(groups)
    rate = {name: sum(row[3] for row in own) / len(own) for name, own in groups.items()}
    for row in found.to_dict("records"):
        own = groups[row["value"]]
        assert row["rows"] == len(own)
        assert row["conversion"] == pytest.approx(sum(one[1] for one in own) / len(own))
        assert row["mean_probability"] == pytest.approx(sum(one[2] for one in own) / len(own))
        assert row["selected"] == pytest.approx(rate[row["value"]])
        top = max(rate.values())
        if len(groups) > 1 and top > 0:
            assert row["ratio"] == pytest.approx(rate[row["value"]] / top)
        assert row["gap_low"] <= row["gap"] + 1e-12 and row["gap"] <= row["gap_high"] + 1e-12


def test_columns_out_of_the_model_may_be_watched() -> None:
    column = {"role": "ignored", "type": "category", "known_at": "creation"}
    resolved = resolved_with(
        industry=column | {"role": "feature"},
        language=column,
        label=column,
        member=column | {"type": "boolean"},
        later=column | {"known_at": "over_time"},
        note=column | {"type": "text"},
        name={"role": "personal"},
    )
    # `industry` is in the model; `label` goes by another name after ingest.
    assert fairness.watched(resolved) == ["language", "label_", "member"]
