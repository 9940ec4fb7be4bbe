"""Prepare the passenger list on Spark: types, missing values, derived columns.

The passengers come twice, as in the pipelines this example stands for: as a tabular dataset by its id, and as a file by
its path. The table is what is prepared; the file's lines are counted, to see that both are the same data.
"""

import argparse

from azureml.core import Dataset, Run
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--table", required=True, help="id of the dataset of passengers")
parser.add_argument("--file", required=True, help="path of the file of passengers, as Spark reads it")
parser.add_argument("--prepared", required=True, help="folder to write the prepared passengers to")
args = parser.parse_args()

run = Run.get_context()
spark = SparkSession.builder.getOrCreate()

passengers = Dataset.get_by_id(run.experiment.workspace, id=args.table).to_spark_dataframe()
rows = passengers.count()
in_file = spark.read.option("header", "true").csv(args.file).count()
print(f"{rows} passengers in the table, {in_file} in the file {args.file}")
if rows != in_file:
    raise SystemExit(f"The table has {rows} rows and the file {in_file}")

title = F.regexp_extract("Name", r",\s*([^.]+)\.", 1)
known_titles = ["Mr", "Mrs", "Miss", "Master"]

typed = passengers.select(
    F.col("PassengerId").cast("int"),
    F.col("Survived").cast("int"),
    F.col("Pclass").cast("int"),
    F.when(title.isin(known_titles), title).otherwise("Rare").alias("Title"),
    F.lower("Sex").alias("Sex"),
    F.col("Age").cast("double"),
    F.col("SibSp").cast("int"),
    F.col("Parch").cast("int"),
    F.col("Fare").cast("double"),
    F.when(F.col("Embarked").isin("S", "C", "Q"), F.col("Embarked")).alias("Embarked"),
    F.col("Cabin").isNotNull().cast("int").alias("HasCabin"),
)

# A missing age becomes the median of the passengers with the same title and class, a missing fare that of the class.
age = typed.groupBy("Title", "Pclass").agg(F.percentile_approx("Age", 0.5).alias("TypicalAge"))
fare = typed.groupBy("Pclass").agg(F.percentile_approx("Fare", 0.5).alias("TypicalFare"))
overall_age = typed.agg(F.percentile_approx("Age", 0.5)).first()[0]
port = typed.where("Embarked is not null").groupBy("Embarked").count().orderBy(F.desc("count")).first()[0]

prepared = (
    typed.join(F.broadcast(age), ["Title", "Pclass"], "left")
    .join(F.broadcast(fare), ["Pclass"], "left")
    .withColumn("AgeWasMissing", F.col("Age").isNull().cast("int"))
    .withColumn("Age", F.coalesce("Age", "TypicalAge", F.lit(overall_age)))
    .withColumn("Fare", F.coalesce("Fare", "TypicalFare"))
    .fillna({"Embarked": port})
    .withColumn("FamilySize", F.col("SibSp") + F.col("Parch") + 1)
    .withColumn("IsAlone", (F.col("FamilySize") == 1).cast("int"))
    .withColumn("FarePerPerson", F.round(F.col("Fare") / F.col("FamilySize"), 4))
    .drop("TypicalAge", "TypicalFare")
    .orderBy("PassengerId")
)

run.log("rows", rows)
run.log("ages_filled", prepared.agg(F.sum("AgeWasMissing")).first()[0])
prepared.coalesce(1).write.option("header", "true").mode("append").csv(args.prepared)
prepared.show(5)
