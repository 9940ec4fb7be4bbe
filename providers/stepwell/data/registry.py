"""The registry of datasets: definitions by content id, versions by name and number, as immutable records.

``manifests/<id>.json`` says what an id stands for, ``datasets/<name>/<version>.json`` holds a version. A version's
number is taken by creating its record exclusively, so that concurrent writers get consecutive numbers and none is lost
or given twice.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from stepwell.data import manifests, pinning
from stepwell.data.reference import DEFAULT
from stepwell.data.version import DatasetVersion as DatasetVersion
from stepwell.data.version import PinnedFile as PinnedFile
from stepwell.data.version import digest_of
from stepwell.errors import DatasetChangedError, DatasetError, UserErrorException
from stepwell.runtime import definition as definitions
from stepwell.runtime.names import check_name, nearest
from stepwell.workspace.store import encode
from stepwell.workspace.workspace import Workspace

pin = pinning.pin
_VERSION = re.compile(r"([1-9][0-9]*)\.json")


# -- definitions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What an id has found: a *definition*, and the version behind it, if there is one.

    :param base: the registered version that it was made from by operations.
    :param registered: the registered version whose own id it is.
    """

    definition: dict[str, Any]
    base: DatasetVersion | None = None
    registered: DatasetVersion | None = None


def look_up(ws: Workspace, identity: str) -> Found:
    """Return what *identity* stands for.

    :raises DatasetError: the workspace has nothing with this id.
    """
    manifest = manifests.load(ws, identity)
    if manifest is None and manifests.is_id(identity):
        lost = _unpointed(ws, identity)
        if lost is not None:
            return Found(lost.definition, registered=lost)
    if manifest is not None and manifest.registered is not None:
        version = get(ws, *manifest.registered)
        return Found(version.definition, registered=version)
    if manifest is not None and manifest.definition is not None:
        return Found(manifest.definition, base=get(ws, *manifest.base) if manifest.base else None)
    raise DatasetError(
        f"The workspace {ws.name!r} ({ws.root}) has no dataset with the id {identity!r}",
        hint="An id is known once the dataset was registered or used as an input of a step",
    )


def load_definition(ws: Workspace, identity: str) -> dict[str, Any]:
    """Return the definition that *identity* stands for.

    :raises DatasetError: the workspace has nothing with this id.
    """
    return look_up(ws, identity).definition


def _unpointed(ws: Workspace, identity: str) -> DatasetVersion | None:
    """Return the version with this id whose writer died before it had noted the id, and note it now."""
    for name in names(ws):
        for version in versions(ws, name):
            if version.id == identity:
                _point(ws, version)
                return version
    return None


def _point(ws: Workspace, version: DatasetVersion) -> None:
    if version.name is not None and version.version is not None:
        manifests.point(ws, version.id, (version.name, version.version))


