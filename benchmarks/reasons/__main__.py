"""What do reasons cost beside XGBoost's bare contributions of the same trees?

    python -m benchmarks.reasons --rows 100000

The scorer of the last run (data/calibrate/scorer) gives reasons to snapshots of the history, repeated up to the number
asked for: contributions of all members, points that add up, texts, and the JSON they come in. XGBoost's `pred_contribs`
gives the tree members' contributions to the same rows. Both in turn, on one thread each, several times over; what
counts is the ratio of the fastest passes, in processor time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import process

process.configure_environment()

import numpy as np  # noqa: E402  (after the environment: thread pools read it when loaded)
import pandas as pd  # noqa: E402

from pipeline.adapters import files  # noqa: E402
from pipeline.paths import Workspace, find_root  # noqa: E402
from pipeline.scorer import Scorer, reasons, texts  # noqa: E402


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--passes", type=int, default=3)
    asked = arguments.parse_args()
    workspace = Workspace(find_root(Path(__file__)))
    results = files.Results(workspace)
    scorer = Scorer.load(workspace.path("calibrate/scorer"))
    snapshots = results.table("featurize/snapshots.parquet")
    names = scorer.margin.encoder.names
    built = snapshots[names].iloc[np.arange(asked.rows) % len(snapshots)].reset_index(drop=True)
    matrix = scorer.margin.encoder.matrix(built)
    trees = [member for member in scorer.members if member.kind == "xgboost"]
    best = {"theirs": np.inf, "contributions": np.inf, "reasons": np.inf}
    for _ in range(asked.passes):
        best["theirs"] = min(best["theirs"], timed(by_xgboost, trees, matrix))
        best["contributions"] = min(best["contributions"], timed(scorer.margin.contributions, built))
        best["reasons"] = min(best["reasons"], timed(told, scorer, built))
    print(
        f"{asked.rows:,} rows, {len(scorer.members)} members, {len(trees)} of trees; processor seconds: XGBoost's "
        f"contributions of the trees {best['theirs']:.1f}, ours of all members {best['contributions']:.1f}, reasons "
        f"{best['reasons']:.1f}: {best['reasons'] / best['theirs']:.2f} times XGBoost's"
    )


def by_xgboost(trees: list[Any], matrix: np.ndarray) -> None:
    for member in trees:
        member.booster.set_param({"nthread": 1})
        member.booster.predict(member.dmatrix(matrix), pred_contribs=True)


def told(scorer: Scorer, built: pd.DataFrame) -> list[str]:
    """The reasons of every row, as scores carry them."""
    parts = scorer._by_criterion(scorer.margin.contributions(built))
    _, points = reasons.points(parts, scorer.margin.base, scorer.calibration)
    groups = [*scorer.groups.values(), ""]
    words = texts.tell(built, scorer.spec, scorer.level)
    return reasons.told([*scorer.criteria, reasons.LEVEL], groups, points, words)


def timed(work: Callable[..., Any], *arguments: Any) -> float:
    """Processor seconds."""
    begin = time.process_time()
    work(*arguments)
    return time.process_time() - begin


if __name__ == "__main__":
    main()
