"""A workspace on HDFS, over WebHDFS."""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from stepwell.errors import UserErrorException, WorkspaceError
from stepwell.workspace.store import Record, Store, relative

if TYPE_CHECKING:
    from stepwell.workspace.webhdfs import WebHDFS

LOCK_SECONDS = 60.0
#: A lock that nobody has renewed or released for so long was left behind by a process that died.
STALE_SECONDS = 20.0


class HdfsStore(Store):
    """Files in HDFS: written aside, then renamed with ``renameoptions=NONE``, which never replaces and never moves
    into.

    :param url: ``hdfs://[user@]host:port/path``.
    :param options: ``webhdfs_url`` (default ``http://host:9870``) and ``user``.
    """

    def __init__(self, url: str, options: Record | None = None) -> None:
        parts, given = urlsplit(url), options or {}
        if not parts.hostname or not parts.path.strip("/"):
            raise UserErrorException(
                f"The workspace root {url!r} lacks a host or a path", allowed=["hdfs://host:port/path"]
            )
        self.root = unquote(parts.path).rstrip("/")
        self.url = f"hdfs://{parts.hostname}:{parts.port or 8020}{self.root}"
        self._webhdfs_url = given.get("webhdfs_url") or f"http://{parts.hostname}:9870"
        self._user = given.get("user") or parts.username
        self._opened: tuple[int, WebHDFS] | None = None

    @property
    def _fs(self) -> WebHDFS:
        if self._opened is None or self._opened[0] != os.getpid():  # a forked process opens its own
            from stepwell.workspace.webhdfs import WebHDFS

            self._opened = (os.getpid(), WebHDFS.at(self._webhdfs_url, self._user))
        return self._opened[1]

    def _at(self, path: str) -> str:
        clean = relative(path)
        return self.root if clean == "." else f"{self.root}/{clean}"

    @property
    def _temporary(self) -> str:
        return f"{self.root}/.tmp"

    def create(self, path: str, data: bytes) -> None:
        self._fs.put_whole(self._at(path), data, self._temporary)

    def create_numbered(self, folder: str, first: int, data: bytes) -> int:
        draft, number = f"{self._temporary}/{uuid.uuid4().hex}", first
        self._fs.mkdir(self._at(folder))
        self._fs.create(draft, data)
        try:
            while True:
                try:
                    self._fs.rename(draft, self._at(f"{folder}/{number}.json"))
                    return number
                except FileExistsError:
                    number += 1
        except BaseException:
            with suppress(Exception):
                self._fs.rm(draft)
            raise

    def replace(self, path: str, data: bytes, *, durable: bool = True) -> None:
        self._fs.put_whole(self._at(path), data, self._temporary, overwrite=True)

    def read(self, path: str) -> bytes:
        return bytes(self._fs._call("OPEN", path=self._at(path)).content)

    def open(self, path: str) -> BinaryIO:
        self._fs.info(self._at(path))  # says now, and not at the first read, that it is not there
        return cast(BinaryIO, io.BufferedReader(self._fs.open(self._at(path), "rb"), 1 << 20))

    def list(self, prefix: str = "") -> builtins.list[str]:
        try:
            entries = self._fs.ls(self._at(prefix), detail=True)
        except FileNotFoundError:
            return []
        return sorted(e["pathSuffix"] for e in entries if e["pathSuffix"] and not e["pathSuffix"].startswith("."))

    def exists(self, path: str) -> bool:
        try:
            self._fs.info(self._at(path))
        except FileNotFoundError:
            return False
        return True

    def delete(self, path: str, recursive: bool = False) -> None:
        self._fs.rm(self._at(path), recursive=recursive)

    def put_file(self, local: str | Path, path: str) -> None:
        with Path(local).open("rb") as file:
            self._fs.put_whole(self._at(path), file, self._temporary, overwrite=True)

    def put_tree(self, local_dir: str | Path, path: str) -> None:
        source, draft = Path(local_dir), f"{self._temporary}/{uuid.uuid4().hex}"
        try:
            self._fs.mkdir(draft)
            for item in sorted(source.rglob("*")):
                place = f"{draft}/{item.relative_to(source).as_posix()}"
                if item.is_dir():
                    self._fs.mkdir(place)
                else:
                    with item.open("rb") as file:
                        self._fs.create(place, file)
            self._fs.mkdir(self._at(path).rpartition("/")[0])
            self._fs.rename(draft, self._at(path))
        except BaseException:
            with suppress(Exception):
                self._fs.rm(draft, recursive=True)
            raise

    def get_file(self, path: str, local: str | Path) -> None:
        self._fs.get_file(self._at(path), local)

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Keep others from replacing *path*: whoever creates the lock file has it.

        HDFS knows no lock that dies with its owner. So one that did not change for :data:`STALE_SECONDS` on the
        waiter's own clock counts as left behind and is moved away. (So an owner that is stopped for longer than that,
        in the middle of replacing a head, can undo another's replacement; immutable records do not depend on locks.)
        """
        name = hashlib.sha256(relative(path).encode()).hexdigest()[:16]
        place = f"{self.root}/.locks/{name}"
        self._acquire(place, path)
        began = time.monotonic()
        try:
            yield
        finally:
            if time.monotonic() - began < STALE_SECONDS / 2:  # later it may be another process's by now
                self._fs.rm(place)

    def _acquire(self, place: str, path: str) -> None:
        began = seen_since = time.monotonic()
        seen: object = None
        pause = 0.01
        while True:
            try:
                self._fs.create(place, f"{os.getpid()}\n".encode())
                return
            except FileExistsError:
                pass
            now = time.monotonic()
            with suppress(FileNotFoundError):
                there = self._fs.info(place)["fileId"]
                if there != seen:
                    seen, seen_since = there, now
                elif now - seen_since > STALE_SECONDS:
                    self._break(place, there)
                    seen = None
            if now - began > LOCK_SECONDS:
                raise WorkspaceError(
                    f"{path} in {self.url} has been locked by other processes for {LOCK_SECONDS:.0f} seconds",
                    hint="Find out which process hangs, then run again",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def _break(self, place: str, stale: object) -> None:
        grave = f"{place}.{uuid.uuid4().hex}"
        self._fs.rename(place, grave)
        if self._fs.info(grave)["fileId"] != stale:  # another waiter was faster, and this is the next owner's lock
            with suppress(FileExistsError):
                self._fs.rename(grave, place)
                return
        self._fs.rm(grave)
