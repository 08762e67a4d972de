"""A study in a shared database: a process that ended is missed, and an address of no use is said."""

from __future__ import annotations

import optuna
import pytest
from optuna.storages import _heartbeat

from pipeline.adapters import studies
from pipeline.errors import ParamsError
from pipeline.params import load
from pipeline.paths import Workspace
from pipeline.scoring.search import Search, Trial

FAILED = optuna.trial.TrialState.FAIL


class Judge:
    """Every trial is as good as the other."""

    def judge(self, family, number, settings, goes_on):
        assert goes_on([0.5])
        return Trial(family, number, settings, [0.5, 0.5], 0)


@pytest.fixture
def plan(project_root):
    """Two trials, shared."""
    tune = load(project_root / "params.yaml").tune
    shared = tune.model_copy(update={"storage": "sqlite:///shared", "trials": {"scorecard": 2}})
    return Search(shared, 1, timed=True, needed=0, categories=True)


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """Opens the same study again and again; four seconds of silence are borne."""
    monkeypatch.setattr(studies, "SILENT", 4)
    return lambda: studies.open_study(Workspace(tmp_path), "study", f"sqlite:///{tmp_path / 'shared.db'}")


def begun(study: optuna.Study) -> optuna.Trial:
    """A trial of which nothing more is heard unless the test says so."""
    with pytest.warns(UserWarning, match="Heartbeat"):
        return study.ask()


def test_a_trial_whose_process_ended_is_done_by_another(plan, shared, monkeypatch):
    first = shared()
    left = begun(first)
    with _heartbeat.get_heartbeat_thread(left._trial_id, first._storage):
        pass  # one sign of life, and no more
    second = shared()
    monkeypatch.setattr(studies, "LOOK", 0.5)
    waits: list[int] = []

    def wait() -> None:
        waits.append(1)
        assert len(waits) < 60
        studies.look_again()

    trials = plan.run(Judge(), {"scorecard": second}, lambda _: None, wait=wait)
    assert [trial.number for trial in trials] == [0, 1] and waits
    assert second.get_trials(deepcopy=False)[left.number].state == FAILED


def test_a_process_that_lives_is_waited_for(plan, shared, monkeypatch):
    study = shared()
    running = begun(study)
    waits: list[int] = []

    def wait() -> None:
        waits.append(1)
        monkeypatch.setattr(studies, "LOOK", 6)  # longer than the silence that is borne
        studies.look_again()
        settings = plan.params.scorecard.first[0].model_dump()
        for name, value in (("settings", settings), ("losses", [0.4, 0.4]), ("rounds", 0)):
            running.set_user_attr(name, value)
        study.tell(running, 0.4)

    other = shared()
    with _heartbeat.get_heartbeat_thread(running._trial_id, study._storage):
        trials = plan.run(Judge(), {"scorecard": other}, lambda _: None, wait=wait)
    assert len(waits) == 1 and sorted(trial.loss for trial in trials) == [0.4, 0.5]


def test_what_cannot_be_used_is_said(tmp_path):
    with pytest.raises(ParamsError, match=r"needs a driver: No module named '\w+'\. PostgreSQL: pip install"):
        studies.open_study(Workspace(tmp_path), "study", "postgresql://somebody@127.0.0.1:1/trials")
    with pytest.raises(ParamsError, match=r"cannot be used: .*unable to open database file"):
        studies.open_study(Workspace(tmp_path), "study", f"sqlite:///{tmp_path}/none/shared.db")
