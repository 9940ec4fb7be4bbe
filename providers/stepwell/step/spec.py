"""The neutral specification of a step: what an operator says once its templates are rendered, free of Airflow."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stepwell.errors import UserErrorException

#: The DAG param that has every step run, whatever was run before (v1's name). No parameter of the step itself.
REGENERATE = "regenerate_outputs"
_UNFIT = re.compile(r"[^A-Za-z0-9_.\-]+")


@dataclass(frozen=True)
class JobKey:
    """Which job is this task's: the same for each try of a task, different for each Airflow instance.

    :param instance: names the Airflow installation, so that two laptops do not adopt each other's jobs.
    """

    instance: str
    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int = -1

    @property
    def slug(self) -> str:
        """A name for files and folders: readable, unique, at most 120 characters."""
        digest = hashlib.sha256("\0".join(map(str, self.parts)).encode()).hexdigest()[:10]
        where = f"{self.dag_id}.{self.task_id}" + (f".{self.map_index}" if self.map_index >= 0 else "")
        return f"{_UNFIT.sub('_', where).replace('..', '_')[-100:].strip('.-_') or 'step'}.{digest}"

    def producer(self, run_id: str) -> dict[str, Any]:
        """Who made a dataset, as its version keeps it."""
        return {
            "run": run_id,
            "dag_id": self.dag_id,
            "task_id": self.task_id,
            "dag_run_id": self.dag_run_id,
            "map_index": self.map_index,
        }

    @property
    def parts(self) -> tuple[str, str, str, str, int]:
        """The five parts of the key."""
        return (self.instance, self.dag_id, self.dag_run_id, self.task_id, self.map_index)


@dataclass(frozen=True)
class StepSpec:
    """One step, ready to run.

    ``inputs`` and ``outputs`` are plain data (see ``stepwell.operators.ports``); ``arguments`` holds strings and
    ``{"input": name}`` / ``{"output": name}`` where a value is filled in.

    :param kind: ``python``, ``spark``, ``command``, or ``none`` for a step that only validates; with a *module*, a word
        for people.
    :param spark: sizes, ``conf``, ``py_files``, ``jars``, ``files`` and ``app_name`` on a Spark target.
    :param secrets: environment variable → the connection whose password it is.
    :param allow_reuse: an earlier run that made the same may stand in for this one.
    :param regenerate: run whatever was run before; what is made may be reused later.
    :param validations: gates on data that is published already: name → gate (``ValidateDatasetOperator``).
    :param module: a module of the payload that is run in place of a script, on any target that runs Python or Spark.
    :param settings: plain data for the module, which finds it in ``job.json`` under the name of its package.
    :param packages: pip requirements of the module, added to those of the environment.
    :param resumes: a file that the step writes as it goes, such as ``outputs/x/history``: the next try finds what one
        that failed has written in ``resume/`` of its job directory.
    """

    name: str
    kind: str
    compute_target: str
    source_directory: str | None = None
    script: str | None = None
    arguments: tuple[Any, ...] = ()
    command: tuple[Any, ...] = ()
    inputs: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    outputs: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, Any] | str | None = None
    spark: dict[str, Any] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    allow_reuse: bool = True
    regenerate: bool = False
    experiment: str = ""
    validations: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    module: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    resumes: str | None = None

    def fill(self, values: tuple[Any, ...], inputs: Mapping[str, str], outputs: Mapping[str, str]) -> list[str]:
        """Return *values* with each ``{"input": …}`` and ``{"output": …}`` replaced by its value.

        :raises UserErrorException: an argument names an input or output that the step does not have.
        """
        filled = []
        for value in values:
            if isinstance(value, dict):
                ((port, name),) = value.items()
                known = inputs if port == "input" else outputs
                if name not in known:
                    raise UserErrorException(
                        f"The arguments name the {port} {name!r}, which the step has not", allowed=known
                    )
                value = known[name]
            filled.append(str(value))
        return filled


@dataclass(frozen=True)
class StepResult:
    """What a step hands on.

    :param references: output → dataset reference, plain data.
    :param registered_by_script: references of the datasets that the script registered itself.
    """

    references: dict[str, dict[str, Any]]
    registered_by_script: list[dict[str, Any]] = field(default_factory=list)
