"""The kind ``remote``: a machine behind SSH. It needs Python there, and no Docker, no root and no daemon of ours."""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from stepwell.compute import portal, ssh
from stepwell.compute.contract import (
    Entry,
    EntryKind,
    EnvironmentRef,
    Handle,
    Job,
    Layout,
    Log,
    Outcome,
    Report,
    Unreachable,
)
from stepwell.compute.docker import spark
from stepwell.compute.kinds.local import process_phase, step_path
from stepwell.compute.target import JobDirectoryTarget
from stepwell.errors import ComputeTargetException

if TYPE_CHECKING:
    from stepwell.environment.elsewhere import Elsewhere

#: How long what brings, starts or fetches a job goes on trying while the machine cannot be reached, in seconds.
PATIENCE_SECONDS = 90.0
#: More difference between the clocks than this is told, in seconds.
SKEW_SECONDS = 5.0
#: Archives of code that nobody has used for so long are removed, in seconds.
ARCHIVE_SECONDS = 7 * 86400.0
_SPARK_NEEDS = (
    ("java_home", "There is no Java 17", "Install it there (Debian: openjdk-17-jre-headless), or set JAVA_HOME there"),
    ("spark_home", "There is no PySpark in the environment", "Add pyspark to its packages"),
)
_PATH = "/usr/local/bin:/usr/bin:/bin"
T = TypeVar("T")


