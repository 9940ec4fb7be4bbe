"""A step that waits outside of its worker, as ``airflow dags test`` runs it: in line, and Ctrl-C ends the job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stepwell import Workspace
from stepwell.tracking import history

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

DAG = """
from airflow.sdk import dag

from stepwell import OutputFileDatasetConfig
from stepwell.operators import CommandStepOperator


@dag(schedule=None)
def {name}():
    out = OutputFileDatasetConfig("numbers").as_upload().register_on_complete("{name}")
    CommandStepOperator(
        task_id="wait", command=["sh", "wait.sh", out, "{folder}"], source_directory="{source}", outputs=[out],
        deferrable=True, retries=0,
    )


{name}()
"""
SCRIPT = """
echo $$ > "$2/pid"
echo waiting
while [ ! -e "$2/go" ]; do sleep 0.1; done
echo "n" > "$1/numbers.csv"
echo went on
exit $(cat "$2/go")
"""


def made(folder: Path, name: str) -> Path:
    source = folder / f"{name}_source"
    source.mkdir()
    (source / "wait.sh").write_text(SCRIPT)
    (folder / name).mkdir()
    file = folder / f"{name}.py"
    file.write_text(
        DAG.replace("{name}", name).replace("{source}", str(source)).replace("{folder}", str(folder / name))
    )
    return file


@pytest.mark.parametrize(("code", "state"), [(0, "success"), (3, "failed")])
def test_it_waits_in_line_and_the_second_worker_finishes_the_same_try(
    ws: Workspace, more_dags: Path, monkeypatch: pytest.MonkeyPatch, code: int, state: str
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from stepwell.step.life import Life
    from stepwell.step.watching import Watched
    from stepwell.triggers import job

    name = f"waits_{state}"
    file = made(more_dags, name)
    monkeypatch.setitem(Life.start.__kwdefaults__, "patience", 0.0)
    monkeypatch.setattr(job, "SOONEST", 0.0)
    monkeypatch.setattr(job, "LOG_GRACE", 0.0)
    shown: list[str] = []
    say = Watched.say

    def let_go(self: Watched, text: str) -> None:
        shown.append(text)
        say(self, text)
        (more_dags / name / "go").write_text(str(code))

    monkeypatch.setattr(Watched, "say", let_go)
    bag = DagBag(str(file))
    assert not bag.import_errors
    assert bag.dags[name].test().state == state
    (record,) = history.latest_dag_run(ws, name)
    assert record["status"] == ("completed" if code == 0 else "failed")
    assert record["run_id"].endswith("-g1")
    assert shown[0].splitlines()[0] == "waiting", "the log is shown while the job runs"


@pytest.mark.slow
def test_ctrl_c_ends_the_job(ws: Workspace, more_dags: Path, project: Path) -> None:
    file = made(more_dags, "interrupted")
    command = [sys.executable, "-m", "airflow", "dags", "test", "interrupted", "--dagfile-path", str(file)]
    variables = {name: value for name, value in os.environ.items() if not name.endswith("DAG_BUNDLE_CONFIG_LIST")}
    variables.update(AIRFLOW__CORE__DAGS_FOLDER=str(more_dags), PYTHONPATH=str(project / "providers"))
    out = more_dags / "out.txt"
    with out.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=more_dags, stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True,
            env=variables,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while "running trigger in line" not in out.read_text(errors="replace"):
                assert process.poll() is None, out.read_text(errors="replace")[-3000:]
                assert time.monotonic() < deadline
                time.sleep(0.2)
            time.sleep(2)
            pid = int((more_dags / "interrupted" / "pid").read_text())
            assert Path(f"/proc/{pid}").exists()
            os.kill(process.pid, signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()
    assert not Path(f"/proc/{pid}").exists()
    (record,) = history.latest_dag_run(ws, "interrupted")
    assert record["status"] == "cancelled"
