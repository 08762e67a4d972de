"""evaluate: how good the scores are on the newest leads, how sure that is, and what simpler systems reach there."""

from __future__ import annotations

from pipeline.adapters import figures, tier_figures
from pipeline.adapters.report import pages
from pipeline.adapters.stage import Stage, main
from pipeline.leads import contract, playbooks
from pipeline.scorer import Scorer
from pipeline.scorer.features import feature_list
from pipeline.scoring import evaluation, examples, fields_outside, levels, optimism, report_facts, report_sales


def run(stage: Stage) -> None:
    params, shared = stage.params.evaluate, stage.params.run
    # Load
    resolved = contract.restore(stage.json("ingest/contract.json"))
    card, playbook = stage.json("ingest/card.json"), playbooks.restore(stage.json("ingest/playbook.json"))
    leads, activities, changes = (
        stage.table(f"validate/{name}.parquet") for name in ("leads", "activities", "changes")
    )
    leaks = stage.csv("validate/leaks.csv")
    spec = stage.json("featurize/features.json")
    snapshots = stage.table("featurize/snapshots.parquet")
    best, trained = stage.json("tune/best.json"), stage.json("train/summary.json")
    scorer, level = Scorer.load(stage.path("calibrate/scorer")), stage.json("calibrate/summary.json")["level"]
    test = evaluation.Window.of(snapshots, leads, stage.table("explain/scores.parquet"), scorer.version)
    earlier = {
        "leaks": leaks,
        "periods": stage.csv("featurize/periods.csv"),
        "splits": stage.csv("featurize/splits.csv"),
        "criteria": stage.csv("explain/criteria.csv"),
        "criteria_over_time": stage.csv("explain/criteria_over_time.csv"),
        "features": stage.csv("explain/features.csv"),
        "dependence": stage.csv("explain/dependence.csv"),
    }

    # Call
    names = [feature["name"] for feature in feature_list(spec)]
    evaluation.check_features(scorer.features(test.rows, activities, changes), test.snapshots[names])
    known = evaluation.circumstances(best, trained["signal"], leaks, resolved)
    chosen = best["members"] if known["split"] == "time" and scorer.members else []
    beside = evaluation.fit_beside(snapshots, leads, leaks, earlier["periods"], resolved, spec, chosen, stage.params)
    rivals = evaluation.rival_scores(test, beside.rivals, card, snapshots, (leads, activities, changes), spec)
    measured = evaluation.measure(test, rivals, params, shared.seed)
    sound = evaluation.soundness(test, measured, beside, scorer, level, params, shared.seed)
    taught = examples.telling(test.judged)
    summary = measured.figures | known | sound
    tables = measured.tables | evaluation.by_group(test, spec, resolved, scorer.tiers, params)
    tables |= {"leak_price": beside.leak_price, "fields_outside": beside.fields_outside}
    [split] = earlier["splits"].loc[earlier["splits"]["split"] == "test"].to_dict("records")
    worth = playbook.worth if playbook is not None else None
    week = evaluation.in_a_week(test, split, scorer.tiers, worth, spec, resolved, params, shared.seed)
    tables |= week.tables | {"examples": examples.taken_apart(taught)}
    told = earlier | tables
    facts = report_facts.gather(
        summary, test.judged, taught, told, resolved, trained["members"], params, scorer.interval.level
    )
    taught_until = snapshots.loc[snapshots["split"] != "test", "as_of"].max()
    facts |= report_sales.gather(
        measured.systems, week.payoff, tables["by_month"], scorer.tiers, taught_until, params.reliability_level
    )
    reliability = figures.reliability(tables["reliability"], measured.probability, level=params.reliability_level)

    # Save
    stage.save_json("evaluate/metrics.json", summary)
    for name, table in tables.items():
        stage.save_csv(f"evaluate/{name}.csv", table)
    stage.save_table("evaluate/scores.parquet", test.scores)
    stage.save_table("evaluate/rival_scores.parquet", rivals)
    stage.save_figure("evaluate/reliability.png", reliability)
    stage.save_figure("evaluate/lift.png", figures.lift(tables["lift"]))
    stage.save_figure("evaluate/rivals.png", figures.rivals(tables["rivals"], level=params.interval_level))
    stage.save_figure("evaluate/leak_price.png", figures.leak_price(tables["leak_price"]))
    stage.save_figure(
        "evaluate/profit.png", tier_figures.worth(tables["profit"], facts["worth"], params.interval_level)
    )
    stage.save_text("evaluate/report.html", pages.report(facts, told, measured.probability))
    stage.save_text("evaluate/training.html", pages.training(facts, tables["examples"]))
    stage.log.info(
        f"{scorer.version} on {summary['rows']:,} test snapshots ({summary['split']} split), {summary['unscored']:,} "
        f"more without a score: log-loss {summary['log_loss']:.4f}, AUC {summary['auc']:.3f}, lift in the top tenth "
        f"{summary['lift_10']:.2f}, calibration error {summary['calibration_error']:.4f}"
    )
    told_of = [
        optimism.sentence(summary),
        *beside.leak_price["sentence"],
        fields_outside.sentence(beside.fields_outside),
    ]
    told_of += [week.why_not] if week.payoff is None else [*week.payoff.sentences, *week.payoff.moved]
    for sentence in told_of:
        stage.log.info(sentence)
    for sentence in [*levels.sentences(summary, params.max_shift), summary["warning"]]:
        if sentence:
            stage.log.warning(sentence)


if __name__ == "__main__":
    main("evaluate", run)
