"""`leads card ...`: a points card held against its contract, against samples, and against the last run's history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.adapters import card_runs, files, sources, tracking
from pipeline.adapters import cards as store_of_cards
from pipeline.errors import ArtefactError
from pipeline.leads import card_samples, contract
from pipeline.leads.cards import Card
from pipeline.leads.contract import Resolved
from pipeline.leads.snapshots import rows_at
from pipeline.leads.specification import specify
from pipeline.params import Params
from pipeline.paths import Workspace
from pipeline.scoring import card_backtest, card_lint, card_suggest
from pipeline.scoring.card import Known, points

#: Why no points may rest on a column that the last run kept out of the model, though the contract lets it in.
KEPT_OUT = "the last run kept it out of the model; see data/validate/leaks.csv and data/featurize/periods.csv"

KEY = ["lead_id", "as_of"]


@dataclass(frozen=True)
class History:
    """What the last run left in `data/`: specification, clean tables and snapshots. `excluded`: source name of every
    column that no points may rest on -> why."""

    spec: dict[str, Any]
    excluded: dict[str, str]
    leads: pd.DataFrame
    activities: pd.DataFrame
    changes: pd.DataFrame
    snapshots: pd.DataFrame

    @classmethod
    def read(cls, results: files.Results, params: Params) -> History:
        """Read and verify.

        Raises:
            ArtefactError: `featurize` has not run, results were changed, or they are of another contract.
        """
        resolved = contract_of_run(results, params)
        spec = results.json("featurize/features.json")
        kept_out = dict.fromkeys(set(resolved.features) - {column["source"] for column in spec["profile"]}, KEPT_OUT)
        leads, activities, changes = (
            results.table(f"validate/{name}.parquet") for name in ("leads", "activities", "changes")
        )
        snapshots = results.table("featurize/snapshots.parquet")
        return cls(spec, resolved.excluded | kept_out, leads, activities, changes, snapshots)

    @property
    def before_test(self) -> pd.DataFrame:
        """Snapshots of the train and calibrate windows."""
        return self.snapshots[self.snapshots["split"] != "test"].reset_index(drop=True)

    def known(self, card: Card, pairs: pd.DataFrame) -> Known:
        """What the card may look at, for each (lead_id, as_of) of `pairs`."""
        return Known.of(card, rows_at(self.leads, pairs), self.activities, self.changes, self.spec)

    def count(self, card: Card, pairs: pd.DataFrame) -> pd.DataFrame:
        """The card's points of each (lead_id, as_of) of `pairs`."""
        return points(card, rows_at(self.leads, pairs), self.activities, self.changes, self.spec)

    def refuse(self, card: Card) -> None:
        """Raise what keeps the card from being counted, as a CardError."""
        card_lint.refuse_errors(card, card_lint.static(card, self.spec, self.excluded))


def contract_of_run(results: files.Results, params: Params) -> Resolved:
    """The contract that the results in `data/` are of.

    Raises:
        ArtefactError: `ingest` has not run, its results were changed, or they are of another contract than params.yaml
            names.
    """
    resolved = contract.restore(results.json("ingest/contract.json"))
    if resolved.name != params.run.contract:
        raise ArtefactError(
            f"data/ holds a run of contract {resolved.name}, params.yaml names {params.run.contract}; run `dvc repro`."
        )
    return resolved


@dataclass(frozen=True)
class Linted:
    """`findings`: accepted ones too. `rows`: snapshots that were looked at; None where `data/` holds no run."""

    findings: list[card_lint.Finding]
    rows: int | None


def lint(workspace: Workspace, params: Params, name: str) -> Linted:
    """Findings about a card: by what it says, and where there is a history, by the rows before the test window.

    Raises:
        CardError: there is no such card, or it cannot be read.
        ArtefactError: results in `data/` were changed, or are of another contract.
    """
    card = store_of_cards.read(workspace, name, params.run.contract)
    if not workspace.path("featurize/manifest.json").is_file():
        resolved = sources.read_contract(workspace, params.run.contract)
        return Linted(card_lint.static(card, specify(resolved, params.featurize), resolved.excluded), None)
    history = History.read(files.Results(workspace), params)
    found = card_lint.static(card, history.spec, history.excluded)
    if any(one.severity == "error" for one in found):
        return Linted(found, None)
    rows = history.before_test
    seen = card_lint.in_history(card, history.known(card, rows), found, overlap=params.evaluate.card.overlap)
    return Linted([*found, *seen], len(rows))


