"""Promotions that race and are killed: a few rounds of `python -m benchmarks.promotions`."""

import pytest

from benchmarks.promotions import promoter, rounds
from pipeline.paths import Workspace
from tests import fake_results

pytestmark = pytest.mark.slow


def test_racing_and_killed_promoters_leave_the_best_version_as_champion_and_a_whole_log(tmp_path):
    workspace = Workspace(tmp_path)
    fake_results.new_store(workspace)
    promoter.stock(workspace, rounds.VERSIONS)
    found = rounds.race(workspace, rounds=4, seed=3)
    assert found.faults == []
    assert (found.rounds, found.approved > 0, found.killed > 0) == (4, True, True)
