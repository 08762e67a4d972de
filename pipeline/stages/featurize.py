"""featurize: each open lead at several ages, what was known of it then, and what came of it."""

from __future__ import annotations

import pandas as pd

from pipeline.adapters import figures
from pipeline.adapters.stage import Stage, main
from pipeline.leads import cohort, contract, snapshots, specification, truncation


def run(stage: Stage) -> None:
    params, seed = stage.params.featurize, stage.params.run.seed
    # Load
    resolved = contract.restore(stage.json("ingest/contract.json"))
    newest = pd.Timestamp(stage.json("ingest/provenance.json")["newest_recorded_at"])
    leads = stage.table("validate/leads.parquet")
    activities = stage.table("validate/activities.parquet")
    changes = stage.table("validate/changes.parquet")

    # Call
    spec = specification.specify(resolved, params)
    drawn = cohort.draw(leads, resolved.contract, newest, params, seed)
    pairs = drawn.snapshots
    features = snapshots.featurize(leads, activities, changes, pairs, spec)
    proof = truncation.prove(
        pairs, leads, activities, changes, spec, features, samples=params.time_proof_samples, seed=seed
    )
    faults = cohort.check_windows(pairs, drawn.windows, leads, resolved.contract.outcome.horizon_days)

    # Save
    stage.save_table("featurize/snapshots.parquet", pd.concat([pairs, features], axis=1))
    stage.save_csv("featurize/splits.csv", drawn.windows)
    stage.save_figure("featurize/splits.png", figures.splits(drawn.windows))
    stage.save_json("featurize/features.json", spec)
    stage.save_json("featurize/time_proof.json", proof | {"split_faults": faults})
    for window in drawn.windows.itertuples():
        stage.log.info(
            f"{window.split}: {window.snapshots:,} snapshots of {window.leads:,} leads, {window.conversions:,} "
            f"conversions; set aside {window.closed:,} closed, {window.not_matured:,} not matured, "
            f"{window.embargoed:,} past the window's end"
        )
    stage.log.info(f"time proof: {proof['differences']} of {proof['pairs']} rebuilt snapshots differ")


if __name__ == "__main__":
    main("featurize", run)
