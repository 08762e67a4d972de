"""Labels dealt at random: the run says that there is no signal, scores the base rate, and is refused with reasons."""

import json
import shutil

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline.adapters import files
from pipeline.paths import STAGES, Workspace
from pipeline.scorer import Scorer
from tests import fake_results
from tests.workspaces import run_stages

pytestmark = pytest.mark.slow

#: Less of everything that is not asked about; with so few conversions only two trials are needed.
LESS = {
    "columns: 12": "columns: 1",
    "min_conversions: 150": "min_conversions: 5000",
    "sample_rows: 300": "sample_rows: 50",
}


@pytest.fixture(scope="module")
def run(demo_run, tmp_path_factory):
    """The demo run from `tune` on, after its labels were dealt anew."""
    workspace = Workspace(tmp_path_factory.mktemp("shuffled") / "work")
    later = STAGES[STAGES.index("tune") :]
    shutil.copytree(demo_run, workspace.root, ignore=shutil.ignore_patterns("mlruns", *later))
    text = workspace.params.read_text()
    for old, new in LESS.items():
        assert old in text
        text = text.replace(old, new)
    workspace.params.write_text(text)
    fake_results.new_store(workspace)
    path = workspace.path("featurize/snapshots.parquet")
    snapshots = pd.read_parquet(path)
    rng = np.random.default_rng(np.random.SeedSequence([1]))
    files.write_table(path, snapshots.assign(label=rng.permutation(snapshots["label"].to_numpy())))
    fake_results.sign(workspace, "featurize")
    run_stages(workspace, later)
    return workspace


def content(run: Workspace, name: str):
    return json.loads(run.path(name).read_text())


def test_a_shrunken_search_was_enough(run):
    best = content(run, "tune/best.json")
    assert best["trials"] == {"logistic": 1, "scorecard": 1}
    learned = content(run, "train/summary.json")
    assert best["conversions_needed"] == 5000 - learned["conversions"]


def test_nothing_is_learned_and_every_lead_has_the_base_rate(run):
    learned = content(run, "train/summary.json")
    assert learned["members"] == [] and not learned["signal"]["found"]
    assert abs(learned["signal"]["z"]) < 3
    scores = pd.read_parquet(run.path("evaluate/scores.parquet"))
    assert scores["probability"].nunique() == 1 and (scores["refused"] == "").all()
    rate = learned["conversions"] / learned["rows"]
    assert scores["probability"].iloc[0] == pytest.approx(rate, abs=0.02)
    assert ((scores["interval_low"] < rate) & (rate < scores["interval_high"])).all()


def test_the_figures_say_so(run):
    metrics = content(run, "evaluate/metrics.json")
    assert metrics["signal"] is False
    assert metrics["signal_standard_errors"] == content(run, "train/summary.json")["signal"]["z"]
    assert (metrics["auc"], metrics["lift_10"]) == (0.5, 1.0)
    assert metrics["conversions_needed"] > 0
    assert "optimism_gap" not in metrics, "there is nothing to fit again"


def test_the_reasons_are_the_base_alone(run):
    scores = pd.read_parquet(run.path("evaluate/scores.parquet"))
    level = content(run, "calibrate/summary.json")["level"]["log_odds"]
    for row in scores.head(50).itertuples():
        reasons = json.loads(row.reasons)
        assert reasons == [] if level == 0 else [one["criterion"] for one in reasons] == ["Current level"]
        assert round(10 * row.base) + sum(round(10 * one["points"]) for one in reasons) == round(10 * row.score)
    summary = content(run, "explain/summary.json")
    assert summary["rows_adding_up"] == summary["rows_checked"] == len(scores)
    assert summary["members"] == {}
    assert (pd.read_csv(run.path("explain/features.csv"))["mean_absolute_log_odds"] == 0).all()
    criteria = pd.read_csv(run.path("explain/criteria.csv"))
    assert criteria["folds_adds"].isna().all() and criteria["agrees"].isna().all()
    assert pd.read_csv(run.path("explain/criteria_by_fold.csv")).empty


def test_the_gate_refuses_it_with_reasons_and_warnings(run):
    decision = content(run, "register/decision.json")
    assert decision["passed"] is False
    # One score for all ranks nobody: its lift is that of the base rate, in every resample.
    (lift,) = (check for check in decision["checks"] if check["name"] == "lift_10_beats_base_rate")
    assert (lift["passed"], lift["figure"]) == (False, 0.0)
    assert decision["letter"].startswith("The candidate is not accepted")
    first, second = decision["warnings"][:2]
    assert first.startswith("NO SIGNAL: out of sample the ranking was only")
    assert second.startswith("FEW CONVERSIONS: only the shrunken scorecard and logistic regression were used")
    registration = content(run, "register/registration.json")
    assert registration["version"] is None and registration["run_id"]


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_the_scorer_without_members_answers_on_every_route(run):
    folder = run.path("calibrate/scorer")
    scorer = Scorer.load(folder)
    leads, activities, changes = (
        pd.read_parquet(run.path(f"validate/{name}.parquet")) for name in ("leads", "activities", "changes")
    )
    rows = leads.head(20).assign(as_of=leads["created_at"].head(20).dt.floor("D") + pd.Timedelta(days=5))
    rows = rows.drop(columns=["converted_at", "lost_at"])
    flat = scorer.score(rows, activities, changes)

    def records(table: pd.DataFrame, key: str) -> list[dict]:
        return table[table["lead_id"] == key].drop(columns="lead_id").to_dict("records")

    nested = rows.assign(
        activities=[records(activities, key) for key in rows["lead_id"]],
        changes=[records(changes, key) for key in rows["lead_id"]],
    )
    alone = pd.concat([scorer.score(rows.iloc[[k]], activities, changes) for k in range(20)], ignore_index=True)
    loaded = mlflow.pyfunc.load_model(str(folder)).predict(nested)
    assert flat["score"].notna().all() and flat["score"].nunique() == 1
    for other in (scorer.predict(nested), alone, loaded):
        pd.testing.assert_frame_equal(other, flat)
