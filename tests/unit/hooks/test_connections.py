"""Connections are kept in Airflow's database by commands and notebooks, and by nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("airflow")

from stepwell.errors import ComputeTargetException
from stepwell.hooks.connections import AirflowConnections
from stepwell.workspace.connections import ConnectionInfo

_PROGRAM = """
from airflow import settings
from airflow.models.connection import Connection as Row
from stepwell.workspace.connections import ConnectionInfo, connection_store, get_connection

try:
    connection_store("x").put(ConnectionInfo("a", "ssh"), "")
except Exception as error:
    assert "Airflow's database cannot be used for the connection 'a'" in str(error), error
else:
    raise AssertionError("there is no database yet")
assert get_connection("a") is None
assert connection_store("x").ids("ssh") == []

table = Row.__table__
Row.metadata.create_all(settings.engine, [*(key.column.table for key in table.foreign_keys), table])
store = connection_store("x")
store.check("a")
made = ConnectionInfo("a", "ssh", "host", 2222, "me", "hush-hush", extra={"private_key": "KEY\\n"})
assert get_connection("a") is None
assert store.add(made, "what it is for")
assert not store.add(ConnectionInfo("a", "ssh", "other"), "")
assert get_connection("a") == made, get_connection("a")
store.put(ConnectionInfo("a", "ssh", "host2"), "")
assert get_connection("a") == ConnectionInfo("a", "ssh", "host2"), "nothing of the old one stays"
assert (store.ids("ssh"), store.ids("livy")) == (["a"], [])
store.remove("a")
store.remove("a")
assert get_connection("a") is None
"""


def test_they_are_kept_replaced_and_removed(tmp_path: Path, project: Path) -> None:
    variables = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(project / "providers"),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__CORE__FERNET_KEY": "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",
    }
    done = subprocess.run([sys.executable, "-c", _PROGRAM], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"hush-hush" not in (tmp_path / "airflow.db").read_bytes()


def test_a_task_may_not_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    store = AirflowConnections()
    made = ConnectionInfo("a", "ssh")
    for write in (lambda: store.check("a"), lambda: store.put(made, ""), lambda: store.remove("a")):
        with pytest.raises(ComputeTargetException, match="A task may not write .*computetarget attach") as caught:
            write()
        assert caught.value.permanent
    assert store.ids("ssh") == []


def test_one_that_a_variable_says_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_A", "ssh://me@host")
    with pytest.raises(ComputeTargetException, match="AIRFLOW_CONN_A says what the connection 'a' is"):
        AirflowConnections().put(ConnectionInfo("a", "ssh"), "")
