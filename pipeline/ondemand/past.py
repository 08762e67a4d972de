"""`leads explain`: a score that was given, rebuilt from the ledger, and its reasons one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.adapters import ledger, model_folder, registry, tracking
from pipeline.errors import RegistryError
from pipeline.paths import Workspace


@dataclass(frozen=True)
class Past:
    """`score`: what the scorer returned then, by column. `version`: its number in the registry."""

    score: dict[str, Any]
    version: int


def rebuild(workspace: Workspace, contract: str, lead: str, at: pd.Timestamp | None) -> list[Past]:
    """Rebuild every score that was given to a lead at a moment, or its newest, by the version that gave it.

    Raises:
        SourceError: the ledger holds none. RegistryError: the version is no longer registered. ArtefactError: the
        answer is another one today.
    """
    entries = ledger.find(workspace, lead, at)
    if at is None:
        entries = entries[entries["as_of"] == entries["as_of"].iloc[0]]
    store = tracking.open_store(workspace)
    known = {version.scorer: version for version in registry.versions(store, contract)}
    found = []
    for entry in entries.to_dict("records"):
        if entry["scorer"] not in known:
            raise RegistryError(
                f"{entry['model_version']}, which scored lead {lead}, is no registered version of {contract} any more."
            )
        number, folder = registry.resolve(store, contract, known[entry["scorer"]].number)
        scores = ledger.rebuild(model_folder.load(folder), {str(name): value for name, value in entry.items()})
        found.append(Past({str(name): value for name, value in scores.iloc[0].to_dict().items()}, number))
    return found


def in_words(past: Past) -> str:
    """The score, and its reasons from the strongest on, which add up to it."""
    one = past.score
    if one["refused"]:
        return f"lead {one['lead_id']} as of {one['as_of']:%Y-%m-%d %H:%M}: no score, because {one['refused']}"
    lines = [
        f"lead {one['lead_id']} as of {one['as_of']:%Y-%m-%d %H:%M}: {one['score']:.1f} "
        f"({100 * one['interval_low']:.1f} to {100 * one['interval_high']:.1f}), tier {one['tier']}"
        + (f", grade {one['grade']}" if one["grade"] else ""),
        f"{'':>6} base {one['base']:.1f}, the score of a typical lead",
    ]
    lines += [f"{reason['points']:>+6.1f} {reason['text']}" for reason in json.loads(one["reasons"])]
    lines.append(f"{'=':>6} {one['score']:.1f}")
    for name, words in (("held_back", "leave alone: "), ("flags", "flags: ")):
        if one[name]:
            lines.append(words + one[name])
    return "\n".join([*lines, f"Rebuilt by {one['model_version']} (version {past.version}), equal to what was given."])
