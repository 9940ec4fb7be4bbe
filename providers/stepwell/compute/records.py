"""Compute records and linked services in the workspace: small heads with a revision; connection ids, no secrets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from stepwell.errors import ComputeTargetException
from stepwell.runtime.names import check_name, nearest
from stepwell.workspace.connections import get_connection

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

Record = dict[str, Any]

#: Names that v1 keeps for itself; ``local`` is always there.
RESERVED = ("amlcompute", "local", "containerinstance")
#: The type of connections that are compute targets by themselves, made by hand in Airflow's form.
BY_HAND = "stepwell_ssh"
#: The provisioning state of those that nobody has looked at yet.
UNPROBED = "Unprobed"


def local_record() -> Record:
    """Return the record of ``local``, which exists in every workspace without being attached."""
    return {
        "name": "local",
        "kind": "local",
        "type": "local",
        "configuration": {},
        "provisioning_state": "Succeeded",
        "is_attached": False,
        "report": None,
    }


def read(ws: Workspace, name: str) -> Record:
    """Return the compute target's record; one that was made by hand in Airflow's form has its connection's id as name.

    :raises ComputeTargetException: "ComputeTargetNotFound: …", with the nearest names.
    """
    if name == "local":
        return local_record()
    try:
        return dict(ws.store.read_json(f"compute/{check_name('compute target', name)}.json"))
    except FileNotFoundError:
        pass
    made_by_hand = by_hand(ws, name)
    if made_by_hand is not None:
        return made_by_hand
    raise ComputeTargetException(
        f"ComputeTargetNotFound: Compute Target with name {name} not found in provided workspace",
        allowed=nearest(name, names(ws)),
        hint="Attach or create it (airflow stepwell computetarget attach; ComputeTarget.attach), or use one of these",
    )


def by_hand(ws: Workspace, name: str) -> Record | None:
    """Return the record of a target that is only a connection so far, made in Airflow's form; None if there is none.

    :raises ComputeTargetException: the connection does not say all that it must.
    """
    connection = get_connection(name)
    if connection is None or connection.conn_type != BY_HAND:
        return None
    extra = connection.extra
    if extra.get("workspace") not in (None, "", ws.name):
        return None
    from stepwell.compute.classes import form_of

    kind = str(extra.get("kind") or "remote")
    form = form_of(kind)
    said = {s.name: extra[s.name] for s in form.settings if extra.get(s.name) not in (None, "")}
    return {
        "name": name,
        "kind": kind,
        "type": form.type,
        "configuration": form.own(form.check(said, f"the connection {name!r}")),
        "connection_id": name,
        "provisioning_state": UNPROBED,
        "is_attached": True,
        "report": None,
    }


def names(ws: Workspace) -> list[str]:
    """Return the names of all compute targets, ``local`` included."""
    return sorted({"local", *_names(ws, "compute")})


def write(ws: Workspace, record: Record) -> Record:
    """Write the record over an older one of its name and return it with its times.

    :raises ComputeTargetException: there is one of another type.
    """

    def change(before: Record | None) -> Record:
        if before is not None:
            refuse_other_type(before, record["type"])
        now = time.time()
        kept: Record = {key: before[key] for key in ("created", "revision") if before and key in before}
        return {"created": now, **kept, **record, "modified": now}

    return dict(ws.store.update(f"compute/{record['name']}.json", change) or {})


def refuse_other_type(before: Record, wanted: str) -> None:
    """Raise if the record *before* is of another type than *wanted*.

    :raises ComputeTargetException: it is.
    """
    if before["type"] != wanted:
        raise ComputeTargetException(
            f"There is a compute target {before['name']!r} of type {before['type']!r} already",
            allowed=[before["type"]],
            hint="Detach or delete it first, or use another name",
        )


def remove(ws: Workspace, name: str) -> None:
    """Remove the record; nothing happens if there is none."""
    ws.store.update(f"compute/{check_name('compute target', name)}.json", lambda _: None)


def read_linked_service(ws: Workspace, name: str) -> Record:
    """Return a linked service's record.

    :raises ComputeTargetException: there is none, with the nearest names.
    """
    try:
        return dict(ws.store.read_json(f"linked_services/{check_name('linked service', name)}.json"))
    except FileNotFoundError:
        pass
    raise ComputeTargetException(
        f"There is no linked service named {name!r}",
        allowed=nearest(name, linked_service_names(ws)),
        hint="Register it with LinkedService.register(workspace, name, linked_service_config)",
    )


def linked_service_names(ws: Workspace) -> list[str]:
    """Return the names of all linked services."""
    return _names(ws, "linked_services")


def write_linked_service(ws: Workspace, record: Record) -> Record:
    """Write the record of a linked service over an older one of its name."""

    def change(before: Record | None) -> Record:
        return {**(before or {"created": time.time()}), **record, "modified": time.time()}

    return dict(ws.store.update(f"linked_services/{record['name']}.json", change) or {})


def remove_linked_service(ws: Workspace, name: str) -> None:
    """Remove a linked service's record."""
    ws.store.update(f"linked_services/{check_name('linked service', name)}.json", lambda _: None)


def _names(ws: Workspace, prefix: str) -> list[str]:
    return sorted(name[: -len(".json")] for name in ws.store.list(prefix) if name.endswith(".json"))
