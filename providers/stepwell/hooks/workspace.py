"""``WorkspaceHook``: a workspace, for tasks of one's own."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from stepwell.data.registry import DatasetVersion
    from stepwell.workspace import Workspace


class WorkspaceHook(BaseHook):
    """A workspace: its datasets, by name and version, and the references that tasks pass on.

    :param stepwell_conn_id: the workspace's connection, ``stepwell_<name>``; one of another name must say the root. It
        need not exist: then the workspace is where ``STEPWELL_ROOT`` says, or in ``./.stepwell``.
    """

    conn_name_attr = "stepwell_conn_id"
    default_conn_name = "stepwell_default"
    conn_type = "stepwell_workspace"
    hook_name = "Stepwell workspace"

    def __init__(self, stepwell_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stepwell_conn_id = stepwell_conn_id

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace; nothing is looked at before it is used."""
        from stepwell.errors import WorkspaceError
        from stepwell.hooks.connections import AirflowConnections
        from stepwell.workspace import Workspace

        prefix, _, name = self.stepwell_conn_id.partition("_")
        if prefix == "stepwell" and name:
            return Workspace(name)
        connection = AirflowConnections().get(self.stepwell_conn_id)
        root = connection and (connection.extra.get("root") or connection.host)
        if not connection or not root:
            raise WorkspaceError(
                f"The connection {self.stepwell_conn_id!r} names no root",
                hint="Name it stepwell_<workspace>, or put the root URL into its host",
            )
        webhdfs = connection.extra.get("webhdfs_url")
        return Workspace("default", f"{root}?webhdfs_url={webhdfs}" if webhdfs else root)

    def get_conn(self) -> Workspace:
        """Return the workspace."""
        return self.workspace

    def get_version(self, dataset: str, version: int | str = "latest") -> DatasetVersion:
        """Return a version of a registered dataset.

        :raises DatasetError: there is none.
        """
        from stepwell.data import registry

        return registry.get(self.workspace, dataset, version)

    def get_reference(self, dataset: str, version: int | str = "latest") -> dict[str, Any]:
        """Return the reference of a version: the plain dict that tasks pass on by XCom.

        :raises DatasetError: there is none.
        """
        return self.get_version(dataset, version).reference()

    def test_connection(self) -> tuple[bool, str]:
        """Look whether the workspace can be read and written."""
        try:
            self.workspace.store.replace("connection-test", b"")
            self.workspace.store.delete("connection-test")
            return True, f"Workspace {self.workspace.name} at {self.workspace.root} ({self.workspace.uuid})"
        except Exception as error:
            return False, str(error)
