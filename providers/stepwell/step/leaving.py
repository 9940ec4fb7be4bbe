"""A worker leaves a step whose job runs, and another one comes back to it when the job has ended."""

from __future__ import annotations

import time

from stepwell.compute import portal
from stepwell.compute.resolve import target_for
from stepwell.errors import ActivityFailedException
from stepwell.runtime import processes
from stepwell.step import state, waiting
from stepwell.step.deciding import Deciding
from stepwell.step.record import RunRecord
from stepwell.step.tenure import Overtaken
from stepwell.step.waiting import Waiting

#: Who waits elsewhere for a job that ends within so many seconds waits longer, for a worker to come back.
PATIENCE = 5.0


class Leaving(Deciding):
    """A try of a step that can wait for its job without a worker."""

    _shown = 0  # of the job's log, in bytes

    def _leaves(self, defer: bool | None, patience: float, alone: bool) -> bool:
        """Wait for the job, but not long; return whether others wait for the rest.

        :param defer: whether they do, as the step says.
        :param alone: all workers of Airflow are on this machine. Then others can also wait for a job here that has to
            wait for its turn.
        """
        if defer is False:
            return False
        anyway = bool(defer) or self.target.deferrable
        if not anyway and not (alone and self.target.has_turns):
            return False
        deadline, pause = time.monotonic() + patience, 0.05
        with self.record.phase("run"):
            while True:
                self._go_on()
                (status,) = portal.call(self.target.status([self._handle()]))
                if status.ended or not (anyway or status.state == "queued"):
                    return False
                if time.monotonic() > deadline:
                    return True
                time.sleep(pause)
                pause = min(pause * 1.5, 1.0)

    def _hand_over(self, deadline: float | None) -> Waiting:
        """Leave the waiting to others: note what they and the next worker have to know."""
        facts = {"owner": self.state.owner, "log": 0, "since": time.time(), "deadline": deadline}
        waiting.note(
            self.ws, self.state.run_id, {**facts, "outputs": dict(self.spec.outputs), "reads": sorted(self._reads())}
        )
        self.record.note(phase="run")
        if self._claimed is not None:
            self._index_may_fail(self._claimed.wait)
        self._go_on()
        handle = self._handle()
        who = (self.ws.name, self.ws.given_root, self.state.slug, self.state.run_id)
        where = None if self.target.deferrable else processes.here()
        return Waiting(*who, handle.target, handle.directory, self.state.owner, deadline, where=where)

    def _come_back(self, owner: str | None) -> float:
        """Hold the step again whose job others have waited for; return since when they have."""
        now = state.current(self.ws, self.key.slug)
        if now is None or (owner is not None and now.owner != owner):
            raise Overtaken(f"A newer try has taken over the step {self.spec.name!r}")
        if now.phase in state.OVER or now.phase == "cancelling":
            raise ActivityFailedException(f"The step {self.spec.name!r} was cancelled while it waited for its job")
        self.state = now
        self.target = target_for(self.ws, self._handle().target)
        self._took = self._waited = True
        self.record = RunRecord(self.ws, now.run_id)
        self.record.open(self.spec, self.key, self.try_number)
        left = waiting.noted(self.ws, now.run_id, now.owner)
        self._shown = int(left.get("log") or 0)
        self.log.info("Run %s on %s goes on", now.run_id, self.spec.compute_target)
        return float(left.get("since") or time.time())
