"""Batches of a Hadoop cluster: ``spark-submit`` on its head node, YARN's applications by their tags.

YARN gives a name to any number of applications: a submit looks for one of the name first, and where two look at once,
both submit. Which of the two does the work the driver decides, by creating a file on the storage exclusively; the other
one ends at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from stepwell.compute.batch.batches import Batch, Seen
from stepwell.compute.cluster.head import HeadNode
from stepwell.compute.cluster.resource_manager import WAITING, ResourceManager
from stepwell.compute.contract import Unreachable
from stepwell.compute.ports import Exec
from stepwell.errors import ComputeTargetException

#: Each of our applications bears it, so that all can be asked for in one call.
TAG = "stepwell"
#: spark-submit loads Spark, and copies what the application needs; then the ResourceManager has the application.
SUBMIT_SECONDS = 600.0
_ORDER = ("ended", "queued", "running")
_UNKNOWN_QUEUE = re.compile(r"unknown queue|non-leaf queue|Queue .* (?:not found|does not exist|is STOPPED)", re.I)
#: Of what spark-submit says, the lines that tell why.
_WHY = re.compile(r"(?:Exception|Error|error|denied|refused|Missing|not found|No such)")


def tag(name: str) -> str:
    """Return the tag of the batch of that name: YARN's are lower case, and of at most 100 characters."""
    return f"{TAG}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def tags(name: str, conf: Mapping[str, str]) -> str:
    """Return all the tags of an application: ours, and what its settings say."""
    return ",".join(filter(None, [TAG, tag(name), conf.get("spark.yarn.tags")]))


