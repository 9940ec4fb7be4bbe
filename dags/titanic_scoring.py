"""Score the passengers with the model, whenever both have a new version.

Airflow starts this DAG by itself when ``registered_dataset`` and ``titanic_model`` have been published; the step then
takes the versions that the events name. ``airflow dags test titanic_scoring`` takes the latest versions.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import dag

from stepwell import CondaDependencies, Dataset, Environment, OutputFileDatasetConfig, Workspace
from stepwell.assets import dataset_asset
from stepwell.operators import PythonScriptStepOperator

INCLUDE = Path(os.environ.get("STEPWELL_INCLUDE", Path(__file__).parents[1] / "include"))

ws = Workspace.from_config()
passengers = Dataset.get_by_name(ws, "registered_dataset").as_named_input("passengers").as_download()
model = Dataset.get_by_name(ws, "titanic_model").as_named_input("model").as_download()
scores = OutputFileDatasetConfig(name="scores").as_upload().register_on_complete(name="titanic_scores")

environment = Environment(name="titanic-score")
environment.python.conda_dependencies = CondaDependencies(INCLUDE / "score" / "conda_dependencies.yml")


@dag(
    schedule=dataset_asset("registered_dataset") & dataset_asset("titanic_model"),
    catchup=False,
    tags=["stepwell", "example"],
    doc_md=__doc__,
)
def titanic_scoring():
    """One step: everything it needs is registered."""
    PythonScriptStepOperator(
        task_id="score",
        script_name="score.py",
        source_directory=str(INCLUDE / "score"),
        arguments=["--passengers", passengers, "--model", model, "--scores", scores],
        inputs=[passengers, model],
        outputs=[scores],
        compute_target="cpucluster",
        environment=environment,
    )


titanic_scoring()
