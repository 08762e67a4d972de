"""A contract proposed for tables that nobody has described yet: every guess with its reason, none in silence.

Names and content lead to a draft; the draft types the table as `ingest` would; the leak detector judges what came out.
What stays open is listed for a person, and a column about which nobody can say when it becomes known stays out of the
model until somebody does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.leads import leakage
from pipeline.leads import tables as typing_
from pipeline.leads.contract import CREATED_AT, LEAD_KEY, ROW, Resolved, parse, resolve
from pipeline.leads.people import Sieve
from pipeline.leads.periods import shares
from pipeline.leads.proposal_columns import describe_columns, left_out
from pipeline.leads.proposal_draft import Column, Draft, Table, Wishes, as_contract, listed, look_at
from pipeline.leads.proposal_history import find_activities, find_changes
from pipeline.leads.proposal_lead import find_created, find_key, find_personal, find_time, references
from pipeline.leads.proposal_outcome import find_horizon, find_outcome, newest_moment
from pipeline.params import Params

#: Of the rows that may be refused, the part that a proposal uses up at most.
REFUSED_PART = 0.5


@dataclass(frozen=True)
class Proposal:
    """A contract and what must be said about it.

    `content`: the contract as plain data. `comments`: path of a key -> lines to write above it (path ending in "") or
    beside it. `columns`: column, role, type, known_at, note; one row per column of the leads table. `decisions`: what a
    person must still decide, whole sentences. `suspects`: column, verdict, evidence; leaks first.
    """

    content: dict[str, Any]
    comments: dict[tuple[str, ...], str]
    columns: pd.DataFrame
    decisions: list[str]
    suspects: pd.DataFrame


def propose(name: str, tables: dict[str, Table], wishes: Wishes, params: Params) -> Proposal:
    """Propose a contract.

    Args:
        name: the contract's name.
        tables: `leads`, and `activities` and `changes` where there are any.
        wishes: what the user has decided.
        params: limits of the leak detector, horizons and ages, and the share of rows that may be refused.

    Raises:
        ParamsError: a wish names a column or value that the file does not have.
        ContractError: nothing looks like an outcome, a table does not refer to the leads, or no column may enter the
            model.
    """
    draft = Draft(name, tables, params, {one.name: Column(one) for one in look_at(tables["leads"])})
    draft.referred = references(draft)
    find_key(draft)
    find_personal(draft)
    created = find_created(draft, wishes)
    find_outcome(draft, wishes, created)
    find_time(draft, created)
    find_changes(draft)
    find_activities(draft)
    describe_columns(draft)
    typed = _typed(draft)
    find_horizon(draft, wishes, typed)
    suspects = _judge(draft, typed)
    _mark_periods(draft, typed)
    return _finish(draft, suspects)


def _resolved(draft: Draft) -> Resolved:
    return resolve(parse(as_contract(draft), file=f"{draft.name}.yaml"))


def _typed(draft: Draft) -> pd.DataFrame:
    """Leads as `ingest` will keep them; columns for which too many rows would be refused are given up first."""
    decimal = draft.tables["leads"].source.get("decimal", ".")
    limit = REFUSED_PART * draft.params.validate_.max_refused_share * len(draft.cells)
    while True:
        resolved = _resolved(draft)
        typed = typing_.type_leads(draft.cells, resolved, decimal=decimal)
        sieve = Sieve(resolved, draft.params.ingest.personal)
        sieve.see("leads", typed)
        kept, naming = sieve.sift("leads", typed.table)
        if len(typed.refused) + len(naming) <= limit:
            return kept
        reasons = pd.concat([typed.refused["reason"], naming["reason"]]).str.split("; ").explode()
        named = {name: reasons[reasons.str.contains(f"`{name}`", regex=False)] for name in draft.columns}
        worst = max((name for name in draft.columns if _may_go(draft, name)), key=lambda name: len(named[name]))
        if not len(named[worst]):
            return kept
        mine = named[worst]
        personal = mine.isin(naming["reason"].str.split("; ").explode()) | mine.str.contains("looks like", regex=False)
        _give_up(draft, draft.columns[worst], len(mine), is_personal=bool(personal.mean() > 0.5))


def _may_go(draft: Draft, name: str) -> bool:
    """Whether the contract can do with a column as plain text."""
    used = {draft.key, draft.time.get("column"), *draft.time.get("calendar", {}).values(), *_outcome_columns(draft)}
    return name not in used and draft.columns[name].keys["role"] != "personal"


def _outcome_columns(draft: Draft) -> list[str]:
    keys = ("column", "converted_at", "lost_at", "closed_at")
    return [draft.outcome[key] for key in keys if key in draft.outcome]


def _give_up(draft: Draft, column: Column, rows: int, *, is_personal: bool) -> None:
    """A column whose cells would refuse too many rows: personal where they are that, else plain text."""
    name = column.profile.name
    column.keys = {key: column.keys[key] for key in ("missing",) if key in column.keys}
    column.remarks = {key: column.remarks[key] for key in ("", "missing") if key in column.remarks}
    if is_personal or column.profile.kind == "text":
        column.set("role", "personal", f"guess: {rows:,} rows hold what looks personal; read at ingest, never stored")
        column.note = "personal: by content"
        draft.decisions.append(
            f"`{name}` looks personal in {rows:,} rows: it is proposed as personal. Check that it is."
        )
    else:
        left_out(column, f"{rows:,} rows hold what its type cannot")
        draft.decisions.append(f"`{name}` is left out: {rows:,} rows hold what its type cannot.")
    draft.tracked = [one for one in draft.tracked if one != name]


def _judge(draft: Draft, typed: pd.DataFrame) -> pd.DataFrame:
    """Let the leak detector judge the columns and write down what it says: column, verdict, evidence of the accused."""
    resolved = _resolved(draft)
    changes, changed = _typed_changes(draft, resolved, typed)
    newest = newest_moment(draft, typed) if draft.outcome["kind"] == "dates" else None
    found = leakage.judge(typed, changes, resolved, draft.params.validate_.leaks, newest, changed)
    verdicts = found.verdicts
    told = [name for name in draft.tracked if not draft.tables["changes"].complete]
    mine = [name for name in verdicts["column"] if _to_judge(draft.columns[name])]
    accused = verdicts[
        (verdicts["verdict"] != leakage.CLEAR) & verdicts["column"].isin(mine) & ~verdicts["column"].isin(told)
    ]
    # What only stops telling with time is no leak: the column stays in, and says so.
    only_old = found.evidence.groupby("column")["kind"].agg(set) == {"collapse"}
    for name in accused["column"][accused["column"].map(only_old).astype(bool)]:
        draft.columns[name].say(f"It may not help with newer leads: {_evidence(accused, name)}.")
        draft.columns[name].note = "may not help with newer leads"
    accused = accused[~accused["column"].map(only_old).astype(bool)]
    for name, verdict, evidence in zip(accused["column"], accused["verdict"], accused["evidence"], strict=True):
        column = draft.columns[name]
        if verdict == leakage.LEAK:
            if column.keys["role"] == "ignored":
                column.set("role", "outcome")
            column.set("known_at", "outcome", "guess: the leak detector convicts it, see `reason`")
            column.set("reason", evidence)
            column.note = "LEAK"
        elif name in draft.tracked:
            column.say(f"A suspect of a leak: {evidence}. It stays in, since its changes say what was known when.")
            column.note = "suspect, but its changes say what was known when"
        elif (known_at := column.keys.get("known_at")) in ("creation", "unknown"):
            column.suspect = known_at == "creation"
            column.set("known_at", "unknown", "undecided: known at creation, or filled in later?")
            column.say(f"A suspect of a leak: {evidence}.")
            column.note = "suspect of a leak"
    order = accused["verdict"].map({leakage.LEAK: 0, leakage.SUSPECT: 1}).sort_values(kind="stable").index
    return accused.loc[order, ["column", "verdict", "evidence"]].reset_index(drop=True)


def _evidence(verdicts: pd.DataFrame, name: str) -> str:
    return str(verdicts.loc[verdicts["column"] == name, "evidence"].item())


def _to_judge(column: Column) -> bool:
    """Whether a verdict matters: features, numbers of records, and times that are no feature of their own."""
    role, type_ = column.keys["role"], column.keys.get("type")
    return role in ("feature", "identifier") or (role == "ignored" and type_ == "timestamp")


def _typed_changes(draft: Draft, resolved: Resolved, leads: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Changes of the leads looked at, and how often a column was changed when the outcome was known."""
    table = draft.tables.get("changes")
    if table is None or resolved.contract.changes is None:
        return typing_.empty("changes").table, None
    changes = typing_.type_changes(table.cells, resolved, decimal=table.source.get("decimal", ".")).table
    changes = changes[changes[LEAD_KEY].isin(leads[LEAD_KEY])].sort_values([LEAD_KEY, "recorded_at", ROW])
    return changes, leakage.when_known(changes, leads)


