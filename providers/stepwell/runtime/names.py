"""Names of datasets, targets, runs, inputs and outputs: one rule, and paths that stay below their root."""

from __future__ import annotations

import difflib
import posixpath
import re
from typing import Iterable

from stepwell.runtime.errors import UserErrorException

#: Names of datasets, targets, workspaces, linked services, datastores and runs.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,254}")
#: Names of inputs and outputs: they become environment variables (v1's rule).
PORT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


def check_name(kind: str, name: object) -> str:
    """Return *name* if it is a good name for a *kind* ("dataset", "compute target", …).

    :raises UserErrorException: it is not; the message shows the rule.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name) or ".." in name:
        raise UserErrorException(
            f"{name!r} is not a valid {kind} name",
            hint="Use letters, digits, '_', '-' and '.', start with a letter or digit, no '..', at most 255 characters",
        )
    return name


def check_port(kind: str, name: object) -> str:
    """Return *name* if it can name an input or output (it becomes an environment variable).

    :raises UserErrorException: it can not.
    """
    if not isinstance(name, str) or not PORT.fullmatch(name):
        raise UserErrorException(
            f"{name!r} is not a valid {kind} name", hint="Use letters, digits and '_', and do not start with a digit"
        )
    return name


def check_below(kind: str, path: str) -> str:
    """Return the relative *path*, normalised, if it stays below its root.

    :raises UserErrorException: it is absolute or climbs out with ``..``.
    """
    normal = posixpath.normpath(path) if path.strip() else "."
    if path.startswith("/") or normal == ".." or normal.startswith("../") or "\0" in path:
        raise UserErrorException(f"The {kind} {path!r} leaves its root", hint="Give a relative path without '..'")
    return normal


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the *known* names that look most like *name*, best first, at most five; all of them if none is alike."""
    known = sorted(known)
    return difflib.get_close_matches(name, known, n=5, cutoff=0.5) or known[:20]
