"""A card judged beside the model: what its points are worth, its order, its figures by a second route."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn import metrics as reference

from pipeline import params as params_module
from pipeline.errors import NotEnoughData
from pipeline.scoring import card_backtest, metrics


@pytest.fixture(scope="module")
def params(project_root):
    evaluate = params_module.load(project_root / "params.yaml").evaluate
    return evaluate.model_copy(update={"bootstrap_samples": 60})


def drawn(seed, leads=600, suppressed=0.1, slope=0.05):
    """Two snapshots per lead whose outcome follows their points; `model` knows a little more."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"card"]))
    n = 2 * leads
    total = rng.normal(20, 15, n)
    truth = 1 / (1 + np.exp(-(-2.5 + slope * total + rng.normal(0, 0.7, n))))
    held = rng.random(n) < suppressed
    counted = pd.DataFrame({"total": total, "suppressed": np.where(held, "No phone", "")})
    counted["qualifies"] = (total >= 35) & ~held
    rows = pd.DataFrame({"lead_id": [f"L{k // 2:04d}" for k in range(n)], "model": truth})
    return rows.assign(label=(rng.random(n) < truth).astype("int8")), counted


def test_points_become_the_chance_of_greatest_likelihood():
    rows, counted = drawn(1)
    label, held = rows["label"].to_numpy(), (counted["suppressed"] != "").to_numpy()
    chance = card_backtest.Chance.fit(counted, label)
    total, y = counted["total"].to_numpy()[~held], label[~held]

    def loss(weights):
        margin = weights[0] + weights[1] * total
        return np.logaddexp(0, margin).sum() - (y * margin).sum()

    best = minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000}).x
    assert [chance.intercept, chance.slope] == pytest.approx(best, abs=1e-4)
    assert chance.suppressed == pytest.approx((label[held].sum() + y.mean()) / (held.sum() + 1), rel=1e-12)
    found = chance.probability(counted)
    assert found[~held] == pytest.approx(1 / (1 + np.exp(-(chance.intercept + chance.slope * total))), rel=1e-12)
    assert (found[held] == chance.suppressed).all()


def test_a_card_that_is_upside_down_gets_the_base_rate_and_keeps_its_order():
    rows, counted = drawn(2, slope=-0.05, suppressed=0.0)
    chance = card_backtest.Chance.fit(counted, rows["label"].to_numpy())
    assert chance.slope == 0
    assert chance.probability(counted) == pytest.approx(rows["label"].mean(), rel=1e-12)
    assert metrics.auc(rows["label"].to_numpy(), card_backtest.ranking(counted)) < 0.45


def test_points_that_are_all_the_same_get_the_base_rate():
    rows, counted = drawn(3, suppressed=0.0)
    chance = card_backtest.Chance.fit(counted.assign(total=5.0), rows["label"].to_numpy())
    assert chance.probability(counted) == pytest.approx(rows["label"].mean(), rel=1e-12)


def test_one_outcome_teaches_nothing():
    _, counted = drawn(4)
    with pytest.raises(NotEnoughData, match=r"one outcome only .* before there is at least 1 more conversion"):
        card_backtest.Chance.fit(counted, np.zeros(len(counted)))


def test_suppressed_leads_are_called_last_whatever_their_points():
    counted = pd.DataFrame({"total": [30.0, -5.0, 100.0, 30.0, 7.0], "suppressed": ["", "", "No phone", "", ""]})
    order = card_backtest.ranking(counted)
    assert order[2] == 0
    assert order[0] == order[3] > order[4] > order[1] > 0
    assert order.max() <= 1


