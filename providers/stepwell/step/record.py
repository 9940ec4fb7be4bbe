"""The record of a run: what the pages, the command line and the next plan know of it. Written as the run goes on."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.compute import portal

if TYPE_CHECKING:
    from stepwell.compute.contract import Handle, Outcome, Target
    from stepwell.step.spec import JobKey, StepSpec
    from stepwell.workspace import Workspace

FORMAT = 1


def _metrics(events: list[dict[str, Any]], scope: str) -> dict[str, Any]:
    """Return the step's own metrics, or those for its DAG run, in v1's shapes; NaN as text, which JSON can hold."""
    from stepwell.payload import metrics as tracked

    return {name: tracked.finite(v) for name, v in tracked.metrics(tracked.of_run(events, scope=scope)).items()}


def _tags(events: list[dict[str, Any]]) -> dict[str, Any]:
    from stepwell.payload import metrics as tracked

    return tracked.tags(tracked.of_run(events))


class RunRecord:
    """``runs/<run id>/run.json``.

    :param run_id: the run's id.
    """

    def __init__(self, ws: Workspace, run_id: str) -> None:
        self.ws = ws
        self.run_id = run_id
        self.facts: dict[str, Any] = {}

    @property
    def folder(self) -> str:
        """The run's folder in the workspace."""
        return f"runs/{self.run_id}"

    def open(self, spec: StepSpec, key: JobKey, try_number: int) -> None:
        """Begin the record, or go on with that of an earlier try."""
        try:
            self.facts = self.ws.store.read_json(f"{self.folder}/run.json")
            self.facts["try_number"] = try_number
        except FileNotFoundError:
            self.facts = {
                "format": FORMAT,
                "run_id": self.run_id,
                "step": spec.name,
                "kind": spec.kind,
                "target": spec.compute_target,
                "experiment": spec.experiment,
                "version": spec.version,
                "dag_id": key.dag_id,
                "task_id": key.task_id,
                "dag_run_id": key.dag_run_id,
                "map_index": key.map_index,
                "try_number": try_number,
                "status": "running",
                "started": time.time(),
                "ended": None,
                "seconds": None,
                "phase": None,
                "phases": {},
                "inputs": {},
                "outputs": {},
                "verdicts": {},
                "metrics": {},
                "tags": {},
                "error": None,
            }
        self.note(status="running")

    def note(self, **facts: Any) -> None:
        """Add *facts* and write the record."""
        self.facts.update(facts)
        self.ws.store.update(
            f"{self.folder}/run.json", lambda _: {k: v for k, v in self.facts.items() if k != "revision"}
        )

    def fetch(self, target: Target, handle: Handle) -> Outcome:
        """Bring logs, verdicts and v1's ``outputs`` of an ended job into the run's folder, metrics into its record."""
        here = self.ws.store.local_path(self.folder)
        folder = here or Path(tempfile.mkdtemp(prefix="stepwell-"))
        outcome = portal.call(target.collect(handle, folder))
        if here is None:
            for part in ("logs", "gates", "outputs"):
                if (folder / part).is_dir() and not self.ws.store.exists(f"{self.folder}/{part}"):
                    self.ws.store.put_tree(folder / part, f"{self.folder}/{part}")
        self.note(
            metrics=_metrics(outcome.events, "run"),
            parent_metrics=_metrics(outcome.events, "parent"),
            tags=_tags(outcome.events),
            final=outcome.final,
        )
        return outcome

    def close(self, status: str, error: str | None = None) -> None:
        """Write the end of the run."""
        now = time.time()
        self.note(status=status, phase=None, error=error, ended=now, seconds=round(now - self.facts["started"], 3))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Say that a phase has begun, and time it in seconds of wall clock; one that is gone through twice adds up."""
        self.note(phase=name)
        began = time.monotonic()
        try:
            yield
        finally:
            spent = self.facts["phases"].get(name, 0.0) + time.monotonic() - began
            self.facts["phases"][name] = round(spent, 3)
