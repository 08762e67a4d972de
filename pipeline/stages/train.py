"""train: fit the members of the margin on all that lies before the test window, with the settings that ranked best."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from pipeline.adapters import files
from pipeline.adapters.stage import Stage, main
from pipeline.scorer.features import directions, feature_list
from pipeline.scoring import members, signal


def run(stage: Stage) -> None:
    params, shared = stage.params.train, stage.params.run
    # Load
    spec = stage.json("featurize/features.json")
    chosen = stage.json("tune/best.json")["members"]
    judged = stage.table("tune/judged.parquet")
    snapshots = stage.table("featurize/snapshots.parquet")
    snapshots = snapshots[snapshots["split"] != "test"].reset_index(drop=True)

    # Call
    features = snapshots[[feature["name"] for feature in feature_list(spec)]]
    label, place = snapshots["label"].to_numpy(dtype="float64"), snapshots["position"].to_numpy()
    signs = directions(spec)
    unseen = members.out_of_sample(
        judged, snapshots, features, chosen, params, shared, horizon_days=spec["horizon_days"], directions=signs
    )
    found = signal.judge(unseen, snapshots, features, params, shared.seed)
    if found.found:
        margin = members.fit(features, label, place, chosen, params, shared, directions=signs)
    else:
        margin = members.base_rate(features, label)

    # Save
    document, blobs = margin.files()
    folder = stage.new_folder("train/members")
    files.write_json(folder / "margin.json", document)
    for name, blob in blobs.items():
        files.write_bytes(folder / name, blob)
    stage.save_table("train/out_of_sample.parquet", unseen)
    stage.save_json(
        "train/summary.json",
        {
            "members": [
                {"family": member.kind, "weight": weight}
                for member, weight in zip(margin.members, margin.weights, strict=True)
            ],
            "signal": asdict(found),
            "base_margin": margin.base,
            "rows": len(snapshots),
            "conversions": int(label.sum()),
            "features": features.shape[1],
        },
    )
    if not found.found:
        stage.log.warning(f"{found.warning(params.min_signal)} {stage.meanwhile()}")
    stage.log.info(
        f"{len(margin.members)} members with weights {np.round(margin.weights, 2).tolist()} from "
        f"{len(snapshots):,} snapshots, {int(label.sum()):,} conversions, {features.shape[1]} features; out of sample "
        f"AUC {found.auc:.3f}, {found.z:.1f} standard errors above chance"
    )


if __name__ == "__main__":
    main("train", run)
