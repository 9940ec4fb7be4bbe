"""Airflow's connections, as core sees them: the one way by which secrets come in."""

from __future__ import annotations

import time

from stepwell.workspace.connections import ConnectionInfo, EnvironmentConnections

#: For so long an answer is taken again, in seconds: one step asks for the same few connections as the next.
REMEMBERED = 5.0


class AirflowConnections:
    """Find connections where Airflow finds them: environment, secrets backends, metadata database.

    Nothing that Stepwell offers to DAG files asks for a connection while the file is parsed.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, ConnectionInfo | None]] = {}

    def get(self, conn_id: str) -> ConnectionInfo | None:
        """Return the connection, or ``None`` if there is none of that id."""
        found = EnvironmentConnections().get(conn_id)
        if found is not None:
            return found
        asked, known = self._known.get(conn_id, (0.0, None))
        if not asked or time.monotonic() - asked > REMEMBERED:
            known = self._ask(conn_id)
            self._known[conn_id] = (time.monotonic(), known)
        return known

    @staticmethod
    def _ask(conn_id: str) -> ConnectionInfo | None:
        from airflow.sdk import Connection
        from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

        try:
            connection = Connection.get(conn_id)
        except (AirflowNotFoundException, AirflowRuntimeError):
            return None
        return ConnectionInfo(
            conn_id=conn_id,
            conn_type=connection.conn_type,
            host=connection.host,
            port=connection.port,
            login=connection.login,
            password=connection.password,
            schema=connection.schema,
            extra=dict(connection.extra_dejson or {}),
        )
