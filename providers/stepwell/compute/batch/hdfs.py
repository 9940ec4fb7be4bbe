"""The files port over WebHDFS."""

from __future__ import annotations

import asyncio
import email.utils
import os
import posixpath
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from stepwell.compute.contract import Unreachable
from stepwell.errors import DatastoreError

if TYPE_CHECKING:
    from stepwell.workspace.webhdfs import WebHDFS

_AT_A_TIME = 6
_SILENT = ("does not answer", "is not ready to")


class HdfsFiles:
    """Files of an HDFS. Each call is a thread's: requests block.

    :param filesystem: returns the filesystem of this process.
    """

    def __init__(self, filesystem: Callable[[], WebHDFS]) -> None:
        self._filesystem = filesystem

    @classmethod
    def at(cls, url: str, user: str | None = None) -> HdfsFiles:
        """Return the files of the HDFS whose WebHDFS answers at *url*; no I/O."""
        made: dict[int, WebHDFS] = {}

        def filesystem() -> WebHDFS:
            from stepwell.workspace.webhdfs import WebHDFS

            if os.getpid() not in made:  # a session does not survive a fork
                made[os.getpid()] = WebHDFS.at(url, user)
            return made[os.getpid()]

        return cls(filesystem)

    @property
    def fs(self) -> WebHDFS:
        """The filesystem of this process."""
        return self._filesystem()

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        def run() -> Any:
            with _heard():
                return function(*arguments)

        return await asyncio.to_thread(run)

    async def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        """Return the bytes from *offset* on, at most *limit*."""

        def read() -> bytes:
            bounds: dict[str, Any] = {"offset": offset, **({"length": limit} if limit >= 0 else {})}
            if limit == 0:
                return b""
            try:
                return bytes(self.fs._call("OPEN", path=path, **bounds).content)
            except DatastoreError:
                size = self.fs.info(path)["size"]  # beyond the end: HDFS calls that an error
                if offset >= size:
                    return b""
                raise

        return bytes(await self._run(read))

    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file, replacing an older one; it is aside, with its permissions, until it is whole."""
        await self._run(self._whole, BytesIO(data), path, posixpath.dirname(path), mode, True)

    async def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none; return whether this call did. A rename decides who does."""
        try:
            await self._run(self._whole, BytesIO(data), path, posixpath.dirname(path), 0o644, False)
        except FileExistsError:
            return False
        return True

    async def put(self, reader: BinaryIO, path: str, drafts: str) -> None:
        """Write a file from a stream; until it is whole it is in *drafts*."""
        await self._run(self._whole, reader, path, drafts, 0o644, True)

    def _whole(self, reader: BinaryIO, path: str, drafts: str, mode: int, overwrite: bool) -> None:
        fs, draft = self.fs, posixpath.join(drafts, f".{uuid.uuid4().hex}.tmp")
        try:
            fs.create(draft, reader)
            if mode != 0o644:
                fs._call("SETPERMISSION", "put", draft, permission=f"{mode:o}")
            try:
                fs.rename(draft, path, overwrite)
            except FileNotFoundError:  # the folder is not there yet
                fs.mkdir(posixpath.dirname(path))
                fs.rename(draft, path, overwrite)
        except BaseException:
            with suppress(Exception):
                fs.rm(draft)
            raise

    async def make(self, path: str, mode: int | None = None) -> None:
        """Make a folder and those above it; with *mode* it gets exactly those permissions."""

        def make() -> None:
            self.fs.mkdir(path)
            if mode is not None:
                self.fs._call("SETPERMISSION", "put", path, permission=f"{mode:o}")

        await self._run(make)

    async def touch(self, path: str) -> None:
        """Make the file if there is none, and set its time to now, by the NameNode's clock."""
        await self.write(path, b"")

    async def modified(self, path: str) -> float | None:
        """Return the time of the last change; None if there is no such file or folder."""

        def modified() -> float | None:
            try:
                return float(self.fs.info(path)["modificationTime"]) / 1000
            except FileNotFoundError:
                return None

        found: float | None = await self._run(modified)
        return found

    async def names(self, path: str) -> list[str]:
        """Return the names in a folder; none if it does not exist."""
        entries = await self._run(self._entries, path)
        return sorted(str(entry["pathSuffix"]) for entry in entries if not str(entry["pathSuffix"]).endswith(".tmp"))

    def _entries(self, path: str) -> list[dict[str, Any]]:
        try:
            return [entry for entry in self.fs.ls(path, detail=True) if entry["pathSuffix"]]
        except FileNotFoundError:
            return []

    async def sizes(self, path: str) -> dict[str, int]:
        """Return relative path → size of all files below a folder."""
        return dict(await self._run(lambda: {name: size for name, size in self._walk(path)}))

    def _walk(self, path: str) -> Iterator[tuple[str, int]]:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            for entry in self._entries(posixpath.join(path, folder) if folder else path):
                name = posixpath.join(folder, str(entry["pathSuffix"]))
                if entry["type"] == "directory":
                    waiting.append(name)
                else:
                    yield name, int(entry["size"])

    async def unpack(self, archive: Path, path: str) -> None:
        """Make the folder *path* from a local zip archive."""
        raise NotImplementedError("archives stay packed on storage")

    async def fetch(self, path: str, local: Path, taken: frozenset[str] = frozenset(), apart: str = "") -> None:
        """Copy the folder *path* to *local*; what has a name that is taken goes to *apart*."""

        def fetch() -> None:
            if not self._is_folder(path):
                return
            local.mkdir(parents=True, exist_ok=True)
            folders_taken = {parent.as_posix() for name in taken for parent in PurePosixPath(name).parents}

            def bring(name: str) -> None:
                relative = PurePosixPath(name)
                chain = {name, *(parent.as_posix() for parent in relative.parents)}
                is_taken = not chain.isdisjoint(taken) or name in folders_taken
                target = local / apart / relative if is_taken else local / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                self.fs.get_file(posixpath.join(path, name), target)

            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                for _ in pool.map(bring, [name for name, _ in self._walk(path)]):
                    pass

        await self._run(fetch)

    def _is_folder(self, path: str) -> bool:
        try:
            return bool(self.fs.info(path)["type"] == "directory")
        except FileNotFoundError:
            return False

    async def remove(self, path: str) -> None:
        """Remove a file or a folder with all that is in it; nothing happens if there is none."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                self.fs.rm(path, recursive=True)

        await self._run(remove)

    async def now(self) -> float:
        """Return the time by the NameNode's clock, to the second."""

        def now() -> float:
            answer = self.fs._call("GETFILESTATUS", path="/")
            return email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()

        return float(await self._run(now))

    def local(self, path: str) -> Path | None:
        """Return None: it is elsewhere."""
        return None


@contextmanager
def _heard() -> Iterator[None]:
    """Turn a NameNode's silence into ``Unreachable``: of jobs it says nothing."""
    try:
        yield
    except DatastoreError as error:
        if any(words in error.what for words in _SILENT):
            raise Unreachable(error.what, hint=error.hint) from error
        raise
