"""Be the driver of a search whose workers run on executors: ``automl_on_spark.py MASTER WORKERS REQUEST``."""

import sys

from pyspark.sql import SparkSession

from stepwell.payload.automl import on_spark

master, workers, request = sys.argv[1:]
spark = (
    SparkSession.builder.master(master)
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.executor.memory", "512m")
    .config("spark.executor.cores", "1")
    .config("spark.cores.max", workers)
    .getOrCreate()
)
code = on_spark.search([request], spark.sparkContext, "automl-bench")
spark.stop()
sys.exit(code)
