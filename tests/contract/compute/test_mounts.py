"""Inputs by mount on the kinds that can: files of the target's own machine, and HDFS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clusters.hdfs import hdfs as hdfs
from tests.clusters.hdfs import mortal_hdfs as mortal_hdfs
from tests.clusters.relay import relayed
from tests.contract.compute.mounting import HdfsMountContract, LocalMountContract
from tests.contract.compute.test_remote import address_of
from tests.machines.docker import DockerDaemon
from tests.machines.docker import base_image as base_image
from tests.machines.docker import dockerd as dockerd
from tests.machines.vm import Vm
from tests.machines.vm import vm as vm

from hdfs.hdfs_cluster import HdfsCluster
from stepwell.compute import portal
from stepwell.compute.contract import EnvironmentRef
from stepwell.compute.docker.settings import ContainerSettings
from stepwell.compute.kinds.docker import DockerTarget
from stepwell.compute.kinds.local import LocalTarget
from stepwell.compute.kinds.remote import RemoteTarget

pytestmark = pytest.mark.integration


class OnLocal:
    @pytest.fixture
    def target(self, tmp_path: Path) -> LocalTarget:
        return LocalTarget("local", tmp_path / "scratch")


class TestLocalFilesOnLocal(OnLocal, LocalMountContract):
    pass


class TestHdfsOnLocal(OnLocal, HdfsMountContract):
    pass


class OnDocker:
    @pytest.fixture
    def target(self, tmp_path: Path, dockerd: DockerDaemon, base_image: str) -> DockerTarget:
        settings = ContainerSettings(base_image=base_image, network="none")
        return DockerTarget("box", tmp_path / "scratch", settings, dockerd.host)

    @pytest.fixture
    def environment(self, target: DockerTarget) -> EnvironmentRef:
        return portal.call(target.prepare({}, print))


class TestLocalFilesOnDocker(OnDocker, LocalMountContract):
    how = "a read-only volume of the container"


class TestHdfsOnDocker(OnDocker, HdfsMountContract):
    """By a holder on the daemon's machine, for a container that has no network."""


class TestHdfsOnDockerForAnotherUser(TestHdfsOnDocker):
    @pytest.fixture
    def target(self, tmp_path: Path, dockerd: DockerDaemon, base_image: str) -> DockerTarget:
        settings = ContainerSettings(base_image=base_image, network="none", user="1234:1234")
        return DockerTarget("box", tmp_path / "scratch", settings, dockerd.host)


class TestHdfsOnAMachineBehindSsh(HdfsMountContract):
    """By the launcher there, for a user who is not root."""

    @pytest.fixture
    def target(self, vm: Vm, request: pytest.FixtureRequest) -> Iterator[RemoteTarget]:
        self.vm, self.mount_table = vm, f"/proc/{vm._init}/mountinfo"
        root = f"/home/{vm.login}/mounts-{abs(hash(request.node.nodeid)):x}"
        names = sorted({"hdfs", "mortal_hdfs"} & {*request.fixturenames})
        clusters: list[HdfsCluster] = [request.getfixturevalue(name) for name in names]
        ports = [port for cluster in clusters for port in cluster.state["ports"].values()]
        with relayed(vm._net, ports):
            yield RemoteTarget("vm", address_of(vm, root=root), root)
        vm.run("rm", "-rf", "--one-file-system", root)

    @pytest.fixture
    def environment(self, target: RemoteTarget) -> EnvironmentRef:
        return EnvironmentRef("test", "/usr/bin/python3", None, user_managed=True)

    def here(self, path: str) -> Path:
        return self.vm.path(path)
