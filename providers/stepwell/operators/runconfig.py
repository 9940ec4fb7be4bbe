"""What a step takes from a ``RunConfiguration`` (v1's ``runconfig=``), and what it refuses to take in silence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from stepwell.errors import UserErrorException

_SAID_BY_THE_STEP = {
    "script": "Give script_name to the step",
    "arguments": "Give arguments to the step",
    "command": "Use CommandStepOperator(command=…)",
}


def check_runconfig(runconfig: Any, step_kind: str) -> None:
    """Make sure that nothing in *runconfig* would be ignored.

    Taken are its target, environment, environment variables and ``max_run_duration_seconds``.

    :raises UserErrorException: it is no run configuration, or holds something that the step would not do.
    """
    if runconfig is None:
        return
    from stepwell.environment.runconfig import SPARK_DEFAULTS, RunConfiguration

    if not isinstance(runconfig, RunConfiguration):
        raise UserErrorException(f"runconfig={runconfig!r} is not a RunConfiguration")
    runconfig.check()
    for field, hint in _SAID_BY_THE_STEP.items():
        if getattr(runconfig, field):
            raise UserErrorException(f"runconfig.{field}={getattr(runconfig, field)!r} is the step's to say", hint=hint)
    if runconfig.framework.lower() == "pyspark" and step_kind != "spark":
        raise UserErrorException(
            "runconfig.framework='PySpark' needs a Spark step", hint="Use SynapseSparkStepOperator on a Spark target"
        )
    if runconfig.spark.configuration != SPARK_DEFAULTS:
        raise UserErrorException(
            "runconfig.spark.configuration is not taken over", hint="Give conf={…} to SynapseSparkStepOperator"
        )


def longest(runconfig: Any) -> timedelta | None:
    """Return ``max_run_duration_seconds``: Airflow's ``execution_timeout`` where the step names none."""
    seconds = getattr(runconfig, "max_run_duration_seconds", None)
    return None if seconds is None else timedelta(seconds=seconds)
