"""A folder of a real machine behind SSH as a datastore: what is there can be read, and nothing else."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.machines.vm import Vm
from tests.machines.vm import vm as vm
from tests.support.connections import Kept

from stepwell import ComputeTarget, Datastore, RemoteCompute, Workspace
from stepwell.compute.ssh import Address
from stepwell.data.stores.base import Backend
from stepwell.data.stores.machine import MachineBackend
from stepwell.errors import ComputeTargetException, DatastoreError, UserErrorException
from stepwell.workspace.connections import set_connection_source

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(vm: Vm) -> Iterator[str]:
    """A new folder there that has some files."""
    path = f"/home/{vm.login}/data-{uuid.uuid4().hex[:8]}"
    place = vm.path(path)
    (place / "raw" / "deep er").mkdir(parents=True)
    (place / "raw" / "a.csv").write_bytes(b"a,b\n1,2\n")
    (place / "raw" / "deep er" / "ä€.csv").write_bytes(b"x" * 3_000_000)
    (place / ".stepwell").mkdir()
    (place / ".stepwell" / "ours").write_bytes(b"1")
    (place / "inside.csv").symlink_to("raw/a.csv")
    (place / "outside").symlink_to("/etc/passwd")
    (place / "away").symlink_to("/etc")
    vm.exec("chown", "-R", f"{vm.login}:{vm.login}", path)
    yield path
    vm.run("rm", "-rf", path)


@pytest.fixture
def backend(vm: Vm, folder: str) -> MachineBackend:
    return MachineBackend(folder, Address(vm.address, vm.port, vm.login, (vm.host_key,), password=vm.password))


def test_what_is_there_is_listed_and_read(backend: MachineBackend, tmp_path: Path) -> None:
    assert [f.path for f in backend.list()] == ["inside.csv", "raw/a.csv", "raw/deep er/ä€.csv"]
    assert [f.path for f in backend.list("raw/*.csv")] == ["raw/a.csv"]
    assert [f.path for f in backend.list("**/*.csv")] == ["inside.csv", "raw/a.csv", "raw/deep er/ä€.csv"]
    assert [f.path for f in backend.list("raw/a.csv")] == ["raw/a.csv"]
    assert backend.list("nothing") == []
    found = backend.stat("raw/a.csv")
    assert found is not None
    assert (found.size, abs(found.modified - time.time()) < 600) == (8, True)
    assert (backend.stat("raw"), backend.is_dir("raw"), backend.is_dir("raw/a.csv")) == (None, True, False)
    large = b"x" * 3_000_000
    with backend.open("raw/deep er/ä€.csv") as file:
        assert file.read() == large
    backend.get("raw/deep er/ä€.csv", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == large
    assert backend.checksum("raw/deep er/ä€.csv") == "sha256:" + hashlib.sha256(large).hexdigest()
    assert backend.uri("raw/a.csv") == f"ssh://{backend.address.place}{backend.root}/raw/a.csv"


def test_what_is_not_there(backend: MachineBackend, tmp_path: Path) -> None:
    for ask in (backend.open, backend.checksum):
        with pytest.raises(FileNotFoundError, match="nothing.csv"):
            ask("nothing.csv")
    with pytest.raises(FileNotFoundError):
        backend.get("nothing.csv", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
    assert not backend.exists("nothing.csv")


@pytest.mark.parametrize("path", ["outside", "away/passwd", "away"])
def test_a_link_does_not_lead_out_of_it(backend: MachineBackend, path: str) -> None:
    with pytest.raises(ComputeTargetException, match="leads out of the datastore's folder"):
        backend.list(path)
    with pytest.raises(ComputeTargetException, match="leads out"):
        backend.open(path)
    with pytest.raises(UserErrorException):
        backend.open("../.ssh/authorized_keys")


def test_nothing_can_be_written(backend: MachineBackend, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    for write in (
        lambda: backend.put(tmp_path / "file", "x"),
        lambda: backend.create("x", b"1"),
        lambda: backend.rename("raw", "new"),
        lambda: backend.delete("raw", recursive=True),
        lambda: backend.makedirs("new"),
    ):
        with pytest.raises(DatastoreError, match="can only be read"):
            write()
    assert len(backend.list()) == 3


def test_a_machine_that_does_not_let_us_in(vm: Vm, folder: str) -> None:
    stranger: Backend = MachineBackend(folder, Address(vm.address, vm.port, vm.login, (vm.host_key,), password="wrong"))
    with pytest.raises(ComputeTargetException, match=vm.login):
        stranger.list()


def test_it_is_registered_by_the_name_of_a_compute_target(vm: Vm, folder: str, tmp_path: Path) -> None:
    set_connection_source(Kept())
    try:
        ws = Workspace("default", str(tmp_path / "ws"))
        configuration = RemoteCompute.attach_configuration(
            username=vm.login, address=vm.address, password=vm.password, host_key=vm.host_key,
            root=f"/home/{vm.login}/stepwell-{uuid.uuid4().hex[:6]}",
        )  # fmt: skip
        ComputeTarget.attach(ws, "gpu-box", configuration)
        store = Datastore.register_machine(ws, "box-data", "gpu-box", folder)
        assert store.datastore_type == "machine"
        assert [f.path for f in Datastore.get(ws, "box-data").backend.list("raw/*")] == ["raw/a.csv"]
        assert "password" not in str(ws.store.read_json("datastores/box-data.json"))
        with pytest.raises(ComputeTargetException, match="ComputeTargetNotFound"):
            Datastore.register_machine(ws, "other", "no-box", folder)
        with pytest.raises(DatastoreError, match=r"'local' \(local\) is no machine behind SSH"):
            Datastore.register_machine(ws, "other", "local", folder)
        with pytest.raises(UserErrorException, match="not an absolute path"):
            Datastore.register_machine(ws, "other", "gpu-box", "data")
        assert set(Datastore.all(ws)) == {"workspaceblobstore", "box-data"}
    finally:
        set_connection_source(None)
