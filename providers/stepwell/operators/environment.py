"""``PrepareEnvironmentOperator``: build an environment ahead, in a task of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from stepwell.errors import StepwellError

if TYPE_CHECKING:
    from airflow.sdk import Context


class PrepareEnvironmentOperator(BaseOperator):
    """Build the environment of later steps, or find it built, so that they need not wait and its log is found alone.

    :param environment: an ``Environment``, the path of a conda, requirements or project file, or the name of a
        registered environment ("train", "train:2"). (templated)
    :param compute_target: a compute target or its name; default ``local``. (templated)
    :param workspace: the ``Workspace`` or its name; default: the default workspace.
    :returns: its key, its Python version and whether it is user-managed; also on XCom as ``key`` and ``python``.
    """

    template_fields = ("environment", "compute_target")
    ui_color = "#e3ecd9"

    def __init__(
        self, *, environment: Any, compute_target: Any = "local", workspace: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        from stepwell.operators.base import _environment, _target_name
        from stepwell.workspace.workspace import plain

        self.environment = _environment(environment, None)
        self.compute_target = _target_name(compute_target, None)
        self.workspace = plain(workspace)

    def execute(self, context: Context) -> dict[str, Any]:
        """Build it."""
        from stepwell.environment.registered import prepare
        from stepwell.workspace.workspace import resolve_workspace

        try:
            found = prepare(resolve_workspace(self.workspace), self.environment, self.compute_target, self.log.info)
        except StepwellError as error:
            if error.permanent:
                raise AirflowFailException(str(error)) from error  # no retry would help
            raise
        context["ti"].xcom_push(key="key", value=found.key)
        context["ti"].xcom_push(key="python", value=found.version)
        return {"key": found.key, "python": found.version, "user_managed": found.user_managed}

    def on_kill(self) -> None:
        """Stop the build, which leaves nothing."""
        from stepwell.environment.running import stop_builds

        stop_builds()
