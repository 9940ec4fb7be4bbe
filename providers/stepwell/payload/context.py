"""The job that this process belongs to: what ``job.json`` says, and where events go."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Any

from stepwell.runtime.errors import StepwellError
from stepwell.runtime.protocol import EventWriter, JobDirectory, read_events, read_json

#: Names the job directory to every process of a step.
JOB_DIR = "STEPWELL_JOB_DIR"


class JobError(StepwellError):
    """The job directory is not there or cannot be read."""


class JobContext:
    """One job directory, seen from inside the step.

    :param directory: the job directory, absolute or relative to the working directory.
    :raises JobError: it has no readable ``job.json``.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory).absolute()
        self.paths = JobDirectory(self.directory)
        try:
            self.document: dict[str, Any] = read_json(self.paths.document)
        except (OSError, ValueError) as error:
            raise JobError(
                f"The job directory {str(self.directory)!r} has no readable job.json ({error})",
                hint=f"{JOB_DIR} must name the directory of a job that Stepwell started",
            ) from error
        self._writer: EventWriter | None = None
        self._writer_process = 0

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return str(self.document["job_id"])

    @property
    def run_id(self) -> str:
        """The id of the run, as scripts see it."""
        return str(self.document.get("run_id") or self.job_id)

    @property
    def step(self) -> dict[str, Any]:
        """Step, DAG, task and experiment names."""
        return dict(self.document.get("step") or {})

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """Input name → mode, value and content id."""
        return dict(self.document.get("inputs") or {})

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Output name → mode and the path or URL to write to."""
        return dict(self.document.get("outputs") or {})

    @property
    def datasets(self) -> dict[str, dict[str, Any]]:
        """Content id → definition and pinned files of every dataset that the step was given."""
        return dict(self.document.get("datasets") or {})

    @property
    def gates(self) -> list[dict[str, Any]]:
        """The outputs to judge, with their suites."""
        return list(self.document.get("gates") or [])

    def emit(self, kind: str, **fields: Any) -> None:
        """Record one event (a metric, a tag, …); it is on disk within half a second, or at :meth:`flush`.

        Safe in threads and in processes that the script forks.
        """
        self._events().add(kind, **fields)

    def flush(self) -> None:
        """Put buffered events of this process on disk."""
        if self._writer is not None:
            self._writer.flush()

    def events(self) -> list[dict[str, Any]]:
        """Return every event written so far, by whichever process of the job, in the order of writing."""
        self.flush()
        return read_events(self.paths.events)

    def _events(self) -> EventWriter:
        if self._writer is None or self._writer_process != os.getpid():
            # In a forked child the writer starts empty, but the exit hook of the parent is not the child's.
            self._writer = self._writer or EventWriter(self.paths.events, "step")
            self._writer_process = os.getpid()
            atexit.register(self.flush)
        return self._writer


_current: JobContext | None = None


def current() -> JobContext | None:
    """Return the job of this process, or ``None`` when it was not started by Stepwell.

    :raises JobError: the environment names a job directory that cannot be read.
    """
    global _current
    directory = os.environ.get(JOB_DIR)
    if not directory:
        return None
    if _current is None or str(_current.directory) != os.path.abspath(directory):
        _current = JobContext(directory)
    return _current
