"""The OpenAPI document of the app and the page that shows it: what may be asked, what is answered, with an example."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, Field

from pipeline.adapters.serving.current import Served
from pipeline.adapters.serving.reading import HISTORY

TEMPLATES = Path(__file__).parent / "templates"

#: The JSON types in which a column of a declared type may be sent; the first is the one to prefer.
JSON_TYPES = {
    "number": ["number", "string", "null"],
    "integer": ["integer", "number", "string", "null"],
    "boolean": ["boolean", "number", "string", "null"],
}
TEXT = ["string", "number", "boolean", "null"]
MOMENT = {
    "type": ["string", "null"],
    "description": "ISO 8601, such as 2026-01-31T12:00:00Z; UTC where it names no offset.",
}


class Reason(BaseModel):
    """Points that one criterion adds to or takes from the score."""

    criterion: str
    group: str = Field(description="fit, engagement, or empty for the current level")
    points: float
    text: str = Field(description="What stands behind it, in words.")


class Result(BaseModel):
    """What the scorer says of one lead; null where there is nothing to say."""

    lead_id: str | None
    as_of: str | None = Field(description="The moment of the score, UTC. Nothing recorded later counts.")
    as_of_from: Literal["request", "clock"] = Field(description="clock: the lead named none, and got this moment.")
    score: float | None = Field(description="0 to 100, one decimal: 100 times the probability.")
    probability: float | None = Field(description="Calibrated chance to convert, 0 to 1.")
    interval_low: float | None = Field(description="Lower end of the interval for leads scored alike.")
    interval_high: float | None = Field(description="Its upper end.")
    tier: str | None
    base: float | None = Field(description="The score from which the points start; base + points = score.")
    fit_points: float | None = Field(description="Points for who the lead is.")
    engagement_points: float | None = Field(description="Points for what it does.")
    grade: str | None
    expected_value: float | None = Field(description="Of a deal with a lead of this kind, in the unit of the deals.")
    value_score: float | None = Field(description="The chance times the expected value.")
    held_back: str | None = Field(description="Why the tier's playbook leaves the lead alone for now.")
    reasons: list[Reason] = Field(description="Strongest first.")
    flags: list[str] = Field(description="unseen_category:COLUMN, missing_input:COLUMN, age_beyond_training, ...")
    refused: str | None = Field(description="Why the lead has no score; null where it has one.")
    model_version: str


class Versioned(BaseModel):
    """What stands in every answer, and in the headers x-model-version and x-version."""

    model_version: str = Field(description="Contract and content hash of the scorer.")
    version: int | None = Field(description="Its number in the registry; null where it was loaded from a folder.")


class Answer(Versioned):
    """The score of one lead."""

    unread: list[str] = Field(description="Columns sent that the scorer does not know; the first twenty by name.")
    result: Result


class Answers(Versioned):
    """The scores of several leads, in their order."""

    unread: list[str] = Field(description="Columns sent that the scorer does not know; the first twenty by name.")
    results: list[Result]


class Health(Versioned):
    """Which scorer answers."""

    status: Literal["ready"]
    contract: str
    since: str = Field(description="When this version took over, UTC.")
    interval_level: float = Field(description="Probability with which the interval holds the conversion rate.")
    trouble: str | None = Field(description="Why the version that should answer does not; null where it does.")


class Fault(Versioned):
    """Why there is no score."""

    error: str = Field(description="What is wrong with the request, in a sentence.")


def document(app: FastAPI, served: Served) -> dict[str, Any]:
    """The OpenAPI document: the app's routes, and the columns of the scorer that answers now."""
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = made["components"]["schemas"]
    schemas["Lead"] = lead_schema(served)
    for name, key, value in (
        ("OneLead", "lead", {"$ref": "#/components/schemas/Lead"}),
        ("SeveralLeads", "leads", {"type": "array", "items": {"$ref": "#/components/schemas/Lead"}}),
    ):
        schemas[name] = {
            "type": "object",
            "properties": {key: value},
            "required": [key],
            "additionalProperties": False,
            "example": {key: served.example if key == "lead" else [served.example]},
        }
    return made


def body(schema: str) -> dict[str, Any]:
    """`openapi_extra` of a route whose body is read by hand, of the schema with this name."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": True, "content": content}}


def lead_schema(served: Served) -> dict[str, Any]:
    """JSON schema of a lead as this scorer takes it."""
    spec, form = served.scorer.spec, served.form
    properties: dict[str, Any] = {
        "lead_id": {"type": ["string", "number", "null"], "description": "The lead's key."},
        "created_at": MOMENT | {"description": f"When the lead came in. {_read_as(spec['created_format'])}"},
        "as_of": MOMENT | {"description": f"The moment to score at; now where it is left out. {MOMENT['description']}"},
    }
    facts = {fact["name"]: fact["column"] for fact in spec["facts"]}
    for column in spec["profile"]:
        about = [column["criterion"], *([column["unit"]] if column["unit"] else [])]
        if column["name"] in facts:
            about.append(f"left out, it is found from {facts[column['name']]}")
        spelt = sorted(form.spellings[column["name"]] - {column["name"]})
        if spelt:
            about.append(f"or under the name {', '.join(spelt)}")
        kind = JSON_TYPES.get(column["declared"]["type"], TEXT)
        properties[column["name"]] = {"type": kind, "description": "; ".join(about)}
    for fact in spec["facts"]:
        properties[fact["column"]] = {"type": TEXT, "description": "Personal: only facts are taken from it."}
    for table, fields in HISTORY.items():
        if table in form.needed:
            record = {name: MOMENT if name.endswith("_at") else {"type": TEXT} for name in fields}
            properties[table] = {
                "type": ["array", "null"],
                "items": {"type": "object", "properties": record},
                "description": "Possibly empty; what was recorded after the as-of date does not count.",
            }
    only = [name for name in form.needed if form.spellings[name] == {name}]
    return {"type": "object", "properties": properties, "required": only, "example": served.example}


def page(served: Served, document: Mapping[str, Any], address: str) -> str:
    """The document and its example as one HTML page: no script, nothing fetched from elsewhere."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    lead = document["components"]["schemas"]["Lead"]
    asked = json.dumps({"lead": served.example}, indent=2, ensure_ascii=False)
    return environment.get_template("page.html.j2").render(
        document=document,
        served=served,
        address=address,
        asked=asked,
        answered=json.dumps(served.answer, indent=2, ensure_ascii=False),
        columns=[
            {
                "name": name,
                "needed": name in lead["required"],
                "types": column["type"],
                "about": column["description"],
                "fields": list(column.get("items", {}).get("properties", ())),
            }
            for name, column in lead["properties"].items()
        ],
        result=document["components"]["schemas"]["Result"]["properties"],
        level=served.scorer.interval.level,
    )


def _read_as(format: str | None) -> str:
    return f"In the format {format}." if format else str(MOMENT["description"])
