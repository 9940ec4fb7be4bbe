from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tests.contract.datastores.contract import DatastoreContract

from stepwell.data.stores.local import LocalBackend
from stepwell.errors import UserErrorException
from stepwell.workspace import disk


class TestLocalDatastore(DatastoreContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> LocalBackend:
        return LocalBackend(str(tmp_path / "data"))

    def twin(self, backend: LocalBackend) -> LocalBackend:
        return LocalBackend(str(backend.root))

    def test_a_link_out_of_the_root_is_refused(self, backend: LocalBackend, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("x")
        backend.makedirs("d")
        (backend.root / "d" / "link").symlink_to(tmp_path / "secret")
        for act in (backend.open, backend.checksum, backend.list):
            with pytest.raises(UserErrorException, match="leads out of the datastore.*secret"):
                act("d/link")
        with pytest.raises(UserErrorException, match="leads out"):
            backend.list("d")

    def test_where_the_kernel_cannot_rename_exclusively(
        self, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(disk, "_renameat2", lambda *_: errno.EINVAL)
        backend.create("a/x", b"1")
        backend.rename("a", "b")
        backend.create("a/x", b"2")
        with pytest.raises(FileExistsError):
            backend.rename("a", "b")
        assert [f.path for f in backend.list()] == ["a/x", "b/x"]
        with pytest.raises(FileExistsError):
            backend.rename("a/x", "b/x")
        backend.rename("a/x", "c/x")
        assert backend.open("c/x").read() == b"2"
