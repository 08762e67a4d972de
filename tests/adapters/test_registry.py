"""Versions and aliases: each scorer once, and what is handed out is what was registered."""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from pipeline.adapters import approvals, files, registry
from pipeline.errors import RegistryError


def stored(store, number) -> Path:
    """Where the store keeps the scorer of a version."""
    run = store.client.get_run(registry.find(store, "demo", number).run_id)
    return Path(run.info.artifact_uri) / "scorer"


def test_each_new_scorer_is_a_version_and_the_newest_is_challenger(store, log_new):
    assert [log_new(store, weight=weight).version for weight in (1.0, 2.0, 1.0)] == [1, 2, 1]
    assert registry.find(store, "demo", "challenger").number == 1
    table = registry.models(store, "demo")
    assert table["version"].tolist() == [1, 2]
    assert table["aliases"].tolist() == ["challenger", ""]
    assert table["gate"].tolist() == ["passed", "passed"]
    assert table["log_loss"].tolist() == [0.4, 0.4]
    assert table["split"].tolist() == ["time", "time"]
    assert table["model_version"].tolist() == ["demo-1.0", "demo-2.0"]
    assert list(table.columns)[:6] == ["version", "aliases", "gate", "log_loss", "lift_10", "calibration_error"]


def test_the_accepted_history_is_the_champions_else_the_newest(store, log_new, workspace):
    assert registry.accepted(store, "demo") is None
    log_new(store, weight=1.0)
    log_new(store, weight=2.0)
    log_new(store, weight=3.0, passed=False)
    profile = files.read_json(workspace.path("validate/profile.json"))
    assert registry.accepted(store, "demo") == (2, profile)
    approvals.approve(store, "demo", 1, "A reviewer", "why", asked=1)
    assert registry.accepted(store, "demo") == (1, profile)


def test_what_is_judged_again_is_compared_with_what_was_accepted_before_it(store, log_new):
    for weight in (1.0, 2.0, 3.0):
        log_new(store, weight=weight)
    first, second, third = (version.tags["candidate"] for version in registry.versions(store, "demo"))
    assert registry.accepted(store, "demo", first) is None
    assert registry.accepted(store, "demo", second)[0] == 1
    approvals.approve(store, "demo", 3, "A reviewer", "why", asked=1)
    assert registry.accepted(store, "demo", third)[0] == 2
    assert registry.accepted(store, "demo", "unknown")[0] == 3


def test_a_version_without_its_profile_is_passed_over(store, log_new):
    log_new(store, weight=1.0)
    registration = log_new(store, weight=2.0)
    folder = Path(store.client.get_run(registration.run_id).info.artifact_uri)
    (folder / "validate" / "profile.json").unlink()
    assert registry.accepted(store, "demo")[0] == 1
    SqlAlchemyStore(store.uri, str(store.home))._hard_delete_run(registry.find(store, "demo", 1).run_id)
    assert registry.accepted(store, "demo") is None


def test_without_versions_the_table_is_empty(store):
    assert registry.models(store, "demo").empty
    with pytest.raises(RegistryError, match="has no registered version yet"):
        registry.resolve(store, "demo", "champion")


def test_a_refused_scorer_does_not_move_the_challenger(store, log_new):
    log_new(store, weight=1.0)
    log_new(store, weight=2.0, passed=False)
    assert registry.find(store, "demo", "challenger").number == 1


def test_a_version_whose_run_was_removed_for_good_is_registered_anew(store, log_new):
    first = log_new(store)
    store.client.delete_run(first.run_id)
    # A run in the bin still has its files.
    again = log_new(store)
    assert (again.new_run, again.version) == (True, 1)
    # What `mlflow gc` does.
    SqlAlchemyStore(store.uri, str(store.home))._hard_delete_run(first.run_id)
    registration = log_new(store)
    assert (registration.new_run, registration.new_version, registration.version) == (False, True, 2)
    assert registry.resolve(store, "demo", "challenger")[0] == 2


def test_resolve_takes_an_alias_or_a_number_and_gives_the_registered_bytes(store, log_new, workspace):
    log_new(store)
    for which in ("challenger", "1", 1):
        number, folder = registry.resolve(store, "demo", which)
        assert number == 1
        assert files.sha256(folder) == files.sha256(workspace.path("calibrate/scorer"))


