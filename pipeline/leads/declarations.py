"""What a contract declares, as data: one declaration per table, column and rule, with the words for both ends of it.

`validate` turns each into an expectation. Some can be judged from their column alone (`NATIVE`); what takes other
columns, other rows or another table is worked out here, as one flag per row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ContractError
from pipeline.leads import row_expectations
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

#: Rules that the library judges from one column's values. `held_as` is of the whole column: the type that `ingest` gave
#: it.
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

_HELD = {
    "float64": "a number",
    "datetime64[us]": "a moment",
    "bool": "true or false",
    "int64": "a whole number",
    "str": "text",
}


@dataclass(frozen=True)
class Declaration:
    """One thing that must hold.

    `column`: its name after `ingest`. `about`: what must hold, for the steward. `reason`: what is said of a row that
    breaks it. `limit`: number, values or dtype that a native rule compares with; of the strategist's own expectations
    all arguments. `others`: columns beside `column` that such an expectation looks at.
    """

    table: str
    column: str
    rule: str
    about: str
    reason: str
    limit: Any = None
    others: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.table}.{self.column}.{self.rule}"

    @property
    def own(self) -> str | None:
        """Name of the expectation that the strategist added; None where the declaration follows from the contract."""
        return self.rule.partition(" ")[0] if self.rule.startswith("expect_") else None

    @property
    def native(self) -> bool:
        """Whether the library judges it; what it cannot see is worked out in `flags`."""
        return self.rule in NATIVE or self.own is not None


def declare(resolved: Resolved, newest: pd.Timestamp | None) -> list[Declaration]:
    """Every declaration of a contract, and those that follow from what its tables are, in order of table and column;
    then the expectations that the strategist added.

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
    return declared + [_own(resolved, place) for place in range(len(resolved.contract.expectations))]


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
    if source == resolved.contract.outcome.flag:
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


def _own(resolved: Resolved, place: int) -> Declaration:
    """The expectation at `place` of the contract's list; its number tells it from another of the same name."""
    one = resolved.contract.expectations[place]
    columns = [_after_ingest(resolved, one.table, column) for column in one.columns]
    holds = resolved.contract.holds(one.table)[one.columns[0]]
    return Declaration(
        one.table,
        columns[0],
        f"{one.expectation} #{place + 1}",
        row_expectations.KINDS[one.expectation].promise(columns, one.kwargs),
        one.reason,
        row_expectations.arguments(one.expectation, columns, one.kwargs, holds),
        tuple(columns[1:]),
    )


def _after_ingest(resolved: Resolved, table: str, column: str) -> str:
    """Name after `ingest` of a source's column; of activities and changes the field that names it."""
    if table == "leads":
        return resolved.names[column]
    fields = getattr(resolved.contract, table).model_dump()
    field = next(field for field, name in fields.items() if name == column)
    return {"key": "activity_id", "lead": LEAD_KEY}.get(field, field)


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
    about, reason = f"{column} is held as {_HELD[dtype]} ({dtype})", f"{column} is not held as {dtype}"
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
        if column.role != "personal" and name != resolved.contract.outcome.flag:
            spec = column_spec(resolved, name)
            left = [key for key in ("min", "max", "values", "not_before") if key in stated and key not in _rules(spec)]
            left = [key for key in left if hidden.get(key) is None or hidden[key] in resolved.names]
            if left:
                listed = ", ".join(left)
                faults.append(f"column `{name}` is held as {spec['type']}, so {listed} cannot be checked; remove it.")
    return faults


# Flags: what one column's own values do not decide


#: A table as one frame, or in parts that can be gone through more than once.
Table = pd.DataFrame | Iterable[pd.DataFrame]


def parts(table: Table) -> Iterable[pd.DataFrame]:
    """A table part by part, at least one."""
    return [table] if isinstance(table, pd.DataFrame) else table


@dataclass(frozen=True)
class Across:
    """What the rows of a part are judged by that lies outside it.

    `leads`: the key of every lead, once; `created`: when each was created (of rows that share a key, the first of the
    source). `unread`: keys of leads that could not be read. `repeated`: id of a declaration `unique` -> rows whose
    value stands in another row too.
    """

    leads: pd.Index
    created: np.ndarray
    unread: pd.Series
    repeated: dict[str, np.ndarray]


