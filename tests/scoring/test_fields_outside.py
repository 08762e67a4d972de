"""Fields outside the model: one that carries a signal is found, noise is not, and a leak is never suggested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from pipeline.leads.contract import Resolved, parse, resolve
from pipeline.params import LeakPrice, load
from pipeline.scoring import fields_outside, metrics
from pipeline.scoring.fit import row_losses
from tests.trees import CALM_TREES

TIME = load(Path(__file__).parents[2] / "params.yaml").featurize.periods
LIMITS = LeakPrice(columns=12, snapshots=20_000, min_rows_per_value=20, rounds=60, xgboost=CALM_TREES)
SPEC: dict[str, Any] = {
    "profile": [
        {
            "name": "visits",
            "source": "visits",
            "kind": "number",
            "criterion": "Visits",
            "group": "fit",
            "tracked": False,
        }
    ],
    "aged": False,
    "kinds": [],
    "windows_days": [7],
}
COLUMNS: dict[str, dict[str, Any]] = {
    "id": {"role": "identifier"},
    "made": {"role": "ignored", "type": "timestamp", "known_at": "creation"},
    "won": {"role": "outcome", "type": "timestamp", "known_at": "outcome"},
    "email": {"role": "personal"},
    "visits": {"role": "feature", "type": "number", "known_at": "creation"},
    # Tells of the outcome in earnest; nobody has said since when it is known.
    "budget": {"role": "feature", "type": "number", "known_at": "unknown"},
    # Weaker, and left out on purpose.
    "gender": {"role": "ignored", "type": "category", "known_at": "creation", "reason": "not to be used"},
    "noise": {"role": "ignored", "type": "number", "known_at": "creation"},
    "status": {"role": "feature", "type": "category", "known_at": "over_time"},
    # Rises with time, and so does conversion: in the test window it has values never seen.
    "rate": {"role": "feature", "type": "number", "known_at": "creation"},
    "called_at": {"role": "ignored", "type": "timestamp"},
    "deal": {"role": "feature", "type": "number", "known_at": "outcome"},
    "owner": {"role": "ignored", "type": "category"},
    "hint": {"role": "ignored", "type": "number"},
}


def contract(time: dict[str, str] | None = None) -> Resolved:
    content = {
        "contract_version": 1,
        "name": "outside",
        "description": "a contract with columns outside the model",
        "source": {"kind": "files", "leads": {"path": "a.csv"}},
        "key": "id",
        "time": time or {"kind": "column", "column": "made"},
        "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won"},
        "columns": COLUMNS,
    }
    return resolve(parse(content, file="outside.yaml"))


RESOLVED = contract()


def history(n: int = 3000, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Snapshots, two per lead, and leads; `budget` and `gender` tell of the outcome beyond what the model has."""
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    keys = pd.Series([f"L{k:05d}" for k in range(n)], dtype="str")
    visits, budget = rng.poisson(2.0, n).astype("float64"), rng.normal(size=n)
    gender = rng.choice(["f", "m"], n)
    law = -2.5 + 0.6 * visits + 1.2 * budget + 1.2 * (gender == "f")
    won = rng.random(n) < 1 / (1 + np.exp(-law))
    made = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), unit="h")).astype("datetime64[us]")
    leads = pd.DataFrame(
        {
            "lead_id": keys,
            "created_at": made,
            "converted_at": (made + pd.Timedelta(days=9)).where(won),
            "visits": visits,
            "budget": budget,
            "gender": pd.Series(gender, dtype="str"),
            "noise": rng.normal(size=n),
            "status": pd.Series(np.where(rng.random(n) < np.where(won, 0.5, 0.3), "hot", "cold"), dtype="str"),
            "rate": np.arange(n) // 100 + rng.normal(0, 0.1, n),
            "called_at": made + pd.to_timedelta(rng.integers(1, 9, n), unit="D"),
            "deal": np.where(won, 1.0, np.nan),
            "owner": pd.Series(np.where(won, "a", "b"), dtype="str"),
            "hint": won + rng.normal(0, 0.5, n),
        }
    )
    split = np.select([np.arange(n) < 0.5 * n, np.arange(n) < 0.7 * n], ["train", "calibrate"], "test")
    rows = [
        pd.DataFrame(
            {
                "lead_id": keys,
                "as_of": made.dt.floor("D") + pd.Timedelta(days=day),
                "label": won.astype("int8"),
                "split": pd.Series(split, dtype="str"),
                "position": np.arange(n),
                "visits": visits,
            }
        )
        for day in (3, 5)
    ]
    return pd.concat(rows).sort_values(["lead_id", "as_of"], ignore_index=True), leads


