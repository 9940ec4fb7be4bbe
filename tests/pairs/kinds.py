"""Each kind of compute target on the real thing, attached by v1's calls."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.clusters.synapse import CLIENT_ID, CLIENT_SECRET, TENANT
from tests.contract.compute.test_remotedocker import load

from hdfs.hdfs_cluster import HdfsCluster
from stepwell import ComputeTarget, LinkedService, SparkCompute, Workspace
from stepwell.compute import targets

#: Small, for one machine.
CONF = {"spark.driver.memory": "512m", "spark.executor.memory": "512m", "spark.executor.instances": "1"}


@dataclass
class Ground:
    """What targets are attached with.

    :param hdfs: the default datastore is on it, and the jobs of batches are.
    :param user: who reads and writes there.
    """

    ws: Workspace
    hdfs: HdfsCluster
    user: str
    request: pytest.FixtureRequest
    patch: pytest.MonkeyPatch

    def fixture(self, name: str) -> Any:
        """Return a fixture, started now if it is not yet."""
        return self.request.getfixturevalue(name)

    def connection(self, conn_id: str, fields: Mapping[str, Any]) -> str:
        """Make an Airflow connection and return its id."""
        self.patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
        return conn_id

    def storage(self, user: str) -> dict[str, str]:
        """Where batches have their jobs that run as *user*."""
        folder = {"storage": f"{self.hdfs.rpc}{self._folder(user)}/jobs", "webhdfs_url": self.hdfs.webhdfs}
        return {**folder, "storage_user": user}

    def be(self, user: str) -> None:
        """Be that user on HDFS from now on, in a folder of theirs: who writes the data must be who publishes them."""
        data = {**self.hdfs.connection(f"{self._folder(user)}/data"), "login": user}
        if json.dumps(data) != os.environ.get("AIRFLOW_CONN_WORKSPACEBLOBSTORE"):
            self.connection("WORKSPACEBLOBSTORE", data)
            time.sleep(6)  # connections are remembered for five seconds

    def _folder(self, user: str) -> str:
        return "/pairs" if user == self.user else f"/pairs-of-{user}"

    def attach(self, name: str, configuration: Any) -> str:
        """Attach a target and return its name."""
        return ComputeTarget.attach(self.ws, name, configuration).name


def local(ground: Ground) -> str:
    """This machine: it needs no attaching."""
    return "local"


def amlcompute(ground: Ground) -> str:
    """Slots on this machine."""
    configuration = targets.AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=1)
    return ComputeTarget.create(ground.ws, "on-amlcompute", configuration).name


def spark(ground: Ground) -> str:
    """``local[2]``."""
    return ground.attach("on-spark", SparkCompute.attach_configuration(master="local[2]"))


def docker(ground: Ground) -> str:
    """Containers on this machine."""
    return _docker(ground, "on-docker", ground.fixture("base_image"))


def docker_with_java(ground: Ground) -> str:
    """The same, from an image in which Spark can run."""
    image = ground.fixture("dockerd").make_image("stepwell-java:test", ("openjdk-17-jre-headless",))
    return _docker(ground, "on-docker-with-java", image)


def _docker(ground: Ground, name: str, image: str) -> str:
    host = ground.fixture("dockerd").host
    # The tests' daemon has no other network, and HDFS is on this machine.
    return ground.attach(name, targets.DockerCompute.attach_configuration(image, docker_host=host, network="host"))


def _ssh(ground: Ground, vm: Any) -> str:
    fields = {"conn_type": "ssh", "host": vm.address, "port": vm.port, "login": vm.login, "password": vm.password}
    return ground.connection(f"pairs_{vm.name}", {**fields, "extra": {"host_key": vm.host_key}})


def remote(ground: Ground) -> str:
    """A machine behind SSH."""
    conn_id = _ssh(ground, ground.fixture("vm"))
    return ground.attach("on-remote", targets.RemoteCompute.attach_configuration(ssh_conn_id=conn_id))


def remotedocker(ground: Ground) -> str:
    """Containers on that machine."""
    vm, image = ground.fixture("vm"), ground.fixture("base_image")
    load(vm, ground.fixture("dockerd"), image)
    configuration = targets.RemoteDockerCompute.attach_configuration(
        ssh_conn_id=_ssh(ground, vm), base_image=image, root=f"/home/{vm.login}/boxes", network="host"
    )
    return ground.attach("on-remotedocker", configuration)


def cluster(ground: Ground) -> str:
    """YARN by its head node."""
    found = ground.fixture("cluster")
    configuration = targets.HDInsightCompute.attach_configuration(
        ssh_conn_id=_ssh(ground, found.vm), conf=CONF, python="/usr/bin/python3", **ground.storage(ground.user)
    )
    return ground.attach("on-cluster", configuration)


def livy(ground: Ground) -> str:
    """Apache Livy."""
    found = ground.fixture("livy")
    conn_id = ground.connection(
        "pairs_livy", {"conn_type": "livy", "host": found.host, "port": found.ports["http"], "schema": "http"}
    )
    configuration = targets.LivyCompute.attach_configuration(
        livy_conn_id=conn_id, conf=CONF, python=str(found.python), **ground.storage("root")
    )
    return ground.attach("on-livy", configuration)


def synapse(ground: Ground) -> str:
    """Azure's client, and a real Livy behind Synapse's paths."""
    found = ground.fixture("synapse")
    extra = {"tenantId": TENANT, "authority": found.authority, "ca_file": str(found.certificate)}
    conn_id = ground.connection(
        "pairs_azure", {"conn_type": "azure", "login": CLIENT_ID, "password": CLIENT_SECRET, "extra": extra}
    )
    service = LinkedService.register(
        ground.ws,
        "pairs",
        targets.SynapseWorkspaceLinkedServiceConfiguration(
            name="pairs", endpoint=found.endpoint, azure_conn_id=conn_id
        ),
    )
    configuration = targets.SynapseCompute.attach_configuration(
        linked_service=service, type="SynapseSpark", pool_name=found.pools[0], conf=CONF, **ground.storage("root")
    )
    return ground.attach("on-synapse", configuration)


#: Target → as whom Spark runs there, if not as the datastore's user: whom the service says.
USERS = {"on-livy": "root", "on-synapse": "root"}
#: Where Spark can run.
PREPARE: dict[str, Callable[[Ground], str]] = {
    "spark": spark,
    "docker": docker_with_java,
    "remote": remote,
    "cluster": cluster,
    "livy": livy,
    "synapse": synapse,
}
TRAIN: dict[str, Callable[[Ground], str]] = {
    "local": local,
    "amlcompute": amlcompute,
    "docker": docker,
    "remote": remote,
    "remotedocker": remotedocker,
    "cluster": cluster,
    "livy": livy,
    "synapse": synapse,
}
