"""v1's ``LinkedService``: a Spark service that compute targets are attached from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.compute import records
from stepwell.errors import ComputeTargetException, UserErrorException
from stepwell.runtime.names import check_name

if TYPE_CHECKING:
    from stepwell.workspace import Workspace


class SynapseWorkspaceLinkedServiceConfiguration:
    """Where the Spark of a linked service is.

    With ``spark_conn_id`` or ``master`` it is an own Spark, and Azure's three names are kept for information only.
    With nothing at all it is Spark on this machine, ``local[*]``.

    :param subscription_id: of an Azure Synapse workspace.
    :param resource_group: of an Azure Synapse workspace.
    :param name: of an Azure Synapse workspace.
    :param spark_conn_id: an Airflow connection of type ``spark``.
    :param master: a Spark master, such as ``spark://host:7077``.
    :raises ComputeTargetException: it names an Azure Synapse workspace only: that is not built yet.
    """

    def __init__(
        self,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        name: str | None = None,
        *,
        spark_conn_id: str | None = None,
        master: str | None = None,
    ) -> None:
        if spark_conn_id is not None and master is not None:
            raise UserErrorException(
                f"spark_conn_id={spark_conn_id!r} and master={master!r} both say where Spark is",
                hint="Give one of them",
            )
        if subscription_id is not None and spark_conn_id is None and master is None:
            raise ComputeTargetException(
                f"Azure Synapse itself (subscription {subscription_id!r}, workspace {name!r}) is not built yet",
                allowed=["spark_conn_id='<an Airflow connection of type spark>'", "master='local[*]'", "nothing"],
                hint="Say which Spark to use in its place",
            )
        if master is not None:
            from stepwell.compute.kinds.spark import check_master

            check_master(master)
        self.subscription_id = subscription_id
        self.resource_group = resource_group
        self.name = name
        self.spark_conn_id = spark_conn_id
        self.master = master

    def to_dict(self) -> dict[str, str | None]:
        """Return it as plain JSON."""
        return dict(vars(self))


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
