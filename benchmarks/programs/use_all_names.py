"""Touch every name that a DAG file can import: ``stepwell`` and ``stepwell.operators`` load each on first use."""

from airflow.sdk import dag, task  # noqa: F401

import stepwell
import stepwell.operators

for module in (stepwell, stepwell.operators):
    for name in module.__all__:
        getattr(module, name)
