from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stepwell.data.datastore import Datastore
from stepwell.data.stores import checksums
from stepwell.data.stores.checksums import Checksums
from stepwell.data.stores.hdfs import HdfsBackend
from stepwell.data.stores.local import LocalBackend
from stepwell.errors import DatasetChangedError, DatastoreError, UserErrorException
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


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(b"1" * (2 << 20))
    return path


def age(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make *path* old enough to be believed: its time of status change cannot be set, so the rule is made shorter."""
    monkeypatch.setattr(checksums, "RACY_SECONDS", 0.05)
    time.sleep(0.1)


def overwrite(path: Path, content: bytes) -> None:
    """Change *path* in place, with its size and time of change as before."""
    info = path.stat()
    with open(path, "r+b") as file:
        file.write(content)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def test_checksums_are_remembered_but_not_trusted_while_young(
    big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = Checksums(tmp_path / "db")
    young = sums.of(big)
    old = time.time() - 100
    os.utime(big, (old, old))
    assert sums.of(big) == young
    assert not (tmp_path / "db").exists(), "a stamp younger than 2 s proves nothing, and one of the two is"
    age(big, monkeypatch)
    assert sums.of(big) == young
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: pytest.fail("read again"))
        assert Checksums(tmp_path / "db").of(big) == young
    with open(big, "r+b") as file:
        file.write(b"2")
    os.utime(big, (old + 1, old + 1))
    assert sums.of(big) != young
    (tmp_path / "db").write_bytes(b"damaged")
    assert sums.of(big).startswith("sha256:")


def test_a_file_whose_time_of_change_was_put_back_is_read_again(
    big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(big, monkeypatch)
    sums = Checksums(tmp_path / "db")
    first = sums.of(big)
    assert (tmp_path / "db").exists()
    overwrite(big, b"2")
    assert sums.of(big) == "sha256:" + hashlib.sha256(big.read_bytes()).hexdigest() != first


def test_what_an_earlier_version_remembered_is_not_believed(
    big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = big.stat()
    with closing(sqlite3.connect(tmp_path / "db")) as db, db:
        db.execute("CREATE TABLE checksum (path TEXT PRIMARY KEY, size INT, mtime INT, inode INT, digest TEXT)")
        db.execute(
            "INSERT INTO checksum VALUES (?,?,?,?,'sha256:old')",
            (str(big), info.st_size, info.st_mtime_ns, info.st_ino),
        )
    age(big, monkeypatch)
    sums = Checksums(tmp_path / "db")
    first = sums.of(big)
    assert first == "sha256:" + hashlib.sha256(big.read_bytes()).hexdigest()
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read again"))
    assert sums.of(big) == first, "remembered beside it"


def test_a_file_that_is_touched_while_it_is_read(big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile: list[Callable[[], object]] = []
    real = hashlib.file_digest

    def slow(*args: Any) -> Any:
        found = real(*args)
        time.sleep(0.02)  # longer than the clock of the file system takes for a step
        if meanwhile:
            meanwhile.pop(0)()
        return found

    monkeypatch.setattr(hashlib, "file_digest", slow)
    sums = Checksums(tmp_path / "db")
    meanwhile[:] = [lambda: os.link(big, tmp_path / "link")]
    assert sums.of(big) == "sha256:" + hashlib.sha256(big.read_bytes()).hexdigest(), "a new link is no new content"
    meanwhile[:] = [lambda: overwrite(big, b"2")]
    assert sums.of(big) == "sha256:" + hashlib.sha256(b"2" + b"1" * ((2 << 20) - 1)).hexdigest()
    meanwhile[:] = [lambda: overwrite(big, b"3"), lambda: overwrite(big, b"4")]
    with pytest.raises(DatasetChangedError, match="was being written while it was read"):
        sums.of(big)
    meanwhile[:] = [lambda: big.write_bytes(b"longer" * (1 << 20))]
    with pytest.raises(DatasetChangedError, match="Run again when its writer is done"):
        sums.of(big)


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
