"""Who watches jobs that are waited for without a worker: one watcher for all those of a target in this process.

It runs on the portal's loop, never on that of the caller, which may be a triggerer with thousands of triggers. What it
asks of the target grows much slower than the number of jobs: their status in one call for all, their logs and child
runs where there was something new lately and else seldom, and never more than so many in a second.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging import Logger
from typing import Any, Literal

from stepwell.compute import portal
from stepwell.compute.contract import Status, Target
from stepwell.compute.limits import renewal_seconds
from stepwell.compute.resolve import target_for
from stepwell.runtime import processes
from stepwell.step import state, waiting
from stepwell.step.children import ChildFollower, ChildRecord
from stepwell.step.waiting import Waiting
from stepwell.workspace import Workspace

#: How soon the first look at a job comes, and by how much later each next one, until the target's own pace.
FIRST, SLOWER = 0.5, 1.5
#: So many jobs are asked for in one call, which may take so many seconds.
AT_ONCE, ASK_SECONDS = 250, 60.0
#: Looks at logs: the first pause and the longest one, in seconds; how many in a second, and how many at a time.
LOG_FIRST, LOG_LONGEST, LOGS_PER_SECOND, LOGS_AT_ONCE = 1.0, 30.0, 40.0, 16
#: So much of a log is taken at one look, in bytes; a line that is longer than this comes in pieces.
LOG_PIECE, LONGEST_LINE = 1 << 19, 1 << 16
#: So many bytes of logs this process shows in a second, and at once: a triggerer reads its triggers' logs 4 KiB at a
#: time, between other things, and what it has not read when a trigger ends is lost. What is not shown here is shown by
#: the worker that goes on.
SHOWN_PER_SECOND, SHOWN_AT_ONCE = 20_000.0, 60_000.0
#: Of one job, so many at one look; fewer are not worth a look. And what a record costs beside its text.
MOST, LEAST, RECORD = 15_000, 1_000, 400
#: Who is so far behind, in bytes, leaves lines out.
FAR = 150_000
#: Renewals of leases that are under way at a time.
RENEWALS_AT_ONCE = 16
#: A target that has not answered for so long is looked up anew: its record may have been changed.
LOOK_UP_AGAIN = 30.0
_SHORTEST_PAUSE = 0.1

End = Literal["ended", "unreachable", "timeout", "trouble"]


@dataclass(frozen=True, slots=True)
class News:
    """Why nobody need wait for a job any more.

    :param end: ``ended``; ``unreachable``: its target has not answered for too long; ``timeout``: it has taken too
        long; ``trouble``: it cannot be watched in this process, somebody else has to.
    :param detail: for people.
    """

    end: End
    detail: str = ""


class Watched:
    """A job that is being watched.

    :param say: takes the lines of its log; called in another thread, in the context of whoever began to wait.
    :param done: takes the news, once; likewise called in another thread.
    """

    __slots__ = (
        *("waiting", "log", "done", "context", "due", "pause", "heard", "renewal"),
        *("offset", "log_due", "log_pause", "children", "noted", "shown"),
    )

    def __init__(self, waiting: Waiting, log: Logger, done: Callable[[News], object], now: float) -> None:
        self.waiting = waiting
        self.log = log
        self.done = done
        self.context = contextvars.copy_context()
        self.due, self.pause = now + FIRST, FIRST
        self.heard = now
        self.renewal = now + random.uniform(1.0, renewal_seconds())  # noqa: S311 - spreads load
        self.offset: int | None = None
        self.log_due, self.log_pause = now + LOG_FIRST, LOG_FIRST
        self.children: ChildFollower | None = None
        self.noted: dict[str, Any] | None = None
        self.shown = 0.0  # when the last line was

    def say(self, text: str) -> None:
        """Put *text* into the task's log."""
        self.context.run(self.log.info, "%s", text)


