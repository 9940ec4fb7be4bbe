"""The columns of the matrix: each kind of compute target, on the real thing, and what can happen to it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAYLOAD_PYTHON = PROJECT / ".venv-payload" / "bin" / "python"


class Missing(Exception):
    """This kind cannot be had here; the message says why."""


class Column:
    """One kind.

    :param folder: on this machine, for what it needs.
    """

    name = ""
    #: The steps run as Spark applications.
    spark = False
    #: The interpreter of the steps; "" = the target's own environment.
    python = "/usr/bin/python3"
    #: What it shares with other columns: a fault of that is one for all of them.
    machine: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}

    def start(self) -> dict[str, Any]:
        """Start the real thing and return the compute record.

        :raises Missing: it cannot be had here.
        """
        raise NotImplementedError

    def record(self, kind: str, configuration: dict[str, Any], connection: dict[str, Any] | None = None) -> Any:
        """Return a compute record; its connection is one of the environment."""
        conn_id = None
        if connection is not None:
            conn_id = f"matrix_{self.name}"
            self.variables[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
        return {
            "name": f"m-{self.name}",
            "kind": kind,
            "type": kind,
            "configuration": configuration,
            "connection_id": conn_id,
            "tags": None,
            "description": None,
            "provisioning_state": "Succeeded",
            "is_attached": True,
            "report": None,
        }


class Local(Column):
    name = "local"
    python = ""

    def start(self) -> dict[str, Any]:
        return {}


class AmlCompute(Column):
    name = "amlcompute"
    python = ""

    def start(self) -> dict[str, Any]:
        sizes = {"vm_size": "local", "min_nodes": 0, "max_nodes": 2}
        return dict(self.record("amlcompute", sizes))


class Docker(Column):
    name = "docker"
    python = ""

    def start(self) -> dict[str, Any]:
        from tests.machines.docker import BASE_IMAGE, running

        self.daemon = ask(running, "mortal")
        self.daemon.make_image()
        return dict(
            self.record("docker", {"base_image": BASE_IMAGE, "docker_host": self.daemon.host, "network": "none"})
        )

    def restart(self) -> None:
        """Stop Docker as an update does, and start it again: what runs in containers ends."""
        self.daemon.stop()
        self.daemon.start()


class OnVm(Column):
    machine = "vm"

    def start_vm(self) -> Any:
        from tests.machines.vm import running

        self.vm = ask(running, "matrix")
        return self.vm

    def connection(self) -> dict[str, Any]:
        vm = self.vm
        return {"conn_type": "ssh", "host": vm.address, "port": vm.port, "login": vm.login, "password": vm.password}

    def cut(self) -> None:
        self.vm.cut()

    def mend(self) -> None:
        self.vm.restore()

    def restart(self) -> None:
        """Let the machine lose power, and come up again."""
        self.vm.restart()


class Remote(OnVm):
    name = "remote"

    def start(self) -> dict[str, Any]:
        vm = self.start_vm()
        self.root = f"/home/{vm.login}/stepwell"
        return dict(self.record("remote", {"host_key": vm.host_key, "root": self.root}, self.connection()))

    def fill(self) -> None:
        """Leave no room on the disk on which its jobs are."""
        self.vm.run("bash", "-c", f"cat /dev/zero > {self.root}/jobs/filler")

    def empty(self) -> None:
        self.vm.run("rm", "-f", f"{self.root}/jobs/filler")

    def small_disk(self) -> None:
        """Put its jobs on a disk that can be filled."""
        jobs = f"{self.root}/jobs"
        self.vm.exec("mkdir", "-p", jobs, user=self.vm.login)
        self.vm.exec("mount", "-t", "tmpfs", "-o", f"size=24m,uid={self.vm.login},mode=700", "tmpfs", jobs)


class RemoteDocker(OnVm):
    name = "remotedocker"
    python = ""

    def start(self) -> dict[str, Any]:
        from tests.machines import base_image
        from tests.machines.docker import BASE_IMAGE

        vm = self.start_vm()
        vm.dockerd()
        tar = vm.path("/home/image.tar")
        base_image.write_tar(tar, base_image.PACKAGES)
        vm.exec("docker", "import", "/home/image.tar", BASE_IMAGE)
        tar.unlink()
        settings = {"host_key": vm.host_key, "base_image": BASE_IMAGE, "network": "none"}
        return dict(self.record("remotedocker", {**settings, "root": f"/home/{vm.login}/stepwell-docker"},
                                self.connection()))  # fmt: skip

    def restart(self) -> None:
        self.vm.restart()
        self.vm.dockerd()


class Livy(Column):
    name = "livy"
    python = str(PAYLOAD_PYTHON)
    server_name = "matrix"

    def start(self) -> dict[str, Any]:
        from tests.clusters.livy import server

        self.server = ask(server, self.server_name, PAYLOAD_PYTHON)
        return dict(self.record("livy", self.settings(), {"conn_type": "livy", **self.address()}))

    def address(self) -> dict[str, Any]:
        from urllib.parse import urlsplit

        url = urlsplit(self.server.url)
        return {"host": url.hostname, "port": url.port, "schema": url.scheme}

    def settings(self) -> dict[str, Any]:
        hdfs = self.server.hdfs
        return {
            "storage": f"{hdfs.rpc}/matrix-livy",
            "webhdfs_url": hdfs.webhdfs,
            "python": str(PAYLOAD_PYTHON),
            "conf": {"spark.driver.memory": "512m"},
        }

    def restart(self) -> None:
        for name in self.server.daemons:
            self.server.stop_daemon(name)
            self.server.start_daemon(name)
        self.server.wait()


class Synapse(Column):
    """Azure's client before a TLS endpoint that forwards to a Livy of its own."""

    name = "synapse"
    python = str(PAYLOAD_PYTHON)

    def start(self) -> dict[str, Any]:
        from tests.clusters.livy import server
        from tests.clusters.synapse import CLIENT_ID, CLIENT_SECRET, TENANT, SynapseWorkspace

        livy = ask(server, "matrix-synapse", PAYLOAD_PYTHON)
        folder = self.folder / "synapse"
        folder.mkdir()
        self.workspace = SynapseWorkspace(livy.url, folder)
        storage = {"storage": f"{livy.hdfs.rpc}/matrix-synapse", "webhdfs_url": livy.hdfs.webhdfs}
        settings = {"endpoint": self.workspace.endpoint, "pool_name": "pool1", "python": str(PAYLOAD_PYTHON)}
        extra = {"tenantId": TENANT, "authority": self.workspace.authority, "ca_file": str(self.workspace.certificate)}
        connection = {"conn_type": "azure", "login": CLIENT_ID, "password": CLIENT_SECRET, "extra": extra}
        conf = {"conf": {"spark.driver.memory": "512m"}}
        return dict(self.record("synapse", {**settings, **storage, **conf}, connection))


