"""Which columns know the outcome: a verdict for each, what speaks against it, and what that means for the model.

The contract says when a column's value becomes known; the table itself says whether that can be true. What the table
calls a leak stays out of the model, whatever the contract says, unless the contract overrules it with a reason.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.leads import evidence
from pipeline.leads.contract import (
    CONVERTED,
    CONVERTED_AT,
    CREATED_AT,
    LEAD_KEY,
    LOST_AT,
    ROW,
    Column,
    Resolved,
    fact_name,
    without,
)
from pipeline.params import Leaks
from pipeline.scorer.cleaning import clean

LEAK, SUSPECT, CLEAR = "leak", "suspect", "clear"
#: The key, the time axis, the outcome itself and personal columns: there is nothing to judge.
NOT_JUDGED = ""

COLUMNS = [
    "column", "role", "known_at", "verdict", "in_model", "reason", "evidence", "gain", "filled_open", "filled_closed",
]  # fmt: skip


@dataclass(frozen=True)
class Findings:
    """`evidence`: one row per piece, columns as `evidence.COLUMNS`. `verdicts`: `column`, `verdict` (leak, suspect,
    clear), `evidence`, the sentences joined by "; ", and `gain`, the share of the outcome's uncertainty that the column
    removes by itself (NaN where outcomes are too few to tell); one row per column looked at, in the order given."""

    evidence: pd.DataFrame
    verdicts: pd.DataFrame


def examine(
    columns: pd.DataFrame,
    converted: pd.Series,
    *,
    params: Leaks,
    position: pd.Series | None = None,
    known: Collection[str] = (),
    open_: pd.Series | None = None,
    age_days: pd.Series | None = None,
    changed: pd.DataFrame | None = None,
) -> Findings:
    """Look for columns that know the outcome.

    Args:
        columns: one row per lead, the columns to judge; float64, str or datetime64, missing as NaN.
        converted: 1 or 0 under the same index, NaN where not known yet.
        params: the limits, `validate.leaks` in params.yaml.
        position: place on the time axis, larger is newer; None where the table has no order.
        known: columns, of those given, that somebody has declared as known only with the outcome.
        open_, age_days: whether a lead is neither converted nor lost, and days from its creation to the newest moment;
            where outcomes have dates.
        changed: `column`, `changes`, `after_outcome`: how often each column was changed, and how often of these when
            the outcome was known.
    """
    places = np.arange(len(columns))
    if len(columns) > params.max_rows:
        places = np.unique(np.linspace(0, len(columns) - 1, params.max_rows).astype("int64"))
    history = evidence.History(
        columns=columns.iloc[places],
        converted=converted.iloc[places],
        params=params,
        position=None if position is None else position.iloc[places],
        open_=None if open_ is None else open_.iloc[places],
        age_days=None if age_days is None else age_days.iloc[places],
        changed=changed,
    )
    found = evidence.gather(history, known)
    leaks, accused = set(evidence.convicted(found)), set(found["column"])
    sentences = {str(name): "; ".join(said) for name, said in found.groupby("column")["sentence"]}
    gains = history.gains if history.tells else dict.fromkeys(history.names, np.nan)
    verdicts = [
        (name, LEAK if name in leaks else SUSPECT if name in accused else CLEAR, sentences.get(name, ""), gains[name])
        for name in history.names
    ]
    return Findings(found, pd.DataFrame(verdicts, columns=["column", "verdict", "evidence", "gain"]))


def judge(
    leads: pd.DataFrame,
    changes: pd.DataFrame,
    resolved: Resolved,
    params: Leaks,
    newest: pd.Timestamp | None,
    changed: pd.DataFrame | None = None,
) -> Findings:
    """`examine` for the clean tables of a contract; columns under their source names, in the contract's order.

    A column with its changes is judged by its value at creation, since the model never sees the current one where an
    earlier one held. Where outcomes have dates, a lead that is still open counts as not converted once it is as old as
    nine tenths of the leads that converted were.
    """
    contract = resolved.contract
    names = {source: resolved.names[source] for source in judged(resolved)}
    columns = pd.DataFrame({source: leads[name] for source, name in names.items()}, index=leads.index)
    for source in resolved.tracked:
        columns[source] = at_creation(leads, changes, source, names[source], contract.columns[source])
    known = [source for source in names if contract.columns[source].known_at == "outcome"]
    position = None if contract.time.kind == "none" else leads[ROW if contract.time.kind == "row_order" else CREATED_AT]
    if contract.outcome.kind == "flag":
        return examine(
            columns, leads[CONVERTED].astype("float64"), params=params, position=position, known=known, changed=changed
        )
    assert newest is not None, "outcomes with dates have a newest moment"
    age = (newest - leads[CREATED_AT]).dt.total_seconds() / 86_400
    open_ = leads[CONVERTED_AT].isna() & leads[LOST_AT].isna()
    took = (leads[CONVERTED_AT] - leads[CREATED_AT]).dt.total_seconds().quantile(0.9) / 86_400
    converted = leads[CONVERTED_AT].notna().astype("float64").mask(open_ & ~(age >= took))
    return examine(
        columns,
        converted,
        params=params,
        position=position,
        known=known,
        open_=open_,
        age_days=age,
        changed=changed,
    )


def when_known(moments: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame | None:
    """How often columns changed, and how often of these when the lead had closed; None where outcomes have no dates.

    Args:
        moments: `lead_id`, `column`, `recorded_at`; those of other leads are left out.
        leads: clean leads.

    Returns:
        `column`, `changes`, `after_outcome`, in order of the columns' names.
    """
    if CONVERTED_AT not in leads:
        return None
    closed = leads.drop_duplicates(LEAD_KEY).set_index(LEAD_KEY)[[CONVERTED_AT, LOST_AT]].min(axis=1)
    mine = moments[moments[LEAD_KEY].isin(closed.index)]
    after = (mine["recorded_at"].to_numpy() >= closed.reindex(mine[LEAD_KEY]).to_numpy()).astype("int64")
    counted = pd.Series(after, index=mine["column"].to_numpy()).groupby(level=0).agg(["size", "sum"])
    return pd.DataFrame(
        {
            "column": counted.index.astype("str"),
            "changes": counted["size"].to_numpy(),
            "after_outcome": counted["sum"].to_numpy(),
        }
    )


def judged(resolved: Resolved) -> list[str]:
    """Source names of the columns that can be judged: all but the key, the time axis, the outcome and personal ones."""
    own = {LEAD_KEY, CREATED_AT, CONVERTED_AT, LOST_AT, CONVERTED}
    outcome = {resolved.contract.outcome.column, resolved.contract.outcome.closed_at}
    return [source for source, name in resolved.names.items() if name not in own and source not in outcome]


def at_creation(leads: pd.DataFrame, changes: pd.DataFrame, source: str, name: str, column: Column) -> pd.Series:
    """A tracked column as it was when each lead was created: the old value of its first change, where there is one."""
    first = changes[changes["column"] == source].drop_duplicates(LEAD_KEY)
    old = clean(first["old_value"], {"type": column.type, "missing": column.missing}).set_axis(first[LEAD_KEY])
    current = leads.set_index(LEAD_KEY)[name].astype(object)
    current.loc[old.index] = old.astype(object)
    return current.set_axis(leads.index).astype(leads[name].dtype)


def report(leads: pd.DataFrame, resolved: Resolved, found: Findings) -> pd.DataFrame:
    """One row per source column: the verdict, whether the column enters the model, why or why not, and the evidence.

    Args:
        leads: clean leads.
        resolved: the contract.
        found: what `judge` returned for them.

    Returns:
        DataFrame with the columns of `COLUMNS`, in the contract's order. `verdict`: leak, suspect, clear, or "" where
        there is nothing to judge. `in_model`: True or False. `gain`: as in `Findings`. `filled_open`, `filled_closed`:
        share in [0, 1] of open and closed leads that have a value; NaN for personal columns, which stop at `ingest`,
        where the outcome has no dates, and where there is no such lead.
    """
    verdicts = {row["column"]: row for row in found.verdicts.to_dict("records")}
    dated = resolved.contract.outcome.kind == "dates"
    closed = leads[[name for name in (CONVERTED_AT, LOST_AT) if name in leads]].notna().any(axis=1)
    rows = []
    for name, column in resolved.contract.columns.items():
        said = verdicts.get(name, {"verdict": NOT_JUDGED, "evidence": "", "gain": np.nan})
        verdict = said["verdict"]
        enters = name in resolved.features
        reason = f"criterion {resolved.features[name][0]}" if enters else resolved.excluded[name]
        if enters and verdict == LEAK:
            enters = column.overrules_leak is not None
            reason = f"overruled: {column.overrules_leak}" if enters else "a leak, as the evidence says"
        if column.facts:
            made = ", ".join(fact_name(name, fact) for fact in column.facts)
            reason += f"; only what is derived from it enters: {made}"
        filled: dict[str, Any] = {"open": np.nan, "closed": np.nan}
        if dated and (after := resolved.names.get(name)) is not None:
            given = leads[after].notna()
            filled = {"open": given[~closed].mean(), "closed": given[closed].mean()}
        rows.append(
            [name, column.role, column.known_at, verdict, enters, reason, said["evidence"], said["gain"]]
            + [filled["open"], filled["closed"]]
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def overruled(leaks: pd.DataFrame) -> list[str]:
    """Columns of `report` that are leaks and enter the model all the same, because the contract overrules."""
    return leaks.loc[(leaks["verdict"] == LEAK) & leaks["in_model"].astype(bool), "column"].astype(str).tolist()


def without_leaks(resolved: Resolved, leaks: pd.DataFrame) -> Resolved:
    """The contract without the features that `report` keeps out of the model.

    Raises:
        ContractError: nothing is left to learn from.
    """
    left_out = leaks[~leaks["in_model"] & leaks["column"].isin(list(resolved.features))]
    reasons = dict(zip(left_out["column"], left_out["reason"], strict=True))
    return without(
        resolved,
        reasons,
        "every column that might enter the model is a leak (data/validate/leaks.csv); nothing to learn from.",
    )
