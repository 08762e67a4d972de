"""`leads fit` and `leads predict` on small prepared tables: what is used, what is said, and what comes out."""

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.adapters import files, model_folder
from pipeline.errors import ArtefactError, ContractError, LeadScoringError, ModelError, ParamsError, SourceError
from pipeline.ondemand import prepared
from pipeline.params import load
from pipeline.scoring import members
from tests import lead_files
from tests.workspaces import small_workspace

pytestmark = pytest.mark.slow

TABLE = lead_files.prepared().frame
COLUMNS = [name for name in TABLE if name != "won"]


@pytest.fixture(scope="module")
def params(project_root, tmp_path_factory):
    """Those of a small run, with columns judged by time in tables as small as these."""
    workspace = small_workspace(
        project_root, tmp_path_factory.mktemp("params") / "work", ("min_rows: 1500", "min_rows: 500")
    )
    return load(workspace.params)


@pytest.fixture(scope="module")
def quick(params):
    """As few trials as there can be: one of each family."""
    tune = params.tune.model_dump()
    for family in tune["trials"]:
        tune["trials"][family] = 1
        tune[family]["first"] = tune[family]["first"][:1]
    return params.model_copy(update={"tune": type(params.tune).model_validate(tune)})


def put(folder, frame, name="train.csv", separator=","):
    frame.to_csv(folder / name, index=False, sep=separator)
    return folder / name


def fit(params, train, out, target="won", **options):
    given = {"positive": None, "time_ordered": False, "dropped": [], "seconds": None} | options
    return prepared.fit(params, train, target, out, log=given.pop("log", logging.getLogger("test")), **given)


def predict(params, model, table, out):
    counts = prepared.predict(model, table, out, params)
    return pd.read_csv(out)["probability"].to_numpy(), counts


def used(model):
    return [column["source"] for column in json.loads((model / "data/spec.json").read_text())["profile"]]


