"""A search in the process of the script, as v1's local runs were."""

from __future__ import annotations

import os
import uuid
from typing import Any, Mapping

from stepwell.payload.context import JobContext, current
from stepwell.runtime.automl_config import AutoMLConfig
from stepwell.runtime.errors import UserErrorException

from ._frames import frames
from .run import AutoMLRun, OfflineAutoMLRun, OnlineAutoMLRun


def submit(experiment: Any, config: AutoMLConfig, tags: Mapping[str, Any] | None, show_output: bool) -> AutoMLRun:
    """Search, and return the run when the search is over.

    In a step it is a child run of the step, with a child run for each trial. Its files are below ``outputs/automl``.

    :raises UserErrorException: the data is missing or no table, or the configuration is for another place.
    :raises StepwellError: no trial has succeeded.
    """
    _check_place(config)
    settings, data = frames(config.settings, config.data)
    job = current()
    run = _run(experiment, job, settings)
    run.set_tags(tags or {})
    from stepwell.payload.automl import in_script

    run._begin()
    try:
        summary = in_script.search(
            settings,
            data,
            run._folder,
            run_id=run.id,
            spark=config.spark_context,
            show_output=show_output,
        )
    except BaseException as error:
        run._end("Failed" if isinstance(error, Exception) else "Canceled", f"{type(error).__name__}: {error}")
        raise
    run._end("Completed", summary=summary)
    return run  # type: ignore[no-any-return]


def _run(experiment: Any, job: JobContext | None, settings: dict[str, Any]) -> Any:
    identity = f"AutoML_{uuid.uuid4()}"
    if job is None:
        run: Any = OfflineAutoMLRun(identity, experiment)
        root = os.getcwd()
    else:
        from ...core.run import Run

        run = OnlineAutoMLRun(experiment, identity, job=job, child=identity, parent=Run.get_context())
        Run.get_context()._children.append(run)
        root = str(job.paths.code)
    run._settings = settings
    run._folder = os.path.join(root, "outputs", "automl", identity)
    os.makedirs(run._folder)
    return run


def _check_place(config: AutoMLConfig) -> None:
    target = config.compute_target
    if target is not None and getattr(target, "name", target) != "local":
        raise UserErrorException(
            f"compute_target={getattr(target, 'name', target)!r}: inside a step a search runs where the step runs",
            hint="Leave compute_target out, or search with AutoMLStepOperator of stepwell.operators in the DAG",
        )
    context = config.spark_context
    if context is not None and not hasattr(context, "parallelize"):
        raise UserErrorException(
            f"spark_context is a {type(context).__name__}",
            allowed=["a SparkContext"],
            hint="Of a session, it is session.sparkContext",
        )
