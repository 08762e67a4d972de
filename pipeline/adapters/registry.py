"""Registered versions: one model per contract, and the aliases `challenger` and `champion`.

A version is a scorer, named by the hash of its content: the same content is never registered twice. In a local store
its source is `runs:/<run>/scorer`, which names no folder and which MLflow copies before it loads: from a plain path it
would load in place, and leave a file and byte code among the registered ones.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import re
import shutil
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.adapters import model_check, signing
from pipeline.adapters.tracking import Store, answering, name_of
from pipeline.errors import ParamsError, RegistryError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION = "challenger", "champion"

#: Tags of a version that `adapters.approvals` writes: who approved it last, and who rejected it, as JSON.
APPROVAL, REJECTED = "approval", "rejected"

#: Tag of a version: sha256 of the champion that the gate held it against, or `NOBODY` where there was none.
AGAINST, NOBODY = "judged_against", "nobody"

#: Tag of a version that could not be compared with that champion: why not; "" where it could.
INCOMPARABLE = "not_comparable"

#: Tag of a version: up to when the outcomes that it was judged on are known, or `NO_TIMES`.
JUDGED_UNTIL, NO_TIMES = "judged_until", "no times"

#: The scorer's folder among a run's artifacts.
SCORER = "scorer"

#: Begins the names of folders under `models/` in which copies are made.
HALF = ".copying-"

#: Figures of a version that `models` shows.
SHOWN = ("log_loss", "lift_10", "calibration_error")


@dataclass(frozen=True)
class Version:
    """A registered version. `scorer`: sha256 of its folder; `gate`: `passed`, or empty where this project made none."""

    number: int
    run_id: str
    scorer: str
    gate: str
    aliases: tuple[str, ...]
    tags: dict[str, str]


def versions(store: Store, contract: str) -> list[Version]:
    """Every registered version of the contract's model, oldest first."""
    with answering(store.uri):
        found = store.client.search_model_versions(f"name = '{name_of(contract)}'")
        aliases = _aliases(store, contract) if found else {}
    return sorted((_version(one, aliases) for one in found), key=lambda version: version.number)


def find(store: Store, contract: str, which: str | int) -> Version:
    """The version with this number or alias.

    Raises:
        RegistryError: there is none; the message says what there is.
    """
    return pick(versions(store, contract), contract, which)


def pick(known: list[Version], contract: str, which: str | int) -> Version:
    """As `find`, among versions that were read before."""
    text = str(which)
    for version in known:
        if text in version.aliases or text == str(version.number):
            return version
    if not known:
        raise RegistryError(f"{name_of(contract)} has no registered version yet; run `dvc repro`, then `leads sync`.")
    if text == CHAMPION:
        raise RegistryError(
            f"no version of {name_of(contract)} is champion yet. Approve one with `leads approve VERSION --by NAME "
            "--note TEXT`, or name `challenger` or a version."
        )
    numbers = ", ".join(str(version.number) for version in known)
    raise RegistryError(f"{name_of(contract)} has no version {text}; it has {numbers}.")


def register(store: Store, contract: str, run_id: str, tags: dict[str, str]) -> tuple[int, bool]:
    """Register the scorer of a run that passed the gate and make it the challenger; called under `store.lock`.

    Args:
        tags: of the version; `scorer`, the hash of the scorer's folder, decides whether it is registered already.

    Returns:
        The version's number, and whether it is new.
    """
    name = name_of(contract)
    with answering(store.uri):
        same = [one for one in versions(store, contract) if one.scorer == tags["scorer"] and _lives(store, one.run_id)]
        if same:
            number = same[0].number
            _judge_anew(store, contract, same[0], tags)
        else:
            _make_model(store, contract)
            made = store.client.create_model_version(name, _source(store, run_id), run_id=run_id, tags=tags)
            number = int(made.version)
        if not same or (CHALLENGER not in same[0].aliases and REJECTED not in same[0].tags):
            store.client.set_registered_model_alias(name, CHALLENGER, str(number))
    return number, not same


def describe(store: Store, contract: str, number: int, about: str) -> None:
    """Write what MLflow shows at the top of a version's page, as Markdown; called under `store.lock`."""
    name, version = name_of(contract), str(number)
    with answering(store.uri):
        if store.client.get_model_version(name, version).description != about:
            store.client.update_model_version(name, version, description=about)


