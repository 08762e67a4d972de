"""What people decide about registered versions: approve, reject, roll back. Nothing else moves the alias `champion`.

Every act goes one way, under the store's lock: read anew, compare, write `intended` to the log, make the one change
that decides (the alias, or the tag `rejected`), do what follows from it, write `done`. Whoever takes the lock next
after a kill sees by the deciding change whether the act happened, and completes it or withdraws it.
"""

from __future__ import annotations

import datetime
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from pipeline.adapters import approval_log, registry
from pipeline.adapters.approval_log import Act, Line, Log
from pipeline.adapters.registry import (
    AGAINST,
    CHALLENGER,
    CHAMPION,
    INCOMPARABLE,
    JUDGED_UNTIL,
    NO_TIMES,
    NOBODY,
    REJECTED,
    Version,
)
from pipeline.adapters.tracking import Store, answering, name_of
from pipeline.errors import RegistryError

#: Longest name and note, in characters: a tag must hold both.
NAME_LENGTH, NOTE_LENGTH = 100, 1000


@dataclass(frozen=True)
class Outcome:
    """What became of an act. `before`: the champion until then. `moved`: False where nothing changed or more approvals
    are `waiting`: so many names are still asked for. `age`: of the newest outcome that an approved version was judged
    on, in a sentence; "" where its source has no times, or it is not known."""

    version: Version
    before: int | None
    moved: bool
    waiting: int = 0
    age: str = ""


def approve(
    store: Store,
    contract: str,
    version: int | str,
    by: str,
    note: str,
    *,
    asked: int,
    max_age_days: int | None = None,
    anyway: bool = False,
) -> Outcome:
    """Make a version the champion, or sign for it where more than one approval is asked for.

    Args:
        asked: how many people must approve (`register.approvals` of params.yaml); only the last of them moves the
            alias. A signature counts until the champion moves or the version is rejected.
        max_age_days: how old the newest outcome that it was judged on may be today (`register.freshness` of
            params.yaml); None for any age.
        anyway: go on although the version was rejected, or the champion is not the one it was judged against, or could
            not be compared with it, or its outcomes are too old.

    Raises:
        RegistryError: no such version; it did not pass the gate; its bytes are not those that were registered; it was
            rejected, not judged against this champion, or on outcomes too old, and `anyway` is False; the same person
            has signed before; `by` or `note` is no text of one line; the log has faults.
    """
    by, note = _signed(by, note)
    with store.lock():
        log, known, before = _standing(store, contract)
        wanted = registry.pick(known, contract, version)
        days = _age_days(wanted)
        if wanted.gate != "passed":
            raise RegistryError(
                f"version {wanted.number} of {name_of(contract)} did not pass the gate, or does so no longer; only one "
                "that does can be champion."
            )
        registry.refuse_altered(store, contract, wanted.number)
        if before is not None and before.number == wanted.number:
            return Outcome(wanted, before.number, moved=False)
        doubts = [*_doubts(known, wanted, before), *_too_old(wanted, days, max_age_days)]
        if doubts and not anyway:
            raise RegistryError(" ".join([*doubts, "Or approve it with --anyway, and say in the note why."]))
        names = _names(log.lines, wanted)
        if _key(by) in {_key(name) for name in names}:
            raise RegistryError(f"{by} has approved version {wanted.number} before; somebody else must, too.")
        last = len(names) + 1 >= asked
        line = _line(log, contract, "approve" if last else "sign", wanted, by, note, before)
        line = replace(line, signed=tuple(names), anyway=bool(doubts))
        if last:
            _perform(store, contract, log, line)
        else:
            log = approval_log.append(store, log, replace(line, state="done"))
            approval_log.mirror(store, contract, log)
        waiting = 0 if last else asked - len(names) - 1
        age = "" if days is None else _aged(wanted, days)
        return Outcome(wanted, before.number if before else None, moved=last, waiting=waiting, age=age)


def reject(store: Store, contract: str, version: int | str, by: str, note: str) -> Version:
    """Say that a version must not become champion: it loses the alias `challenger`, and `approve` asks for `anyway`.

    Raises:
        RegistryError: no such version; it is the champion, or rejected already; `by` or `note` is no text of one line;
            the log has faults.
    """
    by, note = _signed(by, note)
    with store.lock():
        log, known, now = _standing(store, contract)
        wanted = registry.pick(known, contract, version)
        if CHAMPION in wanted.aliases:
            raise RegistryError(
                f"version {wanted.number} of {name_of(contract)} is champion; `leads rollback` takes it out of use "
                "first."
            )
        if REJECTED in wanted.tags:
            raise RegistryError(_rejection(wanted))
        _perform(store, contract, log, _line(log, contract, "reject", wanted, by, note, now))
        return wanted


