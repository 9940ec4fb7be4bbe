"""Which try has the step: begin or adopt, stop, give up, end.

A worker may be lost at any point, freeze and come back, or be told to stop. Whoever has the step is noted in its state;
a try that finds another's name there leaves everything alone.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from logging import Logger
from typing import TYPE_CHECKING

from stepwell.compute import portal
from stepwell.compute.contract import Handle, Layout, Target, Unreachable
from stepwell.compute.limits import renewal_seconds
from stepwell.compute.resolve import target_for
from stepwell.environment.uv import stop_builds
from stepwell.errors import ActivityFailedException
from stepwell.step import job, publish, state
from stepwell.step.record import RunRecord

if TYPE_CHECKING:
    from stepwell.step.spec import JobKey, StepSpec
    from stepwell.workspace import Workspace


class Overtaken(ActivityFailedException):
    """Another try of the same task owns the step by now: this one must leave everything alone."""


class Tenure(ABC):
    """What a try of a step holds: its state, its record, its job.

    :param log: takes the step's log, line by line, while it runs.
    :param turn: a number that a clear of the task changes and a retry does not; None: not known.
    """

    target: Target
    layout: Layout
    state: state.StepState
    record: RunRecord

    def __init__(
        self, ws: Workspace, spec: StepSpec, key: JobKey, try_number: int, log: Logger, turn: int | None = None
    ) -> None:
        self.ws = ws
        self.spec = spec
        self.key = key
        self.try_number = try_number
        self.log = log
        self.turn = turn
        self.outputs: list[publish.PlannedOutput] = []
        self._cancelled = False
        self._took = False  # the generation is this try's: begun by it, or adopted
        self._waited = False  # without a worker, at some time
        self._fetched = False
        self._quarantined: frozenset[str] = frozenset()

    @abstractmethod
    def _plan(self) -> None:
        """Say what this try would do, and take over what is under way; again for each generation that it begins."""

    def _reads(self) -> frozenset[str]:
        """Return the URL schemes that the step reads and writes by itself on its target."""
        return self.target.reads_for(job.entry_kind(self.spec, self.target))

    def cancel(self) -> None:
        """Stop the job on its target, if it is still this try's; may be called from a signal handler.

        Airflow may kill this process a few seconds later: so what a next try has to know is noted here already.
        """
        self._cancelled = True
        stop_builds()
        handle = self.state.handle if hasattr(self, "state") else None
        if handle is None or not self._took:
            return
        mine = True
        try:
            mine = portal.call(self.target.cancel(Handle.from_dict(handle), self.state.owner), timeout=20)
        except (Unreachable, TimeoutError) as error:
            self.log.warning("%s could not be told to end run %s: %s", self.target.name, self.state.run_id, error)
        if mine:
            if self.state.phase == "submitted":
                self.state.phase = "cancelling"
            if state.save(self.ws, self.state):
                self.record.note(status="cancelled", error="cancelled")

    # -- the beginning ---------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Find what an earlier try has left under way, or begin the next generation."""
        self.state = state.begin(self.ws, self.key, self.turn)
        self._took = not self.state.resumed
        self.record = RunRecord(self.ws, self.state.run_id)
        self.record.open(self.spec, self.key, self.try_number)
        self.log.info("Run %s on %s", self.state.run_id, self.spec.compute_target)

    def _take(self) -> None:
        """Take over what a lost try has left under way, if there is something."""
        left = self._left()
        if left is None:
            return
        if self.state.replaced or left.target != self.target.name:
            self._replace(left)
        else:
            self._adopt(left)

    def _left(self) -> Handle | None:
        """Return the job that a lost try has left under way."""
        if self.state.handle is not None:
            return Handle.from_dict(self.state.handle)
        if not self.state.resumed:
            return None
        # That try may have been lost between starting its job and noting that. If it was not, it may still come back:
        # then it finds that it has been overtaken, and this one works under another run id.
        found = portal.call(self.target.find(self.state.run_id))
        if found is None:
            self._end("failed", "this try was lost before its job had started")
            self._begin()
            self._plan()
        return found

    def _replace(self, handle: Handle) -> None:
        """End what a try from before a clear, or on another target, has left under way; begin the next generation."""
        self.log.info("Run %s is replaced: the task was cleared, or goes to another target", self.state.run_id)
        here, self._took = self.target, True
        self.state.handle = handle.to_dict()
        if handle.target != here.name:
            self.target = target_for(self.ws, handle.target)
        portal.call(self.target.cancel(handle, None, "the task was cleared"), timeout=60)
        portal.call(self._ended(handle), timeout=60)
        self._salvage(handle)
        publish.discard(self.outputs, frozenset(), self.log)
        self._end("cancelled", "the task was cleared: another run takes its place")
        self._begin()
        self._plan()

    def _adopt(self, handle: Handle) -> None:
        """Take over the job of a lost try, unless it has failed or was cancelled: then the next generation begins."""
        if self.state.phase == "cancelling":
            portal.call(self.target.cancel(handle, None), timeout=60)  # whoever was to do it may not have reached it
            portal.call(self._ended(handle), timeout=60)
        (status,) = portal.call(self.target.status([handle]))
        if status.state in ("failed", "cancelled"):
            self.log.info("Run %s was left %s (%s); starting anew", self.state.run_id, status.state, status.detail)
            self.state.handle = handle.to_dict()
            self._salvage(handle)
            publish.discard(self.outputs, frozenset(), self.log)
            self._end("failed", status.detail)
            self._begin()
            self._plan()
            return
        portal.call(self.target.adopt(handle, self.state.owner))
        self._took = True
        self._submitted(handle)
        self.log.info("Run %s is %s on the target: adopted", self.state.run_id, status.state)

    def _submitted(self, handle: Handle) -> None:
        """Note that the job is on its target."""
        self.state.handle = handle.to_dict()
        if self.state.phase != "judged":
            self.state.phase = "submitted"
        self._save()

    # -- ends ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _failing_cleanly(self) -> Iterator[None]:
        """Leave no orphan job and nothing half-written, whatever ends the life."""
        try:
            yield
        except BaseException as error:
            self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        cancelled = self._cancelled or not isinstance(error, Exception)
        if not self._took:
            self.log.warning("Run %s could not be taken over; what it has under way is left alone", self.state.run_id)
            return
        if isinstance(error, Unreachable) and not cancelled:
            # Of the job nothing is known: it may run, and no other one must be started beside it.
            self.record.close("failed", f"{error} (the next try looks for the job again)")
            return
        if self.state.phase == "judged" and not isinstance(error, Overtaken):
            # Versions may be registered in part. The next try finds them and completes the rest: job and outputs stay.
            self.record.close("failed", f"{error} (the next try completes what is published in part)")
            return
        ended = self.state.handle is None
        try:
            if self.state.handle is not None:
                handle = self._handle()
                mine = portal.call(self.target.cancel(handle, self.state.owner), timeout=30)
                if isinstance(error, Overtaken) or not mine:
                    self.log.warning("Run %s belongs to a newer try by now; left alone", self.state.run_id)
                    return
                portal.call(self._ended(handle), timeout=40)
                ended = True
                if not self._fetched:
                    self._salvage(handle)
            elif isinstance(error, Overtaken):
                return
            publish.discard(self.outputs, self._quarantined, self.log)
        except Exception as trouble:  # the first error is the one to report
            self.log.warning("Cleaning up after the failure did not succeed: %s", trouble)
        if not ended:
            self.state.phase = "cancelling"  # it may still run: whoever comes next ends it first
            state.save(self.ws, self.state)
            self.record.close("cancelled" if cancelled else "failed", str(error) or type(error).__name__)
            return
        self._end("cancelled" if cancelled else "failed", str(error) or type(error).__name__)

    def _end(self, phase: str, error: str | None = None) -> None:
        """Write the end into state and record, and free the target."""
        handle = self.state.handle
        self.state.phase = phase
        self.state.handle = None
        try:
            state.save(self.ws, self.state)
            self.record.close({"published": "completed"}.get(phase, phase), error)
        except Exception as trouble:
            if phase == "published":
                raise
            self.log.warning("The end of run %s could not be written: %s", self.state.run_id, trouble)
        if self._waited or self.state.resumed:
            self.record.drop_waiting()
        if handle is not None:
            try:
                portal.call(self.target.forget(Handle.from_dict(handle)), timeout=60)
            except Exception as trouble:  # what is published is published
                self.log.warning("The job directory of run %s could not be removed: %s", self.state.run_id, trouble)

    # -- small helpers ---------------------------------------------------------------------------------------------

    async def _keep(self, handle: Handle) -> None:
        """Renew the job's lease while somebody watches it."""
        while True:
            await asyncio.sleep(renewal_seconds())
            try:
                await self.target.renew(handle)
            except Exception as trouble:
                self.log.warning(
                    "The lease of run %s could not be renewed; trying again: %s", self.state.run_id, trouble
                )

    async def _ended(self, handle: Handle) -> None:
        """Wait until the job has ended."""
        while not (await self.target.status([handle]))[0].ended:
            await asyncio.sleep(0.05)

    def _handle(self) -> Handle:
        if self.state.handle is None:
            raise ActivityFailedException(f"Run {self.state.run_id} has no job")
        return Handle.from_dict(self.state.handle)

    def _salvage(self, handle: Handle) -> None:
        """Keep the logs of a job that ended badly; if even that fails, say so."""
        try:
            self.record.fetch(self.target, handle)
        except Exception as trouble:
            self.log.warning("The logs of run %s could not be fetched: %s", self.state.run_id, trouble)

    def _go_on(self) -> None:
        """Stop here if the step was cancelled meanwhile (Airflow's signal does not interrupt what runs) or taken over.

        A worker that froze and comes back finds that another try has the step: it must not write any more.
        """
        if self._cancelled:
            raise ActivityFailedException(f"The step {self.spec.name!r} was cancelled")
        if not state.is_owned(self.ws, self.state):
            raise Overtaken(f"A newer try has taken over the step {self.spec.name!r}")

    def _save(self) -> None:
        """Write the state.

        :raises Overtaken: it is not this try's any more.
        """
        if not state.save(self.ws, self.state):
            raise Overtaken(f"A newer try has taken over the step {self.spec.name!r}")

    def _place(self, part: str) -> str:
        local = self.ws.store.local_path(f"{self.record.folder}/{part}")
        return str(local or f"{self.ws.root}/{self.record.folder}/{part}")
