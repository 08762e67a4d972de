"""Files that nobody has described: `leads init` makes the contract, and the leaks are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.leaks import sets
from benchmarks.leaks.__main__ import generated, judge

pytestmark = pytest.mark.slow

PUBLISHED = {
    "uci_bank_marketing/bank-additional-full.csv": "duration",
    "uci_bank_marketing/bank-full.csv": "duration",
    "uci_online_shoppers/online_shoppers_intention.csv": "PageValues",
}


@pytest.mark.parametrize("name", ["academy", "crm_export", "donors", "small_team", "open_pipeline"])
def test_a_generated_file(name: str, tmp_path: Path) -> None:
    file, leaks = generated(name, seed=1, folder=tmp_path)
    result = judge(file, name, leaks)
    assert (result.missed, result.wrongly) == ([], [])


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file(name: str, lead_data_dir: Path) -> None:
    result = judge(lead_data_dir / name, Path(name).stem, (PUBLISHED[name],))
    assert result.verdicts[PUBLISHED[name]] == "leak"
    assert result.passed, f"others called leak: {result.wrongly}"


def test_a_set_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert sets.make("academy", 3).text == sets.make("academy", 3).text != sets.make("academy", 4).text
