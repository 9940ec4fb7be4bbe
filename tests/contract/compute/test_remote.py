"""A machine behind SSH keeps the contract, whatever becomes of the connection; and what is special about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contract.compute.case import Case
from tests.contract.compute.contract import TargetContract
from tests.contract.compute.guarantees import TargetGuarantees
from tests.machines.vm import Vm
from tests.machines.vm import vm as vm

from stepwell.compute import ssh
from stepwell.compute.contract import EnvironmentRef
from stepwell.compute.kinds.remote import RemoteTarget


def address_of(vm: Vm, **more: Any) -> ssh.Address:
    return replace(ssh.Address(vm.address, vm.port, vm.login, (vm.host_key,), password=vm.password), **more)


class OnVm(Case):
    """A machine; a subclass says how to log in."""

    def login(self, vm: Vm) -> dict[str, Any]:
        raise NotImplementedError

    @pytest.fixture
    def target(self, vm: Vm, request: pytest.FixtureRequest) -> Iterator[RemoteTarget]:
        self.vm = vm
        root = f"/home/{vm.login}/stepwell-{abs(hash(request.node.nodeid)):x}"
        yield RemoteTarget("vm", address_of(vm, root=root, **self.login(vm)), root)
        vm.run("rm", "-rf", root)

    @pytest.fixture
    def environment(self, target: RemoteTarget) -> EnvironmentRef:
        return EnvironmentRef("test", "/usr/bin/python3", None, user_managed=True)

    def here(self, path: str) -> Path:
        return self.vm.path(path)


class TestByPassword(OnVm, TargetContract, TargetGuarantees):
    def login(self, vm: Vm) -> dict[str, Any]:
        return {"password": vm.password}


@pytest.mark.slow
@pytest.mark.thorough
class TestByKey(OnVm, TargetContract):
    def login(self, vm: Vm) -> dict[str, Any]:
        return {"password": None, "key": vm.key_file.read_text()}


@pytest.mark.slow
@pytest.mark.thorough
class TestByKeyWithPassphrase(OnVm, TargetContract):
    def login(self, vm: Vm) -> dict[str, Any]:
        return {"password": None, "key_file": str(vm.locked_key_file), "passphrase": vm.passphrase}
