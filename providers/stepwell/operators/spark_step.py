"""``SynapseSparkStepOperator``: a PySpark script on an attached Spark pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stepwell.errors import UserErrorException
from stepwell.operators.base import StepOperator, task_id_of

_MODES = ("direct", "hdfs")


class SynapseSparkStepOperator(StepOperator):
    """Run a PySpark script on a Spark compute target (v1's ``SynapseSparkStep``).

    :param file: the script, relative to *source_directory*. (templated)
    :param source_directory: the folder that is taken along; the driver's working directory is its copy. (templated)
    :param compute_target: an attached Spark target, or its name. (templated)
    :param driver_memory: such as ``"7g"``. Required, as are the next four.
    :param driver_cores: a whole number.
    :param executor_memory: such as ``"7g"``.
    :param executor_cores: a whole number.
    :param num_executors: a whole number.
    :param app_name: Spark's application name; default: the step's name.
    :param conf: more Spark settings; one that contradicts a parameter above is refused.
    :param py_files: files for ``spark.submit.pyFiles``.
    :param jars: files for ``spark.jars``.
    :param files: files for ``spark.files``.
    :param environment: only its conda and pip packages are used, on top of the pool's own (PySpark, pandas, pyarrow).

    Inputs are ``direct`` or ``hdfs``, outputs ``HDFSOutputDatasetConfig``, as in v1. All other parameters: see
    :class:`~stepwell.operators.base.StepOperator`.
    """

    template_fields = (*(f for f in StepOperator.template_fields if f != "script_name"), "file", "spark")
    template_fields_renderers = {**StepOperator.template_fields_renderers, "spark": "json"}
    ui_color = "#f6dfc8"
    step_kind = "spark"

    def __init__(
        self,
        *,
        file: str,
        source_directory: str,
        compute_target: Any,
        driver_memory: str,
        driver_cores: int,
        executor_memory: str,
        executor_cores: int,
        num_executors: int,
        app_name: str | None = None,
        conf: dict[str, Any] | None = None,
        py_files: Sequence[str] | None = None,
        jars: Sequence[str] | None = None,
        files: Sequence[str] | None = None,
        name: str | None = None,
        task_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        from stepwell.compute.spark_settings import settings

        if not file or not source_directory:
            raise UserErrorException(f"file={file!r} and source_directory={source_directory!r} are both needed")
        if kwargs.get("script_name"):
            raise UserErrorException(f"script_name={kwargs['script_name']!r}: a Spark step's script is given as file=")
        if compute_target == "local":
            raise UserErrorException(
                "A Spark step cannot run on 'local'", hint="Attach a Spark compute target and name it"
            )
        super().__init__(
            task_id=task_id or task_id_of(name or file),
            name=name,
            source_directory=source_directory,
            compute_target=compute_target,
            **kwargs,
        )
        self.file = file
        self.spark = {
            "driver_memory": driver_memory,
            "driver_cores": driver_cores,
            "executor_memory": executor_memory,
            "executor_cores": executor_cores,
            "num_executors": num_executors,
            "app_name": app_name or self.step_name,
            "conf": dict(conf or {}),
            "py_files": list(py_files or ()),
            "jars": list(jars or ()),
            "files": list(files or ()),
        }
        settings(self.spark)  # refuses wrong types and contradictions where the DAG is written, not where it runs
        for input_name, item in self.inputs.items():
            if item["mode"] not in _MODES:
                raise UserErrorException(
                    f"The input {input_name!r} is by {item['mode']}: a Spark step takes it by", allowed=_MODES
                )
        for output_name, item in self.outputs.items():
            if item["mode"] != "hdfs":
                raise UserErrorException(
                    f"The output {output_name!r} is no HDFSOutputDatasetConfig, which a Spark step needs"
                )

    def specification(self, context: Any) -> Any:
        """Return the step as plain, rendered data."""
        return replace(super().specification(context), script=self.file, spark=self.spark)
