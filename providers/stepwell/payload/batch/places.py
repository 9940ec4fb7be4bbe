"""The shared storage as the driver reaches it: a folder of this machine, or whatever the JVM's file systems reach."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from typing import Any
from urllib.parse import urlsplit

#: Whoever closes a file of HDFS waits until its DataNode has told the NameNode of it. That takes milliseconds, but the
#: second look comes after 400. Ours come sooner and are more, so that the time in all is the same.
SETTINGS = {
    "dfs.client.block.write.locateFollowingBlock.initial.delay.ms": "12",
    "dfs.client.block.write.locateFollowingBlock.retries": "10",
}


class Place:
    """A folder on storage and all below it. Paths are relative to it; a file appears whole or not at all."""

    def read(self, path: str) -> bytes | None:
        """Return a file's content; ``None`` if there is none."""
        raise NotImplementedError

    def write(self, path: str, data: bytes) -> None:
        """Write a file whose folder is there, replacing an older one."""
        raise NotImplementedError

    def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none; return whether this call did."""
        raise NotImplementedError

    def list(self, path: str) -> dict[str, float]:
        """Return the names in a folder, and when each was last changed by the storage's clock; none if it is gone."""
        raise NotImplementedError

    def make(self, path: str) -> None:
        """Make a folder and those above it."""
        raise NotImplementedError

    def put(self, local: str, path: str) -> None:
        """Copy a local file there, replacing an older one."""
        raise NotImplementedError

    def get(self, path: str, local: str) -> bool:
        """Copy a file, or a folder with all that is in it, to the local name; return whether there is one."""
        raise NotImplementedError

    def remove(self, path: str) -> None:
        """Remove a file; nothing happens if there is none."""
        raise NotImplementedError


