"""The kind ``docker``: a container per step, by the Docker daemon of this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stepwell.compute.contract import Report
from stepwell.compute.disk import DiskFiles
from stepwell.compute.docker.client import local_daemon
from stepwell.compute.docker.layers import CERTIFICATES
from stepwell.compute.docker.settings import ContainerSettings
from stepwell.compute.docker.target import ContainerTarget
from stepwell.compute.kinds.local import LEAST_DISK
from stepwell.compute.process import LocalExec
from stepwell.environment.uv import find_uv
from stepwell.errors import ComputeTargetException, EnvironmentException


class DockerTarget(ContainerTarget):
    """Containers on this machine.

    :param root: the target's folder; Docker must see it at the same path.
    :param docker_host: the daemon's socket, ``unix:///path``; default: ``DOCKER_HOST``, or the usual one.
    """

    kind: ClassVar[str] = "docker"
    mounts: ClassVar[frozenset[str]] = frozenset({"local", "hdfs"})
    spark_reads: ClassVar[frozenset[str]] = frozenset({"file", "hdfs"})

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str],
        settings: ContainerSettings | None = None,
        docker_host: str | None = None,
    ) -> None:
        folder = os.path.abspath(root)
        super().__init__(name, folder, "python")
        self.files = DiskFiles()
        self.exec = LocalExec()
        self.contain(settings or ContainerSettings(), local_daemon(check_host(docker_host)), Path(folder))

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str) -> DockerTarget:
        """Return the target that a compute record describes."""
        configuration = record["configuration"]
        return cls(record["name"], root, ContainerSettings.of(configuration), configuration.get("docker_host"))

    @property
    def outer_python(self) -> str:
        """Return this process's interpreter."""
        return sys.executable

    async def owner(self) -> str:
        """Return this process's user: what a container writes is ours, then, and can be read and removed."""
        return f"{os.geteuid()}:{os.getegid()}"

    async def tools(self) -> str | None:
        """Return a folder with uv and, if this process was told of some, the certificates of authorities."""
        try:
            uv = find_uv()
        except EnvironmentException:
            return None
        return await asyncio.to_thread(_tools, uv, Path(self.root) / "tools")

    async def probe(self) -> Report:
        """Look at the daemon and at the target's folder, and start a container."""
        facts: dict[str, Any] = {}
        problems: list[str] = []
        try:
            facts, problems = await self.look_at_daemon()
            Path(self.root).mkdir(parents=True, exist_ok=True)
            facts["disk_free_bytes"] = shutil.disk_usage(self.root).free
            if facts["disk_free_bytes"] < LEAST_DISK:
                free = facts["disk_free_bytes"] >> 20
                problems.append(f"{self.root} has {free} MB free, {LEAST_DISK >> 20} are needed")
            if not problems:
                await self.try_out(facts, problems)
        except ComputeTargetException as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{self.root} cannot be made: {error.strerror}")
        return Report(time.time(), facts, tuple(problems))


def check_host(docker_host: str | None) -> str | None:
    """Return the address of a daemon on this machine.

    :raises ComputeTargetException: it is another one's: job directories would not be there.
    """
    if docker_host is None or docker_host.startswith("unix:///"):
        return docker_host
    raise ComputeTargetException(
        f"docker_host={docker_host!r} is no daemon of this machine",
        allowed=["unix:///path/to/docker.sock"],
        hint="For a daemon on another machine attach that as 'remotedocker'",
    )


def _tools(uv: str, folder: Path) -> str:
    """Make *folder* hold uv, by a link where that is possible, and certificates."""
    stamp = os.stat(uv)
    place = folder / f"{stamp.st_size:x}-{int(stamp.st_mtime):x}"
    place.mkdir(parents=True, exist_ok=True)
    _place(Path(uv).resolve(), place / "uv", 0o755)
    bundle = certificates()
    if bundle is not None:
        _place(bundle, place / CERTIFICATES, 0o644)
    return str(place)


def certificates() -> Path | None:
    """Return the file of authorities that this process was told to trust: a proxy before the packages may be theirs."""
    bundle = os.environ.get("SSL_CERT_FILE")
    return Path(bundle).resolve() if bundle and os.path.isfile(bundle) else None


def _place(source: Path, target: Path, mode: int) -> None:
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    try:
        os.link(source, aside)
    except OSError:  # another disk
        shutil.copyfile(source, aside)
        aside.chmod(mode)
    aside.replace(target)
