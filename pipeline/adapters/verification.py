"""Whether a model folder or a registered version is what somebody vouches for, said before anything loads it.

Hashes inside a folder only say that its parts belong together: whoever makes a hostile folder makes its hashes too.
Something outside the folder must vouch for it: the registry, a signature, or a hash that was written down.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters import files, model_check, registry, signing
from pipeline.adapters.tracking import Store, name_of
from pipeline.errors import ModelError, ParamsError


@dataclass(frozen=True)
class Verified:
    """A folder that may be loaded, and why.

    `version`: what the scorer calls itself in every score; `sha256`: of the folder; `lines`: what was verified, in
    order, one sentence each.
    """

    folder: Path
    version: str
    sha256: str
    lines: tuple[str, ...]


def is_version(target: str) -> bool:
    """Whether a command's argument names a registered version (number or alias); else it is a folder."""
    return target in (registry.CHAMPION, registry.CHALLENGER) or target.isdecimal()


def verified(
    target: str,
    *,
    registered: Callable[[], tuple[Store, str]],
    sha256: str | None = None,
    signature: Path | None = None,
    key: Path | None = None,
) -> Verified:
    """Verify a folder or a registered version without loading it; what comes back may be loaded.

    A folder needs somebody outside it who vouches for it. `sha256` and a key each do, and each that is given must
    agree; where neither is, the registry is asked for a version with these bytes.

    Args:
        target: a folder, or a version as `is_version` knows it.
        registered: opens the store and names the contract; called only where the registry is asked.
        sha256: hash that the folder must have.
        signature: its signature; `<folder>.sig` by default. Of a version, that of its run is taken.
        key: public key that must have signed it; that of `signing.public_key` by default.

    Raises:
        ModelError: the folder is no scorer, was altered, or nobody vouches for it.
        RegistryError: there is no such version, or what is stored is not what was registered.
        ParamsError: the key cannot be used.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ParamsError("--sha256 takes the 64 hex digits that `leads verify` prints.")
    key = key or signing.public_key()
    if is_version(target):
        return _version(target, *registered(), sha256, key)
    given = Path(target)
    if not given.is_dir():
        raise ModelError(
            f"{target} is neither a folder nor a version; name a folder, a number, champion or challenger."
        )
    folder = given.resolve()
    found = model_check.faults(folder, sha256=sha256)
    if found:
        raise ModelError(model_check.listed(f"{target}: REFUSED", found))
    actual = files.sha256(folder)
    vouched = [] if sha256 is None else ["hash       as given"]
    if key:
        if refused := signing.refusal(folder, signature or folder.with_name(f"{folder.name}.sig"), key):
            raise ModelError(model_check.listed(f"{target}: REFUSED", [refused]))
        vouched.append(f"signature  of every file, by the key {signing.fingerprint(key)[:16]}")
    if not vouched:
        vouched.append(_in_registry(target, actual, *registered()))
    return _told(folder, actual, vouched)


def _version(target: str, store: Store, contract: str, sha256: str | None, key: Path | None) -> Verified:
    number, folder = registry.resolve(store, contract, target, key=key)
    actual = files.sha256(folder)
    if sha256 not in (None, actual):
        raise ModelError(f"version {number}: REFUSED: it has the sha256 {actual}, and {sha256} was given.")
    vouched = [f"registry   version {number} of {name_of(contract)}: the hash that it was registered with"]
    vouched += [] if sha256 is None else ["hash       as given"]
    vouched.append(
        f"signature  of every file, by the key {signing.fingerprint(key)[:16]}"
        if key
        else f"signature  not looked at: {signing.PUBLIC_KEY} names no key"
    )
    return _told(folder, actual, vouched)


def _in_registry(target: str, sha256: str, store: Store, contract: str) -> str:
    same = [version.number for version in registry.versions(store, contract) if version.scorer == sha256]
    if not same:
        raise ModelError(
            f"{target}: REFUSED: its hashes agree with one another, and nobody vouches for them. No version of "
            f"{name_of(contract)} has its sha256, {sha256}. Give the hash that it must have (--sha256), or the key "
            f"that signed it (--public-key, or {signing.PUBLIC_KEY})."
        )
    return f"registry   version {same[-1]} of {name_of(contract)} was registered with this hash"


def _told(folder: Path, sha256: str, vouched: list[str]) -> Verified:
    held = [entry for entry in model_check.entries(folder) if entry.kind == "file"]
    version = model_check.version(folder)
    lines = (
        f"files      {len(held)} with {sum(entry.size for entry in held):,} bytes; nothing else, and no links",
        f"manifest   every file of data and code is the one that {version} was made of",
        "loader     MLflow is told to import the folder's own code, and to install pinned packages only",
        f"sha256     {sha256}",
        *vouched,
    )
    return Verified(folder, version, sha256, lines)
