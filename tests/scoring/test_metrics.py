"""Metrics: exact on small tables, ties and single outcomes included, and equal to the library's where it has one."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as library

from pipeline.scoring import metrics

LABEL = np.array([1, 0, 0, 1, 0, 0, 0, 0])
SCORE = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])


def test_log_loss_and_brier() -> None:
    assert metrics.log_loss(np.array([1, 0]), np.array([0.5, 0.25])) == pytest.approx(
        (math.log(2) - math.log(0.75)) / 2
    )
    assert metrics.brier(np.array([1, 0]), np.array([0.5, 0.25])) == (0.25 + 0.0625) / 2


def test_a_certain_mistake_costs_much_but_not_infinity() -> None:
    assert metrics.log_loss(np.array([1]), np.array([0.0])) == pytest.approx(36.04, abs=0.01)
    assert metrics.log_loss(np.array([1]), np.array([1.0])) == pytest.approx(0.0, abs=1e-15)


def test_auc_counts_pairs_and_halves_ties() -> None:
    # Conversions at places 1 and 4 of 8: 6 + 4 of 12 pairs are in order.
    assert metrics.auc(LABEL, SCORE) == 10 / 12
    assert metrics.auc(np.array([1, 0, 0]), np.array([0.5, 0.5, 0.1])) == 0.75
    assert math.isnan(metrics.auc(np.zeros(3), np.arange(3.0)))


def test_average_precision_has_one_step_per_tie() -> None:
    # Recall rises at the first row (precision 1) and at the fourth (precision 2 / 4), by a half each.
    assert metrics.average_precision(LABEL, SCORE) == 0.75
    assert metrics.average_precision(np.array([1, 0, 0, 0]), np.full(4, 0.3)) == 0.25
    assert math.isnan(metrics.average_precision(np.zeros(3), np.arange(3.0)))


@pytest.mark.parametrize(
    ("share", "lift", "capture"),
    [
        (0.125, 4.0, 0.5),  # one row, one of two conversions
        (0.25, 2.0, 0.5),
        (0.5, 2.0, 1.0),
        (1.0, 1.0, 1.0),
        (0.0625, 4.0, 0.25),  # half of the first row
        (0.4375, 12 / 7, 0.75),  # three and a half rows: one and a half conversions of two; the rate is 3/7 over 2/8
    ],
)
def test_lift_and_capture_cut_a_row_in_part(share: float, lift: float, capture: float) -> None:
    assert metrics.lift(LABEL, SCORE, share) == pytest.approx(lift, rel=1e-12)
    assert metrics.capture(LABEL, SCORE, share) == pytest.approx(capture, rel=1e-12)


def test_ties_at_the_cut_share_its_places() -> None:
    # The first place holds no conversion; the tie behind it holds one in three rows and gets one place of the two.
    label, score = np.array([0, 1, 0, 0]), np.array([0.9, 0.5, 0.5, 0.5])
    assert metrics.capture(label, score, 0.5) == pytest.approx(1 / 3)


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=40).filter(any), st.floats(0.001, 1))
def test_a_constant_score_has_lift_one_exactly(converted: list[bool], share: float) -> None:
    assert metrics.lift(np.array(converted, dtype=int), np.full(len(converted), 0.3), share) == 1.0


def test_calibration_error_weights_equal_count_bins() -> None:
    label, probability = np.array([0, 1, 1, 1]), np.array([0.1, 0.2, 0.7, 0.8])
    # Two bins of two rows: |1/2 - 0.15| and |1 - 0.75|, half each.
    assert metrics.calibration_error(label, probability, 2) == pytest.approx((0.35 + 0.25) / 2)
    # One bin: |3/4 - 0.45|.
    assert metrics.calibration_error(label, probability, 1) == pytest.approx(0.3)


def test_ties_stay_in_one_bin() -> None:
    label, probability = np.array([1, 0, 0, 0, 0, 1]), np.array([0.2, 0.2, 0.2, 0.2, 0.2, 0.9])
    table = metrics.reliability(label, probability, 3, 0.9)
    assert table["rows"].tolist() == [5, 1]
    assert table["bin"].tolist() == [1, 2]
    assert metrics.calibration_error(label, np.full(6, 1 / 3), 3) == pytest.approx(0.0)


def test_reliability_is_the_table_behind_the_error() -> None:
    table = metrics.reliability(np.array([0, 1, 1, 1]), np.array([0.8, 0.1, 0.7, 0.2]), 2, 0.95)
    assert list(table.columns) == ["bin", "rows", "effective_rows", "predicted", "observed", "low", "high", "holds"]
    assert table["predicted"].tolist() == pytest.approx([0.15, 0.75])
    assert table["observed"].tolist() == [1.0, 0.5]
    # Wilson at 2 of 2 begins at 1 / (1 + z^2 / 2) = 0.3424.
    assert table["low"].tolist() == pytest.approx([0.342380, 0.094531], abs=1e-6)
    assert table["high"].tolist() == pytest.approx([1.0, 0.905469], abs=1e-6)
    assert table["holds"].tolist() == [False, True]


def test_looks_at_one_lead_are_worth_as_much_as_they_tell() -> None:
    """Each lead three times over: a third of the rows tell all there is. Looks that share nothing tell in full."""
    rng = np.random.default_rng(3)
    p = rng.uniform(0.05, 0.6, 4000)
    label = (rng.random(4000) < p).astype(int)
    once = metrics.reliability(label, p, 5, 0.9)
    thrice = metrics.reliability(np.repeat(label, 3), np.repeat(p, 3), 5, 0.9, np.repeat(np.arange(4000), 3))
    np.testing.assert_allclose(thrice["effective_rows"], once["rows"], rtol=1e-9)
    np.testing.assert_allclose(thrice[["low", "high"]], once[["low", "high"]], atol=1e-12)
    assert once["effective_rows"].tolist() == pytest.approx(once["rows"].tolist())
    strangers = metrics.reliability(label, p, 5, 0.9, np.arange(4000) % 2000)
    np.testing.assert_allclose(strangers["effective_rows"], strangers["rows"], rtol=0.15)
    assert (
        metrics.reliability(np.zeros(6, dtype=int), np.full(6, 0.1), 1, 0.9, np.zeros(6))["effective_rows"].item() == 6
    )


@pytest.mark.parametrize(("leads", "looks"), [(200, 1), (300, 3)])
def test_true_chances_keep_the_error_that_chance_makes(leads: int, looks: int) -> None:
    """Beside draws: looks at one lead share half of its luck, so that rows are worth less than they are many."""
    rng = np.random.default_rng([leads, looks])
    chance = np.repeat(1 / (1 + np.exp(-rng.normal(-2, 1, leads))), looks)
    lead = np.repeat(np.arange(leads), looks)
    kept, times = 0, 100
    for _ in range(times):
        own, shared = rng.random(leads * looks), np.repeat(rng.random(leads), looks)
        label = np.where(np.repeat(rng.random(leads) < 0.5, looks), shared, own) < chance
        error = metrics.summary(label, chance, bins=10)["calibration_error"]
        kept += error <= metrics.chance_error(chance, label, lead, 10, 0.95)
    # 95 are promised; three standard errors are 6.5.
    assert 88 <= kept < 100


def test_the_error_that_chance_makes_falls_with_the_root_of_the_rows() -> None:
    chance, label = np.linspace(0.05, 0.5, 400), np.tile([0, 0, 0, 1], 100)
    one = metrics.chance_error(chance, label, np.arange(400), 10, 0.95)
    four = metrics.chance_error(np.tile(chance, 4), np.tile(label, 4), np.arange(1600), 10, 0.95)
    assert four == pytest.approx(one / 2, rel=1e-9)
    # By hand: one bin of chances 0.5 has a standard error of 0.5 / 20; folded, its mean is 0.8 of it, its spread 0.6.
    even = metrics.chance_error(np.full(400, 0.5), np.tile([0, 1], 200), np.arange(400), 1, 0.95)
    assert even == pytest.approx(0.025 * (math.sqrt(2 / math.pi) + 1.6449 * math.sqrt(1 - 2 / math.pi)), rel=1e-4)


def test_wilson_at_its_ends() -> None:
    low, high = metrics.wilson(np.array([0, 10, 100, 0]), np.array([100, 100, 100, 0]), 0.95)
    # 10 of 100 is the textbook example; no trials tell nothing.
    assert low.tolist() == pytest.approx([0.0, 0.055229, 0.963007, 0.0], abs=1e-6)
    assert high.tolist() == pytest.approx([0.036993, 0.174366, 1.0, 1.0], abs=1e-6)
    assert low[0] == 0.0
    assert high[2] == 1.0


def test_summary_names_every_metric() -> None:
    found = metrics.summary(LABEL, SCORE, bins=4)
    assert list(found) == [*metrics.METRICS, "base_rate"]
    assert found["base_rate"] == 0.25
    assert found["auc"] == metrics.auc(LABEL, SCORE)
    assert found["lift_50"] == metrics.lift(LABEL, SCORE, 0.5)
    assert found["capture_20"] == metrics.capture(LABEL, SCORE, 0.2)
    assert found["calibration_error"] == metrics.calibration_error(LABEL, SCORE, 4)


@pytest.mark.parametrize(
    ("label", "score"),
    [([], []), ([0, 1], [0.5]), ([0, 2], [0.1, 0.2]), ([0, 1], [0.1, math.nan]), ([0, 1], [0.1, 1.2])],
)
def test_what_cannot_be_judged_is_refused(label: list[int], score: list[float]) -> None:
    with pytest.raises(ValueError):
        metrics.summary(np.array(label), np.array(score), bins=2)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_share_lies_above_zero_and_up_to_one(share: float) -> None:
    with pytest.raises(ValueError):
        metrics.lift(LABEL, SCORE, share)


rows = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9)), min_size=2, max_size=60).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)


@settings(deadline=None)
@given(rows)
def test_our_route_and_the_library_agree(pairs: list[tuple[int, int]]) -> None:
    label, p = np.array([one for one, _ in pairs]), np.array([tenth / 10 for _, tenth in pairs])
    assert metrics.auc(label, p) == pytest.approx(library.roc_auc_score(label, p), abs=1e-12)
    assert metrics.average_precision(label, p) == pytest.approx(library.average_precision_score(label, p), abs=1e-12)
    assert metrics.log_loss(label, p) == pytest.approx(library.log_loss(label, p), abs=1e-12)
    assert metrics.brier(label, p) == pytest.approx(library.brier_score_loss(label, p), abs=1e-12)


@settings(deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_row_order_does_not_matter(pairs: list[tuple[int, int]], random: object) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def figures(some: list[tuple[int, int]]) -> dict[str, float]:
        return metrics.summary(np.array([one for one, _ in some]), np.array([t / 10 for _, t in some]), bins=5)

    assert figures(shuffled) == pytest.approx(figures(pairs), abs=1e-12)


@settings(deadline=None)
@given(rows)
def test_capture_rises_and_everything_stays_in_its_range(pairs: list[tuple[int, int]]) -> None:
    label, p = np.array([one for one, _ in pairs]), np.array([tenth / 10 for _, tenth in pairs])
    table = metrics.lift_table(label, p, [0.1, 0.2, 0.5, 0.9, 1.0])
    assert (np.diff(table["capture"]) >= -1e-12).all()
    assert table["capture"].iloc[-1] == 1.0
    assert table["lift"].iloc[-1] == 1.0
    assert table["rows"].iloc[-1] == len(p)
    assert metrics.reliability(label, p, 4, 0.9)["rows"].sum() == len(p)
    assert 0 <= metrics.calibration_error(label, p, 4) <= 1


def clustered(n_leads: int, seed: int, *, per_lead: int = 3) -> pd.DataFrame:
    """`per_lead` equal snapshots of each lead: as many rows, but no more news than one per lead."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 4, n_leads)
    label = (rng.random(n_leads) < p).astype(int)
    frame = pd.DataFrame({"lead_id": [f"{k:05d}" for k in range(n_leads)], "label": label, "ours": p})
    frame = frame.assign(worse=np.clip(p * 1.6, 0, 1), constant=label.mean())
    return frame.loc[np.repeat(np.arange(n_leads), per_lead)].reset_index(drop=True)