def rollback(store: Store, contract: str, by: str, note: str, *, to: int | None = None) -> Outcome:
    """Make the champion before this one champion again, or an earlier one named by `to`. One name is enough.

    The champion before is that of the approvals still in force: after a way back from 3 to 2, the next leads to 1. What
    was rejected since is passed over.

    Raises:
        RegistryError: there is no earlier champion; `to` never was one with these bytes, or was rejected; its bytes are
            not those that were registered; `by` or `note` is no text of one line; the log has faults.
    """
    by, note = _signed(by, note)
    with store.lock():
        log, known, now = _standing(store, contract)
        lines = log.lines
        if to is None:
            wanted = _before(lines, known, now)
        else:
            wanted = registry.pick(known, contract, to)
            if now is not None and now.number == wanted.number:
                return Outcome(wanted, now.number, moved=False)
            if (wanted.number, wanted.scorer) not in {(line.version, line.scorer) for line in lines if _crowns(line)}:
                raise RegistryError(
                    f"version {wanted.number} of {name_of(contract)} was never champion; `leads approve` makes it so."
                )
            if REJECTED in wanted.tags:
                raise RegistryError(_rejection(wanted))
        registry.refuse_altered(store, contract, wanted.number)
        _perform(store, contract, log, _line(log, contract, "rollback", wanted, by, note, now))
        return Outcome(wanted, now.number if now else None, moved=True)


def settle(store: Store, contract: str) -> Log:
    """The log after what a kill left half done was completed or withdrawn, and both its copies brought level.

    Called under `store.lock`, with at least one version registered.

    Raises:
        RegistryError: the log has faults.
    """
    return _settled(store, contract, approval_log.read(store, contract))


def examine(store: Store, contract: str) -> tuple[Log, list[str], list[str]]:
    """The log as it stands, what is wrong with it, and what is only unfinished; nothing is changed.

    Wrong is a line altered or missing in either copy, and a champion that the log does not know. On a server the file
    of this machine lacks what was decided on another one, which is only unfinished.
    """
    with store.lock():
        log = approval_log.read(store, contract)
        now = registry.champion(store, contract)
    wrong = list(log.faults)
    unfinished: list[str] = []
    if log.in_file < log.in_tags:
        (unfinished if store.database is None else wrong).append(
            f"{log.path.name} lacks {_span(log.in_file, log.in_tags)}, which MLflow holds; the next act writes them "
            "back."
        )
    if not log.faults and log.texts:
        lines = log.lines
        if lines[-1].state == "intended":
            unfinished.append(f"Line {len(lines)} was begun by a command that did not end; the next act settles it.")
        elif log.in_tags < log.in_file:
            unfinished.append(f"MLflow lacks {_span(log.in_tags, log.in_file)}; the next act writes them there.")
        if lines[-1].state != "intended":
            wrong += _outside(lines, now)
    elif not log.faults:
        wrong += _outside([], now)
    return log, wrong, unfinished


def told(log: Log) -> list[str]:
    """The acts of a log as lines to read, oldest first; the beginnings of acts that ended are left out."""
    if log.faults:
        return list(log.texts)
    shown = []
    for line, after in zip_longest(log.lines, log.lines[1:]):
        if line.state == "intended" and after is not None:
            continue
        what = {
            "sign": "signed for version {0}",
            "approve": "approved version {0}",
            "reject": "rejected version {0}",
            "rollback": "rolled back to version {0}",
        }[line.act].format(line.version)
        beside = "".join(
            [
                f" (champion before: {line.before or 'none'})" if line.act in ("approve", "rollback") else "",
                f", after {', '.join(line.signed)}" if line.signed else "",
                ", against a warning" if line.anyway else "",
                "" if line.state == "done" else f" [{line.state}]",
            ]
        )
        shown.append(f"{line.line:>4}  {line.at[:19].replace('T', ' ')}  {line.by} {what}{beside}: {line.note}")
    return shown


