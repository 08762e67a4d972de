"""register: a pass is a registered challenger, a refusal a recorded decision, and a second run changes nothing."""

import json

import pandas as pd
import pytest

from pipeline import params as params_module
from pipeline.adapters import approvals, candidates, registry, tracking
from pipeline.adapters.stage import Stage
from pipeline.errors import ArtefactError, RegistryError
from pipeline.stages import register
from tests import fake_results


@pytest.fixture
def run(tmp_path, project_root):
    """Write results and run the stage on them; returns its two files."""

    def act(**results):
        workspace = fake_results.write(tmp_path, project_root, **results)
        fake_results.new_store(workspace)
        Stage("register", workspace, params_module.load(workspace.params)).execute(register.run)
        return [
            json.loads(workspace.path(f"register/{name}.json").read_text()) for name in ("decision", "registration")
        ]

    return act


def open_store(tmp_path):
    return tracking.open_store(tracking.Workspace(tmp_path))


def test_a_good_candidate_becomes_the_challenger(run, tmp_path):
    decision, registration = run()
    assert decision["passed"]
    assert decision["champion"] is None
    assert all(check["passed"] for check in decision["checks"])
    assert (registration["model"], registration["version"], registration["new_version"]) == (
        "lead-scoring-demo",
        1,
        True,
    )
    assert registration["store"] == "mlruns"
    assert registry.find(open_store(tmp_path), "demo", "challenger").run_id == registration["run_id"]


def test_a_refusal_is_recorded_and_no_error(run, tmp_path):
    decision, registration = run(skill=0.0)
    assert not decision["passed"]
    assert decision["letter"].startswith("The candidate is not accepted")
    assert registration["version"] is None
    store = open_store(tmp_path)
    assert registry.versions(store, "demo") == []
    assert store.client.get_run(registration["run_id"]).data.tags["gate"] == "refused"


def test_too_few_conversions_are_refused_with_what_ranks_the_leads_until_then(tmp_path, project_root):
    workspace = fake_results.write(tmp_path, project_root)
    fake_results.new_store(workspace)
    text = workspace.params.read_text()
    workspace.params.write_text(text.replace("min_test_conversions: 50", "min_test_conversions: 5000"))
    Stage("register", workspace, params_module.load(workspace.params)).execute(register.run)
    decision = json.loads(workspace.path("register/decision.json").read_text())
    (failed,) = (check for check in decision["checks"] if not check["passed"])
    assert failed["name"] == "test_conversions"
    lacking = 5000 - failed["figure"]
    assert (decision["instead"]["use"], decision["instead"]["needed"]) == ("none", lacking)
    assert "`leads card score`" in decision["instead"]["sentence"]
    assert decision["letter"].endswith(decision["instead"]["sentence"])


def test_a_history_is_compared_with_the_accepted_one_and_only_warned_of(run, tmp_path):
    decision, _ = run()
    assert decision["drift"] == {"since_version": None, "comparisons": 0, "warnings": 0}
    assert decision["warnings"] == []
    assert drift_table(tmp_path).empty
    same, _ = run(weight=2.0)
    assert same["drift"]["since_version"] == 1
    assert same["drift"]["warnings"] == 0 < same["drift"]["comparisons"]
    # Version 2 is the newest: the next history is compared with its.
    decision, registration = run(weight=3.0, employees=500.0)
    assert decision["passed"] and registration["version"] == 3
    assert decision["drift"]["since_version"] == 2
    (warning,) = decision["warnings"]
    assert warning.startswith("Drift since version 2: `employees` is distributed otherwise among ")
    table = drift_table(tmp_path)
    assert table.loc[table["warning"] != "", ["what", "column"]].values.tolist() == [["distribution", "employees"]]
    tags = open_store(tmp_path).client.get_run(registration["run_id"]).data.tags
    assert tags["drift_warnings"] == "1"
    assert warning in tags["mlflow.note.content"]
    # Judged again, it is compared with the same history, not with itself.
    again, _ = run(weight=3.0, employees=500.0)
    assert again == decision


def drift_table(tmp_path):
    return pd.read_csv(tmp_path / "data" / "register" / "drift.csv", keep_default_na=False)


