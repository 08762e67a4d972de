"""Playbooks in the world: `data/playbooks/<contract>.yaml`, the file of those who lead sales."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters import declared
from pipeline.errors import ParamsError
from pipeline.leads.playbooks import Playbook, parse
from pipeline.paths import Workspace


def path_of(workspace: Workspace, contract: str) -> Path:
    """Where the contract's playbook stands."""
    return workspace.root / "data" / "playbooks" / f"{contract}.yaml"


def of_contract(workspace: Workspace, contract: str) -> Playbook | None:
    """The contract's playbook; None where there is none.

    Raises:
        ParamsError: it is faulty, or names itself otherwise.
    """
    path = path_of(workspace, contract)
    if not path.is_file():
        return None
    return declared.read(path, "playbook", parse, ParamsError, advice="docs/tiers.md shows how to write one.")
