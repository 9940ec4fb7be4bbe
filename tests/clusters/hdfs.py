"""A real HDFS as pytest fixtures: import ``hdfs`` (or ``mortal_hdfs``) into a ``conftest.py``."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

from hdfs.daemons import ClusterError
from hdfs.hdfs_cluster import HdfsCluster


@pytest.fixture(scope="session")
def hdfs() -> HdfsCluster:
    """One NameNode and one DataNode for the whole session; use folders of your own."""
    return cluster("shared")


@pytest.fixture
def mortal_hdfs() -> HdfsCluster:
    """A cluster that the test may kill."""
    return cluster("mortal")


def cluster(name: str) -> HdfsCluster:
    """Return the cluster of that name, started; the test is skipped where it cannot be."""
    made = _made(name)
    try:
        made.start()
    except ClusterError as error:
        pytest.skip(str(error))
    return made


@lru_cache
def _made(name: str) -> HdfsCluster:
    # Not a fixture's end but the process's: each conftest that imports the fixture would have a cluster of its own.
    folder = Path(tempfile.mkdtemp(prefix=f"stepwell-hdfs-{name}-"))
    made = HdfsCluster(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(made.stop)
    return made
