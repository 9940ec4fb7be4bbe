from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepwell.errors import UserErrorException, WorkspaceError
from stepwell.workspace import Workspace
from stepwell.workspace.workspace import plain, resolve_workspace, same_workspace


def test_building_one_touches_nothing(tmp_path: Path) -> None:
    ws = Workspace("team", root=tmp_path / "root")
    ws.get_default_datastore()
    assert ws.root == (tmp_path / "root").as_uri()
    assert list(tmp_path.iterdir()) == []
    assert repr(ws) == "Workspace('team')"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-a", 3, "a..b"])
def test_bad_names(name: str) -> None:
    with pytest.raises(UserErrorException, match="is not a valid workspace name.*Use letters"):
        Workspace(name)


def test_where_the_root_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEPWELL_ROOT", raising=False)
    assert Workspace().root == f"file://{tmp_path}/.stepwell"
    monkeypatch.setenv("STEPWELL_ROOT", "/from/env")
    assert Workspace().root == "file:///from/env"
    monkeypatch.setenv(
        "AIRFLOW_CONN_STEPWELL_DEFAULT", json.dumps({"conn_type": "stepwell", "host": "/from/connection"})
    )
    assert Workspace().root == "file:///from/connection"
    assert Workspace("other").root == "file:///from/env"
    assert Workspace(root="/given").root == "file:///given"
    extra = {"root": "hdfs://nn:9000/ws", "webhdfs_url": "http://nn:1"}
    monkeypatch.setenv(
        "AIRFLOW_CONN_STEPWELL_DEFAULT", json.dumps({"conn_type": "stepwell", "login": "me", "extra": extra})
    )
    assert Workspace().place() == ("hdfs://nn:9000/ws", {"webhdfs_url": "http://nn:1", "user": "me"})
    assert Workspace(root="hdfs://nn:9000/ws?webhdfs_url=http://x:2").place()[1] == {"webhdfs_url": "http://x:2"}
    monkeypatch.setenv("AIRFLOW_CONN_STEPWELL_DEFAULT", json.dumps({"conn_type": "ssh", "host": "10.0.0.6"}))
    with pytest.raises(WorkspaceError, match="'10.0.0.6' of the connection stepwell_default is neither a URL nor"):
        Workspace().place()
    monkeypatch.setenv("AIRFLOW_CONN_STEPWELL_DEFAULT", json.dumps({"conn_type": "stepwell"}))
    with pytest.raises(WorkspaceError, match="stepwell_default names no root"):
        _ = Workspace().root


def test_an_unknown_filesystem() -> None:
    with pytest.raises(UserErrorException, match=r"cannot have the root 'ftp://x/y'.*file://…, hdfs://…"):
        _ = Workspace(root="ftp://x/y").store


def test_from_config_looks_where_v1_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert Workspace.from_config().name == "default", "nothing found and nothing asked for"
    with pytest.raises(UserErrorException, match=r"No workspace configuration.*aml_config/config.json"):
        Workspace.from_config(path=deep)
    for place, name in (
        ("aml_config/project.json", "w1"),
        (".azureml/config.json", "w2"),
        ("config.json", "w3"),
        ("a/b/.azureml/config.json", "w4"),
    ):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(
            json.dumps({"subscription_id": "s", "resource_group": "r", "workspace_name": name})
        )
        assert Workspace.from_config().name == name
    assert Workspace.from_config(path=tmp_path / "config.json").name == "w3"
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(UserErrorException, match="lacks 'workspace_name'"):
        Workspace.from_config(_file_name="mine.json")
    (tmp_path / "mine.json").write_text("no json")
    with pytest.raises(UserErrorException, match="mine.json is not a JSON object"):
        Workspace.from_config(_file_name="mine.json")


def test_write_config_is_found_again(tmp_path: Path) -> None:
    written = Workspace("team", root=tmp_path / "root").write_config(tmp_path)
    assert written == tmp_path / ".azureml" / "config.json"
    found = Workspace.from_config(tmp_path)
    assert (found.name, found.root) == ("team", f"file://{tmp_path}/root")


def test_identity(tmp_path: Path) -> None:
    ws, again = Workspace(root=tmp_path / "a"), Workspace(root=tmp_path / "a")
    ws.check_uuid(again.uuid)
    with pytest.raises(WorkspaceError, match=r"This worker sees another workspace: file://.*STEPWELL_ROOT"):
        Workspace(root=tmp_path / "b").check_uuid(ws.uuid)
    record = json.loads((tmp_path / "a" / "workspace.json").read_text())
    (tmp_path / "a" / "workspace.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(WorkspaceError, match="has the format 99"):
        _ = Workspace(root=tmp_path / "a").uuid


def test_a_workspace_as_plain_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = (tmp_path / "root").as_uri()
    remote = "hdfs://nn:9000/ws?webhdfs_url=http://x:2"
    assert plain(None) is None
    assert plain(Workspace("team")) == plain("team") == "team"
    assert plain(Workspace("team", "root")) == plain(plain(Workspace("team", "root"))) == {"name": "team", "root": root}
    assert plain(Workspace(root=remote)) == {"name": "default", "root": remote}
    for ws in (Workspace("team"), Workspace("team", "root"), Workspace(root=remote)):
        again = resolve_workspace(json.loads(json.dumps(plain(ws))))
        assert (again.name, again.place()) == (ws.name, ws.place())
    for bad in ({"root": "/x"}, {"name": "a", "uuid": "b"}, 3):
        with pytest.raises(UserErrorException, match="is not a workspace"):
            resolve_workspace(bad)  # type: ignore[arg-type]


def test_when_two_are_one_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_ROOT", str(tmp_path / "root"))
    assert same_workspace(None, "default")
    assert same_workspace(Workspace("team", tmp_path / "root"), "team"), "one root, given or looked up"
    assert not same_workspace({"name": "team", "root": "/other"}, "team")