def test_every_figure_by_a_second_route(params):
    (past, of_past), (rows, counted) = drawn(5), drawn(6)
    chance = card_backtest.Chance.fit(of_past, past["label"].to_numpy())
    judged = card_backtest.judge(rows, counted, chance, params, seed=3)
    found = judged.metrics.set_index("metric")
    label, model, own = rows["label"], rows["model"], chance.probability(counted)
    # Called by falling points, suppressed leads behind all others.
    place = counted["total"].where(counted["suppressed"] == "", -1e9).to_numpy()
    for system, p, ranked in (("card", own, place), ("model", model, model)):
        assert found.loc["log_loss", system] == pytest.approx(reference.log_loss(label, p), rel=1e-10)
        assert found.loc["brier", system] == pytest.approx(reference.brier_score_loss(label, p), rel=1e-10)
        assert found.loc["auc", system] == pytest.approx(reference.roc_auc_score(label, ranked), rel=1e-10)
        expected = reference.average_precision_score(label, ranked)
        assert found.loc["average_precision", system] == pytest.approx(expected, rel=1e-10)
        top = np.argsort(-np.asarray(ranked), kind="stable")[: len(label) // 10]
        hits = label.to_numpy()[top]
        assert found.loc["lift_10", system] == pytest.approx(hits.mean() / label.mean(), rel=1e-10)
        assert found.loc["capture_10", system] == pytest.approx(hits.sum() / label.sum(), rel=1e-10)
    assert (found["difference"] == found["card"] - found["model"]).all()
    assert (found["difference_low"] <= found["difference_high"]).all()
    qualify = counted["qualifies"].to_numpy()
    assert judged.figures["qualify_conversion"] == pytest.approx(label[qualify].mean())
    assert judged.figures["qualify_capture"] == pytest.approx(label[qualify].sum() / label.sum())
    assert judged.figures["points_to_double_the_odds"] == pytest.approx(np.log(2) / chance.slope)
    lift = judged.lift.set_index("share")
    assert lift.loc[0.1, "lift_card"] == found.loc["lift_10", "card"]
    assert judged.reliability["rows"].sum() == len(rows)


def test_differences_are_paired_by_lead(params):
    """The same draws of leads, each with both of its rows, taken by hand; the card ranks by its order alone."""
    rows, counted = drawn(7, leads=80, suppressed=0.3)
    own = card_backtest.Chance.fit(counted, rows["label"].to_numpy()).probability(counted)
    frame = rows.assign(card=own, ranked=card_backtest.ranking(counted))
    found = card_backtest.compare(frame, params, seed=4).set_index("metric")
    rng = np.random.default_rng(np.random.SeedSequence([4, *b"bootstrap"]))
    apart, orders = [], []
    for _ in range(params.bootstrap_samples):
        drawn_leads = np.bincount(rng.integers(80, size=80), minlength=80)
        weight = np.repeat(drawn_leads, 2)
        losses = [reference.log_loss(frame["label"], frame[name], sample_weight=weight) for name in ("card", "model")]
        apart.append(losses[0] - losses[1])
        areas = [
            reference.roc_auc_score(frame["label"], frame[name], sample_weight=weight) for name in ("ranked", "model")
        ]
        orders.append(areas[0] - areas[1])
    low, middle, high = np.quantile(apart, [0.05, 0.5, 0.95])
    expected = found.loc["log_loss", "difference"] + np.array([low - middle, high - middle])
    assert found.loc["log_loss", ["difference_low", "difference_high"]].to_numpy(float) == pytest.approx(expected)
    assert found.loc["log_loss", "card_better"] == pytest.approx(np.mean(np.array(apart) < 0))
    low, middle, high = np.quantile(orders, [0.05, 0.5, 0.95])
    expected = found.loc["auc", "difference"] + np.array([low - middle, high - middle])
    assert found.loc["auc", ["difference_low", "difference_high"]].to_numpy(float) == pytest.approx(expected)
    assert found.loc["auc", "card_better"] == pytest.approx(np.mean(np.array(orders) > 0))


def test_the_model_against_itself_is_no_better_and_no_worse(params):
    rows, _ = drawn(8, leads=80)
    frame = rows.assign(card=rows["model"], ranked=rows["model"])
    found = card_backtest.compare(frame, params, seed=1)
    assert (found[["difference", "difference_low", "difference_high"]] == 0).to_numpy().all()
    assert (found["card_better"] == 0.5).all()
