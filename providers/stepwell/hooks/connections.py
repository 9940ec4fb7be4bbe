"""Airflow's connections, as core sees them: the one way by which secrets come in, and by which they are kept."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stepwell.errors import ComputeTargetException
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
            connection: Any = Connection.get(conn_id)
        except (AirflowNotFoundException, AirflowRuntimeError):
            connection = None if _only_reads() else _from_database(conn_id)
        if connection is None:
            return None
        return ConnectionInfo(
            conn_id=conn_id,
            conn_type=connection.conn_type or "",
            host=connection.host or None,
            port=connection.port,
            login=connection.login or None,
            password=connection.password or None,
            schema=connection.schema or None,
            extra=dict(connection.extra_dejson or {}),
        )

    # -- keeping ---------------------------------------------------------------------------------------------------

    def check(self, conn_id: str) -> None:
        """Look whether a connection of that id can be kept from here, and would be read afterwards."""
        if _only_reads():
            raise _tasks_only_read(conn_id)
        if EnvironmentConnections().get(conn_id) is not None:
            raise ComputeTargetException(
                f"The environment variable AIRFLOW_CONN_{conn_id.upper()} says what the connection {conn_id!r} is",
                hint="What would be written would not be read: unset it, or use another name",
            )

    def add(self, connection: ConnectionInfo, description: str) -> bool:
        """Keep a new connection in the metadata database; return False if there is one of its id."""
        from sqlalchemy.exc import IntegrityError

        self.check(connection.conn_id)
        try:
            with _database(connection.conn_id) as (session, model):
                if _row(session, model, connection.conn_id) is not None:
                    return False
                session.add(_filled(model(conn_id=connection.conn_id), connection, description))
        except IntegrityError:
            return False
        finally:
            self._known.pop(connection.conn_id, None)
        return True

    def put(self, connection: ConnectionInfo, description: str) -> None:
        """Keep the connection in the metadata database, in place of one of its id."""
        self.check(connection.conn_id)
        with _database(connection.conn_id) as (session, model):
            row = _row(session, model, connection.conn_id)
            if row is not None:  # a new row: nothing of the old one, such as its password, may stay
                session.delete(row)
                session.flush()
            session.add(_filled(model(conn_id=connection.conn_id), connection, description))
        self._known.pop(connection.conn_id, None)

    def remove(self, conn_id: str) -> None:
        """Remove the connection from the metadata database."""
        with _database(conn_id) as (session, model):
            row = _row(session, model, conn_id)
            if row is not None:
                session.delete(row)
        self._known.pop(conn_id, None)

    def ids(self, conn_type: str) -> list[str]:
        """Return the ids of connections of a type; none where the database cannot be asked (in a task)."""
        from sqlalchemy import select

        if _only_reads():
            return []
        try:
            with _database("") as (session, model):
                found = session.scalars(select(model.conn_id).where(model.conn_type == conn_type))
                return sorted(str(conn_id) for conn_id in found)
        except ComputeTargetException:
            return []  # there is no database yet


def _only_reads() -> bool:
    """Whether this is a process of Airflow's that may not touch the database: a task, a trigger, a parser."""
    if os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "client":
        return True
    from airflow.sdk.execution_time import task_runner

    return getattr(task_runner, "SUPERVISOR_COMMS", None) is not None


def _from_database(conn_id: str) -> Any:
    """Return the connection where nobody but this process asks the database: a command, a notebook."""
    try:
        with _database(conn_id) as (session, model):
            row = _row(session, model, conn_id)
            if row is not None:
                session.expunge(row)
            return row
    except ComputeTargetException:
        return None  # there is no database yet


def _tasks_only_read(conn_id: str) -> ComputeTargetException:
    error = ComputeTargetException(
        f"A task may not write the connection {conn_id!r}: Airflow lets tasks only read connections",
        hint="Attach the target once with: airflow stepwell computetarget attach …, which makes the connection; "
        "or make the connection yourself, and name it here (ssh_conn_id=…)",
    )
    error.permanent = True
    return error


@contextmanager
def _database(conn_id: str) -> Iterator[tuple[Any, Any]]:
    """Give a session of the metadata database, and the model of connections.

    :raises ComputeTargetException: not from here; there is no database, or it does not answer.
    """
    if _only_reads():
        raise _tasks_only_read(conn_id)
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError, SQLAlchemyError

    try:
        with create_session() as session:
            yield session, Connection
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        raise ComputeTargetException(
            f"Airflow's database cannot be used for the connection {conn_id!r}: {str(error).splitlines()[0]}",
            hint="Is it there, and up to date? airflow db check, airflow db migrate",
        ) from error


def _row(session: Any, model: Any, conn_id: str) -> Any:
    from sqlalchemy import select

    return session.scalar(select(model).where(model.conn_id == conn_id))


def _filled(row: Any, connection: ConnectionInfo, description: str) -> Any:
    row.conn_type, row.description = connection.conn_type, description
    row.host, row.port, row.schema = connection.host, connection.port, connection.schema
    row.login = connection.login
    row.set_password(connection.password)
    row.set_extra(json.dumps(dict(connection.extra)) if connection.extra else "")
    return row
