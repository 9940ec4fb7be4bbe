"""Running the programs that build environments: their output line by line, and no child left behind."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

#: After how many seconds a build says that it is still going on.
TICK_SECONDS = 10.0
_CREDENTIALS = re.compile(r"(://)[^/@\s]+@")
_running: set[subprocess.Popen[bytes]] = set()
#: Re-entrant: a cancel arrives in a signal handler, perhaps while this very thread holds it.
_running_lock = threading.RLock()
_stops = 0

#: What a package's build script may see of the worker. All else may be a secret, or mean another environment.
_PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TEMP|TMP|TZ|LANG|LANGUAGE|LC_[A-Z]+|XDG_[A-Z_]+|"
    r"UV_(?!PYTHON$|PROJECT|SYSTEM_PYTHON$|PUBLISH_)[A-Z0-9_]+|"
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|CERT|CLIENT_CERT|PROXY|TRUSTED_HOST|CONFIG_FILE|CACHE_DIR|"
    r"DEFAULT_TIMEOUT|TIMEOUT|RETRIES)|"
    r"(?i:https?|all|no|ftp)_(?i:proxy)|SSL_[A-Z_]+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC|"
    r"PYTHON_KEYRING_BACKEND|DBUS_SESSION_BUS_ADDRESS|SSH_AUTH_SOCK|GIT_(?!AUTHOR|COMMITTER)[A-Z0-9_]+|"
    r"CONDARC|CONDA_(PKGS_DIRS|ENVS_DIRS|SUBDIR|OVERRIDE_[A-Z]+|SSL_VERIFY|CHANNEL_ALIAS)|MAMBARC|MAMBA_ROOT_PREFIX|"
    r"CC|CXX|CPP|FC|AR|LD|CFLAGS|CXXFLAGS|CPPFLAGS|FFLAGS|LDFLAGS|LD_LIBRARY_PATH|LIBRARY_PATH|C_INCLUDE_PATH|"
    r"CPLUS_INCLUDE_PATH|PKG_CONFIG_PATH|CMAKE_[A-Z_]+|MAKEFLAGS|MAX_JOBS|CUDA_HOME|CUDA_PATH|JAVA_HOME|CARGO_HOME|"
    r"RUSTUP_HOME|NIX_LD|NIX_LD_LIBRARY_PATH"
)
#: Never passed, also if a requirement asks for it as ``${NAME}``: here Airflow's and Stepwell's secrets are.
_NEVER = re.compile(r"_?AIRFLOW.*|STEPWELL_.*")


def stop_builds() -> None:
    """End the builds of this process, in whichever threads they run: what a cancelled task calls.

    Each of them raises an error in its thread and removes what it has written; waiting ones stop waiting.
    """
    global _stops
    with _running_lock:
        _stops += 1
        for process in list(_running):
            _kill(process)


def stops() -> int:
    """How often :func:`stop_builds` was called: whoever waits compares."""
    return _stops


def passed_variables(named: Sequence[str] = ()) -> dict[str, str]:
    """Return what of this process's environment a build sees.

    :param named: variables that the requirements themselves refer to.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if _PASSED.fullmatch(name) or (name in named and not _NEVER.fullmatch(name))
    }


def run(
    argv: Sequence[str],
    variables: dict[str, str],
    *,
    log: Callable[[str], None] | None = None,
    tick: Callable[[], None] | None = None,
    started: Callable[[int], None] | None = None,
) -> tuple[int, list[str]]:
    """Run *argv* and return its exit code and its lines (of both streams), credentials in addresses masked.

    :param log: gets each line as it comes.
    :param tick: called about every :data:`TICK_SECONDS` while the program runs.
    :param started: gets the program's process id, which is that of its process group.

    However this ends (a cancel arrives as an exception), the program and its children are gone afterwards.
    """
    before = stops()
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=variables,
        cwd="/",  # uv reads settings of the project it is started in: they are not those of the step's environment
        start_new_session=True,
    )
    with _running_lock:
        _running.add(process)
        if stops() != before:
            _kill(process)
    lines: list[str] = []
    try:
        if started is not None:
            started(process.pid)
        if process.stdout is not None:
            for raw in _lines(process.stdout, tick):
                line = _CREDENTIALS.sub(r"\1***@", raw.decode("utf-8", "replace").rstrip())
                lines.append(line)
                if log is not None and line:
                    log(line)
        return process.wait(), lines
    finally:
        with _running_lock:
            _running.discard(process)
        _kill(process)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _lines(stream: IO[bytes], tick: Callable[[], None] | None) -> Iterator[bytes]:
    """Yield the lines of *stream* as they come, and call *tick* now and then in between."""
    pending = b""
    due = time.monotonic() + TICK_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if selector.select(max(0.0, due - time.monotonic())):
                piece = os.read(stream.fileno(), 1 << 16)
                if not piece:
                    break
                *whole, pending = (pending + piece).split(b"\n")
                yield from whole
            if time.monotonic() >= due:
                due = time.monotonic() + TICK_SECONDS
                if tick is not None:
                    tick()
    if pending:
        yield pending


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended in this moment
