"""`leads card score` on a thin history: no model, no feature, and every number by a second route in plain Python."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from pipeline import cli
from pipeline.adapters import files, sources
from pipeline.errors import ArtefactError, CardError, NotEnoughData, ParamsError
from pipeline.leads import cohort, leakage
from pipeline.leads.contract import restore
from pipeline.leads.specification import specify
from pipeline.ondemand import card_score
from pipeline.params import load
from pipeline.paths import Workspace
from tests import fake_results, small_cards
from tests.workspaces import run_stages, small_workspace

pytestmark = pytest.mark.slow

DAY = pd.Timedelta(days=1)


@pytest.fixture(scope="module")
def validated(project_root, tmp_path_factory):
    """Three hundred leads of the demo, through `ingest` and `validate` and nothing later."""
    root = tmp_path_factory.mktemp("thin") / "project"
    workspace = small_workspace(project_root, root, ("leads: 4000", "leads: 300"))
    run_stages(workspace, ("ingest", "validate"))
    return workspace


@pytest.fixture
def thin(validated, tmp_path):
    """The same, to change."""
    shutil.copytree(validated.root, tmp_path / "project", ignore=shutil.ignore_patterns("card_score"))
    return Workspace(tmp_path / "project")


@pytest.fixture
def typed(monkeypatch):
    """Type `leads card score ...` in a project; returns what it printed and the ranking, or raises."""

    def leads(workspace, *arguments):
        monkeypatch.chdir(workspace.root)
        done = CliRunner().invoke(cli.app, ["card", "score", *arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output, ranking(workspace)

    return leads


def ranking(workspace, card="demo"):
    table = files.read_csv(workspace.root / "data" / "card_score" / f"{card}.csv")
    return table.assign(as_of=pd.to_datetime(table["as_of"]))


def tables(workspace):
    return [pd.read_parquet(workspace.path(f"validate/{name}.parquet")) for name in ("leads", "activities", "changes")]


def changed(workspace, change):
    """Write `validate`'s leads anew."""
    path = workspace.path("validate/leads.parquet")
    files.write_table(path, change(pd.read_parquet(path)))
    fake_results.sign(workspace, "validate")


def by_hand(workspace, rows):
    """Points of each (lead, as-of), one record after another."""
    resolved = leakage.without_leaks(
        restore(files.read_json(workspace.path("ingest/contract.json"))),
        files.read_csv(workspace.path("validate/leaks.csv")),
    )
    spec = specify(resolved, load(workspace.params).featurize)
    card = yaml.safe_load((workspace.root / "data/cards/demo.yaml").read_text(encoding="utf-8"))
    _, activities, changes = tables(workspace)
    return [small_cards.by_hand(card, lead) for lead in small_cards.leads_by_hand(rows, activities, changes, spec)]


def is_open(row, at):
    """Whether a lead was there by a moment, and had neither converted nor been lost."""
    closed = [row[name] for name in ("converted_at", "lost_at") if pd.notna(row[name])]
    return row["created_at"] <= at and not any(moment <= at for moment in closed)


@pytest.mark.parametrize("at", [None, "2024-05-01T12:00"])
def test_points_reasons_and_open_leads_by_a_second_route(validated, typed, at):
    said, found = typed(validated, *([] if at is None else ["--at", at]))
    moment = pd.Timestamp(at or json.loads(validated.path("ingest/provenance.json").read_text())["newest_recorded_at"])
    wanted = [row for row in tables(validated)[0].to_dict("records") if is_open(row, moment)]
    assert len(wanted) > 20 and f"{len(wanted)} open leads as of {moment:%Y-%m-%d %H:%M}" in said
    assert sorted(found["lead_id"]) == sorted(row["lead_id"] for row in wanted)
    assert (found["as_of"] == moment).all()
    counted = dict(
        zip(
            [row["lead_id"] for row in wanted],
            by_hand(validated, pd.DataFrame(wanted).assign(as_of=moment)),
            strict=True,
        )
    )
    held = found["held_back"].notna()
    for row in found.to_dict("records"):
        mine = counted[row["lead_id"]]
        assert row["points"] == pytest.approx(np.floor(round(mine["total"] * 10, 6)) / 10, abs=1e-9)
        assert row["qualified"] == mine["qualifies"]
        assert (row["held_back"] if pd.notna(row["held_back"]) else "") == mine["suppressed"]
        told = {one["criterion"]: one["points"] for one in json.loads(row["reasons"])}
        assert sum(round(10 * points) for points in told.values()) == round(10 * row["points"])
        for name, points in mine.items():
            if name not in ("total", "qualifies", "suppressed"):
                assert abs(told.pop(name, 0.0) - points) < 0.1 + 1e-6
        assert all(name.startswith("above ") and points < 0 for name, points in told.items())
    assert found.loc[~held, "points"].is_monotonic_decreasing
    assert held.any() and held[held].index.min() > held[~held].index.max()
    assert found.loc[held, "held_back_because"].notna().all()


