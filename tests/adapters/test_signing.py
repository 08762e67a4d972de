"""Signatures: made where a key is configured, required where a public key is, and of no effect on any hash."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.adapters import approvals, files, registry, signing, verification
from pipeline.errors import ModelError, ParamsError, RegistryError

pytest.importorskip("model_signing", reason="the packages of requirements-signing.lock are not installed")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

PEM = serialization.Encoding.PEM


def write_keys(folder: Path, name: str, private=None) -> tuple[Path, Path]:
    private = private or ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    paths = folder / f"{name}.key", folder / f"{name}.pub"
    paths[0].write_bytes(private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))
    paths[1].write_bytes(private.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return paths


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, "ours")


@pytest.fixture
def scorer(workspace) -> Path:
    return workspace.path("calibrate/scorer")


def test_a_signature_covers_every_file_and_changes_none(scorer, keys, tmp_path):
    before, signature = files.sha256(scorer), tmp_path / "scorer.sig"
    signing.sign(scorer, signature, keys[0])
    assert files.sha256(scorer) == before
    assert signing.refusal(scorer, signature, keys[1]) == ""
    for path in sorted(path for path in scorer.rglob("*") if path.is_file()):
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        assert "is not one of these files" in signing.refusal(scorer, signature, keys[1]), path
        path.write_bytes(content)
    for name in ("added.json", ".gitignore", ".git/config"):
        files.write_text(scorer / name, "")
        assert "is not one of these files" in signing.refusal(scorer, signature, keys[1]), name
        (scorer / name).unlink()


def test_the_standard_tool_agrees(scorer, keys, tmp_path):
    """Whoever has a folder, its signature and the public key needs nothing of ours."""
    signing.sign(scorer, tmp_path / "scorer.sig", keys[0])
    tool = [sys.executable, "-m", "model_signing", "verify", "key", str(scorer)]
    done = subprocess.run(
        [*tool, "--signature", str(tmp_path / "scorer.sig"), "--public_key", str(keys[1])],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"dsseEnvelope": {}}', b"0" * (2**20 + 1)])
def test_a_signature_that_is_none_is_a_refusal_and_no_crash(scorer, keys, tmp_path, content):
    (tmp_path / "scorer.sig").write_bytes(content)
    assert signing.refusal(scorer, tmp_path / "scorer.sig", keys[1])


def test_every_byte_of_a_signature_counts_or_says_nothing(scorer, keys, tmp_path):
    signature = tmp_path / "scorer.sig"
    signing.sign(scorer, signature, keys[0])
    whole = signature.read_bytes()
    for place in range(0, len(whole), len(whole) // 40):
        signature.write_bytes(whole[:place])
        assert signing.refusal(scorer, signature, keys[1])


def test_another_key_a_missing_signature_and_no_key_are_told_apart(scorer, keys, tmp_path):
    signature = tmp_path / "scorer.sig"
    assert "and one is required" in signing.refusal(scorer, signature, keys[1])
    signing.sign(scorer, signature, write_keys(tmp_path, "theirs")[0])
    assert "Key mismatch" in signing.refusal(scorer, signature, keys[1])
    (tmp_path / "none.pem").write_text("no key")
    for key in (tmp_path / "none.pem", write_keys(tmp_path, "other", ed25519.Ed25519PrivateKey.generate())[1]):
        with pytest.raises(ParamsError, match="must be an elliptic-curve key"):
            signing.refusal(scorer, signature, key)
    with pytest.raises(ParamsError, match="holds no private key"):
        signing.sign(scorer, signature, keys[1])


def test_a_key_that_a_variable_names_must_be_there(monkeypatch, tmp_path, keys):
    assert signing.signing_key() is None and signing.public_key() is None
    monkeypatch.setenv(signing.SIGNING_KEY, str(tmp_path / "nowhere"))
    with pytest.raises(ParamsError, match=r"LEADS_SIGNING_KEY names .*nowhere, where no file is"):
        signing.signing_key()
    monkeypatch.setenv(signing.PUBLIC_KEY, str(keys[1]))
    assert signing.public_key() == keys[1]
    monkeypatch.setitem(sys.modules, "model_signing.signing", None)
    with pytest.raises(ParamsError, match=r"requirements-signing\.lock"):
        signing.public_key()


def test_register_signs_where_a_key_is_configured_and_whoever_has_the_public_one_requires_it(
    store, log_new, keys, monkeypatch
):
    log_new(store, weight=1.0)
    monkeypatch.setenv(signing.SIGNING_KEY, str(keys[0]))
    registration = log_new(store, weight=2.0)
    assert "scorer.sig" in {one.path for one in store.client.list_artifacts(registration.run_id)}
    monkeypatch.setenv(signing.PUBLIC_KEY, str(keys[1]))
    number, _ = registry.resolve(store, "demo", 2)
    assert number == 2
    with pytest.raises(RegistryError, match="no signature of it is there"):
        registry.resolve(store, "demo", 1)
    with pytest.raises(RegistryError, match="no signature of it is there"):
        approvals.approve(store, "demo", 1, "A reviewer", "why", asked=1)
    assert registry.sign(store, "demo", 1, keys[0])
    assert not registry.sign(store, "demo", 1, keys[0])
    assert registry.resolve(store, "demo", 1)[0] == 1


def test_another_keys_signature_is_replaced_by_who_may_sign(store, log_new, keys, tmp_path):
    theirs = write_keys(tmp_path, "theirs")
    log_new(store)
    assert registry.sign(store, "demo", 1, theirs[0])
    assert registry.sign(store, "demo", 1, keys[0])
    assert registry.resolve(store, "demo", 1, key=keys[1])[0] == 1
    with pytest.raises(RegistryError, match="Key mismatch"):
        registry.resolve(store, "demo", 1, key=theirs[1])


def test_a_forged_registry_is_found_out_by_the_signature(store, log_new, keys):
    """Whoever may write to the registry can make another version's bytes pass for this one's, but cannot sign them."""
    first, second = log_new(store, weight=1.0), log_new(store, weight=2.0)
    registry.sign(store, "demo", 1, keys[0])
    homes = [Path(store.client.get_run(one.run_id).info.artifact_uri) for one in (first, second)]
    (homes[0] / "scorer").rename(homes[0] / "away")
    (homes[1] / "scorer").rename(homes[0] / "scorer")
    forged = registry.find(store, "demo", 2).scorer
    store.client.set_model_version_tag("lead-scoring-demo", "1", "scorer", forged)
    assert registry.resolve(store, "demo", 1)[0] == 1
    with pytest.raises(RegistryError, match="its signature is not one of these files"):
        registry.resolve(store, "demo", 1, key=keys[1])


def test_a_folder_is_verified_by_the_signature_beside_it(scorer, keys):
    def never():
        pytest.fail("the registry was asked")

    with pytest.raises(ModelError, match=r"no signature of it is there \(scorer\.sig\)"):
        verification.verified(str(scorer), registered=never, key=keys[1])
    signing.sign(scorer, scorer.with_name("scorer.sig"), keys[0])
    found = verification.verified(str(scorer), registered=never, key=keys[1])
    assert found.lines[-1] == f"signature  of every file, by the key {signing.fingerprint(keys[0])[:16]}"
