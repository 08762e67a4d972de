"""Do reasons say what the demo's law says?

    python -m benchmarks.truth --leads 1500

Run after `dvc repro` on the demo. The law is asked for the chances of test snapshots, one per lead, as they are and
once more with a criterion taken away: a column's values dealt among the leads, a kind's activities left out. The
difference in log-odds is what the criterion is worth by law. Beside it stands what the scorer's reasons give it, the
criterion's term of the margin.

Printed per criterion: the standard deviation of either over leads, and their correlation; then the rank correlation of
the two importances over all criteria, and the criteria that matter and go the wrong way. The law's simulations carry
noise of their own: every difference is worked out under two seeds, and the variance is their covariance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline import process

process.configure_environment()

import numpy as np  # noqa: E402  (after the environment: thread pools read it when loaded)
import pandas as pd  # noqa: E402

from pipeline.adapters import files  # noqa: E402
from pipeline.leads.demo_law import law  # noqa: E402
from pipeline.leads.snapshots import rows_at  # noqa: E402
from pipeline.paths import Workspace, find_root  # noqa: E402
from pipeline.scorer import Scorer  # noqa: E402
from pipeline.scorer.features import feature_list  # noqa: E402
from pipeline.scoring import weights  # noqa: E402

#: Times a column's values are dealt anew.
DEALS = 2
SEEDS = (1, 2)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--leads", type=int, default=1500)
    arguments.add_argument("--paths", type=int, default=32, help="simulated paths per snapshot")
    arguments.add_argument(
        "--matters", type=float, default=0.05, help="importance by law from which a criterion matters"
    )
    asked = arguments.parse_args()
    workspace = Workspace(find_root(Path(__file__)))
    results = files.Results(workspace)
    scorer = Scorer.load(workspace.path("calibrate/scorer"))
    snapshots = results.table("featurize/snapshots.parquet")
    test = snapshots[snapshots["split"] == "test"]
    rng = np.random.default_rng(np.random.SeedSequence([1]))
    some = test.iloc[rng.permutation(len(test))].drop_duplicates("lead_id").head(asked.leads)
    some = some.sort_values("lead_id", ignore_index=True)

    listed = feature_list(scorer.spec)
    names = [feature["name"] for feature in listed]
    parts = weights.terms(pd.DataFrame(scorer.margin.contributions(some[names]), columns=names), listed)
    worth = by_law(results, some, scorer, asked.paths, rng)
    rows = []
    for criterion, found in worth.items():
        term = parts[criterion].to_numpy()
        alike = np.corrcoef(found.mean(axis=0), term)[0, 1]
        rows.append([criterion, float(np.sqrt(max(np.cov(found)[0, 1], 0.0))), float(term.std()), float(alike)])
    table = pd.DataFrame(rows, columns=["criterion", "law", "reasons", "correlation"])
    table = table.sort_values("law", ascending=False, ignore_index=True)
    print(table.round(3).to_string())
    wrong = table.loc[(table["law"] >= asked.matters) & (table["correlation"] <= 0), "criterion"].tolist()
    print(f"rank correlation of importance {table['law'].corr(table['reasons'], method='spearman'):.3f}")
    print(f"criteria that matter and go the wrong way: {', '.join(wrong) or 'none'}")


def by_law(
    results: files.Results, some: pd.DataFrame, scorer: Scorer, paths: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """What each criterion is worth to every lead, in log-odds, under each seed: shape (2, n_leads)."""
    leads, activities, changes = (
        results.table(f"validate/{name}.parquet") for name in ("leads", "activities", "changes")
    )
    rows = rows_at(leads, some[["lead_id", "as_of"]])
    as_of, rows = rows["as_of"], rows.drop(columns="as_of")
    activities, changes = (table[table["lead_id"].isin(rows["lead_id"])] for table in (activities, changes))

    def log_odds(rows_: pd.DataFrame, activities_: pd.DataFrame, changes_: pd.DataFrame) -> np.ndarray:
        told = [law(rows_, activities_, changes_, as_of, horizon_days=30, paths=paths, seed=seed) for seed in SEEDS]
        chance = np.clip([one["probability"] for one in told], 1e-5, 1 - 1e-5)
        return np.asarray(np.log(chance / (1 - chance)))

    usual = log_odds(rows, activities, changes)
    worth = {}
    for column in scorer.spec["profile"]:
        without = np.zeros_like(usual)
        for _ in range(DEALS):
            # As of the as-of date: what changed later is no longer told by the changes left out.
            value = (some if column["tracked"] else rows)[column["name"]].to_numpy()[rng.permutation(len(rows))]
            others = changes[changes["column"] != column["source"]] if column["tracked"] else changes
            without += log_odds(rows.assign(**{column["name"]: value}), activities, others) / DEALS
        worth[column["criterion"]] = usual - without
    for kind in scorer.spec["kinds"]:
        worth[kind["criterion"]] = usual - log_odds(rows, activities[activities["kind"] != kind["name"]], changes)
    return worth


if __name__ == "__main__":
    main()
