"""Folds: forward in time with an embargo, or leads dealt at random, each with its share of the conversions."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NotEnoughData
from pipeline.scoring import folds


def history(n: int = 1200, looks: int = 1, rate: float = 0.2) -> pd.DataFrame:
    """Ten leads a day, each looked at on so many days in a row; a lead's looks have one outcome."""
    rng = np.random.default_rng(np.random.SeedSequence([3]))
    lead = np.repeat(np.arange(n), looks)
    return pd.DataFrame(
        {
            "lead_id": [f"{k:05d}" for k in lead],
            "as_of": pd.Timestamp("2024-01-01") + pd.to_timedelta(lead // 10 + np.tile(np.arange(looks), n), unit="D"),
            "label": (rng.random(n) < rate).astype("int8")[lead],
            "position": lead,
        }
    )


def forward(snapshots: pd.DataFrame, horizon_days: int = 7, number: int = 3) -> list[folds.Fold]:
    return folds.draw(snapshots, number=number, first_share=0.55, horizon_days=horizon_days, random=False, seed=1)


def dealt(snapshots: pd.DataFrame, number: int = 4, seed: int = 1) -> list[folds.Fold]:
    return folds.draw(snapshots, number=number, first_share=0.55, horizon_days=7, random=True, seed=seed)


# Forward in time


def test_folds_learn_from_the_past_whose_outcome_was_known():
    snapshots = history()
    found = forward(snapshots)
    assert [(fold.start, fold.end) for fold in found] == [(660, 840), (840, 1020), (1020, 1200)]
    for fold in found:
        origin = snapshots["as_of"].iloc[fold.judge].min()
        known = snapshots["as_of"].iloc[fold.learn] + pd.Timedelta(days=7)
        assert known.max() <= origin
        assert snapshots["position"].iloc[fold.judge].min() == fold.start
    # Seven days of ten leads each are not yet decided at the first origin (day 66).
    assert len(found[0].learn) == 660 - 60


@pytest.mark.parametrize(("horizon_days", "known"), [(0, 5), (1, 4), (2, 3), (3, 2)])
def test_known_before_counts_an_outcome_of_the_very_moment(horizon_days, known):
    """One lead a day; the later rows begin on the sixth day. An outcome counts once its horizon has passed by then."""
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta([0, 2, 3, 4, 5, 5, 6], unit="D")
    rows = pd.DataFrame({"as_of": days, "position": np.arange(7)})
    found = folds.known_before(rows, np.array([False] * 5 + [True] * 2), horizon_days)
    assert found.tolist() == [True] * known + [False] * (7 - known)


def test_a_late_look_at_an_early_lead_is_not_learned_from_before_its_outcome_was_known():
    rows = pd.DataFrame({"as_of": pd.to_datetime(["2024-01-01", "2024-01-30", "2024-02-01"]), "position": [0, 0, 1]})
    assert folds.known_before(rows, np.array([False, False, True]), 7).tolist() == [True, False, False]


def test_folds_without_both_outcomes_are_an_error():
    snapshots = history()
    none = snapshots.assign(label=snapshots["label"].where(snapshots["position"] < 1020, 0))
    with pytest.raises(
        NotEnoughData,
        match="is judged on 180 snapshots with 0 conversions; it needs both outcomes: at least 1 more conv",
    ):
        forward(none)
    with pytest.raises(NotEnoughData, match=r"learns from 0 snapshots with 0 conversions.*tune\.folds"):
        forward(snapshots, horizon_days=400)


# Leads dealt at random


def test_random_folds_judge_every_row_once_and_learn_from_all_others():
    snapshots = history(300, looks=3)
    found = dealt(snapshots)
    assert sorted(np.concatenate([fold.judge for fold in found]).tolist()) == list(range(len(snapshots)))
    for k, fold in enumerate(found):
        assert sorted([*fold.judge, *fold.learn]) == list(range(len(snapshots)))
        assert (fold.start, fold.end) == (k, k + 1)


@settings(deadline=None, max_examples=30)
@given(st.integers(30, 120), st.integers(1, 4), st.integers(2, 6), st.integers(0, 2**31))
def test_random_folds_keep_a_lead_together_and_share_the_conversions(leads, looks, number, seed):
    snapshots = history(leads, looks, rate=0.5)
    found = dealt(snapshots, number, seed)
    lead, label = snapshots["lead_id"].to_numpy(), snapshots["label"].to_numpy()
    for fold in found:
        assert not set(lead[fold.judge]) & set(lead[fold.learn])
    counts = [len(set(lead[fold.judge])) for fold in found]
    converts = [len(set(lead[fold.judge][label[fold.judge] == 1])) for fold in found]
    assert max(counts) - min(counts) <= 1
    assert max(converts) - min(converts) <= 1


def test_random_folds_follow_from_the_seed_and_not_from_the_order_of_rows():
    snapshots = history(300, looks=2)
    mixed = snapshots.sample(frac=1, random_state=1)

    def parts(rows: pd.DataFrame, seed: int) -> list[set[str]]:
        return [set(rows["lead_id"].to_numpy()[fold.judge]) for fold in dealt(rows, seed=seed)]

    assert parts(mixed, 1) == parts(snapshots, 1) != parts(snapshots, 2)


@pytest.mark.parametrize(
    ("max_rows", "kept"), [(20, [0, 1, 2, 3, 4]), (10, [0, 1, 2, 3, 4]), (9, [0, 2, 4]), (4, [0, 3])]
)
def test_of_too_many_rows_those_of_every_nth_lead_are_looked_at(max_rows, kept):
    """Two looks at each of five leads, in any order of rows."""
    snapshots = pd.DataFrame({"position": [7, 3, 9, 1, 5] * 2})
    found = folds.thinned(snapshots, max_rows)
    places = np.array([1, 3, 5, 7, 9])[kept]
    assert sorted(snapshots["position"][found]) == sorted([*places, *places])


def test_the_table_counts_rows_and_conversions():
    snapshots = pd.DataFrame({"label": [1, 0, 1, 0, 1]})
    drawn = [folds.Fold(np.array([0, 1]), np.array([2]), 2, 3), folds.Fold(np.array([0, 1, 2]), np.array([3, 4]), 3, 5)]
    assert folds.table(drawn, snapshots).to_dict("split")["data"] == [[0, 2, 1, 1, 1, 2, 3], [1, 3, 2, 2, 1, 3, 5]]
    assert list(folds.table(drawn, snapshots)) == [
        *("fold", "learned", "learned_conversions", "judged", "judged_conversions", "start_position", "end_position")
    ]
