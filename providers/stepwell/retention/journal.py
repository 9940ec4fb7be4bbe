"""What versions that are being removed have pinned, noted before their records go: a killed sweep loses nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from stepwell.errors import WorkspaceError
from stepwell.runtime.names import check_below
from stepwell.workspace.store import encode

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

FOLDER = "retention/versions"


def write(ws: Workspace, subject: str, files: Iterable[tuple[str, str]]) -> None:
    """Note what the version *subject* (``name/number``) pins: datastore and path of each."""
    ws.store.replace(_path(subject), encode({"version": subject, "files": sorted(map(list, files))}))


def forget(ws: Workspace, subject: str) -> None:
    """Remove the note."""
    ws.store.delete(_path(subject))


def read(ws: Workspace) -> Mapping[str, frozenset[tuple[str, str]]]:
    """Return what versions have left that a sweep began to remove: ``name/number`` → datastore and path of each.

    :raises WorkspaceError: it is damaged.
    """
    found = {}
    for name, record in ws.store.records(FOLDER):
        try:
            files = frozenset((str(d), check_below("path", str(p))) for d, p in record["files"])
            found[str(record["version"])] = files
        except (KeyError, TypeError, ValueError) as error:
            raise WorkspaceError(f"{FOLDER}/{name}.json is damaged: {error}", hint="Remove it") from error
    return found


def _path(subject: str) -> str:
    return f"{FOLDER}/{subject.replace('/', '.')}.json"
