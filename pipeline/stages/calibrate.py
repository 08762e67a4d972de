"""calibrate: turn the margin into a chance, by what came true one step ahead, and put the scorer together."""

from __future__ import annotations

from pipeline.adapters import files, model_folder
from pipeline.adapters.stage import Stage, main
from pipeline.leads import contract, playbooks
from pipeline.scorer.calibration import tenths
from pipeline.scorer.features import feature_list
from pipeline.scorer.margin import Margin
from pipeline.scoring import calibrators, capacity, deal_values, metrics, segments


def run(stage: Stage) -> None:
    params = stage.params.calibrate
    # Load
    resolved = contract.restore(stage.json("ingest/contract.json"))
    playbook = playbooks.restore(stage.json("ingest/playbook.json"))
    leads = stage.table("validate/leads.parquet").set_index("lead_id")
    spec = stage.json("featurize/features.json")
    windows = stage.csv("featurize/splits.csv").set_index("split", drop=False)
    members = stage.path("train/members")
    margin = Margin.restore(files.read_json(members / "margin.json"), members)
    rows = stage.table("train/out_of_sample.parquet")
    snapshots = stage.table("featurize/snapshots.parquet")
    listed = feature_list(spec)
    earlier = snapshots[snapshots["split"] != "test"]
    features = earlier.loc[earlier["split"] == "calibrate", [feature["name"] for feature in listed]]

    # Call
    if not margin.members:  # no signal: the base rate is all there is to calibrate
        rows["margin"] = margin.base
    contest = calibrators.choose(rows, params, horizon_days=spec["horizon_days"], timed=spec["timed"])
    choice = contest.choice
    interval = calibrators.interval(rows, contest, params, timed=spec["timed"])
    newest = rows[rows["split"] == "calibrate"]
    probability = choice.probability(newest["margin"].to_numpy())
    looks = newest[["lead_id", "as_of", "label"]].assign(
        created_at=leads["created_at"].reindex(newest["lead_id"]).to_numpy(), score=tenths(probability) / 10
    )
    bands = capacity.cut(
        params.tiers,
        looks,
        windows.loc["calibrate"].to_dict(),
        max_age_days=spec["max_age_days"] or 0,
        worth=playbook.worth if playbook is not None else None,
    )
    tiers = playbooks.with_plays(bands, playbook, resolved.kinds, file=f"data/playbooks/{resolved.name}.yaml")
    grades = calibrators.grades(margin, features, [feature["group"] for feature in listed], params)
    label = newest["label"].to_numpy(dtype="float64")
    values = None
    if resolved.value is not None:
        values = deal_values.learn(earlier, leads[resolved.value], segments.columns_of(spec), params.deal_values)
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
        deal_values=values,
    )
    stage.save_csv("calibrate/calibrators.csv", contest.table)
    stage.save_csv("calibrate/reliability.csv", reliability)
    stage.save_json(
        "calibrate/summary.json",
        {
            "version": version,
            "tiers": bands,
            "grades": grades,
            "deal_values": values,
            "calibration": vars(choice.calibration),
            "level": calibrators.described(choice, params),
        },
    )
    if sentence := calibrators.moved(choice, params):
        stage.log.warning(sentence)
    if values is not None:
        told = " and ".join(column["criterion"] for column in values["columns"]) or "nothing a lead is"
        stage.log.info(
            f"expected deal value from {values['deals']:,} deals, by {told}; {values['overall']:,.0f} on average"
        )
    stage.log.info(
        f"{version}: calibrator {choice.calibration.kind}, current level {choice.level:+.3f}, from {len(rows):,} "
        f"snapshots scored out of sample; tiers {bands}"
    )


if __name__ == "__main__":
    main("calibrate", run)
