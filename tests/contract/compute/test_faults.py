"""Faults at every call of the contract, on each kind; ``STEPWELL_FAULT_ROUNDS=5`` lets each of them happen five times.

On kinds that start a JVM for each job one life takes a quarter of a minute: there, faults are for the kill matrix.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.contract.compute.faults import FaultContract
from tests.contract.compute.test_batches import BatchCase
from tests.contract.compute.test_docker import OnDocker
from tests.contract.compute.test_remote import OnVm
from tests.machines.docker import base_image, dockerd
from tests.machines.vm import Vm, vm

from stepwell.compute.kinds.local import LocalTarget

__all__ = ["base_image", "dockerd", "vm"]


class TestLocal(FaultContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> LocalTarget:
        return LocalTarget("local", tmp_path / "scratch")


@pytest.mark.slow
@pytest.mark.integration
class TestRemote(OnVm, FaultContract):
    spec: ClassVar[dict[str, Any]] = {"user_managed": True, "interpreter": "/usr/bin/python3"}
    lasts = 1.0

    def login(self, vm: Vm) -> dict[str, Any]:
        return {"password": vm.password}


@pytest.mark.slow
@pytest.mark.integration
class TestDocker(OnDocker, FaultContract):
    spec: ClassVar[dict[str, Any]] = {}
    lasts = 1.0


@pytest.mark.slow
class TestLocalFiveTimes(TestLocal):
    rounds = 5


@pytest.mark.slow
class TestBatches(BatchCase, FaultContract):
    lasts = 1.0
