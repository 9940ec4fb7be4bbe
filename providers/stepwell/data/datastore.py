"""``Datastore``: a named storage root. What it is, is looked up when it is first used."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from stepwell.data.meaning import complete, of_connection, of_workspace
from stepwell.data.reference import DataReference
from stepwell.data.stores.base import Backend, normal, open_backend
from stepwell.errors import DatastoreError, UserErrorException
from stepwell.not_built import says_what_is_not_built
from stepwell.runtime.names import check_name, nearest
from stepwell.workspace.connections import get_connection
from stepwell.workspace.workspace import DEFAULT_DATASTORE, Workspace, resolve_workspace

if TYPE_CHECKING:
    from stepwell.workspace.store import Record

CONNECTION_TYPE = "stepwell_datastore"
log = logging.getLogger(__name__)


@says_what_is_not_built("Datastore")
class Datastore:
    """A datastore by its name. Building one costs nothing and asks nobody.

    What the name means, in this order: the Airflow connection of that id (type ``stepwell_datastore``); the record that
    ``register_local``, ``register_hdfs`` or ``register_machine`` wrote into the workspace; for ``workspaceblobstore``,
    the folder ``data`` below the workspace's root.

    :param workspace: the workspace; ``None``: the default one.
    :param name: the datastore's name; ``None``: the workspace's default datastore.
    """

    def __init__(self, workspace: Workspace | str | None = None, name: str | None = None) -> None:
        self.workspace = resolve_workspace(workspace)
        self._placed = workspace is not None
        self._name = None if name is None else check_name("datastore", name)
        self._backend: tuple[int, Backend] | None = None

    @classmethod
    def named(cls, name: str, workspace: Workspace | str | None = None) -> Datastore:
        """Return the datastore *name* of the default workspace, or of *workspace*."""
        return cls(workspace, name)

    @classmethod
    def get(cls, workspace: Workspace | str | None, datastore_name: str) -> Datastore:
        """Return the datastore *datastore_name*. Whether it exists shows when it is used: parsing is fast."""
        return cls(workspace, datastore_name)

    @classmethod
    def get_default(cls, workspace: Workspace | str | None = None) -> Datastore:
        """Return the workspace's default datastore."""
        return cls(workspace)

    @classmethod
    def all(cls, workspace: Workspace | str | None = None) -> dict[str, Datastore]:
        """Return the datastores that the workspace keeps records of, and its own."""
        ws = resolve_workspace(workspace)
        names = {DEFAULT_DATASTORE, *(n[: -len(".json")] for n in ws.store.list("datastores") if n.endswith(".json"))}
        return {name: cls(ws, name) for name in sorted(names)}

    # -- registering -----------------------------------------------------------------------------------------------

    @classmethod
    def register_local(
        cls,
        workspace: Workspace | str | None,
        datastore_name: str,
        root: str | os.PathLike[str],
        overwrite: bool = False,
    ) -> Datastore:
        """Register a folder of a local or shared disk as a datastore.

        :param root: the folder; a relative one is taken from the current directory, now.
        :param overwrite: replace a datastore of that name; without it, only the same one may be registered again.
        """
        return cls._register(workspace, datastore_name, "local", {"root": os.path.abspath(os.fspath(root))}, overwrite)

    @classmethod
    def register_hdfs(
        cls,
        workspace: Workspace | str | None,
        datastore_name: str,
        protocol: str = "http",
        namenode_address: str = "",
        hdfs_server_certificate: str | None = None,
        kerberos_realm: str | None = None,
        kerberos_kdc_address: str | None = None,
        kerberos_principal: str | None = None,
        kerberos_keytab: str | None = None,
        kerberos_password: str | None = None,
        overwrite: bool = False,
        *,
        root: str = "/",
        webhdfs_url: str | None = None,
        user: str | None = None,
    ) -> Datastore:
        """Register a folder of an HDFS as a datastore.

        :param protocol: ``http`` or ``https``, of WebHDFS.
        :param namenode_address: ``host:port`` of the NameNode's RPC, which Spark uses.
        :param root: the folder in HDFS.
        :param webhdfs_url: where WebHDFS answers; default: *protocol* on the NameNode's host, port 9870 (https: 9871).
        :param user: the user to be; default: the user of the process.
        :raises UserErrorException: a Kerberos parameter or a certificate, which are not built yet.
        """
        refused = {
            "hdfs_server_certificate": hdfs_server_certificate,
            "kerberos_realm": kerberos_realm,
            "kerberos_kdc_address": kerberos_kdc_address,
            "kerberos_principal": kerberos_principal,
            "kerberos_keytab": kerberos_keytab,
            "kerberos_password": kerberos_password,
        }
        for parameter, value in refused.items():
            if value:
                raise UserErrorException(f"register_hdfs({parameter}=…) is not built yet", hint="Leave it out")
        if protocol not in ("http", "https"):
            raise UserErrorException(f"protocol={protocol!r} is not one of WebHDFS", allowed=["http", "https"])
        address = namenode_address.split("://")[-1].rstrip("/")
        host = address.partition(":")[0]
        if not host:
            raise UserErrorException(f"namenode_address={namenode_address!r} names no host", allowed=["host:port"])
        settings = {
            "root": root,
            "rpc": f"hdfs://{address}",
            "webhdfs_url": webhdfs_url or f"{protocol}://{host}:{9870 if protocol == 'http' else 9871}",
            "user": user,
        }
        return cls._register(workspace, datastore_name, "hdfs", settings, overwrite)

    @classmethod
    def register_machine(
        cls,
        workspace: Workspace | str | None,
        datastore_name: str,
        compute_target: str,
        root: str,
        overwrite: bool = False,
    ) -> Datastore:
        """Register a folder of a machine that is a compute target (``remote``, ``remotedocker``), to be read.

        Steps on that machine take what is in it by mount; on other targets it is downloaded.

        :param compute_target: the name of the compute target; its connection is used.
        :param root: the folder, an absolute path on the machine.
        :raises ComputeTargetException: there is no such compute target.
        :raises DatastoreError: it is no machine behind SSH.
        """
        settings = {"compute_target": compute_target, "root": root}
        return cls._register(workspace, datastore_name, "machine", settings, overwrite)

    @classmethod
    def _register(
        cls, workspace: Workspace | str | None, name: str, kind: str, settings: Mapping[str, Any], overwrite: bool
    ) -> Datastore:
        datastore = cls(workspace, name)
        record = {"name": datastore.name, "kind": kind, "settings": dict(settings)}
        open_backend(kind, complete(datastore.workspace, kind, settings))  # refuses settings that cannot work

        def change(head: Record | None) -> Record:
            if head and not overwrite and (head["kind"], head["settings"]) != (kind, record["settings"]):
                raise DatastoreError(
                    f"The datastore {name!r} exists already and is another one",
                    hint="Pass overwrite=True to replace it",
                )
            return record

        datastore.workspace.store.update(_record(name), change)
        return datastore

    def unregister(self) -> None:
        """Forget this datastore; its data stays.

        :raises DatastoreError: the workspace keeps no record of it (a connection is removed in Airflow).
        """
        path = _record(self.name)
        if not self.workspace.store.exists(path):
            raise DatastoreError(
                f"The workspace keeps no record of the datastore {self.name!r}",
                hint="A datastore that is an Airflow connection is removed there",
            )
        self.workspace.store.delete(path)
        self._backend = None

    def set_as_default(self) -> None:
        """Make this the workspace's default datastore."""
        self.workspace.set_default_datastore(self)

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name. Of a default datastore the workspace's settings are asked, once."""
        if self._name is None:
            self._name = str(self.workspace.settings().get("default_datastore") or DEFAULT_DATASTORE)
        return self._name

    @property
    def is_default(self) -> bool:
        """Whether it is the default datastore, whose name nobody has asked for yet."""
        return self._name is None

    @property
    def given_workspace(self) -> Workspace | None:
        """The workspace that it was asked for in; ``None``: nobody said which, and a step takes its own."""
        return self.workspace if self._placed else None

    @property
    def backend(self) -> Backend:
        """The files behind the name; a forked process opens its own.

        :raises DatastoreError: there is no such datastore; the message names the nearest ones.
        """
        if self._backend is None or self._backend[0] != os.getpid():
            self._backend = (os.getpid(), open_backend(*self._settings()))
        return self._backend[1]

    @property
    def datastore_type(self) -> str:
        """Its kind: ``local``, ``hdfs`` or ``machine``."""
        return self.backend.kind

    def _settings(self) -> tuple[str, dict[str, Any]]:
        connection = get_connection(self.name)
        if connection is not None and connection.conn_type == CONNECTION_TYPE:
            return of_connection(connection)
        store = self.workspace.store
        try:
            record = store.read_json(_record(self.name))
            kind = str(record["kind"])
            return kind, complete(self.workspace, kind, record["settings"])
        except FileNotFoundError:
            pass
        if self.name == DEFAULT_DATASTORE:
            return of_workspace(self.workspace)
        if connection is not None:
            raise DatastoreError(
                f"The connection {self.name!r} has the type {connection.conn_type!r} and is no datastore",
                allowed=[CONNECTION_TYPE],
                hint="Make a connection of that type with the datastore's name as its id",
            )
        known = self.all(self.workspace)
        raise DatastoreError(
            f"There is no datastore {self.name!r} in the workspace {self.workspace.name!r}",
            allowed=nearest(self.name, known),
            hint=f"Register it, or make a connection {self.name!r} of type {CONNECTION_TYPE}",
        )

    # -- moving files ----------------------------------------------------------------------------------------------

    def path(self, path: str | None = None, data_reference_name: str | None = None) -> DataReference:
        """Return the reference to *path* in this datastore; no I/O."""
        return DataReference(self, data_reference_name, path)

    def upload_files(
        self,
        files: list[str],
        relative_root: str | None = None,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Copy local files into the datastore.

        :param relative_root: the folder whose structure is kept below *target_path*; default: the files' common folder.
        :param overwrite: replace files that exist; without it they are left as they are and named in the log (as in
            v1).
        :returns: the reference to *target_path*.
        :raises UserErrorException: a file does not exist, or stands outside *relative_root*. Nothing was copied then.
        """
        sources = [Path(f).absolute() for f in files]
        for source in sources:
            if not source.is_file():
                raise UserErrorException(f"The file {source} to upload does not exist or is not a file")
        if not sources:
            return self.path(target_path)
        root = (
            Path(relative_root).absolute() if relative_root else Path(os.path.commonpath([s.parent for s in sources]))
        )
        for source in sources:
            if not source.is_relative_to(root):
                raise UserErrorException(f"The file {source} is not below relative_root={str(root)!r}")
        base = normal(target_path or "")
        for source in sources:
            target = "/".join(p for p in (base, source.relative_to(root).as_posix()) if p)
            self._upload(source, target, overwrite, show_progress)
        return self.path(base)

    def upload(
        self, src_dir: str, target_path: str | None = None, overwrite: bool = False, show_progress: bool = True
    ) -> DataReference:
        """Copy a local folder with all below it into the datastore.

        :raises UserErrorException: *src_dir* is not a folder.
        """
        folder = Path(src_dir).absolute()
        if not folder.is_dir():
            raise UserErrorException(f"The folder {folder} to upload does not exist or is not a folder")
        files = sorted(str(f) for f in folder.rglob("*") if f.is_file())
        return self.upload_files(files, str(folder), target_path, overwrite, show_progress)

    def _upload(self, source: Path, target: str, overwrite: bool, show_progress: bool) -> None:
        if not overwrite and self.backend.stat(target) is not None:
            log.info("%s exists in the datastore %s and is left as it is (overwrite=False)", target, self.name)
            return
        self.backend.put(source, target)
        if show_progress:
            log.info("Uploaded %s to %s", source, self.backend.uri(target))

    def download(
        self, target_path: str, prefix: str | None = None, overwrite: bool = False, show_progress: bool = True
    ) -> int:
        """Copy files of the datastore into a local folder, with their folders.

        :param prefix: a file, a folder or a pattern; default: everything.
        :param overwrite: replace local files that exist.
        :returns: how many files were copied.
        """
        folder, count = Path(target_path).absolute(), 0
        for info in self.backend.list(prefix or ""):
            target = folder / info.path
            if target.exists() and not overwrite:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            self.backend.get(info.path, target)
            count += 1
        if show_progress:
            log.info("Downloaded %d files of the datastore %s to %s", count, self.name, folder)
        return count

    def open(self, path: str) -> BinaryIO:
        """Open a file of the datastore for reading.

        :raises FileNotFoundError: it does not exist.
        """
        return self.backend.open(path)

    def __repr__(self) -> str:
        return f"Datastore({self._name or 'default'!r})"

    def serialize(self) -> dict[str, Any]:
        """Return plain data that is the same at each parse of a DAG file."""
        return {"datastore": self._name}


class WebFiles(Datastore):
    """Stands in for a datastore where a dataset's files are URLs; its name is empty and it is read-only."""

    def __init__(self, workspace: Workspace | str | None = None) -> None:
        super().__init__(workspace)
        self._name = ""

    def _settings(self) -> tuple[str, dict[str, Any]]:
        return "web", {}


def _record(name: str) -> str:
    return f"datastores/{check_name('datastore', name)}.json"
