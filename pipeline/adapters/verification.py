"""Whether a model folder or a registered version is what somebody vouches for, said before anything loads it.

Hashes inside a folder only say that its parts belong together: whoever makes a hostile folder makes its hashes too.
Something outside the folder must vouch for it: the registry, a signature, or a hash that was written down.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters import files, model_check, registry, signing
from pipeline.adapters.tracking import Store, name_of
from pipeline.errors import ModelError, ParamsError, RegistryError
from pipeline.paths import Workspace

#: Why a folder is refused that nothing else speaks against.
NOBODY = (
    "nobody vouches for it: its sha256 ({}) is that of no version in the registry. Give the hash that it must have "
    f"(--sha256), or the key that signed it (--public-key, or {signing.PUBLIC_KEY})"
)


@dataclass(frozen=True)
class Verified:
    """A folder that may be loaded, and why.

    `number`: in the registry, None of a folder; `version`: what the scorer calls itself in every score; `sha256`: of
    the folder; `lines`: what was verified, in order, one sentence each.
    """

    folder: Path
    number: int | None
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
        RegistryError: there is no such version, or what is stored is not what was registered, or not what `sha256`
            says.
        ParamsError: the key cannot be used, or a signature was given that nothing would be held against.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ParamsError("--sha256 takes the 64 hex digits that `leads verify` prints.")
    key = key or signing.public_key()
    if signature is not None and (key is None or is_version(target)):
        raise ParamsError(
            "--signature goes with a folder and the key that signed it (--public-key); a version's signature is kept "
            "with its run."
        )
    if is_version(target):
        return _version(target, *registered(), sha256, key)
    if not os.path.isdir(target):
        raise ModelError(
            f"{target} is neither a folder nor a version; name a folder, a number, champion or challenger."
        )
    folder, vouched = Path(target).resolve(), []

    def vouch(actual: str) -> list[str]:
        against = [] if sha256 in (None, actual) else [f"it has the sha256 {actual}, and {sha256} was given"]
        if key:
            refused = signing.refusal(folder, signature or folder.with_name(f"{folder.name}.sig"), key)
            against += [refused] if refused else []
            vouched.append(_signed(key))
        if sha256 is None and key is None:
            said = _in_registry(actual, *registered())
            against += [] if said else [NOBODY.format(actual)]
            vouched.append(said)
        return against

    if found := model_check.faults(folder, vouch=vouch):
        raise ModelError(model_check.listed(f"{target}: REFUSED", found))
    return _told(folder, None, sha256, vouched)


def note_made(workspace: Workspace, folder: Path) -> None:
    """Remember, by its hash, a folder that this project made and does not register (`leads fit`)."""
    files.write_text(_made(workspace, files.sha256(folder)), "")


def refuse_unknown(workspace: Workspace, folder: Path, sha256: str | None) -> None:
    """Refuse a folder that this project does not remember making, unless it has the hash `sha256`.

    Raises:
        ModelError: it is no scorer, was altered, or nobody vouches for it.
    """

    def vouch(actual: str) -> list[str]:
        if sha256 == actual or (sha256 is None and _made(workspace, actual).is_file()):
            return []
        if sha256 is not None:
            return [f"it has the sha256 {actual}, and {model_check.said(sha256)} was given"]
        return [
            f"nobody vouches for it: `leads fit` did not make it in this project (its sha256 is {actual}). Give the "
            "hash that whoever made it says it must have: --sha256"
        ]

    model_check.check(folder, vouch=vouch, in_place=True)


def _made(workspace: Workspace, sha256: str) -> Path:
    return workspace.mlruns / "fitted" / sha256


def _version(target: str, store: Store, contract: str, sha256: str | None, key: Path | None) -> Verified:
    number, folder = registry.resolve(store, contract, target, key=key)
    registry.refuse_altered(store, contract, number, key=key)
    if sha256 not in (None, actual := files.sha256(folder)):
        raise RegistryError(f"version {number}: REFUSED: it has the sha256 {actual}, and {sha256} was given.")
    looked = _signed(key) if key else f"signature  not looked at: {signing.PUBLIC_KEY} names no key"
    return _told(folder, number, sha256, [f"registry   version {number} of {name_of(contract)} has this hash", looked])


def _in_registry(sha256: str, store: Store, contract: str) -> str:
    """The newest version with this hash, in words; "" where there is none."""
    same = [version.number for version in registry.versions(store, contract) if version.scorer == sha256]
    return f"registry   version {same[-1]} of {name_of(contract)} has this hash" if same else ""


def _signed(key: Path) -> str:
    return f"signature  of every file, by the key {signing.fingerprint(key)[:16]}"


def _told(folder: Path, number: int | None, given: str | None, vouched: list[str]) -> Verified:
    held = [entry for entry in model_check.entries(folder) if entry.kind == "file"]
    version, sha256 = model_check.version(folder), files.sha256(folder)
    lines = (
        f"files      {len(held)} with {sum(entry.size for entry in held):,} bytes; nothing else, and no links",
        f"manifest   every file of data and code is the one that {version} was made of",
        "loader     MLflow is told to import the folder's own code, and to install pinned packages only",
        f"sha256     {sha256}{', as given' if given else ''}",
        *vouched,
    )
    return Verified(folder, number, version, sha256, lines)
