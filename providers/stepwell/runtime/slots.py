"""Slots of a compute target that runs so many jobs at a time: a slot is a file lock, held by the launcher of its job.

The kernel gives a slot back when its launcher ends, however it ends. How many there are stands in a file beside them:
so it can be changed while jobs wait.
"""

from __future__ import annotations

import fcntl
import os
import time

COUNT = "count"  #: the file with the number of slots


class Place:
    """A place in the line for a slot: who came first gets the next one. It is left by :meth:`leave`, or by dying."""

    def __init__(self, directory: str) -> None:
        os.makedirs(directory, exist_ok=True)
        self._directory = directory
        self._path, self._descriptor = "", -1

    def take(self, count: int) -> int | None:
        """Return the descriptor of a slot that is ours until it is closed; None if it is not our turn."""
        if self._descriptor >= 0 and not self._is_first():
            return None
        if self._descriptor < 0 and _waiting(self._directory):
            self._line_up()
            return None
        found = _take(self._directory, count)
        if found is not None:
            self.leave()
        elif self._descriptor < 0:
            self._line_up()
        return found

    def _line_up(self) -> None:
        self._path = os.path.join(self._directory, f"waits-{time.time_ns():020d}-{os.getpid()}")
        self._descriptor = _locked(self._path, os.O_RDWR | os.O_CREAT)

    def _is_first(self) -> bool:
        return next(iter(_waiting(self._directory)), self._path) == self._path

    def leave(self) -> None:
        """Wait no longer."""
        if self._descriptor >= 0:
            try:
                os.unlink(self._path)
            except OSError:
                pass
            os.close(self._descriptor)
            self._descriptor = -1


def _waiting(directory: str) -> list[str]:
    """Return the places of those who wait and live, in their order; those of the dead are removed."""
    found = []
    for name in sorted(name for name in os.listdir(directory) if name.startswith("waits-")):
        path = os.path.join(directory, name)
        descriptor = _locked(path, os.O_RDWR)
        if descriptor < 0:
            if os.path.exists(path):
                found.append(path)
            continue
        # Somebody who has only just made it has not locked it yet: a place of the dead is older.
        if time.time() - os.fstat(descriptor).st_mtime > 5:
            try:
                os.unlink(path)
            except OSError:
                pass
        os.close(descriptor)
    return found


def _locked(path: str, flags: int) -> int:
    """Return the descriptor of the file, locked; -1 if somebody else holds it or it is not there."""
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return -1
    return descriptor


def _take(directory: str, count: int) -> int | None:
    for number in range(count):
        descriptor = _locked(os.path.join(directory, f"slot-{number:04d}"), os.O_RDWR | os.O_CREAT)
        if descriptor < 0:
            continue
        # Where there were more slots before, those above are still in use, and count.
        if busy(directory) <= count:
            return descriptor
        os.close(descriptor)
        return None
    return None


def count_of(directory: str, otherwise: int) -> int:
    """Return how many slots there are now."""
    try:
        with open(os.path.join(directory, COUNT)) as file:
            return int(file.read())
    except (OSError, ValueError):
        return otherwise


def busy(directory: str) -> int:
    """Return how many slots are taken."""
    taken = 0
    try:
        names = os.listdir(directory)
    except OSError:
        return 0
    for name in names:
        if not name.startswith("slot-"):
            continue
        try:
            descriptor = os.open(os.path.join(directory, name), os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            taken += 1
        finally:
            os.close(descriptor)
    return taken