def look_across(
    tables: Mapping[str, Table], declared: list[Declaration], refused_leads: pd.Series | None = None
) -> Across:
    """Go through the tables once for what no part of them can know by itself.

    Args:
        tables: `leads`, `activities`, `changes` as `ingest` left them.
        refused_leads: keys of leads that could not be read; their activities and changes are not at fault.
    """
    keys = pd.concat([part[[ROW, LEAD_KEY, CREATED_AT]] for part in parts(tables["leads"])])
    first = keys.dropna(subset=[LEAD_KEY]).sort_values(ROW).drop_duplicates(LEAD_KEY)
    return Across(
        leads=pd.Index(first[LEAD_KEY]),
        created=first[CREATED_AT].to_numpy(dtype="datetime64[us]"),
        unread=pd.Series(dtype="str") if refused_leads is None else refused_leads.dropna(),
        repeated={one.id: repeated(tables[one.table], one.column) for one in declared if one.rule == "unique"},
    )


def flags(
    table: str,
    rows: pd.DataFrame,
    resolved: Resolved,
    declared: list[Declaration],
    newest: pd.Timestamp | None,
    across: Across,
) -> dict[str, pd.Series]:
    """For every declaration of `table` that is not native, whether each of `rows` keeps it.

    Args:
        rows: the table, or a part of it.

    Returns:
        declaration id -> bool Series under the index of `rows`, True where it holds.
    """
    found = {}
    created = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us]")
    if table != "leads":
        owner = across.leads.get_indexer(pd.Index(rows[LEAD_KEY]))
        known = pd.Series(owner >= 0, index=rows.index)
        created.loc[known] = across.created[owner[known]]
    for one in declared:
        if one.table != table or one.native:
            continue
        values = rows[one.column]
        if one.rule == "unique":
            bad = rows[ROW].isin(across.repeated[one.id])
        elif one.rule == "known_lead":
            bad = values.notna() & ~known & ~values.isin(across.unread)
        elif one.rule == "not_before_creation":
            bad = checks.before(values, created)
        elif one.rule == "not_after_newest":
            assert newest is not None
            bad = checks.before(pd.Series(newest, index=rows.index, dtype="datetime64[us]"), values)
        elif one.rule == "given":
            bad = values != 1.0
        elif table == "activities":
            bad = checks.before(values, rows["happened_at"])
        elif table == "changes":
            source, rule = one.rule.rsplit(".", 1)
            mine = rows["column"] == source
            spec = column_spec(resolved, source)
            part = rows.loc[mine, [one.column]].set_axis([spec["name"]], axis=1)
            bad = checks.faults(part, spec)[rule].reindex(rows.index, fill_value=False)
        else:
            spec = next(column_spec(resolved, source) for source, name in resolved.names.items() if name == one.column)
            bad = checks.faults(rows, spec)[one.rule]
        found[one.id] = ~bad.astype(bool)
    return found


def repeated(table: Table, column: str) -> np.ndarray:
    """`row` of every row whose value stands in another row too, as `repeats` judges it, in parts or not.

    Eight bytes per row are held: hashes say which values may repeat, and only their rows are compared in full.
    """

    def hashes(part: pd.DataFrame) -> np.ndarray:
        # Adding zero makes one of the two zeros that are equal but differ in their bits.
        values = part[column] + 0.0 if part[column].dtype.kind == "f" else part[column]
        return pd.util.hash_pandas_object(values, index=False, categorize=False).to_numpy()

    seen = np.concatenate([hashes(part[part[column].notna()]) for part in parts(table)])
    seen.sort()
    twice = np.unique(seen[1:][seen[1:] == seen[:-1]])
    del seen
    if not len(twice):
        return np.empty(0, dtype="int64")
    alike = pd.concat([part[np.isin(hashes(part), twice)] for part in parts(table)], ignore_index=True)
    return alike.loc[repeats(alike, column), ROW].to_numpy()


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
