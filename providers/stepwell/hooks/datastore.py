"""``DatastoreHook``: a datastore, for tasks of one's own."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from stepwell.data.datastore import Datastore


class DatastoreHook(BaseHook):
    """A datastore: its files, by paths relative to its root.

    :param datastore_conn_id: the connection; its id is the datastore's name.
    :param workspace: name of the workspace.
    """

    conn_name_attr = "datastore_conn_id"
    default_conn_name = "workspaceblobstore"
    conn_type = "stepwell_datastore"
    hook_name = "Stepwell datastore"

    def __init__(self, datastore_conn_id: str = default_conn_name, workspace: str = "default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.datastore_conn_id = datastore_conn_id
        self.workspace = workspace

    @cached_property
    def datastore(self) -> Datastore:
        """The datastore; nothing is looked at before it is used."""
        from stepwell.data.datastore import Datastore
        from stepwell.workspace import Workspace

        return Datastore(Workspace(self.workspace), self.datastore_conn_id)

    def get_conn(self) -> Datastore:
        """Return the datastore."""
        return self.datastore

    def list(self, pattern: str = "**") -> list[str]:
        """Return the paths that match *pattern* (``*``, ``**``), sorted."""
        return sorted(file.path for file in self.datastore.backend.list(pattern))

    def uri(self, path: str) -> str:
        """Return the URL by which Spark reads *path*."""
        return self.datastore.backend.uri(path)

    def test_connection(self) -> tuple[bool, str]:
        """Look whether the datastore answers."""
        try:
            self.datastore.backend.exists("")
            return True, f"Datastore {self.datastore.name} answers at {self.uri('')}"
        except Exception as error:
            return False, str(error)
