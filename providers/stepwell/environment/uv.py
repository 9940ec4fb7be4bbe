"""Running uv: where it is, with which environment, its output line by line, and no child left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from stepwell.errors import EnvironmentException

_CREDENTIALS = re.compile(r"(://)[^/@\s]+@")
#: What would make uv look at the worker's own environment, or tell a package's build script the worker's secrets.
_NOT_PASSED = re.compile(
    r"VIRTUAL_ENV|CONDA_.*|PYTHON.*|AIRFLOW.*|_AIRFLOW.*|STEPWELL_.*|UV_PYTHON|UV_PROJECT.*|UV_SYSTEM_PYTHON|__PYVENV_LAUNCHER__"
)


_running: set[subprocess.Popen[str]] = set()
#: Re-entrant: a cancel arrives in a signal handler, perhaps while this very thread holds it.
_running_lock = threading.RLock()
_stops = 0


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


def find_uv() -> str:
    """Return the path of uv: ``STEPWELL_UV``, next to this interpreter, ``.tools/bin`` of the project, ``PATH``.

    :raises EnvironmentException: it is nowhere.
    """
    configured = os.environ.get("STEPWELL_UV")
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise EnvironmentException(
                f"STEPWELL_UV is {configured!r}, which is no program", hint="Point it at uv, or unset it"
            )
        return os.path.abspath(found)
    places = [Path(sys.executable).parent]
    here = Path.cwd()
    places += [folder / ".tools" / "bin" for folder in (Path(sys.prefix).parent, here, *here.parents)]
    for place in places:
        if os.access(place / "uv", os.X_OK):
            return str(place / "uv")
    found = shutil.which("uv")
    if found is None:
        raise EnvironmentException(
            "uv, which builds the environments of steps, is not installed here",
            hint="Type 'pip install uv' in the environment of Airflow, or set STEPWELL_UV to its path",
        )
    return found


def run_uv(arguments: Sequence[str], *, cache: Path, log: Callable[[str], None] | None = None) -> tuple[int, list[str]]:
    """Run uv with *arguments* and return its exit code and its lines, credentials in addresses masked.

    :param cache: uv's cache, unless ``UV_CACHE_DIR`` says where it is. On the file system of the environments uv
        links files instead of copying them.
    :param log: gets each line as it comes.

    However this ends (a cancel arrives as an exception), uv and its children are gone afterwards.
    """
    before = stops()
    process = subprocess.Popen(
        [find_uv(), "--color", "never", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=_environment(cache),
        cwd="/",  # uv reads settings of the project it is started in: they are not those of the step's environment
        start_new_session=True,
    )
    with _running_lock:
        _running.add(process)
        if stops() != before:
            _kill(process)
    lines: list[str] = []
    try:
        if process.stdout is None:  # pragma: no cover - PIPE above
            return process.wait(), lines
        for raw in process.stdout:
            line = _CREDENTIALS.sub(r"\1***@", raw.rstrip())
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


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended in this moment


def _environment(cache: Path) -> dict[str, str]:
    passed = {k: v for k, v in os.environ.items() if not _NOT_PASSED.fullmatch(k)}
    passed.setdefault("UV_CACHE_DIR", str(cache))
    # No surprise of some hundred megabytes: a Python that is not there is an error that says which are.
    passed.setdefault("UV_PYTHON_DOWNLOADS", "never")
    passed["UV_NO_PROGRESS"] = "1"
    return passed
