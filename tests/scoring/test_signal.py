"""Signal: what a ranking out of sample is worth, by lead, and noise that is called noise."""

import numpy as np
import pandas as pd
import pytest

from pipeline.params import load
from pipeline.scoring import metrics, signal


def rows(n: int, strength: float, seed: int, groups: int = 3, looks: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    margin = rng.normal(size=n)
    label = (rng.random(n) < 1 / (1 + np.exp(1.5 - strength * margin))).astype("int8")
    frame = pd.DataFrame(
        {"lead_id": [f"L{k}" for k in range(n)], "label": label, "margin": margin, "group": np.arange(n) % groups}
    )
    return pd.concat([frame] * looks, ignore_index=True)


def delong(label: np.ndarray, margin: np.ndarray) -> tuple[float, float]:
    """AUC and its standard error, pair by pair, after DeLong et al. 1988 with the plain mean of squares."""
    ones, zeros = margin[label == 1], margin[label == 0]
    wins = (ones[:, None] > zeros[None, :]) + 0.5 * (ones[:, None] == zeros[None, :])
    auc = wins.mean()
    of_ones = ((wins.mean(axis=1) - auc) ** 2).sum() / len(ones) ** 2
    of_zeros = ((wins.mean(axis=0) - auc) ** 2).sum() / len(zeros) ** 2
    return auc, np.sqrt(of_ones + of_zeros)


TINY = pd.DataFrame(
    {
        "lead_id": list("abcdef"),
        "label": [1, 1, 0, 0, 0, 1],
        "margin": [2.0, 1.0, 1.0, 0.0, 3.0, 1.0],
        "group": 0,
    }
)


def test_auc_and_error_are_those_of_delong_ties_counted_half():
    found = signal.measure(TINY, 3.0)
    # Of nine pairs: 2.0 beats 1.0 and 0.0; each 1.0 ties with 1.0 and beats 0.0; 3.0 beats all. 2 + 1.5 + 1.5 of 9.
    assert found.auc == pytest.approx(5 / 9)
    auc, error = delong(TINY["label"].to_numpy(), TINY["margin"].to_numpy())
    assert (found.auc, found.error) == pytest.approx((auc, error))
    assert found.z == pytest.approx((5 / 9 - 0.5) / error)
    assert not found.found


@pytest.mark.parametrize("seed", range(5))
def test_two_routes_agree_on_groups_of_random_rows_with_ties(seed):
    frame = rows(120, 0.8, seed, groups=3).assign(margin=lambda frame: frame["margin"].round(1))
    found = signal.measure(frame, 3.0)
    shares, aucs, errors = [], [], []
    for _, part in frame.groupby("group"):
        label = part["label"].to_numpy()
        auc, error = delong(label, part["margin"].to_numpy())
        assert auc == pytest.approx(metrics.auc(label, part["margin"].to_numpy()))
        hits = label.sum()
        shares.append(hits * (len(label) - hits) / len(label))
        aucs.append(auc)
        errors.append(error)
    share = np.array(shares) / np.sum(shares)
    assert found.auc == pytest.approx(share @ aucs)
    assert found.error == pytest.approx(np.sqrt(share**2 @ np.square(errors)))


def test_neither_level_nor_scale_of_a_group_counts():
    frame = rows(300, 1.0, seed=1)
    moved = frame.assign(margin=frame["margin"] * (1 + frame["group"]) + 10 * frame["group"])
    assert signal.measure(moved, 3.0) == signal.measure(frame, 3.0)


def test_four_looks_at_a_lead_are_one_piece_of_evidence():
    once, four = (signal.measure(rows(400, 0.5, seed=2, looks=looks), 3.0) for looks in (1, 4))
    assert (four.auc, four.error, four.z) == pytest.approx((once.auc, once.error, once.z))


def test_noise_is_rarely_more_than_noise():
    """Over 200 seeds |z| is above 2.58 in 1 % of them, so 2; more than 7 has a chance below 0.1 %. And z has the
    spread of a standard normal: its deviation lies within 0.85 to 1.15 (three standard errors of 200 draws)."""
    z = np.array([signal.measure(rows(300, 0.0, seed), 3.0).z for seed in range(200)])
    assert (np.abs(z) > 2.58).sum() <= 7
    assert 0.85 < z.std() < 1.15
    assert abs(z.mean()) < 3 / np.sqrt(200)


def test_a_signal_is_found_from_the_limit_on():
    frame = rows(600, 1.0, seed=3)
    z = signal.measure(frame, 3.0).z
    assert z > 5
    assert signal.measure(frame, z).found and not signal.measure(frame, np.nextafter(z, np.inf)).found


def test_a_constant_margin_is_no_signal():
    found = signal.measure(rows(60, 1.0, seed=4).assign(margin=-1.0), 3.0)
    assert (found.auc, found.z, found.found) == (0.5, 0.0, False)


def test_a_group_of_one_outcome_tells_nothing():
    frame = rows(300, 1.0, seed=5)
    deaf = frame.assign(group=9, label=0)
    assert signal.measure(pd.concat([frame, deaf]), 3.0) == signal.measure(frame, 3.0)
    nothing = signal.measure(deaf, 3.0)
    assert (nothing.auc, nothing.z, nothing.found) == (0.5, 0.0, False)


def test_the_warning_names_the_figures():
    said = signal.Signal(0.512, 0.01, 1.24, False).warning(3.0)
    assert said.startswith("NO SIGNAL: out of sample the ranking has an AUC of 0.512, 1.2 standard errors above chance")
    assert "3 are asked for" in said


# Columns beside outcomes dealt anew


def table(n: int, strength: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Snapshots in order of time, and five columns of which the first two tell with `strength`."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 7]))
    features = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    features["e"] = pd.Series(rng.integers(6, size=n)).map("v{}".format).astype("str")
    chance = 1 / (1 + np.exp(1.5 - strength * (features["a"] + (features["b"] > 0))))
    snapshots = pd.DataFrame(
        {
            "lead_id": [f"L{k}" for k in range(n)],
            "as_of": pd.Timestamp("2026-01-01"),
            "label": (rng.random(n) < chance).astype("int8"),
            "position": np.arange(n),
        }
    )
    return snapshots, features


def test_under_no_signal_the_p_value_is_spread_evenly():
    found = np.array([signal.association(*table(300, 0.0, seed), 99, 1) for seed in range(150)])
    # An even spread over 1/100 ... 1: within three standard errors of its mean and of its share below one tenth.
    assert abs(found.mean() - 0.5) < 3 * np.sqrt(1 / 12 / 150)
    assert abs((found <= 0.1).mean() - 0.1) < 3 * np.sqrt(0.09 / 150)


def test_columns_that_tell_are_as_rare_as_can_be():
    assert signal.association(*table(600, 1.0, 1), 99, 1) == 1 / 100


def test_a_rate_that_moves_with_the_period_is_no_association():
    snapshots, features = table(2000, 0.0, 3)
    rng = np.random.default_rng(3)
    time = np.arange(2000) / 2000
    moving = snapshots.assign(label=(rng.random(2000) < 0.05 + 0.5 * (time > 0.5)).astype("int8"))
    told = features.assign(a=time + rng.normal(0, 0.2, 2000))
    assert signal.association(moving, told, 199, 1) > 0.05
    # Dealt over the whole history the same columns would have convinced.
    shuffled = moving.assign(position=rng.permutation(2000))
    assert signal.association(shuffled, told, 199, 1) == 1 / 200


def test_further_looks_at_a_lead_change_nothing():
    snapshots, features = table(300, 0.4, 4)
    later = snapshots.assign(as_of=pd.Timestamp("2026-02-01"), label=1)
    both = pd.concat([snapshots, later], ignore_index=True)
    assert signal.association(both, pd.concat([features] * 2, ignore_index=True), 99, 1) == signal.association(
        snapshots, features, 99, 1
    )


def test_constant_columns_and_gaps_are_no_trouble():
    snapshots, features = table(300, 1.5, 5)
    features = features.assign(f=1.0, g=np.nan, a=features["a"].where(features["a"] > -1))
    assert signal.association(snapshots, features, 99, 1) == 1 / 100
    assert signal.association(snapshots.assign(label=0), features, 99, 1) == 1.0


def test_the_columns_are_asked_only_where_the_ranking_does_not_tell(project_root):
    params = load(project_root / "params.yaml").train.model_copy(update={"deals": 99})
    snapshots, features = table(600, 1.0, 1)
    rng = np.random.default_rng(1)
    margins = snapshots.assign(group=0)
    clear = signal.judge(margins.assign(margin=features["a"]), snapshots, features, params, 1)
    assert clear.found and clear.p_value is None
    weak = signal.judge(
        margins.assign(margin=features["a"] + rng.normal(0, 12, 600) + 1e-3 * snapshots["label"]),
        snapshots,
        features,
        params,
        1,
    )
    assert 0 < weak.z < params.min_signal and weak.found and weak.p_value == 1 / 100
    backwards = signal.judge(margins.assign(margin=-features["a"]), snapshots, features, params, 1)
    assert backwards.z < 0 and not backwards.found and backwards.p_value is None
