"""Faults at every call of the contract, five times each; ``STEPWELL_FAULT_ROUNDS=1`` for a quick look.

Batches are processes here, at every call; on a real Livy and a real YARN, where a life takes a quarter of a minute, the
calls that start, take over, end and remove a job.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.clusters.hdfs import hdfs
from tests.clusters.head import Cluster, cluster
from tests.clusters.livy import livy
from tests.contract.compute.faults import FaultContract
from tests.contract.compute.test_batches import BatchCase
from tests.contract.compute.test_cluster import ClusterCase
from tests.contract.compute.test_docker import OnDocker
from tests.contract.compute.test_livy import LivyCase
from tests.contract.compute.test_remote import OnVm, address_of
from tests.contract.compute.test_remotedocker import load
from tests.machines.docker import DockerDaemon, base_image, dockerd
from tests.machines.vm import Vm, vm

from livy.livy_server import LivyServer
from stepwell.compute import portal
from stepwell.compute.contract import EnvironmentRef
from stepwell.compute.docker.settings import ContainerSettings
from stepwell.compute.kinds.local import LocalTarget
from stepwell.compute.kinds.remotedocker import RemoteDockerTarget

__all__ = ["base_image", "cluster", "dockerd", "hdfs", "livy", "vm"]


@pytest.mark.slow
class TestLocal(FaultContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> LocalTarget:
        return LocalTarget("local", tmp_path / "scratch")


@pytest.mark.slow
@pytest.mark.integration
class TestRemote(OnVm, FaultContract):
    spec: ClassVar[dict[str, Any]] = {"user_managed": True, "interpreter": "/usr/bin/python3"}
    lasts = 1.0
    together = 10

    def login(self, vm: Vm) -> dict[str, Any]:
        return {"password": vm.password}


@pytest.mark.slow
@pytest.mark.integration
class TestDocker(OnDocker, FaultContract):
    spec: ClassVar[dict[str, Any]] = {}
    lasts = 1.0


@pytest.mark.slow
class TestBatches(BatchCase, FaultContract):
    lasts = 1.0


class OnService(FaultContract):
    """What submits to a service: each life takes it a quarter of a minute."""

    calls = ("stage", "submit", "collect", "forget")
    faults = ("killed within", "answer lost")
    rounds = 1
    lasts = 3.0
    together = 2


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.integration
class TestLivy(LivyCase, OnService):
    @pytest.fixture(autouse=True)
    def its_python(self, server: LivyServer) -> None:
        self.spec = {"user_managed": True, "interpreter": str(server.python)}  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.integration
class TestCluster(ClusterCase, OnService):
    @pytest.fixture(autouse=True)
    def its_python(self, cluster: Cluster) -> None:
        self.spec = {"user_managed": True, "interpreter": str(cluster.python)}  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.integration
class TestRemoteDocker(FaultContract):
    spec: ClassVar[dict[str, Any]] = {}
    lasts = 1.0
    patience = 60.0
    faults = ("killed within", "answer lost")

    @pytest.fixture
    def target(
        self, vm: Vm, dockerd: DockerDaemon, base_image: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> Iterator[RemoteDockerTarget]:
        self.vm = vm
        load(vm, dockerd)
        root = f"/home/{vm.login}/faults-{abs(hash(request.node.nodeid)):x}"
        settings = ContainerSettings(base_image=base_image, network="none")
        yield RemoteDockerTarget("vmbox", address_of(vm, root=root), root, tmp_path / "cache", settings)
        vm.run("rm", "-rf", root)

    @pytest.fixture
    def environment(self, target: RemoteDockerTarget) -> EnvironmentRef:
        return portal.call(target.prepare({}, print))

    def here(self, path: str) -> Path:
        return self.vm.path(path)
