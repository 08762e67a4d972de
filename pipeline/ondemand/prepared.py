"""`leads fit` and `leads predict`: the stages' own code on a prepared table, without a project around it."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.adapters import files, model_folder, sources
from pipeline.adapters.studies import Clock, Progress
from pipeline.errors import NotEnoughData, ParamsError, SourceError
from pipeline.leads import cohort, leakage, periods, prepared, specification, tables
from pipeline.leads.contract import CONVERTED, LEAD_KEY, Resolved
from pipeline.leads.snapshots import featurize
from pipeline.params import Params
from pipeline.scorer import checks
from pipeline.scorer.calibration import tenths
from pipeline.scorer.features import feature_list
from pipeline.scoring import calibrators, capacity, recipe, search

#: Of the seconds that are given, the part that goes to the search; the rest fits the members on all rows.
SEARCH_PART = 0.75
#: Trials of a search that ends by the clock, as a multiple of the usual counts.
MANY = 8


@dataclass
class Fitted:
    """What `fit` found, for the terminal."""

    version: str
    trials: int
    sentences: list[str]


def fit(
    params: Params,
    train: Path,
    target: str,
    out: Path,
    *,
    positive: str | None,
    time_ordered: bool,
    dropped: list[str],
    seconds: float | None,
    log: logging.Logger,
) -> Fitted:
    """Learn from a prepared table and write a scorer into the new folder `out`.

    Every column is used but the dropped ones; columns that look like leaks are only reported, and those that tell when
    rather than who are left out where the rows stand in order of time. With `seconds` the search ends by the clock and
    is not repeatable on another machine, but for the number of trials it made.

    Raises:
        ParamsError: a wrong option, or `out` exists. SourceError: the table cannot be read. NotEnoughData: too few rows
        of either outcome.
    """
    begun = time.monotonic()
    if out.exists():
        raise ParamsError(f"--out {out} exists; name a new folder.")
    files.writable(out)
    cells, source = _read(train, params)
    resolved = prepared.describe(
        cells, target, dropped=dropped, positive=positive, time_ordered=time_ordered, source=source
    )
    leads, said = _typed(cells, resolved, source, params)
    if not len(leads):
        raise SourceError(f"{train}: no row is left: {said[0]}. Leave out the column at fault with --drop.")

    position = cohort.positions(leads, resolved.contract.time.kind, params.run.seed).to_numpy()
    told = periods.judge(leads, resolved, position, params.featurize.periods)
    left = told[told["verdict"] == periods.LEFT_OUT]
    said += [f"`{row.column}` {row.verdict}: {row.reason}" for row in left.itertuples()]
    used = periods.without(resolved, told)
    said += _suspects(leads, used, params)
    spec = specification.specify(used, params.featurize)
    snapshots = _snapshots(leads, position, params)
    features = featurize(leads, _none("activities"), _none("changes"), snapshots, spec)
    features = features[[feature["name"] for feature in feature_list(spec)]]
    if snapshots["label"].nunique() < 2:
        raise NotEnoughData(f"{train}: all rows have one outcome; there is nothing to learn.")

    if seconds is not None:
        many = {family: n * MANY for family, n in params.tune.trials.items()}
        params = params.model_copy(update={"tune": params.tune.model_copy(update={"trials": many})})
    clock = Clock(begun + SEARCH_PART * seconds if seconds is not None else math.inf)
    planned = search.Search.of(snapshots, features, params.tune, params.run.seed, timed=spec["timed"]).planned()
    progress = Progress(log, sum(planned.values()), clock)
    learned = recipe.learn(
        snapshots, features, params, timed=spec["timed"], horizon_days=0, report=progress, go_on=clock.go_on
    )
    progress.close()
    choice = learned.contest.choice
    newest = learned.judged[learned.judged["split"] == "calibrate"]
    probability = choice.probability(newest["margin"].to_numpy())
    cut = params.calibrate.tiers
    if cut.by == "worth":
        said.append("no playbook says here what a call and a deal are worth: tiers are those of `shares`")
    bands = (
        capacity.by_scores(cut.scores) if cut.by == "scores" else capacity.by_shares(tenths(probability), cut.shares)
    )
    if not learned.signal.found:
        said.append(learned.signal.warning(params.train.min_signal))
    with _new_folder(out) as folder:
        version = model_folder.write(
            folder,
            spec=spec,
            margin=learned.margin,
            level=choice.level,
            calibration=choice.calibration,
            interval=learned.interval,
            tiers=bands,
            grades=calibrators.grades(
                learned.margin,
                features[(snapshots["split"] == "calibrate").to_numpy()],
                [feature["group"] for feature in feature_list(spec)],
                params.calibrate,
            ),
        )
    if sentence := calibrators.moved(choice, params.calibrate):
        said.append(sentence)
    if learned.needed:
        said.append(f"few conversions: a shrunken search; about {learned.needed:,} more are needed for a full one")
    return Fitted(version, len(learned.trials), said)


def predict(model: Path, table: Path, out: Path, params: Params) -> tuple[int, int]:
    """Score a prepared table with a folder that `fit` wrote: `probability` per row, in the order of the rows; empty
    where a row cannot be read. Returns how many rows were scored, and how many not.

    Raises:
        ModelError: the folder is no scorer. SourceError: the table cannot be read or lacks a column.
    """
    target = files.writable(out)
    if target == table.resolve():
        raise ParamsError(f"--out {out} is the table to be read; name another one.")
    scorer = model_folder.load(model)
    cells, source = _read(table, params)
    moment = pd.Timestamp(0)
    rows = _renamed(cells, scorer.spec, source.get("decimal", "."))
    rows = rows.assign(lead_id=[f"{row:09d}" for row in cells.index], created_at=moment, as_of=moment)
    with model_folder.asking(scorer, str(table)):
        probability = scorer.score(rows)["probability"]
    files.write_csv(target, pd.DataFrame({"probability": probability}))
    return int(probability.notna().sum()), int(probability.isna().sum())


def _read(path: Path, params: Params) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table as text, index the 1-based row, empty cells NaN; and how it was read."""
    if path.is_dir():
        raise SourceError(f"{path}: is a folder; name the table's file.")
    most = params.ingest.max_file_mib * 2**20
    guess = sources.guess([path], max_bytes=most)
    parts = list(sources.read_parts(path, guess.file, str(path), max_bytes=most))
    if refused := sum(len(part.refused) for part in parts):
        raise SourceError(f"{path}: {refused:,} lines cannot be read; a prepared table is whole.")
    cells = pd.concat([part.cells for part in parts]) if parts else pd.DataFrame()
    if not len(cells):
        raise SourceError(f"{path}: has no rows below its header.")
    kept = guess.file.model_dump(exclude={"paths", "url", "sha256"}, exclude_defaults=True)
    return cells.mask(cells == ""), kept


