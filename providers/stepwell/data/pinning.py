"""From the paths of a definition to the files that they mean now, each with its size and checksum."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stepwell.data.stores.base import Backend, FileInfo, normal, split_pattern
from stepwell.data.version import PinnedFile
from stepwell.errors import DatasetError
from stepwell.runtime.names import nearest
from stepwell.workspace.workspace import Workspace

#: Written beside data by Spark and Hadoop; never data themselves.
_MARKERS = ("_SUCCESS", "_committed_", "_started_")


def pin(ws: Workspace, definition: Mapping[str, Any]) -> list[PinnedFile]:
    """Return the files that the paths of *definition* mean now, in their order, each once.

    In a tabular dataset files and folders below a path whose names start with ``_`` or ``.`` are not data (Spark's
    rule); in a file dataset only Spark's own markers are left out.

    :raises DatasetError: a path that does not exist, or a pattern that matches no file.
    """
    found: dict[tuple[str, str], tuple[Backend, FileInfo]] = {}
    for path in definition["paths"]:
        if "url" in path:
            datastore, pattern = ws.datastore(""), path["url"]
        else:
            datastore, pattern = ws.datastore(path["datastore"]), normal(path["path"])
        backend = datastore.backend
        infos = _data(backend.list(pattern), pattern, definition["kind"])
        if not infos:
            raise _nothing(backend, datastore.name, pattern)
        for info in infos:
            found.setdefault((datastore.name, info.path), (backend, info))
    with ThreadPoolExecutor(max_workers=min(8, len(found))) as pool:
        checksums = pool.map(lambda one: one[0].checksum(one[1].path), found.values())
        return [
            PinnedFile(name, path, backend.uri(path), info.size, checksum)
            for ((name, path), (backend, info)), checksum in zip(found.items(), checksums, strict=True)
        ]


def listed(ws: Workspace, definition: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return (datastore, path) of the files that the paths of *definition* mean now; without looking into them."""
    found = set()
    for path in definition["paths"]:
        if "url" in path:
            found.add(("", path["url"]))
            continue
        datastore, pattern = ws.datastore(path["datastore"]), normal(path["path"])
        infos = _data(datastore.backend.list(pattern), pattern, definition["kind"])
        found |= {(datastore.name, info.path) for info in infos}
    return found


def _data(infos: Iterable[FileInfo], pattern: str, kind: str) -> list[FileInfo]:
    fixed, magic = split_pattern(pattern)
    return [i for i in infos if (not magic and i.path == fixed) or not _hidden(i.path, fixed, kind)]


def _hidden(path: str, fixed: str, kind: str) -> bool:
    below = posixpath.relpath(path, fixed or ".").split("/")
    if kind == "tabular":
        return any(part.startswith(("_", ".")) for part in below)
    name = below[-1]
    return "_temporary" in below or name.startswith(_MARKERS) or (name.startswith(".") and name.endswith(".crc"))


def _nothing(backend: Backend, name: str, pattern: str) -> DatasetError:
    fixed, magic = split_pattern(pattern)
    where = f"in the datastore {name!r} ({backend.uri()})" if name else "on the web"
    if magic:
        some = [f.path for f in backend.list(fixed)[:5]]
        return DatasetError(
            f"The pattern {pattern!r} matches no file {where}",
            allowed=some or None,
            hint="'*' stands for characters of one name, '**' for folders"
            + ("; the files shown are there" if some else f"; there are no files below {fixed or 'its root'!r}"),
        )
    if backend.is_dir(pattern):
        return DatasetError(f"The folder {pattern!r} {where} holds no data", hint="Let its producer run first")
    near = nearest(pattern, [f.path for f in backend.list(posixpath.dirname(pattern))[:1000]]) if name else []
    return DatasetError(
        f"The path {pattern!r} does not exist {where}",
        allowed=near[:5] or None,
        hint="Upload it with datastore.upload_files([...]), or correct the path",
    )
