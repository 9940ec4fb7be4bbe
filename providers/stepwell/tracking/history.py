"""Finding runs: their records, newest first, and those of one DAG run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stepwell.errors import UserErrorException
from stepwell.runtime.names import check_name, nearest

if TYPE_CHECKING:
    from stepwell.workspace import Workspace


def run(ws: Workspace, run_id: str) -> dict[str, Any]:
    """Return the record of a run.

    :raises UserErrorException: there is none of that id; the nearest ones are named.
    """
    try:
        return ws.store.read_json(f"runs/{check_name('run', run_id)}/run.json")
    except FileNotFoundError:
        known = ws.store.list("runs")
        raise UserErrorException(
            f"There is no run {run_id!r} in the workspace {ws.name}",
            allowed=nearest(run_id, known),
            hint="List them: airflow stepwell runs list",
        ) from None


def runs(ws: Workspace, dag_id: str | None = None, dag_run_id: str | None = None) -> list[dict[str, Any]]:
    """Return the records of runs, newest first."""
    found = [
        record
        for record in _records(ws)
        if (dag_id is None or record["dag_id"] == dag_id) and (dag_run_id is None or record["dag_run_id"] == dag_run_id)
    ]
    return sorted(found, key=lambda r: -float(r["started"]))


def latest_dag_run(ws: Workspace, dag_id: str) -> list[dict[str, Any]]:
    """Return the records of the newest DAG run of *dag_id*, in the order in which its steps began.

    :raises UserErrorException: that DAG has run no step yet.
    """
    found = runs(ws, dag_id)
    if not found:
        raise UserErrorException(f"No step of the DAG {dag_id!r} has run in the workspace {ws.name} ({ws.root})")
    newest = found[0]["dag_run_id"]
    return sorted((r for r in found if r["dag_run_id"] == newest), key=lambda r: float(r["started"]))


def _records(ws: Workspace) -> Iterator[dict[str, Any]]:
    for run_id in ws.store.list("runs"):
        try:
            yield ws.store.read_json(f"runs/{run_id}/run.json")
        except FileNotFoundError:
            continue
