"""Finding the runs that a page of Airflow's interface is about, without reading the record of every run there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.step.spec import JobKey

if TYPE_CHECKING:
    from stepwell.workspace import Workspace


def runs_of_task(
    ws: Workspace, dag_id: str, dag_run_id: str, task_id: str, map_index: int = -1
) -> list[dict[str, Any]]:
    """Return the records of the runs of one task instance, newest first."""
    slug = JobKey("", dag_id, dag_run_id, task_id, map_index).slug
    prefix = slug.rpartition(".")[0] + "."  # what follows is a digest, which also stands for the Airflow instance
    found = [record for record in _records(ws, prefix) if _is_of(record, dag_id, dag_run_id)]
    found = [record for record in found if record["task_id"] == task_id and record["map_index"] == map_index]
    return sorted(found, key=lambda record: -float(record["started"]))


def runs_of_dag_run(ws: Workspace, dag_id: str, dag_run_id: str) -> list[dict[str, Any]]:
    """Return the newest record of each step of a DAG run, in the order in which the steps began."""
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    prefix = JobKey("", dag_id, "", "").slug.rpartition(".")[0][:80]
    for record in sorted(_records(ws, prefix), key=lambda record: float(record["started"])):
        if _is_of(record, dag_id, dag_run_id):
            newest[record["task_id"], record["map_index"]] = record
    return sorted(newest.values(), key=lambda record: float(record["started"]))


def _is_of(record: dict[str, Any], dag_id: str, dag_run_id: str) -> bool:
    return bool(record["dag_id"] == dag_id and record["dag_run_id"] == dag_run_id)


def _records(ws: Workspace, prefix: str) -> list[dict[str, Any]]:
    found = []
    for run_id in ws.store.list("runs"):
        if run_id.startswith(prefix):
            try:
                found.append(ws.store.read_json(f"runs/{run_id}/run.json"))
            except FileNotFoundError:
                continue  # its first lines are being written
    return found
