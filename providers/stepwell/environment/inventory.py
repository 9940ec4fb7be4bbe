"""The environments that are there: what they hold, who uses them, and how they are removed."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepwell.environment import build_log, usage
from stepwell.environment.builder import RECORD, only_one
from stepwell.errors import EnvironmentException
from stepwell.runtime import processes
from stepwell.runtime.protocol import JobDirectory

#: An environment that was asked for this many seconds ago may belong to a step whose job is about to start.
JUST_USED_SECONDS = 600.0
_KEY = re.compile(r"[0-9a-f]{64}")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Entry:
    """An environment on this machine.

    :param record: what it says about itself; None = it is not whole (a build was killed, or a removal).
    :param used: when it was used last, in seconds since 1970; None = nobody knows.
    :param jobs: the running jobs that use it.
    """

    key: str
    folder: Path
    record: dict[str, Any] | None
    used: float | None
    jobs: tuple[str, ...] = ()

    @property
    def packages(self) -> list[str]:
        """The packages, without their hashes."""
        lines = (self.record or {}).get("lock", "").splitlines()
        return [line.split(" \\")[0].strip() for line in lines if line.strip() and not line.startswith((" ", "#", "-"))]

    @property
    def size(self) -> int:
        """Bytes on disk. Files that are linked to the cache of uv count in full."""
        return _size(self.folder)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        record = self.record or {}
        return {
            "key": self.key,
            "folder": str(self.folder),
            "whole": self.record is not None,
            "python": record.get("python"),
            "builder": record.get("builder"),
            "packages": len(self.packages),
            "bytes": self.size,
            "used": self.used,
            "built": record.get("built"),
            "jobs": list(self.jobs),
        }


def entries(root: Path, jobs: Path) -> list[Entry]:
    """Return the environments below *root*, the one that was used last first.

    :param jobs: the folder of the job directories of the same target.
    """
    if not root.is_dir():
        return []
    keys = [name for name in os.listdir(root) if _KEY.fullmatch(name)]
    using = in_use(root, jobs, keys)
    found = [Entry(key, root / key, _record(root / key), usage.last(root, key), tuple(using[key])) for key in keys]
    return sorted(found, key=lambda entry: (-(entry.used or 0), entry.key))


def matching(root: Path, jobs: Path, prefix: str) -> Entry:
    """Return the one environment whose key begins with *prefix*.

    :raises EnvironmentException: there is none, or more than one.
    """
    every = entries(root, jobs)
    found = [entry for entry in every if prefix and entry.key.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    raise EnvironmentException(
        f"{len(found) or 'No'} environments below {root} begin with {prefix!r}",
        allowed=[entry.key[:12] for entry in found or every],
        hint="Type more of the key" if found else "See them with 'airflow stepwell environment list'",
    )


def in_use(root: Path, jobs: Path, keys: Iterable[str]) -> dict[str, list[str]]:
    """Return for each environment the jobs that have not ended, whose launcher lives, and that run in it."""
    using: dict[str, list[str]] = {key: [] for key in keys}
    for name in sorted(os.listdir(jobs)) if jobs.is_dir() else []:
        at = JobDirectory(os.path.join(jobs, name))
        if os.path.exists(at.final):
            continue
        try:
            with open(at.pid, "rb") as file:
                launcher = json.load(file)
            if processes.is_alive(launcher) is False:
                continue
            document = Path(at.document).read_text(encoding="utf-8")
        except (OSError, ValueError, KeyError):
            continue  # not started, or just removed
        for key, found in using.items():
            if f"{root}/{key}" in document:
                found.append(name)
    return using


def remove(root: Path, jobs: Path, key: str, *, force: bool = False) -> int:
    """Remove the environment *key*, its log and its time stamp; return how many bytes that were.

    It goes out of sight by one rename, then piece by piece. A step that comes for it then builds it again.

    :param force: also if it is used.
    :raises EnvironmentException: a running job uses it; it was asked for in the last ten minutes; it is being built.
    """
    folder = root / key
    with only_one(root, key, wait=False):
        before = usage.last(root, key)
        if not force:
            _refuse_if_used(root, jobs, key, before)
        (root / ".building").mkdir(exist_ok=True)
        grave = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=root / ".building"))
        try:
            os.rename(folder, grave / "removed")
            if not force and usage.last(root, key) != before:  # somebody came in this moment
                os.rename(grave / "removed", folder)
                _refuse_if_used(root, jobs, key, usage.last(root, key))
            freed = _size(grave)
            usage.path_of(root, key).unlink(missing_ok=True)
            build_log.path_of(root, key).unlink(missing_ok=True)
        except FileNotFoundError:
            return 0  # another one has removed it
        finally:
            shutil.rmtree(grave, ignore_errors=True)
    return freed


def unused(root: Path, jobs: Path, seconds: float) -> list[Entry]:
    """Return the environments that nobody uses and nobody has used for that many *seconds*."""
    limit = time.time() - seconds
    return [entry for entry in entries(root, jobs) if not entry.jobs and _last(entry) < limit]


def sweep(root: Path) -> None:
    """Remove what builds that were killed have left, where none of the same key goes on."""
    building = root / ".building"
    for key in {name.partition(".")[0] for name in (os.listdir(building) if building.is_dir() else [])}:
        with suppress(EnvironmentException), only_one(root, key, wait=False):
            for left in building.glob(f"{key}.*/"):
                shutil.rmtree(left, ignore_errors=True)


def seconds_of(text: str) -> float:
    """Return how many seconds "30d", "12h", "45m" are.

    :raises EnvironmentException: it is no such time.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([smhdw])\s*", text)
    if match is None:
        raise EnvironmentException(f"{text!r} is no length of time", allowed=["30d", "12h", "45m", "2w"])
    return float(match[1]) * _UNITS[match[2]]


def _refuse_if_used(root: Path, jobs: Path, key: str, used: float | None) -> None:
    running = in_use(root, jobs, [key])[key]
    if running:
        raise EnvironmentException(
            f"The environment {key[:12]} is used by {', '.join(running)}",
            hint="Wait for the step to end, or use --force (the step may fail; its next try builds anew)",
        )
    ago = JUST_USED_SECONDS if used is None else time.time() - used
    if ago < JUST_USED_SECONDS:
        raise EnvironmentException(
            f"The environment {key[:12]} was asked for {ago:.0f} seconds ago: a step may be about to start",
            hint=f"Try again {JUST_USED_SECONDS / 60:.0f} minutes after its last use, or use --force",
        )


def _last(entry: Entry) -> float:
    if entry.used is not None:
        return entry.used
    try:
        return float((entry.record or {}).get("built") or entry.folder.stat().st_mtime)
    except OSError:
        return time.time()  # it has just gone


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _size(folder: Path) -> int:
    total, seen = 0, set[tuple[int, int]]()
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                info = os.lstat(os.path.join(at, name))
            except OSError:
                continue
            if (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_blocks * 512
    return total
