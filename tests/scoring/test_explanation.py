"""Explanations: exact tables from small scores, sums counted in tenths, tree contributions that are Shapley values."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from pipeline.errors import ArtefactError
from pipeline.params import load
from pipeline.scorer.margin import Encoder, LogisticMember, XGBoostMember
from pipeline.scoring import explanation, fit

# shap asks matplotlib for something that will go in a later release.
pytestmark = pytest.mark.filterwarnings("ignore:The set_(bad|over|under|extremes) function:PendingDeprecationWarning")

FEATURES = [
    {"name": "visits_7d", "criterion": "Visits", "group": "engagement", "type": "number"},
    {"name": "visits", "criterion": "Visits", "group": "engagement", "type": "number"},
    {"name": "region", "criterion": "Region", "group": "fit", "type": "category"},
]


def scores(*rows: tuple[str, float, float, list[list[Any]]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "lead_id": [row[0] for row in rows],
            "as_of": pd.Timestamp("2024-03-01"),
            "base": [row[1] for row in rows],
            "score": [row[2] for row in rows],
            "reasons": [
                json.dumps(
                    [
                        {"criterion": name, "group": "", "points": points, "text": f"{name} so"}
                        for name, points in row[3]
                    ]
                )
                for row in rows
            ],
        }
    )


TWO = scores(("a", 10.0, 12.3, [["Visits", 3.0], ["Region", -0.7]]), ("b", 10.0, 10.0, []))


def test_points_are_the_reasons_in_tenths() -> None:
    assert explanation.points(TWO).values.tolist() == [[0, "Visits", 30], [0, "Region", -7]]
    assert explanation.points(scores(("b", 10.0, 10.0, []))).empty


def test_a_sum_counts_only_when_exact_to_the_tenth() -> None:
    rows = scores(
        ("a", 10.0, 12.3, [["Visits", 3.0], ["Region", -0.7]]),
        ("b", 10.0, 10.0, []),
        ("c", 10.0, 10.1, []),
        # In floating point 0.1 + 0.2 is not 0.3; in tenths it is.
        ("d", 0.1, 0.3, [["Visits", 0.2]]),
    )
    assert explanation.adds_up(rows, explanation.points(rows)).tolist() == [True, True, False, True]


def stub(level: float = 0.5) -> Any:
    """A scorer of one feature, whose contribution is its value."""
    margin = SimpleNamespace(base=-1.0, contributions=lambda rows: rows[["region"]].to_numpy("float64"))
    return SimpleNamespace(margin=margin, level=level)


def test_rows_with_a_score_are_taken_apart_in_their_order() -> None:
    test = TWO[["lead_id", "as_of"]].assign(label=[1, 0], region=[2.0, 4.0])
    refused = TWO.assign(refused=["created_at is missing", ""])
    apart = explanation.take_apart(stub(), test, refused, FEATURES[2:])
    assert apart.rows["lead_id"].tolist() == apart.scores["lead_id"].tolist() == ["b"]
    assert apart.contributions.to_dict("list") == {"region": [4.0]}
    assert apart.margin.tolist() == [-1.0 + 4.0 + 0.5]  # base, contribution, current level
    assert apart.points.empty


def test_reasons_that_do_not_add_up_are_refused_by_their_number() -> None:
    wrong = TWO.assign(refused="", score=[12.3, 10.1])
    test = TWO[["lead_id", "as_of"]].assign(label=[1, 0], region=[2.0, 4.0])
    with pytest.raises(ArtefactError, match="reasons of 1 of 2 test rows do not add up"):
        explanation.take_apart(stub(), test, wrong, FEATURES[2:])


def test_a_sample_keeps_rows_and_contributions_together() -> None:
    rows = pd.DataFrame({"lead_id": list("abcdef"), "region": np.arange(6.0)})
    apart = explanation.Apart(rows, rows, rows, rows[["region"]], np.arange(6.0))
    drawn = explanation.draw(apart, 4, seed=1)
    assert len(drawn.places) == 4 and (np.diff(drawn.places) > 0).all()
    assert drawn.rows["region"].tolist() == drawn.contributions["region"].tolist() == drawn.places.tolist()


def test_criteria_without_a_use_are_named_per_verdict_and_the_current_level_is_not_counted() -> None:
    weighed = pd.DataFrame(
        {
            "criterion": ["Visits", "Region", "Age", "Current level"],
            "verdict": ["adds", "adds nothing", "adds nothing", np.nan],
        }
    )
    assert explanation.sentences(weighed) == [
        "on later leads 2 of 3 criteria add nothing that can be told from chance: Region, Age"
    ]
    assert explanation.sentences(weighed.head(1)) == []


def test_criteria_have_points_over_all_rows_and_log_odds_over_the_sample() -> None:
    contributions = pd.DataFrame({"visits_7d": [1.0, -1.0], "visits": [0.5, 0.5], "region": [-0.25, 0.0]})
    found = explanation.criteria(explanation.points(TWO), len(TWO), contributions, FEATURES)
    # Points: 3.0 and 0 of two rows; log-odds: features of one criterion are added first, |1.5| and |-0.5|.
    assert found.to_dict("records") == [
        {
            "criterion": "Visits",
            "group": "engagement",
            "features": 2,
            "mean_absolute_points": 1.5,
            "mean_points": 1.5,
            "share": 30 / 37,
            "mean_absolute_log_odds": 1.0,
        },
        {
            "criterion": "Region",
            "group": "fit",
            "features": 1,
            "mean_absolute_points": 0.35,
            "mean_points": -0.35,
            "share": 7 / 37,
            "mean_absolute_log_odds": 0.125,
        },
    ]


def test_the_current_level_is_a_criterion_where_it_gives_points() -> None:
    contributions = pd.DataFrame({"visits_7d": [1.0], "visits": [0.5], "region": [0.0]})
    told = explanation.points(scores(("a", 10.0, 11.0, [["Current level", 1.0]])))
    found = explanation.criteria(told, 1, contributions, FEATURES)
    assert found["criterion"].tolist() == ["Current level", "Region", "Visits"]
    assert found["features"].tolist() == [0, 1, 2]
    assert found["group"].tolist() == ["", "fit", "engagement"]


def test_feature_weights_are_sorted_and_signed() -> None:
    contributions = pd.DataFrame({"visits_7d": [1.0, -1.0], "visits": [0.5, 0.5], "region": [-0.25, 0.0]})
    found = explanation.feature_weights(contributions, FEATURES)
    assert found["feature"].tolist() == ["visits_7d", "visits", "region"]
    assert found["mean_absolute_log_odds"].tolist() == [1.0, 0.5, 0.125]
    assert found["mean_log_odds"].tolist() == [0.0, 0.5, -0.125]


def test_waterfalls_run_from_the_base_to_the_score() -> None:
    rows = scores(
        ("c", 10.0, 10.0, []),
        ("a", 10.0, 12.3, [["Visits", 3.0], ["Region", -0.7]]),
        ("b", 10.0, 10.0, []),
        ("d", 10.0, 9.0, [["Visits", -1.0]]),
    )
    found = explanation.waterfalls(rows, 2)
    assert found.drop(columns="as_of").values.tolist() == [
        ["a", 0, "base", "", "", 10.0, 0.0, 10.0],
        ["a", 1, "reason", "Visits", "Visits so", 3.0, 10.0, 13.0],
        ["a", 2, "reason", "Region", "Region so", -0.7, 13.0, 12.3],
        ["a", 3, "score", "", "", 12.3, 0.0, 12.3],
        ["d", 0, "base", "", "", 10.0, 0.0, 10.0],
        ["d", 1, "reason", "Visits", "Visits so", -1.0, 10.0, 9.0],
        ["d", 2, "score", "", "", 9.0, 0.0, 9.0],
    ]
    # Ranks of four: a, then b and c by key, then d; the middle of three rounds to even.
    assert explanation.waterfalls(rows, 3)["lead_id"].unique().tolist() == ["a", "c", "d"]
    assert explanation.waterfalls(rows, 9)["lead_id"].unique().tolist() == ["a", "b", "c", "d"]


def test_the_sample_is_drawn_by_seed_without_replacement() -> None:
    drawn = explanation.sample(100, 10, 1)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert len(drawn) == 10
    assert drawn.tolist() == explanation.sample(100, 10, 1).tolist()
    assert drawn.tolist() != explanation.sample(100, 10, 2).tolist()
    assert explanation.sample(3, 10, 1).tolist() == [0, 1, 2]
    assert explanation.sample(0, 10, 1).tolist() == []


@pytest.fixture(scope="module")
def fitted() -> tuple[XGBoostMember, np.ndarray]:
    """Trees of depth 2 on two numbers with gaps and a category that interact, and 40 rows to explain."""
    rng = np.random.default_rng(3)
    n = 600
    frame = pd.DataFrame(
        {
            "visits": np.where(rng.random(n) < 0.1, np.nan, rng.poisson(2.0, n).astype("float64")),
            "age": rng.uniform(0, 50, n),
            "region": pd.Series(rng.choice(["north", "south", "west"], n), dtype="str"),
        }
    )
    chance = np.where((frame["visits"] > 1) & (frame["region"] == "west"), 0.7, 0.1 + 0.004 * frame["age"])
    encoder = Encoder.fit(frame)
    matrix = encoder.matrix(frame)
    data = xgb.DMatrix(
        matrix,
        label=(rng.random(n) < chance).astype(float),
        feature_types=encoder.feature_types,
        enable_categorical=True,
    )
    booster = xgb.train({"objective": "binary:logistic", "max_depth": 2, "eta": 0.5, "nthread": 1}, data, 6)
    return XGBoostMember(encoder=encoder, booster=booster), matrix[:40]


def test_our_tree_contributions_are_shaps(fitted: tuple[XGBoostMember, np.ndarray]) -> None:
    member, matrix = fitted
    found = explanation.shap_agreement([member], matrix)
    assert found["members"] == {"xgboost": 1}
    assert found["largest_relative_difference"] < 1e-4
    assert found["largest_margin_difference"] < 1e-5


@pytest.mark.parametrize("start", ["scorecard", "logistic"])
def test_trees_on_rates_that_correct_another_member_agree_too(start: str) -> None:
    """The trees' own contributions are SHAP's; with those of the start they add up to the margin."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {"visits": rng.normal(size=400), "region": pd.Series(rng.choice(list("abc"), 400), dtype="str")}
    )
    label = rng.random(400) < np.where(frame["region"] == "a", 0.6, 0.2)
    tune = load(Path(__file__).parents[2] / "params.yaml").tune
    settings = tune.xgboost.first[0].model_copy(update={"start": start, "categories": "target"})
    rows = fit.Rows.encode(frame, label, np.arange(400))
    member = fit.fit_xgboost(rows, settings, rounds=8, seed=1, threads=1, start=fit.start_of(settings, tune))
    found = explanation.shap_agreement([member], rows.matrix[:60])
    assert found["largest_relative_difference"] < 1e-4
    assert found["largest_margin_difference"] < 1e-5
    bias, parts = member.contributions(rows.matrix)
    first, own = member.of_trees(rows.matrix)
    begin, other = member.start.contributions(rows.matrix)
    np.testing.assert_allclose(parts, own + other, atol=1e-12)
    assert bias == pytest.approx(first + begin) and np.abs(other).max() > 0.1


