"""A datastore on a local (or shared, mounted) disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar
from urllib.parse import unquote, urlsplit

from stepwell.data.stores.base import PRIVATE, Backend, FileInfo, normal
from stepwell.data.stores.checksums import Checksums
from stepwell.errors import DatastoreError, UserErrorException
from stepwell.workspace import disk


class LocalBackend(Backend):
    """Files below a folder.

    :param root: the folder: an absolute path or ``file:///…``; made when something is first written.
    """

    kind: ClassVar[str] = "local"

    def __init__(self, root: str) -> None:
        path = unquote(urlsplit(root).path) if root.startswith("file://") else os.path.expanduser(root)
        if not os.path.isabs(path):
            raise DatastoreError(f"The root {root!r} of a local datastore is not an absolute path")
        self.root = Path(os.path.normpath(path))
        self._checksums = Checksums(self.root / PRIVATE / "checksums.db")

    def _at(self, path: str) -> Path:
        """Return the place of *path*, which a symbolic link must not lead out of the root."""
        place = self.root / normal(path)
        real, root = os.path.realpath(place), os.path.realpath(self.root)
        if real != root and not real.startswith(root.rstrip("/") + "/"):
            raise UserErrorException(
                f"The path {path!r} leads out of the datastore {self.root} through a link, to {real}",
                hint="Copy the data into the datastore, or register a datastore with the root that holds it",
            )
        return place

    @property
    def _temporary(self) -> Path:
        return self.root / PRIVATE / "tmp"

    def uri(self, path: str = "") -> str:
        # As Spark takes it: a Hadoop path is literal, so a space stays a space and nothing is percent-encoded.
        return f"file://{self.root / normal(path)}"

    def local_path(self, path: str) -> Path | None:
        return self._at(path)

    def mounting(self, folder: str) -> dict[str, Any]:
        return {"kind": "local", "folder": str(self._at(folder))}

    def stat(self, path: str) -> FileInfo | None:
        place = self._at(path)
        try:
            found = os.stat(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return None if place.is_dir() else FileInfo(normal(path), found.st_size, found.st_mtime)

    def walk(self, folder: str) -> Iterator[FileInfo]:
        start = self._at(folder)
        for parent, folders, files in os.walk(start, followlinks=False):
            if Path(parent) == self.root and PRIVATE in folders:
                folders.remove(PRIVATE)
            for name in files:
                relative = os.path.relpath(os.path.join(parent, name), self.root)
                info = self.stat(relative)
                if info is not None:
                    yield info

    def checksum(self, path: str) -> str:
        return self._checksums.of(self._at(path))

    def open(self, path: str) -> BinaryIO:
        return self._at(path).open("rb")

    def get(self, path: str, local: str | Path) -> None:
        target, source = Path(local), self._at(path)
        if not source.is_file():
            raise FileNotFoundError(str(source))
        with disk.explained(f"{path} cannot be copied to {target}", DatastoreError):
            disk.replace(target, source, target.parent)

    def put(self, local: str | Path, path: str) -> None:
        with disk.explained(f"{path} cannot be written to the datastore {self.root}", DatastoreError):
            disk.replace(self._at(path), Path(local), self._temporary)

    def create(self, path: str, data: bytes) -> None:
        with disk.explained(f"{path} cannot be created in the datastore {self.root}", DatastoreError):
            disk.create(self._at(path), data, self._temporary)

    def rename(self, source: str, target: str) -> None:
        with disk.explained(f"{source} cannot be renamed to {target} in the datastore {self.root}", DatastoreError):
            disk.rename_exclusive(self._at(source), self._at(target))

    def delete(self, path: str, recursive: bool = False) -> None:
        place = self._at(path)
        if place == self.root:
            raise DatastoreError(f"The root {self.root} of a datastore is not deleted as a whole")
        with disk.explained(f"{path} cannot be deleted from the datastore {self.root}", DatastoreError):
            if recursive and place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)

    def is_dir(self, path: str) -> bool:
        return self._at(path).is_dir()

    def makedirs(self, path: str) -> None:
        with disk.explained(f"The folder {path} cannot be made in the datastore {self.root}", DatastoreError):
            disk.make_folder(self._at(path))
