"""The price of a leak: large where the column knows the answer, none where it does not, and the same every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.leads.contract import Resolved, parse, resolve
from pipeline.params import LeakPrice
from pipeline.scoring import column_trial, fit, leak_price, metrics
from tests.trees import CALM_TREES

LIMITS = LeakPrice(columns=12, snapshots=20_000, min_rows_per_value=20, rounds=100, xgboost=CALM_TREES)
FEATURES = ["visits", "region", "n_changes_region", "days_since_change_region"]
SPEC: dict[str, Any] = {
    "profile": [
        {
            "name": "visits",
            "source": "visits",
            "kind": "number",
            "criterion": "Visits",
            "group": "fit",
            "tracked": False,
        },
        {
            "name": "region",
            "source": "region",
            "kind": "category",
            "criterion": "Region",
            "group": "fit",
            "tracked": True,
        },
    ],
    "aged": False,
    "kinds": [],
    "windows_days": [7],
}


def contract() -> Resolved:
    left_out = {"role": "feature", "known_at": "outcome"}
    content = {
        "contract_version": 1,
        "name": "priced",
        "description": "a contract with leaks of every type",
        "source": {"kind": "files", "leads": {"path": "a.csv"}, "changes": {"path": "c.csv"}},
        "key": "id",
        "time": {"kind": "column", "column": "made"},
        "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won"},
        "columns": {
            "id": {"role": "identifier"},
            "made": {"role": "ignored", "type": "timestamp", "known_at": "creation"},
            "won": {"role": "outcome", "type": "timestamp", "known_at": "outcome"},
            "email": {"role": "personal"},
            "visits": {"role": "feature", "type": "number", "known_at": "creation"},
            "region": {"role": "feature", "type": "category", "known_at": "over_time"},
            "deal": left_out | {"type": "number"},
            "owner": left_out | {"type": "category"},
            "invoiced_at": {"role": "ignored", "type": "timestamp"},
            "invoice": {"role": "ignored", "type": "text"},
            "noise": left_out | {"type": "number"},
        },
        "changes": {"lead": "id", "column": "c", "recorded_at": "t", "old_value": "o", "new_value": "n"},
    }
    return resolve(parse(content, file="priced.yaml"))


RESOLVED = contract()


def history(n: int = 3000, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Snapshots, two per lead, and leads whose late columns tell of the outcome in different ways."""
    rng = np.random.default_rng(seed)
    keys = pd.Series([f"L{k:05d}" for k in range(n)], dtype="str")
    visits = rng.poisson(2.0, n).astype("float64")
    region = pd.Series(rng.choice(["north", "south"], n), dtype="str")
    won = rng.random(n) < 1 / (1 + np.exp(2.5 - 0.6 * visits - 0.5 * (region == "north").to_numpy()))
    made = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), unit="h")).astype("datetime64[us]")
    billed = won & (rng.random(n) < 0.8)
    leads = pd.DataFrame(
        {
            "lead_id": keys,
            "created_at": made,
            "converted_at": (made + pd.Timedelta(days=9)).where(won),
            "visits": visits,
            "region": region,
            "deal": np.where(won, rng.lognormal(8, 1, n), np.nan),
            "owner": pd.Series(rng.choice(["a", "b"], n), dtype="str").where(won),
            "invoiced_at": (made + pd.Timedelta(days=12)).where(billed),
            # Every value stands once: only that there is one can tell.
            "invoice": pd.Series([f"no. {k}" for k in range(n)], dtype="str").where(billed),
            "noise": rng.normal(size=n),
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
                "region": region,
                "n_changes_region": 0.0,
                "days_since_change_region": np.nan,
            }
        )
        for day in (3, 5)
    ]
    return pd.concat(rows).sort_values(["lead_id", "as_of"], ignore_index=True), leads


def called(**verdicts: str) -> pd.DataFrame:
    """`leaks.csv` as far as it matters here; what is not named is clear."""
    columns = list(RESOLVED.contract.columns)
    return pd.DataFrame(
        {
            "column": columns,
            "verdict": [verdicts.get(name, "clear") for name in columns],
            "in_model": [name in RESOLVED.features for name in columns],
        }
    )


def price(leaks: pd.DataFrame, limits: LeakPrice = LIMITS, threads: int = 2, **changed: pd.DataFrame) -> pd.DataFrame:
    snapshots, leads = history()
    snapshots, leads = changed.get("snapshots", snapshots), changed.get("leads", leads)
    table = leak_price.price(snapshots, leads, leaks, RESOLVED, SPEC, limits, seed=7, threads=threads)
    assert list(table.columns) == leak_price.COLUMNS
    assert not table["column"].duplicated().any()
    for name, better in (("auc", 1), ("log_loss", -1), ("lift_10", 1)):
        np.testing.assert_allclose(
            table[f"{name}_gain"], better * (table[f"{name}_with"] - table[f"{name}_without"]), equal_nan=True
        )
    return table


@pytest.fixture(scope="module")
def priced() -> pd.DataFrame:
    return price(
        called(deal="leak", owner="leak", invoiced_at="leak", invoice="leak", noise="suspect", visits="suspect")
    )


def test_leaks_come_first_then_suspects_then_all_together(priced):
    assert priced[["column", "verdict", "in_model"]].values.tolist() == [
        ["deal", "leak", False],
        ["owner", "leak", False],
        ["invoiced_at", "leak", False],
        ["invoice", "leak", False],
        ["visits", "suspect", True],
        ["noise", "suspect", False],
        ["(all leaks)", "together", False],
    ]


