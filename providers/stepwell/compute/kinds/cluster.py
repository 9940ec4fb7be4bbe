"""The kind ``cluster``: a Hadoop cluster by its head node, ``spark-submit`` there, YARN.

In *cluster mode* all runs in YARN's containers: the job is a batch (:mod:`stepwell.compute.batch`), its directory on
the cluster's storage. In *client mode* the driver runs on the head node, like a job of the kind ``remote``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from stepwell.compute import ssh
from stepwell.compute.batch.storage import Storage, open_storage
from stepwell.compute.batch.target import BatchTarget
from stepwell.compute.cluster import packing_source
from stepwell.compute.cluster.batches import TAG, YarnBatches, state_of, tag, tags
from stepwell.compute.cluster.head import HeadNode
from stepwell.compute.cluster.resource_manager import ResourceManager
from stepwell.compute.contract import Entry, EntryKind, EnvironmentRef, Layout, Log, Report, Target, Unreachable
from stepwell.compute.kinds.local import step_path
from stepwell.compute.kinds.remote import RemoteTarget, root_of
from stepwell.compute.ports import Look
from stepwell.compute.spark_settings import absolute_files, over, properties, settings
from stepwell.errors import ComputeTargetException

MODES = ("cluster", "client")
_PACK_SECONDS = 600.0
#: Where :meth:`ClientModeTarget.prepare` leaves what it found, in the environment's variables.
_ARCHIVE, _SUBMIT = "STEPWELL_SPARK_ARCHIVE", "STEPWELL_SPARK_SUBMIT"


class Yarn:
    """A cluster as the two modes see it: its head node, and its ResourceManager through that.

    :param name: the compute target's, for messages.
    :param settings: ``spark_submit``, ``environment`` (variables there), ``yarn`` (addresses of the ResourceManager's
        REST), ``yarn_directly`` (ask it from here, not through the head node).
    :param known: addresses that the last probe has found.
    """

    def __init__(
        self, name: str, address: ssh.Address, settings: Mapping[str, Any], known: tuple[str, ...] = ()
    ) -> None:
        asked = settings.get("spark_submit")
        self.name = name
        self.address = address
        self.exec = ssh.SshExec(address)
        self.head = HeadNode(
            name,
            self.exec,
            address.python,
            None if asked == "spark-submit" else asked,
            settings.get("environment"),
            key=str(address),
        )
        given = settings.get("yarn") or ()
        self._addresses = tuple(given.replace(",", " ").split()) if isinstance(given, str) else tuple(given)
        self._known = known
        self._directly = bool(settings.get("yarn_directly"))
        self._manager: ResourceManager | None = None

    async def manager(self) -> ResourceManager:
        """Return the client of the ResourceManager.

        :raises ComputeTargetException: nobody says where it is.
        """
        if self._manager is None:
            addresses = self._addresses or self._known or (await self.head.known()).yarn
            if not addresses:
                raise ComputeTargetException(
                    f"The head node's configuration does not say where the ResourceManager of {self.name} is",
                    hint="Give its address as yarn, such as http://host:8088",
                )
            way = None if self._directly else self._through
            self._manager = ResourceManager(self.name, addresses, way, self.address.login)
        return self._manager

    def _through(self, host: str, port: int) -> Any:
        return ssh.connection(self.address).stream(host, port)


class ClusterTarget(BatchTarget):
    """Jobs as YARN applications in cluster mode.

    :param here: this machine's folder for environments.
    """

    kind: ClassVar[str] = "cluster"

    def __init__(
        self, name: str, here: str, storage: Storage, yarn: Yarn, configuration: Mapping[str, Any] | None = None
    ) -> None:
        found = dict(configuration or {})
        self.yarn = yarn
        super().__init__(
            name,
            here,
            storage,
            YarnBatches(name, yarn.head, yarn.exec, yarn.manager),
            conf=found.get("conf"),
            queue=found.get("queue"),
            proxy_user=found.get("proxy_user"),
            python=found.get("node_python"),
        )
        self.queue: str | None = found.get("queue")

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str) -> Target:
        """Return the target that a compute record describes, in its deploy mode."""
        configuration = record.get("configuration") or {}
        mode = configuration.get("deploy_mode") or "cluster"
        if mode not in MODES:
            raise ComputeTargetException(
                f"{mode!r} is not a deploy mode of the compute target {record.get('name')!r}", allowed=MODES
            )
        address = ssh.Address.from_record(record)
        facts = (record.get("report") or {}).get("facts") or {}
        known = tuple(facts.get("resource_managers") or ()) if facts.get("address") == str(address) else ()
        yarn = Yarn(record["name"], address, configuration, known)
        if mode == "client":
            return ClientModeTarget(record["name"], yarn, root_of(address, record.get("report")), configuration)
        return cls(record["name"], root, open_storage(record), yarn, configuration)

    async def probe(self) -> Report:
        """Look at the head node, YARN and the storage."""
        report = await super().probe()
        facts = {"address": str(self.yarn.address), "deploy_mode": "cluster", **report.facts}
        return replace(report, facts=facts, problems=(*report.problems, *queue_problems(self.queue, facts)))

    def needs(self, entry: Entry, environment: EnvironmentRef, layout: Layout) -> dict[str, Any]:
        """Return the batch's settings; what Spark itself stages goes with the job's directory."""
        found = super().needs(entry, environment, layout)
        if self.storage.base.startswith("hdfs:"):
            found["conf"].setdefault("spark.yarn.stagingDir", self.storage.uri(layout.root))
        return found


class ClientModeTarget(RemoteTarget):
    """Jobs whose driver is on the head node, and whose executors are YARN's.

    :param root: Stepwell's folder on the head node.
    """

    kind: ClassVar[str] = "cluster"
    reads: ClassVar[frozenset[str]] = frozenset({"hdfs"})
    runs: ClassVar[frozenset[EntryKind]] = frozenset({"spark", "none"})
    engine: ClassVar[Literal["pandas", "spark"]] = "spark"

    def __init__(self, name: str, yarn: Yarn, root: str, configuration: Mapping[str, Any] | None = None) -> None:
        found = dict(configuration or {})
        super().__init__(name, yarn.address, root)
        self.yarn = yarn
        self.conf: dict[str, str] = dict(found.get("conf") or {})
        self.queue: str | None = found.get("queue")
        self.runner = _ClientRunner(yarn)
        #: Spark's own settings there, once :meth:`prepare` has asked: a file of properties goes in their place.
        self.defaults: dict[str, str] = {}

    def makes(self) -> dict[str, Any]:
        """Return the kind, and the target's own settings."""
        return {"kind": self.kind, "conf": self.conf}

    async def probe(self) -> Report:
        """Look at the head node as at any machine, and at YARN."""
        report = await super().probe()
        if not report.facts.get("reachable"):
            return report
        found, problems = await YarnBatches(self.name, self.yarn.head, self.yarn.exec, self.yarn.manager).probe()
        facts = {**report.facts, **found, "deploy_mode": "client"}
        return replace(report, facts=facts, problems=(*report.problems, *problems, *queue_problems(self.queue, facts)))

    async def prepare(self, spec: Mapping[str, Any], log: Log) -> EnvironmentRef:
        """Build the environment on the head node, or find it, and pack it for the executors."""
        environment, head = await super().prepare(spec, log), await self.yarn.head.known()
        found = {name: value for name, value in head.variables.items() if name != "PATH"}
        found[_SUBMIT] = str(head.spark_submit)
        self.defaults = dict(head.defaults)
        if environment.root is not None and not environment.user_managed:
            archive = posixpath.join(self.root, "archives", f"{environment.key}.tar.gz")
            argv = [self.launcher_python, "-I", "-c", packing_source(), environment.root, archive]
            done = await self.exec.run(argv, timeout=_PACK_SECONDS)
            if done.code:
                said = (done.err or done.out).strip()[-800:]
                raise ComputeTargetException(
                    f"The environment cannot be packed on the head node of {self.name}: {said}"
                )
            for line in done.out.splitlines():
                log(line)
            await self.files.touch(archive)  # used: what nobody uses is removed
            found[_ARCHIVE] = archive
        return replace(environment, variables={**found, **environment.variables})

    def phases(
        self,
        entry: Entry,
        environment: EnvironmentRef,
        layout: Layout,
        *,
        variables: Mapping[str, str] | None = None,
        gates_in: EnvironmentRef | None = None,
    ) -> list[dict[str, Any]]:
        """Return one ``spark-submit`` of the payload's driver, which runs the script, then the gates."""
        if entry.kind not in self.runs:
            raise ComputeTargetException(
                f"The compute target {self.name!r} (cluster, client mode) cannot run a {entry.kind} step",
                allowed=["spark"],
                hint="A head node is for submitting: attach the cluster in cluster mode for scripts without Spark",
            )
        if entry.kind == "none" and gates_in is None:
            return []
        inside = {**self._variables(environment, layout), **step_path(environment, layout, variables)}
        archive, submit = inside.pop(_ARCHIVE, None), inside.pop(_SUBMIT, "spark-submit")
        inside["PYSPARK_PYTHON"] = inside["PYSPARK_DRIVER_PYTHON"] = environment.python
        inside["SPARK_LOCAL_DIRS"] = posixpath.join(layout.root, "work")
        argv = [
            submit,
            "--properties-file",
            posixpath.join(layout.root, "spark.properties"),
            posixpath.join(layout.payload, "stepwell", "payload", "spark_driver.py"),
            layout.root,
        ]
        found = self._settings(entry, environment, layout, variables, archive)
        files = {"spark.properties": properties(found)}
        return [{"name": "step", "argv": argv, "cwd": layout.code, "variables": inside, "files": files}]

    def _settings(
        self,
        entry: Entry,
        environment: EnvironmentRef,
        layout: Layout,
        variables: Mapping[str, str] | None,
        archive: str | None,
    ) -> dict[str, str]:
        """Return the step's settings over the target's over our own, and what executors need."""
        step = {} if entry.spark is None else absolute_files(settings(entry.spark), layout.code)
        found = {
            **self.defaults,
            "spark.ui.showConsoleProgress": "false",
            "spark.log.level": "WARN",
            "spark.pyspark.python": environment.python,
            "spark.pyspark.driver.python": environment.python,
            **over(self.conf, step),
            "spark.master": "yarn",
            "spark.submit.deployMode": "client",
            "spark.yarn.maxAppAttempts": "1",
        }
        found["spark.yarn.tags"] = tags(posixpath.basename(layout.root), found)
        if self.queue is not None:
            found["spark.yarn.queue"] = self.queue
        inside = {**environment.variables, **(variables or {})}
        for name in (*(_ARCHIVE, _SUBMIT), *_HEAD_ONLY):
            inside.pop(name, None)
        found.update({f"spark.executorEnv.{name}": str(value) for name, value in inside.items()})
        if archive is not None:
            found["spark.archives"] = ",".join(filter(None, [found.get("spark.archives"), f"{archive}#environment"]))
            found["spark.pyspark.python"] = "./environment/bin/python"
        return found


