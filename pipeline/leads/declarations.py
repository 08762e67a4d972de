"""What a contract declares, as data: one declaration per table, column and rule, with the words for both ends of it.

`validate` turns each into an expectation. Some can be judged from their column alone (`NATIVE`); what takes other
columns, other rows or another table is worked out here, as one flag per row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.errors import ContractError
from pipeline.leads.contract import (
    CONVERTED_AT,
    CREATED_AT,
    LEAD_KEY,
    LOST_AT,
    ROW,
    Column,
    Resolved,
    fact_name,
)
from pipeline.scorer import checks

#: Rules that one column's own values decide. `held_as` is of the whole column: the type that `ingest` gave it.
NATIVE = ("held_as", "required", "finite", "min", "max", "values")

#: Held by every table after `ingest`, by type of the contract; anything else is text.
HELD_AS = {
    "number": "float64",
    "integer": "float64",
    "boolean": "float64",
    "timestamp": "datetime64[us]",
    "flag": "bool",
    "row": "int64",
}


@dataclass(frozen=True)
class Declaration:
    """One thing that must hold.

    `column`: its name after `ingest`. `about`: what must hold, for the steward. `reason`: what is said of a row that
    breaks it. `limit`: number, values or dtype that a native rule compares with.
    """

    table: str
    column: str
    rule: str
    about: str
    reason: str
    limit: Any = None

    @property
    def id(self) -> str:
        return f"{self.table}.{self.column}.{self.rule}"


def declare(resolved: Resolved, newest: pd.Timestamp | None) -> list[Declaration]:
    """Every declaration of a contract, and those that follow from what its tables are, in order of table and column.

    Args:
        newest: the newest recorded moment of the source; None where it has no times.

    Raises:
        ContractError: something is declared of a column that nobody could check after `ingest`.
    """
    if faults := _uncheckable(resolved):
        raise ContractError(f"contract {resolved.name}: " + " ".join(faults))
    declared = _leads(resolved, newest)
    if resolved.contract.activities is not None:
        declared += _activities(resolved, newest)
    if resolved.contract.changes is not None:
        declared += _changes(resolved, newest)
    return declared


def column_spec(resolved: Resolved, source: str) -> dict[str, Any]:
    """One lead column as `pipeline.scorer.checks` reads it, under its name after `ingest`."""
    column = resolved.contract.columns[source]
    return {
        "name": resolved.names[source],
        "type": kind_of(column, resolved, source),
        "required": column.required or resolved.names[source] == LEAD_KEY or source == resolved.contract.time.column,
        "min": column.min,
        "max": column.max,
        "values": column.values,
        "not_before": resolved.names.get(column.not_before or ""),
        "not_with": resolved.names.get(column.not_with or ""),
    }


def kind_of(column: Column, resolved: Resolved, source: str) -> str:
    """Type after `ingest`: identifiers stay text, an outcome flag is true or false, a creation time is a time."""
    if source == resolved.contract.outcome.column:
        return "flag"
    if source == resolved.contract.time.column:
        return "timestamp"
    return "text" if column.role == "identifier" else column.type


# Declarations by table


def _leads(resolved: Resolved, newest: pd.Timestamp | None) -> list[Declaration]:
    declared = [_held("leads", ROW, "row")]
    contract = resolved.contract
    for source, column in contract.columns.items():
        if column.role == "personal":
            if column.required:
                made = fact_name(source, "present")
                declared.append(Declaration("leads", made, "given", f"{source} is given", f"{source} is missing"))
            continue
        spec = column_spec(resolved, source)
        name, kind = spec["name"], spec["type"]
        declared.append(_held("leads", name, kind))
        if column.unique or name == LEAD_KEY:
            declared.append(_unique("leads", name))
        declared += [
            Declaration("leads", name, rule, _promise(spec, rule), checks.words(spec, rule), spec.get(rule))
            for rule in _rules(spec)
        ]
        if name in (CREATED_AT, CONVERTED_AT, LOST_AT) and newest is not None:
            declared.append(_not_after_newest("leads", name))
    if contract.key == "row_number":
        declared.append(_unique("leads", LEAD_KEY))
    if contract.time.column is None:
        declared.append(_held("leads", CREATED_AT, "timestamp"))
        declared.append(_required("leads", CREATED_AT))
    return declared


def _activities(resolved: Resolved, newest: pd.Timestamp | None) -> list[Declaration]:
    assert resolved.contract.activities is not None
    kinds = tuple(resolved.contract.activities.kinds)
    table = "activities"
    declared = [
        _held(table, ROW, "row"),
        _held(table, "activity_id", "text"),
        _required(table, "activity_id"),
        _unique(table, "activity_id"),
        *_belongs(table),
        _held(table, "kind", "text"),
        _required(table, "kind"),
        Declaration(
            table,
            "kind",
            "values",
            f"kind is one of: {', '.join(kinds)}",
            "kind is not among the declared kinds",
            kinds,
        ),
        _held(table, "happened_at", "timestamp"),
        _required(table, "happened_at"),
        Declaration(
            table,
            "happened_at",
            "not_before_creation",
            "happened_at is not before its lead was created",
            "happened_at is before its lead was created",
        ),
        _held(table, "recorded_at", "timestamp"),
        _required(table, "recorded_at"),
        Declaration(
            table,
            "recorded_at",
            "not_before",
            "recorded_at is not before happened_at",
            "recorded_at is before happened_at",
        ),
    ]
    return declared + ([_not_after_newest(table, "recorded_at")] if newest is not None else [])


def _changes(resolved: Resolved, newest: pd.Timestamp | None) -> list[Declaration]:
    table, tracked = "changes", tuple(resolved.tracked)
    declared = [
        _held(table, ROW, "row"),
        *_belongs(table),
        _held(table, "column", "text"),
        _required(table, "column"),
        Declaration(
            table,
            "column",
            "values",
            f"column is one whose changes are kept: {', '.join(tracked)}",
            "column is not among those whose changes are kept",
            tracked,
        ),
        _held(table, "recorded_at", "timestamp"),
        _required(table, "recorded_at"),
        Declaration(
            table,
            "recorded_at",
            "not_before_creation",
            "recorded_at is not before its lead was created",
            "recorded_at is before its lead was created",
        ),
    ]
    if newest is not None:
        declared.append(_not_after_newest(table, "recorded_at"))
    for side in ("old_value", "new_value"):
        declared.append(_held(table, side, "text"))
        for source in tracked:
            spec = column_spec(resolved, source) | {"name": f"{side} of {source}"}
            declared += [
                Declaration(table, side, f"{source}.{rule}", _promise(spec, rule), checks.words(spec, rule))
                for rule in _value_rules(spec)
            ]
    return declared


def _rules(spec: dict[str, Any]) -> list[str]:
    """Rules that are declared of a column, or that its type implies, in the order of `checks.RULES`."""
    kind = spec["type"]
    implied = {"number": ["finite"], "integer": ["finite", "whole"], "boolean": ["type"]}.get(kind, [])
    fitting = {
        "min": kind in ("number", "integer"),
        "max": kind in ("number", "integer"),
        "values": kind == "category",
        "not_before": kind == "timestamp",
        "not_with": True,
        "required": True,
    }
    asked = [rule for rule, fits in fitting.items() if fits and spec[rule] is not None and spec[rule] is not False]
    return [rule for rule in checks.RULES if rule in implied or rule in asked]


def _value_rules(spec: dict[str, Any]) -> list[str]:
    """Rules that a changed value can break on its own; it is still text, so its type is one of them."""
    rules = [rule for rule in _rules(spec) if rule not in ("required", "type", "not_before", "not_with")]
    return rules if spec["type"] in ("category", "text") else ["type", *rules]


def _promise(spec: dict[str, Any], rule: str) -> str:
    """What must hold, in words: the other end of `checks.words`."""
    said = {
        "required": "is filled in",
        "type": "is true or false" if spec["type"] == "boolean" else "is a number",
        "finite": f"is finite, and not beyond {checks.LARGEST:.1e}",
        "whole": "is a whole number",
        "min": f"is at least {checks.plain(spec['min'])}",
        "max": f"is at most {checks.plain(spec['max'])}",
        "values": f"is one of: {', '.join(spec['values'] or [])}",
        "not_before": f"is not before {spec['not_before']}",
        "not_with": f"is not filled together with {spec['not_with']}",
    }[rule]
    return f"{spec['name']} {said}"


def _held(table: str, column: str, kind: str) -> Declaration:
    dtype = HELD_AS.get(kind, "str")
    about, reason = f"{column} is held as {dtype}", f"{column} is not held as {dtype}"
    return Declaration(table, column, "held_as", about, reason, dtype)


def _required(table: str, column: str) -> Declaration:
    return Declaration(table, column, "required", f"{column} is filled in", f"{column} is missing")


def _unique(table: str, column: str) -> Declaration:
    return Declaration(
        table,
        column,
        "unique",
        f"{column} stands in no other row (of rows that are exact copies, the first is kept)",
        f"{column} stands in another row too",
    )


def _belongs(table: str) -> list[Declaration]:
    return [
        _held(table, LEAD_KEY, "text"),
        _required(table, LEAD_KEY),
        Declaration(table, LEAD_KEY, "known_lead", "its lead is in the leads table", "its lead is unknown"),
    ]


def _not_after_newest(table: str, column: str) -> Declaration:
    return Declaration(
        table,
        column,
        "not_after_newest",
        f"{column} is not after the source's newest recorded moment",
        f"{column} is after the source's newest recorded moment",
    )


def _uncheckable(resolved: Resolved) -> list[str]:
    """Declarations of columns that are gone, or are text, when the tables are checked."""
    faults = []
    for name, column in resolved.contract.columns.items():
        stated = column.model_dump(exclude_defaults=True)
        asked = [key for key in ("unique", "min", "max", "values", "not_before", "not_with") if key in stated]
        if column.role == "personal":
            if column.required and "present" not in column.facts:
                faults.append(f"personal column `{name}` is `required`, which takes `facts: [present]` to be checked.")
            if asked:
                listed = ", ".join(asked)
                faults.append(f"personal column `{name}` stops at ingest, so {listed} cannot be checked; remove it.")
        hidden: dict[str, Any] = {key: getattr(column, key) for key in ("not_before", "not_with") if key in stated}
        for key, other in hidden.items():
            if other not in resolved.names:
                faults.append(f"column `{name}`: `{key}` names the personal column `{other}`, which stops at ingest.")
        if column.role != "personal" and name != resolved.contract.outcome.column:
            spec = column_spec(resolved, name)
            left = [key for key in ("min", "max", "values", "not_before") if key in stated and key not in _rules(spec)]
            left = [key for key in left if hidden.get(key) is None or hidden[key] in resolved.names]
            if left:
                listed = ", ".join(left)
                faults.append(f"column `{name}` is held as {spec['type']}, so {listed} cannot be checked; remove it.")
    return faults


# Flags: what one column's own values do not decide


def flags(
    tables: dict[str, pd.DataFrame],
    resolved: Resolved,
    declared: list[Declaration],
    newest: pd.Timestamp | None,
    refused_leads: pd.Series | None = None,
) -> dict[str, pd.Series]:
    """For every declaration that is not native, whether each row keeps it.

    Args:
        tables: `leads`, `activities`, `changes` as `ingest` left them.
        refused_leads: keys of leads that could not be read; their activities and changes are not at fault.

    Returns:
        declaration id -> bool Series under the index of its table, True where it holds.
    """
    found = {}
    leads = tables["leads"]
    first = leads.dropna(subset=[LEAD_KEY]).sort_values(ROW).drop_duplicates(LEAD_KEY)
    created = first.set_index(LEAD_KEY)[CREATED_AT]
    known = set(created.index) | (set() if refused_leads is None else set(refused_leads.dropna()))
    for one in declared:
        if one.rule in NATIVE:
            continue
        table = tables[one.table]
        values = table[one.column]
        if one.rule == "unique":
            bad = repeats(table, one.column)
        elif one.rule == "known_lead":
            bad = values.notna() & ~values.isin(known)
        elif one.rule == "not_before_creation":
            of_lead = created.reindex(table[LEAD_KEY]).to_numpy(dtype="datetime64[us]")
            bad = checks.before(values, pd.Series(of_lead, index=table.index))
        elif one.rule == "not_after_newest":
            assert newest is not None
            bad = checks.before(pd.Series(newest, index=table.index, dtype="datetime64[us]"), values)
        elif one.rule == "given":
            bad = values != 1.0
        elif one.table == "activities":
            bad = checks.before(values, table["happened_at"])
        elif one.table == "changes":
            source, rule = one.rule.rsplit(".", 1)
            mine = table["column"] == source
            spec = column_spec(resolved, source)
            part = table.loc[mine, [one.column]].set_axis([spec["name"]], axis=1)
            bad = checks.faults(part, spec)[rule].reindex(table.index, fill_value=False)
        else:
            spec = next(column_spec(resolved, source) for source, name in resolved.names.items() if name == one.column)
            bad = checks.faults(table, spec)[one.rule]
        found[one.id] = ~bad.astype(bool)
    return found


def repeats(table: pd.DataFrame, column: str) -> pd.Series:
    """True where a value stands in several rows: which of them is right, nobody can say.

    Rows that agree in every cell say the same thing; of these the first of the source is kept. Missing values repeat
    nothing.
    """
    repeated = table[column].notna() & table[column].duplicated(keep=False)
    if not repeated.any():
        return repeated
    group = table[repeated].sort_values(ROW, kind="stable")
    cells = [name for name in table.columns if name != ROW]
    copies = group.duplicated(subset=cells)
    differ = group.loc[~copies, column].duplicated(keep=False)
    bad = copies | differ.reindex(group.index, fill_value=False)
    return repeated & bad.reindex(table.index, fill_value=False)
