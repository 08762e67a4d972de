"""Fixtures that every test may use."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pipeline import process
from tests.workspaces import run_stages, small_workspace

# No test is about how long an example takes.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
process.configure_environment()
os.environ.pop("MLFLOW_TRACKING_URI", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow files first: whoever runs several at a time has short ones left to fill up the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """No test cuts the power: whoever writes here need not wait until the disk holds it, thousands of times."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout that the tests run in."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def lead_data_dir(project_root: Path) -> Path:
    """The folder with the published data sets; a test that needs it is skipped where they are not at hand."""
    named = os.environ.get("LEAD_DATA_DIR")
    for folder in [*([Path(named)] if named else []), project_root / "data" / "raw"]:
        if (folder / "uci_bank_marketing").is_dir() and (folder / "uci_online_shoppers").is_dir():
            return folder
    pytest.skip("the published data sets are neither in LEAD_DATA_DIR nor under data/raw/")


@pytest.fixture(scope="session")
def demo_run(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a workspace in which a small demo run has gone through all stages. Read it, do not write into it.

    Of processes that test side by side the first to ask makes it, and the others wait.
    """
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    folder = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent
    root, made = folder / "demo" / "work", folder / "demo_is_made"
    with open(folder / "demo.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            # A run that failed in the other process fails here too, for every test that needs it.
            shutil.rmtree(root, ignore_errors=True)
            run_stages(small_workspace(project_root, root))
            made.touch()
    return root
