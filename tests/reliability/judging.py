"""A cell of the matrix: what was seen of it, and whether that is right."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.reliability.faults import Fault
from tests.reliability.kinds import Column

_LINE = re.compile(rb"^line (\d{6}) of the work\s*$", re.MULTILINE)
_END = re.compile(rb"^end of (\d+) lines\s*$", re.MULTILINE)


@dataclass
class Cell:
    """One fault on one kind, while it goes on."""

    fault: Fault
    column: Column
    seen: set[tuple[int, str]] = field(default_factory=set)
    alive: set[tuple[int, str]] = field(default_factory=set)
    state: str | None = None
    tries: int = 0
    ready: float = 0.0
    acted: float = 0.0
    settled: float = 0.0
    gone: float = 0.0
    over: bool = False
    trouble: str = ""

    @property
    def tries_wanted(self) -> int:
        """The try in which the job is let go."""
        after = self.fault.dies in ("before_submit", "before_record") or self.fault.act in ("kill_worker", "clear")
        return 2 if after else 1


class Judge:
    """Whoever looks at what Airflow and the workspace have in the end.

    :param server: Airflow.
    :param ws: the workspace.
    :param commit: of the code that ran.
    """

    def __init__(self, server: Any, ws: Any, commit: str) -> None:
        self.server = server
        self.ws = ws
        self.commit = commit

    def verdict(self, cell: Cell, run_id: str) -> dict[str, Any]:
        fault = cell.fault
        lost, detail = self._lost(cell, run_id)
        wrong = [f"the fault could not be made: {cell.trouble}"] if cell.trouble else []
        if len(cell.seen) != fault.starts:
            wrong.append(f"{len(cell.seen)} jobs started")
        if cell.alive:
            wrong.append(f"{len(cell.alive)} alive")
        if cell.state not in fault.state:
            wrong.append(f"{cell.state}")
        if lost:
            wrong.append(f"{lost} lines lost")
        if fault.says and not any(fault.says in log for log in self._task_logs(cell, run_id)):
            wrong.append(f"the task's log does not say {fault.says!r}")
        took = round(cell.gone - cell.acted, 1) if cell.gone and cell.acted and not fault.lets_go else None
        return {
            "fault": fault.name,
            "kind": cell.column.name,
            "ok": not wrong,
            "wrong": wrong,
            "started": len(cell.seen),
            "alive": len(cell.alive),
            "state": cell.state,
            "lost": lost,
            "gone_after": took,
            "detail": detail,
            "run": run_id,
            "at": int(time.time()),
            "commit": self.commit,
        }

    def _lost(self, cell: Cell, run_id: str) -> tuple[int | None, str]:
        """Return how many lines are missing in the run's files, of those that there must be; and why it ended."""
        from stepwell.tracking import history

        runs = [r for r in history.runs(self.ws, cell.fault.name, run_id) if r["task_id"] == cell.column.name]
        detail = "; ".join(f"{r['run_id'][-3:]} {r['status']}: {str(r.get('error') or '')[:200]}" for r in runs)
        if not cell.fault.lossless:
            return None, detail
        lost = 0
        for record in runs:
            try:
                log = self.ws.store.read(f"runs/{record['run_id']}/logs/step.log")
            except FileNotFoundError:
                log = b""
            numbers = {int(n) for n in _LINE.findall(log)}
            end = _END.search(log)
            whole = int(end.group(1)) if end else max(numbers, default=0)
            if record["status"] == "completed" and end is None:
                lost += 1
            lost += whole - len(numbers)
        if cell.state == "success" and cell.fault.lets_go:
            lost += self._missing_in_task_log(cell, run_id)
        return lost, detail

    def _missing_in_task_log(self, cell: Cell, run_id: str) -> int:
        """Return how many lines no try's log in Airflow shows, up to the last one."""
        shown: set[int] = set()
        whole = 0
        for log in self._task_logs(cell, run_id):
            shown |= {int(n) for n in re.findall(r"line (\d{6}) of the work", log)}
            ends = re.findall(r"end of (\d+) lines", log)
            whole = max([whole, *map(int, ends)])
        return max(whole, max(shown, default=0)) - len(shown)

    def _task_logs(self, cell: Cell, run_id: str) -> Iterator[str]:
        """Return the log of each try, as Airflow shows it."""
        for number in range(1, cell.tries + 1):
            with contextlib.suppress(AssertionError):
                yield self.server.log(cell.fault.name, run_id, cell.column.name, number)
