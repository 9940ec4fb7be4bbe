"""Two Python steps on this machine: the smallest pipeline that passes a registered dataset on.

    airflow dags test python_step_local

The first step gets a file by download, and its path twice: as an argument and in the environment variable
``passengers``. It writes a table that is registered as ``survival_by_class``. The second one reads that table; handing
the output over draws the edge. A plain task at the end shows what travels between them: a small dict, no data.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import dag, task

from stepwell import Dataset, Environment, OutputFileDatasetConfig, Workspace
from stepwell.operators import PythonScriptStepOperator

INCLUDE = Path(os.environ.get("STEPWELL_INCLUDE", Path(__file__).parents[1] / "include"))

ws = Workspace.from_config()
datastore = ws.get_default_datastore()
passengers = Dataset.File.from_files(path=[(datastore, "examples/Titanic.csv")]).as_named_input("passengers")
table = OutputFileDatasetConfig(name="table").as_upload().register_on_complete(name="survival_by_class")

# A specification of v1's days. Stepwell brings the names of azureml itself: the package is left out, with a log line.
environment = Environment(name="survival")
environment.python.conda_dependencies.add_pip_package("azureml-core>=1.20.0")


@dag(schedule=None, catchup=False, tags=["stepwell", "example"], doc_md=__doc__)
def python_step_local():
    """Upload, count, name the best."""

    @task
    def upload() -> None:
        """Put the passenger list into the datastore."""
        datastore.upload_files([INCLUDE / "data" / "Titanic.csv"], target_path="examples", overwrite=True)

    step1_input = passengers.as_download()
    count = PythonScriptStepOperator(
        task_id="count",
        script_name="count.py",
        source_directory=str(INCLUDE / "survival"),
        arguments=[step1_input, table],
        inputs=[step1_input],
        outputs=[table],
        compute_target="local",
        environment=environment,
        environment_variables={"GREETING": "Run of {{ dag_run.run_id }}"},
    )

    step2_input = table.as_input("table").as_download()
    PythonScriptStepOperator(
        task_id="best",
        script_name="best.py",
        source_directory=str(INCLUDE / "survival"),
        arguments=[step2_input],
        inputs=[step2_input],
        environment=environment,
    )

    @task
    def show(reference: dict) -> str:
        """Print the reference that the first step has put on XCom."""
        said = f"{reference['dataset']} version {reference['version']} at {reference['uri']}"
        print(said)
        return said

    upload() >> count
    show(count.output["table"])


python_step_local()
