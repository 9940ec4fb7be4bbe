"""Two datasets are published; whoever is scheduled on both starts by itself."""

from __future__ import annotations

import os
import time
from pathlib import Path

from airflow.sdk import dag, task

from stepwell import Dataset, OutputFileDatasetConfig, Workspace
from stepwell.assets import dataset_asset
from stepwell.operators import PythonScriptStepOperator

SOURCE = str(Path(__file__).parent / "source")
HOLD = Path(os.environ["E2E_FOLDER"], "hold")

ws = Workspace.from_config()


@dag(schedule=None, catchup=False)
def publish_pair():
    for side in ("left", "right"):
        out = OutputFileDatasetConfig(name="out").as_upload().register_on_complete(name=f"e2e_{side}")
        PythonScriptStepOperator(
            task_id=side,
            script_name="write.py",
            source_directory=SOURCE,
            arguments=[out, side, "{{ dag_run.run_id }}"],
            outputs=[out],
        )


@dag(schedule=dataset_asset("e2e_left") & dataset_asset("e2e_right"), catchup=False)
def consume_pair():
    @task
    def hold() -> None:
        """Wait while the test says so: until then, newer versions come."""
        while HOLD.exists():
            time.sleep(0.1)

    left = Dataset.get_by_name(ws, "e2e_left").as_named_input("left").as_download()
    right = Dataset.get_by_name(ws, "e2e_right").as_named_input("right").as_download()
    both = OutputFileDatasetConfig(name="both").as_upload()
    join = PythonScriptStepOperator(
        task_id="join",
        script_name="join.py",
        source_directory=SOURCE,
        arguments=[left, right, both],
        inputs=[left, right],
        outputs=[both],
    )
    hold() >> join


publish_pair()
consume_pair()
