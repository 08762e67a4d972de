"""Candidates whose worth is known: bad ones of many kinds, each with the checks that must refuse it, and better ones.

A candidate is what it changes of the results that its world holds: chances of the test snapshots, and documents that
stages before the gate wrote. Better ones are made by the law, as little better as the test of log-loss still sees with
99 % power: with a gain of `(z(confidence) + z(0.99)) x standard error` in the mean, its lower bound at `confidence`
lies above 0 in 99 of 100 samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.gate.worlds import World
from pipeline.adapters import files
from pipeline.leads import cohort, contract
from pipeline.scoring.rivals import Rivals
from pipeline.scoring.weights import error_by_lead

BEATS = tuple(
    f"{metric}_beats_{rival}" for rival in ("base_rate", "one_feature", "card") for metric in ("log_loss", "lift_10")
)
BESIDE = tuple(f"champion_{name}" for name in ("log_loss", "lift_10", "calibration_error", "slices"))
POWER = 0.99


@dataclass(frozen=True)
class Changed:
    """What a candidate changes. `probability`: of the test snapshots, NaN where refused; `files`: artefact -> content;
    `keep`: which test snapshots there are at all; `scorer`: whether the scorer is another one than the champion."""

    probability: np.ndarray
    files: dict[str, Any] = field(default_factory=dict)
    keep: np.ndarray | None = None
    scorer: bool = True


@dataclass(frozen=True)
class Bad:
    """`checks`: those that must refuse it; `also`: those that may, for the same fault; `then`: what must become of it
    where no check refuses it: `same` (it is a version already) or `incomparable`."""

    make: Callable[[World, np.random.Generator], Changed]
    checks: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    then: str = ""


def logit(chance: np.ndarray) -> np.ndarray:
    return np.log(chance) - np.log1p(-chance)


def expit(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))


def true(world: World) -> np.ndarray:
    """The law's chances, away from 0 and 1, where a simulation of few paths may lie."""
    return np.clip(world.truth, 0.002, 0.998)


# Worse scores


def _noisy(spread: float) -> Callable[[World, np.random.Generator], Changed]:
    def make(world: World, rng: np.random.Generator) -> Changed:
        return Changed(expit(logit(world.champion) + rng.normal(0, spread, len(world.test))))

    return make


def _older(world: World, _: np.random.Generator) -> Changed:
    """A logistic regression that learned from the oldest quarter of the history."""
    earlier = _earlier(world)
    old = earlier[earlier["position"] < earlier["position"].quantile(0.25)]
    return Changed(_regression(world, old, _features(world)))


def _without(world: World, _: np.random.Generator) -> Changed:
    """A logistic regression without the two criteria that matter most."""
    criteria = files.Results(world.workspace).csv("explain/criteria.csv")
    best = criteria.nlargest(2, "share")["criterion"].tolist()
    kept = [name for name, criterion in _features(world).items() if criterion not in best]
    return Changed(_regression(world, _earlier(world), kept))


def _earlier(world: World) -> pd.DataFrame:
    snapshots = files.Results(world.workspace).table("featurize/snapshots.parquet")
    return snapshots[snapshots["split"] != "test"].reset_index(drop=True)


def _features(world: World) -> dict[str, str]:
    """Feature -> criterion."""
    from pipeline.scorer.features import feature_list

    spec = files.read_json(world.workspace.path("featurize/features.json"))
    return {part["name"]: part["criterion"] for part in feature_list(spec)}


def _regression(world: World, rows: pd.DataFrame, names: Any) -> np.ndarray:
    fitted = Rivals.fit(rows, list(names), bins=10, seed=1, threads=1)
    return fitted.predict(world.test)["logistic"].to_numpy()


def _shifted(by: float) -> Callable[[World, np.random.Generator], Changed]:
    return lambda world, _: Changed(expit(logit(true(world)) + by))


def _overconfident(world: World, _: np.random.Generator) -> Changed:
    value = logit(true(world))
    return Changed(expit(value.mean() + 1.5 * (value - value.mean())))


