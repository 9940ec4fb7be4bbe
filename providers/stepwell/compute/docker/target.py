"""What the kinds that run jobs in containers have in common, wherever their daemon is."""

from __future__ import annotations

import hashlib
import json
import logging
import posixpath
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from stepwell.compute import mounting
from stepwell.compute.contract import Entry, EntryKind, EnvironmentRef, Layout, Log
from stepwell.compute.docker import data, spark, trial
from stepwell.compute.docker.client import Daemon, NotThere
from stepwell.compute.docker.containers import Containers
from stepwell.compute.docker.images import Images, Wish
from stepwell.compute.docker.layers import Builder, Layer
from stepwell.compute.docker.settings import ContainerSettings, host_config, words
from stepwell.compute.kinds.local import process_phase, step_path
from stepwell.compute.ports import Start
from stepwell.compute.target import JobDirectoryTarget
from stepwell.environment.interpreters import own_version
from stepwell.errors import ComputeTargetException

logger = logging.getLogger(__name__)

#: The oldest Docker that does all that is asked of it.
_OLDEST = 19
#: The home in a job directory: the user may have none in the image.
_HOME = ".home"
#: What ``find`` takes for a pattern, and how it takes it for itself.
_GLOB, _ESCAPED = re.compile(r"([\\*?\[\]])"), r"\\\1"
_VARIABLES = {"USER": "stepwell", "LOGNAME": "stepwell", "LANG": "C.UTF-8"}
#: The PATH in an image that names none.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class _Prepared:
    """What :meth:`ContainerTarget.prepare` has learnt of an environment."""

    facts: Mapping[str, Any]
    settings: ContainerSettings
    more: Mapping[str, Any] = field(default_factory=dict)