def content(folder):
    """Path -> bytes of every file."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def learned(params, tmp_path_factory):
    """A folder with `train.csv`, `model`, learned from all its columns, what was found, and the chances of its rows."""
    folder = tmp_path_factory.mktemp("learned")
    train = put(folder, TABLE)
    found = fit(params, train, folder / "model")
    chances, _ = predict(params, folder / "model", train, folder / "p.csv")
    return SimpleNamespace(train=train, model=folder / "model", found=found, chances=chances)


@pytest.fixture(scope="module")
def plain(quick, tmp_path_factory):
    """As `learned`, with the fewest trials."""
    folder = tmp_path_factory.mktemp("plain")
    train = put(folder, TABLE)
    found = fit(quick, train, folder / "model")
    chances, _ = predict(quick, folder / "model", train, folder / "p.csv")
    return SimpleNamespace(train=train, found=found, chances=chances)


# What comes out


def test_the_folder_is_a_scorer_of_all_columns_but_the_outcome(learned):
    assert used(learned.model) == COLUMNS
    assert learned.found.sentences == []
    spec = json.loads((learned.model / "data/spec.json").read_text())
    assert {column["name"]: column["declared"]["type"] for column in spec["profile"]} == {
        "industry": "category",
        "source": "category",
        "staff": "number",
        "visits": "number",
        "newsletter": "boolean",
        "quarter": "category",
    }
    assert {column["criterion"] for column in spec["profile"]} == set(COLUMNS)
    assert spec["timed"] is False and spec["contract"] == "prepared" and learned.found.version.startswith("prepared-")


def test_chances_are_those_of_the_scorer_on_rows_put_together_by_hand(learned):
    moment = pd.Timestamp("2024-05-01")
    rows = pd.DataFrame(
        {
            "lead_id": [f"lead {k}" for k in range(len(TABLE))],
            "created_at": moment,
            "as_of": moment,
            **{name: TABLE[name].where(TABLE[name] != "") for name in ("industry", "source", "quarter")},
            "staff": pd.to_numeric(TABLE["staff"]),
            "visits": TABLE["visits"].astype(int),
            "newsletter": TABLE["newsletter"] == "yes",
        }
    )
    scored = model_folder.load(learned.model).score(rows)
    np.testing.assert_array_equal(learned.chances, scored["probability"])
    assert (scored["model_version"] == learned.found.version).all()
    assert (learned.chances > 0).all() and (learned.chances < 1).all()


def test_chances_tell_who_converts(learned):
    won = TABLE["won"] == "yes"
    assert learned.chances[won].mean() > learned.chances[~won].mean() + 0.1
    assert learned.chances.mean() == pytest.approx(won.mean(), abs=0.05)


def test_rows_keep_their_order_and_the_outcome_may_be_absent(params, learned, tmp_path):
    order = np.random.default_rng(2).permutation(len(TABLE))
    shuffled = put(tmp_path, TABLE.iloc[order].drop(columns="won")[COLUMNS[::-1]])
    chances, counts = predict(params, learned.model, shuffled, tmp_path / "p.csv")
    np.testing.assert_array_equal(chances, learned.chances[order])
    assert counts == (len(TABLE), 0)
    alone, _ = predict(params, learned.model, put(tmp_path, TABLE.iloc[[5]], "one.csv"), tmp_path / "p.csv")
    assert alone.tolist() == [learned.chances[5]]


def test_words_that_training_never_saw_have_a_chance_and_a_number_that_is_none_has_not(params, learned, tmp_path):
    rows = TABLE.head(6).copy()
    rows.loc[0, "industry"] = "Fishing"
    rows.loc[1, "source"] = ""
    rows.loc[2, "visits"] = "many"
    chances, counts = predict(params, learned.model, put(tmp_path, rows), tmp_path / "p.csv")
    assert counts == (5, 1)
    assert np.isnan(chances).tolist() == [False, False, True, False, False, False]
    np.testing.assert_array_equal(chances[3:], learned.chances[3:6])
    assert (tmp_path / "p.csv").read_text().splitlines()[3] == '""'


def test_the_same_table_makes_the_same_bytes(params, learned, tmp_path):
    again = fit(params, put(tmp_path, TABLE, "copy.csv"), tmp_path / "again")
    assert again == learned.found
    assert content(tmp_path / "again") == content(learned.model)


def test_semicolons_and_decimal_commas_are_another_spelling_of_the_same_table(params, learned, tmp_path):
    german = TABLE.assign(staff=TABLE["staff"].str.replace(".", ",", regex=False))
    train = put(tmp_path, german, separator=";")
    found = fit(params, train, tmp_path / "model")
    assert found.version == learned.found.version
    for table in (train, learned.train):
        chances, _ = predict(params, tmp_path / "model", table, tmp_path / "p.csv")
        np.testing.assert_array_equal(chances, learned.chances)


# Outcomes


@pytest.mark.parametrize(
    ("words", "positive"), [(("yes", "no"), "yes"), (("1", "0"), None), (("True", "False"), None), (("a", "b"), "a")]
)
def test_outcomes_in_any_two_words(quick, plain, tmp_path, words, positive):
    outcome = np.where(TABLE["won"] == "yes", *words)
    found = fit(quick, put(tmp_path, TABLE.assign(won=outcome)), tmp_path / "m", positive=positive)
    assert found.version == plain.found.version


def test_positive_says_which_of_two_outcomes_is_scored(quick, tmp_path):
    train = put(tmp_path, TABLE)
    fit(quick, train, tmp_path / "m", positive="no")
    chances, _ = predict(quick, tmp_path / "m", train, tmp_path / "p.csv")
    assert chances.mean() == pytest.approx((TABLE["won"] == "no").mean(), abs=0.05)


def test_rows_without_an_outcome_are_left_out_and_said(quick, tmp_path):
    gaps = TABLE.assign(won=TABLE["won"].where(TABLE.index % 7 != 0, ""))
    found = fit(quick, put(tmp_path, gaps), tmp_path / "m")
    assert len(found.sentences) == 1 and found.sentences[0].startswith("100 of 700 rows are refused and left out")


# What is used, and what is said


def test_dropped_columns_and_those_that_tell_when_are_left_out_and_no_others(quick, tmp_path):
    train = put(tmp_path, TABLE)
    found = fit(quick, train, tmp_path / "m", time_ordered=True, dropped=["newsletter", "visits"])
    assert used(tmp_path / "m") == ["industry", "source", "staff"]
    assert len(found.sentences) == 1
    assert found.sentences[0].startswith("`quarter` left out: its place in time explains ")
    assert json.loads((tmp_path / "m/data/spec.json").read_text())["timed"] is True
    # Neither is asked for when rows are scored.
    table = put(tmp_path, TABLE[["industry", "source", "staff"]], "table.csv")
    chances, counts = predict(quick, tmp_path / "m", table, tmp_path / "p.csv")
    assert counts == (len(TABLE), 0) and not np.isnan(chances).any()


def test_a_column_that_knows_the_outcome_is_named_and_used_all_the_same(quick, tmp_path):
    told = np.where(TABLE["won"] == "yes", "signed", "closed")
    found = fit(quick, put(tmp_path, TABLE.assign(status=told)), tmp_path / "m")
    assert "status" in used(tmp_path / "m")
    (said,) = [said for said in found.sentences if "status" in said]
    assert said.startswith("`status` looks like a leak (") and said.endswith("it is used all the same")


def test_columns_without_a_signal_give_every_row_the_base_rate(params, tmp_path):
    random = np.random.default_rng(4)
    noise = pd.DataFrame({"a": random.normal(size=600).round(3), "b": random.choice(["x", "y", "z"], 600)})
    train = put(tmp_path, noise.assign(won=random.choice([0, 1], 600, p=[0.6, 0.4])))
    found = fit(params, train, tmp_path / "m")
    assert any(said.startswith("NO SIGNAL: ") for said in found.sentences)
    chances, _ = predict(params, tmp_path / "m", train, tmp_path / "p.csv")
    assert np.ptp(chances) == 0
    assert chances[0] == pytest.approx(pd.read_csv(train)["won"].mean(), abs=0.02)


def test_few_conversions_are_said(quick, tmp_path):
    found = fit(quick, put(tmp_path, TABLE.head(200)), tmp_path / "m")
    assert found.trials == 2  # the first of each logistic family
    assert any(said.startswith("few conversions: a shrunken search; about ") for said in found.sentences)


def test_columns_may_have_the_names_that_a_scorer_uses_itself(quick, plain, tmp_path):
    names = dict(zip(COLUMNS, ["lead_id", "created_at", "as_of", "label", "row_number", "converted_at"], strict=True))
    taken = put(tmp_path, TABLE.rename(columns=names))
    fit(quick, taken, tmp_path / "m")
    assert used(tmp_path / "m") == list(names.values())
    chances, _ = predict(quick, tmp_path / "m", taken, tmp_path / "p.csv")
    np.testing.assert_array_equal(chances, plain.chances)
    lacking = put(tmp_path, TABLE.rename(columns=names).drop(columns="created_at"), "lacking.csv")
    with pytest.raises(ModelError, match=r"lacks the column\(s\) created_at"):
        predict(quick, tmp_path / "m", lacking, tmp_path / "p.csv")


def test_where_such_columns_are_dropped_rows_to_be_scored_may_have_them_or_not(quick, plain, tmp_path):
    names = ["lead_id", "created_at", "as_of", "row_number"]
    more = put(tmp_path, TABLE.assign(**dict.fromkeys(names, "7")))
    fit(quick, more, tmp_path / "m", dropped=names)
    for table in (more, plain.train):
        chances, _ = predict(quick, tmp_path / "m", table, tmp_path / "p.csv")
        np.testing.assert_array_equal(chances, plain.chances)
    named = put(tmp_path, TABLE.rename(columns={"won": "lead_id"}), "named.csv")
    fit(quick, named, tmp_path / "named", target="lead_id")
    for table in (named, plain.train):
        chances, _ = predict(quick, tmp_path / "named", table, tmp_path / "p.csv")
        np.testing.assert_array_equal(chances, plain.chances)


def test_rows_that_would_not_be_scored_are_not_learned_from(quick, tmp_path):
    few = TABLE.assign(visits=TABLE["visits"].where(TABLE.index % 10 != 0, "1e300"))
    found = fit(quick, put(tmp_path, few), tmp_path / "m")
    assert found.sentences == [
        "70 of 700 rows are refused and left out; commonest: visits is infinite or beyond 3.4e+38"
    ]
    chances, counts = predict(quick, tmp_path / "m", tmp_path / "train.csv", tmp_path / "p.csv")
    assert counts == (630, 70) and np.isnan(chances[::10]).all()


# Seconds


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def test_a_search_that_ends_by_the_clock_has_tried_every_family(params, tmp_path):
    log, lines = logging.Logger("clock"), Lines()
    log.addHandler(lines)
    found = fit(params, put(tmp_path, TABLE), tmp_path / "m", seconds=0.001, log=log)
    trials = [said for said in lines.said if said.startswith("trial ")]
    planned = prepared.MANY * sum(params.tune.trials.values())
    assert found.trials == len(trials) == len(params.tune.trials)
    for family, said in zip(sorted(params.tune.trials), sorted(trials, key=lambda one: one.split()[4]), strict=True):
        assert f" of {planned}: {family} " in said
    chances, _ = predict(params, tmp_path / "m", tmp_path / "train.csv", tmp_path / "p.csv")
    assert np.ptp(chances) > 0


def test_with_time_left_a_search_goes_on_beyond_its_count(params, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "MANY", 2)
    found = fit(quick, put(tmp_path, TABLE), tmp_path / "m", seconds=3600)
    assert found.trials == 2 * sum(quick.tune.trials.values())


# What goes wrong


THREE = TABLE.assign(won=np.where(TABLE.index % 5 == 0, "perhaps", TABLE["won"]))
MAIL = TABLE.assign(contact=[f"a{k}@firm.example" for k in range(len(TABLE))])
FAULTS = {
    "no target": (TABLE, {"target": "converted"}, ParamsError, "has no column converted; it has industry, source"),
    "no such drop": (TABLE, {"dropped": ["city"]}, ParamsError, "has no column city"),
    "target dropped": (TABLE, {"dropped": ["won"]}, ParamsError, "--drop leaves out won, which holds the outcome"),
    "nothing left": (TABLE, {"dropped": COLUMNS}, ContractError, "nothing to learn from"),
    "three values": (THREE, {}, ParamsError, "column won has 3 values; an outcome has two"),
    "one value": (TABLE.assign(won="yes"), {}, ParamsError, "column won has 1 values"),
    "which value": (
        TABLE,
        {"target": "two"},
        ParamsError,
        "which value of two means converted, a or b? Say it with",
    ),
    "other value": (TABLE, {"positive": "Yes"}, ParamsError, "values no and yes; Yes is not among them"),
    "no rows": (TABLE.head(0), {}, SourceError, "has no rows below its header"),
    "personal": (MAIL, {}, SourceError, "700 of 700 rows are refused and left out; commonest: column `contact` holds"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_fitted_is_one_sentence_and_leaves_nothing_behind(quick, tmp_path, fault):
    frame, options, error, said = FAULTS[fault]
    if fault == "which value":
        frame = frame.assign(two=np.resize(["a", "b"], len(frame)))
    train = put(tmp_path, frame)
    with pytest.raises(error) as raised:
        fit(quick, train, tmp_path / "m", **options)
    assert said in str(raised.value)
    assert list(tmp_path.iterdir()) == [train]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b,won\n1,2,yes\n3,4,no,5\n5,6,no\n", "1 lines cannot be read; a prepared table is whole"),
        (b"a,a,won\n1,2,yes\n3,4,no\n", "names `a` more than once"),
        (b"", "is empty"),
        (None, "No such file or directory"),
        ("folder", "is a folder; name the table's file"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(quick, learned, tmp_path, content, said):
    path = tmp_path / "table.csv"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    before = list(tmp_path.iterdir())
    for act in (
        lambda: fit(quick, path, tmp_path / "m"),
        lambda: prepared.predict(learned.model, path, tmp_path / "p.csv", quick),
    ):
        with pytest.raises(SourceError) as error:
            act()
        assert said in str(error.value)
    assert list(tmp_path.iterdir()) == before


def test_a_folder_that_exists_or_cannot_be_made_is_said_before_any_work(quick, learned, tmp_path):
    with pytest.raises(ParamsError, match="exists; name a new folder"):
        fit(quick, tmp_path / "nothing.csv", learned.model)
    with pytest.raises(ArtefactError, match="cannot be written"):
        fit(quick, tmp_path / "nothing.csv", learned.train / "m")


def test_a_fit_that_breaks_leaves_nothing_behind(quick, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise KeyboardInterrupt

    for place, name in ((members, "fit"), (files, "write_json")):
        train = put(tmp_path, TABLE)
        with monkeypatch.context() as patched:
            patched.setattr(place, name, broken)
            with pytest.raises(KeyboardInterrupt):
                fit(quick, train, tmp_path / "m")
        assert list(tmp_path.iterdir()) == [train], name


def test_one_conversion_is_not_enough(quick, tmp_path):
    lone = TABLE.assign(won=np.where(TABLE.index == 300, "yes", "no"))
    with pytest.raises(LeadScoringError, match="it needs both outcomes") as error:
        fit(quick, put(tmp_path, lone), tmp_path / "m", time_ordered=True)
    assert error.value.exit_code == 7


@pytest.mark.parametrize(
    ("altered", "why"),
    [
        ("data/margin.json", "missing, added or altered: data/margin.json"),
        ("data/spec.json", "missing, added or altered: data/spec.json"),
        ("code/more.py", "code/more.py: no scorer has a file of this name"),
    ],
)
def test_an_altered_model_scores_nothing(quick, learned, tmp_path, altered, why):
    shutil.copytree(learned.model, tmp_path / "model")
    with open(tmp_path / "model" / altered, "a") as file:
        file.write(" ")
    with pytest.raises(ModelError, match=why):
        prepared.predict(tmp_path / "model", learned.train, tmp_path / "p.csv", quick)
    assert not (tmp_path / "p.csv").exists()


def test_rows_that_a_model_cannot_use(quick, learned, tmp_path):
    with pytest.raises(ModelError, match=r"lacks the column\(s\) staff, visits; a value may be missing"):
        lacking = put(tmp_path, TABLE.drop(columns=["staff", "visits"]))
        prepared.predict(learned.model, lacking, tmp_path / "p.csv", quick)
    with pytest.raises(ModelError):
        prepared.predict(tmp_path, learned.train, tmp_path / "p.csv", quick)
    before = learned.train.read_bytes()
    with pytest.raises(ParamsError, match="is the table to be read; name another one"):
        prepared.predict(learned.model, learned.train, Path(learned.train.parent, ".", "train.csv"), quick)
    assert learned.train.read_bytes() == before
    assert not (tmp_path / "p.csv").exists()
