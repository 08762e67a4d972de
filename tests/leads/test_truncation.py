"""The proof by truncation must pass on honest features and fail on a planted late one."""

from dataclasses import replace

import pandas as pd
import pytest

from pipeline.errors import ProofFailed
from pipeline.leads import contract, snapshots, truncation
from pipeline.leads.snapshots import featurize
from pipeline.scorer.features import build

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

RESOLVED = contract.resolve(
    contract.parse(
        {
            "contract_version": 1,
            "name": "small",
            "description": "a small history",
            "source": {"kind": "demo"},
            "key": "id",
            "time": {"kind": "column", "column": "born"},
            "outcome": {"kind": "dates", "horizon_days": 5, "converted_at": "won"},
            "columns": {
                "id": {"role": "identifier"},
                "born": {"role": "ignored", "type": "timestamp"},
                "stage": {"role": "feature", "type": "category", "known_at": "over_time"},
                "size": {"role": "feature", "type": "number", "known_at": "creation"},
                "deal": {"role": "outcome", "type": "number", "known_at": "outcome"},
                "won": {"role": "outcome", "type": "timestamp"},
            },
            "activities": {
                "lead": "lead",
                "kind": "kind",
                "happened_at": "h",
                "recorded_at": "r",
                "kinds": {"visit": {}},
            },
            "changes": {"lead": "lead", "column": "c", "recorded_at": "r", "old_value": "o", "new_value": "n"},
        },
        file="small.yaml",
    )
)
# The tables keep `status` for `stage`, as a source's name may differ from the table's.
RESOLVED = RESOLVED.model_copy(update={"names": RESOLVED.names | {"stage": "status"}})
KNOWN = truncation.Known.of(RESOLVED)


def time(*text: str) -> pd.Series:
    return pd.to_datetime(pd.Series(text)).astype("datetime64[us]")


LEADS = pd.DataFrame(
    {
        "lead_id": ["a", "b"],
        "created_at": time("2024-01-01", "2024-01-02"),
        "status": ["won", "new"],
        "size": [10.0, 20.0],
        "deal": [500.0, 900.0],
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


def prove(features: pd.DataFrame, spec: dict = SPEC, **options) -> dict:
    options = {"samples": 10, "seed": 1} | options
    return truncation.prove(PAIRS, LEADS, ACTIVITIES, CHANGES, spec, features, RESOLVED, **options)


def test_what_is_known_when_follows_from_the_contract():
    assert KNOWN.creation == {"lead_id", "created_at", "row", "size"}
    assert KNOWN.tracked == {"stage": "status"}


def test_truncation_shows_what_an_export_would_have_shown_then():
    lead, activities, changes = truncation.truncate(
        LEADS.iloc[[0]], ACTIVITIES.iloc[:2], CHANGES, pd.Timestamp("2024-01-11"), KNOWN
    )
    assert lead["status"].tolist() == ["qualified"]
    assert lead["converted_at"].isna().all() and lead["deal"].isna().all()
    assert lead["size"].tolist() == [10.0]
    assert len(activities) == 1 and len(changes) == 1
    lead, _, _ = truncation.truncate(LEADS.iloc[[0]], ACTIVITIES, CHANGES, pd.Timestamp("2024-01-05"), KNOWN)
    assert lead["status"].tolist() == ["new"]
    assert LEADS["deal"].tolist() == [500.0, 900.0]


def test_what_is_recorded_at_the_very_as_of_date_stands_and_a_microsecond_later_does_not():
    def at(moment: str) -> tuple[int, int, str]:
        lead, activities, changes = truncation.truncate(
            LEADS.iloc[[0]], ACTIVITIES.iloc[:2], CHANGES, pd.Timestamp(moment), KNOWN
        )
        return len(activities), len(changes), lead["status"].item()

    assert at("2024-01-12") == (2, 1, "qualified")
    assert at("2024-01-11T23:59:59.999999") == (1, 1, "qualified")
    assert at("2024-01-06") == (1, 1, "qualified")
    assert at("2024-01-05T23:59:59.999999") == (1, 0, "new")


def test_honest_features_pass():
    proof = prove(featurize(LEADS, ACTIVITIES, CHANGES, PAIRS, SPEC))
    assert proof == {"pairs": 3, "differences": 0, "columns": [], "passed": True}
    truncation.refuse_differences(proof)


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
    with pytest.raises(ProofFailed, match=rf"of 3 snapshots .* look into the future: {column}\."):
        truncation.refuse_differences(proof)


def happened_only(rows: pd.DataFrame, history, spec: dict) -> pd.DataFrame:
    """A builder with the classic mistake: it takes an activity for known once it has happened."""
    hasty = history.activities.assign(recorded_at=history.activities["happened_at"])
    return build(rows, replace(history, activities=hasty), spec)


def test_a_builder_that_looks_at_when_things_happened_fails(monkeypatch):
    monkeypatch.setattr(snapshots, "build", happened_only)
    monkeypatch.setattr(truncation, "build", happened_only)
    proof = prove(featurize(LEADS, ACTIVITIES, CHANGES, PAIRS, SPEC))
    assert not proof["passed"]
    assert {"n_visit", "n_visit_7d", "n_any"} <= set(proof["columns"])


def untracked(name: str, kind: str) -> dict:
    """A specification that reads a column's current value, as if it had stood from the start."""
    column = {"name": name, "source": name, "kind": kind, "criterion": "C", "group": "fit", "tracked": False}
    return SPEC | {"profile": [column | {"declared": {"name": name, "type": kind}}]}


@pytest.mark.parametrize(("name", "kind"), [("status", "category"), ("deal", "number")])
def test_a_feature_of_a_columns_current_value_fails(name, kind):
    """The truncation goes by the contract: it does not believe the specification about what it reads."""
    spec = untracked(name, kind)
    proof = prove(featurize(LEADS, ACTIVITIES, CHANGES, PAIRS, spec), spec)
    assert not proof["passed"] and proof["columns"] == [name]


def test_a_feature_of_a_column_known_at_creation_passes():
    spec = untracked("size", "number")
    assert prove(featurize(LEADS, ACTIVITIES, CHANGES, PAIRS, spec), spec)["passed"]


def test_nothing_compared_proves_nothing():
    features = featurize(LEADS, ACTIVITIES, CHANGES, PAIRS, SPEC)
    nothing = truncation.prove(
        PAIRS.iloc[:0], LEADS, ACTIVITIES, CHANGES, SPEC, features.iloc[:0], RESOLVED, samples=10, seed=1
    )
    assert nothing == {"pairs": 0, "differences": 0, "columns": [], "passed": False}
    with pytest.raises(ProofFailed, match="no snapshot was rebuilt"):
        truncation.refuse_differences(nothing)


def test_the_sample_is_seeded_and_progress_sees_every_place():
    assert truncation.sample(1_000, 50, 1).tolist() == truncation.sample(1_000, 50, 1).tolist()
    assert truncation.sample(1_000, 50, 1).tolist() != truncation.sample(1_000, 50, 2).tolist()
    assert truncation.sample(3, 50, 1).tolist() == [0, 1, 2]
    seen: list[int] = []
    prove(featurize(LEADS, ACTIVITIES, CHANGES, PAIRS, SPEC), progress=lambda places: seen.extend(places) or places)
    assert seen == [0, 1, 2]
