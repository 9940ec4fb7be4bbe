"""The kind ``local``: a process group per step on this machine, in the step's environment."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stepwell.compute.contract import Entry, EnvironmentRef, Layout, Log, Report
from stepwell.compute.disk import DiskFiles
from stepwell.compute.process import LocalExec, ProcessRunner, passed_variables
from stepwell.compute.target import JobDirectoryTarget
from stepwell.errors import ComputeTargetException

#: Less free disk than this and a target is refused, in bytes.
LEAST_DISK = 64 << 20


class LocalTarget(JobDirectoryTarget):
    """This machine.

    :param root: the target's folder.
    """

    kind: ClassVar[str] = "local"
    mounts: ClassVar[frozenset[str]] = frozenset({"local", "hdfs"})

    def __init__(self, name: str, root: str | os.PathLike[str]) -> None:
        super().__init__(name, os.path.abspath(root), sys.executable)
        self.files = DiskFiles()
        self.runner = ProcessRunner()
        self.exec = LocalExec()

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str) -> LocalTarget:
        """Return the target that a compute record describes."""
        return cls(record["name"], root)

    def makes(self) -> dict[str, Any]:
        """Return the kind, and the digests of variables that the worker was told to pass on."""
        passed = {name: os.environ[name] for name in sorted(passed_variables()) if name in os.environ}
        if not passed:
            return super().makes()
        digests = {n: hashlib.sha256(v.encode("utf-8", "replace")).hexdigest() for n, v in passed.items()}
        return {**super().makes(), "variables": digests}

    async def probe(self) -> Report:
        """Look at this machine: interpreter, cores, memory, disk."""
        problems = []
        facts: dict[str, Any] = {
            "python": ".".join(map(str, sys.version_info[:3])),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_bytes": memory_bytes(),
            "root": self.root,
        }
        try:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            facts["disk_free_bytes"] = shutil.disk_usage(self.root).free
            if not os.access(self.root, os.W_OK):
                problems.append(f"{self.root} is not writable")
            elif facts["disk_free_bytes"] < LEAST_DISK:
                free = facts["disk_free_bytes"] >> 20
                problems.append(f"{self.root} has {free} MB free, {LEAST_DISK >> 20} are needed")
        except OSError as error:
            problems.append(f"{self.root} cannot be made: {error.strerror}")
        return Report(time.time(), facts, tuple(problems))

    @property
    def jobs(self) -> Path:
        """The folder of the job directories."""
        return Path(self.root) / "jobs"

    @property
    def environments(self) -> Path:
        """The folder of the environments."""
        return Path(self.root) / "environments"

    async def environment_key(self, spec: Mapping[str, Any]) -> str:
        """Return the environment's key; a user-managed interpreter is looked at, through a cache."""
        import asyncio

        from stepwell.environment.builder import key_for

        return await asyncio.to_thread(key_for, dict(spec), self.environments)

    async def prepare(self, spec: Mapping[str, Any], log: Log) -> EnvironmentRef:
        """Build the environment below the target's folder, or find it."""
        import asyncio

        from stepwell.environment.builder import ensure

        built = await asyncio.to_thread(ensure, dict(spec), self.environments, log)
        return EnvironmentRef(
            key=built.key,
            python=str(built.python),
            root=None if built.root is None else str(built.root),
            user_managed=built.user_managed,
            has_azureml=built.has_azureml,
            variables=dict(spec.get("variables") or {}),
            version=built.version,
        )

    def phases(
        self,
        entry: Entry,
        environment: EnvironmentRef,
        layout: Layout,
        *,
        variables: Mapping[str, str] | None = None,
        gates_in: EnvironmentRef | None = None,
    ) -> list[dict[str, Any]]:
        """Return the step as a plain process, and the gate as a second one."""
        if entry.kind not in self.runs:
            raise ComputeTargetException(
                f"The compute target {self.name!r} ({self.kind}) cannot run a {entry.kind} step",
                allowed=sorted(self.runs - {"none"}),
                hint="Attach a Spark target for a Spark step" if entry.kind == "spark" else None,
            )
        found: list[dict[str, Any]] = []
        inside = {**base_variables(environment, layout), **step_path(environment, layout, variables)}
        if entry.kind in ("python", "command"):
            found.append(process_phase(entry, environment, layout, inside))
        if gates_in is not None:
            argv = [gates_in.python, "-m", "stepwell.payload.gate", layout.root]
            outside = {**base_variables(gates_in, layout), "PYTHONPATH": layout.payload}
            found.append({"name": "gate", "argv": argv, "cwd": layout.root, "variables": outside})
        return found


def base_variables(environment: EnvironmentRef, layout: Layout) -> dict[str, str]:
    """Return the variables of everything that runs in *environment*."""
    path = [posixpath.dirname(environment.python), os.environ.get("PATH", os.defpath)]
    found = {
        "STEPWELL_JOB_DIR": layout.root,
        "PYTHONUNBUFFERED": "1",  # lines appear when they are printed
        "PATH": os.pathsep.join(path),
    }
    if environment.root is not None and not environment.user_managed:
        found["VIRTUAL_ENV"] = environment.root
    return {**found, **environment.variables}


def process_phase(
    entry: Entry, environment: EnvironmentRef, layout: Layout, variables: Mapping[str, str]
) -> dict[str, Any]:
    """Return the phase of a script, a module of the payload, or a command: one process, on whatever target."""
    argv = list(entry.command)
    if entry.kind == "python":
        program = ["-m", entry.module, layout.root] if entry.module else [str(entry.script)]
        argv = [environment.python, *program, *entry.arguments]
    return {"name": "step", "argv": argv, "cwd": layout.code, "variables": variables}


def step_path(
    environment: EnvironmentRef, layout: Layout, variables: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the ``PYTHONPATH`` of a step: the payload, v1's names unless the real ones are there, the user's own."""
    parts = [layout.payload]
    if not environment.has_azureml:
        parts.append(posixpath.join(layout.payload, "v1"))
    parts.extend(v["PYTHONPATH"] for v in (variables or {}, environment.variables) if v.get("PYTHONPATH"))
    return {"PYTHONPATH": os.pathsep.join(parts)}


def memory_bytes() -> int | None:
    """Return this machine's memory, None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
