"""The kind ``synapse``: Azure's own client and login, TLS and Synapse's paths; the batches run on a real Livy."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.hdfs import hdfs  # noqa: F401
from tests.clusters.synapse import CLIENT_ID, CLIENT_SECRET, TENANT, SynapseWorkspace, synapse  # noqa: F401
from tests.contract.compute.case import Case, Runner, eventually, scripts
from tests.contract.compute.guarantees import TargetGuarantees

from hdfs.hdfs_cluster import HdfsCluster
from stepwell.compute import portal
from stepwell.compute.contract import EnvironmentRef, Target
from stepwell.compute.kinds.synapse import SynapseTarget
from stepwell.errors import ComputeTargetException
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

    @pytest.mark.slow
    def test_cancel_ends_the_batch(self, run: Runner, target: SynapseTarget) -> None:
        handle = run("import time; print('up', flush=True); time.sleep(300)")
        eventually(lambda: scripts(handle.job_id), self.patience)
        portal.call(target.cancel(handle, None, "marked failed"))
        eventually(lambda: not scripts(handle.job_id), 10)
        final = run.wait(handle).final
        assert (final["status"], final["reason"]) == ("cancelled", "marked failed")

    @pytest.mark.slow
    def test_the_probe_tells_about_the_pool(self, target: SynapseTarget) -> None:
        report = portal.call(target.probe())
        assert report.ok, report.problems
        assert report.facts["pool"] == "pool1"
        assert report.facts["spark"]

    @pytest.mark.slow
    def test_a_service_that_is_down_for_a_while_fails_no_job(
        self,
        run: Runner,
        synapse: SynapseWorkspace,  # noqa: F811
    ) -> None:
        handle = run("import time; print('up', flush=True); time.sleep(8)")
        eventually(lambda: scripts(handle.job_id), self.patience)
        synapse.is_down = True
        try:
            status = run.status(handle)
        finally:
            synapse.is_down = False
        assert status.state == "unknown"
        assert "does not answer (HTTP 503)" in status.detail
        assert run.wait(handle).final["status"] == "succeeded"


def test_a_token_that_is_no_longer_taken_is_replaced_or_named(
    tmp_path: Path,
    synapse: SynapseWorkspace,  # noqa: F811
    hdfs: HdfsCluster,  # noqa: F811
    payload_python: Path,
) -> None:
    target = target_on(synapse, hdfs, payload_python, tmp_path)
    assert portal.call(target.batches.seen()) is not None
    before = len(synapse.requests)
    assert portal.call(target.batches.seen()) is not None
    logins = [path for _, path in synapse.requests[before:] if "oauth2" in path]
    assert not logins, "a login for each request"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"password": "wrong"}, "AADSTS7000215"),
        ({"login": "somebody"}, "AADSTS700016"),
        ({"extra": {}}, "no tenantId"),
        ({"password": None}, "no password"),
    ],
)
def test_a_login_that_azure_refuses_is_a_problem_of_the_probe(
    tmp_path: Path,
    synapse: SynapseWorkspace,  # noqa: F811
    hdfs: HdfsCluster,  # noqa: F811
    payload_python: Path,
    more: dict[str, Any],
    said: str,
) -> None:
    connection = connection_to(synapse, **more)
    report = portal.call(target_on(synapse, hdfs, payload_python, tmp_path, connection).probe())
    assert said in report.problems[0]
    assert CLIENT_SECRET not in str(report)


def test_a_pool_that_does_not_exist_is_named(
    tmp_path: Path,
    synapse: SynapseWorkspace,  # noqa: F811
    hdfs: HdfsCluster,  # noqa: F811
    payload_python: Path,
) -> None:
    report = portal.call(target_on(synapse, hdfs, payload_python, tmp_path, pool_name="nopool").probe())
    assert "has no Spark pool 'nopool'" in report.problems[0]


def test_an_endpoint_whose_certificate_is_not_trusted_is_not_used(
    tmp_path: Path,
    synapse: SynapseWorkspace,  # noqa: F811
    hdfs: HdfsCluster,  # noqa: F811
    payload_python: Path,
) -> None:
    extra = {"tenantId": TENANT, "authority": synapse.authority}
    connection = connection_to(synapse, extra=extra)
    report = portal.call(target_on(synapse, hdfs, payload_python, tmp_path, connection).probe())
    assert "certificate" in report.problems[0].lower()


def test_a_connection_of_another_type_is_refused(
    tmp_path: Path,
    synapse: SynapseWorkspace,  # noqa: F811
    hdfs: HdfsCluster,  # noqa: F811
    payload_python: Path,
) -> None:
    with pytest.raises(ComputeTargetException, match="is of type 'ssh'"):
        target_on(synapse, hdfs, payload_python, tmp_path, ConnectionInfo("x", "ssh", "host"))
