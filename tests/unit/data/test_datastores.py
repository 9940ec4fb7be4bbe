from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from stepwell.data.datastore import Datastore
from stepwell.data.stores.checksums import Checksums
from stepwell.data.stores.hdfs import HdfsBackend
from stepwell.data.stores.local import LocalBackend
from stepwell.errors import DatastoreError, UserErrorException
from stepwell.workspace import Workspace


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "stepwell_datastore", **fields}))


def test_a_name_means_nothing_until_it_is_used(ws: Workspace) -> None:
    unknown = Datastore(ws, "no_such")
    assert unknown.name == "no_such"
    assert unknown.path("a/b").path_on_datastore == "a/b"
    Datastore.register_local(ws, "raw_data", "/x")
    with pytest.raises(DatastoreError, match=r"no datastore 'raw_dat' .*Allowed: raw_data\b.*stepwell_datastore"):
        _ = Datastore(ws, "raw_dat").backend


def test_the_default_one_is_below_the_root_unless_a_connection_says_otherwise(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ws.get_default_datastore().backend.uri("x") == f"file://{tmp_path}/root/data/x"
    extra = {"kind": "hdfs", "root": "/ml", "webhdfs_url": "http://nn:1"}
    connect(monkeypatch, "workspaceblobstore", host="nn", port=9000, login="me", extra=extra)
    backend = ws.get_default_datastore().backend
    assert isinstance(backend, HdfsBackend)
    assert backend.uri("x y") == "hdfs://nn:9000/ml/x y"
    connect(monkeypatch, "workspaceblobstore", extra={"root": "/elsewhere"})
    assert ws.get_default_datastore().backend.uri("x") == "file:///elsewhere/x"


def test_another_default(ws: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DatastoreError, match="no datastore 'mine'"):
        ws.set_default_datastore("mine")
    Datastore.register_local(ws, "mine", tmp_path / "mine").set_as_default()
    assert ws.get_default_datastore().name == "mine"
    assert list(ws.datastores) == ["mine", "workspaceblobstore"]


def test_registering_again(ws: Workspace) -> None:
    Datastore.register_hdfs(ws, "h", namenode_address="nn:9000", root="/a")
    Datastore.register_hdfs(ws, "h", namenode_address="hdfs://nn:9000/", root="/a")
    assert Datastore(ws, "h").backend.uri() == "hdfs://nn:9000/a"
    with pytest.raises(DatastoreError, match=r"'h' exists already.*overwrite=True"):
        Datastore.register_local(ws, "h", "/x")
    assert Datastore.register_local(ws, "h", "/x", overwrite=True).datastore_type == "local"
    Datastore(ws, "h").unregister()
    with pytest.raises(DatastoreError, match="no datastore 'h'"):
        _ = Datastore(ws, "h").backend


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"namenode_address": "nn", "kerberos_realm": "R"}, r"kerberos_realm=….* is not built yet"),
        ({"namenode_address": "nn", "protocol": "ftp"}, "protocol='ftp'.*http, https"),
        ({"namenode_address": ""}, "names no host"),
    ],
)
def test_bad_hdfs(ws: Workspace, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UserErrorException, match=message):
        Datastore.register_hdfs(ws, "h", **arguments)
    assert list(ws.datastores) == ["workspaceblobstore"]


def test_a_connection_of_another_type(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", "postgres://u:secret@h/db")
    with pytest.raises(DatastoreError, match=r"'pg' has the type 'postgres' and is no datastore") as caught:
        _ = Datastore(ws, "pg").backend
    assert "secret" not in str(caught.value)


def test_upload_and_download(ws: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "src"
    (source / "sub").mkdir(parents=True)
    (source / "a.csv").write_text("1")
    (source / "sub" / "b.csv").write_text("2")
    store = ws.get_default_datastore()
    reference = store.upload(str(source), target_path="raw")
    assert (reference.datastore, reference.path_on_datastore) == (store, "raw")
    (source / "a.csv").write_text("changed")
    store.upload_files([str(source / "a.csv")], target_path="raw")
    assert store.open("raw/a.csv").read() == b"1", "as in v1, a file that exists is left as it is"
    store.upload_files([str(source / "a.csv")], target_path="raw", overwrite=True)
    assert store.open("raw/a.csv").read() == b"changed"
    assert store.download(str(tmp_path / "back"), prefix="raw") == 2
    assert (tmp_path / "back" / "raw" / "sub" / "b.csv").read_text() == "2"
    assert store.download(str(tmp_path / "back"), prefix="raw") == 0
    store.upload_files([str(source / "sub" / "b.csv")], relative_root=str(source))
    assert store.backend.exists("sub/b.csv")


def test_uploads_that_cannot_be(ws: Workspace, tmp_path: Path) -> None:
    store = ws.get_default_datastore()
    (tmp_path / "there").write_text("1")
    with pytest.raises(UserErrorException, match=r"none to upload does not exist"):
        store.upload_files([str(tmp_path / "there"), str(tmp_path / "none")])
    with pytest.raises(UserErrorException, match="leaves its root"):
        store.upload_files([str(tmp_path / "there")], target_path="../out")
    with pytest.raises(UserErrorException, match="not below relative_root"):
        store.upload_files([str(tmp_path / "there")], relative_root=str(tmp_path / "root"))
    assert store.backend.list() == []


def test_checksums_are_remembered_but_not_trusted_while_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"1" * (2 << 20))
    sums = Checksums(tmp_path / "db")
    young = sums.of(path)
    assert not (tmp_path / "db").exists(), "a stamp younger than 2 s proves nothing"
    old = time.time() - 100
    os.utime(path, (old, old))
    assert sums.of(path) == young
    real = open
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read again"))
    assert Checksums(tmp_path / "db").of(path) == young
    monkeypatch.undo()
    with real(path, "r+b") as file:
        file.write(b"2")
    os.utime(path, (old + 1, old + 1))
    assert sums.of(path) != young
    (tmp_path / "db").write_bytes(b"damaged")
    assert sums.of(path).startswith("sha256:")


@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounts a small tmpfs")
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    (tmp_path / "big").write_bytes(b"x" * (2 << 20))
    (tmp_path / "fits").write_bytes(b"x" * 1000)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount")
    try:
        backend = LocalBackend(str(small))
        backend.put(tmp_path / "fits", "d/x")
        with pytest.raises(DatastoreError, match=r"d/x cannot be written.*no space is left.*Free some space"):
            backend.put(tmp_path / "big", "d/x")
        assert backend.open("d/x").read() == b"x" * 1000
        assert [f.path for f in backend.walk(".stepwell")] == []
        ws = Workspace(root=small / "ws")
        assert ws.uuid
        (small / "fill").write_bytes(b"y" * (small.stat().st_blksize * 10))
        with pytest.raises(Exception, match="no space is left"):
            ws.store.create("runs/1/x", b"x" * (2 << 20))
        assert ws.store.list("runs/1") == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
