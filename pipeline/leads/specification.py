"""From a resolved contract to the specification that the scorer carries: what it reads, checks and builds."""

from __future__ import annotations

from typing import Any

from pipeline.errors import ContractError
from pipeline.leads.contract import CREATED_AT, LEAD_KEY, Column, Contract, Kind, Resolved, fact_name
from pipeline.leads.declarations import column_spec
from pipeline.params import Featurize
from pipeline.scorer.features import LEAD_AGE, OVERALL, feature_list
from pipeline.scorer.reasons import LEVEL

FORMAT = 1

#: Declarations that compare a column with another one: a matter of whole tables, and of columns the scorer does not
#: read.
CROSS = ("not_before", "not_with")

DIRECTIONS = {"rising": 1, "falling": -1, None: 0}


def specify(resolved: Resolved, params: Featurize) -> dict[str, Any]:
    """The specification as plain data.

    `names`: source name -> name the scorer uses. `facts`: derived from personal columns. `profile`: lead columns that
    are features. `checks`: what a row must keep to be scored, as at validation. `tracked`: source columns with
    changes. `kinds`: activity kinds. `aged`: whether age is a feature. `max_age_days`: the oldest age looked at in
    training, none where outcomes are decided at once. `timed`: the source has an order in time. `direction`: 1 where
    the chance may only rise with a feature, -1 where it may only fall, 0 where it is free.
    """
    contract = resolved.contract
    file = contract.source.leads
    words = file.missing if file is not None else [""]
    declared = {
        resolved.names[source]: {key: value for key, value in column_spec(resolved, source).items() if key not in CROSS}
        | {"missing": [*words, *column.missing]}
        for source, column in contract.columns.items()
        if source in resolved.features
    }
    personal = {fact_name(name, fact): name for name, column in contract.columns.items() for fact in column.facts}
    profile = []
    for column, (criterion, group) in resolved.features.items():
        source = column if column in contract.columns else None
        name = resolved.names[column] if source else column
        profile.append(
            {
                "name": name,
                "source": source or name,
                "kind": "category" if source and contract.columns[source].type == "category" else "number",
                "criterion": criterion,
                "group": group,
                "tracked": column in resolved.tracked,
                "declared": declared.get(name, {"name": name, "type": "boolean"}),
                "direction": DIRECTIONS[contract.columns[source].direction] if source else 0,
                "unit": contract.columns[source].unit if source else None,
            }
            | _told(contract.columns[source or personal[column]])
        )
    kinds = contract.activities.kinds if contract.activities else {}
    looked_at_ages = contract.activities is not None
    created = contract.columns.get(contract.time.column or "")
    spec = {
        "format": FORMAT,
        "contract": contract.name,
        "horizon_days": contract.outcome.horizon_days,
        "timed": contract.time.kind != "none",
        "names": {source: name for source, name in resolved.names.items() if source != name},
        "facts": [
            {"name": fact_name(name, fact), "column": name, "fact": fact}
            for name, column_ in contract.columns.items()
            for fact in column_.facts
        ],
        "profile": profile,
        "tracked": list(resolved.tracked),
        "checks": [
            column | _own(resolved, column["name"])
            for column in (
                {"name": LEAD_KEY, "type": "text", "required": True},
                {"name": CREATED_AT, "type": "timestamp", "required": True},
                *declared.values(),
            )
        ],
        "kinds": [
            {
                "name": name,
                "criterion": kind.criterion or name,
                "group": kind.group,
                "direction": DIRECTIONS[kind.direction],
            }
            | _told(kind)
            for name, kind in kinds.items()
        ],
        "windows_days": list(params.windows_days),
        "aged": looked_at_ages,
        "max_age_days": max(ages(contract, params), default=None),
        "created_format": created.format if created is not None else None,
    }
    _check_names(contract.name, spec)
    return spec


def _told(declared: Column | Kind) -> dict[str, Any]:
    """How a reason tells of a column or kind, and who can move it."""
    return {"text": declared.text, "text_none": declared.text_none, "moved_by": declared.moved_by}


def _own(resolved: Resolved, name: str) -> dict[str, Any]:
    """The expectations that the contract adds for one column alone: a row to be scored must keep them too."""
    own = [
        one.model_dump(mode="json", include={"expectation", "kwargs", "reason"})
        for one in resolved.contract.expectations
        if one.table == "leads" and [resolved.names[column] for column in one.columns] == [name]
    ]
    return {"own": own} if own else {}


def ages(contract: Contract, params: Featurize) -> list[int]:
    """Ages in days at which a lead is looked at: all of them where activities come in between, the first where only the
    profile is known, none where the outcome is decided at once."""
    if contract.outcome.kind == "flag":
        return []
    return params.ages_days if contract.activities is not None else params.ages_days[:1]


def _check_names(contract: str, spec: dict[str, Any]) -> None:
    """Two features of one name would overwrite each other; a reserved criterion would be credited with others' points.

    Raises:
        ContractError: names every clash.
    """
    made = feature_list(spec)
    names = [feature["name"] for feature in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    own = {part["criterion"] for part in (*spec["profile"], *spec["kinds"])}
    reserved = sorted(own & {LEVEL, LEAD_AGE, OVERALL})
    if twice or reserved:
        raise ContractError(
            f"contract {contract}: "
            + "; ".join(
                [f"column and kind names make the feature {name} twice" for name in twice]
                + [f"criterion `{name}` is the pipeline's own" for name in reserved]
            )
            + ". Rename them."
        )
