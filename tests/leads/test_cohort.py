"""Snapshots as a specification: who is open when, what counts, and what is set aside."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NotEnoughData, ProofFailed
from pipeline.leads import cohort, contract
from pipeline.params import load

PARAMS = load(Path(__file__).parents[2] / "params.yaml").featurize.model_copy(
    update={"ages_days": [3, 10], "windows_days": [7], "train_share": 0.5, "calibrate_share": 0.25}
)
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
    said = r"the calibrate window holds 3 matured snapshots with 0 conversions; .* at least 1 more conversion"
    with pytest.raises(NotEnoughData, match=said) as thin:
        cohort.draw(
            HISTORY.assign(converted_at=HISTORY["converted_at"].where(HISTORY["lead_id"] != "e")),
            DATED,
            NEWEST,
            PARAMS,
            seed=1,
        )
    # Those of the train and of the test window.
    assert thin.value.conversions == 2


def test_every_look_has_a_label_and_matures_when_its_horizon_has_passed():
    found = cohort.labelled(HISTORY.head(4), DATED, pd.Timestamp("2024-02-08"), PARAMS)
    got = [(r.lead_id, f"{r.as_of:%m-%d}", r.open, r.label, r.matured) for r in found.itertuples()]
    assert got == [
        ("a", "01-04", True, 1, True),
        ("a", "01-11", False, 0, True),
        ("b", "01-14", False, 0, True),
        ("b", "01-21", False, 0, True),
        ("c", "01-24", True, 0, True),
        ("c", "01-31", True, 0, True),
        ("d", "02-03", True, 0, True),  # five days to the very moment
    ]


def test_open_leads_are_those_created_and_not_closed_by_then():
    found = cohort.open_at(HISTORY, DATED, pd.Timestamp("2024-02-09"))
    assert found["lead_id"].tolist() == ["c"]  # d converts that very moment
    assert (found["as_of"] == pd.Timestamp("2024-02-09")).all()
    decided = DATED.model_copy(update={"outcome": DATED.outcome.model_copy(update={"kind": "flag"})})
    assert cohort.open_at(HISTORY, decided, pd.Timestamp("2024-02-09")).empty


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
    faults = cohort.check_windows(drawn.snapshots, drawn.windows, table, DATED, start + pd.Timedelta(days=end))
    assert faults == dict.fromkeys(FAULTS, 0)
    cohort.refuse_faults(faults)


FAULTS = (
    "leads_in_two_splits",
    "snapshots_twice",
    "windows_apart",
    "closed_leads",
    "horizon_past_newest",
    "wrong_labels",
    "out_of_window",
    "horizon_past_end",
)


def second_look(drawn: cohort.Cohort, **changed: object) -> dict[str, int]:
    """Faults that the second look finds in the drawn split after some columns of its snapshots were replaced."""
    snapshots = drawn.snapshots.assign(**changed)
    return cohort.check_windows(snapshots, drawn.windows, HISTORY, DATED, NEWEST)


def test_the_second_look_finds_planted_faults():
    drawn = cohort.draw(HISTORY, DATED, NEWEST, PARAMS, seed=1)
    split, as_of, label = (drawn.snapshots[name] for name in ("split", "as_of", "label"))
    assert second_look(drawn) == dict.fromkeys(FAULTS, 0)

    moved = second_look(drawn, split=split.where(as_of != "2024-01-31", "test"))
    assert (moved["leads_in_two_splits"], moved["out_of_window"]) == (1, 1)
    late = second_look(drawn, as_of=as_of + 8 * cohort.DAY)
    assert (late["horizon_past_end"], late["horizon_past_newest"], late["closed_leads"]) == (4, 1, 4)
    assert second_look(drawn, label=1 - label)["wrong_labels"] == len(label)
    assert second_look(drawn, label=label.where(as_of != "2024-01-04", 0))["wrong_labels"] == 1
    twice = pd.concat([drawn.snapshots, drawn.snapshots.iloc[:1]], ignore_index=True)
    assert cohort.check_windows(twice, drawn.windows, HISTORY, DATED, NEWEST)["snapshots_twice"] == 1
    apart = drawn.windows.assign(end=drawn.windows["end"] + cohort.DAY)
    assert cohort.check_windows(drawn.snapshots, apart, HISTORY, DATED, NEWEST)["windows_apart"] == 2
    stranger = second_look(drawn, lead_id=drawn.snapshots["lead_id"].where(as_of != "2024-01-04", "nobody"))
    assert stranger["out_of_window"] == 1


def test_windows_are_half_open_to_the_second_look_too():
    drawn = cohort.draw(HISTORY, DATED, NEWEST, PARAMS, seed=1)
    windows = drawn.windows
    first = HISTORY.loc[HISTORY["lead_id"] == "e", "created_at"].item()
    assert windows["end"].iloc[0] == windows["start"].iloc[1] == first  # `e` opens the second window

    def shifted(by: pd.Timedelta) -> int:
        edges = windows.assign(
            start=windows["start"].where(windows["split"] != "calibrate", first + by),
            end=windows["end"].where(windows["split"] != "train", first + by),
        )
        return cohort.check_windows(drawn.snapshots, edges, HISTORY, DATED, NEWEST)["out_of_window"]

    assert shifted(pd.Timedelta(0)) == 0
    assert shifted(pd.Timedelta(microseconds=1)) == 1


def test_a_fault_of_the_split_stops_the_run_and_is_named():
    faults = dict.fromkeys(FAULTS, 0) | {"leads_in_two_splits": 1_200, "wrong_labels": 3}
    with pytest.raises(ProofFailed, match=r"leads in two splits: 1,200; wrong labels: 3"):
        cohort.refuse_faults(faults)


@pytest.mark.parametrize(
    ("newest", "matured"),
    [
        ("2024-03-19T00:00:00", 1),  # exactly the horizon after the look at 03-14: matured
        ("2024-03-18T23:59:59", 0),
    ],
)
def test_a_snapshot_matures_at_the_very_moment_its_horizon_has_passed(newest, matured):
    params = PARAMS.model_copy(update={"ages_days": [3]})
    if matured:
        drawn = cohort.draw(HISTORY, DATED, pd.Timestamp(newest), params, seed=1)
        assert "h" in drawn.snapshots["lead_id"].tolist() and drawn.windows["not_matured"].sum() == 0
    else:
        # `h` alone did not convert: without it the window lacks an outcome, and is never filled with a guess.
        with pytest.raises(NotEnoughData, match="the test window holds 1 matured snapshots with 1"):
            cohort.draw(HISTORY, DATED, pd.Timestamp(newest), params, seed=1)


def test_leads_from_before_outcomes_were_recorded_are_set_aside_and_counted():
    old = leads(("x", "2023-11-01", None, None), ("y", "2023-11-05", None, None))
    table = pd.concat([old, HISTORY], ignore_index=True).assign(row=range(1, 11))
    recorded = table["created_at"] >= pd.Timestamp("2024-01-01")
    drawn = cohort.draw(table, DATED, NEWEST, PARAMS, 1, recorded)
    alone = cohort.draw(HISTORY, DATED, NEWEST, PARAMS, 1)
    pd.testing.assert_frame_equal(drawn.snapshots, alone.snapshots)
    assert drawn.windows["unrecorded"].tolist() == [4, 0, 0]
    pd.testing.assert_frame_equal(drawn.windows.drop(columns="unrecorded"), alone.windows.drop(columns="unrecorded"))
    looks = len(cohort.pairs(table, PARAMS.ages_days, NEWEST))
    counted = ["snapshots", "closed", "not_matured", "embargoed", "unrecorded"]
    assert drawn.windows[counted].to_numpy().sum() == looks
    assert cohort.check_windows(drawn.snapshots, drawn.windows, table, DATED, NEWEST) == dict.fromkeys(FAULTS, 0)


def test_without_a_time_axis_positions_are_a_seeded_shuffle_of_the_keys():
    first = cohort.positions(HISTORY, "none", seed=1)
    shuffled = HISTORY.sample(frac=1, random_state=3)
    assert sorted(first) == list(range(8))
    by_key = dict(zip(HISTORY["lead_id"], first, strict=True))
    assert dict(zip(shuffled["lead_id"], cohort.positions(shuffled, "none", seed=1), strict=True)) == by_key
    assert cohort.positions(HISTORY, "none", seed=2).tolist() != first.tolist()
