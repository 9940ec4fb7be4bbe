"""The kind ``cluster`` keeps the contract: real HDFS and YARN, a head node behind SSH, ``spark-submit`` there."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.head import Cluster
from tests.clusters.head import cluster as cluster
from tests.contract.compute.contract import Case, TargetContract
from tests.contract.compute.guarantees import TargetGuarantees

from stepwell.compute.contract import EnvironmentRef, Handle, Target
from stepwell.compute.kinds.cluster import ClusterTarget
from stepwell.workspace.connections import ConnectionInfo

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SMALL = {"spark.driver.memory": "512m", "spark.executor.memory": "512m", "spark.executor.instances": "1"}


def record(cluster: Cluster, **more: Any) -> dict[str, Any]:
    """Return a compute record as attach writes it."""
    vm = cluster.vm
    connection = ConnectionInfo("head", "ssh", host=vm.address, login=vm.login, password=vm.password, port=vm.port)
    settings = {"host_key": vm.host_key, "python": "/usr/bin/python3", "node_python": str(cluster.python)}
    configuration = {**settings, **cluster.storage, "conf": SMALL, **more}
    return {"name": "hadoop", "kind": "cluster", "configuration": configuration, "connection": connection}


class ClusterCase(Case):
    patience = 120.0

    @pytest.fixture
    def target(self, cluster: Cluster, tmp_path: Path) -> Target:
        self.folder = tmp_path
        return ClusterTarget.from_record(record(cluster), str(tmp_path / "here"))

    @pytest.fixture
    def environment(self, cluster: Cluster) -> EnvironmentRef:
        return EnvironmentRef("test", str(cluster.python), None, user_managed=True)

    def desk(self, target: Target, job_id: str) -> str:
        folder = self.folder / "desks" / job_id
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def lose(self, handle: Handle) -> None:
        drivers = [pid for pid in _pids() if f"/jobs/{handle.job_id}\0" in _command(pid)]
        assert drivers
        for pid in drivers:
            os.kill(pid, signal.SIGKILL)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


class TestCluster(ClusterCase, TargetContract, TargetGuarantees):
    pass
