"""A real HDFS as pytest fixtures: import ``hdfs`` (or ``mortal_hdfs``) into a ``conftest.py``."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

from hdfs.hdfs_cluster import HdfsCluster, HdfsError


@pytest.fixture(scope="session")
def hdfs() -> HdfsCluster:
    """One NameNode and one DataNode for the whole session; use folders of your own."""
    return _cluster("shared")


@pytest.fixture
def mortal_hdfs() -> HdfsCluster:
    """A cluster that the test may kill."""
    return _cluster("mortal")


def _cluster(name: str) -> HdfsCluster:
    cluster = _made(name)
    try:
        cluster.start()
    except HdfsError as error:
        pytest.skip(str(error))
    return cluster


@lru_cache
def _made(name: str) -> HdfsCluster:
    # Not a fixture's end but the process's: each conftest that imports the fixture would have a cluster of its own.
    folder = Path(tempfile.mkdtemp(prefix=f"stepwell-hdfs-{name}-"))
    cluster = HdfsCluster(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(cluster.stop)
    return cluster
