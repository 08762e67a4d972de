"""calibrate: turn the margin into a chance, by what came true one step ahead, and put the scorer together."""

from __future__ import annotations

from pipeline.adapters import files, model_folder
from pipeline.adapters.stage import Stage, main
from pipeline.scorer.features import feature_list
from pipeline.scorer.margin import Margin
from pipeline.scoring import calibrators, metrics


def run(stage: Stage) -> None:
    params = stage.params.calibrate
    # Load
    spec = stage.json("featurize/features.json")
    members = stage.path("train/members")
    margin = Margin.restore(files.read_json(members / "margin.json"), members)
    rows = stage.table("train/out_of_sample.parquet")
    snapshots = stage.table("featurize/snapshots.parquet")
    listed = feature_list(spec)
    features = snapshots.loc[snapshots["split"] == "calibrate", [feature["name"] for feature in listed]]

    # Call
    if not margin.members:  # no signal: the base rate is all there is to calibrate
        rows["margin"] = margin.base
    contest = calibrators.choose(rows, params, horizon_days=spec["horizon_days"], timed=spec["timed"])
    choice = contest.choice
    interval = calibrators.interval(rows, contest, params, timed=spec["timed"])
    newest = rows[rows["split"] == "calibrate"]
    probability = choice.probability(newest["margin"].to_numpy())
    tiers = calibrators.tiers(probability, params)
    grades = calibrators.grades(margin, features, [feature["group"] for feature in listed], params)
    label = newest["label"].to_numpy(dtype="float64")
    reliability = metrics.reliability(label, probability, params.bins, params.interval_level, newest["lead_id"])

    # Save
    version = model_folder.write(
        stage.new_folder("calibrate/scorer"),
        spec=spec,
        margin=margin,
        level=choice.level,
        calibration=choice.calibration,
        interval=interval,
        tiers=tiers,
        grades=grades,
    )
    stage.save_csv("calibrate/calibrators.csv", contest.table)
    stage.save_csv("calibrate/reliability.csv", reliability)
    stage.save_json(
        "calibrate/summary.json",
        {
            "version": version,
            "tiers": tiers,
            "grades": grades,
            "calibration": vars(choice.calibration),
            "level": calibrators.described(choice, params),
        },
    )
    if sentence := calibrators.moved(choice, params):
        stage.log.warning(sentence)
    stage.log.info(
        f"{version}: calibrator {choice.calibration.kind}, current level {choice.level:+.3f}, from {len(rows):,} "
        f"snapshots scored out of sample; tiers {tiers}"
    )


if __name__ == "__main__":
    main("calibrate", run)
