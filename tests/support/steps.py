"""Living a step's life without Airflow's database: the operator says what the step is, ``Life`` lives it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stepwell.data.datastore import Datastore
from stepwell.operators.base import StepOperator
from stepwell.step.life import Life
from stepwell.step.spec import JobKey, StepResult
from stepwell.workspace import Workspace


class Lines(logging.Logger):
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("test")
        self.lines: list[str] = []
        #: Called when a line holds the key.
        self.when: dict[str, Callable[[], object]] = {}
        self.addHandler(logging.NullHandler())

    def handle(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        self.lines.append(line)
        for part in [part for part in self.when if part in line]:
            self.when.pop(part)()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass
class Bench:
    """A workspace of a test's own, and its sources.

    :param folder: of the test.
    """

    folder: Path
    ws: Workspace
    log: Lines = field(default_factory=Lines)
    instance: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def datastore(self) -> Datastore:
        return self.ws.get_default_datastore()

    @property
    def data(self) -> Path:
        """The folder of the default datastore."""
        return Path(self.folder, "workspace", "data")

    def source(self, files: Mapping[str, str]) -> str:
        """Make a source directory with *files* and return its path."""
        folder = self.folder / f"source-{uuid.uuid4().hex[:8]}"
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        return str(folder)

    def put(self, files: Mapping[str, str]) -> None:
        """Write *files* into the default datastore."""
        for name, text in files.items():
            (self.data / name).parent.mkdir(parents=True, exist_ok=True)
            (self.data / name).write_text(text, encoding="utf-8")

    def key(self, step: StepOperator, map_index: int = -1, dag_run_id: str = "run 1") -> JobKey:
        return JobKey(self.instance, "a_dag", dag_run_id, step.task_id, map_index)

    def life(self, step: StepOperator, **more: Any) -> Life:
        """Return the next try of *step*, not lived yet.

        :param reuse: an earlier run may stand in for it; most tests want it to run.
        """
        triggering: Sequence[dict[str, Any]] = more.pop("triggering", ())
        try_number = more.pop("try_number", 1)
        params: Mapping[str, Any] = more.pop("params", {})
        turn = more.pop("turn", None)
        spec = step.specification({"params": params})  # type: ignore[typeddict-item]
        if not more.pop("reuse", False):
            spec = replace(spec, allow_reuse=False)
        key = self.key(step, **more)
        return Life(self.ws, spec, key, try_number=try_number, triggering=triggering, log=self.log, turn=turn)

    def run(self, step: StepOperator, **more: Any) -> StepResult:
        """Live a try of *step* and return its result."""
        return self.life(step, **more).live()

    @contextmanager
    def elsewhere(
        self, step: StepOperator, prepare: Callable[[Life], object] | None = None, **more: Any
    ) -> Iterator[Worker]:
        """Live a try of *step* in a process of its own, as Airflow does; whatever is left of it is killed in the end.

        :param prepare: called in that process before the life begins.
        """

        def work() -> None:
            life = self.life(step, **more)
            signal.signal(signal.SIGTERM, lambda *_: life.cancel())  # as Airflow does: it does not raise
            if prepare is not None:
                prepare(life)
            life.live()

        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        try:
            yield Worker(process)
        finally:
            process.kill()
            process.join()

    @contextmanager
    def meanwhile(self, step: StepOperator, **more: Any) -> Iterator[list[Any]]:
        """Live a try of *step* in a thread; in the end, the list holds its result or its error."""
        end: list[Any] = []

        def work() -> None:
            try:
                end.append(self.run(step, **more))
            except Exception as error:
                end.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield end
        finally:
            thread.join()

    # -- what is left ----------------------------------------------------------------------------------------------

    def staged(self) -> list[str]:
        """Return the files that were left aside below the datastore."""
        staging = self.data / ".stepwell" / "staging"
        return sorted(str(p.relative_to(staging)) for p in staging.rglob("*")) if staging.exists() else []

    def versions(self, name: str) -> list[int]:
        from stepwell.data import registry

        return [v.version or 0 for v in registry.versions(self.ws, name)]

    def registered(self) -> list[str]:
        from stepwell.data import registry

        return registry.names(self.ws)

    def record(self, run: int = -1) -> dict[str, Any]:
        """Return the record of the newest run (or another one, oldest first)."""
        from stepwell.tracking import history

        return list(reversed(history.runs(self.ws)))[run]

    def run_folder(self, run: int = -1) -> Path:
        return self.folder / "workspace" / "runs" / str(self.record(run)["run_id"])


@dataclass
class Worker:
    """A process that lives a step."""

    process: Any

    def kill(self) -> None:
        """Kill it, as the machine does that goes down."""
        self.process.kill()
        self.process.join()

    def terminate(self) -> int:
        """Have Airflow end it, and return its exit code."""
        self.process.terminate()
        return self.ended()

    def ended(self) -> int:
        """Wait for its end and return its exit code."""
        self.process.join(60)
        code = self.process.exitcode
        assert code is not None, "it is still there"
        return int(code)


def die(*_: object, **__: object) -> None:
    """Stand in for a function: the process is gone when it gets here."""
    os.kill(os.getpid(), signal.SIGKILL)


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until *condition* is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{condition} did not become true in {seconds} s"
        time.sleep(0.01)
    return found


def bench(folder: Path) -> Bench:
    return Bench(folder, Workspace("default", root=folder / "workspace"))
