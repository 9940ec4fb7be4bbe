"""Steps whose data is on a real HDFS, with a real Spark that reads and writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.hdfs import hdfs as hdfs
from tests.clusters.hdfs import mortal_hdfs as mortal_hdfs
from tests.support.scratch import scratch as scratch
from tests.support.steps import Bench
from tests.support.steps import bench as new_bench

from hdfs.hdfs_cluster import HdfsCluster
from stepwell import ComputeTarget, Environment, SparkCompute

TITANIC = Path(__file__).resolve().parents[3] / "include" / "data" / "Titanic.csv"


@pytest.fixture
def on_hdfs(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[HdfsCluster], Bench]:
    """Return a bench whose default datastore is a folder of that cluster, named by its connection as for a user."""

    def make(cluster: HdfsCluster) -> Bench:
        connection = cluster.connection(f"/{tmp_path.name}")
        monkeypatch.setenv("AIRFLOW_CONN_WORKSPACEBLOBSTORE", json.dumps(connection))
        bench = new_bench(tmp_path)
        bench.datastore.upload_files([TITANIC], overwrite=True)
        ComputeTarget.attach(bench.ws, "link1-spark01", SparkCompute.attach_configuration(master="local[2]"))
        return bench

    return make


@pytest.fixture(scope="session")
def spark_environment(payload_python: Path) -> Any:
    """An environment with PySpark that is not ours to build."""
    environment = Environment("payload")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = str(payload_python)
    return environment


SIZES = {"driver_memory": "1g", "driver_cores": 1, "executor_memory": "1g", "executor_cores": 1, "num_executors": 1}
