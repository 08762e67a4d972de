"""How long outcomes take, and from when on they were recorded.

The delay curve says which share of the conversions come within how many days. Leads are watched for different times and
may be lost before they convert, so it is the cumulative incidence with loss as a competing end and the newest moment as
censoring (Aalen and Johansen 1978; without losses it is one minus Kaplan and Meier's 1958 estimate), in steps of a day.

A history may begin before its outcomes do: a CRM that was filled with old leads knows nothing of those that converted
before it. Such leads look as if they had never converted. They are found by comparing the conversions recorded on each
day with those expected from the ages of the leads open on it (Page's 1954 cumulative sum).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.leads.contract import CONVERTED, CONVERTED_AT, CREATED_AT, LOST_AT, ROW, Contract
from pipeline.leads.specification import ages
from pipeline.params import Featurize, Maturity, Recording

DAY = pd.Timedelta(days=1)

#: Columns of the delay curve and of the table of cohorts, in order.
DELAY = ("day", "watched", "conversions", "losses", "converted", "share", "share_after_look")
COHORTS = ("cohort", "leads", "conversions", "expected", "excluded", "reason")


@dataclass(frozen=True)
class Suggestion:
    """A horizon: `days` after a look, `share` of the conversions still to come then that it catches, in words."""

    days: int
    share: float
    sentence: str


def delays(
    created_at: pd.Series,
    converted_at: pd.Series,
    lost_at: pd.Series | None,
    newest: pd.Timestamp,
    *,
    ages_days: list[int],
    params: Maturity,
) -> pd.DataFrame:
    """The delay curve, one row per day since creation, from 1 to the last with `params.min_watched` leads watched.

    Args:
        created_at, converted_at, lost_at: naive UTC moments, one per lead, NaT where it has not happened; what lies
            after `newest` has not happened either. `lost_at` is None where losses are not recorded.
        ages_days: ages at which leads are looked at.

    Returns:
        Columns `DELAY`. `watched`: leads open when the day begins and seen to its end; `conversions`, `losses` of these
        on that day; `converted`: chance to have converted by the end of the day; `share`: that over its last value, the
        share of conversions that come within `day` days after creation; `share_after_look`: of the conversions still to
        come when a lead is looked at, the share that come within `day` days after the look, over all ages. Without any
        conversion there is no row.
    """
    born, won, gone, end = _days(created_at, converted_at, lost_at, newest)
    known = ~np.isnan(born) & (born <= end)
    born, won, gone = born[known], won[known], gone[known]
    seen = np.maximum(np.floor(end - born), 0).astype("int64")
    # The day on which a lead ends: day 1 is the first 24 hours.
    converts, loses = (np.maximum(np.ceil(moment - born), 1) for moment in (won, gone))
    first = np.fmin(won, gone)
    ended = np.fmin(converts, loses)
    whole = ~np.isnan(first) & (ended <= seen)
    last = np.where(whole, ended, seen + 1).astype("int64")
    days = int(seen.max(initial=0))
    size = days + 2
    # Watched on day d: not ended before it, and seen to its end.
    ended_before = np.cumsum(np.bincount(last[whole], minlength=size))
    left_before = np.cumsum(np.bincount(last[~whole], minlength=size))
    day = np.arange(1, days + 1)
    watched = len(born) - ended_before[day - 1] - left_before[day]
    is_won = whole & (won == first)
    won_on, gone_on = (
        np.bincount(last[mask], minlength=size)[day].astype("int64") for mask in (is_won, whole & ~is_won)
    )
    enough = int(np.argmin(np.r_[watched >= params.min_watched, False]))
    day, watched, won_on, gone_on = day[:enough], watched[:enough], won_on[:enough], gone_on[:enough]
    if won_on.sum() == 0:
        return _no_curve()

    remain = np.cumprod(1 - (won_on + gone_on) / watched)
    converted = np.cumsum(np.r_[1.0, remain[:-1]] * won_on / watched)
    return pd.DataFrame(
        {
            "day": day,
            "watched": watched,
            "conversions": won_on,
            "losses": gone_on,
            "converted": converted,
            "share": converted / converted[-1],
            "share_after_look": _after_look(converted, ages_days),
        }
    )


def _no_curve() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype="float64" if k > 3 else "int64") for k, name in enumerate(DELAY)})


def _days(
    created_at: pd.Series, converted_at: pd.Series, lost_at: pd.Series | None, newest: pd.Timestamp
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Moments as days since the first midnight; NaN where missing or after `newest`."""
    start = created_at.min()
    origin = newest if pd.isna(start) else start.floor("D")

    def since(moments: pd.Series) -> np.ndarray:
        passed = moments.where(moments <= newest).to_numpy(dtype="datetime64[us]")
        return (passed - np.datetime64(origin, "us")) / np.timedelta64(1, "D")

    lost = np.full(len(created_at), np.nan) if lost_at is None else since(lost_at)
    return since(created_at), since(converted_at), lost, (newest - origin) / DAY


