"""Contracts: what the schema refuses, what follows from a contract, and what the ready ones say."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.errors import ContractError
from pipeline.leads.contract import Resolved, describe, parse, resolve, restore, without_changing

SMALL: dict[str, Any] = {
    "contract_version": 1,
    "name": "small",
    "description": "for tests",
    "source": {"kind": "files", "leads": {"path": "leads.csv"}},
    "key": "id",
    "time": {"kind": "column", "column": "created"},
    "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won"},
    "columns": {
        "id": {"role": "identifier"},
        "created": {"role": "ignored", "type": "timestamp"},
        "won": {"role": "outcome", "type": "timestamp"},
        "size": {"role": "feature", "type": "integer", "known_at": "creation"},
        "deal": {"role": "feature", "type": "number", "known_at": "outcome"},
        "guess": {"role": "feature", "type": "number", "reason": "nobody knows"},
        "stage": {"role": "feature", "type": "category", "known_at": "over_time"},
        "phone": {"role": "personal", "facts": ["present"], "criterion": "Reachable"},
    },
}


def changed(*path: str, to: Any) -> dict[str, Any]:
    """`SMALL` with one key set, or removed where `to` is None."""
    content = copy.deepcopy(SMALL)
    place = content
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return content


def test_what_may_enter_and_why_the_rest_stays_out() -> None:
    resolved = resolve(parse(SMALL, file="small.yaml"))
    assert resolved.features == {"size": ("size", "fit"), "has_phone": ("Reachable", "fit")}
    assert resolved.excluded == {
        "id": "role is identifier",
        "created": "role is ignored",
        "won": "role is outcome",
        "deal": "known only with the outcome",
        "guess": "nobody knows",
        "stage": "changes over time, and the source has no record of its changes",
        "phone": "role is personal",
    }
    assert resolved.names == {
        "id": "lead_id",
        "created": "created_at",
        "won": "converted_at",
        "size": "size",
        "deal": "deal",
        "guess": "guess",
        "stage": "stage",
    }
    assert resolved.tracked == []


def test_columns_whose_names_are_taken_go_on_under_others() -> None:
    content = changed("columns", "label", to={"role": "ignored"})
    content["columns"] |= {"lead_id": {"role": "ignored"}, "position": {"role": "feature", "type": "category"}}
    content["columns"] |= {"label_": {"role": "ignored"}}
    names = resolve(parse(content, file="small.yaml")).names
    assert (names["id"], names["lead_id"], names["position"]) == ("lead_id", "lead_id_", "position_")
    assert (names["label"], names["label_"]) == ("label__", "label_")


def test_a_column_called_row_number_is_no_key_where_rows_are_numbered() -> None:
    content = changed("key", to="row_number")
    content["columns"]["row_number"] = {"role": "feature", "type": "integer", "known_at": "creation"}
    names = resolve(parse(content, file="small.yaml")).names
    assert (names["row_number"], names["id"]) == ("row_number", "id")
    assert "lead_id" not in names.values()


def flagged(**outcome: Any) -> dict[str, Any]:
    """`SMALL` with an outcome in words."""
    content = changed("columns", "won", to={"role": "outcome", "type": "category"})
    content["columns"]["closed"] = {"role": "outcome", "type": "timestamp"}
    return content | {"outcome": {"kind": "flag", "horizon_days": 0, "column": "won", "positive": "yes"} | outcome}


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ({"open": ["", "pending"]}, ""),
        ({"positive": ["yes", "paid"], "open": ["pending"]}, ""),
        ({"open": ["yes"]}, "`positive` and `open` both hold yes"),
        ({"closed_at": "closed"}, "takes no dates"),
        ({"kind": "dates", "horizon_days": 30, "closed_at": "closed", "open": ["pending"]}, ""),
        ({"kind": "dates", "horizon_days": 30, "closed_at": "won"}, "type must be `timestamp`"),
        ({"kind": "dates", "horizon_days": 30, "closed_at": "closed", "column": None}, "needs `column` and `positive`"),
        ({"kind": "dates", "horizon_days": 30, "closed_at": "closed", "lost_at": "closed"}, "takes no `lost_at`"),
        ({"kind": "dates", "horizon_days": 30}, "needs `converted_at`, or `closed_at`"),
    ],
)
def test_outcomes_in_words(outcome: dict[str, Any], message: str) -> None:
    content = flagged(**outcome)
    content["outcome"] = {key: value for key, value in content["outcome"].items() if value is not None}
    if not message:
        parse(content, file="small.yaml")
        return
    with pytest.raises(ContractError) as error:
        parse(content, file="small.yaml")
    assert message in str(error.value)


def test_keys_that_say_nothing_are_not_written() -> None:
    described = describe(resolve(parse(SMALL, file="small.yaml")))["contract"]
    assert not {"open", "closed_at"} & described["outcome"].keys()


def test_keys_of_files_that_came_later_are_left_out_where_they_say_nothing() -> None:
    plain = describe(resolve(parse(SMALL, file="small.yaml")))
    assert list(plain["contract"]["source"]["leads"]) == [
        "path",
        "url",
        "member",
        "sha256",
        "format",
        "separator",
        "missing",
    ]
    leads = {"paths": ["a-*.csv", "b.csv"], "separator": ";", "encoding": "cp1252", "decimal": ","}
    resolved = resolve(parse(changed("source", "leads", to=leads), file="small.yaml"))
    described = describe(resolved)["contract"]["source"]["leads"]
    assert {key: described[key] for key in leads} == leads and "sheet" not in described
    assert restore(describe(resolved)) == resolved


def with_activities(**kind: Any) -> dict[str, Any]:
    """`SMALL` with one kind of activity, a call."""
    content = copy.deepcopy(SMALL)
    content["source"]["activities"] = {"path": "activities.csv"}
    content["activities"] = {
        "lead": "lead",
        "kind": "type",
        "happened_at": "at",
        "recorded_at": "at",
        "kinds": {"call": kind},
    }
    return content


FEATURE = {"role": "feature", "known_at": "creation"}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (FEATURE | {"type": "number", "direction": "rising"}, ""),
        (FEATURE | {"type": "integer", "direction": "falling"}, ""),
        (FEATURE | {"type": "boolean", "direction": "rising"}, ""),
        (FEATURE | {"type": "number", "known_at": "over_time", "direction": "rising"}, ""),
        (FEATURE | {"type": "category", "direction": "rising"}, "`direction` goes with features that are numbers or"),
        ({"role": "ignored", "type": "number", "direction": "rising"}, "`direction` goes with features"),
        ({"role": "outcome", "type": "number", "direction": "falling"}, "`direction` goes with features"),
        (FEATURE | {"type": "number", "direction": "up"}, "'rising' or 'falling'"),
        (FEATURE | {"type": "number", "direction": ""}, "'rising' or 'falling'"),
        (FEATURE | {"type": "category", "overrules_period": "regions were added one by one"}, ""),
        (FEATURE | {"type": "number", "direction": "rising", "overrules_period": "it keeps its meaning"}, ""),
        (FEATURE | {"type": "number", "overrules_period": ""}, "overrules_period"),
        ({"role": "ignored", "overrules_period": "it keeps its meaning"}, "`overrules_period` goes with features"),
        ({"role": "personal", "overrules_period": "it keeps its meaning"}, "`overrules_period` goes with features"),
    ],
)
def test_directions_and_overruled_periods_go_with_features(column: dict[str, Any], message: str) -> None:
    content = changed("columns", "size", to=column)
    if not message:
        parsed = parse(content, file="small.yaml").columns["size"]
        assert (parsed.direction, parsed.overrules_period) == (column.get("direction"), column.get("overrules_period"))
        return
    with pytest.raises(ContractError, match=r"columns\.size") as error:
        parse(content, file="small.yaml")
    assert message in str(error.value)


def test_a_kind_of_activity_has_a_direction_or_none() -> None:
    for direction in ("rising", "falling"):
        parsed = parse(with_activities(direction=direction), file="small.yaml")
        assert parsed.activities is not None and parsed.activities.kinds["call"].direction == direction
    with pytest.raises(ContractError, match=r"activities\.kinds\.call\.direction"):
        parse(with_activities(direction="both"), file="small.yaml")
    with pytest.raises(ContractError, match=r"activities\.kinds\.call\.overrules_period"):
        parse(with_activities(overrules_period="calls are new"), file="small.yaml")


FACT = {"role": "personal", "facts": ["present"]}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (FEATURE | {"type": "number", "text": "employs {value}", "text_none": "of a size we do not know"}, ""),
        (FEATURE | {"type": "category", "text": "{value}", "moved_by": "sales", "values": ["a", "b"]}, ""),
        (FEATURE | {"type": "boolean", "text": "has a budget", "text_none": "has none", "moved_by": "lead"}, ""),
        (FACT | {"text": "left a phone number"}, ""),
        (FEATURE | {"type": "number", "text": "employs many"}, "`text` holds {value} once"),
        (FEATURE | {"type": "number", "text": "{value} of {value}"}, "`text` holds {value} once"),
        (FEATURE | {"type": "number", "text": "{value} {unit}"}, "`text` holds {value} once"),
        (FEATURE | {"type": "number", "text_none": "no {value}"}, "`text_none` holds nothing in braces"),
        (FEATURE | {"type": "boolean", "text": "budget {value}"}, "`text` holds nothing in braces"),
        (FACT | {"text": "left {value}"}, "`text` holds nothing in braces"),
        (FEATURE | {"type": "number", "text": " "}, "text"),
        ({"role": "ignored", "text": "{value}"}, "`text` and `text_none` go with features"),
        ({"role": "personal", "text": "left a phone number"}, "personal columns of one fact"),
        ({"role": "personal", "facts": ["present", "work_email"], "text": "wrote"}, "personal columns of one fact"),
        (FEATURE | {"type": "number", "moved_by": "sales"}, "`moved_by` goes with features that are true/false"),
        (FEATURE | {"type": "category", "moved_by": "sales"}, "categories with `values`"),
        (FEATURE | {"type": "boolean", "moved_by": "us"}, "'lead' or 'sales'"),
    ],
)
def test_words_of_reasons_and_who_can_move_a_column(column: dict[str, Any], message: str) -> None:
    content = changed("columns", "size", to=column)
    if not message:
        parsed = parse(content, file="small.yaml").columns["size"]
        for key in ("text", "text_none", "moved_by"):
            assert getattr(parsed, key) == column.get(key)
        return
    with pytest.raises(ContractError, match=r"columns\.size") as error:
        parse(content, file="small.yaml")
    assert message in str(error.value)


def test_words_of_a_kind_name_the_times() -> None:
    content = with_activities(text="was called {times}", text_none="was never called", moved_by="sales")
    resolved = resolve(parse(content, file="small.yaml"))
    assert resolved.contract.activities is not None
    assert resolved.contract.activities.kinds["call"].text == "was called {times}"
    assert restore(json.loads(json.dumps(describe(resolved)))) == resolved
    for wrong in ("was called", "was called {value}", "{times} {times}"):
        with pytest.raises(ContractError, match=r"activities\.kinds\.call: .*`text` holds \{times\} once"):
            parse(with_activities(text=wrong), file="small.yaml")


def test_directions_and_overruled_periods_survive_their_file() -> None:
    content = with_activities(direction="falling")
    content["columns"]["size"] |= {"direction": "rising", "overrules_period": "it keeps its meaning"}
    resolved = resolve(parse(content, file="small.yaml"))
    described = describe(resolved)
    assert described["contract"]["columns"]["size"]["direction"] == "rising"
    assert described["contract"]["columns"]["size"]["overrules_period"] == "it keeps its meaning"
    assert described["contract"]["activities"]["kinds"]["call"]["direction"] == "falling"
    assert restore(json.loads(json.dumps(described))) == resolved


def test_a_resolved_contract_from_before_directions_and_periods_is_read_and_written_as_it_was() -> None:
    resolved = resolve(parse(with_activities(), file="small.yaml"))
    described = json.dumps(describe(resolved))
    for key in ("direction", "overrules_period", "text", "text_none", "moved_by"):
        assert f'"{key}":' not in described
    restored = restore(json.loads(described))
    assert restored == resolved and json.dumps(describe(restored)) == described
    assert restored.contract.columns["size"].direction is None
    assert restored.contract.columns["size"].overrules_period is None
    assert restored.contract.activities is not None
    assert restored.contract.activities.kinds["call"].direction is None


@pytest.mark.parametrize(
    ("leads", "message"),
    [
        ({}, "name one of `path`, `paths` .* and `url`"),
        ({"path": "a", "paths": ["b"]}, "name one of `path`, `paths`"),
        ({"paths": []}, "paths"),
        ({"path": "a", "sheet": "Leads"}, "`sheet` goes with `format: excel`"),
        ({"path": "a", "format": "excel", "encoding": "cp1252"}, "`encoding` and `decimal` go with `format: csv`"),
        ({"path": "a", "format": "parquet", "decimal": ",", "separator": ";"}, "go with `format: csv`"),
        ({"path": "a", "decimal": ","}, "`separator` and `decimal` must differ"),
        ({"path": "a", "encoding": "ascii"}, "encoding"),
    ],
)
def test_a_file_is_at_one_place_and_of_one_format(leads: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        parse(changed("source", "leads", to=leads), file="small.yaml")


def test_a_resolved_contract_survives_its_file() -> None:
    resolved = resolve(parse(SMALL, file="small.yaml"))
    assert restore(describe(resolved)) == resolved


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("colour", to="red"), "small.yaml: colour: unknown key"),
        (changed("columns", "size", "colour", to="red"), "small.yaml: columns.size.colour: unknown key"),
        (changed("contract_version", to=2), "small.yaml: contract_version"),
        (changed("name", to=None), "small.yaml: name: key is missing"),
        (changed("key", to="created"), "key names `created`, whose role must be `identifier`"),
        (changed("key", to="none"), "key names `none`, which is not among `columns`"),
        (changed("columns", "size", "min", to="1"), "columns.size.min"),
        (changed("columns", "won", "role", to="ignored"), "whose role must be `outcome`"),
        (changed("source", "leads", "url", to="ftp://x"), "source.leads.url"),
        (changed("source", "leads", to={"url": "https://x.example/y.csv"}), "a url needs `sha256`"),
        (changed("source", "leads", "separator", to=";;"), "source.leads.separator"),
        (changed("time", to={"kind": "none"}), "outcome.kind `dates` needs time.kind `column`"),
        (changed("columns", "size", "values", to=["1"]), "`values` go with categories"),
    ],
)
def test_a_faulty_contract_is_refused_with_its_key(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError) as error:
        parse(content, file="small.yaml")
    assert message in str(error.value)


def test_all_faults_are_named_at_once() -> None:
    content = changed("colour", to="red") | {"contract_version": 2}
    with pytest.raises(ContractError) as error:
        parse(content, file="small.yaml")
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("columns", "has_phone", to={"role": "ignored"}), "columns has_phone clash"),
        (changed("columns", "size", "known_at", to="unknown"), ""),
    ],
)
def test_a_contract_that_cannot_be_resolved(content: dict[str, Any], message: str) -> None:
    if not message:
        content = copy.deepcopy(content)
        del content["columns"]["phone"]
        message = "nothing to learn from"
    with pytest.raises(ContractError, match=message):
        resolve(parse(content, file="small.yaml"))


# The ready contracts


@pytest.fixture(params=["demo", "bank_marketing", "bank_marketing_full", "online_shoppers"])
def ready(request: pytest.FixtureRequest, project_root: Path) -> tuple[str, str, Resolved]:
    """Name, text and resolved form of a contract that comes with the project."""
    path = project_root / "data" / "contracts" / f"{request.param}.yaml"
    text = path.read_text(encoding="utf-8")
    return request.param, text, resolve(parse(yaml.safe_load(text), file=path.name))


def test_ready_contracts_name_themselves_and_state_their_hash(ready: tuple[str, str, Resolved]) -> None:
    name, _, resolved = ready
    assert resolved.name == name
    if resolved.contract.source.leads is not None:
        assert resolved.contract.source.leads.sha256 is not None


def test_every_feature_states_its_criterion(ready: tuple[str, str, Resolved]) -> None:
    _, _, resolved = ready
    for name in resolved.features:
        column = resolved.contract.columns.get(name)
        assert column is None or column.criterion, f"{name} has no criterion a sales person would name"


FEATURES = {
    "bank_marketing": "age job marital education default housing loan day_of_week campaign pdays previous poutcome",
    "bank_marketing_full": "age job marital education default balance housing loan campaign pdays previous poutcome",
    "online_shoppers": "SpecialDay Month OperatingSystems Browser Region TrafficType VisitorType Weekend",
}
LEFT_OUT = {
    "bank_marketing": "contact month duration emp.var.rate cons.price.idx cons.conf.idx euribor3m nr.employed y",
    "bank_marketing_full": "contact day month duration y",
    "online_shoppers": (
        "Administrative Administrative_Duration Informational Informational_Duration ProductRelated "
        "ProductRelated_Duration BounceRates ExitRates PageValues Revenue"
    ),
}


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_what_the_published_sets_let_in(project_root: Path, name: str) -> None:
    content = yaml.safe_load((project_root / "data" / "contracts" / f"{name}.yaml").read_text(encoding="utf-8"))
    resolved = resolve(parse(content, file=name))
    assert list(resolved.features) == FEATURES[name].split()
    assert sorted(resolved.excluded) == sorted(LEFT_OUT[name].split())


@pytest.mark.parametrize(
    ("name", "named", "next_highest"),
    [
        ("bank_marketing", "contact month emp.var.rate cons.price.idx cons.conf.idx euribor3m nr.employed", 0.2),
        ("bank_marketing_full", "contact day month", 0.29),
    ],
)
def test_columns_that_name_the_period_are_those_that_time_explains(
    project_root: Path, lead_data_dir: Path, name: str, named: str, next_highest: float
) -> None:
    """The outcome-free rule behind the contracts, worked out on the published rows: 30 blocks of the first 70 %."""
    content = yaml.safe_load((project_root / "data" / "contracts" / f"{name}.yaml").read_text(encoding="utf-8"))
    resolved = resolve(parse(content, file=name))
    file = resolved.contract.source.leads
    assert file is not None and file.path is not None
    frame = pd.read_csv(lead_data_dir / file.path, sep=file.separator, keep_default_na=False)
    frame = frame.iloc[: int(0.7 * len(frame))]
    block = np.arange(len(frame)) * 30 // len(frame)
    shares = {}
    for column, spec in resolved.contract.columns.items():
        if spec.type in ("number", "integer"):
            value = pd.DataFrame({"rank": frame[column].rank()})
        else:
            value = pd.get_dummies(frame[column].astype(str)).astype("float64")
        within = value - value.groupby(block).transform("mean")
        shares[column] = 1 - float((within**2).to_numpy().sum() / ((value - value.mean()) ** 2).to_numpy().sum())
    above = {column for column, share in shares.items() if share > 0.5}
    assert above == set(named.split())
    assert max(share for column, share in shares.items() if column not in above) < next_highest


def test_a_feature_said_to_be_fixed_that_the_changes_table_contradicts_is_left_out() -> None:
    resolved = resolve(parse(SMALL, file="small.yaml"))
    left, sentences = without_changing(resolved, {"size": 1_200, "deal": 3, "phone": 9, "nobody": 1})
    assert set(left.features) == set(resolved.features) - {"size"}
    assert "holds 1,200 changes of it (declare `known_at: over_time`" in left.excluded["size"]
    assert sentences == [f"column `size` is left out: {left.excluded['size']}"]
    assert restore(describe(left)) == left
    assert "size" in resolved.features, "the contract given is not changed"
    assert without_changing(resolved, {"size": 0, "deal": 3}) == (resolved, [])


def test_a_contract_of_nothing_but_contradicted_columns_is_an_error() -> None:
    content = copy.deepcopy(SMALL)
    del content["columns"]["phone"]
    resolved = resolve(parse(content, file="small.yaml"))
    with pytest.raises(ContractError, match="by the changes table every column"):
        without_changing(resolved, {"size": 1})
