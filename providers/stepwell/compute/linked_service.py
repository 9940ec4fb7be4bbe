"""v1's ``LinkedService``: a Spark service that compute targets are attached from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stepwell.compute import records
from stepwell.compute.logins import refuse_login_in
from stepwell.errors import ComputeTargetException, UserErrorException
from stepwell.runtime.names import check_name

if TYPE_CHECKING:
    from stepwell.workspace import Workspace


class SynapseWorkspaceLinkedServiceConfiguration:
    """Where the Spark of a linked service is.

    With v1's three names alone it is that Azure Synapse workspace. With ``spark_conn_id`` or ``master`` it is a Spark
    of one's own, and the three names are kept for information. With nothing at all it is Spark on this machine,
    ``local[*]``.

    :param subscription_id: of an Azure Synapse workspace.
    :param resource_group: of an Azure Synapse workspace.
    :param name: of an Azure Synapse workspace.
    :param spark_conn_id: an Airflow connection of type ``spark``.
    :param master: a Spark master, such as ``spark://host:7077``.
    :param azure_conn_id: an Airflow connection of type ``azure`` or ``azure_synapse`` that logs in to Synapse; default:
        what Azure's default chain finds (variables, managed identity, …).
    :param endpoint: of the Synapse workspace; default: ``https://<name>.dev.azuresynapse.net``.
    """

    def __init__(
        self,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        name: str | None = None,
        *,
        spark_conn_id: str | None = None,
        master: str | None = None,
        azure_conn_id: str | None = None,
        endpoint: str | None = None,
    ) -> None:
        azure = [key for key, value in (("azure_conn_id", azure_conn_id), ("endpoint", endpoint)) if value]
        own = [key for key, value in (("spark_conn_id", spark_conn_id), ("master", master)) if value is not None]
        if len(own) > 1 or (own and azure):
            raise UserErrorException(
                f"{' and '.join([*own, *azure])} both say where Spark is: {spark_conn_id or master!r}",
                hint="Give one of them",
            )
        if master is not None:
            from stepwell.compute.kinds.spark import check_master

            check_master(master)
        if not own and (azure or subscription_id or resource_group or name):
            endpoint = _endpoint(endpoint, name)
        self.subscription_id = subscription_id
        self.resource_group = resource_group
        self.name = name
        self.spark_conn_id = spark_conn_id
        self.master = master
        self.azure_conn_id = azure_conn_id
        self.endpoint = endpoint

    def to_dict(self) -> dict[str, str | None]:
        """Return it as plain JSON."""
        return dict(vars(self))


_WORKSPACE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?", re.IGNORECASE)


def _endpoint(endpoint: str | None, name: str | None) -> str:
    """Return the endpoint of an Azure Synapse workspace."""
    if endpoint is None:
        if not isinstance(name, str) or not _WORKSPACE_NAME.fullmatch(name):
            raise ComputeTargetException(
                f"name={name!r} is not the name of an Azure Synapse workspace",
                allowed=["letters, digits and '-', at most 50"],
                hint="Give it, or endpoint; or say which Spark of yours to use: spark_conn_id or master",
            )
        return f"https://{name.lower()}.dev.azuresynapse.net"
    refuse_login_in(endpoint)
    parts = urlsplit(endpoint)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ComputeTargetException(
            f"endpoint={endpoint!r} is not right", allowed=["https://<workspace>.dev.azuresynapse.net"]
        )
    return endpoint.rstrip("/")


def spark_of(service: Mapping[str, Any]) -> tuple[str, dict[str, Any], str | None]:
    """Return the kind of target that a linked service's pools are, the settings that it gives them, and a connection.

    :param service: its configuration.
    """
    if service.get("endpoint"):
        return (
            "synapse",
            {"endpoint": service["endpoint"], "workspace_name": service.get("name")},
            service.get("azure_conn_id"),
        )
    return "spark", {"master": service.get("master")}, service.get("spark_conn_id")


class LinkedService:
    """A linked service of a workspace; get one with :meth:`register`, :meth:`get` or :meth:`list`."""

    def __init__(self, workspace: Workspace, record: records.Record) -> None:
        self._ws = workspace
        self._record = record

    @staticmethod
    def register(
        workspace: Workspace | str | None, name: str, linked_service_config: SynapseWorkspaceLinkedServiceConfiguration
    ) -> LinkedService:
        """Register a linked service, or change the one of that name."""
        if not isinstance(linked_service_config, SynapseWorkspaceLinkedServiceConfiguration):
            raise UserErrorException(
                f"{linked_service_config!r} is not a configuration of a linked service",
                allowed=["SynapseWorkspaceLinkedServiceConfiguration(…)"],
            )
        check_name("linked service", name)
        ws = _workspace(workspace)
        record = {"name": name, "type": "Synapse", "configuration": linked_service_config.to_dict()}
        return LinkedService(ws, records.write_linked_service(ws, record))

    @staticmethod
    def get(workspace: Workspace | str | None, name: str) -> LinkedService:
        """Return a registered linked service.

        :raises ComputeTargetException: there is none of that name.
        """
        ws = _workspace(workspace)
        return LinkedService(ws, records.read_linked_service(ws, name))

    @staticmethod
    def list(workspace: Workspace | str | None = None) -> list[LinkedService]:
        """Return all linked services of the workspace."""
        ws = _workspace(workspace)
        return [LinkedService.get(ws, name) for name in records.linked_service_names(ws)]

    def unregister(self) -> None:
        """Remove it.

        :raises ComputeTargetException: compute targets are attached from it.
        """
        every = (records.read(self._ws, name) for name in records.names(self._ws))
        users = [r["name"] for r in every if r["configuration"].get("linked_service") == self.name]
        if users:
            raise ComputeTargetException(
                f"The linked service {self.name!r} is used by {', '.join(users)}",
                hint="Detach these compute targets first",
            )
        records.remove_linked_service(self._ws, self.name)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._record["name"])

    @property
    def type(self) -> str:
        """Its type, "Synapse" as in v1."""
        return str(self._record["type"])

    @property
    def linked_service_resource_id(self) -> str | None:
        """The Azure resource that it was said to stand for, if one was named."""
        settings = self.settings
        if not settings.get("subscription_id"):
            return None
        return (
            f"/subscriptions/{settings['subscription_id']}/resourceGroups/{settings['resource_group']}"
            f"/providers/Microsoft.Synapse/workspaces/{settings['name']}"
        )

    @property
    def system_assigned_identity_principal_id(self) -> None:
        """None: there is no Azure identity."""
        return

    @property
    def settings(self) -> dict[str, Any]:
        """Its configuration."""
        return dict(self._record["configuration"])

    def __repr__(self) -> str:
        return f"LinkedService(name={self.name!r}, type={self.type!r})"


def _workspace(workspace: Workspace | str | None) -> Workspace:
    from stepwell.compute.base import _workspace as default

    return default(workspace)
