"""Ingest: from the contract's source to typed tables without personal columns, and the rows refused on the way."""

from __future__ import annotations

from pipeline.adapters import cards, sources
from pipeline.adapters import playbooks as playbook_files
from pipeline.adapters.spool import Spool
from pipeline.adapters.stage import Stage, main
from pipeline.leads import cards as points_cards
from pipeline.leads import demo, playbooks, tables
from pipeline.leads.contract import describe, without_changing
from pipeline.leads.people import Sieve


def run(stage: Stage) -> None:
    params, log = stage.params, stage.log
    # Load
    resolved = sources.read_contract(stage.workspace, params.run.contract)
    card = cards.of_contract(stage.workspace, params.run.contract)
    playbook = playbook_files.of_contract(stage.workspace, resolved)
    contract, max_bytes = resolved.contract, params.ingest.max_file_mib * 2**20
    fetched = sources.fetch_all(stage.workspace, resolved, max_bytes=max_bytes, log=log.info)
    if contract.source.kind == "demo":
        pieces = sources.pieces_of_blocks(demo.generate(params.ingest.demo, params.run.seed), resolved)
    else:
        pieces = sources.pieces_of_files(resolved, fetched, max_bytes=max_bytes)

    # Call
    newest = tables.Newest(params.ingest.newest)
    timed = contract.time.kind == "column" or contract.time.calendar is not None
    with Spool(stage.folder_path / ".spool", Sieve(resolved, params.ingest.personal)) as spool:
        spool.take(pieces)
        for table in tables.TABLES:
            stage.save_table(f"ingest/{table}.parquet", spool.table(table, newest if timed else None))
        stage.save_table("ingest/moments.parquet", spool.moments())
    latest, implausible = newest.result()
    if contract.source.kind == "demo":
        latest, implausible = demo.extracted_at(params.ingest.demo), 0
    resolved, contradicted = without_changing(resolved, spool.changed)

    # Save
    stage.save_table("ingest/refused.parquet", spool.refused)
    stage.save_json("ingest/contract.json", describe(resolved))
    stage.save_json("ingest/card.json", None if card is None else points_cards.describe(card))
    stage.save_json("ingest/playbook.json", None if playbook is None else playbooks.describe(playbook))
    hashes = {table: fetched[table].sha256 if table in fetched else None for table in tables.TABLES}
    provenance = {
        "contract": contract.name,
        "source": spool.source(hashes),
        "newest_recorded_at": None if latest is None else latest.isoformat(),
        "implausible_moments": implausible,
    }
    stage.save_json("ingest/provenance.json", provenance)
    for table, count in spool.counts.items():
        log.info(f"{table}: {count['rows']:,} rows, {count['refused']:,} refused, {count['set_aside']:,} set aside")
    for sentence in contradicted:
        log.warning(sentence)
    if implausible:
        log.info(f"{implausible:,} moments lie so far after all others ({latest}) that they count as wrong dates")


if __name__ == "__main__":
    main("ingest", run)
