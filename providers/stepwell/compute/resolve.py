"""From what a step says about its compute target to the target that runs its job."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stepwell.compute import limits, records, registry
from stepwell.compute.contract import Target
from stepwell.errors import ComputeTargetException, UserErrorException

if TYPE_CHECKING:
    from stepwell.workspace import Workspace
    from stepwell.workspace.connections import ConnectionInfo


def local_root(ws: Workspace | None) -> str:
    """Return the folder of this machine's targets, where jobs, environments and the payload are.

    ``STEPWELL_SCRATCH`` if set; else below the workspace when that is on a local disk; else ``./.stepwell``.
    """
    scratch = os.environ.get("STEPWELL_SCRATCH")
    if scratch:
        return os.path.abspath(scratch)
    inside = None if ws is None else ws.store.local_path("targets/local")
    return os.path.abspath(os.path.join(".stepwell", "targets", "local") if inside is None else inside)


def target_for(ws: Workspace, name_or_object: Any) -> Target:
    """Return the target that a step names. One that was made by hand is looked at when it is first used.

    :param name_or_object: a name, a ``ComputeTarget``, v1's ``(name, type)``, or a target itself.
    :raises ComputeTargetException: there is no such compute target; one that was made by hand cannot work.
    """
    if isinstance(name_or_object, Target):
        return name_or_object
    if isinstance(name_or_object, tuple) and name_or_object:
        name_or_object = name_or_object[0]
    name = name_or_object if isinstance(name_or_object, str) else getattr(name_or_object, "name", None)
    if not isinstance(name, str):
        raise UserErrorException(f"{name_or_object!r} is not a compute target", allowed=["a name", "a ComputeTarget"])
    record = records.read(ws, name)
    if record.get("provisioning_state") == records.UNPROBED:
        from stepwell.compute.attaching import first_use

        record = first_use(ws, record)
    return target_of(ws, record)


def target_of(ws: Workspace | None, record: records.Record, connection: ConnectionInfo | None = None) -> Target:
    """Return the target that a compute record describes.

    :param connection: to be used in place of the one that the record names; it need not be kept anywhere yet.
    :raises ComputeTargetException: its connection is missing or does not fit.
    """
    record = _as_its_service_is(ws, record)
    if connection is None:
        connection = connection_of(record)
    if connection is not None:
        record["connection"] = connection
    storage = record["configuration"].get("storage")
    if ws is not None and storage and "://" not in str(storage):
        record["datastore"] = ws.datastore(storage).backend
    backing = record["configuration"].get("backing_target")
    if ws is not None and backing not in (None, "local"):
        try:
            record["backing"] = below = records.read(ws, backing)
        except ComputeTargetException as error:
            raise ComputeTargetException(
                f"{record['name']!r} stands on the compute target {backing!r}, which is not there: {error.what}",
                allowed=error.allowed,
                hint="Attach it first",
            ) from error
        below["connection"] = connection_of(below)
    target = registry.target_class(record["kind"]).from_record(record, local_root(ws))
    target.unreachable_seconds = limits.unreachable_seconds(target.unreachable_seconds)
    return target


def connection_of(record: records.Record) -> ConnectionInfo | None:
    """Return the connection that a compute record names; None if it names none.

    :raises ComputeTargetException: it does not exist.
    """
    conn_id = record.get("connection_id")
    if not conn_id:
        return None
    from stepwell.workspace.connections import get_connection

    connection = get_connection(conn_id)
    if connection is None:
        raise ComputeTargetException(
            f"The connection {conn_id!r} of the compute target {record['name']!r} does not exist",
            hint="Create it in Airflow (Admin, Connections), or attach the target again",
        )
    # The form for targets by hand is one for machines behind SSH; a kind knows Airflow's own types only.
    if connection.conn_type == records.BY_HAND:
        connection = replace(connection, conn_type="ssh")
    return connection


def _as_its_service_is(ws: Workspace | None, record: records.Record) -> records.Record:
    """Return the record with what its linked service says now; as it was attached, if the service is gone."""
    record = dict(record)
    name = record["configuration"].get("linked_service")
    if ws is None or name is None:
        return record
    try:
        service = records.read_linked_service(ws, name)["configuration"]
    except ComputeTargetException as error:
        if record["kind"] == "synapse":
            raise ComputeTargetException(
                f"The linked service {name!r} of the compute target {record['name']!r} is gone",
                hint=f"Register it again with LinkedService.register(workspace, {name!r}, …), or detach the target",
            ) from error
        return record
    from stepwell.compute.linked_service import spark_of

    record["kind"], more, record["connection_id"] = spark_of(service)
    record["configuration"] = {**record["configuration"], **more}
    return record
