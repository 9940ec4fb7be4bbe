"""What the name of a datastore means: kind and settings, from a connection, a record, or the workspace itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from stepwell.errors import DatastoreError

if TYPE_CHECKING:
    from stepwell.workspace.connections import ConnectionInfo
    from stepwell.workspace.workspace import Workspace


def of_connection(connection: ConnectionInfo) -> tuple[str, dict[str, Any]]:
    """Return the kind and the settings of the datastore that *connection* describes.

    HDFS: ``host`` and ``port`` are the NameNode's RPC, ``login`` the user; the extra holds ``root`` and
    ``webhdfs_url``. Local: ``root`` in the extra.

    :raises DatastoreError: something is missing.
    """
    extra = connection.extra
    kind = str(extra.get("kind") or ("hdfs" if connection.host else "local"))
    root = extra.get("root") or connection.schema
    if kind == "hdfs":
        if not connection.host:
            raise DatastoreError(
                f"The connection {connection.conn_id!r} names no host", hint="Give the NameNode's host"
            )
        host = connection.host.split("://")[-1]
        return kind, {
            "root": root or "/",
            "rpc": f"hdfs://{host}:{connection.port or 8020}",
            "webhdfs_url": extra.get("webhdfs_url") or f"http://{host}:9870",
            "user": connection.login,
        }
    if not root:
        raise DatastoreError(f"The connection {connection.conn_id!r} names no root", hint="Put 'root' into its extra")
    return kind, {"root": str(root)}


def complete(ws: Workspace, kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with what only the workspace knows: of a machine, how it is reached."""
    if kind != "machine":
        return dict(settings)
    from stepwell.data.stores import machine

    return machine.settings_of(ws, **settings)


def of_workspace(ws: Workspace) -> tuple[str, dict[str, Any]]:
    """Return what ``workspaceblobstore`` is when nobody said otherwise: the folder ``data`` of the workspace's root."""
    url, options = ws.place()
    parts = urlsplit(url)
    if parts.scheme == "hdfs":
        return "hdfs", {
            "root": parts.path.rstrip("/") + "/data",
            "rpc": f"hdfs://{parts.hostname}:{parts.port or 8020}",
            "webhdfs_url": options.get("webhdfs_url") or f"http://{parts.hostname}:9870",
            "user": options.get("user") or parts.username,
        }
    return "local", {"root": unquote(parts.path).rstrip("/") + "/data"}
