"""From the inputs of a step to pinned dataset versions, and to what the script gets of them.

Which version: the reference that another task handed over, else the event that started the DAG run, else the latest.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from logging import Logger
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from stepwell.compute.contract import Layout, Transfer
from stepwell.data import pinning, registry
from stepwell.data.datastore import Datastore
from stepwell.data.stores.base import split_pattern
from stepwell.errors import DatasetChangedError, DatasetError, UserErrorException

if TYPE_CHECKING:
    from stepwell.data.registry import DatasetVersion
    from stepwell.data.version import PinnedFile
    from stepwell.workspace import Workspace


class Mounter(Protocol):
    """What of a compute target matters for mounts."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def mounts(self) -> frozenset[str]:
        """Kinds of datastores that it can mount."""

    def mountable(self, source: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return how *source* is mounted there, None if it cannot be."""


#: So many files of a mount are asked for in turn, to see whether it still answers.
_PROBES = 8


@dataclass(frozen=True)
class ResolvedInput:
    """One input, pinned.

    :param value: what stands in the arguments and in the environment variable.
    :param files: URLs from which the job reads the files, in their order.
    :param transfers: what has to be copied to the target first.
    :param mounts: what has to be mounted there first, as ``stepwell.runtime.mounts`` takes it.
    """

    name: str
    mode: str
    version: DatasetVersion
    value: str
    files: tuple[str, ...]
    transfers: tuple[Transfer, ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()

    def port(self) -> dict[str, Any]:
        """The input as the job document has it."""
        mounts = {"mounts": list(self.mounts)} if self.mounts else {}
        return {"mode": self.mode, "value": self.value, "id": self.version.id, **mounts}

    def dataset(self) -> dict[str, Any]:
        """The dataset as the job document has it: what ``Dataset.get_by_id`` finds in the script."""
        v = self.version
        return {"name": v.name, "version": v.version, "definition": v.definition, "files": list(self.files)}


@dataclass(frozen=True)
class VersionFiles:
    """The files of a version as something to copy: names are relative to their common folder."""

    ws: Workspace
    version: DatasetVersion

    @cached_property
    def _named(self) -> dict[str, PinnedFile]:
        """The files by their relative names.

        :raises DatasetError: two files would get the same place.
        """
        named: dict[str, PinnedFile] = {}
        for name, file in zip(relative_names(self.version), self.version.files, strict=True):
            other = named.setdefault(name, file)
            if (other.datastore, other.path) != (file.datastore, file.path):
                raise _same_place(name, other, file)
        for name, file in named.items():
            for parent in PurePosixPath(name).parents:
                if (other_file := named.get(parent.as_posix())) is not None:
                    raise _same_place(parent.as_posix(), other_file, file)
        return named

    @cached_property
    def digest(self) -> str:
        """Of names and contents: what tells these files from others under the same names and sizes."""
        facts = sorted((name, file.checksum) for name, file in self._named.items())
        return "sha256:" + hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def files(self) -> list[tuple[str, int]]:
        """Return (relative name, size in bytes) of each file.

        :raises DatasetError: two files would get the same place.
        """
        return [(name, file.size) for name, file in self._named.items()]

    def open(self, name: str) -> Any:
        """Return a binary reader of file *name*."""
        file = self._named[name]
        return Datastore(self.ws, file.datastore).backend.open(file.path)


def resolve_inputs(
    ws: Workspace,
    inputs: Mapping[str, dict[str, Any]],
    layout: Layout,
    reads: frozenset[str],
    triggering: Sequence[dict[str, Any]],
    log: Logger,
    target: Mounter | None = None,
) -> list[ResolvedInput]:
    """Return each input, pinned and proved unchanged.

    :param reads: URL schemes that the target reads itself; what it does not, is copied to it.
    :param target: what is said of mounts there; None = nothing can be mounted.
    :param triggering: references of the events that started the DAG run.
    :raises DatasetError: a dataset or version that does not exist, a path that matches nothing.
    :raises DatasetChangedError: files changed under their version.
    """
    resolved = []
    for name, item in inputs.items():
        version = _version(ws, name, item["source"], triggering, log)
        registry.verify(ws, version)
        one = _deliver(ws, name, item, version, layout, reads, target)
        log.info("Input %s: %s, by %s", name, describe(version), one.mode)
        resolved.append(one)
    return resolved


def describe(version: DatasetVersion) -> str:
    """Return *version* in words, for logs."""
    what = f"{version.name} version {version.version}" if version.name else f"dataset {version.id[:8]} (not registered)"
    size = sum(f.size for f in version.files)
    return f"{what}, {len(version.files)} file{'s' * (len(version.files) != 1)}, {size:,} bytes"


def relative_names(version: DatasetVersion) -> list[str]:
    """Return the names of the files below their common folder (v1 removes the common prefix of the paths)."""
    common = _common_folder(version)
    return [posixpath.relpath(file.path, common or ".") for file in version.files]


def _common_folder(version: DatasetVersion) -> str:
    folders = [posixpath.dirname(file.path) for file in version.files]
    return posixpath.commonpath(folders) if folders and all(folders) else ""


def _same_place(name: str, one: PinnedFile, other: PinnedFile) -> DatasetError:
    places = [f"{file.datastore}:{file.path}" if file.datastore else file.path for file in (one, other)]
    return DatasetError(
        f"Two files of the input would both be {name!r} on the compute target: {places[0]} and {places[1]}",
        hint="Make two datasets of them, or let the folders below which they are have different names",
    )


def _version(
    ws: Workspace, input_name: str, source: dict[str, Any], triggering: Sequence[dict[str, Any]], log: Logger
) -> DatasetVersion:
    if "definition" in source:
        return registry.unregistered(ws, source["definition"], source.get("base"))
    if "name" not in source:
        reference = source.get("reference")
        if not isinstance(reference, dict) or "id" not in reference:
            raise UserErrorException(
                f"The input {input_name!r} got {reference!r} where a dataset reference was expected",
                hint="The task that should hand it over has not run, was skipped, or hands over something else",
            )
        return registry.resolve_reference(ws, reference)
    name, wanted = source["name"], source.get("version", "latest")
    if wanted in ("latest", None):
        events = sorted((e for e in triggering if e["dataset"] == name), key=lambda e: int(e["version"]))
        if events:
            if len(events) > 1:
                log.info(
                    "Input %s: of %d events the newest counts; left: %s",
                    input_name,
                    len(events),
                    _versions(events[:-1]),
                )
            return registry.resolve_reference(ws, events[-1])
    return registry.get(ws, name, wanted or "latest")


def _check_folder(ws: Workspace, name: str, version: DatasetVersion) -> None:
    """Make sure that a folder handed over by its address holds what the version pinned, and nothing else.

    :raises DatasetChangedError: there is more in it.
    """
    paths = version.definition["paths"]
    if version.name is None or version.is_single_file or len(paths) != 1 or split_pattern(paths[0].get("path", ""))[1]:
        return
    pinned = {(file.datastore, file.path) for file in version.files}
    more = sorted(path for _, path in pinning.listed(ws, version.definition) - pinned)
    if more:
        raise DatasetChangedError(
            f"The input {name!r} is {describe(version)}, and its folder has got more since: {', '.join(more[:5])}",
            hint="Register the folder as a new version, or take the input by download: that is what was pinned only",
        )


def _versions(events: Iterable[dict[str, Any]]) -> str:
    return ", ".join(f"version {e['version']}" for e in events)


def _deliver(
    ws: Workspace,
    name: str,
    item: dict[str, Any],
    version: DatasetVersion,
    layout: Layout,
    reads: frozenset[str],
    target: Mounter | None,
) -> ResolvedInput:
    mode = item["mode"]
    urls = tuple(file.uri for file in version.files)
    if mode != "direct" and version.definition["kind"] == "tabular":
        raise UserErrorException(
            f"The input {name!r} is a tabular dataset, which cannot be taken by {mode}", hint="Use as_direct()"
        )
    unread = {urlsplit(u).scheme or "file" for u in urls} - reads
    if mode == "hdfs":
        if unread:
            raise DatasetError(
                f"The input {name!r} is on {', '.join(sorted(unread))}, which the compute target cannot read itself",
                allowed=reads,
            )
        _check_folder(ws, name, version)
        return ResolvedInput(name, mode, version, version.uri, urls)
    if mode == "direct" and not unread:
        return ResolvedInput(name, mode, version, version.id, urls)
    relative = item.get("path_on_compute")
    place = posixpath.join("code", relative) if relative else posixpath.join("inputs", name)
    root = posixpath.join(layout.root, place)
    names = relative_names(version)
    files = tuple("file://" + posixpath.join(root, n) for n in names)
    if mode == "direct":
        value = version.id
    else:
        value = posixpath.join(root, names[0]) if version.is_single_file else root
    source = VersionFiles(ws, version)
    source.files()  # two files in the same place are refused now, not on the way to the target
    if mode == "mount":
        return ResolvedInput(name, mode, version, value, files, mounts=_mounts(ws, name, version, place, target, reads))
    return ResolvedInput(name, mode, version, value, files, (Transfer(source, place),))


def _mounts(
    ws: Workspace, name: str, version: DatasetVersion, place: str, target: Mounter | None, reads: frozenset[str]
) -> tuple[dict[str, Any], ...]:
    """Return what has to be mounted for the input *name*: of each datastore the folder that holds its files.

    :raises UserErrorException: the target cannot mount one of them.
    """
    mounts = target.mounts if target is not None else frozenset()
    common = _common_folder(version)
    by_store: dict[str, list[tuple[str, int]]] = {}
    for relative, file in zip(relative_names(version), version.files, strict=True):
        by_store.setdefault(file.datastore, []).append((relative, file.size))
    found = []
    for datastore, files in by_store.items():
        backend = Datastore(ws, datastore).backend if datastore else None
        offered = backend.mounting(common) if backend is not None else None
        source = target.mountable(offered) if target is not None and offered is not None else None
        if backend is None or source is None:
            where = f"{target.name!r} ({target.kind})" if target is not None else "of this step"
            what = f"files of a {backend.kind} datastore" if backend is not None else "files by their web address"
            raise UserErrorException(
                f"The input {name!r} is taken by mount, and the compute target {where} cannot mount {what}",
                allowed=[f"files of a {kind} datastore" for kind in sorted(mounts)] or ["no mounts at all"],
                hint="Take it by .as_download() instead" + (", or by .as_hdfs()" if "hdfs" in reads else ""),
            )
        found.append(
            {
                "input": name,
                "at": place,
                "files": [relative for relative, _ in files],
                "probe": [file for file in files if file[1]][:_PROBES],
                "source": source,
                "uri": backend.uri(common),
            }
        )
    return tuple(found)