def _outside(lines: Sequence[Line], now: Version | None) -> list[str]:
    """A champion that came to be without an act of ours, as a sentence; none where the log explains it."""
    reigns = _reigns(lines)
    known = reigns[-1] if reigns else None
    found = (now.number, now.scorer) if now else None
    if found == known:
        return []
    said = f"version {known[0]}" if known else "none"
    stands = f"version {found[0]}" if found else "none"
    return [
        f"By the log the champion is {said}; the alias says {stands}: it was moved by hand, or the store is another."
    ]


def _span(first: int, last: int) -> str:
    return f"line {last}" if last == first + 1 else f"lines {first + 1} to {last}"


def _standing(store: Store, contract: str) -> tuple[Log, list[Version], Version | None]:
    """The settled log, the versions as they are after that, and the champion among them.

    Raises:
        RegistryError: no version is registered yet, or the log has faults.
    """
    if not (known := registry.versions(store, contract)):
        registry.pick(known, contract, CHAMPION)
    log = approval_log.read(store, contract)
    begun = bool(log.lines) and log.lines[-1].state == "intended"
    log = _settled(store, contract, log)
    if begun:  # settling it may have moved an alias
        known = registry.versions(store, contract)
    return log, known, next((one for one in known if CHAMPION in one.aliases), None)


# One act


def _settled(store: Store, contract: str, log: Log) -> Log:
    if log.lines and log.lines[-1].state == "intended":
        return _conclude(store, contract, log, log.lines[-1])
    return approval_log.mirror(store, contract, log)


def _line(log: Log, contract: str, act: Act, wanted: Version, by: str, note: str, before: Version | None) -> Line:
    return Line(
        line=len(log.texts) + 1,
        at=_now(),
        contract=contract,
        act=act,
        state="intended",
        version=wanted.number,
        scorer=wanted.scorer,
        by=by,
        note=note,
        before=before.number if before else None,
        signed=(),
        anyway=False,
        previous=log.head,
    )


def _perform(store: Store, contract: str, log: Log, line: Line) -> None:
    """Note the intention, make the change that decides, and conclude by what is there then."""
    log = approval_log.append(store, log, line)
    name, number = name_of(contract), str(line.version)
    with answering(store.uri):
        if line.act == "reject":
            told = json.dumps({"at": line.at, "by": line.by, "note": line.note}, ensure_ascii=False, sort_keys=True)
            store.client.set_model_version_tag(name, number, REJECTED, told)
        else:
            store.client.set_registered_model_alias(name, CHAMPION, number)
    log = _conclude(store, contract, log, line)
    if log.lines[-1].state != "done":
        raise RegistryError(
            f"{name}: somebody else moved the alias champion just now; look at `leads models` and decide again."
        )


def _conclude(store: Store, contract: str, log: Log, line: Line) -> Log:
    """Complete an act whose deciding change is there, withdraw one whose is not; both copies are level afterwards."""
    known = {(one.number, one.scorer): one for one in registry.versions(store, contract)}
    version = known.get((line.version, line.scorer))
    decided = version is not None and (
        REJECTED in version.tags if line.act == "reject" else CHAMPION in version.aliases
    )
    if version is not None and decided:
        _follow(store, contract, line, version)
    end = replace(line, line=line.line + 1, at=_now(), state="done" if decided else "withdrawn", previous=log.head)
    return approval_log.mirror(store, contract, approval_log.append(store, log, end))


def _follow(store: Store, contract: str, line: Line, version: Version) -> None:
    """What follows from an act once it has happened; may be done twice."""
    name, number = name_of(contract), str(version.number)
    with answering(store.uri):
        if line.act == "approve":
            told = {key: getattr(line, key) for key in ("at", "by", "note", "signed", "before")}
            text = json.dumps(told, ensure_ascii=False, sort_keys=True)
            store.client.set_model_version_tag(name, number, registry.APPROVAL, text)
            if REJECTED in version.tags:
                store.client.delete_model_version_tag(name, number, REJECTED)
        elif line.act == "reject" and CHALLENGER in version.aliases:
            store.client.delete_registered_model_alias(name, CHALLENGER)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


# What the log says


def _crowns(line: Line) -> bool:
    return line.state == "done" and line.act in ("approve", "rollback")


