from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.stores.contract import StoreContract

from stepwell.workspace.store import Store, open_store


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store((tmp_path / "work space").as_uri())

    def twin(self, store: Store) -> Store:
        return open_store(store.url)

    def test_local_path(self, store: Store, tmp_path: Path) -> None:
        assert store.local_path("runs/1") == tmp_path / "work space" / "runs" / "1"
