"""``ComputeTargetHook``: a compute target, for tasks of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from stepwell.compute.targets import ComputeTarget


class ComputeTargetHook(BaseHook):
    """A compute target.

    :param compute_conn_id: a connection whose extras name the target and its workspace; or leave it out and give the
        names.
    :param target: the target's name.
    :param workspace: name of the workspace.
    """

    conn_name_attr = "compute_conn_id"
    default_conn_name = "stepwell_compute_default"
    conn_type = "stepwell_compute"
    hook_name = "Stepwell compute target"

    def __init__(
        self,
        compute_conn_id: str = default_conn_name,
        target: str | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.compute_conn_id = compute_conn_id
        self._target = target
        self._workspace = workspace

    def get_conn(self) -> ComputeTarget:
        """Return the compute target.

        :raises ComputeTargetException: there is none of that name.
        """
        from stepwell.compute.targets import ComputeTarget
        from stepwell.workspace import Workspace

        target, workspace = self._target, self._workspace
        if target is None:
            extra = self.get_connection(self.compute_conn_id).extra_dejson
            target, workspace = extra.get("target") or "local", workspace or extra.get("workspace")
        return ComputeTarget(Workspace(workspace or "default"), target)

    def probe(self) -> dict[str, Any]:
        """Look at the target now and return the dated report: facts, and problems if it cannot work."""
        from stepwell.compute.attaching import look

        found = self.get_conn()
        return look(found.workspace, found._record)[0].to_dict()

    def test_connection(self) -> tuple[bool, str]:
        """Probe the target."""
        try:
            report = self.probe()
        except Exception as error:
            return False, str(error)
        return bool(report["ok"]), "; ".join(report["problems"]) or f"It works: {report['facts']}"


class MachineHook(ComputeTargetHook):
    """A compute target made by hand, as a connection of a machine behind SSH; the connection's id is the target's name.

    :param machine_conn_id: the connection.
    :param workspace: name of the workspace.
    """

    conn_name_attr = "machine_conn_id"
    default_conn_name = "stepwell_machine_default"
    conn_type = "stepwell_ssh"
    hook_name = "Stepwell machine over SSH"

    def __init__(self, machine_conn_id: str = default_conn_name, workspace: str | None = None, **kwargs: Any) -> None:
        super().__init__(target=machine_conn_id, workspace=workspace, **kwargs)
