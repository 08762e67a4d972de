"""Do labels convert as often as the demo's law says they should?

    python -m benchmarks.base_rate --leads 1000000

The log is made without dirty rows, typed and labelled block by block, so that memory stays that of one block. The law
is asked about a seeded sample of the leads of every block. Printed are both rates, their ratio, and how many standard
errors lie between them (of leads, since the looks at one lead go together, and of the law's own simulation).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline import params as params_module
from pipeline.adapters import sources
from pipeline.leads import cohort, demo
from pipeline.leads.contract import CONVERTED_AT, LEAD_KEY
from pipeline.leads.demo_law import law
from pipeline.leads.snapshots import rows_at
from pipeline.paths import Workspace, find_root


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--leads", type=int, default=200_000)
    arguments.add_argument("--sample", type=int, default=20_000, help="snapshots that the law is asked about")
    arguments.add_argument("--paths", type=int, default=16, help="simulated paths per snapshot")
    asked = arguments.parse_args()
    workspace = Workspace(find_root(Path(__file__)))
    params = params_module.load(workspace.params)
    world = params.ingest.demo.model_copy(update={"leads": asked.leads, "dirty_share": 0.0})
    resolved = sources.read_contract(workspace, "demo")
    newest, horizon = demo.extracted_at(world), resolved.contract.outcome.horizon_days
    share = asked.sample / (2.6 * asked.leads)
    rng = np.random.default_rng(np.random.SeedSequence([params.run.seed, *b"base rate"]))
    snapshots, conversions, compared = 0, 0, []
    blocks = -(-asked.leads // demo.BLOCK_LEADS)
    for block in tqdm(demo.generate(world, params.run.seed), total=blocks, unit="block", disable=None):
        leads, activities, changes = (piece.typed.table for piece in sources.pieces_of_blocks([block], resolved))
        looks = cohort.pairs(leads, params.featurize.ages_days, newest)
        until = looks["as_of"] + horizon * cohort.DAY
        looks = looks[looks["open"] & (until <= newest)].reset_index(drop=True)
        won = looks[LEAD_KEY].map(leads.set_index(LEAD_KEY)[CONVERTED_AT])
        looks["label"] = (won <= looks["as_of"] + horizon * cohort.DAY).astype("int8")
        snapshots, conversions = snapshots + len(looks), conversions + int(looks["label"].sum())
        drawn = looks[looks[LEAD_KEY].isin(leads[LEAD_KEY][rng.random(len(leads)) < share])].reset_index(drop=True)
        if len(drawn):
            rows = rows_at(leads, drawn)
            told = law(
                rows.drop(columns="as_of"),
                activities,
                changes,
                drawn["as_of"],
                horizon_days=horizon,
                paths=asked.paths,
                seed=1,
            )
            compared.append(drawn[[LEAD_KEY, "label"]].assign(law=told["probability"], error=told["standard_error"]))
    sys.stdout.write(report(snapshots, conversions, pd.concat(compared, ignore_index=True), asked.leads) + "\n")


def report(snapshots: int, conversions: int, compared: pd.DataFrame, leads: int) -> str:
    """Both rates in words; `compared` holds lead_id, label, law and error of the sampled snapshots."""
    per_lead = compared.assign(apart=compared["label"] - compared["law"]).groupby(LEAD_KEY)["apart"].sum()
    error = float(np.sqrt((per_lead**2).sum() + (compared["error"] ** 2).sum())) / len(compared)
    apart = float(compared["label"].mean() - compared["law"].mean())
    mean_law = compared.groupby(LEAD_KEY)["law"].agg(["sum", "size"])
    spread = mean_law["sum"] - mean_law["size"] * compared["law"].mean()
    law_error = float(np.sqrt((spread**2).sum())) / len(compared)
    rate, true = conversions / snapshots, float(compared["law"].mean())
    return "\n".join(
        [
            f"{leads:,} leads, {snapshots:,} matured snapshots of open leads: {rate:.5f} convert",
            f"the law on {len(compared):,} of them: {true:.5f} (sampling error {law_error:.5f}); "
            f"all labels over the law: {rate / true:.4f}",
            f"the labels of the same {len(compared):,}: {compared['label'].mean():.5f}, "
            f"{apart / error:+.2f} standard errors from the law",
        ]
    )


if __name__ == "__main__":
    main()