class Spark(Column):
    """``spark-submit`` on the worker's machine."""

    name = "spark"
    python = str(PAYLOAD_PYTHON)
    spark = True

    def start(self) -> dict[str, Any]:
        return dict(self.record("spark", {"master": "local[1]"}))


class Cluster(OnVm):
    name = "cluster"
    spark = True
    machine = "cluster"

    def start(self) -> dict[str, Any]:
        from tests.clusters.head import started

        self.cluster = ask(started, "matrix-head", PAYLOAD_PYTHON)
        self.vm = self.cluster.vm
        self.python = str(PAYLOAD_PYTHON)
        small = {"spark.driver.memory": "512m", "spark.executor.memory": "512m", "spark.executor.instances": "1"}
        settings = {"host_key": self.vm.host_key, "python": "/usr/bin/python3", "node_python": str(self.cluster.python)}
        return dict(self.record("cluster", {**settings, **self.cluster.storage, "conf": small}, self.connection()))

    def restart(self) -> None:
        """Let the head node lose power; the nodes of the cluster go on."""
        self.vm.restart()


ALL: tuple[type[Column], ...] = (Local, AmlCompute, Docker, Remote, RemoteDocker, Cluster, Livy, Synapse, Spark)


def ask(make: Callable[..., Any], *arguments: Any) -> Any:
    """Call what starts something for tests, outside of a test.

    :raises Missing: it says that it cannot.
    """
    try:
        return make(*arguments)
    except pytest.skip.Exception as error:
        raise Missing(str(error)) from None


def can(column: Column, what: str) -> bool:
    """Whether the fault *what* can happen to that kind."""
    return not what or hasattr(column, what)


def marked(mark: str) -> dict[tuple[int, str], str]:
    """Return the processes anywhere on this machine that carry a mark: pid and start time → mark."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
            if len(words) < 4 or words[1] != b"-c" or not words[3].endswith(mark.encode()):
                continue
            stat = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            if stat[0] != "Z":
                found[int(name), stat[19]] = words[3].decode()
    return found
