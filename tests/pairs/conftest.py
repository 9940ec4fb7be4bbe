"""The ground of all pairs: a workspace, its data on HDFS, and kinds that are attached when they are asked for."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.clusters.hdfs import hdfs as hdfs
from tests.clusters.head import cluster as cluster
from tests.clusters.livy import livy as livy
from tests.clusters.synapse import synapse as synapse
from tests.machines.docker import base_image as base_image
from tests.machines.docker import dockerd as dockerd
from tests.machines.vm import vm as vm
from tests.pairs.kinds import Ground
from tests.pairs.results import selected
from tests.support.scratch import scratch as scratch

from hdfs.hdfs_cluster import HdfsCluster
from stepwell import Workspace


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for DAG files."""
    folder = tmp_path_factory.mktemp("dags")
    bundle = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [{"name": "tests", "classpath": bundle, "kwargs": {"path": str(folder)}}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
        yield folder


@pytest.fixture(scope="module")
def ground(
    tmp_path_factory: pytest.TempPathFactory, scratch: Path, request: pytest.FixtureRequest, project: Path
) -> Iterator[Ground]:
    """A workspace of the module's own on Airflow's database."""
    from airflow.utils.db import initdb

    initdb()
    root = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPWELL_ROOT", str(root))
        patch.setenv("STEPWELL_INCLUDE", str(project / "include"))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.chdir(root)
        # Spark on the machine behind SSH needs an HDFS that it can reach, as the cluster does.
        if any("cluster" in pair or pair[0] == "remote" for pair in selected()):
            head = request.getfixturevalue("cluster")
            disk, user = head.yarn.hdfs, head.vm.login
        else:
            disk, user = request.getfixturevalue("hdfs"), "root"
        _make_folder(disk, "/pairs", user)
        if user != "root":
            _make_folder(disk, "/pairs-of-root", "root")
        patch.setenv("AIRFLOW_CONN_WORKSPACEBLOBSTORE", json.dumps({**disk.connection("/pairs/data"), "login": user}))
        yield Ground(Workspace(), disk, user, request, patch)


def _make_folder(disk: HdfsCluster, path: str, user: str) -> None:
    """Make a folder that belongs to *user*, as HDFS's own user."""
    import getpass

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for operation in ("MKDIRS", f"SETOWNER&owner={user}"):
        url = f"{disk.webhdfs}/webhdfs/v1{path}?user.name={getpass.getuser()}&op={operation}"
        opener.open(urllib.request.Request(url, method="PUT"), timeout=20).close()


@pytest.fixture(scope="module")
def attached(ground: Ground) -> Callable[[Callable[[Ground], str]], str]:
    """Return the name of the target that a function attaches, which is called when it is first asked for."""

    @cache
    def attach(make: Callable[[Ground], str]) -> str:
        return make(ground)

    return attach
