"""Write numbers and a label that depends on them: ``automl_numbers.py ROWS COLUMNS FILE``."""

import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

rows, columns, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
random, names = np.random.default_rng(1), [f"n{number:02}" for number in range(columns)]
weights = random.normal(size=columns) / np.sqrt(columns)
schema = pa.schema([*((name, pa.float64()) for name in names), ("label", pa.int64())])
with pq.ParquetWriter(file + ".part", schema, compression="none", use_dictionary=False) as writer:
    for first in range(0, rows, 100_000):
        X = random.normal(size=(min(100_000, rows - first), columns))
        label = X @ weights + 0.5 * X[:, 0] * X[:, 1] + random.normal(size=len(X)) > 0
        arrays = [*(pa.array(X[:, number]) for number in range(columns)), pa.array(label.astype(np.int64))]
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
os.replace(file + ".part", file)
