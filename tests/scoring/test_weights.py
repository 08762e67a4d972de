"""What a criterion adds, in which sense, in what shape, and whether it goes on working."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.params import load
from pipeline.scorer.calibration import Calibration, sigmoid
from pipeline.scoring import weights

FEATURES = [
    {"name": "visits", "criterion": "Visits", "type": "number"},
    {"name": "visits_7d", "criterion": "Visits", "type": "number"},
    {"name": "industry", "criterion": "Industry", "type": "category"},
    {"name": "noise", "criterion": "Noise", "type": "number"},
]


def drawn(n: int = 8000, seed: int = 1, late: float = 1.0) -> tuple[np.ndarray, np.ndarray, pd.DataFrame, pd.Series]:
    """Labels, log-odds and terms of three criteria; `late`: what the effect of visits is worth in the later quarter."""
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    parts = pd.DataFrame(
        {
            "Visits": rng.normal(0, 1.0, n),
            "Industry": rng.normal(0, 0.5, n),
            "Noise": rng.normal(0, 0.3, n),  # learned from chance: it says nothing
        }
    )
    as_of = pd.Series(pd.Timestamp("2024-04-15") + pd.to_timedelta(np.where(np.arange(n) < n / 2, 0, 91), unit="D"))
    effect = np.where(np.arange(n) < n / 2, 1.0, late)
    chance = sigmoid(-1.0 + effect * parts["Visits"].to_numpy() + parts["Industry"].to_numpy())
    label = (rng.random(n) < chance).astype("float64")
    return label, -1.0 + parts.sum(axis=1).to_numpy(), parts, as_of


def test_terms_are_sums_of_their_features_in_order():
    contributions = pd.DataFrame([[1.0, 0.5, -2.0, 0.0], [0.0, 0.25, 1.0, 3.0]], columns=[f["name"] for f in FEATURES])
    expected = pd.DataFrame({"Visits": [1.5, 0.25], "Industry": [-2.0, 1.0], "Noise": [0.0, 3.0]})
    pd.testing.assert_frame_equal(weights.terms(contributions, FEATURES), expected)


def test_what_adds_and_what_does_not():
    label, log_odds, parts, _ = drawn()
    found = weights.adds(label, log_odds, parts, np.arange(len(label)), level=0.9).set_index("criterion")
    assert found["verdict"].tolist()[:2] == ["adds", "adds"]
    assert found.loc["Noise", "verdict"] == "misleads", "a term that only adds noise costs log-loss"
    nothing = parts.assign(Noise=0.0)
    still = weights.adds(label, log_odds, nothing, np.arange(len(label)), level=0.9).set_index("criterion")
    assert still.loc["Noise", "verdict"] == "adds nothing" and still.loc["Noise", "adds"] == 0
    assert found.loc["Visits", "adds"] > found.loc["Industry", "adds"] > 0


def test_a_term_counts_as_the_calibrator_lets_it(project_root):
    """Margins twice too far out, and a calibrator that halves them: what is learned is that of the true terms."""
    label, log_odds, parts, as_of = drawn()
    features = [{"name": name.lower(), "criterion": name, "type": "number"} for name in parts]
    params = load(project_root / "params.yaml").explain
    given = parts.set_axis([feature["name"] for feature in features], axis=1)
    test = given.assign(label=label, lead_id=np.arange(len(label)), as_of=as_of)
    plain, _ = weights.learned(test, given, features, log_odds, Calibration("none", 0.0, 1.0, 1.0), params)
    halved = Calibration("sigmoid", 0.0, 0.5, 0.5)
    found, over_time = weights.learned(test, 2 * given, features, 2 * log_odds, halved, params)
    pd.testing.assert_frame_equal(found, plain)
    visits = over_time.loc[over_time["criterion"] == "Visits", "slope"]
    np.testing.assert_allclose(visits, 1.0, atol=0.1)


def test_the_error_of_a_gain_is_what_it_varies_by():
    gains = []
    for seed in range(60):
        label, log_odds, parts, _ = drawn(1500, seed)
        found = weights.adds(label, log_odds, parts, np.arange(1500), level=0.9)
        gains.append(found.loc[0, ["adds", "adds_low", "adds_high"]].tolist())
    gains = np.array(gains)
    error = (gains[:, 2] - gains[:, 1]) / 2 / 1.645
    assert gains[:, 0].std() == pytest.approx(error.mean(), rel=0.25)


def test_looks_at_a_lead_count_as_one():
    label, log_odds, parts, _ = drawn(1000)
    once = weights.adds(label, log_odds, parts, np.arange(1000), level=0.9)
    again = [np.repeat(one, 3) for one in (label, log_odds, np.arange(1000))]
    three = weights.adds(
        *again[:2], parts.loc[np.repeat(np.arange(1000), 3)].reset_index(drop=True), again[2], level=0.9
    )
    np.testing.assert_allclose(
        three[["adds", "adds_low", "adds_high"]], once[["adds", "adds_low", "adds_high"]], rtol=1e-6
    )


def test_a_criterion_that_turns_round_is_seen_in_its_quarter():
    label, log_odds, parts, as_of = drawn(late=-1.0)
    found = weights.over_time(
        label, log_odds, parts, np.arange(len(label)), as_of, level=0.9, min_conversions=30
    ).set_index(["quarter", "criterion"])
    assert found.loc[("2024Q2", "Visits"), "slope"] == pytest.approx(1.0, abs=0.1)
    assert not found.loc[("2024Q2", "Visits"), "changed_sign"]
    assert found.loc[("2024Q3", "Visits"), "slope"] == pytest.approx(-1.0, abs=0.15)
    assert found.loc[("2024Q3", "Visits"), "changed_sign"]
    assert found.loc[("2024Q2", "Noise"), "slope_low"] < 0 < found.loc[("2024Q2", "Noise"), "slope_high"]
    assert found["rows"].tolist() == [4000] * 6 and found.loc["2024Q2", "conversions"].iloc[0] == label[:4000].sum()


def test_the_slope_is_that_of_a_logistic_regression_beside_the_rest():
    """The second route leaves the rest's own weight free; by the law it is 1, where the first holds it."""
    label, log_odds, parts, _ = drawn(4000)
    one_day = pd.Series([pd.Timestamp("2024-04-15")] * 4000)
    found = weights.over_time(
        label, log_odds, parts[["Visits"]], np.arange(4000), one_day, level=0.9, min_conversions=30
    )
    rest = log_odds - parts["Visits"].to_numpy()
    free = LogisticRegression(C=np.inf).fit(np.column_stack([parts["Visits"], rest]), label)
    assert found.loc[0, "slope"] == pytest.approx(free.coef_[0, 0], abs=0.1)
    assert found.loc[0, "slope_low"] < 1.0 < found.loc[0, "slope_high"]