def _after_look(converted: np.ndarray, ages_days: list[int]) -> np.ndarray:
    """Of the conversions after each age, the share within 1, 2, ... days after it, all ages together."""
    upto = np.r_[0.0, converted]
    end = len(upto) - 1
    ages = np.minimum(np.asarray(ages_days or [0]), end)
    reached = np.minimum(ages[:, None] + np.arange(1, end + 1), end)
    to_come = (upto[end] - upto[ages]).sum()
    within = (upto[reached] - upto[ages][:, None]).sum(axis=0)
    return within / to_come if to_come > 0 else np.ones(end)


def share_within(curve: pd.DataFrame, horizon_days: int) -> float:
    """Share of the conversions still to come at a look that come within the horizon; NaN where `curve` has no row."""
    if curve.empty:
        return float("nan")
    return float(curve["share_after_look"].iloc[min(horizon_days, len(curve)) - 1])


def suggest_horizon(
    created_at: pd.Series,
    converted_at: pd.Series,
    lost_at: pd.Series | None,
    newest: pd.Timestamp,
    *,
    ages_days: list[int],
    params: Featurize,
) -> Suggestion | None:
    """A horizon for a history: the smallest round number of days that catches most conversions still to come.

    `suggest_horizon(leads["created_at"], leads["converted_at"], leads.get("lost_at"), newest, ages_days=..., params=
    params.featurize)`; moments as in `delays`. `ages_days`: all of `params.ages_days` where the source has activities,
    else the first (as `specification.ages`).

    The choice is from `params.maturity.horizons_days`: the smallest that catches `enough_share`. One that is too long
    for the history (with the first age it fills more than `window_share` of the calibrate window, if leads come evenly)
    is never suggested, unless it is the shortest.

    Returns:
        None where no conversion is seen.
    """
    curve = delays(created_at, converted_at, lost_at, newest, ages_days=ages_days, params=params.maturity)
    return suggest(curve, (newest - created_at.min()) / DAY, ages_days=ages_days, params=params)


def suggest(curve: pd.DataFrame, history_days: float, *, ages_days: list[int], params: Featurize) -> Suggestion | None:
    """`suggest_horizon` from a curve made before; `history_days`: from the first creation to the newest moment."""
    if curve.empty:
        return None
    limits = params.maturity
    room = limits.window_share * params.calibrate_share * history_days - ages_days[0]
    fits = [days for days in limits.horizons_days if days <= room] or limits.horizons_days[:1]
    shares = {days: share_within(curve, days) for days in fits}
    chosen = next((days for days in fits if shares[days] >= limits.enough_share), fits[-1])
    share = shares[chosen]
    sentence = (
        f"{share:.0%} of the conversions still to come when a lead is looked at come within {chosen} days (all: those "
        f"within {len(curve)} days of its creation)"
    )
    if share < limits.enough_share:
        sentence += "; a longer horizon would catch more, and leave too little of this history to test on"
    return Suggestion(days=chosen, share=share, sentence=sentence)


