"""A step that says that it has started and waits until it may go on; then it publishes one version."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag

from stepwell import OutputFileDatasetConfig
from stepwell.operators import PythonScriptStepOperator

FOLDER = os.environ["E2E_FOLDER"]


def slow(name: str, retries: int = 0) -> None:
    @dag(dag_id=name, schedule=None, catchup=False)
    def slow_dag():
        out = OutputFileDatasetConfig(name="out").as_upload().register_on_complete(name=name)
        PythonScriptStepOperator(
            task_id="wait",
            script_name="wait.py",
            source_directory=str(Path(__file__).parent / "source"),
            arguments=[out, f"{FOLDER}/{name}"],
            outputs=[out],
            retries=retries,
            retry_delay=timedelta(seconds=1),
        )

    slow_dag()


slow("marked_failed")
slow("marked_success")
slow("cleared")
slow("task_killed", retries=1)
slow("worker_killed", retries=1)
slow("left_running")
