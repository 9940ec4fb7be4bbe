"""Connections in memory: a store as Airflow's, without its database."""

from __future__ import annotations

from stepwell.workspace.connections import ConnectionInfo


class Kept:
    """Keeps connections by their ids."""

    def __init__(self) -> None:
        self.all: dict[str, ConnectionInfo] = {}

    def get(self, conn_id: str) -> ConnectionInfo | None:
        return self.all.get(conn_id)

    def check(self, conn_id: str) -> None: ...

    def add(self, connection: ConnectionInfo, description: str) -> bool:
        return self.all.setdefault(connection.conn_id, connection) is connection

    def put(self, connection: ConnectionInfo, description: str) -> None:
        self.all[connection.conn_id] = connection

    def remove(self, conn_id: str) -> None:
        self.all.pop(conn_id, None)

    def ids(self, conn_type: str) -> list[str]:
        return sorted(name for name, one in self.all.items() if one.conn_type == conn_type)
