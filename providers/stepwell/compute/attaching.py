"""How a compute target comes into a workspace, is looked at, and leaves it again; nothing half-done is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from stepwell.compute import in_use, logins, portal, records, resolve
from stepwell.compute.contract import Report
from stepwell.compute.logins import Login
from stepwell.errors import ComputeTargetException, StepwellError, UserErrorException
from stepwell.runtime.names import check_name
from stepwell.workspace.connections import ConnectionInfo, connection_store, get_connection

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: A target that has not been looked at in so many seconds does not answer.
PROBE_SECONDS = 120.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is to be attached or created.

    :param kind: the kind in the registry.
    :param type: v1's name of the type.
    :param settings: plain JSON, kept in the record.
    :param connection_id: an Airflow connection that exists.
    :param login: what a new connection is made of instead.
    :param over_ssh: a host key must be pinned.
    """

    kind: str
    type: str
    managed: bool
    settings: Mapping[str, Any]
    connection_id: str | None = None
    login: Login | None = None
    over_ssh: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None


def add(ws: Workspace, name: str, plan: Plan) -> records.Record:
    """Attach or create a compute target, or change the one of that name; return its record.

    It is looked at first. If it cannot work, or anything else fails, all is as it was.

    :raises ComputeTargetException: it cannot work; its name is that of another type; jobs run where it was.
    """
    check_new_name(name)
    before = _record(ws, name)
    if before is not None:
        records.refuse_other_type(before, plan.type)
    made = _made(ws, name, plan)
    connection = made or _existing(plan.connection_id, name)
    settings = dict(plan.settings)
    if plan.over_ssh and connection is not None:
        settings["host_key"] = host_key = _pinned(settings.get("host_key"), connection, before)
        if made is not None:  # so that Airflow's own SSH hook and operators can use the connection, too
            made = connection = replace(made, extra={**made.extra, "host_key": host_key.splitlines()[0]})
    record: records.Record = {
        "name": name,
        "kind": plan.kind,
        "type": plan.type,
        "configuration": settings,
        "connection_id": plan.connection_id if made is None else made.conn_id,
        "tags": dict(plan.tags),
        "description": plan.description,
        "provisioning_state": "Succeeded",
        "is_attached": not plan.managed,
    }
    report, error = look(ws, record, connection)
    if not report.ok:
        refused = ComputeTargetException(
            f"The compute target {name!r} cannot work: {'; '.join(report.problems)}", hint="Nothing has been changed"
        )
        refused.permanent = error is not None and error.permanent
        raise refused from error
    record["report"] = report.to_dict()
    _refuse_to_move_jobs(ws, before, record, connection)
    return _keep(ws, record, made)


def check_new_name(name: str) -> None:
    """Look whether a compute target may have that name.

    :raises UserErrorException: it is reserved, or against the rule.
    """
    if name in records.RESERVED:
        raise UserErrorException(f"{name!r} is a reserved name for a compute target", hint="Choose another name")
    check_name("compute target", name)


def look(
    ws: Workspace, record: records.Record, connection: ConnectionInfo | None = None
) -> tuple[Report, StepwellError | None]:
    """Probe a target. What keeps it from being looked at is a problem of the report, and returned beside it.

    :param connection: in place of the one that the record names.
    """
    try:
        return portal.call(resolve.target_of(ws, record, connection).probe(), PROBE_SECONDS), None
    except TimeoutError:
        return Report(time.time(), {}, (f"it did not answer within {PROBE_SECONDS:.0f} s",)), None
    except StepwellError as error:
        return Report(time.time(), {}, (str(error).rstrip("."),)), error


def probe(ws: Workspace, record: records.Record) -> tuple[Report, records.Record]:
    """Look at the target again and keep the dated report; one that was made by hand gets its record now."""
    report, _ = look(ws, record)
    if record["name"] == "local":
        return report, record
    state = "Succeeded" if report.ok else "Failed"
    return report, records.write(ws, {**record, "provisioning_state": state, "report": report.to_dict()})


def first_use(ws: Workspace, record: records.Record) -> records.Record:
    """Look at a target that was made by hand, the first time that somebody uses it.

    :raises ComputeTargetException: it cannot work.
    """
    report, written = probe(ws, record)
    if not report.ok:
        raise ComputeTargetException(
            f"The compute target {record['name']!r}, made by hand as the connection {record['connection_id']!r}, "
            f"cannot work: {'; '.join(report.problems)}",
            hint=f"Change the connection, then: airflow stepwell computetarget probe {record['name']}",
        )
    return written


