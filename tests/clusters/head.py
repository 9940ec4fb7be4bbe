"""A Hadoop cluster with a head node to log in to over SSH: import ``cluster`` into a ``conftest.py`` or a test module.

The head node is a machine of its own (``tests/machines/vm.py``) with Spark, Java and Hadoop's configuration as a
distribution lays them out; HDFS and YARN run on this machine, at an address that only the two of them know.
"""

from __future__ import annotations

import atexit
import ipaddress
import os
import shutil
import tempfile
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.yarn import EXPIRY
from tests.machines.vm import Vm, running

from hdfs.daemons import ClusterError, java_home
from yarn.yarn_cluster import YarnCluster

#: On the head node.
CONF, SPARK, SPARK_CONF = "/etc/hadoop/conf", "/opt/spark", "/etc/spark/conf"
#: On HDFS, the head node's user's.
FOLDER = "/stepwell"


class Cluster:
    """HDFS, YARN and a head node.

    :param python: an interpreter with PySpark, on the nodes.
    """

    def __init__(self, name: str, python: Path) -> None:
        self.vm: Vm = running(name)
        self.python = python
        gateway = str(ipaddress.ip_address(self.vm.address) - 1)
        folder = Path(tempfile.mkdtemp(prefix=f"stepwell-{name}-"))
        maker = os.getpid()
        atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == maker else None)
        self.yarn = YarnCluster(folder, host=gateway, settings=EXPIRY)
        atexit.register(lambda: self.yarn.stop() if os.getpid() == maker else None)

    @property
    def storage(self) -> dict[str, Any]:
        """Return the part of a compute record's configuration that says where jobs are."""
        hdfs = self.yarn.hdfs
        return {"storage": hdfs.rpc + FOLDER, "webhdfs_url": hdfs.webhdfs, "storage_user": self.vm.login}

    def start(self) -> None:
        """Start what does not run, and make the head node ready."""
        self.vm.start()
        was = self.yarn.pids
        self.yarn.start()
        if self.yarn.pids != was or not self.vm.path(CONF).exists():
            self._equip()
            for path in (FOLDER, f"/user/{self.vm.login}"):
                self._hdfs("MKDIRS", path)
                self._hdfs("SETOWNER", path, owner=self.vm.login)

    def _equip(self) -> None:
        variables = self.yarn.environment(self.python)
        for source, place in ((self.yarn.conf, CONF), (Path(variables["SPARK_CONF_DIR"]), SPARK_CONF)):
            shutil.copytree(source, self.vm.path(place), dirs_exist_ok=True)
        spark = self.vm.path(SPARK)
        spark.unlink(missing_ok=True)
        spark.symlink_to(variables["SPARK_HOME"])
        # Whose name the nodes do not know.
        self.vm.path(f"{SPARK_CONF}/spark-env.sh").write_text(f"export SPARK_LOCAL_IP={self.vm.address}\n")
        hosts = self.vm.path("/etc/hosts")
        line = f"{self.vm.address} {self.vm.name}\n"
        hosts.write_text(line + hosts.read_text().replace(line, ""))
        # As distributions do: for logins, and a command over SSH starts without.
        lines = {"HADOOP_CONF_DIR": CONF, "SPARK_CONF_DIR": SPARK_CONF, "JAVA_HOME": java_home()}
        profile = "".join(f"export {name}={value}\n" for name, value in lines.items())
        self.vm.path("/etc/profile.d/hadoop.sh").write_text(profile + "echo Welcome to the head node\n")

    def _hdfs(self, operation: str, path: str, **query: str) -> None:
        words = "".join(f"&{name}={value}" for name, value in query.items())
        url = f"{self.yarn.hdfs.webhdfs}/webhdfs/v1{path}?op={operation}&user.name={_superuser()}{words}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(urllib.request.Request(url, method="PUT"), timeout=20).close()


def _superuser() -> str:
    import getpass

    return getpass.getuser()


@pytest.fixture(scope="session")
def cluster(payload_python: Path) -> Cluster:
    """One cluster with a head node for the whole session; a test leaves it as it has found it."""
    return started("head", payload_python)


@pytest.fixture
def mortal_cluster(payload_python: Path) -> Cluster:
    """A cluster whose daemons and head node the test may kill."""
    return started("mortal-head", payload_python)


def started(name: str, python: Path) -> Cluster:
    """Return the cluster of that name, started; the test is skipped where it cannot be."""
    made = _made(name, python)
    try:
        made.start()
    except ClusterError as error:
        pytest.skip(str(error))
    return made


@lru_cache
def _made(name: str, python: Path) -> Cluster:
    return Cluster(name, python)
