"""What the kinds that run jobs in containers have in common, wherever their daemon is."""

from __future__ import annotations

import hashlib
import logging
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from stepwell.compute.contract import Entry, EntryKind, EnvironmentRef, Layout, Log
from stepwell.compute.docker import spark, trial
from stepwell.compute.docker.client import Daemon, NotThere
from stepwell.compute.docker.containers import Containers
from stepwell.compute.docker.images import Images, Wish
from stepwell.compute.docker.layers import Builder
from stepwell.compute.docker.settings import ContainerSettings, host_config, size, words
from stepwell.compute.kinds.local import step_path
from stepwell.compute.ports import Start
from stepwell.compute.target import JobDirectoryTarget
from stepwell.environment.interpreters import own_version
from stepwell.errors import ComputeTargetException

logger = logging.getLogger(__name__)

#: The home in a job directory: the user may have none in the image.
_HOME = ".home"
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
    """Jobs in containers of one daemon, with their directories on its machine, at the same path inside and outside.

    :param root: the target's folder on the daemon's machine.
    :param cache: a folder of this machine, for what was found out about images.
    """

    reads: ClassVar[frozenset[str]] = frozenset()
    runs: ClassVar[frozenset[EntryKind]] = frozenset({"python", "command", "none", "spark"})
    runner: Containers

    def __init__(self, name: str, root: str, settings: ContainerSettings, daemon: Daemon, cache: Path) -> None:
        super().__init__(name, root, "python")
        self.settings = settings
        self.daemon = daemon
        self.images = Images(daemon, cache, Builder(settings.network, self.tools))
        self._prepared: dict[str, _Prepared] = {}
        self._gates: Wish | None = None
        self._rootless: bool | None = None

    async def owner(self) -> str:
        """Return whose files the worker's are on the daemon's machine, "uid:gid"."""
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
        self._prepared[key] = _Prepared(layer.facts, settings, more)
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
        """Return the step as a plain process of the container, or as a small Spark application; the gate comes next."""
        if entry.kind not in self.runs:
            raise ComputeTargetException(
                f"The compute target {self.name!r} ({self.kind}) cannot run a {entry.kind} step",
                allowed=sorted(self.runs - {"none"}),
            )
        found: list[dict[str, Any]] = []
        inside = {**self._variables(environment, layout), **step_path(environment, layout, variables)}
        if entry.kind == "python":
            program = ["-m", entry.module, layout.root] if entry.module else [str(entry.script)]
            argv = [environment.python, *program, *entry.arguments]
            found.append({"name": "step", "argv": argv, "cwd": layout.code, "variables": inside})
        elif entry.kind == "command":
            found.append({"name": "step", "argv": list(entry.command), "cwd": layout.code, "variables": inside})
        elif entry.kind == "spark":
            found.append(spark.phase(entry, environment, layout, inside, self._facts(environment)))
        if gates_in is not None:
            argv = [gates_in.python, "-m", "stepwell.payload.gate", layout.root]
            outside = {**self._variables(gates_in, layout), "PYTHONPATH": layout.payload}
            found.append({"name": "gate", "argv": argv, "cwd": layout.root, "variables": outside})
        return found

    def _facts(self, environment: EnvironmentRef) -> Mapping[str, Any]:
        prepared = self._prepared.get(environment.key)
        return {} if prepared is None else prepared.facts

    def _variables(self, environment: EnvironmentRef, layout: Layout) -> dict[str, str]:
        path = [posixpath.dirname(environment.python), self._facts(environment).get("path") or _PATH]
        found = {"STEPWELL_JOB_DIR": layout.root, "PYTHONUNBUFFERED": "1", "PATH": ":".join(filter(None, path))}
        if environment.root is not None and not environment.user_managed:
            found["VIRTUAL_ENV"] = environment.root
        return {**found, **environment.variables}

    def needs(self, entry: Entry, environment: EnvironmentRef, layout: Layout) -> dict[str, Any]:
        """Return the image, the limits, and what the container sees of the machine."""
        prepared = self._prepared.get(environment.key)
        settings, more = (self.settings, {}) if prepared is None else (prepared.settings, prepared.more)
        return {
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
        needs, owner = start.needs, await self.owner()
        user = needs["user"] or owner
        if await self.is_rootless():
            user = "0:0"  # outside of the container that is whoever runs the daemon
        await self.files.make(posixpath.join(start.directory, _HOME), 0o700)
        if needs["user"] and needs["user"].partition(":")[0] != owner.partition(":")[0]:
            done = await self.exec.run(["chown", "-R", "--", needs["user"], start.directory], timeout=600)
            if done.code != 0:
                raise ComputeTargetException(
                    f"The job cannot be handed to the user {needs['user']}: {done.err.strip()[-300:]}",
                    hint="Only root can: leave 'user' out of the compute target",
                )
        mounts = list(needs["mounts"])
        passwd = await self._passwd(needs["image"], needs["python"], user)
        return user, mounts if passwd is None else [*mounts, f"{passwd}:/etc/passwd:ro"]

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

    async def is_rootless(self) -> bool:
        """Return whether the daemon runs without root's rights; root in a container is its user outside, then."""
        if self._rootless is None:
            self._rootless = _is_rootless((await self.daemon.call(_about))[0])
        return self._rootless

    # -- looking at it -------------------------------------------------------------------------------------------------

    async def look_at_daemon(self) -> tuple[dict[str, Any], list[str]]:
        """Return what the daemon says about itself, and what of it does not do for this target."""
        info, version = await self.daemon.call(_about)
        facts = {
            "docker": version["Version"],
            "api": version["ApiVersion"],
            "architecture": info.get("Architecture"),
            "cores": info.get("NCPU"),
            "memory_bytes": info.get("MemTotal"),
            "storage_driver": info.get("Driver"),
            "gpu": "nvidia" in (info.get("Runtimes") or {}),
            "rootless": _is_rootless(info),
            "base_image": self.base_image,
            "root": self.root,
        }
        problems = []
        if tuple(int(part) for part in facts["api"].split(".")) < (1, 40):
            problems.append(f"Docker {facts['docker']} is too old: 19.03 or later is needed")
        memory = None if self.settings.memory is None else size("memory", self.settings.memory)
        if memory and facts["memory_bytes"] and memory > facts["memory_bytes"]:
            has = words(facts["memory_bytes"])
            problems.append(f"memory={self.settings.memory!r} is more than {self.daemon.where} has: {has}")
        if self.settings.cpus and facts["cores"] and self.settings.cpus > facts["cores"]:
            problems.append(f"cpus={self.settings.cpus!r} is more than {self.daemon.where} has: {facts['cores']}")
        return facts, problems

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


def _about(client: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return dict(client.info()), dict(client.version())


def _is_rootless(info: Mapping[str, Any]) -> bool:
    return any("rootless" in option for option in info.get("SecurityOptions") or [])
