"""What a step takes from a run configuration, and what it refuses to ignore."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stepwell import RunConfiguration
from stepwell.errors import UserErrorException
from stepwell.operators import PythonScriptStepOperator


def step(runconfig: Any, **more: Any) -> PythonScriptStepOperator:
    return PythonScriptStepOperator(
        task_id="s", script_name="s.py", source_directory="src", runconfig=runconfig, **more
    )


def test_target_environment_variables_and_duration_are_taken_where_the_step_is_silent() -> None:
    runconfig = RunConfiguration()
    runconfig.target = "cpucluster"
    runconfig.environment_variables = {"A": "1", "B": "2"}
    runconfig.environment.python.conda_dependencies.add_pip_package("six")
    runconfig.max_run_duration_seconds = 60
    taken = step(runconfig, environment_variables={"B": "3"})
    assert taken.compute_target == "cpucluster"
    assert taken.environment_variables == {"A": "1", "B": "3"}
    assert "six" in str(taken.environment)
    assert taken.execution_timeout == timedelta(seconds=60)
    own = step(runconfig, compute_target="local", execution_timeout=timedelta(seconds=5))
    assert (own.compute_target, own.execution_timeout) == ("local", timedelta(seconds=5))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("script", "other.py", "runconfig.script='other.py'.*script_name"),
        ("arguments", ["--x"], "runconfig.arguments=.*Give arguments to the step"),
        ("command", "make all", "runconfig.command='make all'.*CommandStepOperator"),
        ("framework", "PySpark", "SynapseSparkStepOperator"),
    ],
)
def test_what_the_step_would_not_do_is_refused(field: str, value: Any, told: str) -> None:
    runconfig = RunConfiguration()
    setattr(runconfig, field, value)
    with pytest.raises(UserErrorException, match=told):
        step(runconfig)


def test_spark_settings_belong_to_the_spark_step() -> None:
    runconfig = RunConfiguration()
    runconfig.spark.configuration["spark.ui.enabled"] = "false"
    with pytest.raises(UserErrorException, match="conf="):
        step(runconfig)


def test_something_else_is_no_run_configuration() -> None:
    with pytest.raises(UserErrorException, match="'x.runconfig' is not a RunConfiguration"):
        step("x.runconfig")
