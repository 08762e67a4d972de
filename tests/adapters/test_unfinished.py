"""Work beside a file: gone on with where nothing that it depends on has changed, and by one process at a time."""

import fcntl
import os

import pytest

from pipeline.adapters import unfinished
from pipeline.adapters.unfinished import KEEP, beside
from pipeline.errors import ArtefactError

SAME = {"inputs": {"leads": "a"}, "options": [True]}


def stop(out, same, begin):
    """A process that ends with something worth keeping."""
    with beside(out, same, begin) as work:
        (work.folder / KEEP).parent.mkdir(exist_ok=True)
        (work.folder / KEEP).touch()
        raise KeyboardInterrupt


def test_work_goes_on_with_what_was_noted_and_is_gone_when_done(tmp_path):
    out = tmp_path / "scores.csv"
    with pytest.raises(KeyboardInterrupt):
        stop(out, SAME, {"now": "1"})
    with beside(out, SAME, {"now": "2"}) as work:
        assert (work.resumed, work.begun) == (True, {"now": "1"})
        assert (work.folder / KEEP).exists() and work.folder.parent == tmp_path
        assert oct(work.folder.stat().st_mode)[-3:] == "700"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", [SAME | {"inputs": {"leads": "b"}}, SAME | {"options": [False]}])
def test_where_anything_differs_work_begins_anew_and_the_old_goes(tmp_path, other):
    out, beside_it = tmp_path / "scores[1].csv", tmp_path / "scores.csv"
    for path in (out, beside_it):
        with pytest.raises(KeyboardInterrupt):
            stop(path, SAME, {"now": "1"})
    with beside(out, other, {"now": "2"}) as work:
        assert (work.resumed, work.begun) == (False, {"now": "2"})
        assert not (work.folder / KEEP).exists()
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1 and left[0].startswith(".scores.csv.")


def test_a_place_where_nothing_can_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "scores.csv"
    with pytest.raises(ArtefactError, match=r"scores\.csv: cannot be written"), beside(out, SAME, {}):
        pass


def test_an_error_before_anything_is_worth_keeping_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no"), beside(tmp_path / "scores.csv", SAME, {}):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


def test_an_error_after_that_says_where_the_work_lies(tmp_path):
    with pytest.raises(ValueError, match="no") as failed, beside(tmp_path / "scores.csv", SAME, {}) as work:
        (work.folder / KEEP).parent.mkdir()
        (work.folder / KEEP).touch()
        raise ValueError("no")
    [note] = failed.value.__notes__
    assert str(work.folder) in note and work.folder.exists()


def test_what_a_process_left_that_was_killed_while_it_wrote_the_result_goes(tmp_path):
    for name in (".scores.csv.123.tmp", ".scores.csv.old.csv.123.tmp", ".scores.csv.mine.tmp"):
        (tmp_path / name).touch()
    with beside(tmp_path / "scores.csv", SAME, {}):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {".scores.csv.old.csv.123.tmp", ".scores.csv.mine.tmp"}


@pytest.mark.parametrize("same", [SAME, SAME | {"inputs": {}}])
def test_a_second_process_is_turned_away(tmp_path, same):
    out = tmp_path / "scores.csv"
    with beside(out, SAME, {}) as work:
        with pytest.raises(ArtefactError, match=r"another process is writing .*scores\.csv"), beside(out, same, {}):
            pass
        assert work.folder.exists()
        # As another process holds it: the lock is of the folder, and goes with whoever opened it.
        descriptor = os.open(work.folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    assert unfinished.KEEP and list(tmp_path.iterdir()) == []
