"""The leak report as a page: every verdict, every figure, and nothing that a name of a column could inject."""

from __future__ import annotations

import pandas as pd

from pipeline.adapters import leak_page
from pipeline.leads import evidence, leakage


def page(tmp_path, rows, pieces):
    leaks = pd.DataFrame(rows, columns=["column", "verdict", "in_model", "reason", "gain"])
    found = pd.DataFrame(pieces, columns=evidence.COLUMNS)
    leak_page.write(tmp_path, leaks, found, "small")
    return (tmp_path / leak_page.FILE).read_text(encoding="utf-8")


def test_leaks_come_with_their_evidence_and_clear_columns_with_their_gain(tmp_path):
    text = page(
        tmp_path,
        [
            ["size", "clear", True, "criterion Size", 0.031],
            ["amount", "leak", False, "a leak, as the evidence says", 0.9],
            ["id", "", False, "role is identifier", float("nan")],
        ],
        [["amount", "filled_with_outcome", 0.0, 0.05, "leak", "filled for 96.1% of leads that converted"]],
    )
    assert "amount: leak, not in the model (a leak, as the evidence says)" in text
    assert evidence.KINDS["filled_with_outcome"] in text and "filled for 96.1% of leads that converted" in text
    assert "<td>3.1%</td>" in text and "<td>90.0%</td>" in text
    assert ">id<" not in text, "there is nothing to judge about a key"
    assert text.index("<td>amount</td>") < text.index("<td>size</td>"), "the most telling column comes first"
    for verdict in (leakage.LEAK, leakage.SUSPECT, leakage.CLEAR):
        assert f"<td>{verdict}</td>" in text


def test_a_history_without_leaks_says_so(tmp_path):
    assert "No leak, no suspect" in page(tmp_path, [["size", "clear", True, "criterion Size", float("nan")]], [])


def test_names_are_text(tmp_path):
    name = "<script>alert(1)</script>"
    text = page(
        tmp_path,
        [[name, "suspect", True, "criterion <b>", 0.2]],
        [[name, "power", 0.2, 0.15, "suspect", "<i>alone</i>"]],
    )
    assert "<script" not in text and "<b>" not in text and "<i>" not in text
    assert "&lt;script&gt;" in text
