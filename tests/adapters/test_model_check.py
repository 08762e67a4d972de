"""What a model folder must look like: every name, kind and size that is not a scorer's is refused, unopened."""

import os
import shutil
from pathlib import Path

import pytest

from pipeline.adapters import files, model_check
from pipeline.adapters.model_check import MIB, Entry
from pipeline.errors import ModelError
from pipeline.scorer.model import ScorerError, verify
from tests import fake_results

CODE = "code/scorer_0123456789ab"
WHOLE = [
    *(Entry(path, "file", 10) for path in (*model_check.REQUIRED, f"{CODE}/__init__.py", f"{CODE}/model.py")),
    Entry("data/member_0.ubj", "file", 256 * MIB),
    *(Entry(path, "folder", 0) for path in ("data", "code", CODE)),
]


@pytest.fixture
def folder(tmp_path) -> Path:
    fake_results.write_model(tmp_path / "scorer", 1.0)
    return tmp_path / "scorer"


def code(folder: Path) -> Path:
    return next((folder / "code").iterdir())


def test_a_scorers_files_are_nothing_to_speak_against(folder):
    assert model_check.shape(WHOLE) == []
    assert model_check.faults(folder) == []
    assert model_check.faults(folder, sha256=files.sha256(folder)) == []
    assert model_check.version(folder).startswith("demo-")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (Entry("data/model.pkl", "file", 1), "may hold a pickle"),
        (Entry("python_model.pickle", "file", 1), "may hold a pickle"),
        (Entry("data/x.npy", "file", 1), "may hold a pickle"),
        (Entry("notes.txt", "file", 1), "no scorer has a file of this name"),
        (Entry("data/.hidden.json", "file", 1), "no scorer has a file of this name"),
        (Entry("data/..json", "file", 1), "no scorer has a file of this name"),
        (Entry("data/Upper.json", "file", 1), "no scorer has a file of this name"),
        (Entry("code/numpy.py", "file", 1), "no scorer has a file of this name"),
        (Entry(f"{CODE}/deeper/x.py", "file", 1), "no scorer has a file of this name"),
        (Entry(f"{CODE}/model.pyc", "file", 1), "byte code"),
        (Entry(f"{CODE}/__pycache__", "folder", 0), "byte code"),
        (Entry(f"{CODE}/model.abi3.so", "file", 1), "a library"),
        (Entry("registered_model_meta", "file", 1), "MLflow leaves it"),
        (Entry("data/sub", "folder", 0), "a folder that no scorer has"),
        (Entry("code/scorer_x", "folder", 0), "a folder that no scorer has"),
        (Entry("data/spec.json", "link", 0), "a link"),
        (Entry("data/spec.json", "other", 0), "neither a file nor a folder"),
        (Entry("data/spec.json", "file", 256 * MIB + 1), "268,435,457 bytes, where 268,435,456 are the most"),
        (Entry(f"{CODE}/model.py", "file", MIB + 1), "1,048,577 bytes, where 1,048,576 are the most"),
        (Entry("code/scorer_ffffffffffff/__init__.py", "file", 1), "holds 2 folders of code"),
    ],
)
def test_what_no_scorer_has_is_named_with_the_reason(entry, why):
    assert [fault for fault in model_check.shape([*WHOLE, entry]) if why in fault]


@pytest.mark.parametrize("path", [*model_check.REQUIRED, f"{CODE}/__init__.py"])
def test_what_every_scorer_has_is_missed(path):
    assert model_check.shape([entry for entry in WHOLE if entry.path != path]) == [f"{path}: missing"]


def test_a_folder_of_many_files_is_not_looked_at_to_the_end(folder):
    for k in range(model_check.MOST_ENTRIES):
        (folder / "data" / f"part_{k}.json").touch()
    assert model_check.faults(folder) == ["it holds more than 1,000 files"]


def test_the_same_faults_as_the_scorers_own_code_finds_and_those_it_cannot(folder, tmp_path):
    """Two routes: every file that is changed is noticed here; the scorer's code, which MLflow runs, notices those of
    data and code."""
    sha256 = files.sha256(folder)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        copy = Path(shutil.copytree(folder, tmp_path / "copy"))
        changed = copy / path.relative_to(folder)
        changed.write_bytes(changed.read_bytes() + b"\n")
        assert model_check.faults(copy, sha256=sha256), path
        if path.parent != folder and path.name != "manifest.json":
            with pytest.raises(ScorerError, match="missing, added or altered"):
                verify(copy)
            assert "missing, added or altered" in " ".join(model_check.faults(copy))
        shutil.rmtree(copy)


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("MLmodel", "loader_module: scorer_", "loader_module: evil_", "another loader"),
        ("MLmodel", "    data: data", "    data: ../elsewhere", "another loader"),
        ("MLmodel", "    code: code", "    code: /tmp", "another loader"),
        ("MLmodel", "flavors:", "run_id: x\nflavors:", "something that no scorer's has"),
        ("MLmodel", "flavors:", "x: !!python/object/apply:os.getcwd []\nflavors:", "something that no scorer's has"),
        ("MLmodel", "flavors:", "[", "something that no scorer's has"),
        ("requirements.txt", "mlflow==", "--index-url http://127.0.0.1/\nmlflow==", "exact versions"),
        ("requirements.txt", "mlflow==", "evil==1\nmlflow==", "exact versions"),
        ("conda.yaml", "- pip:", "- evil\n- pip:", "another environment"),
        ("python_env.yaml", "- pip", "- evil", "another environment"),
        ("python_env.yaml", "3.11.0", "3.11.0; evil", "no Python version"),
    ],
)
def test_what_mlflow_would_import_or_install_is_the_scorers_own(folder, file, old, new, fault):
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    assert fault in " ".join(model_check.faults(folder))


def test_nothing_is_read_of_what_has_the_wrong_hash(folder, monkeypatch):
    monkeypatch.setattr(model_check, "_yaml", lambda _: pytest.fail("MLmodel was parsed"))
    assert "was expected" in model_check.faults(folder, sha256="0" * 64)[0]
    assert model_check.faults(folder, vouch=lambda _: ["nobody vouches"]) == ["nobody vouches"]


def test_byte_code_is_let_be_only_where_it_is_never_read(folder):
    (code(folder) / "__pycache__").mkdir()
    (code(folder) / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"")
    assert "byte code" in " ".join(model_check.faults(folder))
    assert model_check.faults(folder, in_place=True) == []
    (folder / "data" / "__pycache__").mkdir()
    assert "byte code" in " ".join(model_check.faults(folder, in_place=True))


def test_faults_are_all_told_at_once_and_harmless_to_print(folder):
    (folder / "MLmodel").unlink()
    (folder / "data" / "a\n\x1b[2J.json").write_text("")
    (folder / "data" / os.fsdecode(b"\xff.json")).write_text("")
    (folder / ("b" * 200)).write_text("")
    for k in range(20):
        (folder / f"{k}.bin").write_text("")
    with pytest.raises(ModelError) as caught:
        model_check.check(folder)
    text = str(caught.value)
    assert text.isascii() and text.replace("\n", "").isprintable()
    assert text.count("\n  - ") == model_check.SHOWN + 1 and text.endswith("and 14 more")
    assert max(map(len, text.splitlines()[1:])) < 200
    assert model_check.faults(folder / "nowhere") == ["it cannot be read (No such file or directory)"]
