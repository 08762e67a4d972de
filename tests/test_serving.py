"""What is handed over, served by MLflow as it stands: the same numbers over HTTP as `evaluate` holds."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.nested_leads import nested

NUMBERS = ["score", "probability", "interval_low", "interval_high", "base", "expected_value", "value_score"]
ROWS = 50


@pytest.fixture
def address(demo_run, tmp_path):
    """The scorer's folder behind `mlflow models serve`, on loopback, without this project on the path."""
    # A copy: MLflow loads a plain folder in place, and leaves byte code in it.
    shutil.copytree(demo_run / "data/calibrate/scorer", tmp_path / "scorer")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "--model-uri",
        str(tmp_path / "scorer"),
    ]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with open(tmp_path / "log", "w") as log:
        # A session of its own, since the command starts further processes: all of them end together.
        server = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=tmp_path, env=environment, start_new_session=True
        )
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
        else:
            raise TimeoutError((tmp_path / "log").read_text())
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=30)


@pytest.mark.timeout(120)
def test_the_served_scorer_answers_with_the_numbers_of_evaluate(address, demo_run):
    scores = pd.read_parquet(demo_run / "data/evaluate/scores.parquet")
    expected = scores.sample(ROWS, random_state=7).reset_index(drop=True)
    body = json.dumps({"dataframe_records": nested(demo_run, expected[["lead_id", "as_of"]])}).encode()
    asked = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        got = pd.DataFrame(json.load(answer)["predictions"])
    for name in NUMBERS:
        np.testing.assert_allclose(got[name].astype("float64"), expected[name], atol=1e-9, rtol=0)
    for name in ("lead_id", "tier", "grade", "held_back", "reasons", "flags", "refused", "model_version"):
        assert got[name].tolist() == expected[name].tolist()
    assert pd.to_datetime(got["as_of"]).tolist() == expected["as_of"].tolist()
