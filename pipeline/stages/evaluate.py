"""evaluate: how good the scores are on the newest leads, how sure that is, and what simpler systems reach there."""

from __future__ import annotations

import pandas as pd

from pipeline.adapters import figures
from pipeline.adapters.report import pages
from pipeline.adapters.stage import Stage, main
from pipeline.errors import ArtefactError
from pipeline.leads import cards, contract, leakage
from pipeline.leads.snapshots import rows_at
from pipeline.scorer import Scorer
from pipeline.scorer.features import directions, feature_list
from pipeline.scoring import (
    card_backtest,
    examples,
    fairness,
    leak_price,
    levels,
    metrics,
    optimism,
    report_facts,
)
from pipeline.scoring.rivals import Rivals

KEY = ["lead_id", "as_of"]
SHARES = (0.01, 0.02, 0.05, *(tenth / 10 for tenth in range(1, 11)))


def run(stage: Stage) -> None:
    params, shared = stage.params.evaluate, stage.params.run
    # Load
    resolved = contract.restore(stage.json("ingest/contract.json"))
    card = stage.json("ingest/card.json")
    scorer = Scorer.load(stage.path("calibrate/scorer"))
    spec = stage.json("featurize/features.json")
    specified = feature_list(spec)
    leaks = stage.csv("validate/leaks.csv")
    best = stage.json("tune/best.json")
    level = stage.json("calibrate/summary.json")["level"]
    trained = stage.json("train/summary.json")
    found = trained["signal"]
    tables = [stage.table(f"validate/{name}.parquet") for name in ("leads", "activities", "changes")]
    snapshots = stage.table("featurize/snapshots.parquet")
    scores = stage.table("explain/scores.parquet")
    told = {
        "leaks": leaks,
        "periods": stage.csv("featurize/periods.csv"),
        "splits": stage.csv("featurize/splits.csv"),
        "criteria": stage.csv("explain/criteria.csv"),
        "criteria_over_time": stage.csv("explain/criteria_over_time.csv"),
        "features": stage.csv("explain/features.csv"),
        "dependence": stage.csv("explain/dependence.csv"),
    }
    test = snapshots[snapshots["split"] == "test"].reset_index(drop=True)

    # Call
    names = [feature["name"] for feature in specified]
    rows = rows_at(tables[0], test[KEY])
    check_features(scorer.features(rows, *tables[1:]), test[names])
    check_scores(scores, test[KEY], scorer.version)
    scores = scores.assign(label=test["label"])
    rivals = Rivals.fit(
        snapshots[snapshots["split"] != "test"], names, bins=params.bins, seed=shared.seed, threads=shared.threads
    )
    rival_scores = pd.concat([test[[*KEY, "label"]], rivals.predict(test[names])], axis=1)
    if card is not None:
        before = snapshots[snapshots["split"] == "calibrate"]
        rival_scores["card"] = card_backtest.as_rival(
            cards.parse(card, file="ingest/card.json"),
            rows_at(tables[0], before[KEY]),
            before["label"].to_numpy(),
            rows,
            (tables[1], tables[2]),
            spec,
        )
    compared = ["candidate", *rival_scores.columns.drop([*KEY, "label"])]

    # A row without a score is judged by the gate, which counts it; every system is measured on the others.
    scored = (scores["refused"] == "").to_numpy()
    systems = rival_scores.assign(candidate=scores["probability"])[scored]
    label, probability = systems["label"].to_numpy(), systems["candidate"].to_numpy()
    measured = metrics.bootstrap_by_lead(
        systems,
        compared,
        bins=params.bins,
        samples=params.bootstrap_samples,
        level=params.interval_level,
        seed=shared.seed,
    )
    reliability = metrics.reliability(label, probability, params.bins, params.reliability_level, systems["lead_id"])
    lift = metrics.lift_table(label, probability, SHARES)
    categories = {feature["name"]: feature["criterion"] for feature in specified if feature["type"] == "category"}
    slices = metrics.slices(
        test.assign(probability=scores["probability"])[scored],
        categories,
        level=params.interval_level,
        min_rows=params.slice_min_rows,
    )
    price = leak_price.price(
        snapshots, tables[0], leaks, resolved, spec, params.leak_price, seed=shared.seed, threads=shared.threads
    )
    summary = metrics.summary(label, probability, bins=params.bins) | {
        "rows": len(systems),
        "leads": int(systems["lead_id"].nunique()),
        "conversions": int(label.sum()),
        "unscored": int((~scored).sum()),
        "bins_hold_share": float(reliability["holds"].mean()),
        "interval_coverage": levels.coverage(scores[scored], params.bins, scorer.interval.level),
        "conversions_needed": best["conversions_needed"],
        "repeatable": best["repeatable"],
        "signal": bool(found["found"]),
        "signal_standard_errors": found["z"],
        "split": "random" if resolved.contract.time.kind == "none" else "time",
        "warning": metrics.RANDOM_SPLIT if resolved.contract.time.kind == "none" else "",
        "leaks_overruled": len(leakage.overruled(leaks)),
        "one_feature": rivals.one_feature.name,
        "model_version": scorer.version,
    }
    if found["p_value"] is not None:
        summary["signal_p_value"] = found["p_value"]
    summary |= levels.figures(level, test.loc[scored, "as_of"], systems["lead_id"], label, probability, params)
    if summary["split"] == "time" and scorer.members:
        dealt = optimism.refit(snapshots, names, best["members"], stage.params.train, shared, directions(spec))
        summary |= optimism.gap(systems.assign(probability=probability), dealt, params, shared.seed)

    judged = scores[scored].reset_index(drop=True)
    seen = fairness.watched(resolved)
    groups = fairness.table(
        test.assign(
            probability=scores["probability"],
            selected=scores["tier"] == scorer.tiers[0]["name"],
            **{name: rows[name] for name in seen},
        )[scored],
        categories | dict.fromkeys(seen, ""),
        level=params.interval_level,
        min_rows=params.slice_min_rows,
    )
    tiers = report_facts.tiers(judged, scorer.tiers, params.interval_level)
    told |= {"intervals": measured[measured["system"] == "candidate"], "rivals": measured, "reliability": reliability}
    told |= {"lift": lift, "leak_price": price, "fairness": groups, "tiers": tiers}
    taught = examples.telling(judged)
    steps = examples.taken_apart(taught)
    facts = report_facts.gather(
        summary, judged, taught, told, resolved, trained["members"], params, scorer.interval.level
    )

    # Save
    stage.save_json("evaluate/metrics.json", summary)
    stage.save_csv("evaluate/intervals.csv", measured[measured["system"] == "candidate"].drop(columns="system"))
    stage.save_csv("evaluate/rivals.csv", measured)
    stage.save_csv("evaluate/reliability.csv", reliability)
    stage.save_csv("evaluate/lift.csv", lift)
    stage.save_csv("evaluate/slices.csv", slices)
    stage.save_csv("evaluate/tiers.csv", tiers)
    stage.save_csv("evaluate/fairness.csv", groups)
    stage.save_csv("evaluate/examples.csv", steps)
    stage.save_csv("evaluate/leak_price.csv", price)
    stage.save_table("evaluate/scores.parquet", scores)
    stage.save_table("evaluate/rival_scores.parquet", rival_scores)
    stage.save_figure(
        "evaluate/reliability.png", figures.reliability(reliability, probability, level=params.reliability_level)
    )
    stage.save_figure("evaluate/lift.png", figures.lift(lift))
    stage.save_figure("evaluate/rivals.png", figures.rivals(measured, level=params.interval_level))
    stage.save_figure("evaluate/leak_price.png", figures.leak_price(price))
    stage.save_text("evaluate/report.html", pages.report(facts, told, probability))
    stage.save_text("evaluate/training.html", pages.training(facts, steps))
    stage.log.info(
        f"{scorer.version} on {len(systems):,} test snapshots ({summary['split']} split), {summary['unscored']:,} more "
        f"without a score: log-loss {summary['log_loss']:.4f}, AUC {summary['auc']:.3f}, lift in the top tenth "
        f"{summary['lift_10']:.2f}, calibration error {summary['calibration_error']:.4f}"
    )
    stage.log.info(optimism.sentence(summary))
    for sentence in price["sentence"]:
        stage.log.info(sentence)
    for sentence in levels.sentences(summary, params.max_shift):
        stage.log.warning(sentence)
    if summary["warning"]:
        stage.log.warning(summary["warning"])


