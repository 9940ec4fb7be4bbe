"""Containers on a machine behind SSH keep the contract; and what is special about them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.compute.case import Case, Runner, eventually
from tests.contract.compute.contract import TargetContract
from tests.contract.compute.guarantees import TargetGuarantees
from tests.contract.compute.mounting import FILES, MORE, port
from tests.contract.compute.test_remote import address_of
from tests.machines.docker import BASE_IMAGE, DockerDaemon, base_image, dockerd
from tests.machines.vm import GUEST, Vm, mortal_vm, vm

from stepwell.compute import portal, ssh
from stepwell.compute.contract import EnvironmentRef
from stepwell.compute.docker import archives
from stepwell.compute.docker.settings import ContainerSettings
from stepwell.compute.kinds.amlcompute import AmlComputeTarget
from stepwell.compute.kinds.remotedocker import RemoteDockerTarget
from stepwell.data.stores.machine import MachineBackend
from stepwell.workspace.connections import ConnectionInfo

__all__ = ["base_image", "dockerd", "mortal_vm", "vm"]

pytestmark = [pytest.mark.integration, pytest.mark.slow]


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


# -- what is special ---------------------------------------------------------------------------------------------------


def boxes(vm: Vm, cache: Path, login: str = "", **settings: Any) -> RemoteDockerTarget:
    who = login or vm.login
    root = f"/home/{who}/boxes-{abs(hash(str(cache))):x}"
    address = ssh.Address(vm.address, vm.port, who, (vm.host_key,), root=root, password=vm.password)
    chosen = ContainerSettings(**{"base_image": BASE_IMAGE, "network": "none", **settings})
    return RemoteDockerTarget("vmbox", address, root, cache, chosen)


def test_docker_that_is_not_for_the_login_stopped_or_missing(
    mortal_vm: Vm, dockerd: DockerDaemon, base_image: str, tmp_path: Path
) -> None:
    load(mortal_vm, dockerd)
    report = portal.call(boxes(mortal_vm, tmp_path, GUEST).probe())
    assert f"The user {GUEST} may not use Docker on {GUEST}@{mortal_vm.address}" in report.problems[0]
    assert f"usermod -aG docker {GUEST}" in report.problems[0]
    assert report.facts["python"], "the rest of the machine was looked at"
    mortal_vm.stop_dockerd()
    target = boxes(mortal_vm, tmp_path)
    assert f"no socket at {target.socket}" in portal.call(target.probe()).problems[0]
    mortal_vm.dockerd()
    assert portal.call(target.probe()).ok


def test_a_lost_connection_fails_no_job(mortal_vm: Vm, dockerd: DockerDaemon, base_image: str, tmp_path: Path) -> None:
    load(mortal_vm, dockerd)
    target = boxes(mortal_vm, tmp_path)
    environment = portal.call(target.prepare({}, print))
    run = Runner(Case(), target, environment, tmp_path)
    handle = run("import time; print('up', flush=True); time.sleep(3); print('down')")
    mortal_vm.hang_up()
    states = set()
    deadline = time.monotonic() + 60
    while not (status := run.status(handle)).ended and time.monotonic() < deadline:
        states.add(status.state)
        time.sleep(0.2)
    assert status.state == "succeeded"
    assert states <= {"running", "unknown"}
    assert run.log(handle).split() == ["up", "down"]
    portal.call(target.forget(handle))


def test_a_machine_that_is_restarted_has_ended_its_containers(
    mortal_vm: Vm, dockerd: DockerDaemon, base_image: str, tmp_path: Path
) -> None:
    load(mortal_vm, dockerd)
    target = boxes(mortal_vm, tmp_path)
    environment = portal.call(target.prepare({}, print))
    run = Runner(Case(), target, environment, tmp_path)
    handle = run("import time; print('up', flush=True); time.sleep(300)")
    mortal_vm.restart()
    mortal_vm.dockerd()
    deadline = time.monotonic() + 60
    while not (status := run.status(handle)).ended and time.monotonic() < deadline:
        time.sleep(0.3)
    assert status.state == "failed"
    assert "its container ended" in status.detail
    portal.call(target.forget(handle))


def test_an_environment_is_brought_to_a_second_machine(
    vm: Vm, mortal_vm: Vm, dockerd: DockerDaemon, base_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_USUAL", 1e12)  # as if it had taken hours to build
    spec = {"pip": ["six==1.13.0"]}
    said: list[str] = []
    load(vm, dockerd)
    built = portal.call(boxes(vm, tmp_path, network="host").prepare(spec, said.append))
    assert any(" built in " in line for line in said)
    (record,) = tmp_path.rglob("archives/*.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "built": 3600.0}))  # as if it had taken so long
    said.clear()
    load(mortal_vm, dockerd)
    brought = portal.call(boxes(mortal_vm, tmp_path, network="host").prepare(spec, said.append))
    assert (brought.key, brought.image) == (built.key, built.image)
    assert "built elsewhere: loading" in said[0]
    assert not any(" built in " in line for line in said)


def test_data_of_the_machine_itself_are_a_read_only_volume(
    vm: Vm, dockerd: DockerDaemon, base_image: str, tmp_path: Path
) -> None:
    load(vm, dockerd)
    target = boxes(vm, tmp_path)
    store = MachineBackend(f"/home/{vm.login}/own-{tmp_path.name}", target.address)
    for name, data in {**FILES, MORE: b"later"}.items():
        vm.path(f"{store.root}/titanic/{name}").parent.mkdir(parents=True, exist_ok=True)
        vm.path(f"{store.root}/titanic/{name}").write_bytes(data)
    vm.exec("chown", "-R", f"{vm.login}:{vm.login}", store.root)
    given = port(store)
    (item,) = given["mounts"]
    assert target.mountable({**item["source"], "machine": "another"}) is None
    item["source"] = target.mountable(item["source"])
    run = Runner(Case(), target, portal.call(target.prepare({}, print)), tmp_path)
    script = (
        "import os\ntop = '../inputs/titanic'\nprint(open(top + '/deep/b c.csv').read())\n"
        "print(sorted(os.listdir(top)))\n"
        "try:\n    open(top + '/a.csv', 'a')\nexcept OSError as error:\n    print('not written:', error.strerror)\n"
    )
    log = run.log(run(script, inputs={"titanic": given}))
    assert "y\n2\n" in log
    assert "['a.csv', 'deep', 'empty']" in log
    assert "not written: Read-only file system" in log
    assert f"input titanic: {store.uri('titanic')} is mounted by a read-only volume of the container" in log


@pytest.mark.parametrize("kind", ["remote", "remotedocker"])
def test_a_cluster_stands_on_the_machine(
    kind: str, vm: Vm, dockerd: DockerDaemon, base_image: str, tmp_path: Path
) -> None:
    load(vm, dockerd)
    root = f"/home/{vm.login}/cluster-{kind}-{abs(hash(str(tmp_path))):x}"
    connection = ConnectionInfo("vm", "ssh", vm.address, vm.port, vm.login, vm.password)
    settings = {"host_key": vm.host_key, "root": root, "base_image": base_image, "network": "none"}
    record = {
        "name": "cluster",
        "configuration": {"max_nodes": 1},
        "backing": {"name": "there", "kind": kind, "configuration": settings, "connection": connection},
    }
    target = AmlComputeTarget.from_record(record, str(tmp_path / "here"))
    spec = {"user_managed": True, "interpreter": "python3"}
    run = Runner(Case(), target, portal.call(target.prepare(spec, print)), tmp_path)
    script = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)"
    first, second = run(script), run("print('my turn')")
    eventually(lambda: run.status(second).state == "queued")
    assert "all 1 node(s)" in run.status(second).detail
    assert target.busy_nodes() == 1
    vm.exec("touch", f"{first.directory}/code/go")
    assert "my turn" in run.log(second)
    for handle in (first, second):
        eventually(lambda handle=handle: run.status(handle).state == "succeeded")  # type: ignore[misc]
        portal.call(target.forget(handle))
    eventually(lambda: target.busy_nodes() == 0)
    vm.run("rm", "-rf", root)
