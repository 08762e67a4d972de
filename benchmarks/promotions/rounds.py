"""Rounds of racing promoters, some of them killed, and what must hold after each."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess

from benchmarks.promotions import promoter
from benchmarks.promotions.promoter import CONTRACT
from pipeline.adapters import approval_log, approvals, registry, tracking
from pipeline.paths import Workspace

VERSIONS, RACERS = 8, 4

#: A promoter is killed with this probability, at a moment up to so many times as long as an undisturbed one takes.
KILLED, UP_TO = 0.5, 2.0


@dataclass
class Tally:
    """What happened in all rounds. `half_done`: races that left an act begun, which this process then settled; what the
    racers settled themselves is not counted. `faults`: sentences about what must not happen."""

    rounds: int = 0
    started: int = 0
    killed: int = 0
    approved: int = 0
    half_done: int = 0
    withdrawn: int = 0
    lines: int = 0
    rollback_seconds: list[float] = field(default_factory=list)
    rollback_processor_seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def race(workspace: Workspace, rounds: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Tally:
    """Race `RACERS` of the stocked versions in every round, with qualities drawn anew."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([promoter.__name__])
    chance, tally = random.Random(seed), Tally()
    store = tracking.open_store(workspace)
    usual = _undisturbed(context, workspace)
    for number in range(1, rounds + 1):
        before = registry.champion(store, CONTRACT)
        quality = {version: chance.random() for version in range(1, VERSIONS + 1)}
        at_work = chance.sample([v for v in quality if before is None or v != before.number], RACERS)
        moments = {v: chance.uniform(0, UP_TO * usual) for v in at_work if chance.random() < KILLED}
        logged = len(_lines(store, tally))
        ended = _run(context, workspace, number, at_work, quality, moments, tally)
        field_of = [*at_work, *([before.number] if before else [])]
        faults = _judge(store, tally, quality, ended, field_of, logged)
        # The killed ones try again: now everybody has had a say.
        if again := sorted(set(at_work) - set(ended)):
            ended |= _run(context, workspace, number, again, quality, {}, tally)
        faults += _judge(store, tally, quality, ended, field_of, logged)
        best = max(field_of, key=lambda version: quality[version])
        if (now := registry.champion(store, CONTRACT)) is None or now.number != best:
            faults.append(f"version {best} is the best, champion is {now.number if now else 'nobody'}")
        faults += _way_back(store, logged, tally)
        tally.rounds = number
        tally.faults += [f"round {number}: {fault}" for fault in faults]
        say(f"round {number}: {tally.killed} of {tally.started} killed, {len(tally.faults)} faults")
    _count(store, tally)
    return tally


def _undisturbed(context: multiprocessing.context.ForkServerContext, workspace: Workspace) -> float:
    """Seconds that a promotion takes, from the start of its process; the first one starts the server of the forks."""
    seconds = 0.0
    for version in (1, 2):
        begun = time.monotonic()
        _start(context, workspace, 0, version, {1: 0.1, 2: 0.2}).join()
        seconds = time.monotonic() - begun
    return seconds


def _start(
    context: multiprocessing.context.ForkServerContext,
    workspace: Workspace,
    number: int,
    version: int,
    quality: Mapping[int, float],
) -> ForkServerProcess:
    said = workspace.root / f"said-{version}"
    said.unlink(missing_ok=True)
    arguments = (str(workspace.root), version, quality, f"Promoter {number}.{version}", str(said))
    racer = context.Process(target=promoter.promote, args=arguments)
    racer.start()
    return racer


def _run(
    context: multiprocessing.context.ForkServerContext,
    workspace: Workspace,
    number: int,
    at_work: list[int],
    quality: Mapping[int, float],
    moments: Mapping[int, float],
    tally: Tally,
) -> dict[int, str]:
    """Let promoters race; what those that were not killed said at their end, by version."""
    racers = {version: _start(context, workspace, number, version, quality) for version in at_work}
    begun = time.monotonic()
    for version, moment in sorted(moments.items(), key=lambda pair: pair[1]):
        racers[version].join(max(0.0, begun + moment - time.monotonic()))
        racers[version].kill()  # nothing where it has ended
    for racer in racers.values():
        racer.join()
    tally.started += len(racers)
    ended = {}
    for version, racer in racers.items():
        if racer.exitcode == -signal.SIGKILL:
            tally.killed += 1
        elif racer.exitcode:
            tally.faults.append(f"round {number}: promoter {version} ended with exit code {racer.exitcode}")
        else:
            ended[version] = (workspace.root / f"said-{version}").read_text(encoding="utf-8")
    return ended


def _lines(store: tracking.Store, tally: Tally) -> list[approval_log.Line]:
    """The log after what a kill left half done was settled."""
    with store.lock():
        lines = approval_log.read(store, CONTRACT).lines
        tally.half_done += bool(lines) and lines[-1].state == "intended"
        return approvals.settle(store, CONTRACT).lines


def _judge(
    store: tracking.Store,
    tally: Tally,
    quality: Mapping[int, float],
    ended: Mapping[int, str],
    field_of: list[int],
    logged: int,
) -> list[str]:
    """What does not hold after a race: faults of the champion and of the lines written since."""
    faults = []
    new = _lines(store, tally)[logged:]
    now = registry.champion(store, CONTRACT)
    if now is None or now.number not in field_of:
        return [f"champion is {now.number if now else 'nobody'}, who did not race"]
    better = [version for version in ended if quality[version] > quality[now.number]]
    if better:
        faults.append(f"champion {now.number} is worse than {better}, who passed")
    moves = [line for line in new if line.state == "done"]
    for line in moves:
        if line.before is not None and quality[line.version] <= quality[line.before]:
            faults.append(f"line {line.line} put {line.version} in the place of a better {line.before}")
    for one, other in itertools.pairwise(moves):
        if other.before != one.version:
            faults.append(f"line {other.line} does not follow from line {one.line}")
    if moves and moves[-1].version != now.number:
        faults.append(f"the log ends with champion {moves[-1].version}, the alias says {now.number}")
    for version, outcome in ended.items():
        told = sum(line.version == version for line in moves)
        # One that was killed and came again may have been champion before, and refused beside a better one now.
        if told > 1 or (outcome == "approved" and told != 1):
            faults.append(f"{version} said `{outcome}`, the log holds {told} approvals of it")
    _, wrong, unfinished = approvals.examine(store, CONTRACT)
    return faults + wrong + unfinished


def _way_back(store: tracking.Store, logged: int, tally: Tally) -> list[str]:
    """Roll the last approval of the round back, with a watch."""
    moves = [line for line in _lines(store, tally)[logged:] if line.state == "done"]
    if not moves or moves[-1].before is None:
        return []
    begun, worked = time.perf_counter(), time.process_time()
    outcome = approvals.rollback(store, CONTRACT, "Watch", "the way back")
    tally.rollback_seconds.append(time.perf_counter() - begun)
    tally.rollback_processor_seconds.append(time.process_time() - worked)
    if outcome.version.number != moves[-1].before:
        return [f"the way back led to {outcome.version.number} instead of {moves[-1].before}"]
    return []


def _count(store: tracking.Store, tally: Tally) -> None:
    """Lines by what became of them. An act whose end was written by somebody else, later, was left half done."""
    lines = _lines(store, tally)
    tally.lines = len(lines)
    tally.approved = sum(line.state == "done" and line.act == "approve" for line in lines)
    tally.withdrawn = sum(line.state == "withdrawn" for line in lines)
