"""The reviewer's page: all that is needed to sign for a version, in one screen.

It is the description of the version, whose page in MLflow opens with it, and of its run, where MLflow folds it.
Markdown with lists and no tables, which MLflow draws without gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Figures of the champion that stand beside the candidate's, and how they are written.
BESIDE = {"log_loss": ("log-loss", "{:.4f}"), "lift_10": ("lift in the top tenth", "{:.2f}"), "auc": ("AUC", "{:.3f}")}


@dataclass(frozen=True)
class Champion:
    """The champion that a candidate was judged against: number, who approved it and when, figures of its own run."""

    number: int
    approved: str
    metrics: Mapping[str, float]


def page(
    decision: Mapping[str, Any],
    *,
    model: str,
    version: int | None,
    champion: Champion | None,
    approvals: int,
    measured: str,
    committed: bool | None,
    study: str,
    scorer: str,
) -> str:
    """The page.

    Args:
        decision: as `candidates.log` takes it.
        version: None where the gate refused the candidate.
        approvals: how many people must approve.
        measured: on what it was measured, and the key figures, as Markdown.
        committed: whether the code stands in a commit as it ran; None outside git.
        study, scorer: hashes, for those who look further.
    """
    passed = bool(decision["passed"])
    what = f"**{'Passed' if passed else 'Refused by'} the gate.** {decision['letter']}"
    parts = [what if version is None else f"**Version {version} of {model}.** {what}"]
    judged = decision["champion"]
    if version is not None and not (judged and judged["identical"]):
        parts.append(_commands(version, champion, approvals))
    parts.append(measured)
    parts += _aged(decision["freshness"])
    parts.append(_beside(champion, judged))
    if decision["warnings"]:
        parts.append(f"**Warnings**, which the gate does not weigh:\n\n{_list(decision['warnings'])}")
    doubts = list(decision["look_twice"])
    if committed is False:
        doubts.append("It was made by code with changes that no commit holds.")
    if doubts:
        parts.append(f"**Reasons to look twice**\n\n{_list(doubts)}")
    parts.append(f"**Checks of the gate**\n\n{_checks(decision['checks'])}")
    parts.append(
        "Sentences to every check: `register/decision.json`. Figures: `evaluate`, `explain`. Data Docs: "
        f"`validate/docs/index.html`. The scorer: `scorer`, sha256 `{scorer[:16]}`. Trials of its search: "
        f"`tags.study = '{study}'`."
    )
    return "\n\n".join(parts)


def within(text: str, limit: int) -> str:
    """As many whole paragraphs of a page as `limit` characters hold, and where the rest stands."""
    if len(text) <= limit:
        return text
    rest = "\n\nThe rest stands in the description of its run."
    kept = text[: limit - len(rest)]
    return kept[: kept.rfind("\n\n")] + rest


def _commands(version: int, champion: Champion | None, approvals: int) -> str:
    lines = [
        *([] if champion is None else [f"leads diff {champion.number} {version}"]),
        f'leads approve {version} --by "YOUR NAME" --note "WHY"',
        f'leads reject {version} --by "YOUR NAME" --note "WHY"',
    ]
    two = "" if approvals == 1 else f" {approvals} people must approve it."
    return f"**To decide.**{two} `leads log` says who has decided what.\n\n```sh\n" + "\n".join(lines) + "\n```"


def _aged(freshness: Mapping[str, str | None]) -> list[str]:
    """Up to when outcomes are known; what that means on the day of approval, only that day can tell."""
    until, newest = freshness["judged_until"], freshness["newest_recorded"]
    if until is None or newest is None:
        return []
    return [
        f"**Data.** The newest outcome that it was judged on is of {until[:10]}, the newest recorded moment of "
        f"{newest[:10]}. `leads approve` says how old that is on the day."
    ]


def _beside(champion: Champion | None, judged: Mapping[str, Any] | None) -> str:
    if judged is None:
        return "**Champion.** There was none when this was judged."
    if judged["identical"]:
        return f"**Champion.** This is the scorer of version {judged['version']}, the champion when it was judged."
    if champion is None:
        return f"**Champion.** It was judged beside version {judged['version']}, which is gone."
    figures = ", ".join(
        f"{words} {form.format(champion.metrics[name])}"
        for name, (words, form) in BESIDE.items()
        if name in champion.metrics
    )
    own = f" Its figures on the test window of its own run: {figures}." if figures else ""
    return f"**Champion.** It was judged beside version {champion.number}{champion.approved}.{own}"


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    """Figure and limit of what was not met, and of what was, in a line each; the letter above has the sentences."""
    lines = []
    for passed, word in ((False, "**NOT met**"), (True, "met")):
        some = [
            f"{check['name'].replace('_', ' ')} {_number(check['figure'])} (limit {_number(check['limit'])})"
            for check in checks
            if check["passed"] == passed
        ]
        if some:
            lines.append(f"{word}, {len(some)} of {len(checks)}: {'; '.join(some)}")
    return _list(lines)


def _number(figure: float | None) -> str:
    if figure is None:
        return "not measured"
    return f"{figure:,.0f}" if figure == int(figure) else f"{figure:.4g}"


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