class Watcher:
    """Watches all jobs of one target that are waited for in this process.

    :param key: workspace, its given root, target.
    """

    def __init__(self, key: tuple[str, str | None, str]) -> None:
        self.key = key
        self.ws = Workspace(key[0], key[1])
        self.jobs: dict[Watched, None] = {}
        self.target: Target | None = None
        self.asked = 0  # calls of status so far
        self._looked_up = 0.0
        self._logs_allowed = LOGS_PER_SECOND
        self._logs_last = time.monotonic()
        self._renewing: set[asyncio.Task[None]] = set()

    # -- the loop --------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Watch until no job is left."""
        try:
            while self.jobs:
                self.target = self.target or await asyncio.to_thread(self._look_up)
                await self._ask()
                await self._look_at_logs()
                self._renew()
                nearest = min((min(job.due, job.log_due) for job in list(self.jobs)), default=0.0)
                await asyncio.sleep(min(max(nearest - time.monotonic(), _SHORTEST_PAUSE), FIRST))
        except Exception as error:  # whoever waits must not wait for ever
            for job in list(self.jobs):
                self._finish(job, News("trouble", f"{type(error).__name__}: {error}"))

    def _look_up(self) -> Target:
        self._looked_up = time.monotonic()
        return target_for(self.ws, self.key[2])

    def _finish(self, job: Watched, news: News) -> None:
        if job in self.jobs:
            del self.jobs[job]
            job.done(news)

    # -- status ----------------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """Ask for those jobs whose turn it is, all in one call, and for those whose turn comes soon."""
        target, now = self._its_target(), time.monotonic()
        jobs = list(self.jobs)  # others come and go meanwhile
        if not any(job.due <= now for job in jobs):
            return
        # Jobs that run for a while fall into one step, however different their ages are.
        due = [job for job in jobs if job.due <= now + job.pause / 2]
        for first in range(0, len(due), AT_ONCE):
            part = due[first : first + AT_ONCE]
            for job, status in zip(part, await self._status(target, part), strict=True):
                self._heard(target, job, status)
        await self._check_target(due)

    async def _status(self, target: Target, jobs: list[Watched]) -> list[Status]:
        self.asked += 1
        try:
            return await asyncio.wait_for(target.status([job.waiting.handle for job in jobs]), ASK_SECONDS)
        except Exception as error:
            if len(jobs) == 1 or isinstance(error, TimeoutError):
                return [Status("unknown", str(error) or type(error).__name__)] * len(jobs)
        # One of them is not to be asked for, perhaps: that must not be the others' misfortune.
        (one,) = await self._status(target, jobs[:1])
        if one.state == "unknown":
            (other,) = await self._status(target, jobs[-1:])
            if other.state == "unknown":
                return [one] * len(jobs)
        half = len(jobs) // 2
        return [*await self._status(target, jobs[:half]), *await self._status(target, jobs[half:])]

    def _heard(self, target: Target, job: Watched, status: Status) -> None:
        """Take in what was answered about a job."""
        now = time.monotonic()
        job.pause = min(job.pause * SLOWER, max(target.poll_seconds, FIRST))
        job.due = now + job.pause
        deadline = job.waiting.deadline
        if status.ended:
            self._finish(job, News("ended", status.detail))
        elif deadline is not None and time.time() > deadline:
            self._finish(job, News("timeout"))
        elif status.state != "unknown":
            job.heard = now
        elif now - job.heard > target.unreachable_seconds:
            silent = f"{target.name} has not answered for {target.unreachable_seconds:g} s: {status.detail}"
            self._finish(job, News("unreachable", silent))

    async def _check_target(self, due: list[Watched]) -> None:
        """Look the target up anew if it does not answer: it may have been attached with another address or key."""
        now = time.monotonic()
        silent = bool(due) and all(now - job.heard > LOOK_UP_AGAIN for job in due)
        if silent and now - self._looked_up > LOOK_UP_AGAIN:
            try:
                self.target = await asyncio.to_thread(self._look_up)
            except Exception as error:
                due[0].say(f"The compute target {self.key[2]} cannot be looked up now: {error}")

    def _its_target(self) -> Target:
        if self.target is None:
            raise RuntimeError("the target has not been looked up")
        return self.target

    # -- leases ----------------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        """Renew leases whose time it is, a few at a time."""
        now, target = time.monotonic(), self._its_target()
        for job in list(self.jobs):
            if len(self._renewing) >= RENEWALS_AT_ONCE:
                break
            if job.renewal <= now:
                job.renewal = now + renewal_seconds()
                task = asyncio.create_task(self._renew_one(target, job))
                self._renewing.add(task)
                task.add_done_callback(self._renewing.discard)

    async def _renew_one(self, target: Target, job: Watched) -> None:
        try:
            await asyncio.wait_for(target.renew(job.waiting.handle), ASK_SECONDS)
        except Exception:
            job.renewal = time.monotonic() + min(60.0, renewal_seconds() / 2)  # there are ten tries in a lease

    # -- logs and child runs ---------------------------------------------------------------------------------------

    async def _look_at_logs(self) -> None:
        """Look at logs whose turn it is, those first that have waited longest, as many as there may be now."""
        now = time.monotonic()
        self._logs_allowed = min(3 * LOGS_PER_SECOND, self._logs_allowed + (now - self._logs_last) * LOGS_PER_SECOND)
        self._logs_last = now
        if self._logs_allowed < 1:
            return
        due = sorted((job for job in list(self.jobs) if job.log_due <= now), key=lambda job: job.log_due)
        due = due[: int(self._logs_allowed)]
        self._logs_allowed -= len(due)
        for first in range(0, len(due), LOGS_AT_ONCE):
            await asyncio.gather(*map(self._look_at_log, due[first : first + LOGS_AT_ONCE]))

    async def _look_at_log(self, job: Watched) -> None:
        """Show what is new in a job's log, and write down its child runs; what fails here does not end the waiting."""
        target, news = self._its_target(), False
        allowed, used = _budget.take(MOST), 0
        if allowed < LEAST:
            _budget.give_back(allowed)
            job.log_due = time.monotonic() + LOG_FIRST
            return
        try:
            if job.offset is None:
                await asyncio.to_thread(self._begin_log, job)
            piece = await asyncio.wait_for(target.log_part(job.waiting.handle, job.offset or 0, LOG_PIECE), ASK_SECONDS)
            if lines := _whole_lines(piece):
                news = True
                used = await asyncio.to_thread(self._show, job, lines, allowed)
            if job.children is None:
                job.children = self._follower(target, job)
            if not job.children.over and await asyncio.wait_for(job.children.look(), ASK_SECONDS):
                news = True
        except Exception:  # shown at the latest when the job has ended
            news = False
        finally:
            _budget.give_back(allowed - used)
        job.log_pause = LOG_FIRST if news else min(job.log_pause * 2, LOG_LONGEST)
        job.log_due = time.monotonic() + job.log_pause

    def _begin_log(self, job: Watched) -> None:
        """Begin where the last one who watched has stopped."""
        job.noted = waiting.noted(self.ws, job.waiting.run_id, job.waiting.owner)
        job.offset = int(job.noted.get("log") or job.waiting.offset)

    def _show(self, job: Watched, lines: bytes, most: int) -> int:
        """Show whole lines, and note how far they go: so none is lost and none comes twice if this process ends.

        :returns: how many bytes that were.
        """
        if job not in self.jobs or not state.is_current(self.ws, job.waiting.slug, job.waiting.owner):
            return 0
        if most < len(lines) <= FAR:
            lines = _whole_lines(lines[:most]) or lines  # the rest comes at the next looks
        text = _excerpt(lines, most, f"{self.ws.root}/runs/{job.waiting.run_id}/logs/step.log")
        job.shown = time.monotonic()
        job.say(text)
        job.offset = (job.offset or 0) + len(lines)
        waiting.note(self.ws, job.waiting.run_id, {**(job.noted or {}), "owner": job.waiting.owner, "log": job.offset})
        return len(text) + RECORD

    def _follower(self, target: Target, job: Watched) -> ChildFollower:
        who = job.waiting
        record = ChildRecord(self.ws, f"runs/{who.run_id}")
        return ChildFollower(
            record, target, who.handle, job.log, lambda: state.is_current(self.ws, who.slug, who.owner)
        )


