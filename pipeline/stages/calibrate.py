"""calibrate: turn the margin into a chance, on later rows, and put the scorer together."""

from __future__ import annotations

from pipeline.adapters import files, model_folder
from pipeline.adapters.stage import Stage, main
from pipeline.scorer.features import feature_list
from pipeline.scorer.margin import Margin
from pipeline.scoring import calibrators, metrics

#: The current level is measured by a later part; until then it is a term of nothing.
LEVEL = 0.0


def run(stage: Stage) -> None:
    params = stage.params.calibrate
    # Load
    spec = stage.json("featurize/features.json")
    members = stage.path("train/members")
    margin = Margin.restore(files.read_json(members / "margin.json"), members)
    snapshots = stage.table("featurize/snapshots.parquet")
    snapshots = snapshots[snapshots["split"] == "calibrate"].reset_index(drop=True)

    # Call
    features = snapshots[[feature["name"] for feature in feature_list(spec)]]
    margins = margin.base + margin.contributions(features).sum(axis=1) + LEVEL
    calibration, tried = calibrators.choose(snapshots, margins, params, horizon_days=spec["horizon_days"])
    probability = calibration.probability(margins)
    interval = calibrators.interval(snapshots, margins, calibration, params)
    tiers = calibrators.tiers(probability, params)
    label = snapshots["label"].to_numpy(dtype="float64")
    reliability = metrics.reliability(label, probability, params.bins, params.interval_level)

    # Save
    version = model_folder.write(
        stage.new_folder("calibrate/scorer"),
        spec=spec,
        margin=margin,
        level=LEVEL,
        calibration=calibration,
        interval=interval,
        tiers=tiers,
    )
    stage.save_csv("calibrate/calibrators.csv", tried)
    stage.save_csv("calibrate/reliability.csv", reliability)
    stage.save_json("calibrate/summary.json", {"version": version, "tiers": tiers, "calibration": vars(calibration)})
    stage.log.info(f"{version}: calibrator {calibration.kind} from {len(snapshots):,} snapshots; tiers {tiers}")


if __name__ == "__main__":
    main("calibrate", run)
