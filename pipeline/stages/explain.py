"""explain: which criteria move scores, by how much, and for single leads the reasons that add up to their score."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.adapters import figures
from pipeline.adapters.stage import Stage, main
from pipeline.errors import ArtefactError
from pipeline.leads.snapshots import rows_at
from pipeline.scorer import Scorer
from pipeline.scorer.features import feature_list
from pipeline.scoring import explanation, weights

KEY = ["lead_id", "as_of"]
VERDICTS = {"adds nothing": "add nothing that can be told from chance", "misleads": "cost log-loss"}


def run(stage: Stage) -> None:
    params = stage.params.explain
    # Load
    scorer = Scorer.load(stage.path("calibrate/scorer"))
    specified = feature_list(stage.json("featurize/features.json"))
    leads, activities, changes = (
        stage.table(f"validate/{name}.parquet") for name in ("leads", "activities", "changes")
    )
    snapshots = stage.table("featurize/snapshots.parquet")
    test = snapshots.loc[snapshots["split"] == "test"]

    # Call
    returned = scorer.score(rows_at(leads, test[KEY]), activities, changes)
    fit = (returned["refused"] == "").to_numpy()
    judged, scores = test[fit].reset_index(drop=True), returned[fit].reset_index(drop=True)
    points = explanation.points(scores)
    whole = explanation.adds_up(scores, points)
    if not whole.all():
        raise ArtefactError(
            f"the reasons of {int((~whole).sum()):,} of {len(whole):,} test rows do not add up to their score. This is "
            "a fault in the scorer's code, not in the data; a scorer with it must not be registered."
        )
    names = [feature["name"] for feature in specified]
    parts = pd.DataFrame(scorer.margin.contributions(judged[names]), columns=names)
    margin = scorer.margin.base + parts.sum(axis=1).to_numpy() + scorer.level
    log_odds = scorer.calibration.log_odds(margin)
    learned, over_time = weights.learned(judged, parts, specified, log_odds, params)
    dependence = weights.dependence(judged[names], parts, specified, bins=params.bins)
    drawn = explanation.sample(len(judged), params.sample_rows, stage.params.run.seed)
    some, contributions = (table.iloc[drawn].reset_index(drop=True) for table in (judged, parts))
    built = some[names]
    criteria = explanation.criteria(points, len(scores), contributions, specified).merge(
        learned, on="criterion", how="left"
    )
    by_feature = explanation.feature_weights(contributions, specified)
    waterfalls = explanation.waterfalls(scores, params.waterfalls)
    apart = np.abs(scorer.calibration.probability(margin) - scores["probability"].to_numpy())[drawn]
    summary = explanation.shap_agreement(scorer.members, scorer.margin.encoder.matrix(built)) | {
        "rows_checked": len(whole),
        "rows_adding_up": int(whole.sum()),
        "sampled_rows": len(some),
        "largest_probability_difference": float(apart.max(initial=0.0)),
        "model_version": scorer.version,
    }

    # Save
    stage.save_table("explain/scores.parquet", returned)
    stage.save_csv("explain/criteria.csv", criteria)
    stage.save_csv("explain/criteria_over_time.csv", over_time)
    stage.save_csv("explain/dependence.csv", dependence)
    stage.save_csv("explain/features.csv", by_feature)
    stage.save_table("explain/contributions.parquet", pd.concat([some[KEY], contributions], axis=1))
    stage.save_csv("explain/waterfalls.csv", waterfalls)
    stage.save_figure("explain/beeswarm.png", figures.beeswarm(contributions, built))
    stage.save_figure("explain/criteria.png", figures.criteria(criteria))
    stage.save_figure("explain/dependence.png", figures.dependence(dependence, list(by_feature["feature"])))
    stage.save_figure("explain/waterfall.png", figures.waterfall(waterfalls, reasons=params.reasons))
    stage.save_json("explain/summary.json", summary)
    stage.log.info(
        f"base + points = score on {summary['rows_adding_up']:,} of {len(whole):,} test rows; contributions of "
        f"{len(some):,} sampled rows are within {summary['largest_relative_difference']:.1e} of SHAP's, relatively"
    )
    for verdict in ("adds nothing", "misleads"):
        if named := criteria.loc[criteria["verdict"] == verdict, "criterion"].tolist():
            stage.log.info(
                f"on later leads {len(named)} of {len(learned)} criteria {VERDICTS[verdict]}: {', '.join(named)}"
            )
    for name in criteria.loc[criteria["turned"] > 0, "criterion"]:
        stage.log.warning(
            f"criterion `{name}` works the other way round in a quarter of the test window: see criteria_over_time.csv"
        )


if __name__ == "__main__":
    main("explain", run)