@dataclass(frozen=True)
class Delay:
    """How long the conversions of a history take.

    `curve`: as `delays` gives it, without rows where outcomes are decided at once. `horizon_days`: the contract's.
    `suggestion`: None where nothing is dated. `said`: a sentence to log; `warnings`: sentences worth one, none or one.
    """

    curve: pd.DataFrame
    horizon_days: int
    suggestion: Suggestion | None
    said: str
    warnings: list[str]

    @property
    def suggested_days(self) -> int | None:
        return None if self.suggestion is None else self.suggestion.days


def delay(leads: pd.DataFrame, contract: Contract, newest: pd.Timestamp, params: Featurize) -> Delay:
    """The delay curve of a history, and what it says of the contract's horizon.

    Args:
        leads: created_at, and converted_at and lost_at where the outcome is by dates; those whose outcome was recorded.
    """
    horizon = contract.outcome.horizon_days
    if contract.outcome.kind == "flag":
        return Delay(_no_curve(), horizon, None, "outcomes are decided at once: there is no delay to measure", [])
    looked_at = ages(contract, params)
    lost = leads[LOST_AT] if contract.outcome.dates_losses else None
    moments = (leads[CREATED_AT], leads[CONVERTED_AT], lost, newest)
    curve = delays(*moments, ages_days=looked_at, params=params.maturity)
    suggestion = suggest(curve, (newest - leads[CREATED_AT].min()) / DAY, ages_days=looked_at, params=params)
    if suggestion is None:
        return Delay(curve, horizon, None, "too few conversions are dated for a delay curve", [])
    within = ", ".join(
        f"{curve['share'].iloc[days - 1]:.0%} come within {days}" for days in (30, 60, 90) if days <= len(curve)
    )
    share = share_within(curve, horizon)
    said = (
        (f"of the conversions {within} days of creation; " if within else "")
        + f"the horizon of {horizon} days catches {share:.0%} of those still to come at a look; "
        f"suggested: {suggestion.days} days ({suggestion.share:.0%})"
    )
    warnings = []
    if share < params.maturity.little_share and suggestion.days > horizon:
        warnings.append(
            f"the horizon of {horizon} days catches only {share:.0%} of the conversions still to come when a lead is "
            f"looked at: a label 0 often means `later`. {suggestion.days} days would catch {suggestion.share:.0%}; if "
            "sales can plan by that, change `outcome.horizon_days` in the contract"
        )
    return Delay(curve, horizon, suggestion, said, warnings)


@dataclass(frozen=True)
class Recorded:
    """From when on outcomes were recorded.

    `kept`: per lead, indexed as the leads: True unless it was created before conversions were recorded. `cohorts`: the
    table `COHORTS`, one row per month of creation (per block of rows, where nothing is dated). `notes`: sentences to
    log, each worth a warning; empty where everything was recorded all along.
    """

    kept: pd.Series
    cohorts: pd.DataFrame
    notes: list[str]


def recorded(leads: pd.DataFrame, contract: Contract, newest: pd.Timestamp, params: Recording) -> Recorded:
    """Find leads created before conversions were recorded, and say where losses began later or the newest are missing.

    Args:
        leads: created_at, row, and converted_at and lost_at (outcome by dates) or converted (by flag).

    Recording counts as begun at the day (row) that best parts a stretch with few of the expected conversions from one
    with all of them. It must be a step, and the stretch before it worth judging: see `params`. A source without a time
    axis has no beginning. Leads created before losses were recorded are kept: what they converted to is known, only
    some that count as open were lost.
    """
    if contract.outcome.kind == "dates":
        return _recorded_by_date(leads, contract, newest, params)
    return _recorded_by_row(leads, contract, params)


