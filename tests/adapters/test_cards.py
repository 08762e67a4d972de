"""Cards and samples as files, and backtests in MLflow: what is refused, and that nothing is logged twice."""

import pandas as pd
import pytest
import yaml

from pipeline.adapters import card_runs, cards
from pipeline.errors import CardError, SourceError
from pipeline.paths import Workspace
from tests import small_cards


@pytest.fixture
def folder(tmp_path):
    workspace = Workspace(tmp_path)
    cards.write(cards.folder(workspace) / "small.yaml", small_cards.card())
    return workspace


def put(workspace, name, text):
    (cards.folder(workspace) / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_a_card_is_read_as_it_was_written(folder):
    assert cards.read(folder, "small", "small") == small_cards.card()


def test_a_missing_card_lists_those_there_are(folder, tmp_path):
    with pytest.raises(CardError, match=r"no such card. In that folder: small\."):
        cards.read(folder, "other", "small")
    with pytest.raises(CardError, match="In that folder: none"):
        cards.read(Workspace(tmp_path / "empty"), "other", "small")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "line"),
        ("name: a\nname: b\n", "stands twice"),
        ("- 1\n", "holds no keys"),
        ("card_version: 1\n", "key is missing"),
        (yaml.safe_dump(small_cards.CARD), "is not the file's name"),
        (yaml.safe_dump(small_cards.CARD | {"name": "odd", "contract": "demo"}), "the card is about contract demo"),
    ],
)
def test_what_cannot_be_a_card_is_refused_by_file(folder, text, said):
    put(folder, "odd", text)
    with pytest.raises(CardError, match=said) as raised:
        cards.read(folder, "odd", "small")
    assert str(cards.folder(folder) / "odd.yaml") in str(raised.value)


def test_samples_are_read_as_text(tmp_path):
    path = tmp_path / "samples.csv"
    path.write_bytes("\ufeffcountry,employees,expect total\nNA,007,\n".encode())
    assert cards.read_samples(path).to_dict("records") == [{"country": "NA", "employees": "007", "expect total": ""}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; the first line must name the columns"),
        (b"a,b\n1,2,3,4\n1\n", r"line 2: 4 fields.*\n.*line 3: 1 field"),
        (b"a,a\n1,2\n", "a stand twice"),
        (b"a,b\n1,\xff\xfe\n", "line 2"),
    ],
)
def test_what_is_no_csv_is_refused(tmp_path, content, said):
    path = tmp_path / "samples.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=said):
        cards.read_samples(path)
    with pytest.raises(SourceError, match="no such file"):
        cards.read_samples(tmp_path / "other.csv")


def log(store, **changes):
    given = {
        "rests_on": {"scores": "0" * 64, "bins": 10},
        "figures": {"auc": 0.7, "card/suppressed_conversion": float("nan")},
        "tables": {"lift": pd.DataFrame({"share": [0.1], "lift_card": [2.0]})},
    }
    return card_runs.log(store, small_cards.card(contract="demo"), **(given | changes))


def runs(store):
    return store.client.search_runs([store.experiment("demo")], "tags.kind = 'card'")


def test_a_backtest_is_one_run_and_is_logged_once(store):
    first, second = log(store), log(store)
    assert first.new and not second.new and first.run_id == second.run_id
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"auc": 0.7}
    assert run.data.params == {"scores": "0" * 64, "bins": "10"}
    assert run.data.tags["card"] == "small" and "live" not in run.data.tags
    assert {file.path for file in store.client.list_artifacts(run.info.run_id)} == {"small.yaml", "lift.csv"}


def test_another_card_or_other_scores_are_another_run_and_a_half_logged_one_is_made_anew(store):
    before = len(runs(store))
    other = log(store, rests_on={"scores": "1" * 64, "bins": 10})
    assert other.new
    store.client.set_terminated(other.run_id, "KILLED")
    again = log(store, rests_on={"scores": "1" * 64, "bins": 10})
    assert again.new and again.run_id != other.run_id
    assert len(runs(store)) == before + 1
