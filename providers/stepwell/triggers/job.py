"""``JobTrigger``: waits for a step's job on any compute target, beside thousands of others."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from stepwell.compute import portal
from stepwell.step import watching
from stepwell.step.waiting import Abandoned, Waiting

log = logging.getLogger("stepwell.step")

#: Airflow fails a task that comes back before the scheduler has heard that its worker has ended. In seconds.
SOONEST = 5.0
#: So long after the last line of the log the event may come, in seconds.
LOG_GRACE = 3.0
#: How long to ask Airflow what has become of the task, in seconds: it gives 30 for all that a kill takes.
ASK_AIRFLOW = 15.0
#: The reason that a job is given for its end.
REASONS = {
    "failed": "the task was marked failed",
    "success": "the task was marked successful",
    "skipped": "the task was skipped (its DAG run has timed out, perhaps)",
}
# Cleaning up after a job may take longer than a trigger may live: it goes on, as long as this process does.
_cleaning = ThreadPoolExecutor(8, thread_name_prefix="stepwell-cleaning")
_killing: set[asyncio.Task[None]] = set()


class JobTrigger(BaseTrigger):
    """Wait for the job of a step, show its log meanwhile, and end it if a user says so.

    The parameters are plain data, those of :class:`~stepwell.step.waiting.Waiting`.
    """

    def __init__(self, **waiting: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waiting = Waiting(**waiting)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the parameters."""
        return "stepwell.triggers.job.JobTrigger", self.waiting.to_dict()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait until the job has ended, or nobody need wait here any more."""
        loop, began = asyncio.get_running_loop(), time.monotonic()
        heard: asyncio.Future[watching.News] = loop.create_future()

        def settle(news: watching.News) -> None:
            if not heard.done():
                heard.set_result(news)

        def done(news: watching.News) -> None:
            try:
                loop.call_soon_threadsafe(settle, news)
            except RuntimeError:
                pass  # the loop is closed: this process ends, and another one waits

        job = watching.watch(self.waiting, log, done)
        try:
            news = await heard
            await asyncio.sleep(max(0.0, began + SOONEST - time.monotonic()))
            # Airflow closes the log when it gets the event, whatever it has not read of it yet.
            await asyncio.sleep(max(0.0, job.shown + LOG_GRACE - time.monotonic()))
            if news.end == "timeout":
                await self._end_it("the step has taken longer than its execution_timeout")
        except asyncio.CancelledError:
            if self.trigger_id is None:  # no triggerer: `airflow dags test`, and Ctrl-C
                await self._clean_up("interrupted")
            raise
        finally:
            watching.leave(job)
        yield TriggerEvent(  # type: ignore[no-untyped-call]
            {
                "end": news.end,
                "detail": news.detail,
                "owner": self.waiting.owner,
                "deadline": self.waiting.deadline,
            }
        )

    async def on_kill(self) -> None:
        """End the job: a user has marked or cleared the task, or its DAG run has timed out.

        Airflow calls this also when only the triggerer changes. So what has become of the task decides; and the job of
        a newer try is left alone, whatever has become of the task.

        And it cancels this, too, about a second later, again and again. So the work is a task of its own.
        """
        work = asyncio.create_task(self._kill())
        _killing.add(work)
        work.add_done_callback(_killing.discard)
        await asyncio.shield(work)

    async def _kill(self) -> None:
        try:
            state = await self._state_of_task()
        except Exception as error:
            log.warning("What has become of the task is not known; its job is left alone: %s", error)
            return
        if state == "deferred":
            log.info("The task still waits for its job; another triggerer watches it")
            return
        reason = REASONS.get(state or "", "the task was cleared or ended otherwise")
        log.info("Ending the job of run %s: %s", self.waiting.run_id, reason)
        await self._end_it(reason)
        await self._clean_up(reason)

    async def _end_it(self, reason: str) -> None:
        """Tell the job to end, without waiting for that."""
        try:
            target = await portal.run(watching.target_of(self.waiting))
            mine = await portal.run(target.cancel(self.waiting.handle, self.waiting.owner, reason))
            if not mine:
                log.info("Run %s belongs to a newer try by now; left alone", self.waiting.run_id)
        except Exception as error:
            log.warning("The job of run %s could not be told to end: %s", self.waiting.run_id, error)

    async def _clean_up(self, reason: str) -> None:
        """End the job, if it has not ended, and leave nothing half-written."""
        loop = asyncio.get_running_loop()

        def clean() -> None:
            try:
                Abandoned(self.waiting, log).stop(reason)
            except Exception as error:
                log.warning("Cleaning up after run %s did not succeed: %s", self.waiting.run_id, error)

        context = contextvars.copy_context()
        await asyncio.shield(loop.run_in_executor(_cleaning, context.run, clean))

    async def _state_of_task(self) -> str | None:
        """Return the state of the task now.

        :raises Exception: Airflow has not answered for a while.
        """
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti: Any = self.task_instance
        if ti is None:
            raise RuntimeError("the trigger belongs to no task")
        deadline = time.monotonic() + ASK_AIRFLOW
        while True:
            try:
                found = await asyncio.to_thread(
                    RuntimeTaskInstance.get_task_states,
                    dag_id=ti.dag_id,
                    task_ids=[ti.task_id],
                    run_ids=[ti.run_id],
                    map_index=ti.map_index,
                )
            except Exception:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(1)
                continue
            states = found.get(ti.run_id) or {}
            name = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
            state = states.get(name)
            return None if state is None else str(getattr(state, "value", state))
