"""Versions, aliases and approvals: what is approved is what was registered, and nothing is approved in silence."""

import contextlib
import json
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from pipeline.adapters import files, registry, tracking
from pipeline.errors import RegistryError
from pipeline.paths import Workspace


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
    registry.approve(store, "demo", 1, "A reviewer", "why")
    assert registry.accepted(store, "demo") == (1, profile)


def test_what_is_judged_again_is_compared_with_what_was_accepted_before_it(store, log_new):
    for weight in (1.0, 2.0, 3.0):
        log_new(store, weight=weight)
    first, second, third = (version.tags["candidate"] for version in registry.versions(store, "demo"))
    assert registry.accepted(store, "demo", first) is None
    assert registry.accepted(store, "demo", second)[0] == 1
    registry.approve(store, "demo", 3, "A reviewer", "why")
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
        registry.approve(store, "demo", 1, "A reviewer", "why")


def test_approving_moves_champion_and_is_logged(store, log_new):
    for weight in (1.0, 2.0):
        log_new(store, weight=weight)
    registry.approve(store, "demo", 1, "A reviewer", "first")
    registry.approve(store, "demo", "challenger", "Another reviewer", "better lift")
    assert registry.champion(store, "demo").number == 2
    log = registry.approvals(store)
    assert [(line["version"], line["before"], line["by"], line["note"]) for line in log] == [
        (1, None, "A reviewer", "first"),
        (2, 1, "Another reviewer", "better lift"),
    ]
    assert log[0]["at"] < log[1]["at"]
    assert all(line["at"].endswith("+00:00") for line in log)
    assert log[1]["scorer"] == registry.find(store, "demo", 2).scorer
    assert registry.models(store, "demo")["approved_by"].tolist() == ["A reviewer", "Another reviewer"]


def test_approving_the_champion_again_changes_nothing(store, log_new):
    log_new(store)
    first = registry.approve(store, "demo", 1, "A reviewer", "why")
    assert registry.approve(store, "demo", 1, "Another reviewer", "why") == first
    assert len(registry.approvals(store)) == 1


def test_going_back_is_an_approval_too(store, log_new):
    for weight in (1.0, 2.0):
        log_new(store, weight=weight)
    for number in (1, 2, 1):
        registry.approve(store, "demo", number, "A reviewer", "why")
    assert registry.champion(store, "demo").number == 1
    assert [line["version"] for line in registry.approvals(store)] == [1, 2, 1]


@pytest.mark.parametrize(("by", "note"), [("", "x"), ("  ", "x"), ("A\nB", "x"), ("A", "x\ny"), ("A", ""), ("A", "  ")])
def test_an_approval_needs_a_name_on_one_line(store, log_new, by, note):
    log_new(store)
    with pytest.raises(RegistryError, match="needs the name of who approves"):
        registry.approve(store, "demo", 1, by, note)


def test_what_did_not_pass_the_gate_cannot_be_champion(store, log_new):
    registration = log_new(store, passed=False)
    with pytest.raises(RegistryError, match="has no registered version yet"):
        registry.approve(store, "demo", 1, "A reviewer", "why")
    # Registered by hand, past the gate.
    store.client.create_registered_model("lead-scoring-demo")
    store.client.create_model_version("lead-scoring-demo", f"runs:/{registration.run_id}/scorer", registration.run_id)
    with pytest.raises(RegistryError, match="did not pass the gate"):
        registry.approve(store, "demo", 1, "A reviewer", "why")
    with pytest.raises(RegistryError, match="was not registered by this project"):
        registry.resolve(store, "demo", 1)


def test_a_log_line_lost_to_a_kill_is_written_by_the_next_approval(store, log_new, monkeypatch):
    for weight in (1.0, 2.0):
        log_new(store, weight=weight)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(registry, "_append", lambda _, champion: champion and killed())
        with pytest.raises(KeyboardInterrupt):
            registry.approve(store, "demo", 1, "A reviewer", "first")
    assert registry.approvals(store) == []
    registry.approve(store, "demo", 2, "A reviewer", "second")
    assert [line["note"] for line in registry.approvals(store)] == ["first", "second"]


