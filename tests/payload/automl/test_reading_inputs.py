"""The inputs of a step as frames: tabular datasets, folders of files, through pandas and Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.automl.reading import read_inputs
from stepwell.payload.context import JobContext
from stepwell.payload.errors import ReadError
from stepwell.runtime import definition as definitions
from stepwell.runtime.protocol import write_json


class Inputs:
    """A job with datasets as inputs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.document: dict[str, Any] = {"job_id": "j", "inputs": {}, "outputs": {}, "datasets": {}}
        root.mkdir()

    def add(self, name: str, definition: dict[str, Any], files: list[str], value: str = "") -> Inputs:
        id = f"id-{name}"
        self.document["inputs"][name] = {"mode": "direct" if not value else "hdfs", "value": value or id, "id": id}
        self.document["datasets"][id] = {"name": None, "version": None, "definition": definition, "files": files}
        return self

    def context(self) -> JobContext:
        write_json(self.root / "job.json", self.document)
        return JobContext(self.root)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path / "job")


FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"], "y": [0.5, 1.5, 2.5]})


def tabular(format: str, path: str, plan: Any = ()) -> dict[str, Any]:
    made = definitions.make("tabular", format, [{"datastore": "store", "path": path}])
    for operation in plan:
        made = definitions.with_operation(made, operation)
    return made


def files(path: str) -> dict[str, Any]:
    return definitions.make("file", None, [{"datastore": "store", "path": path}])


def test_a_tabular_dataset_with_its_plan_and_the_output_of_a_step(inputs: Inputs, tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "train.csv", index=False)
    folder = tmp_path / "out"
    folder.mkdir()
    FRAME.head(2).to_parquet(folder / "part-0.parquet")
    FRAME.tail(1).to_parquet(folder / "part-1.parquet")
    (folder / "_SUCCESS").write_text("")
    inputs.add("training_data", tabular("delimited", "train.csv", [definitions.drop_columns("a")]),
               [(tmp_path / "train.csv").as_uri()])  # fmt: skip
    inputs.add("validation_data", files("out"), [p.as_uri() for p in sorted(folder.iterdir())], folder.as_uri())
    found = read_inputs(inputs.context())
    assert list(found) == ["training", "validation"]
    pd.testing.assert_frame_equal(found["training"], FRAME[["b", "y"]])
    pd.testing.assert_frame_equal(found["validation"], FRAME)


def test_a_folder_whose_files_are_not_listed(inputs: Inputs, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    FRAME.to_csv(folder / "part.csv", index=False)
    inputs.add("training_data", files("out"), [], str(folder))
    pd.testing.assert_frame_equal(read_inputs(inputs.context())["training"], FRAME)


def test_what_is_missing_is_said(inputs: Inputs, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(AutoMLError, match="no input 'training_data', only none"):
        read_inputs(inputs.context())
    inputs.add("train_data", files("out"), [], str(folder))
    with pytest.raises(AutoMLError, match="only train_data. Allowed: training_data, validation_data, test_data"):
        read_inputs(inputs.context())
    inputs.add("training_data", files("out"), [], str(folder))
    with pytest.raises(ReadError, match="input 'training_data' has no data files"):
        read_inputs(inputs.context())
    inputs.add("training_data", files("out"), ["hdfs://nowhere/part.parquet"], "hdfs://nowhere")
    with pytest.raises(ReadError, match="is not a local file"):
        read_inputs(inputs.context())


@pytest.mark.integration
def test_spark_reads_what_is_not_local(inputs: Inputs, tmp_path: Path, spark: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("stepwell.payload.automl.reading._is_remote", lambda file: True)
    folder = tmp_path / "out"
    spark.sql("select cast(1.5 as decimal(10,2)) as `a.b`, 'x' as c, date'2020-01-02' as d").write.parquet(str(folder))
    data = [p.as_uri() for p in sorted(folder.iterdir())]
    inputs.add("training_data", files("out"), data, folder.as_uri())
    inputs.add("test_data", files("out"), [], folder.as_uri())
    before = spark.conf.get("spark.sql.execution.arrow.pyspark.enabled", None)
    found = read_inputs(inputs.context(), spark)
    assert spark.conf.get("spark.sql.execution.arrow.pyspark.enabled", None) == before
    for frame in found.values():
        assert frame["a.b"].dtype == float
        assert frame["a.b"].tolist() == [1.5]
        assert str(frame["d"].iloc[0])[:10] == "2020-01-02"


@pytest.mark.integration
def test_a_ragged_row_that_spark_meets_is_named(inputs: Inputs, tmp_path: Path, spark: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("stepwell.payload.automl.reading._is_remote", lambda file: True)
    path = tmp_path / "bad.csv"
    path.write_text("a,b\n1,2\n3\n")
    inputs.add("training_data", tabular("delimited", "bad.csv"), [path.as_uri()])
    with pytest.raises(ReadError, match="line 3"):
        read_inputs(inputs.context(), spark)