@pytest.mark.parametrize("which", ["2", "newest", 0])
def test_an_unknown_version_is_named_with_what_there_is(store, log_new, which):
    log_new(store)
    with pytest.raises(RegistryError, match=f"has no version {which}; it has 1"):
        registry.resolve(store, "demo", which)
    with pytest.raises(RegistryError, match="no version of lead-scoring-demo is champion yet"):
        registry.resolve(store, "demo", "champion")


def test_an_altered_copy_is_replaced_and_an_altered_store_refused(store, log_new):
    log_new(store)
    _, folder = registry.resolve(store, "demo", 1)
    code = next((folder / "code").iterdir())
    (folder / "data" / "margin.json").write_text('{"weight": 9}')
    (code / "__pycache__").mkdir()
    _, again = registry.resolve(store, "demo", 1)
    assert again == folder
    assert json.loads((again / "data" / "margin.json").read_text()) == {"weight": 1.0}
    assert not (code / "__pycache__").exists()
    (stored(store, 1) / "code" / code.name / "added.py").write_text("")
    (folder / "MLmodel").write_text("")
    with pytest.raises(RegistryError, match="not those that were registered"):
        registry.resolve(store, "demo", 1)
    with pytest.raises(RegistryError, match="not those that were registered"):
        approvals.approve(store, "demo", 1, "A reviewer", "why", asked=1)


def test_what_was_registered_by_hand_is_no_version_of_ours(store, log_new):
    registration = log_new(store, passed=False)
    store.client.create_registered_model("lead-scoring-demo")
    store.client.create_model_version("lead-scoring-demo", f"runs:/{registration.run_id}/scorer", registration.run_id)
    with pytest.raises(RegistryError, match="did not pass the gate"):
        approvals.approve(store, "demo", 1, "A reviewer", "why", asked=1)
    with pytest.raises(RegistryError, match="was not registered by this project"):
        registry.resolve(store, "demo", 1)


def test_a_version_says_against_which_champion_it_was_judged_last(store, log_new):
    log_new(store, weight=1.0)
    log_new(store, weight=2.0)
    first, second = registry.versions(store, "demo")
    assert (first.tags["judged_against"], second.tags["judged_against"]) == ("nobody", "nobody")
    approvals.approve(store, "demo", 1, "A reviewer", "why", asked=1)
    against = {"version": 1, "scorer": first.scorer, "identical": False, "why_not": "another horizon"}
    assert not log_new(store, weight=2.0, champion=against).new_version
    # Judged against itself it keeps what it was judged against before.
    log_new(store, weight=1.0, champion=against | {"identical": True})
    versions = registry.versions(store, "demo")
    assert [one.tags["judged_against"] for one in versions] == ["nobody", first.scorer]
    assert [one.tags["not_comparable"] for one in versions] == ["", "another horizon"]


def test_what_is_refused_when_judged_again_passes_no_longer_unless_it_is_champion(store, log_new):
    for weight in (1.0, 2.0):
        log_new(store, weight=weight)
    approvals.approve(store, "demo", 1, "A reviewer", "why", asked=1)
    for weight in (1.0, 2.0):
        log_new(store, weight=weight, passed=False)
    assert [version.gate for version in registry.versions(store, "demo")] == ["passed", "refused"]
    assert registry.find(store, "demo", 2).aliases == ()
    with pytest.raises(RegistryError, match=r"version 2 .* did not pass the gate, or does so no longer"):
        approvals.approve(store, "demo", 2, "A reviewer", "why", asked=1)
    log_new(store, weight=2.0)
    again = registry.find(store, "demo", "challenger")
    assert (again.number, again.gate) == (2, "passed")


def test_two_that_resolve_at_once_get_the_same_whole_copy(store, log_new, workspace, monkeypatch):
    log_new(store)
    download, started = registry.download, threading.Barrier(2, timeout=30)

    def slow(*arguments):
        copied = download(*arguments)
        # Without a lock both would get here, and the second rename would meet a folder.
        with contextlib.suppress(threading.BrokenBarrierError):
            started.wait(1)
        return copied

    monkeypatch.setattr(registry, "download", slow)
    with ThreadPoolExecutor(2) as pool:
        folders = [done.result()[1] for done in [pool.submit(registry.resolve, store, "demo", 1) for _ in range(2)]]
    assert folders[0] == folders[1]
    assert files.sha256(folders[0]) == files.sha256(workspace.path("calibrate/scorer"))
    assert sorted(path.name for path in folders[0].parent.iterdir()) == [".lock", folders[0].name]