def named(ws: Workspace, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return *definition* with the default datastore, where it stands for itself, under its name."""
    paths = [
        {**path, "datastore": ws.get_default_datastore().name} if path.get("datastore") == DEFAULT else path
        for path in definition["paths"]
    ]
    return {**definition, "paths": paths}


def unregistered(ws: Workspace, definition: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> DatasetVersion:
    """Pin the files that *definition* means now, and keep it so that its id finds it; register nothing.

    :param base: ``{"name", "version"}`` of the registered version that *definition* was made from by operations: then
        the files pinned there are meant, whatever stands beside them today.
    :raises DatasetError: a path does not exist, or a pattern matches nothing.
    :raises DatasetChangedError: a file of *base* has changed.
    """
    definition = named(ws, definition)
    if base is None:
        return _version(ws, definition, pin(ws, definition), id=manifests.save(ws, definition))
    source = get(ws, base["name"], base["version"])
    verify(ws, source)
    identity = manifests.save(ws, definition, (str(source.name), int(source.version or 0)))
    return _version(ws, definition, source.files, id=identity)


# -- versions -------------------------------------------------------------------------------------------------------


def register(
    ws: Workspace,
    name: str,
    definition: Mapping[str, Any],
    files: Sequence[PinnedFile],
    *,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    producer: Mapping[str, Any] | None = None,
    verdict: Any = None,
    rows: int | None = None,
    schema: list[dict[str, Any]] | None = None,
    create_new_version: bool = True,
) -> DatasetVersion:
    """Register the pinned *files* of *definition* as the next version of dataset *name*.

    :param producer: who made it. If it holds a ``key``, that key makes one version of a name: registering again with it
        (a retry after a half-done publish) returns the version that it made.
    :param create_new_version: ``False`` (v1's default): the same definition and content is the version that exists;
        anything else under a name that exists is refused.
    :raises UserErrorException: a bad name; or a dataset of that name exists and *create_new_version* is false.
    """
    check_name("dataset", name)
    if not files:
        raise DatasetError(f"The dataset {name!r} would have no files", hint="Write at least one file")
    meant = manifests.save(ws, definition)
    known = _numbers(ws, name)
    if not create_new_version and known:
        digest = digest_of(files)
        for number in reversed(known):
            existing = get(ws, name, number)
            if (existing.definition_id, existing.digest) == (meant, digest):
                return existing
        raise UserErrorException(
            f"A dataset {name!r} exists already, with another definition or other data",
            hint="Pass create_new_version=True to make this its next version",
        )
    version = _version(ws, definition, files, id="", name=name, description=description, tags=dict(tags or {}))
    manifest = version.to_dict()
    del manifest["version"], manifest["id"]  # the record's name says it: which one it gets is known when it has it
    manifest.update(producer=dict(producer) if producer else None, verdict=verdict, rows=rows, schema=schema)
    key = producer.get("key") if producer else None
    if key is None:
        return _next(ws, name, manifest, known)
    # Two tries of one producer must not both find that nobody has made its version yet.
    with ws.store.lock(f"datasets/{name}/producers"):
        known = _numbers(ws, name)
        made = _made_by(ws, name, key, known)
        if made is None:
            return _next(ws, name, manifest, known)
    _point(ws, made)  # the first try may have died before it did
    return made


def _next(ws: Workspace, name: str, manifest: dict[str, Any], known: Sequence[int]) -> DatasetVersion:
    """Create the next version's record, and the pointer of its id."""
    number = ws.store.create_numbered(f"datasets/{name}", (known[-1] if known else 0) + 1, encode(manifest))
    made = DatasetVersion.from_dict({**manifest, "version": number})
    _point(ws, made)
    return made


def _made_by(ws: Workspace, name: str, key: Any, known: Sequence[int]) -> DatasetVersion | None:
    """Return the version that this producer key made, if it did; else note that it is about to make one.

    The note says from which number on to look, so that only a retry has to look, and only at what is newer.
    """
    slug = hashlib.sha256(definitions.canonical(key).encode()).hexdigest()[:32]
    path = f"datasets/{name}/producers/{slug}.json"
    try:
        ws.store.create_json(path, {"after": known[-1] if known else 0})
        return None
    except FileExistsError:
        after = int(ws.store.read_json(path)["after"])
    for number in _numbers(ws, name):
        if number > after:
            version = get(ws, name, number)
            if version.producer and version.producer.get("key") == key:
                return version
    return None


def get(ws: Workspace, name: str, version: int | str | None = "latest") -> DatasetVersion:
    """Return one version of dataset *name*.

    :param version: its number, or ``latest``.
    :raises DatasetError: there is no such dataset (the nearest names are in the message) or no such version.
    """
    check_name("dataset", name)
    numbers: list[int] = []
    wanted = _number(version)
    if wanted is None:
        numbers = _numbers(ws, name)
        wanted = numbers[-1] if numbers else None
    if wanted is not None:
        try:
            manifest = ws.store.read_json(f"datasets/{name}/{wanted}.json")
            return DatasetVersion.from_dict({**manifest, "version": wanted})
        except FileNotFoundError:
            numbers = _numbers(ws, name)
    if numbers:
        raise DatasetError(f"The dataset {name!r} has no version {version}", allowed=[*numbers[-20:], "latest"])
    raise DatasetError(
        f"There is no dataset {name!r} in the workspace {ws.name!r} ({ws.root})",
        allowed=nearest(name, names(ws)),
        hint="Register it, or let the step that produces it run first",
    )


def versions(ws: Workspace, name: str) -> list[DatasetVersion]:
    """Return all versions of dataset *name*, oldest first; nothing if there is none of that name."""
    return [get(ws, name, number) for number in _numbers(ws, check_name("dataset", name))]


def names(ws: Workspace) -> list[str]:
    """Return the names of the datasets that have a version, sorted."""
    return [name for name in ws.store.list("datasets") if _numbers(ws, name)]


def resolve_reference(ws: Workspace, reference: Mapping[str, Any]) -> DatasetVersion:
    """Return the version that a reference (from XCom or an asset event) means.

    :raises WorkspaceError: it was made in another workspace.
    :raises DatasetError: it is not a reference, or what it means is gone or has other data.
    """
    if not isinstance(reference, Mapping) or "id" not in reference:
        raise DatasetError(f"{reference!r} is not a dataset reference", allowed=["the dict that a step's XCom carries"])
    ws.check_uuid(reference.get("workspace"))
    if reference.get("dataset"):
        found = get(ws, reference["dataset"], reference.get("version") or "latest")
    else:
        found = _by_id(ws, reference["id"])
    digest = reference.get("digest")
    if digest and digest != found.digest:
        raise DatasetChangedError(
            f"The data at {found.uri} is not what the reference means: its digest is {found.digest}, not {digest}",
            hint="Run the producing step again, or take the new data as a new version",
        )
    return found


def _by_id(ws: Workspace, identity: str) -> DatasetVersion:
    found = look_up(ws, identity)
    if found.registered is not None:
        return found.registered
    base = {"name": found.base.name, "version": found.base.version} if found.base else None
    return unregistered(ws, found.definition, base)


def verify(ws: Workspace, version: DatasetVersion) -> None:
    """Make sure that the files of *version* are still those that were pinned.

    :raises DatasetChangedError: one is gone or has other content; the message names it, with both sizes or checksums.
    """
    _each(lambda file: _verify(ws, version, file), version.files)


def _verify(ws: Workspace, version: DatasetVersion, file: PinnedFile) -> None:
    what = f"{version.name} version {version.version}" if version.name else f"the dataset {version.id}"
    backend = ws.datastore(file.datastore).backend
    info = backend.stat(file.path)
    if info is None:
        problem = "is gone"
    elif info.size != file.size:
        problem = f"has {info.size} bytes and had {file.size}"
    else:
        now = backend.checksum(file.path)
        if now == file.checksum:
            return
        problem = f"has the checksum {now} and had {file.checksum}"
    raise DatasetChangedError(
        f"The file {file.uri} of {what} {problem}",
        hint="Restore it, or register the changed data as a new version; a registered version never changes",
    )


# -- small parts ----------------------------------------------------------------------------------------------------


def _version(ws: Workspace, definition: Mapping[str, Any], files: Iterable[PinnedFile], **more: Any) -> DatasetVersion:
    pinned = tuple(files)
    fields: dict[str, Any] = {"name": None, "version": None, "created": time.time(), **more}
    return DatasetVersion(
        definition=dict(definition),
        files=pinned,
        digest=digest_of(pinned),
        workspace=ws.uuid,
        workspace_name=ws.name,
        **fields,
    )


def _numbers(ws: Workspace, name: str) -> list[int]:
    return sorted(int(m[1]) for m in map(_VERSION.fullmatch, ws.store.list(f"datasets/{name}")) if m)


def _number(version: int | str | None) -> int | None:
    if version in (None, "latest"):
        return None
    try:
        number = int(version)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise UserErrorException(f"{version!r} is not a version of a dataset", allowed=["1, 2, 3, …", "latest"])
    return number


def _each(work: Any, files: Sequence[PinnedFile]) -> None:
    """Do *work* for each file; several at a time, because a remote store's answer takes its time."""
    with ThreadPoolExecutor(max_workers=min(8, len(files) or 1)) as pool:
        list(pool.map(work, files))
