"""Does the gate refuse what is bad, for the right reason, and let through what is truly better?

    python -m benchmarks.gate --worlds 10 --letters

Every world is a demo history of its own seed, run through all stages; its scorer is approved, and is the champion that
every candidate meets: it scores the raw test rows with its own code. A candidate is what other stages would have left:
its chances of the test snapshots and, where that is its fault, its documents. Each goes through the stage `register`
itself. Bad ones are of the kinds of `kinds.BAD`, in `--each` worlds per kind: the checks that name the fault must
refuse it, no check that has nothing to do with it may, and the letter must say so. Better ones lie nearer to the law,
by the least margin at which the paired test of log-loss has 99 % power; a good gate accepts 38 of 40.

With `--keep FOLDER` worlds are made there and used again by a later call; one takes minutes.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

from pipeline import process

process.configure_environment()

import numpy as np  # noqa: E402  (after the environment: thread pools read it when loaded)

from benchmarks.gate import kinds, trial, worlds  # noqa: E402


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--worlds", type=int, default=10)
    arguments.add_argument("--first", type=int, default=1, help="seed of the first world")
    arguments.add_argument("--leads", type=int, default=20_000)
    arguments.add_argument("--paths", type=int, default=64, help="simulated paths of the law per snapshot")
    arguments.add_argument("--each", type=int, default=2, help="worlds that a bad kind is tried in")
    arguments.add_argument("--better", type=int, default=1, help="better candidates of every kind in a world")
    arguments.add_argument("--letters", action="store_true", help="print what the gate says of every bad candidate")
    arguments.add_argument("--keep", type=Path, help="a folder for the worlds")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        wrong, counts = [], np.zeros(4, dtype="int64")
        for k in range(asked.worlds):
            begun = time.monotonic()
            world = worlds.make(folder, asked.first + k, leads=asked.leads, paths=asked.paths)
            mine = [name for n, name in enumerate(kinds.BAD) if (n - k) % asked.worlds < asked.each]
            found = [*bad(world, mine, asked.letters), *better(world, asked.better)]
            wrong += [sentence for sentence, _ in found if sentence]
            for sentence, good in found:
                counts += [not good, not good and not sentence, good, good and not sentence]
            print(f"world {asked.first + k}: {time.monotonic() - begun:.0f} seconds", flush=True)
    print("\n".join(wrong))
    print(
        f"bad: {counts[1]} of {counts[0]} refused for the right reason; truly better: {counts[3]} of {counts[2]} pass"
    )
    sys.exit(bool(not counts.all() or counts[1] < counts[0] or counts[3] < 0.95 * counts[2]))


def bad(world: worlds.World, names: list[str], letters: bool) -> list[tuple[str, bool]]:
    """Per candidate what is wrong with its judgement ("": nothing), and that it was not a better one."""
    found = []
    seed = world.params.run.seed
    for number, name in enumerate(names, 1):
        kind = kinds.BAD[name]
        judged = trial.judge(world, kind.make(world, np.random.default_rng([seed, number])), number)
        faults = judged.faults(kind)
        found.append((f"world {seed}, {name}: {'; '.join(faults)}" if faults else "", False))
        print(f"bad      {name:34} {'WRONG' if faults else 'ok':6} {', '.join(judged.failed) or kind.then}", flush=True)
        if letters:
            print(f"         {judged.decision['letter']}\n         {' '.join(judged.decision['warnings'])}", flush=True)
    return found


def better(world: worlds.World, times: int) -> list[tuple[str, bool]]:
    """As `bad`, of candidates that must pass."""
    found = []
    seed = world.params.run.seed
    for number, (name, changed, margin) in enumerate(kinds.better(world, times, itertools.count(100 * seed)), 1001):
        judged = trial.judge(world, changed, number)
        passed = judged.approved
        found.append(("" if passed else f"world {seed}, {name}: {', '.join(judged.failed) or judged.why_not}", True))
        print(
            f"better   {name:34} {'ok' if passed else 'WRONG':6} gain {margin.gain:.4f}, {margin.standard_errors:.2f} "
            f"standard errors {', '.join(judged.failed)}",
            flush=True,
        )
    return found


if __name__ == "__main__":
    main()
