"""The runner port over batches."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import posixpath
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stepwell.compute.batch.batches import Batch, Batches
from stepwell.compute.batch.storage import Storage
from stepwell.compute.contract import Unreachable
from stepwell.compute.ports import Look, Start
from stepwell.compute.shipping import archive, digest

#: A job that was asked to end gets so long to do it by itself before its batch is killed, in seconds.
GRACE_SECONDS = 8.0
#: How long ``probe`` waits for the turn of its small batch, in seconds.
PROBE_SECONDS = 45.0
#: What a batch runs, in ``payload/<digest>/``.
PROGRAM = "stepwell_batch.py"
#: In the job directory: that it was submitted, and when (the file's time; it is empty, as storage likes it best).
SUBMITTED = "submitted"
_LAST_CHARACTERS = 1500


class _Taken:
    """A batch that was handed over: it may wait for hours, so nobody waits for it here."""

    def ended(self) -> int | None:
        """Return None: it is not known here."""
        return None


class BatchRunner:
    """Jobs as batches; a batch bears the job's id and the digest of where its directory is."""

    def __init__(
        self,
        storage: Storage,
        batches: Batches,
        queue: str | None = None,
        proxy_user: str | None = None,
    ) -> None:
        self.storage = storage
        self.batches = batches
        self.queue = queue
        self.proxy_user = proxy_user
        self._killing: set[asyncio.Task[None]] = set()
        self._suffix = "." + hashlib.sha256(storage.uri(storage.root).encode()).hexdigest()[:8]

    def name(self, job_id: str) -> str:
        """Return the name of the job's batch."""
        return job_id + self._suffix

    async def start(self, start: Start) -> _Taken:
        """Submit the batch. It claims the job on the storage, so that of two only one runs it."""
        conf = dict(start.needs.get("conf") or {})
        batch = self._batch(self.name(start.job_id), (self.storage.uri(start.directory),), conf)
        await self.storage.files.touch(posixpath.join(start.directory, SUBMITTED))
        await self.batches.submit(batch)
        return _Taken()

    def _batch(self, name: str, arguments: tuple[str, ...], conf: Mapping[str, str]) -> Batch:
        payload = posixpath.join(self.storage.root, "payload", digest())
        return Batch(
            name=name,
            file=self.storage.uri(posixpath.join(payload, PROGRAM)),
            arguments=arguments,
            conf=dict(conf),
            queue=self.queue,
            proxy_user=self.proxy_user,
        )

    async def ask(self, folder: str, conf: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
        """Run a batch that tells about the cluster, and return what it says.

        :param folder: on the storage, for its answer.
        :param problems: gets the reason if it ends without an answer. One that only waits for its turn is no problem.
        """
        name, answer = f"probe-{posixpath.basename(folder)}", posixpath.join(folder, "answer.json")
        await self.batches.submit(self._batch(name, ("--probe", self.storage.uri(answer)), conf))
        deadline = time.monotonic() + PROBE_SECONDS
        try:
            while time.monotonic() < deadline:
                batch = (await self.batches.seen()).get(name)
                try:
                    return dict(json.loads(await self.storage.files.read(answer)))
                except FileNotFoundError:
                    if batch is not None and batch.state == "ended":
                        problems.append(
                            "a small batch has ended without an answer on the storage: "
                            + await self._why(name, batch.detail)
                        )
                        return {}
                await asyncio.sleep(0.5)
        finally:
            await self.batches.kill(name)
            await self.batches.forget(name)
        return {"note": f"no batch got its turn within {PROBE_SECONDS:g} s, so the cluster's versions are not known"}

    async def look(self, jobs: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Look]:
        """Return how the batches are, in one call; of one that the service has forgotten nothing is known."""
        seen = await self.batches.seen() if jobs else {}
        found: dict[str, Look] = {}
        for job_id, process in jobs.items():
            batch = seen.get(self.name(job_id))
            if batch is None:
                forgotten = Look("unknown", "its service does not know the batch any more")
                found[job_id] = Look("gone") if process is None else forgotten
            elif batch.state == "ended":
                found[job_id] = Look("gone", await self._why(self.name(job_id), batch.detail))
            else:
                found[job_id] = Look("queued" if batch.state == "queued" else "alive", batch.detail)
        return found

    async def _why(self, name: str, detail: str) -> str:
        said = (await self.batches.lines(name)).strip()[-_LAST_CHARACTERS:]
        return f"its batch has ended ({detail})" + (f"; its last lines:\n{said}" if said else "")

    async def stop(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Kill the batch: at once if the job has not begun, else when it has had time to end by itself."""
        if process is None:
            await self.batches.kill(self.name(job_id))
            return
        task = asyncio.get_running_loop().create_task(self._kill_later(job_id))
        self._killing.add(task)  # a task that nobody holds may be collected
        task.add_done_callback(self._killing.discard)

    async def _kill_later(self, job_id: str) -> None:
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            await asyncio.sleep(1.0)
            batch = (await self.batches.seen()).get(self.name(job_id))
            if batch is None or batch.state == "ended":
                return
        await self.batches.kill(self.name(job_id))

    async def sweep(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Kill the batch that a dead job may still have."""
        await self.batches.kill(self.name(job_id))

    async def clear(self, job_id: str) -> None:
        """Remove what the service keeps of the batch; one that does not answer now drops it by itself later."""
        with suppress(Unreachable):
            await self.batches.forget(self.name(job_id))

    async def known(self) -> dict[str, float]:
        """Return the jobs whose batches have not ended; the records of others the service drops by itself."""
        seen = await self.batches.seen()
        return {
            name[: -len(self._suffix)]: batch.started
            for name, batch in seen.items()
            if name.endswith(self._suffix) and batch.state != "ended" and batch.started is not None
        }


def program() -> bytes:
    """Return what a batch runs: ``stepwell/payload/batch/program.py`` with the payload in it."""
    text = Path(__file__).parent.parent.parent.joinpath("payload", "batch", "program.py").read_bytes()
    place, packed = b'PAYLOAD = ""', base64.b64encode(archive())
    if text.count(place) != 1:
        raise RuntimeError("the batch's program has no one place for the payload")
    return text.replace(place, b'PAYLOAD = "' + packed + b'"')
