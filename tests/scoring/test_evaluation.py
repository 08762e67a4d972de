"""The parts of an evaluation on small windows: what is refused, who is measured, what was known, groups by counting."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ArtefactError
from pipeline.params import load
from pipeline.scoring import evaluation, metrics
from pipeline.scoring.evaluation import Window, check_features, check_scores
from tests.fake_results import resolved_with

EVALUATE = load(Path(__file__).parents[2] / "params.yaml").evaluate
LITTLE = EVALUATE.model_copy(update={"bootstrap_samples": 20, "slice_min_rows": 1})

STORED = pd.DataFrame({"visits": [1.0, np.nan], "region": pd.Series(["west", None], dtype="str")})


def test_equal_features_pass_with_gaps_in_the_same_places():
    check_features(STORED.copy(), STORED)


@pytest.mark.parametrize(
    ("built", "words"),
    [
        (STORED.assign(visits=[1.0 + 1e-15, np.nan]), r"visits \(1 rows\)"),
        (STORED.assign(visits=[1.0, 0.0]), r"visits \(1 rows\)"),
        (STORED.assign(region=pd.Series(["west", "north"], dtype="str")), r"region \(1 rows\)"),
        (STORED[["region", "visits"]], "other features"),
    ],
)
def test_a_scorer_that_builds_other_features_is_refused(built, words):
    with pytest.raises(ArtefactError, match=words):
        check_features(built, STORED)


LOOKS = pd.DataFrame({"lead_id": pd.Series(["a", "a", "b"], dtype="str"), "as_of": pd.to_datetime([1, 2, 1], unit="D")})
RETURNED = LOOKS.assign(model_version=pd.Series(["demo-1"] * 3, dtype="str"), score=[1.0, np.nan, 3.0])


def test_scores_of_the_test_snapshots_by_this_scorer_pass_refused_rows_included():
    check_scores(RETURNED, LOOKS, "demo-1")


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (RETURNED.iloc[:2], r"2 rows that are not the 3 snapshots"),
        (RETURNED.iloc[::-1].reset_index(drop=True), "in their order"),
        (RETURNED.assign(as_of=LOOKS["as_of"] + pd.Timedelta(days=1)), "in their order"),
        (RETURNED.assign(model_version=["demo-1", "demo-1", "demo-2"]), r"1 rows .* not scored by demo-1"),
    ],
)
def test_scores_of_other_rows_or_of_another_scorer_are_refused(returned, words):
    with pytest.raises(ArtefactError, match=words):
        check_scores(returned, LOOKS, "demo-1")


def window(n: int = 200) -> tuple[Window, pd.DataFrame]:
    """Two looks at each lead, every tenth row refused, and a rival that says 0.3 of every row."""
    rng = np.random.default_rng(np.random.SeedSequence([1]))
    key = pd.DataFrame(
        {
            "lead_id": pd.Series([f"L{k // 2:03d}" for k in range(n)], dtype="str"),
            "as_of": pd.to_datetime(np.arange(n) % 2, unit="D"),
        }
    )
    probability = np.where(np.arange(n) % 10 == 0, np.nan, rng.uniform(0.05, 0.6, n))
    label = (rng.random(n) < np.where(np.isnan(probability), 0.5, probability)).astype("int8")
    region = pd.Series(rng.choice(["north", "south"], n), dtype="str")
    snapshots = key.assign(label=label, split="test", region=region)
    older = snapshots.assign(lead_id="older", split="train")
    refused = pd.Series(np.where(np.isnan(probability), "created_at is missing", ""), dtype="str")
    tier = pd.Series(np.where(np.isnan(probability), "", np.where(probability > 0.3, "A", "B")), dtype="str")
    scores = key.assign(probability=probability, tier=tier, refused=refused, model_version="demo-1")
    leads = pd.DataFrame({"lead_id": key["lead_id"].unique(), "language": "de"})
    made = Window.of(pd.concat([older, snapshots]), leads, scores, "demo-1")
    return made, key.assign(label=label, plain=0.3)


def test_a_window_holds_the_test_snapshots_and_judges_those_with_a_score():
    made, _ = window()
    assert set(made.snapshots["split"]) == {"test"} and len(made.snapshots) == len(made.rows) == len(made.scores) == 200
    assert made.rows["as_of"].equals(made.snapshots["as_of"])
    assert made.scores["label"].equals(made.snapshots["label"])
    assert made.scored.sum() == len(made.judged) == 180
    assert (made.judged["refused"] == "").all() and made.judged.index.equals(pd.RangeIndex(180))


def test_no_window_is_made_of_another_scorers_scores():
    made, _ = window()
    with pytest.raises(ArtefactError, match=r"200 rows .* not scored by demo-2"):
        Window.of(made.snapshots, made.rows[["lead_id"]], made.scores.drop(columns="label"), "demo-2")


def test_every_system_is_measured_on_the_rows_with_a_score():
    made, rivals = window()
    found = evaluation.measure(made, rivals, LITTLE, seed=1)
    judged = made.judged
    assert (found.figures["rows"], found.figures["unscored"], found.figures["leads"]) == (180, 20, 100)
    assert found.figures["log_loss"] == pytest.approx(metrics.log_loss(judged["label"], judged["probability"]))
    np.testing.assert_array_equal(found.label, judged["label"])
    np.testing.assert_array_equal(found.probability, judged["probability"])
    assert list(found.tables["rivals"]["system"].unique()) == ["candidate", "plain"]
    plain = found.tables["rivals"].query("system == 'plain'").set_index("metric")["value"]
    assert plain["log_loss"] == pytest.approx(metrics.log_loss(judged["label"], np.full(180, 0.3)))
    own = found.tables["intervals"].set_index("metric")["value"]
    assert own["auc"] == pytest.approx(found.figures["auc"])
    assert found.tables["reliability"]["rows"].sum() == 180
    assert tuple(found.tables["lift"]["share"]) == evaluation.SHARES


def circumstances(kind: str, **signal: Any) -> dict[str, Any]:
    resolved: Any = SimpleNamespace(contract=SimpleNamespace(time=SimpleNamespace(kind=kind)))
    leaks = pd.DataFrame({"column": ["a", "b"], "verdict": ["leak", "clear"], "in_model": [True, True]})
    best = {"conversions_needed": 0, "repeatable": True}
    return evaluation.circumstances(best, {"found": True, "z": 3.0, "p_value": None} | signal, leaks, resolved)


def test_what_was_known_before_the_window_says_how_leads_were_parted():
    forward, dealt = circumstances("created"), circumstances("none")
    assert (forward["split"], forward["warning"]) == ("time", "")
    assert (dealt["split"], dealt["warning"]) == ("random", metrics.RANDOM_SPLIT)
    assert (forward["signal"], forward["signal_standard_errors"], forward["leaks_overruled"]) == (True, 3.0, 1)
    assert "signal_p_value" not in forward
    assert circumstances("created", p_value=0.01)["signal_p_value"] == 0.01


def test_groups_are_counted_among_the_rows_with_a_score_and_watched_columns_are_no_slices():
    made, _ = window()
    region = {"name": "region", "criterion": "Region", "group": "fit", "kind": "category", "tracked": False}
    spec = {"profile": [region], "aged": False, "kinds": [], "windows_days": []}
    category = {"role": "feature", "type": "category", "known_at": "creation"}
    resolved = resolved_with(region=category, language=category | {"role": "ignored"})
    found = evaluation.by_group(made, spec, resolved, [{"name": "A", "from": 301}, {"name": "B", "from": 0}], LITTLE)
    rows = made.snapshots[made.scored]
    counts = rows["region"].value_counts().to_dict()
    assert found["slices"].set_index("value")["rows"].to_dict() == counts
    assert set(found["slices"]["feature"]) == {"region"}
    assert found["fairness"].groupby("feature")["rows"].sum().to_dict() == {"region": 180, "language": 180}
    first = made.judged["tier"] == "A"
    selected = first.groupby(rows["region"].to_numpy()).mean().to_dict()
    shown = found["fairness"].query("feature == 'region'").set_index("value")["selected"].to_dict()
    assert shown == pytest.approx(selected)
    assert found["tiers"].set_index("tier")["rows"].to_dict() == {"A": first.sum(), "B": (~first).sum()}
