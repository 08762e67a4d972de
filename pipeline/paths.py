"""The catalogue: every artefact a stage makes, with its grain, its key and what it holds.

Stages name artefacts as `catalogue["featurize/snapshots.parquet"]` and never write a path of their own. A test asserts
that the catalogue and dvc.yaml name the same files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ParamsError

STAGES = ("ingest", "validate", "featurize", "tune", "train", "calibrate", "explain", "evaluate", "register")


@dataclass(frozen=True)
class Artefact:
    """One file or folder under `data/`.

    `grain`: what one row (or the whole file) stands for. `key`: columns that name a row, empty where there is one row.
    `cached`: False where DVC must keep no copy (rows that may hold personal data, results that name a registry).
    """

    stage: str
    file: str
    grain: str
    key: tuple[str, ...]
    about: str
    cached: bool = True

    @property
    def name(self) -> str:
        return f"{self.stage}/{self.file}"


def _rows(stage: str, *entries: tuple[str, str, str, str]) -> list[Artefact]:
    private = {"ingest/refused.parquet", "validate/quarantine.parquet"}
    return [
        Artefact(
            stage=stage,
            file=file,
            grain=grain,
            key=tuple(key.split()),
            about=about,
            cached=stage != "register" and f"{stage}/{file}" not in private,
        )
        for file, grain, key, about in (*entries, ("manifest.json", "stage", "", "sha256 of every file the stage made"))
    ]


_CATALOGUE = [
    *_rows(
        "ingest",
        ("leads.parquet", "lead row", "row", "leads as read, typed, without personal columns"),
        ("activities.parquet", "activity row", "row", "activities as read, typed; empty where the source has none"),
        ("changes.parquet", "change row", "row", "changes of tracked columns; empty where the source has none"),
        ("moments.parquet", "change", "", "when columns whose values are not followed changed; no values"),
        ("refused.parquet", "line", "table row", "lines that could not be read, raw, each with its reason"),
        ("contract.json", "contract", "", "the resolved contract that later stages read"),
        ("card.json", "card", "", "the strategist's points card of the contract, or nothing"),
        ("playbook.json", "playbook", "", "what sales does with each tier, and what that is worth, or nothing"),
        ("provenance.json", "source", "", "hashes, row counts, newest recorded moment"),
    ),
    *_rows(
        "validate",
        ("leads.parquet", "lead", "lead_id", "leads that kept every declaration"),
        ("activities.parquet", "activity", "row", "activities of kept leads, in order of lead and time"),
        ("changes.parquet", "change", "row", "changes of kept leads, in order of lead and time"),
        ("quarantine.parquet", "row", "table row", "rows set aside, raw, each with its reasons"),
        (
            "expectations.csv",
            "expectation",
            "table expectation column",
            "every expectation, rows checked, rows that failed",
        ),
        ("leaks.csv", "column", "column", "every source column: leak, suspect or clear; in the model or not, and why"),
        (
            "leak_evidence.csv",
            "piece of evidence",
            "column kind",
            "what speaks against a column: figure, limit, sentence",
        ),
        ("profile.json", "history", "", "what the history looks like, without any lead's values; drift compares it"),
        ("summary.json", "run", "", "rows in = kept + quarantined, per table and reason"),
        ("docs", "folder", "", "Great Expectations Data Docs, for reading"),
    ),
    *_rows(
        "featurize",
        ("snapshots.parquet", "snapshot", "lead_id as_of", "key, label, split, and every feature"),
        ("splits.csv", "window", "split", "windows in time, leads, snapshots, conversions, dropped rows by reason"),
        ("splits.png", "figure", "", "the windows drawn"),
        ("cohorts.csv", "month of creation", "cohort", "conversions recorded and expected, leads left out, and why"),
        ("delay.csv", "day since creation", "day", "share of the conversions that come within so many days"),
        ("delay.png", "figure", "", "the delay curve, with the horizon and the suggested one"),
        ("periods.csv", "column", "column", "how much of each column its place in time explains; left out or kept"),
        ("features.json", "contract", "", "the feature specification that the scorer carries"),
        ("time_proof.json", "run", "", "the truncation proof on a sample of snapshots"),
    ),
    *_rows(
        "tune",
        ("trials.csv", "trial", "trial", "settings and forward-in-time log-loss of every trial, no times"),
        ("folds.csv", "fold", "fold", "the folds before the test window"),
        ("judged.parquet", "judged snapshot", "lead_id as_of", "margin of the blend, by members that had not seen it"),
        ("contributions.parquet", "judged snapshot", "lead_id as_of", "contributions of those members, per feature"),
        ("best.json", "study", "", "settings, rounds and weight of the trials in the blend, and the study's hash"),
        ("history.csv", "trial", "trial", "best log-loss so far"),
    ),
    *_rows(
        "train",
        ("members", "folder", "", "fitted members of the margin: XGBoost .ubj, JSON"),
        ("out_of_sample.parquet", "snapshot", "lead_id as_of", "margins by members that had not seen the row, labels"),
        ("summary.json", "run", "", "members, weights, signal, base margin, rows and conversions learned from"),
    ),
    *_rows(
        "calibrate",
        ("scorer", "folder", "", "the scorer: code and data, loadable by MLflow as it stands"),
        (
            "calibrators.csv",
            "candidate",
            "calibrator level",
            "log-loss one step ahead of each calibrator, with and without a moving level",
        ),
        (
            "reliability.csv",
            "bin",
            "bin",
            "predicted and observed conversion on the calibrate snapshots, out of sample",
        ),
        ("summary.json", "run", "", "calibrator and current level chosen, tier thresholds, content hash of the scorer"),
    ),
    *_rows(
        "explain",
        ("scores.parquet", "test snapshot", "lead_id as_of", "everything the scorer returned"),
        ("criteria.csv", "criterion", "criterion", "weight, direction and gain of each criterion"),
        ("criteria_over_time.csv", "criterion", "quarter criterion", "whether each criterion works in every quarter"),
        ("criteria_by_fold.csv", "criterion", "fold criterion", "what each criterion adds in every fold of the search"),
        ("criteria_gains.png", "figure", "", "what criteria add in the test window and in the folds before it"),
        ("dependence.csv", "bin", "feature place", "mean contribution by value, per feature"),
        ("dependence.png", "figure", "", "contribution by value, for the strongest features"),
        ("features.csv", "feature", "feature", "mean absolute contribution in log-odds"),
        ("contributions.parquet", "sampled snapshot", "lead_id as_of", "contributions in log-odds per feature"),
        ("waterfalls.csv", "reason", "lead_id as_of criterion", "base, points and score of the leads drawn"),
        ("beeswarm.png", "figure", "", "contributions by feature value"),
        ("criteria.png", "figure", "", "criteria by weight"),
        ("waterfall.png", "figure", "", "from base to score, lead by lead"),
        ("summary.json", "run", "", "how far the contributions are from SHAP's own, and sample size"),
    ),
    *_rows(
        "evaluate",
        ("metrics.json", "run", "", "figures of the candidate on the test window"),
        ("intervals.csv", "metric", "metric", "every metric with its bootstrap interval by lead"),
        ("rivals.csv", "system metric", "system metric", "every rival on the same rows"),
        ("reliability.csv", "bin", "bin", "predicted and observed conversion with Wilson intervals"),
        ("lift.csv", "share", "share", "lift and capture by share of leads called"),
        ("slices.csv", "slice", "feature value", "metrics by value of each categorical feature"),
        ("tiers.csv", "tier", "tier", "share, conversion with its interval, lift and capture of each tier"),
        ("fairness.csv", "group", "feature value", "calibration gap and share in the top tier, by value of categories"),
        ("examples.csv", "step", "lead_id as_of step", "leads of the training page taken apart, from base to score"),
        ("leak_price.csv", "column", "column", "figures without and with each column called leak or suspect"),
        ("fields_outside.csv", "column", "column", "what columns outside the model would add, what stands against it"),
        ("by_month.csv", "month", "month", "promise and outcome in every month of the test window"),
        ("tier_worth.csv", "tier", "tier", "leads, conversions, cost and profit a week that each tier adds"),
        (
            "tier_history.csv",
            "month",
            "period tier",
            "share and conversion of each tier by month, and whether they moved",
        ),
        ("profit.csv", "cut-off", "cut_off", "leads, conversions, cost and profit a week by lowest score called"),
        ("profit.png", "figure", "", "profit and leads a week by cut-off, with break-even, capacity and tiers"),
        ("scores.parquet", "test snapshot", "lead_id as_of", "scores of `explain`, and the label"),
        ("rival_scores.parquet", "test snapshot", "lead_id as_of", "each rival's probability"),
        ("reliability.png", "figure", "", "score against observed conversion"),
        ("lift.png", "figure", "", "lift and capture curves"),
        ("rivals.png", "figure", "", "log-loss of every system with intervals"),
        ("leak_price.png", "figure", "", "what each leak would make the figures look like"),
        ("report.html", "page", "", "the report: how good the score is, for whom, why, and its limits"),
        ("training.html", "page", "", "how to read a score, for a sales team: leads taken apart, misreadings, a quiz"),
    ),
    *_rows(
        "register",
        ("decision.json", "candidate", "", "every check with figure and limit, the verdict and its reasons"),
        ("drift.csv", "comparison", "what column detail", "this history against the accepted one, with warnings"),
        ("registration.json", "candidate", "", "run, version and alias in MLflow, where the gate passed"),
    ),
]

catalogue: dict[str, Artefact] = {artefact.name: artefact for artefact in _CATALOGUE}


def find_root(start: Path) -> Path:
    """The project: the nearest folder at or above `start` with params.yaml and dvc.yaml, else the one this code lies
    in.

    Raises:
        ParamsError: neither is a project.
    """
    start = start.resolve()
    for folder in (start, *start.parents, Path(__file__).resolve().parent.parent):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return folder
    raise ParamsError(f"{start}: not inside a lead-scoring project (no params.yaml and dvc.yaml here or above).")


@dataclass(frozen=True)
class Workspace:
    """Where things lie below one project root."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def raw(self) -> Path:
        return self.root / "data" / "raw"

    @property
    def mlruns(self) -> Path:
        return self.root / "mlruns"

    def contract(self, name: str) -> Path:
        return self.root / "data" / "contracts" / f"{name}.yaml"

    def stage(self, stage: str) -> Path:
        return self.root / "data" / stage

    def path(self, name: str) -> Path:
        """Path of the artefact `<stage>/<file>`; KeyError if the catalogue does not know it."""
        artefact = catalogue[name]
        return self.stage(artefact.stage) / artefact.file
