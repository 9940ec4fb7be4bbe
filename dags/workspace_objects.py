"""What a pipeline needs before its first step, as plain tasks: linked service, Spark pool, cluster, datastore, dataset.

    airflow dags test workspace_objects

Nothing here runs on Spark: attaching a target only looks whether it could. Each task finds what is there or makes it,
so that the DAG may run any number of times.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import dag, task

from stepwell import (
    AmlCompute,
    ComputeTarget,
    Dataset,
    LinkedService,
    SynapseCompute,
    SynapseWorkspaceLinkedServiceConfiguration,
)
from stepwell.hooks import ComputeTargetHook, DatastoreHook, WorkspaceHook

INCLUDE = Path(os.environ.get("STEPWELL_INCLUDE", Path(__file__).parents[1] / "include"))


@dag(schedule=None, catchup=False, tags=["stepwell", "example"], doc_md=__doc__)
def workspace_objects():
    """One task per kind of object."""

    @task
    def linked_service() -> str:
        """Show the linked services; register one that stands for Spark on this machine, if there is none."""
        ws = WorkspaceHook().workspace
        for service in LinkedService.list(ws):
            print(f"{service.name}: {service.type}")
        if "example-spark" not in ws.linked_services:
            LinkedService.register(ws, "example-spark", SynapseWorkspaceLinkedServiceConfiguration(master="local[2]"))
        return LinkedService.get(ws, "example-spark").name

    @task
    def spark_pool(service: str) -> str:
        """Attach the pool of that service as a compute target, and print what the probe found."""
        ws = WorkspaceHook().workspace
        configuration = SynapseCompute.attach_configuration(
            linked_service=LinkedService.get(ws, service), type="SynapseSpark", pool_name="small"
        )
        pool = ComputeTarget.attach(ws, "example-pool", configuration)
        pool.wait_for_completion(show_output=True)
        print(pool.report)
        return pool.name

    @task
    def cluster() -> str:
        """Find the training cluster, or create it."""
        ws = WorkspaceHook().workspace
        if "example-cluster" in ws.compute_targets:
            found = ComputeTarget(ws, "example-cluster")
        else:
            found = ComputeTarget.create(
                ws, "example-cluster", AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=2)
            )
        found.wait_for_completion(show_output=True)
        return found.name

    @task
    def look(targets: list[str]) -> dict:
        """Probe each target now; True where it can work."""
        return {name: ComputeTargetHook(target=name).probe()["ok"] for name in targets}

    @task
    def dataset() -> dict:
        """Upload a file, register it, and return the reference that any later task or step can take as input."""
        hook = WorkspaceHook()
        datastore = DatastoreHook().datastore
        datastore.upload_files([INCLUDE / "data" / "Titanic.csv"], target_path="objects", overwrite=True)
        print(DatastoreHook().list("objects/*"))
        table = Dataset.Tabular.from_delimited_files((datastore, "objects/Titanic.csv"))
        table.register(hook.workspace, "passengers_listed", create_new_version=True)
        return hook.get_reference("passengers_listed")

    look([spark_pool(linked_service()), cluster()])
    dataset()


workspace_objects()
