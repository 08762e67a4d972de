"""tune: which settings rank later leads best, judged forward in time on all that lies before the test window."""

from __future__ import annotations

from pipeline.adapters import studies
from pipeline.adapters.stage import Stage, main
from pipeline.scorer.features import directions, feature_list
from pipeline.scoring import folds, search


def run(stage: Stage) -> None:
    params = stage.params.tune
    # Load
    spec = stage.json("featurize/features.json")
    snapshots = stage.table("featurize/snapshots.parquet")
    snapshots = snapshots[snapshots["split"] != "test"]
    features = snapshots[[feature["name"] for feature in feature_list(spec)]]
    inputs = studies.inputs_hash(
        [stage.path(f"featurize/{name}") for name in ("snapshots.parquet", "features.json")],
        params,
        stage.params.run.seed,
    )

    # Call
    judge, plan = search.set_up(
        snapshots,
        features,
        params,
        stage.params.run,
        timed=spec["timed"],
        horizon_days=spec["horizon_days"],
        directions=directions(spec),
    )
    # Numbers of a search that ends otherwise than planned are known at its end: `register` logs its trials.
    log = studies.trial_log(stage.workspace, spec["contract"], inputs, params) if params.repeatable else None
    clock = studies.Clock.after(params.seconds)
    progress = studies.Progress(stage.log, sum(plan.planned().values()), clock, log)
    trials = plan.run(
        judge,
        {
            family: studies.open_study(stage.workspace, f"{inputs}-{family}", params.storage)
            for family in plan.planned()
        },
        progress,
        clock.go_on,
        studies.look_again,
    )
    progress.close()
    weights = judge.blend(trials)
    best = {
        "study": inputs,
        "members": search.members(trials, weights, params),
        "conversions_needed": plan.needed,
        "repeatable": params.repeatable,
        "trials": search.counts(trials),
    }

    # Save
    stage.save_csv("tune/trials.csv", search.trial_table(trials, weights))
    stage.save_csv("tune/history.csv", search.history(trials))
    stage.save_csv("tune/folds.csv", folds.table(judge.folds, judge.snapshots))
    stage.save_table("tune/judged.parquet", judge.judged(trials, weights))
    stage.save_table("tune/contributions.parquet", judge.contributions(trials, weights))
    stage.save_json("tune/best.json", best)
    if not params.repeatable:
        stage.log.warning("NOT REPEATABLE: tune.seconds, tune.storage or tune.device is set; the trials are kept")
    if plan.needed:
        stage.log.warning(f"FEW CONVERSIONS: a shrunken search; about {plan.needed:,} more are needed for a full one")
    stage.log.info(
        f"{len(trials)} trials on {len(judge.snapshots):,} snapshots, {sum(trial.pruned for trial in trials)} ended "
        f"early; blend of {(weights > 0).sum()}"
    )


if __name__ == "__main__":
    main("tune", run)
