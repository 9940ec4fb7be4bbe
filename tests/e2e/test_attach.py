"""What the command line has attached, a task can use: its connection comes to it from Airflow's database."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.machines.vm import Vm
from tests.machines.vm import vm as vm
from tests.support.airflow_server import settings
from tests.support.scratch import scratch as scratch

from stepwell.compute.ssh import hostkeys

pytest.importorskip("airflow")

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

DAG = """
from airflow.sdk import dag
from stepwell.operators import CommandStepOperator

@dag(schedule=None)
def elsewhere():
    CommandStepOperator(
        task_id="where", command=["hostname"], source_directory="source", compute_target="gpu-box",
        environment={"user_managed": True, "interpreter": "/usr/bin/python3"},
    )

elsewhere()
"""


def test_a_machine_is_attached_and_a_step_runs_there(project: Path, vm: Vm, tmp_path: Path, scratch: Path) -> None:
    dags = tmp_path / "dags"
    (dags / "source").mkdir(parents=True)
    (dags / "source" / "x.txt").write_text("x")
    (dags / "elsewhere.py").write_text(DAG.replace('"source"', repr(str(dags / "source"))))
    variables = {
        **settings(project),
        "PYTHONPATH": str(project / "providers"),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__FERNET_KEY": "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(tmp_path / "logs"),
        "STEPWELL_ROOT": str(tmp_path / "workspace"),
        "STEPWELL_SCRATCH": str(scratch),
        "COLUMNS": "200",
        **{name: os.environ[name] for name in ("STEPWELL_UV", "UV_CACHE_DIR") if name in os.environ},
    }

    def airflow(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "airflow", *arguments], cwd=tmp_path, env=variables, input=typed,
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    migrated = airflow("db", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    flags = ["-n", "gpu-box", "-a", vm.address, "-u", vm.login, "--accept-host-key", hostkeys.fingerprint(vm.host_key)]
    command = ("stepwell", "computetarget")
    attached = airflow(*command, "attach", "remote", *flags, "-w", "-", "-o", "json", typed=vm.password + "\n")
    assert attached.returncode == 0, attached.stderr
    shown = json.loads(attached.stdout[attached.stdout.index("{") :])
    assert shown["report"]["ok"]
    assert vm.password not in attached.stdout + attached.stderr

    tested = airflow("dags", "test", "elsewhere")
    said = tested.stdout + tested.stderr
    assert tested.returncode == 0, said[-4000:]
    host = vm.exec("hostname")
    assert f"] {host}" in said or f"\n{host}" in said or f" {host}" in said, said[-4000:]
    assert vm.password not in said
    (run,) = (tmp_path / "workspace" / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["status"] == "completed"

    detached = airflow(*command, "detach", "gpu-box")
    assert detached.returncode == 0, detached.stderr
    listed = airflow("connections", "list", "-o", "json")
    assert "stepwell_target" not in listed.stdout
    shutil.rmtree(tmp_path / "logs", ignore_errors=True)
