"""A real YARN on the real HDFS as pytest fixtures: import ``yarn`` (or ``mortal_yarn``) into a ``conftest.py``."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest
from tests.clusters.hdfs import cluster as hdfs_cluster

from hdfs.daemons import ClusterError
from yarn.yarn_cluster import YarnCluster

#: A node that says nothing for so long is lost, instead of after ten minutes.
NODE_LOST_SECONDS = 15
EXPIRY = {
    "yarn.nm.liveness-monitor.expiry-interval-ms": NODE_LOST_SECONDS * 1000,
    "yarn.resourcemanager.rm.container-allocation.expiry-interval-ms": NODE_LOST_SECONDS * 1000,
}


@pytest.fixture(scope="session")
def yarn() -> YarnCluster:
    """One ResourceManager and one NodeManager for the whole session, on the HDFS of the fixture ``hdfs``."""
    return cluster("shared")


@pytest.fixture
def mortal_yarn() -> YarnCluster:
    """A cluster whose daemons the test may kill; its HDFS is that of ``mortal_hdfs``."""
    return cluster("mortal")


def cluster(name: str) -> YarnCluster:
    """Return the cluster of that name, started; the test is skipped where it cannot be."""
    made = _made(name)
    try:
        made.start()
    except ClusterError as error:
        pytest.skip(str(error))
    return made


@lru_cache
def _made(name: str) -> YarnCluster:
    folder = Path(tempfile.mkdtemp(prefix=f"stepwell-yarn-{name}-"))
    made = YarnCluster(folder, hdfs_cluster(name), settings=EXPIRY)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(made.stop)  # before HDFS, which was registered earlier
    return made
