"""A workspace of made-up results with a store of its own, for the tests of MLflow."""

import pytest

from pipeline import params as params_module
from pipeline.adapters import candidates, tracking
from tests import fake_results


@pytest.fixture
def workspace(tmp_path, project_root):
    return fake_results.write(tmp_path / "project", project_root)


@pytest.fixture
def store(workspace):
    fake_results.new_store(workspace)
    return tracking.open_store(workspace)


@pytest.fixture
def log_new(workspace, project_root):
    """Log a candidate with another scorer; the decision is what the test says."""

    def log(store, *, weight=1.0, passed=True, champion=None):
        made = fake_results.write(workspace.root, project_root, weight=weight)
        candidate = candidates.collect(made, params_module.load(made.params))
        decided = fake_results.decision(passed=passed, champion=champion)
        return candidates.log(store, candidate, decided, fake_results.NO_DRIFT)

    return log
