"""Datastores as names: enough to say where a dataset is.

A step reads data through its inputs, never through a datastore.
"""

from __future__ import annotations

from typing import Any

from stepwell.runtime.errors import UserErrorException
from stepwell.runtime.names import check_name

from .._not_built import says_what_is_not_built


@says_what_is_not_built("Datastore")
class Datastore:
    """The datastore *name*, to be used as in ``(datastore, "path/in/it")``."""

    def __init__(self, workspace: Any, name: str = "workspaceblobstore") -> None:
        self.workspace = workspace
        self.name = check_name("datastore", name)

    @staticmethod
    def get(workspace: Any, datastore_name: str) -> Datastore:
        """Return the datastore of that name (whether it exists shows when it is used)."""
        return Datastore(workspace, datastore_name)

    @staticmethod
    def get_default(workspace: Any) -> Datastore:
        """Return the workspace's default datastore."""
        return workspace.get_default_datastore()  # type: ignore[no-any-return]

    def path(self, path: str = "") -> tuple[Datastore, str]:
        """Return a place on this datastore."""
        return (self, path)

    def _refused(self, what: str) -> UserErrorException:
        return UserErrorException(
            f"{what} is not possible inside a step: it has no access to the datastore {self.name!r}",
            hint="Declare an input with as_download() or an output with OutputFileDatasetConfig on the operator",
        )

    def upload(self, *_: Any, **__: Any) -> Any:
        """Refused: outputs are declared.

        :raises UserErrorException: always.
        """
        raise self._refused("upload()")

    upload_files = upload

    def download(self, *_: Any, **__: Any) -> Any:
        """Refused: inputs are declared.

        :raises UserErrorException: always.
        """
        raise self._refused("download()")

    def __repr__(self) -> str:
        return f"Datastore({self.name!r})"
