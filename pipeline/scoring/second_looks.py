"""Reasons for a reviewer to look twice: what the gate does not judge, and a person should before signing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.scoring.gate import named


def second_looks(
    *,
    criteria: pd.DataFrame,
    reliability: pd.DataFrame,
    months: pd.DataFrame,
    slices: pd.DataFrame,
    groups: pd.DataFrame,
    leaks: pd.DataFrame,
    kept: Mapping[str, Mapping[str, Any]],
    repeatable: bool,
) -> list[str]:
    """Sentences, one for each kind of thing found; none where there is nothing.

    Args:
        criteria: `criterion`, `share` (of the score's points) and `verdict` on the test window, see `scoring.weights`.
        reliability, months: `bin` or `month`, and `holds`: whether the interval of what happened holds the scores.
        slices: `feature`, `value`, `rows`, `gap` (observed less predicted) and `holds`.
        groups: `feature` and `below_four_fifths`: selected far less often than the group selected most.
        leaks: `column`, `verdict`, `in_model`.
        kept: for every table `rows` and `kept`.
        repeatable: whether the search can be made again.
    """
    found = []
    misleading = criteria[criteria["verdict"] == "misleads"]
    if len(misleading):
        weight = f"{misleading['share'].sum():.1%} of all points"
        names = named(misleading["criterion"])
        found.append(f"Left out, these criteria would make later scores better, not worse: {names} ({weight}).")
    for table, name, what in ((reliability, "bin", "score bins"), (months, "month", "months of the test window")):
        off = table[~table["holds"].astype(bool)]
        if len(off):
            names = named(off[name].astype(str))
            found.append(f"In {len(off)} of {len(table)} {what} conversions lie surely off the scores: {names}.")
    off = slices[~slices["holds"].astype(bool)]
    if len(off):
        worst = off.loc[off["gap"].abs().sort_values(ascending=False, kind="stable").index]
        names = named(f"{row['feature']} {row['value']} ({row['gap']:+.1%})" for row in worst.to_dict("records"))
        found.append(f"In {len(off)} of {len(slices)} slices conversions lie surely off the scores: {names}.")
    unequal = groups[groups["below_four_fifths"].astype(bool)]
    if len(unequal):
        names = named(dict.fromkeys(unequal["feature"]))
        found.append(f"{len(unequal)} of {len(groups)} groups reach the first tier far less often: {names}.")
    suspect = leaks[(leaks["verdict"] == "suspect") & leaks["in_model"].astype(bool)]
    if len(suspect):
        found.append(f"Columns that may know the outcome are in the model: {named(suspect['column'])}.")
    lost = {name: 1 - counts["kept"] / counts["rows"] for name, counts in kept.items() if counts["rows"]}
    if any(lost.values()):
        shares = ", ".join(f"{share:.1%} of {name}" for name, share in lost.items() if share)
        found.append(f"Rows refused, set aside or quarantined: {shares}.")
    if not repeatable:
        found.append("The search cannot be repeated to the byte.")
    return found
