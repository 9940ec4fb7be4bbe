"""How a kind of compute target is tried: its case, the jobs that are run on it, and their processes."""

from __future__ import annotations

import functools
import io
import os
import posixpath
import signal
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from stepwell.compute import portal
from stepwell.compute.contract import Entry, EnvironmentRef, Handle, Job, Outcome, Status, Target, Transfer

SECRET = "open-sesame/42+x"
#: The variable by which the processes of a job are known.
MARK = "STEPWELL_TEST_JOB"


class Bytes:
    """A source of a transfer that holds its files in memory and counts what is read."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self.opened: list[str] = []

    def files(self) -> list[tuple[str, int]]:
        return [(name, len(data)) for name, data in self._files.items()]

    def open(self, name: str) -> BinaryIO:
        self.opened.append(name)
        return io.BytesIO(self._files[name])


def eventually(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return what *condition* returns once that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {condition}")


def slow_here(test: Callable[..., None]) -> Callable[..., None]:
    """Return a test of the contract that is slow on this kind. A mark on the test itself would count on every kind."""

    @pytest.mark.slow
    @functools.wraps(test)
    def again(*args: Any, **kwargs: Any) -> None:
        test(*args, **kwargs)

    return again


class Case:
    """How a kind is tried: give ``target``; more where the kind starts scripts in another way or is elsewhere.

    All of it runs on one machine, be it in namespaces of their own: so its ``/proc`` shows every process of every job.
    """

    #: How long a trivial job may take on this kind, in seconds.
    patience = 30.0
    #: Nothing but the script writes into its log; Spark does.
    quiet = True

    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        raise NotImplementedError

    @pytest.fixture
    def environment(self, target: Target) -> EnvironmentRef:
        return EnvironmentRef("test", sys.executable, None, user_managed=True)

    def entry(self, *arguments: str) -> Entry:
        """Return what runs ``main.py`` with *arguments*."""
        return Entry("python", script="main.py", arguments=arguments)

    @pytest.fixture
    def run(self, target: Target, environment: EnvironmentRef, tmp_path: Path) -> Iterator[Runner]:
        runner = Runner(self, target, environment, tmp_path)
        yield runner
        for handle in runner.handles:
            if runner.exists(handle):
                portal.call(target.cancel(handle, None), 30)

    def here(self, path: str) -> Path:
        """Return where this process finds the target's file *path*."""
        return Path(path)

    def desk(self, target: Target, job_id: str) -> str:
        """Return the target's folder in which the script of that job and the test leave things for each other."""
        return posixpath.join(target.layout(job_id).root, "code")

    def directory(self, target: Target, job_id: str) -> str:
        """Return the job directory, as handles have it."""
        return target.layout(job_id).root

    def lose(self, handle: Handle) -> None:
        """Kill the launcher of that job as no user could."""
        for pid in launchers(handle.job_id):
            with suppress(ProcessLookupError):  # in a container, the first one takes the others with it
                os.kill(pid, signal.SIGKILL)

    def check_killed(self, final: dict[str, Any]) -> None:
        assert final["signal"] == "SIGKILL"
        assert "SIGKILL" in final["reason"]


class Runner:
    """Makes jobs of scripts and runs them on the target under test."""

    def __init__(self, contract: Case, target: Target, environment: EnvironmentRef, folder: Path) -> None:
        self.contract = contract
        self.target = target
        self.environment = environment
        self.folder = folder
        self.handles: list[Handle] = []
        self.made = 0
        self.mark = uuid.uuid4().hex[:8]

    def job(
        self,
        script: str,
        *arguments: str,
        files: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        transfers: tuple[Transfer, ...] = (),
        owner: str = "test",
        **document: Any,
    ) -> Job:
        self.made += 1
        job_id = f"job-{self.made}-{self.mark}"
        variables = {"DESK": self.contract.desk(self.target, job_id), MARK: job_id, **(variables or {})}
        archive = self.folder / f"{job_id}.zip"
        with zipfile.ZipFile(archive, "w") as out:
            for name, text in {"main.py": script, **(files or {})}.items():
                out.writestr(name, text)
        layout = self.target.layout(job_id)
        entry = self.contract.entry(*arguments)
        return Job(
            job_id,
            {
                "job_id": job_id,
                "run_id": job_id,
                "owner": owner,
                "variables": variables,
                "secret_names": sorted(secrets or {}),
                "phases": self.target.phases(entry, self.environment, layout, variables=variables),
                "runner": self.target.needs(entry, self.environment, layout),
                "main": {"script": f"{layout.code}/main.py", "arguments": list(arguments)},
                "inputs": {},
                "outputs": {},
                "datasets": {},
                "gates": [],
                **document,
            },
            archive,
            transfers,
            dict(secrets or {}),
        )

    def __call__(self, script: str, *arguments: str, **more: Any) -> Handle:
        job = self.job(script, *arguments, **more)
        portal.call(self.target.stage(job))
        handle = portal.call(self.target.submit(job))
        self.handles.append(handle)
        return handle

    def status(self, handle: Handle) -> Status:
        return portal.call(self.target.status([handle]))[0]

    def log(self, handle: Handle) -> str:
        return b"".join(portal.iterate(self.target.logs(handle))).decode()

    def wait(self, handle: Handle) -> Outcome:
        eventually(lambda: self.status(handle).ended, self.contract.patience + 15)
        return portal.call(self.target.collect(handle, self.folder / "collected" / handle.job_id))

    def read(self, handle: Handle, relative: str) -> str | None:
        path = self.contract.here(handle.directory) / relative
        return path.read_text() if path.exists() and path.stat().st_size else None

    def exists(self, handle: Handle) -> bool:
        return self.contract.here(handle.directory).exists()

    def desk(self, job_id: str, name: str) -> Path:
        return self.contract.here(posixpath.join(self.contract.desk(self.target, job_id), name))


def scripts(job_id: str) -> list[int]:
    """Return the living processes that the step of that job consists of, on whatever target."""
    return _processes("environ", f"{MARK}={job_id}\0".encode())


def launchers(job_id: str) -> list[int]:
    """Return the living launchers of that job."""
    return [pid for pid in _processes("cmdline", b"launcher.py\0") if job_id.encode() in _proc(pid, "cmdline")]


def _processes(name: str, mark: bytes) -> list[int]:
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [pid for pid in pids if mark in _proc(pid, name) and _runs(pid)]


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
