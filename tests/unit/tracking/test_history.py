"""Finding runs among many, without reading those that cannot be meant."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.records import write_record

from stepwell import Workspace
from stepwell.errors import UserErrorException
from stepwell.step.spec import JobKey
from stepwell.tracking import history

START = 1_790_000_000.0


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace("default", root=tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a run as steps do: under the name that a step's run has, and last written when it ended."""

    def write(
        dag_id: str,
        dag_run_id: str,
        task_id: str,
        started: float,
        map_index: int = -1,
        generation: int = 1,
        **more: Any,
    ) -> str:
        key = JobKey("an Airflow", dag_id, dag_run_id, task_id, map_index)
        facts = {"dag_id": dag_id, "dag_run_id": dag_run_id, "task_id": task_id, "map_index": map_index, **more}
        run_id = write_record(tmp_path, f"{key.slug}-g{generation}", started=started, **facts)
        path = tmp_path / "runs" / run_id / "run.json"
        os.utime(path, (started + 5, started + 5))
        return run_id

    return write


@pytest.fixture
def reads(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which records were read."""
    found: list[str] = []
    read = ws.store.read

    def noted(path: str) -> bytes:
        found.append(path)
        return read(path)

    monkeypatch.setattr(ws.store, "read", noted)
    return found


def ids(records: list[dict[str, Any]]) -> list[str]:
    return [record["run_id"] for record in records]


def test_the_newest_few_of_many_are_found_by_reading_few(
    ws: Workspace, write: Callable[..., str], reads: list[str]
) -> None:
    names = [write("d", f"run {n}", "t", START + 3600 * n) for n in range(100)]
    assert ids(history.runs(ws, limit=3)) == names[:-4:-1]
    assert len(reads) < 10


def test_a_long_run_that_was_written_last_began_first(ws: Workspace, write: Callable[..., str], tmp_path: Path) -> None:
    """The order is that of beginning; the time of writing only says where looking may stop."""
    names = [write("d", f"run {n}", "t", START + 3600 * n) for n in range(20)]
    for name in names[:5]:
        path = tmp_path / "runs" / name / "run.json"
        os.utime(path, (START + 10**6, START + 10**6))
    assert ids(history.runs(ws, limit=2)) == [names[19], names[18]]
    assert ids(history.runs(ws)) == names[::-1]


def test_a_filter_looks_on_until_there_are_enough(ws: Workspace, write: Callable[..., str]) -> None:
    names = [write("d", f"run {n}", "t", START + 3600 * n, status="failed" if n < 3 else "completed") for n in range(9)]
    assert ids(history.runs(ws, status="failed", limit=2)) == [names[2], names[1]]


def test_other_dags_are_not_read(ws: Workspace, write: Callable[..., str], reads: list[str]) -> None:
    mine = write("mine", "run", "t", START)
    for n in range(20):
        write("other", f"run {n}", "t", START + n)
    assert ids(history.latest_dag_run(ws, "mine")) == [mine]
    assert ids(history.of_dag_run(ws, "mine", "run")) == [mine]
    assert not [path for path in reads if "other" in path]


@pytest.mark.parametrize(
    "dag_id", ["d", "d.e", "_d_", "d..", "-", "..", "é", "dé", "x" * 250, "d" * 99, "d" * 80 + "." * 10, "." * 20 + "d"]
)
@pytest.mark.parametrize("task_id", ["t", "group.t", ".t", "é", "t" * 250, "_"])
def test_the_dag_of_a_name_is_never_mistaken(
    ws: Workspace, write: Callable[..., str], dag_id: str, task_id: str
) -> None:
    """Whatever becomes of odd and long ids in a run's name, the run is found."""
    name = write(dag_id, "run", task_id, START)
    mapped = write(dag_id, "run", task_id, START + 1, map_index=3)
    write("another", "run", "t", START + 2)
    assert ids(history.runs(ws, dag_id)) == [mapped, name]
    assert ids(history.of_dag_run(ws, dag_id, "run")) == [name, mapped]
    assert ids(history.of_task(ws, dag_id, "run", task_id)) == [name]
    assert ids(history.of_task(ws, dag_id, "run", task_id, 3)) == [mapped]


@pytest.mark.parametrize("dag_run_id", ['a "quoted" one', "läuft", "back\\slash"])
def test_a_dag_run_with_an_odd_name_is_found(ws: Workspace, write: Callable[..., str], dag_run_id: str) -> None:
    name = write("d", dag_run_id, "t", START)
    write("d", "another", "t", START)
    assert ids(history.of_dag_run(ws, "d", dag_run_id)) == [name]
    history_record = ws.store.read_json(f"runs/{name}/run.json")
    ws.store.replace_json(f"runs/{name}/run.json", history_record, 0)  # as steps write it
    assert ids(history.of_dag_run(ws, "d", dag_run_id)) == [name]


def test_of_a_step_that_ran_twice_the_newest_counts(ws: Workspace, write: Callable[..., str]) -> None:
    first = write("d", "run", "t", START, status="failed")
    second = write("d", "run", "t", START + 60, generation=2)
    assert ids(history.of_dag_run(ws, "d", "run")) == [second]
    assert ids(history.of_task(ws, "d", "run", "t")) == [second, first]


def test_a_beginning_that_is_a_whole_id_is_that_run(ws: Workspace, tmp_path: Path) -> None:
    write_record(tmp_path, "run-1")
    write_record(tmp_path, "run-10")
    assert history.find(ws, "run-1")["run_id"] == "run-1"
    assert history.find(ws, "run-10")["run_id"] == "run-10"
    with pytest.raises(UserErrorException, match="2 runs"):
        history.find(ws, "run")


def test_a_run_whose_record_is_not_there_yet_is_left_out(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "runs" / "d.t.0123456789-g1").mkdir(parents=True)
    (tmp_path / "runs" / "stray").write_text("")
    assert history.runs(ws) == history.of_dag_run(ws, "d", "run") == []
