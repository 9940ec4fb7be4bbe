"""Write the rows that the gate judges: ``gate_rows.py ROWS FOLDER``. Nine columns, like passengers."""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

rows, folder = int(sys.argv[1]), sys.argv[2]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.driver.memory", "3g")
    .getOrCreate()
)


def pick(seed, *values):
    """Return one of *values*, drawn for each row."""
    return F.element_at(F.array(*map(F.lit, values)), (F.floor(F.rand(seed) * len(values)) + 1).cast("int"))


spark.range(rows).select(
    F.col("id").alias("passenger_id"),
    pick(1, 1, 2, 3).alias("pclass"),
    F.when(F.rand(2) < 0.65, "male").otherwise("female").alias("sex"),
    F.when(F.rand(3) < 0.8, F.round(F.abs(F.randn(4) * 14 + 30), 1)).alias("age"),
    F.floor(F.rand(5) * 6).cast("int").alias("sibsp"),
    (F.rand(6) * 512).alias("fare"),
    pick(7, "S", "C", "Q").alias("embarked"),
    F.concat(F.lit("A/"), F.floor(F.rand(8) * 1e6).cast("string")).alias("ticket"),
    (F.rand(9) < 0.38).cast("int").alias("survived"),
).repartition(4).write.mode("overwrite").parquet(folder)
spark.stop()
