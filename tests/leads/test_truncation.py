"""The proof by truncation must pass on honest features and fail on a planted late one."""

import pandas as pd
import pytest

from pipeline.leads import truncation
from pipeline.leads.snapshots import featurize

SPEC = {
    "profile": [
        {
            "name": "status",
            "source": "stage",
            "kind": "category",
            "criterion": "Status",
            "group": "fit",
            "tracked": True,
            "declared": {"name": "status", "type": "category"},
        },
    ],
    "kinds": [{"name": "visit", "criterion": "Visits", "group": "engagement"}],
    "windows_days": [7],
    "aged": True,
}


def time(*text: str) -> pd.Series:
    return pd.to_datetime(pd.Series(text)).astype("datetime64[us]")


LEADS = pd.DataFrame(
    {
        "lead_id": ["a", "b"],
        "created_at": time("2024-01-01", "2024-01-02"),
        "status": ["won", "new"],
        "converted_at": time("2024-01-20", "2024-03-01"),
    }
)
ACTIVITIES = pd.DataFrame(
    {
        "lead_id": ["a", "a", "b"],
        "kind": "visit",
        "happened_at": time("2024-01-03", "2024-01-04", "2024-01-05"),
        "recorded_at": time("2024-01-03", "2024-01-12", "2024-01-05"),
    }
)
CHANGES = pd.DataFrame(
    {
        "lead_id": ["a", "a"],
        "column": "stage",
        "recorded_at": time("2024-01-06", "2024-01-20"),
        "old_value": ["new", "qualified"],
        "new_value": ["qualified", "won"],
    }
)
PAIRS = pd.DataFrame({"lead_id": ["a", "a", "b"], "as_of": time("2024-01-05", "2024-01-11", "2024-01-11")})


def prove(features: pd.DataFrame) -> dict:
    return truncation.prove(PAIRS, LEADS, ACTIVITIES, CHANGES, SPEC, features, samples=10, seed=1)


def test_truncation_shows_what_an_export_would_have_shown_then():
    lead, activities, changes = truncation.truncate(
        LEADS.iloc[[0]], ACTIVITIES.iloc[:2], CHANGES, pd.Timestamp("2024-01-11"), {"stage": "status"}
    )
    assert lead["status"].tolist() == ["qualified"]
    assert lead["converted_at"].isna().all()
    assert len(activities) == 1 and len(changes) == 1
    lead, _, _ = truncation.truncate(
        LEADS.iloc[[0]], ACTIVITIES, CHANGES, pd.Timestamp("2024-01-05"), {"stage": "status"}
    )
    assert lead["status"].tolist() == ["new"]


def test_honest_features_pass():
    proof = prove(featurize(LEADS, ACTIVITIES, CHANGES, PAIRS, SPEC))
    assert proof == {"pairs": 3, "differences": 0, "columns": [], "passed": True}


@pytest.mark.parametrize(
    ("column", "late"),
    [
        ("status", ["new", "won", "new"]),  # the current value instead of the one then
        ("n_visit", [2.0, 2.0, 1.0]),  # counted by when it happened, not by when it was recorded
    ],
)
def test_a_planted_late_feature_fails(column, late):
    features = featurize(LEADS, ACTIVITIES, CHANGES, PAIRS, SPEC)
    planted = features.assign(**{column: pd.Series(late, dtype=features[column].dtype)})
    proof = prove(planted)
    assert not proof["passed"] and proof["columns"] == [column]