def test_a_member_that_does_not_add_up_is_noticed(fitted: tuple[XGBoostMember, np.ndarray]) -> None:
    member, matrix = fitted

    class Shifted(XGBoostMember):
        def of_trees(self, matrix: np.ndarray) -> tuple[float, np.ndarray]:
            bias, parts = super().of_trees(matrix)
            return bias, parts + 0.01

    found = explanation.shap_agreement([Shifted(encoder=member.encoder, booster=member.booster)], matrix)
    assert found["largest_difference"] == pytest.approx(0.01, abs=1e-5)
    assert found["largest_margin_difference"] == pytest.approx(0.03, abs=1e-5)


def test_a_lookup_member_is_only_summed() -> None:
    encoder = Encoder(names=["visits"], levels={}, complete=[])
    term = {
        "edges": [1.0],
        "weights": [0.0, 1.0],
        "mean": 0.0,
        "scale": 1.0,
        "slope": 0.1,
        "limit": 3.0,
        "missing": 0.5,
    }
    found = explanation.shap_agreement(
        [LogisticMember(encoder=encoder, intercept=-1.0, terms={"visits": term})], np.array([[0.0], [2.0], [np.nan]])
    )
    assert found["members"] == {"logistic": 1}
    assert found["largest_difference"] == 0.0
    assert found["largest_margin_difference"] == 0.0


