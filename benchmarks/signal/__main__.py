"""Is no signal called none, and a weak one used?

    python -m benchmarks.signal --sets 50

Each set has 5,000 rows, 10 numbers, two categories and 10 % conversions. In one half of the sets labels are drawn
without regard to the columns; in the other half six columns tell a little: whoever knew the law would rank with an AUC
of 0.58. Every set goes through the whole search with the settings of params.yaml. Printed are the sets called without a
signal, and how many standard errors the ranking out of sample lay above chance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline import process

process.configure_environment()

import numpy as np  # noqa: E402  (after the environment: thread pools read it when loaded)
import pandas as pd  # noqa: E402
from tqdm import tqdm  # noqa: E402

from pipeline import params as params_module  # noqa: E402
from pipeline.params import Params  # noqa: E402
from pipeline.paths import find_root  # noqa: E402
from pipeline.scorer.calibration import sigmoid  # noqa: E402
from pipeline.scoring import metrics, recipe  # noqa: E402
from pipeline.scoring.fit import best_intercept  # noqa: E402

ROWS, NUMBERS, RATE = 5_000, 10, 0.1
#: Standard deviation of the law's log-odds that gives an AUC of 0.58.
WEAK = 0.29


def made(seed: int, strength: float) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Snapshots without a time axis, their features, and the law's chance of each."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, round(1000 * strength)]))
    features = pd.DataFrame({f"n{k}": rng.normal(size=ROWS) for k in range(NUMBERS)})
    for k, levels in enumerate((4, 30)):
        features[f"c{k}"] = pd.Series(rng.integers(levels, size=ROWS)).map("v{:02d}".format).astype("str")
    effect = rng.normal(size=4)
    index = features["n0"] + 0.7 * features["n1"] - 0.5 * features["n2"] + 0.5 * (features["n3"] > 0.5)
    index = index + 0.5 * features["n4"].abs() + effect[features["c0"].str[1:].astype(int)]
    index = strength * ((index - index.mean()) / index.std()).to_numpy()
    level = best_intercept(np.full(ROWS, RATE), index)
    chance = sigmoid(index + level)
    label = (rng.random(ROWS) < chance).astype("int8")
    place = rng.permutation(ROWS)
    snapshots = pd.DataFrame(
        {
            "lead_id": [f"L{k:05d}" for k in range(ROWS)],
            "as_of": pd.Timestamp("2026-01-01"),
            "label": label,
            "split": np.where(place < 0.7 * ROWS, "train", "calibrate"),
            "position": place,
        }
    )
    return snapshots, features, chance


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--sets", type=int, default=50, help="sets of either kind")
    arguments.add_argument("--first", type=int, default=0, help="number of the first set")
    asked = arguments.parse_args()
    params: Params = params_module.load(find_root(Path(__file__)) / "params.yaml")
    process.settle(params.run.seed)
    rows = []
    for seed in tqdm(range(asked.first, asked.first + asked.sets), unit="pair"):
        for kind, strength in (("none", 0.0), ("weak", WEAK)):
            snapshots, features, chance = made(seed, strength)
            learned = recipe.learn(snapshots, features, params, timed=False, horizon_days=0)
            best = metrics.auc(snapshots["label"].to_numpy(), chance) if strength else 0.5
            rows.append([kind, seed, best, learned.signal.auc, learned.signal.z, learned.signal.found])
    table = pd.DataFrame(rows, columns=["kind", "set", "law_auc", "auc", "standard_errors", "found"])
    print(table.round(3).to_string(index=False))
    for kind, word in (("none", "called without a signal"), ("weak", "used")):
        mine = table[table["kind"] == kind]
        right = (~mine["found"] if kind == "none" else mine["found"]).sum()
        print(
            f"{kind}: {right} of {len(mine)} {word}; standard errors {mine['standard_errors'].min():.1f} to "
            f"{mine['standard_errors'].max():.1f}, law's AUC {mine['law_auc'].mean():.3f}"
        )


if __name__ == "__main__":
    main()
