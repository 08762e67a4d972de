"""featurize: each open lead at several ages, what was known of it then, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd
from tqdm import tqdm

from pipeline.adapters import figures, sorting
from pipeline.adapters.stage import Stage, main
from pipeline.leads import cohort, contract, leakage, maturity, periods, snapshots, specification, truncation
from pipeline.leads.contract import LEAD_KEY


def run(stage: Stage) -> None:
    params, seed = stage.params.featurize, stage.params.run.seed
    # Load
    resolved = contract.restore(stage.json("ingest/contract.json"))
    newest = pd.Timestamp(stage.json("ingest/provenance.json")["newest_recorded_at"])
    leaks = stage.csv("validate/leaks.csv")
    leads = stage.table("validate/leads.parquet")
    activities = stage.parts("validate/activities.parquet")
    changes = stage.parts("validate/changes.parquet")

    # Call
    recorded = maturity.recorded(leads, resolved.contract, newest, params.recording)
    delay = maturity.delay(leads[recorded.kept], resolved.contract, newest, params)
    drawn = cohort.draw(leads, resolved.contract, newest, params, seed, recorded.kept)
    pairs = drawn.snapshots
    before, place = cohort.before_test(drawn, leads)
    usable = leakage.without_leaks(resolved, leaks)
    told = periods.judge(before, usable, place, params.periods)
    spec = specification.specify(periods.without(usable, told), params)
    chosen = truncation.sample(len(pairs), params.time_proof_samples, seed)
    sampled: list[snapshots.Part] = []

    def parts() -> Iterator[pd.DataFrame]:
        cuts = tqdm(sorting.ranges(len(leads), activities.total + len(pairs)), "featurize", unit="part", disable=None)
        acts_of, changes_of = partial(activities.between, LEAD_KEY), partial(changes.between, LEAD_KEY)
        for part in snapshots.in_parts(leads, acts_of, changes_of, pairs, cuts, spec):
            sampled.append(part.only(chosen))
            yield pd.concat([part.pairs, part.features], axis=1)

    stage.save_table("featurize/snapshots.parquet", parts())
    seen = snapshots.together(sampled)
    proof = truncation.prove(
        *(seen.pairs, seen.leads, seen.activities, seen.changes, spec, seen.features, resolved),
        samples=len(chosen),
        seed=seed,
    )
    faults = cohort.check_windows(pairs, drawn.windows, leads, resolved.contract, newest)
    truncation.refuse_differences(proof)
    cohort.refuse_faults(faults)

    # Save
    stage.save_csv("featurize/splits.csv", drawn.windows)
    stage.save_figure("featurize/splits.png", figures.splits(drawn.windows))
    stage.save_csv("featurize/cohorts.csv", recorded.cohorts)
    stage.save_csv("featurize/delay.csv", delay.curve)
    stage.save_figure("featurize/delay.png", figures.delay(delay.curve, delay.horizon_days, delay.suggested_days))
    stage.save_csv("featurize/periods.csv", told)
    stage.save_json("featurize/features.json", spec)
    stage.save_json("featurize/time_proof.json", proof | {"split_faults": faults})
    for window in drawn.windows.itertuples():
        stage.log.info(
            f"{window.split}: {window.snapshots:,} snapshots of {window.leads:,} leads, {window.conversions:,} "
            f"conversions; set aside {window.closed:,} closed, {window.not_matured:,} not matured, "
            f"{window.embargoed:,} past the window's end, {window.unrecorded:,} before outcomes were recorded"
        )
    stage.log.info(delay.said)
    for row in told[told["verdict"] != periods.KEPT].itertuples():
        stage.log.warning(f"column `{row.column}` ({row.share:.0%} explained by time) {row.verdict}: {row.reason}")
    for note in [*recorded.notes, *delay.warnings]:
        stage.log.warning(note)
    stage.log.info(f"time proof: {proof['differences']} of {proof['pairs']} rebuilt snapshots differ")


if __name__ == "__main__":
    main("featurize", run)
