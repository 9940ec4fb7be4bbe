"""The ``hdfs`` filesystem of Airflow's ``ObjectStoragePath``: ``ObjectStoragePath("hdfs://conn_id@namenode/data/x")``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stepwell.errors import DatastoreError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

schemes = ["hdfs"]
#: Types of connections that can say where WebHDFS answers, and the port where it does if nothing else is said.
_TYPES = ("stepwell_datastore", "webhdfs", "hdfs")
_PORT = 9870


def get_fs(conn_id: str | None, storage_options: Mapping[str, Any] | None = None) -> AbstractFileSystem:
    """Return the filesystem of a connection (read and written over WebHDFS).

    :param conn_id: a ``stepwell_datastore`` connection of kind ``hdfs``, or Apache's ``webhdfs`` type. Without one the
        options must hold ``webhdfs_url``.
    :param storage_options: ``webhdfs_url`` and ``user`` override the connection's.
    :raises DatastoreError: the connection does not exist, is of another type or names no address.
    """
    from stepwell.hooks.connections import AirflowConnections
    from stepwell.workspace.webhdfs import WebHDFS

    options = dict(storage_options or {})
    url, user = options.get("webhdfs_url"), options.get("user")
    if conn_id is not None:
        connection = AirflowConnections().get(conn_id)
        if connection is None:
            raise DatastoreError(f"There is no connection {conn_id!r}", hint="Make one of type stepwell_datastore")
        if connection.conn_type not in _TYPES or connection.extra.get("kind", "hdfs") != "hdfs":
            raise DatastoreError(
                f"The connection {conn_id!r} (type {connection.conn_type!r}) is not one of HDFS", allowed=_TYPES
            )
        port = connection.port if connection.conn_type == "webhdfs" and connection.port else _PORT
        url = url or connection.extra.get("webhdfs_url") or (connection.host and f"http://{connection.host}:{port}")
        user = user or connection.login
    if not url:
        raise DatastoreError(
            f"Nothing says where WebHDFS of {conn_id!r} answers",
            hint="Give 'webhdfs_url' in the extra of the connection",
        )
    return WebHDFS.at(url, user)
