"""Prepare the census data on Spark: what is unknown is missing, what is written twice counts once."""

import argparse

from azureml.core import Run
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--census", required=True, help="path of the census file, as Spark reads it")
parser.add_argument("--prepared", required=True, help="folder to write the prepared people to")
args = parser.parse_args()

run = Run.get_context()
spark = SparkSession.builder.getOrCreate()

census = spark.read.parquet(args.census)
rows = census.count()

# The census writes "?" for what it does not know.
texts = {field.name for field in census.schema.fields if isinstance(field.dataType, StringType)}
known = census.select(
    *(F.nullif(F.trim(name), F.lit("?")).alias(name) if name in texts else name for name in census.columns)
)
# Someone with the same weight and the same answers is the same person. `fnlwgt` itself says how many people a row
# stands for, nothing about their income.
prepared = known.dropDuplicates().drop("fnlwgt").cache()

left = prepared.count()
unknown = prepared.select(*(F.count_if(F.col(name).isNull()).alias(name) for name in sorted(texts))).first().asDict()
run.log("rows", left)
run.log("twice", rows - left)
run.log("unknown", sum(unknown.values()))
print(f"{rows} people, {rows - left} of them twice; unknown: { {name: n for name, n in unknown.items() if n} }")

# In an order that means nothing, but is the same every time.
prepared.orderBy(F.xxhash64(*prepared.columns)).coalesce(1).write.mode("append").parquet(args.prepared)