class RemoteTarget(JobDirectoryTarget):
    """A machine behind SSH.

    :param root: Stepwell's folder there, absolute.
    """

    kind: ClassVar[str] = "remote"
    reads: ClassVar[frozenset[str]] = frozenset()
    runs: ClassVar[frozenset[EntryKind]] = frozenset({"python", "command", "none", "spark"})
    mounts: ClassVar[frozenset[str]] = frozenset({"hdfs"})
    deferrable: ClassVar[bool] = True
    poll_seconds: ClassVar[float] = 2.0
    log_piece: ClassVar[int] = 1 << 22  # the way there may be long
    files: ssh.SshFiles
    exec: ssh.SshExec

    def __init__(self, name: str, address: ssh.Address, root: str) -> None:
        super().__init__(name, root, address.python)
        self.address = address
        self.files = ssh.SshFiles(address)
        self.runner = ssh.SshRunner(address)
        self.exec = ssh.SshExec(address)
        self._path = _PATH
        self._sparks: dict[str, Mapping[str, Any]] = {}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str) -> RemoteTarget:
        """Return the target that a compute record describes."""
        address = ssh.Address.from_record(record)
        return cls(record["name"], address, root_of(address, record.get("report")))

    def makes(self) -> dict[str, Any]:
        """Return the kind of a plain process: the same code makes the same here as on another machine."""
        return {"kind": "local"}

    # -- the machine -----------------------------------------------------------------------------------------------

    async def probe(self) -> Report:
        """Look at the machine: can it be reached, who is let in, and what is there."""
        facts: dict[str, Any] = {"address": str(self.address), "reachable": False}
        try:
            hello = await ssh.connection(self.address).hello()
            facts.update(reachable=True, python=hello["version"], python_path=hello["python"])
            await self._ship_payload()
            before = time.time()
            found = await self.call("machine", "look", root=self.root)
        except ComputeTargetException as error:
            return Report(time.time(), facts, (str(error),))
        except OSError as error:
            return Report(time.time(), facts, (f"{error.filename or self.root} cannot be made: {error.strerror}",))
        facts.update(found["facts"])
        # Asking took a while: its time was somewhere in between.
        now, there = time.time(), facts.pop("time")
        skew = there - now if there > now else min(0.0, there - before)
        facts["clock_skew_seconds"] = round(skew, 1)
        if abs(skew) > SKEW_SECONDS:
            facts["note"] = (
                f"its clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}; times in logs are its own"
            )
        return Report(now, facts, tuple(found["problems"]))

    async def call(self, module: str, function: str, **arguments: Any) -> Any:
        """Call a function of Stepwell's runtime there with plain JSON. The payload must be there."""
        given: dict[str, Any] = {"module": f"stepwell.runtime.{module}", "function": function, "arguments": arguments}
        return (await ssh.connection(self.address).request("call", seconds=None, **given))[0]

    # -- environments ----------------------------------------------------------------------------------------------

    async def environment_key(self, spec: Mapping[str, Any]) -> str:
        """Return the environment's key; a user-managed interpreter is looked at there."""
        await self._ship_payload()
        return await self._environments.key_for(spec)

    async def prepare(self, spec: Mapping[str, Any], log: Log) -> EnvironmentRef:
        """Build the environment there, or find it."""
        return await self._patiently(lambda: self._prepared(spec, log))

    async def _prepared(self, spec: Mapping[str, Any], log: Log) -> EnvironmentRef:
        await self._ship_payload()
        self._path = (await ssh.connection(self.address).hello()).get("path") or _PATH
        built = await self._environments.ensure(spec, log)
        if built.user_managed or "\npyspark==" in f"\n{built.lock}":
            # Of an environment that never changes this is asked once.
            asked = {"root": str(built.root), "python": str(built.python)}
            self._sparks[built.key] = self._sparks.get(built.key) or await self.call("machine", "spark", **asked)
        return EnvironmentRef(
            key=built.key,
            python=str(built.python),
            root=str(built.root),
            user_managed=built.user_managed,
            has_azureml=built.has_azureml,
            variables=dict(spec.get("variables") or {}),
            version=built.version,
        )

    @property
    def _environments(self) -> Elsewhere:
        from stepwell.environment.elsewhere import Elsewhere

        folder, shared = posixpath.join(self.root, "environments"), ssh.connection(self.address)
        return Elsewhere(
            str(self.address), folder, self.payload, self.files, self.exec, shared.hello, self.call, self.address.python
        )

    def reads_for(self, kind: EntryKind) -> frozenset[str]:
        """Return what an entry of that kind reads by itself: a plain script gets copies, Spark goes to the data."""
        return frozenset({"hdfs"}) if kind == "spark" else self.reads

    # -- the job ---------------------------------------------------------------------------------------------------

    def phases(
        self,
        entry: Entry,
        environment: EnvironmentRef,
        layout: Layout,
        *,
        variables: Mapping[str, str] | None = None,
        gates_in: EnvironmentRef | None = None,
    ) -> list[dict[str, Any]]:
        """Return the step as a plain process and its gate as a second one, or both as a Spark application."""
        if entry.kind not in self.runs:
            raise ComputeTargetException(
                f"The compute target {self.name!r} ({self.kind}) cannot run a {entry.kind} step",
                allowed=sorted(self.runs - {"none"}),
            )
        found: list[dict[str, Any]] = []
        inside = {**self._variables(environment, layout), **step_path(environment, layout, variables)}
        if entry.kind in ("python", "command"):
            found.append(process_phase(entry, environment, layout, inside))
        elif entry.kind == "spark":
            facts = self._sparks.get(environment.key) or {}
            for part, what, hint in _SPARK_NEEDS:
                if not facts.get(part):
                    raise ComputeTargetException(f"{what} on {self.address}, which a Spark step needs", hint=hint)
            who = (variables or {}).get("HADOOP_USER_NAME")
            return [spark.phase(entry, environment, layout, inside, facts, who)]  # and its gates
        if gates_in is not None:
            argv = [gates_in.python, "-m", "stepwell.payload.gate", layout.root]
            outside = {**self._variables(gates_in, layout), "PYTHONPATH": layout.payload}
            found.append({"name": "gate", "argv": argv, "cwd": layout.root, "variables": outside})
        return found

    def _variables(self, environment: EnvironmentRef, layout: Layout) -> dict[str, str]:
        found = {
            "STEPWELL_JOB_DIR": layout.root,
            "PYTHONUNBUFFERED": "1",  # lines appear when they are printed
            "PATH": f"{posixpath.dirname(environment.python)}:{self._path}",
        }
        if environment.root is not None and not environment.user_managed:
            found["VIRTUAL_ENV"] = environment.root
        return {**found, **environment.variables}

    def mountable(self, source: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return how *source* is mounted there: a folder of this machine as it is, for nothing has to be brought."""
        if source["kind"] == "machine" and source["machine"] == self.address.place:
            return {"kind": "local", "folder": source["folder"]}
        return super().mountable(source)

    # -- through a connection that may be lost ---------------------------------------------------------------------

    async def stage(self, job: Job) -> None:
        """Bring code, inputs and the payload there."""
        await self._patiently(lambda: super(RemoteTarget, self).stage(job))

    async def submit(self, job: Job) -> Handle:
        """Start the launcher, or find it started."""
        return await self._patiently(lambda: super(RemoteTarget, self).submit(job))

    async def collect(self, handle: Handle, into: Path) -> Outcome:
        """Fetch what the ended job left."""
        return await self._patiently(lambda: super(RemoteTarget, self).collect(handle, into))

    async def forget(self, handle: Handle) -> None:
        """Remove the job directory."""
        await self._patiently(lambda: super(RemoteTarget, self).forget(handle))

    async def _patiently(self, doing: Callable[[], Awaitable[T]]) -> T:
        """Do what can be gone on with again as long as the machine may come back."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await doing()
            except Unreachable as error:
                if error.permanent or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(1.0)

    async def reap(self, older_than: float) -> list[str]:
        """Remove what nobody needs any more: jobs, archives of code and their copies, payloads of earlier versions."""
        reaped = await super().reap(older_than)
        now = await self.files.now()
        for folder in ("archives", "payload"):
            for name in await self.files.names(posixpath.join(self.root, folder)):
                path = posixpath.join(self.root, folder, name)
                used = path[: -len(".spare")] if path.endswith(".spare") else path
                changed = await self.files.modified(used)
                if path != self.payload and now - (changed or 0.0) > max(older_than, ARCHIVE_SECONDS):
                    await self.files.remove(path)
        return reaped


def root_of(address: ssh.Address, report: Mapping[str, Any] | None = None) -> str:
    """Return the absolute path of Stepwell's folder; one below ``~`` as the last probe saw it, or as the machine says.

    :raises ComputeTargetException: nobody has looked yet, and the machine cannot be asked.
    """
    if not address.root.startswith("~/"):
        return address.root
    facts = (report or {}).get("facts") or {}
    if facts.get("address") == str(address) and str(facts.get("root")).endswith(address.root[1:]):
        return str(facts["root"])
    return posixpath.join(portal.call(_home(address)), address.root[2:])


async def _home(address: ssh.Address) -> str:
    return str((await ssh.connection(address).hello())["home"])
