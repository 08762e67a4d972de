"""The MLflow store: made at first use, moved and copied, ended runs of killed processes, trials, candidates, sync."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from pipeline import params as params_module
from pipeline.adapters import approvals, candidates, files, registry, tracking
from pipeline.errors import ArtefactError, RegistryError
from pipeline.paths import Workspace, catalogue
from tests import fake_results

LOAD = """
import sys, mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/lead-scoring-demo@challenger")
print(model.predict(pandas.DataFrame({"lead_id": ["a", "b"], "employees": [3, None]}))["score"].tolist())
"""


def load_elsewhere(uri: str, cwd: Path) -> str:
    """Scores of the challenger in a fresh process without this package, from another working directory."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, uri],
        cwd=cwd,
        env=environment | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def runs(store, filter_string=""):
    return list(store.client.search_runs([store.experiment("demo")], filter_string))


def rows_with(database: Path, text: str) -> list[str]:
    """Columns of the database that hold `text` anywhere."""
    found = []
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for column in [row[1] for row in connection.execute(f"PRAGMA table_info('{table}')").fetchall()]:
                (number,) = connection.execute(
                    f"SELECT count(*) FROM {table} WHERE instr(CAST({column} AS TEXT), ?) > 0", (text,)
                ).fetchone()
                found += [f"{table}.{column}"] * bool(number)
    return found


# Where the store is


def test_the_first_use_makes_the_store_under_mlruns(tmp_path):
    store = tracking.open_store(Workspace(tmp_path))
    assert store.uri == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert (tmp_path / "mlruns" / "mlflow.db").is_file()
    place = store.client.get_experiment(store.experiment("demo")).artifact_location
    assert place == f"{tmp_path}/mlruns/artifacts/lead-scoring-demo"
    assert store.experiment("demo") == store.experiment("demo")


def test_a_deleted_experiment_comes_back(store):
    first = store.experiment("demo")
    store.client.delete_experiment(first)
    assert store.experiment("demo") == first


