from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest
from tests.contract.datastores.contract import DatastoreContract

from hdfs.hdfs_cluster import HdfsCluster
from stepwell.data.stores.hdfs import HdfsBackend
from stepwell.errors import DatastoreError

pytestmark = pytest.mark.integration


class TestHdfsDatastore(DatastoreContract):
    @pytest.fixture
    def backend(self, hdfs: HdfsCluster) -> HdfsBackend:
        return HdfsBackend(root=f"/contract/{uuid.uuid4().hex}", rpc=hdfs.rpc, webhdfs_url=hdfs.webhdfs)

    def twin(self, backend: HdfsBackend) -> HdfsBackend:
        return HdfsBackend(root=backend.root, rpc=backend.rpc, webhdfs_url=backend._webhdfs_url)

    def test_a_full_quota_is_said_and_leaves_nothing(self, backend: HdfsBackend, tmp_path: Path) -> None:
        backend.makedirs("d")
        backend.fs._call("SETQUOTA", "put", backend.root, storagespacequota=1 << 20, namespacequota=100)
        (tmp_path / "big").write_bytes(b"x" * (2 << 20))
        with pytest.raises(DatastoreError, match=r"no space left.*Free some space"):
            backend.put(tmp_path / "big", "d/big")
        assert backend.list() == []
        assert self.leftovers(backend) == []

    def test_another_users_folder_is_forbidden(self, backend: HdfsBackend) -> None:
        backend.create("x", b"1")
        stranger = HdfsBackend(backend.root, backend.rpc, backend._webhdfs_url, user="stranger")
        with pytest.raises(DatastoreError, match=r"forbids.*stranger"):
            stranger.create("y", b"2")


def test_nobody_there() -> None:
    backend = HdfsBackend("/x", "hdfs://127.0.0.1:1", "http://127.0.0.1:1")
    with pytest.raises(DatastoreError, match=r"HDFS at 127\.0\.0\.1:1 does not answer.*webhdfs_url"):
        backend.list()


def test_a_namenode_that_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from stepwell.workspace import webhdfs

    monkeypatch.setattr(webhdfs, "READ_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(DatastoreError, match="does not answer in time"):
            HdfsBackend("/x", "hdfs://127.0.0.1:1", f"http://127.0.0.1:{port}").exists("x")
        assert time.monotonic() - began < 5


@pytest.mark.slow
def test_the_namenode_goes_and_comes_back(mortal_hdfs: HdfsCluster, tmp_path: Path) -> None:
    backend = HdfsBackend("/x", mortal_hdfs.rpc, mortal_hdfs.webhdfs)
    (tmp_path / "f").write_bytes(b"1" * 1000)
    backend.put(tmp_path / "f", "kept")
    mortal_hdfs.stop_daemon("namenode")
    with pytest.raises(DatastoreError, match="does not answer"):
        backend.put(tmp_path / "f", "lost")
    with pytest.raises(DatastoreError, match="does not answer"):
        backend.get("kept", tmp_path / "copy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f"], "nothing half-fetched is left"
    mortal_hdfs.start_daemon("namenode")
    mortal_hdfs.start()
    assert [f.path for f in backend.list()] == ["kept"]


def test_the_datanode_goes_while_a_file_is_written(mortal_hdfs: HdfsCluster, tmp_path: Path) -> None:
    backend = HdfsBackend(f"/{tmp_path.name}", mortal_hdfs.rpc, mortal_hdfs.webhdfs)
    (tmp_path / "f").write_bytes(b"1" * 1000)
    mortal_hdfs.stop_daemon("datanode")
    with pytest.raises(DatastoreError):
        backend.put(tmp_path / "f", "lost")
    assert backend.list() == []
