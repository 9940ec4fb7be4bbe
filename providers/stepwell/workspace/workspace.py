"""``Workspace``: v1's first word. Building one costs nothing; its root is looked up when it is needed."""

from __future__ import annotations

import json
import os
import time
import uuid as uuids
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from stepwell.errors import UserErrorException, WorkspaceError
from stepwell.not_built import says_what_is_not_built
from stepwell.runtime.names import check_name
from stepwell.workspace.connections import get_connection
from stepwell.workspace.store import Store, open_store

if TYPE_CHECKING:
    from stepwell.data.dataset import Dataset
    from stepwell.data.datastore import Datastore

FORMAT = 1
DEFAULT_NAME = "default"
DEFAULT_DATASTORE = "workspaceblobstore"
SETTINGS = "settings.json"
_CONFIG_FOLDERS = (".", ".azureml", "aml_config")
_CONFIG_NAMES = ("config.json", "project.json")


@says_what_is_not_built("Workspace")
class Workspace:
    """A named place for datasets, compute targets and runs.

    Its root, in this order: *root*; the connection ``stepwell_<name>`` (its extra ``root``, else its host, as a URL);
    the environment variable ``STEPWELL_ROOT``; ``.stepwell`` in the current directory. Workers that do not share a disk
    need a shared root.

    :param name: letters, digits, ``_``, ``-``, ``.``.
    :param root: ``file:///…``, a path, or ``hdfs://host:port/path`` (its WebHDFS address: extra ``webhdfs_url`` of the
        connection, or ``?webhdfs_url=…`` in the URL, else ``http://host:9870``).
    :raises UserErrorException: a bad name.
    """

    def __init__(self, name: str = DEFAULT_NAME, root: str | os.PathLike[str] | None = None) -> None:
        self.name = check_name("workspace", name)
        self._given = None if root is None else os.fspath(root)
        self._place: tuple[str, dict[str, Any]] | None = None
        self._store: tuple[int, Store] | None = None
        self._uuid: str | None = None

    # -- finding one -----------------------------------------------------------------------------------------------

    @classmethod
    def get_default(cls) -> Workspace:
        """Return the default workspace."""
        return cls()

    @classmethod
    def from_config(
        cls, path: str | os.PathLike[str] | None = None, auth: Any = None, _file_name: str | None = None
    ) -> Workspace:
        """Return the workspace that a ``config.json`` names, as v1 finds it.

        Looked for in *path* (a file or a folder; default: the current directory) and its parents, in each directly, in
        ``.azureml`` and in ``aml_config``; ``project.json`` (v1's older name) serves too. The keys are v1's
        ``workspace_name`` and, beside it, Stepwell's ``root``; v1's ``subscription_id`` and ``resource_group`` are
        ignored.

        Unlike v1, which raises: where no *path* is given and no file is found, this is the default workspace.

        :param auth: ignored; v1 code passes it.
        :raises UserErrorException: *path* holds no such file, or the file is malformed.
        """
        start = Path(os.fspath(path)) if path is not None else Path.cwd()
        names = (_file_name,) if _file_name else _CONFIG_NAMES
        if start.is_file():
            return cls._read_config(start)
        start = start.absolute()
        for folder in (start, *start.parents):
            for sub in _CONFIG_FOLDERS:
                for name in names:
                    candidate = folder / sub / name
                    if candidate.is_file():
                        return cls._read_config(candidate)
        if path is None and _file_name is None:
            return cls.get_default()
        raise UserErrorException(
            f"No workspace configuration was found in {start} or its parents",
            allowed=[f"{sub}/{name}" for sub in _CONFIG_FOLDERS for name in names],
            hint="Write one with Workspace(...).write_config(), or use Workspace.get_default()",
        )

    @classmethod
    def _read_config(cls, file: Path) -> Workspace:
        try:
            config = json.loads(file.read_text(encoding="utf-8-sig"))
            name = config.get("workspace_name", config.get("workspaceName"))
        except (ValueError, AttributeError) as error:
            raise UserErrorException(f"The workspace configuration {file} is not a JSON object: {error}") from error
        if not name:
            raise UserErrorException(f"The workspace configuration {file} lacks 'workspace_name'")
        root = config.get("root")
        if root and "://" not in root and not os.path.isabs(root):
            root = os.path.join(file.absolute().parent, root)
        return cls(name, root)

    def write_config(self, path: str | os.PathLike[str] | None = None, file_name: str | None = None) -> Path:
        """Write a ``config.json`` that :meth:`from_config` finds.

        :param path: the folder; default: the current directory. The file goes into ``.azureml`` there, as in v1.
        :returns: the file.
        """
        target = (
            Path(os.fspath(path) if path is not None else ".").absolute() / ".azureml" / (file_name or "config.json")
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        config = {"workspace_name": self.name}
        if self._given is not None:
            config["root"] = self.root
        target.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        return target

    @property
    def given_root(self) -> str | None:
        """The root that was given explicitly; ``None``: it is looked up when it is needed."""
        return self._given

    # -- its place -------------------------------------------------------------------------------------------------

    @property
    def root(self) -> str:
        """The root as a URL (``file:///…``, ``hdfs://…``)."""
        return self.place()[0]

    def place(self) -> tuple[str, dict[str, Any]]:
        """Return the root as a URL, and what its filesystem needs beside it (HDFS: ``webhdfs_url``, ``user``)."""
        if self._place is None:
            self._place = self._find()
        return self._place

    def _find(self) -> tuple[str, dict[str, Any]]:
        if self._given is not None:
            return _place(self._given, {})
        connection = get_connection(f"stepwell_{self.name}")
        if connection is not None:
            url = connection.extra.get("root") or connection.host
            if not url:
                raise WorkspaceError(
                    f"The connection stepwell_{self.name} names no root",
                    hint="Put the root URL into its host, or into 'root' of its extra",
                )
            if "://" not in str(url) and not os.path.isabs(os.path.expanduser(str(url))):
                raise WorkspaceError(
                    f"The root {url!r} of the connection stepwell_{self.name} is neither a URL nor an absolute path",
                    allowed=["/srv/stepwell", "hdfs://host:9000/stepwell"],
                )
            options = {"webhdfs_url": connection.extra.get("webhdfs_url"), "user": connection.login}
            return _place(str(url), {k: v for k, v in options.items() if v})
        return _place(os.environ.get("STEPWELL_ROOT") or os.path.abspath(".stepwell"), {})

    @property
    def store(self) -> Store:
        """The files of this workspace; a forked process opens its own."""
        if self._store is None or self._store[0] != os.getpid():
            self._store = (os.getpid(), open_store(*self.place()))
        return self._store[1]

    @property
    def uuid(self) -> str:
        """The identity of this workspace, made when it is first used."""
        if self._uuid is None:
            self._uuid = self._identity()
        return self._uuid

    def _identity(self) -> str:
        try:
            record = self.store.read_json("workspace.json")
        except FileNotFoundError:
            record = {"format": FORMAT, "uuid": str(uuids.uuid4()), "name": self.name, "created": time.time()}
            try:
                self.store.create_json("workspace.json", record)
            except FileExistsError:  # another process was first
                record = self.store.read_json("workspace.json")
        if record.get("format") != FORMAT:
            raise WorkspaceError(
                f"The workspace {self.root} has the format {record.get('format')!r}, which this Stepwell cannot read",
                allowed=[FORMAT],
                hint="Use the Stepwell that made it, or another root",
            )
        return str(record["uuid"])

    def check_uuid(self, expected: str | None) -> None:
        """Make sure that this is the workspace that a reference was made in.

        :raises WorkspaceError: it is another one.
        """
        if expected is not None and expected != self.uuid:
            raise WorkspaceError(
                f"This worker sees another workspace: {self.root} is {self.uuid}, and the data was made in {expected}",
                hint=f"Give all workers one shared root (connection stepwell_{self.name}, or STEPWELL_ROOT)",
            )

    # -- what is in it ---------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """Return the workspace's settings (a small head)."""
        try:
            return self.store.read_json(SETTINGS)
        except FileNotFoundError:
            return {}

    def get_default_datastore(self) -> Datastore:
        """Return the default datastore (``workspaceblobstore`` unless another was set)."""
        from stepwell.data.datastore import Datastore

        return Datastore.get_default(self)

    def set_default_datastore(self, name: str | Datastore) -> None:
        """Make the datastore *name* the default one.

        :raises DatastoreError: there is no such datastore.
        """
        from stepwell.data.datastore import Datastore

        datastore = Datastore(self, name if isinstance(name, str) else name.name)
        _ = datastore.backend  # raises for an unknown one
        self.store.update(SETTINGS, lambda head: {**(head or {}), "default_datastore": datastore.name})

    def datastore(self, name: str | None = None) -> Datastore:
        """Return the datastore *name*; ``None``: the default one; ``""``: what reads files by their URL."""
        from stepwell.data.datastore import Datastore, WebFiles

        return WebFiles(self) if name == "" else Datastore(self, name)

    @property
    def datastores(self) -> Mapping[str, Datastore]:
        """The datastores kept in the workspace, by name (those that are connections only are found by their name)."""
        from stepwell.data.datastore import Datastore

        return Datastore.all(self)

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        """The registered datasets in their latest versions, by name; each is looked up when it is used."""
        from stepwell.data.dataset import Dataset

        return Dataset.get_all(self)

    @property
    def compute_targets(self) -> Mapping[str, Any]:
        """The compute targets, by name."""
        from stepwell.compute.targets import ComputeTarget

        return {target.name: target for target in ComputeTarget.list(self)}

    @property
    def linked_services(self) -> Mapping[str, Any]:
        """The linked services, by name."""
        from stepwell.compute.targets import LinkedService

        return {service.name: service for service in LinkedService.list(self)}

    def __repr__(self) -> str:
        return f"Workspace({self.name!r})"

    def serialize(self) -> dict[str, Any]:
        """Return plain data that is the same at each parse of a DAG file."""
        return {"workspace": plain(self)}


#: A workspace as plain data: its name, or ``{"name", "root"}`` if its root was given explicitly.
PlainWorkspace = str | dict[str, str]


def plain(workspace: Workspace | PlainWorkspace | None) -> PlainWorkspace | None:
    """Return *workspace* as plain data, the same at each parse, of which :func:`resolve_workspace` makes it again.

    No I/O.

    :returns: its name; ``{"name", "root"}`` if its root was given explicitly; ``None`` for ``None``: nobody said which.
    :raises UserErrorException: it is no workspace.
    """
    if workspace is None:
        return None
    ws = resolve_workspace(workspace)
    given = ws.given_root
    if given is None:
        return ws.name
    return {"name": ws.name, "root": given if "://" in given else _place(given, {})[0]}


def resolve_workspace(workspace: Workspace | PlainWorkspace | None) -> Workspace:
    """Return *workspace*, the one of that name, the one that :func:`plain` stands for, or the default one for ``None``.

    :raises UserErrorException: it is something else.
    """
    if workspace is None:
        return Workspace.get_default()
    if isinstance(workspace, str):
        return Workspace(workspace)
    if isinstance(workspace, Workspace):
        return workspace
    if isinstance(workspace, Mapping) and "name" in workspace and set(workspace) <= {"name", "root"}:
        return Workspace(workspace["name"], workspace.get("root"))
    raise UserErrorException(
        f"{workspace!r} is not a workspace", allowed=["a Workspace", "its name", "None for the default one"]
    )


def same_workspace(one: Workspace | PlainWorkspace | None, other: Workspace | PlainWorkspace | None) -> bool:
    """Say whether both are one workspace; ``None`` is the default one.

    Nothing is looked up where both say the same; else their roots are (in connections, not in the workspaces).
    """
    first, second = resolve_workspace(one), resolve_workspace(other)
    return plain(first) == plain(second) or first.root == second.root


def _place(root: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the root as a clean URL, and what its filesystem needs beside it."""
    if "://" not in root:
        return Path(os.path.abspath(os.path.expanduser(root))).as_uri(), options
    parts = urlsplit(root)
    query = dict(parse_qsl(parts.query))
    if query:
        root = parts._replace(query="").geturl()
    return root.rstrip("/") or root, {**query, **options}
