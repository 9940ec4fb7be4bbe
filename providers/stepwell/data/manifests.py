"""What an id stands for, in ``manifests/<id>.json``; immutable, and equal content has one id.

* a definition: unregistered; the files are those that it means when it is used;
* ``{"definition", "base": {"name", "version"}}``: made by operations from a registered version, whose files it reads;
* ``{"registered": {"name", "version"}}``: a registered version; its record is ``datasets/<name>/<version>.json``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepwell.runtime import definition as definitions
from stepwell.workspace.workspace import Workspace

#: The name and the number of a registered version.
Key = tuple[str, int]
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Manifest:
    """What an id stands for: a *definition*, made from the version *base* or not; or the version *registered*."""

    definition: dict[str, Any] | None = None
    base: Key | None = None
    registered: Key | None = None


def identity(definition: Mapping[str, Any], base: Key | None = None) -> str:
    """Return the id of what is not registered: the content id; files pinned by a version make it another one."""
    if base is None:
        return definitions.content_id(dict(definition))
    return definitions.content_id({"definition": definitions.content_id(dict(definition)), "base": list(base)})


def save(ws: Workspace, definition: Mapping[str, Any], base: Key | None = None) -> str:
    """Keep *definition* where its id finds it; return the id.

    :raises UserErrorException: it is not a definition.
    """
    checked = definitions.check(dict(definition))
    found = identity(checked, base)
    _create(ws, found, checked if base is None else {"definition": checked, "base": _plain(base)})
    return found


def point(ws: Workspace, identity: str, registered: Key) -> None:
    """Let *identity* find the version *registered*."""
    _create(ws, identity, {"registered": _plain(registered)})


def load(ws: Workspace, identity: object) -> Manifest | None:
    """Return what *identity* stands for, or ``None`` if the workspace keeps nothing under it."""
    if not is_id(identity):
        return None
    try:
        record = ws.store.read_json(_path(str(identity)))
    except FileNotFoundError:
        return None
    if "registered" in record:
        return Manifest(registered=_key(record["registered"]))
    if "base" in record:
        return Manifest(record["definition"], _key(record["base"]))
    return Manifest(record)


def is_id(identity: object) -> bool:
    """Say whether *identity* has the form of an id."""
    return isinstance(identity, str) and _ID.fullmatch(identity) is not None


def _create(ws: Workspace, identity: str, record: dict[str, Any]) -> None:
    path = _path(identity)
    if not ws.store.exists(path):
        try:
            ws.store.create_json(path, record)
        except FileExistsError:
            pass  # the same content, by its name


def _path(identity: str) -> str:
    return f"manifests/{identity}.json"


def _plain(key: Key) -> dict[str, Any]:
    return {"name": key[0], "version": key[1]}


def _key(record: Mapping[str, Any]) -> Key:
    return str(record["name"]), int(record["version"])
