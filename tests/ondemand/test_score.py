"""`leads score` as a whole: chunks of any size give the same bytes, and so does a run that was killed."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline import params as params_module
from pipeline.adapters import files, ledger, model_folder, parting
from pipeline.errors import ArtefactError, ParamsError, SourceError
from pipeline.ondemand import score
from pipeline.paths import Workspace
from tests import small_history, small_scorer

pytestmark = pytest.mark.slow

NOW = pd.Timestamp("2024-02-20 10:00:30")


def tables(leads: int = 50, seed: int = 3) -> dict[str, pd.DataFrame]:
    """Raw tables with everything that can be wrong with a row, most of it more than once."""
    random = np.random.default_rng(seed)
    day = pd.Timestamp("2024-01-01")
    keys = [f"L{number:03d}" for number in range(leads)]
    made = pd.DataFrame({"id": keys, "made": [day + pd.Timedelta(days=int(n)) for n in random.integers(0, 40, leads)]})
    made = made.assign(won="", lost="", phone="1", tax_id="", employees="10", revenue="1.5", industry="retail")
    made = made.assign(opted_in="yes", notes="", extra="x").astype(str)
    made.loc[3::17, "lost"] = "2024-02-01"
    made.loc[5::17, "made"] = "soon"
    made.loc[6::17, "employees"] = "-4"
    made.loc[7::17, "id"] = ""
    made = pd.concat([made, made.iloc[10:30:4], made.iloc[11:14].assign(employees="77")], ignore_index=True)
    n = 12 * leads
    events = pd.DataFrame({"aid": [f"A{k}" for k in range(n)], "of": random.choice([*keys, "L9999", ""], n)})
    events["what"] = random.choice(["visit", "call", "dance"], n, p=[0.6, 0.35, 0.05])
    events["when"] = [(day + pd.Timedelta(hours=int(h))).isoformat() for h in random.integers(0, 1300, n)]
    events["noted"] = events["when"]
    events.loc[::50, "aid"] = "A7"
    events.loc[3::70, "aid"] = ""
    events.loc[4::90, "when"] = "then"
    events = pd.concat([events, events.iloc[100:110], events.iloc[:9].assign(of=keys[1])], ignore_index=True)
    changed = pd.DataFrame({"of": random.choice([*keys, "L9999"], 2 * leads), "which": "employees"})
    changed = changed.assign(noted="2024-01-15", was="5", **{"is": "10"})
    return {"leads": made, "activities": events, "changes": changed}


@pytest.fixture(scope="module")
def scorers(project_root, tmp_path_factory):
    """Two versions of a scorer."""
    folders = [tmp_path_factory.mktemp("model") / name for name in ("one", "two")]
    for folder, level in zip(folders, (-1.0, -0.5), strict=True):
        folder.mkdir()
        small_scorer.write(folder, project_root, level)
    return folders


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    for name, table in tables().items():
        table.to_csv(folder / f"{name}.csv", index=False)
        table.to_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture
def project(project_root, scorers, raw, tmp_path):
    """A project; `run` scores with the first scorer where no `version` is given, and returns what was said."""
    root = tmp_path / "project"
    (root / "data/contracts").mkdir(parents=True)
    text, found = re.subn(r"(?m)^(  contract:) \w+", r"\1 small", (project_root / "params.yaml").read_text())
    assert found == 1
    (root / "params.yaml").write_text(text)
    (root / "data/contracts/small.yaml").write_text(yaml.safe_dump(small_history.CONTRACT))
    workspace, params = Workspace(root), params_module.load(root / "params.yaml")

    def run(out="scores.csv", ending="csv", now=NOW, version=0, **other):
        options = {"as_of": None, "spreadsheet": None, "moves": False, "keep": True, "chunk": None}
        given = {name: raw / f"{name}.{ending}" for name in ("leads", "activities", "changes")}
        model = partial(small_scorer.verified, scorers[version])
        asked = score.Asked(**{**given, **options, "out": root / out, "model": model, **other})
        said: list[str] = []
        said.append(score.run(workspace, params, asked, now=now, say=said.append))
        return said

    def read(name="scores.csv"):
        return pd.read_csv(root / name, keep_default_na=False)

    return SimpleNamespace(root=root, run=run, read=read, workspace=workspace)


def entries(project) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in ledger.folder(project.workspace).glob("*.parquet")])


def test_chunks_of_one_seven_and_all_give_equal_bytes_and_equal_notes(project, raw, monkeypatch):
    monkeypatch.setattr(parting, "ID_BYTES", 4_000)
    monkeypatch.setattr(parting, "WAITING_ROWS", 100)
    whole = project.run()
    assert len(whole) == 12, "\n".join(whole)
    expected = (project.root / "scores.csv").read_bytes()
    for chunk in (1, 7, 10_000):
        said = project.run("again.csv", chunk=chunk, keep=False)
        assert (project.root / "again.csv").read_bytes() == expected
        assert said[:-1] == whole[:-1]
    said = project.run("again.csv", "parquet", chunk=7, keep=False)
    # Only that a Parquet file has no lines to be named.
    assert (project.root / "again.csv").read_bytes() == re.sub(rb"line \d+: ", b"", expected)
    assert said[:-1] == whole[:-1]
    got = project.read()
    assert len(got) + 4 == len(tables()["leads"])  # four copies are counted in a note
    assert got["refused"].ne("").sum() == 19 and got["score"].nunique() > 10
    assert [path.name for path in project.root.iterdir() if path.name.startswith(".")] == []


def test_scores_come_best_first_and_then_what_has_none(project):
    project.run(chunk=20)
    got = project.read()
    best = got[got["refused"] == ""]
    assert got["refused"].eq("").tolist() == [True] * len(best) + [False] * (len(got) - len(best))
    keys = list(zip(-best["probability"].astype(float), best["lead_id"], strict=True))
    assert keys == sorted(keys)


def test_every_score_stands_in_the_ledger_once(project, scorers):
    project.run(chunk=7)
    got = project.read()
    reached = got[~got["refused"].str.contains("line|stands in another row")]
    found = entries(project)
    assert sorted(found["lead_id"].dropna()) == sorted(reached.loc[reached["lead_id"] != "", "lead_id"])
    assert len(found) == len(reached)
    scorer = model_folder.load(scorers[0])
    entry = found[found["refused"] == ""].iloc[0].to_dict()
    assert ledger.rebuild(scorer, entry)["score"].item() == entry["score"]
    project.run("again.csv", chunk=7)
    assert len(entries(project)) == len(found)


CHILD = """
import os, signal, sys
from functools import partial
from pathlib import Path
import pandas as pd
from pipeline import params
from pipeline.adapters import files, ledger, score_export
from pipeline.ondemand import score
from pipeline.paths import Workspace
from tests import small_scorer
root, raw, folder, moment = map(Path, sys.argv[1:5])
dies, place = int(sys.argv[5]), sys.argv[6]
model = partial(small_scorer.verified, folder)
def deadly(module, name):
    real, calls = getattr(module, name), []
    def wrapped(*arguments, **options):
        calls.append(1)
        if len(calls) == dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    setattr(module, name, wrapped)
