"""Reuse where the data, or the workspace itself, is on a real HDFS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.steps_on_hdfs.conftest import SIZES
from tests.support.scratch import scratch as scratch
from tests.support.steps import Bench, until

from hdfs.hdfs_cluster import HdfsCluster
from stepwell import Dataset, DatasetConsumptionConfig, HDFSOutputDatasetConfig, OutputFileDatasetConfig
from stepwell.operators import CommandStepOperator, PythonScriptStepOperator, SynapseSparkStepOperator
from stepwell.workspace import Workspace

pytestmark = pytest.mark.integration

PREPARE = """
import argparse
from pyspark.sql import SparkSession
parser = argparse.ArgumentParser()
parser.add_argument("--input"), parser.add_argument("--output")
args = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
table = spark.read.option("header", True).csv(args.input).coalesce(1)
table.write.option("header", True).csv(args.output, mode="overwrite")
"""


@pytest.mark.slow
def test_spark_makes_the_same_under_other_file_names_and_what_is_gone_is_made_again(
    on_hdfs: Callable[[HdfsCluster], Bench], hdfs: HdfsCluster, spark_environment: Any
) -> None:
    bench = on_hdfs(hdfs)
    source = Path(bench.source({"prepare.py": PREPARE}))
    train_source = bench.source({"train.py": "import sys\nprint('trained on', sys.argv[1])\n"})

    def prepare() -> dict[str, Any]:
        raw = Dataset.File.from_files(path=[(bench.datastore, "Titanic.csv")]).as_named_input("raw").as_hdfs()
        out = HDFSOutputDatasetConfig("prepared", destination=(bench.datastore, "prepared")).register_on_complete("p")
        step = SynapseSparkStepOperator(
            task_id="prepare",
            file="prepare.py",
            source_directory=str(source),
            inputs=[raw],
            outputs=[out],
            arguments=["--input", raw, "--output", out],
            compute_target="link1-spark01",
            environment=spark_environment,
            **SIZES,
        )
        return bench.run(step, reuse=True).references["prepared"]

    def train(reference: dict[str, Any]) -> str:
        data = DatasetConsumptionConfig("data", reference).as_download()
        step = PythonScriptStepOperator(
            task_id="train", script_name="train.py", source_directory=train_source, arguments=[data], inputs=[data]
        )
        bench.run(step, reuse=True)
        return str(bench.record()["reuse"]["decision"])

    first = prepare()
    assert train(first) == "ran"
    again = prepare()
    assert (again["version"], again["uri"]) == (1, first["uri"])
    assert bench.record()["reuse"]["decision"] == "reused"

    source.joinpath("prepare.py").write_text("# a comment\n" + PREPARE)
    changed = prepare()
    assert bench.record()["reuse"]["reason"] == "not reused: prepare.py changed (lines +1 -0)"
    assert changed["uri"] != first["uri"]
    assert train(changed) == "reused", "the same rows, whatever Spark called their file"

    backend = bench.datastore.backend
    (file,) = [f.path for f in backend.list(changed["path"]) if f.path.endswith(".csv")]
    backend.delete(file)
    assert prepare()["uri"] != changed["uri"]
    assert "is gone" in bench.record()["reuse"]["reason"]


def test_a_workspace_on_hdfs_has_its_index_and_its_claims_there(
    hdfs: HdfsCluster, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"root": f"{hdfs.rpc}/ws-{tmp_path.name}", "webhdfs_url": hdfs.webhdfs}
    monkeypatch.setenv("AIRFLOW_CONN_STEPWELL_FAR", json.dumps({"conn_type": "stepwell_workspace", "extra": extra}))
    bench = Bench(tmp_path, Workspace("far"))
    assert bench.ws.store.local_path("reuse") is None
    marks = tmp_path / "marks"

    def step(task_id: str) -> CommandStepOperator:
        out = OutputFileDatasetConfig("out").register_on_complete("far_data")
        script = f"echo ran >> {marks}; sleep 2; echo 1 > $0/a.csv"
        return CommandStepOperator(task_id=task_id, command=["sh", "-c", script, out], outputs=[out])

    with bench.meanwhile(step("one"), reuse=True) as one:
        until(marks.exists)
        with bench.meanwhile(step("two"), reuse=True) as two:
            pass
    assert one[0].references["out"]["version"] == two[0].references["out"]["version"] == 1
    assert marks.read_text() == "ran\n"
    assert bench.run(step("three"), reuse=True).references["out"]["reused_from"]
    assert marks.read_text() == "ran\n"
