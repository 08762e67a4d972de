"""Proof that features use nothing recorded after the as-of date: delete everything later, rebuild, compare byte for
byte.

What was known when follows from the contract, not from what the features say they read. The truncated history is made
by plain loops over one lead's rows, sharing no code with the features it checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ProofFailed
from pipeline.leads.contract import CONVERTED_AT, CREATED_AT, LEAD_KEY, LOST_AT, ROW, Resolved, fact_name
from pipeline.scorer.features import History, build


@dataclass(frozen=True)
class Known:
    """What a contract says of the columns of the leads table.

    `creation`: names whose value stands from the start. `tracked`: source name -> name of the columns whose changes are
    recorded. Every other column is unknown at any as-of date.
    """

    creation: frozenset[str]
    tracked: dict[str, str]

    @classmethod
    def of(cls, resolved: Resolved) -> Known:
        columns = resolved.contract.columns
        fixed = {
            resolved.names[name]
            for name, column in columns.items()
            if name in resolved.names and column.known_at == "creation"
        }
        facts = {fact_name(name, fact) for name, column in columns.items() for fact in column.facts}
        return cls(
            creation=frozenset(fixed | facts | {LEAD_KEY, CREATED_AT, ROW}),
            tracked={name: resolved.names[name] for name in resolved.tracked},
        )


def truncate(
    lead: pd.DataFrame, activities: pd.DataFrame, changes: pd.DataFrame, as_of: pd.Timestamp, known: Known
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """One lead's rows as an export at `as_of` would have shown them.

    Args:
        lead: the lead's one row. `activities`, `changes`: all its rows.

    Outcomes after `as_of`, and every column that the contract does not place in time, come back missing.
    """
    then = lead.copy()
    for source, name in known.tracked.items():
        later = [c for c in changes.to_dict("records") if c["column"] == source and c["recorded_at"] > as_of]
        if later:
            first = min(later, key=lambda change: change["recorded_at"])
            then[name] = pd.Series([first["old_value"]], index=then.index, dtype=object)
    for name in then.columns:
        if name in (CONVERTED_AT, LOST_AT):
            stands = bool((then[name] <= as_of).all())
        else:
            stands = name in known.creation or name in known.tracked.values()
        if not stands:
            then[name] = pd.NaT if str(then[name].dtype).startswith("datetime") else np.nan
    return then, activities[activities["recorded_at"] <= as_of], changes[changes["recorded_at"] <= as_of]


def sample(snapshots: int, samples: int, seed: int) -> np.ndarray:
    """Places of the snapshots that the proof looks at, rising; all of them where there are no more than `samples`."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    return np.sort(generator.choice(snapshots, size=min(samples, snapshots), replace=False))


def prove(
    snapshots: pd.DataFrame,
    leads: pd.DataFrame,
    activities: pd.DataFrame,
    changes: pd.DataFrame,
    spec: dict[str, Any],
    features: pd.DataFrame,
    resolved: Resolved,
    *,
    samples: int,
    seed: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Rebuild a seeded sample of snapshots from truncated tables and compare with `features` (same order as
    `snapshots`).

    Args:
        resolved: the contract as `ingest` read it: it says what was known when.
        progress: is handed the places to go through and hands them on one by one.

    Returns:
        `pairs` compared, `differences` (pairs with any differing value), `columns` that differed, `passed`.
    """
    chosen = sample(len(snapshots), samples, seed)
    known = Known.of(resolved)
    wanted = snapshots[LEAD_KEY].iloc[chosen].unique()
    rows = [dict(list(table[table[LEAD_KEY].isin(wanted)].groupby(LEAD_KEY))) for table in (leads, activities, changes)]
    none = [table.iloc[:0] for table in (leads, activities, changes)]
    differing: set[str] = set()
    differences = 0
    for place in progress(chosen.tolist()):
        snapshot = snapshots.iloc[place]
        key, as_of = snapshot[LEAD_KEY], snapshot["as_of"]
        lead, acts, chgs = (mine.get(key, empty) for mine, empty in zip(rows, none, strict=True))
        then, acts, chgs = truncate(lead, acts, chgs, as_of, known)
        again = build(then.assign(as_of=as_of), _single(acts, chgs), spec)
        before = features.iloc[[place]].reset_index(drop=True)
        wrong = [name for name in features.columns if not again[name].equals(before[name])]
        differing.update(wrong)
        differences += bool(wrong)
    return {
        "pairs": len(chosen),
        "differences": differences,
        "columns": sorted(differing),
        "passed": differences == 0 and len(chosen) > 0,
    }


def refuse_differences(proof: dict[str, Any]) -> None:
    """Stop where the proof did not hold.

    Raises:
        ProofFailed: names the features that differ, or says that no snapshot was compared.
    """
    if proof["passed"]:
        return
    if proof["pairs"] == 0:
        raise ProofFailed("no snapshot was rebuilt from truncated tables: nothing proves that features look back only.")
    raise ProofFailed(
        f"{proof['differences']:,} of {proof['pairs']:,} snapshots come out differently once everything recorded after "
        f"their as-of date is deleted; features that look into the future: {', '.join(proof['columns'])}. Leave out "
        "their columns in the contract, or repair how they are built."
    )


def _single(activities: pd.DataFrame, changes: pd.DataFrame) -> History:
    """History of one row."""
    return History(
        n_owners=1,
        row_owner=np.zeros(1, dtype="int64"),
        activities=activities.reset_index(drop=True),
        activity_owner=np.zeros(len(activities), dtype="int64"),
        changes=changes.reset_index(drop=True),
        change_owner=np.zeros(len(changes), dtype="int64"),
    )
