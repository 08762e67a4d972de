"""`leads tiers` and `leads segments` on a small run's results, written by hand."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from pipeline import cli
from pipeline import params as params_module
from pipeline.adapters import files
from pipeline.errors import ArtefactError, LeadScoringError, NotEnoughData, ParamsError
from pipeline.leads import contract, specification
from pipeline.ondemand import segments, tiers
from pipeline.ondemand.tiers import Asked
from pipeline.paths import Workspace
from pipeline.scorer import worth
from pipeline.scoring import capacity

START, END = pd.Timestamp("2024-01-01"), pd.Timestamp("2024-07-01")
ASKED = Asked(10, 200, 20.0)
VALUES = {
    "columns": [{"name": "employees", "criterion": "Company size", "type": "number", "bounds": [100.0]}],
    "overall": 3000.0,
    "deals": 100,
    "cells": [
        {"levels": ["under 100"], "deals": 50, "value": 1000.0},
        {"levels": ["100 and over"], "deals": 50, "value": 5000.0},
    ],
}
RUNNER = CliRunner()


def history(leads: int = 800) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clean leads, and their looks at the ages of 3, 10, 21 and 45 days, a quarter of the leads in the test window.

    Referrals convert at 40 %, others at 10 %, and scores say so; deals of large companies are worth five times as much.
    """
    rng = np.random.default_rng(1)
    created = pd.Series(pd.date_range("2022-07-01", END, leads + 1)[:-1]).astype("datetime64[us]")
    table = pd.DataFrame({"lead_id": [f"L{k:05d}" for k in range(leads)], "created_at": created})
    source = pd.Series(rng.choice(["referral", "search"], leads), dtype="str")
    employees = rng.choice([10.0, 1000.0], leads)
    table = table.assign(source=source, employees=employees, status="new", deal_value_eur=np.nan)
    looks = []
    for age in (3, 10, 21, 45):
        part = table[["lead_id", "created_at", "source", "employees"]].assign(
            as_of=created.dt.floor("D") + pd.Timedelta(days=age)
        )
        chance = np.where(source == "referral", 0.4, 0.1)
        part["probability"] = np.clip(chance + rng.normal(0, 0.02, leads), 0.001, 0.999)
        part["label"] = (rng.random(leads) < chance).astype("int8")
        looks.append(part[part["as_of"] <= END - pd.Timedelta(days=30)])
    seen = pd.concat(looks).sort_values(["lead_id", "as_of"], ignore_index=True)
    won = set(seen.loc[seen["label"] == 1, "lead_id"])
    table["deal_value_eur"] = np.where(table["lead_id"].isin(won), np.where(employees > 100, 5000.0, 1000.0), np.nan)
    seen["split"] = np.where(seen["created_at"] < START, "train", "test")
    return table, seen


