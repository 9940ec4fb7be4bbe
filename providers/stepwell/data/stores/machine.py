"""A datastore in a folder of a machine behind SSH that is a compute target: what is there already, to be read.

Steps on that machine take it by mount, which costs nothing; on others it is downloaded. It holds no login of its own.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NoReturn, cast

from stepwell.compute import portal
from stepwell.data.stores.base import PRIVATE, FileInfo, ReadOnly, normal
from stepwell.errors import DatasetChangedError, DatastoreError, UserErrorException

if TYPE_CHECKING:
    from stepwell.compute.ssh import Address, SshFiles
    from stepwell.workspace import Workspace

#: So much of a file is asked for at a time, in bytes.
_PIECE = 8 << 20


class MachineBackend(ReadOnly):
    """Files below a folder of a machine.

    :param root: the folder, an absolute path there.
    :param address: the machine, and who logs in.
    """

    kind: ClassVar[str] = "machine"

    def __init__(self, root: str, address: Address) -> None:
        self.root = check_root(root)
        self.address = address

    @property
    def _files(self) -> SshFiles:
        from stepwell.compute.ssh import SshFiles

        return SshFiles(self.address)

    def _at(self, path: str) -> str:
        clean = normal(path)
        return posixpath.join(self.root, clean) if clean else self.root

    def uri(self, path: str = "") -> str:
        return f"ssh://{self.address.place}{self._at(path)}"

    def mounting(self, folder: str) -> dict[str, Any]:
        return {"kind": self.kind, "folder": self._at(folder), "machine": self.address.place}

    def _look(self, path: str, *, deep: bool = False) -> dict[str, Any]:
        return portal.call(self._files.store(self.root, normal(path), deep=deep))

    def stat(self, path: str) -> FileInfo | None:
        found = self._look(path)
        if found["folder"] or not found["files"]:
            return None
        ((_, size, modified),) = found["files"]
        return FileInfo(normal(path), size, modified)

    def walk(self, folder: str) -> Iterator[FileInfo]:
        clean = normal(folder)
        found = self._look(clean, deep=True)
        for name, size, modified in found["files"] if found["folder"] else ():
            path = posixpath.join(clean, name)
            if clean.startswith(PRIVATE) or not path.startswith(PRIVATE + "/"):
                yield FileInfo(path, size, modified)

    def checksum(self, path: str) -> str:
        self._known(path)
        digest = portal.call(self._files.digest(self._at(path)))
        if digest is None:
            raise DatasetChangedError(
                f"{self.uri(path)} was being written while it was read", hint="Run again when its writer is done"
            )
        return "sha256:" + digest

    def open(self, path: str) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(_Reading(self._files, self._at(path), self._known(path).size), _PIECE))

    def _known(self, path: str) -> FileInfo:
        found = self.stat(path)
        if found is None:
            raise FileNotFoundError(self.uri(path))
        return found

    def is_dir(self, path: str) -> bool:
        return bool(self._look(path)["folder"])

    def _refuse(self, path: str) -> NoReturn:
        raise DatastoreError(
            f"{self.uri(path)} is on a machine, whose data can only be read", hint="Write to another datastore"
        )


class _Reading(io.RawIOBase):
    """One file, read from its beginning on.

    :param size: what it had when it was opened; one that ends before has been cut off.
    """

    def __init__(self, files: SshFiles, path: str, size: int) -> None:
        self._files = files
        self._path = path
        self._size = size
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._offset)
        if wanted <= 0:
            return 0
        data = portal.call(self._files.read(self._path, self._offset, wanted))
        if not data:
            raise DatasetChangedError(f"{self._path} on {self._files.address} has become shorter while it was read")
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)


def settings_of(ws: Workspace, root: str, compute_target: str) -> dict[str, Any]:
    """Return what the backend takes, of a datastore in a folder of that compute target.

    :raises ComputeTargetException: there is no such compute target.
    :raises DatastoreError: it is no machine behind SSH.
    """
    from stepwell.compute.resolve import target_for
    from stepwell.compute.ssh import Address

    target = target_for(ws, compute_target)
    address = getattr(target, "address", None)
    if not isinstance(address, Address):
        raise DatastoreError(
            f"The compute target {compute_target!r} ({target.kind}) is no machine behind SSH with data of its own",
            allowed=["a compute target of the kind remote or remotedocker"],
        )
    return {"root": root, "address": address}


def check_root(root: str) -> str:
    """Return the normalised absolute path *root*.

    :raises UserErrorException: it is not absolute.
    """
    if not root.startswith("/") or "\0" in root:
        raise UserErrorException(f"root={root!r} is not an absolute path", allowed=["/data/titanic, on the machine"])
    return posixpath.normpath(root)
