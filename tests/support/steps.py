"""Living a step's life without Airflow's database: the operator says what the step is, ``Life`` lives it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepwell.data.datastore import Datastore
from stepwell.operators.base import StepOperator
from stepwell.step.life import Life, StepResult
from stepwell.step.spec import JobKey
from stepwell.workspace import Workspace


class Lines(logging.Logger):
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("test")
        self.lines: list[str] = []
        self.addHandler(logging.NullHandler())

    def handle(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

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
        """Return the next try of *step*, not lived yet."""
        triggering: Sequence[dict[str, Any]] = more.pop("triggering", ())
        try_number = more.pop("try_number", 1)
        key = self.key(step, **more)
        spec = step.specification({})  # type: ignore[typeddict-item]
        return Life(self.ws, spec, key, try_number=try_number, triggering=triggering, log=self.log)

    def run(self, step: StepOperator, **more: Any) -> StepResult:
        """Live a try of *step* and return its result."""
        return self.life(step, **more).live()

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


def bench(folder: Path) -> Bench:
    return Bench(folder, Workspace("default", root=folder / "workspace"))
