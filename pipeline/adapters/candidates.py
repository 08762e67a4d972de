"""Candidates in MLflow: one run that holds everything, a version where the gate passed, trials linked by hash.

A candidate is named by the hash of all that it rests on: every file of the stages before (Data Docs left out, whose
bytes differ each time), the contract among them, and every parameter but the number of threads. Logging is idempotent
by this name. A version is named by the hash of the scorer folder alone: two candidates may hold the same scorer.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from pipeline import params as params_module
from pipeline.adapters import files, registry, review_page, signing
from pipeline.adapters.tracking import Live, Store, TrialLog, answering, flatten, name_of, open_store
from pipeline.errors import ArtefactError, RegistryError
from pipeline.leads import contract, leakage
from pipeline.params import LogisticSettings, Params, ScorecardSettings, XGBoostSettings
from pipeline.paths import STAGES, Artefact, Workspace, catalogue

if TYPE_CHECKING:
    from mlflow.entities import Run

#: Tables that may leave the workspace: results by lead key. Every other table, and what DVC keeps no copy of, stays.
TABLES = ("explain/contributions.parquet", "evaluate/scores.parquet", "evaluate/rival_scores.parquet")

#: Folders that are not logged as they stand: the scorer has a place of its own, and holds the members.
FOLDERS = ("train/members", "calibrate/scorer")

#: What decision.json holds beside the name of the candidate, and an MLflow run holds too.
DECIDED = ("passed", "letter", "checks", "instead", "freshness", "warnings", "look_twice", "drift", "champion")

#: The tag that MLflow shows as a run's description.
NOTE = "mlflow.note.content"

#: Longest description of a version that every database of MLflow takes, in characters.
DESCRIPTION = 5000

#: Differs between equal runs, so it cannot name a candidate.
UNSTABLE = ("validate/docs",)

#: dvc.lock has thousands of lines: it is read and written by the library's parser in C, wherever that was built.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

#: Figures of metrics.json that a description shows, in order: how each is written, and a reader's words for it.
HEADLINE = {
    "log_loss": ("{:.4f}", "log-loss; lower is better"),
    "lift_10": ("{:.2f}", "lift in the top tenth: conversions per call, times those of calling in random order"),
    "capture_10": ("{:.1%}", "capture: share of all conversions that the top tenth holds"),
    "calibration_error": ("{:.1%}", "calibration error: gap between score and observed conversion, averaged over bins"),
    "auc": ("{:.3f}", "AUC: how often a converting snapshot stands above one that does not"),
    "brier": ("{:.4f}", "Brier score; lower is better"),
}


@dataclass(frozen=True)
class Candidate:
    """Results of the stages before `register`, verified. `name`: what it rests on; `scorer`: sha256 of its folder;
    `cautions`: tags that warn of it, none where there is nothing to warn of."""

    workspace: Workspace
    contract: str
    name: str
    scorer: str
    study: str
    split: str
    cautions: dict[str, str]
    params: dict[str, Any]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Registration:
    """Where a candidate stands in MLflow. `version` is None where the gate refused it."""

    store: str
    model: str
    run_id: str
    new_run: bool
    version: int | None
    new_version: bool

    @property
    def sentence(self) -> str:
        run = f"run {self.run_id[:8]} {'logged' if self.new_run else 'was logged before'}"
        if self.version is None:
            return f"{run}; not registered, because the gate refused it"
        if self.new_version:
            return f"{run}; registered as version {self.version} of {self.model}, alias {registry.CHALLENGER}"
        return f"{run}; it is already version {self.version} of {self.model}"


def logged() -> list[Artefact]:
    """The artefacts that a candidate's run holds, besides the scorer: never a table of leads, nor a refused row."""
    return [
        artefact
        for artefact in catalogue.values()
        if artefact.stage != "register"
        and artefact.cached
        and artefact.name not in FOLDERS
        and (not artefact.file.endswith(".parquet") or artefact.name in TABLES)
    ]


