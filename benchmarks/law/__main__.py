"""How near do scores come to the chances that the demo's law gives?

    python -m benchmarks.law --leads 200000 --seeds 20
    python -m benchmarks.law --leads 200000 --seeds 20 --keep 0.6

For every seed a demo log without dirty rows is made, split in time, learned from with the settings of params.yaml, and
scored on its test window. The law is asked about a sample of the test snapshots. With `--keep` only this share of the
conversions happens from two horizons before the test window on (a lead's fate is drawn once), in labels and law alike:
the base rate shifts while the model has time to see it.

Printed per seed: log-loss over that of the law on the same labels; mean distance of score and law over ten bins; bins
of the whole test window whose Wilson interval, as `evaluate` draws it, holds the mean score; how often the law's mean
lies in the interval, over fifty groups of leads scored alike; the mean width of the intervals over that of the one
constant width that covers as often (once more over the groups of all seeds, where one width must serve them all); and
the shift of the level that the evaluation reports.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from pipeline import process

process.configure_environment()

import numpy as np  # noqa: E402  (after the environment: thread pools read it when loaded)
import pandas as pd  # noqa: E402

from pipeline import params as params_module  # noqa: E402
from pipeline.adapters import sources  # noqa: E402
from pipeline.leads import cohort, demo, specification  # noqa: E402
from pipeline.leads.contract import LEAD_KEY, Resolved  # noqa: E402
from pipeline.leads.demo_law import law  # noqa: E402
from pipeline.leads.snapshots import featurize, rows_at  # noqa: E402
from pipeline.params import Params  # noqa: E402
from pipeline.paths import Workspace, find_root  # noqa: E402
from pipeline.scoring import calibrators, levels, metrics, recipe  # noqa: E402
from pipeline.scoring.recipe import Learned  # noqa: E402

#: Leads whose features are built at a time.
AT_ONCE = 20_000
GROUPS = 50

Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--leads", type=int, default=200_000)
    arguments.add_argument("--seeds", type=int, default=20)
    arguments.add_argument("--first", type=int, default=1, help="the first seed")
    arguments.add_argument("--sample", type=int, default=20_000, help="test snapshots that the law is asked about")
    arguments.add_argument("--paths", type=int, default=32, help="simulated paths per snapshot")
    arguments.add_argument("--keep", type=float, default=1.0, help="share of conversions that happen after the shift")
    asked = arguments.parse_args()
    workspace = Workspace(find_root(Path(__file__)))
    params = params_module.load(workspace.params)
    resolved = sources.read_contract(workspace, "demo")
    process.settle(params.run.seed)
    rows, groups = [], []
    for seed in range(asked.first, asked.first + asked.seeds):
        begun = time.monotonic()
        found, alike = one(params, resolved, asked, seed)
        groups.append(alike)
        rows.append({"seed": seed} | found | {"seconds": round(time.monotonic() - begun)})
        print(pd.DataFrame(rows[-1:]).round(4).to_string(index=False, header=len(rows) == 1), flush=True)
    table = pd.DataFrame(rows)
    print(table.drop(columns=["seed"]).mean(numeric_only=True).round(4).to_string())
    held, ratio = widths(pd.concat(groups))
    print(f"over the groups of all seeds: covered {held:.3f}, {ratio:.2f} times the constant width")
    print(f"nine of ten bins hold in {(table['bins'] >= 0.9).sum()} of {len(table)} seeds")


def one(
    params: Params, resolved: Resolved, asked: argparse.Namespace, seed: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """As `figures`, for one seed."""
    world = params.ingest.demo.model_copy(update={"leads": asked.leads, "dirty_share": 0.0})
    run = params.run.model_copy(update={"seed": seed})
    params = params.model_copy(update={"run": run})
    tables = history(world, resolved, seed)
    newest, horizon = demo.extracted_at(world), resolved.contract.outcome.horizon_days
    drawn = cohort.draw(tables[0], resolved.contract, newest, params.featurize, seed)
    spec = specification.specify(resolved, params.featurize)
    snapshots, features = drawn.snapshots, built(tables, drawn.snapshots, spec)

    start = pd.Timestamp(drawn.windows.set_index("split").loc["test", "start"])
    after = (snapshots["as_of"] >= start - 2 * horizon * cohort.DAY).to_numpy()
    rng = np.random.default_rng(np.random.SeedSequence([seed, *b"shift"]))
    kept = pd.Series(rng.random(len(tables[0])) < asked.keep, index=tables[0][LEAD_KEY])
    fate = snapshots[LEAD_KEY].map(kept).to_numpy()
    snapshots = snapshots.assign(label=np.where(after & ~fate, 0, snapshots["label"]).astype("int8"))

    test = (snapshots["split"] == "test").to_numpy()
    learned = recipe.learn(
        snapshots[~test].reset_index(drop=True),
        features[~test].reset_index(drop=True),
        params,
        timed=True,
        horizon_days=horizon,
    )
    tested = snapshots[test].reset_index(drop=True)
    margin = learned.margin.values(features[test]) + learned.contest.choice.level
    probability = learned.contest.choice.calibration.probability(margin)
    some = np.sort(rng.permutation(len(tested))[: asked.sample])
    rows = rows_at(tables[0], tested.iloc[some])
    told = law(
        rows.drop(columns="as_of"), *tables[1:], rows["as_of"], horizon_days=horizon, paths=asked.paths, seed=seed
    )
    truth = told["probability"].to_numpy() * asked.keep
    return figures(params, learned, tested, margin, probability, some, truth)


def figures(
    params: Params,
    learned: Learned,
    tested: pd.DataFrame,
    margin: np.ndarray,
    probability: np.ndarray,
    some: np.ndarray,
    truth: np.ndarray,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """What is printed, and the groups of leads scored alike: law, score, low, high.

    `truth`: the law's chance of the test snapshots at the places `some`.
    """
    label = tested["label"].to_numpy(dtype="float64")
    low, high = learned.interval.around(margin[some], learned.contest.choice.calibration)
    mine = probability[some]
    order = np.argsort(mine, kind="stable")
    apart = [abs(mine[part].mean() - truth[part].mean()) for part in np.array_split(order, 10)]
    alike = pd.DataFrame(
        [[one[part].mean() for one in (truth, mine, low, high)] for part in np.array_split(order, GROUPS)],
        columns=["law", "score", "low", "high"],
    )
    held, ratio = widths(alike)
    level = calibrators.described(learned.contest.choice, params.calibrate)
    shift = levels.figures(level, tested["as_of"], tested[LEAD_KEY], label, probability, params.evaluate)
    reliability = metrics.reliability(
        label, probability, params.evaluate.bins, params.evaluate.reliability_level, tested[LEAD_KEY]
    )
    found = {
        "loss_ratio": metrics.log_loss(label[some], mine) / metrics.log_loss(label[some], truth),
        "expected_ratio": expected(truth, mine) / expected(truth, truth),
        "auc": metrics.auc(label, probability),
        "error_to_law": float(np.mean(apart)),
        "bins": float(reliability["holds"].mean()),
        "covered": held,
        "covered_leads": float(np.mean((low <= truth) & (truth <= high))),
        "width": float((alike["high"] - alike["low"]).mean()),
        "width_ratio": ratio,
        "level": learned.contest.choice.level,
        "calibrator": learned.contest.choice.calibration.kind,
        "shift": shift["level_shift"],
        "rows": len(tested),
    }
    return found, alike


def widths(alike: pd.DataFrame) -> tuple[float, float]:
    """How often the law lies in the interval, and their mean width over the one constant width, in probability, that
    holds as many groups; NaN where none is held."""
    inside = (alike["low"] <= alike["law"]) & (alike["law"] <= alike["high"])
    if not inside.any():
        return 0.0, float("nan")
    distance = np.sort((alike["law"] - alike["score"]).abs())
    return float(inside.mean()), float((alike["high"] - alike["low"]).mean() / (2 * distance[inside.sum() - 1]))


def expected(truth: np.ndarray, probability: np.ndarray) -> float:
    """Log-loss under the law itself, without the luck of the labels."""
    return float(np.mean(-truth * np.log(probability) - (1 - truth) * np.log1p(-probability)))


def history(world: Any, resolved: Resolved, seed: int) -> Tables:
    """Leads, activities and changes of a demo log, typed; each sorted by lead."""
    parts: list[list[pd.DataFrame]] = [[], [], []]
    for block in demo.generate(world, seed):
        for held, piece in zip(parts, sources.pieces_of_blocks([block], resolved), strict=True):
            held.append(piece.typed.table)
    leads, activities, changes = (pd.concat(held, ignore_index=True) for held in parts)
    return leads.sort_values(LEAD_KEY, ignore_index=True), activities, changes


def built(tables: Tables, pairs: pd.DataFrame, spec: dict[str, Any]) -> pd.DataFrame:
    """Features of every pair, some leads at a time."""
    leads, activities, changes = tables
    place = pd.Index(leads[LEAD_KEY])
    of_pair, of_activity, of_change = (place.get_indexer(table[LEAD_KEY]) for table in (pairs, activities, changes))
    parts = []
    for start in range(0, len(leads), AT_ONCE):
        masks = [(one >= start) & (one < start + AT_ONCE) for one in (of_pair, of_activity, of_change)]
        some = leads.iloc[start : start + AT_ONCE].reset_index(drop=True)
        parts.append(featurize(some, activities[masks[1]], changes[masks[2]], pairs[masks[0]], spec))
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    main()
