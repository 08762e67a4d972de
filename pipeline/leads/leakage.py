"""Which columns enter the model, which stay out and why, with the evidence that the table itself gives."""

from __future__ import annotations

import pandas as pd

from pipeline.leads.contract import CONVERTED_AT, LOST_AT, Resolved, fact_name

ENTERS = "enters the model"
LEFT_OUT = "left out"
#: Evidence against a column: no open lead has it, some closed ones do.
ONLY_CLOSED = "filled only when the outcome is known"

COLUMNS = ["column", "role", "known_at", "verdict", "reason", "filled_open", "filled_closed", "evidence"]


def report(leads: pd.DataFrame, resolved: Resolved) -> pd.DataFrame:
    """One row per source column: what the contract decided, and how it is filled before and after the outcome.

    Args:
        leads: clean leads. Where the outcome has dates, leads with neither are open, the others closed.
        resolved: the contract.

    Returns:
        DataFrame with the columns of `COLUMNS`, in the contract's order. `filled_open`, `filled_closed`: share in
        [0, 1] of open and closed leads that have a value; NaN for personal columns, which stop at `ingest`, where the
        outcome has no dates, and where there is no such lead. `evidence` is "" or `ONLY_CLOSED`; it is reported, the
        verdict is the contract's.
    """
    dated = resolved.contract.outcome.kind == "dates"
    closed = leads[[name for name in (CONVERTED_AT, LOST_AT) if name in leads]].notna().any(axis=1)
    rows = []
    for name, column in resolved.contract.columns.items():
        enters = name in resolved.features
        reason = f"criterion {resolved.features[name][0]}" if enters else resolved.excluded[name]
        if column.facts:
            made = ", ".join(fact_name(name, fact) for fact in column.facts)
            reason += f"; only what is derived from it enters: {made}"
        after = resolved.names.get(name)
        filled = {"open": float("nan"), "closed": float("nan")}
        if dated and after is not None:
            given = leads[after].notna()
            filled = {"open": given[~closed].mean(), "closed": given[closed].mean()}
        evidence = ONLY_CLOSED if filled["open"] == 0 and filled["closed"] > 0 else ""
        verdict = ENTERS if enters else LEFT_OUT
        rows.append([name, column.role, column.known_at, verdict, reason, filled["open"], filled["closed"], evidence])
    return pd.DataFrame(rows, columns=COLUMNS)
