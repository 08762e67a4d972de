"""The optimism gap: dealt by lead in equal sizes, near nothing where nothing drifts, large where something does."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.params import load
from pipeline.scoring import metrics, optimism
from tests.trees import CALM_TREES

PARAMS = load(Path(__file__).parents[2] / "params.yaml")
EVALUATE = PARAMS.evaluate.model_copy(update={"bootstrap_samples": 100})
CHOSEN = [
    {
        "family": "logistic",
        "settings": {"bins": 5, "c": 0.1, "half_life": 0.0},
        "start": None,
        "clip": 4.0,
        "rounds": 0,
        "weight": 0.5,
    },
    {
        "family": "xgboost",
        "settings": CALM_TREES.model_dump(),
        "start": None,
        "clip": 4.0,
        "rounds": 20,
        "weight": 0.5,
    },
]


def history(drift: float, leads: int = 4_000, seed: int = 1) -> pd.DataFrame:
    """Two looks per lead; the second feature's effect turns around over time by `drift`."""
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    time = np.repeat(np.arange(leads) / leads, 2)
    steady, turning = rng.normal(size=(2, 2 * leads))
    chance = 1 / (1 + np.exp(1.5 - steady - (1 - 2 * drift * time) * turning))
    return pd.DataFrame(
        {
            "lead_id": pd.Series([f"L{k // 2:05d}" for k in range(2 * leads)], dtype="str"),
            "position": np.repeat(np.arange(leads), 2),
            "label": (rng.random(2 * leads) < chance).astype("int8"),
            "split": np.select([time < 0.5, time < 0.7], ["train", "calibrate"], "test"),
            "steady": steady,
            "turning": turning,
        }
    )


NAMES = ["steady", "turning"]


def forward(snapshots: pd.DataFrame) -> pd.DataFrame:
    """The same fit on the split in time: what `refit` does, with the split left as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimism, "deal", lambda rows, seed: rows["split"])
        return optimism.refit(snapshots, NAMES, CHOSEN, PARAMS.train, PARAMS.run)


def measured(drift: float) -> dict[str, float]:
    snapshots = history(drift)
    dealt = optimism.refit(snapshots, NAMES, CHOSEN, PARAMS.train, PARAMS.run)
    return optimism.gap(forward(snapshots), dealt, EVALUATE, seed=1)


def test_leads_are_dealt_whole_and_every_part_keeps_its_number_of_leads():
    snapshots = history(0.0, leads=500)
    split = optimism.deal(snapshots, seed=1)
    assert split.groupby(snapshots["lead_id"]).nunique().max() == 1
    before, after = (
        frame.groupby("split")["lead_id"].nunique() for frame in (snapshots, snapshots.assign(split=split))
    )
    pd.testing.assert_series_equal(after, before)
    assert (split != snapshots["split"]).mean() > 0.5
    assert optimism.deal(snapshots, seed=1).equals(split) and not optimism.deal(snapshots, seed=2).equals(split)


def test_leads_are_dealt_alike_whatever_the_order_of_rows():
    snapshots = history(0.0, leads=500)
    shuffled = snapshots.sample(frac=1, random_state=1)
    assert optimism.deal(shuffled, seed=1).sort_index().equals(optimism.deal(snapshots, seed=1))


def test_where_nothing_drifts_a_random_split_flatters_by_nothing():
    figures = measured(drift=0.0)
    assert figures["optimism_gap_low"] < 0 < figures["optimism_gap_high"]
    assert abs(figures["optimism_gap"]) < 0.02
    assert abs(figures["optimism_gap_log_loss"]) < 0.03


def test_where_the_world_turns_a_random_split_flatters():
    figures = measured(drift=1.0)
    assert figures["optimism_gap"] > 0.04 and figures["optimism_gap_low"] > 0
    assert figures["optimism_gap_log_loss"] > 0.04


def test_the_figures_are_what_their_names_say():
    rng = np.random.default_rng(1)

    def rows(base: float) -> pd.DataFrame:
        probability = np.clip(rng.beta(2, 2 / base - 2, 600), 1e-6, 1 - 1e-6)
        label = (rng.random(600) < probability).astype("int8")
        return pd.DataFrame({"lead_id": [f"L{k}" for k in range(600)], "label": label, "probability": probability})

    there, here = rows(0.3), rows(0.1)
    figures = optimism.gap(here, there, EVALUATE, seed=1)
    aucs = [metrics.auc(part["label"], part["probability"]) for part in (there, here)]
    assert figures["optimism_gap"] == pytest.approx(aucs[0] - aucs[1])
    assert figures["random_split_auc"] == pytest.approx(aucs[0])
    skills = [
        1
        - metrics.log_loss(part["label"], part["probability"])
        / metrics.log_loss(part["label"], np.full(600, part["label"].mean()))
        for part in (there, here)
    ]
    assert figures["optimism_gap_log_loss"] == pytest.approx(skills[0] - skills[1])
    assert (figures["random_split_skill"], figures["skill"]) == pytest.approx(tuple(skills))
    assert figures["optimism_gap_low"] < figures["optimism_gap"] < figures["optimism_gap_high"]
    assert f"optimism gap {figures['optimism_gap']:+.3f}" in optimism.sentence(figures)


def test_without_both_outcomes_in_every_part_there_is_no_gap_and_that_is_said():
    snapshots = history(0.0, leads=60).assign(label=np.int8(0))
    dealt = optimism.refit(snapshots, NAMES, CHOSEN, PARAMS.train, PARAMS.run)
    assert list(dealt.columns) == ["lead_id", "label", "probability"] and dealt.empty
    assert optimism.gap(snapshots.assign(probability=0.5), dealt, EVALUATE, seed=1) == {}
    assert "no optimism gap" in optimism.sentence({"auc": 0.8})