def test_a_sqlite_store_named_in_the_environment_is_used(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared/m.db")
    store = tracking.open_store(workspace)
    assert store.home == tmp_path / "shared"
    assert (tmp_path / "shared" / "m.db").is_file()
    assert not (workspace.root / "mlruns").exists()


@pytest.mark.parametrize("name", ["what?", "a%20b"])
def test_a_folder_that_mlflow_cannot_name_is_refused_at_once(tmp_path, name):
    with pytest.raises(RegistryError, match="Rename the folder"):
        tracking.open_store(Workspace(tmp_path / name))


def test_a_server_that_does_not_answer_is_one_sentence(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(RegistryError, match="no MLflow server answers there") as caught:
        tracking.open_store(workspace)
    assert "secret" not in str(caught.value)
    assert time.monotonic() - begun < 15


def test_a_damaged_database_is_one_sentence(workspace):
    workspace.mlruns.mkdir(exist_ok=True)
    (workspace.mlruns / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(RegistryError, match=r"mlflow\.db answered: file is not a database"):
        tracking.open_store(workspace)


# Moved and copied


def test_a_moved_and_a_copied_project_still_load_from_anywhere(workspace, store, log_new, tmp_path):
    log_new(store, weight=2.0)
    old, copy, moved = workspace.root, tmp_path / "a copy ä's", tmp_path / "deep" / "er"
    shutil.copytree(old, copy)
    moved.parent.mkdir()
    old.rename(moved)
    for root in (copy, moved):
        there = tracking.open_store(Workspace(root))
        assert not rows_with(there.database, str(old))
        assert rows_with(there.database, str(root))
        assert load_elsewhere(there.uri, tmp_path) == "[6.0, nan]"
        assert registry.resolve(there, "demo", "challenger")[1].is_relative_to(root)
        # The run is known there too, and the registered bytes are as they were.
        again = candidates.log(
            there,
            candidates.collect(Workspace(root), params_module.load(root / "params.yaml")),
            fake_results.decision(passed=True),
            fake_results.NO_DRIFT,
        )
        assert (again.new_run, again.new_version, again.version) == (False, False, 1)


def test_a_move_into_a_folder_below_the_old_one_is_written_once(workspace, store, log_new, tmp_path):
    log_new(store)
    aside, inside = tmp_path / "aside", workspace.root / "mlruns" / "inner"
    workspace.root.rename(aside)
    inside.parent.mkdir(parents=True)
    aside.rename(inside)
    there = tracking.open_store(Workspace(inside))
    place = there.client.get_experiment(there.experiment("demo")).artifact_location
    assert place == f"{inside}/mlruns/artifacts/lead-scoring-demo"
    assert registry.resolve(there, "demo", 1)[0] == 1


def test_loading_leaves_the_stored_bytes_as_they_were(workspace, store, log_new, tmp_path):
    registration = log_new(store)
    assert load_elsewhere(store.uri, tmp_path) == "[3.0, nan]"
    stored = Path(store.client.get_run(registration.run_id).info.artifact_uri) / "scorer"
    assert files.sha256(stored) == files.sha256(workspace.path("calibrate/scorer"))
    listed = {str(path.relative_to(stored)) for path in stored.rglob("*")}
    assert listed == {
        str(p.relative_to(made)) for made in [workspace.path("calibrate/scorer")] for p in made.rglob("*")
    }


# A candidate's run


def test_a_candidate_has_one_run_that_holds_everything(store, log_new, workspace):
    registration = log_new(store)
    (run,) = runs(store, "tags.kind = 'candidate'")
    assert run.info.status == "FINISHED"
    assert run.info.run_id == registration.run_id
    assert run.data.params["tune.trials.xgboost"] == "7"
    assert run.data.params["run.contract"] == "demo"
    assert run.data.metrics["log_loss"] == 0.4
    assert run.data.metrics["intervals/log_loss_low"] == 0.38
    assert run.data.metrics["rivals/logistic/log_loss"] == 0.45
    assert run.data.metrics["gate/calibration_error"] == 0.02
    assert {key: run.data.tags[key] for key in ("contract", "split", "gate", "study")} == {
        "contract": "demo",
        "split": "time",
        "gate": "passed",
        "study": "0123456789abcdef",
    }
    assert "**Passed the gate.**" in run.data.tags["mlflow.note.content"]
    assert {data.dataset.name for data in run.inputs.dataset_inputs} == {"leads", "activities", "changes"}
    folder = Path(run.info.artifact_uri)
    for artefact in candidates.logged():
        assert files.sha256(folder / artefact.stage / artefact.file) == files.sha256(workspace.path(artefact.name))
    assert files.sha256(folder / "scorer") == files.sha256(workspace.path("calibrate/scorer"))
    assert (folder / "dvc.lock").read_text() == "schema: '2.0'\nstages:\n  ingest:\n    cmd: a\n"
    assert (folder / "params.yaml").read_bytes() == workspace.params.read_bytes()
    assert files.read_json(folder / "register" / "decision.json") == fake_results.decision(passed=True)


def test_what_the_reader_must_be_warned_of_is_in_tags_description_and_files(store, workspace):
    logged(store, workspace)
    (plain,) = runs(store)
    assert not {"leaks_overruled", "undecided_columns"} & set(plain.data.tags)
    assert plain.data.tags["drift_warnings"] == "0"
    assert "Warnings" not in plain.data.tags["mlflow.note.content"]

    leaks = pd.read_csv(workspace.path("validate/leaks.csv"), keep_default_na=False)
    leaks.loc[leaks["column"] == "employees", ["verdict", "reason"]] = ["leak", "overruled: sales says so"]
    files.write_csv(workspace.path("validate/leaks.csv"), leaks)
    described = files.read_json(workspace.path("ingest/contract.json"))
    described["contract"]["columns"]["deal_value"]["known_at"] = "unknown"
    files.write_json(workspace.path("ingest/contract.json"), described)
    for stage in ("ingest", "validate"):
        fake_results.sign(workspace, stage)
    warned = ["LEAKS IN THE MODEL: employees.", "Drift since version 1: much."]
    drift = pd.DataFrame(
        [["missing", "employees", "all leads", 0.3, 0.05, "much"]], columns=fake_results.NO_DRIFT.columns
    )
    candidate = logged(store, workspace, {"warnings": warned}, drift)
    (run,) = runs(store, f"tags.candidate = '{candidate.name}'")
    assert {key: run.data.tags[key] for key in ("leaks_overruled", "undecided_columns", "drift_warnings")} == {
        "leaks_overruled": "employees",
        "undecided_columns": "1",
        "drift_warnings": "1",
    }
    note = run.data.tags["mlflow.note.content"]
    assert "**Warnings**, which the gate does not weigh:\n\n- LEAKS IN THE MODEL: employees.\n- Drift since" in note
    folder = Path(run.info.artifact_uri)
    assert pd.read_csv(folder / "register" / "drift.csv")["warning"].tolist() == ["much"]
    newest = registry.versions(store, "demo")[-1]
    assert newest.number == 1, "the same scorer is the same version"
    assert files.read_json(folder / "validate" / "profile.json")["rows"]["leads"] == 600


def logged(store, workspace, decided=None, drift=fake_results.NO_DRIFT):
    candidate = candidates.collect(workspace, params_module.load(workspace.params))
    candidates.log(store, candidate, fake_results.decision(passed=True) | (decided or {}), drift)
    return candidate


def test_no_table_of_leads_and_no_refused_row_is_logged(store, log_new):
    registration = log_new(store)
    folder = Path(store.client.get_run(registration.run_id).info.artifact_uri)
    tables = {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")}
    assert tables == {"explain/contributions.parquet", "evaluate/scores.parquet", "evaluate/rival_scores.parquet"}
    names = {artefact.name for artefact in candidates.logged()}
    assert not names & {"ingest/refused.parquet", "validate/quarantine.parquet", "featurize/snapshots.parquet"}
    assert all(catalogue[name].cached for name in names)


def test_logging_twice_makes_one_run_and_one_version(store, log_new):
    first, second = log_new(store), log_new(store)
    assert (first.new_run, first.new_version, first.version) == (True, True, 1)
    assert (second.new_run, second.new_version, second.version) == (False, False, 1)
    assert second.run_id == first.run_id
    assert second.sentence.endswith("it is already version 1 of lead-scoring-demo")
    assert len(runs(store)) == 1


def test_a_refused_candidate_is_a_run_without_a_version(store, log_new):
    registration = log_new(store, passed=False)
    assert registration.version is None
    (run,) = runs(store)
    assert run.data.tags["gate"] == "refused"
    assert run.data.tags["mlflow.note.content"].startswith("**Refused by the gate.** Well measured.")
    assert registry.versions(store, "demo") == []


def test_a_changed_decision_is_written_over_the_old_one(store, log_new):
    first, second = log_new(store, passed=False), log_new(store, passed=True)
    assert second.run_id == first.run_id
    (run,) = runs(store)
    assert run.data.tags["gate"] == "passed"
    assert files.read_json(Path(run.info.artifact_uri) / "register" / "decision.json")["passed"] is True


def test_the_name_rests_on_results_and_settings_but_not_on_threads(workspace):
    def name():
        return candidates.collect(workspace, params_module.load(workspace.params)).name

    def rewrite(old, new):
        text = workspace.params.read_text()
        assert old in text
        workspace.params.write_text(text.replace(old, new))

    first = name()
    rewrite("threads: 2", "threads: 1")
    assert name() == first
    (workspace.path("validate/docs") / "index.html").write_text("another time stamp")
    fake_results.sign(workspace, "validate")
    assert name() == first
    rewrite("max_calibration_error: 0.03", "max_calibration_error: 0.02")
    second = name()
    files.write_json(workspace.path("train/summary.json"), {"rows": 2})
    fake_results.sign(workspace, "train")
    assert len({first, second, name()}) == 3


def test_a_changed_result_is_not_logged(workspace):
    workspace.path("evaluate/metrics.json").write_text("{}")
    with pytest.raises(ArtefactError, match="is not what stage evaluate wrote"):
        candidates.collect(workspace, params_module.load(workspace.params))
    workspace.path("tune/manifest.json").unlink()
    with pytest.raises(ArtefactError, match="run `dvc repro tune` first"):
        candidates.collect(workspace, params_module.load(workspace.params))


def test_byte_code_beside_the_scorer_is_not_logged(store, log_new, workspace):
    log_new(store)
    stray = next((workspace.path("calibrate/scorer") / "code").iterdir()) / "__pycache__"
    stray.mkdir()
    (stray / "x.pyc").write_bytes(b"stray")
    candidate = candidates.collect(workspace, params_module.load(workspace.params))
    for run in runs(store):
        store.client.delete_run(run.info.run_id)
    registration = candidates.log(store, candidate, fake_results.decision(passed=False), fake_results.NO_DRIFT)
    folder = Path(store.client.get_run(registration.run_id).info.artifact_uri)
    assert not list(folder.rglob("__pycache__"))


# Killed


KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline import params, process
process.configure_environment()
from pipeline.adapters import candidates, tracking
from pipeline.paths import Workspace
from tests import fake_results

workspace = Workspace(Path(sys.argv[1]))
store = tracking.open_store(workspace)
if sys.argv[2] == "candidate":
    candidates.registry.download = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    candidate = candidates.collect(workspace, params.load(workspace.params))
    candidates.log(store, candidate, fake_results.decision(passed=True), fake_results.NO_DRIFT)
else:
    log = tracking.TrialLog(store, "demo")
    log.start("0123456789abcdef", {})
    log.trial(0, {"family": "logistic"}, 0.5, "COMPLETE")
    store.client.set_terminated = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    log.trial(1, {"family": "xgboost"}, 0.45, "COMPLETE")
"""


def kill_while(what: str, workspace: Workspace, project_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(workspace.root), what],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def test_a_half_logged_run_never_counts_and_is_replaced(workspace, log_new, project_root):
    fake_results.new_store(workspace)
    kill_while("candidate", workspace, project_root)
    store = tracking.open_store(workspace)
    (half,) = runs(store)
    assert half.info.status == "KILLED"
    assert registry.versions(store, "demo") == []
    registration = log_new(store)
    assert registration.new_run
    assert registration.run_id != half.info.run_id
    (run,) = runs(store)
    assert (run.info.run_id, run.info.status) == (registration.run_id, "FINISHED")
    assert registry.resolve(store, "demo", "challenger")[0] == 1


def test_a_half_logged_trial_is_replaced(workspace, project_root):
    fake_results.new_store(workspace)
    kill_while("trials", workspace, project_root)
    store = tracking.open_store(workspace)
    assert sorted(run.info.status for run in runs(store, "tags.kind = 'trial'")) == ["FINISHED", "KILLED"]
    log = tracking.TrialLog(store, "demo")
    log.start("0123456789abcdef", {})
    assert log.known == {0}
    log.trial(0, {"family": "logistic"}, 0.5, "COMPLETE")
    log.trial(1, {"family": "xgboost"}, 0.45, "COMPLETE")
    log.end()
    assert [run.info.status for run in runs(store, "tags.kind = 'trial'")] == ["FINISHED"] * 2


def test_the_run_of_a_living_process_is_left_alone(workspace, store):
    live = tracking.Live(store)
    run = store.client.create_run(store.experiment("demo"), tags={"kind": "candidate", **live.tags})
    tracking.open_store(workspace)
    assert store.client.get_run(run.info.run_id).info.status == "RUNNING"
    live.end()
    tracking.open_store(workspace)
    assert store.client.get_run(run.info.run_id).info.status == "KILLED"


def test_runs_of_others_are_left_alone(workspace, store):
    run = store.client.create_run(store.experiment("demo"))
    tracking.open_store(workspace)
    assert store.client.get_run(run.info.run_id).info.status == "RUNNING"


# Trials


def test_trials_are_runs_below_their_study_and_logged_once(store):
    for _ in range(2):
        log = tracking.TrialLog(store, "demo")
        log.start("abc", {"folds": 3, "xgboost": {"max_depth": [2, 5]}})
        log.trial(0, {"family": "logistic", "c": 0.01}, 0.5, "COMPLETE")
        log.trial(1, {"family": "xgboost", "max_depth": 3}, 0.45, "COMPLETE")
        log.trial(2, {"family": "xgboost", "max_depth": 4}, float("nan"), "FAIL")
        # Judged on the easier folds only.
        log.trial(3, {"family": "scorecard", "bins": 4}, 0.3, "PRUNED")
        log.end()
    (study,) = runs(store, "tags.kind = 'study' and tags.study = 'abc'")
    assert study.info.status == "FINISHED"
    assert study.data.params == {"folds": "3", "xgboost.max_depth": "[2, 5]"}
    assert study.data.metrics["best_log_loss"] == 0.45
    trials = runs(store, "tags.kind = 'trial'")
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {study.info.run_id}
    assert sorted((run.data.tags["trial"], run.info.status) for run in trials) == [
        ("0", "FINISHED"),
        ("1", "FINISHED"),
        ("2", "FAILED"),
        ("3", "FINISHED"),
    ]
    assert {run.info.run_name for run in trials} == {
        *("trial 000 logistic", "trial 001 xgboost", "trial 002 xgboost", "trial 003 scorecard")
    }
    assert {run.data.tags["trial"]: run.data.tags["state"] for run in trials}["3"] == "PRUNED"


def test_a_trial_costs_little(store):
    log = tracking.TrialLog(store, "demo")
    log.start("abc", {})
    begun = time.perf_counter()
    for number in range(20):
        log.trial(number, {"family": "xgboost", "max_depth": 3}, 0.5, "COMPLETE")
    log.end()
    # 0.03 s each on an idle machine; the bound allows for a busy one.
    assert (time.perf_counter() - begun) / 20 < 0.3


def test_a_trial_without_a_study_is_a_mistake(store):
    with pytest.raises(ValueError, match="start comes before"):
        tracking.TrialLog(store, "demo").trial(0, {}, 0.5, "COMPLETE")


# sync


def decide(workspace, *, passed=True):
    """Record a decision, as the stage `register` does."""
    name = candidates.collect(workspace, params_module.load(workspace.params)).name
    recorded = fake_results.decision(passed=passed) | {"candidate": name}
    files.write_json(workspace.path("register/decision.json"), recorded)
    files.write_csv(workspace.path("register/drift.csv"), fake_results.NO_DRIFT)
    files.write_json(workspace.path("register/manifest.json"), {})


def test_sync_logs_what_a_deleted_or_new_store_lacks(workspace, tmp_path):
    fake_results.new_store(workspace)
    decide(workspace)
    first = candidates.sync(workspace)
    assert (first.trials, first.registration.version, first.registration.new_run) == (3, 1, True)
    again = candidates.sync(workspace)
    assert (again.trials, again.registration.new_run, again.registration.new_version) == (0, False, False)
    assert str(again).startswith("0 trials logged; run ")
    clone = Workspace(tmp_path / "clone")
    shutil.copytree(workspace.root, clone.root, ignore=shutil.ignore_patterns("mlruns"))
    fake_results.new_store(clone)
    anew = candidates.sync(clone)
    assert (anew.trials, anew.registration.version, anew.registration.new_run) == (3, 1, True)
    store = tracking.open_store(clone)
    trial = runs(store, "tags.trial = '1'")[0]
    assert trial.data.params == {"family": "xgboost", "max_depth": "3"}
    assert trial.data.metrics["log_loss"] == 0.45
    assert runs(store, "tags.trial = '0'")[0].data.params == {"family": "scorecard", "c": "0.01", "folds": "5"}
    # As the search itself logs them: a trial that ended early is marked, and is nobody's best.
    assert [runs(store, f"tags.trial = '{k}'")[0].data.tags["state"] for k in range(3)] == [
        *("COMPLETE", "COMPLETE", "PRUNED")
    ]
    (study,) = runs(store, "tags.kind = 'study'")
    assert study.data.metrics["best_log_loss"] == 0.45


def test_sync_without_a_decision_does_nothing(workspace):
    assert str(candidates.sync(workspace)).startswith("nothing to log")
    assert not (workspace.mlruns / "mlflow.db").exists()


def test_sync_refuses_a_decision_about_other_results(workspace):
    decide(workspace)
    files.write_json(workspace.path("train/summary.json"), {"rows": 2})
    fake_results.sign(workspace, "train")
    with pytest.raises(ArtefactError, match="about other results"):
        candidates.sync(workspace)


# A server with proxied artifacts


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(tmp_path):
    """A tracking server on loopback that keeps and hands out the artifacts itself."""
    port, home = free_port(), tmp_path / "server"
    # Nothing here needs its job runners, which take most of the start.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    home.mkdir()
    command = ["server", "--backend-store-uri", f"sqlite:///{home}/m.db", "--artifacts-destination", str(home / "kept")]
    command += ["--serve-artifacts", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with open(home / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command],
            stdout=log,
            stderr=log,
            cwd=home,
            env=environment,
            start_new_session=True,
        )
    try:
        for _ in range(240):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                break
            assert process.poll() is None, (home / "log").read_text()[-2000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_a_shared_server_works_instead(server, workspace, log_new, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    store = tracking.open_store(workspace)
    assert (store.uri, store.database) == (server, None)
    registration = log_new(store, weight=2.0)
    assert (registration.version, registration.store) == (1, server)
    assert log_new(store, weight=2.0).new_run is False
    number, folder = registry.resolve(store, "demo", "challenger")
    assert number == 1
    assert files.sha256(folder) == files.sha256(workspace.path("calibrate/scorer"))
    assert load_elsewhere(server, tmp_path) == "[6.0, nan]"
    approvals.approve(store, "demo", 1, "A reviewer", "looks right", asked=1)
    assert registry.champion(store, "demo").number == 1
    assert registry.models(store, "demo")["approved_by"].tolist() == ["A reviewer"]
    log = tracking.TrialLog(store, "demo")
    log.start("abc", {})
    log.trial(0, {"family": "logistic"}, 0.5, "COMPLETE")
    log.end()
    assert len(runs(store, "tags.kind = 'trial'")) == 1
    assert not (workspace.mlruns / "mlflow.db").exists()
    # The page of a version reads its schema through the server.
    shown = f"{server}/model-versions/get-artifact?path=MLmodel&name=lead-scoring-demo&version=1"
    with urllib.request.urlopen(shown, timeout=30) as answer:
        assert b"loader_module: scorer_" in answer.read()