def _off_in_a_group(world: World, _: np.random.Generator) -> Changed:
    value = logit(true(world))
    [largest] = world.test["source"].value_counts().index[:1]
    return Changed(expit(np.where(world.test["source"] == largest, value - 0.9, value)))


def _blunt(world: World, _: np.random.Generator) -> Changed:
    """The law, but all of the top fifth have one score."""
    chance = true(world)
    top = chance >= np.quantile(chance, 0.8)
    return Changed(np.where(top, chance[top].mean(), chance))


def _shuffled(world: World, rng: np.random.Generator) -> Changed:
    return Changed(rng.permutation(world.champion))


def _rival(name: str) -> Callable[[World, np.random.Generator], Changed]:
    return lambda world, _: Changed(world.rivals[name].to_numpy(dtype="float64"))


def _broken(world: World, _: np.random.Generator) -> Changed:
    return Changed(np.full(len(world.test), np.nan))


def _picky(world: World, rng: np.random.Generator) -> Changed:
    chance = true(world)
    chance[rng.permutation(len(chance))[:25]] = np.nan
    return Changed(chance)


# Scores too good to be true


def _told(world: World, rng: np.random.Generator) -> np.ndarray:
    """The law, by whoever also sees a number that lies 1.5 standard deviations higher where a lead converts: calibrated
    (Bayes' rule), and far better than the law without it."""
    apart = 1.5
    seen = apart * (world.test["label"].to_numpy() - 0.5) + rng.normal(size=len(world.test))
    return expit(logit(true(world)) + apart * seen)


def _leaky(world: World, rng: np.random.Generator) -> Changed:
    """It wins by far, and reads what is filled in when a deal closes."""
    spec = files.read_json(world.workspace.path("featurize/features.json"))
    leak = spec["profile"][0] | {"name": "deal_value_eur", "source": "deal_value_eur"}
    return Changed(_told(world, rng), {"featurize/features.json": spec | {"profile": [*spec["profile"], leak]}})


def _foresighted(world: World, rng: np.random.Generator) -> Changed:
    """It wins by far, and a feature of it looks into the future."""
    proof = files.read_json(world.workspace.path("featurize/time_proof.json"))
    found = {"differences": 7, "passed": False, "columns": ["n_call_7d"]}
    return Changed(_told(world, rng), {"featurize/time_proof.json": proof | found})


def _unproved(world: World, _: np.random.Generator) -> Changed:
    proof = files.read_json(world.workspace.path("featurize/time_proof.json"))
    return Changed(true(world), {"featurize/time_proof.json": proof | {"pairs": 0}})


def _split(spoil: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]) -> Callable[..., Changed]:
    """A split that `spoil` made from a sound one, looked at again as `featurize` does."""

    def make(world: World, _: np.random.Generator) -> Changed:
        results = files.Results(world.workspace)
        resolved = contract.restore(results.json("ingest/contract.json"))
        windows = results.csv("featurize/splits.csv")
        windows[["start", "end"]] = windows[["start", "end"]].apply(pd.to_datetime)
        spoiled = spoil(results.table("featurize/snapshots.parquet"), windows)
        newest = pd.Timestamp(results.json("ingest/provenance.json")["newest_recorded_at"])
        leads = results.table("validate/leads.parquet")
        found = cohort.check_windows(spoiled, windows, leads, resolved.contract, newest)
        proof = results.json("featurize/time_proof.json")
        return Changed(true(world), {"featurize/time_proof.json": proof | {"split_faults": found}})

    return make


def _in_two(snapshots: pd.DataFrame, _: pd.DataFrame) -> pd.DataFrame:
    """The first look at twenty leads of the test window was learned from."""
    first = snapshots[snapshots["split"] == "test"].drop_duplicates("lead_id").index[:20]
    return snapshots.assign(split=snapshots["split"].mask(snapshots.index.isin(first), "train"))