#: Variables of the head node, or of the driver, that are nobody else's business.
_HEAD_ONLY = (
    "JAVA_HOME", "SPARK_HOME", "SPARK_CONF_DIR", "SPARK_DIST_CLASSPATH", "HADOOP_HOME", "HADOOP_CONF_DIR",
    "YARN_CONF_DIR", "HADOOP_USER_NAME", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "LD_LIBRARY_PATH", "LANG",
    "STEPWELL_JOB_DIR", "PYTHONPATH",
)  # fmt: skip


class _ClientRunner(ssh.SshRunner):
    """Launchers on the head node, and the applications that they have in YARN."""

    def __init__(self, yarn: Yarn) -> None:
        super().__init__(yarn.address)
        self.yarn = yarn

    async def look(self, jobs: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Look]:
        """Return how the launchers are, and of applications that wait for a place, what YARN says."""
        looks = await super().look(jobs)
        if any(look.state == "alive" for look in looks.values()):
            try:
                applications = await (await self.yarn.manager()).applications(TAG)
            except ComputeTargetException:
                return looks  # it is only for people
            waiting = {}
            for application in applications:
                batch = state_of(application)
                if batch.state == "queued":
                    waiting.update(dict.fromkeys(str(application.get("applicationTags")).split(","), batch.detail))
            for job_id, look in looks.items():
                if look.state == "alive" and tag(job_id) in waiting:
                    looks[job_id] = Look("alive", waiting[tag(job_id)])
        return looks

    async def sweep(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Kill what a dead launcher left, there and in YARN."""
        await super().sweep(job_id, process)
        try:
            manager = await self.yarn.manager()
            for application in await manager.applications(tag(job_id)):
                if state_of(application).state != "ended":
                    await manager.kill(str(application["id"]))
        except Unreachable:
            pass  # an application whose driver is gone ends by itself


def queue_problems(queue: str | None, facts: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the target's queue."""
    queues = facts.get("queues")
    if queue is None or not isinstance(queues, Mapping):
        return []
    name = queue.rpartition(".")[2]
    if name not in queues:
        return [f"YARN has no queue {queue!r} that takes jobs (it has: {', '.join(sorted(queues))})"]
    state = str(queues[name].get("state"))
    return [] if state == "RUNNING" else [f"YARN's queue {queue!r} is {state}"]
