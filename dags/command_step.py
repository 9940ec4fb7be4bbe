"""Any program as a step: no Python script, no shell unless you ask for one.

    airflow dags test command_step

The first command is a list, with an input and an output among its words; it names ``sh`` itself because it redirects.
The second one is one string, split into words as a shell would and given to no shell. Its input stands at a path of its
own choice, ``women/``, below the step's working directory.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import dag, task

from stepwell import Dataset, OutputFileDatasetConfig, Workspace
from stepwell.operators import CommandStepOperator

INCLUDE = Path(os.environ.get("STEPWELL_INCLUDE", Path(__file__).parents[1] / "include"))

ws = Workspace.from_config()
datastore = ws.get_default_datastore()
passengers = Dataset.File.from_files((datastore, "examples/Titanic.csv")).as_named_input("passengers").as_download()
women = OutputFileDatasetConfig(name="women").register_on_complete(name="titanic_women")


@dag(schedule=None, catchup=False, tags=["stepwell", "example"], doc_md=__doc__)
def command_step():
    """Select lines, count lines."""

    @task
    def upload() -> None:
        """Put the passenger list into the datastore."""
        datastore.upload_files([INCLUDE / "data" / "Titanic.csv"], target_path="examples", overwrite=True)

    select = CommandStepOperator(
        task_id="select",
        command=["sh", "-c", 'grep ",female," "$1" > "$2/women.csv"', "select", passengers, women],
        inputs=[passengers],
        outputs=[women],
    )
    CommandStepOperator(
        task_id="count",
        command="wc --lines women/women.csv",
        inputs=[women.as_input("lines").as_download("women")],
    )
    upload() >> select


command_step()
