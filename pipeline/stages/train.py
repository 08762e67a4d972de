"""train: fit the members of the margin on the whole train window, with the settings that ranked later leads best."""

from __future__ import annotations

import numpy as np

from pipeline.adapters import files
from pipeline.adapters.stage import Stage, main
from pipeline.scorer.features import feature_list
from pipeline.scoring import members


def run(stage: Stage) -> None:
    # Load
    spec = stage.json("featurize/features.json")
    best = stage.json("tune/best.json")
    snapshots = stage.table("featurize/snapshots.parquet")
    snapshots = snapshots[snapshots["split"] == "train"].reset_index(drop=True)

    # Call
    features = snapshots[[feature["name"] for feature in feature_list(spec)]]
    label = snapshots["label"].to_numpy(dtype="float64")
    margin = members.fit(features, label, best["members"], stage.params.train, stage.params.run)

    # Save
    document, blobs = margin.files()
    folder = stage.new_folder("train/members")
    files.write_json(folder / "margin.json", document)
    for name, blob in blobs.items():
        files.write_bytes(folder / name, blob)
    stage.save_json(
        "train/summary.json",
        {
            "members": [
                {"family": entry["family"], "weight": entry["weight"], "rounds": entry["rounds"]}
                for entry in best["members"]
            ],
            "base_margin": margin.base,
            "rows": len(snapshots),
            "conversions": int(label.sum()),
            "features": features.shape[1],
        },
    )
    stage.log.info(
        f"{len(margin.members)} members with weights {np.round(margin.weights, 2).tolist()} from "
        f"{len(snapshots):,} snapshots, {int(label.sum()):,} conversions, {features.shape[1]} features"
    )


if __name__ == "__main__":
    main("train", run)
