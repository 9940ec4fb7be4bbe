"""The record of a run: what the pages, the command line and the next plan know of it. Written as the run goes on."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.compute import portal
from stepwell.step.children import ChildRecord
from stepwell.step.logged import metrics_of, shortened, tags_of
from stepwell.workspace.store import encode

if TYPE_CHECKING:
    from stepwell.compute.contract import Handle, Outcome, Target
    from stepwell.step.spec import JobKey, StepSpec
    from stepwell.workspace import Workspace

FORMAT = 1
_log = logging.getLogger(__name__)


def _open_up(folder: Path) -> None:
    """Let the workspace's readers read: a job directory, which these files come from, is its owner's alone."""
    mask = os.umask(0o022)
    os.umask(mask)
    for part in ("logs", "gates", "outputs"):
        for path in (folder / part).rglob("*"):
            if path.is_file() and not path.is_symlink():
                path.chmod((path.stat().st_mode & 0o111) | (0o666 & ~mask))


class RunRecord:
    """``runs/<run id>/run.json``.

    :param run_id: the run's id.
    """

    def __init__(self, ws: Workspace, run_id: str) -> None:
        self.ws = ws
        self.run_id = run_id
        self.facts: dict[str, Any] = {}
        self.children = ChildRecord(ws, self.folder)
        self._fetched: tempfile.TemporaryDirectory[str] | None = None

    @property
    def folder(self) -> str:
        """The run's folder in the workspace."""
        return f"runs/{self.run_id}"

    @property
    def waiting(self) -> str:
        """Where it is noted what a run that waits without a worker leaves behind."""
        return f"{self.folder}/waiting.json"

    def drop_waiting(self) -> None:
        """Remove that note."""
        try:
            self.ws.store.delete(self.waiting)
        except Exception as error:
            _log.info("%s could not be removed: %s", self.waiting, error)

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
        self.learn(status="running")

    def load(self) -> dict[str, Any]:
        """Read the record that another process has begun; return it."""
        self.facts = self.ws.store.read_json(f"{self.folder}/run.json")
        return self.facts

    def learn(self, **facts: Any) -> None:
        """Add *facts*; they are written with the next ones that are noted."""
        self.facts.update(facts)

    def note(self, **facts: Any) -> None:
        """Add *facts* and write the record."""
        self._write(facts, durable=False)

    def _write(self, facts: Mapping[str, Any], *, durable: bool) -> None:
        self.facts.update(facts)
        self.ws.store.replace(f"{self.folder}/run.json", encode(self.facts), durable=durable)

    def fetch(self, target: Target, handle: Handle) -> Outcome:
        """Bring logs, verdicts and v1's ``outputs`` of an ended job into the run's folder, metrics into its record.

        What the outcome names is there until :meth:`close`.
        """
        here = self.ws.store.local_path(self.folder)
        if here is None:
            self._drop()
            self._fetched = tempfile.TemporaryDirectory(prefix="stepwell-", ignore_cleanup_errors=True)
        folder = here or Path(self._fetched.name if self._fetched else "")
        outcome = portal.call(target.collect(handle, folder))
        if here is None:
            for part in ("logs", "gates", "outputs"):
                if (folder / part).is_dir() and not self.ws.store.exists(f"{self.folder}/{part}"):
                    self.ws.store.put_tree(folder / part, f"{self.folder}/{part}")
        else:
            _open_up(here)
        whole = {"metrics": metrics_of(outcome.events, "run"), "parent_metrics": metrics_of(outcome.events, "parent")}
        metrics, counts = shortened(whole["metrics"])
        parent_metrics, parent_counts = shortened(whole["parent_metrics"])
        if counts or parent_counts:
            self.ws.store.replace(f"{self.folder}/metrics.json", encode({"format": FORMAT, **whole}))
        self.note(
            metrics=metrics,
            metric_counts=counts,
            parent_metrics=parent_metrics,
            parent_metric_counts=parent_counts,
            tags=tags_of(outcome.events),
            final=outcome.final,
        )
        try:
            self.children.finish(outcome.events)
        except Exception as error:  # what the step has made does not hang on it
            _log.warning("The child runs of run %s could not be kept: %s", self.run_id, error)
        return outcome

    def close(self, status: str, error: str | None = None) -> None:
        """Write the end of the run."""
        now = time.time()
        try:
            end = {"status": status, "phase": None, "error": error, "ended": now}
            self._write({**end, "seconds": round(now - self.facts["started"], 3)}, durable=True)
        finally:
            self._drop()

    def _drop(self) -> None:
        """Remove what was fetched for a workspace that is elsewhere."""
        if self._fetched is not None:
            self._fetched.cleanup()
            self._fetched = None

    @contextmanager
    def phase(self, name: str, *, quick: bool = False) -> Iterator[None]:
        """Say that a phase has begun, and time it in seconds of wall clock; one that is gone through twice adds up.

        :param quick: it is not worth writing the record for.
        """
        self.learn(phase=name)
        if not quick:
            self.note()
        began = time.monotonic()
        try:
            yield
        finally:
            self.spent(name, time.monotonic() - began)

    def spent(self, name: str, seconds: float) -> None:
        """Add *seconds* to the time of a phase."""
        self.facts["phases"][name] = round(self.facts["phases"].get(name, 0.0) + seconds, 3)
