"""``AttachComputeTargetOperator``: attach a compute target, or find it attached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from stepwell.errors import StepwellError, UserErrorException
from stepwell.runtime.names import check_name

if TYPE_CHECKING:
    from airflow.sdk import Context


class AttachComputeTargetOperator(BaseOperator):
    """Attach a compute target under a name, probe it, and fail with the reason if it cannot work.

    A target of that name with the same configuration is left as it is, but for a new probe. A task may only read
    connections: so the target's connection must exist, and be named (``ssh_conn_id``, ``livy_conn_id``, …).

    :param name: the target's name in the workspace. (templated)
    :param attach_configuration: what ``RemoteCompute.attach_configuration(…)`` and its like return; or a function
        without parameters that returns it, called when the task runs: to look up a linked service, for instance.
    :param workspace: the ``Workspace`` or its name; default: the default workspace.
    :returns: name, kind and the dated report of the probe.
    :raises UserErrorException: the configuration holds a password or a key.
    """

    template_fields = ("target_name",)
    ui_color = "#e3ecd9"

    def __init__(self, *, name: str, attach_configuration: Any, workspace: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_name = name
        _refuse_credentials(attach_configuration)
        self.attach_configuration = attach_configuration
        from stepwell.workspace.workspace import plain

        self.workspace = plain(workspace)

    def execute(self, context: Context) -> dict[str, Any]:
        """Attach and probe."""
        from stepwell.compute.targets import ComputeTarget
        from stepwell.workspace.workspace import resolve_workspace

        try:
            wanted = self.attach_configuration
            configuration = wanted() if callable(wanted) else wanted
            _refuse_credentials(configuration)
            name = check_name("compute target", self.target_name)
            target = ComputeTarget.attach(resolve_workspace(self.workspace), name, configuration)
            target.wait_for_completion(show_output=True)
        except StepwellError as error:
            if error.permanent:
                raise AirflowFailException(str(error)) from error
            raise  # a target that does not answer may answer later
        record = target.serialize()
        self.log.info("Compute target %s: %s", self.target_name, record.get("report"))
        return {"name": self.target_name, "kind": record.get("kind"), "report": record.get("report")}


def _refuse_credentials(configuration: Any) -> None:
    if getattr(configuration, "login", None) is not None:
        raise UserErrorException(
            "attach_configuration says how to log in itself, and a task cannot keep that: it may only read connections",
            allowed=["ssh_conn_id='…'", "livy_conn_id='…'"],
            hint="Make the connection in Airflow and name it; or attach the target once with: airflow stepwell "
            "computetarget attach …",
        )
