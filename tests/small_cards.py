"""A points card small enough to count by hand, under the contract of `small_history`, and a second way of counting."""

from __future__ import annotations

import copy
from typing import Any

import pandas as pd

from pipeline import params as params_module
from pipeline.leads.cards import Card, parse
from pipeline.leads.specification import specify
from tests import small_history

CARD: dict[str, Any] = {
    "card_version": 1,
    "name": "small",
    "contract": "small",
    "description": "a card small enough to count by hand",
    "qualifies_at": 30,
    "cap": 50,
    "groups": {"fit": {"cap": 30}, "engagement": {}},
    "criteria": [
        {"name": "Retail", "group": "fit", "points": 10, "when": {"column": "industry", "is": "retail"}},
        {"name": "Large", "group": "fit", "points": 15, "when": {"column": "employees", "at_least": 1000}},
        {"name": "Opted in", "group": "fit", "points": 10, "when": {"column": "opted_in", "is": True}},
        {
            "name": "Visits",
            "group": "engagement",
            "points": 8,
            "per": {"activity": "visit", "within_days": 30, "half_life_days": 10},
            "cap": 20,
        },
        {
            "name": "Talks",
            "group": "engagement",
            "points": 10,
            "when": {"all": [{"activity": "call", "within_days": 14}, {"not": {"column": "revenue", "missing": True}}]},
        },
        {
            "name": "Silent",
            "group": "engagement",
            "points": -5,
            "when": {"all": [{"age_days": {"at_least": 7}}, {"activity": ["visit", "call"], "at_most": 0}]},
        },
    ],
    "suppressors": [{"name": "No phone", "when": {"column": "has_phone", "is": False}}],
}


def card(**changes: Any) -> Card:
    """The card, some of its keys replaced."""
    return parse(copy.deepcopy(CARD) | changes, file="small.yaml")


def spec(project_root: Any) -> dict[str, Any]:
    """The specification of the small contract under the project's own parameters."""
    return specify(small_history.resolved(), params_module.load(project_root / "params.yaml").featurize)


# Counting over records, one lead after another, in plain Python

DAY = 24 * 60 * 60 * 1_000_000


def by_hand(content: dict[str, Any], lead: dict[str, Any]) -> dict[str, Any]:
    """Points of one lead.

    Args:
        content: a card as its file holds it.
        lead: `values` (source name -> value or None, as of the date), `age_days`, and `activities`, a list of (kind,
            days before the as-of date), those known by then only.
    """
    earned: dict[str, float] = {}
    totals = dict.fromkeys(content["groups"], 0.0)
    for one in content["criteria"]:
        amount = 1.0
        if "per" in one:
            mine = _happened(one["per"], lead)
            half_life = one["per"].get("half_life_days")
            amount = sum(1.0 if half_life is None else 2.0 ** (-days / half_life) for days in mine)
        if "when" in one and not _holds(one["when"], lead):
            amount = 0.0
        points = amount * one["points"]
        if "cap" in one:
            points = max(-one["cap"], min(one["cap"], points))
        earned[one["name"]] = points
        totals[one["group"]] += points
    total = sum(min(value, content["groups"][name].get("cap", float("inf"))) for name, value in totals.items())
    total = min(total, content.get("cap", float("inf")))
    held = [one["name"] for one in content.get("suppressors", []) if _holds(one["when"], lead)]
    qualifies = total >= content["qualifies_at"] and not held
    return {"total": total, "qualifies": qualifies, "suppressed": held[0] if held else "", **earned}


def _happened(condition: dict[str, Any], lead: dict[str, Any]) -> list[float]:
    kinds = condition["activity"] if isinstance(condition["activity"], list) else [condition["activity"]]
    within = condition.get("within_days", float("inf"))
    return [days for kind, days in lead["activities"] if kind in kinds and days < within]


def _holds(condition: dict[str, Any], lead: dict[str, Any]) -> bool:
    if "not" in condition:
        return not _holds(condition["not"], lead)
    if "all" in condition:
        return all(_holds(part, lead) for part in condition["all"])
    if "any" in condition:
        return any(_holds(part, lead) for part in condition["any"])
    if "age_days" in condition:
        return _inside(lead["age_days"], condition["age_days"])
    if "activity" in condition:
        often = condition if {"at_least", "at_most"} & set(condition) else {"at_least": 1}
        return _inside(len(_happened(condition, lead)), often)
    value = lead["values"][condition["column"]]
    if "missing" in condition:
        return (value is None) == condition["missing"]
    if value is None:
        return False
    if "is" in condition:
        words = condition["is"] if isinstance(condition["is"], list) else [condition["is"]]
        return value in words
    return _inside(value, condition)


def _inside(value: float, bounds: dict[str, Any]) -> bool:
    return bounds.get("at_least", float("-inf")) <= value <= bounds.get("at_most", float("inf"))


def leads_by_hand(
    rows: pd.DataFrame, activities: pd.DataFrame, changes: pd.DataFrame, spec: dict[str, Any]
) -> list[dict[str, Any]]:
    """What was known of each row's lead at its as-of date, record by record."""
    found = []
    rows, activities, changes = (_in_microseconds(table) for table in (rows, activities, changes))
    acts, moved = _of_each_lead(activities), _of_each_lead(changes)
    for row in rows.to_dict("records"):
        as_of, values = row["as_of"], {}
        for column in spec["profile"]:
            value = row[column["name"]]
            mine = [c for c in moved.get(row["lead_id"], []) if c["column"] == column["source"]]
            mine.sort(key=lambda change: change["recorded_at"])
            if column["tracked"] and mine:
                seen = [change for change in mine if change["recorded_at"] <= as_of]
                value = seen[-1]["new_value"] if seen else mine[0]["old_value"]
            values[column["source"]] = _value(value, column)
        known = [
            (act["kind"], (as_of - act["happened_at"]) / DAY)
            for act in acts.get(row["lead_id"], [])
            if act["happened_at"] <= as_of and act["recorded_at"] <= as_of
        ]
        age = (as_of - row["created_at"]) / DAY
        found.append({"values": values, "age_days": age, "activities": known})
    return found


def _in_microseconds(table: pd.DataFrame) -> pd.DataFrame:
    """Moments as whole numbers, which plain Python compares a hundred times as fast; none of them is missing here."""
    moments = [name for name in ("as_of", "created_at", "happened_at", "recorded_at") if name in table]
    return table.assign(**{name: table[name].astype("datetime64[us]").astype("int64") for name in moments})


def _of_each_lead(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    records: dict[str, list[dict[str, Any]]] = {}
    for record in table.to_dict("records"):
        records.setdefault(record["lead_id"], []).append(record)
    return records


def _value(value: Any, column: dict[str, Any]) -> Any:
    if value is None or pd.isna(value) or value == "":
        return None
    if column["declared"]["type"] == "boolean":
        return str(value).lower() in ("true", "1.0", "1")
    return float(value) if column["kind"] == "number" else str(value)
