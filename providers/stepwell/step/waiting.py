"""A step that waits for its job without a worker: what it leaves behind, and what is done if nobody comes back to it.

The worker ends once the job is submitted. A watcher (:mod:`stepwell.step.watching`), in any process, waits for the job;
then another worker goes on with the same try. All that they have to know of each other is in ``runs/<id>/waiting.json``
and in the step's state.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from logging import Logger
from typing import Any

from stepwell.compute import portal
from stepwell.compute.contract import Handle, Unreachable
from stepwell.compute.resolve import target_for
from stepwell.errors import ActivityFailedException
from stepwell.step import publish, state
from stepwell.step.record import RunRecord
from stepwell.step.spec import JobKey, StepSpec
from stepwell.step.tenure import Tenure
from stepwell.workspace import Workspace
from stepwell.workspace.store import encode

#: How long to try to reach a target where a job is to be ended, in seconds: Airflow gives 30.
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that is waited for, as plain data: whoever has it can watch the job and stop it, in any process.

    :param workspace: the workspace's name.
    :param root: its root, where that was given; None: it is looked up, as everywhere.
    :param slug: names the step's state.
    :param target: the compute target's name.
    :param directory: the job directory there.
    :param owner: token of the try that waits.
    :param deadline: when the step has taken too long, in seconds since the epoch.
    :param offset: how much of the log has been shown, in bytes, when the waiting began.
    :param where: the only process space in which the job can be watched (``processes.here``); None: any.
    """

    workspace: str
    root: str | None
    slug: str
    run_id: str
    target: str
    directory: str
    owner: str
    deadline: float | None = None
    offset: int = 0
    where: str | None = None

    @property
    def handle(self) -> Handle:
        """The job's handle."""
        return Handle(self.target, self.run_id, self.directory)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a plain dict."""
        return {name: getattr(self, name) for name in self.__slots__}

    def open(self) -> Workspace:
        """Return the workspace."""
        return Workspace(self.workspace, self.root)


def note(ws: Workspace, run_id: str, facts: Mapping[str, Any]) -> None:
    """Write down *facts* about a run that waits.

    :param facts: ``owner``, ``log`` (how much of it has been shown), ``since``, ``deadline``, ``outputs``, ``reads``.
    """
    ws.store.replace(RunRecord(ws, run_id).waiting, encode(dict(facts)), durable=False)


def noted(ws: Workspace, run_id: str, owner: str) -> dict[str, Any]:
    """Return what was noted about a run that waits; nothing if that was by another try."""
    try:
        found = ws.store.read_json(RunRecord(ws, run_id).waiting)
    except FileNotFoundError:
        return {}
    return found if found.get("owner") == owner else {}


class Abandoned(Tenure):
    """A waiting step that is to be stopped where no worker has it: the job ends, and nothing half-written stays.

    :param log: takes what there is to say.
    """

    def __init__(self, waiting: Waiting, log: Logger) -> None:
        ws = waiting.open()
        record = RunRecord(ws, waiting.run_id)
        facts = record.load()
        spec = StepSpec(str(facts.get("step")), str(facts.get("kind")), waiting.target)
        key = JobKey("", str(facts.get("dag_id")), str(facts.get("dag_run_id")), str(facts.get("task_id")))
        super().__init__(ws, spec, key, int(facts.get("try_number") or 1), log)
        self.waiting = waiting
        self.record = record
        self.target = target_for(ws, waiting.target)

    def _plan(self) -> None:
        """There is nothing to plan: no further generation begins."""

    def stop(self, reason: str) -> bool:
        """Stop the job, clean up, and note the end; return whether this try still had the step.

        :param reason: for people, such as "the task was marked failed".
        """
        waiting = self.waiting
        now = state.current(self.ws, waiting.slug)
        if now is None or now.owner != waiting.owner or now.run_id != waiting.run_id or now.phase in state.OVER:
            return False
        self.state = now
        self.state.handle = waiting.handle.to_dict()
        self._took = self._waited = self._cancelled = True
        self.state.phase = "cancelling"  # if this fails, or this process ends, the next try knows
        if not state.save(self.ws, self.state) or not self._tell_it_to_end(reason):
            return False
        left = noted(self.ws, waiting.run_id, waiting.owner)
        self.layout = self.target.layout(waiting.run_id)
        outputs, reads = left.get("outputs") or {}, frozenset(left.get("reads") or ())
        self.outputs = publish.plan_outputs(self.ws, outputs, waiting.run_id, self.layout, reads)
        self._give_up(ActivityFailedException(reason))
        return True

    def _tell_it_to_end(self, reason: str) -> bool:
        """Ask the job to end; a target that cannot be reached is tried again, as long as anybody waits for this."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return portal.call(self.target.cancel(self.waiting.handle, self.waiting.owner, reason), timeout=20)
            except Unreachable as error:
                if time.monotonic() > deadline:
                    raise
                self.log.info("%s cannot be reached; trying again to end the job there: %s", self.target.name, error)
                time.sleep(1)
