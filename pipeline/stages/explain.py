"""explain: which criteria move scores, by how much, and for single leads the reasons that add up to their score."""

from __future__ import annotations

import pandas as pd

from pipeline.adapters import figures
from pipeline.adapters.stage import Stage, main
from pipeline.leads.snapshots import rows_at
from pipeline.scorer import Scorer
from pipeline.scorer.features import feature_list
from pipeline.scoring import explanation, fold_weights
from pipeline.scoring.explanation import KEY


def run(stage: Stage) -> None:
    params = stage.params.explain
    # Load
    scorer = Scorer.load(stage.path("calibrate/scorer"))
    specified = feature_list(stage.json("featurize/features.json"))
    leads, activities, changes = (
        stage.table(f"validate/{name}.parquet") for name in ("leads", "activities", "changes")
    )
    snapshots = stage.table("featurize/snapshots.parquet")
    searched = stage.table("tune/judged.parquet"), stage.table("tune/contributions.parquet")
    test = snapshots.loc[snapshots["split"] == "test"]

    # Call
    scores = scorer.score(rows_at(leads, test[KEY]), activities, changes)
    apart = explanation.take_apart(scorer, test, scores, specified)
    drawn = explanation.draw(apart, params.sample_rows, stage.params.run.seed)
    by_fold = fold_weights.none()
    if scorer.members:
        by_fold = fold_weights.by_fold(*searched, snapshots, specified, params)
    tables = explanation.tables(scorer, apart, drawn, by_fold, specified, params)
    summary = explanation.agreement(scorer, apart, drawn)
    criteria, dependence, strongest = tables["criteria"], tables["dependence"], list(tables["features"]["feature"])

    # Save
    stage.save_table("explain/scores.parquet", scores)
    for name, table in tables.items():
        stage.save_csv(f"explain/{name}.csv", table)
    stage.save_table("explain/contributions.parquet", pd.concat([drawn.rows[KEY], drawn.contributions], axis=1))
    stage.save_figure("explain/beeswarm.png", figures.beeswarm(drawn.contributions, drawn.rows))
    stage.save_figure("explain/criteria.png", figures.criteria(criteria))
    stage.save_figure("explain/criteria_gains.png", figures.criteria_gains(criteria, level=params.interval_level))
    stage.save_figure("explain/dependence.png", figures.dependence(dependence, strongest))
    stage.save_figure("explain/waterfall.png", figures.waterfall(tables["waterfalls"], reasons=params.reasons))
    stage.save_json("explain/summary.json", summary)
    stage.log.info(
        f"base + points = score on {summary['rows_adding_up']:,} of {summary['rows_checked']:,} test rows; "
        f"contributions of {summary['sampled_rows']:,} sampled rows are within "
        f"{summary['largest_relative_difference']:.1e} of SHAP's, relatively"
    )
    for sentence in [*explanation.sentences(criteria), fold_weights.sentence(criteria.dropna(subset="folds"))]:
        stage.log.info(sentence)
    for name in criteria.loc[criteria["turned"] > 0, "criterion"]:
        stage.log.warning(
            f"criterion `{name}` works the other way round in a quarter of the test window: see criteria_over_time.csv"
        )


if __name__ == "__main__":
    main("explain", run)
