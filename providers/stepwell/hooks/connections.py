"""Airflow's connections, as core sees them: the one way by which secrets come in."""

from __future__ import annotations

from stepwell.workspace.connections import ConnectionInfo, EnvironmentConnections


class AirflowConnections:
    """Find connections where Airflow finds them: environment, secrets backends, metadata database.

    Nothing that Stepwell offers to DAG files asks for a connection while the file is parsed.
    """

    def get(self, conn_id: str) -> ConnectionInfo | None:
        """Return the connection, or ``None`` if there is none of that id."""
        found = EnvironmentConnections().get(conn_id)
        if found is not None:
            return found
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
