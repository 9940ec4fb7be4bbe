"""Finding runs: their records, newest first, and those of one DAG run.

Which runs there are is one listing; the names say which DAG a run may be of. Only what may be wanted is read.
"""

from __future__ import annotations

import heapq
import json
import logging
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stepwell.errors import StepwellError, UserErrorException
from stepwell.runtime.names import check_name, nearest
from stepwell.step.spec import JobKey

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: How far the clock of who wrote a record and that of the disk may be apart, in seconds.
_SLACK = 600.0
#: The id of a step's run: DAG and task (cut at 100 characters, from the left), digest of its key, generation.
_NAME = re.compile(r"(.+)\.[0-9a-f]{10}-g[0-9]+")
#: What is as long as this may have lost its DAG's name, and then some.
_CUT = 90
_NEEDED = frozenset({"run_id", "dag_id", "dag_run_id", "task_id", "map_index", "status", "started"})
_log = logging.getLogger(__name__)


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


def find(ws: Workspace, beginning: str) -> dict[str, Any]:
    """Return the record of the run of that id, or of the only one whose id begins so.

    :raises UserErrorException: there is none, or there are several; they are named.
    """
    names = ws.store.list("runs")
    if beginning not in names:
        matching = [name for name in names if beginning and name.startswith(beginning)]
        if len(matching) > 1:
            more = [f"and {len(matching) - 5} more"] if len(matching) > 5 else []
            raise UserErrorException(
                f"{len(matching)} runs in the workspace {ws.name} begin with {beginning!r}",
                allowed=[*matching[:5], *more],
                hint="Give more of the id",
            )
        beginning = matching[0] if matching else beginning
    return run(ws, beginning)


def runs(
    ws: Workspace,
    dag_id: str | None = None,
    dag_run_id: str | None = None,
    *,
    task_id: str | None = None,
    status: str | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Return the records of runs, newest first; one that is damaged is left out, with a warning.

    :param limit: at most so many; on a disk, older ones are then not read.
    """
    wanted = {"dag_id": dag_id, "dag_run_id": dag_run_id, "task_id": task_id, "status": status}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    found: list[dict[str, Any]] = []
    newest: list[float] = []  # a heap: the oldest of the newest is the first
    for name, written in _by_time(ws, _names(ws, dag_id)):
        if limit and len(newest) == limit and newest[0] > written + _SLACK:
            break  # a run began before its record was last written: whatever follows is older
        record = _read(ws, name, dag_run_id)
        if record is not None and all(record[part] == value for part, value in wanted.items()):
            found.append(record)
            if limit:
                (heapq.heappush if len(newest) < limit else heapq.heappushpop)(newest, float(record["started"]))
    return sorted(found, key=lambda r: -float(r["started"]))[:limit]


def latest_dag_run(ws: Workspace, dag_id: str) -> list[dict[str, Any]]:
    """Return the records of the newest DAG run of *dag_id*, in the order in which its steps began.

    :raises UserErrorException: that DAG has run no step yet.
    """
    newest = runs(ws, dag_id, limit=1)
    if not newest:
        raise UserErrorException(f"No step of the DAG {dag_id!r} has run in the workspace {ws.name} ({ws.root})")
    return runs(ws, dag_id, newest[0]["dag_run_id"])[::-1]


def of_dag_run(ws: Workspace, dag_id: str, dag_run_id: str) -> list[dict[str, Any]]:
    """Return the newest record of each step of a DAG run, in the order in which the steps began."""
    newest = {(r["task_id"], r["map_index"]): r for r in reversed(runs(ws, dag_id, dag_run_id))}
    return sorted(newest.values(), key=lambda r: float(r["started"]))


def of_task(ws: Workspace, dag_id: str, dag_run_id: str, task_id: str, map_index: int = -1) -> list[dict[str, Any]]:
    """Return the records of the runs of one task instance, newest first."""
    slug = JobKey("", dag_id, dag_run_id, task_id, map_index).slug
    begin = slug.rpartition(".")[0] + "."  # what follows is a digest, which also stands for the Airflow instance
    wanted = {"dag_id": dag_id, "dag_run_id": dag_run_id, "task_id": task_id, "map_index": map_index}
    records = (_read(ws, name, dag_run_id) for name in ws.store.list("runs") if name.startswith(begin))
    found = [r for r in records if r is not None and all(r[part] == value for part, value in wanted.items())]
    return sorted(found, key=lambda r: -float(r["started"]))


# -- names, times, records ---------------------------------------------------------------------------------------------


def _names(ws: Workspace, dag_id: str | None) -> list[str]:
    """Return the names of the runs, without those that cannot be of the DAG."""
    names = ws.store.list("runs")
    if dag_id is None or not re.search("[A-Za-z0-9]", dag_id):
        return names
    begin = JobKey("", dag_id, "", "").slug.rpartition(".")[0]

    def may_be(name: str) -> bool:
        made_of = _NAME.fullmatch(name)
        return made_of is None or made_of[1].startswith(begin) or len(made_of[1]) >= _CUT

    return [name for name in names if may_be(name)]


def _by_time(ws: Workspace, names: list[str]) -> Iterator[tuple[str, float]]:
    """Yield each name and when its record was last written, last ones first; not on a disk, that is not known."""
    folder = ws.store.local_path("runs")
    times: dict[str, float] = {}
    for name in names:
        try:
            times[name] = math.inf if folder is None else (folder / name / "run.json").stat().st_mtime
        except OSError:
            continue  # its first lines are being written, or it has just been removed
    for name in sorted(times, key=lambda name: -times[name]):
        yield name, times[name]


def _read(ws: Workspace, run_id: str, dag_run_id: str | None = None) -> dict[str, Any] | None:
    """Return the record of the run; nothing if it is not there (any more), is damaged, or is not of that DAG run."""
    path = f"runs/{run_id}/run.json"
    try:
        if dag_run_id is not None:
            data = ws.store.read(path)
            if not any(json.dumps(dag_run_id, ensure_ascii=a).encode() in data for a in (False, True)):
                return None  # most are of other DAG runs, and looking costs less than understanding
        record = ws.store.read_json(path)
    except FileNotFoundError:
        return None
    except StepwellError as error:
        _log.warning("%s; the run is left out", error.what)
        return None
    if not record.keys() >= _NEEDED:
        _log.warning("The record %s does not say which run it is of; the run is left out", path)
        return None
    return record
