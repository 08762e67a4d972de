"""Who vouches for a model: a registry, a hash, a signature; and that nobody is not enough."""

import shutil
from pathlib import Path

import pytest

from pipeline.adapters import files, registry, verification
from pipeline.errors import ModelError, ParamsError, RegistryError


@pytest.fixture
def asked(store):
    """What `verified` asks for the registry with, and how often it did."""
    calls = []

    def registered():
        calls.append(1)
        return store, "demo"

    registered.calls = calls
    return registered


@pytest.fixture
def scorer(workspace) -> Path:
    return workspace.path("calibrate/scorer")


def never():
    pytest.fail("the registry was asked")


def test_a_version_is_verified_without_being_loaded(store, log_new, asked, scorer):
    log_new(store)
    found = verification.verified("challenger", registered=asked)
    assert found.folder == store.home / "models" / files.sha256(scorer)
    assert found.sha256 == files.sha256(scorer)
    assert "version 1 of lead-scoring-demo has this hash" in found.lines[-2]
    assert found.lines[-1] == "signature  not looked at: LEADS_SIGNING_PUBLIC_KEY names no key"
    with pytest.raises(RegistryError, match="was given"):
        verification.verified("1", registered=asked, sha256="0" * 64)


def test_a_signature_that_nothing_would_be_held_against_is_not_passed_over(store, log_new, asked, scorer, tmp_path):
    log_new(store)
    for target in ("1", str(scorer)):
        with pytest.raises(ParamsError, match="--signature goes with a folder and the key that signed it"):
            verification.verified(target, registered=asked, signature=tmp_path / "scorer.sig")


def test_a_folder_that_was_registered_is_vouched_for_by_the_registry(store, log_new, asked, scorer, tmp_path):
    log_new(store)
    copy = shutil.copytree(scorer, tmp_path / "copy")
    found = verification.verified(str(copy), registered=asked)
    assert (found.folder, found.version) == (copy, verification.verified("1", registered=asked).version)
    (tmp_path / "link").symlink_to(copy)
    assert verification.verified(str(tmp_path / "link"), registered=asked).folder == copy


def test_a_folder_that_nobody_vouches_for_is_refused(store, log_new, asked, scorer):
    with pytest.raises(ModelError, match=r"nobody vouches for it: its sha256 \([0-9a-f]{64}\)"):
        verification.verified(str(scorer), registered=asked)


def test_a_hash_that_was_written_down_is_enough_and_needs_no_registry(scorer):
    sha256 = files.sha256(scorer)
    assert verification.verified(str(scorer), registered=never, sha256=sha256).lines[3].endswith(", as given")
    with pytest.raises(ModelError, match=f"it has the sha256 {sha256}, and {'0' * 64} was given"):
        verification.verified(str(scorer), registered=never, sha256="0" * 64)
    with pytest.raises(ParamsError, match="64 hex digits"):
        verification.verified(str(scorer), registered=never, sha256="abc")


@pytest.mark.parametrize("target", ["nowhere", "champion2", "-1", "\x00", "x" * 5000])
def test_what_is_neither_folder_nor_version_is_said_to_be_neither(target):
    with pytest.raises(ModelError, match="neither a folder nor a version"):
        verification.verified(target, registered=never)


def test_what_mlflow_would_load_must_be_what_was_verified(store, log_new):
    first, second = log_new(store, weight=1.0), log_new(store, weight=2.0)
    source = f"runs:/{first.run_id}/scorer"
    tags = registry.find(store, "demo", 2).tags
    store.client.create_model_version("lead-scoring-demo", source, run_id=second.run_id, tags=tags)
    with pytest.raises(RegistryError, match="MLflow would load something else"):
        registry.resolve(store, "demo", 3)


@pytest.mark.parametrize("tag", ["../../../etc", "", "a\n", "0" * 63])
def test_a_tag_that_is_no_hash_names_no_folder(store, log_new, tag):
    log_new(store)
    store.client.set_model_version_tag("lead-scoring-demo", "1", "scorer", tag)
    with pytest.raises(RegistryError, match="was not registered by this project"):
        registry.resolve(store, "demo", 1)


def test_a_version_whose_stored_files_were_altered_is_refused_though_a_sound_copy_is_there(store, log_new, asked):
    registration = log_new(store)
    kept = verification.verified("1", registered=asked).folder
    run = store.client.get_run(registration.run_id)
    (module,) = (Path(run.info.artifact_uri) / "scorer" / "code").glob("*/__init__.py")
    with open(module, "a") as file:
        file.write("print(1)\n")
    with pytest.raises(RegistryError, match="the stored files are not those that were registered"):
        verification.verified("1", registered=asked)
    # Who scores loads the copy, which is what was registered.
    assert registry.resolve(store, "demo", 1) == (1, kept)


def test_a_stored_link_is_not_followed(store, log_new):
    registration = log_new(store)
    stored = Path(store.client.get_run(registration.run_id).info.artifact_uri) / "scorer" / "data" / "margin.json"
    stored.unlink()
    # Copying it would never end.
    stored.symlink_to("/dev/zero")
    with pytest.raises(RegistryError, match=r"data/margin\.json: a link"):
        registry.resolve(store, "demo", 1)


def test_a_folder_that_fit_made_is_remembered_and_any_other_needs_its_hash(workspace, scorer, tmp_path):
    with pytest.raises(ModelError, match="did not make it in this project"):
        verification.refuse_unknown(workspace, scorer, None)
    verification.refuse_unknown(workspace, scorer, files.sha256(scorer))
    verification.note_made(workspace, scorer)
    verification.refuse_unknown(workspace, scorer, None)
    moved = shutil.copytree(scorer, tmp_path / "moved")
    verification.refuse_unknown(workspace, moved, None)
    (moved / "MLmodel").write_bytes((moved / "MLmodel").read_bytes() + b"\n")
    with pytest.raises(ModelError, match="did not make it in this project"):
        verification.refuse_unknown(workspace, moved, None)
    with pytest.raises(ModelError, match="was given"):
        verification.refuse_unknown(workspace, scorer, "0" * 64)


# An exported folder


def test_an_exported_folder_is_the_version_and_nothing_is_overwritten(store, log_new, asked, tmp_path):
    log_new(store)
    number, signed = registry.export(store, "demo", "challenger", tmp_path / "out" / "scorer")
    assert (number, signed) == (1, False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scorer"]
    found = verification.verified(str(tmp_path / "out" / "scorer"), registered=asked)
    assert (found.number, found.sha256) == (None, registry.find(store, "demo", 1).scorer)
    assert verification.verified("1", registered=asked).number == 1
    with pytest.raises(ParamsError, match="is there already"):
        registry.export(store, "demo", 1, tmp_path / "out" / "scorer")
    (tmp_path / "other.sig").write_text("kept")
    with pytest.raises(ParamsError, match="is there already"):
        registry.export(store, "demo", 1, tmp_path / "other")
    with pytest.raises(RegistryError, match="has no version 7"):
        registry.export(store, "demo", 7, tmp_path / "none")
    assert not (tmp_path / "none").exists()