def _recorded_by_date(leads: pd.DataFrame, contract: Contract, newest: pd.Timestamp, params: Recording) -> Recorded:
    lost = leads[LOST_AT] if contract.outcome.dates_losses else None
    watch = _Days.of(leads[CREATED_AT], leads[CONVERTED_AT], lost, newest)
    notes = []
    first = watch.begins("converted", params)
    begins = watch.moment(first)
    kept = leads[CREATED_AT] >= begins if first else pd.Series(True, index=leads.index)
    reason = f"conversions are recorded from {begins:%Y-%m-%d} on" if first else ""
    if first:
        notes.append(
            f"{reason}: {int((~kept).sum()):,} leads created before are left out, since those of them that converted "
            "by then look as if they never had"
        )
    if lost is not None and (loss := watch.begins("lost", params)):
        notes.append(
            f"losses are recorded from {watch.moment(loss):%Y-%m-%d} on: leads lost before count as open; their labels "
            "are right, but they are looked at when nobody would have called them"
        )
    if (last := watch.fades(first, params)) < watch.days:
        notes.append(
            f"since {watch.moment(last):%Y-%m-%d} fewer than {params.late_share:.0%} of the expected conversions are "
            "recorded: some may still come in, and the newest labels say 0 too often; if so, export the history again "
            "later"
        )
    month = leads[CREATED_AT].dt.strftime("%Y-%m")
    expected = pd.Series(watch.expected_by_now(first), index=leads.index)
    return Recorded(kept, _cohorts(month, leads[CONVERTED_AT] <= newest, expected, kept, reason), notes)


