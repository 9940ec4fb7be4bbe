"""A compute target in terms of the ports: everything about the job directory is said here, once for all kinds."""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from stepwell.compute.contract import Handle, Job, Outcome, Status, Unreachable
from stepwell.compute.directory import START_SECONDS
from stepwell.compute.ports import Look, Start
from stepwell.compute.staging import STAGED, Staging
from stepwell.compute.together import together
from stepwell.errors import ComputeTargetException
from stepwell.runtime import protocol

#: A launcher on another machine that has not touched its pid file for this long is taken for dead.
SILENT_SECONDS = 60.0
#: How often to look for news of a job, in seconds: soon at first, then less and less often.
POLL_FIRST, POLL_LONGEST = 0.005, 0.5
_LOG_PIECE = 1 << 18


class JobDirectoryTarget(Staging):
    """A target that keeps the job directory protocol on its own files."""

    #: How much of a log is read at a time, in bytes.
    log_piece: ClassVar[int] = _LOG_PIECE

    # -- submit ------------------------------------------------------------------------------------------------------

    async def submit(self, job: Job) -> Handle:
        """Start the launcher; it claims the job, so that of several only one runs it."""
        at = self.directory(job.id)
        handle = Handle(self.name, job.id, at.path)
        _, _, submitted, there = await together(
            self.adopt(handle, str(job.document.get("owner", ""))),
            self.renew(handle),
            self._submitted(at, job.id),
            self.files.names(at.path),
        )
        if submitted:
            return handle
        if not any(name.startswith(STAGED) for name in there):
            raise ComputeTargetException(f"The job {job.id} is not staged on {self.name}", hint="Call stage first")
        if job.secrets:
            await self.files.write(at.secrets, protocol.to_bytes(dict(job.secrets)), 0o600)
        launcher = posixpath.join(self.payload, "stepwell", "runtime", "launcher.py")
        try:
            argv = (self.launcher_python, "-I", "-S", launcher, at.path)
            started = await self.runner.start(Start(job.id, argv, at.path, job.document.get("runner") or {}))
            deadline = time.monotonic() + START_SECONDS
            while self.claims_soon and not await self._exists(at.pid):
                if started.ended() is not None or time.monotonic() > deadline:
                    if await self._claimed(at):
                        break
                    raise ComputeTargetException(
                        f"The launcher of job {job.id} on {self.name} did not start: {await self._complaint(at)}"
                    )
                await asyncio.sleep(0.002)
            while (
                self.claims_soon
                and await self._exists(at.secrets)
                and started.ended() is None
                and time.monotonic() < deadline
            ):
                await asyncio.sleep(0.002)
        finally:
            await self.files.remove(at.secrets)
        return handle

    async def find(self, job_id: str) -> Handle | None:
        """Return the handle of a job that has been submitted, or None."""
        at = self.directory(job_id)
        await self._drop_stale_secrets(at)
        return Handle(self.name, job_id, at.path) if await self._submitted(at, job_id) else None

    async def adopt(self, handle: Handle, owner: str) -> None:
        """Write the new owner down."""
        at = self._at(handle).owner
        if await self._read(at) != owner.encode():
            await self.files.write(at, owner.encode())

    # -- watch -------------------------------------------------------------------------------------------------------

    async def status(self, handles: Sequence[Handle]) -> list[Status]:
        """Return how each job is, asking the runner once for all."""
        try:
            ats = [self._at(handle) for handle in handles]
            read = await self._read_many([path for at in ats for path in (at.final, at.pid, at.queued)])
            known = list(zip(read[::3], read[1::3], read[2::3], strict=True))
            finals = [self._parsed_final(at, data) for at, (data, _, _) in zip(ats, known, strict=True)]
            processes = {
                handle.job_id: self._parsed(at.pid, data)
                for handle, at, (_, data, _), final in zip(handles, ats, known, finals, strict=True)
                if final is None
            }
            looks = await self.runner.look(processes) if processes else {}
            return [
                _said(final)
                if final is not None
                else await self._unended(at, handle.job_id, processes[handle.job_id], looks, waits)
                for handle, at, (_, _, waits), final in zip(handles, ats, known, finals, strict=True)
            ]
        except Unreachable as error:
            return [Status("unknown", str(error)) for _ in handles]

    async def _status(self, handle: Handle) -> Status:
        return (await self.status([handle]))[0]

    async def _unended(
        self,
        at: protocol.JobDirectory,
        job_id: str,
        process: Mapping[str, Any] | None,
        looks: Mapping[str, Look],
        waits: bytes | None,
    ) -> Status:
        """Return how a job is that has no final status; if it is dead, that becomes its final status.

        :param waits: what it waits for, though it has been claimed.
        """
        look = looks[job_id]
        alive = look.state in ("alive", "queued")
        if process is None:
            if alive or look.state == "unknown":
                return Status("queued" if alive else "unknown", look.detail)
            final = await self._final(at)
            if final is None and await self._process(at) is not None:
                return Status("running")  # it was claimed while we looked
            never = "the job has never started, or its directory has been removed"
            return _said(final) if final else Status("failed", look.detail or never)
        if look.state == "unknown":
            touched = await self.files.modified(at.pid)
            alive = touched is not None and await self.files.now() - touched < SILENT_SECONDS
        if alive:
            if waits is not None:
                return Status("queued", waits.decode("utf-8", "replace") or look.detail)
            return Status("running", look.detail)
        # Dead. It may have written the final status since we looked; if not, this is it.
        await self.runner.sweep(job_id, process)
        request = await self._json(at.cancel)
        if request is not None:  # it came before the launcher could listen
            state, reason = protocol.CANCELLED, str(request.get("reason"))
        else:
            state = protocol.FAILED
            why = look.detail or f"its launcher is gone: {await self._complaint(at)}"
            reason = f"the job ended without a final status ({why})"
        await self._end(at, state, reason)
        return _said(await self._final(at) or {"status": state, "reason": reason})

    async def logs(self, handle: Handle, offset: int = 0) -> AsyncIterator[bytes]:
        """Return the log from byte *offset* on, as it comes, until the job has ended."""
        at = self._at(handle)
        pause, over, heard = POLL_FIRST, False, time.monotonic()
        while True:
            try:
                piece = await self.files.read(at.step_log, offset, self.log_piece)
            except FileNotFoundError:
                piece = b""
            except Unreachable:
                piece, over = b"", False  # the last lines are still to come
            if piece:
                offset += len(piece)
                pause = POLL_FIRST
                yield piece
            elif over:
                return
            else:
                status = await self._status(handle)
                over = status.ended  # once more after the end: the last lines
                if status.state != "unknown":
                    heard = time.monotonic()
                elif time.monotonic() - heard > self.unreachable_seconds:
                    raise Unreachable(
                        f"{self.name} has not answered for {self.unreachable_seconds:g} s: {status.detail}",
                        hint="The job may still run there; its lease ends it when nobody comes back to it",
                    )
                if not over:
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.3, POLL_LONGEST)

    async def log_part(self, handle: Handle, offset: int, limit: int = _LOG_PIECE) -> bytes:
        """Return what is there now of the log from byte *offset* on."""
        try:
            return await self.files.read(self._at(handle).step_log, offset, limit)
        except FileNotFoundError:
            return b""

    async def events(self, handle: Handle, seen: set[str]) -> list[dict[str, Any]]:
        """Read the segments that are new: one that has its name never changes."""
        at = self._at(handle)
        events: list[dict[str, Any]] = []
        for name in await self.files.names(at.events):
            if name in seen or not name.endswith(".jsonl"):
                continue
            try:
                data = await self.files.read(posixpath.join(at.events, name))
            except FileNotFoundError:
                break  # the job has been forgotten meanwhile
            events.extend(protocol.parse_event(line, name) for line in data.splitlines())
            seen.add(name)
            await asyncio.sleep(0)  # there may be many, and a cancel may need the loop
        return sorted(events, key=lambda event: event["t"])

    async def renew(self, handle: Handle) -> None:
        """Touch the lease."""
        await self.files.touch(self._at(handle).lease)

    async def cancel(self, handle: Handle, owner: str | None, reason: str = "cancelled") -> bool:
        """Leave the request for the launcher, and wake it."""
        at, job_id = self._at(handle), handle.job_id
        if owner is not None:
            try:
                if (await self.files.read(at.owner)).decode() != owner:
                    return False
            except FileNotFoundError:
                return False
        if await self._exists(at.final):
            return True
        process = await self._process(at)
        if process is None:
            # Not started yet: with a final status in place it never will.
            if await self.files.modified(at.path) is not None:
                await self._end(at, protocol.CANCELLED, reason)
            process = await self._process(at)
            if process is None:
                await self.runner.stop(job_id, None)  # it may wait to be started
                return True
        await self.files.write(at.cancel, protocol.to_bytes({"reason": reason}))
        if (await self.runner.look({job_id: process}))[job_id].state == "gone":
            await self.runner.sweep(job_id, process)
            await self._end(at, protocol.CANCELLED, reason)
        else:
            await self.runner.stop(job_id, process)
        return True

    # -- afterwards --------------------------------------------------------------------------------------------------

    async def collect(self, handle: Handle, into: Path) -> Outcome:
        """Fetch logs, verdicts, v1's ``outputs`` and ``logs`` folders, events, and the outputs by upload."""
        at = self._at(handle)
        status = await self._status(handle)
        final = await self._final(at)
        if final is None:
            raise ComputeTargetException(f"The job {handle.job_id} has not ended: it is {status.state}")
        parts = ((at.logs, "logs"), (at.gates, "gates"), (posixpath.join(at.code, "outputs"), "outputs"))
        await asyncio.gather(*(self.files.fetch(source, into / name) for source, name in parts))
        # The script's own logs, as in v1, in the same folder; what has the name of one of ours goes to logs/script.
        ours = frozenset(await self.files.sizes(at.logs))
        await self.files.fetch(posixpath.join(at.code, "logs"), into / "logs", ours, "script")
        if (here := self.files.local(at.events)) is None:
            here = into / "events"
            await self.files.fetch(at.events, here)
        events = await asyncio.to_thread(protocol.read_events, str(here))
        uploads = {}
        for name in await self.files.names(at.outputs):
            path = posixpath.join(at.outputs, name)
            local = self.files.local(path)
            if local is None:
                local = into / "uploads" / name
                await self.files.fetch(path, local)
            uploads[name] = local
        return Outcome(final, events, into, uploads)

    async def forget(self, handle: Handle) -> None:
        """Remove the job directory, and what the runner keeps."""
        if await self.files.modified(handle.directory) is None:
            await self.runner.clear(handle.job_id)
            return
        at, status = self._at(handle), await self._status(handle)
        if not status.ended:
            raise ComputeTargetException(f"The job {handle.job_id} is {status.state}", hint="Cancel it first")
        await self.runner.clear(handle.job_id)
        await self.files.remove(at.path)

    async def reap(self, older_than: float) -> list[str]:
        """Remove job directories that nobody needs any more, and what the runner keeps of jobs that have none."""
        reaped = []
        for job_id in await self.reapable(older_than):
            at = self.directory(job_id)
            if not await self._exists(at.path):
                await self.runner.stop(job_id, None)
            await self.runner.clear(job_id)
            try:
                await self.files.remove(at.path)
            except OSError:  # something is mounted in it that only others can unmount
                continue
            reaped.append(job_id)
        return reaped

    async def reapable(self, older_than: float) -> list[str]:
        """Return the jobs that :meth:`reap` would remove."""
        now = await self.files.now()
        there = await self.files.names(posixpath.join(self.root, "jobs"))
        known = await self.runner.known()
        found = [job_id for job_id, at in known.items() if job_id not in there and now - at >= older_than]
        for job_id in there:
            at = self.directory(job_id)
            await self._drop_stale_secrets(at)
            handle = Handle(self.name, job_id, at.path)
            if await self._submitted(at, job_id) and not (await self._status(handle)).ended:
                continue
            for path in (at.final, at.lease, at.document, at.path):  # the first that is there tells the age
                changed = await self.files.modified(path)
                if changed is not None:
                    if now - changed >= older_than:
                        found.append(job_id)
                    break
        return found


def _said(final: Mapping[str, Any]) -> Status:
    return Status(final["status"], final.get("reason") or "")
