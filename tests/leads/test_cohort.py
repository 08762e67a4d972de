"""Snapshots as a specification: who is open when, what counts, and what is set aside."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NotEnoughData
from pipeline.leads import cohort, contract
from pipeline.params import Featurize

PARAMS = Featurize(ages_days=[3, 10], windows_days=[7], train_share=0.5, calibrate_share=0.25, time_proof_samples=1)
DATED = contract.parse(
    {
        "contract_version": 1,
        "name": "small",
        "description": "a small history",
        "source": {"kind": "demo"},
        "key": "id",
        "time": {"kind": "column", "column": "born"},
        "outcome": {"kind": "dates", "horizon_days": 5, "converted_at": "won", "lost_at": "gone"},
        "columns": {
            "id": {"role": "identifier"},
            "born": {"role": "ignored", "type": "timestamp"},
            "won": {"role": "outcome", "type": "timestamp"},
            "gone": {"role": "outcome", "type": "timestamp"},
        },
        "activities": {
            "lead": "lead",
            "kind": "kind",
            "happened_at": "h",
            "recorded_at": "r",
            "kinds": {"visit": {}},
        },
    },
    file="small.yaml",
)


def leads(*rows: tuple[str, str, str | None, str | None]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["lead_id", "created_at", "converted_at", "lost_at"])
    frame.insert(0, "row", range(1, len(frame) + 1))
    for name in ("created_at", "converted_at", "lost_at"):
        frame[name] = pd.to_datetime(frame[name], format="ISO8601").astype("datetime64[us]")
    return frame


def test_a_lead_is_closed_from_the_very_moment_it_converts_or_is_lost():
    table = leads(
        ("a", "2024-01-01", "2024-01-04", None),
        ("b", "2024-01-01", None, "2024-01-04T00:00:01"),
        ("c", "2024-01-01", None, None),
    )
    assert cohort.still_open(table, pd.Timestamp("2024-01-04")).tolist() == [False, True, True]


def test_as_of_dates_are_midnights_after_each_age_up_to_the_newest_moment():
    table = leads(("a", "2024-01-01T15:30", None, None))
    pairs = cohort.pairs(table, [3, 10], pd.Timestamp("2024-01-11"))
    assert pairs["as_of"].astype(str).tolist() == ["2024-01-04", "2024-01-11"]
    assert cohort.pairs(table, [3, 10], pd.Timestamp("2024-01-10T23:59"))["as_of"].astype(str).tolist() == [
        "2024-01-04"
    ]


# Eight leads, one every ten days; windows: four train, two calibrate, two test. Horizon five days, ages 3 and 10.
BORN = [f"2024-{m}" for m in ("01-01", "01-11", "01-21", "01-31", "02-10", "02-20", "03-01", "03-11")]
HISTORY = leads(
    (
        "a",
        BORN[0],
        "2024-01-09",
        None,
    ),  # converts exactly horizon days after the first look: counts; closed at the second
    ("b", BORN[1], "2024-01-14", None),  # converts at the moment of the first look: closed, never a snapshot
    ("c", BORN[2], None, None),
    ("d", BORN[3], "2024-02-09", None),  # six days after the first look: one too late, so 0; closed at the second
    ("e", BORN[4], "2024-02-14", None),
    ("f", BORN[5], None, None),
    ("g", BORN[6], "2024-03-06", None),
    ("h", BORN[7], None, None),
)
NEWEST = pd.Timestamp("2024-03-25")


def test_labels_maturity_embargo_and_windows():
    drawn = cohort.draw(HISTORY, DATED, NEWEST, PARAMS, seed=1)
    got = [(r.lead_id, f"{r.as_of:%m-%d}", int(r.label), r.split) for r in drawn.snapshots.itertuples()]
    assert got == [
        ("a", "01-04", 1, "train"),
        ("c", "01-24", 0, "train"),
        ("c", "01-31", 0, "train"),
        ("d", "02-03", 0, "train"),  # its horizon ends on 02-08, before the window's end on 02-10
        ("e", "02-13", 1, "calibrate"),
        ("f", "02-23", 0, "calibrate"),  # its look at 03-01 reaches past the window's end: set aside
        ("g", "03-04", 1, "test"),
        ("h", "03-14", 0, "test"),  # its look at 03-21 is not matured by 03-25: set aside
    ]
    windows = drawn.windows.set_index("split")
    assert windows.loc["train", ["leads", "snapshots", "conversions", "closed"]].tolist() == [3, 4, 1, 4]
    assert windows["embargoed"].tolist() == [0, 1, 0]
    assert windows["not_matured"].tolist() == [0, 0, 1]
    assert [f"{t:%m-%d}" for t in windows["start"]] == ["01-01", "02-10", "03-01"]
    assert windows["end"].iloc[-1] == NEWEST


def test_nothing_is_lost_in_silence():
    drawn = cohort.draw(HISTORY, DATED, NEWEST, PARAMS, seed=1)
    looks = len(cohort.pairs(HISTORY, PARAMS.ages_days, NEWEST))
    assert drawn.windows[["snapshots", "closed", "not_matured", "embargoed"]].to_numpy().sum() == looks


def test_a_window_without_conversions_is_an_error_that_says_which():
    with pytest.raises(NotEnoughData, match="the calibrate window holds 3 matured snapshots with 0 conversions"):
        cohort.draw(
            HISTORY.assign(converted_at=HISTORY["converted_at"].where(HISTORY["lead_id"] != "e")),
            DATED,
            NEWEST,
            PARAMS,
            seed=1,
        )


days = st.integers(0, 200)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(days, st.none() | st.integers(1, 60), st.none() | st.integers(1, 60)), min_size=12, max_size=60),
    st.integers(150, 260),
)
def test_the_second_look_at_a_drawn_split_finds_no_fault(rows, end):
    start = pd.Timestamp("2024-01-01")
    table = leads(
        *(
            (
                f"{k:03d}",
                (start + pd.Timedelta(days=born)).isoformat(),
                None if won is None else (start + pd.Timedelta(days=born + won)).isoformat(),
                None if gone is None else (start + pd.Timedelta(days=born + gone)).isoformat(),
            )
            for k, (born, won, gone) in enumerate(rows)
        )
    )
    try:
        drawn = cohort.draw(table, DATED, start + pd.Timedelta(days=end), PARAMS, seed=1)
    except NotEnoughData:
        return
    faults = cohort.check_windows(drawn.snapshots, drawn.windows, table, 5)
    assert faults == {"leads_in_two_splits": 0, "horizon_past_end": 0, "out_of_window": 0}


def test_the_second_look_finds_planted_faults():
    drawn = cohort.draw(HISTORY, DATED, NEWEST, PARAMS, seed=1)
    moved = drawn.snapshots.assign(
        split=drawn.snapshots["split"].where(drawn.snapshots["as_of"] != "2024-01-31", "test")
    )
    faults = cohort.check_windows(moved, drawn.windows, HISTORY, 5)
    assert faults["leads_in_two_splits"] == 1 and faults["out_of_window"] == 1
    late = drawn.snapshots.assign(as_of=drawn.snapshots["as_of"] + pd.Timedelta(days=8))
    assert cohort.check_windows(late, drawn.windows, HISTORY, 5)["horizon_past_end"] > 0


def test_without_a_time_axis_positions_are_a_seeded_shuffle_of_the_keys():
    first = cohort.positions(HISTORY, "none", seed=1)
    shuffled = HISTORY.sample(frac=1, random_state=3)
    assert sorted(first) == list(range(8))
    by_key = dict(zip(HISTORY["lead_id"], first, strict=True))
    assert dict(zip(shuffled["lead_id"], cohort.positions(shuffled, "none", seed=1), strict=True)) == by_key
    assert cohort.positions(HISTORY, "none", seed=2).tolist() != first.tolist()
