"""The files port on this machine's disk."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from stepwell.runtime import mounted, protocol

_CHUNK = 1 << 20


class DiskFiles:
    """Small things are done at once: a thread would cost more than they do. What may be large goes to a thread."""

    async def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        """Return the bytes from *offset* on, at most *limit*."""
        with open(path, "rb") as file:
            if offset:
                file.seek(offset)
            return file.read(limit)

    async def read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        """Return the content of each, None for one that is not there."""
        found: list[bytes | None] = []
        for number, path in enumerate(paths, 1):
            try:
                with open(path, "rb", buffering=0) as file:
                    found.append(file.read())
            except (FileNotFoundError, NotADirectoryError):
                found.append(None)
            if number % 500 == 0:
                await asyncio.sleep(0)  # there may be many, and a cancel may need the loop
        return found

    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file, replacing an older one."""
        protocol.write_bytes(path, data, mode)

    async def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none; return whether this call did."""
        try:
            protocol.create_bytes(path, data)
        except FileExistsError:
            return False
        return True

    async def put(self, reader: BinaryIO, path: str, drafts: str) -> None:
        """Write a file from a stream, in pieces; until it is whole it is in *drafts*."""
        await asyncio.to_thread(_put, reader, path, drafts)

    async def make(self, path: str, mode: int | None = None) -> None:
        """Make a folder and those above it."""
        os.makedirs(path, mode=0o777 if mode is None else mode, exist_ok=True)
        if mode is not None:
            os.chmod(path, mode)  # whatever the umask, and whoever made it first

    async def touch(self, path: str) -> None:
        """Make the file if there is none, and set its time to now."""
        with open(path, "ab"):
            os.utime(path)

    async def modified(self, path: str) -> float | None:
        """Return the time of the last change; None if there is no such file or folder."""
        try:
            return os.stat(path).st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None

    async def names(self, path: str) -> list[str]:
        """Return the names in a folder; none if it does not exist."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    async def sizes(self, path: str) -> dict[str, int]:
        """Return relative path → size of all files below a folder."""
        found = {}
        for folder, _, names in os.walk(path):
            for name in names:
                full = os.path.join(folder, name)
                found[os.path.relpath(full, path)] = os.lstat(full).st_size
        return found

    async def unpack(self, archive: Path, path: str) -> None:
        """Make the folder *path* from a local zip archive, all of it or nothing, each member checked."""
        from stepwell.runtime.archive import extract

        await asyncio.to_thread(extract, archive, path)

    async def fetch(self, path: str, local: Path, taken: frozenset[str] = frozenset(), apart: str = "") -> None:
        """Copy the folder *path* to *local*, by hard links where the filesystem allows it."""
        if os.path.isdir(path):
            await asyncio.to_thread(_fetch, path, local, taken, apart)

    async def remove(self, path: str) -> None:
        """Remove a file or a folder with all that is in it."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError:  # a folder, or what is mounted
            await asyncio.to_thread(mounted.remove, path)

    async def now(self) -> float:
        """Return this machine's time."""
        return time.time()

    def local(self, path: str) -> Path | None:
        """Return the path itself."""
        return Path(path)


def _put(reader: BinaryIO, path: str, drafts: str) -> None:
    for folder in (drafts, os.path.dirname(path)):
        os.makedirs(folder, exist_ok=True)
    aside = os.path.join(drafts, f"{os.getpid()}-{time.perf_counter_ns()}.tmp")
    try:
        with open(aside, "xb") as sink:
            shutil.copyfileobj(reader, sink, _CHUNK)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def _fetch(path: str, local: Path, taken: frozenset[str], apart: str) -> None:
    top = os.path.realpath(path)
    local.mkdir(parents=True, exist_ok=True)
    folders_taken = {parent.as_posix() for name in taken for parent in PurePosixPath(name).parents}

    def place(relative: PurePosixPath, *, folder: bool) -> Path:
        chain = {relative.as_posix(), *(parent.as_posix() for parent in relative.parents)}
        is_taken = not chain.isdisjoint(taken) or (not folder and relative.as_posix() in folders_taken)
        return local / apart / relative if is_taken else local / relative

    for folder, folders, names in os.walk(path):
        # os.walk does not go into links to folders, so no loop is possible; they are left out.
        folders[:] = [name for name in folders if not os.path.islink(os.path.join(folder, name))]
        relative = PurePosixPath(os.path.relpath(folder, path))
        place(relative, folder=True).mkdir(parents=True, exist_ok=True)
        for name in names:
            source = os.path.realpath(os.path.join(folder, name))
            if not source.startswith(top + os.sep) or not os.path.isfile(source):
                continue
            target = place(relative / name, folder=False)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