def called(**verdicts: str) -> pd.DataFrame:
    """`leaks.csv` as far as it matters here: what is judged and not named is clear."""
    verdicts = {
        "deal": "leak",
        "owner": "leak",
        "hint": "suspect",
        "id": "",
        "made": "",
        "won": "",
        "email": "",
    } | verdicts
    return pd.DataFrame(
        {"column": list(COLUMNS), "verdict": [verdicts.get(name, "clear") for name in COLUMNS], "gain": 0.0}
    )


NONE_TOLD = pd.DataFrame(columns=["column", "verdict"])


def tried(
    leaks: pd.DataFrame | None = None,
    limits: LeakPrice = LIMITS,
    resolved: Resolved = RESOLVED,
    told: pd.DataFrame = NONE_TOLD,
    threads: int = 2,
) -> pd.DataFrame:
    found = fields_outside.table(
        *history(),
        called() if leaks is None else leaks,
        told,
        resolved,
        SPEC,
        limits,
        TIME,
        level=0.9,
        seed=7,
        threads=threads,
    )
    assert list(found) == fields_outside.COLUMNS
    return found


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return tried().set_index("column")


def test_columns_outside_the_model_are_tried_and_no_others(found):
    assert set(found.index) == {"budget", "gender", "noise", "status", "rate", "called_at"}
    assert found["tried"].eq(6).all() and found["level"].tolist() == pytest.approx([1 - 0.1 / 6] * 6)


def test_the_field_with_a_signal_is_found_and_noise_is_not(found):
    assert found.index[0] == "budget", "the largest gain stands first"
    assert found.loc[["budget", "gender"], "verdict"].tolist() == ["adds", "adds"]
    assert found.loc[["noise", "called_at"], "verdict"].ne("adds").all()
    assert found.loc["budget", "auc_gain"] > 0.05 and found.loc["budget", "lift_10_gain"] > 0.3
    inside = found["log_loss_gain"].between(found["log_loss_gain_low"], found["log_loss_gain_high"])
    assert inside.all()


def test_each_is_named_with_what_stands_against_it(found):
    assert found["stands_against"].to_dict() == {
        "budget": "known-at is unknown",
        "gender": "left out by the contract",
        "noise": "left out by the contract",
        "status": "changes",
        "rate": "tells the period",
        "called_at": "known-at is unknown; left out by the contract",
    }
    assert found.loc["rate", "period_share"] > 0.9 > 0.1 > found.loc["budget", "period_share"]
    assert found.loc["budget", "sentence"].startswith("`budget` would save 0.")
    assert "if that is at creation, declare it and it can be used" in found.loc["budget", "sentence"]
    assert found.loc["gender", "sentence"].endswith(
        "The contract leaves it out (not to be used): whether that stands is for its owner to say."
    )
    assert "only its recorded changes" in found.loc["status", "sentence"]
    assert found.loc["noise", "sentence"].startswith("`noise` would ")
    assert "save" not in found.loc["noise", "sentence"]


def test_a_leak_is_never_suggested():
    """Neither what is called one, nor what is suspected, nor what nobody could judge."""
    names = set(tried(called(budget="leak", gender="suspect"))["column"])
    assert names == {"noise", "status", "rate", "called_at"}
    unjudged = called().assign(gain=np.nan)
    empty = tried(unjudged)
    assert empty.empty and fields_outside.sentence(empty).startswith("no field outside the model to try")