def test_a_kill_before_the_alias_moved_leaves_no_approval(store, log_new, monkeypatch):
    for weight in (1.0, 2.0):
        log_new(store, weight=weight)
    registry.approve(store, "demo", 1, "A reviewer", "first")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(type(store.client), "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.approve(store, "demo", 2, "Another reviewer", "second")
    assert registry.models(store, "demo")["approved_by"].tolist() == ["A reviewer", ""]
    registry.approve(store, "demo", 2, "A third reviewer", "again")
    assert registry.models(store, "demo")["approved_by"].tolist() == ["A reviewer", "A third reviewer"]
    assert [line["by"] for line in registry.approvals(store)] == ["A reviewer", "A third reviewer"]


def test_a_kill_after_the_alias_moved_leaves_an_approval(store, log_new, monkeypatch):
    log_new(store)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(registry, "_append", lambda _, champion: champion and killed())
        with pytest.raises(KeyboardInterrupt):
            registry.approve(store, "demo", 1, "A reviewer", "first")
    assert registry.models(store, "demo")["approved_by"].tolist() == ["A reviewer"]


@pytest.mark.parametrize("torn", [b'{"at": "2026', b'{"by": "A rev\xc3'])
def test_a_line_that_a_kill_left_unfinished_is_replaced(store, log_new, torn):
    for weight in (1.0, 2.0):
        log_new(store, weight=weight)
    registry.approve(store, "demo", 1, "A reviewer", "first")
    path = store.home / "approvals.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert [line["note"] for line in registry.approvals(store)] == ["first"]
    registry.approve(store, "demo", 2, "A reviewer", "second")
    assert [line["note"] for line in registry.approvals(store)] == ["first", "second"]
    assert path.read_bytes().startswith(whole) and path.read_bytes().endswith(b"}\n")
    assert len(path.read_bytes().split(b"\n")) == 3


def test_the_torn_line_of_the_present_champion_is_written_again(store, log_new):
    for weight in (1.0, 2.0):
        log_new(store, weight=weight)
    registry.approve(store, "demo", 1, "A reviewer", "first")
    path = store.home / "approvals.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    registry.approve(store, "demo", 2, "A reviewer", "second")
    assert [line["note"] for line in registry.approvals(store)] == ["first", "second"]


def test_a_log_whose_last_line_only_lacks_its_end_keeps_it(store, log_new):
    for weight in (1.0, 2.0):
        log_new(store, weight=weight)
    registry.approve(store, "demo", 1, "A reviewer", "first")
    path = store.home / "approvals.jsonl"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    registry.approve(store, "demo", 2, "A reviewer", "second")
    assert [line["note"] for line in registry.approvals(store)] == ["first", "second"]


def test_a_broken_line_in_the_middle_of_the_log_is_an_error_that_names_it(store, log_new):
    log_new(store)
    registry.approve(store, "demo", 1, "A reviewer", "first")
    path = store.home / "approvals.jsonl"
    path.write_bytes(b"{broken\n" + path.read_bytes())
    with pytest.raises(RegistryError, match=r"approvals\.jsonl, line 1: is not an approval"):
        registry.approve(store, "demo", 1, "A reviewer", "why")


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


def _approve(root: str, number: int) -> None:
    for _ in range(3):
        registry.approve(tracking.open_store(Workspace(Path(root))), "demo", number, f"Reviewer {number}", "race")


def test_racing_approvals_leave_a_log_that_tells_how_the_champion_came_to_be(store, log_new, workspace):
    for weight in (1.0, 2.0):
        log_new(store, weight=weight)
    spawn = multiprocessing.get_context("spawn")
    racers = [spawn.Process(target=_approve, args=(str(workspace.root), number)) for number in (1, 2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0, 0]
    log = registry.approvals(store)
    assert log[-1]["version"] == registry.champion(store, "demo").number
    assert [line["before"] for line in log] == [None, *(line["version"] for line in log[:-1])]
