"""From a resolved contract to the specification that the scorer carries: what it reads, checks and builds."""

from __future__ import annotations

from typing import Any

from pipeline.leads.contract import CREATED_AT, LEAD_KEY, Resolved, fact_name
from pipeline.params import Featurize
from pipeline.scorer.features import feature_list

FORMAT = 1


def specify(resolved: Resolved, params: Featurize) -> dict[str, Any]:
    """The specification as plain data.

    `names`: source name -> name the scorer uses. `facts`: derived from personal columns. `profile`: lead columns that are
    features. `checks`: what a row must keep to be scored, as at validation. `tracked`: source columns with changes. `kinds`:
    activity kinds. `aged`: whether age is a feature (there is a horizon and more than one look at a lead).
    """
    contract = resolved.contract
    wanted = {resolved.names[name]: name for name in contract.columns if name in resolved.features}
    profile = []
    for column, (criterion, group) in resolved.features.items():
        source = column if column in contract.columns else None
        name = resolved.names[column] if source else column
        kind = "category" if source and contract.columns[source].type == "category" else "number"
        profile.append(
            {
                "name": name,
                "source": source or name,
                "kind": kind,
                "criterion": criterion,
                "group": group,
                "tracked": column in resolved.tracked,
                "may_be_missing": True,
            }
        )
    checks: list[dict[str, Any]] = [
        {"name": LEAD_KEY, "type": "text", "required": True},
        {"name": CREATED_AT, "type": "timestamp", "required": True},
    ]
    for name, source in wanted.items():
        column_ = contract.columns[source]
        checks.append(
            {
                "name": name,
                "type": column_.type,
                "required": column_.required,
                "min": column_.min,
                "max": column_.max,
                "values": column_.values,
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
        "checks": checks,
        "kinds": [
            {"name": name, "criterion": kind.criterion or name, "group": kind.group} for name, kind in kinds.items()
        ],
        "windows_days": list(params.windows_days),
        "aged": aged,
        "max_age_days": max(params.ages_days),
        "columns": {source: {"role": column_.role} for source, column_ in contract.columns.items()},
    }


def with_missing(spec: dict[str, Any], missing: dict[str, bool]) -> dict[str, Any]:
    """The specification with `may_be_missing` as seen on the training snapshots."""
    return spec | {"profile": [column | {"may_be_missing": missing[column["name"]]} for column in spec["profile"]]}


def names(spec: dict[str, Any]) -> list[str]:
    """Feature names in order."""
    return [feature["name"] for feature in feature_list(spec)]
