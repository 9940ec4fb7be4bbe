"""A target whose jobs are batches: the job directory is on shared storage, and a driver on the cluster works it off.

A kind brings a :class:`~stepwell.compute.batch.batches.Batches` and a
:class:`~stepwell.compute.batch.storage.Storage`; the rest is here. The driver (``stepwell.payload.batch``) claims the
job on the storage, copies the job directory to its machine, runs the launcher there as everywhere else, and brings up
what that writes: log segments, events, at last outputs and the final status.

Paths in ``job.json`` are those on the storage; where the driver works, it puts its own in their place.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal

from stepwell.compute import shipping
from stepwell.compute.batch.batches import Batches
from stepwell.compute.batch.members import Members
from stepwell.compute.batch.runner import PROGRAM, SUBMITTED, BatchRunner, program
from stepwell.compute.batch.storage import SNAPSHOT, Storage
from stepwell.compute.contract import (
    Entry,
    EntryKind,
    EnvironmentRef,
    Handle,
    Job,
    Layout,
    Log,
    Report,
    Status,
    Transfer,
    Unreachable,
)
from stepwell.compute.ports import Look
from stepwell.compute.spark_settings import LISTS, absolute_files, over, settings
from stepwell.compute.target import JobDirectoryTarget
from stepwell.errors import ComputeTargetException, StepwellError
from stepwell.runtime import protocol

#: Settings that the step or the target may overrule.
DEFAULTS = {
    "spark.ui.showConsoleProgress": "false",
    "spark.yarn.maxAppAttempts": "1",  # a second one would find the job claimed
    "spark.yarn.am.waitTime": "600s",  # until a script makes its session
}
#: For steps without Spark of their own: memory beside the JVM, and no executors.
_IDLE = {
    "spark.driver.memoryOverhead": "1g",
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    "spark.dynamicAllocation.minExecutors": "0",
    "spark.dynamicAllocation.initialExecutors": "0",
}
#: A batch that was submitted, that its service does not know, and that has not begun is given up after so long.
LOST_SECONDS = 120.0
#: The same for one that was asked to end.
ENDING_SECONDS = 15.0
#: Environments and payloads that nobody has used for so long are removed by ``reap``, in seconds.
UNUSED_SECONDS = 30 * 24 * 3600.0


class BatchTarget(JobDirectoryTarget):
    """Jobs as batches.

    :param here: this machine's folder for environments, which are built here and sent there.
    :param conf: Spark settings of the target; a step's own go before them, lists of files are joined.
    :param python: the cluster's interpreter for the driver and for user-managed environments that name none.
    """

    runs: ClassVar[frozenset[str]] = frozenset({"python", "spark", "command", "none"})
    reads: ClassVar[frozenset[str]] = frozenset({"hdfs"})
    engine: ClassVar[Literal["pandas", "spark"]] = "spark"
    deferrable: ClassVar[bool] = True
    poll_seconds: ClassVar[float] = 2.0
    claims_soon: ClassVar[bool] = False
    runner: BatchRunner

    def __init__(
        self,
        name: str,
        here: str | os.PathLike[str],
        storage: Storage,
        batches: Batches,
        *,
        conf: Mapping[str, str] | None = None,
        queue: str | None = None,
        proxy_user: str | None = None,
        python: str | None = None,
    ) -> None:
        super().__init__(name, storage.root, python or "python3")
        self.here = Path(os.path.abspath(here))
        self.storage = storage
        self.files = storage.files
        self.batches = batches
        self.conf = dict(conf or {})
        self.python = python
        self.runner = BatchRunner(storage, batches, queue, proxy_user)

    def reads_for(self, kind: EntryKind) -> frozenset[str]:
        """Return what such an entry reads by itself: only Spark reads the cluster's storage."""
        return frozenset() if kind in ("python", "command") else self.reads

    def makes(self) -> dict[str, Any]:
        """Return the kind, and the target's own settings."""
        return {**super().makes(), "conf": self.conf}

    async def probe(self) -> Report:
        """Ask the service, and let a small batch tell about the cluster: by way of the storage, as jobs go."""
        facts: dict[str, Any] = {"storage": self.storage.uri(self.root)}
        problems: list[str] = []
        try:
            answered, said = await self.batches.probe()
            facts.update(answered)
            problems += said
            facts["clock_skew_seconds"] = round(await self.files.now() - time.time(), 1)
            if not problems:
                facts.update(await self._told_by_a_batch(problems))
        except ComputeTargetException as error:
            problems.append(str(error))
        except StepwellError as error:  # the storage's own
            problems.append(f"the storage {self.storage.uri(self.root)} cannot be used: {error}")
        return Report(time.time(), facts, tuple(problems))

    async def _told_by_a_batch(self, problems: list[str]) -> dict[str, Any]:
        await self._ship_payload()
        folder = posixpath.join(self.root, "probes", uuid.uuid4().hex)
        await self.files.make(folder, 0o700)
        try:
            return await self.runner.ask(folder, self._conf({}, on_spark=False), problems)
        finally:
            await self.files.remove(folder)

    # -- environments ------------------------------------------------------------------------------------------------

    async def environment_key(self, spec: Mapping[str, Any]) -> str:
        """Return the environment's key. Of an interpreter of the cluster only the path is known."""
        if spec.get("user_managed"):
            return self._of_the_cluster(spec).key
        from stepwell.environment.builder import key_for

        return await asyncio.to_thread(key_for, dict(spec), self.here / "environments")

    async def prepare(self, spec: Mapping[str, Any], log: Log) -> EnvironmentRef:
        """Build the environment on this machine, or find it, and send it to the storage, once per key."""
        if spec.get("user_managed"):
            return self._of_the_cluster(spec)
        from stepwell.compute.batch.environments import pack
        from stepwell.environment.builder import ensure

        built = await asyncio.to_thread(ensure, dict(spec), self.here / "environments", log)
        root = self._environment(built.key)
        if await self._exists(f"{root}.tar.gz"):
            await self.files.touch(f"{root}.used")
        else:
            archive = self.here / "archives" / f"{built.key}.whole.tar.gz"
            await asyncio.to_thread(pack, built.root, archive, log)
            log(f"Sending the environment to {self.storage.uri(root)}.tar.gz ({archive.stat().st_size >> 20} MB)")
            await self.files.make(posixpath.dirname(root))
            await self.files.touch(f"{root}.used")
            with archive.open("rb") as reader:
                await self.files.put(reader, f"{root}.tar.gz", posixpath.dirname(root))
            archive.unlink(missing_ok=True)  # it is there now; what it was made from is here
        return EnvironmentRef(
            key=built.key,
            python=f"{root}/bin/python",
            root=root,
            has_azureml=built.has_azureml,
            variables=dict(spec.get("variables") or {}),
            version=built.version,
        )

    def _of_the_cluster(self, spec: Mapping[str, Any]) -> EnvironmentRef:
        python = str(spec.get("interpreter") or self.launcher_python)
        if python == "python":  # v1's default: whatever the machine has
            python = self.launcher_python
        key = hashlib.sha256(f"{self.kind}\0{self.name}\0{python}".encode()).hexdigest()
        return EnvironmentRef(key, python, None, user_managed=True, variables=dict(spec.get("variables") or {}))

    def _environment(self, key: str) -> str:
        return posixpath.join(self.root, "environments", key)

    # -- what runs ---------------------------------------------------------------------------------------------------

    def phases(
        self,
        entry: Entry,
        environment: EnvironmentRef,
        layout: Layout,
        *,
        variables: Mapping[str, str] | None = None,
        gates_in: EnvironmentRef | None = None,
    ) -> list[dict[str, Any]]:
        """Return the phases, which all run inside the batch.

        A Spark step and its gates are one process, in the batch's own application; so are gates alone. What a script
        without Spark makes, it makes on the driver's machine, and its gates are a second process there.
        """
        if entry.kind not in self.runs:
            raise ComputeTargetException(f"The compute target {self.name!r} cannot run a {entry.kind} step")
        inside = {**environment.variables, **_inside(environment, layout, variables)}
        driver = [environment.python, posixpath.join(layout.payload, "stepwell", "payload", "spark_driver.py")]
        gate = {
            "name": "gate",
            "argv": [environment.python, "-m", "stepwell.payload.gate", layout.root],
            "cwd": layout.root,
            "variables": {**inside, "PYTHONPATH": layout.payload},
        }
        if entry.kind == "spark":
            return [{"name": "step", "argv": [*driver, layout.root], "cwd": layout.code, "variables": inside}]
        if entry.kind == "none":
            alone = [{"name": "gate", "argv": [*driver, layout.root], "cwd": layout.code, "variables": inside}]
            return [] if gates_in is None else alone
        if entry.kind == "python":
            program = ["-m", entry.module, layout.root] if entry.module else [str(entry.script)]
            argv = [environment.python, *program, *entry.arguments]
        else:
            argv = list(entry.command)
        step = {"name": "step", "argv": argv, "cwd": layout.code, "variables": inside}
        return [step] if gates_in is None else [step, gate]

    def needs(self, entry: Entry, environment: EnvironmentRef, layout: Layout) -> dict[str, Any]:
        """Return the batch's Spark settings, and what the driver has to fetch."""
        on_spark = entry.kind in ("spark", "none")
        own = {} if entry.spark is None else absolute_files(settings(entry.spark), layout.code)
        conf = self._conf(own, on_spark=on_spark)
        conf.setdefault("spark.app.name", posixpath.basename(layout.root))
        if environment.root is not None:
            archive = self.storage.uri(f"{environment.root}.tar.gz") + "#environment"
            conf["spark.archives"] = ",".join(filter(None, [conf.get("spark.archives"), archive]))
        inside = posixpath.join(layout.code, "")
        shipped: list[str] = []
        for key in LISTS.values():
            items = list(filter(None, conf.get(key, "").split(",")))
            shipped += [item[len(inside) :] for item in items if item.startswith(inside)]
            if items:
                conf[key] = ",".join(self.storage.uri(i) if i.startswith(inside) else i for i in items)
        return {
            "conf": conf,
            "shipped": shipped,
            "environment": environment.root,
            "python": environment.python,
            "payload": layout.payload,
            "spark": on_spark,
        }

    def _conf(self, own: Mapping[str, str], *, on_spark: bool) -> dict[str, str]:
        conf = {**DEFAULTS, **({} if on_spark else _IDLE), **over(self.conf, own)}
        if self.python is not None:
            conf.setdefault("spark.pyspark.driver.python", self.python)
        return conf

    def completed(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``job.json`` with less time for a step that does not stop: the batch is killed soon after."""
        return {"grace_seconds": 5, **super().completed(document)}

    # -- stage -------------------------------------------------------------------------------------------------------

    async def stage(self, job: Job) -> None:
        """Bring code and inputs to the storage.

        :raises ComputeTargetException: the job has secrets: what a cluster's service is told, its users can read.
        """
        if job.secrets:
            raise ComputeTargetException(
                f"The compute target {self.name!r} ({self.kind}) cannot keep secrets, and the step has "
                + ", ".join(sorted(job.secrets)),
                hint="Run it on another target; or let the cluster's own means (a keyvault, its identity) give access",
            )
        shipped = (job.document.get("runner") or {}).get("shipped") or []
        if shipped:  # Spark itself fetches these before anything of ours runs
            if job.archive is None:
                raise ComputeTargetException(f"The step has no source directory that {shipped[0]!r} could be in")
            members = Members(job.archive, tuple(dict.fromkeys(shipped)))
            job = replace(job, transfers=(Transfer(members, "code"), *job.transfers))
        await super().stage(job)

    async def _has_code(self, at: protocol.JobDirectory) -> bool:
        """Return whether the snapshot is there: packed, in a folder that may be there before."""
        return await self._exists(posixpath.join(at.code, SNAPSHOT))

    async def _ship_payload(self) -> None:
        """Put what a batch runs there, with the payload in it."""
        path = posixpath.join(self.payload, PROGRAM)
        if not await self._exists(path):
            data = await asyncio.to_thread(program)
            await self.files.put(BytesIO(data), path, self.payload)

    # -- watch -------------------------------------------------------------------------------------------------------

    async def status(self, handles: Sequence[Handle]) -> list[Status]:
        """Return how each job is: one list of what has ended, one of what the service runs, and little else."""
        try:
            ats = [self._at(handle) for handle in handles]
            ended = set(await self.files.names(self._ended))
            looks = await self.runner.look({h.job_id: None for h in handles if h.job_id not in ended})
            found = {
                h.job_id: Status("queued" if looks[h.job_id].state == "queued" else "running", looks[h.job_id].detail)
                for h in handles
                if h.job_id in looks and looks[h.job_id].state in ("queued", "alive")
            }
            rest = [h for h in handles if h.job_id not in found]
            found.update(zip((h.job_id for h in rest), await super().status(rest), strict=True))
            return [found[at.path.rpartition("/")[2]] for at in ats]
        except Unreachable as error:
            return [Status("unknown", str(error)) for _ in handles]

    async def _unended(
        self,
        at: protocol.JobDirectory,
        job_id: str,
        process: Mapping[str, Any] | None,
        looks: Mapping[str, Look],
        waits: bytes | None,
    ) -> Status:
        """Give up what nobody knows any more: a batch that died before its job began, or that was asked to end."""
        look = looks[job_id]
        if look.state in ("gone", "unknown") and await self._exists(posixpath.join(self._ended, job_id)):
            # It has ended, and who removed its directory did not get to the end of that.
            final = await self._final(at) or {"status": "failed", "reason": "its directory has been removed in part"}
            return Status(final["status"], final.get("reason") or "")
        if process is None and look.state == "gone":
            submitted = await self.files.modified(at.below(SUBMITTED))
            if submitted is None or await self._process(at) is not None:
                return await super()._unended(at, job_id, process, looks, waits)
            if not look.detail and await self.files.now() - submitted < LOST_SECONDS:
                return Status("unknown", "the service does not know the batch (any more), and the job has not begun")
            why = look.detail or "its service has forgotten it, and nothing has begun"
            await self._end(at, protocol.FAILED, f"the job has never begun: {why}")
            return Status("failed", f"the job has never begun: {why}")
        if look.state == "unknown":
            asked = await self.files.modified(at.cancel)
            if asked is not None and await self.files.now() - asked > ENDING_SECONDS:
                looks = {**looks, job_id: Look("gone", "its batch was killed")}
        return await super()._unended(at, job_id, process, looks, waits)

    @property
    def _ended(self) -> str:
        return posixpath.join(self.root, "ended")

    async def _end(self, at: protocol.JobDirectory, status: str, reason: str) -> None:
        """Write the final status of a job whose launcher cannot, and mark it as ended."""
        await super()._end(at, status, reason)
        await self.files.make(self._ended)
        await self.files.write(posixpath.join(self._ended, posixpath.basename(at.path)), b"")

    # -- afterwards --------------------------------------------------------------------------------------------------

    async def forget(self, handle: Handle) -> None:
        """Remove the job directory, the batch's record and the mark."""
        await super().forget(handle)
        await self.files.remove(posixpath.join(self._ended, handle.job_id))

    async def reap(self, older_than: float) -> list[str]:
        """Remove what nobody needs any more: jobs, marks, environments and payloads."""
        reaped = await super().reap(older_than)
        there = set(await self.files.names(posixpath.join(self.root, "jobs")))
        for name in set(await self.files.names(self._ended)) - there:
            await self.files.remove(posixpath.join(self._ended, name))
        await self._remove_unused()
        return reaped

    async def _remove_unused(self) -> None:
        now, environments = await self.files.now(), posixpath.join(self.root, "environments")
        for name in await self.files.names(environments):
            if name.endswith(".used"):
                path = posixpath.join(environments, name)
                used = await self.files.modified(path)
                if used is not None and now - used > UNUSED_SECONDS:
                    await self.files.remove(f"{path[: -len('.used')]}.tar.gz")
                    await self.files.remove(path)
        payloads = posixpath.join(self.root, "payload")
        for name in await self.files.names(payloads):
            written = await self.files.modified(posixpath.join(payloads, name, PROGRAM))
            if name != shipping.digest() and written is not None and now - written > UNUSED_SECONDS:
                await self.files.remove(posixpath.join(payloads, name))


def _inside(environment: EnvironmentRef, layout: Layout, variables: Mapping[str, str] | None) -> dict[str, str]:
    """Return the variables of a step; the driver adds its machine's own ``PATH`` and Spark's ``PYTHONPATH``."""
    path = [layout.payload]
    if not environment.has_azureml:
        path.append(posixpath.join(layout.payload, "v1"))
    path += [v["PYTHONPATH"] for v in (variables or {}, environment.variables) if v.get("PYTHONPATH")]
    return {"STEPWELL_JOB_DIR": layout.root, "PYTHONUNBUFFERED": "1", "PYTHONPATH": ":".join(path)}
