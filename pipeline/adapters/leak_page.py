"""The leak report as a page beside the Data Docs: which columns know the outcome, and what says so."""

from __future__ import annotations

import html
from pathlib import Path

import pandas as pd

from pipeline.adapters.expectations import page, table
from pipeline.adapters.files import write_text
from pipeline.leads.evidence import KINDS
from pipeline.leads.leakage import CLEAR, LEAK, SUSPECT

FILE = "leaks.html"

_MEANING = {
    LEAK: "knows the outcome; it stays out of the model unless the contract overrules that with a reason",
    SUSPECT: "may know the outcome, or only the period; somebody who knows the source should decide",
    CLEAR: "nothing in the table speaks against it; whether it was known in time, the contract says",
}


def write(folder: Path, leaks: pd.DataFrame, evidence: pd.DataFrame, title: str) -> None:
    """Write `leaks.html` into the folder of the Data Docs.

    Args:
        folder: an existing folder.
        leaks: as `pipeline.leads.leakage.report` returns it.
        evidence: as `pipeline.leads.evidence.gather` returns it.
        title: name of the contract.
    """
    judged = leaks[leaks["verdict"] != ""]
    body = [
        "<p>Whoever learns from a column that is filled in with the outcome, or after it, learns the outcome and knows "
        "nothing when it counts. Every column is therefore compared with the outcome, with its neighbours and with the "
        'calendar. <a href="index.html">All tables</a></p>',
        table(
            ["Verdict", "Columns", "Meaning"],
            [[verdict, str((judged["verdict"] == verdict).sum()), meaning] for verdict, meaning in _MEANING.items()],
        ),
    ]
    accused = judged[judged["verdict"] != CLEAR]
    body.append("<h2>Leaks and suspects</h2>" if len(accused) else "<h2>No leak, no suspect</h2>")
    for row in accused.sort_values("verdict", kind="stable").to_dict("records"):
        mine = evidence[evidence["column"] == row["column"]]
        stands = "in the model" if row["in_model"] else "not in the model"
        said = f"{row['column']}: {row['verdict']}, {stands} ({row['reason']})"
        body.append(f"<h3>{html.escape(said)}</h3>")
        body.append(
            table(
                ["Kind of evidence", "What the table says", "Figure", "Limit", "Weighs as"],
                [
                    [
                        KINDS[one["kind"]],
                        html.escape(one["sentence"]),
                        f"{one['figure']:.3f}",
                        f"{one['limit']:g}",
                        one["weighs"],
                    ]
                    for one in mine.to_dict("records")
                ],
            )
        )
    body.append(
        "<h2>How much each column tells by itself</h2><p>Share of what is uncertain about the outcome that the column "
        "removes, out of fold and within blocks of time: 0 % is nothing, 100 % is certainty. Honest columns of lead "
        "histories seldom remove more than 10 %.</p>"
    )
    ranked = judged.sort_values("gain", ascending=False, kind="stable")
    body.append(
        table(
            ["Column", "Removes", "", "Verdict", "In the model"],
            [
                [
                    html.escape(row["column"]),
                    "not known" if pd.isna(row["gain"]) else f"{max(row['gain'], 0):.1%}",
                    _bar(row["gain"]),
                    row["verdict"],
                    "yes" if row["in_model"] else "no",
                ]
                for row in ranked.to_dict("records")
            ],
        )
    )
    write_text(folder / FILE, page(f"Contract {title}: which columns know the outcome", "\n".join(body)))


def _bar(gain: float) -> str:
    width = 0 if pd.isna(gain) else round(14 * max(gain, 0), 2)
    return f'<div style="width:{width}rem;height:.8rem;background:#3b6ea5"></div>'