def test_the_figures_are_those_of_the_fixed_system_without_its_draws(found):
    """Trees grown here, by another route."""
    import xgboost as xgb

    snapshots, leads = history()
    rows = snapshots.merge(leads[["lead_id", "budget"]], on="lead_id")
    train, test = rows[rows["split"] != "test"], rows[rows["split"] == "test"]
    params = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "seed": 7,
        **CALM_TREES.model_dump(include={"max_depth", "learning_rate", "min_child_weight", "reg_lambda"}),
    }
    truth, margins = test["label"].to_numpy(dtype="float64"), {}
    for names in (["visits"], ["visits", "budget"]):
        data = xgb.QuantileDMatrix(train[names].to_numpy(), label=train["label"])
        booster = xgb.train(params, data, num_boost_round=LIMITS.rounds)
        margin = booster.predict(xgb.DMatrix(test[names].to_numpy()), output_margin=True).astype("float64")
        level = optimize.minimize_scalar(lambda shift, margin=margin: row_losses(truth, margin + shift).mean())
        margins[len(names)] = margin + level.x
    chance = 1 / (1 + np.exp(-margins[2]))
    assert found.loc["budget", "log_loss_with"] == pytest.approx(metrics.log_loss(truth, chance), abs=1e-9)
    assert found.loc["budget", "auc_with"] == pytest.approx(metrics.auc(truth, chance), abs=1e-9)
    # The interval by resampling leads, with all rows of each.
    saved = row_losses(truth, margins[1]) - row_losses(truth, margins[2])
    by_lead = pd.Series(saved).groupby(test["lead_id"].to_numpy()).sum().to_numpy()
    rng = np.random.default_rng(np.random.SeedSequence([1]))
    means = [rng.choice(by_lead, len(by_lead)).sum() / len(saved) for _ in range(4000)]
    ends = np.quantile(means, [0.1 / 12, 1 - 0.1 / 12])
    mine = found.loc["budget", ["log_loss_gain_low", "log_loss_gain_high"]].to_numpy(dtype="float64")
    assert mine == pytest.approx(ends, abs=0.1 * (ends[1] - ends[0]))


def test_noise_alone_hardly_ever_adds():
    """Twelve columns of noise beside each other, ten times: at 0.9 for all at once, one false find is expected."""
    finds = 0
    for seed in range(10):
        rng = np.random.default_rng(np.random.SeedSequence([seed, 5]))
        snapshots, leads = history(1200, seed)
        trial_columns = {f"noise_{k}": rng.normal(size=len(leads)) for k in range(12)}
        content = {
            "contract_version": 1,
            "name": "noise",
            "description": "noise",
            "source": {"kind": "files", "leads": {"path": "a.csv"}},
            "key": "id",
            "time": {"kind": "column", "column": "made"},
            "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won"},
            "columns": {name: COLUMNS[name] for name in ("id", "made", "won", "visits")}
            | dict.fromkeys(trial_columns, COLUMNS["noise"]),
        }
        found = fields_outside.table(
            snapshots,
            leads.assign(**trial_columns),
            pd.DataFrame({"column": list(trial_columns), "verdict": "clear", "gain": 0.0}),
            NONE_TOLD,
            resolve(parse(content, file="noise.yaml")),
            SPEC,
            LIMITS.model_copy(update={"rounds": 20}),
            TIME,
            level=0.9,
            seed=seed,
            threads=2,
        )
        assert len(found) == 12
        finds += int((found["verdict"] == "adds").sum())
    assert finds <= 3


def test_columns_beyond_the_limit_are_named_without_figures():
    few = tried(limits=LIMITS.model_copy(update={"columns": 1}))
    assert few["column"].iloc[0] == "budget" and few["tried"].eq(1).all()
    rest = few.iloc[1:]
    assert len(rest) == 5 and rest["verdict"].eq("").all()
    assert rest[["auc_gain", "log_loss_gain", "log_loss_gain_low", "level"]].isna().all(axis=None)
    assert rest["sentence"].str.contains("was not tried").all()
    assert fields_outside.sentence(few) == (
        "of 1 fields outside the model 1 would add: budget (known-at is unknown); 5 more were not tried"
    )


def test_what_featurize_left_out_for_its_period_stays_so_named():
    told = pd.DataFrame({"column": ["noise", "visits"], "verdict": ["left out", "kept"]})
    against = tried(told=told, limits=LIMITS.model_copy(update={"columns": 1})).set_index("column")["stands_against"]
    assert against["noise"] == "tells the period; left out by the contract"


def test_neither_threads_nor_what_is_given_change():
    leaks = called()
    before = leaks.copy()
    pd.testing.assert_frame_equal(tried(leaks, threads=1), tried(leaks))
    pd.testing.assert_frame_equal(leaks, before)
