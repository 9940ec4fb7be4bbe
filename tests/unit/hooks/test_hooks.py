"""The hooks over connections in AIRFLOW_CONN_* variables, with Airflow's own as their source."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow")

from stepwell import AmlCompute, ComputeTarget, Dataset, Workspace
from stepwell.errors import ComputeTargetException, DatasetError, DatastoreError, StepwellError
from stepwell.hooks import ComputeTargetHook, DatastoreHook, WorkspaceHook
from stepwell.hooks.connections import AirflowConnections
from stepwell.workspace import connections


@pytest.fixture(autouse=True)
def _airflow_s_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Connections come in as inside Airflow; without one, everything is below the test's own folder."""
    monkeypatch.setenv("STEPWELL_ROOT", str(tmp_path / "default"))
    monkeypatch.setenv("STEPWELL_SCRATCH", str(tmp_path / "scratch"))
    connections.set_connection_source(AirflowConnections())
    yield
    connections.set_connection_source(None)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a connection."""

    def make(conn_id: str, conn_type: str, **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": conn_type, **fields}))

    return make


@pytest.fixture
def nobody() -> int:
    """A port of this machine where nobody listens."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# -- workspace ---------------------------------------------------------------------------------------------------------


def test_the_workspace_is_where_its_connection_says(connect: Any, tmp_path: Path) -> None:
    connect("stepwell_lab", "stepwell_workspace", host=f"file://{tmp_path}/lab")
    hook = WorkspaceHook("stepwell_lab")
    ws = hook.get_conn()
    assert ws is hook.workspace
    assert (ws.name, ws.root) == ("lab", f"file://{tmp_path}/lab")
    assert not (tmp_path / "lab").exists(), "nothing is looked at before it is used"
    assert hook.test_connection() == (True, f"Workspace lab at file://{tmp_path}/lab ({ws.uuid})")


def test_without_a_connection_it_is_the_default_one(tmp_path: Path) -> None:
    ws = WorkspaceHook().get_conn()
    assert (ws.name, ws.root) == ("default", f"file://{tmp_path}/default")


def test_the_root_may_be_a_uri_form_or_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STEPWELL_LAB", f"stepwell-workspace://?root={tmp_path}/there")
    assert WorkspaceHook("stepwell_lab").get_conn().root == f"file://{tmp_path}/there"


def test_references_of_registered_versions(connect: Any, tmp_path: Path) -> None:
    connect("stepwell_lab", "stepwell_workspace", host=str(tmp_path / "lab"))
    hook = WorkspaceHook("stepwell_lab")
    datastore = hook.workspace.get_default_datastore()
    for text in ("a\n1\n", "a\n1\n2\n"):
        (tmp_path / "x.csv").write_text(text)
        datastore.upload_files([tmp_path / "x.csv"], target_path=f"v{len(text)}")
        data = Dataset.File.from_files((datastore, f"v{len(text)}/x.csv"))
        data.register(hook.workspace, "numbers", create_new_version=True)
    first, latest = hook.get_reference("numbers", 1), hook.get_reference("numbers")
    assert (first["version"], first["size"], latest["version"], latest["size"]) == (1, 4, 2, 6)
    assert latest == hook.get_version("numbers").reference() == json.loads(json.dumps(latest))
    assert latest["uri"].startswith(f"file://{tmp_path}/lab/data/v6")
    with pytest.raises(DatasetError, match=r"no version 3.*Allowed: 1, 2"):
        hook.get_reference("numbers", 3)
    with pytest.raises(DatasetError, match=r"'nubers'.*Allowed: numbers"):
        hook.get_reference("nubers")


