"""A made-up lead that a scorer can score: the example of the page, and its first row before anybody asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.adapters.serving import answers

KEYS = {"lead_id": "example-1", "created_at": "2026-01-05T09:30:00Z", "as_of": "2026-01-12T08:00:00Z"}
VISITED = "2026-01-06T14:05:00Z"


def scored(scorer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The example of a scorer and what it answers: with a value in every column, or only in those that must have one
    where a rule of the contract refuses what was made up."""
    full = lead(scorer.spec, scorer.margin.encoder.levels)
    bare = full | {one["name"]: None for one in scorer.spec["profile"] if not one["declared"].get("required")}
    told = answers.told(scorer.predict(pd.DataFrame([full, bare], dtype=object)))
    return (full, told[0]) if told[0]["refused"] is None else (bare, told[1])


def lead(spec: Mapping[str, Any], levels: Mapping[str, list[str]]) -> dict[str, Any]:
    """A lead with a value in every column of `spec`; `levels`: the categories that training saw, by column."""
    profile = {one["name"]: _value(one, levels) for one in spec["profile"]}
    created = {"created_at": _as(spec["created_format"])}
    happened = {"happened_at": VISITED, "recorded_at": VISITED}
    history: dict[str, Any] = {}
    if spec["kinds"]:
        history["activities"] = [{"kind": spec["kinds"][0]["name"], **happened}]
    if spec["tracked"]:
        history["changes"] = []
    return KEYS | created | profile | history


def _value(column: Mapping[str, Any], levels: Mapping[str, list[str]]) -> Any:
    declared, seen = column["declared"], levels.get(column["name"])
    if column["kind"] != "number" or seen:
        return next(iter(declared.get("values") or seen or ["example"]))
    if declared["type"] == "boolean":
        return True
    low, high = declared.get("min"), declared.get("max")
    return max(low if low is not None else 0, min(10, high if high is not None else 10))


def _as(format: str | None) -> str:
    """The creation of the example in the format that the contract names."""
    moment = pd.Timestamp(KEYS["created_at"])
    return moment.strftime(format) if format else KEYS["created_at"]
