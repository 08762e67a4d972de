"""Scoring files: every row comes out with a score, a reason, or in a note; and changed results are refused."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import params as params_module
from pipeline.adapters import batch, files, model_folder, score_export
from pipeline.adapters.sources import Given
from pipeline.errors import ArtefactError, ModelError, SourceError
from pipeline.leads import specification
from pipeline.paths import Workspace
from pipeline.scorer import Scorer
from pipeline.scorer.calibration import Calibration, Interval
from pipeline.scorer.margin import Encoder, Margin
from pipeline.scorer.model import OUTPUT
from tests import fake_results, small_history

NO_TIME = "is not an ISO 8601 date or time (if the file uses another form, declare it as the column's `format`)"
NOW = pd.Timestamp("2024-02-20")
LEADS = """id,made,won,lost,phone,tax_id,employees,revenue,industry,opted_in,notes
L1,2024-01-01,,,1,T1,10,0,retail,yes,
L2,2024-01-02,,,1,T2,,1.5,retail,no,call back
"""
ACTIVITIES = "aid,of,what,when,noted\nA1,L1,visit,2024-01-05,2024-01-05\n"
CHANGES = "of,which,noted,was,is\nL1,employees,2024-01-10,5,10\n"


def flag_contract():
    """The same history, where an outcome is a flag: a row that has one is decided."""
    columns = {
        "won": {"type": "category", "not_before": None, "not_with": None},
        "lost": {"role": "ignored", "type": None, "known_at": None, "not_before": None, "reason": "none"},
    }
    outcome = {"kind": "flag", "column": "won", "positive": "yes", "horizon_days": 0}
    return small_history.resolved({"outcome": outcome, "activities": None, "changes": None}, **columns)


@pytest.fixture(scope="module")
def folder(project_root, tmp_path_factory):
    """A scorer that every lead gets the same score from."""
    folder = tmp_path_factory.mktemp("model") / "scorer"
    folder.mkdir()
    settings = params_module.load(project_root / "params.yaml").featurize
    spec, tables = specification.specify(small_history.resolved(), settings), small_history.tables()
    blank = Margin(Encoder.fit(pd.DataFrame()), [], [], 0.0, np.zeros(0))
    builder = Scorer(
        spec, blank, 0.0, Calibration("none", 0.0, 1.0, 1.0), Interval(0.9, [], [], []), [], {}, None, "none"
    )
    features = builder.features(tables["leads"].assign(as_of=NOW), tables["activities"], tables["changes"])
    model_folder.write(
        folder,
        spec=spec,
        margin=Margin(Encoder.fit(features), [], [], 0.0, np.zeros(features.shape[1])),
        level=-1.0,
        calibration=Calibration("none", 0.0, 1.0, 1.0),
        interval=Interval(0.9, [0.0], [-0.1], [0.1]),
        tiers=[{"name": "A", "from": 0}],
        grades={},
    )
    return folder


@pytest.fixture(scope="module")
def scorer(folder):
    return model_folder.load(folder)


@pytest.fixture
def score(scorer, tmp_path):
    """Score tables given as text; None: no such file."""

    def run(leads=LEADS, activities=ACTIVITIES, changes=CHANGES, resolved=None, as_of=NOW):
        given = {}
        for name, text in (("leads", leads), ("activities", activities), ("changes", changes)):
            if text is not None:
                (tmp_path / f"{name}.csv").write_text(text)
                given[name] = Given.of(tmp_path / f"{name}.csv")
        work = Path(tempfile.mkdtemp(dir=tmp_path))
        result = batch.score_files(
            scorer, resolved or small_history.resolved(), given, work, as_of=as_of, now=NOW, max_bytes=2**20
        )
        score_export.export(result, tmp_path / "out.csv", 3)
        written = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
        assert [name for name in written if name != "top_reasons"] == OUTPUT
        assert list(result.scores) == OUTPUT and result.scores["as_of"].dtype == "datetime64[us]"
        assert len(written) == len(result.scores) == result.scored + result.refused
        return result

    return run


def reasons(result) -> list[tuple[str, str]]:
    scores = result.scores.fillna({"lead_id": ""})
    return list(zip(scores["lead_id"], scores["refused"], strict=True))


def test_clean_tables_are_scored_without_a_note(score):
    result = score()
    assert reasons(result) == [("L1", ""), ("L2", "")]
    assert result.notes == []
    assert result.scores["score"].tolist() == [26.9, 26.9]


def test_where_every_lead_is_decided_each_is_listed(score):
    decided = LEADS.replace("2024-01-01,,", "2024-01-01,no,").replace("2024-01-02,,", "2024-01-02,yes,")
    result = score(decided, None, None, resolved=flag_contract())
    assert reasons(result) == [("L1", "already decided"), ("L2", "already decided")]
    assert result.scores["as_of"].tolist() == [NOW, NOW]
    assert result.scores["reasons"].tolist() == ["[]", "[]"]
    closed = LEADS.replace("2024-01-01,,", "2024-01-01,2024-02-01,").replace("2024-01-02,,", "2024-01-02,,2024-02-01")
    assert score(closed.replace("2024-02-01,,1", "2024-02-01,1")).scored == 0


def test_where_no_line_can_be_read_each_is_listed_without_a_moment(score):
    result = score(LEADS.replace("2024-01-0", "January 0"))
    assert reasons(result) == [
        ("L1", f"line 2: column `made` {NO_TIME}"),
        ("L2", f"line 3: column `made` {NO_TIME}"),
    ]
    assert result.scores["as_of"].isna().all()
    broken = score(LEADS + "L3,2024\n")
    assert reasons(broken) == [("L1", ""), ("L2", ""), ("", "line 4: 2 fields where the header has 11")]


def test_tables_without_rows(score):
    with pytest.raises(SourceError, match="has no rows below its header; there is nothing to do"):
        score(LEADS.splitlines()[0] + "\n")
    result = score(activities=ACTIVITIES.splitlines()[0] + "\n", changes=CHANGES.splitlines()[0] + "\n")
    assert (result.scored, result.notes) == (2, [])


def test_a_missing_file_of_history_is_noted(score):
    assert score(activities=None, changes=None).notes == [
        "no --activities given: every lead is scored as one that nothing has happened to",
        "no --changes given: today's values stand in for those at the as-of date",
    ]


def test_differing_rows_of_one_lead_and_moment_are_refused_and_copies_noted(score):
    first, second = LEADS.splitlines()[1:]
    differing = first.replace(",10,", ",11,")
    result = score(LEADS + f"{second}\n{second}\n{differing}\n")
    said = "lead_id stands in another row too, for the same as_of"
    assert reasons(result) == [("L2", ""), ("L1", said), ("L1", said)]
    assert result.notes == ["leads: 2 rows that copy a row above, left out; the first of each counts"]


def test_one_lead_at_two_moments_is_scored_twice(score):
    header, first, _ = LEADS.splitlines()
    result = score(f"{header},as_of\n{first},2024-01-20\n{first},2024-01-21\n", as_of=None)
    assert (result.scored, result.refused, result.notes) == (2, 0, [])


def test_history_that_no_score_rests_on_is_counted(score):
    activities = (
        ACTIVITIES.replace("noted\n", "noted,by\n").replace("-05\n", "-05,x\n")
        + "A1,L1,visit,2024-01-05,2024-01-05,x\n"  # a copy
        + "A2,L1,visit,2024-01-06,2024-01-06,x\nA2,L1,call,2024-01-06,2024-01-06,x\n"  # which is right?
        + ",L1,visit,2024-01-07,2024-01-07,x\n"
        + "A3,L9,visit,2024-01-07,2024-01-07,x\n"
        + "A4,,visit,2024-01-07,2024-01-07,x\n"
        + "A5,L1,dance,2024-01-07,2024-01-07,x\n"
        + "A6,L1,visit,soon,2024-01-07,x\nA7,L1\n"
    )
    changes = CHANGES + "L9,employees,2024-01-10,5,10\nL1,mood,2024-01-10,5,10\nL1,employees,then,5,10\n"
    result = score(
        LEADS.replace("notes\n", "notes,mood\n").replace("yes,", "yes,,").replace("back", "back,"), activities, changes
    )
    assert result.notes == [
        "leads: 1 column that the contract does not name, not read: mood",
        "activities: 1 column that the contract does not name, not read: by",
        f"activities: 2 rows refused and left out; commonest: 1 x column `when` {NO_TIME}; "
        "1 x 2 fields where the header has 6",
        "activities: 1 row without an id, left out",
        "activities: 1 row that copy a row above, left out",
        "activities: 2 rows whose id stands in another row too, left out",
        "activities: 1 row without a lead, left out",
        "activities: 1 row of leads that are not in the file, left out",
        "activities: 1 row of a kind that the contract does not declare, left out",
        "changes: 2 rows refused and left out; commonest: 1 x column is not among those whose changes are kept; "
        f"1 x column `noted` {NO_TIME}",
        "changes: 1 row of leads that are not in the file, left out",
    ]


def test_what_the_scorer_cannot_use_is_an_error_of_ours(scorer, folder, tmp_path):
    # The class is that of the code in the folder, which this package cannot name.
    assert type(scorer).__module__.startswith("scorer_")
    with (
        pytest.raises(ModelError, match=r"^new\.csv: input lacks the column\(s\)") as caught,
        model_folder.asking(scorer, "new.csv"),
    ):
        scorer.score(pd.DataFrame({"lead_id": ["L1"]}))
    assert caught.value.exit_code == 9
    (tmp_path / "data").mkdir()
    with pytest.raises(ModelError, match=r"data/manifest\.json: missing"):
        model_folder.load(tmp_path)


def test_results_that_were_changed_are_not_scored(scorer, project_root, tmp_path):
    workspace = fake_results.write(tmp_path / "project", project_root)
    files.write_json(workspace.path("ingest/contract.json"), {})
    with pytest.raises(ArtefactError, match="is not what stage ingest wrote"):
        batch.score_open(scorer, workspace, "demo")
    with pytest.raises(ArtefactError, match=r"manifest\.json is missing"):
        batch.score_open(scorer, Workspace(tmp_path), "demo")


def test_reasons_in_words():
    told = [("visited the pricing page twice in 7 days", 12.3), ("Company size: 12 people", -3.1)]
    text = json.dumps([{"criterion": "", "group": "fit", "points": points, "text": words} for words, points in told])
    assert score_export.in_words(text, 1) == "+12.3 visited the pricing page twice in 7 days"
    assert (
        score_export.in_words(text, 3) == "+12.3 visited the pricing page twice in 7 days; -3.1 Company size: 12 people"
    )
    assert score_export.in_words("[]", 3) == ""
