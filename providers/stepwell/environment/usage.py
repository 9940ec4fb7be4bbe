"""When an environment was used last: the time stamp of an empty file, so that using one costs next to nothing."""

from __future__ import annotations

import os
from pathlib import Path


def path_of(root: Path, key: str) -> Path:
    """Return the file whose time stamp is that of the last use."""
    return root / ".used" / key


def touch(root: Path, key: str, *, create: bool = True) -> bool:
    """Note that the environment *key* is used now; return whether that is noted.

    :param create: also if nothing was noted before. Where it cannot be written (a read-only disk) nothing happens.
    """
    path = path_of(root, key)
    try:
        os.utime(path)
        return True
    except FileNotFoundError:
        if not create:
            return False
    except OSError:
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        return False
    return True


def last(root: Path, key: str) -> float | None:
    """Return when the environment was used last, in seconds since 1970; None if nothing tells."""
    try:
        return path_of(root, key).stat().st_mtime
    except OSError:
        return None
