"""Where a workspace keeps its records: plain files below one root, behind one small interface per filesystem.

Immutable records are created exclusively and as a whole. A few small heads (``compute/<name>.json`` and the like) can
be replaced; each carries its ``revision``, and a replacement must name the revision that it was made from.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from stepwell.errors import UserErrorException, WorkspaceError
from stepwell.runtime.names import check_below

Record = dict[str, Any]

#: scheme → "module:class"; one file each.
STORES = {
    "file": "stepwell.workspace.store_local:LocalStore",
    "hdfs": "stepwell.workspace.store_hdfs:HdfsStore",
}


class RevisionConflict(WorkspaceError):
    """Somebody else has replaced the head in the meantime; read it again and decide anew."""


class Store(ABC):
    """Files below a root. Paths are relative and use ``/``; a path that leaves the root is refused."""

    #: The root, as a URL.
    url: str

    # -- what each filesystem does in its own way ------------------------------------------------------------------

    @abstractmethod
    def create(self, path: str, data: bytes) -> None:
        """Create the file *path* with its whole content.

        :raises FileExistsError: it exists; it is left as it is.
        """

    @abstractmethod
    def create_numbered(self, folder: str, first: int, data: bytes) -> int:
        """Create ``<folder>/<n>.json`` with the first free *n* from *first* on; return *n*.

        Each number is given to one writer only, and a writer takes the next one only if the one before is taken.
        """

    @abstractmethod
    def replace(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Create or replace the file *path*; readers see the old or the new content, never a part.

        :param durable: wait until it is on the disk; not needed for what is written again soon, or is cheap to lose.
        """

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return the content of *path*.

        :raises FileNotFoundError: it does not exist.
        """

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Open *path* for reading.

        :raises FileNotFoundError: it does not exist.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """Return the sorted names (files and folders) directly in the folder *prefix*; nothing if it does not exist."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Say whether *path* exists, as a file or as a folder."""

    @abstractmethod
    def delete(self, path: str, recursive: bool = False) -> None:
        """Remove the file *path*, or with *recursive* a whole folder. Nothing happens if it does not exist."""

    @abstractmethod
    def put_file(self, local: str | Path, path: str) -> None:
        """Copy the local file to *path*, as a whole; an existing one is replaced."""

    @abstractmethod
    def put_tree(self, local_dir: str | Path, path: str) -> None:
        """Copy the local folder to *path*, which appears as a whole.

        :raises FileExistsError: *path* exists.
        """

    @abstractmethod
    def get_file(self, path: str, local: str | Path) -> None:
        """Copy *path* to the local file, as a whole.

        :raises FileNotFoundError: it does not exist.
        """

    @abstractmethod
    def lock(self, path: str) -> AbstractContextManager[None]:
        """Keep every other process from replacing the head *path* while the context lasts (keep it short).

        :raises WorkspaceError: the lock could not be had in time.
        """

    def local_path(self, path: str) -> Path | None:
        """Return where *path* stands on this machine's disk, or ``None`` if it does not stand there."""
        return None

    # -- the same for all ------------------------------------------------------------------------------------------

    def read_json(self, path: str) -> Record:
        """Return the record *path*.

        :raises FileNotFoundError: it does not exist.
        :raises WorkspaceError: it is not JSON.
        """
        data = self.read(path)
        try:
            record = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise WorkspaceError(f"The record {path} in {self.url} is damaged: {error}") from error
        if not isinstance(record, dict):
            raise WorkspaceError(f"The record {path} in {self.url} is damaged: not a JSON object")
        return record

    def create_json(self, path: str, record: Record) -> None:
        """Create the immutable record *path*.

        :raises FileExistsError: it exists.
        """
        self.create(path, encode(record))

    def replace_json(self, path: str, record: Record, revision: int | None) -> Record:
        """Replace the head *path*, if it still has the *revision* that *record* was made from.

        :param revision: what the head said when it was read; ``0`` or ``None``: it must not exist.
        :returns: what was written: *record* with its new ``revision``.
        :raises RevisionConflict: it has another revision by now.
        """
        with self.lock(path):
            return self._replace(path, record, revision or 0)

    def update(self, path: str, change: Callable[[Record | None], Record | None]) -> Record | None:
        """Replace the head *path* by what *change* makes of it, with nobody in between.

        :param change: gets the head, or ``None`` if there is none; returns the new one, or ``None`` to delete it.
        :returns: what was written.
        """
        with self.lock(path):
            try:
                before: Record | None = self.read_json(path)
            except FileNotFoundError:
                before = None
            after = change(None if before is None else dict(before))
            if after is None:
                self.delete(path)
                return None
            return self._write(path, after, _revision(before))

    def _replace(self, path: str, record: Record, revision: int) -> Record:
        try:
            now = _revision(self.read_json(path))
        except FileNotFoundError:
            now = 0
        if now != revision:
            raise RevisionConflict(
                f"{path} was changed by somebody else: it has revision {now}, not {revision}",
                hint="Read it again and retry",
            )
        return self._write(path, record, revision)

    def _write(self, path: str, record: Record, revision: int) -> Record:
        written = {**record, "revision": revision + 1}
        self.replace(path, encode(written))
        return written

    def records(self, prefix: str) -> Iterator[tuple[str, Record]]:
        """Yield ``(name without .json, record)`` of each record directly in the folder *prefix*."""
        for name in self.list(prefix):
            if name.endswith(".json"):
                try:
                    yield name[: -len(".json")], self.read_json(f"{prefix}/{name}")
                except FileNotFoundError:
                    continue  # deleted since it was listed


def encode(record: Record) -> bytes:
    """Return *record* as the bytes of a readable JSON file.

    :raises WorkspaceError: it is not plain JSON.
    """
    try:
        return (json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise WorkspaceError(f"A record can hold only plain values: {error}") from error


def relative(path: str) -> str:
    """Return the normalised *path* of a record.

    :raises UserErrorException: it leaves the workspace's root.
    """
    return check_below("path", path)


def open_store(url: str, options: Record | None = None) -> Store:
    """Return the store whose root is *url*; no I/O.

    :param options: what the filesystem needs beside the URL (HDFS: ``webhdfs_url``, ``user``).
    :raises UserErrorException: no store is known for the URL's scheme.
    """
    scheme = urlsplit(url).scheme if "://" in url else "file"
    if scheme not in STORES:
        raise UserErrorException(f"A workspace cannot have the root {url!r}", allowed=[f"{s}://…" for s in STORES])
    module, name = STORES[scheme].split(":")
    store: Store = getattr(import_module(module), name)(url, dict(options or {}))
    return store


def _revision(record: Record | None) -> int:
    return int(record.get("revision", 0)) if record else 0
