"""A workspace on a local (or shared, mounted) disk."""

from __future__ import annotations

import builtins
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from stepwell.errors import UserErrorException, WorkspaceError
from stepwell.workspace import disk
from stepwell.workspace.store import Record, Store, relative

LOCK_SECONDS = 30.0


class LocalStore(Store):
    """Files on disk: created by hard link, replaced by rename, heads guarded by ``flock``.

    :param url: ``file:///…`` or an absolute path.
    """

    def __init__(self, url: str, options: Record | None = None) -> None:
        path = unquote(urlsplit(url).path) if "://" in url else url
        if "://" in url and urlsplit(url).netloc not in ("", "localhost"):
            raise UserErrorException(
                f"{url!r} names another machine", allowed=["file:///absolute/path", "/absolute/path"]
            )
        if not os.path.isabs(path):
            raise UserErrorException(f"The workspace root {url!r} is not an absolute path")
        self.root = Path(os.path.normpath(path))
        self.url = self.root.as_uri()

    def _at(self, path: str) -> Path:
        return self.root / relative(path)

    @property
    def _temporary(self) -> Path:
        return self.root / ".tmp"

    def create(self, path: str, data: bytes) -> None:
        with disk.explained(f"{path} cannot be created in the workspace {self.root}", WorkspaceError):
            disk.create(self._at(path), data, self._temporary, durable=True)

    def create_numbered(self, folder: str, first: int, data: bytes) -> int:
        with disk.explained(f"{folder} cannot be added to in the workspace {self.root}", WorkspaceError):
            return disk.create_numbered(self._at(folder), first, data, self._temporary)

    def replace(self, path: str, data: bytes, *, durable: bool = True) -> None:
        with disk.explained(f"{path} cannot be written in the workspace {self.root}", WorkspaceError):
            disk.replace(self._at(path), data, self._temporary, durable=durable)

    def read(self, path: str) -> bytes:
        return self._at(path).read_bytes()

    def open(self, path: str) -> BinaryIO:
        return self._at(path).open("rb")

    def list(self, prefix: str = "") -> builtins.list[str]:
        try:
            return sorted(n for n in os.listdir(self._at(prefix)) if not n.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def exists(self, path: str) -> bool:
        return self._at(path).exists()

    def delete(self, path: str, recursive: bool = False) -> None:
        target = self._at(path)
        if recursive and target.is_dir():
            with disk.aside(self._temporary) as grave:  # first out of sight as a whole, then piece by piece
                os.rename(target, grave)
        else:
            target.unlink(missing_ok=True)

    def put_file(self, local: str | Path, path: str) -> None:
        with disk.explained(f"{path} cannot be written in the workspace {self.root}", WorkspaceError):
            disk.replace(self._at(path), Path(local), self._temporary)

    def put_tree(self, local_dir: str | Path, path: str) -> None:
        with disk.explained(f"{path} cannot be written in the workspace {self.root}", WorkspaceError):
            with disk.aside(self._temporary) as draft:
                shutil.copytree(local_dir, draft)
                disk.rename_exclusive(draft, self._at(path))

    def get_file(self, path: str, local: str | Path) -> None:
        target, source = Path(local), self._at(path)
        if not source.exists():
            raise FileNotFoundError(str(source))
        disk.replace(target, source, target.parent)

    def local_path(self, path: str) -> Path | None:
        return self._at(path)

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        folder = self.root / ".locks"
        with disk.explained(f"{path} cannot be locked in the workspace {self.root}", WorkspaceError):
            folder.mkdir(parents=True, exist_ok=True)
            # The lock file stays: removing it would let two processes hold "the" lock on two files of one name.
            name = hashlib.sha256(relative(path).encode()).hexdigest()[:16]
            descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise WorkspaceError(
                            f"{path} in {self.root} has been locked by another process for {LOCK_SECONDS:.0f} seconds",
                            hint="Find out which process hangs, then run again",
                        ) from None
                    time.sleep(0.005)
            yield
        finally:
            os.close(descriptor)
