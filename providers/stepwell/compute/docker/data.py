"""Data on the daemon's machine that a Spark in a container reads and writes in their place."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit


def volumes(document: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the folders that the job of ``job.json`` reads in their place, and those that it writes to.

    A folder that is written may be removed and made again by Spark, so it is the one above it.
    """
    top = str((document.get("runner") or {}).get("directory") or "")
    read: set[str] = set()
    for dataset in (document.get("datasets") or {}).values():
        folders = {posixpath.dirname(path) for path in map(_path, dataset.get("files") or []) if path}
        folders = {folder for folder in folders if not _is_below(folder, top)}
        if folders:
            read.add(posixpath.commonpath(folders))
    written = set()
    for output in (document.get("outputs") or {}).values():
        path = _path(output.get("value")) if output.get("mode") == "hdfs" else None
        if path:
            written.add(posixpath.dirname(path.rstrip("/")))
    return sorted(read - {"/"}), sorted(written - {"/"})


def _path(url: object) -> str | None:
    """Return the path of a URL of a file of this machine."""
    parts = urlsplit(str(url))
    return unquote(parts.path) if parts.scheme == "file" else None


def _is_below(folder: str, top: str) -> bool:
    return bool(top) and (folder == top or folder.startswith(top + "/"))
