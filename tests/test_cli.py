"""The `leads` command as a person types it."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pipeline import cli, process
from pipeline.adapters import demo_files, files, registry, tracking
from pipeline.errors import RegistryError
from pipeline.params import load
from pipeline.paths import Workspace
from pipeline.scorer import ScorerError, model
from tests import fake_results, lead_files
from tests.workspaces import small_workspace

pytestmark = pytest.mark.slow

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def copy(demo_run, tmp_path_factory):
    """The demo run moved to another folder: models must load there, from anywhere."""
    root = tmp_path_factory.mktemp("moved") / "project"
    shutil.copytree(demo_run, root)
    return root


@pytest.fixture(scope="module")
def raw(demo_run, tmp_path_factory):
    """The demo log as raw CSV files."""
    folder = tmp_path_factory.mktemp("raw")
    params = load(demo_run / "params.yaml")
    demo_files.export(params.ingest.demo, params.run.seed, folder)
    return folder


@pytest.fixture
def apart(copy):
    """Run `leads ARGS` inside the copied project, in a process of its own; returns (exit code, standard output,
    standard error)."""

    def run(*arguments: object):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
            cwd=copy,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def leads(copy, monkeypatch, capsys):
    """The same in this process, which has imported by now what takes a command most of its seconds."""

    def run(*arguments: object, cwd=copy):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["leads", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def thousand(demo_run, raw, tmp_path_factory):
    """A thousand raw lead rows at test as-of dates, and what `evaluate` holds for them."""
    expected = pd.read_parquet(demo_run / "data/evaluate/scores.parquet").sort_values(["lead_id", "as_of"]).head(1000)
    lines = pd.read_csv(raw / "leads.csv", dtype=str, keep_default_na=False)
    lines = lines.drop_duplicates("lead_id").merge(expected[["lead_id", "as_of"]], on="lead_id")
    path = tmp_path_factory.mktemp("thousand") / "leads.csv"
    lines.assign(as_of=lines["as_of"].dt.strftime("%Y-%m-%dT%H:%M:%S")).to_csv(path, index=False)
    return path, expected


NUMBERS = ["score", "probability", "interval_low", "interval_high", "base", "fit_points", "engagement_points"]


def test_raw_rows_score_as_evaluate_scored_them(apart, thousand, raw, tmp_path):
    path, expected = thousand
    code, out, err = apart(
        "score",
        path,
        "--activities",
        raw / "activities.csv",
        "--changes",
        raw / "changes.csv",
        "--model",
        "challenger",
        "--out",
        tmp_path / "scores.csv",
    )
    assert code == 0, err
    assert "1,000 leads scored, 0 listed without a score" in out
    got = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False, parse_dates=["as_of"])
    got = got.sort_values(["lead_id", "as_of"])
    for name in NUMBERS:
        np.testing.assert_allclose(got[name].astype("float64"), expected[name], atol=1e-9, rtol=0)
    for name in ("lead_id", "tier", "grade", "reasons"):
        assert got[name].tolist() == expected[name].tolist()
    # Raw history holds rows that validation set aside; the scorer leaves them out as well, and says so.
    assert got["flags"].str.contains("history_left_out").any()


def test_what_would_change_a_score_is_named_where_a_tier_is_left_to_reach(leads, thousand, raw, tmp_path):
    path, _ = thousand
    few = pd.read_csv(path, dtype=str, keep_default_na=False).head(60)
    few.to_csv(tmp_path / "few.csv", index=False)
    history = ("--activities", raw / "activities.csv", "--changes", raw / "changes.csv")
    out = tmp_path / "scores.csv"
    code, _, err = leads(
        "score", tmp_path / "few.csv", *history, "--model", "challenger", "--what-would-change", "--out", out
    )
    assert code == 0, err
    got = pd.read_csv(out, keep_default_na=False)
    named = got[got["change"] != ""]
    assert len(named) > 5
    assert set(named["change_by"]) <= {"lead", "sales"}
    assert (named["change_tier"] < named["tier"]).all()
    assert (named["change_score"].astype("float64") > named["score"].astype("float64")).all()
    assert (got.loc[got["tier"] == "A", "change"] == "").all()


PYFUNC = """
import sys
sys.modules["pipeline"] = None
import json, logging
logging.disable(logging.WARNING)
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/lead-scoring-demo@challenger")
model.predict(pd.read_json(sys.argv[2], orient="records", dtype=False)).to_json(sys.argv[3], orient="records",
double_precision=15)
"""


def test_the_registered_model_scores_the_same_without_this_package(leads, copy, demo_run, thousand, tmp_path):
    _, expected = thousand
    assert leads("models")[0] == 0  # re-homes the moved store
    tables = {
        name: pd.read_parquet(demo_run / f"data/validate/{name}.parquet") for name in ("leads", "activities", "changes")
    }
    rows = expected[["lead_id", "as_of"]].merge(tables["leads"].drop(columns="row"), on="lead_id", how="left")
    for name in ("activities", "changes"):
        mine = tables[name][tables[name]["lead_id"].isin(rows["lead_id"])].drop(columns="row")
        records = {
            key: json.loads(part.to_json(orient="records", date_format="iso")) for key, part in mine.groupby("lead_id")
        }
        rows[name] = [records.get(key, []) for key in rows["lead_id"]]
    rows.to_json(tmp_path / "rows.json", orient="records", date_format="iso", double_precision=15)
    subprocess.run(
        [
            sys.executable,
            "-c",
            PYFUNC,
            f"sqlite:///{copy}/mlruns/mlflow.db",
            str(tmp_path / "rows.json"),
            str(tmp_path / "out.json"),
        ],
        cwd=tmp_path,
        check=True,
        timeout=300,
        env=os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
    )
    got = pd.DataFrame(json.loads((tmp_path / "out.json").read_text()))
    for name in NUMBERS:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-9, rtol=0)
    assert got["reasons"].tolist() == expected["reasons"].tolist()


def test_approve_makes_a_champion_that_scores_from_any_folder_below(leads, copy, raw, tmp_path):
    code, _, err = leads("score", raw / "leads.csv", "--out", tmp_path / "none.csv")
    assert code == 8 and "no version of lead-scoring-demo is champion yet" in err
    code, out, err = leads("approve", "1", "--by", "A. Reviewer", "--note", "first", cwd=copy / "data")
    assert code == 0, err
    assert "version 1 is champion of demo, approved by A. Reviewer" in out
    code, out, _ = leads("models")
    assert code == 0 and "champion" in out and "A. Reviewer" in out
    code, out, _ = leads("approve", "1", "--by", "B. Reviewer", "--note", "again")
    assert code == 0 and "champion of demo already; nothing was changed" in out
    code, _, err = leads("approve", "7", "--by", "A. Reviewer", "--note", "no such")
    assert code == 8 and "has no version 7; it has 1" in err
    code, out, err = leads("score", "--open", "--out", tmp_path / "open.csv", cwd=copy / "data" / "tune")
    assert code == 0, err
    ranked = pd.read_csv(tmp_path / "open.csv", keep_default_na=False)
    assert ranked["probability"].astype(float).is_monotonic_decreasing
    assert ranked["lead_id"].is_unique


@pytest.fixture(scope="module")
def two(demo_run, tmp_path_factory):
    """The demo run with a second version that differs in one thing: its first tier begins five points higher."""
    root = tmp_path_factory.mktemp("two") / "project"
    shutil.copytree(demo_run, root)
    store = tracking.open_store(Workspace(root))
    first = registry.find(store, "demo", 1)
    folder = shutil.copytree(root / "data/calibrate/scorer", root / "second")
    calibration = files.read_json(folder / "data/calibration.json")
    calibration["tiers"][0]["from"] += 50
    files.write_json(folder / "data/calibration.json", calibration)
    version = model.version_of("demo", model.content(folder))
    (code,) = (folder / "code").iterdir()
    code.rename(code.with_name(f"scorer_{version.rsplit('-', 1)[1]}"))
    (folder / "MLmodel").write_text(
        (folder / "MLmodel").read_text().replace(code.name, version.replace("demo-", "scorer_"))
    )
    manifest = {"format": model.FORMAT, "version": version, "files": model.content(folder)}
    files.write_json(folder / "data/manifest.json", manifest)
    run = store.client.create_run(store.experiment("demo"))
    store.client.log_artifacts(run.info.run_id, str(folder), registry.SCORER)
    tags = {"scorer": files.sha256(folder), "gate": "passed", registry.AGAINST: first.scorer}
    with store.lock():
        registry.register(store, "demo", run.info.run_id, tags)
    return root


def test_diff_finds_the_one_thing_that_differs_between_two_versions(two, monkeypatch, tmp_path):
    monkeypatch.chdir(two)
    got = RUNNER.invoke(cli.app, ["diff", "1", "challenger", "--leads", "300", "--out", str(tmp_path / "diff")])
    assert got.exit_code == 0, got.output
    table = pd.read_csv(tmp_path / "diff/leads.csv", keep_default_na=False)
    assert len(table) == 300 and table["lead_id"].is_unique
    assert (table["first_score"] == table["second_score"]).all()
    # By another route: who stands in the first tier, and below its new beginning.
    tiers = files.read_json(two / "data/calibrate/scorer/data/calibration.json")["tiers"]
    score, start = (table["first_score"].astype(float) * 10).round(), tiers[0]["from"]
    moved = ((score >= start) & (score < start + 50)).sum()
    assert moved > 0
    assert f"{moved} of 300 leads move tier: 0 up, {moved} down; scores differ by 0.0 points" in got.output
    counts = pd.read_csv(tmp_path / "diff/tiers.csv")
    assert counts["leads"].sum() == 300
    assert counts.loc[counts["direction"] == "down", "leads"].tolist() == [moved]
    again = RUNNER.invoke(cli.app, ["diff", "1", "1"])
    for words in ("Data: nothing differs", "Settings: nothing differs", "Metrics: nothing differs", "0 of "):
        assert words in again.output


def test_approve_reject_and_rollback_are_told_by_the_log(two, monkeypatch):
    monkeypatch.chdir(two)
    (two / "params.yaml").write_text((two / "params.yaml").read_text().replace("approvals: 1", "approvals: 2"))

    def act(*arguments):
        got = RUNNER.invoke(cli.app, [*arguments, "--note", "a reason"])
        return got.output if got.exit_code == 0 else str(got.exception)

    assert "approved by A. Reviewer; one more person must, too" in act("approve", "1", "--by", "A. Reviewer")
    assert "somebody else must" in act("approve", "1", "--by", "a. reviewer")
    assert "version 1 is champion of demo, approved by B. Reviewer" in act("approve", "1", "--by", "B. Reviewer")
    for name in ("A. Reviewer", "B. Reviewer"):
        said = act("approve", "2", "--by", name)
    assert said == "version 2 is champion of demo, approved by B. Reviewer (before: version 1)\n"
    assert act("rollback", "--by", "A. Reviewer") == "version 1 is champion of demo again instead of version 2\n"
    assert act("reject", "2", "--by", "A. Reviewer") == "version 2 of demo is rejected by A. Reviewer\n"
    assert "Version 2 was rejected by A. Reviewer" in act("approve", "2", "--by", "B. Reviewer")
    assert "2 was rejected" in act("rollback", "--to", "2", "--by", "B. Reviewer")
    told = RUNNER.invoke(cli.app, ["log"])
    assert told.exit_code == 0
    acts = [re.sub(r"^ *\d+  \S+ \S+  ", "", line) for line in told.output.splitlines()]
    assert acts[:6] == [
        "A. Reviewer signed for version 1: a reason",
        "B. Reviewer approved version 1 (champion before: none), after A. Reviewer: a reason",
        "A. Reviewer signed for version 2: a reason",
        "B. Reviewer approved version 2 (champion before: 1), after A. Reviewer: a reason",
        "A. Reviewer rolled back to version 1 (champion before: 2): a reason",
        "A. Reviewer rejected version 2: a reason",
    ]
    assert "10 lines about demo hold together, and so does MLflow; sha256 of the last: " in told.output
    path = two / "mlruns/approvals.jsonl"
    path.write_text(path.read_text().replace("signed", "singed", 1))
    broken = RUNNER.invoke(cli.app, ["log"])
    assert isinstance(broken.exception, RegistryError) and "line" in str(broken.exception)


def test_open_leads_are_exactly_those_not_yet_decided(leads, copy, tmp_path):
    code, _, err = leads("score", "--open", "--model", "challenger", "--out", tmp_path / "open.csv")
    assert code == 0, err
    clean = pd.read_parquet(copy / "data/validate/leads.parquet")
    undecided = clean[clean["converted_at"].isna() & clean["lost_at"].isna()]
    got = pd.read_csv(tmp_path / "open.csv", keep_default_na=False)
    assert sorted(got["lead_id"]) == sorted(undecided["lead_id"])


def test_closed_and_dirty_leads_are_listed_with_the_reason(leads, raw, tmp_path):
    code, _, err = leads(
        "score",
        raw / "leads.csv",
        "--activities",
        raw / "activities.csv",
        "--changes",
        raw / "changes.csv",
        "--model",
        "challenger",
        "--as-of",
        "2025-01-01",
        "--out",
        tmp_path / "scores.csv",
    )
    assert code == 0, err
    got = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False, dtype={"score": str})
    lines = pd.read_csv(raw / "leads.csv", dtype=str, keep_default_na=False)
    copies = re.search(r"leads: (\d+) rows? that copy a row above", err)
    assert len(got) + (int(copies[1]) if copies else 0) == len(lines)  # every row in comes out or is counted
    for said in (
        r"activities: \d+ rows refused and left out; commonest: ",
        r"activities: \d+ rows without an id, left out",
        r"activities: \d+ rows whose id stands in another row too, left out",
        r"activities: \d+ rows of leads that are not in the file, left out",
        r"changes: \d+ rows of leads that are not in the file, left out",
    ):
        assert re.search(said, err), err
    assert (got["refused"] == "already converted by the as-of date").sum() > 100
    assert got["refused"].str.contains("employees").any()
    assert ((got["score"] == "") == (got["refused"] != "")).all()
    # No personal value comes back.
    text = (tmp_path / "scores.csv").read_text()
    for name in lines["email"].head(200):
        assert not name or name not in text


def test_without_a_moment_the_command_takes_today_and_says_so(leads, thousand, raw, tmp_path):
    path, _ = thousand
    undated = tmp_path / "undated.csv"
    pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="as_of").head(20).to_csv(undated, index=False)
    code, _, err = leads("score", undated, "--model", "challenger", "--out", tmp_path / "scores.csv")
    assert code == 0 and "as of now: " in err
    assert "no --activities given" in err and "no --changes given" in err


def test_where_nothing_reaches_the_scorer_the_reasons_are_written(leads, thousand, tmp_path):
    path, _ = thousand
    lines = pd.read_csv(path, dtype=str, keep_default_na=False).head(5)
    lines.assign(created_at="soon").to_csv(tmp_path / "unread.csv", index=False)
    lines.assign(lost_at=lines["created_at"]).to_csv(tmp_path / "lost.csv", index=False)
    for name in ("unread", "lost"):
        code, out, err = leads(
            "score", tmp_path / f"{name}.csv", "--model", "challenger", "--out", tmp_path / "out.csv"
        )
        assert code == 0, err
        assert "0 leads scored, 5 listed without a score" in out
        assert (pd.read_csv(tmp_path / "out.csv")["refused"].str.len() > 0).all()
    lines.head(0).to_csv(tmp_path / "none.csv", index=False)
    code, _, err = leads("score", tmp_path / "none.csv", "--model", "challenger", "--out", tmp_path / "none_out.csv")
    assert code == 4 and "has no rows below its header" in err and "Traceback" not in err


def test_an_altered_scorer_or_result_is_one_message(leads, demo_run, tmp_path):
    root = tmp_path / "altered"
    shutil.copytree(demo_run, root)
    with open(root / "data/calibrate/scorer/data/margin.json", "a") as file:
        file.write(" ")
    code, _, err = leads("summary", cwd=root)
    assert code == 9 and "missing, added or altered: data/margin.json" in err and "Traceback" not in err
    (root / "data/validate/leads.parquet").unlink()
    code, _, err = leads("score", "--open", "--model", "challenger", cwd=root)
    assert code == 6 and "leads.parquet is missing or is not what stage validate wrote" in err


def test_a_full_disk_is_said_without_a_traceback(capsys):
    def act():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "scores.csv")

    assert process.exit_code(act) == 6
    assert capsys.readouterr().err == "error: [Errno 28] No space left on device: 'scores.csv'\n"


def test_errors_of_a_scorer_have_their_exit_code_whichever_code_runs_it(capsys):
    def act():
        raise ScorerError("cannot be read")

    assert process.exit_code(act) == 9
    assert capsys.readouterr().err == "error: cannot be read\n"
    with pytest.raises(ZeroDivisionError):
        process.exit_code(lambda: 1 / 0)


def test_summary_says_what_to_type_next(apart, copy):
    code, out, err = apart("summary")
    assert code == 0, err
    for words in ("Decision", "Lift, top tenth", "Calibration error", "Call first", "open_leads.csv", "leads score"):
        assert words in out
    assert re.search(r"Price of a leak    With `\w+` the test AUC looks 0\.[12]\d better", out)
    ranking = pd.read_csv(copy / "data/scores/open_leads.csv", keep_default_na=False)
    assert ranking["lead_id"].iloc[0] in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["score"], 2, "give a file of leads, or --open"),
        (["score", "nothing.csv", "--model", "challenger"], 4, "nothing.csv"),
        (["score", "--open", "--model", "challenger", "--as-of", "2024-01-01"], 2, "--open takes its leads"),
        (["score", "x.csv", "--as-of", "soon"], 2, "--as-of 'soon' is not a date"),
        (["score", "x.csv", "--out", "x.csv"], 2, "is one of the files to be read"),
        (["score", "x.csv", "--out", "."], 2, "name a file that ends in .csv or .parquet"),
        (["score", "x.csv", "--out", "params.yaml/x.csv"], 6, "cannot be written"),
        (["approve", "1", "--by", "A. Reviewer", "--note", " "], 8, "the name of who takes it"),
        (["reject", "7", "--by", "A. Reviewer", "--note", "no such"], 8, "has no version 7; it has 1"),
        (["rollback", "--to", "7", "--by", "A. Reviewer", "--note", "no such"], 8, "has no version 7; it has 1"),
        (["diff", "1", "best"], 8, "has no version best; it has 1"),
        (["diff", "1", "1", "--out", "params.yaml"], 6, "cannot be written"),
        (["score", "x.csv", "--model", "best"], 9, "best is neither a folder nor a version"),
    ],
)
def test_bad_input_is_one_message_with_its_exit_code(leads, arguments, code, said):
    got, _, err = leads(*arguments)
    assert got == code
    assert said in err and "Traceback" not in err and len(err.strip().splitlines()) <= 3


def test_check_says_whether_params_and_contract_are_sound(apart, copy):
    code, out, _ = apart("check")
    assert code == 0 and "params.yaml and contract demo are sound: 86 features" in out


def test_drift_compares_with_the_history_behind_the_newest_version(leads, copy):
    code, out, err = leads("drift")
    assert code == 0, err
    assert out == "this is the history behind version 1 of demo\n"


def test_a_run_of_another_contract_is_not_summarised_as_this_one(copy, tmp_path):
    root = tmp_path / "switched"
    shutil.copytree(copy, root, ignore=shutil.ignore_patterns("raw", "scores"))
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("contract: demo", "contract: online_shoppers"))
    command = [sys.executable, "-m", "pipeline.cli", "summary"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 6
    assert "data/ holds a run of contract demo, params.yaml names online_shoppers" in done.stderr


def test_outside_a_project_the_code_s_own_project_is_used_or_an_error_says_what_is_missing(tmp_path):
    (tmp_path / "params.yaml").write_text("run: {}")
    (tmp_path / "dvc.yaml").write_text("stages: {}")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "models"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and "key is missing" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", [command.callback.__name__.replace("_", "-") for command in cli.app.registered_commands]
)
def test_every_command_has_help_with_an_example(command):
    shown = RUNNER.invoke(cli.app, [command, "--help"])
    assert shown.exit_code == 0 and f"Example: leads {command}" in shown.output


def test_demo_files_are_what_ingest_reads(raw, demo_run):
    provenance = json.loads((demo_run / "data/ingest/provenance.json").read_text())["source"]
    for table, counts in provenance.items():
        assert len(pd.read_csv(raw / f"{table}.csv", dtype=str)) == counts["rows"]


def test_init_and_use_from_a_file_to_a_contract_in_use(project_root, tmp_path, monkeypatch):
    workspace = small_workspace(project_root, tmp_path / "fresh")
    (tmp_path / "crm.csv").write_bytes(lead_files.pipeline_report().content)
    monkeypatch.chdir(workspace.root)
    proposed = RUNNER.invoke(cli.app, ["init", "../crm.csv"])
    assert proposed.exit_code == 0, proposed.output
    assert "leads use crm" in proposed.output and "Outcome   status = Won" in proposed.output
    assert "1,200 rows" in proposed.stderr
    used = RUNNER.invoke(cli.app, ["use", "crm"])
    assert used.exit_code == 0 and load(workspace.params).run.contract == "crm"
    assert "nothing was changed" in RUNNER.invoke(cli.app, ["use", "crm"]).output
    assert RUNNER.invoke(cli.app, ["check"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("init", "nothing.csv"), 4, "no such file"),
        (("init", "leads.csv", "--outcome", "nothing"), 2, "no such column"),
        (("init", "leads.csv", "--name", "demo"), 2, "--force"),
        (("init", "words.csv"), 3, "--outcome"),
        (("use", "nothing"), 3, "no such contract"),
    ],
)
def test_init_and_use_say_what_is_wrong(project_root, tmp_path, monkeypatch, capsys, arguments, code, said):
    workspace = small_workspace(project_root, tmp_path / "fresh")
    (workspace.root / "leads.csv").write_bytes(lead_files.pipeline_report().content)
    (workspace.root / "words.csv").write_text("a,b\nred,blue\ngreen,red\nblue,green\n")
    monkeypatch.chdir(workspace.root)
    monkeypatch.setattr(sys, "argv", ["leads", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == code
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def typed(line):
    """What the command answers in the current folder."""
    return RUNNER.invoke(cli.app, line.split())


@pytest.fixture(scope="module")
def table(project_root, tmp_path_factory):
    """A project with prepared tables, sound and faulty ones, a model of `train.csv` and an altered copy of it."""
    root = tmp_path_factory.mktemp("prepared") / "work"
    small_workspace(project_root, root, ("min_rows: 1500", "min_rows: 500"))
    frame = lead_files.prepared().frame
    (root / "train.csv").write_bytes(lead_files.prepared().content)
    frame.drop(columns="won").tail(30).to_csv(root / "test.csv", index=False)
    frame.assign(won=np.resize(["yes", "no", "open"], len(frame))).to_csv(root / "three.csv", index=False)
    frame.drop(columns="staff").to_csv(root / "lacking.csv", index=False)
    (root / "damaged.csv").write_text("a,won\n1,yes\n2,no,3\n4,no\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        fitted = typed("fit train.csv --target won --out model")
        assert fitted.exit_code == 0, fitted.output
    shutil.copytree(root / "model", root / "altered")
    with open(root / "altered/data/spec.json", "a") as file:
        file.write(" ")
    return root


def test_fit_and_predict_from_a_prepared_table_to_chances(table, monkeypatch):
    monkeypatch.chdir(table)
    fitted = typed("fit train.csv --target won --time-ordered --drop newsletter --drop visits --seconds 1 --out mine")
    assert fitted.exit_code == 0, fitted.output
    assert re.fullmatch(
        r"mine: prepared-[0-9a-f]{12}, after \d+ trials\. Next: leads predict mine TEST\.csv --out p\.csv\n",
        fitted.stdout,
    )
    # What it leaves out by itself, it names.
    assert "`quarter` left out: its place in time explains" in fitted.stderr
    spec = json.loads((table / "mine/data/spec.json").read_text())
    assert [column["source"] for column in spec["profile"]] == ["industry", "source", "staff"]
    scored = typed("predict mine test.csv --out p.csv")
    assert scored.exit_code == 0 and scored.stdout == "p.csv: 30 rows scored, 0 left empty\n"
    chances = pd.read_csv(table / "p.csv")
    assert list(chances) == ["probability"] and len(chances) == 30 and chances["probability"].between(0, 1).all()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("fit train.csv --target bought --out m", 2, "the table has no column bought"),
        ("fit train.csv --target won --positive maybe --out m", 2, "maybe is not among them"),
        ("fit train.csv --target won --drop won --out m", 2, "which holds the outcome"),
        ("fit three.csv --target won --out m", 2, "has 3 values; an outcome has two"),
        ("fit train.csv --target won --out data", 2, "--out data exists; name a new folder"),
        ("fit train.csv --target won --out train.csv/m", 6, "cannot be written"),
        ("fit train.csv --target won --seconds 0.5 --out m", 2, "--seconds"),
        ("fit damaged.csv --target won --out m", 4, "1 lines cannot be read"),
        ("fit nothing.csv --target won --out m", 4, "nothing.csv"),
        ("predict model nothing.csv --out m", 4, "nothing.csv"),
        ("predict model test.csv --out test.csv", 2, "is the table to be read"),
        ("predict model lacking.csv --out m", 9, "lacks the column(s) staff"),
        ("predict data test.csv --out m", 9, "data"),
        ("predict altered test.csv --out m", 9, "missing, added or altered: data/spec.json"),
    ],
)
def test_fit_and_predict_say_what_is_wrong_and_leave_nothing_behind(table, monkeypatch, capsys, arguments, code, said):
    monkeypatch.chdir(table)
    before = {path: path.stat().st_mtime_ns for path in table.rglob("*")}
    monkeypatch.setattr(sys, "argv", ["leads", *arguments.split()])
    with pytest.raises(SystemExit) as end:
        cli.main()
    error = capsys.readouterr().err
    assert end.value.code == code, error
    assert said in error and "Traceback" not in error
    assert {path: path.stat().st_mtime_ns for path in table.rglob("*")} == before


def test_a_run_that_is_not_finished_is_a_clear_error(project_root, tmp_path, monkeypatch, capsys):
    workspace = small_workspace(project_root, tmp_path / "fresh")
    monkeypatch.chdir(workspace.root)
    monkeypatch.setattr(sys, "argv", ["leads", "summary"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 6
    assert "run `dvc repro` first" in capsys.readouterr().err
    assert process.ENVIRONMENT["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_ui_becomes_mlflows_server_on_loopback_for_this_store(copy, monkeypatch):
    monkeypatch.chdir(copy)
    begun = []
    monkeypatch.setattr(os, "execve", lambda *given: begun.append(given))
    assert RUNNER.invoke(cli.app, ["ui", "--port", "5123"]).exit_code == 0
    ((program, command, _),) = begun
    assert (program, command[1:4]) == (sys.executable, ["-m", "mlflow", "ui"])
    assert f"sqlite:///{copy / 'mlruns' / 'mlflow.db'}" in command
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "5123"]


def test_diff_of_a_history_without_moments_scores_looks_of_the_test_window(two, monkeypatch, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(two, root)
    monkeypatch.chdir(root)
    workspace = Workspace(root)
    told = files.read_json(workspace.path("ingest/provenance.json"))
    files.write_json(workspace.path("ingest/provenance.json"), told | {"newest_recorded_at": None})
    fake_results.sign(workspace, "ingest")
    got = RUNNER.invoke(cli.app, ["diff", "1", "2", "--leads", "30"])
    assert got.exit_code == 0, got.output
    assert "looks at leads of the test window: none is open" in got.output
