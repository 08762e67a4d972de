"""Expected deal values: shrunken as the formula says, near the truth, and used only where criteria tell something."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.scoring import deal_values, segments

SIZE = {"name": "employees", "criterion": "Company size", "type": "number", "bounds": [10.0, 100.0]}
SOURCE = {"name": "source", "criterion": "Lead source", "type": "category", "bounds": []}
LAND = {"name": "land", "criterion": "Country", "type": "category", "bounds": []}


def deals(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng([seed, 4])
    return pd.DataFrame(
        {
            "employees": rng.choice([5.0, 50.0, 500.0], n),
            "source": pd.Series(rng.choice(["event", "list"], n), dtype="str"),
            "land": pd.Series(rng.choice([f"C{k:02d}" for k in range(20)], n), dtype="str"),
        }
    )


def test_the_mean_of_a_segment_is_drawn_to_the_common_one():
    """Worked by hand: two segments of 4 and 2 deals."""
    frame = pd.DataFrame({"source": pd.Series(["a"] * 4 + ["b"] * 2, dtype="str")})
    value = np.array([8.0, 10.0, 10.0, 12.0, 49.0, 51.0])
    # Within: (8 + 2) / (6 - 2) = 2.5. Means are 10, 50 and 70 / 3 of all, 40 / 3 and 80 / 3 apart from it:
    # 4 x 1600 / 9 + 2 x 6400 / 9 = 6400 / 3; less 2.5; over 6 - 20 / 6 = 8 / 3: between = 799.0625.
    k = 2.5 / 799.0625
    table = deal_values.fit(frame.assign(value=value), [SOURCE], sure=3.0)
    assert table is not None
    assert (table["deals"], table["overall"]) == (6, pytest.approx(70 / 3))
    assert [(cell["levels"], cell["deals"]) for cell in table["cells"]] == [(["a"], 4), (["b"], 2)]
    assert [cell["value"] for cell in table["cells"]] == pytest.approx(
        [(4 * 10 + k * 70 / 3) / (4 + k), (2 * 50 + k * 70 / 3) / (2 + k)]
    )


def test_known_values_are_found_by_the_criteria_that_matter():
    """Size decides, size and source together even more; the country does not."""
    frame = deals(4000, 1)
    size = np.log10(frame["employees"])
    truth = 100 * size * np.where((frame["source"] == "event") & (frame["employees"] > 100), 2, 1)
    frame["value"] = truth * np.random.default_rng(2).lognormal(-0.125, 0.5, len(frame))
    table = deal_values.fit(frame, [LAND, SIZE, SOURCE], sure=3.0)
    assert table is not None
    assert [column["name"] for column in table["columns"]] == ["employees", "source"]
    np.testing.assert_allclose(deal_values.expected_value(table, frame), truth, rtol=0.08)


def test_shrinking_comes_nearer_to_the_truth_than_bare_means():
    """Twenty countries with fifteen deals each: Stein's effect, on the average of 20 draws."""
    bare, shrunken = [], []
    for seed in range(20):
        rng = np.random.default_rng([seed, 5])
        truth = pd.Series(rng.normal(100, 15, 20), index=[f"C{k:02d}" for k in range(20)])
        frame = pd.DataFrame({"land": pd.Series(np.repeat(truth.index, 15), dtype="str")})
        frame["value"] = truth[frame["land"]].to_numpy() + rng.normal(0, 60, len(frame))
        table = deal_values._table(frame["value"].to_numpy(), segments.levels(frame, [LAND]), [LAND])
        found = pd.Series({cell["levels"][0]: cell["value"] for cell in table["cells"]})
        shrunken.append(((found - truth) ** 2).mean())
        bare.append(((frame.groupby("land")["value"].mean() - truth) ** 2).mean())
    assert np.mean(shrunken) < 0.7 * np.mean(bare)


def test_where_no_criterion_tells_anything_the_mean_is_all():
    used = []
    for seed in range(20):
        frame = deals(300, seed).assign(value=np.random.default_rng([seed, 6]).lognormal(5, 1, 300))
        table = deal_values.fit(frame, [LAND, SIZE, SOURCE], sure=3.0)
        assert table is not None
        used.append(len(table["columns"]))
        if not table["columns"]:
            assert table["cells"] == []
            assert (deal_values.expected_value(table, frame) == frame["value"].mean()).all()
    assert sum(map(bool, used)) <= 1


def test_the_error_of_deals_left_out_is_that_of_learning_without_them():
    rng = np.random.default_rng(7)
    cell = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3])
    value = rng.lognormal(3, 0.5, 12) + 20 * cell
    k = deal_values._shrinkage(value, cell)
    assert 0 < k < np.inf
    for left, error in enumerate(deal_values._left_out(value, cell)):
        others = np.arange(12) != left
        mine = others & (cell == cell[left])
        common = value[others].mean()
        mean = (value[mine].sum() + k * common) / (mine.sum() + k) if mine.any() else common
        assert error == pytest.approx((value[left] - mean) ** 2)


@pytest.mark.parametrize(
    ("value", "cell", "k"),
    [
        ([5.0, 5.0, 9.0, 9.0], [0, 0, 1, 1], 0.0),  # nothing varies within: means count in full
        ([1.0, 9.0, 1.0, 9.0], [0, 0, 1, 1], np.inf),  # nothing differs between: they do not count
        ([1.0, 9.0], [0, 1], np.inf),  # one deal each: nobody can tell
        ([1.0, 9.0], [0, 0], np.inf),
    ],
)
def test_the_ends_of_shrinkage(value, cell, k):
    assert deal_values._shrinkage(np.array(value), np.array(cell)) == k
    assert np.isfinite(deal_values._left_out(np.array(value), np.array(cell))).all()


def test_a_segment_without_deals_and_a_deal_without_value():
    frame = pd.DataFrame({"source": pd.Series(["a"] * 30 + ["b"] * 30, dtype="str")})
    frame["value"] = [10.0, 12.0] * 15 + [100.0, 102.0] * 15
    table = deal_values.fit(pd.concat([frame, frame.head(9).assign(value=np.nan)]), [SOURCE], sure=3.0)
    assert table is not None and table["deals"] == 60
    new = pd.DataFrame({"source": pd.Series(["never seen", None, "a"], dtype="str")}).set_axis([7, 8, 9])
    found = deal_values.expected_value(table, new)
    assert found.index.tolist() == [7, 8, 9]
    assert found.tolist()[:2] == [56.0, 56.0]
    assert found[9] == pytest.approx(11, abs=0.2)
    assert deal_values.fit(frame.assign(value=np.nan), [SOURCE], sure=3.0) is None


def test_the_table_is_plain_data():
    frame = deals(500, 3).assign(value=lambda rows: rows["employees"] + 1)
    table = deal_values.fit(frame, [LAND, SIZE, SOURCE], sure=3.0)
    again = json.loads(json.dumps(table, allow_nan=False))
    pd.testing.assert_series_equal(deal_values.expected_value(again, frame), deal_values.expected_value(table, frame))


def test_value_captured():
    value, score = np.array([0.0, 30.0, 0.0, 10.0]), np.array([0.9, 0.8, 0.8, 0.1])
    # The two leads at 0.8 tie: half of them is half of their 30.
    assert [deal_values.captured(value, score, share) for share in (0.25, 0.5, 0.75, 1.0)] == [0, 15 / 40, 30 / 40, 1]
    assert np.isnan(deal_values.captured(np.zeros(4), score, 0.5))
    chance, worth = pd.Series([0.5, 0.1]), pd.Series([10.0, 100.0])
    assert deal_values.value_score(chance, worth).tolist() == [5.0, 10.0]
