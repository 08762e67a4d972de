"""Score JSON lines with a model of MLflow where this package is not installed; run by the Python of that environment.

    python -I clean.py STORE MODEL LEADS.jsonl OUT.jsonl CHUNK FORM

`CHUNK`: rows of a call, 0 for all in one. `FORM`: `json`, values as `json.loads` gives them; `typed`, times and columns
of one type in pandas' own types.
"""

import importlib.util
import json
import os
import sys

os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"

import mlflow
import pandas as pd


def main(store: str, model: str, leads: str, out: str, chunk: str, form: str) -> None:
    for name in ("pipeline", "sklearn", "pyarrow"):
        assert importlib.util.find_spec(name) is None, f"{name} is installed here"
    with open(leads, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    mlflow.set_tracking_uri(store)
    loaded = mlflow.pyfunc.load_model(model)
    size = int(chunk) or len(rows)
    with open(out, "w", encoding="utf-8") as file:
        for start in range(0, len(rows), size):
            scores = loaded.predict(framed(rows[start : start + size], form))
            for one in scores.to_dict("records"):
                file.write(json.dumps({name: plain(value) for name, value in one.items()}) + "\n")


def framed(rows: list, form: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    if form == "typed":
        for name in ("created_at", "as_of"):
            frame[name] = pd.to_datetime(frame[name], format="ISO8601")
        history = frame[["activities", "changes"]]
        frame = frame.drop(columns=list(history)).convert_dtypes().join(history)
    return frame


def plain(value: object) -> object:
    if pd.isna(value):
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
