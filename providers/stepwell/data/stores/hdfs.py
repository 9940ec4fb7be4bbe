"""A datastore on HDFS: Spark uses the NameNode's RPC address, everyone else WebHDFS."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast

from stepwell.data.stores.base import PRIVATE, Backend, FileInfo, normal
from stepwell.errors import DatastoreError
from stepwell.workspace import disk

if TYPE_CHECKING:
    from stepwell.workspace.webhdfs import WebHDFS

_RPC_PORT = 8020  #: where a NameNode answers that is named without a port


class HdfsBackend(Backend):
    """Files below a folder of HDFS.

    :param root: the folder; made when something is first written.
    :param rpc: ``hdfs://host:port`` of the NameNode's RPC.
    :param webhdfs_url: ``http://host:port`` where WebHDFS answers.
    :param user: whom to be; default: ``HADOOP_USER_NAME``, else the user of this process.
    """

    kind: ClassVar[str] = "hdfs"

    def __init__(self, root: str, rpc: str, webhdfs_url: str, user: str | None = None) -> None:
        if not rpc.startswith("hdfs://"):
            raise DatastoreError(f"{rpc!r} is not the address of a NameNode", allowed=["hdfs://host:port"])
        self.root = "/" + normal(root)
        self.rpc = rpc.rstrip("/")
        self._webhdfs_url = webhdfs_url
        self._user = user
        self._fs: tuple[int, WebHDFS] | None = None

    @property
    def fs(self) -> WebHDFS:
        """The filesystem; a forked process opens its own."""
        if self._fs is None or self._fs[0] != os.getpid():
            from stepwell.workspace.webhdfs import WebHDFS

            self._fs = (os.getpid(), WebHDFS.at(self._webhdfs_url, self._user))
        return self._fs[1]

    def _at(self, path: str) -> str:
        clean = normal(path)
        return f"{self.root.rstrip('/')}/{clean}" if clean else self.root

    @property
    def _temporary(self) -> str:
        return self._at(f"{PRIVATE}/drafts")

    def variables(self) -> dict[str, str]:
        return {"HADOOP_USER_NAME": self._user} if self._user else {}

    def mounting(self, folder: str) -> dict[str, Any]:
        address = self.rpc[len("hdfs://") :]
        namenode = address if ":" in address else f"{address}:{_RPC_PORT}"
        return {"kind": "hdfs", "folder": self._at(folder), "namenode": namenode, "user": self._user}

    def uri(self, path: str = "") -> str:
        return self.rpc + self._at(path)

    def stat(self, path: str) -> FileInfo | None:
        try:
            found = self.fs.info(self._at(path))
        except FileNotFoundError:
            return None
        if found["type"] != "file":
            return None
        return FileInfo(normal(path), int(found["size"]), found["modificationTime"] / 1000)

    def walk(self, folder: str) -> Iterator[FileInfo]:
        clean = normal(folder)
        waiting = [clean]
        while waiting:
            here = waiting.pop()
            if here == PRIVATE and clean != PRIVATE:
                continue
            try:
                entries = self.fs.ls(self._at(here), detail=True)
            except FileNotFoundError:
                continue
            for entry in entries:
                if not entry["pathSuffix"]:
                    continue  # a file lists itself
                path = f"{here}/{entry['pathSuffix']}" if here else str(entry["pathSuffix"])
                if entry["type"] == "directory":
                    waiting.append(path)
                else:
                    yield FileInfo(path, int(entry["size"]), entry["modificationTime"] / 1000)

    def checksum(self, path: str) -> str:
        return self.fs.checksum_of(self._at(path))

    def open(self, path: str) -> BinaryIO:
        place = self._at(path)
        if self.stat(path) is None:
            raise FileNotFoundError(self.uri(path))
        return cast(BinaryIO, io.BufferedReader(self.fs.open(place, "rb"), 1 << 20))

    def get(self, path: str, local: str | Path) -> None:
        with disk.explained(f"{path} cannot be copied to {local}", DatastoreError):
            self.fs.get_file(self._at(path), local)

    def put(self, local: str | Path, path: str) -> None:
        with Path(local).open("rb") as file:
            self.fs.put_whole(self._at(path), file, self._temporary, overwrite=True)

    def create(self, path: str, data: bytes) -> None:
        if self.exists(path):
            raise FileExistsError(self.uri(path))  # cheaper than to write aside first; the rename below decides
        self.fs.put_whole(self._at(path), data, self._temporary)

    def rename(self, source: str, target: str) -> None:
        parent = self._at(target).rpartition("/")[0]
        if parent:
            self.fs.mkdir(parent)
        self.fs.rename(self._at(source), self._at(target))

    def delete(self, path: str, recursive: bool = False) -> None:
        if not normal(path):
            raise DatastoreError(f"The root {self.uri()} of a datastore is not deleted as a whole")
        self.fs.rm(self._at(path), recursive=recursive)

    def is_dir(self, path: str) -> bool:
        try:
            return bool(self.fs.info(self._at(path))["type"] == "directory")
        except FileNotFoundError:
            return False

    def makedirs(self, path: str) -> None:
        self.fs.mkdir(self._at(path))