def test_intervals_hold_their_figure_and_repeat_by_seed() -> None:
    frame = clustered(300, 1)
    found = metrics.bootstrap_by_lead(frame, ["ours", "constant"], bins=5, samples=100, level=0.9, seed=3)
    assert list(found.columns) == ["system", "metric", "value", "low", "high"]
    assert found["system"].tolist() == ["ours"] * len(metrics.METRICS) + ["constant"] * len(metrics.METRICS)
    assert found["metric"].tolist() == list(metrics.METRICS) * 2
    assert ((found["low"] <= found["value"]) & (found["value"] <= found["high"])).all()
    ours = found[found["system"] == "ours"].set_index("metric")["value"]
    assert ours.to_dict() == {
        name: value for name, value in metrics.summary(frame["label"], frame["ours"], bins=5).items() if name in ours
    }
    again = metrics.bootstrap_by_lead(
        frame.sample(frac=1, random_state=1), ["constant", "ours"], bins=5, samples=100, level=0.9, seed=3
    )
    merged = found.merge(again, on=["system", "metric"], suffixes=("", "_again"))
    for end in ("low", "high"):
        np.testing.assert_allclose(merged[end], merged[f"{end}_again"], rtol=1e-9)
    other = metrics.bootstrap_by_lead(frame, ["ours"], bins=5, samples=100, level=0.9, seed=4)
    assert other["low"].tolist() != found["low"].tolist()[: len(other)]


