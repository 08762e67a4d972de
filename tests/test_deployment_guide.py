"""docs/deployment.md says what the code does: its table of fields, its flags, and the blocks that others copy."""

import ast
import re
from pathlib import Path

import pytest

from benchmarks.routes import spark
from pipeline.adapters.model_folder import DOUBLES
from pipeline.cli import app
from pipeline.scorer.model import OUTPUT

GUIDE = (Path(__file__).parents[1] / "docs" / "deployment.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)


def test_every_field_is_explained_in_its_place_with_its_type():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|", GUIDE.partition("## What comes out")[2], re.MULTILINE)
    assert [name for name, _ in rows] == OUTPUT
    assert [name for name, kind in rows if kind == "number"] == list(DOUBLES)


def test_python_is_python_and_asks_spark_for_what_the_benchmark_asks_for():
    trees = [ast.parse(code) for kind, code in BLOCKS if kind == "python"]
    values = [
        ast.literal_eval(one.value)
        for tree in trees
        for one in tree.body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "RESULT"
    ]
    assert values == [spark.RESULT]
    assert [field.split(":")[0] for field in spark.RESULT[7:-1].split(", ")] == OUTPUT
    told = GUIDE.partition("## On Spark")[2]
    assert str(spark.ACTIVITY).replace("'", '"') in told and str(spark.CHANGE).replace("'", '"') in told


@pytest.mark.parametrize("line", [line for kind, code in BLOCKS if kind == "sh" for line in code.splitlines()])
def test_every_command_and_option_of_ours_exists(line):
    words = line.partition("#")[0].split()
    if words[:1] != ["leads"]:
        return
    known = {one.name or one.callback.__name__: one.callback for one in app.registered_commands}
    callback = known[words[1]]
    options = {word[2:].replace("-", "_") for word in words if word.startswith("--")}
    assert options <= callback.__annotations__.keys() | {"to"}
