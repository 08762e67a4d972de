"""Fixtures that every test may use."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout that the tests run in."""
    return Path(__file__).resolve().parent.parent
