from __future__ import annotations

import time
import uuid

import pytest
from tests.contract.stores.contract import StoreContract

from hdfs.hdfs_cluster import HdfsCluster
from stepwell.workspace import store_hdfs
from stepwell.workspace.store import Store, open_store

pytestmark = pytest.mark.integration


class TestHdfsStore(StoreContract):
    @pytest.fixture
    def store(self, hdfs: HdfsCluster) -> Store:
        self.options = {"webhdfs_url": hdfs.webhdfs}
        return open_store(f"{hdfs.rpc}/stores/{uuid.uuid4().hex}", self.options)

    def twin(self, store: Store) -> Store:
        return open_store(store.url, self.options)

    def test_a_lock_left_behind_is_broken(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store_hdfs, "STALE_SECONDS", 0.5)
        left = store.lock("h/a.json")
        left.__enter__()  # its owner dies here
        began = time.monotonic()
        assert store.update("h/a.json", lambda head: {"n": 1}) == {"n": 1, "revision": 1}
        assert time.monotonic() - began > 0.5
        assert store.local_path("h/a.json") is None
