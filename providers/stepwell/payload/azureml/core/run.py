"""The run as a script sees it: online in a step, offline by hand."""

from __future__ import annotations

import os
import uuid
from typing import Any, Iterable, Mapping

from stepwell.payload import metrics
from stepwell.payload.context import JobContext, current
from stepwell.runtime.errors import UserErrorException

from .._missing import module_getattr as _module_getattr
from .._not_built import says_what_is_not_built
from ..exceptions import RunEnvironmentException
from ._artifacts import Artifacts
from ._logging import MetricMethods
from ._offline import _OfflineRun
from .experiment import Experiment
from .keyvault import Keyvault
from .workspace import Workspace

__getattr__ = _module_getattr(__name__, "core.run")


@says_what_is_not_built("run")
class Run(Artifacts, MetricMethods):  # in this order: Artifacts provides what MetricMethods needs
    """A run: the step, its parent (the DAG run), or a child that the script made.

    Get it with :meth:`get_context`.
    """

    def __init__(
        self,
        experiment: Experiment,
        run_id: str,
        *,
        job: JobContext | None = None,
        scope: str = "run",
        child: str | None = None,
        name: str | None = None,
        parent: Run | None = None,
        **_: Any,
    ) -> None:
        if job is None:
            job = current()
        if job is None:
            raise UserErrorException("A run cannot be opened by hand", hint="Use Run.get_context()")
        self._job = job
        self._scope = scope
        self._child = child
        self._children: list[Run] = []
        self._parent = parent
        self._status = "Running"
        self.experiment = experiment
        self.id = run_id
        self.description: str | None = None
        self.display_name = name or (str(job.step.get("name") or run_id) if scope == "run" else run_id)

    @classmethod
    def get_context(cls, allow_offline: bool = True, used_for_context_manager: bool = False, **_: Any) -> Any:
        """Return the run of this step; by hand, a run that only prints.

        :raises RunEnvironmentException: there is no step, and *allow_offline* is False.
        """
        job = current()
        if job is None:
            if allow_offline:
                return _OfflineRun()
            raise RunEnvironmentException(
                "This script does not run as a step: there is no run to log to",
                hint="Start it through a Stepwell operator, or let allow_offline=True print what would be logged",
            )
        global _submitted
        if _submitted is None or _submitted._job is not job:
            _submitted = _SubmittedRun.of(job)
        return _submitted

    # -- identity ---------------------------------------------------------------------------------------------------

    @property
    def number(self) -> int:
        """The number of the try."""
        return int(self._job.step.get("try_number") or 1)

    @property
    def name(self) -> str:
        """The display name."""
        return self.display_name

    @property
    def type(self) -> str:
        """v1's type of run."""
        return (
            "azureml.PipelineRun"
            if self._scope == "parent"
            else "azureml.StepRun"
            if not self._child
            else "azureml.scriptrun"
        )

    @property
    def status(self) -> str:
        """Running, or what the script made of a child run."""
        return self._status

    def get_status(self) -> str:
        """Return :attr:`status`."""
        return self._status

    @property
    def parent(self) -> Run | None:
        """The pipeline's run for a step, the step for a child run."""
        if self._parent is None and self._scope == "run":
            parent_id = str(self._job.step.get("dag_run_id") or f"{self.id}_parent")
            self._parent = Run(self.experiment, parent_id, job=self._job, scope="parent")
        return self._parent

    @property
    def input_datasets(self) -> Mapping[str, Any]:
        """Input name → dataset for direct inputs, path or URL for the others."""
        from .dataset import from_entry

        result: dict[str, Any] = {}
        datasets = self._job.datasets
        for name, given in self._job.inputs.items():
            entry = datasets.get(str(given.get("id")))
            result[name] = from_entry(entry) if given["mode"] == "direct" and entry else given["value"]
        return result

    @property
    def output_datasets(self) -> Mapping[str, str]:
        """Output name → path or URL to write to."""
        return {name: given["value"] for name, given in self._job.outputs.items()}

    # -- tags and properties ----------------------------------------------------------------------------------------

    @property
    def tags(self) -> dict[str, str | None]:
        """The tags now."""
        return self.get_tags()

    def get_tags(self) -> dict[str, str | None]:
        """Return the tags now."""
        return metrics.tags(self._events())

    def tag(self, key: str, value: Any = None) -> None:
        """Set one tag; its value may be left out."""
        self._emit("tag", key=str(key), value=None if value is None else str(value))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set or replace several tags."""
        for key, value in tags.items():
            self.tag(key, value)

    def remove_tags(self, tags: Iterable[str]) -> None:
        """Remove tags by their keys."""
        for key in [tags] if isinstance(tags, str) else list(tags):
            self._emit("tag", key=str(key), value=None, removed=True)

    @property
    def properties(self) -> dict[str, str]:
        """The properties now."""
        return self.get_properties()

    def get_properties(self) -> dict[str, str]:
        """Return the properties now."""
        return metrics.properties(self._events())

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Add properties; they can never be changed.

        :raises UserErrorException: a key is there already.
        """
        there = self.get_properties()
        taken = [key for key in properties if key in there]
        if taken:
            raise UserErrorException(
                f"The property {taken[0]!r} of run {self.id} is {there[taken[0]]!r} and cannot be changed",
                hint="Properties are written once; use tag() for what changes",
            )
        for key, value in properties.items():
            self._emit("property", key=str(key), value=str(value))

    # -- metrics ----------------------------------------------------------------------------------------------------

    def get_metrics(
        self, name: str | None = None, recursive: bool = False, run_type: str | None = None, populate: bool = False
    ) -> dict[str, Any]:
        """Return what was logged, by name; with *recursive*, by run id and name."""
        own = metrics.metrics(self._events(), name)
        if not recursive:
            return own
        return {self.id: own, **{child.id: child.get_metrics(name) for child in self._children}}

    # -- children ---------------------------------------------------------------------------------------------------

    def child_run(self, name: str | None = None, run_id: str | None = None, outputs: str | None = None) -> Run:
        """Return a new child run (for a loop over parameters, say)."""
        identity = run_id or f"{self.id}_{len(self._children)}_{uuid.uuid4().hex[:8]}"
        child = Run(self.experiment, identity, job=self._job, child=identity, name=name or identity, parent=self)
        self._children.append(child)
        self._job.emit("child", id=identity, name=child.display_name, parent=self.id, state="Running")
        return child

    def create_children(
        self, count: int | None = None, tag_key: str | None = None, tag_values: Iterable[Any] | None = None
    ) -> list[Run]:
        """Return several new child runs: *count* of them, or one for each of *tag_values*.

        :raises UserErrorException: not exactly one of the two is given.
        """
        if (count is None) == (tag_key is None or tag_values is None):
            raise UserErrorException("create_children needs either count, or tag_key and tag_values")
        if count is not None:
            return [self.child_run() for _ in range(count)]
        children = []
        for value in tag_values or ():
            child = self.child_run()
            child.tag(str(tag_key), value)
            children.append(child)
        return children

    def get_children(self, recursive: bool = False, **_: Any) -> Iterable[Run]:
        """Yield the child runs that this process made, the newest first."""
        for child in reversed(self._children):
            yield child
            if recursive:
                yield from child.get_children(recursive=True)

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Mark a child run as running."""
        self._set("Running")

    def complete(self, **_: Any) -> None:
        """Mark a child run as completed. The step's own status is its exit code's business."""
        self._set("Completed")
        self.flush()

    def fail(self, error_details: Any = None, error_code: Any = None, **_: Any) -> None:
        """Mark a child run as failed. For the step itself, the error is kept; raise or exit to fail it."""
        self._set("Failed", error=None if error_details is None else str(error_details))

    def cancel(self) -> None:
        """Mark a child run as cancelled.

        :raises UserErrorException: this is not a child run.
        """
        if not self._child:
            raise UserErrorException(
                "A step cannot cancel itself", hint="Exit with a code other than 0, or clear the task"
            )
        self._set("Canceled")

    def flush(self, timeout_seconds: int = 300) -> None:
        """Put everything that was logged on disk."""
        self._job.flush()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            self.complete()
        else:
            self.fail(error_details=error)

    def get_details(self) -> dict[str, Any]:
        """Return what is known of the run, under v1's keys."""
        return {
            "runId": self.id,
            "target": self._job.step.get("compute_target"),
            "status": self._status,
            "startTimeUtc": None,
            "endTimeUtc": None,
            "properties": self.get_properties(),
            "inputDatasets": [
                {"name": n, "mechanism": i["mode"], "id": i.get("id")} for n, i in self._job.inputs.items()
            ],
            "outputDatasets": [{"name": n, "mechanism": o["mode"]} for n, o in self._job.outputs.items()],
            "runDefinition": self._job.document.get("main") or {},
            "logFiles": {},
            "submittedBy": self._job.document.get("owner"),
        }

    def get_secret(self, name: str) -> str:
        """Return one of the step's secrets."""
        return Keyvault().get_secret(name)

    def get_secrets(self, secrets: Iterable[str]) -> dict[str, str]:
        """Return several of the step's secrets by name."""
        return Keyvault().get_secrets(secrets)

    def _set(self, status: str, **more: Any) -> None:
        self._status = status
        if self._child:
            self._job.emit("child", id=self.id, name=self.display_name, state=status, **more)
        elif more.get("error"):
            self._emit("property", key="azureml.error", value=more["error"])

    def _emit(self, kind: str, **fields: Any) -> None:
        if self._child:
            fields["run"] = self._child
        self._job.emit(kind, scope=self._scope, **fields)

    def _events(self) -> list[Any]:
        return metrics.of_run(self._job.events(), run=self._child, scope=self._scope)

    def __repr__(self) -> str:
        return f"Run(Experiment: {self.experiment.name}, Id: {self.id}, Type: {self.type}, Status: {self._status})"


class _SubmittedRun(Run):
    """The run of the step that this process belongs to."""

    @classmethod
    def of(cls, job: JobContext) -> _SubmittedRun:
        step = job.step
        name = os.environ.get("AZUREML_ARM_PROJECT_NAME") or step.get("experiment") or step.get("dag_id") or "default"
        return cls(Experiment(Workspace(), str(name)), os.environ.get("AZUREML_RUN_ID") or job.run_id, job=job)


_submitted: _SubmittedRun | None = None
