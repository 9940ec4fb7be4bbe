"""The runner and exec ports on this machine: process groups."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.compute.ports import Completed, Look, Start
from stepwell.errors import ComputeTargetException
from stepwell.runtime import processes

#: What a step on this machine inherits. Not the rest: a worker's environment holds connections and keys.
INHERITED = frozenset(
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR TEMP TMP TERM "
    "JAVA_HOME SPARK_HOME HADOOP_HOME HADOOP_CONF_DIR HADOOP_USER_NAME YARN_CONF_DIR "
    "LD_LIBRARY_PATH CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES OMP_NUM_THREADS "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE "
    "http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY".split()
)


def inherited_environment() -> dict[str, str]:
    """Return the part of this process's environment that steps get.

    More names can be let through with ``STEPWELL_PASS_VARIABLES`` (comma separated).
    """
    more = passed_variables()
    return {
        name: value for name, value in os.environ.items() if name in INHERITED or name in more or name.startswith("LC_")
    }


def passed_variables() -> frozenset[str]:
    """Return the names that ``STEPWELL_PASS_VARIABLES`` lets through."""
    names = (name.strip() for name in os.environ.get("STEPWELL_PASS_VARIABLES", "").split(","))
    return frozenset(name for name in names if name)


class _Started:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ended(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()


_LOOKS = {True: Look("alive"), False: Look("gone"), None: Look("unknown")}


class ProcessRunner:
    """Launchers as leaders of sessions of their own, which outlive this process."""

    async def start(self, start: Start) -> _Started:
        """Start a launcher."""
        path = os.path.join(start.directory, "logs", "launcher.log")
        with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as log:
            process = subprocess.Popen(
                list(start.argv),
                cwd="/",
                env=inherited_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return _Started(process)

    async def look(self, jobs: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Look]:
        """Return which of them run; nothing is known of one that is on another machine."""
        return {
            job_id: Look("gone") if process is None else _LOOKS[processes.is_alive(dict(process))]
            for job_id, process in jobs.items()
        }

    async def stop(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Send SIGTERM, if it is still the same process."""
        if process is not None and processes.is_alive(dict(process)):
            processes.signal_all([int(process["pid"])], signal.SIGTERM)

    async def sweep(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Kill what is left of its session."""
        if process is not None:
            processes.kill_session_of(dict(process))

    async def clear(self, job_id: str) -> None:
        """Do nothing: of a process that has ended nothing is left."""

    async def known(self) -> dict[str, float]:
        """Return nothing: processes are known by their job directories only."""
        return {}


class LocalExec:
    """Short commands as child processes."""

    async def run(
        self, argv: Sequence[str], *, timeout: float = 30.0, variables: Mapping[str, str] | None = None
    ) -> Completed:
        """Run *argv* and return what it said."""
        environment = {**inherited_environment(), **(variables or {})}

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                list(argv),
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )

        try:
            done = await asyncio.to_thread(run)
        except subprocess.TimeoutExpired as error:
            raise ComputeTargetException(f"{argv[0]} did not answer within {timeout:g} s") from error
        except OSError as error:
            raise ComputeTargetException(f"{argv[0]} cannot be started: {error.strerror}") from error
        return Completed(done.returncode, done.stdout, done.stderr)
