"""The storage that workers and a cluster share: where job directories of batches are."""

from __future__ import annotations

import asyncio
import os
import posixpath
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from stepwell.compute.ports import Files
from stepwell.errors import ComputeTargetException

#: A log that grows is a folder of segments, each under the number of its first byte: storage may know no appending.
SEGMENTS = ".parts"
#: The snapshot, in ``code/``, until the job unpacks it.
SNAPSHOT = ".stepwell.zip"
_DRAFTS = ".drafts"


@dataclass(frozen=True)
class Storage:
    """A folder of Stepwell's own on shared storage.

    :param files: how this process reaches it; paths are those of the storage.
    :param root: the folder's path there.
    :param base: what makes a path a URI for the cluster: ``hdfs://host:9000``, ``file://``.
    """

    files: Files
    root: str
    base: str

    def uri(self, path: str) -> str:
        """Return the URI of a path as the cluster knows it."""
        return self.base + path


def open_storage(record: Mapping[str, Any]) -> Storage:
    """Return the storage that a compute record names.

    Its configuration has ``storage``: the name of a datastore (then the record has its backend under ``datastore``), or
    a URL: ``hdfs://host:9000/folder`` with ``webhdfs_url`` beside it (and ``storage_user``), or ``file:///folder`` with
    ``storage_is_shared``.

    :raises ComputeTargetException: there is none, it is of a kind that cannot be used, or it is not shared.
    """
    from stepwell.compute.batch.hdfs import HdfsFiles

    configuration = record["configuration"]
    name, url, backend = record.get("name"), configuration.get("storage"), record.get("datastore")
    allowed = ["the name of an HDFS datastore", "hdfs://host:9000/folder with webhdfs_url", "file:///shared/folder"]
    if not url:
        raise ComputeTargetException(
            f"The compute target {name!r} has no storage", allowed=allowed, hint="Jobs, code and logs go through it"
        )
    if backend is not None:
        url = backend.uri(".stepwell/compute")
    parts = urlsplit(str(url))
    if parts.query or parts.fragment or ".." in parts.path.split("/"):
        raise ComputeTargetException(f"{url!r} is not a place for jobs", allowed=allowed)
    root = posixpath.normpath(parts.path) if parts.path else "/stepwell"
    if parts.scheme == "file":
        if parts.netloc:
            raise ComputeTargetException(f"{url!r} names a host, which a file: URL cannot", allowed=allowed)
        if not configuration.get("storage_is_shared"):
            raise ComputeTargetException(
                f"{url!r} is a folder of one machine, and the cluster may run steps on another",
                hint="Use a datastore on HDFS; or say storage_is_shared=True if the folder is the same on every node",
            )
        from stepwell.compute.disk import DiskFiles

        return Storage(StorageFiles(DiskFiles()), root, "file://")
    if parts.scheme == "hdfs" and parts.netloc:
        if backend is not None:
            files: Files = HdfsFiles(lambda: backend.fs)
        else:
            address = configuration.get("webhdfs_url")
            if not address:
                raise ComputeTargetException(
                    f"{url!r} needs webhdfs_url beside it", allowed=["http://host:9870", "https://host:9871"]
                )
            files = HdfsFiles.at(str(address), configuration.get("storage_user"))
        return Storage(StorageFiles(files), root, f"hdfs://{parts.netloc}")
    raise ComputeTargetException(f"{url!r} is not storage that jobs can go through", allowed=allowed)


class StorageFiles:
    """Files whose logs are folders of segments and whose snapshots stay packed; readers see neither.

    :param inner: reaches the storage.
    """

    def __init__(self, inner: Files) -> None:
        self.inner = inner

    async def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        """Return the bytes from *offset* on, at most *limit*; a log is put together from its segments."""
        if not path.endswith(".log"):
            return await self.inner.read(path, offset, limit)
        segments = await self._segments(path)
        if not segments:
            return await self.inner.read(path, offset, limit)
        found: list[bytes] = []
        for start, size in segments:
            if start + size <= offset:
                continue
            if start > offset or limit == 0:
                break  # one that is missing yet, or enough
            most = size - (offset - start) if limit < 0 else min(limit, size - (offset - start))
            piece = await self.inner.read(f"{path}{SEGMENTS}/{start:015d}", offset - start, most)
            found.append(piece)
            offset += len(piece)
            limit -= len(piece) if limit > 0 else 0
        return b"".join(found)

    async def _segments(self, path: str) -> list[tuple[int, int]]:
        sizes = await self.inner.sizes(path + SEGMENTS)
        return sorted((int(name), size) for name, size in sizes.items() if name.isdigit())

    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file, replacing an older one."""
        await self.inner.write(path, data, mode)

    async def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none; return whether this call did."""
        return await self.inner.create(path, data)

    async def put(self, reader: BinaryIO, path: str, drafts: str) -> None:
        """Write a file from a stream."""
        await self.inner.put(reader, path, drafts)

    async def make(self, path: str, mode: int | None = None) -> None:
        """Make a folder and those above it."""
        await self.inner.make(path, mode)

    async def touch(self, path: str) -> None:
        """Make the file if there is none, and set its time to now."""
        await self.inner.touch(path)

    async def modified(self, path: str) -> float | None:
        """Return the time of the last change; None if there is no such file or folder."""
        return await self.inner.modified(path)

    async def names(self, path: str) -> list[str]:
        """Return the names in a folder; none if it does not exist."""
        return await self.inner.names(path)

    async def sizes(self, path: str) -> dict[str, int]:
        """Return relative path → size of all files below a folder; a log has the size of its segments together."""
        found: dict[str, int] = {}
        for name, size in (await self.inner.sizes(path)).items():
            folder, _, _ = name.rpartition("/")
            name = folder[: -len(SEGMENTS)] if folder.endswith(".log" + SEGMENTS) else name
            found[name] = found.get(name, 0) + size
        return found

    async def unpack(self, archive: Path, path: str) -> None:
        """Put the archive into the folder as it is: thousands of small files would take storage minutes."""
        await self.inner.make(path)
        with archive.open("rb") as reader:
            await self.inner.put(reader, posixpath.join(path, SNAPSHOT), posixpath.join(path, _DRAFTS))
        await self.inner.remove(posixpath.join(path, _DRAFTS))

    async def fetch(self, path: str, local: Path, taken: frozenset[str] = frozenset(), apart: str = "") -> None:
        """Copy the folder *path* to *local*, and put its logs together there."""
        await self.inner.fetch(path, local, taken, apart)
        if local.is_dir():
            await asyncio.to_thread(_join, local)

    async def remove(self, path: str) -> None:
        """Remove a file or a folder with all that is in it."""
        await self.inner.remove(path)

    async def now(self) -> float:
        """Return the time by the storage's clock."""
        return await self.inner.now()

    def local(self, path: str) -> Path | None:
        """Return None: what is there may be in segments."""
        return None


def _join(folder: Path) -> None:
    """Make one file of each folder of segments below *folder*."""
    for parts in [p for p in folder.rglob("*.log" + SEGMENTS) if p.is_dir()]:
        whole = parts.with_name(parts.name[: -len(SEGMENTS)])
        aside = parts.with_name(parts.name + ".tmp")
        with open(aside, "wb", opener=_private) as out:
            for segment in sorted(parts.iterdir()):
                with segment.open("rb") as piece:
                    shutil.copyfileobj(piece, out, 1 << 20)
        aside.replace(whole)
        shutil.rmtree(parts)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