class YarnBatches:
    """Batches as YARN applications in cluster mode.

    :param target: the compute target's name, for messages.
    :param head: the head node.
    :param run: commands there.
    :param manager: makes the client of the ResourceManager, once its addresses are known.
    """

    def __init__(
        self, target: str, head: HeadNode, run: Exec, manager: Callable[[], Awaitable[ResourceManager]]
    ) -> None:
        self.target = target
        self.head = head
        self.run = run
        self._manager = manager
        self._forgotten: set[str] = set()

    async def submit(self, batch: Batch) -> None:
        """Submit it, unless one of that name waits or runs.

        :raises ComputeTargetException: YARN or Spark refuses it; nothing was started.
        """
        manager = await self._manager()
        for application in await manager.applications(tag(batch.name)):
            if state_of(application).state != "ended":
                return
        head = await self.head.known()
        argv = command(str(head.spark_submit), batch)
        done = await self.run.run(argv, timeout=SUBMIT_SECONDS, variables=head.variables)
        if done.code:
            raise await self._refused(manager, batch, done.err + done.out)

    async def _refused(self, manager: ResourceManager, batch: Batch, said: str) -> ComputeTargetException:
        lines = [line.strip() for line in said.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
        why = [line for line in lines if _WHY.search(line)] or lines
        if batch.queue is not None and _UNKNOWN_QUEUE.search(said):
            queues = await manager.queues()
            error = ComputeTargetException(
                f"YARN takes no jobs for the queue {batch.queue!r} of {self.target}", allowed=sorted(queues)
            )
        else:
            error = ComputeTargetException(f"spark-submit on {self.target} fails: " + "\n".join(why[-5:])[-1500:])
        error.permanent = True
        return error

    async def seen(self) -> dict[str, Seen]:
        """Return every application of ours that the ResourceManager remembers, by name, in one call."""
        manager = await self._manager()
        found: dict[str, Seen] = {}
        for application in await manager.applications(TAG):
            name, one = str(application["name"]), state_of(application)
            if name in self._forgotten:  # its job has ended: what is left of it is on its way out
                one = replace(one, started=None)
            other = found.get(name)
            if other is None or _ORDER.index(one.state) > _ORDER.index(other.state):
                found[name] = one
        queued = {name: one for name, one in found.items() if one.state == "queued"}
        if queued and not (await manager.metrics()).get("activeNodes"):  # of which YARN says nothing, or too much
            for name, one in queued.items():
                where = one.detail.partition(": ")[0]
                found[name] = replace(one, detail=f"{where}: YARN has no node at work")
        return found

    async def lines(self, name: str) -> str:
        """Return what YARN says about the application: its diagnostics hold the end of a driver's error output."""
        manager = await self._manager()
        applications = await manager.applications(tag(name))
        newest = max(applications, key=lambda one: one.get("startedTime") or 0, default={})
        return str(newest.get("diagnostics") or "").strip()

    async def kill(self, name: str) -> None:
        """Kill all applications of that name."""
        manager = await self._manager()
        for application in await manager.applications(tag(name)):
            if state_of(application).state != "ended" and not await manager.kill(str(application["id"])):
                await self._kill_there(str(application["id"]))

    async def _kill_there(self, application: str) -> None:
        """Kill it with YARN's own command: the REST does not know who we are."""
        head = await self.head.known()
        done = await self.run.run(["yarn", "application", "-kill", application], timeout=90, variables=head.variables)
        if done.code:
            said = (done.err or done.out).strip()[-500:]
            raise Unreachable(f"{application} of {self.target} cannot be killed, by REST nor by command: {said}")

    async def forget(self, name: str) -> None:
        """Do nothing there: YARN forgets applications by itself, and what Spark staged is in the job directory."""
        self._forgotten.add(name)

    async def probe(self) -> tuple[dict[str, object], list[str]]:
        """Look at the head node, the ResourceManager, its nodes and queues."""
        head = await self.head.look()
        problems = head.problems(self.target)
        facts: dict[str, object] = {
            "head_python": head.python,
            "spark": head.spark,
            "spark_submit": head.spark_submit,
            "java": head.java,
            "hadoop_conf": head.hadoop_conf,
            "default_fs": head.default_fs,
            "clock_skew_seconds": round(head.skew, 1),
        }
        try:
            manager = await self._manager()
            info, metrics, queues = await manager.info(), await manager.metrics(), await manager.queues()
        except ComputeTargetException as error:
            return facts, [*problems, str(error)]
        facts |= {
            "hadoop": info.get("hadoopVersion"),
            "resource_managers": manager.addresses,
            "nodes": metrics.get("activeNodes"),
            "memory_mb": metrics.get("totalMB"),
            "cores": metrics.get("totalVirtualCores"),
            "queues": queues,
        }
        if not metrics.get("activeNodes"):
            problems.append(f"YARN has no node that works ({metrics.get('lostNodes', 0)} lost)")
        return facts, problems


def command(spark_submit: str, batch: Batch) -> list[str]:
    """Return the command line that submits a batch and does not wait for its end."""
    conf = {
        **batch.conf,
        "spark.yarn.tags": tags(batch.name, batch.conf),
        "spark.yarn.submit.waitAppCompletion": "false",
        "spark.yarn.maxAppAttempts": "1",
    }
    argv = [spark_submit, "--master", "yarn", "--deploy-mode", "cluster", "--name", batch.name]
    if batch.queue is not None:
        argv += ["--queue", batch.queue]
    if batch.proxy_user is not None:
        argv += ["--proxy-user", batch.proxy_user]
    for name, value in sorted(conf.items()):
        argv += ["--conf", f"{name}={value}"]
    return [*argv, batch.file, *batch.arguments]


def state_of(application: Mapping[str, Any]) -> Seen:
    """Return what the ResourceManager says of an application, in our words."""
    state, said = str(application["state"]), " ".join(str(application.get("diagnostics") or "").split())
    words = f"{application['id']} {state}"
    # It counts as running in YARN's eyes once it has a Spark context; in ours, once its driver has a container.
    began = (application.get("runningContainers") or 0) > 0
    if state in WAITING and not began:
        queue = str(application.get("queue") or "").rpartition(".")[2]
        detail = f"{words} in the queue {queue}" + (f": {said[:300]}" if said else "")
        return Seen("queued", detail, float(application.get("startedTime") or 0) / 1000)
    if state in ("RUNNING", *WAITING):
        return Seen("running", words, float(application.get("startedTime") or 0) / 1000)
    outcome = str(application.get("finalStatus") or "")
    by = f": {said[:300]}" if state == "KILLED" and said else ""
    # Without a time: nothing is to be cleared away after it.
    return Seen("ended", f"{application['id']} {outcome if state == 'FINISHED' else state}{by}")
