"""register: judge the candidate, log everything to MLflow, and register it as challenger where the gate is passed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from pipeline.adapters import candidates, champions, registry, tracking
from pipeline.adapters.registry import Version
from pipeline.adapters.stage import Stage, main
from pipeline.adapters.tracking import Store
from pipeline.leads import contract, drift, leakage, lineage
from pipeline.leads.snapshots import rows_at
from pipeline.scorer.features import feature_list
from pipeline.scoring import challenge, gate, second_looks


def run(stage: Stage) -> None:
    limits = stage.params.register_
    # Load
    leaks = stage.csv("validate/leaks.csv")
    resolved = leakage.without_leaks(contract.restore(stage.json("ingest/contract.json")), leaks)
    profile = stage.json("validate/profile.json")
    spec = stage.json("featurize/features.json")
    proof = stage.json("featurize/time_proof.json")
    metrics = stage.json("evaluate/metrics.json")
    scores = stage.table("evaluate/scores.parquet")
    rivals = stage.table("evaluate/rival_scores.parquet")
    candidate = candidates.collect(stage.workspace, stage.params)
    store = tracking.open_store(stage.workspace)
    champion = registry.champion(store, resolved.name)
    newest = lineage.newest(stage.json("ingest/provenance.json"))
    accepted, known = registry.accepted(store, resolved.name, candidate.name) or (None, None)

    # Call
    beside = challenge.Verdict()
    if champion is not None and champion.scorer != candidate.scorer:
        beside = beside_champion(stage, store, champion, scores, spec)
    decision = gate.decide(
        scores=scores,
        rivals=rivals,
        metrics=metrics,
        time_proof=proof,
        split_faults=proof["split_faults"],
        excluded=[*resolved.excluded, *(resolved.names[name] for name in resolved.excluded if name in resolved.names)],
        features=[*(column["source"] for column in spec["profile"]), *(part["name"] for part in feature_list(spec))],
        against=beside.checks,
        newest=newest,
        horizon_days=spec["horizon_days"],
        champion=champion.number if champion else None,
        limits=limits,
        bins=stage.params.evaluate.bins,
        seed=stage.params.run.seed,
    ).as_dict()
    decision["freshness"] = lineage.freshness(gate.judged_until(scores["as_of"], newest, spec["horizon_days"]), newest)
    overruled = leakage.overruled(leaks)
    max_shift = stage.params.evaluate.max_shift
    cautions = gate.cautions(metrics=metrics, max_shift=max_shift, overruled=overruled, undecided=resolved.undecided)
    moved = drift.compare(known, profile, limits.drift, stage.params.validate_.profile)
    warnings = drift.warnings(moved)
    decision["warnings"] = [*cautions, *(f"Drift since version {accepted}: {sentence}." for sentence in warnings)]
    decision["drift"] = {"since_version": accepted, "comparisons": len(moved), "warnings": len(warnings)}
    decision["look_twice"] = second_looks.second_looks(
        criteria=stage.csv("explain/criteria.csv"),
        reliability=stage.csv("evaluate/reliability.csv"),
        months=stage.csv("evaluate/by_month.csv"),
        slices=stage.csv("evaluate/slices.csv"),
        groups=stage.csv("evaluate/fairness.csv"),
        leaks=leaks,
        kept=stage.json("validate/summary.json"),
        repeatable=metrics["repeatable"],
    )
    decision["champion"] = candidates.beside(champion, candidate)
    if champion is not None:
        decision["warnings"] = [*beside.warnings(champion.number), *decision["warnings"]]
        decision["champion"] |= beside.described(identical=champion.scorer == candidate.scorer)
    registration = candidates.log(store, candidate, decision, moved)

    # Save
    stage.save_json("register/decision.json", decision | {"candidate": candidate.name})
    stage.save_csv("register/drift.csv", moved)
    stage.save_json("register/registration.json", asdict(registration))
    stage.log.info(decision["letter"])
    for sentence in decision["warnings"]:
        stage.log.warning(sentence)
    stage.log.info(registration.sentence)


def beside_champion(
    stage: Stage, store: Store, champion: Version, scores: pd.DataFrame, spec: dict[str, Any]
) -> challenge.Verdict:
    """Have the champion score the raw test rows with its own code, and compare.

    Args:
        scores: the candidate's `probability` of every test snapshot, by `gate.KEY`.
    """
    leads, activities, changes = (
        stage.table(f"validate/{name}.parquet") for name in ("leads", "activities", "changes")
    )
    snapshots = stage.table("featurize/snapshots.parquet")
    test = snapshots[snapshots["split"] == "test"].reset_index(drop=True)
    mine = lineage.known(
        *(stage.json("ingest/contract.json"), stage.csv("featurize/splits.csv"), stage.json("ingest/provenance.json")),
        stage.params.run.seed,
    )
    rows = rows_at(leads, test[gate.KEY])
    candidate = test[gate.KEY].merge(scores, on=gate.KEY, how="left", validate="one_to_one")["probability"].to_numpy()
    met = champions.meet(store, stage.params.run.contract, champion, rows, activities, changes)
    return challenge.judge(
        *(test, rows["created_at"], candidate, met.probability, mine, met.known, met.why_not),
        [part["name"] for part in feature_list(spec) if part["type"] == "category"],
        stage.params.register_,
        stage.params.evaluate,
        seed=stage.params.run.seed,
    )


if __name__ == "__main__":
    main("register", run)
