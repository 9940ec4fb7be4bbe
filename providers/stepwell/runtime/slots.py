"""Slots of a compute target that runs so many jobs at a time: a slot is a file lock, held by the launcher of its job.

The kernel gives a slot back when its launcher ends, however it ends. How many there are stands in a file beside them:
so it can be changed while jobs wait.
"""

from __future__ import annotations

import fcntl
import os

COUNT = "count"  #: the file with the number of slots


def take(directory: str, count: int) -> int | None:
    """Return the descriptor of a slot that is ours from now on, until it is closed; None if all are taken."""
    for number in range(count):
        descriptor = os.open(_path(directory, number), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
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


def _path(directory: str, number: int) -> str:
    return os.path.join(directory, f"slot-{number:04d}")