def _typed(
    cells: pd.DataFrame, resolved: Resolved, source: dict[str, str], params: Params
) -> tuple[pd.DataFrame, list[str]]:
    """The leads to learn from, and a sentence on the others: rows that a scorer would refuse are left out."""
    typed = tables.type_leads(cells, resolved, decimal=source.get("decimal", "."))
    wrong = checks.refusals(typed.table, specification.specify(resolved, params.featurize)["checks"])
    reasons = pd.concat([typed.refused["reason"], wrong[wrong != ""]])
    if not len(reasons):
        return typed.table, []
    commonest = reasons.value_counts().index[0]
    said = f"{len(reasons):,} of {len(cells):,} rows are refused and left out; commonest: {commonest}"
    return typed.table[wrong == ""].reset_index(drop=True), [said]


def _renamed(cells: pd.DataFrame, spec: dict[str, Any], decimal: str) -> pd.DataFrame:
    """Columns under the scorer's own names, so that the names that it needs for itself are free; numbers with a decimal
    point."""
    rows = cells.rename(columns=spec["names"])
    mine = {column["name"]: column["declared"]["type"] for column in spec["profile"]}
    if decimal == ",":
        swapped = str.maketrans(",.", ".,")
        numbers = [name for name in map(str, rows) if mine.get(name) == "number"]
        rows = rows.assign(**{name: rows[name].str.translate(swapped) for name in numbers})
    absent = [name for name in spec["names"].values() if name not in rows and name not in mine]
    return rows.assign(**dict.fromkeys(absent, np.nan))


def _none(table: str) -> pd.DataFrame:
    return tables.empty(table).table


def _snapshots(leads: pd.DataFrame, position: np.ndarray, params: Params) -> pd.DataFrame:
    """One row per lead, sorted by key; the newest leads, as many as a calibrate window has, are its calibrate rows."""
    shares = params.featurize
    first = shares.train_share / (shares.train_share + shares.calibrate_share) * len(leads)
    frame = pd.DataFrame(
        {
            LEAD_KEY: leads[LEAD_KEY],
            "as_of": leads["created_at"],
            "label": leads[CONVERTED].astype("int8"),
            "split": np.where(position < first, "train", "calibrate"),
            "position": position,
        }
    )
    return frame.sort_values(LEAD_KEY, ignore_index=True)


def _suspects(leads: pd.DataFrame, used: Resolved, params: Params) -> list[str]:
    found = leakage.judge(leads, _none("changes"), used, params.validate_.leaks, None).verdicts
    accused = found[(found["verdict"] != leakage.CLEAR) & found["column"].isin(list(used.features))]
    return [
        f"`{row.column}` looks like a {row.verdict} ({row.evidence}); it is used all the same"
        for row in accused.itertuples()
    ]


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder that appears whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield new
        new.chmod(0o755)
        new.rename(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
