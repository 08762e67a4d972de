"""A contract describes one data source: tables, keys, times, outcome, and for every column its role, criterion,
known-at.

A contract is one YAML file in `data/contracts/`; `contract_version: 1` covers every key here, and later keys are
optional additions. The schema is closed: an unknown key is an error. `resolve` turns a contract into the form that
stages read from
`data/ingest/contract.json`: criteria filled in, and for every column whether it enters the model and, if not, why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import ContractError
from pipeline.leads import row_expectations
from pipeline.params import problems

Group = Literal["fit", "engagement"]
Role = Literal["feature", "identifier", "personal", "outcome", "ignored"]
KnownAt = Literal["creation", "over_time", "outcome", "unknown"]
Type = Literal["number", "integer", "category", "boolean", "timestamp", "text"]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Encoding = Literal["utf-8", "cp1252", "latin-1", "utf-16"]

#: Facts that the scorer derives from a personal column; see `pipeline/scorer/facts.py`.
Fact = Literal["work_email", "present"]
Direction = Literal["rising", "falling"]

#: Words of a reason.
Phrase = Annotated[str, Field(pattern=r"^[^\n]*\S[^\n]*$", max_length=200)]
MovedBy = Literal["lead", "sales"]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _unset(value: object) -> bool:
    """Leaves a key that came later out of the resolved contract where it says nothing."""
    return value is None


def _check_phrases(text: str | None, text_none: str | None, place: str | None) -> None:
    """`text` names `place` once where there is one, and nothing else stands in braces.

    Raises:
        ValueError: says what is asked for.
    """
    rest = (text or "").replace(place or "", "", 1) + (text_none or "")
    if (text is not None and place is not None and place not in text) or "{" in rest or "}" in rest:
        wanted = f"holds {place} once" if place is not None else "holds nothing in braces: it says what is the case"
        raise ValueError(f"`text` {wanted}, and `text_none` holds nothing in braces")


class File(Part):
    """The source file of one table: a path under `data/raw/` or a URL, optionally a member of a zip there; or several
    files, read one after another, each path of which may be a pattern (`exports/leads-*.csv`).

    `sha256` is the hash of the file as fetched (of the zip, where `member` is set); required for URLs. Of several files
    it is the hash of their list, one line `<sha256>  <path>` each, sorted by path. gzip is recognised by itself.
    `sheet`: of a workbook, by default its first. `decimal`: the sign within numbers of a CSV.
    """

    path: Name | None = None
    paths: Annotated[list[Name] | None, Field(min_length=1, exclude_if=_unset)] = None
    url: Annotated[str, Field(pattern=r"^(https?|file)://")] | None = None
    member: Name | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    format: Literal["csv", "parquet", "excel"] = "csv"
    sheet: Annotated[Name | None, Field(exclude_if=_unset)] = None
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Annotated[Encoding, Field(exclude_if=lambda value: value == "utf-8")] = "utf-8"
    decimal: Annotated[Literal[".", ","], Field(exclude_if=lambda value: value == ".")] = "."
    missing: list[str] = [""]

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if [self.path, self.paths, self.url].count(None) != 2:
            raise ValueError("name one of `path`, `paths` (under data/raw/) and `url`")
        if self.url is not None and self.sha256 is None:
            raise ValueError("a url needs `sha256`, the hash of the file as fetched")
        return self

    @model_validator(mode="after")
    def _one_format(self) -> Self:
        if self.sheet is not None and self.format != "excel":
            raise ValueError("`sheet` goes with `format: excel`")
        if self.format != "csv" and (self.encoding != "utf-8" or self.decimal != "."):
            raise ValueError("`encoding` and `decimal` go with `format: csv`")
        if self.separator == self.decimal:
            raise ValueError("`separator` and `decimal` must differ")
        return self


class Source(Part):
    """Where the tables come from. `demo` is the built-in CRM log; `files` reads one file per table."""

    kind: Literal["demo", "files"]
    leads: File | None = None
    activities: File | None = None
    changes: File | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind == "files") != (self.leads is not None):
            raise ValueError("`kind: files` needs `leads`; `kind: demo` takes no files")
        return self


class Calendar(Part):
    """Columns that date a row without a year; the year follows from the row order (a month that falls starts a new
    year)."""

    month: Name
    day: Name | None = None
    first_year: Annotated[int, Field(ge=1900, le=2200)]


class Time(Part):
    """The time axis leads are split along.

    `column`: a creation timestamp. `row_order`: rows stand in time order, `calendar` dates them. `none`: no time
    axis, the split is random and marked as such.
    """

    kind: Literal["column", "row_order", "none"]
    column: Name | None = None
    calendar: Calendar | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind == "column") != (self.column is not None):
            raise ValueError("`column` goes with `kind: column`, and only with it")
        if self.calendar is not None and self.kind != "row_order":
            raise ValueError("`calendar` goes with `kind: row_order`")
        return self


class Outcome(Part):
    """What counts as a conversion.

    `dates`: `converted_at` (and `lost_at`) hold the moment, missing while open; a snapshot is labelled 1 if the lead
    converts within `horizon_days` after the as-of date. Where one column holds the moment of either end, it is
    `closed_at`, and `column`, `positive` and `open` say which end it was, if any yet. `flag`: `column` equals
    `positive` (or one of them), decided at once (`horizon_days: 0`); rows whose value is among `open`, the empty text
    for none, are not decided yet: they are set aside at ingest and counted. `value`: the column that holds what a deal
    was worth, a number known with the outcome.
    """

    kind: Literal["dates", "flag"]
    horizon_days: Annotated[int, Field(ge=0, le=3650)]
    converted_at: Name | None = None
    lost_at: Name | None = None
    column: Name | None = None
    closed_at: Annotated[Name | None, Field(exclude_if=_unset)] = None
    positive: Name | Annotated[list[Name], Field(min_length=1)] | None = None
    open: Annotated[list[Annotated[str, Field(max_length=200)]] | None, Field(min_length=1, exclude_if=_unset)] = None
    value: Annotated[Name | None, Field(exclude_if=_unset)] = None

    @property
    def won(self) -> list[str]:
        """The values of `column` that mean converted."""
        return [self.positive] if isinstance(self.positive, str) else list(self.positive or [])

    @property
    def flag(self) -> str | None:
        """The column that decides alone, with `kind: flag`."""
        return self.column if self.kind == "flag" else None

    @property
    def dates_losses(self) -> bool:
        """Whether it is known when a lead was lost."""
        return self.lost_at is not None or self.closed_at is not None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.open is not None and self.column is None:
            raise ValueError("`open` goes with `column`; without one, a lead is open while it has no date")
        if both := sorted(set(self.open or []) & set(self.won)):
            raise ValueError(f"`positive` and `open` both hold {', '.join(both)}")
        if self.kind == "dates":
            if (self.converted_at is None) == (self.closed_at is None):
                raise ValueError("`kind: dates` needs `converted_at`, or `closed_at` with `column` and `positive`")
            if self.closed_at is None and (self.column is not None or self.positive is not None):
                raise ValueError("`kind: dates` takes `column` and `positive` only with `closed_at`")
            if self.closed_at is not None and (self.column is None or self.positive is None):
                raise ValueError("`closed_at` needs `column` and `positive`, which say whether the lead was won")
            if self.closed_at is not None and self.lost_at is not None:
                raise ValueError("`closed_at` dates losses too: it takes no `lost_at`")
            if self.horizon_days == 0:
                raise ValueError("`kind: dates` needs `horizon_days` of at least 1")
        elif (
            self.column is None or self.positive is None or {self.converted_at, self.lost_at, self.closed_at} != {None}
        ):
            raise ValueError("`kind: flag` needs `column` and `positive`, and takes no dates")
        elif self.horizon_days != 0:
            raise ValueError("`kind: flag` is decided at once: `horizon_days: 0`")
        return self


class Column(Part):
    """One column of the leads table.

    `known_at`: `creation` (fixed from the start), `over_time` (changes; usable only with a changes table that records
    it), `outcome` (filled in with or after it), `unknown`. Only `feature` columns known at creation, or over time with
    their changes, enter the model. A row that holds a name, an e-mail address or a phone number in any but a `personal`
    column is refused at ingest, unless the value is among `values`; an `identifier` may look like a phone number.
    `overrules_leak`: why a column enters the model although the leak detector convicts it; the run is tagged with it.
    `overrules_period`: why a column enters although it tells when rather than who. `direction`: the chance may only
    rise, or only fall, with its value. `text`: what a reason says of it, with `{value}`, or of a true/false what is the
    case; `text_none`: what it says where the value is missing, or false. `moved_by`: who can change it.
    """

    role: Role
    type: Type = "text"
    known_at: KnownAt = "unknown"
    criterion: Name | None = None
    group: Group = "fit"
    unit: str | None = None
    min: float | None = None
    max: float | None = None
    values: list[str] | None = None
    required: bool = False
    unique: bool = False
    not_before: Name | None = None
    not_with: Name | None = None
    missing: list[str] = []
    format: str | None = None
    facts: list[Fact] = []
    reason: str | None = None
    overrules_leak: Annotated[str, Field(min_length=1)] | None = None
    overrules_period: Annotated[str | None, Field(min_length=1, exclude_if=_unset)] = None
    direction: Annotated[Direction | None, Field(exclude_if=_unset)] = None
    text: Annotated[Phrase | None, Field(exclude_if=_unset)] = None
    text_none: Annotated[Phrase | None, Field(exclude_if=_unset)] = None
    moved_by: Annotated[MovedBy | None, Field(exclude_if=_unset)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.role == "feature" and self.type in ("text", "timestamp"):
            raise ValueError("a feature is a number, integer, category or boolean")
        if (self.min is not None or self.max is not None) and self.type not in ("number", "integer"):
            raise ValueError("`min` and `max` go with numbers")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("`min` must not exceed `max`")
        if self.values is not None and self.type not in ("category", "boolean"):
            raise ValueError("`values` go with categories")
        if self.facts and self.role != "personal":
            raise ValueError("`facts` are derived from personal columns")
        if self.overrules_leak is not None and (self.role != "feature" or self.known_at in ("outcome", "unknown")):
            raise ValueError("`overrules_leak` goes with a feature known at creation or over time")
        if self.overrules_period is not None and self.role != "feature":
            raise ValueError("`overrules_period` goes with features")
        if self.direction is not None and (self.role != "feature" or self.type == "category"):
            raise ValueError("`direction` goes with features that are numbers or booleans")
        told = self.role == "feature" or (self.role == "personal" and len(self.facts) == 1)
        if (self.text is not None or self.text_none is not None) and not told:
            raise ValueError("`text` and `text_none` go with features, and with personal columns of one fact")
        _check_phrases(self.text, self.text_none, None if self.facts or self.type == "boolean" else "{value}")
        if self.moved_by is not None and (self.role != "feature" or (self.type != "boolean" and not self.values)):
            raise ValueError("`moved_by` goes with features that are true/false, or categories with `values`")
        if self.not_before is not None and self.type != "timestamp":
            raise ValueError("`not_before` goes with timestamps")
        if self.format is not None and self.type != "timestamp":
            raise ValueError("`format` goes with timestamps")
        return self


class Kind(Part):
    """One kind of activity and the criterion a sales person would call it.

    `direction`: `rising` where the chance may only rise with how often it happened, and how lately; `falling` where it
    may only fall. `text`: what a reason says of it, with `{times}` ("3 times in 7 days"); `text_none`: where it never
    happened. `moved_by`: who can make it happen.
    """

    criterion: Name | None = None
    group: Group = "engagement"
    direction: Annotated[Direction | None, Field(exclude_if=_unset)] = None
    text: Annotated[Phrase | None, Field(exclude_if=_unset)] = None
    text_none: Annotated[Phrase | None, Field(exclude_if=_unset)] = None
    moved_by: Annotated[MovedBy | None, Field(exclude_if=_unset)] = None

    @model_validator(mode="after")
    def _phrased(self) -> Self:
        _check_phrases(self.text, self.text_none, "{times}")
        return self


class Activities(Part):
    """Activities: one row each, joined to a lead by `lead`. Kinds not listed are refused at validation.

    `format`: of both times, in the notation of `strptime`; ISO 8601 without it.
    """

    key: Name | None = None
    lead: Name
    kind: Name
    happened_at: Name
    recorded_at: Name
    format: Annotated[str | None, Field(exclude_if=_unset)] = None
    kinds: Annotated[dict[Name, Kind], Field(min_length=1)]


class Changes(Part):
    """Changes of lead columns: which column, when recorded, from which value to which.

    A change of a column that `columns` does not name is refused at ingest. `format`: of the time, as in `Activities`.
    """

    lead: Name
    column: Name
    recorded_at: Name
    format: Annotated[str | None, Field(exclude_if=_unset)] = None
    old_value: Name
    new_value: Name


class Expectation(Part):
    """A rule of the strategist's own: one of Great Expectations' that judges rows one by one.

    `columns`: by their names in the source. `kwargs`: the expectation's own arguments; see `row_expectations.KINDS`. A
    row that breaks it is quarantined with `reason`; a missing value breaks nothing.
    """

    expectation: Name
    table: Literal["leads", "activities", "changes"] = "leads"
    columns: Annotated[list[Name], Field(min_length=1)]
    kwargs: dict[str, Any] = {}
    reason: Annotated[str, Field(pattern=r"^[^\n]*\S[^\n]*$", max_length=200)]


class Contract(Part):
    contract_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: Annotated[str, Field(min_length=1)]
    source: Source
    key: Name | Literal["row_number"]
    time: Time
    outcome: Outcome
    columns: Annotated[dict[Name, Column], Field(min_length=1)]
    activities: Activities | None = None
    changes: Changes | None = None
    expectations: Annotated[list[Expectation], Field(exclude_if=lambda value: not value)] = []

    @model_validator(mode="after")
    def _references(self) -> Self:
        faults = []

        def known(
            name: str | None,
            key: str,
            *,
            role: Role | None = None,
            type_: Type | None = None,
            or_type: Type | None = None,
        ) -> None:
            if name is None:
                return
            column = self.columns.get(name)
            if column is None:
                faults.append(f"{key} names `{name}`, which is not among `columns`")
            elif role is not None and column.role != role:
                faults.append(f"{key} names `{name}`, whose role must be `{role}`, not `{column.role}`")
            elif type_ is not None and column.type not in (type_, or_type):
                faults.append(f"{key} names `{name}`, whose type must be `{type_}`, not `{column.type}`")

        if self.key != "row_number":
            known(self.key, "key", role="identifier")
        known(self.time.column, "time.column", type_="timestamp")
        if self.time.calendar is not None:
            known(self.time.calendar.month, "time.calendar.month")
            known(self.time.calendar.day, "time.calendar.day")
        known(self.outcome.converted_at, "outcome.converted_at", role="outcome", type_="timestamp")
        known(self.outcome.lost_at, "outcome.lost_at", role="outcome", type_="timestamp")
        known(self.outcome.closed_at, "outcome.closed_at", role="outcome", type_="timestamp")
        known(self.outcome.column, "outcome.column", role="outcome")
        known(self.outcome.value, "outcome.value", role="outcome", type_="number", or_type="integer")
        for name, column in self.columns.items():
            known(column.not_before, f"columns.{name}.not_before", type_="timestamp")
            known(column.not_with, f"columns.{name}.not_with")
        if self.outcome.kind == "dates" and self.time.kind != "column":
            faults.append("outcome.kind `dates` needs time.kind `column`: a horizon is counted from a creation time")
        if self.activities is not None and self.outcome.kind == "flag":
            faults.append("activities need outcome.kind `dates`: an outcome decided at once leaves no time for them")
        if self.source.kind == "files":
            for table in ("activities", "changes"):
                if (getattr(self, table) is None) != (getattr(self.source, table) is None):
                    faults.append(f"`{table}` and `source.{table}` go together")
        for place, one in enumerate(self.expectations):
            holds = self.holds(one.table)
            found = row_expectations.faults(one.expectation, one.columns, one.kwargs, holds)
            if not holds:
                found = [f"the contract describes no {one.table}"]
            faults += [f"expectations.{place}: {fault}" for fault in found]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def holds(self, table: str) -> dict[str, str]:
        """What each column of a table holds after `ingest`, as `row_expectations` reads it; empty without the table."""
        if table != "leads":
            declared = getattr(self, table)
            texts = ("key", "lead", "kind") if table == "activities" else ("lead", "column", "old_value", "new_value")
            names = declared.model_dump() if declared is not None else {}
            times = ("happened_at", "recorded_at")
            holds = {
                name: "time" if field in times else "text" for field, name in names.items() if field in texts + times
            }
            return {name: held for name, held in holds.items() if name is not None}
        of_type = {"number": "number", "integer": "number", "timestamp": "time", "boolean": "true or false"}
        holds = {name: of_type.get(column.type, "text") for name, column in self.columns.items()}
        holds |= {name: "text" for name, column in self.columns.items() if column.role == "identifier"}
        holds |= {name: "personal" for name, column in self.columns.items() if column.role == "personal"}
        own = {self.time.column: "time", self.outcome.flag: "true or false"}
        return holds | {name: held for name, held in own.items() if name is not None}


#: Names that every table carries after `ingest`, whatever the source calls them. `ROW` is the 1-based row of the
#: source.
LEAD_KEY = "lead_id"
CREATED_AT = "created_at"
CONVERTED_AT = "converted_at"
LOST_AT = "lost_at"
CONVERTED = "converted"
ROW = "row"

#: Where a refused row stands, before the reason: its line, and its file where a table has several.
PLACE = r"^(?:.+?, )?line \d+: "

#: Names that tables and snapshots carry for what they are; a source column of such a name goes on under another.
RESERVED = {LEAD_KEY, CREATED_AT, CONVERTED_AT, LOST_AT, CONVERTED, ROW, "as_of", "label", "split", "position"}

#: Columns of the ingested activities and changes tables, in order.
ACTIVITY_COLUMNS = ["activity_id", LEAD_KEY, "kind", "happened_at", "recorded_at"]
CHANGE_COLUMNS = [LEAD_KEY, "column", "recorded_at", "old_value", "new_value"]


def fact_name(column: str, fact: Fact) -> str:
    """Name of a derived fact: `has_work_email` from any e-mail column, `has_phone` from the presence of `phone`."""
    return "has_work_email" if fact == "work_email" else f"has_{column}"


class Resolved(Part):
    """A contract as stages read it: the source's own description plus what follows from it.

    `names`: source name -> name after `ingest`, for every column but the personal ones, which `ingest` leaves behind.
    `features`: columns that enter the model, as `name -> (criterion, group)`; personal columns enter only as derived
    facts (`fact_name`). `excluded`: every other column with the reason it stays out. `tracked`: features whose
    changes are kept.
    """

    contract: Contract
    names: dict[str, str]
    features: dict[str, tuple[str, Group]]
    excluded: dict[str, str]
    tracked: list[str]

    @property
    def name(self) -> str:
        return self.contract.name

    @property
    def kinds(self) -> list[str]:
        """Kinds of activities that the contract lists."""
        return list(self.contract.activities.kinds) if self.contract.activities is not None else []

    @property
    def value(self) -> str | None:
        """The column that holds what a deal was worth, by its name after `ingest`."""
        named = self.contract.outcome.value
        return self.names[named] if named is not None else None

    @property
    def undecided(self) -> list[str]:
        """Features that stay out because nobody has said yet when their value becomes known."""
        columns = self.contract.columns
        return [
            name for name in self.excluded if columns[name].role == "feature" and columns[name].known_at == "unknown"
        ]


def parse(content: object, *, file: str) -> Contract:
    """Check the content of one contract file.

    Raises:
        ContractError: every unknown key, wrong value and dangling reference, listed at once.
    """
    try:
        return Contract.model_validate(content)
    except ValidationError as fault:
        raise ContractError(problems(fault, file)) from None


def resolve(contract: Contract) -> Resolved:
    """Decide for every column whether it enters the model, under which criterion, and if not, why.

    Raises:
        ContractError: nothing is left to learn from, or one criterion stands in two groups.
    """
    features: dict[str, tuple[str, Group]] = {}
    excluded: dict[str, str] = {}
    tracked: list[str] = []
    for name, column in contract.columns.items():
        reason = _why_not(column, has_changes=contract.changes is not None)
        if reason is None:
            features[name] = (column.criterion or name, column.group)
            if column.known_at == "over_time":
                tracked.append(name)
        else:
            excluded[name] = column.reason or reason
        for fact in column.facts:
            features[fact_name(name, fact)] = (column.criterion or fact_name(name, fact), column.group)

    groups: dict[str, str] = {}
    kinds = contract.activities.kinds if contract.activities else {}
    named = list(features.values()) + [(kind.criterion or name, kind.group) for name, kind in kinds.items()]
    for criterion, group in named:
        if groups.setdefault(criterion, group) != group:
            raise ContractError(
                f"contract {contract.name}: criterion `{criterion}` stands in both groups; give it one."
            )
    if not named:
        raise ContractError(
            f"contract {contract.name}: no column and no activity may enter the model; nothing to learn from."
        )
    return Resolved(contract=contract, names=_names(contract), features=features, excluded=excluded, tracked=tracked)


def without_changing(resolved: Resolved, changed: Mapping[str, int]) -> tuple[Resolved, list[str]]:
    """The contract without features that it declares known at creation and that the changes table contradicts.

    Args:
        changed: changes of one value to another that were set aside, per source column.

    Returns:
        The contract, and a sentence per column left out.

    Raises:
        ContractError: nothing is left to learn from.
    """
    reasons = {
        name: f"declared known at creation, yet the changes table holds {changed[name]:,} changes of it (declare "
        "`known_at: over_time`: the changes then say what was known when)"
        for name in resolved.features
        if changed.get(name, 0) > 0
    }
    left_out = without(
        resolved,
        reasons,
        "by the changes table every column that might enter the model changes; declare `known_at: over_time`.",
    )
    return left_out, [f"column `{name}` is left out: {reason}" for name, reason in reasons.items()]


def without(resolved: Resolved, reasons: Mapping[str, str], nothing_left: str) -> Resolved:
    """The contract without some of its features, each with the reason.

    Raises:
        ContractError: nothing is left to learn from; the message says `nothing_left`.
    """
    features = {name: one for name, one in resolved.features.items() if name not in reasons}
    if not features and not (resolved.contract.activities and resolved.contract.activities.kinds):
        raise ContractError(f"contract {resolved.name}: {nothing_left}")
    return resolved.model_copy(
        update={
            "features": features,
            "excluded": resolved.excluded | dict(reasons),
            "tracked": [name for name in resolved.tracked if name not in reasons],
        }
    )


def _names(contract: Contract) -> dict[str, str]:
    """Source name -> name after `ingest`; personal columns are left out.

    A column whose name every table carries after `ingest` for something else (`label`, `position`) goes on with a `_`.
    """
    canonical = {
        contract.key if contract.key != "row_number" else None: LEAD_KEY,
        contract.time.column: CREATED_AT,
        contract.outcome.converted_at: CONVERTED_AT,
        contract.outcome.lost_at: LOST_AT,
        contract.outcome.flag: CONVERTED,
    }
    kept = [name for name, column in contract.columns.items() if column.role != "personal"]
    names: dict[str, str] = {}
    for name in kept:
        after = canonical.get(name, name)
        while name not in canonical and (after in RESERVED or (after != name and after in contract.columns)):
            after += "_"
        names[name] = after
    made = [fact_name(name, fact) for name, column in contract.columns.items() for fact in column.facts]
    every = list(names.values()) + made
    if twice := sorted({name for name in every if every.count(name) > 1}):
        raise ContractError(
            f"contract {contract.name}: columns {', '.join(twice)} clash with names that every table carries after "
            "ingest, or with facts derived from others; rename them in the source."
        )
    return names


def _why_not(column: Column, *, has_changes: bool) -> str | None:
    """The reason a column stays out of the model, or None where it may enter."""
    if column.role != "feature":
        return f"role is {column.role}"
    if column.known_at == "outcome":
        return "known only with the outcome"
    if column.known_at == "unknown":
        return "not known when its value becomes known"
    if column.known_at == "over_time" and not has_changes:
        return "changes over time, and the source has no record of its changes"
    return None


def describe(resolved: Resolved) -> dict[str, Any]:
    """The resolved contract as plain data for `data/ingest/contract.json`."""
    return resolved.model_dump(mode="json")


def restore(content: object) -> Resolved:
    """Read back what `describe` wrote."""
    return Resolved.model_validate(content, strict=False)
