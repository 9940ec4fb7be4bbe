"""v1's API of compute targets, on a workspace on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepwell.compute.kinds.spark import SparkTarget
from stepwell.compute.resolve import target_for
from stepwell.compute.targets import (
    AmlCompute,
    ComputeTarget,
    LinkedService,
    SparkCompute,
    SynapseCompute,
    SynapseWorkspaceLinkedServiceConfiguration,
)
from stepwell.errors import ComputeTargetException, UserErrorException
from stepwell.workspace import Workspace
from stepwell.workspace.connections import ConnectionInfo, set_connection_source


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("STEPWELL_SCRATCH", raising=False)
    return Workspace("default", root=tmp_path / "ws")


@pytest.fixture
def service(ws: Workspace) -> LinkedService:
    return LinkedService.register(ws, "link1", SynapseWorkspaceLinkedServiceConfiguration())


def attach_synapse(ws: Workspace, service: LinkedService, name: str = "link1-spark01") -> ComputeTarget:
    configuration = SynapseCompute.attach_configuration(service, type="SynapseSpark", pool_name="spark01")
    return ComputeTarget.attach(workspace=ws, name=name, attach_configuration=configuration)


def connections(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    values = {"host": None, "port": None, "login": None, "password": None, "schema": None, "extra": {}, **fields}

    class Source:
        def get(self, conn_id: str) -> ConnectionInfo | None:
            return ConnectionInfo(conn_id=conn_id, **values) if conn_id == "spark_x" else None

    set_connection_source(Source())


@pytest.fixture(autouse=True)
def no_connections() -> Any:
    yield
    set_connection_source(None)


# -- the article's idiom -----------------------------------------------------------------------------------------------


def test_found_if_it_exists_else_created(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ComputeTargetException, match="ComputeTargetNotFound"):
        ComputeTarget(workspace=ws, name="cpucluster")
    configuration = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=4)
    made = ComputeTarget.create(ws, "cpucluster", configuration)
    made.wait_for_completion(show_output=True)
    assert "Succeeded" in capsys.readouterr().out
    found = ComputeTarget(workspace=ws, name="cpucluster")
    assert isinstance(found, AmlCompute)
    assert (found.type, found.provisioning_state, found.is_attached) == ("AmlCompute", "Succeeded", False)
    assert found.vm_size == "STANDARD_D2_V2"
    found.wait_for_completion(show_output=True)  # v1: may be called on a found AmlCompute, too


def test_attach_keeps_a_dated_report(ws: Workspace, service: LinkedService) -> None:
    attached = attach_synapse(ws, service)
    assert attached.report is not None
    assert attached.report["ok"] is True
    assert attached.report["facts"]["java"].split(".")[0].isdigit()
    assert attached.is_attached
    json.dumps(attached.serialize())
    target = target_for(ws, "link1-spark01")
    assert isinstance(target, SparkTarget)
    assert target.master == "local[*]"


def test_all_are_listed_local_too(ws: Workspace, service: LinkedService) -> None:
    attach_synapse(ws, service)
    assert [target.name for target in ComputeTarget.list(ws)] == ["link1-spark01", "local"]
    assert set(ws.compute_targets) == {"link1-spark01", "local"}
    assert ComputeTarget(ws, "local").type == "local"


# -- names -------------------------------------------------------------------------------------------------------------


def test_an_unknown_name_comes_with_the_nearest_ones(ws: Workspace, service: LinkedService) -> None:
    attach_synapse(ws, service)
    for find in (lambda: ComputeTarget(ws, "link1-spark02"), lambda: target_for(ws, "link1-spark02")):
        with pytest.raises(ComputeTargetException) as caught:
            find()
        assert caught.value.allowed == ["link1-spark01"]
        assert "ComputeTargetNotFound" in str(caught.value)


@pytest.mark.parametrize("name", ["local", "amlcompute", "containerinstance"])
def test_reserved_names_are_refused(ws: Workspace, name: str) -> None:
    with pytest.raises(UserErrorException, match="reserved"):
        ComputeTarget.create(ws, name, AmlCompute.provisioning_configuration(max_nodes=1))


@pytest.mark.parametrize("name", ["x", "1spark", "a-very-long-name-x", "spark_1", "spark-", "../x", ""])
def test_a_pool_name_against_the_rule_is_refused(ws: Workspace, service: LinkedService, name: str) -> None:
    with pytest.raises((ComputeTargetException, UserErrorException), match="is not a valid"):
        attach_synapse(ws, service, name)
    assert [target.name for target in ComputeTarget.list(ws)] == ["local"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ""])
def test_a_name_that_is_a_path_is_refused(ws: Workspace, name: str) -> None:
    with pytest.raises(UserErrorException, match="not a valid compute target name"):
        ComputeTarget(ws, name)


# -- attached and managed ----------------------------------------------------------------------------------------------


def test_managed_ones_are_deleted_and_attached_ones_detached(ws: Workspace, service: LinkedService) -> None:
    attached = attach_synapse(ws, service)
    created = ComputeTarget.create(ws, "cpu", AmlCompute.provisioning_configuration(max_nodes=1))
    with pytest.raises(ComputeTargetException, match="Delete is not supported for SynapseCompute.*detach"):
        attached.delete()
    with pytest.raises(ComputeTargetException, match="Detach is not supported for AmlCompute.*delete"):
        created.detach()
    with pytest.raises(ComputeTargetException, match="not supported"):
        ComputeTarget(ws, "local").detach()
    attached.detach()
    created.delete()
    assert [target.name for target in ComputeTarget.list(ws)] == ["local"]


def test_the_wrong_verb_is_refused(ws: Workspace) -> None:
    with pytest.raises(ComputeTargetException, match="created, not attached"):
        ComputeTarget.attach(ws, "cpu", AmlCompute.provisioning_configuration(max_nodes=1))
    with pytest.raises(ComputeTargetException, match="attached, not created"):
        ComputeTarget.create(ws, "pool", SparkCompute.attach_configuration())


def test_a_name_keeps_its_type(ws: Workspace, service: LinkedService) -> None:
    attach_synapse(ws, service, "shared")
    with pytest.raises(ComputeTargetException, match="of type 'SynapseSpark' already"):
        ComputeTarget.create(ws, "shared", AmlCompute.provisioning_configuration(max_nodes=1))
    with pytest.raises(ComputeTargetException, match="of type SynapseSpark, not AmlCompute"):
        AmlCompute(ws, "shared")


def test_attached_anew_it_is_changed(ws: Workspace) -> None:
    first = ComputeTarget.attach(ws, "pool", SparkCompute.attach_configuration(master="local[1]"))
    ComputeTarget.attach(ws, "pool", SparkCompute.attach_configuration(master="local[2]"))
    target = target_for(ws, "pool")
    assert isinstance(target, SparkTarget)
    assert target.master == "local[2]"
    first.refresh_state()
    assert first.serialize()["properties"]["master"] == "local[2]"


def test_waiting_without_an_operation_is_an_error(ws: Workspace, service: LinkedService) -> None:
    attach_synapse(ws, service).wait_for_completion()
    with pytest.raises(ComputeTargetException, match="Long running operation information not known.*Succeeded"):
        ComputeTarget(ws, "link1-spark01").wait_for_completion()


# -- what cannot work is refused ---------------------------------------------------------------------------------------


def test_a_master_that_nobody_answers_is_refused_and_nothing_is_written(ws: Workspace) -> None:
    configuration = SparkCompute.attach_configuration(master="spark://127.0.0.1:9")
    with pytest.raises(ComputeTargetException, match="spark://127.0.0.1:9 cannot be reached"):
        ComputeTarget.attach(ws, "pool", configuration)
    assert [target.name for target in ComputeTarget.list(ws)] == ["local"]


@pytest.mark.parametrize("master", ["yarn", "spark://", "local[x]", "spark://a b:1", "--conf=x", 3])
def test_a_master_that_is_not_supported_is_refused(master: Any) -> None:
    with pytest.raises(UserErrorException, match="not a Spark master"):
        SparkCompute.attach_configuration(master=master)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "max nodes count is mandatory"),
        ({"max_nodes": -1}, "max_nodes=-1"),
        ({"max_nodes": "4"}, "max_nodes='4'"),
        ({"max_nodes": 1, "min_nodes": 2}, "less than min_nodes=2"),
        ({"max_nodes": 1, "vm_priority": "cheap"}, "vm_priority='cheap'"),
        ({"max_nodes": 1, "vnet_name": "net"}, "vnet_name of AmlCompute is not built"),
    ],
)
def test_a_wrong_provisioning_configuration_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ComputeTargetException, match=message):
        AmlCompute.provisioning_configuration(**more)


def test_update_changes_the_number_of_nodes(ws: Workspace) -> None:
    ComputeTarget.create(ws, "cpu", AmlCompute.provisioning_configuration(max_nodes=1))
    found = AmlCompute(ws, "cpu")
    assert isinstance(found, AmlCompute)
    found.update(max_nodes=3)
    status = AmlCompute(ws, "cpu").get_status()
    assert status.scale_settings["max_nodes"] == 3
    assert status.serialize()["node_state_counts"]["running"] == 0
    with pytest.raises(ComputeTargetException, match="less than min_nodes=9"):
        found.update(min_nodes=9)


# -- linked services and connections -----------------------------------------------------------------------------------


def test_linked_services_are_registered_listed_and_unregistered(ws: Workspace, service: LinkedService) -> None:
    assert [(s.name, s.type) for s in LinkedService.list(ws)] == [("link1", "Synapse")]
    attached = attach_synapse(ws, service)
    with pytest.raises(ComputeTargetException, match="used by link1-spark01"):
        service.unregister()
    attached.detach()
    LinkedService.get(ws, "link1").unregister()
    with pytest.raises(ComputeTargetException, match="no linked service named 'link1'"):
        LinkedService.get(ws, "link1")


def test_a_linked_service_is_azure_synapse_or_a_spark_of_ones_own() -> None:
    azure = SynapseWorkspaceLinkedServiceConfiguration("s", "g", "Lab")
    assert azure.endpoint == "https://lab.dev.azuresynapse.net"
    own = SynapseWorkspaceLinkedServiceConfiguration("s", "g", "w", master="local[2]")
    assert (own.master, own.endpoint) == ("local[2]", None)
    with pytest.raises(ComputeTargetException, match="'no name' is not the name of an Azure Synapse workspace"):
        SynapseWorkspaceLinkedServiceConfiguration("s", "g", "no name")
    with pytest.raises(ComputeTargetException, match="endpoint='http://x' is not right"):
        SynapseWorkspaceLinkedServiceConfiguration("s", "g", "w", endpoint="http://x")
    with pytest.raises(UserErrorException, match="master and azure_conn_id both say where Spark is"):
        SynapseWorkspaceLinkedServiceConfiguration("s", "g", "w", master="local[2]", azure_conn_id="azure")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"linked_service": "link1"}, "is not a LinkedService object"),
        ({"type": "Synapse"}, "Allowed: SynapseSpark"),
        ({"pool_name": None}, "pool_name=None"),
        ({"pool_name": "1pool"}, "pool_name='1pool' is not a valid name for a Spark pool. Allowed: 2 to 16"),
        ({"pool_name": "spark_01"}, "pool_name='spark_01' is not a valid name"),
        ({"pool_name": "a-very-long-pool-name"}, "is not a valid name"),
    ],
)
def test_a_wrong_attach_configuration_is_refused(service: LinkedService, more: dict[str, Any], message: str) -> None:
    right = {"linked_service": service, "type": "SynapseSpark", "pool_name": "spark01"}
    with pytest.raises(ComputeTargetException, match=message):
        SynapseCompute.attach_configuration(**{**right, **more})


@pytest.mark.parametrize(
    ("fields", "master"),
    [
        ({"host": "local[2]"}, "local[2]"),
        ({}, "local[*]"),
        ({"host": "spark://127.0.0.1", "port": 7077}, "spark://127.0.0.1:7077"),
        ({"host": "head", "port": 7077, "extra": {"deploy-mode": "client"}}, "spark://head:7077"),
    ],
)
def test_a_spark_connection_says_the_master(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], master: str
) -> None:
    from stepwell.compute.resolve import target_of

    connections(monkeypatch, conn_type="spark", **fields)
    record = {"name": "x", "kind": "spark", "configuration": {}, "connection_id": "spark_x"}
    target = target_of(ws, record)
    assert isinstance(target, SparkTarget)
    assert target.master == master


def test_a_connection_that_is_missing_or_of_another_type_is_refused(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections(monkeypatch, conn_type="ssh", host="head")
    with pytest.raises(ComputeTargetException, match="of type 'ssh'. Allowed: spark"):
        ComputeTarget.attach(ws, "pool", SparkCompute.attach_configuration(spark_conn_id="spark_x"))
    with pytest.raises(ComputeTargetException, match="'spark_y' of the compute target 'pool' does not exist"):
        ComputeTarget.attach(ws, "pool", SparkCompute.attach_configuration(spark_conn_id="spark_y"))


def test_a_pool_is_where_its_linked_service_is_now(
    ws: Workspace, service: LinkedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stepwell.compute import records

    connections(monkeypatch, conn_type="spark", host="local[3]")
    pool = attach_synapse(ws, service)

    def masters() -> tuple[str, ...]:
        found = (target_for(ws, pool.name), pool.target())
        return tuple(target.master for target in found if isinstance(target, SparkTarget))

    assert masters() == ("local[*]", "local[*]")
    LinkedService.register(ws, "link1", SynapseWorkspaceLinkedServiceConfiguration(master="local[2]"))
    assert masters() == ("local[2]", "local[2]")
    LinkedService.register(ws, "link1", SynapseWorkspaceLinkedServiceConfiguration(spark_conn_id="spark_x"))
    assert masters() == ("local[3]", "local[3]")
    records.remove_linked_service(ws, "link1")  # behind the back of unregister(), which refuses
    assert masters() == ("local[*]", "local[*]"), "as it was attached"


def test_a_workspace_may_be_given_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_ROOT", str(tmp_path / "ws"))
    ComputeTarget.create("default", "cpu", AmlCompute.provisioning_configuration(max_nodes=1))
    LinkedService.register("default", "link1", SynapseWorkspaceLinkedServiceConfiguration())
    assert ComputeTarget("default", "cpu").name == "cpu"
    assert [target.name for target in ComputeTarget.list("default")] == ["cpu", "local"]
    assert [service.name for service in LinkedService.list("default")] == ["link1"]
    assert LinkedService.get("default", "link1").type == "Synapse"
    with pytest.raises(UserErrorException, match="7 is not a workspace"):
        ComputeTarget.list(7)  # type: ignore[arg-type]