def refuse(store: Store, contract: str, scorer: str) -> None:
    """Take the gate's pass, and the alias `challenger`, from a version that was judged again and refused; called under
    `store.lock`.

    The champion keeps it: what is in use stays what a person approved.
    """
    with answering(store.uri):
        for version in versions(store, contract):
            if version.scorer == scorer and CHAMPION not in version.aliases:
                store.client.set_model_version_tag(name_of(contract), str(version.number), "gate", "refused")
                if CHALLENGER in version.aliases:
                    store.client.delete_registered_model_alias(name_of(contract), CHALLENGER)


def models(store: Store, contract: str) -> pd.DataFrame:
    """Every registered version: `version`, `aliases`, `gate`, key figures, `split`, name, time, who approved it, and
    who rejected it."""
    rows = []
    for version in versions(store, contract):
        with answering(store.uri):
            figures = store.client.get_run(version.run_id).data.metrics if _lives(store, version.run_id) else {}
        rows.append(
            {
                "version": version.number,
                "aliases": " ".join(version.aliases),
                "gate": version.gate,
                **{name: figures.get(name, float("nan")) for name in SHOWN},
                "split": version.tags.get("split", ""),
                "model_version": version.tags.get("model_version", ""),
                "registered": version.tags.get("registered", ""),
                "approved_by": ", ".join(people(version, APPROVAL)),
                "rejected_by": ", ".join(people(version, REJECTED)),
            }
        )
    columns = ["version", "aliases", "gate", *SHOWN, "split", "model_version", "registered"]
    return pd.DataFrame(rows, columns=[*columns, "approved_by", "rejected_by"])


def champion(store: Store, contract: str) -> Version | None:
    """The champion of this moment, if there is one."""
    return next((one for one in versions(store, contract) if CHAMPION in one.aliases), None)


def accepted(store: Store, contract: str, candidate: str | None = None) -> tuple[int, dict[str, Any]] | None:
    """The history that was accepted last: number of its version, and its profile (`validate/profile.json`).

    It is that of the champion, else of the newest version. Versions without a profile are passed over, and so are,
    where `candidate` names what is judged now, its own version and later ones: judged again, it is compared with the
    same history.
    """
    known = [version for version in versions(store, contract) if version.gate == "passed"]
    if candidate is not None:
        own = [version.number for version in known if version.tags.get("candidate") == candidate]
        known = [version for version in known if not own or version.number < own[0]]
    for version in sorted(known, key=lambda one: (CHAMPION in one.aliases, one.number), reverse=True):
        profile = logged(store, version.run_id, "validate/profile.json")
        if profile is not None:
            return version.number, json.loads(profile)
    return None


