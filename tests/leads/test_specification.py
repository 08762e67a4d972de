"""What the scorer is told: whether the source has an order in time, and which way the chance may go."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from pipeline.leads.contract import parse, resolve
from pipeline.leads.specification import specify
from pipeline.params import Featurize, load
from pipeline.scorer.features import directions, feature_list

CONTRACT: dict[str, Any] = {
    "contract_version": 1,
    "name": "small",
    "description": "for tests",
    "source": {
        "kind": "files",
        "leads": {"path": "leads.csv"},
        "activities": {"path": "activities.csv"},
        "changes": {"path": "changes.csv"},
    },
    "key": "id",
    "time": {"kind": "column", "column": "created"},
    "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won"},
    "columns": {
        "id": {"role": "identifier"},
        "created": {"role": "ignored", "type": "timestamp"},
        "won": {"role": "outcome", "type": "timestamp"},
        "industry": {"role": "feature", "type": "category", "known_at": "creation"},
        "row": {"role": "feature", "type": "integer", "known_at": "creation", "direction": "rising"},
        "staff": {"role": "feature", "type": "number", "known_at": "over_time", "direction": "falling"},
        "phone": {"role": "personal", "facts": ["present"]},
    },
    "activities": {
        "lead": "lead",
        "kind": "type",
        "happened_at": "at",
        "recorded_at": "at",
        "kinds": {"call": {"direction": "rising"}, "bounce": {"direction": "falling"}, "mail": {}},
    },
    "changes": {"lead": "lead", "column": "field", "recorded_at": "at", "old_value": "old", "new_value": "new"},
}


@pytest.fixture(scope="module")
def params(project_root: Path) -> Featurize:
    return load(project_root / "params.yaml").featurize


def test_columns_and_kinds_carry_their_direction_as_a_sign(params: Featurize) -> None:
    spec = specify(resolve(parse(CONTRACT, file="small.yaml")), params)
    assert {column["name"]: column["direction"] for column in spec["profile"]} == {
        "industry": 0,
        "row_": 1,
        "staff": -1,
        "has_phone": 0,
    }
    assert {kind["name"]: kind["direction"] for kind in spec["kinds"]} == {"call": 1, "bounce": -1, "mail": 0}


def test_a_kind_counts_one_way_and_the_days_since_it_the_other(params: Featurize) -> None:
    spec = specify(resolve(parse(CONTRACT, file="small.yaml")), params)
    spec["windows_days"] = [7, 30]
    names = [feature["name"] for feature in feature_list(spec)]
    signs = directions(spec)
    assert signs.dtype == "int64" and signs.shape == (len(names),)
    assert {name: sign for name, sign in zip(names, signs.tolist(), strict=True) if sign} == {
        "row_": 1,
        "staff": -1,  # the value, not how often or how lately it changed
        "n_call_7d": 1,
        "n_call_30d": 1,
        "n_call": 1,
        "days_since_call": -1,
        "n_bounce_7d": -1,
        "n_bounce_30d": -1,
        "n_bounce": -1,
        "days_since_bounce": 1,
    }


def test_a_specification_from_before_directions_is_free_in_all_of_them(params: Featurize) -> None:
    spec = specify(resolve(parse(CONTRACT, file="small.yaml")), params)
    for part in (*spec["profile"], *spec["kinds"]):
        del part["direction"]
    assert not directions(spec).any()


@pytest.mark.parametrize(
    ("time", "timed"),
    [({"kind": "column", "column": "created"}, True), ({"kind": "row_order"}, True), ({"kind": "none"}, False)],
)
def test_whether_the_source_has_an_order_in_time(params: Featurize, time: dict[str, Any], timed: bool) -> None:
    content = copy.deepcopy(CONTRACT) | {"time": time}
    content |= {"outcome": {"kind": "flag", "horizon_days": 0, "column": "won", "positive": "yes"}}
    content["columns"]["won"] = {"role": "outcome", "type": "category"}
    for key in ("activities", "changes"):
        del content[key], content["source"][key]
    assert specify(resolve(parse(content, file="small.yaml")), params)["timed"] is timed