def test_leads_are_drawn_not_rows() -> None:
    single, triple = clustered(400, 2, per_lead=1), clustered(400, 2, per_lead=3)

    def width(frame: pd.DataFrame) -> float:
        table = metrics.bootstrap_by_lead(frame, ["ours"], bins=5, samples=300, level=0.9, seed=1).set_index("metric")
        return float(table.loc["log_loss", "high"] - table.loc["log_loss", "low"])

    # Copies of a lead bring no news: the interval stays as wide as it was.
    assert width(triple) == pytest.approx(width(single), rel=1e-9)


def test_a_resample_is_the_metric_of_the_drawn_rows() -> None:
    frame = clustered(40, 5)
    [weights] = metrics.lead_weights(frame["lead_id"], 4, 9)
    draws = metrics.resampled_by_lead(frame, ["ours"], bins=4, samples=4, seed=9)["ours"]
    for weight, draw in zip(weights, draws, strict=True):
        rows = frame.loc[np.repeat(np.arange(len(frame)), weight.astype(int))]
        expected = metrics.summary(rows["label"], rows["ours"], bins=4)
        assert dict(zip(metrics.METRICS, draw.tolist(), strict=True)) == pytest.approx(
            {name: expected[name] for name in metrics.METRICS}, abs=1e-12
        )


