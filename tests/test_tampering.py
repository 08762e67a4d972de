"""Tampering: a sample of `benchmarks/tamper`, and that its verdicts mean what they say."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tamper import damage, hostile
from benchmarks.tamper.__main__ import fault
from benchmarks.tamper.project import Answer, Project, project, run, watched
from pipeline.adapters import model_check, model_folder
from pipeline.errors import ModelError

#: Damaged folders of each kind.
SAMPLE = 5


@pytest.fixture(scope="module")
def made(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project(tmp_path_factory.mktemp("tamper") / "project", project_root)


@pytest.fixture
def folder(made: Project, tmp_path: Path) -> Path:
    """A copy of version 1, to be changed."""
    return Path(shutil.copytree(made.made[0], tmp_path / "changed"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What every attack writes to where its code runs."""
    return tmp_path / "canary"


@pytest.fixture
def leads(made: Project, monkeypatch: pytest.MonkeyPatch):
    """A command of `leads` inside the project."""
    monkeypatch.chdir(made.workspace.root)
    return run


def bare_load(folder: Path) -> None:
    """As whoever has MLflow and nothing of ours loads a folder; MLflow warns when it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc

        mlflow.pyfunc.load_model(str(folder))


def forget_scorers() -> None:
    """So that a folder's code is imported, and not taken from memory."""
    for name in [name for name in sys.modules if name.startswith("scorer_")]:
        del sys.modules[name]


def test_what_nobody_changed_is_accepted_by_every_route(made, leads):
    for arguments in (["1"], [made.made[1]], [made.made[0], "--sha256", made.hashes[0]]):
        answer = leads("verify", *arguments)
        assert answer.code == 0 and "VERIFIED" in answer.text, answer.text
        assert set(answer.touched) == {"_yaml"}  # MLmodel and the environment files, and nothing else
    assert model_folder.load(made.made[0]).version == model_check.version(made.made[0])
    with watched() as touched:
        bare_load(Path(shutil.copytree(made.made[0], made.workspace.root / "bare")))
    assert {"_read", "load_model"} <= set(touched)


@pytest.mark.parametrize("way", damage.WAYS)
def test_damage_is_refused_before_anything_is_parsed(made, tmp_path, way):
    rng = np.random.default_rng(np.random.SeedSequence([11, *way.__name__.encode()]))
    for number in range(SAMPLE):
        folder = Path(shutil.copytree(made.made[0], tmp_path / str(number) / "scorer"))
        changed = way(folder, made.made[1], rng).relative_to(folder)
        with watched() as touched:
            assert model_check.faults(folder, sha256=made.hashes[0]), changed
            if changed.parts[0] in ("data", "code"):
                with pytest.raises(ModelError):
                    model_folder.load(folder)
        assert touched == []


@pytest.mark.parametrize("way", [damage.flip, damage.truncate, damage.swap, damage.remove, damage.link])
def test_under_bare_mlflow_the_scorers_code_refuses_damaged_data(made, folder, way):
    """Damage to data only: its code, which MLflow imports first, is what refuses."""
    rng = np.random.default_rng(1)
    data, other = folder / "data", Path(shutil.copytree(made.made[1], folder.with_name("other")))
    before = {path: path.read_bytes() for path in damage.files_of(folder)}
    for _ in range(100):
        changed = way(folder, other, rng)
        if changed.is_relative_to(data):
            break
        shutil.rmtree(folder)
        for path, content in before.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    with watched() as touched, pytest.raises(Exception, match=r"manifest|altered|a link|belong to") as refused:
        bare_load(folder)
    assert type(refused.value).__name__ == "ScorerError"
    assert not {"_read", "load_model"} & set(touched)


@pytest.mark.parametrize("attack", hostile.ATTACKS)
def test_a_hostile_model_runs_no_code_and_is_refused(made, folder, canary, leads, attack):
    attack(folder, canary)
    assert model_check.faults(folder, sha256=made.hashes[0])
    if attack in hostile.SEALED:
        hostile.seal(folder)
    # Nothing but the registry tells it from a scorer, where its maker sealed it well.
    assert bool(model_check.faults(folder)) == (attack not in hostile.PASSING)
    assert fault(leads("verify", folder), canary) == ""
    assert fault(leads("predict", folder, "leads.csv", "--out", "p.csv"), canary) == ""
    assert not canary.exists()


