"""Prepare on Spark, gate, search for the best model, score people it has not seen: AutoML on the census of 1994.

    airflow dags test automl_pipeline

The search is a step like the others. It runs on the Spark pool that prepares the data; with ``SEARCH_ON = "local"`` it
runs as two processes of this machine instead, and nothing else changes.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import dag, task

from stepwell import (
    AutoMLConfig,
    CondaDependencies,
    Dataset,
    Environment,
    HDFSOutputDatasetConfig,
    LinkedService,
    OutputFileDatasetConfig,
    SynapseCompute,
    SynapseWorkspaceLinkedServiceConfiguration,
    Workspace,
)
from stepwell.operators import (
    AttachComputeTargetOperator,
    AutoMLStepOperator,
    PythonScriptStepOperator,
    SynapseSparkStepOperator,
)

INCLUDE = Path(os.environ.get("STEPWELL_INCLUDE", Path(__file__).parents[1] / "include"))
POOL = "link1-spark01"
SEARCH_ON = POOL

ws = Workspace.from_config()
datastore = ws.get_default_datastore()

census = Dataset.File.from_files(path=[(datastore, "adult_train.parquet")]).as_named_input("census").as_hdfs()
people = Dataset.File.from_files(path=[(datastore, "adult_test.parquet")]).as_named_input("people").as_download()
prepared = (
    HDFSOutputDatasetConfig(name="prepared")
    .read_parquet_files()
    .register_on_complete(name="census")
    .validate_with(INCLUDE / "expectations" / "census.json", on_failure="fail")
)
scores = OutputFileDatasetConfig(name="scores").read_parquet_files().register_on_complete(name="census_scores")

scoring = Environment(name="census-score")
scoring.python.conda_dependencies = CondaDependencies(INCLUDE / "census" / "conda_dependencies.yml")
scoring.environment_variables["MLFLOW_DISABLE_TELEMETRY"] = "true"


def spark_pool():
    """Say which pool to attach; called when the task runs, because it looks the linked service up."""
    linked_service = LinkedService.get(ws, "synapselink1")
    return SynapseCompute.attach_configuration(linked_service=linked_service, type="SynapseSpark", pool_name="spark01")


@dag(schedule=None, catchup=False, tags=["stepwell", "example"], doc_md=__doc__)
def automl_pipeline():
    """Put the steps in order; the edges between steps are drawn by the data that one hands to the other."""

    @task
    def upload() -> str:
        """Put both files where the steps find them."""
        files = [INCLUDE / "data" / "adult_train.parquet", INCLUDE / "data" / "adult_test.parquet"]
        datastore.upload_files(files, target_path="", overwrite=True)
        return datastore.name

    @task
    def link() -> str:
        """Link a Spark service, unless it is linked already: here Spark on this machine."""
        if "synapselink1" not in [service.name for service in LinkedService.list(ws)]:
            here = SynapseWorkspaceLinkedServiceConfiguration(name="synapselink1", master="local[*]")
            LinkedService.register(ws, "synapselink1", here)
        return "synapselink1"

    attach = AttachComputeTargetOperator(task_id="attach-spark", name=POOL, attach_configuration=spark_pool)

    prepare = SynapseSparkStepOperator(
        task_id="prepare",
        file="prepare.py",
        source_directory=str(INCLUDE / "census"),
        arguments=["--census", census, "--prepared", prepared],
        inputs=[census],
        outputs=[prepared],
        compute_target=POOL,
        driver_memory="1g",
        driver_cores=2,
        executor_memory="1g",
        executor_cores=2,
        num_executors=1,
    )

    search = AutoMLStepOperator(
        task_id="automl",
        automl_config=AutoMLConfig(
            task="classification",
            primary_metric="AUC_weighted",
            label_column_name="income",
            iterations=40,
            max_concurrent_iterations=2,
            experiment_timeout_hours=0.02,
            enable_early_stopping=True,
        ),
        inputs=[prepared.as_input("training_data")],
        model_output=OutputFileDatasetConfig(name="model").register_on_complete(name="census_model"),
        leaderboard_output=OutputFileDatasetConfig(name="leaderboard").register_on_complete(name="census_leaderboard"),
        compute_target=SEARCH_ON,
    )

    model = search.model.as_input("model").as_download()
    score = PythonScriptStepOperator(
        task_id="score",
        script_name="score.py",
        source_directory=str(INCLUDE / "census"),
        arguments=["--people", people, "--model", model, "--scores", scores],
        inputs=[people, model],
        outputs=[scores],
        compute_target="local",
        environment=scoring,
    )

    files = upload()
    link() >> attach
    [files, attach] >> prepare
    files >> score


automl_pipeline()
