"""The score ledger: every score that was given, with what the scorer was given, so that any can be rebuilt exactly.

Parquet files under `data/ledger/`, one per chunk of a call, each named by the hash of its content: a call that is
repeated after a kill writes the same files again, and no score stands twice. Personal columns never reach it: the
inputs are the features' columns, facts derived from personal ones, and the recorded history. Nor does a word that
training never saw, where the score is the same without it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.adapters import files
from pipeline.errors import ArtefactError, SourceError
from pipeline.leads.contract import CONVERTED_AT, CREATED_AT, LEAD_KEY, LOST_AT
from pipeline.paths import Workspace
from pipeline.scorer.features import pairs
from pipeline.scorer.model import ACTIVITY_FIELDS, CHANGE_FIELDS, OUTPUT

#: Stands in an entry for a word that training never saw, and that the contract does not declare.
UNSEEN = "(unseen)"

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
    words = _words(scorer)
    doubtful = scores["flags"].str.contains("unseen_category:", regex=False) | (scores["refused"] != "")
    for source, known in words.items():
        mine = changes[changes["column"] == source]
        strange = mine[["old_value", "new_value"]].apply(lambda value, known=known: value.notna() & ~value.isin(known))
        doubtful |= scores[LEAD_KEY].isin(mine.loc[strange.any(axis=1), LEAD_KEY])
    entries.loc[doubtful, "inputs"] = _unnamed(scorer, entries[doubtful], words)
    entries = entries[COLUMNS].sort_values([LEAD_KEY, "as_of"], kind="stable", ignore_index=True)
    digest = hashlib.sha256("".join([sha256, *(entries["answer"] + entries["inputs"])]).encode()).hexdigest()
    version = str(scores["model_version"].iloc[0])
    path = folder(workspace) / f"{version}-{digest[:16]}.parquet"
    if not path.is_file():
        files.write_table(path, entries)
    return path


def answers(scores: pd.DataFrame) -> list[str]:
    """sha256 of each row that a scorer returned: equal answers have equal ones, and no others, whatever rows stand
    beside them."""
    texts = _objects({name: _in_json(scores[name]) for name in OUTPUT}, len(scores))
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts.to_pylist()]


def find(workspace: Workspace, lead: str, at: pd.Timestamp | None) -> pd.DataFrame:
    """The entries of a lead, newest as-of date first; those of one day where `at` is a midnight, of one moment else.

    The same answer to the same inputs, given among other leads too, is one entry.

    Raises:
        SourceError: there is none; the message says which as-of dates there are.
    """
    place = folder(workspace)
    found = pd.DataFrame(columns=COLUMNS)
    if any(place.glob("*.parquet")):
        try:
            found = ds.dataset(place, format="parquet").to_table(filter=ds.field(LEAD_KEY) == lead).to_pandas()
        except pa.ArrowInvalid as fault:
            raise ArtefactError(f"{place} holds a file that is none of the ledger's: {fault}.") from None
    if found.empty:
        raise SourceError(
            f"{place} holds no score of lead {lead}. `leads score` keeps every score there, but with --no-ledger."
        )
    found = found.drop_duplicates(["as_of", "scorer", "answer", "inputs"])
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
    known = [CREATED_AT, CONVERTED_AT, LOST_AT, *(column["name"] for column in spec["profile"])]
    fields = {name: _in_json(rows[name]) for name in (LEAD_KEY, "as_of", *known) if name in rows}
    fields["activities"] = _histories(rows, activities, ACTIVITY_FIELDS, by_then=True)
    fields["changes"] = _histories(rows, changes, CHANGE_FIELDS, by_then=False)
    return cast("list[str]", _objects(fields, len(rows)).to_pylist())


def _words(scorer: Any) -> dict[str, set[str]]:
    """Per source column of categories the words that the contract declares or that training saw."""
    return {
        column["source"]: {*(column["declared"]["values"] or ()), *scorer.margin.encoder.levels.get(column["name"], ())}
        for column in scorer.spec["profile"]
        if column["declared"]["type"] == "category"
    }


def _unnamed(scorer: Any, entries: pd.DataFrame, words: dict[str, set[str]]) -> list[str]:
    """The inputs of entries without words that nobody knows, where the answer does not depend on them: one that stands
    in the wrong column may be anybody's name."""
    sources = {column["name"]: column["source"] for column in scorer.spec["profile"]}

    def hidden(value: Any, source: str | None) -> Any:
        return UNSEEN if source in words and isinstance(value, str) and value not in words[source] else value

    told = []
    for text in entries["inputs"]:
        one = {name: hidden(value, sources.get(name)) for name, value in json.loads(text).items()}
        for change in one["changes"]:
            change |= {key: hidden(change[key], change["column"]) for key in ("old_value", "new_value")}
        told.append(one)
    same = answers(scorer.predict(pd.DataFrame(told))) if told else []
    return [
        json.dumps(one, sort_keys=True, ensure_ascii=False) if answer == expected else text
        for one, answer, expected, text in zip(told, same, entries["answer"], entries["inputs"], strict=True)
    ]


