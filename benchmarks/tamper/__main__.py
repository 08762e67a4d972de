"""Is a model that somebody changed refused before anything in it is parsed or run? By every command, and under MLflow.

    python -m benchmarks.tamper                 1,500 damaged folders and every hostile one
    python -m benchmarks.tamper --share 0.01    a hundredth of the damaged ones

It must hold: every damaged or hostile model is refused by `leads verify` (folder and version) and by `leads score`,
with one message and its exit code; none of its files but the manifest was parsed, and none of its code run. Under bare
`mlflow.pyfunc.load_model`, a damaged data file is refused by the scorer's own code. The exit code is 1 where it does
not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.tamper import damage, hostile
from benchmarks.tamper.project import CONTRACT, Answer, Project, project, run, watched
from pipeline import process
from pipeline.adapters import files, registry, tracking
from pipeline.paths import find_root


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tamper", description=__doc__.split("\n")[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the damaged folders, for a quick look")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    process.configure_environment()
    started = time.perf_counter()
    parts: list[pd.DataFrame] = []
    with tempfile.TemporaryDirectory() as folder, inside(Path(folder)):
        made = project(Path(folder) / "project", find_root(Path(__file__)))
        os.chdir(made.workspace.root)
        for part in (sound(made), *damaged(made, given.share, given.seed), attacked(made), forged(made)):
            parts.append(pd.DataFrame(part, columns=["what", "route", "fault"]))
            tell(parts[-1])
    table = pd.concat(parts)
    print(f"{len(table):,} answers in {time.perf_counter() - started:,.0f} s, seed {given.seed}")
    return int((table["fault"] != "").any())


def tell(table: pd.DataFrame) -> None:
    """How many answers each route gave, and every claim that one broke."""
    counts = table.assign(broken=table["fault"] != "").groupby("route", sort=False)["broken"]
    names = table["what"].unique()
    print(f"{names[0] if len(names) == 1 else f'{len(names)} kinds, {names[0]} to {names[-1]}'}:")
    print(counts.agg(answers="size", claims_broken="sum").reset_index().to_string(index=False), flush=True)
    for row in table[table["fault"] != ""].itertuples():
        print(f"BROKEN {row.what}, {row.route}: {row.fault}", flush=True)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """The working directory as before at the end, and no key configured meanwhile."""
    before, keys = Path.cwd(), {name: os.environ.pop(name, None) for name in ("LEADS_SIGNING_PUBLIC_KEY",)}
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.update({name: key for name, key in keys.items() if key is not None})


def routes(made: Project, folder: Path) -> Iterator[tuple[str, Answer]]:
    """Every command that may meet `folder`, which the last ones find in the store in the place of version 1."""
    yield "leads verify FOLDER --sha256", run("verify", folder, "--sha256", made.hashes[0])
    yield "leads verify FOLDER", run("verify", folder)
    made.put(folder)
    yield "leads verify 1", run("verify", "1")
    yield "leads score --model 1", run("score", "leads.csv", "--model", "1", "--out", "scores.csv")


def fault(answer: Answer, canary: Path) -> str:
    """The claim that an answer breaks; "" where it breaks none."""
    if canary.exists():
        canary.unlink()
        return "its code ran"
    if answer.code not in (8, 9):
        return f"exit code {answer.code}: {answer.text[-300:]}"
    if answer.touched:
        return f"refused after {', '.join(answer.touched)}"
    plain = answer.text.replace("\n", "")
    return (
        "" if answer.text.startswith("error: ") and plain.isprintable() else f"not one plain message: {answer.text!r}"
    )


def sound(made: Project) -> Iterator[tuple[str, str, str]]:
    """What nobody has changed is accepted: otherwise the rest would say nothing."""
    for target in ("1", "2", *made.made):
        answer = run("verify", target)
        yield "unchanged", "leads verify", "" if answer.code == 0 and "VERIFIED" in answer.text else answer.text
    answer = run("score", "leads.csv", "--model", "1", "--out", "scores.csv")
    # The file of leads is no real one: what matters is that the scorer was loaded.
    yield "unchanged", "leads score --model 1", "" if "_module" in answer.touched else answer.text


def damaged(made: Project, share: float, seed: int) -> Iterator[Iterator[tuple[str, str, str]]]:
    """Damage of every kind, one after another; each folder through every route."""
    for way, times in damage.WAYS.items():
        yield damaged_by(way, max(1, round(times * share)), made, seed)


def damaged_by(way: damage.Way, times: int, made: Project, seed: int) -> Iterator[tuple[str, str, str]]:
    nowhere, rng = made.workspace.root / "canary", np.random.default_rng([seed, *way.__name__.encode()])
    for _ in tqdm(range(times), way.__name__, disable=None):
        folder = copied(made)
        changed = way(folder, made.made[1], rng).relative_to(folder)
        if changed.parts[0] == "data":
            yield way.__name__, "bare load_model", bare_fault(folder)
        for route, answer in routes(made, folder):
            yield way.__name__, route, f"{changed}: {broken}" if (broken := fault(answer, nowhere)) else ""


def bare_fault(folder: Path) -> str:
    """What MLflow makes of a folder whose data were damaged: the scorer's code must refuse it before it parses them."""
    import mlflow.pyfunc

    with watched() as touched:
        try:
            mlflow.pyfunc.load_model(str(folder))
        except Exception as refused:
            shutil.rmtree(next((folder / "code").iterdir()) / "__pycache__", ignore_errors=True)
            own = type(refused).__name__ == "ScorerError"
            return "" if own and not {"_read", "load_model"} & set(touched) else f"{type(refused).__name__}, {touched}"
    return "it was loaded"


