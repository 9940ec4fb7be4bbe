"""The article's two steps on a real HDFS, its script as it stands; and a NameNode that goes away in the middle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.steps_on_hdfs.conftest import SIZES, TITANIC
from tests.support.article import article_script
from tests.support.steps import Bench, until

from hdfs.hdfs_cluster import HdfsCluster
from stepwell import Dataset, DatasetConsumptionConfig, HDFSOutputDatasetConfig
from stepwell.data import registry
from stepwell.errors import StepwellError
from stepwell.operators import PythonScriptStepOperator, SynapseSparkStepOperator

pytestmark = pytest.mark.integration

TRAIN = """
import os, sys
assert sys.argv[1] == os.environ["step2_input"], (sys.argv, os.environ["step2_input"])
(name,) = [n for n in os.listdir(sys.argv[1]) if n.endswith(".csv")]
with open(os.path.join(sys.argv[1], name)) as file:
    print("rows:", sum(1 for _ in file) - 1)
"""


def spark_step(bench: Bench, script: str, environment: Any, output: HDFSOutputDatasetConfig) -> Any:
    table = Dataset.Tabular.from_delimited_files(path=[(bench.datastore, "Titanic.csv")]).as_named_input(
        "tabular_input"
    )
    file = Dataset.File.from_files(path=[(bench.datastore, "Titanic.csv")]).as_named_input("file_input").as_hdfs()
    return SynapseSparkStepOperator(
        name="synapse-spark",
        file="dataprep.py",
        source_directory=bench.source({"dataprep.py": script}),
        inputs=[table, file],
        outputs=[output],
        arguments=["--tabular_input", table, "--file_input", file, "--output_dir", output],
        compute_target="link1-spark01",
        environment=environment,
        **SIZES,
    )


@pytest.mark.slow
def test_the_article_runs_unedited_and_its_output_is_downloaded_by_the_next_step(
    on_hdfs: Callable[[HdfsCluster], Bench], hdfs: HdfsCluster, spark_environment: Any
) -> None:
    bench = on_hdfs(hdfs)
    output = registered_output(bench)
    first = bench.run(spark_step(bench, article_script(), spark_environment, output))
    (reference,) = first.references.values()
    assert reference["uri"].startswith(f"{hdfs.rpc}/")
    assert (reference["dataset"], reference["version"]) == ("registered_dataset", 1)
    assert f"'file_input': '{hdfs.rpc}/" in bench.log.text, "the file input is a path that Spark reads"
    assert bench.log.text.count("|          1|") == 2, "both tables are shown"

    consumption = DatasetConsumptionConfig("step2_input", reference).as_download()
    train = PythonScriptStepOperator(
        name="train",
        script_name="train.py",
        source_directory=bench.source({"train.py": TRAIN}),
        arguments=[consumption],
        inputs=[consumption],
    )
    bench.run(train)
    assert "rows: 891" in bench.log.lines
    # A second run into the same destination: another version, and the first one's files are what they were.
    again = bench.run(
        spark_step(bench, article_script(), spark_environment, registered_output(bench)), dag_run_id="run 2"
    )
    assert again.references["registered_dataset"]["version"] == 2
    registry.verify(bench.ws, registry.get(bench.ws, "registered_dataset", 1))
    assert len(registry.get(bench.ws, "registered_dataset", 2).files) == 1
    assert bench.datastore.backend.list(".stepwell/staging") == []


def registered_output(bench: Bench) -> HDFSOutputDatasetConfig:
    output = HDFSOutputDatasetConfig(destination=(bench.datastore, "test"))
    return output.register_on_complete(name="registered_dataset")


WRITE_LATER = """
import argparse, os, time
from pyspark.sql import SparkSession
parser = argparse.ArgumentParser()
for name in ("--tabular_input", "--file_input", "--output_dir"):
    parser.add_argument(name)
args = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
table = spark.read.option("header", "true").csv(args.file_input)
table.write.csv(args.output_dir + "/part-one")
print("half of it is written", flush=True)
while not os.path.exists({go!r}):
    time.sleep(0.05)
table.write.csv(args.output_dir + "/part-two")
"""


def answers(backend: Any) -> bool:
    """Whether the NameNode is back and has left its safe mode."""
    try:
        backend.create("answers", b"")
        backend.delete("answers")
    except StepwellError:
        return False
    return True


IMPATIENT = {
    "spark.hadoop.ipc.client.connect.max.retries": "0",
    "spark.hadoop.ipc.client.connect.max.retries.on.timeouts": "0",
    "spark.hadoop.dfs.client.retry.policy.enabled": "false",
    "spark.hadoop.dfs.client.failover.max.attempts": "1",
}


@pytest.mark.slow
def test_a_namenode_that_goes_away_in_the_middle_leaves_nothing_registered(
    on_hdfs: Callable[[HdfsCluster], Bench], mortal_hdfs: HdfsCluster, spark_environment: Any, tmp_path: Path
) -> None:
    bench = on_hdfs(mortal_hdfs)
    go = tmp_path / "go"
    output = registered_output(bench)
    step = spark_step(bench, WRITE_LATER.format(go=str(go)), spark_environment, output)
    step.spark["conf"] = IMPATIENT
    with bench.meanwhile(step) as end:
        until(lambda: "half of it is written" in bench.log.lines, 120)
        mortal_hdfs.stop_daemon("namenode")
        go.touch()
    (error,) = end
    assert isinstance(error, StepwellError), error
    assert "failed on link1-spark01" in str(error)
    assert bench.registered() == []
    assert bench.record()["status"] == "failed"
    mortal_hdfs.start_daemon("namenode")
    backend = bench.datastore.backend
    until(lambda: answers(backend), 60)
    assert [f.path for f in backend.list()] == [TITANIC.name], "no reader finds the half that was written"
    # The next try starts anew, and takes away what the first could not.
    bench.run(step, try_number=2)
    assert bench.versions("registered_dataset") == [1]
    assert backend.list(".stepwell/staging") == []