@pytest.fixture(scope="module")
def made(project_root, tmp_path_factory):
    """A workspace that holds what the commands read, signed as its stages would sign it."""
    root = tmp_path_factory.mktemp("tiers") / "project"
    root.mkdir()
    workspace = Workspace(root)
    shutil.copyfile(project_root / "dvc.yaml", root / "dvc.yaml")
    settings = (project_root / "params.yaml").read_text(encoding="utf-8")
    assert "bootstrap_samples: 500" in settings
    workspace.params.write_text(settings.replace("bootstrap_samples: 500", "bootstrap_samples: 50"), encoding="utf-8")
    shutil.copytree(project_root / "data" / "playbooks", root / "data" / "playbooks")
    params = params_module.load(workspace.params)
    described = yaml.safe_load((project_root / "data" / "contracts" / "demo.yaml").read_text(encoding="utf-8"))
    kept = {"lead_id", "created_at", "source", "employees", "status", "converted_at", "lost_at", "deal_value_eur"}
    described["columns"] = {name: one for name, one in described["columns"].items() if name in kept}
    described["expectations"] = []
    resolved = contract.resolve(contract.parse(described, file="demo.yaml"))
    leads, looks = history()
    scores = looks[["lead_id", "as_of", "probability", "label", "split"]].assign(refused="")
    scores["score"] = (scores["probability"] * 100).round(1)
    scores["value_score"] = scores["probability"] * worth.expected_value(VALUES, looks)
    test = scores[scores["split"] == "test"].drop(columns="split").reset_index(drop=True)
    # One look that could not be scored.
    test.loc[0, ["score", "probability", "refused"]] = [np.nan, np.nan, "no key"]
    windows = pd.DataFrame(
        {"split": ["train", "test"], "axis": "created_at", "start": ["2022-07-01", START], "end": [START, END]}
    )
    written = {
        "ingest": {"contract.json": contract.describe(resolved)},
        "validate": {"leads.parquet": leads},
        "featurize": {
            "features.json": specification.specify(resolved, params.featurize),
            "snapshots.parquet": looks.drop(columns=["created_at", "probability"]),
            "splits.csv": windows,
        },
        "calibrate": {
            "summary.json": {"tiers": [{"name": "A", "from": 350}, {"name": "B", "from": 0}], "deal_values": VALUES}
        },
        "evaluate": {"scores.parquet": test},
    }
    for stage, content in written.items():
        for file, made in content.items():
            path = workspace.stage(stage) / file
            write = {"json": files.write_json, "csv": files.write_csv, "parquet": files.write_table}[path.suffix[1:]]
            write(path, made)
        sign(workspace, stage)
    return workspace, params


def sign(workspace: Workspace, stage: str) -> None:
    folder = workspace.stage(stage)
    hashes = {path.name: files.sha256(path) for path in folder.iterdir() if path.name != "manifest.json"}
    files.write_json(folder / "manifest.json", hashes)


@pytest.fixture
def copied(made, tmp_path):
    """A copy to change."""
    root = tmp_path / "project"
    shutil.copytree(made[0].root, root)
    return Workspace(root), made[1]


def find(run, asked: Asked = ASKED, **changes):
    return tiers.find(*run, replace(asked, **changes), period="quarter")


@pytest.mark.parametrize(("per_week", "named"), [(3.0, ["A", "B", "C"]), (20.0, ["A", "C"])])
def test_tiers_by_worth_are_those_of_the_looks_themselves(made, per_week, named):
    """About 7 leads a week pay: sales has time for 3, or for all."""
    found = find(made, Asked(10, 200, per_week))
    # By another route: every cut-off tried on the looks of leads that were followed to day 45.
    looks = pd.read_parquet(made[0].path("evaluate/scores.parquet")).dropna(subset="score")
    leads = pd.read_parquet(made[0].path("validate/leads.parquet")).set_index("lead_id")["created_at"]
    until = looks["as_of"].max() + pd.Timedelta(days=1) - pd.Timedelta(days=45)
    highest = looks[looks["lead_id"].map(leads) < until].groupby("lead_id")["score"].max()
    weeks = (until - START) / pd.Timedelta(days=7)
    allowed = [cut / 10 for cut in range(1001) if (highest >= cut / 10).sum() / weeks <= per_week]
    best = max(allowed, key=lambda cut: (highest[highest >= cut] * 2 - 10).sum())
    table = found.payoff.table
    assert table["tier"].tolist() == named
    assert table["leads"].iloc[0] == pytest.approx((highest >= best).sum() / weeks)
    assert table["leads"].sum() == pytest.approx(len(highest) / weeks)
    assert table["from_score"].tolist()[-2:] == [5.0, 0.0]
    assert table["from_low"].iloc[0] <= table["from_score"].iloc[0] <= table["from_high"].iloc[0]
    assert any(f"Measured on {len(highest):,} leads" in sentence for sentence in found.payoff.sentences)
    assert any(f"Sales can work {per_week:.0f} a week" in sentence for sentence in found.payoff.sentences)