def check_scores(scores: pd.DataFrame, test: pd.DataFrame, version: str) -> None:
    """What is judged must be what this scorer returned for the test snapshots, one row each, in their order.

    Args:
        scores: as `explain` saved them. `test`: key of the test snapshots.

    Raises:
        ArtefactError: rows of other snapshots, or of another scorer; the message counts them.
    """
    if not scores[KEY].equals(test):
        raise ArtefactError(
            f"explain/scores.parquet holds {len(scores):,} rows that are not the {len(test):,} snapshots of the test "
            "window in their order; run `dvc repro -f explain`."
        )
    if others := int((scores["model_version"] != version).sum()):
        raise ArtefactError(
            f"{others:,} rows of explain/scores.parquet were not scored by {version}, the scorer of "
            "calibrate/scorer; run `dvc repro -f explain`."
        )


def check_features(built: pd.DataFrame, stored: pd.DataFrame) -> None:
    """The scorer must build from raw rows what featurize stored, to the last bit.

    Raises:
        ArtefactError: columns or values differ; the message names the features and counts the rows.
    """
    if list(built.columns) != list(stored.columns):
        raise ArtefactError("the scorer builds other features than featurize/snapshots.parquet holds; run `dvc repro`.")
    apart = (built.ne(stored) & ~(built.isna() & stored.isna())).sum()
    if faults := [f"{name} ({count:,} rows)" for name, count in apart.items() if count]:
        raise ArtefactError(
            f"the scorer's features differ from featurize/snapshots.parquet in the test window: {', '.join(faults)}. "
            "Run `dvc repro -f featurize`; if that does not help, the scorer reads a column as featurize does not."
        )


if __name__ == "__main__":
    main("evaluate", run)