def _mark_periods(draft: Draft, typed: pd.DataFrame) -> None:
    """Columns that say when rather than who are left out: they learn which months were good."""
    kind, limits = draft.time["kind"], draft.params.featurize.periods
    if kind == "none":
        return
    names = _resolved(draft).names
    open_ = [
        name
        for name, column in draft.columns.items()
        if column.keys.get("role") == "feature" and (column.keys["known_at"] == "creation" or column.suspect)
    ]
    place = typed[CREATED_AT if kind == "column" else ROW].to_numpy()
    found = []
    for name, share in shares({name: typed[names[name]] for name in open_}, place, limits).items():
        column = draft.columns[name]
        if share > limits.max_share:
            for key in ("known_at", "criterion", "group"):
                column.keys.pop(key)
                column.remarks.pop(key, None)
            column.set("role", "ignored", f"guess: its place in time explains {share:.0%} of what varies in it")
            column.set("reason", "names the period, not the lead")
            column.note = "names the period, not the lead"
            found.append(f"`{name}` ({share:.0%})")
    if found:
        draft.decisions.append(
            f"{', '.join(found)}: left out, since their place in time explains so much of what varies in them that "
            "they tell when, not who. Make one a feature if it will keep its meaning."
        )


def _finish(draft: Draft, suspects: pd.DataFrame) -> Proposal:
    remarks = {
        ("columns", name, key): remark
        for name, column in draft.columns.items()
        for key, remark in column.remarks.items()
    }
    decisions = list(draft.decisions)
    if undecided := _resolved(draft).undecided:
        decisions.append(
            f"when do these become known: {listed(undecided)}? They stay out of the model until `known_at` says "
            "`creation` or `outcome`."
        )
    rows = []
    for name, column in draft.columns.items():
        role = column.keys["role"]
        type_ = "" if role in ("personal", "identifier") else column.keys["type"]
        known_at = column.keys.get("known_at", "") if role in ("feature", "outcome") else ""
        rows.append([name, role, type_, known_at, column.note])
    return Proposal(
        content=as_contract(draft),
        comments=draft.comments | remarks,
        columns=pd.DataFrame(rows, columns=["column", "role", "type", "known_at", "note"]),
        decisions=decisions,
        suspects=suspects,
    )
