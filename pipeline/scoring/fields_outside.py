"""Fields outside the model that would add lift: what a column that the model does not use would bring on later leads.

The system of `column_trial` is fitted again without and with each such column, without its random draws of rows and
columns: so the two fits differ by what the column is used for, and by nothing else. With draws, one more column deals
them anew, and all that changes is taken for the column's doing.

Nothing here is a leak: columns that `validate` calls leak or suspect, or could not judge, are not tried at all, nor is
what the contract says becomes known with the outcome. What is left may still have a reason to stay out, and each is
named with it. Activities need no trial: every declared kind is counted under a criterion, others are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.leads import leakage, periods
from pipeline.leads.contract import LEAD_KEY, Resolved
from pipeline.params import LeakPrice, Periods
from pipeline.scorer.features import feature_list
from pipeline.scoring import weights
from pipeline.scoring.column_trial import MEASURES, Trial, as_exported, exported, gains, made_from
from pipeline.scoring.fit import best_intercept, row_losses

#: What may stand against a column, the gravest first, and what follows from each.
UNKNOWN, CHANGES, PERIOD, CONTRACT = "known-at is unknown", "changes", "tells the period", "left out by the contract"
ADVICE = {
    UNKNOWN: "Nobody has said when its value becomes known: if that is at creation, declare it and it can be used; if "
    "it is filled in later, sales will not see this gain.",
    CHANGES: "Its value changes, and was taken as exported today, which may be later than the as-of date: only its "
    "recorded changes (`known_at: over_time`) can say what is left of this gain.",
    PERIOD: "It tells the period rather than the lead: what helped in this window need not help in the next.",
    CONTRACT: "The contract leaves it out ({reason}): whether that stands is for its owner to say.",
}

#: Settings of a fit that draws nothing.
WHOLE = {"subsample": 1.0, "colsample_bytree": 1.0, "colsample_bynode": 1.0}

COLUMNS = [
    "column",
    "stands_against",
    "verdict",
    *(f"{measure}_{which}" for measure in MEASURES for which in ("without", "with", "gain")),
    "log_loss_gain_low",
    "log_loss_gain_high",
    "tried",
    "level",
    "period_share",
    "sentence",
]
TEXTS = ("column", "stands_against", "verdict", "sentence")


@dataclass(frozen=True)
class _Field:
    """A column to be tried. `share`: of what varies in it, explained by its place in time; NaN where that is not known.
    `reason`: why the contract leaves it out."""

    name: str
    against: tuple[str, ...]
    share: float
    reason: str

    @property
    def stands_against(self) -> str:
        return "; ".join(self.against)


def table(
    snapshots: pd.DataFrame,
    leads: pd.DataFrame,
    leaks: pd.DataFrame,
    told: pd.DataFrame,
    resolved: Resolved,
    spec: dict[str, Any],
    params: LeakPrice,
    time: Periods,
    *,
    level: float,
    seed: int,
    threads: int,
) -> pd.DataFrame:
    """What every column outside the model would add on the test window, and what stands against it.

    Args:
        snapshots: `lead_id`, `as_of`, `label`, `split`, `position` and the features of the model.
        leads: clean leads. A column enters by its value there, as exported today.
        leaks: `column`, `verdict` and `gain`, as `validate` wrote them. `told`: `column` and `verdict`, as
            `periods.judge` wrote them.
        spec: the feature specification; it tells which features are made from a column.
        params: the settings of the system, and how many columns are tried, in the contract's order. `time`: when a
            column tells the period.
        level: probability with which the intervals hold all gains at once: that of one is 1 - (1 - level) / n for n
            columns tried (Bonferroni), so that looking at many does not make one of them look good.

    Returns:
        The columns of `COLUMNS`, largest gain in log-loss first, those beyond `params.columns` last and without
        figures. `*_gain`: how much better the figure looks with the column; that of the log-loss (nats per row, both
        systems at their best intercept) lies within `log_loss_gain_low` and `log_loss_gain_high`, an interval that is
        normal, paired and robust to several rows of a lead. `verdict`: as
        `weights.verdict`, "" where it was not tried. `tried`: how many columns were. `level`: of this interval.
        `period_share`: see `periods.shares`.
    """
    fields = _fields(snapshots, leads, leaks, told, resolved, spec, time)
    tried = fields[: params.columns]
    single = 1 - (1 - level) / max(1, len(tried))
    rows = []
    if tried:
        model = [feature["name"] for feature in feature_list(spec)]
        whole = params.model_copy(update={"xgboost": params.xgboost.model_copy(update=WHOLE)})
        names = [field.name for field in tried]
        trial = Trial.of(snapshots, leads, model, names, resolved, whole, seed=seed, threads=threads)
        without = _levelled(trial, model)
        rows = [_row(field, trial, without, [*model, exported(field.name)], len(tried), single) for field in tried]
        rows.sort(key=lambda row: -row[COLUMNS.index("log_loss_gain")])
    empty = [np.nan] * (COLUMNS.index("tried") - 3)
    rest = fields[params.columns :]
    rows += [[f.name, f.stands_against, "", *empty, len(tried), np.nan, f.share, _untried(f)] for f in rest]
    dtypes = dict.fromkeys(TEXTS, "str") | {"tried": "int64"}
    return pd.DataFrame(rows, columns=COLUMNS).astype({name: dtypes.get(name, "float64") for name in COLUMNS})


def _fields(
    snapshots: pd.DataFrame,
    leads: pd.DataFrame,
    leaks: pd.DataFrame,
    told: pd.DataFrame,
    resolved: Resolved,
    spec: dict[str, Any],
    time: Periods,
) -> list[_Field]:
    """Columns that no feature is made from, that `validate` judged and cleared, in the contract's order."""
    clear = set(leaks.loc[(leaks["verdict"] == leakage.CLEAR) & leaks["gain"].notna(), "column"].astype(str))
    names = [
        name
        for name in leakage.judged(resolved)
        if name in clear
        and (column := resolved.contract.columns[name]).role in ("feature", "ignored")
        and column.known_at != "outcome"
        and not made_from(name, resolved, spec)
    ]
    found = _shares(names, snapshots, leads, resolved, time)
    dated = set(told.loc[told["verdict"] == periods.LEFT_OUT, "column"].astype(str))
    return [
        _Field(
            name,
            _against(name, resolved, name in dated or found.get(name, 0.0) > time.max_share),
            found.get(name, np.nan),
            resolved.excluded.get(name, ""),
        )
        for name in names
    ]


