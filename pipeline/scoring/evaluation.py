"""How good a scorer is on the newest leads, in parts: what is judged, what stands beside it, measured, group by group.

Result tables go by the names of the files that they become, so that whoever adds one names it here and in the
catalogue, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ArtefactError, NotEnoughData
from pipeline.leads import cards, leakage
from pipeline.leads.contract import Resolved
from pipeline.leads.playbooks import Worth
from pipeline.leads.snapshots import rows_at
from pipeline.params import Evaluate, Params
from pipeline.scorer import Scorer
from pipeline.scorer.features import directions, feature_list
from pipeline.scoring import (
    capacity,
    card_backtest,
    fairness,
    fields_outside,
    leak_price,
    levels,
    metrics,
    optimism,
    payoff,
    report_facts,
    report_sales,
)
from pipeline.scoring.capacity import Terms
from pipeline.scoring.payoff import Payoff
from pipeline.scoring.rivals import Rivals

KEY = ["lead_id", "as_of"]

#: Shares of the leads called first in the lift table.
SHARES = (0.01, 0.02, 0.05, *(tenth / 10 for tenth in range(1, 11)))

Tables = dict[str, pd.DataFrame]


# What is judged


@dataclass(frozen=True)
class Window:
    """The test window: its snapshots, what is known of their leads, and what the scorer returned for them.

    All in the order of the snapshots. `snapshots`: key, label and features. `rows`: the leads' rows with `as_of`.
    `scores`: as the scorer returns them, and `label`.
    """

    snapshots: pd.DataFrame
    rows: pd.DataFrame
    scores: pd.DataFrame

    @classmethod
    def of(cls, snapshots: pd.DataFrame, leads: pd.DataFrame, scores: pd.DataFrame, version: str) -> Window:
        """Put side by side what was loaded.

        Args:
            snapshots: of every split. `leads`: clean leads. `scores`: as `explain` saved them. `version`: of the scorer
                that is judged.

        Raises:
            ArtefactError: the scores are of other rows, or of another scorer.
        """
        test = snapshots[snapshots["split"] == "test"].reset_index(drop=True)
        check_scores(scores, test[KEY], version)
        return cls(test, rows_at(leads, test[KEY]), scores.assign(label=test["label"]))

    @property
    def scored(self) -> np.ndarray:
        """True for every row with a score: systems are measured on these, the gate counts the others."""
        return (self.scores["refused"] == "").to_numpy()

    @property
    def judged(self) -> pd.DataFrame:
        """Scores and labels of the rows with a score."""
        return self.scores[self.scored].reset_index(drop=True)


def check_scores(scores: pd.DataFrame, test: pd.DataFrame, version: str) -> None:
    """What is judged must be what this scorer returned for the test snapshots, one row each, in their order.

    Args:
        scores: as `explain` saved them. `test`: key of the test snapshots.

    Raises:
        ArtefactError: rows of other snapshots, or of another scorer; the message counts them.
    """
    if not scores[KEY].equals(test):
        raise ArtefactError(
            f"explain/scores.parquet holds {len(scores):,} rows that are not the {len(test):,} snapshots of the test "
            "window in their order; run `dvc repro -f explain`."
        )
    if others := int((scores["model_version"] != version).sum()):
        raise ArtefactError(
            f"{others:,} rows of explain/scores.parquet were not scored by {version}, the scorer of "
            "calibrate/scorer; run `dvc repro -f explain`."
        )


def check_features(built: pd.DataFrame, stored: pd.DataFrame) -> None:
    """The scorer must build from raw rows what featurize stored, to the last bit.

    Raises:
        ArtefactError: columns or values differ; the message names the features and counts the rows.
    """
    if list(built.columns) != list(stored.columns):
        raise ArtefactError("the scorer builds other features than featurize/snapshots.parquet holds; run `dvc repro`.")
    apart = (built.ne(stored) & ~(built.isna() & stored.isna())).sum()
    if faults := [f"{name} ({count:,} rows)" for name, count in apart.items() if count]:
        raise ArtefactError(
            f"the scorer's features differ from featurize/snapshots.parquet in the test window: {', '.join(faults)}. "
            "Run `dvc repro -f featurize`; if that does not help, the scorer reads a column as featurize does not."
        )


# What stands beside it


@dataclass(frozen=True)
class Beside:
    """What was learned on the same history, to stand beside the candidate.

    `rivals`: simpler systems. `leak_price`: see `leak_price.price`. `fields_outside`: see `fields_outside.table`.
    `dealt`: the candidate's own settings on a random split, see `optimism.refit`; without rows where no such split was
    made.
    """

    rivals: Rivals
    leak_price: pd.DataFrame
    fields_outside: pd.DataFrame
    dealt: pd.DataFrame


def fit_beside(
    snapshots: pd.DataFrame,
    leads: pd.DataFrame,
    leaks: pd.DataFrame,
    periods: pd.DataFrame,
    resolved: Resolved,
    spec: dict[str, Any],
    chosen: list[dict[str, Any]],
    params: Params,
) -> Beside:
    """Learn everything that the candidate is compared with, side by side: none waits for another.

    Args:
        snapshots: of every split. `leads`: clean leads. `leaks`, `periods`: verdict per column, as `validate` and
            `featurize` wrote them.
        chosen: settings of the candidate's members, as `tune` wrote them; none where no random split is to be made.

    Raises:
        NotEnoughData: the rows before the test window hold one outcome only.
    """
    names = [feature["name"] for feature in feature_list(spec)]
    run, own = params.run, params.evaluate
    before, drawn = snapshots[snapshots["split"] != "test"], {"seed": run.seed, "threads": run.threads}
    with ThreadPoolExecutor(run.threads) as pool:  # the longest first
        dealt = None
        if chosen:
            dealt = pool.submit(optimism.refit, snapshots, names, chosen, params.train, run, directions(spec))
        price = pool.submit(leak_price.price, snapshots, leads, leaks, resolved, spec, own.leak_price, **drawn)
        rivals = pool.submit(Rivals.fit, before, names, bins=own.bins, **drawn)
        fields = (snapshots, leads, leaks, periods, resolved, spec, own.leak_price, params.featurize.periods)
        outside = pool.submit(
            fields_outside.table, *fields, level=own.interval_level, seed=run.seed, threads=run.threads
        )
        return Beside(rivals.result(), price.result(), outside.result(), dealt.result() if dealt else pd.DataFrame())


def rival_scores(
    window: Window,
    rivals: Rivals,
    card: Mapping[str, Any] | None,
    snapshots: pd.DataFrame,
    tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
    spec: Mapping[str, Any],
) -> pd.DataFrame:
    """Each rival's probability for every test snapshot: key, `label`, a column per rival, `card` where there is a card.

    Args:
        card: the strategist's points card as `ingest` wrote it, None where the contract has none. What its points are
            worth is learned on the calibrate window of `snapshots`.
        tables: clean leads, activities, changes.

    Raises:
        CardError: the card cannot be counted on this contract.
    """
    leads, *history = tables
    found = pd.concat([window.snapshots[[*KEY, "label"]], rivals.predict(window.snapshots)], axis=1)
    if card is not None:
        before = snapshots[snapshots["split"] == "calibrate"]
        found["card"] = card_backtest.as_rival(
            cards.parse(card, file="ingest/card.json"),
            rows_at(leads, before[KEY]),
            before["label"].to_numpy(),
            window.rows,
            (history[0], history[1]),
            spec,
        )
    return found


# Measured


@dataclass(frozen=True)
class Measured:
    """`systems`: `lead_id`, `as_of`, `label` and the probability of `candidate` and every rival, of the rows with a
    score. `figures`: of the candidate, by name. `tables`: `intervals`, `rivals`, `reliability`, `lift`."""

    systems: pd.DataFrame
    figures: dict[str, Any]
    tables: Tables

    @property
    def label(self) -> np.ndarray:
        return self.systems["label"].to_numpy()

    @property
    def probability(self) -> np.ndarray:
        """Of the candidate, shape (n_rows,), in (0, 1)."""
        return self.systems["candidate"].to_numpy()


def measure(window: Window, rivals: pd.DataFrame, params: Evaluate, seed: int) -> Measured:
    """How good the candidate is, how sure that is, and what its rivals reach on the same rows.

    Args:
        rivals: as `rival_scores` gives them.
    """
    scored = window.scored
    systems = rivals.assign(candidate=window.scores["probability"])[scored]
    label, probability = systems["label"].to_numpy(), systems["candidate"].to_numpy()
    every = metrics.bootstrap_by_lead(
        systems,
        ["candidate", *rivals.columns.drop([*KEY, "label"])],
        bins=params.bins,
        samples=params.bootstrap_samples,
        level=params.interval_level,
        seed=seed,
    )
    reliability = metrics.reliability(label, probability, params.bins, params.reliability_level, systems["lead_id"])
    figures = metrics.summary(label, probability, bins=params.bins) | {
        "rows": len(systems),
        "leads": int(systems["lead_id"].nunique()),
        "conversions": int(label.sum()),
        "unscored": int((~scored).sum()),
        "bins_hold_share": float(reliability["holds"].mean()),
    }
    tables = {
        "intervals": every[every["system"] == "candidate"].drop(columns="system"),
        "rivals": every,
        "reliability": reliability,
        "lift": metrics.lift_table(label, probability, SHARES),
    }
    return Measured(systems, figures, tables)


def soundness(
    window: Window,
    measured: Measured,
    beside: Beside,
    scorer: Scorer,
    level: Mapping[str, Any],
    params: Evaluate,
    seed: int,
) -> dict[str, Any]:
    """Figures of how far scores can be relied on: their level and its age, their intervals, and what a random split
    would have flattered them by.

    Args:
        level: the current level, as `calibrate` described it.
    """
    systems = measured.systems
    as_of, own = systems["as_of"], systems.assign(probability=systems["candidate"])
    return {
        "interval_coverage": levels.coverage(window.judged, params.bins, scorer.interval.level),
        "one_feature": beside.rivals.one_feature.name,
        "model_version": scorer.version,
        **levels.figures(level, as_of, systems["lead_id"], measured.label, measured.probability, params),
        **optimism.gap(own, beside.dealt, params, seed),
    }


def circumstances(
    best: Mapping[str, Any], signal: Mapping[str, Any], leaks: pd.DataFrame, resolved: Resolved
) -> dict[str, Any]:
    """What was known of the candidate before a test row was looked at, and a reader of its figures must know.

    Args:
        best: as `tune` wrote it. `signal`: as `train` found it. `leaks`: as `validate` judged them.
    """
    random = resolved.contract.time.kind == "none"
    found = {
        "conversions_needed": best["conversions_needed"],
        "repeatable": best["repeatable"],
        "signal": bool(signal["found"]),
        "signal_standard_errors": signal["z"],
        "split": "random" if random else "time",
        "warning": metrics.RANDOM_SPLIT if random else "",
        "leaks_overruled": len(leakage.overruled(leaks)),
    }
    return found if signal["p_value"] is None else found | {"signal_p_value": signal["p_value"]}


# What it is worth


@dataclass(frozen=True)
class InAWeek:
    """What tiers bring a week. `payoff`: None where nobody says what a call and a deal are worth, or the window is too
    short; `why_not` says so then. `tables`: `tier_worth`, `profit`, `tier_history` and `by_month`."""

    payoff: Payoff | None
    why_not: str
    tables: Tables


def in_a_week(
    window: Window,
    split: Mapping[Any, Any],
    bands: Sequence[Mapping[str, Any]],
    worth: Worth | None,
    spec: Mapping[str, Any],
    resolved: Resolved,
    params: Evaluate,
    seed: int,
) -> InAWeek:
    """What each tier brings a week, and whether tiers and scores stay what they are from month to month.

    Args:
        split: the test window: what it was cut along (`axis`), its `start` and `end`.
        bands: the scorer's tiers, from the best down. `worth`: as the playbook states it.
    """
    looks = window.judged[["lead_id", "as_of", "score", "probability", "label"]].assign(
        created_at=window.rows.loc[window.scored, "created_at"].to_numpy()
    )
    found, why_not = None, "no playbook says what a call costs and a deal is worth"
    if worth is not None:
        try:
            found = payoff.of(
                *(looks, split, Terms.of(worth), bands, params),
                max_age_days=spec["max_age_days"] or 0,
                new_per_week=worth.new_per_week,
                period="month",
                seed=seed,
            )
        except NotEnoughData as short:
            why_not = str(short)
    history = payoff.history(looks, split, bands, params, period="month") if found is None else found.history
    dated = report_facts.has_dates(resolved, looks["as_of"])
    months = report_sales.by_month(looks if dated else looks.head(0), params.reliability_level)
    tables = {
        "tier_worth": capacity.no_table() if found is None else found.table,
        "profit": capacity.no_curve() if found is None else found.curve,
        "tier_history": history,
        "by_month": months,
    }
    return InAWeek(found, why_not, tables)


# Group by group


def by_group(
    window: Window, spec: dict[str, Any], resolved: Resolved, bands: Sequence[Mapping[str, Any]], params: Evaluate
) -> Tables:
    """The candidate among the rows of each value of a category (`slices`), whether groups are treated alike
    (`fairness`), columns that the contract has watched among them, and what each tier holds (`tiers`).

    Args:
        bands: the scorer's tiers, from the best down.
    """
    level, least = params.interval_level, params.slice_min_rows
    categories = {one["name"]: one["criterion"] for one in feature_list(spec) if one["type"] == "category"}
    watched = fairness.watched(resolved)
    rows = window.snapshots.assign(
        probability=window.scores["probability"],
        selected=window.scores["tier"] == bands[0]["name"],
        **{name: window.rows[name] for name in watched},
    )[window.scored]
    every = categories | dict.fromkeys(watched, "")
    return {
        "slices": metrics.slices(rows, categories, level=level, min_rows=least),
        "fairness": fairness.table(rows, every, level=level, min_rows=least),
        "tiers": report_facts.tiers(window.judged, bands, level),
    }
