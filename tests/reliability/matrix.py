"""Run the kill matrix and write it down: ``make kill-matrix ARGS='--runs 5 --kinds local,remote --faults triggerer'``.

Each fault is one run of a DAG that has a task on every kind. What is looked at is outside of Stepwell: the processes of
this machine, Airflow's states, and the numbered lines in the log. Results are added to ``results.json``, so it can be
stopped and continued; the table is written into ``docs/reliability.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.reliability import table
from tests.reliability.faults import BY_NAME, FAULTS, Fault
from tests.reliability.judging import Cell, Judge
from tests.reliability.kinds import ALL, PROJECT, Column, Missing, can, marked
from tests.reliability.surroundings import descendants, free_port, frozen, said_by
from tests.support.airflow_server import processes, running

RESULTS = Path(__file__).with_name("results.json")
FINAL = {"success", "failed", "skipped", "upstream_failed", "removed"}
#: A fault's run is given up after so many seconds.
PATIENCE = 300.0
#: A job is let go so long after all is as it should be, in seconds.
SETTLE = 4.0
#: Short times, in seconds: heartbeats of workers, silence of targets, leases of jobs.
TIMES = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__CORE__PARALLELISM": "8",
    "STEPWELL_UNREACHABLE_SECONDS": "45",
    "STEPWELL_LEASE_SECONDS": "90",
}


class Matrix:
    """A real Airflow, the targets, and a workspace.

    :param folder: for all that is written.
    """

    def __init__(self, folder: Path, faults: Sequence[Fault], kinds: Sequence[str]) -> None:
        self.folder = folder
        self.faults = faults
        self.columns: list[Column] = []
        self.missing: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.cells: dict[str, Cell] = {}
        self._triggerers: list[subprocess.Popen[bytes]] = []
        self._start(kinds)

    def _start(self, kinds: Sequence[str]) -> None:
        from stepwell.compute import records
        from stepwell.workspace import Workspace

        self.ws = Workspace("default", root=self.folder / "workspace")
        for kind in ALL:
            if kind.name not in kinds:
                continue
            column = kind(self.folder)
            try:
                record = column.start()
            except Exception as error:
                self.missing[kind.name] = str(error) if isinstance(error, Missing) else repr(error)
                say(f"{kind.name}: cannot be had here: {error!r}")
                continue
            if record:
                records.write(self.ws, record)
            self.variables.update(column.variables)
            self.columns.append(column)
            say(f"{kind.name}: up")
        shutil.copytree(Path(__file__).with_name("source"), self.folder / "source")
        shutil.copytree(Path(__file__).with_name("dags"), self.folder / "dags")
        self.commit = frozen(self.folder)
        (self.folder / "die").mkdir()
        plan = {
            "rows": [fault.plan() for fault in self.faults],
            "kinds": [
                {
                    "name": column.name,
                    "target": "local" if column.name == "local" else f"m-{column.name}",
                    "python": column.python,
                    "spark": column.spark,
                }
                for column in self.columns
            ],
        }
        (self.folder / "plan.json").write_text(json.dumps(plan))

    @contextlib.contextmanager
    def airflow(self) -> Iterator[None]:
        """Run Airflow meanwhile."""
        scratch = self.folder / "scratch"
        scratch.mkdir()
        kept = PROJECT / ".cache" / "test-environments"
        kept.mkdir(parents=True, exist_ok=True)
        (scratch / "environments").symlink_to(kept)
        self.variables.update(
            STEPWELL_ROOT=str(self.folder / "workspace"),
            STEPWELL_SCRATCH=str(scratch),
            MATRIX_FOLDER=str(self.folder),
            PYTHONPATH=str(self.folder / "providers"),
            AIRFLOW__CORE__DAGS_FOLDER=str(self.folder / "dags"),
            **TIMES,
        )
        home = self.folder / "airflow"
        try:
            with running(PROJECT, home, **self.variables) as self.server:
                wanted = len(self.faults)
                try:
                    self.server.until(
                        "the DAGs", lambda: self.server.call("GET", "/dags")["total_entries"] >= wanted, 90
                    )
                except AssertionError:
                    raise AssertionError(self.server.call("GET", "/importErrors")["import_errors"]) from None
                try:
                    yield
                finally:
                    self._stop_triggerers()
        finally:
            for pid in [pid for pid, _ in marked(".marked")]:
                if str(self.folder) in said_by(pid, "environ"):
                    os.kill(pid, signal.SIGKILL)

    # -- one fault -------------------------------------------------------------------------------------------------

    def run(self, fault: Fault, kinds: set[str]) -> list[dict[str, Any]]:
        """Have one run of a fault on those kinds, and return what came of it."""
        columns = [c for c in self.columns if c.name in kinds and can(c, fault.needs)]
        if not columns:
            return []
        run_id = f"{fault.name}-{uuid.uuid4().hex[:8]}"
        began = time.monotonic()
        self.cells = {column.name: Cell(fault, column) for column in columns}
        for column in columns:
            if fault.dies:
                (self.folder / "die" / f"{run_id}.{column.name}.{fault.dies}").touch()
            if fault.act == "fill":
                column.small_disk()  # type: ignore[attr-defined]
        self.server.call("POST", f"/dags/{fault.name}/dagRuns", {"dag_run_id": run_id, "logical_date": None})
        for task in {c.name for c in self.columns} - {c.name for c in columns}:
            self._spare(fault.name, run_id, task)
        eyes = threading.Event()
        looking = threading.Thread(target=self._look, args=(run_id, eyes), daemon=True)
        looking.start()
        try:
            while time.monotonic() - began < PATIENCE and not all(cell.over for cell in self.cells.values()):
                self._ask(fault.name, run_id)
                self._act(fault, run_id)
                self._let_go(fault)
                time.sleep(0.5)
        finally:
            self._mend(fault, columns)
        self._wait_until_gone(90 if fault.act == "cut_for_good" else 30)
        eyes.set()
        looking.join()
        judge = Judge(self.server, self.ws, self.commit)
        found = [judge.verdict(cell, run_id) for cell in self.cells.values()]
        for pid, _ in {p for cell in self.cells.values() for p in cell.alive}:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return found

    def _spare(self, dag_id: str, run_id: str, task: str) -> None:
        """Have a task not run: its cell is there already, or cannot be."""
        with contextlib.suppress(AssertionError):
            self.server.mark(dag_id, run_id, task, "success")

    def _look(self, run_id: str, end: threading.Event) -> None:
        """Look at the processes of this machine, often."""
        while not end.wait(0.2):
            there: dict[str, set[tuple[int, str]]] = {}
            for process, mark in marked(".marked").items():
                if mark.startswith(run_id + "."):
                    there.setdefault(mark[len(run_id) + 1 :].removesuffix(".marked"), set()).add(process)
            for name, cell in self.cells.items():
                cell.alive = there.get(name, set())
                cell.seen |= cell.alive
                if cell.acted and not cell.alive and not cell.gone:
                    cell.gone = time.monotonic()

    def _ask(self, dag_id: str, run_id: str) -> None:
        """Ask Airflow how the tasks are."""
        answer = self.server.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")
        now = time.monotonic()
        for task in answer["task_instances"]:
            cell = self.cells.get(task["task_id"])
            if cell is None:
                continue
            cell.state, cell.tries = task["state"], task["try_number"]
            cell.over = cell.state in FINAL and (cell.fault.act != "clear" or cell.tries > 1)
            waits = cell.state == ("deferred" if cell.fault.deferrable else "running")
            if waits and cell.alive and not cell.ready:
                cell.ready = now
            as_wanted = waits and cell.alive and cell.tries >= cell.tries_wanted
            as_wanted = as_wanted and (bool(cell.acted) or not cell.fault.act)
            if not as_wanted:
                cell.settled = 0.0
            elif not cell.settled:
                cell.settled = now

    def _act(self, fault: Fault, run_id: str) -> None:
        """Do what the fault does, to each task when it is ready; to a machine once all its tasks are."""
        if not fault.act:
            return
        now = time.monotonic()
        ready = [c for c in self.cells.values() if c.ready and now - c.ready > 2 and not c.acted and not c.over]
        if fault.act in ("failed", "success", "clear", "kill_worker"):
            for cell in ready:
                self._act_on_task(fault, run_id, cell)
                cell.acted = time.monotonic()
            return
        open_ = [c for c in self.cells.values() if not c.acted and not c.over]
        together: dict[Any, list[Cell]] = {}
        for cell in open_:
            key = "triggerer" if fault.act == "kill_triggerer" else cell.column.machine or cell.column.name
            together.setdefault(key, []).append(cell)
        for cells in together.values():
            if all(cell in ready for cell in cells):
                try:
                    self._act_on_machine(fault, cells)
                except Exception as error:
                    say(f"{fault.name} could not be done to {[c.column.name for c in cells]}: {error!r}")
                    for cell in cells:
                        cell.trouble = repr(error)
                for cell in cells:
                    cell.acted = time.monotonic()

    def _act_on_task(self, fault: Fault, run_id: str, cell: Cell) -> None:
        task = cell.column.name
        if fault.act == "clear":
            self.server.clear(fault.name, run_id, task)
        elif fault.act == "kill_worker":
            for pid in sorted(processes(self.server.task(fault.name, run_id, task)["id"]), reverse=True):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        else:
            self.server.mark(fault.name, run_id, task, fault.act)

    def _act_on_machine(self, fault: Fault, cells: list[Cell]) -> None:
        column: Any = cells[0].column
        if fault.act == "kill_triggerer":
            self._kill_triggerer()
        elif fault.act == "restart":
            # Two kinds may share a machine, and one of them needs more to come up again.
            max((cell.column for cell in cells), key=lambda c: c.name == "remotedocker").restart()  # type: ignore
        elif fault.act == "fill":
            column.fill()
        else:
            column.cut()
            if fault.act == "cut":
                time.sleep(20)
                column.mend()

    def _let_go(self, fault: Fault) -> None:
        """Let jobs end whose time has come."""
        if not fault.lets_go:
            return
        for cell in self.cells.values():
            if cell.settled and time.monotonic() - cell.settled > SETTLE:
                for pid, _ in set(cell.alive):
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGTERM)

    def _mend(self, fault: Fault, columns: list[Column]) -> None:
        for column in columns:
            if fault.act.startswith("cut"):
                if fault.act == "cut_for_good":
                    continue  # first its lease has to run out
                column.mend()  # type: ignore[attr-defined]
            elif fault.act == "fill":
                column.empty()  # type: ignore[attr-defined]

    def _wait_until_gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(cell.alive for cell in self.cells.values()):
            time.sleep(0.5)
        for cell in self.cells.values():
            if cell.fault.act == "cut_for_good":
                cell.column.mend()  # type: ignore[attr-defined]
        time.sleep(1)

    # -- the triggerer ---------------------------------------------------------------------------------------------

    def _kill_triggerer(self) -> None:
        """Kill it with all that belongs to it, and start another one."""
        children = {int(p) for p in processes(str(self.server.home))} | set(descendants(os.getpid()))
        for pid in [pid for pid in children if "airflow triggerer" in said_by(pid, "cmdline")]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        from tests.support.airflow_server import settings

        port = free_port()
        environment = {
            **settings(PROJECT),
            "AIRFLOW_HOME": str(self.server.home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.server.home}/airflow.db",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.server.home / "logs"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.server.url}/execution/",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(port),
            **self.variables,
        }
        with open(self.server.home / "triggerer.out", "ab") as out:
            self._triggerers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "airflow", "triggerer"], cwd=PROJECT, env=environment,
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                )
            )  # fmt: skip

    def _stop_triggerers(self) -> None:
        for triggerer in self._triggerers:
            for pid in [triggerer.pid, *descendants(triggerer.pid)]:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            triggerer.wait()


def say(text: str) -> None:
    """Tell whoever runs this."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def read(path: Path = RESULTS) -> dict[str, Any]:
    """Return the results so far."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {"cells": [], "missing": {}}


def write(results: dict[str, Any], path: Path = RESULTS) -> None:
    """Write the results as a whole."""
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    aside.replace(path)


def measure(faults: Sequence[Fault], kinds: Sequence[str], runs: int, path: Path, *, again: bool) -> dict[str, Any]:
    """Run what is missing of the matrix, and return all results."""
    results = read(path)
    if again:
        names = {fault.name for fault in faults}
        results["cells"] = [c for c in results["cells"] if c["fault"] not in names or c["kind"] not in kinds]
    folder = Path(tempfile.mkdtemp(prefix="stepwell-matrix-"))
    try:
        matrix = Matrix(folder, faults, kinds)
        results["missing"] = {**results["missing"], **matrix.missing}
        for column in matrix.columns:
            results["missing"].pop(column.name, None)
        with matrix.airflow():
            say("Airflow: up")
            for number in range(runs):
                for fault in faults:
                    done = [(c["kind"]) for c in results["cells"] if c["fault"] == fault.name]
                    left = {kind for kind in kinds if done.count(kind) <= number}
                    for cell in matrix.run(fault, left) if left else []:
                        results["cells"].append(cell)
                        wrong = "ok" if cell["ok"] else f"WRONG: {', '.join(cell['wrong'])} ({cell['detail']})"
                        after = "" if cell["gone_after"] is None else f", gone after {cell['gone_after']} s"
                        say(f"{fault.name} on {cell['kind']}: {wrong}{after}")
                    write(results, path)
    finally:
        if os.environ.get("MATRIX_KEEP"):
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return results


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="how often each cell must have been run")
    parser.add_argument("--kinds", default=",".join(kind.name for kind in ALL))
    parser.add_argument("--faults", default=",".join(fault.name for fault in FAULTS))
    parser.add_argument("--again", action="store_true", help="forget earlier results of these cells")
    parser.add_argument("--table", action="store_true", help="only write the table")
    given = parser.parse_args()
    if not given.table:
        faults = [BY_NAME[name] for name in given.faults.split(",")]
        measure(faults, given.kinds.split(","), given.runs, RESULTS, again=given.again)
    results = read()
    table.publish(results)
    return 0 if all(cell["ok"] for cell in results["cells"]) else 1


if __name__ == "__main__":
    sys.exit(main())