def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = clustered(50, 6)
    whole = metrics.resampled_by_lead(frame, ["ours"], bins=4, samples=7, seed=1)["ours"]
    monkeypatch.setattr(metrics, "_BLOCK", 2 * len(frame))
    np.testing.assert_allclose(
        metrics.resampled_by_lead(frame, ["ours"], bins=4, samples=7, seed=1)["ours"], whole, rtol=1e-12
    )


def test_the_better_system_wins_its_pairs() -> None:
    frame = clustered(800, 7)
    draws = metrics.resampled_by_lead(frame, ["ours", "worse"], bins=10, samples=200, seed=1)
    found = pd.DataFrame(draws["ours"] - draws["worse"], columns=list(metrics.METRICS))
    assert found.shape == (200, len(metrics.METRICS))
    assert (found["log_loss"] < 0).mean() > 0.95
    # `worse` keeps the order (but for clipping), so that ranking differs little.
    assert found["auc"].abs().max() < 0.02


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_the_interval_covers_the_known_truth(seed: int) -> None:
    """The true log-loss of a true probability is its entropy; a 99.9 % interval misses it hardly ever."""
    frame = clustered(600, seed, per_lead=1)
    p = frame["ours"].to_numpy()
    truth = float(np.mean(-p * np.log(p) - (1 - p) * np.log1p(-p)))
    table = metrics.bootstrap_by_lead(frame, ["ours"], bins=5, samples=200, level=0.999, seed=1).set_index("metric")
    value, low, high = table.loc["log_loss", ["value", "low", "high"]].astype(float)
    assert abs(value - truth) < 3 * (high - low)