def _recorded_by_row(leads: pd.DataFrame, contract: Contract, params: Recording) -> Recorded:
    """Outcomes decided at once: the rate of conversion along the axis of time, row by row."""
    kept = pd.Series(True, index=leads.index)
    if contract.time.kind == "none":
        every = pd.Series("all", index=leads.index, dtype="str")
        rate = pd.Series(float(leads[CONVERTED].mean()), index=leads.index)
        return Recorded(kept, _cohorts(every, leads[CONVERTED], rate, kept, ""), [])
    by = [CREATED_AT, ROW] if contract.time.kind == "column" else [ROW]
    ordered = leads.sort_values(by)
    hit = ordered[CONVERTED].to_numpy(dtype="float64")
    dated = contract.time.kind == "column" or contract.time.calendar is not None

    def from_(first: int) -> np.ndarray:
        return np.full(len(hit), hit[first:].mean() if first < len(hit) else 0.0)

    def until(last: int) -> np.ndarray:
        return np.full(len(hit), hit[:last].mean() if last else 0.0)

    def name(place: int) -> str:
        at = f"row {int(ordered[ROW].iloc[place]):,}"
        return f"{ordered[CREATED_AT].iloc[place]:%Y-%m-%d} ({at})" if dated else at

    notes, reason = [], ""
    first = _step(hit, from_, params)
    if first:
        if contract.time.kind == "column":  # leads of one moment stay together
            kept = leads[CREATED_AT] >= ordered[CREATED_AT].iloc[first]
        else:
            kept = leads[ROW] >= ordered[ROW].iloc[first]
        reason = f"conversions are recorded from {name(first)} on"
        notes.append(
            f"{reason}: the {int((~kept).sum()):,} leads before are left out, since hardly any shows a conversion"
        )
    if (last := _fade(hit, until, params)) < len(hit):
        notes.append(
            f"since {name(last)} fewer than {params.late_share:.0%} of the expected conversions are recorded: some may "
            "still come in, and the newest labels say 0 too often"
        )
    if dated:
        cohort = leads[CREATED_AT].dt.strftime("%Y-%m")
    else:
        rows = leads[ROW].to_numpy()
        block = -(-(int(rows.max(initial=0)) or 1) // 30)
        place = (rows - 1) // block
        cohort = pd.Series(
            [f"rows {k * block + 1:,} to {(k + 1) * block:,}" for k in place], index=leads.index, dtype="str"
        )
    expected = pd.Series(from_(first), index=leads.index)
    return Recorded(kept, _cohorts(cohort, leads[CONVERTED], expected, kept, reason), notes)


def _cohorts(
    cohort: pd.Series, converted: pd.Series, expected: pd.Series, kept: pd.Series, reason: str
) -> pd.DataFrame:
    """One row per cohort in order of first appearance in time: leads, conversions, expected, leads excluded, why."""
    frame = pd.DataFrame(
        {
            "cohort": cohort,
            "leads": 1,
            "conversions": converted.astype("int64"),
            "expected": expected,
            "excluded": (~kept).astype("int64"),
        }
    )
    table = frame.groupby("cohort", sort=False).sum()
    table = table.iloc[np.argsort(_order(table.index), kind="stable")].reset_index()
    table["reason"] = np.where(table["excluded"] > 0, reason, "")
    return table[list(COHORTS)]


def _order(cohorts: pd.Index) -> np.ndarray:
    """Months sort as text; blocks of rows by their first row."""
    if len(cohorts) and str(cohorts[0]).startswith("rows "):
        return np.array([int(name.split()[1].replace(",", "")) for name in cohorts])
    return np.argsort(np.argsort(cohorts.to_numpy(dtype=object)))


@dataclass(frozen=True)
class _Days:
    """What a dated history shows, by day since its first midnight.

    `born`: each lead's day of creation; `closed`: its day of conversion or loss, the last day of the history where it
    has neither; `kind`: "converted", "lost" or "open". Leads created after the newest moment have `born` -1. `days`:
    days of the history, the last one not whole.
    """

    origin: pd.Timestamp
    days: int
    born: np.ndarray
    closed: np.ndarray
    kind: np.ndarray

    @classmethod
    def of(
        cls, created_at: pd.Series, converted_at: pd.Series, lost_at: pd.Series | None, newest: pd.Timestamp
    ) -> _Days:
        born, won, gone, end = _days(created_at, converted_at, lost_at, newest)
        closed = np.fmin(won, gone)
        last = np.floor(np.where(np.isnan(closed), max(end, 0.0), closed)).astype("int64")
        day = np.floor(np.where(np.isnan(born), -1.0, born)).astype("int64")
        kind = np.select([won == closed, gone == closed], ["converted", "lost"], "open")
        start = created_at.min()
        origin = newest if pd.isna(start) else start.floor("D")
        return cls(origin, max(int(end), 0) + 1, day, np.maximum(last, day), kind)

    def moment(self, day: int) -> pd.Timestamp:
        return self.origin + day * DAY

    def hits(self, kind: str) -> np.ndarray:
        """Outcomes of a kind recorded on each day."""
        return np.bincount(self.closed[(self.kind == kind) & (self.born >= 0)], minlength=self.days).astype("float64")

    def incidence(self, kind: str, first: int, last: int) -> np.ndarray:
        """Chance of an outcome at each age in days, learned from leads created on days first <= d < last, with nothing
        after `last` known; shape (days,), 0 beyond the oldest age seen."""
        mine = (self.born >= first) & (self.born < last)
        ended = mine & (self.closed < last) & (self.kind != "open")
        age = np.minimum(self.closed, last - 1) - self.born
        at_risk = np.cumsum(np.bincount(age[mine], minlength=self.days)[::-1])[::-1]

        def hazard(which: np.ndarray) -> np.ndarray:
            count = np.bincount(age[which], minlength=self.days)
            return np.divide(count, at_risk, out=np.zeros(self.days), where=at_risk > 0)

        remain = np.cumprod(1 - hazard(ended))
        return np.r_[1.0, remain[:-1]] * hazard(ended & (self.kind == kind))

    def expected(self, kind: str, first: int, last: int) -> np.ndarray:
        """Outcomes expected on each day: every lead's `incidence`, as if all were alike."""
        made = np.bincount(self.born[self.born >= 0], minlength=self.days)
        return np.convolve(made, self.incidence(kind, first, last))[: self.days]

    def begins(self, kind: str, params: Recording) -> int:
        """The day from which outcomes of a kind are recorded; 0 where they always were."""
        return _step(self.hits(kind), lambda first: self.expected(kind, first, self.days), params)

    def fades(self, first: int, params: Recording) -> int:
        """The day from which too few conversions are recorded; `days` where there is none."""
        return first + _fade(
            self.hits("converted")[first:],
            lambda last: self.expected("converted", first, first + last)[first:],
            params,
        )

    def expected_by_now(self, first: int) -> np.ndarray:
        """Each lead's chance to have converted by the newest moment, learned from leads created from `first` on."""
        upto = np.cumsum(self.incidence("converted", first, self.days))
        return np.where(self.born >= 0, upto[self.days - 1 - np.maximum(self.born, 0)], 0.0)


def _step(hits: np.ndarray, expected_from: Callable[[int], np.ndarray], params: Recording) -> int:
    """Where outcomes begin to be recorded: the first step that belongs to the recorded part, 0 where all do.

    Args:
        hits: outcomes recorded per step.
        expected_from: outcomes expected per step, learned from this step on.

    The start maximises the likelihood of `absent_share` of the expected outcomes before it and all of them after it,
    both Poisson; what is expected is learned again from the part found, until it stays. It is kept where `min_expected`
    were expected before it, at most `absent_share` of them (and two standard errors) recorded, and at least
    `present_share` in the next stretch of `min_expected`: what grows little by little is growth.
    """
    first = 0
    for _ in range(10):
        expected = expected_from(first)
        gain = np.log(params.absent_share) * hits + (1 - params.absent_share) * expected
        found = int(np.argmax(np.r_[0.0, np.cumsum(gain)]))
        if found == first:
            break
        first = found
    if first == 0 or first >= len(hits):
        return 0
    expected = expected_from(first)
    before = expected[:first].sum()
    allowed = params.absent_share * before
    if before < params.min_expected or hits[:first].sum() > allowed + 2 * np.sqrt(allowed):
        return 0
    after = expected[first:].sum()
    if after < params.min_expected or _grows(hits, expected, first, params):
        return 0
    return first


def _grows(hits: np.ndarray, expected: np.ndarray, first: int, params: Recording) -> bool:
    """True where a steady rise explains the outcomes better than a step at `first`: over `growth_share` of the history,
    twice that, or four times, from `absent_share` to all of the expected."""
    cuts = np.unique(np.linspace(0, len(hits), 1001).astype("int64"))[:-1]
    cuts = np.unique(np.r_[cuts, first])
    hits, expected = np.add.reduceat(hits, cuts), np.add.reduceat(expected, cuts)
    middle = (cuts + np.r_[cuts[1:], cuts[-1] + 1]) / 2 / cuts[-1]

    def likelihood(rate: np.ndarray) -> float:
        return float(np.sum(hits * np.log(rate) - rate * expected))

    absent = params.absent_share
    step = likelihood(np.where(cuts < first, absent, 1.0))
    rises = [
        likelihood(absent + (1 - absent) * np.clip((middle - start) / width, 0, 1))
        for width in (params.growth_share, 2 * params.growth_share, 4 * params.growth_share)
        for start in np.arange(-width, 1, width / 8)
    ]
    return max(rises) > step


def _fade(hits: np.ndarray, expected_until: Callable[[int], np.ndarray], params: Recording) -> int:
    """The step from which on fewer than `late_share` of the expected outcomes are recorded; len(hits) where none is.

    The mirror image of `_step`, without its second stretch; the expected is learned from the steps before. One in a
    thousand is the likelihood at which `as ever` is given up.
    """
    last = len(hits)
    for _ in range(10):
        expected = expected_until(last)
        gain = np.log(params.late_share) * hits + (1 - params.late_share) * expected
        total = np.cumsum(gain[::-1])
        found = len(hits) - int(np.argmax(np.r_[0.0, total]))
        if found == last:
            break
        last = found
    if last in (0, len(hits)):
        return len(hits)
    expected = expected_until(last)[last:]
    gain = np.log(params.late_share) * hits[last:] + (1 - params.late_share) * expected
    few = hits[last:].sum() < params.late_share * expected.sum()
    return last if few and expected.sum() >= params.min_expected and gain.sum() > np.log(1000) else len(hits)
