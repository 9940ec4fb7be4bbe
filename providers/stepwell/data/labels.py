"""Tags and description of registered versions: a small head beside the record, which itself never changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stepwell.data.version import DatasetVersion
from stepwell.errors import UserErrorException
from stepwell.workspace.workspace import Workspace


def read(ws: Workspace, version: DatasetVersion) -> dict[str, Any]:
    """Return ``{"tags", "description"}`` of a registered version, as they are now."""
    try:
        head = ws.store.read_json(_path(version))
    except FileNotFoundError:
        head = {}
    return _now(version, head)


def change(
    ws: Workspace,
    version: DatasetVersion,
    *,
    add: Mapping[str, str] | None = None,
    remove: Iterable[str] = (),
    replace: Mapping[str, str] | None = None,
    description: str | None = None,
) -> None:
    """Change the tags and the description of a registered version; what is not named stays.

    :param replace: the tags that it shall have in place of those that it has; *add* and *remove* come after.
    :raises UserErrorException: tags that are not text.
    """
    remove = [remove] if isinstance(remove, str) else list(remove)
    added, replaced = _tags(add or {}), None if replace is None else _tags(replace)

    def changed(head: dict[str, Any] | None) -> dict[str, Any]:
        now = _now(version, head or {})
        tags = {**(now["tags"] if replaced is None else replaced), **added}
        return {
            **(head or {}),
            "tags": {name: value for name, value in tags.items() if name not in remove},
            "description": now["description"] if description is None else description,
        }

    ws.store.update(_path(version), changed)


def _now(version: DatasetVersion, head: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tags": dict(head.get("tags", version.tags)),
        "description": head.get("description", version.description),
    }


def _tags(tags: Any) -> dict[str, str]:
    if not isinstance(tags, Mapping) or not all(isinstance(t, str) for pair in tags.items() for t in pair):
        raise UserErrorException(f"{tags!r} are not tags", allowed=['{"name": "value"}'])
    return dict(tags)


def _path(version: DatasetVersion) -> str:
    return f"datasets/{version.name}/tags/{version.version}.json"
