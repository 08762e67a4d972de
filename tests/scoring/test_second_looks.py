"""What a reviewer should look at twice: one sentence for each kind of thing, and silence where there is nothing."""

import pandas as pd
import pytest

from pipeline.scoring.second_looks import second_looks

SOUND = {
    "criteria": pd.DataFrame(
        {"criterion": ["Size", "Pages"], "share": [0.6, 0.4], "verdict": ["adds", "adds nothing"]}
    ),
    "reliability": pd.DataFrame({"bin": [1, 2], "holds": [True, True]}),
    "months": pd.DataFrame({"month": ["2024-05"], "holds": [True]}),
    "slices": pd.DataFrame({"feature": ["region"], "value": ["north"], "rows": [200], "gap": [0.01], "holds": [True]}),
    "groups": pd.DataFrame({"feature": ["region"], "value": ["north"], "below_four_fifths": [False]}),
    "leaks": pd.DataFrame({"column": ["size", "fee"], "verdict": ["clear", "suspect"], "in_model": [True, False]}),
    "kept": {"leads": {"rows": 10, "kept": 10}, "changes": {"rows": 0, "kept": 0}},
    "repeatable": True,
}

SLICES = pd.DataFrame(
    {"feature": "f", "value": list("abcde"), "gap": [0.1, -0.3, 0.2, 0.05, 0.0], "holds": [False] * 4 + [True]}
)


def test_where_nothing_is_found_nothing_is_said():
    assert second_looks(**SOUND) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"criteria": SOUND["criteria"].assign(verdict=["adds", "misleads"])},
            "Left out, these criteria would make later scores better, not worse: Pages (40.0% of all points).",
        ),
        (
            {"reliability": SOUND["reliability"].assign(holds=[True, False])},
            "In 1 of 2 score bins conversions lie surely off the scores: 2.",
        ),
        (
            {"months": SOUND["months"].assign(holds=[False])},
            "In 1 of 1 months of the test window conversions lie surely off the scores: 2024-05.",
        ),
        (
            {"slices": SLICES},
            "In 4 of 5 slices conversions lie surely off the scores: "
            "f b (-30.0%), f c (+20.0%), f a (+10.0%) and 1 more.",
        ),
        (
            {"groups": SOUND["groups"].assign(below_four_fifths=True)},
            "1 of 1 groups reach the first tier far less often: region.",
        ),
        (
            {"leaks": SOUND["leaks"].assign(in_model=True)},
            "Columns that may know the outcome are in the model: fee.",
        ),
        (
            {"kept": {"leads": {"rows": 200, "kept": 199}, "changes": {"rows": 10, "kept": 10}}},
            "Rows refused, set aside or quarantined: 0.5% of leads.",
        ),
        ({"repeatable": False}, "The search cannot be repeated to the byte."),
    ],
    ids=["criterion", "bin", "month", "slice", "group", "suspect", "rows", "search"],
)
def test_one_thing_found_is_one_sentence(changed, said):
    assert second_looks(**SOUND | changed) == [said]