def collect(workspace: Workspace, params: Params) -> Candidate:
    """The candidate that `data/` holds.

    Raises:
        ArtefactError: a result is missing, or is not what its stage wrote.
    """
    results = files.Results(workspace)
    manifests = {stage: results.manifest(stage) for stage in STAGES if stage != "register"}
    for artefact in [*logged(), catalogue["calibrate/scorer"]]:
        if artefact.file != "manifest.json":
            results.path(artefact.name)
    settings = params.model_dump(mode="json", by_alias=True)
    settings["run"].pop("threads")
    files_of = {
        f"{stage}/{file}": sha256
        for stage, manifest in manifests.items()
        for file, sha256 in manifest.items()
        if f"{stage}/{file}" not in UNSTABLE
    }
    text = json.dumps({"files": files_of, "params": settings}, sort_keys=True)
    metrics = files.read_json(workspace.path("evaluate/metrics.json"))
    return Candidate(
        workspace=workspace,
        contract=params.run.contract,
        name=hashlib.sha256(text.encode()).hexdigest(),
        scorer=manifests["calibrate"]["scorer"],
        study=files.read_json(workspace.path("tune/best.json"))["study"],
        split=str(metrics["split"]),
        cautions=_cautions(workspace),
        params=flatten(params.model_dump(mode="json", by_alias=True)),
        metrics=metrics,
    )


def _cautions(workspace: Workspace) -> dict[str, str]:
    """Tags that a reviewer filters by: columns that the contract keeps in the model although they are called leak, how
    many it leaves undecided, and a search that cannot be repeated."""
    leaks = pd.read_csv(workspace.path("validate/leaks.csv"), keep_default_na=False)
    undecided = contract.restore(files.read_json(workspace.path("ingest/contract.json"))).undecided
    # A tag holds up to 8,000 characters.
    tags = {
        "leaks_overruled": ", ".join(leakage.overruled(leaks))[:5000],
        "undecided_columns": str(len(undecided) or ""),
        "repeatable": "" if files.read_json(workspace.path("tune/best.json"))["repeatable"] else "no",
    }
    return {key: value for key, value in tags.items() if value}


def beside(champion: registry.Version | None, candidate: Candidate) -> dict[str, Any] | None:
    """The champion that a candidate is judged against: its number, its scorer's hash, and whether it is the same."""
    if champion is None:
        return None
    return {
        "version": champion.number,
        "scorer": champion.scorer,
        "identical": champion.scorer == candidate.scorer,
    }


def log(store: Store, candidate: Candidate, decision: Mapping[str, Any], drift: pd.DataFrame) -> Registration:
    """Log a candidate and, where its decision says so, register it as the challenger. Nothing is done twice.

    Args:
        decision: `passed`, `letter`, `checks` and `instead`, as `scoring.gate` gives them, `freshness` (as
            `leads.lineage` gives it), `warnings` and `look_twice` (sentences), `drift` (in figures) and `champion` (as
            `beside` gives it), as plain data; see `DECIDED`.
        drift: the history against the accepted one, as `leads.drift.compare` gives it.

    A run that a kill left half logged is deleted (MLflow keeps deleted runs until `mlflow gc`) and logged anew.

    Raises:
        RegistryError: the store refused, or gave back other bytes than it was given.
        ParamsError: a key to sign with is configured (`signing.signing_key`) and cannot be used.
    """
    key = signing.signing_key()
    with store.lock(), answering(store.uri):
        experiment = store.experiment(candidate.contract)
        complete = None
        for run in store.client.search_runs(
            [experiment], f"tags.kind = 'candidate' and tags.candidate = '{candidate.name}'"
        ):
            if run.info.status == "FINISHED":
                complete = run
            else:
                store.client.delete_run(run.info.run_id)
        run_id = complete.info.run_id if complete else _log_run(store, experiment, candidate, decision, drift)
        if complete and complete.data.tags.get("decision") != _digest(decision):
            _log_decision(store, run_id, candidate, decision, drift)
        version, new = None, False
        if decision["passed"]:
            tags = {
                "scorer": candidate.scorer,
                "candidate": candidate.name,
                "gate": "passed",
                "split": candidate.split,
                "study": candidate.study,
                "model_version": str(candidate.metrics["model_version"]),
                registry.JUDGED_UNTIL: decision["freshness"]["judged_until"] or registry.NO_TIMES,
                **_judged_against(candidate, decision),
                **candidate.cautions,
            }
            version, new = registry.register(store, candidate.contract, run_id, tags)
            if key:
                registry.sign(store, candidate.contract, version, key)
        else:
            registry.refuse(store, candidate.contract, candidate.scorer)
        about = describe(store, candidate, decision, version)
        if complete is None or complete.data.tags.get(NOTE) != about:
            store.client.set_tag(run_id, NOTE, about)
        if version is not None:
            registry.describe(store, candidate.contract, version, review_page.within(about, DESCRIPTION))
    return Registration(
        store=files.shown(store.uri) if store.database is None else "mlruns",
        model=name_of(candidate.contract),
        run_id=run_id,
        new_run=complete is None,
        version=version,
        new_version=new,
    )


