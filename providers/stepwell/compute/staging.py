"""Brings a job's code, inputs and ``job.json`` into its directory on the target, whole, and the payload once for all.

On storage far away each request takes its time, so what does not depend on each other goes there at the same time.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import tempfile
from pathlib import Path

from stepwell.compute import shipping
from stepwell.compute.contract import Handle, Job, Transfer
from stepwell.compute.directory import JobDirectories
from stepwell.compute.together import together
from stepwell.runtime import protocol
from stepwell.runtime.names import check_below

#: Empty files whose names end with the digest of what is being staged, and of what is there whole: storage far away
#: takes an empty file sooner. And where files are until they are whole.
_STAGING, STAGED, _DRAFTS = ".staging.", ".staged.", ".drafts"


class Staging(JobDirectories):
    """A target that fills the directories of its jobs."""

    async def stage(self, job: Job) -> None:
        """Bring ``job.json``, code, inputs and the payload there; a mark comes last and says that all of it is there.

        What an earlier try has left half-staged is gone on with only if it was the very same; else it is cleared away.
        """
        at = self.directory(job.id)
        digest, submitted, there, _ = await together(
            asyncio.to_thread(_digest, job),
            self._submitted(at, job.id),
            self.files.names(at.path),
            self._ship_payload(),
        )
        if submitted:
            return
        await self.files.make(at.path, 0o700)
        if there and not await self._ready_to_fill(at, digest, there):
            return
        uploads = [name for name, o in (job.document.get("outputs") or {}).items() if o.get("mode") == "upload"]
        uploads = [posixpath.join(at.outputs, check_below("output", name)) for name in uploads]
        await together(
            self.files.touch(at.below(_STAGING + digest)),
            # From here on it is the owner's: whoever gives up while staging can cancel and forget the job.
            self.adopt(Handle(self.name, job.id, at.path), str(job.document.get("owner", ""))),
            *map(self.files.make, (at.logs, at.inputs, at.outputs, at.gates, at.events, *uploads)),
            self._bring_code(at, job),
            self.files.write(at.document, protocol.to_bytes(self.completed(job.document)), 0o600),
        )
        if STAGED + digest not in there:
            for transfer in job.transfers:
                await self._transfer(at, transfer)
            await self._clear(at.below(_DRAFTS))
            await self.files.touch(at.below(STAGED + digest))

    async def _ready_to_fill(self, at: protocol.JobDirectory, digest: str, there: list[str]) -> bool:
        """Make a directory hold nothing but what is under *digest*; return False if a launcher has come.

        :param there: the names in it.
        """
        await self.files.remove(at.secrets)  # of a try that was lost before its launcher began
        if _STAGING + digest not in there:
            await self.files.remove(at.document)  # a launcher that is only just starting must not run a mixture
            if await self._claimed(at):
                return False
            # The marks go before what they tell of: cut off in between, the next try clears away the rest.
            marks = [at.below(name) for name in there if name.startswith((_STAGING, STAGED))]
            await together(*map(self._clear, marks))
            await together(*map(self._clear, (at.code, at.inputs, at.resume, at.outputs)))
        await self._clear(at.below(_DRAFTS))
        return True

    async def _bring_code(self, at: protocol.JobDirectory, job: Job) -> None:
        if job.archive is None:
            await self.files.make(at.code)
        elif not await self._has_code(at):
            await self.files.unpack(job.archive, at.code)

    async def _has_code(self, at: protocol.JobDirectory) -> bool:
        """Return whether the snapshot is there, all of it."""
        return await self._exists(at.code)

    async def _transfer(self, at: protocol.JobDirectory, transfer: Transfer) -> None:
        """Copy the files that are not there yet; a file that is there is whole, for it got its name at the end."""
        relative = check_below("transfer", transfer.relative)
        folder = posixpath.join(at.path, relative)
        # In code/ a file of that name and size may be the snapshot's.
        there = {} if posixpath.join(relative, "").startswith("code/") else await self.files.sizes(folder)
        # Sources may be far away: the loop goes on (a cancel may need it) while they are asked.
        for name, size in await asyncio.to_thread(list, transfer.source.files()):
            if there.get(check_below("file", name)) != size:
                with await asyncio.to_thread(transfer.source.open, name) as reader:
                    await self.files.put(reader, posixpath.join(folder, name), at.below(_DRAFTS))

    async def _ship_payload(self) -> None:
        if await self._exists(self.payload):
            return
        with tempfile.TemporaryDirectory(prefix="stepwell-") as folder:
            local = Path(folder) / "payload.zip"
            local.write_bytes(shipping.archive())
            try:
                await self.files.unpack(local, self.payload)
            except Exception:
                if not await self._exists(self.payload):  # else somebody else was faster, with the same content
                    raise


def _digest(job: Job) -> str:
    """Return what tells the content of *job* from that of another one under the same id: code and inputs."""
    archive = None
    if job.archive is not None:
        with open(job.archive, "rb") as file:
            archive = hashlib.file_digest(file, "sha256").hexdigest()
    transfers = []
    for transfer in job.transfers:
        files = sorted([str(name), int(size)] for name, size in transfer.source.files())
        digest = getattr(transfer.source, "digest", None)
        transfers.append({"to": transfer.relative, "files": files, "digest": digest})
    content = protocol.to_bytes({"format": 1, "archive": archive, "transfers": transfers})
    return hashlib.sha256(content).hexdigest()[:32]