def test_without_a_limit_the_tiers_are_the_scorer_s_own_or_those_given(made):
    own = find(made, Asked(10, 200))
    assert own.payoff.table[["tier", "from_score"]].to_numpy().tolist() == [["A", 35.0], ["B", 0.0]]
    given = find(made, Asked(10, 200), scores={"A": 20.5, "C": 0.0})
    assert given.payoff.table[["tier", "from_score"]].to_numpy().tolist() == [["A", 20.5], ["C", 0.0]]
    pd.testing.assert_frame_equal(own.payoff.curve, given.payoff.curve)


def test_what_is_not_asked_for_the_playbook_says(made, copied):
    """The demo's: 120 leads a week, 12 a call, 900 a deal."""
    found, given = find(made, Asked(None, None)), find(made, Asked(12, 900))
    pd.testing.assert_frame_equal(found.payoff.table, given.payoff.table)
    assert found.payoff.terms.per_week == 120 and not found.by_worth
    assert find(made, Asked(None, 100, 3.0)).payoff.lines()["break_even"] == 12.0
    path = copied[0].root / "data" / "playbooks" / "demo.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(content | {"worth": content["worth"] | {"new_per_week": 7.0}}), encoding="utf-8")
    assert find(copied).payoff.table["leads"].sum() == pytest.approx(7.0)
    path.write_text(yaml.safe_dump(content | {"worth": None}), encoding="utf-8")
    with pytest.raises(ParamsError, match="give --call-cost and --deal-value, or write `worth`"):
        find(copied, Asked(None, None))


def test_other_numbers_of_leads_scale_every_figure(made):
    one, twice = find(made, Asked(10, 200)), find(made, Asked(10, 200), new_leads=2 * 5.0)
    factor = twice.payoff.table["leads"].sum() / one.payoff.table["leads"].sum()
    assert twice.payoff.table["leads"].sum() == pytest.approx(10.0)
    np.testing.assert_allclose(twice.payoff.table["profit"], factor * one.payoff.table["profit"])


def test_the_history_counts_every_lead_once(made):
    found = find(made, Asked(10, 200))
    scores = pd.read_parquet(made[0].path("evaluate/scores.parquet")).dropna(subset="score")
    assert found.payoff.history["leads"].sum() == scores["lead_id"].nunique()
    assert found.payoff.history["tier"].tolist() == ["A", "B"] * found.payoff.history["period"].nunique()


def test_without_creation_times_somebody_must_say_how_many_leads_come(copied):
    windows = copied[0].path("featurize/splits.csv")
    files.write_csv(windows, files.read_csv(windows).assign(axis="random order", start=[0, 600], end=[600, 800]))
    sign(copied[0], "featurize")
    with pytest.raises(ParamsError, match="or --new-leads"):
        find(copied)
    found = find(copied, new_leads=50.0)
    assert found.payoff.table["leads"].sum() == pytest.approx(50.0)
    assert found.payoff.history.empty


def test_too_short_a_window_has_no_typical_week(copied):
    windows = copied[0].path("featurize/splits.csv")
    files.write_csv(windows, files.read_csv(windows).assign(start=["2022-07-01", "2024-04-15"]))
    sign(copied[0], "featurize")
    with pytest.raises(NotEnoughData, match="a typical week needs at least 7"):
        find(copied)


def test_the_playbook_must_fit(copied):
    path = copied[0].root / "data" / "playbooks" / "demo.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    del content["tiers"]["A"]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ParamsError, match="no play for tier A"):
        find(copied)
    path.unlink()
    assert find(copied).plays == {}


def test_results_of_another_contract_are_refused(copied):
    params = copied[1].model_copy(update={"run": copied[1].run.model_copy(update={"contract": "other"})})
    with pytest.raises(ArtefactError, match=r"params\.yaml names other"):
        find((copied[0], params))
    with pytest.raises(ArtefactError, match=r"params\.yaml names other"):
        segments.find(copied[0], params)


