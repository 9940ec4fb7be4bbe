"""The one port through which connections reach the core, so that it needs no Airflow.

Where they come from, in this order: what was set with :func:`set_connection_source`; the first entry point of the group
``stepwell.connections`` (inside Airflow: its connections, with all its secret backends); else the environment variables
``AIRFLOW_CONN_<ID>``, as JSON or as URI, as Airflow itself reads them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl, unquote, urlsplit

from stepwell.errors import ComputeTargetException, UserErrorException

ENTRY_POINTS = "stepwell.connections"


@dataclass(frozen=True)
class ConnectionInfo:
    """A connection, as far as Stepwell needs to know it. The password never shows in its ``repr``."""

    conn_id: str
    conn_type: str = ""
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class ConnectionSource(Protocol):
    """Whoever knows connections."""

    def get(self, conn_id: str) -> ConnectionInfo | None:
        """Return the connection *conn_id*, or ``None`` if there is none."""


@runtime_checkable
class ConnectionStore(ConnectionSource, Protocol):
    """Whoever can keep connections, too. Not in a task: a task may only read them."""

    def check(self, conn_id: str) -> None:
        """Look whether a connection of that id can be kept from here.

        :raises ComputeTargetException: it cannot.
        """

    def add(self, connection: ConnectionInfo, description: str) -> bool:
        """Keep a new connection; return False if there is one of its id, which is left as it is.

        :raises ComputeTargetException: connections cannot be written from here.
        """

    def put(self, connection: ConnectionInfo, description: str) -> None:
        """Keep the connection, in place of one of its id.

        :raises ComputeTargetException: connections cannot be written from here.
        """

    def remove(self, conn_id: str) -> None:
        """Remove the connection; nothing happens if there is none.

        :raises ComputeTargetException: connections cannot be written from here.
        """

    def ids(self, conn_type: str) -> list[str]:
        """Return the ids of the kept connections of a type."""


class EnvironmentConnections:
    """Connections from ``AIRFLOW_CONN_<ID>``, in JSON or URI form."""

    def get(self, conn_id: str) -> ConnectionInfo | None:
        """Return the connection *conn_id*, or ``None`` if its variable is not set.

        :raises UserErrorException: the variable is neither JSON nor a URI (its value is not shown).
        """
        variable = f"AIRFLOW_CONN_{conn_id.upper()}"
        text = os.environ.get(variable, "").strip()
        if not text:
            return None
        try:
            return _from_json(conn_id, text) if text.startswith("{") else _from_uri(conn_id, text)
        except (ValueError, TypeError, AttributeError):
            # No "from error": the value may hold a password, and a JSON error quotes what it could not read.
            raise UserErrorException(
                f"The connection in the environment variable {variable} cannot be read",
                allowed=[
                    '{"conn_type": "…", "host": "…", …} as JSON',
                    "type://login:password@host:port/schema?key=value",
                ],
            ) from None


_source: ConnectionSource | None = None


def set_connection_source(source: ConnectionSource | None) -> None:
    """Take connections from *source* from now on; ``None``: back to the default."""
    global _source
    _source = source


def get_connection(conn_id: str) -> ConnectionInfo | None:
    """Return the connection *conn_id*, or ``None`` if nobody knows it."""
    global _source
    if _source is None:
        _source = _default_source()
    return _source.get(conn_id)


def connection_store(what: str) -> ConnectionStore:
    """Return where connections can be kept.

    :param what: what is to be kept, for the message: "the password of gpu-box".
    :raises ComputeTargetException: nowhere: they come from environment variables here.
    """
    global _source
    if _source is None:
        _source = _default_source()
    if not isinstance(_source, ConnectionStore):
        raise ComputeTargetException(
            f"There is nowhere to keep {what}: connections come from environment variables here",
            hint="Use a connection that exists (AIRFLOW_CONN_<ID>), by its id; or do this where Airflow is: "
            "airflow stepwell computetarget …",
        )
    return _source


def _default_source() -> ConnectionSource:
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINTS):
        source: ConnectionSource = entry_point.load()()
        return source
    return EnvironmentConnections()


def _from_json(conn_id: str, text: str) -> ConnectionInfo:
    fields = json.loads(text)
    return ConnectionInfo(
        conn_id=conn_id,
        conn_type=str(fields.get("conn_type") or ""),
        host=fields.get("host") or None,
        port=int(fields["port"]) if fields.get("port") else None,
        login=fields.get("login") or None,
        password=fields.get("password") or None,
        schema=fields.get("schema") or None,
        extra=_extra(fields.get("extra")),
    )


def _from_uri(conn_id: str, text: str) -> ConnectionInfo:
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("no scheme")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    extra = _extra(query.pop("__extra__")) if "__extra__" in query else query
    return ConnectionInfo(
        conn_id=conn_id,
        conn_type=parts.scheme.replace("-", "_"),
        host=unquote(parts.hostname) if parts.hostname else None,
        port=parts.port,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        schema=unquote(parts.path.lstrip("/")) or None,
        extra=extra,
    )


def _extra(extra: Any) -> dict[str, Any]:
    if isinstance(extra, str):
        extra = json.loads(extra) if extra.strip() else {}
    if extra is None:
        return {}
    if not isinstance(extra, dict):
        raise ValueError("extra is not an object")
    return extra