def test_what_earlier_leads_did_by_a_second_route(validated, typed):
    """Looks, labels, bands and rates counted lead by lead; small runs ask for five conversions."""
    _, found = typed(validated)
    params = load(validated.params)
    leads = tables(validated)[0]
    newest = pd.Timestamp(json.loads(validated.path("ingest/provenance.json").read_text())["newest_recorded_at"])
    looks = []
    for row in leads.to_dict("records"):
        for age in params.featurize.ages_days:
            at = row["created_at"].normalize() + age * DAY
            if at + 30 * DAY <= newest and is_open(row, at):
                won = pd.notna(row["converted_at"]) and at < row["converted_at"] <= at + 30 * DAY
                looks.append(row | {"as_of": at, "won": int(won)})
    counted = by_hand(validated, pd.DataFrame(looks))
    rows = [
        (look["lead_id"], look["as_of"], one["total"], look["won"])
        for look, one in zip(looks, counted, strict=True)
        if not one["suppressed"]
    ]
    cuts = np.unique(np.floor(np.quantile([row[2] for row in rows], [0.2, 0.4, 0.6, 0.8]) * 10) / 10)
    bands = [{} for _ in range(len(cuts) + 1)]
    for lead, _, total, won in sorted(rows):
        bands[sum(round(total, 6) >= cut for cut in cuts)].setdefault(lead, won)
    n, k = [len(band) for band in bands], [sum(band.values()) for band in bands]
    common = sum(k) / sum(n)
    open_ = found[found["held_back"].isna()]
    assert open_["earlier_rate"].notna().all() and found.loc[found["held_back"].notna(), "earlier_rate"].isna().all()
    seen = set()
    for row in open_.to_dict("records"):
        place = sum(row["points"] >= cut for cut in cuts)
        seen.add(place)
        assert row["earlier_leads"] == n[place]
        assert row["earlier_rate"] == pytest.approx((k[place] + 1) / (n[place] + 1 / common), rel=1e-12)
        assert row["earlier_low"] < row["earlier_rate"] < row["earlier_high"]
    assert len(seen) > 2


def test_the_same_history_gives_the_same_bytes_and_the_honest_words(validated, typed, tmp_path):
    said, _ = typed(validated)
    assert "Points are no chance" in said and "earlier leads" in said
    typed(validated, "demo", "--out", str(tmp_path / "again.csv"))
    assert (tmp_path / "again.csv").read_bytes() == (validated.root / "data/card_score/demo.csv").read_bytes()


def test_an_earlier_date_knows_nothing_of_what_came_later(thin, typed):
    """Conversions and losses after it are taken away: not a byte of the ranking changes."""
    at = pd.Timestamp("2024-05-01")
    typed(thin, "--at", "2024-05-01")
    before = (thin.root / "data/card_score/demo.csv").read_bytes()

    def forget(leads):
        moments = ("converted_at", "lost_at")
        assert all((leads[name] > at).any() for name in moments)
        return leads.assign(**{name: leads[name].where(leads[name] <= at) for name in moments})

    changed(thin, forget)
    typed(thin, "--at", "2024-05-01")
    assert (thin.root / "data/card_score/demo.csv").read_bytes() == before


def test_where_no_model_can_be_had_the_refusal_names_the_card_and_the_card_ranks(thin, typed):
    changed(thin, lambda leads: leads.assign(converted_at=leads["converted_at"].where(leads["row"] == 0)))
    with pytest.raises(NotEnoughData, match=r"the train window holds .* 0 conversions; .* at least 1 more") as raised:
        run_stages(thin, ("featurize",))
    (note,) = raised.value.__notes__
    assert "about 167 conversions, 167 more than the 0 of now" in note and "`leads card score` ranks" in note
    said, found = typed(thin)
    assert "is left empty: 0 that were not held back converted, 5 more are needed" in said
    assert found["earlier_rate"].isna().all() and found["points"].nunique() > 10


def test_a_history_without_an_open_lead_is_an_empty_ranking(thin, typed):
    changed(thin, lambda leads: leads.assign(lost_at=leads["created_at"] + DAY))
    said, found = typed(thin)
    assert found.empty and "The history holds no open leads as of 2025-01-01 00:00" in said
    said, found = typed(thin, "--at", "1999-12-31")
    assert found.empty and "0 that were not held back converted, 5 more are needed" in said


def test_a_contract_without_dates_of_outcomes_has_looks_but_no_open_leads(validated):
    described = sources.read_contract(validated, "bank_marketing").contract
    leads = tables(validated)[0].assign(converted=lambda table: table["converted_at"].notna())
    newest, params = leads["created_at"].max(), load(validated.params)
    assert cohort.open_at(leads, described, newest).empty
    looks = card_score._matured(leads, described, newest, params)
    assert len(looks) == len(leads) and looks["label"].sum() == leads["converted"].sum()
    # A source without any moment.
    assert len(card_score._matured(leads, described, pd.NaT, params)) == len(leads)
    aside = {"source": {"leads": {"set_aside": 12}}}
    said = card_score._counts(None, leads.iloc[:0], newest, described, aside)
    assert said.endswith("knows no dates of outcomes; 12 without an outcome were set aside at ingest")


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("--at", "2099-01-01"), ParamsError, "--at 2099-01-01 00:00: the history ends at 2025-01-01 00:00"),
        (("--at", "soon"), ParamsError, "--at 'soon' is not a date"),
        (("nobody",), CardError, "no such card"),
        (("--out", "data"), ArtefactError, "is not a file that can be replaced"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(thin, typed, arguments, error, said):
    with pytest.raises(error, match=said):
        typed(thin, *arguments)
    assert not list(thin.root.glob("data/card_score/*"))


def test_a_card_that_cannot_be_counted_and_a_history_that_is_not_there(thin, typed):
    path = thin.root / "data" / "cards" / "demo.yaml"
    card = path.read_text(encoding="utf-8")
    path.write_text(card.replace("industry, is: [software,", "deal_value_eur, is: [software,"), encoding="utf-8")
    with pytest.raises(CardError, match="no points may rest on `deal_value_eur`"):
        typed(thin)
    path.write_text(card, encoding="utf-8")
    thin.path("validate/manifest.json").unlink()
    with pytest.raises(ArtefactError, match="run `dvc repro validate` first"):
        typed(thin)