if place:
    deadly({"ledger": ledger, "files": files, "score_export": score_export}[place.split(".")[0]], place.split(".")[1])
asked = score.Asked(*(raw / f"{name}.csv" for name in ("leads", "activities", "changes")), model=model, as_of=None,
                    out=root / "killed.csv", spreadsheet=None, moves=False, keep=True, chunk=10)
workspace = Workspace(root)
print(score.run(workspace, params.load(root / "params.yaml"), asked, now=pd.Timestamp(str(moment)), say=print))
"""


def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(project, raw, scorers):
    """Killed while parts are laid out, after a part's ledger and before its scores, and while the result is written;
    every process has another clock, and the first one's counts."""

    def child(moment: str, dies: int, place: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CHILD, project.root, raw, scorers[0], moment, str(dies), place]
        root = Path(__file__).resolve().parents[2]
        environment = os.environ | {"PYTHONPATH": str(root)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    project.run("whole.csv", chunk=10)
    expected = entries(project)
    for path in ledger.folder(project.workspace).iterdir():
        path.unlink()
    kills = [(2, "files.write_json"), (3, "ledger.record"), (4, "files.write_atomic"), (1, "score_export.export")]
    done = []
    for number, (dies, place) in enumerate(kills):
        moment = NOW + pd.Timedelta(hours=number)
        killed = child(moment.isoformat(), dies, place)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (project.root / "killed.csv").exists()
        done.append(len(list(project.root.glob(".killed.csv.*/scores_*"))))
    assert done[0] == 0 < done[1] < done[2] < done[3] == 7
    last = child("2024-02-25", 0, "")
    assert last.returncode == 0, last.stderr
    assert "going on with a run that was stopped" in last.stdout
    assert "as of now: 2024-02-20 10:00 UTC, when the run began" in last.stdout
    assert (project.root / "killed.csv").read_bytes() == (project.root / "whole.csv").read_bytes()
    keys = ["lead_id", "as_of", "answer", "inputs"]
    found, wanted = (table[keys].sort_values(keys, ignore_index=True) for table in (entries(project), expected))
    pd.testing.assert_frame_equal(found, wanted)
    assert list(project.root.glob(".killed.csv.*")) == []


def test_changed_files_and_another_version_begin_anew(project, raw, tmp_path, monkeypatch):
    real = ledger.record
    calls: list[int] = []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(ledger, "record", stopped)
    changed = tmp_path / "leads.csv"
    changed.write_text((raw / "leads.csv").read_text().replace("L002", "L902"))
    for other in ({"version": 1}, {"leads": changed}, {"chunk": 11}, {"as_of": NOW}):
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            project.run(chunk=20)
        assert len(list(project.root.glob(".scores.csv.*"))) == 1
        said = project.run(**{"chunk": 20} | other)
        assert not any("going on" in line for line in said)
        assert list(project.root.glob(".scores.csv.*")) == []
        fresh = project.run("fresh.csv", **{"chunk": 20} | other)
        assert (project.root / "fresh.csv").read_bytes() == (project.root / "scores.csv").read_bytes()
        assert fresh[:-1] == said[:-1]


def test_leads_from_standard_input(project, raw, monkeypatch):
    content = (raw / "leads.csv").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    said = project.run("piped.csv", leads=Path("-"))
    assert said[:-1] == project.run()[:-1]
    assert (project.root / "piped.csv").read_bytes() == (project.root / "scores.csv").read_bytes()
    assert list(project.root.glob(".piped*")) == []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"id,made\n")))
    with pytest.raises(SourceError, match="standard input: it lacks the columns"):
        project.run("piped.csv", leads=Path("-"))
    assert list(project.root.glob(".piped*")) == []
    with files.private(project.root / ".piped.csv.stdin") as file:
        assert oct(os.fstat(file.fileno()).st_mode)[-3:] == "600"
        with pytest.raises(ArtefactError, match="another process is using"):
            project.run("piped.csv", leads=Path("-"))
    with pytest.raises(ParamsError, match="which only leads are read from"):
        project.run("piped.csv", activities=Path("-"))


