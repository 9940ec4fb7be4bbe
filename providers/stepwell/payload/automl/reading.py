"""The data of a search: the step's inputs as pandas frames, each read once."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Mapping

import pandas as pd

from stepwell.payload import plan, reading, sources
from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.context import JobContext
from stepwell.payload.errors import ReadError
from stepwell.runtime.names import nearest

#: Input name → what a search calls it.
INPUTS = {"training_data": "training", "validation_data": "validation", "test_data": "test"}
#: Arrow brings the rows over in columns, and frees each as soon as it is converted.
_ARROW = {
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.pyspark.selfDestruct.enabled": "true",
}


def read_inputs(job: JobContext, spark_session: Any = None) -> dict[str, pd.DataFrame]:
    """Return the frames of a job under ``training`` and, where given, ``validation`` and ``test``.

    :param spark_session: reads what is not on this machine's disk; local files are read without it.
    :raises AutoMLError: there is no input ``training_data``.
    :raises ReadError: an input cannot be read.
    """
    if "training_data" not in job.inputs:
        given = list(job.inputs)
        raise AutoMLError(
            f"The search has no input 'training_data', only {', '.join(nearest('training_data', given)) or 'none'}",
            allowed=INPUTS,
            hint="Name it where it is given: inputs=[dataset.as_named_input('training_data')], or"
            " output.as_input('training_data')",
        )
    return {
        key: _read(name, job.inputs[name], job.datasets, spark_session)
        for name, key in INPUTS.items()
        if name in job.inputs
    }


def _read(name: str, given: Mapping[str, Any], datasets: Mapping[str, Any], spark: Any) -> pd.DataFrame:
    definition, files = _tabular(name, given, datasets, spark)
    if spark is None or not any(_is_remote(f) for f in files):
        return reading.to_pandas(definition, files)
    from stepwell.payload import spark_reading

    try:
        with _settings(spark, _ARROW):
            return _with_plain_numbers(reading.to_spark(definition, files, spark)).toPandas()
    except ReadError:
        raise
    except Exception as error:
        explained = spark_reading.explain(error, spark)
        if explained is None:
            raise
        raise explained from error


def _tabular(
    name: str, given: Mapping[str, Any], datasets: Mapping[str, Any], spark: Any
) -> tuple[dict[str, Any], list[str]]:
    """Return a tabular definition of an input and its files; files of no declared format are known by their names."""
    entry = datasets.get(str(given.get("id"))) or {}
    definition = dict(entry.get("definition") or {})
    files = [str(f) for f in entry.get("files") or []]
    if definition.get("kind") == "tabular":
        return definition, files
    if not files:
        files = _folder(str(given["value"]), spark)
    files = plan.run_files([f for f in files if not _is_marker(f)], definition.get("plan") or [])
    if not files:
        raise ReadError(f"The input {name!r} has no data files at {given['value']}")
    paths = definition.get("paths") or [{"url": str(given["value"])}]
    return {"kind": "tabular", "format": sources.detect_format(files), "paths": paths, "options": {}, "plan": []}, files


def _folder(location: str, spark: Any) -> list[str]:
    if _is_remote(location) and spark is not None:
        from stepwell.payload.spark_reading import list_folder

        return list_folder(spark, location)
    return sources.local_folder(location)


def _is_marker(file: str) -> bool:
    return file.rsplit("/", 1)[-1].startswith(("_", "."))


def _is_remote(file: str) -> bool:
    return "://" in file and not file.startswith("file:")


def _with_plain_numbers(frame: Any) -> Any:
    """Return a Spark frame whose decimals are doubles: pandas would hold an object for each."""
    decimals = {field.name for field in frame.schema.fields if field.dataType.typeName() == "decimal"}
    if not decimals:
        return frame
    from pyspark.sql import functions as F

    quoted = {c: "`" + c.replace("`", "``") + "`" for c in frame.columns}
    return frame.select([F.col(q).cast("double").alias(c) if c in decimals else F.col(q) for c, q in quoted.items()])


@contextlib.contextmanager
def _settings(spark: Any, wanted: Mapping[str, str]) -> Iterator[None]:
    """Set Spark's settings for a while."""
    before = {key: spark.conf.get(key, None) for key in wanted}
    for key, value in wanted.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, old in before.items():
            spark.conf.unset(key) if old is None else spark.conf.set(key, old)
