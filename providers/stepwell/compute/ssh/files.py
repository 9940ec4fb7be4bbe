"""The files port over SSH. Many requests are under way at a time: what a copy costs is bytes, not round trips."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import zlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from stepwell.compute.ssh.address import Address
from stepwell.compute.ssh.agent import Agent
from stepwell.compute.ssh.connection import connection
from stepwell.errors import ComputeTargetException

#: The size of a piece of a large file, and how many are under way at a time.
_PIECE, _AHEAD = 1 << 20, 8
#: How many bytes and names of small files go into one request.
_BATCH_BYTES, _BATCH_NAMES = 1 << 20, 500
#: How many small files are asked for in one request.
_MANY = 3000


class SshFiles:
    """Files on another machine."""

    def __init__(self, address: Address) -> None:
        self.address = address

    async def _ask(self, op: str, body: bytes = b"", **arguments: Any) -> Any:
        return (await connection(self.address).request(op, body, **arguments))[0]

    async def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        """Return the bytes from *offset* on, at most *limit*."""
        first = _PIECE if limit < 0 else min(limit, _PIECE)
        data = _unpacked(*await connection(self.address).request("read", path=path, offset=offset, limit=first))
        if len(data) < first or len(data) == limit:
            return data
        pieces = [data]
        end = None if limit < 0 else offset + limit
        async for piece in _pieces(await connection(self.address).agent(), path, offset + len(data), end):
            pieces.append(piece)
        return b"".join(pieces)

    async def read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        """Return the content of each, None for one that is not there: many small files with one request."""
        found: list[bytes | None] = []
        for first in range(0, len(paths), _MANY):
            names = list(paths[first : first + _MANY])
            given: dict[str, Any] = {"path": "/", "names": names, "limit": _BATCH_BYTES}
            (lengths, packed), data = await connection(self.address).request("gather", **given)
            data = _unpacked(packed, data)
            at = 0
            for length in lengths:
                found.append(data[at : at + length] if length >= 0 else None)
                at += max(0, length)
        return found

    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file, replacing an older one."""
        await self._ask("write", data, path=path, mode=mode)

    async def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none; return whether this call did."""
        return bool(await self._ask("create", data, path=path))

    async def put(self, reader: BinaryIO, path: str, drafts: str, mode: int | None = None) -> None:
        """Write a file from a stream, in pieces; until it is whole it is in *drafts*."""
        agent = await connection(self.address).agent()
        number = await _begun(agent, path, drafts)
        ahead: list[asyncio.Task[Any]] = []
        name, at = "", 0
        try:
            while piece := await asyncio.to_thread(reader.read, _PIECE):
                ahead.append(asyncio.create_task(agent.request("piece", piece, draft=number, at=at)))
                at += len(piece)
                await asyncio.sleep(0)
                if len(ahead) >= _AHEAD:
                    await ahead.pop(0)
            while ahead:
                await ahead.pop(0)
            name = path
        finally:
            for task in ahead:
                task.cancel()
            if agent.over is None:
                await agent.request("finish", draft=number, path=name, mode=mode)
        if agent.over is not None and not name:
            raise agent.over

    async def make(self, path: str, mode: int | None = None) -> None:
        """Make a folder and those above it."""
        await self._ask("make", path=path, mode=mode)

    async def touch(self, path: str) -> None:
        """Make the file if there is none, and set its time to now."""
        await self._ask("touch", path=path)

    async def modified(self, path: str) -> float | None:
        """Return the time of the last change; None if there is no such file or folder."""
        found = await self._ask("modified", path=path)
        return None if found is None else float(found)

    async def names(self, path: str) -> list[str]:
        """Return the names in a folder; none if it does not exist."""
        return list(await self._ask("names", path=path))

    async def sizes(self, path: str) -> dict[str, int]:
        """Return relative path → size of all files below a folder."""
        return dict(await self._ask("sizes", path=path, seconds=None))

    async def store(self, top: str, path: str, *, deep: bool = False) -> dict[str, Any]:
        """Return what is at *path* of a datastore in the folder *top* (see ``stepwell.runtime.agent_files.store``)."""
        return dict(await self._ask("store", top=top, path=path, deep=deep, seconds=None))

    async def digest(self, path: str) -> str | None:
        """Return a file's sha256, which the machine computes; None if it was being written meanwhile."""
        found = await self._ask("digest", path=path, seconds=None)
        return None if found is None else str(found)

    async def unpack(self, archive: Path, path: str) -> None:
        """Make the folder *path* from a local zip archive; one that has been there before is not sent again."""
        from stepwell.runtime.archive import check

        digest = await asyncio.to_thread(_digest, archive)
        folder = posixpath.join(await self._root(), "archives")
        kept = posixpath.join(folder, f"{digest}.zip")
        again = posixpath.basename(path) == "code"  # there will be more of the same
        if not await self._ask("unpack", archive=kept, path=path, again=again, seconds=None):
            await asyncio.to_thread(check, archive)
            with open(archive, "rb") as reader:
                await self.put(reader, kept, folder, 0o600)
            if not await self._ask("unpack", archive=kept, path=path, again=again, seconds=None):
                raise ComputeTargetException(f"{kept} on {self.address} was removed while it was being used")

    async def _root(self) -> str:
        root = self.address.root
        if root.startswith("~/"):
            root = posixpath.join((await connection(self.address).hello())["home"], root[2:])
        return root

    async def fetch(self, path: str, local: Path, taken: frozenset[str] = frozenset(), apart: str = "") -> None:
        """Copy the folder *path* to the local folder *local*."""
        agent = await connection(self.address).agent()
        found = (await agent.request("tree", path=path, seconds=None))[0]
        if found is None:
            return
        place = _Places(local, taken, apart)
        await asyncio.to_thread(place.folders, found["folders"])
        small: list[tuple[str, int]] = []
        requests: list[Coroutine[Any, Any, None]] = []
        for name, size in found["files"]:
            if size > _BATCH_BYTES:
                requests.append(self._fetch_large(agent, posixpath.join(path, name), place.of(name)))
            else:
                small.append((name, size))
        requests.extend(self._fetch_small(agent, path, batch, place) for batch in _batches(small))
        slots = asyncio.Semaphore(_AHEAD)

        async def one(request: Coroutine[Any, Any, None]) -> None:
            async with slots:
                await request

        await asyncio.gather(*map(one, requests))

    async def _fetch_small(self, agent: Agent, path: str, names: list[str], place: _Places) -> None:
        (lengths, packed), data = await agent.request("gather", path=path, names=names, limit=_BATCH_BYTES * 2)
        data = _unpacked(packed, data)

        def write() -> None:
            at = 0
            for name, length in zip(names, lengths, strict=True):
                if length >= 0:
                    file = place.made(name)
                    file.write_bytes(data[at : at + length])
                    at += length

        await asyncio.to_thread(write)

    async def _fetch_large(self, agent: Agent, path: str, local: Path) -> None:
        await asyncio.to_thread(local.parent.mkdir, parents=True, exist_ok=True)
        local.unlink(missing_ok=True)
        with open(local, "wb") as sink:
            async for piece in _pieces(agent, path, 0, None):
                await asyncio.to_thread(sink.write, piece)

    async def remove(self, path: str) -> None:
        """Remove a file or a folder with all that is in it."""
        await self._ask("remove", path=path, seconds=None)

    async def now(self) -> float:
        """Return that machine's time."""
        return float(await self._ask("now"))

    def local(self, path: str) -> Path | None:
        """Return None: it is elsewhere."""
        return None


