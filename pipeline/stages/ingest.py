"""Ingest: from the contract's source to typed tables without personal columns, and the rows refused on the way."""

from __future__ import annotations

import shutil
from collections import Counter

import pandas as pd

from pipeline.adapters import files, sources
from pipeline.adapters.stage import Stage, main
from pipeline.leads import demo, tables
from pipeline.leads.contract import describe


def run(stage: Stage) -> None:
    params, log = stage.params, stage.log
    resolved = sources.read_contract(stage.workspace, params.run.contract)
    contract, max_bytes = resolved.contract, params.ingest.max_file_mib * 2**20
    fetched = sources.fetch_all(stage.workspace, resolved, max_bytes=max_bytes, log=log.info)
    if contract.source.kind == "demo":
        pieces = sources.pieces_of_blocks(demo.generate(params.ingest.demo, params.run.seed), resolved)
    else:
        pieces = sources.pieces_of_files(resolved, fetched, max_bytes=max_bytes)

    # Tables may come interleaved and are written one by one: parts wait on disk, so that memory stays that of one part.
    spool = stage.folder_path / ".spool"
    shutil.rmtree(spool, ignore_errors=True)
    counts = {table: Counter(rows=0, refused=0, set_aside=0) for table in tables.TABLES}
    unread: dict[str, tuple[str, ...]] = {}
    refused, newest = [sources.no_refusals()], tables.Newest(params.ingest.newest)
    try:
        for number, piece in enumerate(pieces):
            typed = piece.typed
            files.write_table(spool / piece.table / f"{number:06d}.parquet", typed.table)
            counts[piece.table].update(rows=piece.rows, refused=len(typed.refused), set_aside=typed.set_aside)
            unread[piece.table] = piece.unread
            refused.append(typed.refused.assign(table=piece.table)[sources.REFUSED_COLUMNS])
            if contract.time.kind == "column" or contract.time.calendar is not None:
                newest.add(typed.table)
        for table in tables.TABLES:
            stage.save_table(f"ingest/{table}.parquet", map(files.read_table, sorted((spool / table).iterdir())))
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    stage.save_table("ingest/refused.parquet", pd.concat(refused, ignore_index=True))
    stage.save_json("ingest/contract.json", describe(resolved))

    latest, implausible = newest.result()
    if contract.source.kind == "demo":
        latest, implausible = demo.extracted_at(params.ingest.demo), 0
    hashes = {table: fetched[table].sha256 if table in fetched else None for table in tables.TABLES}
    provenance = {
        "contract": contract.name,
        "source": {
            table: {"sha256": hashes[table], **counts[table], "unread_columns": unread[table]}
            for table in tables.TABLES
        },
        "newest_recorded_at": None if latest is None else latest.isoformat(),
        "implausible_moments": implausible,
    }
    stage.save_json("ingest/provenance.json", provenance)
    for table, count in counts.items():
        log.info(f"{table}: {count['rows']:,} rows, {count['refused']:,} refused, {count['set_aside']:,} set aside")
    if implausible:
        log.info(f"{implausible:,} moments lie so far after all others ({latest}) that they count as wrong dates")


if __name__ == "__main__":
    main("ingest", run)
