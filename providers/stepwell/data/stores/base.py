"""What every kind of datastore can do. Paths are relative to the datastore's root and use ``/``."""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn

from stepwell.data.stores import KINDS
from stepwell.errors import DatastoreError
from stepwell.runtime.names import check_below
from stepwell.workspace import disk

#: What is being written stands here, below the datastore's root; no listing shows it.
PRIVATE = ".stepwell"
_MAGIC = re.compile(r"[*?]")


@dataclass(frozen=True)
class FileInfo:
    """A file in a datastore.

    :param path: relative to the datastore's root.
    :param size: in bytes.
    :param modified: seconds since the epoch.
    """

    path: str
    size: int
    modified: float


class Backend(ABC):
    """The files of one datastore."""

    kind: ClassVar[str]
    #: Whether anything can be written there.
    writable: ClassVar[bool] = True

    # -- what each kind does in its own way ------------------------------------------------------------------------

    @abstractmethod
    def uri(self, path: str = "") -> str:
        """Return the URI of *path* as Spark reads it (``file:///…``, ``hdfs://…``); no I/O."""

    @abstractmethod
    def stat(self, path: str) -> FileInfo | None:
        """Return what is known of the file *path*, or ``None`` if there is no such file (a folder is none)."""

    @abstractmethod
    def walk(self, folder: str) -> Iterable[FileInfo]:
        """Return every file below *folder*, at any depth, in any order; nothing if it does not exist."""

    @abstractmethod
    def checksum(self, path: str) -> str:
        """Return ``algorithm:digest`` of the file's content.

        :raises FileNotFoundError: it does not exist.
        """

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Open the file for reading.

        :raises FileNotFoundError: it does not exist.
        """

    @abstractmethod
    def get(self, path: str, local: str | Path) -> None:
        """Copy the file *path* to the local file, as a whole.

        :raises FileNotFoundError: it does not exist.
        """

    @abstractmethod
    def put(self, local: str | Path, path: str) -> None:
        """Copy the local file to *path*, replacing it; readers see the old or the new one, never a part.

        :raises DatastoreError: it cannot be written (no space, no permission); nothing half-written is left.
        """

    @abstractmethod
    def create(self, path: str, data: bytes) -> None:
        """Create the file *path* with its whole content.

        :raises FileExistsError: it exists; it is left as it is.
        """

    @abstractmethod
    def rename(self, source: str, target: str) -> None:
        """Rename a file or a whole folder to a name that must not exist.

        :raises FileExistsError: *target* exists; nothing was changed.
        :raises FileNotFoundError: *source* does not exist.
        """

    @abstractmethod
    def delete(self, path: str, recursive: bool = False) -> None:
        """Remove the file *path*, or with *recursive* a whole folder. Nothing happens if it does not exist."""

    @abstractmethod
    def is_dir(self, path: str) -> bool:
        """Say whether *path* is a folder."""

    @abstractmethod
    def makedirs(self, path: str) -> None:
        """Make the folder *path* and its parents; nothing happens if it exists."""

    def local_path(self, path: str) -> Path | None:
        """Return where *path* stands on this machine's disk, or ``None`` if it does not stand there."""
        return None

    def mounting(self, folder: str) -> dict[str, Any] | None:
        """Return what a target needs to mount *folder* (see ``stepwell.runtime.mounts``), no secrets; no I/O.

        :returns: ``kind`` (a target says which it can mount), ``folder``, and more by kind; ``None`` if nobody can.
        """
        return None

    def variables(self) -> dict[str, str]:
        """Return the environment variables that a job needs to read and write here by URI."""
        return {}

    # -- the same for all ------------------------------------------------------------------------------------------

    def exists(self, path: str) -> bool:
        """Say whether *path* exists, as a file or as a folder."""
        return self.stat(path) is not None or self.is_dir(path)

    def list(self, pattern: str = "") -> list[FileInfo]:
        """Return the files that *pattern* means, sorted by path.

        A file's path means that file; a folder's path means every file below it; ``*`` and ``?`` stand for characters
        of one name, ``**`` for any number of folders. Stepwell's own files are never shown.
        """
        clean = normal(pattern)
        fixed, magic = split_pattern(clean)
        if not magic:
            one = self.stat(clean) if clean else None
            found: Iterable[FileInfo] = [one] if one else self.walk(clean)
        else:
            expression = glob_expression(clean)
            found = (f for f in self.walk(fixed) if expression.fullmatch(f.path))
        private = clean == PRIVATE or clean.startswith(PRIVATE + "/")
        return sorted((f for f in found if private or not f.path.startswith(PRIVATE + "/")), key=lambda f: f.path)

    def probe(self) -> str:
        """Make sure that the datastore answers; return one line that says what it is.

        :raises DatastoreError: it does not.
        """
        there = self.is_dir("")
        return f"{self.kind} datastore at {self.uri()}: " + ("reachable" if there else "reachable, folder not made yet")


class ReadOnly(Backend):
    """A datastore whose data can only be read: each write is refused."""

    writable: ClassVar[bool] = False

    @abstractmethod
    def _refuse(self, path: str) -> NoReturn:
        """Raise the error that *path* cannot be written.

        :raises DatastoreError: always.
        """

    def get(self, path: str, local: str | Path) -> None:
        target = Path(local)
        with disk.explained(f"{path} cannot be copied to {target}", DatastoreError), disk.aside(target.parent) as draft:
            with self.open(path) as source, draft.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            draft.replace(target)

    def put(self, local: str | Path, path: str) -> None:
        self._refuse(path)

    def create(self, path: str, data: bytes) -> None:
        self._refuse(path)

    def rename(self, source: str, target: str) -> None:
        self._refuse(target)

    def delete(self, path: str, recursive: bool = False) -> None:
        self._refuse(path)

    def makedirs(self, path: str) -> None:
        self._refuse(path)


def normal(path: str) -> str:
    """Return the normalised relative *path*, ``""`` for the root itself. A leading ``/`` means the root (as in v1).

    :raises UserErrorException: the path leaves the root with ``..``.
    """
    clean = check_below("path", path.lstrip("/"))
    return "" if clean == "." else clean


def split_pattern(pattern: str) -> tuple[str, bool]:
    """Return the folder that every match of *pattern* stands below, and whether it is a pattern at all."""
    fixed: list[str] = []
    for part in pattern.split("/"):
        if _MAGIC.search(part):
            return "/".join(fixed), True
        fixed.append(part)
    return pattern, False


def glob_expression(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a glob: ``*`` and ``?`` within one name, ``**`` across folders."""
    parts = pattern.split("/")
    out = ""
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if part == "**":
            out += ".*" if last else "(?:[^/]+/)*"
            continue
        translated = re.escape(part).replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        out += translated + ("" if last else "/")
    return re.compile(out, re.DOTALL)


def open_backend(kind: str, settings: Mapping[str, Any]) -> Backend:
    """Return the backend of *kind*; no I/O.

    :raises DatastoreError: an unknown kind, or settings that it cannot work with.
    """
    if kind not in KINDS:
        raise DatastoreError(f"{kind!r} is not a kind of datastore", allowed=[k for k in KINDS if k != "web"])
    module, name = KINDS[kind].split(":")
    backend: Backend = getattr(import_module(module), name)(**settings)
    return backend
