"""calibrate on a small demo run: the scorer folder is whole, and its chances are those of margins out of sample."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.params import load
from pipeline.paths import Workspace
from pipeline.scorer import Scorer
from pipeline.scorer.calibration import tenths
from pipeline.scorer.features import feature_list
from pipeline.scorer.tiers import grade, name
from pipeline.scoring import metrics
from tests.workspaces import run_stages


@pytest.fixture(scope="module")
def scorer(demo_run):
    return Scorer.load(demo_run / "data/calibrate/scorer")


@pytest.fixture(scope="module")
def unseen(demo_run, scorer):
    """The calibrate window scored by members that had not seen it: label and probability."""
    rows = pd.read_parquet(demo_run / "data/train/out_of_sample.parquet")
    rows = rows[rows["split"] == "calibrate"].reset_index(drop=True)
    probability = scorer.calibration.probability(rows["margin"].to_numpy() + scorer.level)
    return rows.assign(probability=probability)


def test_tiers_take_their_shares_of_the_calibrate_window(unseen, scorer, demo_run):
    tier = pd.Series(name(tenths(unseen["probability"].to_numpy()), scorer.tiers))
    share, total = tier.value_counts(normalize=True), 0.0
    for band, top in load(demo_run / "params.yaml").calibrate.tiers.shares.items():
        total += share[band]
        # Scores are shown in tenths: all leads on the threshold's tenth belong to the better tier.
        assert top <= total + 1e-9 and total < top + 0.03


def test_tiers_by_worth_equal_every_cut_off_tried(demo_run, unseen, tmp_path):
    """Of all cut-offs within capacity the one whose leads, at their best look, promise the highest profit."""
    root = tmp_path / "work"
    shutil.copytree(demo_run, root, ignore=shutil.ignore_patterns("mlruns"))
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("    by: shares\n", "    by: worth\n"))
    run_stages(Workspace(root), ("calibrate",))
    worth = yaml.safe_load((root / "data/playbooks/demo.yaml").read_text())["worth"]
    splits = pd.read_csv(root / "data/featurize/splits.csv", index_col="split")
    leads = pd.read_parquet(root / "data/validate/leads.parquet").set_index("lead_id")
    max_age = pd.Timedelta(days=json.loads((root / "data/featurize/features.json").read_text())["max_age_days"])
    until = min(pd.Timestamp(splits.loc["calibrate", "end"]), unseen["as_of"].max() + pd.Timedelta(days=1) - max_age)
    weeks = (until - pd.Timestamp(splits.loc["calibrate", "start"])) / pd.Timedelta(days=7)
    score = (unseen["probability"] * 100).round(1)
    best = score[unseen["lead_id"].map(leads["created_at"]) < until].groupby(unseen["lead_id"]).max()
    profit = {
        cut: ((best[best >= cut / 10] / 100) * worth["deal_value"] - worth["call_cost"]).sum()
        for cut in range(1002)
        if (best >= cut / 10).sum() / weeks <= worth["per_week"]
    }
    called = Scorer.load(root / "data/calibrate/scorer").tiers[0]
    assert called["name"] == "A"
    assert profit[called["from"]] == pytest.approx(max(profit.values()))


def test_tiers_carry_the_playbook_and_the_scorer_what_deals_are_worth(demo_run, scorer):
    plays = yaml.safe_load((demo_run / "data/playbooks/demo.yaml").read_text())["tiers"]
    assert [tier["play"]["owner"] for tier in scorer.tiers] == [plays[tier["name"]]["owner"] for tier in scorer.tiers]
    assert scorer.tiers[0]["play"]["suppression"][0]["reason"] == "the lead unsubscribed"
    leads = pd.read_parquet(demo_run / "data/validate/leads.parquet").set_index("lead_id")["deal_value_eur"]
    snapshots = pd.read_parquet(demo_run / "data/featurize/snapshots.parquet")
    won = snapshots.loc[(snapshots["label"] == 1) & (snapshots["split"] != "test"), "lead_id"].unique()
    deals = leads.reindex(won).dropna()
    assert scorer.deal_values is not None
    assert scorer.deal_values["deals"] == len(deals)
    assert scorer.deal_values["overall"] == pytest.approx(deals.mean())


def test_grades_take_their_shares_of_the_calibrate_window(scorer, demo_run):
    """Recomputed from the contributions of every snapshot of the window; the stage looks at an even sample of them."""
    params = load(demo_run / "params.yaml").calibrate
    snapshots = pd.read_parquet(demo_run / "data/featurize/snapshots.parquet")
    listed = feature_list(scorer.spec)
    rows = snapshots.loc[snapshots["split"] == "calibrate", [feature["name"] for feature in listed]]
    contributions = scorer.margin.contributions(rows)
    sums = {
        group: contributions[:, [feature["group"] == group for feature in listed]].sum(axis=1)
        for group in ("fit", "engagement")
    }
    grades = pd.Series(grade(sums, scorer.grades))
    for place, marks in enumerate(("ABC", "123")):
        shares = grades.str[place].value_counts(normalize=True)
        assert set(shares.index) == set(marks)
        assert shares[marks[0]] == pytest.approx(params.grades[0], abs=0.02)
        assert shares[marks[0]] + shares[marks[1]] == pytest.approx(params.grades[1], abs=0.02)


def test_the_chosen_candidate_was_the_best_one_step_ahead(demo_run):
    params = load(demo_run / "params.yaml").calibrate
    tried = pd.read_csv(demo_run / "data/calibrate/calibrators.csv")
    assert len(tried) == 2 * len(params.calibrators)
    assert tried["chosen"].sum() == 1
    chosen = tried[tried["chosen"]].iloc[0]
    assert chosen["level"] == "moving"
    assert chosen["log_loss"] == tried.loc[tried["level"] == "moving", "log_loss"].min()


def test_the_summary_describes_the_scorer(demo_run, scorer):
    summary = json.loads((demo_run / "data/calibrate/summary.json").read_text())
    assert summary["version"] == scorer.version
    assert summary["calibration"] == vars(scorer.calibration)
    assert summary["tiers"] == [{"name": tier["name"], "from": tier["from"]} for tier in scorer.tiers]
    assert summary["level"]["log_odds"] == scorer.level
    assert (summary["level"]["standard_error"] > 0) == (scorer.level != 0) == (summary["level"]["rows"] > 0)


def test_reliability_is_that_of_probabilities_out_of_sample(unseen, demo_run):
    params = load(demo_run / "params.yaml").calibrate
    table = pd.read_csv(demo_run / "data/calibrate/reliability.csv")
    expected = metrics.reliability(
        unseen["label"].to_numpy(dtype="float64"), unseen["probability"].to_numpy(), params.bins, params.interval_level
    )
    assert table["rows"].sum() == len(unseen)
    np.testing.assert_allclose(table[["predicted", "observed"]], expected[["predicted", "observed"]], atol=1e-9)


def test_chances_out_of_sample_agree_with_what_happened(unseen):
    """Calibrated on all rows out of sample: the newest window as a whole is met, up to its own chance and time."""
    leads = (unseen["label"] - unseen["probability"]).groupby(unseen["lead_id"]).sum()
    error = np.sqrt((leads**2).sum()) / len(unseen)
    assert abs(unseen["label"].mean() - unseen["probability"].mean()) < 3 * error


def test_the_model_folder_holds_code_and_data_and_no_pickle(demo_run):
    folder = demo_run / "data/calibrate/scorer"
    files = [file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert {file.suffix for file in files} <= {".json", ".ubj", ".py", ".yaml", ".txt", ""}
    assert (folder / "MLmodel").is_file()
    text = "".join(file.read_text() for file in folder.rglob("*.py"))
    assert "import pipeline" not in text and "from pipeline" not in text