class _Places:
    """Where fetched files go: not over what is taken.

    :param local: the folder.
    :param apart: the folder below for those whose place is taken.
    """

    def __init__(self, local: Path, taken: frozenset[str], apart: str) -> None:
        self._local, self._taken, self._apart = local, taken, apart
        self._folders_taken = {parent.as_posix() for name in taken for parent in PurePosixPath(name).parents}
        local.mkdir(parents=True, exist_ok=True)

    def of(self, name: str, *, folder: bool = False) -> Path:
        """Return where *name* goes; names come from another machine and must stay below the folder."""
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ComputeTargetException(f"{name!r} leads out of the folder that is copied")
        chain = {relative.as_posix(), *(parent.as_posix() for parent in relative.parents)}
        is_taken = not chain.isdisjoint(self._taken) or (not folder and relative.as_posix() in self._folders_taken)
        return self._local / self._apart / relative if is_taken else self._local / relative

    def folders(self, names: list[str]) -> None:
        """Make the folders."""
        for name in names:
            self.of(name, folder=True).mkdir(parents=True, exist_ok=True)

    def made(self, name: str) -> Path:
        """Return where a file goes, with its folder made and what an earlier copy left there removed."""
        file = self.of(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # it may be a link to what must stay as it is
        return file


async def _begun(agent: Agent, path: str, drafts: str) -> int:
    return int((await agent.request("begin", path=path, drafts=drafts))[0])


async def _pieces(agent: Agent, path: str, offset: int, end: int | None) -> AsyncIterator[bytes]:
    """Yield what a file holds from *offset* to *end*, or to where it ends."""
    ahead: list[tuple[int, asyncio.Task[tuple[Any, bytes]]]] = []
    at = offset
    try:
        while True:
            while len(ahead) < _AHEAD and (end is None or at < end):
                limit = _PIECE if end is None else min(_PIECE, end - at)
                ahead.append((limit, asyncio.create_task(agent.request("read", path=path, offset=at, limit=limit))))
                at += limit
            if not ahead:
                return
            limit, task = ahead.pop(0)
            piece = _unpacked(*await task)
            if piece:
                yield piece
            if len(piece) < limit:
                return
    finally:
        for _, task in ahead:
            task.cancel()


def _unpacked(packed: bool, data: bytes) -> bytes:
    return zlib.decompress(data) if packed else data


def _batches(files: list[tuple[str, int]]) -> list[list[str]]:
    found: list[list[str]] = []
    room = 0
    for name, size in files:
        if not found or size > room or len(found[-1]) >= _BATCH_NAMES:
            found.append([])
            room = _BATCH_BYTES
        found[-1].append(name)
        room -= size
    return found


def _digest(archive: Path) -> str:
    with open(archive, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