def test_a_hostile_model_in_the_store_is_refused_by_whoever_asks_for_it(made, folder, canary, leads):
    kept = shutil.copytree(made.stored[0], folder.with_name("kept"))
    hostile.code_when_imported(folder, canary)
    hostile.seal(folder)
    made.put(folder)
    for command in (("verify", "1"), ("score", "leads.csv", "--model", "1", "--out", "scores.csv")):
        answer = leads(*command)
        assert fault(answer, canary) == "" and answer.code == 8, answer.text
    made.put(kept)
    assert leads("verify", "1").code == 0


def test_byte_code_beside_a_scorer_is_not_run(made, folder, canary):
    """Python would run it in place of the source, whose time and size it carries; `load` never looks at it."""
    hostile.byte_code(folder, canary)
    forget_scorers()
    assert model_folder.load(folder).version == model_check.version(folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        (Answer(9, "error: refused", []), ""),
        (Answer(0, "VERIFIED", []), "exit code 0"),
        (Answer(None, "TRACEBACK", []), "exit code None"),
        (Answer(9, "error: refused", ["_read"]), "refused after _read"),
        (Answer(9, "error: \x1b[2J", []), "not one plain message"),
    ],
)
def test_a_broken_claim_is_called_one(answer, broken, canary):
    assert fault(answer, canary).startswith(broken) and bool(fault(answer, canary)) == bool(broken)
    canary.touch()
    assert fault(answer, canary) == "its code ran"


@pytest.mark.parametrize(
    "attack",
    [
        hostile.code_when_imported,
        hostile.code_in_a_part,
        hostile.another_loader,
        hostile.another_package_as_loader,
        hostile.code_outside,
        hostile.byte_code,
        hostile.linked_code,
    ],
)
def test_an_attack_does_harm_where_it_is_believed(folder, canary, attack):
    """The attacks have teeth: under bare MLflow, which checks nothing before it imports the code, they run theirs."""
    attack(folder, canary)
    if attack in hostile.SEALED and attack is not hostile.byte_code:
        hostile.seal(folder)
    forget_scorers()
    # Some are no scorer, and fail once their code has run.
    with contextlib.suppress(Exception):
        bare_load(folder)
    assert canary.exists()


def test_a_pickle_does_harm_where_it_is_read(folder, canary):
    hostile.pickle_as_json(folder, canary)
    pickle.loads((folder / "data" / "spec.json").read_bytes())
    assert canary.exists()


def test_score_and_export_work_on_a_folder_by_its_hash(made, leads, tmp_path):
    """The same commands as for a version: a folder nobody vouches for is refused, one with its hash scores."""
    out, file = tmp_path / "exported", tmp_path / "leads.csv"
    names = ["lead_id", "created_at", "as_of"]
    names += [
        one["name"] for one in model_folder.load(made.made[0]).spec["profile"] if not one["name"].startswith("has_")
    ]
    file.write_text(",".join(names) + "\nL1,2024-01-01,2024-02-01" + "," * (len(names) - 3) + "\n")
    told = leads("export", "1", "--out", out)
    assert (told.code, told.text.splitlines()[-1]) == (0, f"sha256 {made.hashes[0]}")
    assert (leads("export", "1", "--out", out).code, leads("export", "9", "--out", tmp_path / "no").code) == (2, 8)
    asked = ["score", file, "--model", out, "--no-ledger", "--out", tmp_path / "scores.csv"]
    assert leads(*asked, "--sha256", made.hashes[0]).code == 0
    refused = leads(*asked, "--sha256", made.hashes[1])
    assert refused.code == 9 and not {"_read", "load_model"} & set(refused.touched)
    assert leads("score", file, "--model", made.made[0].parent, "--out", tmp_path / "s.csv").code == 9
