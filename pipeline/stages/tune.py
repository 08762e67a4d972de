"""tune: which settings rank later leads best, judged forward in time inside the train window."""

from __future__ import annotations

from tqdm import tqdm

from pipeline.adapters import studies
from pipeline.adapters.stage import Stage, main
from pipeline.scorer.features import feature_list
from pipeline.scoring import search


def run(stage: Stage) -> None:
    params, seed = stage.params.tune, stage.params.run.seed
    # Load
    spec = stage.json("featurize/features.json")
    snapshots = stage.table("featurize/snapshots.parquet")
    snapshots = snapshots[snapshots["split"] == "train"].reset_index(drop=True)
    features = snapshots[[feature["name"] for feature in feature_list(spec)]]
    inputs = studies.inputs_hash(
        [stage.path(f"featurize/{name}") for name in ("snapshots.parquet", "features.json")], params, seed
    )

    # Call
    folds = search.folds(
        snapshots, number=params.folds, first_share=params.first_fold_share, horizon_days=spec["horizon_days"]
    )
    judge = search.Judge(snapshots, features, folds, params, seed, stage.params.run.threads)
    trials, kept = [], []
    log = studies.trial_log(stage.workspace, spec["contract"], inputs, params)
    with tqdm(total=sum(params.trials.values()), desc="tune", unit="trial", disable=None) as bar:
        for family in params.trials:

            def report(trial: search.Trial) -> None:
                trials.append(trial)
                best = min(trials, key=lambda tried: tried.loss)
                log(len(trials) - 1, trial.family, trial.settings.model_dump(), trial.loss)
                said = f"best log-loss {best.loss:.5f} ({best.family})"
                bar.set_postfix_str(said)
                bar.update()
                if bar.disable:  # no terminal to draw on
                    stage.log.info(f"trial {len(trials)} of {bar.total}: {trial.family} {trial.loss:.5f}, {said}")

            study = studies.open_study(stage.workspace, f"{inputs}-{family}")
            kept += search.keep(search.search(family, judge, params, seed, study, report), params.members_per_family)
    weights = judge.blend(kept)

    # Save
    stage.save_csv("tune/trials.csv", search.trial_table(trials, kept, weights))
    stage.save_csv("tune/history.csv", search.history(trials))
    stage.save_csv("tune/folds.csv", search.fold_table(folds, snapshots))
    stage.save_json("tune/best.json", {"study": inputs, "members": search.members(kept, weights, params)})
    stage.log.info(
        f"{len(trials)} trials on {len(snapshots):,} snapshots; blend weights {[round(w, 2) for w in weights]}"
    )


if __name__ == "__main__":
    main("tune", run)
