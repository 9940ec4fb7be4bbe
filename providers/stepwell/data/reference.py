"""Pointing at data in a datastore: v1's ``DataPath`` and ``DataReference``, and plain ``(datastore, path)`` tuples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.data.stores.base import normal
from stepwell.errors import UserErrorException
from stepwell.workspace.workspace import plain, same_workspace

if TYPE_CHECKING:
    from stepwell.data.datastore import Datastore
    from stepwell.workspace.workspace import Workspace


#: Stands for "the workspace's default datastore" in a definition until it is used: a DAG file that is being parsed
#: reads no workspace.
DEFAULT = "@default"


class DataPath:
    """A path in a datastore.

    :param datastore: the datastore, or its name.
    :param path_on_datastore: relative to the datastore's root; ``None``: the root itself.
    """

    def __init__(self, datastore: Datastore | str | None = None, path_on_datastore: str | None = None) -> None:
        self.datastore = datastore
        self.path_on_datastore = normal(path_on_datastore or "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_name(self.datastore)!r}, {self.path_on_datastore!r})"


class DataReference(DataPath):
    """A path in a datastore with a name, as ``datastore.path(…)`` and ``datastore.upload(…)`` return it.

    :param data_reference_name: its name; default: made of the datastore's and the path's.
    """

    def __init__(
        self,
        datastore: Datastore | str,
        data_reference_name: str | None = None,
        path_on_datastore: str | None = None,
    ) -> None:
        super().__init__(datastore, path_on_datastore)
        self.data_reference_name = data_reference_name

    def path(self, path: str) -> DataReference:
        """Return the reference to *path* below this one."""
        joined = "/".join(p for p in (self.path_on_datastore, path.strip("/")) if p)
        return DataReference(self.datastore or "", None, joined)


def definition_path(path: Any) -> dict[str, str]:
    """Return one path of a definition, of anything that v1 takes as one: a URL, a tuple, a ``DataPath``.

    :raises UserErrorException: it is none of them.
    """
    if isinstance(path, DataPath):
        path = (path.datastore, path.path_on_datastore)
    if isinstance(path, str):
        if path.startswith(("http://", "https://")):
            return {"url": path}
        raise UserErrorException(
            f"{path!r} is not the path of a dataset",
            allowed=['(datastore, "path")', "https://…"],
            hint="Upload a local file with datastore.upload_files([...]) and name it as (datastore, 'path')",
        )
    if isinstance(path, (tuple, list)) and len(path) == 2 and isinstance(path[1], str):
        return {"datastore": _name(path[0]), "path": normal(path[1])}
    raise UserErrorException(f"{path!r} is not the path of a dataset", allowed=['(datastore, "path")', "https://…"])


def definition_paths(path: Any) -> list[dict[str, str]]:
    """Return the paths of a definition, of one path or a list of them.

    :raises UserErrorException: there is none, or URLs and datastore paths are mixed.
    """
    return [definition_path(p) for p in _each(path)]


def workspace_of(path: Any) -> Workspace | None:
    """Return the workspace whose datastores *path* names; ``None`` if no path says which.

    :raises UserErrorException: the paths are of several workspaces.
    """
    found: Workspace | None = None
    for one in _each(path):
        datastore = one.datastore if isinstance(one, DataPath) else one[0] if isinstance(one, (tuple, list)) else None
        workspace = getattr(datastore, "given_workspace", None)
        if workspace is None:
            continue
        if found is not None and not same_workspace(found, workspace):
            raise UserErrorException(
                f"A dataset cannot have paths of two workspaces, {plain(found)!r} and {plain(workspace)!r}",
                hint="Make a dataset of each",
            )
        found = workspace
    return found


def _each(path: Any) -> list[Any]:
    one = isinstance(path, (str, DataPath)) or (isinstance(path, tuple) and len(path) == 2 and isinstance(path[1], str))
    if one and isinstance(path, tuple) and isinstance(path[0], (tuple, DataPath)):
        one = False
    if one and isinstance(path, tuple) and all(isinstance(p, str) and "://" in p for p in path):
        one = False  # a tuple of two URLs
    return [path] if one else list(path)


def _name(datastore: Any) -> str:
    if getattr(datastore, "is_default", False):
        return DEFAULT
    name = datastore if isinstance(datastore, str) else getattr(datastore, "name", None)
    if not isinstance(name, str) or not name:
        raise UserErrorException(f"{datastore!r} is not a datastore", allowed=["a Datastore", "its name"])
    return name
