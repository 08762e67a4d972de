"""The routes that leave this process: servers on loopback, and scripts run by the Python of another environment."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.routes.leads import Lead, write_lines
from pipeline.scorer.model import OUTPUT

HERE = Path(__file__).parent
AT_A_TIME = 50


def copy(folder: Path, here: Path) -> str:
    """A copy of a model folder, which MLflow may leave byte code in."""
    return str(shutil.copytree(folder, here / "exported"))


# Servers that are asked


def batches(url: str, leads: list[Lead], size: int) -> list[dict[str, Any]]:
    return [
        flat(one)
        for k in range(0, len(leads), size)
        for one in posted(f"{url}/score/batch", {"leads": leads[k : k + size]})["results"]
    ]


def singles(url: str, leads: list[Lead]) -> list[dict[str, Any]]:
    """One lead a request, `AT_A_TIME` in flight."""

    async def all_of_them() -> list[dict[str, Any]]:
        room = asyncio.Semaphore(AT_A_TIME)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3600)) as session:

            async def ask(lead: Lead) -> dict[str, Any]:
                async with room, session.post(f"{url}/score", json={"lead": lead}) as answer:
                    return flat((await answer.json())["result"])

            return list(await asyncio.gather(*(ask(lead) for lead in leads)))

    return asyncio.run(all_of_them())


def flat(one: dict[str, Any]) -> dict[str, Any]:
    """An answer of `leads serve` as the scorer words it."""
    told = {name: one[name] for name in OUTPUT}
    reasons = json.dumps(one["reasons"], ensure_ascii=False, separators=(",", ":"))
    return told | {"reasons": reasons, "flags": ";".join(one["flags"])}


def invocations(url: str, leads: list[Lead], form: str, size: int) -> list[dict[str, Any]]:
    found = []
    for k in range(0, len(leads), size):
        some = leads[k : k + size]
        body: Any = some
        if form == "dataframe_split":
            names = list(dict.fromkeys(name for lead in some for name in lead))
            body = {"columns": names, "data": [[lead.get(name) for name in names] for lead in some]}
        found += posted(f"{url}/invocations", {form: body})["predictions"]
    return found


def posted(url: str, body: Any) -> Any:
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=600) as answer:
        return json.load(answer)


# Other environments


def clean(python: Path, store: str, model: str, leads: list[Lead], size: int, form: str, here: Path) -> list[Any]:
    return scripted(python, "clean.py", [store, model], leads, [str(size), form], here)


def spark(python: Path, store: str, model: str, leads: list[Lead], form: str, here: Path) -> list[Any]:
    return scripted(
        python, "spark.py", [store, model], [one | {"place": k} for k, one in enumerate(leads)], [form], here
    )


def scripted(
    python: Path, script: str, before: list[str], leads: list[Lead], after: list[str], here: Path
) -> list[Any]:
    folder = Path(tempfile.mkdtemp(dir=here))
    lines, out = write_lines(leads, folder / "leads.jsonl"), folder / "out.jsonl"
    command = [str(python), "-I", str(HERE / script), *before, str(lines), str(out), *after]
    done = subprocess.run(command, cwd=folder, env=quiet(python), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script}: {done.stderr[-3000:]}")
    with open(out, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def quiet(python: Path) -> dict[str, str]:
    """The environment of this process for the Python of another: nothing of ours on its path."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return kept | {
        "PATH": f"{python.parent}{os.pathsep}{kept['PATH']}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