def test_a_quarter_with_few_conversions_and_a_term_that_is_the_same_for_all_have_no_slope():
    label, log_odds, parts, as_of = drawn(400)
    few = weights.over_time(label, log_odds, parts, np.arange(400), as_of, level=0.9, min_conversions=400)
    assert few["slope"].isna().all() and not few["changed_sign"].any()
    same = weights.over_time(
        label, log_odds, parts.assign(Noise=0.2), np.arange(400), as_of, level=0.9, min_conversions=5
    )
    assert same.set_index(["quarter", "criterion"]).loc[("2024Q2", "Noise"), ["slope"]].isna().all()


def senses(values: pd.DataFrame, contributions: pd.DataFrame, features: list[dict[str, str]]) -> dict[str, str]:
    return weights.directions(values, contributions, features, bins=10, one_way=0.5)


def test_directions_are_those_of_the_strongest_feature():
    value = np.arange(50, dtype="float64")
    values = pd.DataFrame({"visits": value, "visits_7d": value, "industry": ["a"] * 50, "noise": value})
    contributions = pd.DataFrame(
        {"visits": value / 10, "visits_7d": -value / 100, "industry": value * 0, "noise": (value // 5 % 2) - 0.5}
    )
    assert senses(values, contributions, FEATURES) == {"Visits": "rising", "Industry": "by value", "Noise": "mixed"}
    assert senses(values, contributions.assign(visits_7d=-value * 9), FEATURES)["Visits"] == "falling"
    assert senses(values, contributions * 0, FEATURES)["Visits"] == "mixed"


def test_a_rare_count_works_by_its_means_not_by_its_many_zeros():
    rng = np.random.default_rng(np.random.SeedSequence([2]))
    count = np.where(np.arange(2000) < 40, 1.0 + np.arange(2000) % 3, 0.0)
    part = pd.DataFrame({"visits": 0.3 * count + rng.normal(0, 0.05, 2000)})
    assert senses(pd.DataFrame({"visits": count}), part, FEATURES[:1]) == {"Visits": "rising"}


def test_of_days_since_what_counts_is_whether_it_happened():
    """Leads that unsubscribed convert less, the longer ago the less: all the same it speaks against them."""
    days = pd.Series(np.where(np.arange(100) < 20, np.arange(100), np.nan))
    features = [{"name": "days_since_unsubscribed", "criterion": "Unsubscribed", "type": "number"}]
    against = pd.DataFrame({"days_since_unsubscribed": np.where(days.notna(), -1.0 - days / 20, 0.1)})
    values = pd.DataFrame({"days_since_unsubscribed": days})
    assert senses(values, against, features) == {"Unsubscribed": "falling"}
    assert senses(values, -against, features) == {"Unsubscribed": "rising"}


def test_the_shape_of_a_number_and_of_a_category():
    values = pd.DataFrame({"visits": [0.0, 0, 1, 1, 2, np.nan], "industry": ["a", "a", "b", "c", None, "a"]})
    contributions = pd.DataFrame({"visits": [-1.0, -3, 0, 1, 4, 9], "industry": [1.0, 2, 3, 4, 5, 6]})
    features = [
        {"name": "visits", "criterion": "Visits", "type": "number"},
        {"name": "industry", "criterion": "Industry", "type": "category"},
    ]
    found = weights.dependence(values, contributions, features, bins=2)
    assert found[["feature", "value", "place", "rows", "log_odds"]].values.tolist() == [
        ["visits", "0.5", 0, 4, -0.75],
        ["visits", "2", 1, 1, 4.0],
        ["visits", "", 2, 1, 9.0],
        ["industry", "a", 0, 3, 3.0],
        ["industry", "b", 1, 1, 3.0],
        ["industry", "others", 2, 1, 4.0],
        ["industry", "", 3, 1, 5.0],
    ]
    assert found.loc[0, ["low", "high"]].tolist() == [0.0, 1.0]
