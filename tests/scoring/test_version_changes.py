"""What differs between two scorers: small tables in, exact tables out."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.scoring import version_changes


def scores(**leads):
    rows = [[name, pd.Timestamp("2025-01-01"), score, tier] for name, (score, tier) in leads.items()]
    return pd.DataFrame(rows, columns=["lead_id", "as_of", "score", "tier"])


def test_only_what_differs_is_named_as_text_in_order_of_appearance():
    table = version_changes.changed({"b": 1, "a": "x", "gone": 2, "none": None}, {"b": 1, "a": "y", "new": 3})
    assert table.values.tolist() == [["a", "x", "y"], ["gone", "2", ""], ["new", "", "3"]]
    assert version_changes.changed({"a": 1}, {"a": 1}).empty


def test_figures_of_either_side_with_their_difference():
    table = version_changes.figures({"b": 1.0, "a": 0.5}, {"a": 0.75, "c": 2.0})
    assert table["name"].tolist() == ["a", "b", "c"]
    assert table["difference"].tolist()[0] == 0.25
    assert np.isnan(table["second"][1]) and np.isnan(table["difference"][1]) and np.isnan(table["first"][2])


def test_weights_by_size_of_change_and_a_criterion_that_one_side_lacks():
    first = pd.DataFrame({"criterion": ["Size", "Old", "Same"], "share": [0.5, 0.2, 0.3]})
    second = pd.DataFrame({"criterion": ["Same", "New", "Size"], "share": [0.3, 0.1, 0.6]})
    table = version_changes.weights(first, second)
    assert table["criterion"].tolist() == ["Old", "New", "Size", "Same"]
    assert table["difference"].round(9).tolist() == [-0.2, 0.1, 0.1, 0.0]
    assert table["second"].tolist() == [0.0, 0.1, 0.6, 0.3]


def test_tiers_from_best_to_worst_and_which_way_leads_move():
    first = scores(a=(40.0, "A"), b=(20.0, "B"), c=(5.0, "C"), d=(np.nan, ""), e=(21.0, "B"))
    second = scores(e=(21.0, "B"), d=(3.0, "C"), c=(30.0, "A"), b=(19.5, "C"), a=(40.0, "A"))
    both = version_changes.scored(first, second)
    # By size of the change; what one side refused, which has none, last.
    assert both["lead_id"].tolist() == ["c", "b", "a", "e", "d"]
    assert both["difference"].tolist()[:4] == [25.0, -0.5, 0.0, 0.0]
    moves = version_changes.tier_moves(both, ["A", "B", "C"], ["A", "B", "C"])
    assert moves.values.tolist() == [
        ["A", "A", 1, "same"],
        ["B", "B", 1, "same"],
        ["B", "C", 1, "down"],
        ["C", "A", 1, "up"],
        ["", "C", 1, "up"],
    ]


def test_tiers_of_other_names_are_compared_by_their_place():
    both = version_changes.scored(scores(a=(40.0, "A"), b=(1.0, "B")), scores(a=(40.0, "hot"), b=(9.0, "hot")))
    assert version_changes.tier_moves(both, ["A", "B"], ["hot", "cold"])["direction"].tolist() == ["same", "up"]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("ABC")), min_size=1, max_size=40))
def test_every_lead_is_counted_once_and_the_way_back_mirrors_the_way_there(pairs):
    first = scores(**{str(k): (1.0, one) for k, (one, _) in enumerate(pairs)})
    second = scores(**{str(k): (1.0, other) for k, (_, other) in enumerate(pairs)})
    there, back = (
        version_changes.tier_moves(version_changes.scored(*sides), "ABC", "ABC")
        for sides in ((first, second), (second, first))
    )
    assert there["leads"].sum() == len(pairs)
    up, down = (side.groupby("direction")["leads"].sum().to_dict() for side in (there, back))
    assert (up.get("up", 0), up.get("down", 0)) == (down.get("down", 0), down.get("up", 0))
