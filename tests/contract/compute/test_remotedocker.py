"""Containers on a machine behind SSH keep the contract; and what is special about them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.compute.contract import TargetContract
from tests.contract.compute.guarantees import TargetGuarantees
from tests.contract.compute.test_remote import address_of
from tests.machines.docker import BASE_IMAGE, DockerDaemon, base_image, dockerd
from tests.machines.vm import Vm, mortal_vm, vm

from stepwell.compute import portal
from stepwell.compute.contract import EnvironmentRef
from stepwell.compute.docker.settings import ContainerSettings
from stepwell.compute.kinds.remotedocker import RemoteDockerTarget

__all__ = ["base_image", "dockerd", "mortal_vm", "vm"]

pytestmark = pytest.mark.integration


def load(vm: Vm, dockerd: DockerDaemon, image: str = BASE_IMAGE) -> None:
    """Start Docker in the machine, and bring the image there unless it is there."""
    vm.dockerd()
    if vm.run("docker", "image", "inspect", image).returncode:
        with subprocess.Popen(dockerd.command("save", image), stdout=subprocess.PIPE) as saving:
            subprocess.run(vm.command("docker", "load"), stdin=saving.stdout, check=True, capture_output=True)


class TestRemoteDocker(TargetContract, TargetGuarantees):
    patience = 60.0

    @pytest.fixture
    def target(
        self, vm: Vm, dockerd: DockerDaemon, base_image: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> Iterator[RemoteDockerTarget]:
        self.vm = vm
        load(vm, dockerd)
        root = f"/home/{vm.login}/boxes-{abs(hash(request.node.nodeid)):x}"
        settings = ContainerSettings(base_image=base_image, network="none")
        yield RemoteDockerTarget("vmbox", address_of(vm, root=root), root, tmp_path / "cache", settings)
        vm.run("rm", "-rf", root)

    @pytest.fixture
    def environment(self, target: RemoteDockerTarget) -> EnvironmentRef:
        return portal.call(target.prepare({}, print))

    def here(self, path: str) -> Path:
        return self.vm.path(path)