def _judged_against(candidate: Candidate, decision: Mapping[str, Any]) -> dict[str, str]:
    """Tags that name the champion of the decision, and say why the two could not be compared where they could not; none
    where it was the candidate itself."""
    champion = decision["champion"] or {"scorer": registry.NOBODY}
    if champion["scorer"] == candidate.scorer:
        return {}
    return {registry.AGAINST: champion["scorer"], registry.INCOMPARABLE: champion.get("why_not", "")}


def _log_run(
    store: Store, experiment: str, candidate: Candidate, decision: Mapping[str, Any], drift: pd.DataFrame
) -> str:
    """Log one complete run; its status says FINISHED only after the stored scorer was read back and compared."""
    live = Live(store)
    tags = {
        "kind": "candidate",
        "candidate": candidate.name,
        "scorer": candidate.scorer,
        "contract": candidate.contract,
        "study": candidate.study,
        "split": candidate.split,
        **candidate.cautions,
        "mlflow.source.name": "dvc repro",
        "mlflow.source.type": "LOCAL",
        **_revision(candidate.workspace),
        **live.tags,
    }
    try:
        run: Run = store.client.create_run(experiment, run_name=f"candidate {candidate.name[:8]}", tags=tags)
        run_id: str = run.info.run_id
        store.log(run_id, params=candidate.params, metrics=_figures(candidate))
        store.client.log_inputs(run_id, _datasets(candidate.workspace))
        with tempfile.TemporaryDirectory() as folder:
            staged, back = Path(folder) / "artifacts", Path(folder) / "back"
            _stage_artifacts(candidate, staged)
            store.client.log_artifacts(run_id, str(staged))
            _log_decision(store, run_id, candidate, decision, drift)
            back.mkdir()
            if files.sha256(registry.download(store, run_id, back)) != candidate.scorer:
                raise RegistryError(
                    f"the MLflow store {files.shown(store.uri)} gave back another scorer than it was given; "
                    f"run {run_id} is void."
                )
        store.client.set_terminated(run_id, "FINISHED")
        for tag in live.tags:
            store.client.delete_tag(run_id, tag)
    finally:
        live.end()
    return run_id


def _stage_artifacts(candidate: Candidate, folder: Path) -> None:
    """Copy everything the run holds into `folder`: one folder per stage, and the scorer byte for byte."""
    byte_code = shutil.ignore_patterns("__pycache__")
    for artefact in logged():
        source, target = candidate.workspace.path(artefact.name), folder / artefact.stage / artefact.file
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=byte_code)
        else:
            shutil.copyfile(source, target)
    shutil.copytree(candidate.workspace.path("calibrate/scorer"), folder / registry.SCORER, ignore=byte_code)
    shutil.copyfile(candidate.workspace.params, folder / "params.yaml")
    locked = candidate.workspace.root / "dvc.lock"
    if locked.is_file():
        content = yaml.load(locked.read_text(encoding="utf-8"), LOADER)
        stages = {stage: entry for stage, entry in content.get("stages", {}).items() if stage != "register"}
        files.write_text(folder / "dvc.lock", yaml.dump(content | {"stages": stages}, Dumper=DUMPER, sort_keys=False))


