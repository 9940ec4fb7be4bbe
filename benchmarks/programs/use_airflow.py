"""What every DAG file imports."""

from airflow.sdk import dag, task  # noqa: F401
