"""What the report tells sales: plays in words, worth a week, and month by month whether promise and outcome agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline import params
from pipeline.leads import playbooks
from pipeline.scoring import payoff, report_sales
from pipeline.scoring.capacity import Terms

PLAYED = {
    "owner": "inside sales",
    "first_action": "call",
    "deadline_hours": 24,
    "cadence": [{"after_days": 2, "action": "write"}, {"after_days": 9, "action": "call again"}],
    "suppression": [{"activity": "left", "within_days": None, "reason": "it left"}],
}
QUIET = {"owner": "marketing", "first_action": "write", "deadline_hours": None, "cadence": [], "suppression": []}


def test_plays_are_told_in_words():
    found = report_sales.plays([{"name": "A", "from": 600, "play": PLAYED}, {"name": "B", "from": 0, "play": QUIET}])
    assert found["rows"] == [
        {
            "tier": "A",
            "from_score": 60.0,
            "owner": "inside sales",
            "first_action": "call",
            "by_when": "within 24 hours",
            "then": "after 2 days: write; after 9 days: call again",
            "not_if": "it left",
        },
        {
            "tier": "B",
            "from_score": 0.0,
            "owner": "marketing",
            "first_action": "write",
            "by_when": "",
            "then": "",
            "not_if": "",
        },
    ]
    assert found["example"] == "What to do with a lead of score 55: it stands in tier B. Marketing: write."
    top = report_sales.plays([{"name": "A", "from": 550, "play": PLAYED}, {"name": "B", "from": 0, "play": QUIET}])
    play = playbooks.in_words(playbooks.Play.model_validate(PLAYED))
    assert top["example"].endswith(f"tier A. I{play[1:]}.")


def test_the_card_stands_beside_the_score():
    """Ten snapshots of which two convert: the score calls them first, the card one of them first and one last."""
    label = np.array([1, 1, *[0] * 8])
    score, card = np.linspace(0.9, 0.1, 10), np.array([0.9, *np.linspace(0.8, 0.2, 8), 0.1])
    card[[1, 9]] = card[[9, 1]]
    rows = report_sales.card_beside(pd.DataFrame({"label": label, "candidate": score, "card": card}))
    assert {row["share"]: (row["score"], row["card"]) for row in rows if row["share"] in (0.1, 0.2, 0.5)} == {
        0.1: (0.5, 0.5),
        0.2: (1.0, 0.5),
        0.5: (1.0, 0.5),
    }


def test_without_a_playbook_there_is_nothing_to_tell():
    assert report_sales.plays([{"name": "A", "from": 0}]) == {"rows": [], "example": ""}


def months(*rows: tuple[str, int, float, float]) -> pd.DataFrame:
    """Snapshots of (day, leads, chance, share that converts); a lead each."""
    parts = [
        pd.DataFrame({"as_of": pd.Timestamp(day), "probability": chance, "label": np.arange(n) < round(share * n)})
        for day, n, chance, share in rows
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(lead_id=[f"L{k}" for k in range(len(frame))], label=frame["label"].astype("int8"))


def test_promise_and_outcome_by_month():
    table = report_sales.by_month(
        months(("2024-05-01", 200, 0.1, 0.12), ("2024-05-31", 200, 0.3, 0.28), ("2024-07-01", 400, 0.2, 0.4)), 0.95
    )
    assert table[["month", "rows", "holds"]].to_numpy().tolist() == [["2024-05", 400, True], ["2024-07", 400, False]]
    np.testing.assert_allclose(table[["predicted", "observed"]], [[0.2, 0.2], [0.2, 0.4]])
    # Wilson's interval for 80 of 400 at 95 %, from the formula.
    z, p, n = 1.959963984540054, 0.2, 400
    middle, half = (
        (p + z**2 / (2 * n)) / (1 + z**2 / n),
        z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)),
    )
    np.testing.assert_allclose(table.loc[0, ["low", "high"]].astype("float64"), [middle - half, middle + half])


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([0.2, 0.2, 0.2, 0.2], "In 4 of 4, promise and outcome"),
        ([0.2, 0.6, 0.2, 0.2], "Off were 2024-06 (+40.0 points: more converted)."),
        (
            [0.6, 0.5, 0.05, 0.7],
            "Off were 4 months, most of all 2024-05 (+40.0 points: more converted), 2024-06 (+30.0",
        ),
        ([0.2, 0.2, 0.05, 0.6], "Off were 2024-07 (−15.0 points: fewer converted), 2024-08 (+40.0 points"),
    ],
)
def test_whether_the_next_month_may_be_trusted(shares, said):
    rows = [(f"2024-0{5 + k}-10", 300, 0.2, share) for k, share in enumerate(shares)]
    table = report_sales.by_month(months(*rows), 0.95)
    sentences = " ".join(report_sales.next_month(table, pd.Timestamp("2024-04-30"), 0.95))
    assert said in sentences
    assert "up to 4 months after the newest that taught" in sentences and "of a perfect score, 3.8 would" in sentences
    # One month off may be chance; two of the newest three are not.
    assert ("fit anew before relying on it" in sentences) == (sum(share != 0.2 for share in shares[-3:]) >= 2)


def test_what_tiers_bring_is_told_with_the_terms(project_root):
    options = params.load(project_root / "params.yaml").evaluate.model_copy(update={"bootstrap_samples": 20})
    day = pd.Timestamp("2024-01-01")
    looks = months(*[(f"2024-01-{1 + k:02d}", 10, 0.3, 0.3) for k in range(28)])
    looks = looks.assign(created_at=looks["as_of"], score=30.0)
    window = {"split": "test", "axis": "created_at", "start": day, "end": day + pd.Timedelta(days=28)}
    bands = [{"name": "A", "from": 300, "play": QUIET}, {"name": "B", "from": 0, "play": QUIET}]
    terms = Terms(12, 900, 120)
    found = payoff.of(looks, window, terms, bands, options, max_age_days=0, new_per_week=None, period="month", seed=1)
    told = report_sales.worth(found)
    assert told["sentences"][0] == "A call costs 12, a conversion is worth 900."
    assert told["lines"] == {"tiers": [("A", 30.0), ("B", 0.0)], "break_even": 1.4, "per_week": 120}
    [first, second] = told["rows"]
    # 70 leads a week of which 21 convert: 21 x 900 - 70 x 12.
    assert (first["leads"], first["conversions"], first["profit"]) == pytest.approx((70, 21, 18_060))
    assert (second["tier"], second["leads"], second["profit"]) == ("B", 0, 0)
    # One month has no others to be compared with.
    assert told["moved"] == []
