"""What all steps share as Airflow tasks: v1's parameters, templates, edges, assets, XCom, and a cancel that reaches the
job.

What a step *does* is told in ``stepwell.step.life``; nothing here knows how a compute target works.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from stepwell.assets import dataset_asset, script_datasets
from stepwell.errors import StepwellError, UserErrorException
from stepwell.links import RunLink, ValidationReportLink
from stepwell.operators import ports
from stepwell.operators.runconfig import check_runconfig, longest
from stepwell.step.spec import REGENERATE, JobKey, StepResult, StepSpec

if TYPE_CHECKING:
    from airflow.sdk import Context

    from stepwell.step.life import Life
    from stepwell.step.spec import StepResult

log = logging.getLogger("stepwell.step")
#: There is so much time at least to collect what a job has done, in seconds.
TIME_TO_COLLECT = 60.0
Lived = TypeVar("Lived")
#: So long after its own limit a step that waits is taken from a triggerer that does not see to it.
TIMEOUT_GRACE = timedelta(seconds=30)
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_.\-]+")

#: v1 parameters of steps that are known here and not built yet, with the value that means "not used".
NOT_BUILT: dict[str, Any] = {"runconfig_pipeline_params": None, "hash_paths": None, "side_inputs": None}


class StepOperator(BaseOperator):
    """Run a step on a compute target.

    :param name: the step's name (v1); default ``task_id``. With *name* alone the task is called so.
    :param source_directory: the folder that is taken along; the script runs in a copy of it. (templated)
    :param arguments: strings, numbers, inputs and outputs; the latter two become ids, paths or URLs. (templated)
    :param inputs: inputs (``dataset.as_named_input(…)``, ``output.as_input(…)``) or references of other tasks.
        (templated)
    :param outputs: outputs (``OutputFileDatasetConfig``, ``HDFSOutputDatasetConfig``). (templated)
    :param compute_target: a compute target or its name; default ``local``. (templated)
    :param environment: an ``Environment``, the name of a registered one ("train", "train:2"), or the path of a conda,
        requirements or ``pyproject.toml`` file. (templated)
    :param runconfig: a ``RunConfiguration``: its environment, target and variables, where the step says nothing itself,
        and its ``max_run_duration_seconds`` as ``execution_timeout``.
    :param environment_variables: more environment variables of the script. (templated)
    :param secrets: environment variable → id of the Airflow connection whose password it is. Never logged or stored.
    :param allow_reuse: an earlier run with the same code, environment, arguments and data may stand in for this one:
        its outputs are looked at and handed on, and the step does not run. With the DAG param
        ``regenerate_outputs=True`` every step runs.
    :param version: a tag of the step's functionality: with another one, it runs again.
    :param workspace: the ``Workspace`` or its name; default: that of the inputs and outputs, else the default
        workspace.
    :param deferrable: whether the task gives its worker back while its job runs, and waits in the triggerer. Default:
        as its compute target says (all but ``local`` and those on this machine do), unless ``default_deferrable`` of
        Airflow's section ``[operators]`` is set to False. A step that waits for its turn on an ``AmlCompute`` waits
        there, too. ``execution_timeout`` counts from the start of the try.
    """

    template_fields: Sequence[str] = (
        "source_directory",
        "script_name",
        "arguments",
        "inputs",
        "outputs",
        "compute_target",
        "environment",
        "environment_variables",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "arguments": "json", "inputs": "json", "outputs": "json", "environment": "json", "environment_variables": "json"
    }  # fmt: skip
    operator_extra_links: Sequence[BaseOperatorLink] = (RunLink(), ValidationReportLink())
    ui_color = "#d9eaf2"
    step_kind: ClassVar[str] = "python"

    def __init__(
        self,
        *,
        task_id: str | None = None,
        name: str | None = None,
        source_directory: str | None = None,
        script_name: str | None = None,
        arguments: Sequence[Any] | None = None,
        inputs: Any = None,
        outputs: Any = None,
        compute_target: Any = None,
        environment: Any = None,
        runconfig: Any = None,
        environment_variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        allow_reuse: bool = True,
        version: str | None = None,
        workspace: Any = None,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        for parameter, unused in NOT_BUILT.items():
            if kwargs.pop(parameter, unused) != unused:
                raise UserErrorException(f"The parameter {parameter} is not built yet", hint="Leave it out")
        check_runconfig(runconfig, self.step_kind)
        kwargs.setdefault("execution_timeout", longest(runconfig))
        super().__init__(task_id=task_id or task_id_of(name or script_name), **kwargs)
        self.step_name = name or self.task_id
        self.runconfig = runconfig
        self.source_directory = source_directory
        self.script_name = script_name
        self.inputs = ports.plain_inputs(inputs, self)
        self.outputs = ports.plain_outputs(outputs, self)
        self.arguments = ports.plain_arguments(arguments, self.inputs, self.outputs)
        self.compute_target = _target_name(compute_target, runconfig)
        self.environment = _environment(environment, runconfig)
        self.environment_variables = {
            **(getattr(runconfig, "environment_variables", None) or {}),
            **(environment_variables or {}),
        }
        self.workspace = ports.workspace_of(workspace, self.inputs, self.outputs)
        self.secrets = dict(secrets or {})
        self.allow_reuse = allow_reuse
        self.version = version
        self.deferrable = deferrable
        self._life: Life | None = None
        self._declare_assets()
        if not any(item["gate"] for item in self.outputs.values()):
            links = self.operator_extra_links  # each costs a request when the task ends
            self.operator_extra_links = tuple(x for x in links if not isinstance(x, ValidationReportLink))
        ports.release(outputs)

    def _declare_assets(self) -> None:
        """Show the flow in Airflow's asset graph: what is read by name, and what will be registered."""
        for item in self.inputs.values():
            name = item["source"].get("name") or (item["source"].get("base") or {}).get("name")
            if name:
                self.inlets = [*self.inlets, dataset_asset(name, self.workspace)]
        for item in self.outputs.values():
            if item["registration"]:
                self.outlets = [*self.outlets, dataset_asset(item["registration"]["name"], self.workspace)]
        self.outlets = [*self.outlets, script_datasets(self.dag_id)]

    def specification(self, context: Context) -> StepSpec:
        """Return the step as plain, rendered data."""
        return StepSpec(
            name=self.step_name,
            kind=self.step_kind,
            compute_target=self.compute_target,
            source_directory=self.source_directory,
            script=self.script_name,
            arguments=tuple(self.arguments),
            inputs=self.inputs,
            outputs=self.outputs,
            environment=self.environment,
            variables={str(k): str(v) for k, v in self.environment_variables.items()},
            params=dict(context.get("params") or {}),
            secrets=self.secrets,
            version=self.version,
            allow_reuse=self.allow_reuse,
            regenerate=_regenerate(context),
            experiment=self.dag_id,
        )

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Live the step's life, then hand its outputs on by XCom and asset events.

        :returns: output name → dataset reference; ``None`` of a step without outputs.
        """
        started = self._life_of(context)
        limit = self.execution_timeout
        deadline = None if limit is None else time.time() + limit.total_seconds()
        result = self._lived(context, lambda: started.start(defer=self._defers(), deadline=deadline, alone=_alone()))
        if isinstance(result, StepResult):
            return self._announce(context, result)
        from stepwell.triggers import JobTrigger

        # The trigger looks at the time itself; Airflow's own limit is for the case that there is no triggerer.
        timeout = None if limit is None else limit + TIMEOUT_GRACE
        self.defer(trigger=JobTrigger(**result.to_dict()), method_name="resume", timeout=timeout)

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Go on with this try: its job has ended, or nobody waits for it elsewhere any more.

        :param event: what the trigger said.
        """
        event = event or {}
        life, stop = self._life_of(context), None
        if event.get("end") == "timeout":
            stop = AirflowTaskTimeout(f"The step has taken longer than its execution_timeout, {self.execution_timeout}")
        elif event.get("end") not in (None, "ended"):
            log.warning("The triggerer watches the job no longer (%s); this worker does", event.get("detail"))
        with _until(event.get("deadline")):
            result = self._lived(context, lambda: life.resume(event.get("owner"), stop))
        return self._announce(context, result)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the waiting, also where the trigger has failed: its job still is this task's."""
        if next_method != TRIGGER_FAIL_REPR:
            return super().resume_execution(next_method, next_kwargs, context)
        why = (next_kwargs or {}).get("error", "unknown")
        if why == TriggerFailureReason.TRIGGER_TIMEOUT:
            return self.resume(context, {"end": "timeout"})
        said = "\n".join((next_kwargs or {}).get("traceback") or ())
        return self.resume(context, {"end": "trouble", "detail": f"{why}\n{said}".strip()})

    def _life_of(self, context: Context) -> Life:
        """Return this try of the step, not lived yet."""
        from airflow.sdk._shared.secrets_masker import redact

        from stepwell.step.life import Life
        from stepwell.workspace.workspace import resolve_workspace

        ti = context["ti"]
        key = JobKey(_instance(), ti.dag_id, ti.run_id, ti.task_id, ti.map_index if ti.map_index is not None else -1)
        self._life = Life(
            resolve_workspace(self.workspace),
            self.specification(context),
            key,
            try_number=ti.try_number,
            triggering=_triggering(context),
            log=log,
            mask=redact,
            turn=getattr(ti, "max_tries", None),  # a clear gives more tries, a retry takes one of them
        )
        return self._life

    def _lived(self, context: Context, live: Callable[[], Lived]) -> Lived:
        """Live, and tell how it was, whatever comes of it."""
        try:
            return live()
        except StepwellError as error:
            if error.permanent:
                raise AirflowFailException(str(error)) from error  # no retry would help
            raise
        finally:
            if self._life is not None:
                self._tell(context["ti"], self._life.summary())

    def _defers(self) -> bool | None:
        """Return whether to wait outside of the worker; None: as the target says."""
        if self.deferrable is not None:
            return self.deferrable
        from airflow.sdk.configuration import conf

        # Airflow's own default is False, too: only what somebody has set says anything.
        is_set = _is_set("operators", "default_deferrable")
        return False if is_set and not conf.getboolean("operators", "default_deferrable") else None

    def _tell(self, ti: Any, summary: dict[str, Any]) -> None:
        """Push the run's summary; if even that fails, the step's own error is the one to report."""
        try:
            ti.xcom_push(key="stepwell_run", value=summary)
        except Exception as error:
            log.warning("The summary of the run could not be pushed to XCom: %s", error)

    def _announce(self, context: Context, result: StepResult) -> dict[str, Any] | None:
        """Push each reference under its output's name, emit the event of each registered version; return all."""
        for name, reference in result.references.items():
            context["ti"].xcom_push(key=name, value=reference)
            if reference["dataset"]:
                context["outlet_events"][dataset_asset(reference["dataset"], self.workspace)].extra = reference
        for reference in result.registered_by_script:
            context["outlet_events"][script_datasets(self.dag_id)].add(
                dataset_asset(reference["dataset"], self.workspace), extra=reference
            )
        return dict(result.references) or None

    def on_kill(self) -> None:
        """Stop the job on its target: Airflow calls this when the task is marked, cleared or times out."""
        if self._life is not None:
            self._life.cancel()