def resolve(store: Store, contract: str, which: str | int, *, key: Path | None = None) -> tuple[int, Path]:
    """Number and folder of a version: a private copy under `models/`, verified every time, and never loaded.

    Names, kinds and sizes of the stored files are looked at before any is copied; the copy must have the registered
    hash, and, where a public key is given or configured (`signing.public_key`), a signature by it. Where a sound copy
    is there, the stored files are not read again: whoever speaks for these calls `refuse_altered`.

    Raises:
        RegistryError: no such version, or what is stored is not what was registered.
        ParamsError: the public key cannot be used.
    """
    version, called = _registered(store, contract, which)
    target = store.home / "models" / version.scorer
    key = key or signing.public_key()
    if _against(store, version, target, key):
        target.parent.mkdir(exist_ok=True)
        with open(target.parent / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in target.parent.glob(f"{HALF}*"):  # by a process that was killed
                shutil.rmtree(left)
            # Another process may have made the copy meanwhile, and be reading it.
            if _against(store, version, target, key):
                with tempfile.TemporaryDirectory(dir=target.parent, prefix=HALF) as temporary:
                    copy = _copied(store, version, Path(temporary), called, key)
                    if target.exists():
                        os.replace(target, Path(temporary) / "altered")
                    os.replace(copy, target)
    return version.number, target


def refuse_altered(store: Store, contract: str, which: str | int, *, key: Path | None = None) -> None:
    """Read a version's stored files anew: they are what every client of MLflow loads, whatever copies are sound.

    Raises:
        RegistryError: no such version, or they are not what was registered.
        ParamsError: the public key cannot be used.
    """
    version, called = _registered(store, contract, which)
    with tempfile.TemporaryDirectory() as temporary:
        _copied(store, version, Path(temporary), called, key or signing.public_key())


def _registered(store: Store, contract: str, which: str | int) -> tuple[Version, str]:
    """A version that this project registered, whose source is what was, and what messages call it.

    Raises:
        RegistryError: there is none.
    """
    version = find(store, contract, which)
    called = f"version {version.number} of {name_of(contract)}"
    if not re.fullmatch(r"[0-9a-f]{64}", version.scorer):
        raise RegistryError(f"{called} was not registered by this project.")
    _refuse_other_source(store, contract, version, called)
    return version, called


def export(store: Store, contract: str, which: str | int, target: Path) -> tuple[int, bool]:
    """Write a version, verified as `resolve` does, to the new folder `target`, with its signature `<target>.sig` beside
    it; returns its number, and whether it is signed.

    Raises:
        RegistryError, ParamsError: as `resolve`; or there is something under that name already.
    """
    target = Path(os.path.abspath(target))
    beside = target.with_name(f"{target.name}.sig")
    for taken in (target, beside):
        if taken.exists() or taken.is_symlink():
            raise ParamsError(f"{taken} is there already; name a folder that is not.")
    number, folder = resolve(store, contract, which)
    run_id = find(store, contract, number).run_id
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ParamsError(f"{target.parent}: no folder can be made there ({fault.strerror}).") from None
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
        copy = shutil.copytree(folder, Path(temporary) / "copy")
        signature = _signature(store, run_id, Path(temporary))
        signed = signature.is_file()
        if signed:
            os.replace(signature, beside)
        os.replace(copy, target)
    return number, signed


def _against(store: Store, version: Version, folder: Path, key: Path | None) -> list[str]:
    """What speaks against a copy of a version's files, which a key must have signed where one is given."""

    def vouch(_: str) -> list[str]:
        if key is None:
            return []
        with tempfile.TemporaryDirectory() as temporary:
            refused = signing.refusal(folder, _signature(store, version.run_id, Path(temporary)), key)
        return [refused] if refused else []

    return model_check.faults(folder, sha256=version.scorer, vouch=vouch)


def sign(store: Store, contract: str, which: str | int, key: Path) -> bool:
    """Sign a version with a private key, as its stored files are; the signature becomes an artifact of its run. False
    where one by this key was there.

    Raises:
        RegistryError: no such version, or what is stored is not what was registered.
        ParamsError: the key cannot be used.
    """
    version = find(store, contract, which)
    with tempfile.TemporaryDirectory() as temporary:
        copy = _copied(store, version, Path(temporary), f"version {version.number} of {name_of(contract)}")
        signature = _signature(store, version.run_id, Path(temporary))
        if not signing.refusal(copy, signature, key):
            return False
        signing.sign(copy, signature, key)
        with answering(store.uri):
            store.client.log_artifact(version.run_id, str(signature))
    return True


def _copied(store: Store, version: Version, folder: Path, called: str, key: Path | None = None) -> Path:
    """A copy in `folder` of a version's stored files, which are what was registered.

    Raises:
        RegistryError: they are not.
    """
    with answering(store.uri):
        found = model_check.shape(_stored(store, version.run_id))
    if not found:
        copy = download(store, version.run_id, folder)
        found = _against(store, version, copy, key)
    if found:
        what = (
            f"{called}: the stored files are not those that were registered, or not signed as they must be. Do not use "
            "them; take another version, or register this one anew"
        )
        raise RegistryError(model_check.listed(what, found))
    return copy


def _stored(store: Store, run_id: str) -> list[model_check.Entry]:
    """What a run holds as its scorer, by name, kind and size. A folder on this machine is looked at where it lies:
    MLflow would follow its links, and read from a pipe for ever."""
    place = urllib.parse.urlparse(str(store.client.get_run(run_id).info.artifact_uri))
    if place.scheme in ("", "file"):
        try:
            return model_check.entries(Path(urllib.parse.unquote(place.path) if place.scheme else place.path) / SCORER)
        except OSError:
            return []
    found: list[model_check.Entry] = []
    waiting = [SCORER]
    while waiting and len(found) <= model_check.MOST_ENTRIES:
        for one in store.client.list_artifacts(run_id, waiting.pop()):
            path = one.path.removeprefix(f"{SCORER}/")
            found.append(model_check.Entry(path, "folder" if one.is_dir else "file", one.file_size or 0))
            if one.is_dir and model_check.FOLDERS.fullmatch(path):
                waiting.append(one.path)
    return found


def _refuse_other_source(store: Store, contract: str, version: Version, called: str) -> None:
    """MLflow loads what a version's source names: it must be the run's scorer, which is what was verified.

    Raises:
        RegistryError: it is something else.
    """
    with answering(store.uri):
        if not _lives(store, version.run_id):
            return
        source = store.client.get_model_version_download_uri(name_of(contract), str(version.number))
        expected = _source(store, version.run_id)
    if source != expected:
        raise RegistryError(
            f"{called}: its source in the registry is not the scorer of its run, so that MLflow would load something "
            "else than what was verified. Do not use it; register the scorer anew."
        )


def _signature(store: Store, run_id: str, folder: Path) -> Path:
    """Where in `folder` the signature of a run's scorer lies now; no file is there where the run has none."""
    import mlflow.artifacts

    with answering(store.uri):
        listed = {one.path: one.file_size or 0 for one in store.client.list_artifacts(run_id)}
        if listed.get(signing.SIGNATURE, signing.MOST_BYTES + 1) <= signing.MOST_BYTES:
            mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=signing.SIGNATURE, dst_path=str(folder), tracking_uri=store.uri
            )
    return folder / signing.SIGNATURE


