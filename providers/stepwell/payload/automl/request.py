"""What a search is asked to do: by the job of a step, or by a script."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stepwell.payload.automl.errors import AutoMLError


@dataclass
class Request:
    """A search that is wanted.

    :param settings: of the ``AutoMLConfig``.
    :param results: the folder for what is kept with the run.
    :param work: a folder for what is not.
    :param outputs: output → its folder: ``model``, ``leaderboard``, ``metrics`` and more models.
    :param models: output → ``{"iteration": …, "metric": …}``, both None for the best.
    :param inputs: ``training``, ``validation``, ``test`` → a parquet file; None = they are the job's inputs.
    :param resume: the results folder of a search that was interrupted.
    :param job: the job directory.
    """

    run_id: str
    settings: dict[str, Any]
    results: str
    work: str
    outputs: dict[str, str] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    inputs: dict[str, str] | None = None
    resume: str | None = None
    job: str | None = None

    def write(self, path: str) -> None:
        """Write it for another process."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(vars(self), file)

    @classmethod
    def read(cls, path: str) -> Request:
        """Return the request of a file that :meth:`write` wrote, or of a job directory."""
        if os.path.isdir(path):
            return cls._of_job(path)
        with open(path, encoding="utf-8") as file:
            return cls(**json.load(file))

    @classmethod
    def _of_job(cls, path: str) -> Request:
        from stepwell.payload.context import JobContext

        job = JobContext(path)
        asked: Mapping[str, Any] = job.document.get("automl") or {}
        if not asked.get("settings"):
            raise AutoMLError("The job has no settings of a search", hint="AutoMLStepOperator makes such jobs")
        resume = asked.get("resume")
        work = os.path.join(path, "work", "automl")
        inputs = os.path.join(work, "inputs.json")  # what only Spark could read is there already
        return cls(
            job.run_id,
            dict(asked["settings"]),
            os.path.join(path, "code", "outputs", "automl"),
            work,
            {name: str(output["value"]) for name, output in job.outputs.items()},
            dict(asked.get("outputs") or {}),
            _json(inputs) if os.path.exists(inputs) else None,
            os.path.join(path, resume) if resume else None,
            path,
        )


def _json(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)