def test_a_workspace_that_cannot_be_made_fails_its_test(connect: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    connect("stepwell_lab", "stepwell_workspace", host=f"file://{tmp_path}/file/lab")
    works, message = WorkspaceHook("stepwell_lab").test_connection()
    assert not works
    assert f"{tmp_path}/file" in message


def test_a_workspace_connection_without_a_root_says_so(connect: Any) -> None:
    connect("stepwell_lab", "stepwell_workspace")
    works, message = WorkspaceHook("stepwell_lab").test_connection()
    assert not works
    assert "stepwell_lab names no root" in message
    assert "host" in message


def test_an_hdfs_root_where_nobody_listens_fails_its_test(connect: Any, nobody: int) -> None:
    extra = {"webhdfs_url": f"http://127.0.0.1:{nobody}"}
    connect("stepwell_lab", "stepwell_workspace", host=f"hdfs://127.0.0.1:{nobody}/lab", login="ann", extra=extra)
    works, message = WorkspaceHook("stepwell_lab").test_connection()
    assert not works
    assert str(nobody) in message


# -- datastore ---------------------------------------------------------------------------------------------------------


def test_the_datastore_s_files_and_their_urls(connect: Any, tmp_path: Path) -> None:
    connect("lake", "stepwell_datastore", extra={"kind": "local", "root": str(tmp_path / "lake")})
    for name in ("raw/b.csv", "raw/a.csv", "raw/deep/c.csv", "notes.txt", ".stepwell/staging/half.csv"):
        (tmp_path / "lake" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lake" / name).write_text("x")
    hook = DatastoreHook("lake")
    assert hook.get_conn() is hook.datastore
    assert (hook.get_conn().name, hook.get_conn().datastore_type) == ("lake", "local")
    assert hook.list() == ["notes.txt", "raw/a.csv", "raw/b.csv", "raw/deep/c.csv"], "sorted; what is aside is not seen"
    assert hook.list("raw/*.csv") == ["raw/a.csv", "raw/b.csv"]
    assert hook.list("none/*") == []
    assert hook.uri("raw/a.csv") == f"file://{tmp_path}/lake/raw/a.csv"
    assert hook.test_connection() == (True, f"Datastore lake answers at file://{tmp_path}/lake")


def test_without_a_connection_it_is_the_workspace_s_own_folder(tmp_path: Path) -> None:
    assert DatastoreHook().uri("x") == f"file://{tmp_path}/default/data/x"


def test_urls_of_an_hdfs_datastore_are_spark_s_and_nobody_is_asked(connect: Any, nobody: int) -> None:
    extra = {"kind": "hdfs", "root": "/lake", "webhdfs_url": f"http://127.0.0.1:{nobody}"}
    connect("lake", "stepwell_datastore", host="namenode", port=9000, login="ann", extra=extra)
    hook = DatastoreHook("lake")
    assert hook.uri("raw/a.csv") == "hdfs://namenode:9000/lake/raw/a.csv"
    works, message = hook.test_connection()
    assert not works
    assert str(nobody) in message


@pytest.mark.parametrize(
    ("conn_type", "extra", "words"),
    [
        ("stepwell_datastore", {"kind": "s3", "root": "/x"}, ["'s3'", "hdfs", "local"]),
        ("stepwell_datastore", {"kind": "local", "root": "not/absolute"}, ["'not/absolute'", "absolute"]),
        ("sftp", {}, ["'lake'", "'sftp'", "stepwell_datastore"]),
    ],
)
def test_a_datastore_connection_that_cannot_work_fails_its_test(
    connect: Any, conn_type: str, extra: dict[str, Any], words: list[str]
) -> None:
    connect("lake", conn_type, extra=extra)
    hook = DatastoreHook("lake")
    works, message = hook.test_connection()
    assert not works
    for word in words:
        assert word in message
    with pytest.raises(StepwellError):
        hook.list()


def test_a_datastore_that_nobody_has_made_names_the_nearest(tmp_path: Path) -> None:
    from stepwell import Datastore

    Datastore.register_local(Workspace(), "lake", tmp_path / "lake")
    with pytest.raises(DatastoreError, match=r"no datastore 'lace'.*Allowed: lake"):
        DatastoreHook("lace").list()


# -- compute target ----------------------------------------------------------------------------------------------------


def test_the_target_that_the_connection_names(connect: Any, tmp_path: Path) -> None:
    connect("stepwell_lab", "stepwell_workspace", host=str(tmp_path / "lab"))
    lab = Workspace("lab")
    ComputeTarget.create(lab, "cpu", AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=1))
    connect("train", "stepwell_compute", extra={"target": "cpu", "workspace": "lab"})
    found = ComputeTargetHook("train").get_conn()
    assert (found.name, found.type, found.workspace.name) == ("cpu", "AmlCompute", "lab")
    works, message = ComputeTargetHook("train").test_connection()
    assert works, message


def test_names_given_to_the_hook_need_no_connection() -> None:
    assert ComputeTargetHook(target="local").get_conn().name == "local"
    with pytest.raises(ComputeTargetException, match="ComputeTargetNotFound"):
        ComputeTargetHook(target="cpu").get_conn()


def test_local_is_probed_now() -> None:
    report = ComputeTargetHook(target="local").probe()
    assert report["ok"] is True
    assert report["problems"] == []
    assert {"python", "cores"} <= set(report["facts"])
    assert json.loads(json.dumps(report)) == report, "plain data"


def test_a_connection_s_target_defaults_to_local(connect: Any) -> None:
    connect("stepwell_compute_default", "stepwell_compute")
    works, message = ComputeTargetHook().test_connection()
    assert works
    assert message.startswith("It works: ")


def test_a_connection_that_names_no_existing_target_fails_its_test(connect: Any) -> None:
    connect("train", "stepwell_compute", extra={"target": "cpu"})
    works, message = ComputeTargetHook("train").test_connection()
    assert not works
    assert "ComputeTargetNotFound" in message
    assert "cpu" in message


def test_a_target_that_cannot_work_fails_its_test(
    connect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STEPWELL_SCRATCH", str(tmp_path / "file" / "scratch"))
    connect("here", "stepwell_compute", extra={"target": "local"})
    works, message = ComputeTargetHook("here").test_connection()
    assert not works
    assert f"{tmp_path}/file" in message


def test_a_connection_that_does_not_exist_fails_its_test() -> None:
    works, message = ComputeTargetHook("no_such_connection").test_connection()
    assert not works
    assert "no_such_connection" in message


# -- as the form's Test button asks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conn_type", "works", "extra"),
    [
        ("stepwell_compute", True, {"target": "local"}),
        ("stepwell_compute", False, {"target": "cpu"}),
        ("stepwell_datastore", True, {"kind": "local", "root": "{folder}"}),
        ("stepwell_datastore", False, {"kind": "s3", "root": "{folder}"}),
        ("stepwell_workspace", True, {"root": "{folder}/lab"}),
        ("stepwell_workspace", False, {"root": "{folder}/file/lab"}),
    ],
)
def test_the_form_tests_what_is_in_it(
    conn_type: str, works: bool, extra: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The button asks under an id of chance, which is not the one that the connection will have."""
    from airflow.models import Connection  # the server's, with which the form works

    (tmp_path / "file").write_text("")
    extra = {name: value.replace("{folder}", str(tmp_path)) for name, value in extra.items()}
    conn_id = f"c{uuid.uuid4().hex}"
    connection = Connection(conn_id=conn_id, conn_type=conn_type, extra=json.dumps(extra))  # noqa: AIR311
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection.get_uri())
    found, message = connection.test_connection()
    assert found == works, message
    assert "root" not in extra or not works or extra["root"] in message
