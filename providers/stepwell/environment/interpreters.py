"""Interpreters: the Python that an environment is built on, and the one that a user-managed environment is."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepwell.environment.uv import run_uv
from stepwell.errors import EnvironmentException

OLDEST = (3, 8)
_PROBE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probe.py")


@dataclass(frozen=True)
class Interpreter:
    """What is known of a user-managed interpreter: *path*, *version*, *prefix*, its package folders and *packages*.

    :param sources: folders and files that it imports and that *packages* does not tell of: those of ``.pth`` files and
        editable installs, and what was put into a package folder by hand.
    """

    path: str
    version: str
    prefix: str
    platform: str
    folders: tuple[str, ...]
    packages: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def has_azureml(self) -> bool:
        """Whether the real azureml-core is installed there (asked each time: people install it later)."""
        return any(os.path.isdir(os.path.join(folder, "azureml", "core")) for folder in self.folders)


def own_version() -> str:
    """The "major.minor" of the Python that runs this."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def wanted_version(python: str | None) -> str:
    """The version to build with: what the specification says; this process's own minor version where that will do."""
    if python is None:
        return own_version()
    if re.match(r"[<>=!~]", python):
        from packaging.specifiers import SpecifierSet

        own = ".".join(map(str, sys.version_info[:3]))
        return own_version() if SpecifierSet(python).contains(own) else python
    return python


def find_python(wanted: str, *, cache: Path, log: Callable[[str], None], tick: Callable[[], None] | None = None) -> str:
    """Return the path of an interpreter of the version *wanted*, fetched by uv if it is not here.

    The minor version decides: where the exact patch release is neither here nor to be had, another one is taken and
    *log* told. Nothing is fetched when ``UV_PYTHON_DOWNLOADS`` is "never" or "manual".

    :raises EnvironmentException: there is none; the message says which there are.
    """
    own = ".".join(map(str, sys.version_info[:3]))
    base = getattr(sys, "_base_executable", None) or sys.executable
    if own == wanted or own.startswith(wanted + "."):
        return str(base)
    minor = wanted if wanted[0] in "<>=!~" else ".".join(wanted.split(".")[:2])
    requests = list(dict.fromkeys([wanted, minor]))
    path = _installed_path(requests, cache, log)
    if path is not None:
        return path
    why = ""
    if os.environ.get("UV_PYTHON_DOWNLOADS") in ("never", "manual"):
        why = f" (UV_PYTHON_DOWNLOADS is {os.environ['UV_PYTHON_DOWNLOADS']!r}, so it is not fetched)"
    else:
        log(f"Python {wanted} is not installed here; uv fetches it")
        for request in requests:
            fetch = ["python", "install", "--no-bin", request]
            code, lines = run_uv(fetch, cache=cache, log=log, tick=tick, downloads=True)
            path = _installed_path(requests, cache, log) if code == 0 else None
            if path is not None:
                return path
            why = f" and cannot be fetched ({'; '.join(line.strip() for line in lines[-4:]) or 'uv said nothing'})"
    hint = "Ask for another version, or use a user-managed environment"
    if wanted[0] not in "<>=!~":
        hint = f"Install it ('uv python install {minor}'), ask for another version, or use a user-managed environment"
    raise EnvironmentException(
        f"The environment wants Python {wanted}, which is not installed here{why}",
        allowed=_installed(cache) or [own],
        hint=hint,
    )


def _installed_path(requests: list[str], cache: Path, log: Callable[[str], None]) -> str | None:
    for request in requests:
        code, lines = run_uv(["python", "find", "--system", "--no-project", request], cache=cache)
        paths = [line for line in lines if line.startswith("/")]
        if code == 0 and paths:
            if request != requests[0]:
                log(f"Python {requests[0]} is not installed here; the environment is built with {paths[-1]}")
            return paths[-1]
    return None


def user_managed(interpreter: str, cache: Path) -> Interpreter:
    """Check the user-managed *interpreter* (a path, or a name on ``PATH``) and return what it is.

    What a first look found is kept in *cache* and believed as long as the interpreter, its package folders and their
    ``.pth`` files have not changed, so that a second look starts no process.

    :raises EnvironmentException: it does not exist, does not run, or is too old.
    """
    path = shutil.which(interpreter)
    if path is None:
        exists = os.path.exists(interpreter)
        raise EnvironmentException(
            f"The interpreter {interpreter!r} of the user-managed environment "
            + ("is not executable" if exists else "does not exist"),
            hint="Set interpreter_path to a Python program on the compute target",
        )
    path = os.path.abspath(path)
    record = cache / (hashlib.sha256(path.encode()).hexdigest()[:32] + ".json")
    try:
        kept = json.loads(record.read_text(encoding="utf-8"))
        if kept["stamp"] == _stamp(path, kept["probe"]):
            return _interpreter(path, kept["probe"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not seen before, or written by another version
    began = time.time_ns()
    probe = _probe(path)
    stamp = _stamp(path, probe)
    if any(changed is not None and changed >= began for _, changed, _ in stamp):
        return _interpreter(path, probe)  # changed while it was looked at: nothing to believe later
    try:
        cache.mkdir(parents=True, exist_ok=True)
        aside = record.with_name(f".{record.name}.{os.getpid()}")
        aside.write_text(json.dumps({"stamp": stamp, "probe": probe}), encoding="utf-8")
        os.replace(aside, record)
    except OSError:
        pass  # only the next look is slower
    return _interpreter(path, probe)


def _probe(path: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [path, "-I", _PROBE], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise _does_not_run(path, str(error)) from error
    try:
        probe: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        version = tuple(int(part) for part in probe["version"].split("."))
    except (ValueError, IndexError, KeyError, TypeError) as error:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise _does_not_run(path, last) from error
    if version < OLDEST:
        raise EnvironmentException(
            f"The interpreter {path} is Python {probe['version']}", allowed=["Python 3.8 or later"]
        )
    return probe


def _does_not_run(path: str, why: str) -> EnvironmentException:
    return EnvironmentException(
        f"The interpreter {path} does not run as Python: {why}", hint="Set interpreter_path to a Python program"
    )


def _interpreter(path: str, probe: dict[str, Any]) -> Interpreter:
    return Interpreter(
        path,
        probe["version"],
        probe["prefix"],
        probe["platform"],
        tuple(probe["paths"]),
        tuple(probe["packages"]),
        tuple(probe["sources"]),
    )


def _stamp(path: str, probe: dict[str, Any]) -> list[Any]:
    stamp: list[Any] = []
    for item in (os.path.realpath(path), *probe["paths"], *probe["watched"]):
        try:
            info = os.stat(item)
            stamp.append([item, info.st_mtime_ns, info.st_ino])
        except OSError:
            stamp.append([item, None, None])
    return stamp


def _installed(cache: Path) -> list[str]:
    _, lines = run_uv(["python", "list", "--only-installed", "--output-format", "json"], cache=cache)
    try:
        found = json.loads(next(line for line in lines if line.startswith("[{")))
        return sorted({str(item["version"]) for item in found}, key=lambda v: [int(p) for p in re.findall(r"\d+", v)])
    except (StopIteration, ValueError, KeyError, TypeError):
        return []
