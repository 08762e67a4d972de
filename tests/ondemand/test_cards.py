"""`leads card` on a small demo run: the shipped cards, planted faults, and every figure by a second route."""

import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import metrics as reference
from typer.testing import CliRunner

from pipeline import cli, cli_card
from pipeline.adapters import cards as store_of_cards
from pipeline.adapters import files
from pipeline.errors import ArtefactError, CardError
from pipeline.leads.snapshots import rows_at
from pipeline.ondemand import cards
from pipeline.params import load
from pipeline.paths import Workspace
from tests import small_cards

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(demo_run, tmp_path_factory):
    """The demo run moved to another folder."""
    root = tmp_path_factory.mktemp("cards") / "project"
    shutil.copytree(demo_run, root)
    return root


@pytest.fixture(scope="module")
def run(project):
    workspace = Workspace(project)
    return workspace, load(workspace.params)


@pytest.fixture
def leads(project, monkeypatch):
    """Type `leads card ...` in the project; returns what it printed, or raises."""
    monkeypatch.chdir(project)

    def typed(*arguments):
        done = CliRunner().invoke(cli.app, ["card", *map(str, arguments)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return typed


def content(project, name):
    return yaml.safe_load((project / "data" / "cards" / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def put(project):
    """Write a card, changed, for one test."""
    made = []

    def write(name, change):
        card = content(project, "demo") | {"name": name}
        change(card)
        path = project / "data" / "cards" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")
        made.append(path)

    yield write
    for path in made:
        path.unlink()


@pytest.mark.parametrize("command", [one.callback.__name__ for one in cli_card.app.registered_commands])
def test_every_command_shows_an_example(command):
    shown = CliRunner().invoke(cli.app, ["card", command, "--help"])
    assert shown.exit_code == 0 and f"Example: leads card {command}" in shown.output


def test_nothing_is_found_in_the_shipped_cards(leads):
    assert "nothing to find fault with" in leads("lint")
    said = leads("lint", "account_engagement")
    assert said.count("accepted (the published points neither fade nor stop) grows_with_age") == 4
    assert "nothing to find fault with" in said


def test_a_planted_fault_ends_with_an_error_and_its_sentence(leads, put, capsys):
    put("odd", lambda card: card["criteria"][0]["when"].update({"is": ["software", "softwear"]}))
    with pytest.raises(CardError, match="1 findings") as raised:
        leads("lint", "odd")
    assert raised.value.exit_code == 11
    for command in ("backtest", "suggest"):
        with pytest.raises(CardError, match="industry is never `softwear`"):
            leads(command, "odd")


def test_a_card_is_checked_before_anything_has_run(project, run, tmp_path):
    for name in ("contracts", "cards"):
        shutil.copytree(project / "data" / name, tmp_path / "data" / name)
    workspace, params = Workspace(tmp_path), run[1]
    assert cards.lint(workspace, params, "demo") == cards.Linted([], None)
    for act in (cards.backtest, cards.suggest):
        with pytest.raises(ArtefactError, match="dvc repro"):
            act(workspace, params, "demo", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_column_that_the_run_kept_out_is_named(project, run, put):
    put("odd", lambda card: card["criteria"][0].update(when={"column": "deal_value_eur", "at_least": 1}))
    (found,) = cards.lint(*run, "odd").findings
    assert found.kind == "unusable_column" and "filled in when the contract is signed" in found.sentence


def test_the_shipped_samples_come_out_as_expected(leads, project):
    assert "6 samples meet all 33 expectations" in leads("test", "demo", project / "data/cards/demo_samples.csv")


def test_a_sample_that_comes_out_otherwise_is_named(leads, put, project, capsys):
    put("odd", lambda card: card["criteria"][6].update(points=14))
    with pytest.raises(CardError, match="2 of 33 expectations of 6 samples are not met"):
        leads("test", "odd", project / "data/cards/demo_samples.csv")


@pytest.fixture(scope="module")
def judged(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    found, logged = cards.backtest(*run, "demo", out)
    return found, logged, out


def test_the_backtest_by_a_second_route(judged, project, run):
    """Points by plain Python over the records, their chance by another fit, figures by scikit-learn."""
    workspace, _ = run
    found, _, out = judged
    results = files.Results(workspace)
    spec = results.json("featurize/features.json")
    leads, activities, changes = (results.table(f"validate/{n}.parquet") for n in ("leads", "activities", "changes"))
    scores, snapshots = results.table("evaluate/scores.parquet"), results.table("featurize/snapshots.parquet")
    card = content(project, "demo")

    def by_hand(pairs):
        rows = rows_at(leads, pairs)
        known = small_cards.leads_by_hand(rows, activities, changes, spec)
        return pd.DataFrame([small_cards.by_hand(card, lead) for lead in known])

    before = snapshots[snapshots["split"] == "calibrate"]
    past, now = by_hand(before), by_hand(scores)
    counted = cards.History.read(results, run[1]).count(store_of_cards.read(workspace, "demo", "demo"), scores)
    pd.testing.assert_frame_equal(counted[list(now)], now, check_dtype=False, rtol=1e-9, atol=1e-9)

    from scipy.optimize import minimize

    free, label = (past["suppressed"] == "").to_numpy(), before["label"].to_numpy()

    def loss(weights):
        margin = weights[0] + weights[1] * past["total"][free].to_numpy() / 10
        return np.logaddexp(0, margin).sum() - (label[free] * margin).sum()

    a, b = minimize(loss, [0.0, 0.0], method="BFGS").x
    chance = 1 / (1 + np.exp(-(a + b * now["total"] / 10)))
    rate = (label[~free].sum() + label[free].mean()) / ((~free).sum() + 1)
    held = now["suppressed"] != ""
    truth, table = scores["label"], found.metrics.set_index("metric")
    assert table.loc["log_loss", "card"] == pytest.approx(reference.log_loss(truth, chance.mask(held, rate)), abs=1e-6)
    order = now["total"].mask(held, -1e9)
    assert table.loc["auc", "card"] == pytest.approx(reference.roc_auc_score(truth, order), abs=1e-12)
    assert table.loc["auc", "model"] == pytest.approx(reference.roc_auc_score(truth, scores["probability"]), abs=1e-12)
    assert found.figures["qualify_share"] == pytest.approx(now["qualifies"].mean())
    pd.testing.assert_frame_equal(files.read_csv(out / "metrics.csv"), found.metrics)


def test_the_model_beats_the_card_of_the_workshop(judged):
    table = judged[0].metrics.set_index("metric")
    assert table.loc["log_loss", "difference_low"] > 0
    assert table.loc["auc", "difference_high"] < 0


def test_a_backtest_is_logged_once(judged, run):
    again, logged = cards.backtest(*run, "demo", judged[2])
    assert judged[1].new and not logged.new and logged.run_id == judged[1].run_id
    pd.testing.assert_frame_equal(again.metrics, judged[0].metrics)


@pytest.fixture(scope="module")
def suggested(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("suggested")
    return cards.suggest(*run, "demo", out), out


def test_what_is_suggested_is_written_and_judged_on_the_calibrate_window(suggested, run, project):
    found, out = suggested
    for name in ("points", "missing", "ahead"):
        pd.testing.assert_frame_equal(files.read_csv(out / f"{name}.csv"), getattr(found, name), check_dtype=False)
    assert found.points["criterion"].tolist() == [one["name"] for one in content(project, "demo")["criteria"]]
    history = cards.History.read(files.Results(run[0]), run[1])
    window = history.snapshots[history.snapshots["split"] == "calibrate"]
    counted = history.count(store_of_cards.read(run[0], "demo", "demo"), window)
    order = counted["total"].mask(counted["suppressed"] != "", -1e9)
    auc = reference.roc_auc_score(window["label"], order)
    assert found.ahead.set_index("system").loc["hand-made", "auc"] == pytest.approx(auc, abs=1e-12)


def test_the_learned_card_can_be_judged_like_any_other(leads, suggested, project, tmp_path):
    learned = project / "data" / "cards" / "demo_learned.yaml"
    shutil.copyfile(suggested[1] / "demo_learned.yaml", learned)
    said = leads("backtest", "demo_learned", "--out", tmp_path)
    assert "logged" in said and (tmp_path / "lift.csv").is_file()
    learned.unlink()


def test_nothing_of_the_test_window_is_learned_from(suggested, leads, tmp_path, monkeypatch):
    """Other outcomes there leave every suggested point as it is."""
    read = cards.History.read.__func__

    def dealt(cls, results, params):
        history = read(cls, results, params)
        test = history.snapshots["split"] == "test"
        history.snapshots.loc[test, "label"] = 1 - history.snapshots.loc[test, "label"]
        return history

    monkeypatch.setattr(cards.History, "read", classmethod(dealt))
    said = leads("suggest", "--out", tmp_path)
    assert "Learned on the train window, judged on the calibrate window" in said
    # Four thousand leads are few for twenty-one criteria.
    assert "The learned points do no better there" in said
    for name in ("points.csv", "missing.csv", "ahead.csv", "demo_learned.yaml"):
        assert (suggested[1] / name).read_bytes() == (tmp_path / name).read_bytes()
