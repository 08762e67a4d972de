"""The ledger: every score comes out again exactly, from its own entry alone, and none stands twice."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from pipeline.adapters import files, ledger, model_folder
from pipeline.errors import ArtefactError, SourceError
from pipeline.leads.snapshots import rows_at
from pipeline.paths import Workspace
from pipeline.scorer.model import OUTPUT

AS_OF = pd.Timestamp("2024-10-10")


@pytest.fixture(scope="module")
def given(demo_run):
    """A scorer, and the raw rows of 150 leads as of two moments, some of which no score rests on."""
    scorer = model_folder.load(demo_run / "data/calibrate/scorer")
    tables = [
        pd.read_parquet(demo_run / f"data/validate/{name}.parquet") for name in ("leads", "activities", "changes")
    ]
    some = tables[0].loc[tables[0]["created_at"] < AS_OF, "lead_id"].sample(150, random_state=1)
    pairs = pd.concat([pd.DataFrame({"lead_id": some, "as_of": AS_OF + pd.Timedelta(days=k)}) for k in (0, 9)])
    rows = rows_at(tables[0], pairs)
    # One that nobody can score, and one without a size.
    rows.loc[rows.index[3], "employees"] = -5.0
    rows.loc[rows.index[4], "employees"] = float("nan")
    return scorer, rows, tables[1], tables[2]


@pytest.fixture
def kept(given, tmp_path):
    scorer, rows, activities, changes = given
    workspace = Workspace(tmp_path)
    scores = scorer.score(rows, activities, changes)
    for part in (slice(0, 100), slice(100, None)):
        some = rows.iloc[part].reset_index(drop=True)
        ledger.record(workspace, scorer, "a" * 64, scores.iloc[part].reset_index(drop=True), some, activities, changes)
    return workspace, scores


def test_every_score_is_rebuilt_exactly_from_its_entry(given, kept):
    workspace, scores = kept
    entries = pd.concat([pd.read_parquet(path) for path in sorted(ledger.folder(workspace).glob("*.parquet"))])
    assert len(entries) == len(scores) and list(entries.columns) == ledger.COLUMNS
    assert (scores["refused"] != "").any()
    entries = entries.sort_values(["lead_id", "as_of"], ignore_index=True)
    again = given[0].predict(pd.DataFrame([json.loads(text) for text in entries["inputs"]]))
    expected = scores.sort_values(["lead_id", "as_of"], ignore_index=True)
    pd.testing.assert_frame_equal(again, expected, check_exact=True)
    for entry in entries.iloc[::60].to_dict("records"):
        assert ledger.rebuild(given[0], entry)["lead_id"].tolist() == [entry["lead_id"]]


def test_inputs_hold_what_was_recorded_by_then_and_no_personal_column(given, kept):
    workspace, _ = kept
    entries = pd.read_parquet(next(iter(sorted(ledger.folder(workspace).glob("*.parquet")))))
    allowed = {"lead_id", "as_of", "created_at", "converted_at", "lost_at", "activities", "changes"}
    allowed |= {column["name"] for column in given[0].spec["profile"]}
    for entry in entries.to_dict("records"):
        inputs = json.loads(entry["inputs"])
        assert set(inputs) <= allowed
        assert all(pd.Timestamp(one["recorded_at"]) <= entry["as_of"] for one in inputs["activities"])


def test_the_same_scores_again_add_nothing(given, kept):
    workspace, scores = kept
    scorer, rows, activities, changes = given
    before = {path.name: path.read_bytes() for path in ledger.folder(workspace).iterdir()}
    some, first = rows.iloc[:100].reset_index(drop=True), scores.iloc[:100].reset_index(drop=True)
    ledger.record(workspace, scorer, "a" * 64, first, some, activities, changes)
    assert {path.name: path.read_bytes() for path in ledger.folder(workspace).iterdir()} == before
    nothing = scores.iloc[:0]
    assert ledger.record(workspace, scorer, "a" * 64, nothing, rows.iloc[:0], activities, changes) is None


def test_the_same_score_among_other_leads_is_found_once(given, kept):
    workspace, scores = kept
    scorer, rows, activities, changes = given
    some, first = (table.iloc[:7].reset_index(drop=True) for table in (rows, scores))
    assert ledger.record(workspace, scorer, "a" * 64, first, some, activities, changes) is not None
    assert len(ledger.find(workspace, str(first["lead_id"].iloc[0]), AS_OF)) == 1


def test_a_lead_is_found_by_day_or_moment_newest_first(kept):
    workspace, scores = kept
    lead = str(scores["lead_id"].iloc[0])
    found = ledger.find(workspace, lead, None)
    assert found["as_of"].tolist() == [AS_OF + pd.Timedelta(days=9), AS_OF]
    assert len(ledger.find(workspace, lead, AS_OF)) == 1
    with pytest.raises(SourceError, match="the ledger holds 2024-10-19T00:00, 2024-10-10T00:00"):
        ledger.find(workspace, lead, AS_OF + pd.Timedelta(days=1))
    with pytest.raises(SourceError, match="holds no score of lead nobody"):
        ledger.find(workspace, "nobody", None)
    shutil.rmtree(ledger.folder(workspace))
    with pytest.raises(SourceError, match="but with --no-ledger"):
        ledger.find(workspace, lead, None)


def test_an_answer_has_one_hash_whatever_stands_beside_it():
    moments = pd.to_datetime(["2024-01-01", "2024-01-02 10:00", "2024-01-02 10:00:00.5", None], format="ISO8601")
    text = pd.Series(["ü", 'a"b', "", "x"], dtype="str")
    scores = pd.DataFrame(dict.fromkeys(OUTPUT, text)).assign(
        as_of=moments.astype("datetime64[us]"), score=[0.0, -0.0, float("nan"), 1 / 3]
    )
    alone = [ledger.answers(scores.iloc[[k]])[0] for k in range(4)]
    assert ledger.answers(scores) == alone == ledger.answers(scores.iloc[::-1])[::-1]
    assert len(set(alone)) == 4


def test_inputs_are_as_json_writes_them_record_by_record(given):
    scorer, rows, activities, changes = given
    rows = rows.head(60).reset_index(drop=True)
    rows["as_of"] += pd.to_timedelta([0, 3_600, 0.25] * 20, unit="s")
    rows.loc[1, "industry"] = 'a"b\n=\u00fc'
    rows.loc[2, "lead_id"] = None
    rows.loc[3, "as_of"] = pd.NaT

    def plain(value):
        return None if pd.isna(value) else value.isoformat() if isinstance(value, pd.Timestamp) else value

    def records(table, fields, lead):
        own = table[table["lead_id"] == lead] if lead is not None else table.iloc[:0]
        return [{name: plain(one[name]) for name in fields} for one in own[fields].astype(object).to_dict("records")]

    names = ["lead_id", "as_of", "created_at", "converted_at", "lost_at"]
    names += [column["name"] for column in scorer.spec["profile"]]
    expected = []
    for row in rows[names].astype(object).to_dict("records"):
        lead, as_of = plain(row["lead_id"]), row["as_of"]
        own = activities[~(activities["recorded_at"] > as_of)]
        told = {name: plain(value) for name, value in row.items()}
        told["activities"] = records(own, ["kind", "happened_at", "recorded_at"], lead)
        told["changes"] = records(changes, ["column", "recorded_at", "old_value", "new_value"], lead)
        expected.append(json.dumps(told, sort_keys=True, ensure_ascii=False))
    assert ledger._inputs(scorer.spec, rows, activities, changes) == expected


def test_an_entry_that_was_changed_is_found_out(given, kept):
    workspace, scores = kept
    lead = str(scores.loc[scores["refused"] == "", "lead_id"].iloc[0])
    entry = ledger.find(workspace, lead, AS_OF).to_dict("records")[0]
    inputs = json.loads(entry["inputs"])
    inputs["seniority"] = "intern" if inputs["seniority"] != "intern" else "c_level"
    with pytest.raises(ArtefactError, match="cannot be rebuilt"):
        ledger.rebuild(given[0], entry | {"inputs": json.dumps(inputs)})


def test_a_word_that_nobody_knows_is_not_kept_where_the_answer_does_not_need_it(given, tmp_path):
    scorer, rows, activities, changes = given
    fit = rows[(scorer.score(rows, activities, changes)["refused"] == "").to_numpy()]
    some = fit.drop_duplicates("lead_id").iloc[:3].reset_index(drop=True)
    some.loc[1, "campaign"], some.loc[2, "industry"] = "Ada Quux", "Ada Quux"
    named = pd.DataFrame(
        {"lead_id": some["lead_id"][:1], "column": "status", "recorded_at": AS_OF + pd.Timedelta(days=30)}
    )
    known = changes[~changes["lead_id"].isin(some["lead_id"])]
    told = pd.concat([known, named.assign(old_value="new", new_value="Ada Quux")], ignore_index=True)
    scores = scorer.score(some, activities, told)
    assert scores["refused"][0] == "" and "unseen_category:campaign" in scores["flags"][1], scores["refused"].tolist()
    assert scores["refused"][2] == "industry is not among the declared values"
    path = ledger.record(Workspace(tmp_path), scorer, "a" * 64, scores, some, activities, told)
    entries = pd.read_parquet(path)
    assert not entries["inputs"].str.contains("Quux").any()
    assert entries["inputs"].str.contains(ledger.UNSEEN, regex=False).all()
    for entry in entries.to_dict("records"):
        ledger.rebuild(scorer, entry)


def test_a_damaged_file_is_named(kept):
    workspace, scores = kept
    (ledger.folder(workspace) / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtefactError, match="holds a file that is none of the ledger's"):
        ledger.find(workspace, str(scores["lead_id"].iloc[0]), AS_OF)


def test_files_are_the_same_bytes_wherever_they_are_written(given, kept, tmp_path):
    workspace, scores = kept
    scorer, rows, activities, changes = given
    other = Workspace(tmp_path / "elsewhere")
    shuffled = activities.sample(frac=1, random_state=2).sort_values("lead_id", kind="stable")
    some, first = rows.iloc[:100].reset_index(drop=True), scores.iloc[:100].reset_index(drop=True)
    path = ledger.record(other, scorer, "a" * 64, first, some, activities, changes)
    assert path is not None and files.sha256(path) == files.sha256(ledger.folder(workspace) / path.name)
    # In another order the history is the same history.
    assert scorer.score(some, shuffled, changes)["probability"].equals(first["probability"])
