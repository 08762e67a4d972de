"""Is the champion always the best version that passed, while promotions race and are killed?

    python -m benchmarks.promotions --rounds 500

In every round four processes judge their versions against the champion and approve what is better; each is killed
(SIGKILL) with chance one half at a random moment, and tries again afterwards. After every race the champion must be at
least as good as every version whose promoter came to an end, and after the second try the best of all. Every move must
stand in the log, which must hold together, in both its copies. Then the last approval is rolled back, with a watch.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.promotions import promoter, rounds
from pipeline.paths import Workspace


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=500)
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        promoter.stock(workspace, rounds.VERSIONS)
        begun = time.monotonic()
        found = rounds.race(workspace, asked.rounds, asked.seed, lambda line: print(line, flush=True))
        minutes = (time.monotonic() - begun) / 60
    print("\n".join(found.faults))
    print(
        f"{found.rounds} rounds in {minutes:.0f} minutes: {found.killed} of {found.started} promoters killed, with "
        f"{found.half_done} or more acts left half done; {found.approved} approvals, {found.withdrawn} withdrawn, "
        f"{found.lines:,} lines in the log; {len(found.faults)} faults"
    )
    for what, seconds in (("", found.rollback_seconds), (" of processor time", found.rollback_processor_seconds)):
        if seconds:
            print(
                f"{len(seconds)} ways back: median {statistics.median(seconds):.2f} s{what}, longest "
                f"{max(seconds):.2f}, {sum(one >= 1 for one in seconds)} of a second or more"
            )
    sys.exit(bool(found.faults))


if __name__ == "__main__":
    main()