def _whole_lines(piece: bytes) -> bytes:
    """Return *piece* up to the end of its last line; all of it if that line is too long to wait for its end."""
    end = max(piece.rfind(b"\n"), piece.rfind(b"\r", 0, -1)) + 1
    return piece if len(piece) - end > LONGEST_LINE else piece[:end]


def _excerpt(lines: bytes, most: int, where: str) -> str:
    """Return *lines* as text; if that is longer than *most*, its beginning and its end, and how much is left out."""
    text = lines.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    if len(text) <= most:
        return text
    first, last = text[: most // 2].rpartition("\n"), text[-most // 2 :].partition("\n")
    left_out = text.count("\n") - first[0].count("\n") - last[2].count("\n") - 1
    gap = f"[{max(1, left_out):,} lines are not shown here; the complete log is {where}]"
    return "\n".join(part for part in (first[0] or first[2], gap, last[2] or last[0]) if part)


class Budget:
    """How much of all logs may be shown now."""

    def __init__(self) -> None:
        self._left, self._at = SHOWN_AT_ONCE, time.monotonic()

    def take(self, most: int) -> int:
        """Take as many bytes as may be shown, at most *most*, and a part only of what is left: others look, too."""
        now = time.monotonic()
        self._left = min(SHOWN_AT_ONCE, self._left + (now - self._at) * SHOWN_PER_SECOND)
        self._at = now
        left = int(self._left)
        taken = max(0, min(most, left, max(LEAST, left // 8)))
        self._left -= taken
        return taken

    def give_back(self, size: int) -> None:
        """Give back what was taken and not needed; less than nothing, if it was more."""
        self._left += size


_budget = Budget()

# -- who waits -----------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_watchers: dict[tuple[str, str | None, str], Watcher] = {}


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _watchers.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def watch(waiting: Waiting, log: Logger, done: Callable[[News], object]) -> Watched:
    """Begin to watch a job; returns at once.

    :param log: takes the lines of the job's log.
    :param done: takes the news, once; called in another thread.
    """
    job = Watched(waiting, log, done, time.monotonic())
    if waiting.where not in (None, processes.here()):
        done(News("trouble", f"{waiting.target} is on the worker's machine, which is another one"))
        return job
    key = (waiting.workspace, waiting.root, waiting.target)
    with _lock:
        watcher = _watchers.get(key)
        if watcher is None:
            watcher = _watchers[key] = Watcher(key)
            watcher.jobs[job] = None
            portal.start(_watch(watcher))
        else:
            watcher.jobs[job] = None
    return job


def leave(job: Watched) -> None:
    """Watch the job no longer; nothing happens to it."""
    key = (job.waiting.workspace, job.waiting.root, job.waiting.target)
    with _lock:
        watcher = _watchers.get(key)
        if watcher is not None:
            watcher.jobs.pop(job, None)


async def _watch(watcher: Watcher) -> None:
    """Watch as long as there is somebody who waits."""
    while True:
        await watcher.watch()
        with _lock:
            if not watcher.jobs:
                del _watchers[watcher.key]
                return


async def target_of(waiting: Waiting) -> Target:
    """Return the target of a job that is waited for: that of its watcher, if there is one."""
    watcher = _watchers.get((waiting.workspace, waiting.root, waiting.target))
    if watcher is not None and watcher.target is not None:
        return watcher.target
    return await asyncio.to_thread(target_for, waiting.open(), waiting.target)
