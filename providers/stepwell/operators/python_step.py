"""``PythonScriptStepOperator``: a Python script in an environment of its own, on any compute target."""

from __future__ import annotations

from typing import Any

from stepwell.errors import UserErrorException
from stepwell.operators.base import StepOperator


class PythonScriptStepOperator(StepOperator):
    """Run a Python script on a compute target (v1's ``PythonScriptStep``).

    :param script_name: the script, relative to *source_directory*. (templated)
    :param source_directory: the folder that is taken along; the script's working directory is its copy. (templated)
    :param params: Airflow's params; the script finds each as ``AML_PARAMETER_<name>``.

    All other parameters: see :class:`~stepwell.operators.base.StepOperator`.

    .. code-block:: python

        PythonScriptStepOperator(
            task_id="train",
            script_name="train.py",
            source_directory="include/train",
            arguments=[step2_input],
            inputs=[step2_input],
            compute_target="cpucluster",
        )
    """

    def __init__(self, *, script_name: str, source_directory: str, **kwargs: Any) -> None:
        if not script_name or not source_directory:
            raise UserErrorException(
                f"script_name={script_name!r} and source_directory={source_directory!r} are both needed",
                hint="A folder of the step's own makes small snapshots (v1 took the current directory)",
            )
        super().__init__(script_name=script_name, source_directory=source_directory, **kwargs)
