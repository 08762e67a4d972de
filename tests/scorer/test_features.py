"""Features as a specification: a small history in, exact features out, the boundary moment included."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.scorer.features import History, build, feature_list

SPEC = {
    "profile": [
        {
            "name": "employees",
            "source": "employees",
            "kind": "number",
            "criterion": "Size",
            "group": "fit",
            "tracked": True,
            "declared": {"name": "employees", "type": "number"},
        },
        {
            "name": "industry",
            "source": "branch",
            "kind": "category",
            "criterion": "Industry",
            "group": "fit",
            "tracked": False,
            "declared": {"name": "industry", "type": "category"},
        },
    ],
    "kinds": [
        {"name": "visit", "criterion": "Visits", "group": "engagement"},
        {"name": "call", "criterion": "Calls", "group": "engagement"},
    ],
    "windows_days": [7, 30],
    "aged": True,
}


def at(*times: str) -> pd.Series:
    return pd.to_datetime(pd.Series(times), format="ISO8601").astype("datetime64[us]")


def history(activities: list[tuple], changes: list[tuple] = (), owners: int = 1, row_owner=(0,)) -> History:
    acts = pd.DataFrame(activities, columns=["owner", "kind", "happened_at", "recorded_at"])
    chgs = pd.DataFrame(changes, columns=["owner", "column", "recorded_at", "old_value", "new_value"])
    return History(
        owners,
        np.array(row_owner),
        acts.assign(happened_at=at(*acts["happened_at"]), recorded_at=at(*acts["recorded_at"])),
        acts["owner"].to_numpy(dtype="int64"),
        chgs.assign(recorded_at=at(*chgs["recorded_at"])),
        chgs["owner"].to_numpy(dtype="int64"),
    )


def lead(as_of: str, employees: float = 50.0) -> pd.DataFrame:
    return pd.DataFrame(
        {"created_at": at("2024-01-01T06:00"), "as_of": at(as_of), "employees": [employees], "industry": ["retail"]}
    )


ACTIVITIES = [
    (0, "visit", "2024-01-02", "2024-01-02"),  # eight days before the as-of date: outside the week
    (0, "visit", "2024-01-03", "2024-01-03"),  # seven days to the moment: the window is half-open, outside
    (0, "visit", "2024-01-09T12:00", "2024-01-10"),  # recorded at the as-of moment itself: known
    (0, "call", "2024-01-08", "2024-01-11"),  # happened before, recorded after: not known
    (0, "visit", "2024-01-12", "2024-01-12"),  # later
]


def test_counts_and_recency_use_what_was_recorded_by_the_as_of_date():
    row = build(lead("2024-01-10"), history(ACTIVITIES), SPEC).iloc[0]
    assert row["n_visit_7d"] == 1
    assert row["n_visit_30d"] == 3
    assert row["n_visit"] == 3
    assert row["days_since_visit"] == 0.5
    assert row["n_call"] == 0
    assert np.isnan(row["days_since_call"])
    assert row["age_days"] == 8.75
    assert row["n_any"] == 3
    assert row["active_days_7d"] == 1
    assert row["active_days_30d"] == 3
    assert row["trend_any"] == 1 / 7 - 3 / 30
    assert row["mean_gap_days"] == 3.75  # 7.5 days between first and last of three
    assert row["days_to_first"] == 0.75


def test_a_lead_without_activities_has_zero_counts_and_missing_times():
    row = build(lead("2024-01-10"), history([]), SPEC).iloc[0]
    assert row["n_any"] == 0 and row["active_days_30d"] == 0 and row["trend_any"] == 0
    assert row[["days_since_any", "mean_gap_days", "days_to_first", "days_since_visit"]].isna().all()


CHANGES = [
    (0, "employees", "2024-01-05", "20", "30"),
    (0, "employees", "2024-01-08", "30", "50"),
    (0, "branch", "2024-01-08", "retail", "energy"),  # not tracked: no part in any feature
]


def test_a_tracked_value_is_the_one_valid_at_the_as_of_date():
    def value(as_of: str) -> tuple:
        row = build(lead(as_of), history([], CHANGES), SPEC).iloc[0]
        return row["employees"], row["n_changes_employees"], row["days_since_change_employees"]

    assert value("2024-01-04")[:2] == (20.0, 0)  # before the first change: what it changed from
    assert value("2024-01-05") == (30.0, 1, 0.0)  # the moment of the change counts
    assert value("2024-01-10") == (50.0, 2, 2.0)
    assert build(lead("2024-01-04"), history([]), SPEC)["employees"].iloc[0] == 50.0  # never changed: as it stands
    assert build(lead("2024-01-10"), history([], CHANGES), SPEC)["industry"].iloc[0] == "retail"


def test_events_without_a_time_count_for_nothing():
    undated = [(0, "visit", None, "2024-01-03"), (0, "visit", "2024-01-03", None)]
    changed = [(0, "employees", None, "20", "30")]
    with_, without = (build(lead("2024-01-10"), history(a, c), SPEC) for a, c in ((undated, changed), ([], [])))
    pd.testing.assert_frame_equal(with_, without)


def test_columns_are_those_of_the_feature_list_in_order():
    built = build(lead("2024-01-10"), history(ACTIVITIES), SPEC)
    assert list(built.columns) == [feature["name"] for feature in feature_list(SPEC)]
    assert len(set(built.columns)) == len(built.columns)


def test_every_feature_belongs_to_one_criterion_and_a_criterion_to_one_group():
    groups: dict[str, set] = {}
    for feature in feature_list(SPEC):
        groups.setdefault(feature["criterion"], set()).add(feature["group"])
    assert groups == {
        "Size": {"fit"},
        "Industry": {"fit"},
        "Lead age": {"engagement"},
        "Visits": {"engagement"},
        "Calls": {"engagement"},
        "Overall activity": {"engagement"},
    }


moments = st.integers(0, 40 * 24).map(lambda hours: pd.Timestamp("2024-01-01T06:00") + pd.Timedelta(hours=hours))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["visit", "call"]), moments, moments), max_size=12),
    st.lists(st.tuples(moments, st.integers(1, 9)), max_size=4, unique_by=lambda c: c[0]),
    moments,
)
def test_deleting_everything_recorded_later_changes_no_feature(events, steps, as_of):
    """The law of time, by property: features of the truncated history are the features of the whole."""
    events = [(0, kind, min(a, b).isoformat(), max(a, b).isoformat()) for kind, a, b in events]
    steps = sorted(steps)
    values = [1, *[value for _, value in steps]]
    changes = [(0, "employees", t.isoformat(), str(values[k]), str(v)) for k, (t, v) in enumerate(steps)]
    then = as_of.isoformat()
    known = [event for event in events if event[3] <= then]
    kept = [change for change in changes if change[2] <= then]
    now = float(values[len(kept)])
    whole = build(lead(then, float(values[-1])), history(events, changes), SPEC)
    truncated = build(lead(then, now), history(known, kept), SPEC)
    pd.testing.assert_frame_equal(whole, truncated, check_exact=True)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["visit", "call"]), moments, moments), max_size=20), moments
)
def test_a_batch_gives_each_lead_what_it_gets_alone(events, as_of):
    rows = pd.concat([lead(as_of.isoformat(), float(k)) for k in range(3)], ignore_index=True)
    events = [(owner, kind, min(a, b).isoformat(), max(a, b).isoformat()) for owner, kind, a, b in events]
    batch = build(rows, history(events, owners=3, row_owner=(0, 1, 2)), SPEC)
    for k in range(3):
        own = [(0, *event[1:]) for event in events if event[0] == k]
        alone = build(rows.iloc[[k]].reset_index(drop=True), history(own), SPEC)
        pd.testing.assert_frame_equal(batch.iloc[[k]].reset_index(drop=True), alone, check_exact=True)
