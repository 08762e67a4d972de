"""From a resolved contract to the specification that the scorer carries: what it reads, checks and builds."""

from __future__ import annotations

from typing import Any

from pipeline.leads.contract import CREATED_AT, LEAD_KEY, Resolved, fact_name
from pipeline.leads.declarations import column_spec
from pipeline.params import Featurize
from pipeline.scorer.features import feature_list

FORMAT = 1

#: Declarations that compare a column with another one: a matter of whole tables, and of columns the scorer does not
#: read.
CROSS = ("not_before", "not_with")


def specify(resolved: Resolved, params: Featurize) -> dict[str, Any]:
    """The specification as plain data.

    `names`: source name -> name the scorer uses. `facts`: derived from personal columns. `profile`: lead columns that
    are features. `checks`: what a row must keep to be scored, as at validation. `tracked`: source columns with
    changes.
    `kinds`: activity kinds. `aged`: whether age is a feature (there is a horizon and more than one look at a lead).
    """
    contract = resolved.contract
    declared = {
        resolved.names[source]: {key: value for key, value in column_spec(resolved, source).items() if key not in CROSS}
        for source in contract.columns
        if source in resolved.features
    }
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
                "may_be_missing": True,
            }
        )
    kinds = contract.activities.kinds if contract.activities else {}
    aged = contract.activities is not None
    return {
        "format": FORMAT,
        "contract": contract.name,
        "horizon_days": contract.outcome.horizon_days,
        "names": {source: name for source, name in resolved.names.items() if source != name},
        "facts": [
            {"name": fact_name(name, fact), "column": name, "fact": fact}
            for name, column_ in contract.columns.items()
            for fact in column_.facts
        ],
        "profile": profile,
        "tracked": list(resolved.tracked),
        "checks": [
            {"name": LEAD_KEY, "type": "text", "required": True},
            {"name": CREATED_AT, "type": "timestamp", "required": True},
            *declared.values(),
        ],
        "kinds": [
            {"name": name, "criterion": kind.criterion or name, "group": kind.group} for name, kind in kinds.items()
        ],
        "windows_days": list(params.windows_days),
        "aged": aged,
        "max_age_days": max(params.ages_days),
    }


def with_missing(spec: dict[str, Any], missing: set[str]) -> dict[str, Any]:
    """The specification with `may_be_missing` as seen in training; `missing` names the features that had gaps there."""
    return spec | {"profile": [column | {"may_be_missing": column["name"] in missing} for column in spec["profile"]]}


def names(spec: dict[str, Any]) -> list[str]:
    """Feature names in order."""
    return [feature["name"] for feature in feature_list(spec)]