def task_id_of(name: str | None) -> str:
    """Return a task id made of v1's name of a step, which may hold any characters.

    :raises UserErrorException: there is no name.
    """
    if not name:
        raise UserErrorException("The step has no name", hint="Give task_id, or name")
    return _NOT_IN_AN_ID.sub("_", name)


def _target_name(compute_target: Any, runconfig: Any) -> str:
    if isinstance(compute_target, tuple):  # v1: (name, type)
        compute_target = compute_target[0]
    if compute_target is None:
        compute_target = getattr(runconfig, "target", None) or "local"
    if isinstance(compute_target, str) or hasattr(compute_target, "resolve"):
        return compute_target  # type: ignore[no-any-return]
    name = getattr(compute_target, "name", None)
    if not isinstance(name, str):
        raise UserErrorException(f"{compute_target!r} is not a compute target", allowed=["a name", "a ComputeTarget"])
    return name


def _environment(environment: Any, runconfig: Any) -> Any:
    """Return the environment as plain data, or as a path; files that it names are read when the step runs."""
    if environment is None:
        environment = getattr(runconfig, "environment", None)
    if environment is None or isinstance(environment, dict | str):
        return environment
    if isinstance(environment, PurePath):
        return str(environment)
    from stepwell.environment import CondaDependencies, Environment

    if isinstance(environment, CondaDependencies):
        dependencies, environment = environment, Environment("step")
        environment.python.conda_dependencies = dependencies
    if not isinstance(environment, Environment):
        raise UserErrorException(
            f"{environment!r} is not an environment", allowed=["Environment", "CondaDependencies", "the path of a file"]
        )
    return environment.serialize()


