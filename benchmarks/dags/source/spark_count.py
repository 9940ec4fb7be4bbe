"""A small Spark job: make a million rows, group them, write the groups: ``spark_count.py FOLDER``."""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
rows = spark.range(1_000_000).select((F.col("id") % 97).alias("key"), F.rand(1).alias("value"))
groups = rows.groupBy("key").agg(F.count("*").alias("rows"), F.avg("value").alias("mean"))
groups.coalesce(1).write.mode("append").parquet(sys.argv[1])
print(f"{spark.read.parquet(sys.argv[1]).count()} groups")
