"""What criteria added fold by fold before the test window, over the folds, and whether it agrees with that window."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.params import load
from pipeline.scorer.calibration import sigmoid
from pipeline.scoring import fold_weights, weights

PARAMS = load(Path(__file__).parents[2] / "params.yaml").explain
FEATURES = [
    {"name": "visits", "criterion": "Visits", "type": "number"},
    {"name": "fold", "criterion": "Fold", "type": "category"},  # a source may call a column so
    {"name": "noise", "criterion": "Noise", "type": "number"},
]
NAMES = [feature["name"] for feature in FEATURES]


def searched(n: int = 2000, folds: int = 4, seed: int = 2) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Judged rows, contributions and snapshots. In the last fold visits speak against a conversion, though all members
    had learned the opposite; in the first, members had learned the opposite of what holds."""
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    fold = np.repeat(np.arange(folds), n)
    key = pd.DataFrame(
        {
            "lead_id": [f"{k:05d}" for k in range(n * folds)],
            "as_of": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n * folds) // 100, unit="D"),
        }
    )
    values = pd.DataFrame(
        {
            "visits": rng.normal(size=n * folds),
            "fold": pd.Series(rng.choice(["a", "b"], n * folds), dtype="str"),
            "noise": rng.normal(size=n * folds),
        }
    )
    law = 0.8 * np.where(fold == folds - 1, -1, 1) * values["visits"] + np.where(values["fold"] == "a", 0.4, -0.4)
    label = (rng.random(n * folds) < sigmoid(law.to_numpy() - 1)).astype("int8")
    contributions = pd.DataFrame(
        {
            "visits": 0.8 * np.where(fold == 0, -1, 1) * values["visits"],
            "fold": np.where(values["fold"] == "a", 0.4, -0.4),
            "noise": 0.0,
        }
    )
    snapshots = pd.concat([key, pd.Series(label, name="label"), values], axis=1)
    mixed = rng.permutation(n * folds)  # judged in another order than the snapshots stand in
    judged = key.assign(fold=fold).iloc[mixed].reset_index(drop=True)
    return judged, pd.concat([key, contributions], axis=1).iloc[mixed].reset_index(drop=True), snapshots


def test_every_fold_is_judged_on_its_own_rows():
    judged, contributions, snapshots = searched()
    found = fold_weights.by_fold(judged, contributions, snapshots, FEATURES, PARAMS)
    assert list(found.columns) == list(fold_weights.COLUMNS)
    assert found["fold"].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert found["rows"].eq(2000).all()
    visits = found[found["criterion"] == "Visits"].set_index("fold")
    assert visits["direction"].tolist() == ["falling", "rising", "rising", "rising"]
    assert visits["verdict"].tolist() == ["misleads", "adds", "adds", "misleads"]
    assert visits["changed_sign"].tolist() == [True, False, False, True]
    assert visits["slope"].tolist() == pytest.approx([-1, 1, 1, -1], abs=0.2)
    assert visits["first_as_of"].tolist() == list(pd.Timestamp("2024-01-01") + pd.to_timedelta([0, 20, 40, 60], "D"))
    assert found.loc[found["criterion"] == "Fold", "verdict"].eq("adds").all()
    noise = found[found["criterion"] == "Noise"]
    assert noise["adds"].eq(0).all() and noise["slope"].isna().all()


def test_a_fold_alone_gives_what_weights_say_of_its_rows():
    judged, contributions, snapshots = searched()
    found = fold_weights.by_fold(judged, contributions, snapshots, FEATURES, PARAMS)
    rows = judged.merge(snapshots[["lead_id", "as_of", "label"]], on=["lead_id", "as_of"])
    mine = (judged["fold"] == 2).to_numpy()
    terms = weights.terms(contributions[mine], FEATURES)
    alone = weights.adds(
        rows.loc[mine, "label"].to_numpy("float64"),
        terms.sum(axis=1).to_numpy(),
        terms,
        rows.loc[mine, "lead_id"].to_numpy(),
        level=PARAMS.interval_level,
    )
    columns = ["criterion", "adds", "adds_low", "adds_high", "verdict"]
    pd.testing.assert_frame_equal(
        found.loc[found["fold"] == 2, columns].reset_index(drop=True), alone[columns].reset_index(drop=True)
    )


def told(**gains: list[float]) -> pd.DataFrame:
    """A table of `by_fold` with these gains, none of them turned."""
    rows = [(fold, name, gain) for name, own in gains.items() for fold, gain in enumerate(own)]
    table = pd.DataFrame(rows, columns=["fold", "criterion", "adds"])
    return table.assign(direction="rising", changed_sign=False)


