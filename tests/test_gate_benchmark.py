"""Bad candidates of every kind are refused for the right reason, and the truly better ones pass: `python -m
benchmarks.gate` in small, where a known law makes the outcomes."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.gate import kinds, trial, worlds
from pipeline import params as params_module
from pipeline.leads import lineage
from pipeline.paths import Workspace
from pipeline.scoring import challenge, gate

LEADS, LOOKS = 3000, 2
SOUND: dict[str, Any] = {
    "time_proof": {"pairs": 50, "differences": 0, "passed": True},
    "split_faults": {"leads_in_two_splits": 0, "horizon_past_end": 0},
    "excluded": ["deal_value_eur"],
    "features": ["employees"],
    "newest": pd.Timestamp("2024-07-10"),
}


@pytest.fixture(scope="module")
def world(project_root: Path) -> worlds.World:
    """Test snapshots of leads whose law is known, two looks each, and a champion that misses it."""
    params = params_module.load(project_root / "params.yaml")
    limits = params.register_.model_copy(update={"bootstrap_samples": 100})
    rng = np.random.default_rng(7)
    size = LEADS * LOOKS
    value = np.repeat(rng.normal(-1.8, 1.2, LEADS), LOOKS) + rng.normal(0, 0.3, size)
    truth = kinds.expit(value)
    test = pd.DataFrame(
        {
            "lead_id": np.repeat([f"L{k:05d}" for k in range(LEADS)], LOOKS),
            "as_of": pd.to_datetime(["2024-05-01", "2024-06-01"] * LEADS),
            "label": (rng.random(size) < truth).astype("int8"),
            "position": np.repeat(np.arange(LEADS), LOOKS),
            "source": np.repeat(rng.choice(["event", "list", "search"], LEADS), LOOKS),
            "industry": np.repeat(rng.choice(["retail", "energy"], LEADS), LOOKS),
            "country": np.repeat(rng.choice(["DE", "FR", "PL"], LEADS), LOOKS),
        }
    )

    def calibrated(spread: float) -> np.ndarray:
        """The mean chance of those who look alike to whoever sees the law through so much noise."""
        order = np.argsort(value + rng.normal(0, spread, size))
        chance = np.empty(size)
        for alike in np.array_split(order, 200):
            chance[alike] = truth[alike].mean()
        return chance

    rivals = test[["lead_id", "as_of"]].assign(
        base_rate=test["label"].mean(), one_feature=calibrated(4.0), card=calibrated(1.6)
    )
    settings = params.model_copy(update={"register_": limits})
    return worlds.World(Workspace(project_root), settings, test, calibrated(0.8), truth, truth, rivals)


def taught(newest: pd.Timestamp) -> lineage.Known:
    contract = {"contract": {"outcome": {"horizon_days": 30}, "time": {"kind": "row_order"}}}
    splits = pd.DataFrame({"split": ["calibrate"], "end": [0]})
    return lineage.known(contract, splits, {"newest_recorded_at": newest.isoformat(), "source": {}}, 1)


def decided(world: worlds.World, probability: np.ndarray, **changed: Any) -> gate.Decision:
    """The whole gate, as the stage puts it together."""
    given = SOUND | changed
    limits, evaluate = world.params.register_, world.params.evaluate
    scored = ~np.isnan(probability)
    label = world.test["label"].to_numpy()
    told = gate.measures.summary(label[scored], probability[scored], bins=evaluate.bins) if scored.any() else {}
    created = pd.Series(pd.NaT, index=world.test.index)
    beside = challenge.judge(
        *(world.test, created, probability, world.champion, taught(given["newest"]), taught(SOUND["newest"]), ""),
        *(["source"], limits, evaluate),
        seed=1,
    )
    return gate.decide(
        scores=world.test.assign(probability=probability),
        rivals=world.rivals,
        metrics={"calibration_error": told.get("calibration_error"), "signal": True, "conversions_needed": 0},
        against=beside.checks,
        horizon_days=30,
        champion=1,
        limits=limits,
        bins=evaluate.bins,
        seed=1,
        **given,
    )


#: Kinds of the benchmark that are nothing but other chances.
SCORES = [
    "a copy with noise", "a copy with a little noise", "scores too high", "scores too low", "overconfident",
    "off in one group", "blunt at the top", "shuffled", "the base rate", "one feature", "the points card",
    "no scores", "rows refused",
]  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_bad_scores_are_refused_for_the_right_reason(world: worlds.World, name: str) -> None:
    kind = kinds.BAD[name]
    found = decided(world, kind.make(world, np.random.default_rng(1)).probability)
    failed = {check.name for check in found.failed}
    assert set(kind.checks) <= failed <= {*kind.checks, *kind.also}
    assert all(check.sentence in found.letter and check.advice for check in found.failed)


@pytest.mark.parametrize(
    ("changed", "checks"),
    [
        ({"features": ["employees", "deal_value_eur"]}, {"excluded_columns"}),
        ({"time_proof": {"pairs": 50, "differences": 3, "passed": False}}, {"time_proof"}),
        ({"time_proof": {"pairs": 0, "differences": 0, "passed": True}}, {"time_proof"}),
        ({"split_faults": {"leads_in_two_splits": 20, "horizon_past_end": 0}}, {"split_leads_in_two_splits"}),
        ({"split_faults": {"leads_in_two_splits": 0, "horizon_past_end": 4}}, {"split_horizon_past_end"}),
        ({"newest": pd.Timestamp("2024-11-01")}, {"outcomes_fresh"}),
        ({"newest": pd.Timestamp("2024-07-09")}, {"champion_data"}),
        ({}, set()),
    ],
)
def test_even_the_law_itself_is_refused_where_its_making_is_at_fault(
    world: worlds.World, changed: dict[str, Any], checks: set[str]
) -> None:
    found = decided(world, world.truth, **changed)
    assert {check.name for check in found.failed} == checks


def test_candidates_that_are_surely_better_pass(world: worlds.World) -> None:
    """Each is just so much better than the champion that the test of log-loss sees it with 99 % power."""
    found = list(kinds.better(world, 1, itertools.count(1)))
    assert len(found) >= 3
    assert all(3.97 <= margin.standard_errors < 5 for _, _, margin in found)
    refused = {name: decided(world, changed.probability).failed for name, changed, _ in found}
    assert sum(bool(failed) for failed in refused.values()) <= 1, refused


@pytest.mark.slow
def test_through_the_stage_itself(demo_run: Path, tmp_path: Path) -> None:
    """What other stages would have left behind, in a copy of the small run whose scorer is champion."""
    root = tmp_path / "world"
    shutil.copytree(demo_run, root, ignore=shutil.ignore_patterns("mlruns"))
    (root / "mlruns").mkdir()
    small = worlds.crowned(Workspace(root), worlds.truths(Workspace(root), paths=4))

    def judged(name: str, number: int) -> trial.Judged:
        return trial.judge(small, kinds.BAD[name].make(small, np.random.default_rng(number)), number)

    for number, name in enumerate(("an identical copy", "another horizon", "no scores"), 1):
        assert judged(name, number).faults(kinds.BAD[name]) == [], name
    # On so few rows chance may speak against the law's chances, beside what is wrong with the split.
    spoiled = judged("leads in two windows", 4)
    assert set(kinds.BAD["leads in two windows"].checks) < set(spoiled.failed)
    assert "leads that stand in two windows" in spoiled.decision["letter"]