def remove(ws: Workspace, record: records.Record, *, force: bool = False) -> None:
    """Remove the target's record, and the connection that was made for it.

    :param force: also if jobs run there; they go on, and nobody collects them.
    :raises ComputeTargetException: jobs run there; they are named. It was made by hand, and its connection is there.
    """
    name, conn_id = record["name"], record.get("connection_id")
    if not force:
        in_use.refuse(ws, record, "cannot be removed")
    connection = get_connection(conn_id) if conn_id else None
    if connection is not None and connection.conn_type == records.BY_HAND and conn_id == name:
        raise ComputeTargetException(
            f"The compute target {name!r} was made by hand: it is there as long as the connection {conn_id!r}",
            hint=f"Remove that (airflow connections delete {conn_id}), then this if it is still shown",
        )
    records.remove(ws, name)
    if connection is not None and connection.extra.get(logins.MADE_FOR) == logins.owner(ws, name):
        try:
            connection_store(f"the connection {conn_id!r}").remove(connection.conn_id)
        except ComputeTargetException as error:
            _log.warning("The connection %r of the compute target %r is left: %s", conn_id, name, error)


# -- the connection ----------------------------------------------------------------------------------------------------


def _made(ws: Workspace, name: str, plan: Plan) -> ConnectionInfo | None:
    """Return the connection to make, not kept yet."""
    if plan.login is None:
        return None
    conn_id = logins.connection_id(ws, name)
    connection_store(f"the login of the compute target {name!r}").check(conn_id)
    there = get_connection(conn_id)
    if there is not None and there.extra.get(logins.MADE_FOR) != logins.owner(ws, name):
        raise ComputeTargetException(
            f"The connection {conn_id!r} exists already, and was not made for this compute target",
            hint="Attach the target with it (ssh_conn_id), remove it, or choose another name",
        )
    return plan.login.connection(ws, name)


def _existing(conn_id: str | None, name: str) -> ConnectionInfo | None:
    return None if conn_id is None else resolve.connection_of({"connection_id": conn_id, "name": name})


def _keep(ws: Workspace, record: records.Record, made: ConnectionInfo | None) -> records.Record:
    """Write the connection, then the record; without the record, no connection stays."""
    if made is None:
        return records.write(ws, record)
    store = connection_store(f"the login of the compute target {record['name']!r}")
    before = store.get(made.conn_id)
    said = f"Login of the Stepwell compute target {record['name']} of the workspace {ws.name}"
    store.put(made, said)
    try:
        return records.write(ws, record)
    except BaseException:
        if before is None:
            store.remove(made.conn_id)
        else:
            store.put(before, said)
        raise


# -- the host key ------------------------------------------------------------------------------------------------------


def _pinned(given: str | None, connection: ConnectionInfo, before: records.Record | None) -> str:
    """Return the host keys to pin, as lines.

    :raises ComputeTargetException: none is known; the host shows another one than the fingerprint that was given.
    """
    from stepwell.compute.ssh import hostkeys

    host, port = connection.host or "", connection.port or 22
    given = given or connection.extra.get("host_key") or _known_before(connection, before)
    if given and not hostkeys.is_fingerprint(given.split()[0]):
        return "\n".join(hostkeys.parse(given))
    shown = portal.call(hostkeys.scan(host, port), 60)
    if given:
        found = hostkeys.matching(shown, given.split())
        if found:
            return "\n".join(found)
        raise hostkeys.HostKeyRefused(
            f"{host}:{port} shows other host keys than {given}: {hostkeys.shown(shown)}",
            hint="Is it the right machine? If so, give the fingerprint that it shows itself: ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub",
        )
    error = hostkeys.missing(f"{host}:{port}")
    raise hostkeys.HostKeyRefused(
        f"{error.what}. It shows {hostkeys.shown(shown)}",
        allowed=error.allowed,
        hint="Compare with what it says itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then give "
        "host_key='SHA256:…', on the command line --accept-host-key SHA256:…",
    )


def _known_before(connection: ConnectionInfo, before: records.Record | None) -> str | None:
    """Return the key that is pinned already, if the target was on the same machine."""
    if before is None or not before.get("connection_id"):
        return None
    old = get_connection(before["connection_id"])
    if old is None or (old.host, old.port or 22) != (connection.host, connection.port or 22):
        return None
    key = before["configuration"].get("host_key")
    return None if key is None else str(key)


# -- where it was ------------------------------------------------------------------------------------------------------


def _record(ws: Workspace, name: str) -> records.Record | None:
    try:
        return records.read(ws, name)
    except ComputeTargetException:
        return None


def _refuse_to_move_jobs(
    ws: Workspace, before: records.Record | None, now: records.Record, connection: ConnectionInfo | None
) -> None:
    """Refuse to attach a target elsewhere while jobs run where it was: nobody would find them again."""
    if before is None or not before["is_attached"] or before["provisioning_state"] == records.UNPROBED:
        return
    try:
        old = resolve.connection_of(before)
        layouts = [resolve.target_of(ws, *one).layout("job") for one in ((before, old), (now, connection))]
    except StepwellError:
        return  # it cannot be reached any more as it was
    if layouts[0] == layouts[1] and _where(old) == _where(connection):
        return
    in_use.refuse(ws, before, "cannot be attached elsewhere")


def _where(connection: ConnectionInfo | None) -> tuple[Any, ...] | None:
    return None if connection is None else (connection.host, connection.port, connection.login)
