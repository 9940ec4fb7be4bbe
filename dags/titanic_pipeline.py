"""Prepare on Spark, gate, train: data flows through two compute targets and comes out as a registered model.

    airflow dags test titanic_pipeline

Steps pass *dataset references* by XCom; publishing ``registered_dataset`` and ``titanic_model`` starts
``titanic_scoring``.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import dag, task

from stepwell import (
    AmlCompute,
    ComputeTarget,
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
from stepwell.operators import AttachComputeTargetOperator, PythonScriptStepOperator, SynapseSparkStepOperator

INCLUDE = Path(os.environ.get("STEPWELL_INCLUDE", Path(__file__).parents[1] / "include"))

ws = Workspace.from_config()
datastore = ws.get_default_datastore()

passengers_table = Dataset.Tabular.from_delimited_files(path=[(datastore, "Titanic.csv")])
passengers_file = Dataset.File.from_files(path=[(datastore, "Titanic.csv")])
step1_input1 = passengers_table.as_named_input("tabular_input")
step1_input2 = passengers_file.as_named_input("file_input").as_hdfs()
step1_output = (
    HDFSOutputDatasetConfig(destination=(datastore, "test"))
    .register_on_complete(name="registered_dataset")
    .validate_with(INCLUDE / "expectations" / "prepared.json", on_failure="fail")
)
step2_output = OutputFileDatasetConfig(name="model").as_upload().register_on_complete(name="titanic_model")

training = Environment(name="titanic-train")
training.python.conda_dependencies = CondaDependencies(INCLUDE / "train" / "conda_dependencies.yml")


def spark_pool():
    """Say which pool to attach; called when the task runs, because it looks the linked service up."""
    linked_service = LinkedService.get(ws, "synapselink1")
    return SynapseCompute.attach_configuration(linked_service=linked_service, type="SynapseSpark", pool_name="spark01")


@dag(schedule=None, catchup=False, tags=["stepwell", "example"], doc_md=__doc__)
def titanic_pipeline():
    """Put the steps in order; most edges are drawn by the data that one hands to the other."""

    @task
    def upload() -> str:
        """Put the passenger list where both steps find it."""
        datastore.upload_files([INCLUDE / "data" / "Titanic.csv"], target_path="", overwrite=True)
        return datastore.name

    @task
    def link() -> str:
        """Link a Spark service, unless it is linked already: here Spark on this machine."""
        if "synapselink1" not in [service.name for service in LinkedService.list(ws)]:
            here = SynapseWorkspaceLinkedServiceConfiguration(name="synapselink1", master="local[*]")
            LinkedService.register(ws, "synapselink1", here)
        return "synapselink1"

    attach = AttachComputeTargetOperator(task_id="attach-spark", name="link1-spark01", attach_configuration=spark_pool)

    @task
    def cpu_cluster() -> str:
        """Find the training cluster, or create it."""
        if "cpucluster" in ws.compute_targets:
            cluster = ComputeTarget(workspace=ws, name="cpucluster")
            print("cpucluster is there already")
        else:
            configuration = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=1)
            cluster = ComputeTarget.create(ws, "cpucluster", configuration)
        cluster.wait_for_completion(show_output=True)
        return cluster.name

    prepare = SynapseSparkStepOperator(
        task_id="synapse-spark",
        file="prepare.py",
        source_directory=str(INCLUDE / "prepare"),
        arguments=["--table", step1_input1, "--file", step1_input2, "--prepared", step1_output],
        inputs=[step1_input1, step1_input2],
        outputs=[step1_output],
        compute_target="link1-spark01",
        driver_memory="1g",
        driver_cores=2,
        executor_memory="1g",
        executor_cores=2,
        num_executors=1,
    )

    step2_input = step1_output.as_input("step2_input").as_download()
    train = PythonScriptStepOperator(
        task_id="train",
        script_name="train.py",
        source_directory=str(INCLUDE / "train"),
        arguments=[step2_input, "--model", step2_output],
        inputs=[step2_input],
        outputs=[step2_output],
        compute_target="cpucluster",
        environment=training,
    )

    link() >> attach
    [upload(), attach] >> prepare
    cpu_cluster() >> train


titanic_pipeline()