class ContainerTarget(JobDirectoryTarget):
    """Jobs in containers of one daemon, with their directories on its machine, at the same path inside and outside."""

    reads: ClassVar[frozenset[str]] = frozenset()
    runs: ClassVar[frozenset[EntryKind]] = frozenset({"python", "command", "none", "spark"})
    #: What Spark reads and writes in its place.
    spark_reads: ClassVar[frozenset[str]] = frozenset({"hdfs"})
    runner: Containers

    def contain(self, settings: ContainerSettings, daemon: Daemon, cache: Path, *, ships: bool = False) -> None:
        """Make this target one of containers, once its files are known.

        :param cache: a folder of this machine, for what was found out about images.
        :param ships: see :class:`Images`.
        """
        self.settings = settings
        self.daemon = daemon
        self.images = Images(daemon, cache, Builder(settings.network, self.tools), ships=ships)
        self.runner = Containers(daemon, self.files, self.name, self.root, self.complete)
        self._known: dict[str, _Prepared] = {}
        self._gates: Wish | None = None
        self._info: dict[str, Any] | None = None

    async def owner(self) -> str:
        """Return whose files the worker's are on the daemon's machine, "uid:gid"."""
        raise NotImplementedError

    @property
    def outer_python(self) -> str:
        """An interpreter on the daemon's machine."""
        raise NotImplementedError

    async def tools(self) -> str | None:
        """Return a folder of the daemon's machine with ``uv``, None if it cannot be had there."""
        raise NotImplementedError

    @property
    def base_image(self) -> str:
        """The image of environments that name none."""
        return self.settings.base_image or f"python:{own_version()}-slim"

    def makes(self) -> dict[str, Any]:
        """Return the kind; images and packages are in the environment's key."""
        return {"kind": "docker"}

    def reads_for(self, kind: EntryKind) -> frozenset[str]:
        """Return what an entry of that kind reads by itself: a plain script gets copies, Spark goes to the data."""
        return self.spark_reads if kind == "spark" else self.reads

    # -- environments --------------------------------------------------------------------------------------------------

    async def environment_key(self, spec: Mapping[str, Any]) -> str:
        """Return the environment's key: it has the image's content in it, which is fetched for this."""
        wish = Wish.of(spec)
        return wish.key(await self.images.base(spec.get("docker") or {}, self.base_image, logger.info))

    async def prepare(self, spec: Mapping[str, Any], log: Log) -> EnvironmentRef:
        """Build the environment's image, or find it.

        Once the environment of gates was asked for, those that follow have it in their images, too.
        """
        from stepwell.environment import gates_specification

        section = spec.get("docker") or {}
        settings, more = self.settings.with_section(section)
        wish = Wish.of(spec)
        base = await self.images.base(section, self.base_image, log)
        key, below = wish.key(base), base
        if self._gates is not None and self._gates != wish:
            below = (await self.images.environment(base, self._gates, log)).image
            below = await self.images.identity(below)
        elif wish == Wish.of(gates_specification()):
            self._gates = wish
        layer = await self.images.environment(below, wish, log)
        self._known[key] = _Prepared(layer.facts, settings, more)
        await self._compile(layer)
        return EnvironmentRef(
            key=key,
            python=layer.facts["python"],
            root=layer.facts["prefix"] if wish.interpreter is None else None,
            user_managed=wish.interpreter is not None,
            has_azureml=bool(layer.facts["has_azureml"]),
            variables=dict(spec.get("variables") or {}),
            version=layer.facts["version"],
            image=layer.image,
        )

    async def _compile(self, layer: Layer) -> None:
        """Compile the payload for the image's Python, once: jobs only read it, and would do that each time."""
        note = posixpath.join(self.payload, f".compiled-{layer.facts['cache_tag']}")
        if await self.files.modified(note) is not None:
            return
        await self._ship_payload()
        needs = {
            "image": layer.image,
            "python": layer.facts["python"],
            "user": None,
            "host_config": {"NetworkMode": "none", "Init": True},
            "mounts": [f"{self.payload}:{self.payload}:rw"],
            "variables": _VARIABLES,
        }
        argv = ("python", "-m", "compileall", "-q", posixpath.join(self.payload, "stepwell"))
        folder = posixpath.join(self.root, "trials", "compile")
        try:
            await self.runner.run(Start(f"compile-{uuid.uuid4().hex}", argv, folder, needs))
        finally:
            await self.files.remove(folder)
        await self.files.write(note, b"")  # once is enough: without it all works, and a little later

    # -- the job -------------------------------------------------------------------------------------------------------

    def phases(
        self,
        entry: Entry,
        environment: EnvironmentRef,
        layout: Layout,
        *,
        variables: Mapping[str, str] | None = None,
        gates_in: EnvironmentRef | None = None,
    ) -> list[dict[str, Any]]:
        """Return the step as a process of the container and its gate as another, or both as a Spark application."""
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
            who = (variables or {}).get("HADOOP_USER_NAME")
            return [spark.phase(entry, environment, layout, inside, self._facts(environment), who)]  # and its gates
        if gates_in is not None:
            argv = [gates_in.python, "-m", "stepwell.payload.gate", layout.root]
            outside = {**self._variables(gates_in, layout), "PYTHONPATH": layout.payload}
            found.append({"name": "gate", "argv": argv, "cwd": layout.root, "variables": outside})
        return found

    def _facts(self, environment: EnvironmentRef) -> Mapping[str, Any]:
        prepared = self._known.get(environment.key)
        return {} if prepared is None else prepared.facts

    def _variables(self, environment: EnvironmentRef, layout: Layout) -> dict[str, str]:
        path = [posixpath.dirname(environment.python), self._facts(environment).get("path") or _PATH]
        found = {"STEPWELL_JOB_DIR": layout.root, "PYTHONUNBUFFERED": "1", "PATH": ":".join(filter(None, path))}
        if environment.root is not None and not environment.user_managed:
            found["VIRTUAL_ENV"] = environment.root
        return {**found, **environment.variables}

    def needs(self, entry: Entry, environment: EnvironmentRef, layout: Layout) -> dict[str, Any]:
        """Return the image, the limits, and what the container sees of the machine."""
        prepared = self._known.get(environment.key)
        settings, more = (self.settings, {}) if prepared is None else (prepared.settings, prepared.more)
        return {
            **({"spark": True, "directory": layout.root} if entry.kind == "spark" else {}),
            "image": environment.image or self.base_image,
            "python": environment.python,
            "user": settings.user,
            "host_config": host_config(settings, more),
            "mounts": [
                f"{layout.root}:{layout.root}:rw",
                f"{layout.payload}:{layout.payload}:ro",
                *settings.volumes,
            ],
            "variables": {**_VARIABLES, "HOME": posixpath.join(layout.root, _HOME)},
        }

    async def complete(self, start: Start) -> tuple[str, list[str]]:
        """Return who runs in the container, and its mounts; with a home, and a name for a user that the image lacks."""
        needs, owner, info = start.needs, await self.owner(), await self.info()
        if problems := self._beyond(needs["host_config"], info):
            raise ComputeTargetException(f"{problems[0][:1].upper()}{problems[0][1:]}", hint="Ask for less")
        user = needs["user"] or owner
        if _is_rootless(info):
            user = "0:0"  # outside of the container that is whoever runs the daemon
        await self.files.make(posixpath.join(start.directory, _HOME), 0o700)
        if needs["user"] and needs["user"].partition(":")[0] != owner.partition(":")[0]:
            # Not what is mounted there, by a try that has come no further.
            parts = ["find", start.directory, "-path", f"{_GLOB.sub(_ESCAPED, start.directory)}/mounts", "-prune", "-o"]
            done = await self.exec.run([*parts, "-exec", "chown", "-h", "--", needs["user"], "{}", "+"], timeout=600)
            if done.code != 0:
                raise ComputeTargetException(
                    f"The job cannot be handed to the user {needs['user']}: {done.err.strip()[-300:]}",
                    hint="Only root can: leave 'user' out of the compute target",
                )
        whose = owner if _is_rootless(info) else user
        inputs = await mounting.for_container(
            self.files, self.exec, self.outer_python, self.payload, start.directory, whose
        )
        mounts = [*needs["mounts"], *inputs, *await self._data(start)]
        passwd = await self._passwd(needs["image"], needs["python"], user)
        return user, mounts if passwd is None else [*mounts, f"{passwd}:/etc/passwd:ro"]

    async def _data(self, start: Start) -> list[str]:
        """Return the mounts of what a Spark reads and writes in its place on the daemon's machine."""
        if "spark" not in start.needs:
            return []
        read, written = data.volumes(json.loads(await self.files.read(f"{start.directory}/job.json")))
        for folder in written:
            await self.files.make(folder)
        return [*(f"{folder}:{folder}:ro" for folder in read), *(f"{folder}:{folder}:rw" for folder in written)]

    async def _passwd(self, image: str, python: str, user: str) -> str | None:
        """Return a file that names *user* beside those that the image knows, None if it knows that one."""
        uid, _, gid = user.partition(":")
        known = await self.images.passwd(image, python)
        if any(line.split(":")[2:3] == [uid] for line in known.splitlines()):
            return None
        text = f"{known.rstrip()}\nstepwell:x:{uid}:{gid or uid}:Stepwell:/tmp:/bin/sh\n".lstrip()
        path = posixpath.join(self.root, "passwd", hashlib.sha256(text.encode()).hexdigest()[:16])
        if await self.files.modified(path) is None:
            await self.files.make(posixpath.dirname(path))
            await self.files.write(path, text.encode())
        return path

    async def info(self) -> dict[str, Any]:
        """Return what the daemon says of its machine; asked once."""
        if self._info is None:
            self._info = await self.daemon.call(_about)
        return self._info

    # -- looking at it -------------------------------------------------------------------------------------------------

    async def look_at_daemon(self) -> tuple[dict[str, Any], list[str]]:
        """Return what the daemon says about itself, and what of it does not do for this target."""
        self._info = None
        info = await self.info()
        facts = {
            "docker": info["ServerVersion"],
            "architecture": info.get("Architecture"),
            "cores": info.get("NCPU"),
            "memory_bytes": info.get("MemTotal"),
            "storage_driver": info.get("Driver"),
            "gpu": "nvidia" in (info.get("Runtimes") or {}),
            "rootless": _is_rootless(info),
            "base_image": self.base_image,
            "root": self.root,
        }
        problems = self._beyond(host_config(self.settings), info)
        if int(str(facts["docker"]).partition(".")[0]) < _OLDEST:
            problems.append(f"Docker {facts['docker']} is too old: {_OLDEST} or later is needed")
        return facts, problems

    def _beyond(self, limits: Mapping[str, Any], info: Mapping[str, Any]) -> list[str]:
        """Return what of the limits is more than the daemon's machine has."""
        found = []
        memory, there = limits.get("Memory") or 0, info.get("MemTotal") or 0
        if there and memory > there:
            found.append(f"memory={words(memory)} is more than {self.daemon.where} has: {words(there)}")
        cpus, cores = (limits.get("NanoCpus") or 0) / 1e9, info.get("NCPU") or 0
        if cores and cpus > cores:
            found.append(f"cpus={cpus:g} is more than {self.daemon.where} has: {cores}")
        return found

    async def try_out(self, facts: dict[str, Any], problems: list[str]) -> None:
        """Start a container of the base image, if that is there, as jobs are started; add what is found."""
        try:
            image = await self.images.identity(self.base_image)
        except NotThere:
            facts["base_image_there"] = False  # a pull may take longer than a look
            return
        facts["base_image_there"] = True
        try:
            found = await self.images.facts(image, "python")
            facts["python"] = found["version"]
        except ComputeTargetException as error:
            problems.append(error.what)
            return
        needs = {
            "image": image,
            "python": found["python"],
            "user": self.settings.user,
            "host_config": host_config(self.settings),
            "mounts": list(self.settings.volumes),
            "variables": _VARIABLES,
        }
        problem = await trial.try_out(self.files, self.runner, self.root, needs)
        if problem:
            problems.append(problem)


def _about(client: Any) -> dict[str, Any]:
    return dict(client.info())


def _is_rootless(info: Mapping[str, Any]) -> bool:
    return any("rootless" in option for option in info.get("SecurityOptions") or [])