def _log_decision(
    store: Store, run_id: str, candidate: Candidate, decision: Mapping[str, Any], drift: pd.DataFrame
) -> None:
    """The decision as a file, as figures, and in tags."""
    checks = {f"gate/{check['name']}": check["figure"] for check in decision["checks"] if check["figure"] is not None}
    store.log(run_id, metrics=checks)
    store.client.log_dict(run_id, dict(decision), "register/decision.json")
    store.client.log_text(run_id, drift.to_csv(index=False, lineterminator="\n"), "register/drift.csv")
    for key, value in {
        "gate": "passed" if decision["passed"] else "refused",
        "drift_warnings": str((drift["warning"] != "").sum()),
        "decision": _digest(decision),
    }.items():
        store.client.set_tag(run_id, key, value)


def describe(store: Store, candidate: Candidate, decision: Mapping[str, Any], version: int | None) -> str:
    """The description of the run, and of the version: see `review_page`."""
    revision = _revision(candidate.workspace)
    return review_page.page(
        decision,
        model=name_of(candidate.contract),
        version=version,
        champion=_champion(store, candidate, decision["champion"]),
        approvals=int(candidate.params["register.approvals"]),
        measured=_measured(candidate),
        committed=revision["git"] == "clean" if revision else None,
        study=candidate.study,
        scorer=candidate.scorer,
    )


def _champion(store: Store, candidate: Candidate, judged: Mapping[str, Any] | None) -> review_page.Champion | None:
    """The champion that the decision names, as the store knows it; None where it does not."""
    known = registry.versions(store, candidate.contract) if judged else []
    for version in known:
        if judged and version.scorer == judged["scorer"]:
            people = ", ".join(registry.people(version, registry.APPROVAL))
            figures = registry.recorded(store, version).metrics
            return review_page.Champion(version.number, f", approved by {people}" if people else "", figures)
    return None


def _measured(candidate: Candidate) -> str:
    """On what a candidate was measured, and its key figures with intervals and its rivals' log-loss, as a list."""
    metrics = candidate.metrics
    split = (
        "newer than all it learned from"
        if candidate.split == "time"
        else "parted at RANDOM, since the source has no time axis: these figures are no forecast"
    )
    tables = {name: pd.read_csv(candidate.workspace.path(f"evaluate/{name}.csv")) for name in ("intervals", "rivals")}
    ranges = {
        str(row["metric"]): (float(row["low"]), float(row["high"])) for row in tables["intervals"].to_dict("records")
    }
    rivals = tables["rivals"].query("metric == 'log_loss' and system != 'candidate'")
    lines = []
    for name, (form, words) in HEADLINE.items():
        if metrics.get(name) is not None:
            span = " to ".join(form.format(end) for end in ranges[name]) if name in ranges else "no interval"
            lines.append(f"- **{form.format(metrics[name])}** ({span}) {words}")
    beside = ", ".join(
        f"{str(row['system']).replace('_', ' ')} {float(row['value']):.4f}" for row in rivals.to_dict("records")
    )
    counts = f"{metrics['rows']:,} snapshots"
    if "leads" in metrics and "conversions" in metrics:
        counts += f" of {metrics['leads']:,} leads, {metrics['conversions']:,} of which convert"
    level = candidate.params["evaluate.interval_level"]
    return "\n".join(
        [
            f"Measured on {counts}; {split}. In brackets: {level:.0%} intervals.",
            "",
            *lines,
            *([f"- log-loss of its rivals on the same snapshots: {beside}"] if beside else []),
        ]
    )


def _digest(decision: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(decision, sort_keys=True).encode()).hexdigest()[:16]


