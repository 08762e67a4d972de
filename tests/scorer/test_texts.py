"""What stands behind a reason: the contract's words, or the criterion with its value or times."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.scorer import texts

COLUMN = {
    "kind": "number",
    "group": "fit",
    "tracked": False,
    "unit": None,
    "text": None,
    "text_none": None,
    "moved_by": None,
}
NUMBER, CATEGORY, FLAG = ({"type": kind} for kind in ("number", "category", "boolean"))


def column(name: str, criterion: str, declared: dict[str, str], **changed: Any) -> dict[str, Any]:
    kind = "category" if declared is CATEGORY else "number"
    return {**COLUMN, "name": name, "criterion": criterion, "declared": declared, "kind": kind, **changed}


def visits(name: str = "visit", criterion: str = "Visits", **changed: Any) -> dict[str, Any]:
    return {"name": name, "criterion": criterion, "group": "engagement", "text": None, "text_none": None} | changed


def spec(*columns: dict[str, Any], kinds: tuple[dict[str, Any], ...] = (), aged: bool = False) -> dict[str, Any]:
    return {"profile": list(columns), "kinds": list(kinds), "windows_days": [7, 30], "aged": aged}


def said(built: dict[str, list[Any]], spec_: dict[str, Any], criterion: int = 0, level: float = 0.0) -> list[str]:
    place, distinct = texts.tell(pd.DataFrame(built), spec_, level)[criterion]
    return [distinct[k] for k in place]


def activities(n_7: int, n_30: int, n: int, since: float, name: str = "visit") -> dict[str, list[Any]]:
    return {f"n_{name}_7d": [n_7], f"n_{name}_30d": [n_30], f"n_{name}": [n], f"days_since_{name}": [since]}


ANY: dict[str, list[Any]] = {"n_any_30d": [0], "n_any": [0], "days_since_any": [np.nan]}


@pytest.mark.parametrize(
    ("own", "value", "text"),
    [
        (column("employees", "Company size", NUMBER, unit="people"), 1200.0, "Company size: 1,200 people"),
        (column("employees", "Company size", NUMBER), 0.5, "Company size: 0.5"),
        (column("employees", "Company size", NUMBER), 1234.56, "Company size: 1,235"),
        (column("employees", "Company size", NUMBER), np.nan, "Company size: not known"),
        (column("employees", "Company size", NUMBER, text="employs {value}", unit="people"), 3.0, "employs 3 people"),
        (
            column("employees", "Size", NUMBER, text="{value}", text_none="size is not known"),
            np.nan,
            "size is not known",
        ),
        (column("role", "Seniority", CATEGORY), "director", "Seniority: director"),
        (column("role", "Seniority", CATEGORY, text="works as {value}"), "{value}", "works as {value}"),
        (column("budget", "Budget", FLAG), 1.0, "Budget: yes"),
        (column("budget", "Budget", FLAG), 0.0, "Budget: no"),
        (column("budget", "Budget", FLAG), np.nan, "Budget: not known"),
        (column("budget", "Budget", FLAG, text="has a budget", text_none="has none"), 1.0, "has a budget"),
        (column("budget", "Budget", FLAG, text="has a budget", text_none="has none"), 0.0, "has none"),
        (column("budget", "Budget", FLAG, text="has a budget"), 0.0, "Budget: no"),
        (column("budget", "Budget", FLAG, text="has a budget", text_none="has none"), np.nan, "Budget: not known"),
    ],
)
def test_a_column_tells_its_value(own, value, text):
    assert said({own["name"]: [value]}, spec(own)) == [text]


@pytest.mark.parametrize(("days", "text"), [(np.nan, ""), (0.4, " (changed today)"), (3.9, " (changed 3 days ago)")])
def test_a_column_that_changed_says_when(days, text):
    own = column("status", "Sales status", CATEGORY, tracked=True)
    built = {"status": ["qualified"], "n_changes_status": [1.0], "days_since_change_status": [days]}
    assert said(built, spec(own)) == ["Sales status: qualified" + text]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((0, 0, 0, np.nan), "Visits: none so far"),
        ((1, 4, 9, 0.1), "Visits: once in 7 days"),
        ((0, 2, 9, 12.0), "Visits: twice in 30 days"),
        ((0, 0, 1, 43.7), "Visits: once, 43 days ago"),
        ((0, 0, 3, 43.7), "Visits: 3 times, the last 43 days ago"),
        ((1500, 1500, 1500, 0.0), "Visits: 1,500 times in 7 days"),
    ],
)
def test_a_kind_tells_the_shortest_window_that_holds_any(counts, text):
    assert said(activities(*counts) | ANY, spec(kinds=(visits(),))) == [text]


def test_the_words_of_the_contract_stand_alone():
    own = visits(text="visited us {times}", text_none="never visited us")
    assert said(activities(3, 3, 3, 1.0) | ANY, spec(kinds=(own,))) == ["visited us 3 times in 7 days"]
    assert said(activities(0, 0, 0, np.nan) | ANY, spec(kinds=(own,))) == ["never visited us"]
    half = visits(text="visited us {times}")
    assert said(activities(0, 0, 0, np.nan) | ANY, spec(kinds=(half,))) == ["Visits: none so far"]


def test_what_is_not_there_is_left_out_beside_what_is():
    two = spec(kinds=(visits("home", "Pages"), visits("blog", "Pages")))

    def built(home: int, blog: int) -> dict[str, list[Any]]:
        return (
            activities(home, home, home, 1.0 if home else np.nan, "home")
            | activities(blog, blog, blog, 1.0 if blog else np.nan, "blog")
            | ANY
        )

    assert said(built(2, 0), two) == ["Pages: home twice in 7 days"]
    assert said(built(2, 1), two) == ["Pages: home twice in 7 days, blog once in 7 days"]
    assert said(built(0, 0), two) == ["Pages: home none so far, blog none so far"]


def test_every_row_gets_its_own_words():
    own = column("employees", "Company size", NUMBER)
    rng = np.random.default_rng(3)
    value = rng.integers(0, 50, 500).astype("float64")
    value[::7] = np.nan
    expected = ["Company size: not known" if np.isnan(one) else f"Company size: {one:.0f}" for one in value]
    assert said({"employees": value.tolist()}, spec(own)) == expected


@pytest.mark.parametrize(
    ("any_30", "any_", "since", "text"),
    [
        (0, 0, np.nan, "no activity so far"),
        (0, 4, 31.5, "no activity in 30 days, the last 31 days ago"),
        (1, 4, 1.0, "1 activity in 30 days, the last 1 day ago"),
        (12, 40, 0.5, "12 activities in 30 days, the last today"),
    ],
)
def test_overall_activity(any_30, any_, since, text):
    built = activities(0, 0, 0, np.nan) | {"n_any_30d": [any_30], "n_any": [any_], "days_since_any": [since]}
    assert said(built, spec(kinds=(visits(),)), criterion=1) == [text]


def test_age_and_level():
    built = {"age_days": [0.2, 21.9]}
    assert said(built, spec(aged=True)) == ["created today", "created 21 days ago"]
    assert (
        said(built, spec(aged=True), criterion=1, level=-0.3)[0]
        == "newer leads convert less often than the model learned"
    )
    assert (
        said(built, spec(aged=True), criterion=1, level=0.3)[1]
        == "newer leads convert more often than the model learned"
    )
