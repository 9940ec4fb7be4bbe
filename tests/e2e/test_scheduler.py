"""With the real scheduler: what is published starts its consumers, and a cancel reaches the job, however it comes.

Airflow runs as ``make ui`` runs it, so that command is tested too.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.support.airflow_server import Airflow, processes, running
from tests.support.scratch import scratch as scratch

pytest.importorskip("airflow")

from stepwell.data import registry
from stepwell.tracking import history
from stepwell.workspace import Workspace

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="module")
def airflow(project: Path, folder: Path, scratch: Path) -> Iterator[Airflow]:
    """Airflow with the tests' DAGs and the titanic pair. A step still runs when it is stopped."""
    dags = folder / "dags"
    shutil.copytree(Path(__file__).parent / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("titanic_pipeline", "titanic_scoring"):
        shutil.copy(project / "dags" / f"{name}.py", dags)
    from_outside = {name: os.environ[name] for name in ("STEPWELL_UV", "UV_CACHE_DIR") if name in os.environ}
    (folder / "hold").touch()
    with running(
        project,
        folder / "airflow",
        STEPWELL_ROOT=str(folder / "workspace"),
        STEPWELL_SCRATCH=str(scratch),
        STEPWELL_INCLUDE=str(project / "include"),
        E2E_FOLDER=str(folder),
        AIRFLOW__CORE__DAGS_FOLDER=str(dags),
        AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT="25",
        AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL="3",
        **from_outside,
    ) as server:
        server.until("all DAGs", lambda: server.call("GET", "/dags?limit=100")["total_entries"] >= 10, 90)
        assert server.call("GET", "/importErrors")["import_errors"] == []
        assert server.call("GET", "/plugins/importErrors")["import_errors"] == []
        yield server
        run_id = server.trigger("left_running")
        begun(server, folder, "left_running", run_id)
    assert not processes(str(folder)), "a step outlived Airflow"


@pytest.fixture
def ws(folder: Path) -> Workspace:
    return Workspace("default", folder / "workspace")


def starts(folder: Path, dag_id: str) -> list[list[int]]:
    """The processes of each start of the job so far."""
    file = folder / dag_id / "starts"
    lines = file.read_text().splitlines() if file.exists() else []
    return [[int(pid) for pid in line.split()] for line in lines]


def begun(airflow: Airflow, folder: Path, dag_id: str, run_id: str, times: int = 1) -> list[int]:
    """Wait until the job has started for the n-th time, and return its processes."""
    found = airflow.until(
        f"start {times} of the job of {dag_id}", lambda: len(found := starts(folder, dag_id)) >= times and found
    )
    return list(found[times - 1])


def let_go(folder: Path, dag_id: str) -> None:
    (folder / dag_id / "go").touch()


def is_gone(pids: list[int]) -> bool:
    """Whether none of these processes is there any more (one that nobody has asked about yet is gone too)."""
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            return False
    return True


def records(ws: Workspace, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
    """The newest record of each step of a DAG run, by its task."""
    return {r["task_id"]: r for r in reversed(history.runs(ws, dag_id, run_id))}


def triggered(airflow: Airflow, dag_id: str, count: int) -> dict[str, Any]:
    """Wait until asset events have started the DAG *count* times, and return the last of the runs."""

    def found() -> Any:
        runs = [r for r in airflow.runs(dag_id) if r["run_type"] == "asset_triggered"]
        return len(runs) == count and runs

    return dict(airflow.until(f"run {count} of {dag_id}", found)[-1])


def test_publishing_both_starts_the_consumer_with_the_versions_that_the_events_name(
    airflow: Airflow, folder: Path, ws: Workspace
) -> None:
    first = airflow.trigger("publish_pair")
    assert airflow.run_ended("publish_pair", first) == "success"
    consumer = triggered(airflow, "consume_pair", 1)["dag_run_id"]
    # Newer versions come, without an event, before the step looks: it must not take the latest.
    for side in ("e2e_left", "e2e_right"):
        version = registry.get(ws, side)
        newer = registry.register(ws, side, version.definition, registry.pin(ws, version.definition))
        assert (version.version, newer.version) == (1, 2)
    (folder / "hold").unlink()
    assert airflow.run_ended("consume_pair", consumer) == "success"
    inputs = records(ws, "consume_pair", consumer)["join"]["inputs"]
    assert {name: (i["dataset"], i["version"]) for name, i in inputs.items()} == {
        "left": ("e2e_left", 1),
        "right": ("e2e_right", 1),
    }
    published = {task: airflow.xcom("publish_pair", first, task)["out"] for task in ("left", "right")}
    assert {name: i["digest"] for name, i in inputs.items()} == {name: r["digest"] for name, r in published.items()}
    both = airflow.xcom("consume_pair", consumer, "join")["both"]
    text = Path(both["uri"].removeprefix("file://"), "both.txt").read_text()
    assert text.splitlines() == [f"left {first}", f"right {first}"]
    assert f"joined left {first}" in airflow.log("consume_pair", consumer, "join", 1)


def test_the_next_versions_start_it_again_once(airflow: Airflow, folder: Path, ws: Workspace) -> None:
    (folder / "hold").unlink(missing_ok=True)
    before = len([r for r in airflow.runs("consume_pair") if r["run_type"] == "asset_triggered"])
    run_id = airflow.trigger("publish_pair")
    assert airflow.run_ended("publish_pair", run_id) == "success"
    consumer = triggered(airflow, "consume_pair", before + 1)["dag_run_id"]
    assert airflow.run_ended("consume_pair", consumer) == "success"
    inputs = records(ws, "consume_pair", consumer)["join"]["inputs"]
    published = {task: airflow.xcom("publish_pair", run_id, task)["out"] for task in ("left", "right")}
    assert {n: i["version"] for n, i in inputs.items()} == {n: r["version"] for n, r in published.items()}
    assert len([r for r in airflow.runs("consume_pair") if r["run_type"] == "asset_triggered"]) == before + 1


@pytest.mark.parametrize("state", ["failed", "success"])
def test_marking_a_running_task_stops_its_job(airflow: Airflow, folder: Path, ws: Workspace, state: str) -> None:
    dag_id = f"marked_{state}"
    run_id = airflow.trigger(dag_id)
    job = begun(airflow, folder, dag_id, run_id)
    airflow.mark(dag_id, run_id, "wait", state)
    airflow.until("the end of the job's processes", lambda: is_gone(job), 60)
    airflow.until("the record", lambda: records(ws, dag_id, run_id)["wait"]["status"] == "cancelled", 60)
    assert len(starts(folder, dag_id)) == 1
    assert airflow.task(dag_id, run_id, "wait")["state"] == state
    assert dag_id not in registry.names(ws)
    airflow.until("the end of the launcher", lambda: not processes(f"{dag_id}.wait"), 30)


def test_clearing_a_running_task_stops_its_job_and_starts_another(
    airflow: Airflow, folder: Path, ws: Workspace
) -> None:
    run_id = airflow.trigger("cleared")
    first = begun(airflow, folder, "cleared", run_id)
    airflow.clear("cleared", run_id, "wait")
    airflow.until("the end of the first job", lambda: is_gone(first), 60)
    begun(airflow, folder, "cleared", run_id, times=2)
    let_go(folder, "cleared")
    assert airflow.run_ended("cleared", run_id) == "success"
    assert len(starts(folder, "cleared")) == 2
    assert [r["status"] for r in reversed(history.runs(ws, "cleared", run_id))] == ["cancelled", "completed"]
    assert [v.version for v in registry.versions(ws, "cleared")] == [1]


@pytest.mark.parametrize("who", ["task", "worker"])
def test_a_retry_adopts_the_job_of_a_killed_process(airflow: Airflow, folder: Path, ws: Workspace, who: str) -> None:
    """SIGKILL of the task's own process, and of the whole worker (then Airflow misses its heartbeat)."""
    dag_id = f"{who}_killed"
    run_id = airflow.trigger(dag_id)
    job = begun(airflow, folder, dag_id, run_id)
    task = airflow.task(dag_id, run_id, "wait")
    of_task = set(processes(task["id"]))
    victims = {int(task["pid"])} if who == "task" else of_task
    assert int(task["pid"]) in of_task
    assert who == "task" or len(of_task) == 2
    for pid in sorted(victims, reverse=True):
        os.kill(pid, signal.SIGKILL)
    airflow.until(
        "the second try",
        lambda: (t := airflow.task(dag_id, run_id, "wait"))["try_number"] == 2 and t["state"] == "running",
        120,
    )
    airflow.until("the adoption", lambda: "adopted" in airflow.log(dag_id, run_id, "wait", 2), 60)
    assert not is_gone(job)
    let_go(folder, dag_id)
    assert airflow.run_ended(dag_id, run_id) == "success"
    assert starts(folder, dag_id) == [job], "the job ran once"
    assert [v.version for v in registry.versions(ws, dag_id)] == [1]
    log = airflow.log(dag_id, run_id, "wait", 2)
    assert "waiting" in log  # the whole log is streamed again
    assert "went on" in log


def test_the_titanic_pair(airflow: Airflow, ws: Workspace) -> None:
    """Prepare on Spark, gate, train; then the scoring starts by itself, with exactly what was published."""
    run_id = airflow.trigger("titanic_pipeline")
    assert airflow.run_ended("titanic_pipeline", run_id, 600) == "success"
    consumer = triggered(airflow, "titanic_scoring", 1)["dag_run_id"]
    assert airflow.run_ended("titanic_scoring", consumer, 300) == "success"
    made = {
        "passengers": airflow.xcom("titanic_pipeline", run_id, "synapse-spark")["registered_dataset"],
        "model": airflow.xcom("titanic_pipeline", run_id, "train")["model"],
    }
    used = records(ws, "titanic_scoring", consumer)["score"]["inputs"]
    for name, reference in made.items():
        assert (used[name]["dataset"], used[name]["version"]) == (reference["dataset"], reference["version"])
        assert used[name]["digest"] == reference["digest"]

    links = airflow.links("titanic_pipeline", run_id, "synapse-spark")
    assert "registered_dataset" in airflow.page(links["Stepwell run"])
    assert "expectations" in airflow.page(links["Validation report"]).lower()
    assert "Validation report" not in airflow.links("titanic_pipeline", run_id, "train"), "it has no gate"


def test_the_tabs_of_airflow_open(airflow: Airflow, folder: Path) -> None:
    """The addresses that Airflow's interface makes of what the plugin declares."""
    run_id = airflow.runs("publish_pair")[0]["dag_run_id"] if airflow.runs("publish_pair") else None
    if run_id is None:
        run_id = airflow.trigger("publish_pair")
        airflow.run_ended("publish_pair", run_id)
    (plugin,) = [p for p in airflow.call("GET", "/plugins")["plugins"] if p["name"] == "stepwell"]
    views = {view["destination"]: view["href"] for view in plugin["external_views"]}
    for destination, shown in (("task_instance", "e2e_left"), ("dag_run", "e2e_right")):
        href = views[destination].replace("{DAG_ID}", "publish_pair").replace("{RUN_ID}", quote(run_id, safe=""))
        assert shown in airflow.page(href.replace("{TASK_ID}", "left").replace("{MAP_INDEX}", quote("{MAP_INDEX}")))