def _past_end(snapshots: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """The last looks of the train window reach past its end."""
    end = windows.set_index("split").loc["train", "end"].floor("D")
    last = snapshots[snapshots["split"] == "train"].sort_values("as_of").index[-20:]
    return snapshots.assign(as_of=snapshots["as_of"].mask(snapshots.index.isin(last), end - pd.Timedelta(days=5)))


# Data


def _few(world: World, _: np.random.Generator) -> Changed:
    """The first leads of the test window only, of whom forty convert."""
    keep = (world.test["label"].cumsum() <= 40).to_numpy()
    return Changed(true(world), keep=keep)


def _moved(days: int) -> Callable[[World, np.random.Generator], Changed]:
    """Its history ends so many days later than its outcomes let it, or earlier than the champion's."""

    def make(world: World, _: np.random.Generator) -> Changed:
        told = files.read_json(world.workspace.path("ingest/provenance.json"))
        newest = pd.Timestamp(told["newest_recorded_at"]) + pd.Timedelta(days=days)
        return Changed(true(world), {"ingest/provenance.json": told | {"newest_recorded_at": newest.isoformat()}})

    return make


def _copied(world: World, _: np.random.Generator) -> Changed:
    return Changed(world.champion, scorer=False)


def _horizon(world: World, _: np.random.Generator) -> Changed:
    """It promises conversions within another horizon."""
    told = files.read_json(world.workspace.path("ingest/contract.json"))
    outcome = told["contract"]["outcome"] | {"horizon_days": 60}
    return Changed(true(world), {"ingest/contract.json": told | {"contract": told["contract"] | {"outcome": outcome}}})


BAD: dict[str, Bad] = {
    "a copy with noise": Bad(_noisy(0.3), ("champion_log_loss",), BESIDE),
    "a copy with a little noise": Bad(_noisy(0.05), ("champion_log_loss",)),
    "an old model": Bad(_older, ("champion_log_loss",), ("calibration_error", *BEATS[4:], *BESIDE)),
    "without its best criteria": Bad(_without, ("champion_log_loss",), ("calibration_error", *BEATS[4:], *BESIDE)),
    "scores too high": Bad(_shifted(0.45), ("calibration_error", "champion_calibration_error"), BESIDE),
    "scores too low": Bad(_shifted(-0.6), ("calibration_error", "champion_calibration_error"), BESIDE),
    "overconfident": Bad(_overconfident, ("champion_calibration_error",), ("calibration_error", BEATS[4], *BESIDE)),
    "off in one group": Bad(_off_in_a_group, ("champion_slices",), ("calibration_error", *BESIDE)),
    "blunt at the top": Bad(_blunt, ("champion_lift_10",), (BEATS[5], *BESIDE)),
    "shuffled": Bad(_shuffled, BEATS[:4], (*BEATS, *BESIDE, "calibration_error")),
    "the base rate": Bad(_rival("base_rate"), BEATS, ("calibration_error", *BESIDE)),
    "one feature": Bad(_rival("one_feature"), BEATS[2:], ("calibration_error", *BESIDE)),
    "the points card": Bad(_rival("card"), BEATS[4:], ("calibration_error", *BESIDE)),
    "no scores": Bad(_broken, ("unscored_rows", *BEATS, "calibration_error"), ("test_conversions",)),
    "rows refused": Bad(_picky, ("unscored_rows",)),
    "a leak among its inputs": Bad(_leaky, ("excluded_columns",)),
    "a feature of the future": Bad(_foresighted, ("time_proof",)),
    "nothing proved": Bad(_unproved, ("time_proof",)),
    "leads in two windows": Bad(
        _split(_in_two), ("split_leads_in_two_splits",), ("split_out_of_window", "split_horizon_past_end")
    ),
    "horizon past the end": Bad(
        _split(_past_end),
        ("split_horizon_past_end",),
        ("split_wrong_labels", "split_closed_leads", "split_snapshots_twice"),
    ),
    "too few conversions": Bad(_few, ("test_conversions",), (*BEATS, "calibration_error", "outcomes_fresh")),
    "stale outcomes": Bad(_moved(120), ("outcomes_fresh",)),
    "data older than the champion's": Bad(_moved(-60), ("champion_data",)),
    "an identical copy": Bad(_copied, then="same"),
    "another horizon": Bad(_horizon, then="incomparable"),
}


# Better scores


def some_leads(world: World, share: float, rng: np.random.Generator) -> np.ndarray:
    """The law for a share of the leads, the champion for the others."""
    return np.where(_of_lead(world, rng) < share, true(world), world.champion)


def half_way(world: World, share: float, rng: np.random.Generator) -> np.ndarray:
    """Half of the way from the champion to the law, for a share of the leads."""
    nearer = expit((logit(true(world)) + logit(world.champion)) / 2)
    return np.where(_of_lead(world, rng) < share, nearer, world.champion)


def other_errors(world: World, share: float, rng: np.random.Generator) -> np.ndarray:
    """The law with errors of its own, smaller the larger the share; calibrated, as noise makes scores overconfident."""
    value = logit(true(world))
    spread = 1.2 * (1 - share)
    kept = value.var() / (value.var() + spread**2)
    seen = value + rng.normal(0, spread, len(value))
    line = value.mean() + kept * (seen - value.mean())
    level = 0.0
    for _ in range(30):
        level += logit(true(world).mean()) - logit(expit(line + level).mean())
    return expit(line + level)


def some_groups(world: World, share: float, rng: np.random.Generator) -> np.ndarray:
    """The law in a share of the industries and countries, taken together."""
    group = world.test["industry"].astype(str) + world.test["country"].astype(str)
    names = np.array(sorted(group.unique()))
    drawn = pd.Series(rng.random(len(names)), index=names)
    return np.where(group.map(drawn).to_numpy() < share, true(world), world.champion)


BETTER = {
    "the law for some leads": some_leads,
    "half way for some leads": half_way,
    "smaller errors of its own": other_errors,
    "the law in some groups": some_groups,
}


def _of_lead(world: World, rng: np.random.Generator) -> np.ndarray:
    """A number in [0, 1) for every row, the same for all rows of a lead."""
    code, leads = pd.factorize(world.test["lead_id"])
    return rng.random(len(leads))[code]


@dataclass(frozen=True)
class Margin:
    """By how much a candidate is better: mean gain in log-loss by law, and its standard error by lead."""

    gain: float
    error: float

    @property
    def standard_errors(self) -> float:
        return self.gain / self.error if self.error > 0 else 0.0


def margin(world: World, candidate: np.ndarray) -> Margin:
    """The expected gain over the champion, under the law's second simulation, which no candidate was made from."""
    label = world.test["label"].to_numpy(dtype="float64")

    def apart(outcome: np.ndarray) -> np.ndarray:
        won, lost = np.log(candidate / world.champion), np.log1p(-candidate) - np.log1p(-world.champion)
        return outcome * won + (1 - outcome) * lost

    seen = apart(label)
    return Margin(float(apart(world.judge).mean()), error_by_lead(seen - seen.mean(), world.test["lead_id"].to_numpy()))


def least(
    world: World, make: Callable[[World, float, np.random.Generator], np.ndarray], seed: int
) -> tuple[np.ndarray, Margin] | None:
    """The candidate of a kind that is least better and still seen with 99 % power; None where the law is not."""
    wanted = float(stats.norm.ppf(world.params.register_.confidence) + stats.norm.ppf(POWER))
    for share in np.linspace(0.02, 1, 50):
        candidate = make(world, float(share), np.random.default_rng([seed, 3]))
        found = margin(world, candidate)
        if found.standard_errors >= wanted:
            return candidate, found
    return None


def better(world: World, times: int, seeds: Iterator[int]) -> Iterator[tuple[str, Changed, Margin]]:
    """So many candidates of every kind, least better, each by draws of its own."""
    for name, make in times * list(BETTER.items()):
        found = least(world, make, next(seeds))
        if found is not None:
            yield name, Changed(found[0]), found[1]
