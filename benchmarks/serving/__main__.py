"""How many requests does `leads serve` answer, and how fast, beside `mlflow models serve`? And does a bad one break it?

    python -m benchmarks.serving --model challenger --seconds 20 --bodies 10000

Needs a finished run of the project. Both servers run on loopback with one process each, the same model and the same
leads, one lead per request, and are asked in turn: by 1, 8 and 100 connections that send the next request when the last
is answered. Then bent requests are sent, all to `leads serve`, a sample to MLflow's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pandas as pd

from benchmarks.serving.bodies import INSIDE, JSON, Asked, fuzzed
from pipeline import params as params_module
from pipeline import process
from pipeline.adapters import registry, tracking
from pipeline.paths import Workspace, find_root

CONNECTIONS = (1, 8, 100)
#: A measurement lasts at least this many requests per connection, and at most so many times `--seconds`.
LEAST, LONGEST = 3, 5
#: Bent requests in flight at a time, and how many MLflow's server gets.
AT_A_TIME, SAMPLE = 100, 200
#: Leads that requests are drawn from.
LEADS = 500


@dataclass(frozen=True)
class System:
    """A server and how it is asked."""

    name: str
    url: str
    path: str
    body: Any


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--model", default="champion", help="alias or number of a registered version")
    arguments.add_argument("--seconds", type=float, default=20.0, help="of each measurement; 0 for none")
    arguments.add_argument("--bodies", type=int, default=10_000, help="bent requests to send")
    arguments.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    # An end by a signal must end the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    process.configure_environment()
    workspace = Workspace(find_root(Path(__file__)))
    contract = params_module.load(workspace.params).run.contract
    number, folder = registry.resolve(tracking.open_store(workspace), contract, asked.model)
    leads = nested(workspace, LEADS, asked.seed)
    print(f"version {number} of {contract}; {len(json.dumps(leads)) / len(leads):,.0f} bytes a lead")
    with ours(workspace, asked.model) as our_url, mlflows(folder) as mlflow_url:
        systems = (
            System("leads serve", our_url, "/score", lambda lead: {"lead": lead}),
            System("mlflow", mlflow_url, "/invocations", lambda lead: {"dataframe_records": [lead]}),
        )
        if asked.seconds:
            side_by_side(systems, leads, asked.connections, asked.seconds)
        for system, many in zip(systems, (asked.bodies, min(SAMPLE, asked.bodies)), strict=True):
            if many:
                bend(system, leads[0], many, asked.seed)


def side_by_side(
    systems: tuple[System, ...], leads: list[dict[str, Any]], numbers: Sequence[int], seconds: float
) -> None:
    """Ask each system in turn, with more and more connections, and print what it answered."""
    print("| connections | system | requests | requests/s | median ms | p99 ms | other than 200 |")
    print("|---|---|---|---|---|---|---|")
    for connections in numbers:
        figures = {}
        for system in systems:
            times, took, bad = asyncio.run(load(system, leads, connections, seconds))
            figures[system.name] = (len(times) / took, np.percentile(times, 99))
            print(
                f"| {connections} | {system.name} | {len(times)} | {len(times) / took:.1f} | "
                f"{np.median(times):.0f} | {np.percentile(times, 99):.0f} | {bad} |",
                flush=True,
            )
        (rate, p99), (their_rate, their_p99) = figures.values()
        print(f"| {connections} | ratio | | {rate / their_rate:.1f} | | {p99 / their_p99:.2f} | |", flush=True)


def bend(system: System, lead: dict[str, Any], many: int, seed: int) -> None:
    """Send so many bent requests, and print what came back."""
    bent = list(fuzzed(lead, many, seed))
    if system.name == "mlflow":
        bent = [Asked(one.method, system.path, one.body, one.headers) for one in bent]
    statuses, inside, took = asyncio.run(bad_requests(system, bent))
    told = ", ".join(f"{status} x {times:,}" for status, times in sorted(statuses.items()))
    broken = sum(times for status, times in statuses.items() if status >= 500)
    print(f"{system.name}: {many:,} bent requests in {took:.0f} s: {told}; 5xx {broken}, insides shown {inside}")


def nested(workspace: Workspace, number: int, seed: int) -> list[dict[str, Any]]:
    """Leads of the test window as an application sends them, with their history, in plain JSON."""
    keys = pd.read_parquet(workspace.path("evaluate/scores.parquet"), columns=["lead_id", "as_of"])
    rows = keys.sample(min(number, len(keys)), random_state=seed).merge(
        pd.read_parquet(workspace.path("validate/leads.parquet")).drop(columns="row"), on="lead_id"
    )
    for name in ("activities", "changes"):
        table = pd.read_parquet(workspace.path(f"validate/{name}.parquet")).drop(columns="row")
        mine = table[table["lead_id"].isin(rows["lead_id"])]
        records = {key: json.loads(plain(part)) for key, part in mine.groupby("lead_id")}
        rows[name] = [records.get(key, []) for key in rows["lead_id"]]
    return json.loads(plain(rows))


def plain(table: pd.DataFrame) -> str:
    return table.to_json(orient="records", date_format="iso", date_unit="us", double_precision=15)


@contextmanager
def ours(workspace: Workspace, model: str) -> Iterator[str]:
    """`leads serve`; gives its address."""
    port = free_port()
    command = [sys.executable, "-m", "pipeline.cli", "serve", "--model", model, "--port", str(port)]
    with running(command, workspace.root, f"http://127.0.0.1:{port}", "/health", os.environ.copy()) as url:
        yield url


@contextmanager
def mlflows(folder: Path) -> Iterator[str]:
    """`mlflow models serve` on a copy of the folder, which it leaves byte code in; gives its address."""
    with tempfile.TemporaryDirectory() as temporary:
        model = shutil.copytree(folder, Path(temporary) / "model")
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        with mlflow_of(Path(sys.executable), model, environment) as url:
            yield url


@contextmanager
def mlflow_of(python: Path, model: Path, environment: dict[str, str]) -> Iterator[str]:
    """`mlflow models serve` by the Python of any environment; gives its address."""
    port = free_port()
    command = [str(python), "-m", "mlflow", "models", "serve", "--model-uri", str(model), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with running(command, model.parent, f"http://127.0.0.1:{port}", "/ping", environment) as url:
        yield url


@contextmanager
def running(command: list[str], cwd: Path, url: str, ready: str, environment: dict[str, str]) -> Iterator[str]:
    with tempfile.TemporaryFile() as log:
        # A session of its own, since the command may start further processes: all of them end together.
        server = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(url + ready, timeout=5).close()
                    break
                except OSError:
                    if server.poll() is not None:
                        log.seek(0)
                        raise SystemExit(log.read().decode(errors="replace")) from None
                    time.sleep(0.2)
            yield url
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def load(
    system: System, leads: list[dict[str, Any]], connections: int, seconds: float
) -> tuple[list[float], float, int]:
    """Milliseconds of each answer, the seconds they took together, and how many were none with status 200."""
    chance = random.Random(connections)
    bodies = [json.dumps(system.body(lead)).encode() for lead in leads]
    times: list[float] = []
    bad = 0
    begun = time.perf_counter()

    def go_on() -> bool:
        ran = time.perf_counter() - begun
        return ran < seconds or (len(times) < LEAST * connections and ran < LONGEST * seconds)

    async def ask(session: aiohttp.ClientSession) -> None:
        nonlocal bad
        while go_on():
            start = time.perf_counter()
            async with session.post(system.url + system.path, data=chance.choice(bodies), headers=JSON) as answer:
                await answer.read()
                bad += answer.status != 200
            times.append((time.perf_counter() - start) * 1000)

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=300)) as session:
        # Once before the clock runs: the first call of a process is slower.
        async with session.post(system.url + system.path, data=bodies[0], headers=JSON) as first:
            await first.read()
        begun = time.perf_counter()
        await asyncio.gather(*(ask(session) for _ in range(connections)))
    return times, time.perf_counter() - begun, bad


async def bad_requests(system: System, bent: list[Asked]) -> tuple[Counter[int], int, float]:
    """Statuses of the answers, how many show something of the inside, and the seconds they took."""
    statuses: Counter[int] = Counter()
    inside = 0
    waiting = iter(bent)
    begun = time.perf_counter()

    async def ask(session: aiohttp.ClientSession) -> None:
        nonlocal inside
        for one in waiting:
            headers = {name: value for name, value in one.headers.items() if re.fullmatch(r"[ -~]*", value)}
            async with session.request(one.method, system.url + one.path, data=one.body, headers=headers) as answer:
                text = await answer.read()
                statuses[answer.status] += 1
                # What the request itself said may come back: a key, or the name of a column.
                inside += bool(INSIDE.search(text) and not INSIDE.search(one.body))

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:
        await asyncio.gather(*(ask(session) for _ in range(AT_A_TIME)))
    return statuses, inside, time.perf_counter() - begun


if __name__ == "__main__":
    main()
