"""Does a lead get the same score whichever way it is asked for?

    python -m benchmarks.routes --model champion --leads 10000

Needs a finished run of the project with a champion; Spark needs Java 17 beside it. Raw leads of the demo, a tenth of
them edge cases, are scored by every route; each answer is compared with that of the scorer as the stages call it, on
flat tables. The first run makes two virtual environments without this package under `--environments`. Servers listen on
loopback. The exit code is 1 where any number differs by more than 1e-9, or any text at all.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import environments
from benchmarks.routes import asking
from benchmarks.routes import leads as carried
from benchmarks.routes.leads import Asked, Lead
from benchmarks.serving import __main__ as serving
from pipeline import params as params_module
from pipeline import process
from pipeline.adapters import batch, files, model_folder, registry, sources, tracking
from pipeline.adapters.sources import Given
from pipeline.leads.contract import PLACE
from pipeline.leads.tables import TABLES
from pipeline.paths import Workspace, find_root
from pipeline.scorer.model import OUTPUT

HERE = Path(__file__).parent
EXACT = 1e-9
#: What pulls from a SQLite registry and scores, in the versions of requirements.lock; `xgboost-cpu` in that of xgboost.
CLEAN = ("mlflow-skinny", "pandas", "sqlalchemy", "alembic")
SPARK, SPARK_ITSELF = (*CLEAN, "pyarrow"), "pyspark==4.2.0\n"
TEXTS = [name for name in OUTPUT if name not in (*model_folder.DOUBLES, "as_of")]
Route = Callable[[list[Lead]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Compared:
    """How a route's answers differ: rows that do, by kind, and the largest difference of a number."""

    leads: int
    differing: int
    largest: float
    kinds: Counter[str]
    first: str


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--model", default="champion", help="alias or number of a registered version")
    arguments.add_argument("--leads", type=int, default=10_000)
    arguments.add_argument("--ones", type=int, default=10_000, help="leads of the routes that take them one by one")
    arguments.add_argument("--edges", type=float, default=0.1, help="share of edge cases")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", default="", help="a pattern: routes whose name holds it")
    arguments.add_argument("--environments", type=Path, default=HERE / ".environments")
    given = arguments.parse_args()
    # An end by a signal must end the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    process.configure_environment()
    workspace = Workspace(find_root(Path(__file__)))
    params = params_module.load(workspace.params)
    process.settle(params.run.seed)
    store = tracking.open_store(workspace)
    number, folder = registry.resolve(store, params.run.contract, given.model)
    if files.sha256(folder) != files.sha256(workspace.path("calibrate/scorer")):
        raise SystemExit(f"version {number} is not the scorer of the run in data/; name the one that is: --model")
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        asked = carried.asked(workspace, params, given.leads, given.edges, given.seed, here / "demo")
        scorer = model_folder.load(workspace.path("calibrate/scorer"))
        expected = scorer.score(*carried.flat(asked.leads))
        told = ", ".join(f"{n} x {kind}" for kind, n in Counter(asked.kinds).items())
        print(
            f"version {number}, {scorer.version}; {told}; {(expected['refused'] != '').sum()} get no score", flush=True
        )
        print("| route | leads | differing | largest difference | seconds |\n|---|---|---|---|---|", flush=True)
        failed = False
        for name, leads, route in routes(workspace, asked, scorer, folder, number, here, given):
            if not re.search(given.only, name):
                continue
            begun = time.perf_counter()
            found = compared(
                rows_of(expected, leads),
                framed(route([asked.leads[k] for k in leads])),
                [asked.kinds[k] for k in leads],
                name,
            )
            took = time.perf_counter() - begun
            print(f"| {name} | {found.leads:,} | {found.differing} | {found.largest:.2g} | {took:.0f} |", flush=True)
            if found.differing:
                failed = True
                print(f"  {dict(found.kinds)}; {found.first}", file=sys.stderr, flush=True)
    sys.exit(failed)