def test_slices_judge_every_value_with_enough_rows() -> None:
    frame = pd.DataFrame(
        {
            "lead_id": list("abcdef"),
            "label": [1, 0, 1, 0, 0, 1],
            "probability": [0.75, 0.25, 0.5, 0.5, 0.25, 0.5],
            "region": pd.Series(["north", "north", "north", "north", None, "west"], dtype="str"),
            "source": pd.Series(["web"] * 2 + ["fair"] * 4, dtype="str"),
        }
    )
    found = metrics.slices(frame, {"region": "Region", "source": "Source"}, level=0.9, min_rows=2)
    assert found[["criterion", "feature", "value", "rows"]].values.tolist() == [
        ["Region", "region", "north", 4],
        ["Source", "source", "fair", 4],
        ["Source", "source", "web", 2],
    ]
    north = found.iloc[0]
    assert north["observed"] == 0.5
    assert north["predicted"] == 0.5
    assert north["gap"] == 0.0
    assert bool(north["holds"])
    # Pairs of north: 0.75 beats both, 0.5 beats 0.25 and ties with 0.5.
    assert north["auc"] == 3.5 / 4
    assert metrics.slices(frame, {"region": "Region"}, level=0.9, min_rows=1)["value"].tolist() == [
        "(missing)",
        "north",
        "west",
    ]
    assert metrics.slices(frame, {"region": "Region"}, level=0.9, min_rows=9).empty
    # Three looks at every lead, with one outcome, are worth the leads.
    thrice = metrics.slices(pd.concat([frame] * 3), {"region": "Region", "source": "Source"}, level=0.9, min_rows=2)
    thrice = thrice[thrice["rows"] > 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(thrice[["low", "high"]], found[["low", "high"]])


def test_the_excess_of_calibration_error_is_that_of_common_bins_on_every_draw():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"lead_id": [f"L{k // 2:03d}" for k in range(61)], "label": rng.integers(0, 2, 61)})
    frame = frame.assign(a=rng.random(61), b=rng.random(61))
    bound, chance = metrics.calibration_excess(frame, "a", "b", bins=4, samples=9, level=0.9, seed=2)
    order = (frame["a"] + frame["b"]).sort_values(kind="stable").index
    found = []
    for weight in np.concatenate(list(metrics.lead_weights(frame["lead_id"], 9, 2))):
        total = 0.0
        for group in np.array_split(order, 4):
            drawn = frame.loc[group.repeat(weight[group].astype(int))].mean(numeric_only=True)
            total += weight[group].sum() * ((drawn["label"] - drawn["a"]) ** 2 - (drawn["label"] - drawn["b"]) ** 2)
        found.append(total / weight.sum())
    assert bound == pytest.approx(np.quantile(found, 0.9))
    bins = [frame.loc[group] for group in np.array_split(order, 4)]
    distance = sum(len(rows) * (rows["a"].mean() - rows["b"].mean()) ** 2 for rows in bins) / 61
    assert chance == pytest.approx(2 * (np.quantile(found, 0.9) - np.median(found)) - distance)


def test_true_chances_stay_within_what_chance_makes_of_the_excess():
    """Beside a system that is off by three points, in nine of ten windows of 2,000 rows and more."""
    rng = np.random.default_rng(6)
    within = []
    for seed in range(40):
        true = rng.beta(1, 6, 2000)
        frame = pd.DataFrame({"lead_id": range(2000), "label": rng.random(2000) < true, "a": true, "b": true + 0.03})
        bound, chance = metrics.calibration_excess(frame, "a", "b", bins=10, samples=100, level=0.95, seed=seed)
        within.append(bound <= chance)
    assert np.mean(within) >= 0.9
