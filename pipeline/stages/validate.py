"""validate: every declaration of the contract is checked; what fails is set aside with its reasons."""

from __future__ import annotations

import pandas as pd

from pipeline.adapters import expectations, leak_page, sorting
from pipeline.adapters.stage import Stage, main
from pipeline.errors import ArtefactError
from pipeline.leads import contract, drift, leakage, quarantine
from pipeline.leads.contract import LEAD_KEY
from pipeline.leads.tables import TABLES


def run(stage: Stage) -> None:
    # Load
    resolved = contract.restore(stage.json("ingest/contract.json"))
    provenance = stage.json("ingest/provenance.json")
    newest = pd.Timestamp(provenance["newest_recorded_at"]) if provenance["newest_recorded_at"] else None
    tables = {name: stage.parts(f"ingest/{name}.parquet") for name in TABLES}
    refused = stage.table("ingest/refused.parquet")
    moments = stage.table("ingest/moments.parquet")

    # Call
    unread = quarantine.unread_leads(refused, resolved.contract)
    checked = expectations.check(tables, resolved, newest, refused_leads=unread)
    set_aside = {name: source["set_aside"] for name, source in provenance["source"].items()}
    parted = quarantine.part(tables, checked.failed, refused, unread, set_aside)
    for name, counts in parted.summary.items():
        stage.log.info(
            f"{name}: {counts['rows']:,} rows = {counts['kept']:,} kept + {counts['quarantined']:,} quarantined (of "
            f"these {counts['with_their_lead']:,} with their lead) + {counts['refused']:,} refused + "
            f"{counts['set_aside']:,} set aside"
        )
        if counts["rows"] != provenance["source"][name]["rows"]:
            raise ArtefactError(f"ingest counted {provenance['source'][name]['rows']:,} rows of {name}; run it again.")
    quarantine.check_shares(parted.summary, stage.params.validate_.max_refused_share)

    # Save the tables, call again on what is kept
    stage.save_table("validate/leads.parquet", parted.leads)
    for name in ("activities", "changes"):
        rows, folder = quarantine.kept(tables[name], parted.gone[name]), stage.folder_path / ".parts"
        order, total = quarantine.ORDER[name], parted.summary[name]["kept"]
        in_order = sorting.by_lead(rows, parted.leads[LEAD_KEY], order, total, folder)
        stage.save_table(f"validate/{name}.parquet", in_order)
    first_changes = [part.drop_duplicates([LEAD_KEY, "column"]) for part in stage.made("validate/changes.parquet")]
    limits = stage.params.validate_.leaks
    changed = leakage.when_known(moments, parted.leads)
    found = leakage.judge(parted.leads, pd.concat(first_changes), resolved, limits, newest, changed)
    leaks = leakage.report(parted.leads, resolved, found)
    clean = {name: stage.made(f"validate/{name}.parquet") for name in TABLES}
    profile = drift.profile(clean, resolved, newest, stage.params.validate_.profile)

    # Save
    stage.save_table("validate/quarantine.parquet", parted.quarantine)
    stage.save_csv("validate/expectations.csv", checked.summary)
    stage.save_csv("validate/leaks.csv", leaks)
    stage.save_csv("validate/leak_evidence.csv", found.evidence)
    stage.save_json("validate/profile.json", profile)
    stage.save_json("validate/summary.json", parted.summary)
    docs = stage.new_folder("validate/docs")
    beside = {leak_page.FILE: "Which columns know the outcome"}
    expectations.write_docs(checked, parted.summary, docs, resolved.name, beside)
    leak_page.write(docs, leaks, found.evidence, resolved.name)
    broken = (checked.summary["failed"] > 0).sum()
    stage.log.info(f"{len(checked.summary)} expectations, {broken} broken by at least one row")
    if resolved.undecided:
        stage.log.warning(f"undecided, so left out until `known_at` says more: {', '.join(resolved.undecided)}")
    for verdict in (leakage.LEAK, leakage.SUSPECT):
        mine = leaks[leaks["verdict"] == verdict]
        left_out, enters = (", ".join(mine.loc[mine["in_model"] == inside, "column"]) for inside in (False, True))
        stage.log.info(f"{len(mine)} columns with verdict {verdict}; not in the model: {left_out or 'none'}")
        if enters:
            stage.log.warning(f"verdict {verdict}, yet in the model: {enters}; see data/validate/docs/leaks.html")


if __name__ == "__main__":
    main("validate", run)
