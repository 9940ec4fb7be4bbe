"""A smoke of the real commands: ``airflow dags test`` on an example, and what is then told of its runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.airflow_server import settings
from tests.support.scratch import scratch as scratch

pytest.importorskip("airflow")

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

DAG = "python_step_local"
#: Each step, its target, duration, input versions, output versions, the gate's verdict, metrics: the demo's last words.
COLUMNS = ["step", "target", "status", "duration", "inputs", "outputs", "gate", "metrics"]


@dataclass
class Shell:
    """Commands in the project's folder, with the settings of its Makefile and an Airflow home of their own."""

    project: Path
    variables: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.project, env=self.variables, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=300,
        )  # fmt: skip

    def airflow(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "airflow", *arguments)


@pytest.fixture(scope="module")
def shell(project: Path, tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Shell:
    """Airflow with a migrated database, and an empty workspace."""
    folder = tmp_path_factory.mktemp("command-line")
    home = folder / "airflow"
    variables = {
        **settings(project),
        "PYTHONPATH": str(project / "providers"),  # this tree, whatever is installed
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "STEPWELL_ROOT": str(folder / "workspace"),
        "STEPWELL_SCRATCH": str(scratch),
        "COLUMNS": "200",
        **{name: os.environ[name] for name in ("STEPWELL_UV", "UV_CACHE_DIR") if name in os.environ},
    }
    home.mkdir()
    made = Shell(project, variables)
    migrated = made.airflow("db", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    return made


@pytest.fixture(scope="module")
def tested(shell: Shell) -> subprocess.CompletedProcess[str]:
    """``airflow dags test`` of the example."""
    return shell.airflow("dags", "test", DAG)


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table in *text*, line by line."""
    return [[c.strip() for c in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")]


def test_dags_test_ends_well_and_shows_the_steps_own_output(tested: subprocess.CompletedProcess[str]) -> None:
    said = tested.stdout + tested.stderr
    assert tested.returncode == 0, said[-4000:]
    assert "Traceback" not in said
    assert "state=success" in said.replace("'", "").replace('"', ""), said[-2000:]


@pytest.mark.usefixtures("tested")
@pytest.mark.parametrize(
    "command", [["-m", "airflow", "stepwell", "runs", "summary"], ["-m", "stepwell.cli", "summary"]]
)
def test_the_summary_is_the_table_that_the_demo_ends_with(shell: Shell, command: list[str]) -> None:
    done = shell.run(sys.executable, *command, "--dag", DAG)
    assert done.returncode == 0, done.stderr
    head, *body = rows(done.stdout)
    assert head == COLUMNS
    (count,) = [row for row in body if row[0] == "count"]
    (best,) = [row for row in body if row[0] == "best"]
    assert (count[1], count[2], count[5]) == ("local", "completed", "survival_by_class v1")
    assert count[3].endswith(" s")
    assert float(count[3].removesuffix(" s")) > 0
    assert count[4].startswith("passengers ("), "an unregistered input is shown by its id"
    assert (best[1], best[2], best[4], best[5]) == ("local", "completed", "survival_by_class v1", "")
    assert "best_class 1" in best[7]
    assert "passengers 891" in [row[7] for row in body]
    assert DAG in done.stdout.splitlines()[0]
    logs = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  log ")]
    assert len(logs) == 2
    assert all(Path(log).stat().st_size for log in logs)


@pytest.mark.usefixtures("tested")
def test_a_run_is_listed_and_shown(shell: Shell) -> None:
    listed = shell.airflow("stepwell", "runs", "list", "--dag", DAG, "--output", "json")
    assert listed.returncode == 0, listed.stderr
    records = json.loads(listed.stdout)
    assert [r["step"] for r in records] == ["best", "count"], "newest first"
    shown = shell.airflow("stepwell", "runs", "show", records[0]["run_id"], "--output", "json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout) == records[0]


def test_an_unknown_run_is_one_sentence(shell: Shell) -> None:
    done = shell.airflow("stepwell", "runs", "show", "nope")
    assert done.returncode != 0
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert len(said) == 1, said
    assert said[0].startswith("error: There is no run 'nope' in the workspace default")
    assert "airflow stepwell runs list" in said[0]


def test_a_dag_that_has_not_run_is_one_sentence(shell: Shell) -> None:
    done = shell.airflow("stepwell", "runs", "summary", "--dag", "nope")
    assert done.returncode != 0
    assert done.stderr.startswith("error: No step of the DAG 'nope' has run")
    assert "Traceback" not in done.stdout + done.stderr
