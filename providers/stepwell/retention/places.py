"""Where things are: which run a path is named after, which places are spoken for, how large and old things are.

A place is a text: ``<datastore>:<path>``, or the URI. Each path is looked up as both, because two datastores may be
folders of one disk.
"""

from __future__ import annotations

import os
import re
import stat
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from stepwell.data.stores.base import Backend, open_backend

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: The id of a run, wherever it stands: the end of its step's name is a digest of ten digits.
_RUN = re.compile(r"\.([0-9a-f]{10})-g[1-9][0-9]*(?![0-9])")
_RUN_ID = re.compile(r"(.+\.([0-9a-f]{10}))-g([1-9][0-9]*)")


def split_run(run_id: str) -> tuple[str, int] | None:
    """Return the step's name (slug) and the generation of a run id; None if it is none."""
    found = _RUN_ID.fullmatch(run_id)
    return (found[1], int(found[3])) if found else None


def digests_in(text: str) -> Iterator[str]:
    """Yield the digest of each run's step that is named in *text*."""
    return (found[1] for found in _RUN.finditer(text))


def digest_of(slug: str) -> str:
    """Return the digest that a step's name ends with."""
    return slug[-10:]


def own_folder(path: str, run_id: str) -> str | None:
    """Return the folder of *path* that is named after the run, None if none is: then it is not the run's own."""
    name = re.compile(re.escape(run_id) + r"(?![0-9])")
    parts = path.split("/")
    for i, part in enumerate(parts):
        if name.search(part):
            return "/".join(parts[: i + 1])
    return None


def unit(path: str) -> str:
    """Return what stands for the file *path*: for one that a run has published, what is directly in the run's folder.

    So the millions of files of many versions are few places.
    """
    parts = path.split("/")
    for i, part in enumerate(parts):
        if _RUN.search(part):
            return "/".join(parts[: i + 2])
    return path


def published(path: str) -> str | None:
    """Return the folder of *path* that is named after any run, None if none is: then no step has published it."""
    parts = path.split("/")
    for i, part in enumerate(parts):
        if _RUN.search(part):
            return "/".join(parts[: i + 1])
    return None


def texts(datastore: str, path: str, uri: str) -> tuple[str, str]:
    """Return the two texts of a place.

    :param uri: of *path*.
    """
    return f"{datastore}:{path}".rstrip("/"), uri.rstrip("/")


class Places:
    """A set of places; it knows what lies in what."""

    def __init__(self, places: Iterable[str] = ()) -> None:
        self._places = set(places)
        self._sorted: list[str] | None = None

    def add(self, places: Iterable[str]) -> None:
        """Add *places*."""
        self._places.update(places)
        self._sorted = None

    def hold(self, place: str) -> bool:
        """Whether *place* is one of these, or lies in one."""
        at = len(place)
        while at > 0:
            if place[:at] in self._places:
                return True
            at = place.rfind("/", 0, at)
        return False

    def touches(self, place: str) -> bool:
        """Whether *place* is one of these, lies in one, or holds one."""
        if self.hold(place):
            return True
        if self._sorted is None:
            self._sorted = sorted(self._places)
        inside = place + ("" if place.endswith(("/", ":")) else "/")
        i = bisect_left(self._sorted, inside)
        return i < len(self._sorted) and self._sorted[i].startswith(inside)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)


@dataclass(frozen=True)
class Measure:
    """What stands somewhere.

    :param size: of all files, in bytes.
    :param modified: of the newest file or folder, in seconds since 1970; None if that is not known.
    """

    size: int
    modified: float | None


def measure(backend: Backend, path: str) -> Measure | None:
    """Return how large and how old *path*, a file or a folder, is; None if it is not there. Links are not followed."""
    local = backend.local_path(path)
    if local is None:
        one = backend.stat(path)
        if one is not None:
            return Measure(one.size, one.modified)
        infos = list(backend.walk(path))
        if not infos and not backend.is_dir(path):
            return None
        return Measure(sum(i.size for i in infos), max((i.modified for i in infos), default=None))
    try:
        top = os.lstat(local)
    except (FileNotFoundError, NotADirectoryError):
        return None
    size, newest = (0 if stat.S_ISDIR(top.st_mode) else top.st_size), top.st_mtime
    if stat.S_ISDIR(top.st_mode):
        for parent, folders, files in os.walk(local):
            for name in (*folders, *files):
                try:
                    info = os.lstat(os.path.join(parent, name))
                except OSError:
                    continue  # it has just gone
                newest = max(newest, info.st_mtime)
                size += 0 if stat.S_ISDIR(info.st_mode) else info.st_size
    return Measure(size, newest)


def names(backend: Backend, folder: str) -> list[str]:
    """Return the names directly in *folder*; an empty folder shows on a disk only."""
    local = backend.local_path(folder)
    if local is None:
        return sorted({info.path[len(folder) + 1 :].partition("/")[0] for info in backend.walk(folder)})
    try:
        return sorted(os.listdir(local))
    except (FileNotFoundError, NotADirectoryError):
        return []


def files_of(ws: Workspace) -> Backend:
    """Return the workspace's own files, with their sizes and times."""
    url, options = ws.place()
    parts = urlsplit(url)
    if parts.scheme != "hdfs":
        return open_backend("local", {"root": unquote(parts.path)})
    return open_backend(
        "hdfs",
        {
            "root": unquote(parts.path),
            "rpc": f"hdfs://{parts.hostname}:{parts.port or 8020}",
            "webhdfs_url": options.get("webhdfs_url") or f"http://{parts.hostname}:9870",
            "user": options.get("user") or parts.username,
        },
    )
