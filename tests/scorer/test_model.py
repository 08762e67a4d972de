"""The scorer as a whole: its routes agree, its sums add up, and it refuses what it should."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from pipeline.adapters import model_folder
from pipeline.params import LogisticSettings, ScorecardSettings
from pipeline.scorer import Scorer, ScorerError, moves
from pipeline.scorer.calibration import Calibration, Interval
from pipeline.scorer.margin import Encoder, Margin
from pipeline.scorer.model import OUTPUT, as_time
from pipeline.scoring.fit import Rows, Start, fit_logistic, fit_scorecard, fit_xgboost
from tests.trees import TREES

SPEC = {
    "format": 1,
    "contract": "small",
    "horizon_days": 30,
    "names": {"customer": "lead_id", "born": "created_at"},
    "facts": [{"name": "has_work_email", "column": "mail", "fact": "work_email"}],
    "profile": [
        {
            "name": name,
            "source": name,
            "kind": kind,
            "criterion": criterion,
            "group": "fit",
            "tracked": tracked,
            "unit": None,
            "text": None,
            "text_none": None,
            "moved_by": None,
            "declared": {"name": name, "type": kind, "min": 1} if kind == "number" else {"name": name, "type": kind},
        }
        for name, kind, criterion, tracked in [
            ("employees", "number", "Company size", True),
            ("industry", "category", "Industry", False),
            ("has_work_email", "number", "Work e-mail", False),
        ]
    ],
    "tracked": ["employees"],
    "checks": [
        {"name": "lead_id", "type": "text", "required": True},
        {"name": "created_at", "type": "timestamp", "required": True},
        {"name": "employees", "type": "number", "required": False, "min": 1, "max": None, "values": None},
        {"name": "industry", "type": "category", "required": False, "min": None, "max": None, "values": None},
    ],
    "kinds": [
        {
            "name": "visit",
            "criterion": "Visits",
            "group": "engagement",
            "text": "visited {times}",
            "text_none": None,
            "moved_by": "lead",
        }
    ],
    "windows_days": [7, 30],
    "aged": True,
    "max_age_days": 45,
    "created_format": None,
}


def history(n: int = 300) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    generator = np.random.default_rng(9)
    born = pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 5000, n), unit="h")
    leads = pd.DataFrame(
        {
            "lead_id": [f"L{k:04d}" for k in range(n)],
            "created_at": born.astype("datetime64[us]"),
            "employees": generator.integers(1, 500, n).astype("float64"),
            "industry": pd.Series(generator.choice(["energy", "retail"], n), dtype="str"),
            "mail": pd.Series(generator.choice(["a@firm.example", "b@gmail.com"], n), dtype="str"),
        }
    )
    leads["as_of"] = leads["created_at"].dt.floor("D") + pd.Timedelta(days=21)
    visits = leads.loc[np.repeat(np.arange(n), generator.integers(0, 6, n)), ["lead_id", "created_at"]].reset_index(
        drop=True
    )
    visits["happened_at"] = visits["created_at"] + pd.to_timedelta(generator.integers(0, 600, len(visits)), unit="h")
    visits["recorded_at"] = visits["happened_at"] + pd.to_timedelta(generator.integers(0, 48, len(visits)), unit="h")
    visits = visits.assign(kind="visit")[["lead_id", "kind", "happened_at", "recorded_at"]]
    changed = leads.iloc[::3]
    changes = pd.DataFrame(
        {
            "lead_id": changed["lead_id"],
            "column": "employees",
            "recorded_at": changed["created_at"] + pd.Timedelta(days=20),
            "old_value": "7",
            "new_value": changed["employees"].astype(int).astype(str),
        }
    ).reset_index(drop=True)
    return leads, visits, changes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    leads, visits, changes = history()
    generator = np.random.default_rng(4)
    blank = Margin(Encoder.fit(pd.DataFrame()), [], [], 0.0, np.zeros(0))
    builder = Scorer(SPEC, blank, 0.0, Calibration("none", 0, 1, 1), Interval(0.9, [], [], []), [], {}, None, "none")
    features = builder.features(leads, visits, changes)
    log_odds = -1 + 0.4 * features["n_visit_30d"] + (features["industry"] == "retail")
    label = (generator.random(len(features)) < 1 / (1 + np.exp(-log_odds))).to_numpy(dtype="float64")
    rows = Rows.encode(features, label, np.arange(len(label)))
    plain, card = (
        LogisticSettings(bins=3, c=0.1, half_life=0.0),
        ScorecardSettings(bins=4, prior_rows=5.0, c=0.1, towards=0.8, folds=3, half_life=0.0),
    )
    trees = TREES.model_copy(update={"start": "scorecard", "categories": "target"})
    members = [
        fit_logistic(rows, plain, clip=4.0),
        fit_scorecard(rows, card),
        fit_xgboost(rows, trees, rounds=15, seed=1, threads=1, start=Start(card, clip=4.0)),
    ]
    path = tmp_path_factory.mktemp("model") / "scorer"
    path.mkdir()
    model_folder.write(
        path,
        spec=SPEC,
        margin=Margin.centred(rows.encoder, members, [0.3, 0.1, 0.6], features),
        level=0.0,
        calibration=Calibration("beta", -0.1, 0.8, 1.1),
        interval=Interval(0.9, [-2.0, 1.0], [-0.4, -0.2], [0.3, 0.5]),
        tiers=[
            {"name": "A", "from": 500},
            {
                "name": "B",
                "from": 0,
                "play": {"suppression": [{"activity": "visit", "within_days": 7, "reason": "was here this week"}]},
            },
        ],
        grades={"fit": [0.3, -0.1], "engagement": [0.2]},
        deal_values={
            "columns": [{"name": "employees", "criterion": "Company size", "type": "number", "bounds": [100.0]}],
            "overall": 70.0,
            "cells": [{"levels": ["under 100"], "value": 10.0}, {"levels": ["100 and over"], "value": 90.0}],
        },
    )
    return path


@pytest.fixture(scope="module")
def scorer(folder) -> Scorer:
    return Scorer.load(folder)


def nested(leads, visits, changes) -> pd.DataFrame:
    def records(table, key):
        mine = table[table["lead_id"] == key].drop(columns="lead_id")
        return json.loads(mine.to_json(orient="records", date_format="iso"))

    return leads.assign(
        activities=[records(visits, key) for key in leads["lead_id"]],
        changes=[records(changes, key) for key in leads["lead_id"]],
    )


def test_output_has_the_promised_columns_and_ranges(scorer):
    scores = scorer.score(*history())
    assert list(scores.columns) == OUTPUT
    assert scores["score"].between(0, 100).all() and scores["probability"].between(0, 1).all()
    assert (scores["interval_low"] <= scores["probability"]).all() and (
        scores["probability"] <= scores["interval_high"]
    ).all()
    assert (scores["score"] - 100 * scores["probability"]).abs().max() <= 0.05 + 1e-9
    assert set(scores["tier"]) == {"A", "B"}
    assert ((scores["tier"] == "A") == (scores["score"] >= 50)).all()


def test_deals_and_holds_are_those_of_the_as_of_date(scorer):
    """Recomputed row by row: the size rolled to the as-of date, visits of the last seven days of tier B."""
    leads, visits, changes = history()
    scores = scorer.score(leads, visits, changes)
    size = scorer.features(leads, visits, changes)["employees"]
    np.testing.assert_array_equal(scores["expected_value"], np.where(size < 100, 10.0, 90.0))
    np.testing.assert_array_equal(scores["value_score"], scores["probability"] * scores["expected_value"])
    held = []
    for lead, tier in zip(leads.itertuples(), scores["tier"], strict=True):
        own = visits[(visits["lead_id"] == lead.lead_id) & (visits["recorded_at"] <= lead.as_of)]
        lately = (own["happened_at"] <= lead.as_of) & (own["happened_at"] > lead.as_of - pd.Timedelta(days=7))
        held.append("was here this week" if tier == "B" and lately.any() else "")
    assert 0 < sum(map(bool, held)) < len(held)
    assert scores["held_back"].tolist() == held


def test_without_deal_values_there_is_no_value_score(scorer):
    scores = dataclasses.replace(scorer, deal_values=None).score(*history(5))
    assert scores[["expected_value", "value_score"]].isna().all(axis=None)


def test_base_and_reasons_add_up_to_the_displayed_score(scorer):
    for row in scorer.score(*history()).itertuples():
        tenths = round(row.base * 10) + sum(round(one["points"] * 10) for one in json.loads(row.reasons))
        assert tenths == round(row.score * 10)


def test_nested_rows_score_as_flat_tables(scorer):
    leads, visits, changes = history()
    pd.testing.assert_frame_equal(
        scorer.score(leads, visits, changes), scorer.predict(nested(leads, visits, changes)), check_exact=True
    )


def test_source_names_score_as_the_scorers_own(scorer):
    leads, visits, changes = history(20)
    raw = leads.rename(columns={"lead_id": "customer", "created_at": "born"})
    pd.testing.assert_frame_equal(scorer.score(raw, visits, changes), scorer.score(leads, visits, changes))


def test_one_by_one_equals_the_batch(scorer):
    leads, visits, changes = history(25)
    batch = scorer.score(leads, visits, changes)
    alone = pd.concat([scorer.score(leads.iloc[[k]], visits, changes) for k in range(25)], ignore_index=True)
    pd.testing.assert_frame_equal(batch, alone, check_exact=True)


def test_nothing_recorded_later_touches_the_score(scorer):
    leads, visits, changes = history()
    limit = visits["lead_id"].map(leads.set_index("lead_id")["as_of"])
    pd.testing.assert_frame_equal(
        scorer.score(leads, visits[visits["recorded_at"] <= limit], changes), scorer.score(leads, visits, changes)
    )


def test_rows_that_cannot_be_scored_come_back_with_the_reason(scorer):
    leads, visits, changes = history(5)
    leads.loc[0, "employees"] = -3
    leads["converted_at"] = pd.Series([None, leads["as_of"][1], None, None, None], dtype="datetime64[us]")
    leads.loc[2, "created_at"] = pd.NaT
    scores = scorer.score(leads, visits, changes)
    assert scores["score"].isna().tolist() == [True, True, True, False, False]
    assert scores["refused"][0] == "employees is below 1"
    assert scores["refused"][1] == "already converted by the as-of date"
    assert "created_at is missing" in scores["refused"][2]
    assert scores["reasons"][:3].tolist() == ["[]"] * 3
    assert scores["lead_id"].tolist() == leads["lead_id"].tolist()


def test_a_table_in_which_no_row_can_be_scored_is_an_answer_too(scorer):
    leads, visits, changes = history(3)
    scores = scorer.score(leads.assign(employees=0.0), visits, changes)
    assert scores["score"].isna().all() and (scores["refused"] == "employees is below 1").all()


def test_flags_name_what_a_reader_should_know(scorer):
    leads, visits, changes = history(4)
    leads.loc[0, "industry"] = "fusion"
    leads.loc[1, "as_of"] = leads.loc[1, "created_at"] + pd.Timedelta(days=200)
    leads.loc[2, "employees"] = np.nan
    flags = scorer.score(leads, visits, changes.iloc[:0])["flags"]
    assert flags.tolist() == ["unseen_category:industry", "age_beyond_training", "missing_input:employees", ""]


def test_a_row_without_a_key_is_refused_and_touches_no_other(scorer):
    leads, visits, changes = history(5)
    clean = scorer.score(leads, visits, changes)
    keyless = pd.concat([leads.iloc[[0]].assign(lead_id=None), leads], ignore_index=True)
    stray = pd.concat([visits, visits.iloc[[0]].assign(lead_id=None)], ignore_index=True)
    got = scorer.score(keyless, stray, changes)
    assert got["refused"][0] == "lead_id is missing"
    pd.testing.assert_frame_equal(got.iloc[1:].reset_index(drop=True), clean)
    assert scorer.score(keyless.iloc[[0]], visits, changes)["score"].isna().all()


def test_a_list_where_a_word_belongs_costs_nobody_else_a_score(scorer):
    rows = nested(*history(4))
    clean = scorer.predict(rows)
    rows["industry"] = [["retail"], *rows["industry"][1:].tolist()]
    rows["employees"] = [*rows["employees"][:1].tolist(), [12], *rows["employees"][2:].tolist()]
    extra = {**rows["activities"][3][0], "kind": ["visit"]}
    rows["activities"] = [*rows["activities"][:3].tolist(), [*rows["activities"][3], extra]]
    got = scorer.predict(rows)
    assert "unseen_category:industry" in got["flags"][0] and got["refused"][1] != ""
    assert got["refused"].eq("").tolist() == [True, False, True, True]
    assert got["probability"][2:].tolist() == clean["probability"][2:].tolist()


def test_history_that_is_no_list_of_records_refuses_that_row_only(scorer):
    rows = nested(*history(4))
    clean = scorer.predict(rows)
    rows["activities"] = [np.nan, "visit", [["visit"]], rows["activities"][3]]
    got = scorer.predict(rows)
    assert got["refused"].tolist() == ["", *["activities is not a list of records"] * 2, ""]
    assert got["probability"][3] == clean["probability"][3]
    rows["activities"] = [None, [], [], []]
    assert (scorer.predict(rows)["refused"] == "").all()


def test_values_score_the_same_whichever_way_they_come_in(scorer):
    """Text from a file, JSON, or floats where pandas found a gap: one lead, one score."""
    leads, visits, changes = history(4)
    spec = json.loads(json.dumps(SPEC))
    spec["profile"][0]["declared"]["missing"] = ["", "-1"]
    spec["profile"][1]["declared"]["missing"] = ["", "unknown"]
    one = dataclasses.replace(scorer, spec=spec)
    leads["employees"], leads["industry"] = [np.nan, 40.0, 7.0, np.nan], ["energy", None, "retail", None]
    none = changes.iloc[:0]
    expected = one.score(leads, visits, none)
    for sizes in (["-1", "40", "7.0", ""], [-1, 40, 7, -1], [-1.0, 40.0, 7.0, None]):
        for words in (["energy", "unknown", "retail", ""], ["energy", None, "retail", np.nan]):
            raw = leads.assign(employees=pd.Series(sizes, dtype=object), industry=pd.Series(words, dtype=object))
            pd.testing.assert_frame_equal(one.score(raw, visits, none), expected)


def test_an_absent_column_is_a_clear_error(scorer):
    leads, visits, changes = history(3)
    with pytest.raises(ScorerError, match="lacks the column\\(s\\) industry; a value may be missing"):
        scorer.score(leads.drop(columns="industry"), visits, changes)
    with pytest.raises(ScorerError, match="activities, changes: lists of records"):
        scorer.predict(leads)


def test_personal_columns_are_optional_and_never_come_back(scorer):
    leads, visits, changes = history(3)
    assert "mail" not in scorer.score(leads, visits, changes)
    assert scorer.score(leads.drop(columns="mail"), visits, changes)["score"].notna().all()


def test_history_that_validation_would_set_aside_counts_for_nothing_and_is_flagged(scorer):
    leads, visits, changes = history(6)
    born, as_of = leads["created_at"], leads["as_of"]
    visits, changes = visits[visits["lead_id"] == "none"], changes[changes["lead_id"] == "none"]
    day = pd.Timedelta(days=1)
    bad = pd.DataFrame(
        [
            ("L0000", "visit", born[0] - 3 * day, born[0] + day),  # before its lead was created
            ("L0001", "visit", born[1] + 2 * day, born[1] + day),  # recorded before it happened
            ("L0002", "visit", pd.NaT, born[2] + day),
            ("L0003", "visit", as_of[3] + 5 * day, as_of[3] + 4 * day),  # at fault, but not known by the as-of date
        ],
        columns=visits.columns,
    )
    wrong = pd.DataFrame(
        [("L0004", "employees", born[4] + day, "40", "-3"), ("L0005", "employees", born[5] + day, "4", "7")],
        columns=changes.columns,
    )
    clean = scorer.score(leads, visits, changes.assign(recorded_at=as_time(changes["recorded_at"])))
    for dirty in (scorer.score(leads, bad, wrong), scorer.predict(nested(leads, bad, wrong))):
        assert dirty["probability"][:5].tolist() == clean["probability"][:5].tolist()
        assert [("history_left_out" in flags) for flags in dirty["flags"]] == [True, True, True, False, True, False]


@pytest.mark.parametrize("damage", ["altered", "missing", "added", "code"])
def test_a_damaged_folder_is_refused_before_it_is_parsed(folder, tmp_path, damage):
    copy = tmp_path / "scorer"
    shutil.copytree(folder, copy)
    tree = next((copy / "data").glob("*.ubj"))
    if damage == "altered":
        tree.write_bytes(tree.read_bytes()[:-1] + b"?")
    elif damage == "missing":
        tree.unlink()
    elif damage == "added":
        (copy / "data" / "extra.json").write_text("{}")
    else:
        code = next((copy / "code").glob("*/tiers.py"))
        code.write_text(code.read_text() + "\n")
    with pytest.raises(ScorerError, match="missing, added or altered"):
        Scorer.load(copy)


def test_the_same_content_is_the_same_bytes(folder, scorer, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    version = model_folder.write(
        again,
        spec=scorer.spec,
        margin=scorer.margin,
        level=scorer.level,
        calibration=scorer.calibration,
        interval=scorer.interval,
        tiers=scorer.tiers,
        grades=scorer.grades,
        deal_values=scorer.deal_values,
    )
    assert version == scorer.version
    ours = {
        file.relative_to(folder): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    theirs = {file.relative_to(again): file.read_bytes() for file in again.rglob("*") if file.is_file()}
    assert ours == theirs


CLEAN = """
import sys
sys.modules["pipeline"] = None  # any import of the training package fails
import json, logging
logging.disable(logging.WARNING)
import mlflow, pandas as pd
rows = pd.DataFrame(json.load(open(sys.argv[2])))
mlflow.pyfunc.load_model(sys.argv[1]).predict(rows).to_json(sys.argv[3], orient="records", double_precision=15,
date_format="iso")
"""


def test_mlflow_loads_the_folder_without_this_package_and_gives_the_same_numbers(folder, scorer, tmp_path):
    leads, visits, changes = history(40)
    rows = nested(leads, visits, changes)
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    (tmp_path / "rows.json").write_text(rows.to_json(orient="records", date_format="iso"))
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PYTHONPATH": ""}
    subprocess.run(
        [sys.executable, "-c", CLEAN, str(copy), str(tmp_path / "rows.json"), str(tmp_path / "out.json")],
        cwd=tmp_path,
        env=environment,
        check=True,
        timeout=120,
    )
    got = pd.DataFrame(json.loads((tmp_path / "out.json").read_text()))
    expected = scorer.score(leads, visits, changes)
    for name in ("score", "probability", "interval_low", "interval_high", "base"):
        np.testing.assert_allclose(got[name], expected[name], atol=1e-9, rtol=0)
    for name in ("lead_id", "reasons", "tier", "flags", "refused", "model_version"):
        assert got[name].tolist() == expected[name].tolist()


# Fit and engagement


def test_fit_and_engagement_are_the_points_of_their_criteria(scorer):
    scores = scorer.score(*history())
    for row in scores.itertuples():
        listed = json.loads(row.reasons)
        for group, points in (("fit", row.fit_points), ("engagement", row.engagement_points)):
            own = sum(round(one["points"] * 10) for one in listed if one["group"] == group)
            assert round(points * 10) == own
    assert set(scores["grade"]) <= {letter + number for letter in "ABC" for number in "12"}
    assert scores["grade"].nunique() > 2


def test_what_stands_behind_a_reason_is_what_the_features_say(scorer):
    leads, visits, changes = history()
    built = scorer.features(leads, visits, changes)
    for place, row in enumerate(scorer.score(leads, visits, changes).itertuples()):
        said = {one["criterion"]: one["text"] for one in json.loads(row.reasons)}
        assert said.get("Industry", "Industry: " + built["industry"][place]) == f"Industry: {built['industry'][place]}"
        if (n := int(built["n_visit_7d"][place])) > 2 and "Visits" in said:
            assert said["Visits"] == f"visited {n} times in 7 days"


# What would change a score


@pytest.fixture(scope="module")
def movable(scorer) -> Scorer:
    """Leads visit, and sales may find out another industry; three tiers."""
    spec = json.loads(json.dumps(scorer.spec))
    spec["profile"][1] |= {"moved_by": "sales"}
    spec["profile"][1]["declared"] |= {"values": ["energy", "retail"]}
    tiers = [{"name": "A", "from": 550}, {"name": "B", "from": 350}, {"name": "C", "from": 0}]
    return dataclasses.replace(scorer, spec=spec, tiers=tiers)


def test_the_smallest_move_is_found_as_by_hand(movable):
    """Every move made in the raw tables, and scored by the scorer's usual way in."""
    leads, visits, changes = (table.copy() for table in history())
    found = movable.what_would_change(leads, visits, changes)
    now = movable.score(leads, visits, changes)
    tried = []
    for times in (1, 2, 3):
        made = leads[["lead_id"]].assign(kind="visit", happened_at=leads["as_of"], recorded_at=leads["as_of"])
        more = pd.concat([visits, *[made] * times], ignore_index=True)
        text = "Visits: once more" if times == 1 else f"Visits: {times} times more"
        tried.append((times, "lead", text, movable.score(leads, more, changes)))
    for value in ("energy", "retail"):
        scores = movable.score(leads.assign(industry=value), visits, changes)
        tried.append((1, "sales", f"Industry: {value}", scores))
    lifted = 0
    for k, row in enumerate(found.itertuples()):
        up = [
            (times, -scores["score"][k], by, text, scores["tier"][k])
            for times, by, text, scores in tried
            if scores["tier"][k] < now["tier"][k]
        ]
        if not up:
            assert row.change == "" and np.isnan(row.score) and row.tier == ""
            continue
        lifted += 1
        times, score, *_ = min(up)
        assert (row.moved_by, row.change, row.tier) in {one[2:] for one in up if one[:2] == (times, score)}
        assert row.score == -score
    assert 20 < lifted < len(leads)