def _histories(rows: pd.DataFrame, table: pd.DataFrame, fields: list[str], *, by_then: bool) -> pa.Array:
    """Of every row the records of its lead as a JSON list; with `by_then` without those recorded after the as-of
    date."""
    lead, words = pd.factorize(rows[LEAD_KEY])
    owner = pd.Index(words).get_indexer(pd.Index(table[LEAD_KEY]))
    own = np.argsort(owner, kind="stable")[np.count_nonzero(owner < 0) :]
    table = table.iloc[own]
    # A row without a key has no history.
    row, event = pairs(np.where(lead < 0, len(words), lead), owner[own], len(words) + 1)
    if by_then:
        recorded, as_of = table["recorded_at"].to_numpy(), rows["as_of"].to_numpy()
        then = ~(recorded[event] > as_of[row])
        row, event = row[then], event[then]
    texts = _objects({name: _in_json(table[name]) for name in fields}, len(table)).take(pa.array(event))
    starts = np.searchsorted(row, np.arange(len(rows) + 1))
    lists = pa.ListArray.from_arrays(pa.array(starts, type=pa.int32()), texts)
    return _joined(["[", pc.binary_join(lists, pa.scalar(", ", pa.large_string())), "]"])


def _objects(fields: dict[str, pa.Array], size: int) -> pa.Array:
    """JSON objects, one per row, with their keys in order: as `json.dumps` writes them."""
    parts: list[Any] = []
    for number, name in enumerate(sorted(fields)):
        parts += [f"{', ' if number else '{'}{json.dumps(name, ensure_ascii=False)}: ", fields[name]]
    return _joined([*parts, "}"]) if size else pa.array([], type=pa.large_string())


def _joined(parts: list[Any]) -> pa.Array:
    """Texts side by side, some of them the same for every row."""
    typed = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in [*parts, ""]]
    return pc.binary_join_element_wise(*typed)


def _in_json(values: pd.Series) -> pa.Array:
    """Every value as JSON holds it: missing ones are null, moments are ISO 8601, with fractions where they have any."""
    if values.dtype.kind == "M":
        moment = pa.array(values.to_numpy(dtype="datetime64[us]"))
        second = moment.cast(pa.timestamp("s"), safe=False)
        text = second.cast(pa.large_string())
        whole = pc.equal(second.cast(moment.type), moment)
        if not pc.all(whole).as_py():
            text = pc.if_else(whole, text, moment.cast(pa.large_string()))
        return _joined(['"', pc.binary_replace_slice(text, 10, 11, "T"), '"']).fill_null("null")
    if values.dtype.kind == "f":
        # By their bits: -0.0 and 0.0 are equal, and written otherwise.
        code, bits = pd.factorize(values.to_numpy(dtype="float64").view("int64"))
        distinct = bits.view("float64")
        if np.isinf(distinct).any():
            raise ValueError("JSON holds no infinite number")
        words = ["null" if number != number else repr(number) for number in distinct.tolist()]
    else:
        code, others = pd.factorize(values)
        words = [json.dumps(_plain(value), ensure_ascii=False) for value in others]
    return pa.array([*words, "null"], type=pa.large_string()).take(pa.array(code % (len(words) + 1)))


def _plain(value: Any) -> Any:
    """A value as `json` takes it."""
    return value.item() if isinstance(value, np.generic) else value
