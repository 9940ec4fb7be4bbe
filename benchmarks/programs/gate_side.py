"""Judge rows once, and once more, and print the seconds of both: ``gate_side.py hand|stepwell|gx FOLDER``.

Spark is started and has counted the rows, and libraries are imported, before the clock runs: so it is with a gate at
the end of a step that has written these rows. *hand* is one aggregation with the same checks, written by hand.
"""

import json
import logging
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

logging.disable(logging.INFO)
side, folder = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.driver.memory", "3g")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
rows = spark.read.parquet(folder).count()


def check(kind, **kwargs):
    """Return an expectation as a suite file has it."""
    return {"type": f"expect_{kind}", "kwargs": kwargs}


EXPECTATIONS = [
    check("table_row_count_to_be_between", min_value=1, max_value=10_000_000),
    check("column_to_exist", column="age"),
    check("column_values_to_not_be_null", column="passenger_id"),
    check("column_values_to_not_be_null", column="age", mostly=0.7),
    check("column_values_to_be_in_set", column="sex", value_set=["male", "female"]),
    check("column_values_to_be_in_set", column="pclass", value_set=[1, 2, 3]),
    check("column_values_to_be_in_set", column="embarked", value_set=["S", "C", "Q"]),
    check("column_values_to_be_between", column="fare", min_value=0, max_value=512),
    check("column_values_to_be_between", column="age", min_value=0, max_value=110),
    check("column_mean_to_be_between", column="survived", min_value=0.3, max_value=0.5),
    check("column_max_to_be_between", column="sibsp", min_value=0, max_value=8),
    check("column_values_to_match_regex", column="ticket", regex="^A/[0-9]+$"),
    check("column_values_to_be_of_type", column="fare", type_="DoubleType"),
]
SUITE = {"name": "passengers", "expectations": EXPECTATIONS}


def hand():
    """Aggregate once."""

    def bad(condition):
        return F.sum((~condition).cast("int"))

    frame = spark.read.parquet(folder)
    found = frame.agg(
        F.count("*"),
        *map(F.count, frame.columns),
        bad(F.col("sex").isin("male", "female")),
        bad(F.col("pclass").isin(1, 2, 3)),
        bad(F.col("embarked").isin("S", "C", "Q")),
        bad(F.col("fare").between(0, 512)),
        bad(F.col("age").between(0, 110)),
        bad(F.col("ticket").rlike("^A/[0-9]+$")),
        F.avg("survived"),
        F.max("sibsp"),
    ).collect()[0]
    assert found[0] == rows
    assert not any(found[10:16]), found


def stepwell_gate():
    """Judge as a step's gate does, from the folder to the verdict."""
    from stepwell.payload import gate

    asked = {"name": "passengers", "engine": "spark", "location": f"file://{folder}", "suite": SUITE}
    result = gate.run_gate({**asked, "read": {"format": "parquet"}, "plan": [], "samples": False}, spark)
    assert (result["verdict"], result["rows"], result["statistics"]["passed"]) == ("passed", rows, 13), result


def gx_default():
    """Judge with Great Expectations as its documentation shows it, nothing set."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    source = context.data_sources.add_spark(f"source {time.time()}")
    whole = source.add_dataframe_asset("asset").add_batch_definition_whole_dataframe("whole")
    batch = whole.get_batch({"dataframe": spark.read.parquet(folder)})
    result = batch.validate(gx.ExpectationSuite(**SUITE))
    assert result.success, result


def warm_imports():
    """Import what the timed part imports."""
    if side != "hand":
        import great_expectations  # noqa: F401
    if side == "stepwell":
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "providers"))
        from stepwell.payload import gate, reading, sources, spark_reading, verdict, wording  # noqa: F401


def main():
    """Time both."""
    warm_imports()
    judge = {"hand": hand, "stepwell": stepwell_gate, "gx": gx_default}[side]
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        judge()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"first": seconds[0], "second": seconds[1]}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