def learned(**verdicts: str) -> pd.DataFrame:
    return pd.DataFrame({"criterion": list(verdicts), "direction": "rising", "verdict": list(verdicts.values())})


def test_the_interval_over_folds_is_students():
    gains = [0.004, 0.001, 0.003, 0.0035]
    found = fold_weights.over_folds(
        told(Visits=gains, Few=[1.0, 2.0, 3.0]), learned(Visits="adds", Few="adds"), level=0.9
    )
    by_hand = stats.ttest_1samp(gains, 0).confidence_interval(0.9)
    assert found.loc[0, "folds_adds"] == pytest.approx(np.mean(gains))
    assert found.loc[0, ["folds_adds_low", "folds_adds_high"]].tolist() == pytest.approx([by_hand.low, by_hand.high])
    assert found.loc[1, ["folds_adds_low", "folds_adds_high"]].tolist() == pytest.approx([0.314, 3.686], abs=5e-4)
    assert found["folds"].tolist() == [4, 3]


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Gains that vary from fold to fold around what the criterion is worth: 500 searches of four folds."""
    rng = np.random.default_rng(np.random.SeedSequence([4]))
    many = {f"c{k}": rng.normal(0.002, 0.001, 4).tolist() for k in range(500)}
    found = fold_weights.over_folds(told(**many), learned(**dict.fromkeys(many, "adds")), level=0.9)
    held = (found["folds_adds_low"] < 0.002) & (found["folds_adds_high"] > 0.002)
    assert held.mean() == pytest.approx(0.9, abs=3 * np.sqrt(0.9 * 0.1 / 500))


@pytest.mark.parametrize(
    ("gains", "in_test", "verdict", "agrees"),
    [
        pytest.param([2.0, 2.1, 1.9], "adds", "adds", "yes", id="both add"),
        pytest.param([-1.0, 1.0, 0.1], "adds nothing", "adds nothing", "yes", id="neither does"),
        pytest.param([-1.0, 1.0, 0.1], "adds", "adds nothing", "in part", id="only the test window tells"),
        pytest.param([2.0, 2.1, 1.9], "adds nothing", "adds", "in part", id="only the folds tell"),
        pytest.param([-2.0, -2.1, -1.9], "adds", "misleads", "no", id="they contradict each other"),
        pytest.param([2.0], "adds", "", "", id="one fold says nothing about how folds vary"),
    ],
)
def test_verdicts_of_folds_and_test_window_are_compared(gains, in_test, verdict, agrees):
    found = fold_weights.over_folds(told(Visits=gains), learned(Visits=in_test), level=0.9)
    assert found.loc[0, ["folds_verdict", "agrees"]].tolist() == [verdict, agrees]


def test_turned_counts_folds_that_work_or_were_learned_the_other_way_round():
    table = told(Visits=[1.0, 1.1, 1.2, 1.3]).assign(
        direction=["falling", "falling", "rising", "mixed"], changed_sign=[True, False, True, False]
    )
    assert fold_weights.over_folds(table, learned(Visits="adds"), level=0.9).loc[0, "folds_turned"] == 3


def test_without_folds_columns_are_empty_and_the_sentence_says_why():
    found = fold_weights.over_folds(fold_weights.none(), learned(Visits="adds", Noise="adds nothing"), level=0.9)
    assert found["criterion"].tolist() == ["Visits", "Noise"]
    assert found["folds"].tolist() == [0, 0] and found["folds_turned"].tolist() == [0, 0]
    assert found[["folds_adds", "folds_adds_low", "folds_adds_high"]].isna().all(axis=None)
    assert (found[["folds_verdict", "agrees"]] == "").all(axis=None)
    assert fold_weights.sentence(found).startswith("no criterion is judged fold by fold")


def test_the_sentence_counts_and_names_what_adds_nothing_in_either():
    gains = {"Visits": [2.0, 2.1, 1.9], "Noise": [-1.0, 1.0, 0.1], "Blog": [-1.0, 1.0, 0.1], "Home": [-2.0, -2.1, -1.9]}
    verdicts = {"Visits": "adds", "Noise": "adds nothing", "Blog": "adds", "Home": "adds"}
    said = fold_weights.sentence(fold_weights.over_folds(told(**gains), learned(**verdicts), level=0.9))
    assert said == (
        "over the 3 folds before the test window 2 of 4 criteria get the verdict that they get in it, 1 the opposite "
        "one; 1 add nothing in either: Noise"
    )
