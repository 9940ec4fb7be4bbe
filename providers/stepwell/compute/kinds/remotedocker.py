"""The kind ``remotedocker``: a container per step, by the Docker daemon of a machine behind SSH."""

from __future__ import annotations

import json
import os
import posixpath
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from stepwell.compute import ssh
from stepwell.compute.contract import EnvironmentRef, Log, Report
from stepwell.compute.docker.client import DEFAULT_HOST, Daemon
from stepwell.compute.docker.layers import CERTIFICATES
from stepwell.compute.docker.settings import ContainerSettings
from stepwell.compute.docker.target import ContainerTarget
from stepwell.compute.kinds.docker import certificates, check_host
from stepwell.compute.kinds.remote import RemoteTarget, root_of
from stepwell.environment.uv import find_uv
from stepwell.errors import ComputeTargetException, EnvironmentException

#: Says, on the machine, what is wrong with the socket: sshd itself does not tell.
_DIAGNOSE = """
import getpass, json, socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
    said = ""
except OSError as error:
    said = error.strerror
print(json.dumps([getpass.getuser(), said]))
"""


class RemoteDockerTarget(ContainerTarget, RemoteTarget):
    """Containers on a machine behind SSH. It needs Python there for files, and nothing else beside Docker.

    :param root: Stepwell's folder there, absolute.
    :param docker_host: the daemon's socket there, ``unix:///path``.
    :param cache: a folder of this machine, for what was found out about images.
    """

    kind: ClassVar[str] = "remotedocker"
    mounts: ClassVar[frozenset[str]] = frozenset({"hdfs"})

    def __init__(
        self,
        name: str,
        address: ssh.Address,
        root: str,
        cache: str | os.PathLike[str],
        settings: ContainerSettings | None = None,
        docker_host: str | None = None,
    ) -> None:
        RemoteTarget.__init__(self, name, address, root)
        self.socket = (check_host(docker_host) or DEFAULT_HOST).removeprefix("unix://")
        self._owner: str | None = None
        daemon = Daemon(self._forwarded, str(address), self._diagnose)
        self.contain(settings or ContainerSettings(), daemon, Path(cache), ships=True)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str) -> RemoteDockerTarget:
        """Return the target that a compute record describes."""
        configuration = record["configuration"]
        address = ssh.Address.from_record(record)
        there = root_of(address, record.get("report"))
        settings = ContainerSettings.of(configuration)
        return cls(record["name"], address, there, root, settings, configuration.get("docker_host"))

    async def _forwarded(self) -> str:
        """Return the local socket that leads to the daemon through the connection that all share."""
        shared = ssh.connection(self.address)
        await shared.ssh()  # what is wrong with the machine is said as such
        return f"unix://{await shared.local_socket(self.socket)}"

    async def _diagnose(self) -> tuple[str, str, str]:
        """Return the socket there, who has tried to use it, and what the system says about that."""
        python = (await ssh.connection(self.address).hello())["python"]
        done = await self.exec.run([python, "-c", _DIAGNOSE, self.socket])
        try:
            user, said = json.loads(done.out)
        except ValueError:
            return self.socket, self.address.login, done.err.strip()[-300:]
        return self.socket, user, said or "the connection broke off"

    @property
    def outer_python(self) -> str:
        """Return the interpreter that the login uses there."""
        return self.address.python

    async def owner(self) -> str:
        """Return who has logged in there: what a container writes is theirs, then."""
        if self._owner is None:
            ids = [(await self.exec.run(["id", option])).out.strip() for option in ("-u", "-g")]
            self._owner = ":".join(ids)
        return self._owner

    async def tools(self) -> str | None:
        """Bring this worker's uv there, if it runs there, and the authorities that the worker trusts."""
        if (await ssh.connection(self.address).hello())["platform"] != sysconfig.get_platform():
            return None
        try:
            uv = find_uv()
        except EnvironmentException:
            return None
        wanted = [(Path(uv), "uv", 0o755)]
        if (bundle := certificates()) is not None:
            wanted.insert(0, (bundle, CERTIFICATES, 0o644))
        stamps = [os.stat(source) for source, _, _ in wanted]
        tools = posixpath.join(self.root, "tools")
        name = "-".join(f"{stamp.st_size:x}-{int(stamp.st_mtime):x}" for stamp in stamps)
        place = posixpath.join(tools, f"docker-{name}")
        if await self.files.modified(posixpath.join(place, "uv")) is None:  # it comes last
            for source, called, mode in wanted:
                with source.open("rb") as reader:
                    await self.files.put(reader, posixpath.join(place, called), tools, mode)
        return place

    async def environment_key(self, spec: Mapping[str, Any]) -> str:
        """Return the environment's key."""
        return await self._patiently(lambda: ContainerTarget.environment_key(self, spec))

    async def prepare(self, spec: Mapping[str, Any], log: Log) -> EnvironmentRef:
        """Build the environment's image there, bring it there, or find it."""
        return await self._patiently(lambda: ContainerTarget.prepare(self, spec, log))

    async def probe(self) -> Report:
        """Look at the machine, its Docker, and start a container."""
        report = await RemoteTarget.probe(self)
        if not report.ok:
            return report
        facts, problems = dict(report.facts), list[str]()
        try:
            found, problems = await self.look_at_daemon()
            facts.update(found)
            if not problems:
                await self.try_out(facts, problems)
        except ComputeTargetException as error:
            problems.append(str(error))
        return replace(report, at=time.time(), facts=facts, problems=tuple(problems))
