"""The log of approvals: who signed, approved, rejected or rolled back which version, when and why. It only grows.

It stands twice: as lines of JSON in `approvals.jsonl` beside the store, and line by line in tags of the registered
model, so that either can be rebuilt from the other. Every line carries the sha256 of the contract's line before it: one
that was altered or taken out no longer fits what follows, and the last one, which nothing follows, is held against its
copy. This finds accidents and careless edits; whoever may write both copies can write another history.

An act that moves something is two lines: `intended` before, `done` after. `pipeline.adapters.approvals` says what
becomes of an act that a kill left at `intended`.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pipeline.adapters.tracking import Store, answering, name_of
from pipeline.errors import RegistryError

#: `sign`: one of several approvals asked for, which moves nothing yet.
Act = Literal["sign", "approve", "reject", "rollback"]
State = Literal["intended", "done", "withdrawn"]

#: Beginning of the registered model's tags that hold the log; the line's number follows.
TAG = "log."


@dataclass(frozen=True)
class Line:
    """One line of the log.

    `line`: its number within the contract, from 1. `at`: UTC. `version` and `scorer`, the hash of its bytes: what it is
    about. `before`: the champion at that moment, None where there was none. `signed`: who had signed before, where
    several approvals are asked for. `anyway`: somebody went on against a warning. `previous`: sha256 of the contract's
    line before, "" of the first.
    """

    line: int
    at: str
    contract: str
    act: Act
    state: State
    version: int
    scorer: str
    by: str
    note: str
    before: int | None
    signed: tuple[str, ...]
    anyway: bool
    previous: str

    @property
    def text(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True)
class Log:
    """The log of one contract. `texts`: its lines as they are stored, the longer of both copies; `in_file` and
    `in_tags`: lines of each; `faults`: what does not fit, one sentence each, none in a sound log."""

    path: Path
    texts: tuple[str, ...]
    in_file: int
    in_tags: int
    faults: tuple[str, ...]

    @cached_property
    def lines(self) -> list[Line]:
        """The lines, oldest first.

        Raises:
            RegistryError: the log has faults.
        """
        if self.faults:
            raise RegistryError(
                f"the log of approvals does not hold together: {' '.join(self.faults)} Put the file back from a copy, "
                "or move it away: what MLflow holds of it is then written anew."
            )
        return [_parsed(text) for text in self.texts]

    @property
    def head(self) -> str:
        """sha256 of the last line: whoever wrote it down can tell later that nothing before it was changed."""
        return sha256(self.texts[-1]) if self.texts else ""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read(store: Store, contract: str) -> Log:
    """The contract's log from both its copies, held against each other; called under `store.lock`.

    A last line of the file that a kill left unfinished does not count.
    """
    path = store.home / "approvals.jsonl"
    filed, faults = _filed(path, contract)
    tagged = _tagged(store, contract)
    for where, texts in ((path.name, filed), ("MLflow", tagged)):
        faults += _breaks(texts, where)
    for number, (one, other) in enumerate(zip(filed, tagged, strict=False), start=1):
        if one != other:
            faults.append(f"Line {number} in {path.name} is not the one that MLflow holds.")
            break
    return Log(path, tuple(filed if len(filed) >= len(tagged) else tagged), len(filed), len(tagged), tuple(faults))


def append(store: Store, log: Log, line: Line) -> Log:
    """Write one line to the file and to the disk; `mirror` brings it to MLflow. Called under `store.lock`."""
    _write(log.path, [line.text])
    return Log(log.path, (*log.texts, line.text), log.in_file + 1, log.in_tags, log.faults)


def mirror(store: Store, contract: str, log: Log) -> Log:
    """Give each copy the lines that only the other one has; called under `store.lock` with a sound log."""
    if missing := log.texts[log.in_file :]:
        _write(log.path, missing)
    with answering(store.uri):
        for number, text in enumerate(log.texts[log.in_tags :], start=log.in_tags + 1):
            store.client.set_registered_model_tag(name_of(contract), f"{TAG}{number:06d}", text)
    return Log(log.path, log.texts, len(log.texts), len(log.texts), log.faults)


def _write(path: Path, texts: list[str] | tuple[str, ...]) -> None:
    content = path.read_bytes() if path.exists() else b""
    whole = _whole(content)
    with open(path, "ab") as file:
        file.truncate(len(whole))
        if whole and not whole.endswith(b"\n"):
            file.write(b"\n")
        file.write("".join(f"{text}\n" for text in texts).encode())
        file.flush()
        os.fsync(file.fileno())


def _whole(content: bytes) -> bytes:
    """What a log holds without a last line that a kill left unfinished; one that only lacks its end counts."""
    *_, last = content.split(b"\n")
    try:
        if last:
            json.loads(last)
    except ValueError:
        return content[: len(content) - len(last)]
    return content


def _filed(path: Path, contract: str) -> tuple[list[str], list[str]]:
    """The contract's lines in the file, and faults: lines that are no part of any log."""
    found, faults = [], []
    content = _whole(path.read_bytes()) if path.exists() else b""
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if not raw:
            continue
        try:
            text = raw.decode()
            owner = _parsed(text).contract
        except (ValueError, TypeError):
            faults.append(f"Line {number} of {path.name} is no line of a log.")
            continue
        if owner == contract:
            found.append(text)
    return found, faults


def _tagged(store: Store, contract: str) -> list[str]:
    from mlflow.exceptions import MlflowException

    with answering(store.uri):
        try:
            tags: dict[str, str] = store.client.get_registered_model(name_of(contract)).tags
        except MlflowException as fault:
            if fault.error_code == "RESOURCE_DOES_NOT_EXIST":
                return []
            raise
    return [tags[key] for key in sorted(tags) if key.startswith(TAG)]


def _parsed(text: str) -> Line:
    """Raises ValueError or TypeError where a text is no line."""
    values: dict[str, Any] = json.loads(text)
    if not isinstance(values, dict) or set(values) != {field.name for field in fields(Line)}:
        raise ValueError("other keys")
    return Line(**values | {"signed": tuple(values["signed"])})


def _breaks(texts: list[str], where: str) -> list[str]:
    """Where the chain of one copy breaks: a sentence for the first line that does not follow from the one before."""
    before = ""
    for number, text in enumerate(texts, start=1):
        try:
            line = _parsed(text)
        except (ValueError, TypeError):
            return [f"Line {number} in {where} is no line of a log."]
        if line.line != number:
            return [f"In {where}, line {number} is missing: line {line.line} stands in its place."]
        if line.previous != before:
            return [f"In {where}, line {number - 1} was altered: line {number} follows another text."]
        before = sha256(text)
    return []