def test_what_knows_the_answer_has_its_price(priced):
    table = priced.set_index("column")
    for name in ("deal", "owner"):
        assert table.loc[name, "auc_with"] > 0.999
        assert table.loc[name, "log_loss_with"] < 0.02
    # Four fifths of the conversions are billed; a moment, and a text whose values all differ, tell by being there.
    for name in ("invoiced_at", "invoice"):
        assert 0.85 < table.loc[name, "auc_with"] < 0.999
    assert table.loc["(all leaks)", "auc_with"] > 0.999
    assert table["auc_without"].drop("visits").nunique() == 1


def test_what_knows_nothing_has_none(priced):
    row = priced.set_index("column").loc["noise"]
    assert abs(row["auc_gain"]) < 0.03
    assert row["sentence"].startswith("`noise`: no help to the figures either; the test AUC is 0.")


def test_a_column_in_the_model_is_taken_out(priced):
    row = priced.set_index("column").loc["visits"]
    assert row["auc_with"] == priced["auc_without"].iloc[0], "with it is the model as it stands"
    assert row["auc_gain"] > 0.05
    assert "if this is a leak, sales will not see that gain" in row["sentence"]


def test_a_column_is_taken_out_with_all_that_is_made_of_it():
    """Without its region and both features of its changes, a model of region and visits is one of visits alone."""
    snapshots, _ = history()
    table = price(called(region="leak"), snapshots=snapshots.assign(n_changes_region=snapshots["label"]))
    alone = price(called(region="leak"))
    assert table["auc_with"].item() > 0.999
    assert table["auc_without"].item() == alone["auc_without"].item()
    assert table["sentence"].item().startswith("With `region` in the model, as it is, the test AUC is 0.")


def test_leaks_in_and_outside_the_model_together():
    table = price(called(visits="leak", deal="leak")).set_index("column")
    assert table.loc["(all leaks)", "auc_without"] == table.loc["visits", "auc_without"]
    assert table.loc["(all leaks)", "auc_with"] == table.loc["deal", "auc_with"]
    # Both in the model: with them is the model as it stands.
    inside = price(called(visits="leak", region="leak")).set_index("column")
    assert inside["in_model"].all()
    assert inside.loc["(all leaks)", "auc_without"] == 0.5, "nothing is left to learn from"
    assert "With all leaks together in the model" in inside.loc["(all leaks)", "sentence"]


def test_sentences_name_the_figures_of_the_table(priced):
    row = priced.set_index("column").loc["deal"]
    assert row["sentence"] == (
        f"With `deal` the test AUC looks {1 - round(row['auc_without'], 2):.2f} better (1.00 instead of "
        f"{row['auc_without']:.2f}) and the lift in the top tenth {row['lift_10_with']:.1f} instead of "
        f"{row['lift_10_without']:.1f}; the salesperson would never see that."
    )


def test_without_any_verdict_there_is_nothing_to_price():
    table = price(called())
    assert table.empty
    assert table["in_model"].dtype == bool


def test_keys_times_the_outcome_and_personal_columns_are_not_priced():
    assert price(called(id="leak", made="suspect", won="leak", email="leak")).empty


def test_columns_beyond_the_limit_are_named_without_figures():
    table = price(called(deal="leak", owner="leak", noise="suspect"), LIMITS.model_copy(update={"columns": 1}))
    assert table["auc_with"].notna().tolist() == [True, False, False, True]
    assert table["sentence"].iloc[1].startswith("Not priced on its own")
    assert table["column"].tolist()[-1] == "(all leaks)"


def test_the_base_is_the_system_on_the_features_alone():
    """Two routes: without the column, the figures are those of a plain fit to the model's features."""
    snapshots, _ = history()
    before, test = (snapshots[(snapshots["split"] == "test") == late] for late in (False, True))
    rows = fit.Rows.encode(before[FEATURES], before["label"].to_numpy(), before["position"].to_numpy())
    member = fit.fit_xgboost(rows, CALM_TREES, rounds=100, seed=7, threads=1)
    chance = 1 / (1 + np.exp(-member.margin(rows.encoder.matrix(test[FEATURES]))))
    row = price(called(deal="leak")).iloc[0]
    assert row["auc_without"] == metrics.auc(test["label"], chance)
    assert row["log_loss_without"] == pytest.approx(metrics.log_loss(test["label"], chance), abs=1e-12)
    assert row["lift_10_without"] == metrics.lift(test["label"], chance, 0.1)


def test_neither_threads_nor_row_order_matter_and_nothing_is_changed():
    snapshots, leads = history()
    leaks = called(deal="leak", invoice="leak")
    before = snapshots.copy(), leads.copy(), leaks.copy()
    mixed = snapshots.sample(frac=1, random_state=3)
    table = price(leaks, snapshots=mixed, leads=leads.sample(frac=1, random_state=4), threads=1)
    pd.testing.assert_frame_equal(table, price(leaks, snapshots=snapshots, leads=leads))
    for frame, copy in zip((snapshots, leads, leaks), before, strict=True):
        pd.testing.assert_frame_equal(frame, copy)


def test_of_many_rows_whole_leads_are_drawn():
    rows, _ = history()
    some = column_trial.some(rows, 1000, 7)
    assert 900 < len(some) < 1100
    assert some.groupby("lead_id").size().eq(2).all()
    assert column_trial.some(rows, len(rows), 7) is rows
    few = price(called(deal="leak"), LIMITS.model_copy(update={"snapshots": 1000}))
    assert few["auc_with"].item() > 0.99
