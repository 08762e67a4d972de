"""Calibrators recover a known law; the interval holds the probability; tiers take their share."""

import numpy as np
import pandas as pd
import pytest

from pipeline import params as params_module
from pipeline.scorer.calibration import Calibration, Interval, sigmoid
from pipeline.scorer.tiers import name
from pipeline.scoring import calibrators


def drawn(n: int = 20000, intercept: float = -0.7, slope: float = 0.6) -> tuple[pd.DataFrame, np.ndarray]:
    generator = np.random.default_rng(11)
    margin = generator.normal(-1.5, 1.2, n)
    label = (generator.random(n) < sigmoid(intercept + slope * margin)).astype("int8")
    as_of = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n) // 100, unit="D")
    frame = pd.DataFrame(
        {"lead_id": [f"{k:06d}" for k in range(n)], "as_of": as_of, "label": label, "position": np.arange(n)}
    )
    return frame, margin


@pytest.fixture(scope="module")
def params(project_root):
    return params_module.load(project_root / "params.yaml").calibrate


def test_sigmoid_recovers_the_law_it_was_drawn_from(params):
    frame, margin = drawn()
    found, table = calibrators.choose(frame, margin, params, horizon_days=0)
    assert found.kind == "sigmoid"
    # Three standard errors of a logistic fit on 20,000 rows.
    assert found.intercept == pytest.approx(-0.7, abs=0.1)
    assert found.slope == pytest.approx(0.6, abs=0.06)
    assert table["chosen"].tolist() == [kind == "sigmoid" for kind in table["calibrator"]]


def test_rows_not_yet_decided_at_the_step_are_not_learned_from(params):
    """The level doubles in the last thirty days before the step; their outcomes are not known at it."""
    frame, margin = drawn(20000)
    position = frame["position"]
    late = (position >= 7100) & (position < 10000)
    flipped = frame.assign(label=frame["label"].where(~late, 1))
    _, honest = calibrators.choose(frame, margin, params, horizon_days=30)
    _, same = calibrators.choose(flipped, margin, params, horizon_days=30)
    pd.testing.assert_frame_equal(honest, same)
    _, peeked = calibrators.choose(flipped, margin, params, horizon_days=0)
    assert (peeked["log_loss"] - honest["log_loss"]).max() > 0.01


def test_with_too_few_conversions_the_level_alone_is_set(params):
    frame, margin = drawn(100)
    found, table = calibrators.choose(frame, margin, params, horizon_days=0)
    assert found.kind == "intercept" and table["log_loss"].isna().all()


@pytest.mark.parametrize("kind", ["intercept", "sigmoid"])
def test_a_fitted_calibrator_agrees_with_its_rows_on_average(kind):
    frame, margin = drawn(2000)
    label = frame["label"].to_numpy(dtype="float64")
    found = calibrators.fit(kind, label, margin)
    assert found.probability(margin).mean() == pytest.approx(label.mean(), abs=1e-9)


def test_a_margin_that_ranks_backwards_is_not_turned_round():
    frame, margin = drawn()
    found = calibrators.fit("sigmoid", frame["label"].to_numpy(dtype="float64"), -margin)
    assert found.kind == "intercept" and found.slope == 1.0


def test_the_interval_holds_the_probability_and_narrows_with_rows(params):
    widths = []
    for n in (2000, 20000):
        frame, margin = drawn(n)
        law = Calibration("sigmoid", -0.7, 0.6)
        found = calibrators.interval(frame, margin, law, params)
        low, high = found.around(margin, law)
        probability = law.probability(margin)
        assert (low <= probability).all() and (probability <= high).all()
        assert (low > 0).all() and (high < 1).all()
        widths.append((high - low).mean())
    assert widths[1] < widths[0] / 2


def test_a_lead_seen_four_times_is_one_piece_of_evidence(params):
    frame, margin = drawn(2000)
    law = Calibration("sigmoid", -0.7, 0.6)
    once = calibrators.interval(frame, margin, law, params)
    again = pd.concat([frame] * 4, ignore_index=True).sort_values("position", kind="stable")
    four = calibrators.interval(again, np.repeat(margin, 4), law, params)
    assert np.mean(four.high) == pytest.approx(np.mean(once.high), rel=0.02)


def test_between_knots_the_interval_is_interpolated():
    interval = Interval(level=0.9, margin=[-1.0, 1.0], low=[-1.0, -0.5], high=[1.0, 0.5])
    low, high = interval.around(np.array([0.0]), Calibration("none", 0.0, 1.0))
    assert low[0] == pytest.approx(sigmoid(np.array(-0.75))) and high[0] == pytest.approx(sigmoid(np.array(0.75)))


def test_tiers_take_their_share_and_every_score_has_one(params):
    probability = np.linspace(0.0005, 0.9995, 1000)
    bands = calibrators.tiers(probability, params)
    scores = np.floor(probability * 1000 + 0.5).astype("int64")
    share = pd.Series(name(scores, bands)).value_counts(normalize=True)
    assert share["A"] == pytest.approx(0.1, abs=0.002)
    assert share["A"] + share["B"] == pytest.approx(0.3, abs=0.002)
    assert name(np.array([0, 1000]), bands).tolist() == ["D", "A"]
