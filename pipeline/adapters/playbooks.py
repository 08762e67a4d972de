"""Playbooks in the world: `data/playbooks/<contract>.yaml`, the file of those who lead sales."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters import declared
from pipeline.errors import ParamsError
from pipeline.leads.contract import Resolved
from pipeline.leads.playbooks import Playbook, check, check_worth, parse
from pipeline.paths import Workspace


def path_of(workspace: Workspace, contract: str) -> Path:
    """Where the contract's playbook stands."""
    return workspace.root / "data" / "playbooks" / f"{contract}.yaml"


def of_contract(workspace: Workspace, resolved: Resolved) -> Playbook | None:
    """The contract's playbook; None where there is none.

    Raises:
        ParamsError: it is faulty, names itself otherwise, or does not go with the contract.
    """
    path = path_of(workspace, resolved.name)
    if not path.is_file():
        return None
    found = declared.read(path, "playbook", parse, ParamsError, advice="docs/tiers.md shows how to write one.")
    check(found, [], resolved.kinds, file=str(path))
    check_worth(found, dated=resolved.contract.time.kind == "column", file=str(path))
    return found
