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

    :param stepwell_conn_id: the workspace's connection, ``stepwell_<name>``. It need not exist: then the workspace is
        where ``STEPWELL_ROOT`` says, or in ``./.stepwell``.
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
        from stepwell.workspace import Workspace

        return Workspace(self.stepwell_conn_id.removeprefix("stepwell_"))

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
            return True, f"Workspace {self.workspace.name} at {self.workspace.root} ({self.workspace.uuid})"
        except Exception as error:
            return False, str(error)
