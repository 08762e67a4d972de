"""What people decide: nothing is decided in silence, nothing is lost, and a kill at any moment leaves a whole story."""

import json
import shutil
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.adapters import approval_log, approvals, registry, tracking
from pipeline.errors import RegistryError
from pipeline.paths import Workspace
from tests import fake_results


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with three versions that passed the gate when there was no champion."""
    workspace = Workspace(tmp_path_factory.mktemp("made"))
    fake_results.stock(workspace, [1.0, 2.0, 3.0])
    return workspace.root


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made / "mlruns", tmp_path / "mlruns")
    return tracking.open_store(Workspace(tmp_path))


def judged(store, version):
    """As if the gate had held the version against the champion of this moment."""
    now = registry.champion(store, "demo")
    against = now.scorer if now else registry.NOBODY
    store.client.set_model_version_tag("lead-scoring-demo", str(version), registry.AGAINST, against)


def approve(store, version, by="A. Reviewer", note="why", *, asked=1, anyway=False, judge=True):
    if judge:
        judged(store, version)
    return approvals.approve(store, "demo", version, by, note, asked=asked, anyway=anyway)


def lines(store):
    return approval_log.read(store, "demo").lines


def story(store):
    return [(line.act, line.state, line.version, line.before) for line in lines(store)]


def champion(store):
    now = registry.champion(store, "demo")
    return now.number if now else None


def done(act, version, before):
    return [(act, "intended", version, before), (act, "done", version, before)]


# Approve


def test_approving_moves_champion_and_is_logged_in_file_and_tags(store):
    first = approve(store, 1, note="first")
    second = approve(store, "challenger", "B. Reviewer", "better lift", judge=False, anyway=True)
    assert (first.moved, first.before, second.moved, second.before) == (True, None, True, 1)
    assert champion(store) == 3
    assert story(store) == [*done("approve", 1, None), *done("approve", 3, 1)]
    log = lines(store)
    assert [line.line for line in log] == [1, 2, 3, 4]
    assert (log[3].by, log[3].note, log[3].anyway, log[1].anyway) == ("B. Reviewer", "better lift", True, False)
    assert log[3].scorer == registry.find(store, "demo", 3).scorer
    assert sorted(line.at for line in log) == [line.at for line in log]
    assert all(line.at.endswith("+00:00") for line in log)
    filed = (store.home / "approvals.jsonl").read_text().splitlines()
    tags = store.client.get_registered_model("lead-scoring-demo").tags
    assert filed == [line.text for line in log] == [tags[f"log.{k:06d}"] for k in range(1, 5)]
    assert json.loads(filed[0])["previous"] == ""
    assert [line.previous for line in log[1:]] == [approval_log.sha256(text) for text in filed[:-1]]
    table = registry.models(store, "demo")
    assert table["approved_by"].tolist() == ["A. Reviewer", "", "B. Reviewer"]


def test_approving_the_champion_again_changes_nothing(store):
    approve(store, 1)
    again = approvals.approve(store, "demo", 1, "B. Reviewer", "why", asked=2)
    assert (again.moved, again.waiting, again.version.number) == (False, 0, 1)
    assert story(store) == done("approve", 1, None)


@pytest.mark.parametrize(
    ("by", "note"),
    [
        ("", "x"),
        ("  ", "x"),
        ("A\nB", "x"),
        ("A", "x\ny"),
        ("A", ""),
        ("A", "\x1b[2J"),
        ("A" * 101, "x"),
        ("A", "x" * 1001),
    ],
)
def test_a_decision_needs_a_name_and_a_reason_on_one_line(store, by, note):
    for decide in (
        lambda: approvals.approve(store, "demo", 1, by, note, asked=1),
        lambda: approvals.reject(store, "demo", 1, by, note),
        lambda: approvals.rollback(store, "demo", by, note),
    ):
        with pytest.raises(RegistryError, match="needs the name of who takes it"):
            decide()
    assert lines(store) == []


def test_a_version_judged_against_another_champion_needs_anyway(store):
    approve(store, 1)
    with pytest.raises(RegistryError, match="judged against none as champion; since then it has become version 1"):
        approve(store, 2, judge=False)
    approve(store, 2)
    with pytest.raises(RegistryError, match="judged against none as champion; since then it has become version 2"):
        approve(store, 3, judge=False)
    judged(store, 3)
    approvals.rollback(store, "demo", "A. Reviewer", "back")
    with pytest.raises(RegistryError, match="judged against version 2 as champion; since then it has become version 1"):
        approve(store, 3, judge=False)
    store.client.delete_model_version_tag("lead-scoring-demo", "3", registry.AGAINST)
    with pytest.raises(RegistryError, match="not known against which champion version 3 was judged"):
        approve(store, 3, judge=False)
    before = story(store)
    approve(store, 3, judge=False, anyway=True)
    assert champion(store) == 3
    assert story(store) == [*before, *done("approve", 3, 1)]


def test_a_version_that_could_not_be_compared_with_the_champion_needs_anyway(store):
    store.client.set_model_version_tag("lead-scoring-demo", "2", registry.INCOMPARABLE, "another horizon")
    approve(store, 1)
    with pytest.raises(RegistryError, match="2 could not be compared with the champion, version 1: another horizon"):
        approve(store, 2)
    assert approve(store, 2, anyway=True).moved
    assert lines(store)[-1].anyway


@pytest.mark.parametrize(
    ("told", "limit", "why_not"),
    [
        ("2025-01-01T00:00:00", None, ""),
        ("2025-01-01T00:00:00", 90, ""),
        ("2025-01-01T00:00:00", 89, "judged on is of 2025-01-01, 90 days ago. At most 89 days are allowed"),
        (None, 89, "not known how old the outcomes are that version 1 was judged on; at most 89 days"),
        (None, None, ""),
        ("no times", 1, ""),
    ],
)
def test_outcomes_that_are_too_old_on_the_day_need_anyway(store, monkeypatch, told, limit, why_not):
    monkeypatch.setattr(approvals, "_now", lambda: "2025-04-01T23:59:00.000000+00:00")
    if told is not None:
        store.client.set_model_version_tag("lead-scoring-demo", "1", registry.JUDGED_UNTIL, told)
    judged(store, 1)

    def act(**how):
        return approvals.approve(store, "demo", 1, "A. Reviewer", "why", asked=1, max_age_days=limit, **how)

    if why_not:
        with pytest.raises(RegistryError, match=why_not):
            act()
        assert lines(store) == []
        found = act(anyway=True)
        assert lines(store)[-1].anyway
    else:
        found = act()
        assert not lines(store)[-1].anyway
    assert found.moved
    aged = "The newest outcome that version 1 was judged on is of 2025-01-01, 90 days ago."
    assert found.age == (aged if told == "2025-01-01T00:00:00" else "")


def stored(store, version):
    return Path(store.client.get_run(registry.find(store, "demo", version).run_id).info.artifact_uri) / "scorer"


@pytest.mark.parametrize("copied", [False, True], ids=["store", "store and copy"])
def test_bytes_that_are_not_those_registered_are_not_approved(store, copied):
    _, copy = registry.resolve(store, "demo", 1)
    for folder in (stored(store, 1), *([copy] if copied else [])):
        (folder / "data" / "margin.json").write_text('{"weight": 9}')
    with pytest.raises(RegistryError, match="not those that were registered"):
        approve(store, 1)
    assert (champion(store), lines(store)) == (None, [])


def test_no_way_leads_back_to_stored_bytes_that_were_altered(store):
    for version in (1, 2):
        approve(store, version)
    (stored(store, 1) / "data" / "margin.json").write_text('{"weight": 9}')
    with pytest.raises(RegistryError, match="not those that were registered"):
        approvals.rollback(store, "demo", "A. Reviewer", "back")
    assert champion(store) == 2


# Two names


def test_where_two_are_asked_for_the_second_name_moves_the_champion(store):
    first = approve(store, 1, "A. Reviewer", asked=2)
    assert (first.moved, first.waiting, champion(store)) == (False, 1, None)
    assert story(store) == [("sign", "done", 1, None)]
    for same in ("A. Reviewer", " a.  reviewer ", "\uff21. Reviewer"):
        with pytest.raises(RegistryError, match="has approved version 1 before; somebody else must"):
            approve(store, 1, same, asked=2)
    second = approve(store, 1, "B. Reviewer", asked=2)
    assert (second.moved, second.waiting, champion(store)) == (True, 0, 1)
    assert lines(store)[-1].signed == ("A. Reviewer",)
    assert registry.models(store, "demo")["approved_by"].tolist()[0] == "A. Reviewer, B. Reviewer"


@pytest.mark.parametrize("between", ["another champion", "rejected", "way back"])
def test_a_signature_counts_no_longer_once_the_champion_moved_or_the_version_was_rejected(store, between):
    approve(store, 1)
    approve(store, 2)
    approve(store, 3, "A. Reviewer", asked=2)
    if between == "another champion":
        approve(store, 1)
    elif between == "rejected":
        approvals.reject(store, "demo", 3, "C. Reviewer", "wrong")
    else:
        approvals.rollback(store, "demo", "C. Reviewer", "back")
    assert approve(store, 3, "B. Reviewer", asked=2, anyway=True).waiting == 1
    assert approve(store, 3, "A. Reviewer", asked=2, anyway=True).moved
    assert lines(store)[-1].signed == ("B. Reviewer",)


# Reject


def test_a_rejected_version_loses_its_alias_and_is_approved_only_anyway(store):
    assert registry.find(store, "demo", "challenger").number == 3
    assert approvals.reject(store, "demo", 3, "B. Reviewer", "odd reasons").number == 3
    assert registry.find(store, "demo", 3).aliases == ()
    assert story(store) == done("reject", 3, None)
    assert registry.models(store, "demo")["rejected_by"].tolist() == ["", "", "B. Reviewer"]
    with pytest.raises(RegistryError, match=r"Version 3 was rejected by B\. Reviewer on \d{4}-\d\d-\d\d: odd reasons"):
        approve(store, 3)
    with pytest.raises(RegistryError, match="Version 3 was rejected by"):
        approvals.reject(store, "demo", 3, "C. Reviewer", "again")
    assert approve(store, 3, anyway=True).moved
    assert lines(store)[-1].anyway
    assert registry.models(store, "demo")["rejected_by"].tolist() == ["", "", ""]


def test_registering_a_rejected_scorer_again_does_not_make_it_challenger(store):
    approvals.reject(store, "demo", 3, "B. Reviewer", "odd reasons")
    rejected = registry.find(store, "demo", 3)
    assert registry.register(store, "demo", rejected.run_id, rejected.tags) == (3, False)
    assert registry.find(store, "demo", 3).aliases == ()


def test_the_champion_is_not_rejected_but_rolled_back(store):
    approve(store, 1)
    with pytest.raises(RegistryError, match="is champion; `leads rollback` takes it out of use first"):
        approvals.reject(store, "demo", 1, "B. Reviewer", "wrong")


# Roll back


def test_a_way_back_leads_from_champion_to_champion_before(store):
    for version in (1, 2, 3):
        approve(store, version)
    back = approvals.rollback(store, "demo", "A. Reviewer", "too high")
    assert (back.version.number, back.before, back.moved, champion(store)) == (2, 3, True, 2)
    assert approvals.rollback(store, "demo", "A. Reviewer", "still too high").version.number == 1
    with pytest.raises(RegistryError, match="there is no earlier champion"):
        approvals.rollback(store, "demo", "A. Reviewer", "further")
    assert story(store)[-4:] == [*done("rollback", 2, 3), *done("rollback", 1, 2)]
    # Who approved version 2 stays who approved it.
    assert registry.models(store, "demo")["approved_by"].tolist() == ["A. Reviewer"] * 3


def test_a_way_back_to_a_named_version_that_was_champion(store):
    for version in (1, 2):
        approve(store, version)
    with pytest.raises(RegistryError, match="version 3 of lead-scoring-demo was never champion"):
        approvals.rollback(store, "demo", "A. Reviewer", "why", to=3)
    approve(store, 3)
    assert approvals.rollback(store, "demo", "A. Reviewer", "why", to=1).version.number == 1
    assert not approvals.rollback(store, "demo", "A. Reviewer", "why", to=1).moved
    # 3 was champion, if no longer in force; from there the way back leads to 1 again.
    assert approvals.rollback(store, "demo", "A. Reviewer", "why", to=3).version.number == 3
    assert approvals.rollback(store, "demo", "A. Reviewer", "why").version.number == 1


def test_a_way_back_passes_over_what_was_rejected(store):
    for version in (1, 2, 3):
        approve(store, version)
    approvals.reject(store, "demo", 2, "B. Reviewer", "wrong")
    with pytest.raises(RegistryError, match="Version 2 was rejected"):
        approvals.rollback(store, "demo", "A. Reviewer", "why", to=2)
    assert approvals.rollback(store, "demo", "A. Reviewer", "why").version.number == 1


def test_after_an_alias_moved_by_hand_the_way_back_is_what_was_approved_last(store):
    for version in (1, 2):
        approve(store, version)
    store.client.set_registered_model_alias("lead-scoring-demo", "champion", "3")
    _, wrong, _ = approvals.examine(store, "demo")
    (said,) = wrong
    assert said.startswith("By the log the champion is version 2; the alias says version 3")
    assert approvals.rollback(store, "demo", "A. Reviewer", "why").version.number == 2
    assert approvals.examine(store, "demo")[1] == []


def test_without_versions_there_is_nothing_to_decide(tmp_path):
    fake_results.new_store(Workspace(tmp_path))
    empty = tracking.open_store(Workspace(tmp_path))
    for decide in (
        lambda: approvals.approve(empty, "demo", 1, "A. Reviewer", "why", asked=1),
        lambda: approvals.reject(empty, "demo", 1, "A. Reviewer", "why"),
        lambda: approvals.rollback(empty, "demo", "A. Reviewer", "why"),
    ):
        with pytest.raises(RegistryError, match="has no registered version yet"):
            decide()
    log, wrong, unfinished = approvals.examine(empty, "demo")
    assert (log.texts, wrong, unfinished) == ((), [], [])


# Kills: every step of an act in turn is the last that happens


class Killed(BaseException):
    """What a kill is to the code around it: nothing catches it."""


#: Every call that writes, but the file's own.
CALLS = (
    *("set_registered_model_alias", "delete_registered_model_alias", "set_registered_model_tag"),
    *("set_model_version_tag", "delete_model_version_tag"),
)


@pytest.mark.parametrize("act", ["sign", "approve", "reject", "rollback"])
def test_a_kill_between_any_two_steps_leaves_an_act_done_or_withdrawn(store, monkeypatch, act):
    """The whole act runs in some number of writes; it is killed before and after each of them in turn."""
    approve(store, 1)
    approve(store, 2)
    judged(store, 3)
    outcomes = []
    for step in range(20):
        shutil.copytree(store.home, store.home.parent / f"{step}" / "mlruns")
        again = tracking.open_store(Workspace(store.home.parent / f"{step}"))
        left = [step]

        def counted(write, left=left):
            def writes(*arguments, **named):
                if not left[0]:
                    raise Killed
                left[0] -= 1
                return write(*arguments, **named)

            return writes

        with monkeypatch.context() as context:
            context.setattr(approval_log, "_write", counted(approval_log._write))
            for name in CALLS:
                context.setattr(type(again.client), name, counted(getattr(type(again.client), name)))
            try:
                if act == "reject":
                    approvals.reject(again, "demo", 3, "A. Reviewer", "why")
                elif act == "rollback":
                    approvals.rollback(again, "demo", "A. Reviewer", "why")
                else:
                    approvals.approve(again, "demo", 3, "A. Reviewer", "why", asked=2 if act == "sign" else 1)
                ended = True
            except Killed:
                ended = False
        with again.lock():
            log = approvals.settle(again, "demo").lines
        moved = {"approve": champion(again) == 3, "rollback": champion(again) == 1}.get(
            act, registry.REJECTED in registry.find(again, "demo", 3).tags or log[-1].act == "sign"
        )
        state = log[-1].state if len(log) > 4 else None
        assert moved == (state == "done")
        assert (again.home / "approvals.jsonl").read_text().splitlines() == [line.text for line in log]
        assert approvals.examine(again, "demo")[1:] == ([], [])
        outcomes.append(state)
        if ended:
            break
    assert ended and outcomes[-1] == "done"
    # Nothing before the log has it; then withdrawn until the deciding write; then done.
    order = [None, "withdrawn", "done"]
    assert [order.index(one) for one in outcomes] == sorted(order.index(one) for one in outcomes)
    assert set(outcomes) == ({None, "done"} if act == "sign" else set(order))


# The log


def test_a_line_altered_taken_out_or_added_is_found_and_named(store):
    for version in (1, 2):
        approve(store, version)
    path = store.home / "approvals.jsonl"
    whole = path.read_text().splitlines(keepends=True)

    def found(*changed):
        path.write_text("".join(changed))
        return " ".join(approvals.examine(store, "demo")[1])

    assert found(*whole) == ""
    assert "In approvals.jsonl, line 2 was altered" in found(whole[0], whole[1].replace("A. R", "B. R"), *whole[2:])
    assert "In approvals.jsonl, line 2 is missing" in found(whole[0], *whole[2:])
    # The last line has nothing after it; MLflow holds its copy.
    other = whole[3].replace("why", "no")
    assert "Line 4 in approvals.jsonl is not the one that MLflow holds" in found(*whole[:3], other)
    assert "approvals.jsonl lacks line 4, which MLflow holds" in found(*whole[:3])
    assert "approvals.jsonl lacks lines 1 to 4" in found()
    assert "Line 2 of approvals.jsonl is no line of a log" in found(whole[0], "{}\n", *whole[1:])
    path.write_text(whole[0] + "".join(whole[2:]))
    with pytest.raises(RegistryError, match="the log of approvals does not hold together: In"):
        approve(store, 3)
    assert champion(store) == 2


def test_a_lost_file_is_written_anew_from_mlflow_and_lost_tags_from_the_file(store):
    approve(store, 1)
    path = store.home / "approvals.jsonl"
    whole = path.read_bytes()
    path.unlink()
    approve(store, 2)
    assert path.read_bytes().startswith(whole)
    store.client.delete_registered_model_tag("lead-scoring-demo", "log.000004")
    assert approvals.examine(store, "demo")[1:] == ([], ["MLflow lacks line 4; the next act writes them there."])
    approve(store, 3)
    assert approvals.examine(store, "demo")[1:] == ([], [])
    assert [line.version for line in lines(store)] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("torn", [b'{"at": "2026', b'{"by": "A rev\xc3'])
def test_a_line_that_a_kill_left_unfinished_does_not_count(store, torn):
    approve(store, 1)
    path = store.home / "approvals.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert approvals.examine(store, "demo")[1] == []
    approve(store, 2)
    assert path.read_bytes().startswith(whole) and path.read_bytes().endswith(b"}\n")
    assert len(path.read_bytes().splitlines()) == 4
    # One that only lacks its end is kept.
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    approve(store, 3)
    assert [line.version for line in lines(store)] == [1, 1, 2, 2, 3, 3]


def test_contracts_share_the_file_and_have_logs_of_their_own(store):
    approve(store, 1)
    path = store.home / "approvals.jsonl"
    other = asdict(lines(store)[0]) | {"contract": "other"}
    path.write_text(json.dumps(other, sort_keys=True) + "\n" + path.read_text())
    approve(store, 2)
    assert [line.line for line in lines(store)] == [1, 2, 3, 4]
    assert len(path.read_text().splitlines()) == 5


def test_two_that_approve_at_once_are_told_apart_by_the_lock(store):
    """Both judged against no champion: one wins, the other hears that the champion has changed since."""
    ready, said = threading.Barrier(2, timeout=30), []

    def race(version):
        own = tracking.open_store(store.workspace)
        ready.wait()
        try:
            approvals.approve(own, "demo", version, f"Reviewer {version}", "race", asked=1)
        except RegistryError as error:
            said.append(str(error))

    racers = [threading.Thread(target=race, args=(version,)) for version in (1, 2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert len(said) == 1 and "since then it has become version" in said[0]
    assert story(store) == done("approve", champion(store), None)