def routes(
    workspace: Workspace, asked: Asked, scorer: Any, folder: Path, number: int, here: Path, given: Any
) -> Iterator[tuple[str, list[int], Route]]:
    """Name of every route, the places of the leads it gets, and the route."""
    every = list(range(len(asked.leads)))
    plain = every[: asked.plain]
    # One call each: as many edge cases as plain leads, where not all.
    few = every if given.ones >= len(every) else [*plain[: given.ones // 2], *every[asked.plain :][: given.ones // 2]]
    filed = [k for k in every if carried.fits_a_file(asked.leads[k])]
    yield "scores that `evaluate` wrote", plain, lambda _: asked.evaluated[OUTPUT].to_dict("records")
    for size, chosen in ((0, every), (7, every), (1, few)):
        yield f"`Scorer.predict`, {_chunks(size)}", chosen, lambda leads, size=size: by_chunks(scorer, leads, size)
    for size, chosen in ((0, filed), (7, filed), (1, [k for k in few if k in set(filed)])):
        yield (
            f"`leads score`, {_chunks(size)}",
            chosen,
            lambda leads, size=size: scored_files(workspace, scorer, leads, size, here),
        )
    for name, of in (("the registry", given.model), ("a folder", str(folder))):
        with _lazy(lambda of=of: serving.ours(workspace, of)) as server:
            yield (
                f"`leads serve` of {name}, 500 leads a request",
                every,
                lambda leads, s=server: asking.batches(s(), leads, 500),
            )
            yield (
                f"`leads serve` of {name}, one lead a request",
                few,
                lambda leads, s=server: asking.singles(s(), leads),
            )
    constraints = environments.locked(workspace.root / "requirements.lock")
    cpu = re.sub(r"(?m)^xgboost==", "xgboost-cpu==", constraints)
    python = environments.made(
        given.environments / "clean", environments.pinned((*CLEAN, "xgboost-cpu"), cpu), constraints
    )
    exported = asking.copy(folder, here)
    uri = (
        f"models:/{tracking.name_of(scorer.spec['contract'])}@{given.model}"
        if not given.model.isdecimal()
        else f"models:/{tracking.name_of(scorer.spec['contract'])}/{given.model}"
    )
    store = f"sqlite:///{workspace.mlruns / 'mlflow.db'}"
    for what, model, chosen, size, form in (
        ("from the registry, whole", uri, every, 0, "json"),
        ("from the registry, typed columns", uri, plain, 0, "typed"),
        ("from the exported folder, whole", exported, every, 0, "json"),
        ("from the exported folder, chunks of 7", exported, every, 7, "json"),
        ("from the exported folder, chunks of 1", exported, few, 1, "json"),
    ):
        yield (
            f"bare `load_model` {what}",
            chosen,
            lambda leads, model=model, size=size, form=form: asking.clean(
                python, store, model, leads, size, form, here
            ),
        )
    with _lazy(lambda: serving.mlflow_of(python, Path(exported), asking.quiet(python))) as server:
        for form in ("dataframe_records", "dataframe_split"):
            yield (
                f"`mlflow models serve`, `{form}`",
                every,
                lambda leads, s=server, form=form: asking.invocations(s(), leads, form, 500),
            )
    spark = environments.made(
        given.environments / "spark", environments.pinned((*SPARK, "xgboost-cpu"), cpu) + SPARK_ITSELF, constraints
    )
    for form, chosen in (("text", every), ("typed", plain)):
        yield (
            f"`spark_udf`, {form} columns",
            chosen,
            lambda leads, form=form: asking.spark(spark, store, uri, leads, form, here),
        )


def _chunks(size: int) -> str:
    return f"chunks of {size}" if size else "whole"


@contextmanager
def _lazy(server: Callable[[], Any]) -> Iterator[Callable[[], str]]:
    """A server that is started when it is first asked for its address."""
    held: list[Any] = []

    def address() -> str:
        if not held:
            manager = server()
            held.extend([manager.__enter__(), manager])
        return str(held[0])

    try:
        yield address
    finally:
        if held:
            held[1].__exit__(None, None, None)


# Routes within this process


def by_chunks(scorer: Any, leads: list[Lead], size: int) -> list[dict[str, Any]]:
    size = size or len(leads)
    parts = [scorer.predict(pd.DataFrame(leads[k : k + size])) for k in range(0, len(leads), size)]
    return pd.concat(parts).to_dict("records")


def scored_files(workspace: Workspace, scorer: Any, leads: list[Lead], size: int, here: Path) -> list[dict[str, Any]]:
    """As `leads score` does it: from three CSV files, in chunks."""
    folder = Path(tempfile.mkdtemp(dir=here))
    paths = carried.write_csv(leads, folder)
    contract = sources.read_contract(workspace, scorer.spec["contract"])
    result = batch.score_files(
        scorer,
        contract,
        {table: Given.of(path) for table, path in zip(TABLES, paths, strict=True)},
        folder / "work",
        as_of=None,
        now=pd.Timestamp("2100-01-01"),
        max_bytes=2**31,
        chunk=size or len(leads),
    )
    # Ranked there; a key may stand at several as-of dates.
    waiting: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in result.scores[OUTPUT].to_dict("records"):
        waiting.setdefault((one["lead_id"], _moment(one["as_of"])), []).append(one)
    found = []
    for lead in leads:
        key = str(lead["lead_id"])
        same = waiting.get((key, _moment(lead["as_of"]))) or waiting.get((key, ""))
        found.append(same.pop(0) if same else dict.fromkeys(OUTPUT))
    if left := sum(map(len, waiting.values())):
        raise AssertionError(f"{left} rows came out that no lead was asked for")
    return found


def _moment(value: Any) -> str:
    moment = pd.to_datetime(value, errors="coerce", utc=True, format="ISO8601")
    return "" if pd.isna(moment) else moment.floor("us").tz_localize(None).isoformat()


# Comparing


def framed(answers: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Answers of any route in one form: numbers as doubles, "" for no text, a moment as text to the microsecond."""
    table = pd.DataFrame(list(answers)).reindex(columns=OUTPUT)
    for name in model_folder.DOUBLES:
        table[name] = table[name].astype("float64")
    for name in TEXTS:
        table[name] = (
            table[name].astype(object).where(table[name].notna(), "").astype("str").replace({"nan": "", "None": ""})
        )
    table["as_of"] = [_moment(one) for one in table["as_of"]]
    return table


def rows_of(expected: pd.DataFrame, places: list[int]) -> pd.DataFrame:
    return framed(expected.iloc[places].to_dict("records"))


def compared(expected: pd.DataFrame, got: pd.DataFrame, kinds: list[str], route: str) -> Compared:
    """Row by row; see `told_otherwise` for what routes may word in their own way."""
    numbers = list(model_folder.DOUBLES)
    mine, theirs = expected[numbers].to_numpy(), got[numbers].to_numpy()
    apart = np.abs(mine - theirs)
    wrong = (np.isnan(mine) != np.isnan(theirs)).any(axis=1) | (np.nan_to_num(apart) > EXACT).any(axis=1)
    for name in (*TEXTS, "as_of"):
        differ = expected[name].to_numpy() != got[name].to_numpy()
        wrong |= differ & ~told_otherwise(expected, got, name, route)
    places = np.flatnonzero(wrong)
    first = ""
    if len(places):
        k = places[0]
        first = "; ".join(
            f"{name}: {str(expected[name][k])[:150]!r} -> {str(got[name][k])[:150]!r}"
            for name in OUTPUT
            if str(expected[name][k]) != str(got[name][k])
        )
    largest = float(np.nanmax(apart)) if np.isfinite(apart).any() else 0.0
    return Compared(len(expected), len(places), largest, Counter(kinds[k] for k in places), first)


def told_otherwise(expected: pd.DataFrame, got: pd.DataFrame, name: str, route: str) -> np.ndarray:
    """Where a difference is what docs/deployment.md says of a route.

    Raw history that validation sets aside is flagged, where `evaluate` never saw it. A file's rows that cannot be read
    are refused with the line, and unreadable history is counted in a note instead of flagged.
    """
    mine, theirs = expected[name], got[name]
    if name == "flags" and ("evaluate" in route or "leads score" in route):
        return (mine.str.replace(";?history_left_out", "", regex=True) == theirs).to_numpy(dtype=bool)
    if "leads score" in route:
        unread = got["refused"].str.match(PLACE).to_numpy(dtype=bool) & (expected["refused"] != "").to_numpy()
        return unread & np.full(len(mine), name in ("refused", "as_of"))
    return np.zeros(len(mine), dtype=bool)


if __name__ == "__main__":
    main()