def test(workspace: Workspace, params: Params, name: str, samples: Path) -> tuple[pd.DataFrame, int, int]:
    """Count sample leads: where they come out otherwise than expected, how many samples, how many expectations.

    Raises:
        CardError: the card or the samples cannot be read. SourceError: there is no such file, or it is no CSV.
    """
    card = store_of_cards.read(workspace, name, params.run.contract)
    resolved = sources.read_contract(workspace, params.run.contract)
    spec = specify(resolved, params.featurize)
    card_lint.refuse_errors(card, card_lint.static(card, spec, resolved.excluded))
    read = card_samples.read(store_of_cards.read_samples(samples), card, spec, file=str(samples))
    counted = points(card, read.rows, read.activities, read.changes, spec)
    return card_samples.differences(read, counted), len(read.rows), len(read.expected)


def backtest(
    workspace: Workspace, params: Params, name: str, out: Path
) -> tuple[card_backtest.Backtest, card_runs.Logged]:
    """Judge a card beside the model on the test rows, write its tables to `out`, and log them.

    Raises:
        CardError: the card cannot be read or counted. ArtefactError: `evaluate` has not run, or results were changed.
        NotEnoughData: the calibrate window holds one outcome only. RegistryError: the MLflow store refused.
    """
    card = store_of_cards.read(workspace, name, params.run.contract)
    results = files.Results(workspace)
    history = History.read(results, params)
    history.refuse(card)
    scores = results.table("evaluate/scores.parquet")
    scored = scores.loc[scores["refused"] == "", [*KEY, "label", "probability"]]
    calibrate = history.snapshots[history.snapshots["split"] == "calibrate"]
    chance = card_backtest.Chance.fit(history.count(card, calibrate), calibrate["label"].to_numpy())
    judged = card_backtest.judge(
        scored.rename(columns={"probability": card_backtest.MODEL}),
        history.count(card, scored),
        chance,
        params.evaluate,
        params.run.seed,
    )
    tables = {"metrics": judged.metrics, "lift": judged.lift, "reliability": judged.reliability}
    for table, frame in tables.items():
        files.write_csv(out / f"{table}.csv", frame)
    files.write_csv(out / "figures.csv", pd.DataFrame(judged.figures.items(), columns=["figure", "value"]))
    rests_on = {
        "scores": results.manifest("evaluate")["scores.parquet"],
        "snapshots": results.manifest("featurize")["snapshots.parquet"],
        "bins": params.evaluate.bins,
        "bootstrap_samples": params.evaluate.bootstrap_samples,
        "interval_level": params.evaluate.interval_level,
        "reliability_level": params.evaluate.reliability_level,
        "seed": params.run.seed,
    }
    logged = card_runs.log(
        tracking.open_store(workspace), card, rests_on=rests_on, figures=_figures(judged), tables=tables
    )
    return judged, logged


def suggest(workspace: Workspace, params: Params, name: str, out: Path) -> card_suggest.Suggestion:
    """Learn a card's points from the rows before the test window, and write tables and the learned card to `out`.

    Raises:
        CardError: the card cannot be read or counted. ArtefactError: `featurize` has not run, or results were changed.
        NotEnoughData: a window holds one outcome only, or the card's criteria tell nobody apart.
    """
    card = store_of_cards.read(workspace, name, params.run.contract)
    history = History.read(files.Results(workspace), params)
    history.refuse(card)
    rows = history.before_test
    found = card_suggest.suggest(
        card,
        rows,
        lambda wanted: history.known(wanted, rows),
        history.spec,
        params.evaluate.interval_level,
        params.evaluate.card.suggest,
    )
    for table in ("points", "missing", "ahead"):
        files.write_csv(out / f"{table}.csv", getattr(found, table))
    store_of_cards.write(out / f"{found.card.name}.yaml", found.card)
    return found


def _figures(judged: card_backtest.Backtest) -> dict[str, float]:
    """A backtest as figures of a run: the card's own metrics by their names, the rest in groups, which the UI folds."""
    figures = {f"card/{name}": value for name, value in judged.figures.items()}
    for row in judged.metrics.to_dict("records"):
        figures |= {str(row["metric"]): row["card"], f"model/{row['metric']}": row["model"]}
        for end in ("", "_low", "_high"):
            figures[f"difference/{row['metric']}{end}"] = row[f"difference{end}"]
        figures[f"card_better/{row['metric']}"] = row["card_better"]
    return figures
