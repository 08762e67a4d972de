"""Signatures of model folders in the format of OpenSSF model signing, made and checked with local keys.

A signature is a file of its own beside the folder, `<folder>.sig`, so that signing changes no hash. It covers every
file of the folder. Keys are elliptic-curve keys in PEM files (P-256, P-384, P-521, without a password); two environment
variables name them, since where keys lie belongs to a machine and not to the project. The package `model-signing` is
only needed where one of them is set.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from pipeline.adapters import files
from pipeline.errors import ParamsError

#: The private key that `register` signs with, and the public key that every registered or exported scorer must be
#: signed with before it is used.
SIGNING_KEY, PUBLIC_KEY = "LEADS_SIGNING_KEY", "LEADS_SIGNING_PUBLIC_KEY"

#: The signature among a run's artifacts, beside the folder `scorer`.
SIGNATURE = "scorer.sig"

#: As the library names the curves that it signs with.
CURVES = ("secp256r1", "secp384r1", "secp521r1")

#: A signature lists the hash of every file: some ten thousand bytes.
MOST_BYTES = 2**20


def signing_key() -> Path | None:
    """The private key that this machine signs with; None where it signs nothing.

    Raises:
        ParamsError: the variable names no file, or the package is not installed.
    """
    return _named(SIGNING_KEY)


def public_key() -> Path | None:
    """The public key that signatures are required from; None where none is required.

    Raises:
        ParamsError: the variable names no file, or the package is not installed.
    """
    return _named(PUBLIC_KEY)


def _named(variable: str) -> Path | None:
    given = os.environ.get(variable, "").strip()
    return key_file(Path(given), variable) if given else None


def key_file(path: Path, what: str) -> Path:
    """`path`, where it is a file and the package that reads it is there; `what` says who named it.

    Raises:
        ParamsError: it is none, or the package is not installed.
    """
    if not path.is_file():
        raise ParamsError(f"{what} names {path}, where no file is; name a key in a PEM file, or unset it.")
    try:
        path.read_bytes()
    except OSError as fault:
        raise ParamsError(f"{what} names {path}, which cannot be read ({fault.strerror}).") from None
    try:
        import model_signing.signing  # noqa: F401
    except ImportError as fault:
        raise ParamsError(
            f"{what} is given, and signatures need packages that are not installed ({fault.name}): "
            "pip install --require-hashes -r requirements-signing.lock"
        ) from None
    return path


def sign(folder: Path, signature: Path, key: Path) -> None:
    """Sign every file of `folder` with the private key; writes the file `signature`.

    Raises:
        ParamsError: the key cannot be used.
    """
    from model_signing import signing

    if b"PRIVATE KEY" not in key.read_bytes():
        raise ParamsError(f"{key} holds no private key to sign with.")
    public_bytes(key)
    config = signing.Config().set_hashing_config(_every_file()).use_elliptic_key_signer(private_key=key)
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / SIGNATURE
        config.sign(folder, made)
        files.write_bytes(signature, made.read_bytes())


def refusal(folder: Path, signature: Path, key: Path) -> str:
    """Why `signature` is not one of `folder` by the public key, or by the private key's counterpart; "" where it is.

    Raises:
        ParamsError: the key cannot be used.
    """
    from model_signing import verifying

    if not signature.is_file():
        return f"no signature of it is there ({signature.name}), and one is required"
    if signature.stat().st_size > MOST_BYTES:
        return f"its signature has more than {MOST_BYTES:,} bytes"
    with tempfile.TemporaryDirectory() as temporary:
        public = Path(temporary) / "key.pem"
        public.write_bytes(public_bytes(key))
        config = verifying.Config().set_hashing_config(_every_file()).use_elliptic_key_verifier(public_key=public)
        try:
            config.verify(folder, signature)
        # The signature is a stranger's file, and the library has no error class of its own: whatever comes of it other
        # than a return is a refusal.
        except Exception as fault:
            return f"its signature is not one of these files by the key {fingerprint(key)[:16]} ({_first_line(fault)})"
    return ""


def _every_file() -> Any:
    """How a folder is hashed: the library would pass over files of git."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)


def public_bytes(key: Path) -> bytes:
    """The public key in a PEM file of a public or a private key, as PEM.

    Raises:
        ParamsError: it holds none that signatures can be made with.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    content = key.read_bytes()
    try:
        if b"PRIVATE KEY" in content:
            public = serialization.load_pem_private_key(content, None).public_key()
        else:
            public = serialization.load_pem_public_key(content)
        if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name not in CURVES:
            raise ValueError("another kind of key")
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise ParamsError(
            f"{key} is no key for signatures ({_first_line(fault)}); it must be an elliptic-curve key (P-256, P-384 or "
            "P-521) in a PEM file without a password."
        ) from None
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Path) -> str:
    """sha256 of a key's public half, as signatures carry it."""
    return hashlib.sha256(public_bytes(key)).hexdigest()


def _first_line(fault: Exception) -> str:
    """The first sentence of what a library says, in ASCII and not endless; its class where it says nothing."""
    return ascii(str(fault))[1:-1].split("\\n")[0][:200] or type(fault).__name__
