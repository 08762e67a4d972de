"""The score ledger: every score that was given, with what the scorer was given, so that any can be rebuilt exactly.

Parquet files under `data/ledger/`, one per chunk of a call, each named by the hash of its content: a call that is
repeated after a kill writes the same files again, and no score stands twice. Personal columns never reach it: the
inputs are the features' columns, facts derived from personal ones, and the recorded history.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from pipeline.adapters import files
from pipeline.errors import ArtefactError, SourceError
from pipeline.leads.contract import CONVERTED_AT, CREATED_AT, LEAD_KEY, LOST_AT
from pipeline.paths import Workspace
from pipeline.scorer.model import ACTIVITY_FIELDS, CHANGE_FIELDS, OUTPUT

#: Columns of an entry. `scorer`: sha256 of the scorer's folder. `answer`: sha256 of everything the scorer returned.
#: `inputs`: the row as `predict` takes it, as JSON.
COLUMNS = [LEAD_KEY, "as_of", "score", "probability", "tier", "refused", "model_version", "scorer", "answer", "inputs"]


def folder(workspace: Workspace) -> Path:
    """Where the ledger lies."""
    return workspace.root / "data" / "ledger"


def record(
    workspace: Workspace,
    scorer: Any,
    sha256: str,
    scores: pd.DataFrame,
    rows: pd.DataFrame,
    activities: pd.DataFrame,
    changes: pd.DataFrame,
) -> Path | None:
    """Write the entries of some scores; returns their file, None where there are none.

    Args:
        scorer: the loaded scorer. `sha256`: of its folder.
        scores: as it returned them, in the order of `rows`. `rows`, `activities`, `changes`: what it was given.
    """
    if scores.empty:
        return None
    entries = scores[["lead_id", "as_of", "score", "probability", "tier", "refused", "model_version"]].assign(
        scorer=sha256, answer=answers(scores), inputs=_inputs(scorer.spec, rows, activities, changes)
    )
    entries = entries[COLUMNS].sort_values([LEAD_KEY, "as_of"], kind="stable", ignore_index=True)
    digest = hashlib.sha256("".join(entries["answer"] + entries["inputs"]).encode()).hexdigest()
    version = str(scores["model_version"].iloc[0])
    path = folder(workspace) / f"{version}-{digest[:16]}.parquet"
    if not path.is_file():
        files.write_table(path, entries)
    return path


def answers(scores: pd.DataFrame) -> list[str]:
    """sha256 of each row that a scorer returned: equal answers have equal ones, and no others."""
    table = scores[OUTPUT].assign(as_of=scores["as_of"].astype("str"))
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    return [hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest() for one in records]


def find(workspace: Workspace, lead: str, at: pd.Timestamp | None) -> pd.DataFrame:
    """The entries of a lead, newest as-of date first; those of one day where `at` is a midnight, of one moment else.

    Raises:
        SourceError: there is none; the message says which as-of dates there are.
    """
    place = folder(workspace)
    found = pd.DataFrame(columns=COLUMNS)
    if any(place.glob("*.parquet")):
        found = ds.dataset(place, format="parquet").to_table(filter=ds.field(LEAD_KEY) == lead).to_pandas()
    if found.empty:
        raise SourceError(
            f"{place} holds no score of lead {lead}. `leads score` keeps every score there, but with --no-ledger."
        )
    found = found.sort_values(["as_of", "model_version"], ascending=[False, True], ignore_index=True)
    if at is None:
        return found
    same = found["as_of"] == at
    if at == at.normalize():
        same = found["as_of"].dt.normalize() == at
    if not same.any():
        known = ", ".join(f"{moment:%Y-%m-%dT%H:%M}" for moment in found["as_of"].drop_duplicates())
        raise SourceError(f"lead {lead} was not scored as of {at:%Y-%m-%dT%H:%M}; the ledger holds {known}.")
    return found[same].reset_index(drop=True)


def rebuild(scorer: Any, entry: dict[str, Any]) -> pd.DataFrame:
    """The scorer's answer to the inputs of an entry, one row.

    Raises:
        ArtefactError: it is another one than was given: the entry or the scorer was changed.
    """
    scores: pd.DataFrame = scorer.predict(pd.DataFrame([json.loads(entry["inputs"])]))
    if answers(scores) != [entry["answer"]]:
        raise ArtefactError(
            f"the score of lead {entry[LEAD_KEY]} as of {entry['as_of']:%Y-%m-%dT%H:%M} cannot be rebuilt: "
            f"{entry['model_version']} gives another answer to the recorded inputs. The ledger or the scorer was "
            "changed."
        )
    return scores


def _inputs(spec: dict[str, Any], rows: pd.DataFrame, activities: pd.DataFrame, changes: pd.DataFrame) -> list[str]:
    """What the scorer reads of each row, as JSON. Of the activities those recorded by the as-of date; of the changes
    all: a later one tells what the value was before."""
    names = [CREATED_AT, CONVERTED_AT, LOST_AT, *(column["name"] for column in spec["profile"])]
    table = rows[[LEAD_KEY, "as_of", *(name for name in names if name in rows)]]
    keys = set(table[LEAD_KEY].dropna())
    happened = _by_lead(activities, ACTIVITY_FIELDS, keys)
    changed = _by_lead(changes, CHANGE_FIELDS, keys)
    found = []
    for one in table.astype(object).to_dict("records"):
        lead, as_of = one[LEAD_KEY], one["as_of"]
        own = [
            {name: _plain(value) for name, value in event.items()}
            for event in happened.get(lead, [])
            if not event["recorded_at"] > as_of
        ]
        row = {str(name): _plain(value) for name, value in one.items()}
        row |= {"activities": own, "changes": [_all_plain(change) for change in changed.get(lead, [])]}
        found.append(json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False))
    return found


def _by_lead(table: pd.DataFrame, fields: list[str], keys: set[Any]) -> dict[Any, list[dict[str, Any]]]:
    own = table[table[LEAD_KEY].isin(keys)]
    records = own[fields].astype(object).to_dict("records")
    found: dict[Any, list[dict[str, Any]]] = {}
    for lead, one in zip(own[LEAD_KEY], records, strict=True):
        found.setdefault(lead, []).append({str(name): value for name, value in one.items()})
    return found


def _all_plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """A value as JSON holds it: missing ones are null, moments are ISO 8601."""
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value