def download(store: Store, run_id: str, folder: Path) -> Path:
    """Copy a run's scorer into `folder`; returns the copy."""
    import mlflow.artifacts

    with answering(store.uri):
        path = mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=SCORER, dst_path=str(folder), tracking_uri=store.uri
        )
    return Path(path)


@dataclass(frozen=True)
class Recorded:
    """What the run of a version says of it: settings, figures (those in groups left out), and sha256 of the tables that
    it learned from."""

    params: dict[str, str]
    metrics: dict[str, float]
    digests: dict[str, str]


def recorded(store: Store, version: Version) -> Recorded:
    """What MLflow holds about a version beside its files.

    Raises:
        RegistryError: its run is gone.
    """
    with answering(store.uri):
        run = store.client.get_run(version.run_id)
    return Recorded(
        dict(run.data.params),
        {name: figure for name, figure in run.data.metrics.items() if "/" not in name},
        {one.dataset.name: one.dataset.digest for one in run.inputs.dataset_inputs},
    )


def logged(store: Store, run_id: str, name: str) -> str | None:
    """The text of a file among a run's artifacts; None where the run, or the file, is gone or never was."""
    import mlflow.artifacts

    with answering(store.uri):
        if not _lives(store, run_id):
            return None
        folder = name.rpartition("/")[0]
        if name not in {one.path for one in store.client.list_artifacts(run_id, folder)}:
            return None
        with tempfile.TemporaryDirectory() as temporary:
            path = mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=name, dst_path=temporary, tracking_uri=store.uri
            )
            return Path(path).read_text(encoding="utf-8")


def _lives(store: Store, run_id: str) -> bool:
    """Whether a version's run, and so its files, can still be had."""
    from mlflow.exceptions import MlflowException

    try:
        store.client.get_run(run_id)
    except MlflowException as fault:
        if fault.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _source(store: Store, run_id: str) -> str:
    """Where a version says its files are."""
    place = str(store.client.get_run(run_id).info.artifact_uri)
    return (
        f"{place}/{SCORER}" if "://" in place or place.startswith("mlflow-artifacts:") else f"runs:/{run_id}/{SCORER}"
    )


def _make_model(store: Store, contract: str) -> None:
    from mlflow.exceptions import MlflowException

    about = (
        f"Lead scores for the contract `{contract}`. `challenger` is the newest version that passed the gate; "
        "`champion` was approved by a named person (`leads approve`). Any MLflow client loads it with "
        "`mlflow.pyfunc.load_model`."
    )
    try:
        store.client.create_registered_model(name_of(contract), tags={"contract": contract}, description=about)
    except MlflowException as fault:
        if fault.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _aliases(store: Store, contract: str) -> dict[str, list[str]]:
    """Version number -> its aliases; a search does not return them."""
    model = store.client.get_registered_model(name_of(contract))
    found: dict[str, list[str]] = {}
    for alias, number in model.aliases.items():
        found.setdefault(str(number), []).append(alias)
    return found


def _version(one: ModelVersion, aliases: dict[str, list[str]]) -> Version:
    registered = datetime.datetime.fromtimestamp(one.creation_timestamp / 1000, tz=datetime.UTC)
    return Version(
        number=int(one.version),
        run_id=one.run_id or "",
        scorer=one.tags.get("scorer", ""),
        gate=one.tags.get("gate", ""),
        aliases=tuple(sorted(aliases.get(str(one.version), []))),
        tags={**one.tags, "registered": registered.strftime("%Y-%m-%d %H:%M")},
    )


def _judge_anew(store: Store, contract: str, version: Version, tags: dict[str, str]) -> None:
    """What the gate says of a version that stands already, where it says something new."""
    for key in ("gate", AGAINST, INCOMPARABLE, JUDGED_UNTIL):
        if key in tags and version.tags.get(key) != tags[key]:
            store.client.set_model_version_tag(name_of(contract), str(version.number), key, tags[key])


def people(version: Version, act: str) -> list[str]:
    """Who approved or rejected a version, the last one last."""
    told = json.loads(version.tags.get(act, "{}"))
    return [*told.get("signed", []), told["by"]] if told else []
