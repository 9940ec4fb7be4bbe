"""The kind ``synapse``: Azure's own client and login, TLS and Synapse's paths; the batches run on a real Livy."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.hdfs import hdfs  # noqa: F401
from tests.clusters.synapse import CLIENT_ID, CLIENT_SECRET, TENANT, SynapseWorkspace, synapse  # noqa: F401
from tests.contract.compute.contract import Case
from tests.contract.compute.guarantees import TargetGuarantees

from hdfs.hdfs_cluster import HdfsCluster
from stepwell.compute.contract import EnvironmentRef, Target
from stepwell.compute.kinds.synapse import SynapseTarget
from stepwell.workspace.connections import ConnectionInfo

pytestmark = pytest.mark.integration


def connection_to(workspace: SynapseWorkspace, **more: Any) -> ConnectionInfo:
    extra = {"tenantId": TENANT, "authority": workspace.authority, "ca_file": str(workspace.certificate)}
    fields = {"login": CLIENT_ID, "password": CLIENT_SECRET, "extra": extra, **more}
    return ConnectionInfo("azure", "azure", **fields)


def target_on(
    workspace: SynapseWorkspace,
    cluster: HdfsCluster,
    python: Path,
    folder: Path,
    connection: ConnectionInfo | None = None,
    **more: Any,
) -> SynapseTarget:
    configuration = {
        "endpoint": workspace.endpoint,
        "pool_name": "pool1",
        "linked_service": "synapse",
        "storage": f"{cluster.rpc}/stepwell-{uuid.uuid4().hex}",
        "webhdfs_url": cluster.webhdfs,
        "python": str(python),
        "conf": {"spark.driver.memory": "512m", "spark.executor.memory": "512m", "spark.driver.cores": 1},
        **more,
    }
    connection = connection or connection_to(workspace)
    return SynapseTarget.from_record({"name": "pool", "configuration": configuration, "connection": connection}, folder)


class TestSynapse(Case):
    patience = 60.0

    @pytest.fixture
    def target(
        self,
        tmp_path: Path,
        synapse: SynapseWorkspace,  # noqa: F811
        hdfs: HdfsCluster,  # noqa: F811
        payload_python: Path,
    ) -> SynapseTarget:
        self.folder = tmp_path
        return target_on(synapse, hdfs, payload_python, tmp_path / "here")

    @pytest.fixture
    def environment(self, payload_python: Path) -> EnvironmentRef:
        return EnvironmentRef("test", str(payload_python), None, user_managed=True)

    def desk(self, target: Target, job_id: str) -> str:
        folder = self.folder / "desks" / job_id
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    test_the_script_receives_what_was_given = TargetGuarantees.test_the_script_receives_what_was_given
