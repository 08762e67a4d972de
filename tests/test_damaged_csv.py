"""Damaged files: a sample of the ten thousand of `benchmarks/damaged_csv`, and that its verdicts mean what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.damaged_csv import judging
from benchmarks.damaged_csv.damage import FILES, HARMLESS, ROWS, Draft, Line
from benchmarks.damaged_csv.tables import ACTIVITIES, Style, Table, contract, style, tables
from pipeline import params as params_module
from pipeline.adapters import expectations
from pipeline.leads.contract import parse, resolve
from pipeline.params import Params

pytestmark = pytest.mark.slow

SEED = 7
SAMPLE = 108


@pytest.fixture(scope="module")
def params(project_root: Path) -> Params:
    return params_module.load(project_root / "params.yaml")


@pytest.fixture(scope="module")
def verdicts(params: Params, tmp_path_factory: pytest.TempPathFactory) -> list[judging.Verdict]:
    """Files from all over the ten thousand, so that every way to write one and most kinds of damage occur."""
    judge = judging.Judge(SEED, params, tmp_path_factory.mktemp("damaged"))
    return [judge.judge(start + place) for start in range(0, 9_000, 500) for place in range(SAMPLE // 18)]


def test_no_claim_is_broken(verdicts: list[judging.Verdict]) -> None:
    assert [judging.shown(verdict) for verdict in verdicts if verdict.faults] == []
    assert not any(verdict.outcome == judging.CRASHED for verdict in verdicts)
    assert sum(verdict.changed + verdict.lost for verdict in verdicts) == 0


def test_what_is_damaged_a_little_is_accepted_and_what_is_refused_has_its_exit_code(
    verdicts: list[judging.Verdict],
) -> None:
    mild = [verdict for verdict in verdicts if verdict.mild]
    assert len(mild) > SAMPLE / 4
    assert {verdict.outcome for verdict in mild} == {judging.ACCEPTED}
    assert min(verdict.kept / verdict.untouched for verdict in mild) >= 0.99
    refused = [verdict for verdict in verdicts if verdict.outcome == judging.REFUSED]
    assert len(refused) > SAMPLE / 10
    assert {verdict.exit_code for verdict in refused} == {4, 5}
    assert all(verdict.message.endswith(".") for verdict in refused)


def test_the_sample_sees_most_kinds_of_damage(verdicts: list[judging.Verdict]) -> None:
    seen = {kind for verdict in verdicts for kind in verdict.kinds}
    assert len(seen & set(ROWS)) > 0.8 * len(ROWS)
    assert len(seen & set(FILES)) > len(FILES) / 3
    assert set(HARMLESS) <= set(FILES)


def test_a_file_is_the_same_whenever_it_is_made() -> None:
    later = judging.case(SEED, 1234)
    judging.case(SEED, 99)
    assert judging.case(SEED, 1234) == later
    assert judging.case(SEED + 1, 1234).damaged.content != later.damaged.content


def test_the_judge_sees_a_changed_a_lost_and_a_refused_row() -> None:
    one = judging.case(SEED, next(number for number in range(50) if judging.case(SEED, number).table == "activities"))
    keys = [row[0] for row in one.truth.rows]
    truth = pd.DataFrame({"row": range(1, len(keys) + 1), "activity_id": keys, "kind": "call"})
    untouched = one.damaged.untouched
    changed, lost, refused = (keys[place] for place in untouched[:3])
    kept = truth[truth["activity_id"].isin([keys[place] for place in untouched])]
    kept = kept.assign(kind=kept["kind"].where(kept["activity_id"] != changed, "meeting"))
    kept = kept[~kept["activity_id"].isin([lost, refused])]
    aside = pd.DataFrame({"table": ["activities"], "raw": [f"{refused},x"], "placed": [False]})
    history = judging.History({"activities": kept}, aside, {"activities": len(kept) + 1})
    blank = judging.Verdict(0, "activities", (), True, judging.ACCEPTED, untouched=len(untouched))
    verdict = judging._compared(blank, one, history, truth)
    assert (verdict.changed, verdict.lost, verdict.set_aside) == (1, 1, 1)
    assert verdict.kept == len(untouched) - 3
    assert verdict.faults[:3] == (
        "1 untouched rows came out changed",
        "1 untouched rows are gone without a reason",
        "1 refusals without line or reason",
    )
    assert "rows in" not in "; ".join(verdict.faults)


@pytest.mark.parametrize("number", [2, 5, 11])
def test_the_checks_find_what_great_expectations_finds(number: int, params: Params, tmp_path: Path) -> None:
    def by_library(typed, resolved, newest, unread):  # type: ignore[no-untyped-def]
        return expectations.check(typed, resolved, newest, refused_leads=unread).failed

    plain = judging.Judge(SEED, params, tmp_path / "a").judge(number)
    assert judging.Judge(SEED, params, tmp_path / "b", by_library).judge(number) == plain


def test_sound_tables_keep_their_contract_in_every_style() -> None:
    seen = set()
    for number in range(40):
        rng = np.random.default_rng(number)
        written = style(rng)
        seen.add((written.encoding, written.separator, written.end))
        made = tables(rng, written, leads=20, activities=20)
        resolve(parse(contract(written, activities=True), file="damaged.yaml"))
        for table in made.values():
            for cells in table.rows:
                assert len(cells) == len(table.header)
                written.write(cells)
    assert len({encoding for encoding, _, _ in seen}) == 4


@pytest.mark.parametrize("kind", [*ROWS, *FILES])
def test_every_kind_of_damage_can_be_done_and_touches_what_it_says(kind: str) -> None:
    """What is not marked as touched still has the bytes it was written with, but for what changes all lines alike."""
    rows = [[f"A{k:06d}", f"L{k:05d}", "call", "2023-12-01", "2023-12-01", 'a "b", c\nd'] for k in range(30)]
    table, written = Table("activities", ACTIVITIES, rows), Style(",", "utf-8", ".", 0, "\n")
    lines = [Line(written.write(cells), row) for row, cells in enumerate(rows)]
    draft = Draft(np.random.default_rng(5), table, written, written.write(table.header), lines)
    (ROWS.get(kind) or FILES[kind])(draft)
    whole = draft.header + b"".join(line.content for line in draft.lines)
    for change in draft.bare:
        whole = change(whole)
    assert whole != b"".join(written.write(cells) for cells in [table.header, *rows]) or kind == "quotes stripped"
    if kind in ROWS:
        untouched = [line for line in draft.lines if line.row is not None and not line.touched]
        assert len(untouched) >= 24
        same = sum(line.content == written.write(rows[line.row or 0]) for line in untouched)
        assert same >= len(untouched) - (kind == "other line end")