def test_an_overruled_leak_an_undecided_column_and_a_random_split_are_said_loudly(tmp_path, project_root, caplog):
    workspace = fake_results.write(tmp_path, project_root)
    fake_results.new_store(workspace)
    leaks = pd.read_csv(workspace.path("validate/leaks.csv"), keep_default_na=False)
    leaks.loc[leaks["column"] == "employees", "verdict"] = "leak"
    workspace.path("validate/leaks.csv").write_text(leaks.to_csv(index=False))
    described = json.loads(workspace.path("ingest/contract.json").read_text())
    described["contract"]["columns"]["deal_value"]["known_at"] = "unknown"
    workspace.path("ingest/contract.json").write_text(json.dumps(described))
    figures = json.loads(workspace.path("evaluate/metrics.json").read_text()) | {"split": "random"}
    workspace.path("evaluate/metrics.json").write_text(json.dumps(figures))
    for stage in ("ingest", "validate", "evaluate"):
        fake_results.sign(workspace, stage)
    Stage("register", workspace, params_module.load(workspace.params)).execute(register.run)
    decision = json.loads(workspace.path("register/decision.json").read_text())
    split, overruled, undecided = decision["warnings"]
    assert "at RANDOM" in split
    assert overruled.startswith("LEAKS IN THE MODEL: the contract overrules the verdict leak on employees.")
    assert undecided.startswith("1 column is left out undecided") and undecided.endswith("known: deal_value.")
    assert {record.message for record in caplog.records if record.levelname == "WARNING"} >= set(decision["warnings"])
    tags = registry.find(open_store(tmp_path), "demo", 1).tags
    assert (tags["leaks_overruled"], tags["undecided_columns"], tags["split"]) == ("employees", "1", "random")


def test_a_leak_that_the_contract_does_not_overrule_is_refused_as_an_input(tmp_path, project_root):
    workspace = fake_results.write(tmp_path, project_root)
    fake_results.new_store(workspace)
    leaks = pd.read_csv(workspace.path("validate/leaks.csv"), keep_default_na=False)
    leaks.loc[leaks["column"] == "employees", ["verdict", "in_model"]] = ["leak", False]
    workspace.path("validate/leaks.csv").write_text(leaks.to_csv(index=False))
    # Something else must be left to learn from.
    described = json.loads(workspace.path("ingest/contract.json").read_text())
    described["features"]["region"] = ["Region", "fit"]
    workspace.path("ingest/contract.json").write_text(json.dumps(described))
    for stage in ("ingest", "validate"):
        fake_results.sign(workspace, stage)
    Stage("register", workspace, params_module.load(workspace.params)).execute(register.run)
    decision = json.loads(workspace.path("register/decision.json").read_text())
    assert [check["name"] for check in decision["checks"] if not check["passed"]] == ["excluded_columns"]


def test_a_second_run_makes_no_second_run_or_version(run, tmp_path):
    first, second = run()[1], run()[1]
    assert second == first | {"new_run": False, "new_version": False}
    assert str(candidates.sync(tracking.Workspace(tmp_path))).startswith("3 trials logged; run ")


def test_the_champion_of_the_moment_is_recorded(run, tmp_path):
    run()
    store = open_store(tmp_path)
    approvals.approve(store, "demo", 1, "A reviewer", "why", asked=1)
    scorer = registry.champion(store, "demo").scorer
    again = run()[0]["champion"]
    assert (again["version"], again["scorer"]) == (1, scorer)
    assert (again["identical"], again["comparable"]) == (True, False)
    decision, registration = run(weight=2.0)
    # The scorer of these results is no real one, and cannot be asked: that is said, and held against nobody.
    assert (decision["champion"]["identical"], decision["champion"]["comparable"]) == (False, False)
    assert decision["warnings"][0].startswith("NOT COMPARABLE with the champion, version 1: it cannot score")
    assert registration["version"] == 2
    assert registry.champion(store, "demo").number == 1
    assert registry.find(store, "demo", 2).tags["judged_against"] == scorer
    with pytest.raises(RegistryError, match="could not be compared with the champion"):
        approvals.approve(store, "demo", 2, "A reviewer", "why", asked=1)
    approvals.approve(store, "demo", 2, "A reviewer", "why", asked=1, anyway=True)


def test_an_excluded_column_among_the_inputs_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(fake_results.specification, "specify", _with_deal_value(fake_results.specification.specify))
    decision, _ = run()
    assert [check["name"] for check in decision["checks"] if not check["passed"]] == ["excluded_columns"]
    assert "keeps out, and may read none: deal_value." in decision["letter"]


def _with_deal_value(specify):
    def wrong(resolved, params):
        spec = specify(resolved, params)
        return spec | {
            "profile": [*spec["profile"], spec["profile"][0] | {"name": "deal_value", "source": "deal_value"}]
        }

    return wrong


def test_results_changed_behind_their_manifest_are_an_error(tmp_path, project_root):
    workspace = fake_results.write(tmp_path, project_root)
    (workspace.path("calibrate/scorer") / "data" / "margin.json").write_text('{"weight": 9}')
    with pytest.raises(ArtefactError, match="is not what stage calibrate wrote"):
        Stage("register", workspace, params_module.load(workspace.params)).execute(register.run)
    assert not workspace.path("register/decision.json").exists()
