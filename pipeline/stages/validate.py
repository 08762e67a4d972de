"""validate: every declaration of the contract is checked; what fails is set aside with its reasons."""

from __future__ import annotations

import pandas as pd

from pipeline.adapters import expectations
from pipeline.adapters.stage import Stage, main
from pipeline.errors import ArtefactError
from pipeline.leads import contract, leakage, quarantine
from pipeline.leads.tables import TABLES


def run(stage: Stage) -> None:
    # Load
    resolved = contract.restore(stage.json("ingest/contract.json"))
    provenance = stage.json("ingest/provenance.json")
    newest = pd.Timestamp(provenance["newest_recorded_at"]) if provenance["newest_recorded_at"] else None
    tables = {name: stage.table(f"ingest/{name}.parquet") for name in TABLES}
    refused = stage.table("ingest/refused.parquet")

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
    leaks = leakage.report(parted.kept["leads"], resolved)

    # Save
    for name, table in parted.kept.items():
        stage.save_table(f"validate/{name}.parquet", table)
    stage.save_table("validate/quarantine.parquet", parted.quarantine)
    stage.save_csv("validate/expectations.csv", checked.summary)
    stage.save_csv("validate/leaks.csv", leaks)
    stage.save_json("validate/summary.json", parted.summary)
    expectations.write_docs(checked, stage.new_folder("validate/docs"), resolved.name)
    broken = (checked.summary["failed"] > 0).sum()
    stage.log.info(f"{len(checked.summary)} expectations, {broken} broken by at least one row")
    suspect = leaks.loc[(leaks["verdict"] == leakage.ENTERS) & (leaks["evidence"] != ""), "column"]
    if len(suspect):
        stage.log.warning(f"columns that enter the model but are filled only with the outcome: {', '.join(suspect)}")


if __name__ == "__main__":
    main("validate", run)