def test_segments_and_values_of_a_known_history(made):
    found = segments.find(*made)
    assert found.table.iloc[0]["segment"].startswith("Lead source: referral")
    assert found.table["value_per_lead"].notna().all()
    assert found.values == VALUES
    # Large companies among the referrals first: more value than by the chance alone.
    tenths = found.captured.iloc[1:]
    assert (tenths["by_value_score"] > tenths["by_score"]).all()


def test_without_a_value_column_conversions_alone_count(copied):
    described = files.read_json(copied[0].path("ingest/contract.json"))
    del described["contract"]["outcome"]["value"]
    files.write_json(copied[0].path("ingest/contract.json"), described)
    summary = files.read_json(copied[0].path("calibrate/summary.json"))
    files.write_json(copied[0].path("calibrate/summary.json"), summary | {"deal_values": None})
    sign(copied[0], "ingest")
    sign(copied[0], "calibrate")
    found = segments.find(*copied)
    assert found.values is None and found.captured.empty
    assert found.table["value_per_lead"].isna().all()
    assert "value" not in segments.in_words(found)


# The commands


@pytest.fixture
def leads(copied, monkeypatch):
    """Run `leads ARGS` in this process; the result, or the error that ends it with its exit code."""
    monkeypatch.chdir(copied[0].root)

    def run(*arguments: str):
        result = RUNNER.invoke(cli.app, [*arguments])
        if isinstance(result.exception, LeadScoringError):
            raise result.exception
        return result

    return run


WORTH = ("tiers", "--call-cost", "10", "--deal-value", "200")


def test_leads_tiers_prints_the_table_and_writes_it(leads, copied):
    result = leads(*WORTH, "--per-week", "3")
    assert result.exit_code == 0, result.output
    folder = copied[0].root / "data" / "tiers"
    assert sorted(path.name for path in folder.iterdir()) == ["history.csv", "profit.csv", "profit.png", "tiers.csv"]
    table = files.read_csv(folder / "tiers.csv")
    row = table.iloc[0]
    assert re.search(rf"^ *A +{row['from_score']:.1f} .*{row['leads']:.1f} \(", result.output, re.MULTILINE)
    assert "Tier A, account executive: call and offer a meeting within 24 hours" in result.output
    assert len(files.read_csv(folder / "profit.csv")) == 1001
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    leads(*WORTH, "--per-week", "3")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_leads_segments_prints_the_profile_and_writes_it(leads, copied):
    result = leads("segments", "--out", "profile")
    assert result.exit_code == 0, result.output
    assert "Convert more often than the rest" in result.output and "Lead source: referral" in result.output
    folder = copied[0].root / "profile"
    assert sorted(path.name for path in folder.iterdir()) == ["deal_values.json", "segments.csv", "value_captured.csv"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--per-week", "5", "--scores", "A=0"), "not both"),
        (("--per-week", "inf"), "--per-week inf: it must be more than 0, and finite"),
        (("--new-leads", "-1"), "--new-leads -1: it must be more than 0"),
        (("--scores", "A:30"), "write tiers and their lowest scores as A=30,B=12.5,C=0"),
        (("--scores", "A=30,A=0"), "every tier needs a name of its own"),
        (("--scores", "A=30,B=10"), "the last tier must begin at 0"),
        (("--out", "params.yaml"), "params.yaml"),
    ],
)
def test_options_that_make_no_sense_are_refused_and_nothing_is_written(leads, copied, options, words):
    with pytest.raises(LeadScoringError, match=re.escape(words)):
        leads(*WORTH, *options)
    assert not list((copied[0].root / "data").glob("tiers/*"))


def test_a_step_that_is_neither_month_nor_quarter(leads):
    result = leads(*WORTH, "--period", "week")
    assert result.exit_code == 2 and "'month', 'quarter'" in result.output


def test_meaning_is_said_of_every_tier_by_worth(made):
    said = tiers.in_words(find(made, Asked(10, 200, 3.0)))
    assert capacity.MEANING["A"] in said and capacity.MEANING["B"] in said
