"""What is asked of a job directory on a target, by whoever stages, watches or ends the job."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from stepwell.compute import shipping
from stepwell.compute.contract import Handle, Layout, Target
from stepwell.compute.ports import Exec, Files, ReadsMany, Runner
from stepwell.errors import ComputeTargetException
from stepwell.runtime import protocol
from stepwell.runtime.names import check_name

#: A launcher must have claimed its job after this many seconds.
START_SECONDS = 60.0


class JobDirectories(Target):
    """A target that keeps jobs in directories on its own files.

    :param root: the target's folder there: ``jobs/``, ``environments/`` and ``payload/`` are below it.
    :param launcher_python: the interpreter that runs the launcher there.
    """

    files: Files
    runner: Runner
    exec: Exec
    #: Whether what is started runs at once; where it may wait for hours, it counts as submitted when it is taken.
    claims_soon: ClassVar[bool] = True

    def __init__(self, name: str, root: str, launcher_python: str) -> None:
        super().__init__(name)
        self.root = root
        self.launcher_python = launcher_python

    # -- where things are --------------------------------------------------------------------------------------------

    @property
    def payload(self) -> str:
        """The folder of the payload on the target."""
        return posixpath.join(self.root, "payload", shipping.digest())

    def directory(self, job_id: str) -> protocol.JobDirectory:
        """Return the paths of a job directory on the target."""
        return protocol.JobDirectory(posixpath.join(self.root, "jobs", check_name("job", job_id)))

    def layout(self, job_id: str) -> Layout:
        """Return where the parts of that job are."""
        return Layout(self.directory(job_id).path, self.payload)

    def completed(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``job.json`` with what the kind itself adds to it."""
        return {"format": protocol.FORMAT, **document}

    def _at(self, handle: Handle) -> protocol.JobDirectory:
        """Return the job's paths; a handle that points elsewhere than into this target is refused."""
        at = self.directory(handle.job_id)
        if at.path != handle.directory:
            raise ComputeTargetException(
                f"The job {handle.job_id} is in {handle.directory}, the target {self.name} keeps it in {at.path}",
                hint="The target has been attached anew since; attach it as it was to reach the job",
            )
        return at

    async def _exists(self, path: str) -> bool:
        return await self.files.modified(path) is not None

    async def _claimed(self, at: protocol.JobDirectory) -> bool:
        """Return whether a launcher has the job, or had it, or never will."""
        return await self._exists(at.pid) or await self._exists(at.final)

    async def _submitted(self, at: protocol.JobDirectory, job_id: str) -> bool:
        """Return whether the job is claimed, or taken by the runner and not claimed yet."""
        return await self._claimed(at) or (await self.runner.look({job_id: None}))[job_id].state in ("queued", "alive")

    async def _clear(self, path: str) -> None:
        await self.files.remove(path)
        if await self._exists(path):
            raise ComputeTargetException(
                f"{path} on {self.name}, left by an earlier try, cannot be removed", hint="Remove it by hand"
            )

    async def _drop_stale_secrets(self, at: protocol.JobDirectory) -> None:
        """Remove secrets that no launcher will take: by now it would have."""
        written = await self.files.modified(at.secrets)
        if written is not None and await self.files.now() - written > START_SECONDS:
            await self.files.remove(at.secrets)

    async def _read(self, path: str) -> bytes | None:
        try:
            return await self.files.read(path)
        except FileNotFoundError:
            return None

    async def _tail(self, folder: str, name: str, most: int) -> str:
        """Return the last *most* bytes of a log, however long that is."""
        size = (await self.files.sizes(folder)).get(name, 0)
        try:
            said = await self.files.read(posixpath.join(folder, name), max(0, size - most), most)
        except FileNotFoundError:
            return ""
        return said.decode("utf-8", "replace")

    async def _read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        if isinstance(self.files, ReadsMany):
            return await self.files.read_many(paths)
        return list(await asyncio.gather(*map(self._read, paths)))

    async def _json(self, path: str) -> dict[str, Any] | None:
        return self._parsed(path, await self._read(path))

    def _parsed(self, path: str, data: bytes | None) -> dict[str, Any] | None:
        import json

        if data is None:
            return None
        try:
            found = json.loads(data)
        except ValueError as error:
            raise ComputeTargetException(f"{path} on {self.name} is not JSON: {error}") from error
        return found if isinstance(found, dict) else None

    async def _process(self, at: protocol.JobDirectory) -> dict[str, Any] | None:
        return await self._json(at.pid)

    async def _final(self, at: protocol.JobDirectory) -> dict[str, Any] | None:
        return self._parsed_final(at, await self._read(at.final))

    def _parsed_final(self, at: protocol.JobDirectory, data: bytes | None) -> dict[str, Any] | None:
        try:
            return self._parsed(at.final, data)
        except ComputeTargetException as error:
            return protocol.final_document(protocol.FAILED, str(error))

    async def _end(self, at: protocol.JobDirectory, status: str, reason: str) -> None:
        """Write the final status of a job whose launcher cannot, unless there is one."""
        tail = (await self._tail(at.logs, posixpath.basename(at.step_log), 8192)).splitlines()[-20:]
        await self.files.make(at.events)
        await self.files.create(at.final, protocol.to_bytes(protocol.final_document(status, reason, last_lines=tail)))
        await self.files.remove(at.secrets)  # with a final status no launcher will begin

    async def _complaint(self, at: protocol.JobDirectory) -> str:
        return (await self._tail(at.logs, "launcher.log", 2000)).strip() or "it said nothing; was it killed?"
