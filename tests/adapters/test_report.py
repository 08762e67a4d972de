"""The report and the training page: whole, complete in themselves, the same bytes every time, and nothing unescaped."""

from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.adapters.report import pages
from pipeline.scoring.capacity import FIGURES as WEEKLY
from pipeline.scoring.examples import taken_apart
from tests.fake_results import reliability_table

#: What a source might hold where a name or a text is expected.
HOSTILE = "<script src=//evil.example/x.js>alert('1')</script> & \"quoted\" {{ 7 * 7 }}"

#: Elements that HTML closes by itself.
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """What a browser would see: elements with attributes, texts, and whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.headings: list[int] = []
        self.source = text
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def having(self, name: str) -> list[str]:
        return [value or "" for _, attributes in self.elements for key, value in attributes.items() if key == name]


def lead(kind: str, key: str, points: list[float], text: str = "was called twice") -> dict[str, Any]:
    reasons = [
        {"criterion": "Calls", "text": text, "points": one, "signed": f"{one:+.1f}".replace("-", "−")} for one in points
    ]
    up, down = (sum(one for one in points if one * side > 0) for side in (1, -1))
    return {
        "example": kind,
        "lead": key,
        "as_of": "2024-05-06",
        "score": 10.0 + sum(points),
        "low": 8.0,
        "high": 14.5,
        "base": 10.0,
        "tier": "A",
        "grade": "B2",
        "converted": kind == "high",
        "up": up,
        "down": down,
        "reasons": reasons[:4],
        "all_reasons": reasons,
        "reading": f"How to read {key}.",
    }


def facts(name: str = "Calls") -> dict[str, Any]:
    figure = {"value": 0.3, "low": 0.2, "high": 0.4, "best": True}
    rivals = [
        {"system": system, **dict.fromkeys(("log_loss", "auc", "lift_10", "calibration_error"), figure)}
        for system in ("candidate", "logistic")
    ]
    examples = [lead("high", "L1", [40.0, -2.0], text=name), lead("low", "L2", [-9.0], text=name)]
    cells = [
        {"factor": 1.2, "kind": "steady"},
        {"factor": -99.0, "kind": "turned"},
        {"factor": None, "kind": "unclear"},
    ]
    driver = {"criterion": name, "group": "fit", "points": 3.91, "share": 0.13, "direction": "the more, the better"}
    driver |= {
        "adds": 16.2,
        "adds_low": 13.2,
        "adds_high": 19.2,
        "verdict": "does harm",
        "turned": 0,
        "agrees": "in part",
    }
    unjudged = driver | {"criterion": "Current level", "adds": None, "verdict": ""}
    return {
        "contract": "demo",
        "description": name,
        "version": "demo-123",
        "horizon": "within 30 days after it is scored",
        "horizon_days": 30,
        "dated": True,
        "base_rate": 0.13,
        "around": {},
        "measured": "Measured on 100 snapshots.",
        "headlines": ["About 30 convert.", "Finds 33% of all."],
        "warnings": ["THE LEVEL HAS MOVED."],
        "honesty": ["Ten of ten groups."],
        "next_month": ["In 1 of 2 months, promise and outcome agree."],
        "plays": {
            "rows": [
                {
                    "tier": "A",
                    "from_score": 30.5,
                    "owner": "inside sales",
                    "first_action": name,
                    "by_when": "",
                    "then": name,
                    "not_if": name,
                }
            ],
            "example": f"What to do with a lead of score 55: {name}.",
        },
        "worth": {
            "sentences": ["A call breaks even at a score of 1.4."],
            "rows": [
                {"tier": "A", "from_score": 30.5}
                | {f"{figure}{end}": 7.25 for figure in WEEKLY for end in ("", "_low", "_high")}
            ],
            "lines": {"tiers": [("A", 30.5), ("B", 0.0)], "break_even": 1.4, "per_week": 120.0},
            "moved": ["No tier moved."],
        },
        "card": [{"share": 0.1, "score": 0.4, "card": 0.25}],
        "drivers": [driver, unjudged],
        "steadiness": {"quarters": ["Q1", "Q2", "Q3"], "rows": [{"criterion": name, "cells": cells}]},
        "top": examples,
        "rivals": rivals,
        "fairness": ["Three groups."],
        "splits": ["Learned from older leads."],
        "made_of": "A weighted sum.",
        "left_out": [{"column": name, "why": "knows the outcome", "verdict": "leak"}],
        "leaks": ["With “owner” the AUC looks better."],
        "examples": examples,
        "quiz": [{"question": "What is 30?", "answer": "A chance."}],
        "levels": {"metrics": 0.9, "bins": 0.95, "score": 0.9},
    }


def tables(name: str = "Calls") -> dict[str, pd.DataFrame]:
    rival = [
        {"system": system, "metric": metric, "value": 0.3, "low": 0.2, "high": 0.4}
        for system in ("candidate", "logistic")
        for metric in ("log_loss", "lift_10")
    ]
    group = {"criterion": [name, ""], "feature": ["calls", "language"], "value": [name, "de"], "rows": [1200, 130]}
    group |= {"conversion": [0.2, 0.1], "mean_probability": [0.18, 0.11], "gap": [0.02, -0.01]}
    group |= {"gap_low": [0.01, -0.05], "gap_high": [0.03, 0.03], "selected": [0.1, 0.0], "ratio": [0.5, np.nan]}
    share = pd.DataFrame({"share": [0.1, 1.0], "rows": [10.0, 100.0], "lift": [3.0, 1.0], "capture": [0.3, 1.0]})
    return {
        "reliability": reliability_table(),
        "lift": share,
        "by_month": reliability_table().assign(month=["2024-05", "2024-06"]),
        "profit": pd.DataFrame({"cut_off": np.arange(1001)[::-1] / 10, "expected_profit": 5.0}).assign(
            **{f"{figure}{end}": 6.0 for figure in ("profit", "leads") for end in ("", "_low", "_high")}
        ),
        "tiers": pd.DataFrame(
            {
                "tier": ["A", name],
                "from_score": [30.5, 0.0],
                "rows": [100, 0],
                "share": [1.0, 0.0],
                "conversion": [0.444, np.nan],
                "low": [0.4, np.nan],
                "high": [0.5, np.nan],
                "mean_probability": [0.43, np.nan],
                "lift": [3.4, np.nan],
                "capture": [1.0, 0.0],
            }
        ),
        "rivals": pd.DataFrame(rival),
        "fairness": pd.DataFrame(group).assign(below_four_fifths=[True, False]),
        "splits": pd.DataFrame(
            {
                "split": ["train", "test"],
                "axis": "created_at",
                "start": ["2024-01-01", "2024-06-01"],
                "end": ["2024-06-01", "2024-09-01"],
                "last_as_of": ["2024-05-01", "2024-08-01"],
                "leads": [900, 300],
                "snapshots": [2000, 700],
                "conversions": [200, 70],
                "closed": 1,
                "not_matured": 2,
                "embargoed": 1003,
                "unrecorded": 0,
            }
        ),
        "criteria": pd.DataFrame({"criterion": [name, "Age"], "group": "fit", "mean_absolute_points": [3.9, 0.5]}),
        "features": pd.DataFrame({"feature": ["calls"]}),
        "dependence": pd.DataFrame(
            {
                "feature": "calls",
                "value": [0.0, 1234.56, np.nan],
                "place": [0, 1, 2],
                "low": [0.0, 1.0, np.nan],
                "log_odds": [-0.5, 0.5, 0.1],
                "log_odds_low": [-0.6, 0.4, 0.0],
                "log_odds_high": [-0.4, 0.6, 0.2],
            }
        ),
        "leak_price": pd.DataFrame(
            {
                "column": [name],
                "verdict": ["leak"],
                "auc_without": [0.75],
                "auc_with": [0.92],
                "lift_10_without": [3.0],
                "lift_10_with": [5.0],
            }
        ),
    }


def steps(examples: list[dict[str, Any]]) -> pd.DataFrame:
    rows = [{"lead_id": one["lead"], "as_of": one["as_of"], "base": one["base"]} for one in examples]
    return taken_apart(pd.DataFrame(rows).assign(reasons=[json.dumps(one["all_reasons"]) for one in examples]))


def report(name: str = "Calls") -> str:
    return pages.report(facts(name), tables(name), np.linspace(0.01, 0.6, 100))


def training(name: str = "Calls") -> str:
    own = facts(name)
    return pages.training(own, steps(own["examples"]))


MADE = {"report": report, "training": training}


@cache
def page_of(name: str) -> Page:
    return Page(MADE[name]())


SECTIONS = {
    "report": ["screen", "honest", "drives", "top", "tiers", "rivals", "groups", "windows", "limits", "words"],
    "training": ["means", "apart", "misread", "quiz"],
}


@pytest.fixture(scope="module", params=list(MADE))
def made(request: pytest.FixtureRequest) -> tuple[str, str, Page]:
    page = page_of(request.param)
    return request.param, page.source, page


# Both pages


def test_a_page_holds_its_sections_in_order_and_names_each(made: tuple[str, str, Page]) -> None:
    name, _, page = made
    sections = [attributes for tag, attributes in page.elements if tag == "section"]
    assert [one["id"] for one in sections] == SECTIONS[name]
    identities = page.having("id")
    assert all(one["aria-labelledby"] in identities for one in sections)
    links = [href for href in page.having("href") if href.startswith("#")]
    assert {f"#{one}" for one in SECTIONS[name]} <= set(links)
    assert {link[1:] for link in links} <= set(identities), "a link leads nowhere"


def test_a_page_is_well_formed_and_no_name_stands_twice(made: tuple[str, str, Page]) -> None:
    _, text, page = made
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert (page.faults, page.open) == ([], [])
    identities = page.having("id")
    assert len(identities) == len(set(identities))


def test_a_page_asks_for_nothing_outside_itself(made: tuple[str, str, Page]) -> None:
    _, text, page = made
    assert not re.search(r"(?i)https?:|//[a-z]|@import|url\((?!#)|javascript:", text)
    loading = {"script", "link", "iframe", "img", "object", "embed", "base", "form"}
    assert not {tag for tag, _ in page.elements} & loading
    assert page.having("src") == []
    assert {href for href in page.having("href") if not href.startswith("#")} <= {"report.html", "training.html"}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    (policy,) = [
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None and policy.startswith("default-src 'none'") and "script" not in policy


def test_a_page_can_be_read_without_seeing_it(made: tuple[str, str, Page]) -> None:
    _, _, page = made
    drawings = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert all(one.get("role") == "img" and len(one.get("aria-label") or "") > 20 for one in drawings)
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(below - above <= 1 for above, below in zip(page.headings, page.headings[1:], strict=False))
    # Whatever scrolls can be reached by keyboard, and says what it is.
    boxes = [attributes for _, attributes in page.elements if attributes.get("tabindex") == "0"]
    assert boxes and all(one.get("aria-label") for one in boxes)


def test_equal_facts_give_equal_bytes_of_modest_size(made: tuple[str, str, Page]) -> None:
    name, text, _ = made
    assert MADE[name]() == text
    assert len(text.encode()) < 1_000_000


@pytest.mark.parametrize("name", MADE)
def test_whatever_a_source_holds_is_text(name: str) -> None:
    plain, hostile = page_of(name), Page(MADE[name](HOSTILE))
    # Every element and no other: nothing of the text became one, and nothing of it was carried out. A longer name moves
    # the ticks of a drawing, which has elements of its own kind only.
    drawing = {"svg", "g", "path", "defs", "use", "text", "clippath", "rect", "tspan"}
    outside = [[tag for tag, _ in one.elements if tag not in drawing] for one in (plain, hostile)]
    assert outside[0] == outside[1] and "script" not in outside[1]
    assert (hostile.faults, hostile.open) == ([], [])
    assert HOSTILE in hostile.words
    assert "49" not in hostile.words.split()


# The report


def test_without_dates_playbook_or_worth_there_is_nothing_of_them() -> None:
    bare = facts() | {"next_month": [], "plays": {"rows": [], "example": ""}, "worth": None, "card": []}
    page = Page(pages.report(bare, tables(), np.linspace(0.01, 0.6, 100)))
    tags = [tag for tag, _ in page.elements]
    assert (tags.count("svg"), tags.count("table")) == (8, 10)
    assert "next month" not in page.words and "What it is worth" not in page.words


def test_every_figure_is_drawn_and_stands_beside_its_table() -> None:
    page = page_of("report")
    drawn = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(drawn) == 9
    names = {identity.split("-")[0] for identity in page.having("id") if identity.endswith("-figure_1")}
    expected = {"reliability", "criteria", "dependence", "tiers", "profit", "lift", "rivals", "splits", "leak_price"}
    assert names == expected
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == 14
    assert "nan" not in page.words.split() and "None" not in page.words.split()


def test_the_figures_of_the_tables_are_on_the_page() -> None:
    words = page_of("report").words
    for said in (
        "About 30 convert. Finds 33% of all.",
        "THE LEVEL HAS MOVED.",
        "60.0 50.0 to 70.0 no: more often",  # the bin that missed
        "2024-06 50 40.0 60.0 50.0 to 70.0 no: more often",  # the month that missed
        "What to do with a lead of score 55: Calls.",
        "10% 40% 25%",  # the card beside the score
        "A 30.5 7.2 7.2 7.2 (7.2 to 7.2) 7 7 (7 to 7)",
        "+16.2 (+13.2 to +19.2) does harm in part",
        "not judged",
        "1.2 turned unclear",  # a factor of -99 says only that it turned
        "44.4% (40.0% to 50.0%) 3.40 100%",
        "0.50 below 4/5",
        "language (not in the model)",
        "2024-06-01 2024-09-01 300 700 70 1,006",
        "No protected attribute is known here",
        "GDPR, Article 22",
    ):
        assert said in words, said


def test_a_run_with_nothing_to_warn_of_without_dates_and_groups() -> None:
    quiet = facts() | {"dated": False, "steadiness": {"quarters": [], "rows": []}, "leaks": [], "warnings": []}
    frames = tables() | {"fairness": tables()["fairness"].head(0)}
    windows = {"start": [0, 900], "end": [900, 1200], "axis": "random order"}
    frames["splits"] = frames["splits"].drop(columns="last_as_of").assign(**windows)
    page = Page(pages.report(quiet, frames, np.linspace(0.01, 0.6, 100)))
    assert "There is nothing to warn of" in page.words
    assert "There is nothing to warn of" not in page_of("report").words
    assert "As of" not in page.words and "2024-05-06" not in page.words
    assert "all the time?" not in page.words
    assert "parted at random" in page.words
    # Two tables less, steadiness and groups.
    assert [tag for tag, _ in page.elements].count("table") == 12


def test_the_glossary_is_the_readmes(project_root: Path) -> None:
    readme = (project_root / "README.md").read_text(encoding="utf-8").split("## Glossary")[1].split("\n## ")[0]
    rows = re.findall(r"(?m)^\| (.+?) \| (.+?) \|$", readme)
    assert dict(rows[1:]) == pages.GLOSSARY


# The training page


def test_every_example_is_drawn_told_and_taken_apart() -> None:
    page = page_of("training")
    names = [identity for identity in page.having("id") if identity.endswith("-figure_1")]
    assert names == ["example1-figure_1", "example2-figure_1"]
    for said in ("How to read L1.", "How to read L2.", "A high score: lead L1", "48.0 of 100, interval 8.0 to 14.5"):
        assert said in page.words
    assert "Base a typical lead 10.0 Calls Calls +40.0 Calls Calls −2.0 Score 48.0" in page.words
    assert "It converted within 30 days." in page.words and "It did not convert within 30 days." in page.words


def test_answers_are_hidden_until_asked_for() -> None:
    page = page_of("training")
    hidden = [attributes for tag, attributes in page.elements if tag == "details"]
    assert len(hidden) == 2 * 2 + 1  # two per example, one answer
    assert all("open" not in attributes for attributes in hidden)
