"""Make a session, and print when it stands, in seconds since the epoch."""

import json
import time

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print(json.dumps(time.time()), flush=True)
spark.stop()