def _reigns(lines: Sequence[Line]) -> list[tuple[int, str]]:
    """Champions whose approvals are in force, number and hash, the present one last: a way back undoes those after."""
    reigns: list[tuple[int, str]] = []
    for line in filter(_crowns, lines):
        one = (line.version, line.scorer)
        if line.act == "rollback" and one in reigns:
            while reigns[-1] != one:
                reigns.pop()
        else:
            reigns.append(one)
    return reigns


def _before(lines: Sequence[Line], known: Sequence[Version], now: Version | None) -> Version:
    """The champion before the present one, among those that can be champion again."""
    current = now.number if now else None
    able = {(one.number, one.scorer): one for one in known if REJECTED not in one.tags and one.number != current}
    for one in reversed(_reigns(lines)):
        if one in able:
            return able[one]
    raise RegistryError("there is no earlier champion to go back to; `leads log` lists those that there were.")


def _names(lines: Sequence[Line], wanted: Version) -> list[str]:
    """Who has signed for a version since the champion last moved and since it was last rejected."""
    names = []
    for line in reversed(lines):
        about = (line.version, line.scorer) == (wanted.number, wanted.scorer)
        if _crowns(line) or (about and line.act == "reject" and line.state == "done"):
            break
        if about and line.act == "sign":
            names.append(line.by)
    return names[::-1]


def _doubts(known: Sequence[Version], wanted: Version, now: Version | None) -> list[str]:
    """Why a person must say that a version is approved all the same, one sentence each."""
    found = [_rejection(wanted)] if REJECTED in wanted.tags else []
    numbers = {one.scorer: f"version {one.number}" for one in known} | {NOBODY: "none"}
    against, present = wanted.tags.get(AGAINST), now.scorer if now else NOBODY
    if against == present or (against is None and now is None):
        if now and (why_not := wanted.tags.get(INCOMPARABLE)):
            found.append(
                f"Version {wanted.number} could not be compared with the champion, {numbers[present]}: {why_not}."
            )
        return found
    stands = numbers[present] if now else "none"
    if against is None:
        said = f"It is not known against which champion version {wanted.number} was judged; the champion is {stands}."
    else:
        was = numbers.get(against, "a version that is gone")
        said = f"Version {wanted.number} was judged against {was} as champion; since then it has become {stands}."
    return [*found, f"{said} Judge it again with its results in data/ (`dvc repro -f register`), or train anew."]


def _age_days(version: Version) -> int | None:
    """Whole days from the newest outcome that a version was judged on until now; None where that is not known."""
    told = version.tags.get(JUDGED_UNTIL, NO_TIMES)
    if told == NO_TIMES:
        return None
    # The source's moments are in UTC, and name no zone.
    until = datetime.datetime.fromisoformat(told).replace(tzinfo=datetime.UTC)
    return (datetime.datetime.fromisoformat(_now()) - until).days


def _aged(version: Version, days: int) -> str:
    until = version.tags[JUDGED_UNTIL][:10]
    return f"The newest outcome that version {version.number} was judged on is of {until}, {days:,} days ago."


def _too_old(version: Version, days: int | None, limit: int | None) -> list[str]:
    """Why the age of its outcomes speaks against a version, as a sentence; none where it does not."""
    if limit is None or version.tags.get(JUDGED_UNTIL) == NO_TIMES:
        return []
    if days is None:
        return [
            f"It is not known how old the outcomes are that version {version.number} was judged on; at most {limit:,} "
            "days are allowed (register.freshness.max_age_days)."
        ]
    if days <= limit:
        return []
    return [
        f"{_aged(version, days)} At most {limit:,} days are allowed (register.freshness.max_age_days): extract the "
        "source anew, and run `dvc repro`."
    ]


def _rejection(version: Version) -> str:
    told = json.loads(version.tags[REJECTED])
    return f"Version {version.number} was rejected by {told['by']} on {told['at'][:10]}: {told['note']}"


def _signed(by: str, note: str) -> tuple[str, str]:
    by, note = unicodedata.normalize("NFC", by.strip()), note.strip()
    if not by or not note or not (by + note).isprintable() or len(by) > NAME_LENGTH or len(note) > NOTE_LENGTH:
        raise RegistryError(
            f"a decision needs the name of who takes it (up to {NAME_LENGTH} characters) and why (up to "
            f"{NOTE_LENGTH}), one line each."
        )
    return by, note


def _key(name: str) -> str:
    """The same for a name however it is spaced, capitalised or encoded."""
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()
