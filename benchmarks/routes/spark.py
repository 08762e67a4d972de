"""Score JSON lines with `mlflow.pyfunc.spark_udf` on a local Spark; run by the Python of an environment of its own.

    python -I spark.py STORE MODEL LEADS.jsonl OUT.jsonl FORM

`FORM`: `text`, every value as text, as leads with values of several types in one column need it; `typed`, numbers,
booleans and timestamps in Spark's own types.
"""

import json
import os
import sys

os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
os.environ["PYSPARK_PYTHON"] = sys.executable

ACTIVITY = ["recorded_at", "happened_at", "kind"]
CHANGE = ["recorded_at", "column", "old_value", "new_value"]
NUMBERS = ["employees", "annual_revenue_eur"]
FLAGS = ["budget_confirmed"]
#: What comes back. MLflow takes no timestamp within a struct: `as_of` comes as text.
RESULT = (
    "struct<lead_id: string, as_of: string, score: double, probability: double, interval_low: double, "
    "interval_high: double, tier: string, base: double, fit_points: double, engagement_points: double, grade: string, "
    "expected_value: double, value_score: double, held_back: string, reasons: string, flags: string, refused: string, "
    "model_version: string>"
)
MOMENTS = ["created_at", "as_of", "converted_at", "lost_at"]


def main(store: str, model: str, leads: str, out: str, form: str) -> None:
    import mlflow
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "2g")
        .getOrCreate()
    )
    mlflow.set_tracking_uri(store)
    score = mlflow.pyfunc.spark_udf(spark, model, result_type=RESULT, env_manager="local")
    frame = spark.read.json(leads, schema=schema(leads, form)).repartition(4)
    if form == "typed":
        frame = joined(frame)
    scored = frame.select("place", score(F.struct(*(name for name in frame.columns if name != "place"))).alias("s"))
    with open(out, "w", encoding="utf-8") as file:
        for row in scored.select("place", "s.*").orderBy("place").toLocalIterator():
            one = row.asDict()
            del one["place"]
            file.write(json.dumps(one) + "\n")
    spark.stop()


def joined(frame):
    """The history taken apart into flat tables, and put together again as a warehouse has to."""
    from pyspark.sql import functions as F

    for table, fields in (("activities", ACTIVITY), ("changes", CHANGE)):
        flat = frame.select("place", F.explode(table).alias("one")).select("place", "one.*")
        nested = flat.groupBy("place").agg(F.sort_array(F.collect_list(F.struct(*fields))).alias(table))
        frame = frame.drop(table).join(nested, "place", "left")
    return frame


def schema(leads: str, form: str) -> str:
    """Spark's schema of the lines: their columns, and their place in the file."""
    names: dict = {}
    with open(leads, encoding="utf-8") as file:
        for line in file:
            names |= dict.fromkeys(json.loads(line))
    typed = form == "typed"
    kinds = dict.fromkeys(names, "string") | {"place": "long"}
    moment = "timestamp" if typed else "string"
    if typed:
        kinds |= (
            dict.fromkeys(NUMBERS, "double") | dict.fromkeys(FLAGS, "boolean") | dict.fromkeys(MOMENTS, "timestamp")
        )
    kinds["activities"] = f"array<struct<kind: string, happened_at: {moment}, recorded_at: {moment}>>"
    kinds["changes"] = f"array<struct<column: string, recorded_at: {moment}, old_value: string, new_value: string>>"
    return ", ".join(f"`{name}` {kinds[name]}" for name in names)


if __name__ == "__main__":
    main(*sys.argv[1:])