def _instance() -> str:
    """Return a name of this Airflow installation, the same on all its workers."""
    import os
    import socket

    from airflow.sdk.configuration import conf

    named = conf.get("stepwell", "instance", fallback="")
    if named:
        return str(named)
    return f"{socket.gethostname()}:{os.environ.get('AIRFLOW_HOME', os.path.expanduser('~/airflow'))}"


@contextmanager
def _until(deadline: float | None) -> Iterator[None]:
    """Let Airflow's timeout come at *deadline*: its own clock for this worker has begun anew.

    What a job has done in time is not thrown away because nobody has come to collect it: there is time for that.
    """
    from airflow.sdk.execution_time.timeout import timeout

    limited: Any = timeout
    with nullcontext() if deadline is None else limited(max(TIME_TO_COLLECT, deadline - time.time())):
        yield


def _alone() -> bool:
    """Return whether the worker that goes on with a step will be on this machine."""
    from airflow.sdk.configuration import conf

    return str(conf.get("core", "executor", fallback="")).rpartition(".")[2] == "LocalExecutor"


def _is_set(section: str, option: str) -> bool:
    """Return whether somebody has set an option of Airflow, in the environment or in a file."""
    import os
    from configparser import ConfigParser

    from airflow.sdk.configuration import conf

    return f"AIRFLOW__{section}__{option}".upper() in os.environ or ConfigParser.has_option(conf, section, option)


def _regenerate(context: Context) -> bool:
    """Whether the DAG run was started with ``regenerate_outputs=True`` (v1's name)."""
    asked = (context.get("params") or {}).get(REGENERATE)
    return asked is True or str(asked).strip().lower() in ("true", "1", "yes")


def _triggering(context: Context) -> list[dict[str, Any]]:
    """Return the dataset references of the events that started this DAG run, oldest first."""
    events = context.get("triggering_asset_events") or {}
    found = [dict(event.extra) for asset_events in events.values() for event in asset_events]
    return [extra for extra in found if extra.get("dataset") and extra.get("version")]
