"""The yardstick: DuckDB counts the same events, and does nothing else. Runs in an environment of its own.

    python yardstick.py ACTIVITIES SNAPSHOTS COUNTS THREADS DAYS...

For every snapshot (lead_id, as_of) and kind of activity: how many were known by then, in all and within each of the
last DAYS days. The counts go to a parquet file COUNTS, as the features do.
"""

from __future__ import annotations

import sys

import duckdb


def main(activities: str, snapshots: str, counts: str, threads: str, *days: str) -> None:
    windows = ", ".join(
        f"count(*) FILTER (WHERE a.happened_at > s.as_of - INTERVAL {int(one)} DAY) AS n_{int(one)}d" for one in days
    )
    with duckdb.connect() as database:
        database.execute(f"SET threads = {int(threads)}")
        database.execute(
            f"""
            COPY (
                SELECT s.lead_id, s.as_of, a.kind, count(*) AS n, {windows}
                FROM read_parquet($snapshots) AS s JOIN read_parquet($activities) AS a USING (lead_id)
                WHERE a.recorded_at <= s.as_of AND a.happened_at <= s.as_of
                GROUP BY ALL
            ) TO '{counts}' (FORMAT parquet)
            """,
            {"snapshots": snapshots, "activities": activities},
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
