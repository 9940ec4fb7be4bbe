"""The workspace as a script inside a step sees it."""

from __future__ import annotations

import os
from typing import Any

from stepwell.payload.context import current
from stepwell.runtime.errors import UserErrorException

from .._not_built import says_what_is_not_built
from .datastore import Datastore
from .keyvault import Keyvault


@says_what_is_not_built("workspace")
class Workspace:
    """The workspace of the job; by hand, outside a step, a name and nothing behind it."""

    def __init__(
        self,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        workspace_name: str | None = None,
        **_: Any,
    ) -> None:
        job = current()
        described: dict[str, Any] = dict(job.document.get("workspace") or {}) if job else {}
        environment = os.environ
        self.name: str = (
            workspace_name or described.get("name") or environment.get("AZUREML_ARM_WORKSPACE_NAME") or "default"
        )
        self.subscription_id: str = subscription_id or environment.get("AZUREML_ARM_SUBSCRIPTION", "")
        self.resource_group: str = resource_group or environment.get("AZUREML_ARM_RESOURCEGROUP", "")
        self._uuid: str = str(described.get("uuid") or "")
        self._datastore: str = str(described.get("default_datastore") or "workspaceblobstore")

    @staticmethod
    def from_config(
        path: str | None = None, auth: Any = None, _logger: Any = None, _file_name: Any = None
    ) -> Workspace:
        """Return the job's workspace. A step needs no ``config.json``.

        :raises UserErrorException: this process is not part of a job.
        """
        if current() is None:
            raise UserErrorException(
                "There is no workspace: this script does not run as a step",
                hint="Run it through a Stepwell operator; Run.get_context() works offline",
            )
        return Workspace()

    @staticmethod
    def get(name: str, **_: Any) -> Workspace:
        """Return the job's workspace under *name*."""
        return Workspace(workspace_name=name)

    @property
    def id(self) -> str:
        """The workspace's uuid."""
        return self._uuid

    @property
    def datasets(self) -> dict[str, Any]:
        """The registered datasets that the step was given, by name."""
        from .dataset import Dataset

        return Dataset.get_all(self)

    @property
    def datastores(self) -> dict[str, Datastore]:
        """The datastores that the step's datasets are on, and the default one."""
        job = current()
        names = {self._datastore}
        for entry in job.datasets.values() if job else ():
            names.update(p["datastore"] for p in entry["definition"]["paths"] if "datastore" in p)
        return {name: Datastore(self, name) for name in sorted(names)}

    def get_default_datastore(self) -> Datastore:
        """Return the default datastore."""
        return Datastore(self, self._datastore)

    def get_default_keyvault(self) -> Keyvault:
        """Return the secrets of the step."""
        return Keyvault()

    def get_details(self) -> dict[str, Any]:
        """Return name and id."""
        return {"name": self.name, "id": self._uuid, "friendlyName": self.name}

    def __repr__(self) -> str:
        return f"Workspace.create(name={self.name!r})"
