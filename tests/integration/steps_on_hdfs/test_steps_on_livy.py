"""The article's two steps, and a gate, on a real Livy: attached by v1's call, jobs on the default datastore."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.clusters.livy import livy as livy
from tests.integration.steps_on_hdfs.conftest import SIZES
from tests.support.article import article_script
from tests.support.steps import Bench

from hdfs.hdfs_cluster import HdfsCluster
from livy.livy_server import LivyServer
from stepwell import ComputeTarget, Dataset, DatasetConsumptionConfig, HDFSOutputDatasetConfig, LivyCompute
from stepwell.errors import ComputeTargetException
from stepwell.operators import PythonScriptStepOperator, SynapseSparkStepOperator

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TRAIN = """
import os, sys
from azureml.core import Run
(name,) = [n for n in os.listdir(sys.argv[1]) if n.endswith(".csv")]
with open(os.path.join(sys.argv[1], name)) as file:
    rows = sum(1 for _ in file) - 1
Run.get_context().log("rows", rows)
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write(str(rows))
print("rows:", rows)
"""


@pytest.fixture
def bench(
    on_hdfs: Callable[[HdfsCluster], Bench],
    hdfs: HdfsCluster,
    livy: LivyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    bench = on_hdfs(hdfs)
    connection = {"conn_type": "livy", "host": livy.host, "port": livy.ports["http"]}
    monkeypatch.setenv("AIRFLOW_CONN_LIVY_OF_TESTS", json.dumps(connection))
    configuration = LivyCompute.attach_configuration(
        livy_conn_id="livy_of_tests", storage="workspaceblobstore", python=str(livy.python)
    )
    ComputeTarget.attach(bench.ws, "hadoop", configuration)
    return bench


def spark_step(bench: Bench, environment: Any, output: HDFSOutputDatasetConfig, **more: Any) -> Any:
    table = Dataset.Tabular.from_delimited_files(path=[(bench.datastore, "Titanic.csv")]).as_named_input(
        "tabular_input"
    )
    file = Dataset.File.from_files(path=[(bench.datastore, "Titanic.csv")]).as_named_input("file_input").as_hdfs()
    return SynapseSparkStepOperator(
        name="synapse-spark",
        file="dataprep.py",
        source_directory=bench.source({"dataprep.py": article_script()}),
        inputs=[table, file],
        outputs=[output],
        arguments=["--tabular_input", table, "--file_input", file, "--output_dir", output],
        compute_target="hadoop",
        environment=environment,
        **{**SIZES, **more},
    )


def output(bench: Bench) -> HDFSOutputDatasetConfig:
    return HDFSOutputDatasetConfig("output", destination=(bench.datastore, "clean")).register_on_complete("clean")


def test_the_article_runs_there_unedited_and_its_output_is_read_by_a_script_there(
    bench: Bench, spark_environment: Any
) -> None:
    survived = {"column": "Survived", "min_value": 0, "max_value": 1}
    suite = {"name": "s", "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": survived}]}
    first = bench.run(spark_step(bench, spark_environment, output(bench).validate_with(suite)))
    assert "gate output: PASSED (1 passed" in bench.log.text, "judged in the same application"
    (reference,) = first.references.values()
    assert bench.log.text.count("|          1|") == 2, "both tables are shown"

    consumption = DatasetConsumptionConfig("step2_input", reference).as_download()
    train = PythonScriptStepOperator(
        name="train",
        script_name="train.py",
        source_directory=bench.source({"train.py": TRAIN}),
        arguments=[consumption],
        inputs=[consumption],
        compute_target="hadoop",
        environment=spark_environment,
    )
    life = bench.life(train)
    life.live()
    assert "rows: 891" in bench.log.lines
    assert life.record.facts["metrics"]["rows"] == 891
    target = ComputeTarget(bench.ws, "hadoop").target()
    assert bench.ws.store.exists(f"runs/{life.state.run_id}/outputs/model.txt")
    from stepwell.compute import portal

    assert portal.call(target.files.names(f"{target.root}/jobs")) == []  # type: ignore[attr-defined]


def test_a_step_with_secrets_is_refused(bench: Bench, spark_environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BANK", "http://me:hunter22@bank")
    step = PythonScriptStepOperator(
        name="train",
        script_name="train.py",
        source_directory=bench.source({"train.py": "print('ran')"}),
        compute_target="hadoop",
        environment=spark_environment,
        secrets={"TOKEN": "bank"},
    )
    with pytest.raises(ComputeTargetException, match="cannot keep secrets"):
        bench.run(step)
    assert "ran" not in bench.log.lines