def _shares(
    names: list[str], snapshots: pd.DataFrame, leads: pd.DataFrame, resolved: Resolved, time: Periods
) -> dict[str, float]:
    """How much of each column its place in time explains, over the leads before the test window."""
    if resolved.contract.time.kind == "none":
        return {}
    before = snapshots.loc[snapshots["split"] != "test", [LEAD_KEY, "position"]].drop_duplicates(LEAD_KEY)
    mine = leads.iloc[pd.Index(leads[LEAD_KEY]).get_indexer(pd.Index(before[LEAD_KEY]))]
    values = {name: as_exported(mine, name, resolved) for name in names}
    return periods.shares(values, before["position"].to_numpy(), time)


def _against(name: str, resolved: Resolved, dates: bool) -> tuple[str, ...]:
    """What stands against a column, the gravest first; `dates`: it tells when rather than who."""
    column = resolved.contract.columns[name]
    # The contract excludes a feature known at creation only where its changes contradict that.
    contradicted = column.role == "feature" and column.known_at == "creation" and name in resolved.excluded
    holds = {
        UNKNOWN: column.known_at == "unknown",
        CHANGES: column.known_at == "over_time" or contradicted,
        PERIOD: dates,
        CONTRACT: column.role == "ignored",
    }
    return tuple(reason for reason, true in holds.items() if true)


def _levelled(trial: Trial, names: list[str]) -> np.ndarray:
    """Log-odds of the test rows at their best intercept, so that only the differences between leads count: a column
    that tells how good the times are would otherwise be credited with the level, which the score follows by itself."""
    log_odds = trial.log_odds(names)
    return log_odds + best_intercept(trial.truth, log_odds)


def _row(field: _Field, trial: Trial, without: np.ndarray, names: list[str], tried: int, level: float) -> list[Any]:
    with_ = _levelled(trial, names)
    before, after = trial.measure(without), trial.measure(with_)
    gain = gains(before, after)
    saved = row_losses(trial.truth, without) - row_losses(trial.truth, with_)
    half = float(stats.norm.ppf(0.5 + level / 2)) * weights.error_by_lead(saved - saved.mean(), trial.lead)
    low, high = gain["log_loss"] - half, gain["log_loss"] + half
    verdict = weights.verdict(low, high)
    figures = [figure for name in MEASURES for figure in (before[name], after[name], gain[name])]
    said = _sentence(field, verdict, (gain["log_loss"], low, high), (before["lift_10"], after["lift_10"]), tried)
    return [field.name, field.stands_against, verdict, *figures, low, high, tried, level, field.share, said]


def _sentence(
    field: _Field, verdict: str, gain: tuple[float, float, float], lift: tuple[float, float], tried: int
) -> str:
    """What the column would add and what stands against it, with figures as they are shown."""
    figures = f"{gain[0]:.4f} nats per look ({gain[1]:.4f} to {gain[2]:.4f}, {tried} tried)"
    if verdict == weights.NOTHING:
        return f"`{field.name}` would add nothing that can be told from chance: {figures}."
    if verdict != weights.ADDS:
        return f"`{field.name}` would make the figures on later leads worse: {figures}."
    advice = " ".join(ADVICE[reason].format(reason=field.reason) for reason in field.against)
    return (
        f"`{field.name}` would save {figures}, and make the lift in the top tenth {lift[1]:.2f} instead of "
        f"{lift[0]:.2f}. {advice}"
    )


def _untried(field: _Field) -> str:
    return f"`{field.name}` was not tried: `evaluate.leak_price.columns` in params.yaml says how many columns are."


def sentence(found: pd.DataFrame) -> str:
    """What `table` comes to, in words."""
    if found.empty:
        return "no field outside the model to try: every column that is neither leak nor suspect is in it"
    adding = found.loc[found["verdict"] == weights.ADDS]
    named = [f"{name} ({against})" for name, against in zip(adding["column"], adding["stands_against"], strict=True)]
    untried = int((found["verdict"] == "").sum())
    return (
        f"of {found['tried'].iloc[0]} fields outside the model {len(adding)} would add"
        + (f": {', '.join(named)}" if named else "")
        + (f"; {untried} more were not tried" if untried else "")
    )
