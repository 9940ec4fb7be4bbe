"""A user-managed interpreter on a machine that is reached over SSH, looked at there; called by the agent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def look(interpreter: str, cache: str, probe: str, sources: str) -> dict[str, Any]:
    """Return what *interpreter* (a path, or a name on ``PATH``) is, as :mod:`stepwell.environment.probe` tells it.

    What a first look found is kept in *cache* and believed as long as the interpreter, its package folders and their
    ``.pth`` files have not changed, so that a second look starts no process.

    :param probe: the program that looks.
    :param sources: the source text of :mod:`stepwell.environment.sources`, which looks at what people edit in place.
    :returns: *path*, what the probe says, *has_azureml* and *digest* (of the sources; None: there is too much to look
        at), or *problem*.
    """
    path = shutil.which(os.path.expanduser(interpreter))
    if path is None:
        there = os.path.exists(os.path.expanduser(interpreter))
        return {"problem": "is not executable" if there else "does not exist"}
    path = os.path.abspath(path)
    record = os.path.join(cache, hashlib.sha256((path + probe).encode()).hexdigest()[:32] + ".json")
    found = _kept(record, path)
    if found is None:
        began = time.time_ns()
        try:
            found = _asked(path, probe)
        except ValueError as error:
            return {"problem": f"does not run as Python: {error}"}
        stamp = _stamp(path, found)
        if not any(changed is not None and changed >= began for _, changed, _ in stamp):
            _keep(record, {"stamp": stamp, "probe": found})
    azureml = any(os.path.isdir(os.path.join(folder, "azureml", "core")) for folder in found["paths"])
    digest = _digest(sources, found["sources"], path) if found["sources"] else ""
    return dict(found, path=path, has_azureml=azureml, digest=digest)


def _asked(path: str, probe: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [path, "-I", "-c", probe], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, cwd="/", check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(str(error)) from error
    try:
        found: dict[str, Any] = json.loads(done.stdout.decode("utf-8").splitlines()[-1])
        found["version"].split(".")
        return found
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ValueError((said or [f"exit code {done.returncode}"])[-1]) from None


def _kept(record: str, path: str) -> dict[str, Any] | None:
    try:
        with open(record, encoding="utf-8") as file:
            kept = json.load(file)
        found: dict[str, Any] = kept["probe"]
        return found if kept["stamp"] == _stamp(path, found) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(record: str, document: dict[str, Any]) -> None:
    try:
        os.makedirs(os.path.dirname(record), exist_ok=True)
        aside = f"{record}.{os.getpid()}.tmp"
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.replace(aside, record)
    except OSError:
        pass  # only the next look is slower


def _stamp(path: str, found: dict[str, Any]) -> list[Any]:
    stamp: list[Any] = []
    for item in [os.path.realpath(path)] + found["paths"] + found["watched"]:
        try:
            info = os.stat(item)
            stamp.append([item, info.st_mtime_ns, info.st_ino])
        except OSError:
            stamp.append([item, None, None])
    return stamp


def _digest(program: str, sources: list[str], path: str) -> str | None:
    names: dict[str, Any] = {"__name__": "sources"}
    exec(compile(program, "sources", "exec"), names)  # noqa: S102 - Stepwell's own, as the worker has it
    found: str | None = names["digest"](sources, path)
    return found