class Folder(Place):
    """A folder of this machine, or one that is mounted here.

    :param path: absolute.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def _at(self, path: str) -> str:
        return os.path.join(self._path, path) if path else self._path

    def read(self, path: str) -> bytes | None:
        try:
            with open(self._at(path), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, path: str, data: bytes) -> None:
        os.replace(self._aside(path, data), self._at(path))

    def create(self, path: str, data: bytes) -> bool:
        aside = self._aside(path, data)
        try:
            os.link(aside, self._at(path))
        except FileExistsError:
            return False
        finally:
            os.unlink(aside)
        return True

    def _aside(self, path: str, data: bytes) -> str:
        aside = self._at(path) + "." + uuid.uuid4().hex + ".tmp"
        with open(aside, "xb", opener=_private) as file:
            file.write(data)
        return aside

    def list(self, path: str) -> dict[str, float]:
        try:
            names = os.listdir(self._at(path))
        except FileNotFoundError:
            return {}
        found = {}
        for name in names:
            try:
                found[name] = os.lstat(os.path.join(self._at(path), name)).st_mtime
            except FileNotFoundError:  # it was aside, and has its name now
                pass
        return found

    def make(self, path: str) -> None:
        if not os.path.isdir(self._path):  # a disk that is not mounted for a while: nothing is made in its place
            raise FileNotFoundError(self._path)
        os.makedirs(self._at(path), exist_ok=True)

    def put(self, local: str, path: str) -> None:
        aside = self._at(path) + "." + uuid.uuid4().hex + ".tmp"
        try:
            with open(local, "rb") as source, open(aside, "xb", opener=_private) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            os.replace(aside, self._at(path))
        except BaseException:
            if os.path.exists(aside):
                os.unlink(aside)
            raise

    def get(self, path: str, local: str) -> bool:
        source = self._at(path)
        if os.path.isdir(source):
            shutil.copytree(source, local, dirs_exist_ok=True)
        elif os.path.exists(source):
            shutil.copyfile(source, local)
        else:
            return False
        return True

    def remove(self, path: str) -> None:
        try:
            os.unlink(self._at(path))
        except FileNotFoundError:
            pass


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


class Hadoop(Place):
    """A folder that the JVM reaches, with the cluster's own configuration and identity.

    :param gateway: to the driver's JVM.
    :param uri: of the folder.
    """

    def __init__(self, gateway: Any, uri: str) -> None:
        self._gateway = gateway
        self._jvm = gateway.jvm
        hadoop = self._jvm.org.apache.hadoop
        self._Path = hadoop.fs.Path
        self._uri = uri.rstrip("/")
        # With the application's own settings (spark.hadoop.…), which may say how a storage is logged in to.
        settings = self._jvm.org.apache.spark.deploy.SparkHadoopUtil.get().conf()
        configuration = hadoop.conf.Configuration(settings)
        for name, value in SETTINGS.items():
            configuration.set(name, value)
        top = self._Path(self._uri)
        # One of our own: the JVM's is Spark's, with the job's settings.
        self._fs = hadoop.fs.FileSystem.newInstance(top.toUri(), configuration)
        # Only this one can rename onto a file that is there, at once.
        self._context = hadoop.fs.FileContext.getFileContext(top.toUri(), configuration)
        self._rename = hadoop.fs.Options.Rename

    def _at(self, path: str) -> Any:
        # Not by a URI of both: names may hold characters that a URI may not.
        return self._Path(self._Path(self._uri), path) if path else self._Path(self._uri)

    def read(self, path: str) -> bytes | None:
        with tempfile.TemporaryDirectory(prefix="stepwell-") as folder:
            local = os.path.join(folder, "file")
            if not self.get(path, local):
                return None
            with open(local, "rb") as file:
                return file.read()

    def write(self, path: str, data: bytes) -> None:
        self._named(self._aside(path, data), path, self._rename.OVERWRITE)

    def create(self, path: str, data: bytes) -> bool:
        aside = self._aside(path, data)
        try:
            self._named(aside, path, self._rename.NONE)
        except Exception as error:
            self._fs.delete(aside, False)
            if "FileAlreadyExistsException" in str(error):
                return False
            raise
        return True

    def _named(self, aside: Any, path: str, how: Any) -> None:
        options = self._gateway.new_array(self._rename, 1)
        options[0] = how
        self._context.rename(aside, self._at(path), options)

    def _aside(self, path: str, data: bytes) -> Any:
        aside = self._at(path + "." + uuid.uuid4().hex + ".tmp")
        stream = self._fs.create(aside, False)
        try:
            stream.write(bytearray(data))
        finally:
            stream.close()
        return aside

    def list(self, path: str) -> dict[str, float]:
        try:
            entries = self._fs.listStatus(self._at(path))
        except Exception as error:
            if "FileNotFoundException" in str(error):
                return {}
            raise
        return {str(entry.getPath().getName()): float(entry.getModificationTime()) / 1000 for entry in entries}

    def make(self, path: str) -> None:
        self._fs.mkdirs(self._at(path))

    def put(self, local: str, path: str) -> None:
        aside = self._at(path + "." + uuid.uuid4().hex + ".tmp")
        try:
            self._fs.copyFromLocalFile(False, True, self._Path(_local_uri(local)), aside)
            self._named(aside, path, self._rename.OVERWRITE)
        except BaseException:
            self._fs.delete(aside, False)
            raise

    def get(self, path: str, local: str) -> bool:
        source = self._at(path)
        if not self._fs.exists(source):
            return False
        if not self._fs.getFileStatus(source).isDirectory():
            # "True": without checksum files beside it.
            self._fs.copyToLocalFile(False, source, self._Path(_local_uri(local)), True)
            return True
        os.makedirs(local, exist_ok=True)
        for status in self._fs.listStatus(source):
            name = status.getPath().getName()
            self.get((path + "/" if path else "") + name, os.path.join(local, name))
        return True

    def remove(self, path: str) -> None:
        self._fs.delete(self._at(path), False)


def _local_uri(path: str) -> str:
    return "file://" + os.path.abspath(path)


def place_of(uri: str, gateway: Any) -> Place:
    """Return the folder that *uri* names.

    :param gateway: to the driver's JVM; only a ``file:`` URI needs none.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Folder(uri[len("file://") :])
    return Hadoop(gateway, uri)