def expectation(nodes: dict[int, dict[str, Any]], node: int, row: np.ndarray, known: frozenset[int]) -> float:
    """Mean output of one tree for `row` when only `known` features are known: an unknown split is averaged by cover."""
    here = nodes[node]
    if here["feature"] is None:
        return float(here["leaf"])
    if here["feature"] in known:
        return expectation(nodes, here["follow"](row[here["feature"]]), row, known)
    total = sum(nodes[child]["cover"] for child in here["children"])
    return sum(nodes[child]["cover"] / total * expectation(nodes, child, row, known) for child in here["children"])


def read_tree(text: str, names: list[str]) -> dict[int, dict[str, Any]]:
    """One tree from XGBoost's JSON dump."""
    nodes: dict[int, dict[str, Any]] = {}

    def walk(node: dict[str, Any]) -> None:
        if "leaf" in node:
            nodes[node["nodeid"]] = {"feature": None, "leaf": node["leaf"], "cover": node["cover"]}
            return
        yes, no, missing, split = node["yes"], node["no"], node["missing"], node["split_condition"]

        def follow(value: float) -> int:
            if math.isnan(value):
                return int(missing)
            inside = int(value) in split if isinstance(split, list) else np.float32(value) < np.float32(split)
            # For a category the listed levels go to "yes"; which child that is stands in the dump.
            return int(yes if inside else no)

        nodes[node["nodeid"]] = {
            "feature": int(node["split"].removeprefix("f")),
            "follow": follow,
            "cover": node["cover"],
            "children": [yes, no],
        }
        for child in node["children"]:
            walk(child)

    walk(json.loads(text))
    return nodes


def test_tree_contributions_are_shapley_values_counted_out_subset_by_subset(
    fitted: tuple[XGBoostMember, np.ndarray],
) -> None:
    """A second route to the numbers: the definition, over all subsets of features, tree by tree."""
    member, matrix = fitted
    names = member.encoder.names
    trees = [read_tree(text, names) for text in member.booster.get_dump(dump_format="json", with_stats=True)]
    everyone = range(len(names))
    rows = matrix[:12]
    expected = np.zeros((len(rows), len(names)))
    for r, row in enumerate(rows):
        value = {
            frozenset(known): sum(expectation(tree, 0, row, frozenset(known)) for tree in trees)
            for size in range(len(names) + 1)
            for known in itertools.combinations(everyone, size)
        }
        for feature in everyone:
            for known in value:
                if feature not in known:
                    weight = math.factorial(len(known)) * math.factorial(len(names) - len(known) - 1)
                    gain = value[known | {feature}] - value[known]
                    expected[r, feature] += weight / math.factorial(len(names)) * gain
    np.testing.assert_allclose(member.contributions(rows)[1], expected, atol=2e-5)