def test_standard_input_has_the_limit_of_files(tmp_path):
    from pipeline.adapters import sources

    out = io.BytesIO()
    with pytest.raises(SourceError, match=r"standard input: .* more than the 1 MiB"):
        sources.copy(io.BytesIO(bytes(2**20 + 1)), io.BytesIO(), "standard input", 2**20)
    sources.copy(io.BytesIO(bytes(2**20)), out, "standard input", 2**20)
    assert len(out.getvalue()) == 2**20


def test_what_is_read_is_not_written(project, raw):
    for other in ({"out": raw / "leads.csv"}, {"out": raw / "changes.csv"}, {"spreadsheet": raw / "activities.csv"}):
        with pytest.raises(ParamsError, match="is one of the files to be read"):
            project.run(**other)
    with pytest.raises(ParamsError, match="is what --out writes"):
        project.run(spreadsheet=project.root / "scores.csv")


def test_a_missing_or_damaged_part_of_the_work_is_noticed(project, raw, monkeypatch):
    real, calls = ledger.record, []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(ledger, "record", stopped)
    with pytest.raises(KeyboardInterrupt):
        project.run(chunk=10)
    (folder,) = project.root.glob(".scores.csv.*")
    held = json.loads((folder / "input/parted.json").read_text())["held"]["leads"]
    last = max(number for number, rows in enumerate(held) if rows)
    (folder / f"input/leads/{last}").unlink()
    with pytest.raises(Exception, match="not what was written; delete this folder and start again"):
        project.run(chunk=10)
