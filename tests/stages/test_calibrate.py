"""calibrate on a small demo run: the scorer folder is whole, and its chances agree with the calibrate window."""

import numpy as np
import pandas as pd
import pytest

from pipeline.leads.snapshots import rows_at
from pipeline.params import load
from pipeline.scorer import Scorer


@pytest.fixture(scope="module")
def scored(demo_run):
    scorer = Scorer.load(demo_run / "data/calibrate/scorer")
    snapshots = pd.read_parquet(demo_run / "data/featurize/snapshots.parquet")
    snapshots = snapshots[snapshots["split"] == "calibrate"].reset_index(drop=True)
    tables = [
        pd.read_parquet(demo_run / f"data/validate/{name}.parquet") for name in ("leads", "activities", "changes")
    ]
    return snapshots, scorer.score(rows_at(tables[0], snapshots), *tables[1:])


def test_tiers_take_their_shares_of_the_calibrate_window(scored, demo_run):
    _, scores = scored
    share, total = scores["tier"].value_counts(normalize=True), 0.0
    for name, top in load(demo_run / "params.yaml").calibrate.tiers.items():
        total += share[name]
        # Scores are shown in tenths: all leads on the threshold's tenth belong to the better tier.
        assert top <= total + 1e-9 and total < top + 0.03


def test_the_chosen_calibrator_had_the_lowest_loss_one_step_ahead(demo_run):
    tried = pd.read_csv(demo_run / "data/calibrate/calibrators.csv")
    assert tried["chosen"].sum() == 1
    assert tried.loc[tried["chosen"], "log_loss"].item() == tried["log_loss"].min()


def test_reliability_is_that_of_the_scores(scored, demo_run):
    snapshots, scores = scored
    table = pd.read_csv(demo_run / "data/calibrate/reliability.csv")
    assert table["rows"].sum() == len(snapshots)
    assert np.average(table["predicted"], weights=table["rows"]) == pytest.approx(
        scores["probability"].mean(), abs=1e-9
    )


def test_the_model_folder_holds_code_and_data_and_no_pickle(demo_run):
    folder = demo_run / "data/calibrate/scorer"
    files = [file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert {file.suffix for file in files} <= {".json", ".ubj", ".py", ".yaml", ".txt", ""}
    assert (folder / "MLmodel").is_file()
    text = "".join(file.read_text() for file in folder.rglob("*.py"))
    assert "import pipeline" not in text and "from pipeline" not in text
