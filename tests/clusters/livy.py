"""A real Apache Livy as pytest fixtures, on local Spark and on YARN: import them into a ``conftest.py``.

They start what they stand on. Their default file system is that of the fixture ``hdfs``.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest
from tests.clusters.hdfs import cluster as hdfs_cluster
from tests.clusters.yarn import cluster as yarn_cluster

from hdfs.daemons import ClusterError
from livy.livy_server import LivyServer


@pytest.fixture(scope="session")
def livy(payload_python: Path) -> LivyServer:
    """Livy on ``local[2]``, for the whole session."""
    return server("local", payload_python)


@pytest.fixture(scope="session")
def livy_on_yarn(payload_python: Path) -> LivyServer:
    """Livy on YARN in cluster mode, for the whole session; it remembers its batches over a restart."""
    return server("yarn", payload_python)


@pytest.fixture
def mortal_livy(payload_python: Path) -> LivyServer:
    """A Livy on ``local[2]`` that the test may kill."""
    return server("mortal", payload_python)


def server(name: str, python: Path) -> LivyServer:
    """Return the server of that name, started; the test is skipped where it cannot be."""
    try:
        made = _made(name, python)
        made.start()
    except ClusterError as error:
        pytest.skip(str(error))
    return made


@lru_cache
def _made(name: str, python: Path) -> LivyServer:
    folder = Path(tempfile.mkdtemp(prefix=f"stepwell-livy-{name}-"))
    on_yarn = name == "yarn"
    made = LivyServer(
        folder,
        python,
        yarn=yarn_cluster("shared") if on_yarn else None,
        hdfs=None if on_yarn else hdfs_cluster("shared"),
        recovery=on_yarn,
    )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(made.stop)
    return made