def _figures(candidate: Candidate) -> dict[str, float]:
    """The candidate's figures under their own names; intervals and rivals in groups, which the UI folds."""
    figures = {name: float(value) for name, value in candidate.metrics.items() if isinstance(value, int | float)}
    intervals = pd.read_csv(candidate.workspace.path("evaluate/intervals.csv"))
    for row in intervals.to_dict("records"):
        figures |= {f"intervals/{row['metric']}_{end}": float(row[end]) for end in ("low", "high")}
    rivals = pd.read_csv(candidate.workspace.path("evaluate/rivals.csv"))
    rivals = rivals[rivals["system"] != "candidate"]
    figures |= {f"rivals/{row['system']}/{row['metric']}": float(row["value"]) for row in rivals.to_dict("records")}
    return figures


def _datasets(workspace: Workspace) -> list[Any]:
    """The tables that were learned from, by hash; MLflow shows them as the run's data."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs, results = [], files.Results(workspace)
    for name in ("validate/leads.parquet", "validate/activities.parquet", "validate/changes.parquet"):
        artefact = catalogue[name]
        sha256 = results.manifest(artefact.stage)[artefact.file]
        source = json.dumps({"path": f"data/{name}", "sha256": sha256})
        dataset = Dataset(name=Path(name).stem, digest=sha256[:36], source_type="dvc", source=source)
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", "training")]))
    return inputs


def _revision(workspace: Workspace) -> dict[str, str]:
    """Tags with the git commit and whether tracked files differ from it; none outside a checkout or without git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(workspace.root), *arguments], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = git("status", "--porcelain", "--untracked-files=no")
    return {"mlflow.source.git.commit": commit, "git": "clean" if changed == "" else "with uncommitted changes"}


# What a deleted or new store lacks


@dataclass(frozen=True)
class Summary:
    """What `sync` found and did. `registration` is None where `data/` holds no decision yet."""

    trials: int
    registration: Registration | None

    def __str__(self) -> str:
        if self.registration is None:
            return "nothing to log: data/register/ holds no decision yet; run `dvc repro`"
        return f"{self.trials} trials logged; {self.registration.sentence}"


def sync(workspace: Workspace) -> Summary:
    """Log and register what the store lacks of the results in `data/`: trials, candidate, version.

    Raises:
        ArtefactError: a result was changed, or the decision is about other results or parameters.
        RegistryError: the store refused.
    """
    params = params_module.load(workspace.params)
    if not workspace.path("register/manifest.json").is_file():
        return Summary(0, None)
    candidate = collect(workspace, params)
    recorded = files.read_json(workspace.path("register/decision.json"))
    if recorded["candidate"] != candidate.name:
        raise ArtefactError(
            "data/register/decision.json is about other results or parameters than those here; run `dvc repro`."
        )
    store = open_store(workspace)
    trials = _sync_trials(store, candidate, params)
    decision = {key: recorded[key] for key in DECIDED}
    drift = pd.read_csv(workspace.path("register/drift.csv"), keep_default_na=False)
    return Summary(trials, log(store, candidate, decision, drift))


def _sync_trials(store: Store, candidate: Candidate, params: Params) -> int:
    """Log the trials of `tune/trials.csv` that the store lacks; returns how many."""
    table = pd.read_csv(candidate.workspace.path("tune/trials.csv"))
    results = {
        "trial",
        "state",
        "log_loss",
        "weight",
        "rounds",
        *(name for name in table if str(name).startswith("log_loss_fold_")),
    }
    # A column in which the other family has no value is read as fractions: a depth of 3.0 was tried as 3.
    whole = {
        name
        for section in (LogisticSettings, ScorecardSettings, XGBoostSettings)
        for name, field in section.model_fields.items()
        if field.annotation is int
    }
    log = TrialLog(store, candidate.contract)
    log.start(candidate.study, params.tune.model_dump(mode="json"))
    new = 0
    for row in table.to_dict("records"):
        if int(row["trial"]) in log.known:
            continue
        given = {str(key): value for key, value in row.items() if key not in results and pd.notna(value)}
        settings = {key: int(value) if key in whole else value for key, value in given.items()}
        log.trial(int(row["trial"]), settings, float(row["log_loss"]), str(row["state"]).upper())
        new += 1
    log.end()
    return new