def test_a_move_of_one_row_is_not_seen_by_another_of_the_same_lead(movable):
    leads, visits, changes = history()
    twice = pd.concat([leads, leads.assign(as_of=leads["as_of"] + pd.Timedelta(days=2))], ignore_index=True)
    both = movable.what_would_change(twice, visits, changes)
    pd.testing.assert_frame_equal(both.head(len(leads)), movable.what_would_change(leads, visits, changes))


def test_a_followed_column_is_moved_by_a_change_recorded_at_the_as_of_date(movable):
    """As if `employees` were a category that sales can set."""
    spec = json.loads(json.dumps(movable.spec))
    spec["profile"][0] |= {"moved_by": "sales"}
    spec["profile"][0]["declared"] = {"name": "employees", "type": "boolean"}
    leads, visits, changes = history()
    few = leads[leads["employees"] == 1].index.tolist()[:1] or [0]
    column = next(one for one in moves.moves(spec) if one.column and one.column["name"] == "employees")
    prepared = movable._flat(leads.iloc[few], visits, changes)
    _, after = moves.applied(prepared.rows, moves.apart(prepared.history), column)
    made = after.changes.iloc[-1]
    assert (made["column"], made["new_value"]) == ("employees", "true")
    assert made["recorded_at"] == prepared.rows["as_of"].iloc[0]


def test_a_refused_row_and_a_source_without_moves_have_no_move(movable, scorer):
    leads, visits, changes = history()
    refused = movable.what_would_change(leads.assign(created_at=pd.NaT), visits, changes)
    assert (refused["change"] == "").all() and refused["score"].isna().all()
    spec = json.loads(json.dumps(scorer.spec))
    spec["kinds"][0]["moved_by"] = None
    still = dataclasses.replace(scorer, spec=spec)
    assert (still.what_would_change(leads, visits, changes)["change"] == "").all()
