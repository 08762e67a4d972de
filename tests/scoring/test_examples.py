"""Leads taken apart and chosen for a training: bars chain to the score, each kind shows what it says."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scoring import examples


def scores(*rows: tuple[str, list[float]], base: float = 10.0, day: str = "2024-03-01") -> pd.DataFrame:
    """One row per lead: its key, and the points of its reasons, strongest first."""
    told = [
        [{"criterion": f"C{k}", "group": "fit", "points": one, "text": f"fact {k}"} for k, one in enumerate(points)]
        for _, points in rows
    ]
    return pd.DataFrame(
        {
            "lead_id": pd.Series([key for key, _ in rows], dtype="str"),
            "as_of": pd.Timestamp(day),
            "base": base,
            "score": [round(base + sum(points), 1) for _, points in rows],
            "reasons": [json.dumps(one) for one in told],
        }
    )


def test_bars_lead_from_the_base_to_the_score() -> None:
    found = examples.taken_apart(scores(("a", [3.0, -0.7])))
    assert list(found.columns) == list(examples.STEPS)
    assert found["kind"].tolist() == ["base", "reason", "reason", "score"]
    assert found["text"].tolist() == ["", "fact 0", "fact 1", ""]
    assert found["points"].tolist() == [10.0, 3.0, -0.7, 12.3]
    assert found["start"].tolist() == [0.0, 10.0, 13.0, 0.0]
    assert found["end"].tolist() == [10.0, 13.0, 12.3, 12.3]


@given(st.lists(st.integers(-300, 300), max_size=12))
def test_the_last_bar_is_the_score_to_the_tenth(tenths: list[int]) -> None:
    row = scores(("a", [one / 10 for one in tenths]))
    found = examples.taken_apart(row)
    assert found["points"].iloc[-1] == row["score"].iloc[0]
    assert np.array_equal(found["end"].iloc[:-2], found["start"].iloc[1:-1])


def test_each_kind_shows_what_it_says() -> None:
    found = examples.telling(
        scores(
            ("top", [50.0, 5.0]),
            ("torn", [30.0, -28.9]),
            ("still up", [25.0, -20.0]),
            ("plain", [1.0]),
            ("also plain", [0.5, 0.2]),
            ("down", [-9.0]),
            ("farther down", [-5.0, -4.8]),
        )
    ).set_index("example")
    assert found["lead_id"].to_dict() == {
        "high": "top",  # 65.0
        "middle": "plain",  # 11.0, the fourth of seven
        "low": "farther down",  # 0.2
        "against": "torn",  # 28.9 points off and still above the base
        "cancel": "still up",  # 20 on both sides, 5 apart; "torn" is taken
    }
    assert found.loc["against", ["up", "down"]].tolist() == [30.0, -28.9]


def test_a_kind_that_no_lead_shows_is_left_out() -> None:
    assert examples.telling(scores(("a", [5.0]), ("b", [1.0]), ("c", [0.5])))["example"].tolist() == [
        "high",
        "middle",
        "low",
    ]
    assert examples.telling(scores(("a", []), ("b", []), ("c", [])))["example"].tolist() == ["middle"]
    assert examples.telling(scores(("a", [2.0])))["example"].tolist() == ["middle"]


def test_no_lead_stands_twice() -> None:
    twice = pd.concat([scores(("a", [40.0, -30.0])), scores(("a", [30.0, -29.0]), ("b", [-3.0]), day="2024-04-01")])
    assert examples.telling(twice)["lead_id"].tolist() == ["a", "b"]


def test_the_list_of_leads_holds_their_newest_snapshot_highest_first() -> None:
    rows = pd.concat([scores(("a", [80.0]), ("b", [20.0])), scores(("a", [5.0]), ("c", [20.0]), day="2024-04-01")])
    found = examples.newest_first(rows, 2)
    assert found[["lead_id", "score"]].values.tolist() == [["b", 30.0], ["c", 30.0]]
