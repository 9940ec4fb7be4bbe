"""Containers keep the contract; and what is special about them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.compute.contract import TargetContract
from tests.contract.compute.guarantees import TargetGuarantees
from tests.machines.docker import DockerDaemon, base_image, dockerd, mortal_dockerd

from stepwell.compute import portal
from stepwell.compute.contract import EnvironmentRef
from stepwell.compute.docker.settings import ContainerSettings
from stepwell.compute.kinds.docker import DockerTarget

__all__ = ["base_image", "dockerd", "mortal_dockerd"]

pytestmark = pytest.mark.integration


class TestDocker(TargetContract, TargetGuarantees):
    @pytest.fixture
    def target(self, tmp_path: Path, dockerd: DockerDaemon, base_image: str) -> DockerTarget:
        settings = ContainerSettings(base_image=base_image, network="none")
        return DockerTarget("box", tmp_path / "scratch", settings, dockerd.host)

    @pytest.fixture
    def environment(self, target: DockerTarget) -> EnvironmentRef:
        return portal.call(target.prepare({}, print))