def attacked(made: Project) -> Iterator[tuple[str, str, str]]:
    """Hostile folders, as they are and with hashes that agree, and one that `leads predict` is asked to load."""
    canary = made.workspace.root / "canary"
    for attack in tqdm(hostile.ATTACKS, "hostile", disable=None):
        for sealed in (False, True):
            if sealed and attack not in hostile.SEALED:
                continue
            name = f"{attack.__name__}{', sealed' if sealed else ''}"
            folder = hostile_folder(made, attack, canary, sealed)
            answer = run("predict", folder, "leads.csv", "--out", "p.csv")
            yield name, "leads predict FOLDER", fault(answer, canary)
            for route, answer in routes(made, folder):
                yield name, route, fault(answer, canary)


def forged(made: Project) -> Iterator[tuple[str, str, str]]:
    """Hostile folders that a forged registry vouches for: their looks give away most, a signature all."""
    canary, root = made.workspace.root / "canary", made.workspace.root
    private, public = root / "key.pem", root / "key.pub"
    make_keys(private, public)
    name = tracking.name_of(CONTRACT)
    made.put(copied(made))
    registry.sign(made.store, CONTRACT, 1, private)
    for attack in tqdm(hostile.SEALED, "forged", disable=None):
        for key in ("", str(public)):
            if not key and attack in hostile.PASSING:
                continue
            folder = hostile_folder(made, attack, canary, sealed=True)
            made.store.client.set_model_version_tag(name, "1", "scorer", files.sha256(folder))
            made.put(folder)
            os.environ["LEADS_SIGNING_PUBLIC_KEY"] = key
            for command in (("verify", "1"), ("score", "leads.csv", "--model", "1", "--out", "scores.csv")):
                answer = run(*command)
                # Without a key only MLmodel gives it away, read by a YAML reader that makes nothing but plain data.
                read = [name for name in answer.touched if key or name != "_yaml"]
                broken = fault(Answer(answer.code, answer.text, read), canary)
                yield f"{attack.__name__}, forged{', key set' if key else ''}", f"leads {command[0]}", broken
    del os.environ["LEADS_SIGNING_PUBLIC_KEY"]
    for text in ("../../../../../etc", "", "a\n\x1b[2J"):
        made.store.client.set_model_version_tag(name, "1", "scorer", text)
        yield "a tag that is no hash", "leads verify 1", fault(run("verify", "1"), canary)
    made.store.client.set_model_version_tag(name, "1", "scorer", made.hashes[0])


def make_keys(private: Path, public: Path) -> None:
    """A pair of keys, as docs/deployment.md makes one."""
    for command in (
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(private)],
        ["openssl", "ec", "-in", str(private), "-pubout", "-out", str(public)],
    ):
        subprocess.run(command, check=True, capture_output=True)


def copied(made: Project) -> Path:
    """A fresh copy of version 1, nothing left of the last one."""
    folder = made.workspace.root / "changed"
    for old in made.workspace.root.glob("changed*"):
        shutil.rmtree(old)
    return Path(shutil.copytree(made.made[0], folder))


def hostile_folder(made: Project, attack: Callable[[Path, Path], None], canary: Path, sealed: bool) -> Path:
    folder = copied(made)
    attack(folder, canary)
    if sealed:
        hostile.seal(folder)
    return folder


if __name__ == "__main__":
    sys.exit(main())
